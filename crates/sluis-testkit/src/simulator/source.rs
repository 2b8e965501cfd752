//! A source of files in memory that the test changes as it likes: new files, new versions, files that vanish.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_schema::{Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use sluis_core::{
    Checkpoint, Discovery, EpochLimits, Error, ErrorKind, FileHistory, FileVersion, KnownFile, LaneShard, Opened, PartitionId, Position, RawFile,
    Result, Source, Split, crash,
};

use super::lines::parse;
use super::process::{Process, Room};

/// What becomes of a new version of a file that has landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnOverwrite {
    Append,
    Replace,
}

/// One version of one file, ever.
#[derive(Debug, Clone)]
struct Version {
    path: String,
    etag: String,
    text: String,
    /// Overwritten by a later version.
    superseded: bool,
}

#[derive(Debug, Default)]
struct State {
    versions: Vec<Version>,
    /// Path -> number of the version that is there.
    there: BTreeMap<String, usize>,
    /// Versions whose rows were told to be committed.
    acknowledged: BTreeSet<(String, String)>,
}

/// The files. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles(Arc<Mutex<State>>);

/// What must have landed in the end, and what may have.
#[derive(Debug, Default)]
pub struct Expected {
    /// Each once.
    pub rows: Vec<String>,
    pub rejects: Vec<String>,
    /// Per older version that was overwritten: its rows, which may have landed, all or none.
    pub perhaps: Vec<Vec<String>>,
    pub perhaps_rejected: Vec<Vec<String>>,
}

impl MemoryFiles {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a file there, or a new version of it. Lines are `ID,VALUE`; anything else is a bad row.
    pub fn put(&self, path: &str, lines: &[&str]) {
        let mut state = self.state();
        let number = state.versions.len();
        let text = lines.iter().map(|l| format!("{l}\n")).collect();
        state.versions.push(Version { path: path.to_owned(), etag: format!("v{number}"), text, superseded: false });
        if let Some(before) = state.there.insert(path.to_owned(), number) {
            state.versions[before].superseded = true;
        }
    }

    fn get(&self, version: &FileVersion) -> Result<Bytes> {
        let state = self.state();
        let there = state.there.get(&version.path).map(|n| &state.versions[*n]).filter(|v| Some(&v.etag) == version.etag.as_ref());
        let changed = || Error::new(ErrorKind::SourceChanged, format!("{} is not what was planned any more", version.path));
        there.map(|v| Bytes::copy_from_slice(v.text.as_bytes())).ok_or_else(changed)
    }

    /// Good and bad rows of all versions that are, or were, there.
    pub fn expected(&self, policy: OnOverwrite) -> Expected {
        let state = self.state();
        let mut expected = Expected::default();
        for version in &state.versions {
            let good: Vec<String> = version.text.lines().filter(|l| parse(l).is_some()).map(str::to_owned).collect();
            let bad = (1..).zip(version.text.lines()).filter(|(_, l)| parse(l).is_none());
            let bad: Vec<String> = bad.map(|(n, _): (u64, _)| format!("{},{n}", version.path)).collect();
            if !version.superseded {
                expected.rows.extend(good);
                expected.rejects.extend(bad);
            } else {
                if policy == OnOverwrite::Append {
                    expected.perhaps.push(good);
                }
                // What was rejected stays on record.
                expected.perhaps_rejected.push(bad);
            }
        }
        expected
    }

    /// What a target holds, sorted, before the first file and after each (in the order of their paths), whose rows take over the parts they fall in.
    pub fn after_each(&self, part: fn(&str) -> i64) -> Vec<Vec<String>> {
        let state = self.state();
        let mut states = vec![vec![]];
        for version in state.there.values().map(|n| &state.versions[*n]) {
            let new: Vec<String> = version.text.lines().filter(|l| parse(l).is_some()).map(str::to_owned).collect();
            let taken_over = |row: &String| new.iter().any(|n| part(n) == part(row));
            let mut rows: Vec<String> = states.last().into_iter().flatten().filter(|row| !taken_over(row)).cloned().collect();
            rows.extend(new);
            rows.sort_unstable();
            states.push(rows);
        }
        states
    }

    /// The good rows of everything that was told to be committed and was not overwritten since.
    pub fn acknowledged_rows(&self) -> Vec<String> {
        let state = self.state();
        let told = state.versions.iter().filter(|v| !v.superseded && state.acknowledged.contains(&(v.path.clone(), v.etag.clone())));
        told.flat_map(|v| v.text.lines().filter(|l| parse(l).is_some()).map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

/// The source of one process.
pub struct MemorySource {
    pub files: MemoryFiles,
    pub process: Process,
    pub on_overwrite: OnOverwrite,
    /// Whether files leave after the commit.
    pub deletes: bool,
}

impl MemorySource {
    /// Whether a version is to be read, and whether it takes an older one's place.
    fn wanted(&self, version: &FileVersion, known: Option<&KnownFile>) -> Option<bool> {
        match known {
            None => Some(false),
            Some(known) if known.again => Some(self.on_overwrite == OnOverwrite::Replace && known.landed_before),
            Some(known) if known.version.same_version(version) => None,
            Some(known) => Some(self.on_overwrite == OnOverwrite::Replace && known.landed_before),
        }
    }
}

#[async_trait]
impl Source for MemorySource {
    async fn discover(&self, from: &Checkpoint, limits: &EpochLimits, shard: LaneShard, history: &dyn FileHistory) -> Result<Discovery> {
        let list = async {
            let state = self.files.state();
            let there = state.there.iter().filter(|(path, _)| shard.holds(path)).map(|(_, n)| &state.versions[*n]);
            let version = |v: &Version| FileVersion { path: v.path.clone(), size: v.text.len() as u64, modified: None, etag: Some(v.etag.clone()) };
            Ok(there.map(version).collect::<Vec<_>>())
        };
        let there = self.process.effect(Room::Source, "list", list).await?;
        let paths: Vec<String> = there.iter().map(|v| v.path.clone()).collect();
        let known = history.lookup(&paths).await?;
        let new: Vec<(FileVersion, bool)> =
            there.into_iter().zip(known).filter_map(|(v, known)| self.wanted(&v, known.as_ref()).map(|replaces| (v, replaces))).collect();
        let partition = PartitionId("files".into());
        let (mut at, mut to) = (from.position(&partition), from.clone());
        let most = usize::try_from(limits.files).unwrap_or(usize::MAX);
        let more = new.len() > most;
        let mut splits = Vec::new();
        for (file, replaces) in new.into_iter().take(most) {
            let next = Position::Number(at.number().unwrap_or(0) + 1);
            let from = std::mem::replace(&mut at, next.clone());
            splits.push(Split {
                partition: partition.clone(),
                from,
                to: Some(next),
                file: Some(file),
                constants: BTreeMap::new(),
                replaces,
                apart: false,
                detail: serde_json::Value::Null,
            });
        }
        if !splits.is_empty() {
            to.set(partition, at);
        }
        Ok(Discovery { splits, to, more, notes: vec![] })
    }

    async fn open(&self, split: &Split) -> Result<Opened> {
        let version = split.file.clone().ok_or_else(|| Error::internal("a split without a file"))?;
        let open = async { self.files.get(&version).map(drop) };
        self.process.effect(Room::Source, &format!("open {}", version.path), open).await?;
        Ok(Opened::File(Arc::new(MemoryFile { files: self.files.clone(), process: self.process.clone(), version })))
    }

    fn constant_columns(&self) -> SchemaRef {
        Arc::new(Schema::empty())
    }

    async fn acknowledge(&self, splits: &[Split]) -> Result<()> {
        crash::point("acknowledge.before")?;
        for (i, version) in splits.iter().filter_map(|s| s.file.as_ref()).enumerate() {
            if i > 0 {
                crash::point("acknowledge.mid")?;
            }
            let leave = async {
                let mut state = self.files.state();
                state.acknowledged.insert((version.path.clone(), version.etag.clone().unwrap_or_default()));
                let n = state.there.get(&version.path).copied();
                if self.deletes && n.is_some_and(|n| Some(&state.versions[n].etag) == version.etag.as_ref()) {
                    state.there.remove(&version.path);
                }
                Ok(())
            };
            self.process.effect(Room::Source, &format!("acknowledge {}", version.path), leave).await?;
        }
        crash::point("acknowledge.after")
    }

    async fn probe(&self) -> Result<Vec<String>> {
        Ok(vec![])
    }
}

struct MemoryFile {
    files: MemoryFiles,
    process: Process,
    version: FileVersion,
}

#[async_trait]
impl RawFile for MemoryFile {
    fn version(&self) -> &FileVersion {
        &self.version
    }

    async fn stream(&self) -> Result<BoxStream<'static, Result<Bytes>>> {
        let bytes = self.process.effect(Room::Source, &format!("read {}", self.version.path), async { self.files.get(&self.version) }).await?;
        Ok(stream::iter([Ok(bytes)]).boxed())
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        let bytes = self.files.get(&self.version)?;
        let end = (range.end as usize).min(bytes.len());
        Ok(bytes.slice((range.start as usize).min(end)..end))
    }

    async fn verify(&self) -> Result<()> {
        self.process.effect(Room::Source, &format!("verify {}", self.version.path), async { self.files.get(&self.version).map(drop) }).await
    }
}
