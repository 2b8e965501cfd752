//! Files in memory as one process sees them: each operation is a step, and a write can be torn.

use std::fmt;
use std::ops::Range;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use sluis_core::{FileVersion, Result};
use sluis_storage::memory::{Fault, MemoryStorage};
use sluis_storage::{Entry, IfExists, Published, StagedFile, StagedWriter, Storage};

use super::process::{Effect, Process, Room};

/// The storage of a process.
#[derive(Clone)]
pub struct SimStorage {
    inner: MemoryStorage,
    process: Process,
}

impl fmt::Debug for SimStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl SimStorage {
    pub fn new(inner: MemoryStorage, process: Process) -> Self {
        Self { inner, process }
    }

    /// Asks for the step's fate and arms the next operation of the storage with it.
    fn arm(&self, name: &str, path: &str) {
        let mut fault = Some(match self.process.step(Room::Storage, &format!("{name} {path}")) {
            Effect::Go => return,
            Effect::Before(e) => Fault::Before(e),
            Effect::After(e) => Fault::After(e),
            Effect::Torn(e) => Fault::Torn(e),
        });
        self.inner.set_faults(Some(Box::new(move |_| fault.take().unwrap_or_default())));
    }

    fn disarm<T>(&self, result: T) -> T {
        self.inner.set_faults(None);
        result
    }
}

#[async_trait]
impl Storage for SimStorage {
    fn root(&self) -> &str {
        self.inner.root()
    }

    fn list(&self, prefix: &str, start_after: Option<&str>) -> BoxStream<'static, Result<Entry>> {
        self.arm("list", prefix);
        self.disarm(self.inner.list(prefix, start_after))
    }

    fn sorted(&self) -> bool {
        self.inner.sorted()
    }

    async fn list_folder(&self, prefix: &str) -> Result<(Vec<Entry>, Vec<String>)> {
        self.arm("list_folder", prefix);
        self.disarm(self.inner.list_folder(prefix).await)
    }

    async fn head(&self, path: &str) -> Result<Option<Entry>> {
        self.arm("head", path);
        self.disarm(self.inner.head(path).await)
    }

    async fn read(&self, path: &str, expect: Option<&FileVersion>) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.arm("read", path);
        let stream = self.disarm(self.inner.read(path, expect).await)?;
        let chunks: Vec<_> = stream.collect().await;
        Ok(stream::iter(chunks).boxed())
    }

    async fn read_range(&self, path: &str, range: Range<u64>, expect: Option<&FileVersion>) -> Result<Bytes> {
        self.arm("read_range", path);
        self.disarm(self.inner.read_range(path, range, expect).await)
    }

    async fn stage(&self, target: &str, scope: &str, name: &str) -> Result<Box<dyn StagedWriter>> {
        self.arm("stage", target);
        let writer = self.disarm(self.inner.stage(target, scope, name).await)?;
        Ok(Box::new(Writer { writer: Mutex::new(writer), storage: self.clone(), target: target.to_owned() }))
    }

    async fn publish(&self, file: &StagedFile, if_exists: IfExists) -> Result<Published> {
        self.arm("publish", &file.target);
        self.disarm(self.inner.publish(file, if_exists).await)
    }

    async fn sweep(&self, scope_prefix: &str, keep: &[StagedFile]) -> Result<u64> {
        self.arm("sweep", scope_prefix);
        self.disarm(self.inner.sweep(scope_prefix, keep).await)
    }

    async fn put(&self, path: &str, bytes: Bytes, if_exists: IfExists) -> Result<()> {
        self.arm("put", path);
        self.disarm(self.inner.put(path, bytes, if_exists).await)
    }

    async fn create(&self, path: &str) -> Result<Box<dyn StagedWriter>> {
        self.arm("create", path);
        let writer = self.disarm(self.inner.create(path).await)?;
        Ok(Box::new(Writer { writer: Mutex::new(writer), storage: self.clone(), target: path.to_owned() }))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.arm("rename", from);
        self.disarm(self.inner.rename(from, to).await)
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.arm("delete", path);
        self.disarm(self.inner.delete(path).await)
    }
}

struct Writer {
    writer: Mutex<Box<dyn StagedWriter>>,
    storage: SimStorage,
    target: String,
}

#[async_trait]
impl StagedWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.storage.arm("write", &self.target);
        let writer = self.writer.get_mut().unwrap_or_else(|e| e.into_inner());
        let written = writer.write(bytes).await;
        self.storage.disarm(written)
    }

    async fn finish(self: Box<Self>) -> Result<StagedFile> {
        self.storage.arm("finish", &self.target);
        let finished = self.writer.into_inner().unwrap_or_else(|e| e.into_inner()).finish().await;
        self.storage.disarm(finished)
    }
}
