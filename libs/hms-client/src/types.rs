//! The metastore's structs, with the field ids of `hive_metastore.thrift` (the same from 2.3 to 4.x for all that is here).

use std::collections::BTreeMap;

use crate::fields::structs;

structs! {
    /// A column.
    pub struct Column {
        /// In lower case.
        1 name: String,
        /// Hive's type, as in `decimal(12,2)`.
        2 kind: String,
        /// A comment.
        3 comment: Option<String>,
    }

    /// How rows become bytes.
    pub struct SerDe {
        /// A name, usually none.
        1 name: Option<String>,
        /// The class, as in `org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe`.
        2 library: Option<String>,
        /// Its settings, as in `field.delim`.
        3 parameters: BTreeMap<String, String>,
    }

    /// Where data lies and how it is read.
    pub struct Storage {
        /// The columns, without partition columns.
        1 columns: Vec<Column>,
        /// A URL of a folder.
        2 location: Option<String>,
        /// A class.
        3 input_format: Option<String>,
        /// A class.
        4 output_format: Option<String>,
        /// Whether files are compressed, as far as Hive cares.
        5 compressed: bool,
        /// 0 or -1 where there are none.
        6 buckets: i32,
        /// How rows become bytes.
        7 serde: Option<SerDe>,
        /// Columns of the buckets.
        8 bucket_columns: Vec<String>,
        /// Columns that files are sorted by.
        9 sort_columns: Vec<SortColumn>,
        /// Settings.
        10 parameters: BTreeMap<String, String>,
    }

    /// A column that files are sorted by.
    pub struct SortColumn {
        /// The column.
        1 column: String,
        /// 1 is up, 0 is down.
        2 order: i32,
    }

    /// A database.
    pub struct Database {
        /// In lower case.
        1 name: String,
        /// A comment.
        2 description: Option<String>,
        /// The folder of external tables, from Hive 4 on; of all, before.
        3 location: Option<String>,
        /// Settings.
        4 parameters: BTreeMap<String, String>,
        /// Whose it is.
        6 owner: Option<String>,
        /// 1 a user, 2 a role, 3 a group.
        7 owner_kind: Option<i32>,
    }

    /// A table or view.
    pub struct Table {
        /// In lower case.
        1 name: String,
        /// Its database.
        2 database: String,
        /// Whose it is.
        3 owner: Option<String>,
        /// In seconds since 1970.
        4 create_time: i32,
        /// In seconds since 1970, seldom kept.
        5 last_access_time: i32,
        /// In seconds, seldom meant.
        6 retention: i32,
        /// Where data lies and how it is read.
        7 storage: Option<Storage>,
        /// The partition columns.
        8 partition_keys: Vec<Column>,
        /// Settings and basic statistics, as in `EXTERNAL`, `transactional`, `numRows`.
        9 parameters: BTreeMap<String, String>,
        /// A view's text as it was typed.
        10 view_original_text: Option<String>,
        /// A view's text with full names.
        11 view_expanded_text: Option<String>,
        /// `MANAGED_TABLE`, `EXTERNAL_TABLE`, `VIRTUAL_VIEW`, `MATERIALIZED_VIEW`.
        12 kind: Option<String>,
    }

    /// A partition.
    pub struct Partition {
        /// One value for each partition column, in their order.
        1 values: Vec<String>,
        /// The table's database.
        2 database: String,
        /// The table.
        3 table: String,
        /// In seconds since 1970.
        4 create_time: i32,
        /// In seconds since 1970, seldom kept.
        5 last_access_time: i32,
        /// Where data lies and how it is read.
        6 storage: Option<Storage>,
        /// Settings and basic statistics.
        7 parameters: BTreeMap<String, String>,
    }

    /// Something that happened, as the metastore's listener wrote it down.
    pub struct Event {
        /// Its number; numbers grow.
        1 id: i64,
        /// In seconds since 1970.
        2 time: i32,
        /// As in `ADD_PARTITION`.
        3 kind: String,
        /// The database it is about.
        4 database: Option<String>,
        /// The table it is about.
        5 table: Option<String>,
        /// What happened, as JSON (packed where `format` says so).
        6 message: String,
        /// The format of the message, as in `json-0.2` or `gzip(json-2.0)`.
        7 format: Option<String>,
    }
}

impl Table {
    /// An external table of Parquet files in a folder.
    pub fn external_parquet(database: &str, name: &str, columns: Vec<Column>, partition_keys: Vec<Column>, location: &str) -> Table {
        Table {
            name: name.to_lowercase(),
            database: database.to_lowercase(),
            storage: Some(Storage::parquet(columns, location)),
            partition_keys,
            parameters: [("EXTERNAL".to_owned(), "TRUE".to_owned())].into(),
            kind: Some("EXTERNAL_TABLE".into()),
            ..Table::default()
        }
    }

    /// A partition of this table with its storage's formats, in a folder of its own.
    pub fn partition(&self, values: &[&str], location: &str) -> Partition {
        let storage = self.storage.clone().map(|s| Storage { location: Some(location.to_owned()), ..s });
        Partition {
            values: values.iter().map(|v| (*v).to_owned()).collect(),
            database: self.database.clone(),
            table: self.name.clone(),
            storage,
            ..Partition::default()
        }
    }

    /// What Hive calls a partition: `day=2026-01-31/hour=5`, with the characters escaped that a folder's name cannot have.
    pub fn partition_name<S: AsRef<str>>(&self, values: &[S]) -> String {
        let parts = self.partition_keys.iter().zip(values).map(|(key, value)| format!("{}={}", escaped(&key.name), escaped(value.as_ref())));
        parts.collect::<Vec<_>>().join("/")
    }
}

impl Column {
    /// A column of one of Hive's types, as in `Column::new("amount", "decimal(12,2)")`.
    pub fn new(name: &str, kind: &str) -> Column {
        Column { name: name.to_lowercase(), kind: kind.into(), ..Column::default() }
    }
}

impl Storage {
    /// Parquet files in a folder.
    pub fn parquet(columns: Vec<Column>, location: &str) -> Storage {
        Storage {
            columns,
            location: Some(location.to_owned()),
            input_format: Some("org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat".into()),
            output_format: Some("org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat".into()),
            serde: Some(SerDe { library: Some("org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe".into()), ..SerDe::default() }),
            buckets: -1,
            ..Storage::default()
        }
    }
}

/// A partition column's name or value in a folder's name, as Hive writes it.
fn escaped(text: &str) -> String {
    if text.is_empty() {
        return "__HIVE_DEFAULT_PARTITION__".into();
    }
    let special = |c: char| (c as u32) < 0x20 || c == '\u{7f}' || "\"#%'*/:=?\\{}[]^".contains(c);
    text.chars().map(|c| if special(c) { format!("%{:02X}", c as u32) } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_as_hive_names_them() {
        let table = Table { partition_keys: vec![Column::new("Day", "string"), Column::new("at", "string")], ..Table::default() };
        assert_eq!(table.partition_name(&["2026-01-31", "a/b:c d=%"]), "day=2026-01-31/at=a%2Fb%3Ac d%3D%25");
        assert_eq!(table.partition_name(&["", "x"]), "day=__HIVE_DEFAULT_PARTITION__/at=x");
    }
}
