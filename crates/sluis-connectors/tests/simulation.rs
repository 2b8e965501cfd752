//! The files and table targets under the simulator: the real engine, the real ledger and the real sinks' code, over files in memory that
//! fail, tear and forget to answer; every schedule of a bounded search, and random ones beyond.
//!
//! A failing schedule is printed: replay it with `crash_run(world(…), faults, &mut Choices::written("…"))`.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::{FutureExt, TryStreamExt};
use serde_json::{Value, json};
use sluis_connectors::files_sink::{FilesSink, Settings};
use sluis_connectors::table::{TableSettings, TableSink};
use sluis_core::{PipelineName, Result, Sink, SinkName};
use sluis_lake::catalog::{Catalog, SqliteCatalog};
use sluis_lake::{Lake, TableName};
use sluis_storage::Storage;
use sluis_storage::memory::MemoryStorage;
use sluis_testkit::simulator::choices::{every, random};
use sluis_testkit::simulator::clock::SimClock;
use sluis_testkit::simulator::drive::{Faults, Pauses, crash_run, zombie_run};
use sluis_testkit::simulator::lines::text;
use sluis_testkit::simulator::process::{Process, Room};
use sluis_testkit::simulator::source::OnOverwrite;
use sluis_testkit::simulator::storage::SimStorage;
use sluis_testkit::simulator::world::{Change, Shape, Target, World};

/// A folder of JSON lines.
struct Files {
    storage: MemoryStorage,
    replaces: bool,
    columns: &'static [&'static str],
}

impl Files {
    fn new(replaces: bool, columns: &'static [&'static str]) -> Self {
        Self { storage: MemoryStorage::default(), replaces, columns }
    }
}

fn cell(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Target for Files {
    fn sink(&self, name: &SinkName, process: &Process) -> Arc<dyn Sink> {
        let settings = json!({ "url": "out", "format": "json", "roll": { "rows": 2 } });
        let settings = Settings::parse(&settings).unwrap_or_else(|_| panic!("settings"));
        let storage = Arc::new(SimStorage::new(self.storage.clone(), process.clone()));
        Arc::new(FilesSink::new("sim", name, storage, settings, self.replaces).expect("a files target"))
    }

    fn rows(&self) -> Result<Vec<String>, String> {
        let mut rows = Vec::new();
        for path in self.storage.paths().iter().filter(|p| !p.starts_with("_sluis/")) {
            let bytes = self.storage.bytes(path).unwrap_or_default();
            for line in String::from_utf8_lossy(&bytes).lines() {
                let row: Value = serde_json::from_str(line).map_err(|e| format!("{path} is torn: {e}"))?;
                rows.push(self.columns.iter().map(|c| cell(&row[*c])).collect::<Vec<_>>().join(","));
            }
        }
        Ok(rows)
    }

    fn leftovers(&self) -> Vec<String> {
        self.storage.paths().into_iter().filter(|p| p.starts_with("_sluis/") && !p.starts_with("_sluis/.sources/")).collect()
    }

    fn whole_epochs(&self) -> bool {
        false
    }
}

/// What a table's rows do to those that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Append,
    Replace,
    ReplaceParts,
    Upsert,
}

/// A table of a lake in memory, with the SQLite catalog. So few snapshots are kept that some expire with almost every commit.
struct Table {
    storage: MemoryStorage,
    catalog: SqliteCatalog,
    clock: SimClock,
    replaces: bool,
    mode: Mode,
    /// What the metadata file at a location shows.
    read: Mutex<Option<(String, Vec<String>)>>,
}

impl Table {
    fn new(replaces: bool, mode: Mode) -> Self {
        let catalog = SqliteCatalog::new(":memory:", "lake");
        Self { storage: MemoryStorage::default(), catalog, clock: SimClock::default(), replaces, mode, read: Mutex::default() }
    }

    fn settings(&self) -> TableSettings {
        let mut config = match self.mode {
            Mode::Append => json!({}),
            Mode::Replace => json!({ "mode": "replace" }),
            Mode::ReplaceParts => json!({ "mode": "replace", "partition_by": ["truncate(4, id)"] }),
            Mode::Upsert => json!({ "mode": "upsert", "key": ["id"] }),
        };
        config["name"] = json!("rows");
        config["properties"] = json!({ "history.expire.min-snapshots-to-keep": "1" });
        TableSettings::parse(&config).expect("settings")
    }

    fn name() -> TableName {
        TableName::parse("rows").expect("a name")
    }

    fn lake(&self) -> Lake {
        Lake::with(Arc::new(self.storage.clone()), Arc::new(self.catalog.clone()))
    }
}

/// Without tokio nothing waits.
fn now<T>(work: impl Future<Output = Result<T>>) -> Result<T, String> {
    work.now_or_never().expect("nothing waits in memory").map_err(|e| format!("{e:?}"))
}

impl Target for Table {
    fn sink(&self, name: &SinkName, process: &Process) -> Arc<dyn Sink> {
        let storage = Arc::new(SimStorage::new(self.storage.clone(), process.clone()));
        let lake = Lake::with(storage, Arc::new(SimCatalog { inner: self.catalog.clone(), process: process.clone() }));
        let clock = Arc::new(self.clock.clone());
        Arc::new(TableSink::new(lake, PipelineName::new("sim"), name, self.settings(), self.replaces, true, clock).expect("a table target"))
    }

    fn rows(&self) -> Result<Vec<String>, String> {
        let Some(location) = now(self.catalog.load(&Self::name()))? else { return Ok(vec![]) };
        let mut read = self.read.lock().unwrap_or_else(|e| e.into_inner());
        if let Some((_, rows)) = read.as_ref().filter(|(at, _)| *at == location) {
            return Ok(rows.clone());
        }
        // Readers of SQL live in tokio; nobody else does here.
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let batches = runtime.block_on(async {
            let table = self.lake().resolver().resolve(&Self::name().parts()).await?.expect("the table");
            table.scan(None).await?.try_collect::<Vec<_>>().await
        });
        let batches = batches.map_err(|e: sluis_core::Error| format!("{e:?}"))?;
        let rows: Vec<String> = batches.iter().flat_map(|b| text(b, &["id", "value"])).collect();
        *read = Some((location, rows.clone()));
        Ok(rows)
    }

    /// Files that no metadata name.
    fn leftovers(&self) -> Vec<String> {
        let named = now(self.lake().named_files(&Self::name())).expect("the table's files");
        self.storage.paths().into_iter().filter(|p| !named.contains(&self.storage.address(p))).collect()
    }

    fn whole_epochs(&self) -> bool {
        true
    }

    fn part(&self) -> Option<fn(&str) -> i64> {
        fn id(row: &str) -> i64 {
            row.split(',').next().and_then(|id| id.parse().ok()).expect("an id")
        }
        match self.mode {
            Mode::Append => None,
            Mode::Replace => Some(|_| 0),
            Mode::ReplaceParts => Some(|row| id(row) / 4),
            Mode::Upsert => Some(id),
        }
    }
}

/// The catalog of a process: each call is a step.
#[derive(Clone)]
struct SimCatalog {
    inner: SqliteCatalog,
    process: Process,
}

impl std::fmt::Debug for SimCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl Catalog for SimCatalog {
    async fn load(&self, table: &TableName) -> Result<Option<String>> {
        self.process.effect(Room::Storage, "read the catalog", self.inner.load(table)).await
    }
    async fn swap(&self, table: &TableName, old: &str, new: &str) -> Result<bool> {
        self.process.effect(Room::Storage, "swap", self.inner.swap(table, old, new)).await
    }
    async fn create(&self, table: &TableName, location: &str) -> Result<bool> {
        self.process.effect(Room::Storage, "create table", self.inner.create(table, location)).await
    }
    async fn list(&self) -> Result<Vec<TableName>> {
        self.process.effect(Room::Storage, "list tables", self.inner.list()).await
    }
    async fn remove(&self, table: &TableName) -> Result<bool> {
        self.process.effect(Room::Storage, "remove table", self.inner.remove(table)).await
    }
}

#[derive(Debug, Clone, Copy)]
enum To {
    Files,
    Table(Mode),
    Both,
}

const TABLE: To = To::Table(Mode::Append);

fn world(to: To, shape: Shape, changes: &[Change]) -> World {
    let (targets, rejects) = targets(to, shape);
    World::new(shape, targets, rejects, changes)
}

/// Its values are numbers, until one is not.
fn world_of_numbers(to: To, shape: Shape, changes: &[Change]) -> World {
    let (targets, rejects) = targets(to, shape);
    let files: [(&str, &[&str]); 3] = [("in/a", &["1,10", "oops", "2,20"]), ("in/b", &["4,40"]), ("in/d", &["5,fifty", "8,80"])];
    World::with_files(shape, targets, rejects, &files, changes)
}

fn targets(to: To, shape: Shape) -> (Vec<Box<dyn Target>>, Box<dyn Target>) {
    let replaces = shape.on_overwrite == OnOverwrite::Replace;
    let (files, table) = (|| Box::new(Files::new(replaces, &["id", "value"])), |mode| Box::new(Table::new(replaces, mode)));
    let targets: Vec<Box<dyn Target>> = match to {
        To::Files => vec![files()],
        To::Table(mode) => vec![table(mode)],
        To::Both => vec![files(), table(Mode::Append)],
    };
    (targets, Box::new(Files::new(false, &["file", "line"])))
}

/// Its rows take places where they may: of one key, and of a part.
const COMES_OVER: Change = |files| files.put("in/c", &["2,c1", "6,c2"]);
const COMES: Change = |files| files.put("in/c", &["6,c1"]);
const CHANGES: Change = |files| files.put("in/b", &["7,b3", "bad", "8,b4", "9,b5"]);
const SHRINKS: Change = |files| files.put("in/a", &["10,a9"]);

fn one_file_an_epoch() -> Shape {
    Shape { tasks: 1, files_per_epoch: 1, batch_rows: 8, ..Shape::default() }
}

#[test]
fn three_crashes_at_named_points_into_files() {
    let shape = Shape { files_per_epoch: 2, ..one_file_an_epoch() };
    let runs = every(|c| crash_run(world(To::Files, shape, &[]), Faults::points(3), c)).clean("files");
    assert!(runs > 1_000, "{runs}");
}

#[test]
fn three_crashes_at_named_points_into_a_table() {
    let shape = Shape { files_per_epoch: 2, ..one_file_an_epoch() };
    let runs = every(|c| crash_run(world(TABLE, shape, &[]), Faults::points(3), c)).clean("table");
    assert!(runs > 500, "{runs}");
}

#[test]
fn two_crashes_at_named_points_into_a_table_whose_rows_take_others_places() {
    for mode in [Mode::Replace, Mode::ReplaceParts, Mode::Upsert] {
        let runs = every(|c| crash_run(world(To::Table(mode), one_file_an_epoch(), &[COMES_OVER]), Faults::points(2), c)).clean(&format!("{mode:?}"));
        assert!(runs > 100, "{mode:?}: {runs}");
    }
}

#[test]
fn any_fault_at_any_step() {
    for mode in [Mode::ReplaceParts, Mode::Upsert] {
        let run = |c: &mut _| crash_run(world(To::Table(mode), one_file_an_epoch(), &[COMES_OVER]), Faults::everywhere(1), c);
        let runs = every(run).clean(&format!("{mode:?}"));
        assert!(runs > 200, "{mode:?}: {runs}");
    }
    for to in [To::Files, TABLE, To::Both] {
        let runs = every(|c| crash_run(world(to, Shape::default(), &[COMES]), Faults::everywhere(1), c)).clean(&format!("{to:?}"));
        assert!(runs > 150, "{runs}");
    }
}

#[test]
fn random_faults_while_files_change() {
    let faults = Faults { changes_while_running: true, ..Faults::everywhere(3) };
    for on_overwrite in [OnOverwrite::Append, OnOverwrite::Replace] {
        for (to, runs) in [(To::Files, 150), (TABLE, 40), (To::Both, 40)] {
            let shape = Shape { on_overwrite, ..Shape::default() };
            let run = |c: &mut _| crash_run(world(to, shape, &[COMES, CHANGES, SHRINKS]), faults, c);
            random(1, runs, 30, run).clean(&format!("{to:?}, {on_overwrite:?}"));
        }
    }
}

#[test]
fn two_lanes_under_random_faults() {
    for to in [To::Files, TABLE] {
        let shape = Shape { lanes: 2, ..one_file_an_epoch() };
        random(1, 60, 30, |c| crash_run(world(to, shape, &[COMES]), Faults::everywhere(3), c)).clean(&format!("{to:?}"));
    }
}

#[test]
fn sleepers_that_wake_up() {
    let one_epoch = Shape { files_per_epoch: 3, ..one_file_an_epoch() };
    for to in [To::Files, TABLE] {
        let runs = every(|c| zombie_run(world(to, one_epoch, &[COMES]), Pauses::Points, c)).clean(&format!("{to:?}"));
        assert!(runs > 300, "{to:?}: {runs}");
    }
    random(1, 400, 12, |c| zombie_run(world(To::Files, one_epoch, &[COMES]), Pauses::Effects, c)).clean("files");
    random(1, 60, 12, |c| zombie_run(world(TABLE, one_epoch, &[COMES]), Pauses::Effects, c)).clean("table");
}

#[test]
fn sleepers_that_wake_up_where_files_are_replaced() {
    let replace = Shape { on_overwrite: OnOverwrite::Replace, ..one_file_an_epoch() };
    random(1, 150, 20, |c| zombie_run(world(To::Files, replace, &[CHANGES]), Pauses::Effects, c)).clean("files");
    random(1, 40, 20, |c| zombie_run(world(TABLE, replace, &[CHANGES]), Pauses::Effects, c)).clean("table");
}

#[test]
fn columns_that_change_their_type_under_crashes() {
    let two_files = Shape { files_per_epoch: 2, ..one_file_an_epoch() };
    for (mode, shape) in [(Mode::Append, one_file_an_epoch()), (Mode::Append, two_files), (Mode::Upsert, one_file_an_epoch())] {
        let runs = every(|c| crash_run(world_of_numbers(To::Table(mode), shape, &[]), Faults::points(2), c)).clean(&format!("{mode:?}"));
        assert!(runs > 100, "{mode:?}: {runs}");
    }
    let runs = every(|c| crash_run(world_of_numbers(TABLE, one_file_an_epoch(), &[]), Faults::everywhere(1), c)).clean("table");
    assert!(runs > 150, "{runs}");
}

#[test]
fn columns_that_change_their_type_in_two_lanes_and_under_sleepers() {
    let lanes = Shape { lanes: 2, ..one_file_an_epoch() };
    random(1, 60, 30, |c| crash_run(world_of_numbers(TABLE, lanes, &[COMES]), Faults::everywhere(3), c)).clean("lanes");
    random(1, 60, 12, |c| zombie_run(world_of_numbers(TABLE, one_file_an_epoch(), &[COMES]), Pauses::Effects, c)).clean("sleepers");
}
