//! One target table: created and grown for the rows that come, written to, committed, swept.
//!
//! Deliberately not here: configuration as users write it (the connector's), control flow (the engine's).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::SchemaRef;
use chrono::{DateTime, Utc};
use iceberg::spec::{FormatVersion, Schema, SchemaRef as TableSchemaRef, SortOrder, TableMetadata, TableMetadataBuilder, Transform};
use parquet::basic::{Compression as Codec, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sluis_core::{Attempt, Clock, CommitKey, Committable, Error, ErrorKind, PipelineName, Receipt, Result, SinkName, SinkWriter, StagedEpoch};
use uuid::Uuid;

use crate::catalog::TableName;
use crate::ids::Owner;
use crate::lake::{Lake, Version};
use crate::partition::{self, Term};
use crate::sweep::Swept;
use crate::work::{broken, hash};
use crate::writer::{Limits, TableWriter};
use crate::{commit, retype, schema, sweep};

/// Epochs whose data files share a folder: what a sweep lists.
pub(crate) const EPOCHS_PER_FOLDER: u64 = 64;
/// How often a change of the table's metadata is tried while others change it, too.
pub(crate) const TRIES: u32 = 100;
const PREVIOUS_VERSIONS: &str = "write.metadata.previous-versions-max";
const DELETE_AFTER_COMMIT: &str = "write.metadata.delete-after-commit.enabled";

/// In `unsure`: a creation or widening, which is of no lane.
pub(crate) const NO_LANE: &str = "";

/// What a commit does to the rows that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    Append,
    /// The partitions that the new rows fall in are replaced; the whole table where it has none.
    Replace,
    /// Rows with the same key are replaced.
    Upsert {
        key: Vec<String>,
    },
}

/// How pages of data files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    Snappy,
    Zstd,
    Lz4,
    Gzip,
    None,
}

impl Compression {
    fn codec(self) -> Codec {
        match self {
            Compression::Snappy => Codec::SNAPPY,
            Compression::Zstd => Codec::ZSTD(ZstdLevel::default()),
            Compression::Lz4 => Codec::LZ4_RAW,
            Compression::Gzip => Codec::GZIP(GzipLevel::default()),
            Compression::None => Codec::UNCOMPRESSED,
        }
    }
    fn name(self) -> &'static str {
        match self {
            Compression::Snappy => "snappy",
            Compression::Zstd => "zstd",
            Compression::Lz4 => "lz4",
            Compression::Gzip => "gzip",
            Compression::None => "uncompressed",
        }
    }
}

/// A target table, decided.
#[derive(Debug, Clone)]
pub struct Settings {
    pub name: TableName,
    /// Empty: a new table has no partitions, one that is there keeps its own.
    pub partition_by: Vec<Term>,
    pub mode: Mode,
    pub compression: Compression,
    /// Bytes of a data file, about.
    pub target_bytes: u64,
    /// For a new table.
    pub comment: Option<String>,
    /// For a new table.
    pub properties: BTreeMap<String, String>,
    /// Keep the rows of each source file apart, so that a commit can remove them.
    pub replaces: bool,
    /// Columns may change their types where that means to write data files again.
    pub retypes: bool,
}

/// A table that is ready for rows.
pub(crate) struct Prepared {
    pub version: Arc<Version>,
    /// The columns that files are staged with: the table's, but for those that get another type with the commit.
    pub schema: TableSchemaRef,
}

/// A table that a pipeline writes to.
pub struct Table {
    pub(crate) lake: Lake,
    pub(crate) pipeline: PipelineName,
    pub(crate) sink: SinkName,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    /// By lane: how far this process has swept.
    pub(crate) swept: Mutex<HashMap<String, Swept>>,
    /// Lanes whose last try of a commit may have left files behind.
    pub(crate) unsure: Mutex<HashSet<String>>,
}

impl Table {
    /// A table of `lake` for one target of a pipeline. Touches nothing.
    pub fn new(lake: Lake, pipeline: PipelineName, sink: SinkName, settings: Settings, clock: Arc<dyn Clock>) -> Table {
        Table { lake, pipeline, sink, settings, clock, limits: Limits::default(), swept: Mutex::default(), unsure: Mutex::default() }
    }

    /// With other bounds of what a writer holds open, for tests.
    #[must_use]
    pub fn with_open_files(mut self, files: usize) -> Table {
        self.limits.files = files;
        self
    }

    pub fn name(&self) -> &TableName {
        &self.settings.name
    }

    async fn prepared(&self, columns: &SchemaRef) -> Result<Prepared> {
        let name = self.name().to_string();
        for _ in 0..TRIES {
            let Some(version) = self.lake.load(self.name()).await? else {
                if let Some(version) = self.create(columns).await? {
                    return Ok(Prepared { schema: version.metadata.current_schema().clone(), version });
                }
                continue;
            };
            version.writable()?;
            let metadata = &version.metadata;
            self.same_partitions(metadata)?;
            let (rest, mut drafts) = retype::drafts(self, metadata, columns);
            let grown = schema::evolved(&name, metadata.current_schema(), metadata.last_column_id(), &rest)?;
            let now = grown.as_ref().unwrap_or(metadata.current_schema());
            self.has_key(now)?;
            let last = metadata.last_column_id().max(now.highest_field_id());
            let (draft, says) = retype::draft(now, last, &mut drafts)?;
            if grown.is_none() && says.is_empty() {
                return Ok(Prepared { schema: retype::staged_with(metadata.current_schema(), &drafts)?, version });
            }
            let mut builder = TableMetadataBuilder::new_from_metadata(metadata.as_ref().clone(), Some(version.location.clone()));
            let drafted = !says.is_empty();
            if let Some(grown) = grown {
                builder = builder.add_current_schema(grown).map_err(|e| self.unfit(e))?;
            }
            if drafted {
                builder = builder.add_schema(draft).and_then(|b| b.set_properties(says)).map_err(|e| self.unfit(e))?;
            }
            let built = builder.build().map_err(|e| self.unfit(e))?;
            let id = Owner::preparing(self).id(0);
            let next = Version {
                name: self.name().clone(),
                location: metadata_location(metadata.location(), next_number(&version.location), &id),
                metadata: Arc::new(built.metadata),
                manifests: version.manifests.clone(),
            };
            self.lake.write(&next.location, encode(&next.metadata)?).await?;
            if self.lake.catalog().swap(self.name(), &version.location, &next.location).await? {
                tracing::info!(table = name, "columns were added or widened");
                let next = Arc::new(next);
                self.lake.remember(&next);
                if !commit::forget_metadata(&self.lake, &next.metadata, &built.expired_metadata_logs).await {
                    self.unsure().insert(NO_LANE.to_owned());
                }
                return Ok(Prepared { schema: retype::staged_with(next.metadata.current_schema(), &drafts)?, version: next });
            }
            self.lake.storage().delete(&self.lake.path(&next.location)?).await?;
        }
        Err(busy(self.name()))
    }

    fn unfit(&self, e: iceberg::Error) -> Error {
        Error::config(format!("table `{}` cannot take the new columns: {}", self.name(), e.message())).source(e)
    }

    /// Creates the table, or widens it for `columns`.
    pub(crate) async fn prepare(&self, columns: &SchemaRef) -> Result<Prepared> {
        let prepared = self.prepared(columns).await;
        if prepared.is_err() {
            self.unsure().insert(NO_LANE.to_owned());
        }
        prepared
    }

    async fn create(&self, columns: &SchemaRef) -> Result<Option<Arc<Version>>> {
        let name = self.name().to_string();
        let schema = schema::new_schema(&name, columns)?;
        self.has_key(&schema)?;
        let spec = partition::spec(&self.settings.partition_by, &schema)?;
        let mut properties = HashMap::from([
            (PREVIOUS_VERSIONS.to_owned(), "20".to_owned()),
            (DELETE_AFTER_COMMIT.to_owned(), "true".to_owned()),
            ("write.parquet.compression-codec".to_owned(), self.settings.compression.name().to_owned()),
            ("write.target-file-size-bytes".to_owned(), self.settings.target_bytes.to_string()),
            (retype::CREATED_BY.to_owned(), self.pipeline.to_string()),
        ]);
        properties.extend(self.settings.comment.iter().map(|c| ("comment".to_owned(), c.clone())));
        properties.extend(self.settings.properties.clone());
        let folder = format!("{}/{}", self.name().namespace, self.name().name);
        let location = self.lake.storage().address(&folder);
        let built = TableMetadataBuilder::new(schema, spec, SortOrder::unsorted_order(), location.clone(), FormatVersion::V2, properties)
            .and_then(TableMetadataBuilder::build)
            .map_err(|e| Error::config(format!("table `{name}` cannot be created: {}", e.message())).source(e))?;
        let made = Arc::new(Version {
            name: self.name().clone(),
            location: metadata_location(&location, 0, &Owner::preparing(self).id(0)),
            metadata: Arc::new(built.metadata),
            manifests: Default::default(),
        });
        self.lake.write(&made.location, encode(&made.metadata)?).await?;
        if self.lake.catalog().create(self.name(), &made.location).await? {
            tracing::info!(table = name, "the table was created");
            self.lake.remember(&made);
            return Ok(Some(made));
        }
        self.lake.storage().delete(&self.lake.path(&made.location)?).await?;
        Ok(None)
    }

    fn same_partitions(&self, metadata: &TableMetadata) -> Result<()> {
        let spec = metadata.default_partition_spec();
        if spec.fields().iter().any(|f| f.transform == Transform::Unknown) {
            return Err(
                Error::config(format!("table `{}` is partitioned in a way that sluis does not know", self.name())).hint("write to another table")
            );
        }
        let wanted = &self.settings.partition_by;
        let has = partition::terms(spec, metadata.current_schema());
        if wanted.is_empty() || *wanted == has {
            return Ok(());
        }
        Err(Error::config(format!(
            "table `{}` is partitioned by {}, and the pipeline says {}",
            self.name(),
            partition::listed(&has),
            partition::listed(wanted)
        ))
        .hint("leave `partition_by` out, then the table's own is used; or write to a new table"))
    }

    fn has_key(&self, schema: &Schema) -> Result<()> {
        let Mode::Upsert { key } = &self.settings.mode else { return Ok(()) };
        for column in key {
            let field = schema.as_struct().fields().iter().find(|f| f.name == *column);
            let Some(field) = field else {
                return Err(
                    Error::config(format!("key: table `{}` has no column `{column}`", self.name())).hint("name columns of the rows that are written")
                );
            };
            if !field.field_type.is_primitive() || crate::upsert::inexact(&field.field_type) {
                let t = schema::sql_name(&field.field_type);
                return Err(Error::config(format!("key: column `{column}` ({t}) cannot be a key"))
                    .hint("take whole numbers, decimals, text, dates, timestamps, booleans or bytes"));
            }
        }
        Ok(())
    }

    /// A writer that stages data files.
    pub fn writer(self: &Arc<Self>, attempt: &Attempt) -> Box<dyn SinkWriter> {
        Box::new(TableWriter::new(self.clone(), attempt.clone()))
    }

    /// Creates or widens the table for `columns`. Repeatable.
    ///
    /// # Errors
    /// `ErrorKind::Config` where they do not fit, naming the column.
    pub async fn prepare_for(&self, columns: &SchemaRef) -> Result<()> {
        self.prepare(columns).await.map(|_| ())
    }

    /// Whether [`Table::prepare_for`] could make the table hold these columns. Changes nothing.
    ///
    /// # Errors
    /// `ErrorKind::Config` if not, as `prepare_for` would say it.
    pub async fn fits(&self, columns: &SchemaRef) -> Result<()> {
        let name = self.name().to_string();
        let Some(version) = self.lake.load(self.name()).await? else {
            let schema = schema::new_schema(&name, columns)?;
            self.has_key(&schema)?;
            return partition::spec(&self.settings.partition_by, &schema).map(|_| ());
        };
        let metadata = &version.metadata;
        let (rest, drafts) = retype::drafts(self, metadata, columns);
        match schema::evolved(&name, metadata.current_schema(), metadata.last_column_id(), &rest)? {
            Some(grown) => self.has_key(&grown)?,
            None => self.has_key(metadata.current_schema())?,
        }
        retype::possible(self, &version, &drafts).await
    }

    /// What landing rows with these columns would change in those that are there, a sentence each. Changes nothing.
    ///
    /// # Errors
    /// Those of catalog and storage.
    pub async fn changes(&self, columns: &SchemaRef) -> Result<Vec<String>> {
        let Some(version) = self.lake.load(self.name()).await? else { return Ok(Vec::new()) };
        let (_, drafts) = retype::drafts(self, &version.metadata, columns);
        Ok(retype::sentences(self, &drafts))
    }

    /// Makes an epoch visible, once.
    ///
    /// # Errors
    /// `ErrorKind::Conflict` if the table was changed in a way that cannot be reconciled.
    pub async fn commit(&self, key: &CommitKey, staged: StagedEpoch<'_>) -> Result<Receipt> {
        commit::commit(self, key, staged).await
    }

    /// Removes leftovers of attempts of this lane up to `up_to`.
    ///
    /// # Errors
    /// Those of storage and catalog.
    pub async fn sweep(&self, up_to: &CommitKey, keep: &[Committable]) -> Result<()> {
        sweep::sweep(self, up_to, keep).await
    }

    /// Tries whether the lake can be written to, leaving nothing behind.
    ///
    /// # Errors
    /// What is missing.
    pub async fn probe(&self) -> Result<Vec<String>> {
        let storage = self.lake.storage();
        let path = format!("_sluis/.probe-{}", Uuid::new_v4().simple());
        storage.put(&path, bytes::Bytes::from_static(b"sluis"), sluis_storage::IfExists::Fail).await?;
        storage.delete(&path).await?;
        let table = match self.lake.load(self.name()).await? {
            Some(version) => {
                version.writable()?;
                self.same_partitions(&version.metadata)?;
                format!("table `{}`: {} columns", self.name(), version.metadata.current_schema().as_struct().fields().len())
            }
            None => format!("table `{}`: will be created", self.name()),
        };
        Ok(vec![format!("{}: can write and delete", storage.root()), table])
    }

    pub(crate) fn properties(&self) -> WriterProperties {
        let created_by = format!("sluis {}", env!("CARGO_PKG_VERSION"));
        WriterProperties::builder().set_compression(self.settings.compression.codec()).set_created_by(created_by).build()
    }

    /// The folder of an epoch's data files, as a full address. Tables that had one name one after the other share a location, and no such folder.
    pub(crate) fn data_folder(&self, version: &Version, lane: &str, epoch: u64) -> String {
        // The end of an id is random, whatever its version.
        let (folder, table) = (epoch / EPOCHS_PER_FOLDER, version.metadata.uuid().as_u128() as u32);
        format!("{}/{folder:06}-{table:08x}", self.lane_folder(version, lane))
    }

    /// The folder of the folders of a lane's data files.
    pub(crate) fn lane_folder(&self, version: &Version, lane: &str) -> String {
        format!("{}/data/{}/{lane}/{}", version.metadata.location(), self.pipeline, self.sink)
    }

    /// The address of a data file of an attempt: its name says epoch, attempt, task, number and, if need be, its source file.
    pub(crate) fn data_path(&self, version: &Version, attempt: &Attempt, number: u32, origin: Option<&str>) -> String {
        let folder = self.data_folder(version, &attempt.lane.lane, attempt.epoch.0);
        let origin = origin.map(|o| format!("-{}", self.origin(o))).unwrap_or_default();
        format!("{folder}/{:010}-{}-{:05}-{number:05}{origin}.parquet", attempt.epoch.0, attempt.id, attempt.task)
    }

    /// What the names of data files with rows of a source file have in them.
    pub(crate) fn origin(&self, path: &str) -> String {
        format!("o{:032x}", hash([self.pipeline.as_str(), self.sink.as_str(), path]))
    }

    pub(crate) fn swept(&self) -> std::sync::MutexGuard<'_, HashMap<String, Swept>> {
        self.swept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn unsure(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.unsure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}

pub(crate) fn encode(metadata: &TableMetadata) -> Result<Vec<u8>> {
    serde_json::to_vec(metadata).map_err(|e| Error::internal("table metadata cannot be written").source(e))
}

pub(crate) fn deletes_old_metadata(metadata: &TableMetadata) -> bool {
    metadata.properties().get(DELETE_AFTER_COMMIT).is_some_and(|v| v == "true")
}

/// `…/metadata/00012-<uuid>.metadata.json`, as other engines name them.
pub(crate) fn metadata_location(table: &str, number: u64, id: &Uuid) -> String {
    format!("{table}/metadata/{number:05}-{id}.metadata.json")
}

/// The number in the name of a metadata file.
pub(crate) fn number(location: &str) -> Option<u64> {
    let name = location.rsplit('/').next().filter(|name| name.ends_with(".metadata.json"))?;
    name.split('-').next().and_then(|n| n.parse::<u64>().ok())
}

/// The number after that of a metadata file.
pub(crate) fn next_number(location: &str) -> u64 {
    number(location).map_or(0, |n| n + 1)
}

pub(crate) fn busy(table: &TableName) -> Error {
    Error::unavailable(format!("table `{table}` was changed by others each of {TRIES} times that it was to be changed"))
        .hint("run again when fewer programs write to it")
}

/// An error that says that the table is not what was staged for.
pub(crate) fn changed(table: &TableName, how: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("table `{table}` {how}"))
        .hint("put the table back as it was and run again (the rows are staged), or abandon them: `sluis rewind` lets the files be read again")
}

pub(crate) fn build(builder: TableMetadataBuilder) -> Result<iceberg::spec::TableMetadataBuildResult> {
    builder.build().map_err(broken("the table's new metadata do not hold together"))
}
