//! A folder of the local file system (or of what is mounted there).
//!
//! Guarantees: what is staged, published or put is on disk (file and folder entries synced) when the call returns; a publish is one
//! rename; a version that was asked for is what was read, or the read fails. A link to a file counts as the file, a link to a folder
//! is followed unless it leads back to a folder it is in. What is staged is at `<root>/_sluis/<scope>/<name>.staged`.
//! Deliberately not here: watching for changes, locks.

mod durable;
mod read;
mod staging;
mod walk;

use std::fs::{self, File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt};
use sluis_core::{Error, ErrorKind, FileVersion, Result};

use crate::{Entry, IfExists, Published, StagedFile, StagedWriter, Storage};

/// The hidden folder below a root that holds what is staged.
pub(crate) const HIDDEN: &str = "_sluis";

/// A folder. Cheap to clone paths out of; holds no open files.
#[derive(Debug, Clone)]
pub struct LocalStorage {
    root: PathBuf,
    root_text: String,
}

impl LocalStorage {
    /// `root` must be absolute; it need not exist (targets are created when first written to).
    ///
    /// # Errors
    /// `ErrorKind::Config`: a relative path, or one that is not UTF-8.
    pub fn new(root: impl Into<PathBuf>) -> Result<Self> {
        let root: PathBuf = root.into();
        let text = root.to_str().ok_or_else(|| Error::config(format!("the path {} is not valid UTF-8", root.display())))?;
        if !root.is_absolute() {
            return Err(Error::config(format!("the path {text} is not absolute")));
        }
        let root_text = text.trim_end_matches('/').to_owned();
        Ok(Self { root, root_text })
    }

    /// The path on disk. Refuses what would lead out of the root.
    fn resolve(&self, path: &str) -> Result<PathBuf> {
        inside(&self.root, path)
    }
}

fn inside(root: &Path, path: &str) -> Result<PathBuf> {
    crate::check_path(path)?;
    Ok(if path.is_empty() { root.to_owned() } else { root.join(path) })
}

/// Classifies an operating-system error, also the ones that only file systems have.
fn failed(what: &str, path: &Path, e: io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => Error::new(ErrorKind::Config, format!("cannot {what} {}", path.display()))
            .hint("a part of this path is a file where a folder is needed, or the other way round")
            .source(e),
        io::ErrorKind::InvalidFilename => {
            Error::new(ErrorKind::Config, format!("cannot {what} {}", path.display())).hint("the file system does not take this name").source(e)
        }
        _ => Error::io(what, path.display(), e),
    }
}

/// Whether the error says that there is nothing at the path.
fn absent(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Modification time to the nanosecond; `None` if no calendar holds it.
fn modified(meta: &Metadata) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(meta.mtime(), meta.mtime_nsec() as u32)
}

fn entry(path: String, meta: &Metadata) -> Entry {
    Entry { path, size: meta.len(), modified: modified(meta), etag: None }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    crate::blocking::blocking(work).await?
}

#[async_trait]
impl Storage for LocalStorage {
    fn root(&self) -> &str {
        &self.root_text
    }

    fn list(&self, prefix: &str, _start_after: Option<&str>) -> BoxStream<'static, Result<Entry>> {
        match self.resolve(prefix.trim_end_matches('/')) {
            Ok(_) => walk::stream(self.root.clone(), prefix.trim_end_matches('/').to_owned()),
            Err(e) => stream::iter([Err(e)]).boxed(),
        }
    }

    fn sorted(&self) -> bool {
        false
    }

    async fn list_folder(&self, prefix: &str) -> Result<(Vec<Entry>, Vec<String>)> {
        let prefix = prefix.trim_end_matches('/').to_owned();
        let (root, folder) = (self.root.clone(), self.resolve(&prefix)?);
        blocking(move || walk::folder(&root, &folder, &prefix)).await
    }

    async fn head(&self, path: &str) -> Result<Option<Entry>> {
        let (full, path) = (self.resolve(path)?, path.to_owned());
        blocking(move || match fs::metadata(&full) {
            Ok(meta) if meta.is_file() => Ok(Some(entry(path, &meta))),
            Ok(_) => Ok(None),
            Err(e) if absent(&e) => Ok(None),
            Err(e) => Err(failed("look at", &full, e)),
        })
        .await
    }

    async fn read(&self, path: &str, expect: Option<&FileVersion>) -> Result<BoxStream<'static, Result<Bytes>>> {
        let (full, expect) = (self.resolve(path)?, expect.cloned());
        Ok(match blocking(move || read::open(full, expect)).await? {
            read::Opened::Whole(bytes) if bytes.is_empty() => stream::empty().boxed(),
            read::Opened::Whole(bytes) => stream::iter([Ok(bytes)]).boxed(),
            read::Opened::Large(file) => file.stream()?,
        })
    }

    async fn read_range(&self, path: &str, range: Range<u64>, expect: Option<&FileVersion>) -> Result<Bytes> {
        let (full, expect) = (self.resolve(path)?, expect.cloned());
        blocking(move || read::range(full, range, expect)).await
    }

    async fn stage(&self, target: &str, scope: &str, name: &str) -> Result<Box<dyn StagedWriter>> {
        self.resolve(target)?;
        let hidden = format!("{HIDDEN}/{}/{name}.staged", scope.trim_matches('/'));
        let full = self.resolve(&hidden)?;
        Ok(Box::new(staging::Writer::new(full, target.to_owned(), hidden)))
    }

    async fn publish(&self, file: &StagedFile, if_exists: IfExists) -> Result<Published> {
        let crate::Staging::Hidden { path } = &file.staging else {
            return Err(Error::internal(format!("{} was staged in another kind of storage than a folder", file.target)));
        };
        let (hidden, target, size) = (self.resolve(path)?, self.resolve(&file.target)?, file.size);
        blocking(move || staging::publish(&hidden, &target, size, if_exists)).await
    }

    async fn sweep(&self, scope_prefix: &str, keep: &[StagedFile]) -> Result<u64> {
        let hidden = self.resolve(HIDDEN)?;
        let folder = inside(&hidden, scope_prefix.trim_matches('/'))?;
        let keep = keep
            .iter()
            .filter_map(|f| match &f.staging {
                crate::Staging::Hidden { path } => Some(self.resolve(path)),
                crate::Staging::Multipart { .. } => None,
            })
            .collect::<Result<Vec<_>>>()?;
        blocking(move || staging::sweep(&hidden, &folder, &keep)).await
    }

    async fn put(&self, path: &str, bytes: Bytes, if_exists: IfExists) -> Result<()> {
        let (hidden, target) = (self.resolve(HIDDEN)?, self.resolve(path)?);
        blocking(move || staging::put(&hidden, &target, &bytes, if_exists)).await
    }

    async fn create(&self, path: &str) -> Result<Box<dyn StagedWriter>> {
        Ok(Box::new(staging::Writer::new(self.resolve(path)?, path.to_owned(), path.to_owned())))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (self.resolve(from)?, self.resolve(to)?);
        blocking(move || staging::rename(&from, &to)).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let full = self.resolve(path)?;
        blocking(move || match fs::remove_file(&full) {
            Ok(()) => Ok(()),
            Err(e) if absent(&e) => Ok(()),
            Err(e) => Err(failed("delete", &full, e)),
        })
        .await
    }
}

/// Opens a regular file; a folder, a pipe or a device is not one.
fn open_file(full: &Path) -> io::Result<(File, Metadata)> {
    let file = File::open(full)?;
    let meta = file.metadata()?;
    if meta.is_file() { Ok((file, meta)) } else { Err(io::Error::new(io::ErrorKind::IsADirectory, "not a regular file")) }
}

#[cfg(test)]
mod tests;
