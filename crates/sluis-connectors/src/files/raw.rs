//! A planned file, open for reading.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use sluis_core::{Error, ErrorKind, FileVersion, RawFile, Result, UnpackLimits, Unpacking};

use super::judge::{as_stored, same};
use super::place::Place;

/// A version of a file in a storage. Opening it asks nobody: the first read does.
pub struct StoredFile {
    place: Arc<Place>,
    path: String,
    version: FileVersion,
    /// As the storage knows it.
    expect: FileVersion,
    limits: UnpackLimits,
}

impl StoredFile {
    pub fn new(place: Arc<Place>, path: String, version: FileVersion, limits: UnpackLimits) -> Self {
        let expect = as_stored(&version);
        Self { place, path, version, expect, limits }
    }

    /// Errors of a read: a file that is gone is a changed one.
    fn read_error(&self, e: Error) -> Error {
        if e.kind() == ErrorKind::NotFound { self.changed("is gone").source(e) } else { e.context("file", &self.version.path) }
    }

    fn changed(&self, how: &str) -> Error {
        Error::new(ErrorKind::SourceChanged, format!("{} {how}", self.version.path))
    }
}

#[async_trait]
impl RawFile for StoredFile {
    fn version(&self) -> &FileVersion {
        &self.version
    }

    async fn stream(&self) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.place.storage.read(&self.path, Some(&self.expect)).await.map_err(|e| self.read_error(e))
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        self.place.storage.read_range(&self.path, range, Some(&self.expect)).await.map_err(|e| self.read_error(e))
    }

    async fn verify(&self) -> Result<()> {
        match self.place.storage.head(&self.path).await.map_err(|e| self.read_error(e))? {
            None => Err(self.changed("was deleted while it was read")),
            Some(entry) if same(&self.expect, &self.place.version(&entry)) => Ok(()),
            Some(_) => Err(self.changed("was rewritten while it was read")),
        }
    }

    fn unpacking(&self) -> Arc<Unpacking> {
        Arc::new(Unpacking::new(self.limits, self.version.size))
    }
}

/// A file that counts as taken without being read (`start: new`): no bytes.
pub struct PassedOver(FileVersion);

impl PassedOver {
    pub fn new(version: FileVersion) -> Self {
        Self(FileVersion { size: 0, ..version })
    }
}

#[async_trait]
impl RawFile for PassedOver {
    fn version(&self) -> &FileVersion {
        &self.0
    }
    async fn stream(&self) -> Result<BoxStream<'static, Result<Bytes>>> {
        Ok(stream::empty().boxed())
    }
    async fn range(&self, _: Range<u64>) -> Result<Bytes> {
        Ok(Bytes::new())
    }
    async fn verify(&self) -> Result<()> {
        Ok(())
    }
}
