//! Places that hold files: a local folder, S3 (and what speaks it), an HTTP(S) address, memory for tests.
//!
//! One small trait, [`Storage`], with what the commit protocol needs and object stores' own traits do not give:
//! files staged invisibly and durably, and published by a repeatable step. Readers and Iceberg metadata use the same places.
//! Deliberately not here: formats, patterns, pipelines.

pub mod blocking;
pub mod conformance;
pub mod connection;
pub mod http;
pub mod local;
pub mod memory;
pub mod retry;
pub mod s3;
pub mod url;
mod web;

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use sluis_core::{Error, FileVersion, Result};

/// A file as a listing shows it. `path` is relative to the storage's root, with `/`, never starting with one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub path: String,
    pub size: u64,
    pub modified: Option<DateTime<Utc>>,
    pub etag: Option<String>,
}

/// The handle of a staged file: plain data, kept in the ledger; enough to publish or abandon it from any process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFile {
    /// Where it will be seen, relative to the root.
    pub target: String,
    /// Bytes.
    pub size: u64,
    pub staging: Staging,
}

/// How it is kept invisible meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Staging {
    /// A hidden file (`_sluis/…​.staged`) to be renamed, or a small hidden object to be written to its place.
    Hidden { path: String },
    /// A multipart upload to be completed: `parts` are the part etags in order; `etag` is what the object will have.
    Multipart { upload: String, parts: Vec<String>, etag: Option<String> },
}

/// What publishing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    Now,
    /// It was published before (a repeated commit): the target is there, with the expected length or etag.
    Before,
}

/// Whether a publish or put may take the place of a file that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// `ErrorKind::Conflict`, unless what is there is exactly what was staged.
    Fail,
    Replace,
}

/// A place that holds files. All paths are relative to its root.
#[async_trait]
pub trait Storage: Send + Sync + Debug {
    /// The root as a URL or absolute path, without credentials, without a trailing `/`.
    fn root(&self) -> &str;
    /// The full address of a path, as it stands in ledgers and tables: `s3://bucket/prefix/path`, `/dir/path`.
    fn address(&self, path: &str) -> String {
        if path.is_empty() { self.root().to_owned() } else { format!("{}/{path}", self.root()) }
    }
    /// Every file below `prefix` (a folder, or empty), in bounded memory, hidden ones too. Ordered by path where `sorted()`.
    /// `start_after`: only paths greater than it, where the place supports that cheaply (S3); else ignored.
    fn list(&self, prefix: &str, start_after: Option<&str>) -> BoxStream<'static, Result<Entry>>;
    /// Whether `list` yields paths in byte order.
    fn sorted(&self) -> bool;
    /// Only what is directly in folder `prefix`: files, and folder names (for patterns that need no recursion).
    async fn list_folder(&self, prefix: &str) -> Result<(Vec<Entry>, Vec<String>)>;
    /// `None` if it does not exist.
    async fn head(&self, path: &str) -> Result<Option<Entry>>;
    /// The whole file. With `expect`: that version or `ErrorKind::SourceChanged`.
    async fn read(&self, path: &str, expect: Option<&FileVersion>) -> Result<BoxStream<'static, Result<Bytes>>>;
    async fn read_range(&self, path: &str, range: Range<u64>, expect: Option<&FileVersion>) -> Result<Bytes>;
    /// Starts staging a file that will be seen at `target`. `scope` (`<pipeline>/<lane>/<epoch>`) groups what one epoch staged;
    /// `name` is unique within it.
    async fn stage(&self, target: &str, scope: &str, name: &str) -> Result<Box<dyn StagedWriter>>;
    /// Makes a staged file visible at its target, in one step, durably. Repeatable.
    async fn publish(&self, file: &StagedFile, if_exists: IfExists) -> Result<Published>;
    /// Abandons what was staged under `scope_prefix` (`<pipeline>/<lane>/` or `<pipeline>/<lane>/<epoch>`), except `keep`, and removes folders left empty by it.
    async fn sweep(&self, scope_prefix: &str, keep: &[StagedFile]) -> Result<u64>;
    /// Writes a small file in one atomic, durable step (metadata, archives).
    async fn put(&self, path: &str, bytes: Bytes, if_exists: IfExists) -> Result<()>;
    /// Starts writing a file at its final place that nobody looks at before it is referred to (Iceberg data files). Durable after `finish`.
    async fn create(&self, path: &str) -> Result<Box<dyn StagedWriter>>;
    /// Copies or moves within the storage (archive after commit). Repeatable: source gone and target there = done.
    async fn rename(&self, from: &str, to: &str) -> Result<()>;
    /// Not an error if it is gone already.
    async fn delete(&self, path: &str) -> Result<()>;
}

/// Receives a staged file's bytes.
#[async_trait]
pub trait StagedWriter: Send {
    async fn write(&mut self, bytes: Bytes) -> Result<()>;
    /// Durable when it returns. For `Storage::create`, the handle's `target` is the path written and there is nothing to publish.
    async fn finish(self: Box<Self>) -> Result<StagedFile>;
}

/// A shared storage.
pub type StorageRef = Arc<dyn Storage>;

/// A whole file in memory: for small files (metadata, manifests) and tests.
///
/// # Errors
/// As [`Storage::read`].
pub async fn read_all(storage: &dyn Storage, path: &str, expect: Option<&FileVersion>) -> Result<Bytes> {
    let mut stream = storage.read(path, expect).await?;
    let Some(first) = stream.try_next().await? else { return Ok(Bytes::new()) };
    let Some(second) = stream.try_next().await? else { return Ok(first) };
    let mut whole = BytesMut::from(first);
    whole.extend_from_slice(&second);
    while let Some(next) = stream.try_next().await? {
        whole.extend_from_slice(&next);
    }
    Ok(whole.freeze())
}

/// Refuses a path that could lead out of a root, or that an URL cannot hold as it is.
fn check_path(path: &str) -> Result<()> {
    let wrong = path.starts_with('/') || path.contains('\0') || path.split('/').any(|part| part == ".." || part == ".");
    if wrong { Err(Error::config(format!("`{path}` is no path below a root: it starts with `/`, or a part of it is `.` or `..`"))) } else { Ok(()) }
}
