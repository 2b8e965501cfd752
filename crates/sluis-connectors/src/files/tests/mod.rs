//! The source against fakes (a history in memory, a clock that stands still) and real folders.

mod after_commit;
mod archives;
mod choosing;
mod conforms;
mod listing;
mod reading;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sluis_core::registry::BuildContext;
use sluis_core::{
    Checkpoint, Clock, Discovery, Epoch, EpochLimits, FileHistory, FileVersion, KnownFile, LaneShard, PipelineName, Result, Source, Split,
};
use sluis_storage::memory::MemoryStorage;

use super::FilesSource;
use super::config::Settings;
use super::place::Place;

/// A clock that a test moves.
pub struct TestClock(Mutex<DateTime<Utc>>);

impl TestClock {
    pub fn at(text: &str) -> Arc<Self> {
        Arc::new(Self(Mutex::new(time(text))))
    }
    pub fn set(&self, text: &str) {
        *self.0.lock().unwrap() = time(text);
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

pub fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The ledger's history, in memory.
#[derive(Default)]
pub struct History {
    files: Mutex<HashMap<String, KnownFile>>,
    epochs: Mutex<u64>,
    pub lookups: Mutex<Vec<usize>>,
}

impl History {
    /// Records splits as an epoch; `landed`: or as changed before they were read.
    pub fn record(&self, splits: &[Split], landed: bool) {
        self.record_as(splits, landed, false);
    }

    /// As damaged files, of which no row landed.
    pub fn record_corrupt(&self, splits: &[Split]) {
        self.record_as(splits, true, true);
    }

    fn record_as(&self, splits: &[Split], landed: bool, corrupt: bool) {
        let mut epochs = self.epochs.lock().unwrap();
        *epochs += 1;
        let mut files = self.files.lock().unwrap();
        for version in splits.iter().filter_map(|s| s.file.clone()) {
            let landed_before = files.get(&version.path).is_some_and(|k| k.landed_before) || (landed && !corrupt);
            let (lane, epoch, version) = ("main".into(), Epoch(*epochs), version.clone());
            let known = KnownFile { lane, epoch, landed, landed_before, again: false, mixed: false, corrupt, version: version.clone() };
            files.insert(version.path, known);
        }
    }
}

#[async_trait]
impl FileHistory for History {
    async fn lookup(&self, paths: &[String]) -> Result<Vec<Option<KnownFile>>> {
        self.lookups.lock().unwrap().push(paths.len());
        let files = self.files.lock().unwrap();
        Ok(paths.iter().map(|p| files.get(p).cloned()).collect())
    }
    async fn is_first_run(&self) -> Result<bool> {
        Ok(*self.epochs.lock().unwrap() == 0)
    }
}

/// A source, its history, and how far its lane is.
pub struct Lane {
    pub source: FilesSource,
    pub history: History,
    pub clock: Arc<TestClock>,
    pub at: Checkpoint,
    pub limits: EpochLimits,
}

pub const NOW: &str = "2024-06-01T12:00:00Z";

impl Lane {
    fn around(source: FilesSource, clock: Arc<TestClock>) -> Lane {
        let limits = EpochLimits { files: 100, bytes: 1 << 30, rows: u64::MAX };
        Lane { source, history: History::default(), clock, at: Checkpoint::default(), limits }
    }

    /// Over real folders; `config` beside `url`.
    pub fn local(base: &Path, config: Value) -> Lane {
        let clock = TestClock::at(NOW);
        let source = FilesSource::build(&context(base, clock.clone()), &config).unwrap();
        Lane::around(source, clock)
    }

    /// Over files in memory.
    pub fn memory(storage: &MemoryStorage, mut config: Value) -> Lane {
        config["url"] = json!("memory/");
        let settings = Settings::parse(&config).unwrap();
        let place =
            Place { url: "memory".into(), storage: Arc::new(storage.clone()), named: String::new(), pattern: settings.urls[0].pattern.clone() };
        let clock = TestClock::at(NOW);
        Lane::around(FilesSource::new(settings, vec![place], None, None, clock.clone()), clock)
    }

    pub async fn discover(&self) -> Result<Discovery> {
        self.source.discover(&self.at, &self.limits, LaneShard::ALL, &self.history).await
    }

    /// One epoch: discovers and records. The names of what was taken.
    pub async fn epoch(&mut self) -> Vec<String> {
        let d = self.discover().await.unwrap();
        self.history.record(&d.splits, true);
        self.at = d.to.clone();
        names(&d)
    }

    /// Epochs until caught up.
    pub async fn run(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let some = self.epoch().await;
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    }
}

pub fn context(base: &Path, clock: Arc<TestClock>) -> BuildContext {
    BuildContext {
        pipeline: PipelineName::new("p"),
        project_dir: base.to_owned(),
        state_dir: base.join(".sluis"),
        connections: Arc::new(Map::new()),
        lake: json!({}),
        clock,
        replaces_files: false,
        retypes: false,
        selection: None,
    }
}

/// The last parts of the paths of what was found.
pub fn names(d: &Discovery) -> Vec<String> {
    d.splits.iter().map(|s| s.name().rsplit('/').next().unwrap().to_owned()).collect()
}

/// Writes a file with a modification time.
pub fn write(base: &Path, path: &str, text: &str, modified: &str) {
    let full = base.join(path);
    fs::create_dir_all(full.parent().unwrap()).unwrap();
    fs::write(&full, text).unwrap();
    touch(base, path, modified);
}

pub fn touch(base: &Path, path: &str, modified: &str) {
    let file = fs::File::options().write(true).open(base.join(path)).unwrap();
    file.set_modified(SystemTime::from(time(modified))).unwrap();
}

pub const OLD: &str = "2024-01-01T00:00:00Z";
