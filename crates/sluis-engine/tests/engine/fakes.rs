//! A world in memory: files, a source over them, targets, a clock, and pipelines of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt};
use sluis_core::{
    Attempt, Checkpoint, Clock, CommitKey, Committable, Discovery, EpochLimits, Error, ErrorKind, FileFormat, FileHistory, FileVersion, Guarantee,
    LaneId, LaneShard, Opened, PartitionId, PipelineName, Position, RawFile, Receipt, Result, RowCounts, Sink, SinkName, SinkWriter, Source, Split,
    StagedEpoch, Transform, WriteBatch, crash,
};
use sluis_engine::{Engine, Event, Job, JobSettings, Lane, Observer, Outcome, RunOptions, SqliteLedger, Stop};

/// Called when a piece of a file was given out: path and number of the piece, from 1.
type OnPiece = Box<dyn Fn(&Files, &str, usize) + Send + Sync>;

/// The source's files: bytes and version by path.
#[derive(Default)]
pub struct Files {
    pub now: Mutex<BTreeMap<String, (Bytes, u64)>>,
    versions: AtomicU64,
    pub on_piece: Mutex<Option<OnPiece>>,
    pub opened: AtomicU64,
    pub acknowledged: Mutex<BTreeSet<String>>,
    pub acknowledgements: AtomicU64,
    /// What operations fail with: name and how often.
    pub faults: Faults,
}

impl Files {
    pub fn put(&self, path: &str, text: impl Into<Bytes>) {
        let version = self.versions.fetch_add(1, Ordering::SeqCst) + 1;
        self.now.lock().unwrap().insert(path.to_owned(), (text.into(), version));
    }
    pub fn remove(&self, path: &str) {
        self.now.lock().unwrap().remove(path);
    }
    fn version(&self, path: &str) -> Option<FileVersion> {
        let now = self.now.lock().unwrap();
        let (bytes, version) = now.get(path)?;
        Some(FileVersion { path: path.to_owned(), size: bytes.len() as u64, modified: None, etag: Some(version.to_string()) })
    }
}

/// Makes operations fail, a number of times each.
#[derive(Default)]
pub struct Faults(Mutex<BTreeMap<&'static str, (u64, fn() -> Error)>>);

impl Faults {
    pub fn set(&self, operation: &'static str, times: u64, error: fn() -> Error) {
        self.0.lock().unwrap().insert(operation, (times, error));
    }
    fn pass(&self, operation: &'static str) -> Result<()> {
        match self.0.lock().unwrap().get_mut(operation) {
            Some((left, error)) if *left > 0 => {
                *left -= 1;
                Err(error())
            }
            _ => Ok(()),
        }
    }
}

/// A source of the files, in the order of their paths.
pub struct FakeSource {
    pub files: Arc<Files>,
    pub constants: SchemaRef,
}

#[async_trait]
impl Source for FakeSource {
    async fn discover(&self, from: &Checkpoint, limits: &EpochLimits, shard: LaneShard, history: &dyn FileHistory) -> Result<Discovery> {
        self.files.faults.pass("discover")?;
        let partition = PartitionId("files".into());
        let start = from.position(&partition).number().unwrap();
        let paths: Vec<String> = self.files.now.lock().unwrap().keys().filter(|p| shard.holds(p)).cloned().collect();
        let known = history.lookup(&paths).await?;
        let mut splits = Vec::new();
        let mut more = false;
        for (path, known) in paths.iter().zip(known) {
            let version = self.files.version(path).unwrap();
            if known.as_ref().is_some_and(|k| k.version.same_version(&version)) {
                continue;
            }
            if splits.len() as u64 == limits.files {
                more = true;
                break;
            }
            let n = start + splits.len() as u64;
            let name = path.rsplit('/').next().unwrap().split('.').next().unwrap();
            let constants = self.constants.fields().iter().filter(|f| !f.name().starts_with('_'));
            splits.push(Split {
                partition: partition.clone(),
                from: Position::Number(n),
                to: Some(Position::Number(n + 1)),
                file: Some(version),
                constants: constants.map(|f| (f.name().clone(), name.to_owned())).collect(),
                replaces: known.is_some_and(|k| k.landed_before),
                apart: false,
                detail: serde_json::Value::Null,
            });
        }
        let mut to = from.clone();
        to.set(partition, Position::Number(start + splits.len() as u64));
        Ok(Discovery { splits, to, more, notes: Vec::new() })
    }
    async fn open(&self, split: &Split) -> Result<Opened> {
        self.files.faults.pass("open")?;
        self.files.opened.fetch_add(1, Ordering::SeqCst);
        let version = split.file.clone().unwrap();
        Ok(Opened::File(Arc::new(FakeFile { files: self.files.clone(), version })))
    }
    fn constant_columns(&self) -> SchemaRef {
        self.constants.clone()
    }
    async fn acknowledge(&self, splits: &[Split]) -> Result<()> {
        crash::point("acknowledge.before")?;
        self.files.faults.pass("acknowledge")?;
        self.files.acknowledgements.fetch_add(1, Ordering::SeqCst);
        for (i, split) in splits.iter().enumerate() {
            if i == splits.len() / 2 {
                crash::point("acknowledge.mid")?;
            }
            self.files.acknowledged.lock().unwrap().insert(split.name().to_owned());
        }
        crash::point("acknowledge.after")
    }
    async fn probe(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

struct FakeFile {
    files: Arc<Files>,
    version: FileVersion,
}

impl FakeFile {
    fn bytes(&self) -> Result<Bytes> {
        self.files.faults.pass("read")?;
        let gone = |how: &str| Error::new(ErrorKind::SourceChanged, format!("{} {how}", self.version.path));
        let now = self.files.version(&self.version.path).ok_or_else(|| gone("is gone"))?;
        if !now.same_version(&self.version) {
            return Err(gone("was rewritten"));
        }
        Ok(self.files.now.lock().unwrap()[&self.version.path].0.clone())
    }
}

/// Bytes of a piece.
pub const PIECE: usize = 64 * 1024;

#[async_trait]
impl RawFile for FakeFile {
    fn version(&self) -> &FileVersion {
        &self.version
    }
    async fn stream(&self) -> Result<BoxStream<'static, Result<Bytes>>> {
        let all = self.bytes()?;
        let me = FakeFile { files: self.files.clone(), version: self.version.clone() };
        let pieces = (0..all.len().div_ceil(PIECE)).map(move |n| {
            let bytes = me.bytes()?;
            if let Some(on_piece) = &*me.files.on_piece.lock().unwrap() {
                on_piece(&me.files, &me.version.path, n + 1);
            }
            Ok(bytes.slice(n * PIECE..bytes.len().min((n + 1) * PIECE)))
        });
        Ok(stream::iter(pieces).boxed())
    }
    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        Ok(self.bytes()?.slice(range.start as usize..range.end as usize))
    }
    async fn verify(&self) -> Result<()> {
        self.bytes().map(drop)
    }
}

/// What one writer staged.
struct Heap {
    epoch: u64,
    origin: Option<String>,
    batch: RecordBatch,
}

/// A target in memory: heaps by handle; a heap is a batch as it was written.
#[derive(Default)]
pub struct Target {
    staged: Mutex<BTreeMap<String, Heap>>,
    visible: Mutex<BTreeMap<String, Heap>>,
    pub commits: Mutex<Vec<CommitKey>>,
    pub prepared: Mutex<Vec<SchemaRef>>,
    pub faults: Faults,
    /// Rows that writers conceal.
    pub conceals: AtomicU64,
    /// Whether a write waits for ever.
    pub stuck: std::sync::atomic::AtomicBool,
}

impl Target {
    /// Rows that readers see, in the order written, as `a|b`; nulls are `∅`.
    pub fn rows(&self) -> Vec<String> {
        self.visible.lock().unwrap().values().flat_map(|heap| text(&heap.batch)).collect()
    }
    pub fn sorted(&self) -> Vec<String> {
        let mut rows = self.rows();
        rows.sort();
        rows
    }
    pub fn batches(&self) -> Vec<RecordBatch> {
        self.visible.lock().unwrap().values().map(|heap| heap.batch.clone()).collect()
    }
    pub fn origins(&self) -> Vec<Option<String>> {
        self.visible.lock().unwrap().values().map(|heap| heap.origin.clone()).collect()
    }
    pub fn staged_heaps(&self) -> usize {
        self.staged.lock().unwrap().len()
    }
}

fn text(batch: &RecordBatch) -> Vec<String> {
    let columns: Vec<_> = batch.columns().iter().map(|c| sluis_formats::cast_column(c, &DataType::Utf8).unwrap()).collect();
    let cell = |c: &Arc<dyn Array>, row| if c.is_null(row) { "∅".to_owned() } else { c.as_string::<i32>().value(row).to_owned() };
    (0..batch.num_rows()).map(|row| columns.iter().map(|c| cell(c, row)).collect::<Vec<_>>().join("|")).collect()
}

pub struct FakeSink {
    name: SinkName,
    target: Arc<Target>,
}

#[async_trait]
impl Sink for FakeSink {
    fn name(&self) -> &SinkName {
        &self.name
    }
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce("it is a map".into())
    }
    async fn prepare(&self, schema: &SchemaRef) -> Result<()> {
        self.target.faults.pass("prepare")?;
        self.target.prepared.lock().unwrap().push(schema.clone());
        Ok(())
    }
    async fn writer(&self, attempt: &Attempt) -> Result<Box<dyn SinkWriter>> {
        self.target.faults.pass("writer")?;
        assert!(attempt.id.chars().all(char::is_alphanumeric));
        Ok(Box::new(FakeWriter { name: self.name.clone(), target: self.target.clone(), attempt: attempt.clone(), done: Vec::new() }))
    }
    async fn commit(&self, key: &CommitKey, staged: StagedEpoch<'_>) -> Result<Receipt> {
        self.target.faults.pass("commit")?;
        crash::point("sink.before_publish")?;
        let mut already = true;
        self.target
            .visible
            .lock()
            .unwrap()
            .retain(|_, heap| heap.epoch >= key.epoch.0 || !heap.origin.as_ref().is_some_and(|o| staged.replaced.contains(o)));
        for (i, committable) in staged.committables.iter().enumerate() {
            let handle = committable.handle.as_str().unwrap();
            if let Some(heap) = self.target.staged.lock().unwrap().remove(handle) {
                assert_eq!(heap.epoch, key.epoch.0);
                let (lane, _, rest) = parts(handle);
                let order = format!("{:>04}/{lane}/{rest}", key.epoch.0);
                assert!(self.target.visible.lock().unwrap().insert(order, heap).is_none());
                already = false;
            }
            if i + 1 < staged.committables.len() {
                crash::point("sink.mid_publish")?;
            }
        }
        crash::point("sink.after_publish")?;
        self.target.faults.pass("commit answer")?;
        self.target.commits.lock().unwrap().push(key.clone());
        Ok(Receipt { sink: self.name.clone(), detail: serde_json::Value::Null, already })
    }
    async fn sweep(&self, up_to: &CommitKey, keep: &[Committable]) -> Result<()> {
        crash::point("sweep.before")?;
        self.target.faults.pass("sweep")?;
        let keep: BTreeSet<&str> = keep.iter().map(|c| c.handle.as_str().unwrap()).collect();
        let lane = up_to.lane.to_string();
        self.target
            .staged
            .lock()
            .unwrap()
            .retain(|handle, heap| heap.epoch > up_to.epoch.0 || parts(handle).0 != lane || keep.contains(handle.as_str()));
        crash::point("sweep.after")
    }
    async fn probe(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// Lane, attempt, and what orders heaps: `pipeline/lane:attempt:task/number`.
fn parts(handle: &str) -> (&str, &str, &str) {
    let mut parts = handle.split(':');
    (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
}

struct FakeWriter {
    name: SinkName,
    target: Arc<Target>,
    attempt: Attempt,
    done: Vec<Committable>,
}

#[async_trait]
impl SinkWriter for FakeWriter {
    async fn write(&mut self, batch: WriteBatch) -> Result<()> {
        self.target.faults.pass("write")?;
        if self.target.stuck.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let a = &self.attempt;
        let handle = format!("{}:{}:{:>03}/{:>06}", a.lane, a.id, a.task, self.done.len());
        let rows = (batch.batch.num_rows() as u64).saturating_sub(self.target.conceals.load(Ordering::SeqCst));
        let heap = Heap { epoch: a.epoch.0, origin: batch.origin.map(|o| o.to_string()), batch: batch.batch };
        self.target.staged.lock().unwrap().insert(handle.clone(), heap);
        self.done.push(Committable { sink: self.name.clone(), rows, bytes: 0, handle: handle.into() });
        Ok(())
    }
    async fn close(self: Box<Self>) -> Result<Vec<Committable>> {
        self.target.faults.pass("close")?;
        Ok(self.done)
    }
}

/// A clock that tests move.
pub struct HandClock(AtomicI64);

impl HandClock {
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.0.load(Ordering::SeqCst), 0).unwrap()
    }
}

/// Remembers events.
#[derive(Default)]
pub struct Recorder(pub Mutex<Vec<Event>>);

impl Observer for Recorder {
    fn event(&self, _: &LaneId, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

/// All of it, and a pipeline.
pub struct World {
    pub files: Arc<Files>,
    pub target: Arc<Target>,
    pub rejects: Arc<Target>,
    pub clock: Arc<HandClock>,
    pub events: Arc<Recorder>,
    pub engine: Engine,
    pub job: Job,
    pub lane: Lane,
}

impl World {
    /// A pipeline of CSV with a header into one target, one task, one thread.
    pub fn new() -> World {
        World::with_format(serde_json::json!({ "columns": { "n": "bigint", "name": "string" } }))
    }

    pub fn with_format(csv: serde_json::Value) -> World {
        let format: Arc<dyn FileFormat> = (sluis_formats::CSV.reader.unwrap())(&csv).unwrap();
        let (files, target, rejects) = (Arc::<Files>::default(), Arc::<Target>::default(), Arc::<Target>::default());
        let clock = Arc::new(HandClock(AtomicI64::new(1_700_000_000)));
        let events = Arc::<Recorder>::default();
        let pipeline = PipelineName::new("p");
        let sink = |name: &str, target: &Arc<Target>| Arc::new(FakeSink { name: SinkName::new(name), target: target.clone() }) as Arc<dyn Sink>;
        let job = Job {
            pipeline: pipeline.clone(),
            source: Arc::new(FakeSource { files: files.clone(), constants: Arc::new(Schema::empty()) }),
            format: Some(format),
            declared: (sluis_formats::CSV.declared_columns)(&csv).unwrap_or_else(|| Arc::new(Schema::empty())),
            contract: Default::default(),
            transform: None,
            sinks: vec![sink("memory", &target)],
            rejects: sink("rejects", &rejects),
            limits: EpochLimits { files: 1000, bytes: u64::MAX, rows: u64::MAX },
            budget: Arc::new(|_: &RowCounts| None),
            settings: JobSettings {
                tasks: 1,
                threads: 1,
                batch_rows: 1000,
                sample_files: 8,
                corrupt_files_are_rejected: false,
                tries: 3,
                replaces_files: false,
            },
        };
        let engine = Engine { ledger: Arc::new(SqliteLedger::in_memory(clock.clone()).unwrap()), clock: clock.clone(), observer: events.clone() };
        World { files, target, rejects, clock, events, engine, lane: Lane::main(&pipeline), job }
    }

    pub fn constants(&mut self, schema: SchemaRef) {
        self.job.source = Arc::new(FakeSource { files: self.files.clone(), constants: schema });
    }

    pub fn transform(&mut self, transform: impl Transform + 'static) {
        self.job.transform = Some(Arc::new(transform));
    }

    /// A second target.
    pub fn second_target(&mut self) -> Arc<Target> {
        let target = Arc::<Target>::default();
        self.job.sinks.push(Arc::new(FakeSink { name: SinkName::new("memory_2"), target: target.clone() }));
        target
    }

    pub async fn run(&self) -> Outcome {
        self.run_until(&Stop::default()).await
    }

    pub async fn run_until(&self, stop: &Stop) -> Outcome {
        self.engine.run(&self.job, &self.lane, &RunOptions::default(), stop).await
    }

    /// Runs to a good end.
    pub async fn must_run(&self) -> sluis_engine::Summary {
        let Outcome { summary, error } = self.run().await;
        assert!(error.is_none(), "{error:?}");
        summary
    }

    pub fn told(&self, of: impl Fn(&Event) -> bool) -> usize {
        self.events.0.lock().unwrap().iter().filter(|e| of(e)).count()
    }
}

/// A CSV of rows `n,name` for each `n`.
pub fn csv(numbers: Range<i64>) -> String {
    let rows: String = numbers.map(|n| format!("{n},row {n}\n")).collect();
    format!("n,name\n{rows}")
}

/// What targets hold of such rows.
pub fn expected(numbers: Range<i64>) -> Vec<String> {
    numbers.map(|n| format!("{n}|row {n}")).collect()
}
