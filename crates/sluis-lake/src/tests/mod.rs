//! The lake as a whole: what commits do, what crashes leave, what other engines read.

mod commits;
mod crashes;
mod many;
mod partitions;
mod readers;
mod retypes;
mod schemas;
mod upserts;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{Field, Schema};
use futures::TryStreamExt;
use sluis_core::clock::FixedClock;
use sluis_core::{Attempt, CommitKey, Committable, Epoch, LaneId, PipelineName, Receipt, Result, SinkName, StagedEpoch, WriteBatch};
use sluis_storage::StorageRef;
use sluis_storage::local::LocalStorage;
use tempfile::TempDir;

use crate::catalog::{SqliteCatalog, TableName};
use crate::lake::Lake;
use crate::partition::Term;
use crate::table::{Compression, Mode, Settings, Table};

/// A lake in a folder of its own.
struct World {
    dir: TempDir,
}

impl World {
    fn new() -> World {
        World { dir: tempfile::tempdir().expect("a folder") }
    }
    fn root(&self) -> PathBuf {
        std::fs::canonicalize(self.dir.path()).expect("the folder").join("lake")
    }
    fn db(&self) -> PathBuf {
        self.root().join("catalog.db")
    }
    /// As another process would open it: nothing is remembered.
    fn lake(&self) -> Lake {
        let storage: StorageRef = Arc::new(LocalStorage::new(self.root()).expect("a storage"));
        Lake::with(storage, Arc::new(SqliteCatalog::new(self.db(), "lake")))
    }
    fn table(&self, settings: Settings) -> Arc<Table> {
        self.table_of("p", settings)
    }
    fn table_of(&self, pipeline: &str, settings: Settings) -> Arc<Table> {
        let clock = Arc::new(FixedClock(chrono::DateTime::from_timestamp(1_700_000_000, 0).expect("a time")));
        Arc::new(Table::new(self.lake(), PipelineName::new(pipeline), SinkName::new("table"), settings, clock))
    }
    /// All files below the lake's folder, but the catalog's.
    fn files(&self) -> Vec<String> {
        fn walk(folder: &Path, root: &Path, out: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    walk(&entry.path(), root, out);
                } else {
                    out.push(entry.path().strip_prefix(root).expect("below").to_string_lossy().into_owned());
                }
            }
        }
        let mut out = Vec::new();
        walk(&self.root(), &self.root(), &mut out);
        out.retain(|f| !f.starts_with("catalog.db"));
        out.sort();
        out
    }
    fn data_files(&self) -> usize {
        self.files().iter().filter(|f| f.ends_with(".parquet")).count()
    }
    /// The values of `id`, sorted, as SQL would see them.
    async fn ids(&self, table: &str) -> Vec<i64> {
        let mut ids: Vec<i64> =
            self.rows(table).await.iter().flat_map(|b| b.column_by_name("id").expect("id").as_primitive::<Int64Type>().values().to_vec()).collect();
        ids.sort_unstable();
        ids
    }
    async fn rows(&self, table: &str) -> Vec<RecordBatch> {
        let path: Vec<String> = table.split('.').map(str::to_owned).collect();
        let source = self.lake().resolver().resolve(&path).await.expect("resolve").expect("the table");
        let batches: Vec<RecordBatch> = source.scan(None).await.expect("scan").try_collect().await.expect("rows");
        assert!(batches.iter().all(|b| b.schema() == source.schema()), "batches are as the schema says");
        batches
    }
}

fn settings(name: &str) -> Settings {
    Settings {
        name: TableName::parse(name).expect("a name"),
        partition_by: vec![],
        mode: Mode::Append,
        compression: Compression::Snappy,
        target_bytes: 64 << 20,
        comment: None,
        properties: Default::default(),
        replaces: false,
        retypes: false,
    }
}

fn by(mut settings: Settings, terms: &[&str]) -> Settings {
    settings.partition_by = terms.iter().map(|t| t.parse::<Term>().expect("a term")).collect();
    settings
}

fn upsert(mut settings: Settings, key: &[&str]) -> Settings {
    settings.mode = Mode::Upsert { key: key.iter().map(|k| (*k).to_owned()).collect() };
    settings
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> = columns.iter().map(|(n, a)| Field::new(*n, a.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, a)| a).collect()).expect("a batch")
}

fn ids(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let values: Vec<i64> = values.into_iter().collect();
    let text = StringArray::from_iter_values(values.iter().map(|v| format!("v{v}")));
    batch(vec![("id", Arc::new(Int64Array::from(values))), ("text", Arc::new(text))])
}

fn key(pipeline: &str, epoch: u64) -> CommitKey {
    CommitKey { lane: LaneId::new(pipeline, "main"), sink: SinkName::new("table"), epoch: Epoch(epoch) }
}

fn attempt(pipeline: &str, epoch: u64, id: &str) -> Attempt {
    Attempt { lane: LaneId::new(pipeline, "main"), epoch: Epoch(epoch), task: 0, id: id.to_owned() }
}

/// Stages rows, each batch with its source file.
async fn stage_from(table: &Arc<Table>, epoch: u64, id: &str, batches: Vec<(Option<&str>, RecordBatch)>) -> Result<Vec<Committable>> {
    let mut writer = table.writer(&attempt(table.pipeline.as_str(), epoch, id));
    for (origin, batch) in batches {
        writer.write(WriteBatch { batch, origin: origin.map(Into::into) }).await?;
    }
    writer.close().await
}

async fn stage(table: &Arc<Table>, epoch: u64, batches: Vec<RecordBatch>) -> Result<Vec<Committable>> {
    stage_from(table, epoch, &format!("a{epoch}"), batches.into_iter().map(|b| (None, b)).collect()).await
}

async fn commit(table: &Arc<Table>, epoch: u64, staged: &[Committable]) -> Result<Receipt> {
    table.commit(&key(table.pipeline.as_str(), epoch), StagedEpoch { committables: staged, replaced: &[] }).await
}

/// A whole epoch.
async fn land(table: &Arc<Table>, epoch: u64, batches: Vec<RecordBatch>) -> Vec<Committable> {
    let staged = stage(table, epoch, batches).await.expect("stage");
    let receipt = commit(table, epoch, &staged).await.expect("commit");
    assert!(!receipt.already);
    table.sweep(&key(table.pipeline.as_str(), epoch), &staged).await.expect("sweep");
    staged
}
