//! Which metadata file is a table's current one: the pointer that every commit swaps.
//!
//! [`Catalog`] is all that a commit needs; a metastore or a REST catalog would be another implementation. [`SqliteCatalog`] keeps pointers
//! in SQLite, in the tables that PyIceberg's SqlCatalog (and Java's JDBC catalog) uses.
//! Deliberately not here: metadata. Guarantees: a swap takes effect only if the pointer is still the one given, and is durable when it returns.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};
use sluis_core::{Error, ErrorKind, Result};
use sluis_storage::blocking::blocking;

/// The namespace of tables whose name has one part.
pub const DEFAULT_NAMESPACE: &str = "default";
/// How long a writer waits for another one.
const BUSY: Duration = Duration::from_secs(30);

/// A table's name: `namespace.name`, or `name` in the namespace `default`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    pub namespace: String,
    pub name: String,
}

impl TableName {
    /// Reads `name` or `namespace.name`; a namespace may have several parts.
    ///
    /// # Errors
    /// A sentence, if a part is empty or has other characters than letters, digits, `_` and `-`.
    pub fn parse(text: &str) -> Result<TableName, String> {
        let good = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !text.split('.').all(good) {
            return Err(format!("`{text}` is no table name: write `name` or `namespace.name`, of letters, digits, `_` and `-`"));
        }
        let (namespace, name) = text.rsplit_once('.').unwrap_or((DEFAULT_NAMESPACE, text));
        Ok(TableName { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// The parts as SQL mentions them: without the namespace if it is the default one.
    pub fn parts(&self) -> Vec<String> {
        let mut parts: Vec<String> = self.namespace.split('.').map(str::to_owned).collect();
        if self.namespace == DEFAULT_NAMESPACE {
            parts.clear();
        }
        parts.push(self.name.clone());
        parts
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts().join("."))
    }
}

/// Where the pointers are kept.
#[async_trait]
pub trait Catalog: Send + Sync + fmt::Debug {
    /// The location of the table's current metadata; `None`: there is no such table.
    async fn load(&self, table: &TableName) -> Result<Option<String>>;
    /// Makes `new` the current one if `old` still is; says whether it did. Durable when it returns.
    async fn swap(&self, table: &TableName, old: &str, new: &str) -> Result<bool>;
    /// Enters a new table; says whether it did (`false`: there is one of that name).
    async fn create(&self, table: &TableName, location: &str) -> Result<bool>;
    /// All tables, by name.
    async fn list(&self) -> Result<Vec<TableName>>;
    /// Forgets a table (its files stay); says whether there was one.
    async fn remove(&self, table: &TableName) -> Result<bool>;
}

/// A catalog in an SQLite file. The file is made with the first table.
#[derive(Clone)]
pub struct SqliteCatalog {
    path: Arc<Path>,
    name: Arc<str>,
    connection: Arc<Mutex<Option<Connection>>>,
}

impl fmt::Debug for SqliteCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqliteCatalog({}, {})", self.path.display(), self.name)
    }
}

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS iceberg_tables (
        catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL,
        metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), iceberg_type VARCHAR(5),
        PRIMARY KEY (catalog_name, table_namespace, table_name));
    CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
        catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL, property_key VARCHAR(255) NOT NULL,
        property_value VARCHAR(1000) NOT NULL, PRIMARY KEY (catalog_name, namespace, property_key));";

impl SqliteCatalog {
    /// The catalog `name` in the file `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>, name: &str) -> Self {
        Self { path: path.into().into(), name: name.into(), connection: Arc::default() }
    }

    /// Works on the connection. `absent`: what it comes to if the file is not there; `None`: it is made.
    async fn with<T: Send + 'static>(
        &self,
        absent: Option<T>,
        work: impl FnOnce(&mut Connection, &str) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let this = self.clone();
        blocking(move || {
            let mut connection = this.connection.lock().unwrap_or_else(PoisonError::into_inner);
            if connection.is_none() {
                if let Some(absent) = absent.filter(|_| !this.path.exists()) {
                    return Ok(absent);
                }
                *connection = Some(this.open()?);
            }
            match connection.as_mut() {
                Some(connection) => work(connection, &this.name).map_err(|e| this.failed(e)),
                None => Err(Error::internal("the catalog was opened and is not open")),
            }
        })
        .await?
    }

    fn open(&self) -> Result<Connection> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Error::io("make the folder", folder.display(), e))?;
        }
        let mut left = 200;
        loop {
            match self.open_once() {
                // Switching to WAL does not wait for others by itself.
                Err(e) if left > 0 && matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) => {
                    left -= 1;
                    std::thread::sleep(Duration::from_millis(20));
                }
                opened => return opened.map_err(|e| self.failed(e)),
            }
        }
    }

    fn open_once(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY)?;
        let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        if mode != "wal" {
            connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        }
        connection.execute_batch("PRAGMA synchronous = FULL;")?;
        connection.execute_batch(TABLES)?;
        let typed = connection.prepare("SELECT iceberg_type FROM iceberg_tables LIMIT 0").is_ok();
        if !typed {
            // Made by an older PyIceberg; newer ones and Java look for the column.
            connection.execute_batch("ALTER TABLE iceberg_tables ADD COLUMN iceberg_type VARCHAR(5)")?;
        }
        Ok(connection)
    }

    fn failed(&self, e: rusqlite::Error) -> Error {
        let (kind, hint) = match e.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                (ErrorKind::Unavailable, "another program has held the catalog for long: find out which, or try again")
            }
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                (ErrorKind::Config, "the file is no catalog, or damaged: restore it from a copy, or register the tables' newest metadata files anew")
            }
            Some(ErrorCode::DiskFull) => (ErrorKind::Capacity, "free some space, then run again"),
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                (ErrorKind::Permission, "give the user that runs sluis access to this file and its folder")
            }
            _ => (ErrorKind::Unavailable, "see the cause"),
        };
        Error::new(kind, "the lake's catalog failed").context("file", self.path.display()).hint(hint).source(e)
    }
}

#[async_trait]
impl Catalog for SqliteCatalog {
    async fn load(&self, table: &TableName) -> Result<Option<String>> {
        let table = table.clone();
        self.with(Some(None), move |connection, name| {
            connection
                .prepare_cached(
                    "SELECT metadata_location FROM iceberg_tables WHERE catalog_name = ?1 AND table_namespace = ?2 AND table_name = ?3
                     AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)",
                )?
                .query_row(params![name, table.namespace, table.name], |row| row.get::<_, Option<String>>(0))
                .optional()
                .map(Option::flatten)
        })
        .await
    }

    async fn swap(&self, table: &TableName, old: &str, new: &str) -> Result<bool> {
        let (table, old, new) = (table.clone(), old.to_owned(), new.to_owned());
        self.with(None, move |connection, name| {
            let changed = connection
                .prepare_cached(
                    "UPDATE iceberg_tables SET metadata_location = ?1, previous_metadata_location = ?2
                     WHERE catalog_name = ?3 AND table_namespace = ?4 AND table_name = ?5 AND metadata_location = ?2",
                )?
                .execute(params![new, old, name, table.namespace, table.name])?;
            Ok(changed == 1)
        })
        .await
    }

    async fn create(&self, table: &TableName, location: &str) -> Result<bool> {
        let (table, location) = (table.clone(), location.to_owned());
        self.with(None, move |connection, name| {
            let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            transaction.execute(
                "INSERT OR IGNORE INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value) VALUES (?1, ?2, 'exists', 'true')",
                params![name, table.namespace],
            )?;
            let made = transaction.execute(
                "INSERT OR IGNORE INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, iceberg_type)
                 VALUES (?1, ?2, ?3, ?4, 'TABLE')",
                params![name, table.namespace, table.name, location],
            )?;
            transaction.commit()?;
            Ok(made == 1)
        })
        .await
    }

    async fn list(&self) -> Result<Vec<TableName>> {
        self.with(Some(Vec::new()), move |connection, name| {
            connection
                .prepare_cached(
                    "SELECT table_namespace, table_name FROM iceberg_tables WHERE catalog_name = ?1
                     AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL) ORDER BY 1, 2",
                )?
                .query_map(params![name], |row| Ok(TableName { namespace: row.get(0)?, name: row.get(1)? }))?
                .collect()
        })
        .await
    }

    async fn remove(&self, table: &TableName) -> Result<bool> {
        let table = table.clone();
        self.with(Some(false), move |connection, name| {
            let gone = connection.execute(
                "DELETE FROM iceberg_tables WHERE catalog_name = ?1 AND table_namespace = ?2 AND table_name = ?3",
                params![name, table.namespace, table.name],
            )?;
            Ok(gone == 1)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_written() {
        let name = TableName::parse("a.b.c").unwrap();
        assert_eq!((name.namespace.as_str(), name.name.as_str(), name.to_string().as_str()), ("a.b", "c", "a.b.c"));
        assert_eq!(TableName::parse("t").unwrap().parts(), ["t"]);
        for bad in ["", "a.", ".a", "a b", "a/b", "a..b", "é"] {
            assert!(TableName::parse(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_swap_needs_the_pointer_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/catalog.db");
        let (a, b) = (SqliteCatalog::new(&path, "lake"), SqliteCatalog::new(&path, "lake"));
        let t = TableName::parse("ns.t").unwrap();
        assert_eq!(a.load(&t).await.unwrap(), None);
        assert!(a.list().await.unwrap().is_empty());
        assert!(!path.exists(), "looking makes no file");
        assert!(a.create(&t, "m1").await.unwrap());
        assert!(!b.create(&t, "m2").await.unwrap());
        assert!(b.swap(&t, "m1", "m2").await.unwrap());
        assert!(!a.swap(&t, "m1", "m3").await.unwrap());
        assert_eq!(a.load(&t).await.unwrap().as_deref(), Some("m2"));
        assert_eq!(SqliteCatalog::new(&path, "other").list().await.unwrap(), []);
        assert_eq!(b.list().await.unwrap(), std::slice::from_ref(&t));
        assert!(b.remove(&t).await.unwrap() && !a.remove(&t).await.unwrap());
    }
}
