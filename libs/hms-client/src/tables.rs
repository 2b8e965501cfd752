//! Databases and tables.

use std::collections::BTreeMap;

use crate::client::Repeat;
use crate::connection::Raises;
use crate::fields::Field;
use crate::wire::{Struct, Value};
use crate::{Client, Database, Error, Kind, Result, Table};

const META: Raises = &[(1, Kind::Meta)];
const CREATED: Raises = &[(1, Kind::AlreadyExists), (2, Kind::InvalidObject), (3, Kind::Meta), (4, Kind::NoSuchObject)];
const ALTERED: Raises = &[(1, Kind::InvalidOperation), (2, Kind::Meta)];

/// Settings of one call, as in `DO_NOT_UPDATE_STATS` = `true` or `CASCADE` = `true` (Hive's `EnvironmentContext`).
pub type Context<'a> = &'a [(&'a str, &'a str)];

pub(crate) fn context(properties: Context<'_>) -> Struct {
    let map: BTreeMap<String, String> = properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Struct::default().with(1, map.value())
}

impl Client {
    /// The names of all databases.
    ///
    /// # Errors
    /// As every call: [`Kind::Unreachable`], [`Kind::Login`], [`Kind::Protocol`], [`Kind::Meta`].
    pub async fn databases(&self) -> Result<Vec<String>> {
        self.get("get_all_databases", Struct::default(), META, Repeat::Safe).await
    }

    /// A database.
    ///
    /// # Errors
    /// [`Kind::NoSuchObject`], and as every call.
    pub async fn database(&self, name: &str) -> Result<Database> {
        let raises = &[(1, Kind::NoSuchObject), (2, Kind::Meta)];
        self.get("get_database", Struct::default().with(1, name), raises, Repeat::Safe).await
    }

    /// Makes a database.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`], [`Kind::InvalidObject`], and as every call.
    pub async fn create_database(&self, database: &Database) -> Result<()> {
        self.call("create_database", Struct::default().with(1, database.value()), CREATED, Repeat::Never).await.map(drop)
    }

    /// Changes a database.
    ///
    /// # Errors
    /// [`Kind::NoSuchObject`], and as every call.
    pub async fn alter_database(&self, database: &Database) -> Result<()> {
        let arguments = Struct::default().with(1, database.name.as_str()).with(2, database.value());
        self.call("alter_database", arguments, &[(1, Kind::Meta), (2, Kind::NoSuchObject)], Repeat::Safe).await.map(drop)
    }

    /// Drops a database; with `cascade` also its tables, with `delete_data` also the data of managed tables.
    ///
    /// # Errors
    /// [`Kind::NoSuchObject`], [`Kind::InvalidOperation`] if it is not empty, and as every call.
    pub async fn drop_database(&self, name: &str, delete_data: bool, cascade: bool) -> Result<()> {
        let arguments = Struct::default().with(1, name).with(2, delete_data).with(3, cascade);
        let raises = &[(1, Kind::NoSuchObject), (2, Kind::InvalidOperation), (3, Kind::Meta)];
        self.call("drop_database", arguments, raises, Repeat::Never).await.map(drop)
    }

    /// The names of a database's tables and views. A database that does not exist has none.
    ///
    /// # Errors
    /// As every call.
    pub async fn tables(&self, database: &str) -> Result<Vec<String>> {
        self.get("get_all_tables", Struct::default().with(1, database), META, Repeat::Safe).await
    }

    /// A table.
    ///
    /// # Errors
    /// [`Kind::NoSuchObject`], and as every call.
    pub async fn table(&self, database: &str, name: &str) -> Result<Table> {
        // `get_table` is gone in 4.x; this one is there since 2.3. 2: this client reads insert-only tables' metadata, too.
        let capabilities = Struct::default().with(1, Value::List(crate::Type::I32, vec![Value::I32(2)]));
        let request = Struct::default().with(1, database).with(2, name).with(3, capabilities);
        let raises = &[(1, Kind::Meta), (2, Kind::NoSuchObject)];
        let mut answer: Struct = self.get("get_table_req", Struct::default().with(1, request), raises, Repeat::Safe).await?;
        let table = answer.take(1).map(Table::of).transpose()?.flatten();
        table.ok_or_else(|| Error::protocol("the answer to get_table_req has no table"))
    }

    /// Makes a table.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`], [`Kind::InvalidObject`], [`Kind::NoSuchObject`] if the database is not there, and as every call.
    pub async fn create_table(&self, table: &Table) -> Result<()> {
        let arguments = Struct::default().with(1, table.value());
        let done = self.call("create_table_with_environment_context", arguments, CREATED, Repeat::Never).await;
        match done {
            Err(e) if e.kind() == Kind::UnknownMethod => {
                let request = Struct::default().with(1, Struct::default().with(1, table.value()));
                self.call("create_table_req", request, CREATED, Repeat::Never).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    /// Changes a table: read it, change it, and give it back. What this crate does not know of it is kept.
    ///
    /// # Errors
    /// [`Kind::InvalidOperation`] if it is gone or may not be changed like this, and as every call.
    pub async fn alter_table(&self, database: &str, name: &str, table: &Table, properties: Context<'_>) -> Result<()> {
        let arguments = Struct::default().with(1, database).with(2, name).with(3, table.value()).with(4, context(properties));
        match self.call("alter_table_with_environment_context", arguments, ALTERED, Repeat::Safe).await {
            Err(e) if e.kind() == Kind::UnknownMethod => {
                let request = Struct::default().with(2, database).with(3, name).with(4, table.value()).with(5, context(properties));
                self.call("alter_table_req", Struct::default().with(1, request), ALTERED, Repeat::Safe).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    /// Drops a table, with its data if asked for. `properties`: as in `ifPurge` = `TRUE` (past the trash).
    ///
    /// # Errors
    /// [`Kind::NoSuchObject`], and as every call.
    pub async fn drop_table(&self, database: &str, name: &str, delete_data: bool, properties: Context<'_>) -> Result<()> {
        let arguments = Struct::default().with(1, database).with(2, name).with(3, delete_data).with(4, context(properties));
        let raises = &[(1, Kind::NoSuchObject), (3, Kind::Meta)];
        self.call("drop_table_with_environment_context", arguments, raises, Repeat::Never).await.map(drop)
    }
}
