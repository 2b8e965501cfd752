//! A member of an archive as a file: a stretch of the archive, perhaps compressed, with the length and checksum that the archive promises.
//!
//! Formats that need random access (Parquet) get it: of stored members from the archive itself, of compressed ones from memory or, beyond
//! [`crate::compress::spool::IN_MEMORY`], from a temporary file without a name. Deliberately not here: members of compressed tars that are too large to hold.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sluis_core::{Error, FileVersion, RawFile, Result, Unpacking};
use tokio::sync::OnceCell;

use super::window::Windows;
use super::{damaged, of_file};
use crate::compress::spool::Spool;
use crate::compress::{Compression, Decompressor};

/// How a member is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Stored,
    Deflate,
    Other(Compression),
}

impl Packing {
    fn decompressor(self) -> Result<Decompressor> {
        match self {
            Packing::Stored => Decompressor::new(Compression::None),
            Packing::Deflate => Ok(Decompressor::deflate()),
            Packing::Other(kind) => Decompressor::new(kind),
        }
    }
}

/// Where a member's bytes are.
#[derive(Debug, Clone)]
pub enum Place {
    At(Range<u64>),
    /// Behind a header of a zip that stands here. It is looked at when the member is read, and must say what the directory says.
    Behind(super::zip::Local),
}

/// A member.
pub struct Stretch {
    pub version: FileVersion,
    pub windows: Arc<Windows>,
    pub place: Place,
    pub packing: Packing,
    /// Of the plain bytes.
    pub crc: Option<u32>,
    pub unpacking: Arc<Unpacking>,
    /// The plain bytes, once a format wanted some of them.
    pub spool: OnceCell<Arc<Spool>>,
}

/// Unpacking in progress.
struct Course {
    windows: Arc<Windows>,
    left: Range<u64>,
    decompressor: Decompressor,
    size: u64,
    given: u64,
    crc: Option<(u32, crc32fast::Hasher)>,
}

impl Course {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(plain) = self.decompressor.next_piece()? {
                self.given += plain.len() as u64;
                if self.given > self.size {
                    return Err(damaged(format!("it is longer than the {} bytes that the archive says", self.size)));
                }
                if let Some((_, hasher)) = &mut self.crc {
                    hasher.update(&plain);
                }
                return Ok(Some(plain));
            }
            if self.left.is_empty() {
                self.decompressor.finish()?;
                if self.given != self.size {
                    return Err(damaged(format!("it has {} bytes, and the archive says {}", self.given, self.size)));
                }
                if self.crc.take().is_some_and(|(crc, hasher)| hasher.finalize() != crc) {
                    return Err(damaged("its checksum is another one"));
                }
                return Ok(None);
            }
            let bytes = self.windows.next(&mut self.left).await?;
            self.decompressor.push(bytes);
        }
    }
}

impl Stretch {
    async fn range_in_archive(&self) -> Result<Range<u64>> {
        match &self.place {
            Place::At(range) => Ok(range.clone()),
            Place::Behind(local) => local.data(&self.windows).await,
        }
    }

    async fn course(&self) -> Result<Course> {
        let left = self.range_in_archive().await?;
        let mut decompressor = self.packing.decompressor()?;
        if !decompressor.is_plain() {
            decompressor = decompressor.within(self.unpacking.clone());
        }
        let crc = self.crc.map(|crc| (crc, crc32fast::Hasher::new()));
        Ok(Course { windows: self.windows.clone(), left, decompressor, size: self.version.size, given: 0, crc })
    }

    fn told(&self, e: Error) -> Error {
        of_file(e, &self.version.path)
    }

    async fn plain(&self) -> Result<Arc<Spool>> {
        let make = || async { Spool::of(self.stream().await?).await };
        self.spool.get_or_try_init(make).await.cloned()
    }
}

#[async_trait]
impl RawFile for Stretch {
    fn version(&self) -> &FileVersion {
        &self.version
    }

    async fn stream(&self) -> Result<BoxStream<'static, Result<Bytes>>> {
        let course = self.course().await.map_err(|e| self.told(e))?;
        let path = self.version.path.clone();
        let pieces = stream::try_unfold(course, |mut course| async {
            let piece = course.next().await?;
            Ok::<_, Error>(piece.map(|piece| (piece, course)))
        });
        Ok(pieces.map_err(move |e| of_file(e, &path)).boxed())
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        let whole = 0..self.version.size;
        if range.start > range.end || range.end > whole.end {
            return Err(self.told(damaged(format!("bytes {} to {} of a member of {} were asked for", range.start, range.end, whole.end))));
        }
        if self.packing == Packing::Stored {
            let at = self.range_in_archive().await.map_err(|e| self.told(e))?;
            return self.windows.get(at.start + range.start..at.start + range.end).await.map_err(|e| self.told(e));
        }
        self.plain().await?.get(range).await.map_err(|e| self.told(e))
    }

    async fn verify(&self) -> Result<()> {
        // The archive is asked once, for all of its members.
        Ok(())
    }

    fn unpacking(&self) -> Arc<Unpacking> {
        self.unpacking.clone()
    }
}

/// A member that is held.
pub struct Held {
    pub version: FileVersion,
    pub bytes: Bytes,
    pub unpacking: Arc<Unpacking>,
}

#[async_trait]
impl RawFile for Held {
    fn version(&self) -> &FileVersion {
        &self.version
    }
    async fn stream(&self) -> Result<BoxStream<'static, Result<Bytes>>> {
        let bytes = self.bytes.clone();
        Ok(stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed())
    }
    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        slice(&self.bytes, range).map_err(|e| of_file(e, &self.version.path))
    }
    async fn verify(&self) -> Result<()> {
        Ok(())
    }
    fn unpacking(&self) -> Arc<Unpacking> {
        self.unpacking.clone()
    }
}

fn slice(bytes: &Bytes, range: Range<u64>) -> Result<Bytes> {
    if range.start > range.end || range.end > bytes.len() as u64 {
        return Err(damaged(format!("bytes {} to {} of a member of {} were asked for", range.start, range.end, bytes.len())));
    }
    Ok(bytes.slice(range.start as usize..range.end as usize))
}
