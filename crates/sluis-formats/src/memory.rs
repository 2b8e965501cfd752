//! A file that is held in memory: for tests, for examples, and for whoever has the bytes already.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use sluis_core::{Error, ErrorKind, FileVersion, RawFile, Result};

/// How many bytes an item of the stream has.
const PIECE: usize = 1 << 20;

struct MemoryFile {
    version: FileVersion,
    bytes: Bytes,
    piece: usize,
}

/// A file with this path and these bytes.
pub fn memory_file(path: impl Into<String>, bytes: impl Into<Bytes>) -> Arc<dyn RawFile> {
    memory_file_in_pieces(path, bytes, PIECE)
}

/// Likewise; its stream comes in pieces of `piece` bytes.
pub fn memory_file_in_pieces(path: impl Into<String>, bytes: impl Into<Bytes>, piece: usize) -> Arc<dyn RawFile> {
    assert!(piece > 0, "pieces of no bytes would never end");
    let bytes = bytes.into();
    let version = FileVersion { path: path.into(), size: bytes.len() as u64, modified: None, etag: None };
    Arc::new(MemoryFile { version, bytes, piece })
}

#[async_trait]
impl RawFile for MemoryFile {
    fn version(&self) -> &FileVersion {
        &self.version
    }
    async fn stream(&self) -> Result<BoxStream<'static, Result<Bytes>>> {
        let (bytes, piece) = (self.bytes.clone(), self.piece);
        let pieces = (0..bytes.len()).step_by(piece).map(move |at| Ok(bytes.slice(at..bytes.len().min(at + piece))));
        Ok(stream::iter(pieces).boxed())
    }
    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end || range.end > self.bytes.len() as u64 {
            let message = format!("bytes {}..{} of a file of {} bytes were asked for", range.start, range.end, self.bytes.len());
            return Err(Error::new(ErrorKind::CorruptInput, message).context("file", &self.version.path));
        }
        Ok(self.bytes.slice(range.start as usize..range.end as usize))
    }
    async fn verify(&self) -> Result<()> {
        Ok(())
    }
}
