//! The lake, opened: tables by name, their metadata, and addresses to paths.
//!
//! Deliberately not here: writing. Guarantees: metadata of a location is read once per process (metadata files never change).

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use iceberg::spec::{FormatVersion, ManifestFile, TableMetadata};
use serde_json::{Map, Value};
use sluis_core::{Error, ErrorKind, Result, TableResolver};
use sluis_storage::{StorageRef, read_all};

use crate::catalog::{Catalog, SqliteCatalog, TableName};
use crate::config::LakeConfig;
use crate::manifest;
use crate::resolver::Resolver;

/// A lake. Clones share what they know.
#[derive(Debug, Clone)]
pub struct Lake(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: StorageRef,
    catalog: Arc<dyn Catalog>,
    known: Mutex<HashMap<TableName, Arc<Version>>>,
}

/// A table as one metadata file says.
#[derive(Debug)]
pub struct Version {
    pub name: TableName,
    /// Where the metadata are; the catalog's pointer.
    pub location: String,
    pub metadata: Arc<TableMetadata>,
    /// The manifests of the current snapshot, once they are known.
    pub manifests: std::sync::OnceLock<Vec<ManifestFile>>,
}

impl Lake {
    /// Opens the lake that `config` (`lake:` of a project, or null) describes. Nothing is made before the first table.
    ///
    /// # Errors
    /// `ErrorKind::Config`.
    pub fn open(config: &Value, connections: &Map<String, Value>, project_dir: &Path, state_dir: &Path) -> Result<Lake> {
        let config = LakeConfig::parse(config)?;
        if let Some(problem) = config.problems().into_iter().next() {
            return Err(Error::config(format!("lake: {}", problem.message)).hint(problem.hint.unwrap_or_default()));
        }
        let default = state_dir.join("lake");
        let place = config.url.clone().or_else(|| config.path.clone()).unwrap_or_else(|| default.to_string_lossy().into_owned());
        let storage = sluis_storage::url::open_folder(&place, connections, config.connection.as_deref(), project_dir)?;
        let beside = if storage.root().contains("://") { default } else { storage.root().into() };
        let (path, name) = match &config.catalog {
            Some(catalog) => (project_dir.join(&catalog.sqlite), catalog.name.as_deref().unwrap_or("lake")),
            None => (beside.join("catalog.db"), "lake"),
        };
        Ok(Lake::with(storage, Arc::new(SqliteCatalog::new(path, name))))
    }

    /// A lake over a storage and a catalog.
    pub fn with(storage: StorageRef, catalog: Arc<dyn Catalog>) -> Lake {
        Lake(Arc::new(Inner { storage, catalog, known: Mutex::default() }))
    }

    /// All tables, by name.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn tables(&self) -> Result<Vec<TableName>> {
        self.0.catalog.list().await
    }

    /// The tables, as SQL finds them.
    pub fn resolver(&self) -> Arc<dyn TableResolver> {
        Arc::new(Resolver::new(self.clone()))
    }

    /// Forgets a table; its files stay. Says whether there was one.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn drop_table(&self, name: &TableName) -> Result<bool> {
        self.0.catalog.remove(name).await
    }

    /// The address of every file that a table's metadata name, of whatever snapshot: what no clean-up may touch. Empty if there is no such table.
    ///
    /// # Errors
    /// Those of catalog and storage.
    pub async fn named_files(&self, name: &TableName) -> Result<BTreeSet<String>> {
        let mut named = BTreeSet::new();
        let Some(version) = self.load(name).await? else { return Ok(named) };
        named.insert(version.location.clone());
        named.extend(version.metadata.metadata_log().iter().map(|log| log.metadata_file.clone()));
        for snapshot in version.metadata.snapshots() {
            named.insert(snapshot.manifest_list().to_owned());
            for m in manifest::of_snapshot(self, &version.metadata, snapshot).await? {
                if named.insert(m.manifest_path.clone()) {
                    named.extend(manifest::entries(self, &version.metadata, &m).await?.into_iter().map(|e| e.file.file_path().to_owned()));
                }
            }
        }
        Ok(named)
    }

    pub(crate) fn storage(&self) -> &StorageRef {
        &self.0.storage
    }

    pub(crate) fn catalog(&self) -> &dyn Catalog {
        self.0.catalog.as_ref()
    }

    /// The current version of a table.
    pub(crate) async fn load(&self, name: &TableName) -> Result<Option<Arc<Version>>> {
        let Some(location) = self.0.catalog.load(name).await? else { return Ok(None) };
        let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(known) = known.filter(|known| known.location == location) {
            return Ok(Some(known));
        }
        let bytes = self.read(&location).await.map_err(|e| e.context("table", name))?;
        let text = if bytes.starts_with(&[0x1f, 0x8b]) { Err("it is compressed".to_owned()) } else { Ok(&bytes) };
        let parsed = text.and_then(|bytes| serde_json::from_slice::<TableMetadata>(bytes).map_err(|e| e.to_string()));
        let metadata = parsed.map_err(|e| {
            Error::new(ErrorKind::CorruptInput, format!("the metadata of table `{name}` cannot be read: {e}"))
                .context("file", &location)
                .hint("it was damaged, or written with options that sluis does not know (`write.metadata.compression-codec`)")
        })?;
        let version = Arc::new(Version { name: name.clone(), location, metadata: Arc::new(metadata), manifests: Default::default() });
        self.remember(&version);
        Ok(Some(version))
    }

    pub(crate) fn remember(&self, version: &Arc<Version>) {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner).insert(version.name.clone(), version.clone());
    }

    /// The path in the lake's storage of an address in table metadata.
    pub(crate) fn path(&self, location: &str) -> Result<String> {
        let root = self.0.storage.root();
        let plain = match location.split_once(':') {
            Some(("file", rest)) => rest.strip_prefix("//").unwrap_or(rest).to_owned(),
            Some(("s3a" | "s3n", rest)) => format!("s3:{rest}"),
            _ => location.to_owned(),
        };
        plain.strip_prefix(root).and_then(|rest| rest.strip_prefix('/')).map(str::to_owned).ok_or_else(|| {
            Error::new(ErrorKind::Config, "a file of the table is outside of the lake")
                .context("file", location)
                .context("lake", root)
                .hint("point `lake:` at the folder or bucket that holds the table, or create the table there")
        })
    }

    /// A whole small file (metadata, manifests).
    pub(crate) async fn read(&self, location: &str) -> Result<Bytes> {
        read_all(self.0.storage.as_ref(), &self.path(location)?, None).await
    }

    /// Writes a small file at a place of its own; durable when it returns.
    pub(crate) async fn write(&self, location: &str, bytes: impl Into<Bytes>) -> Result<()> {
        let mut writer = self.0.storage.create(&self.path(location)?).await?;
        writer.write(bytes.into()).await?;
        writer.finish().await.map(|_| ())
    }
}

impl Version {
    /// Refuses what we cannot write to.
    pub fn writable(&self) -> Result<()> {
        if self.metadata.format_version() == FormatVersion::V2 {
            return Ok(());
        }
        let version = self.metadata.format_version();
        Err(Error::config(format!("table `{}` has format version {version}; sluis writes version v2", self.name))
            .hint("upgrade it to version 2 with the engine that made it, or write to another table"))
    }
}
