//! Partitions, many at a time.

use crate::client::Repeat;
use crate::connection::Raises;
use crate::fields::Field;
use crate::tables::{Context, context};
use crate::wire::{Struct, Value};
use crate::{Client, Kind, Partition, Result};

const FOUND: Raises = &[(1, Kind::Meta), (2, Kind::NoSuchObject)];
const LISTED: Raises = &[(1, Kind::NoSuchObject), (2, Kind::Meta)];
const ADDED: Raises = &[(1, Kind::InvalidObject), (2, Kind::AlreadyExists), (3, Kind::Meta)];
const ALTERED: Raises = &[(1, Kind::InvalidOperation), (2, Kind::Meta)];
/// How many partitions go into one call: a metastore takes a transaction and a folder for each, and some databases have limits.
const AT_ONCE: usize = 500;

impl Client {
    /// The names of a table's partitions, as in `day=2026-01-31`.
    ///
    /// # Errors
    /// [`Kind::NoSuchObject`] if the table is not there (older metastores then say that there are none), and as every call.
    pub async fn partition_names(&self, database: &str, table: &str) -> Result<Vec<String>> {
        let arguments = Struct::default().with(1, database).with(2, table).with(3, -1_i16);
        self.get("get_partition_names", arguments, LISTED, Repeat::Safe).await
    }

    /// Partitions by their names; those that do not exist are left out.
    ///
    /// # Errors
    /// [`Kind::NoSuchObject`] if the table is not there, and as every call.
    pub async fn partitions_by_names<S: AsRef<str>>(&self, database: &str, table: &str, names: &[S]) -> Result<Vec<Partition>> {
        let mut found = Vec::new();
        for names in names.chunks(AT_ONCE) {
            let arguments = Struct::default().with(1, database).with(2, table).with(3, names);
            let got: Result<Vec<Partition>> = self.get("get_partitions_by_names", arguments.clone(), FOUND, Repeat::Safe).await;
            match got {
                Err(e) if e.kind() == Kind::UnknownMethod => {
                    let request = Struct::default().with(1, arguments);
                    let mut answer: Struct = self.get("get_partitions_by_names_req", request, FOUND, Repeat::Safe).await?;
                    found.extend(answer.take(1).map(Vec::<Partition>::of).transpose()?.flatten().unwrap_or_default());
                }
                other => found.extend(other?),
            }
        }
        Ok(found)
    }

    /// Partitions that a filter takes, as in `day >= "2026-01-01" and kind = "a"`. Metastores compare columns of other types than `string` only in
    /// part; see Hive's `hive.metastore.integral.jdo.pushdown`.
    ///
    /// # Errors
    /// [`Kind::Meta`] if the filter cannot be read, [`Kind::NoSuchObject`], and as every call.
    pub async fn partitions_by_filter(&self, database: &str, table: &str, filter: &str) -> Result<Vec<Partition>> {
        let arguments = Struct::default().with(1, database).with(2, table).with(3, filter).with(4, -1_i16);
        self.get("get_partitions_by_filter", arguments, FOUND, Repeat::Safe).await
    }

    /// Adds partitions, up to 500 in a call. Each call is one transaction of the metastore; one that fails leaves those before it.
    /// `if_not_exists`: those that are there stay as they are; without it they are an error and nothing of that call is added.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`], [`Kind::InvalidObject`] if the table is not there or values do not fit its keys, and as every call.
    pub async fn add_partitions(&self, database: &str, table: &str, partitions: &[Partition], if_not_exists: bool) -> Result<()> {
        for some in partitions.chunks(AT_ONCE) {
            let request = Struct::default()
                .with(1, database)
                .with(2, table)
                .with(3, list(some))
                .with(4, if_not_exists)
                // What was just sent need not come back.
                .with(5, false);
            let repeat = if if_not_exists { Repeat::Safe } else { Repeat::Never };
            self.call("add_partitions_req", Struct::default().with(1, request), ADDED, repeat).await?;
        }
        Ok(())
    }

    /// Changes partitions, up to 500 in a call, all of a call or none: read them, change them, and give them back. What this crate does not know of
    /// them is kept.
    ///
    /// # Errors
    /// [`Kind::InvalidOperation`] if one is not there, and as every call.
    pub async fn alter_partitions(&self, database: &str, table: &str, partitions: &[Partition], properties: Context<'_>) -> Result<()> {
        for some in partitions.chunks(AT_ONCE) {
            let arguments = Struct::default().with(1, database).with(2, table).with(3, list(some)).with(4, context(properties));
            match self.call("alter_partitions_with_environment_context", arguments, ALTERED, Repeat::Safe).await {
                Err(e) if e.kind() == Kind::UnknownMethod => {
                    let request = Struct::default().with(2, database).with(3, table).with(4, list(some)).with(5, context(properties));
                    self.call("alter_partitions_req", Struct::default().with(1, request), ALTERED, Repeat::Safe).await?;
                }
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Drops partitions by their names, up to 500 in a call, with their data if asked for (and if the table is a managed one). Those that do not
    /// exist are no error.
    ///
    /// # Errors
    /// [`Kind::NoSuchObject`] if the table is not there, and as every call.
    pub async fn drop_partitions<S: AsRef<str>>(&self, database: &str, table: &str, names: &[S], delete_data: bool) -> Result<()> {
        for some in names.chunks(AT_ONCE) {
            let request = Struct::default()
                .with(1, database)
                .with(2, table)
                .with(3, Struct::default().with(1, some))
                .with(4, delete_data)
                .with(5, true)
                .with(8, false);
            self.call("drop_partitions_req", Struct::default().with(1, request), LISTED, Repeat::Safe).await?;
        }
        Ok(())
    }
}

fn list(partitions: &[Partition]) -> Value {
    Value::List(crate::Type::Struct, partitions.iter().map(Field::value).collect())
}
