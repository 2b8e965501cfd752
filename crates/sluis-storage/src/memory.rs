//! Files in memory, with a fault plan: for tests and the simulator. Deterministic; needs no tokio.
//!
//! Clones share their files, so a "process" of the simulator may die and the next one finds what it left. Semantics are those of
//! [`crate::local::LocalStorage`]; in addition listings are sorted, `start_after` is honoured, and files have etags (one per write).

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt};
use sluis_core::{Error, ErrorKind, FileVersion, Result};

use crate::local::HIDDEN;
use crate::{Entry, IfExists, Published, StagedFile, StagedWriter, Staging, Storage};

/// Where a torn put leaves its half.
const PUTS: &str = "_sluis/.put/";

/// What happens to one operation.
#[derive(Debug, Default)]
pub enum Fault {
    #[default]
    None,
    /// Fails and has no effect.
    Before(Error),
    /// Takes effect, then fails: the acknowledgement is lost.
    After(Error),
    /// Of what was to be written only the first half is kept, then it fails. For `write`, `finish` and `put`; others: as `Before`.
    Torn(Error),
}

/// An operation about to happen, as the fault plan sees it.
#[derive(Debug, Clone, Copy)]
pub struct Op<'a> {
    /// `list`, `list_folder`, `head`, `read`, `read_range`, `stage`, `write`, `finish`, `publish`, `sweep`, `put`, `create`, `rename`, `delete`.
    pub name: &'static str,
    /// The path it is about (the target, for what is staged).
    pub path: &'a str,
    /// Number of the operation on this storage, from 0.
    pub number: u64,
}

type Plan = Box<dyn FnMut(Op<'_>) -> Fault + Send>;

#[derive(Clone)]
struct Held {
    bytes: Bytes,
    version: u64,
}

struct State {
    files: BTreeMap<String, Held>,
    writes: u64,
    operations: u64,
    plan: Option<Plan>,
}

/// Files in memory.
#[derive(Clone)]
pub struct MemoryStorage {
    root: Arc<str>,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStorage({}, {} files)", self.root, self.lock().files.len())
    }
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new("memory://")
    }
}

impl MemoryStorage {
    /// Empty. `root` is only a name.
    pub fn new(root: &str) -> Self {
        let state = State { files: BTreeMap::new(), writes: 0, operations: 0, plan: None };
        Self { root: root.trim_end_matches('/').into(), state: Arc::new(Mutex::new(state)) }
    }

    /// Installs the fault plan for all clones: it is asked once before every operation. `None` removes it.
    pub fn set_faults(&self, plan: Option<Plan>) {
        self.lock().plan = plan;
    }

    /// Every path, hidden ones too. Not an operation: no fault.
    pub fn paths(&self) -> Vec<String> {
        self.lock().files.keys().cloned().collect()
    }

    /// A file's bytes. Not an operation: no fault.
    pub fn bytes(&self, path: &str) -> Option<Bytes> {
        self.lock().files.get(path).map(|held| held.bytes.clone())
    }

    /// Puts a file there. Not an operation: no fault.
    pub fn set(&self, path: &str, bytes: impl Into<Bytes>) {
        self.lock().store(path, bytes.into());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Asks the plan, then runs `effect` as far as the fault lets it: `effect` is told whether to tear.
    fn run<T>(&self, name: &'static str, path: &str, effect: impl FnOnce(&mut State, bool) -> Result<T>) -> Result<T> {
        crate::check_path(path)?;
        let mut state = self.lock();
        let number = state.operations;
        state.operations += 1;
        // The plan is taken out while it runs, so that it may look at other clones of other storages freely.
        let mut plan = state.plan.take();
        let fault = plan.as_mut().map_or(Fault::None, |plan| plan(Op { name, path, number }));
        state.plan = plan;
        match fault {
            Fault::None => effect(&mut state, false),
            Fault::Before(e) => Err(e),
            Fault::After(e) => {
                effect(&mut state, false)?;
                Err(e)
            }
            Fault::Torn(e) => {
                if matches!(name, "write" | "finish" | "put") {
                    effect(&mut state, true)?;
                }
                Err(e)
            }
        }
    }
}

impl State {
    fn store(&mut self, path: &str, bytes: Bytes) {
        self.writes += 1;
        let version = self.writes;
        self.files.insert(path.to_owned(), Held { bytes, version });
    }

    fn entry(path: &str, held: &Held) -> Entry {
        Entry { path: path.to_owned(), size: held.bytes.len() as u64, modified: at(held.version), etag: Some(format!("v{}", held.version)) }
    }

    fn get(&self, path: &str, expect: Option<&FileVersion>) -> Result<Bytes> {
        let Some(held) = self.files.get(path) else {
            let kind = if expect.is_some() { ErrorKind::SourceChanged } else { ErrorKind::NotFound };
            return Err(Error::new(kind, format!("{path} does not exist")));
        };
        if let Some(expect) = expect {
            let is = Self::entry(path, held);
            let same_etag = expect.etag.is_none() || expect.etag == is.etag;
            let same_time = expect.etag.is_some() || expect.modified.is_none() || expect.modified == is.modified;
            if !(same_etag && same_time && expect.size == is.size) {
                return Err(Error::new(ErrorKind::SourceChanged, format!("{path} changed")));
            }
        }
        Ok(held.bytes.clone())
    }

    fn publish(&mut self, hidden: &str, target: &str, size: u64, if_exists: IfExists) -> Result<Published> {
        let conflict = |what: &str| Err(Error::new(ErrorKind::Conflict, format!("{target}: {what}")));
        let Some(staged) = self.files.get(hidden).map(|held| held.bytes.clone()) else {
            return match self.files.get(target) {
                Some(held) if held.bytes.len() as u64 == size => Ok(Published::Before),
                Some(_) => conflict("what was staged is gone, and the target holds something else"),
                None => conflict("what was staged is gone, and so is the target"),
            };
        };
        if staged.len() as u64 != size {
            return conflict("the staged file has another length than was staged");
        }
        match self.files.get(target) {
            Some(held) if if_exists == IfExists::Fail => {
                if held.bytes != staged {
                    return conflict("exists and holds something else");
                }
                self.files.remove(hidden);
                Ok(Published::Before)
            }
            _ => {
                self.files.remove(hidden);
                self.store(target, staged);
                Ok(Published::Now)
            }
        }
    }
}

/// The time of a write: as many seconds after the year 2020 began as there were writes.
fn at(version: u64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(1_577_836_800 + version as i64, 0)
}

fn folder(prefix: &str) -> String {
    let prefix = prefix.trim_end_matches('/');
    if prefix.is_empty() { String::new() } else { format!("{prefix}/") }
}

#[async_trait]
impl Storage for MemoryStorage {
    fn root(&self) -> &str {
        &self.root
    }

    fn list(&self, prefix: &str, start_after: Option<&str>) -> BoxStream<'static, Result<Entry>> {
        let found = self.run("list", prefix, |state, _| {
            let below = folder(prefix);
            let after = start_after.unwrap_or_default();
            let found = state.files.range(below.clone()..).take_while(|(path, _)| path.starts_with(&below));
            Ok(found.filter(|(path, _)| path.as_str() > after).map(|(path, held)| State::entry(path, held)).collect::<Vec<_>>())
        });
        match found {
            Ok(entries) => stream::iter(entries.into_iter().map(Ok)).boxed(),
            Err(e) => stream::iter([Err(e)]).boxed(),
        }
    }

    fn sorted(&self) -> bool {
        true
    }

    async fn list_folder(&self, prefix: &str) -> Result<(Vec<Entry>, Vec<String>)> {
        self.run("list_folder", prefix, |state, _| {
            let below = folder(prefix);
            let (mut files, mut folders) = (Vec::new(), Vec::<String>::new());
            for (path, held) in state.files.range(below.clone()..).take_while(|(path, _)| path.starts_with(&below)) {
                match path[below.len()..].split_once('/') {
                    None => files.push(State::entry(path, held)),
                    Some((name, _)) if folders.last().is_some_and(|last| last == name) => {}
                    Some((name, _)) => folders.push(name.to_owned()),
                }
            }
            Ok((files, folders))
        })
    }

    async fn head(&self, path: &str) -> Result<Option<Entry>> {
        self.run("head", path, |state, _| Ok(state.files.get(path).map(|held| State::entry(path, held))))
    }

    async fn read(&self, path: &str, expect: Option<&FileVersion>) -> Result<BoxStream<'static, Result<Bytes>>> {
        let bytes = self.run("read", path, |state, _| state.get(path, expect))?;
        const CHUNK: usize = 1 << 20;
        let chunks: Vec<_> = (0..bytes.len()).step_by(CHUNK).map(|at| Ok(bytes.slice(at..bytes.len().min(at + CHUNK)))).collect();
        Ok(stream::iter(chunks).boxed())
    }

    async fn read_range(&self, path: &str, range: Range<u64>, expect: Option<&FileVersion>) -> Result<Bytes> {
        let bytes = self.run("read_range", path, |state, _| state.get(path, expect))?;
        if range.start > range.end || range.end > bytes.len() as u64 {
            return Err(Error::new(
                ErrorKind::CorruptInput,
                format!("{path} has {} bytes; {}..{} is not in it", bytes.len(), range.start, range.end),
            ));
        }
        Ok(bytes.slice(range.start as usize..range.end as usize))
    }

    async fn stage(&self, target: &str, scope: &str, name: &str) -> Result<Box<dyn StagedWriter>> {
        let path = format!("{HIDDEN}/{}/{name}.staged", scope.trim_matches('/'));
        self.run("stage", target, |_, _| Ok(()))?;
        Ok(Box::new(MemoryWriter { storage: self.clone(), target: target.to_owned(), path, bytes: BytesMut::new() }))
    }

    async fn publish(&self, file: &StagedFile, if_exists: IfExists) -> Result<Published> {
        let Staging::Hidden { path } = &file.staging else {
            return Err(Error::internal(format!("{} was staged in another kind of storage", file.target)));
        };
        self.run("publish", &file.target, |state, _| state.publish(path, &file.target, file.size, if_exists))
    }

    async fn sweep(&self, scope_prefix: &str, keep: &[StagedFile]) -> Result<u64> {
        self.run("sweep", scope_prefix, |state, _| {
            let below = folder(&format!("{HIDDEN}/{}", scope_prefix.trim_matches('/')));
            let kept = |path: &str| keep.iter().any(|f| matches!(&f.staging, Staging::Hidden { path: p } if p == path));
            let before = state.files.len();
            state.files.retain(|path, _| !path.starts_with(&below) || kept(path));
            let abandoned = before - state.files.len();
            // Temporary files of torn puts go too, and were never staged.
            state.files.retain(|path, _| !path.starts_with(PUTS));
            Ok(abandoned as u64)
        })
    }

    async fn put(&self, path: &str, bytes: Bytes, if_exists: IfExists) -> Result<()> {
        self.run("put", path, |state, torn| {
            match state.files.get(path) {
                Some(held) if if_exists == IfExists::Fail && held.bytes == bytes => return Ok(()),
                Some(_) if if_exists == IfExists::Fail => {
                    return Err(Error::new(ErrorKind::Conflict, format!("{path} exists and holds something else")));
                }
                _ => {}
            }
            if torn {
                // A put is one step: what is torn is its temporary file.
                let half = bytes.slice(..bytes.len() / 2);
                state.store(&format!("{PUTS}{path}"), half);
            } else {
                state.store(path, bytes);
            }
            Ok(())
        })
    }

    async fn create(&self, path: &str) -> Result<Box<dyn StagedWriter>> {
        self.run("create", path, |_, _| Ok(()))?;
        Ok(Box::new(MemoryWriter { storage: self.clone(), target: path.to_owned(), path: path.to_owned(), bytes: BytesMut::new() }))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.run("rename", from, |state, _| match state.files.remove(from) {
            Some(held) => {
                state.store(to, held.bytes);
                Ok(())
            }
            None if state.files.contains_key(to) => Ok(()),
            None => Err(Error::not_found(format!("{from} does not exist"))),
        })
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.run("delete", path, |state, _| {
            state.files.remove(path);
            Ok(())
        })
    }
}

/// What was written so far is there under its hidden name at once, as on a disk: a writer that is dropped leaves it behind.
struct MemoryWriter {
    storage: MemoryStorage,
    target: String,
    path: String,
    bytes: BytesMut,
}

impl MemoryWriter {
    fn keep(&self, name: &'static str) -> Result<()> {
        self.storage.run(name, &self.target, |state, torn| {
            let length = if torn { self.bytes.len() / 2 } else { self.bytes.len() };
            state.store(&self.path, Bytes::copy_from_slice(&self.bytes[..length]));
            Ok(())
        })
    }
}

#[async_trait]
impl StagedWriter for MemoryWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes.extend_from_slice(&bytes);
        self.keep("write")
    }

    async fn finish(self: Box<Self>) -> Result<StagedFile> {
        self.keep("finish")?;
        Ok(StagedFile { target: self.target.clone(), size: self.bytes.len() as u64, staging: Staging::Hidden { path: self.path.clone() } })
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    fn staged(storage: &MemoryStorage) -> Result<StagedFile> {
        block_on(async {
            let mut w = storage.stage("out/a", "p/main/1", "a").await?;
            w.write(Bytes::from_static(b"0123456789")).await?;
            w.finish().await
        })
    }

    fn at_op(name: &'static str, fault: fn(Error) -> Fault) -> Option<Plan> {
        Some(Box::new(move |op| if op.name == name { fault(Error::unavailable("planned")) } else { Fault::None }))
    }

    #[test]
    fn conforms_without_tokio() {
        block_on(crate::conformance::all(|| Arc::new(MemoryStorage::default())));
    }

    #[test]
    fn a_lost_acknowledgement_of_publish_is_found_again() {
        let storage = MemoryStorage::default();
        let file = staged(&storage).unwrap();
        storage.set_faults(at_op("publish", Fault::After));
        assert_eq!(block_on(storage.publish(&file, IfExists::Fail)).unwrap_err().message(), "planned");
        storage.set_faults(None);
        assert_eq!(block_on(storage.publish(&file, IfExists::Fail)).unwrap(), Published::Before);
        assert_eq!(storage.paths(), ["out/a"]);
    }

    #[test]
    fn a_torn_stage_stays_hidden_and_is_swept() {
        let storage = MemoryStorage::default();
        storage.set_faults(at_op("finish", Fault::Torn));
        assert!(staged(&storage).is_err());
        storage.set_faults(None);
        assert_eq!(storage.bytes("_sluis/p/main/1/a.staged").unwrap(), "01234");
        let claimed = StagedFile { target: "out/a".into(), size: 10, staging: Staging::Hidden { path: "_sluis/p/main/1/a.staged".into() } };
        assert_eq!(block_on(storage.publish(&claimed, IfExists::Fail)).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(block_on(storage.sweep("p/main/", &[])).unwrap(), 1);
        assert!(storage.paths().is_empty());
    }

    #[test]
    fn a_torn_put_is_not_seen_and_is_swept() {
        let storage = MemoryStorage::default();
        storage.set_faults(at_op("put", Fault::Torn));
        assert!(block_on(storage.put("meta", Bytes::from_static(b"{}{}"), IfExists::Fail)).is_err());
        storage.set_faults(None);
        assert_eq!(storage.paths(), ["_sluis/.put/meta"]);
        assert_eq!(block_on(storage.sweep("p/main/", &[])).unwrap(), 0);
        assert!(storage.paths().is_empty());
    }

    #[test]
    fn a_fault_before_has_no_effect_and_operations_are_numbered() {
        let storage = MemoryStorage::default();
        let file = staged(&storage).unwrap();
        storage.set_faults(Some(Box::new(|op| if op.number == 3 { Fault::Before(Error::unavailable(op.name)) } else { Fault::None })));
        assert_eq!(block_on(storage.publish(&file, IfExists::Fail)).unwrap_err().message(), "publish");
        assert_eq!(storage.paths(), ["_sluis/p/main/1/a.staged"]);
        assert_eq!(block_on(storage.publish(&file, IfExists::Fail)).unwrap(), Published::Now);
    }
}
