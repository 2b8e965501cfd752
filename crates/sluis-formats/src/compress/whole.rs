//! A compressed file as a plain one, for formats that need random access (Parquet, ORC): unpacked first, all of it.
//!
//! Why not read as it is unpacked: these formats say at their end what is where. Deliberately not here: members of archives, which are
//! unpacked by their archive. Guarantees: memory is bounded, what comes is within the file's limits, and a file whose name promises no
//! compression costs no request.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use sluis_core::{Error, FileVersion, RawFile, Result, Unpacking};

use super::spool::Spool;
use super::unpack::Unpacked;
use super::{Compression, HEAD};

/// Bytes of an item of the stream.
const PIECE: u64 = 256 * 1024;

/// The file, unpacked if its name promises that it is compressed and it does not begin as its format does (`magic`).
///
/// # Errors
/// `ErrorKind::CorruptInput` for damaged compression or too much of it; those of reading and of writing a temporary file.
pub async fn unpacked(file: Arc<dyn RawFile>, magic: &[u8]) -> Result<Arc<dyn RawFile>> {
    let version = file.version();
    if version.size == 0 || Compression::by_name(&version.path).is_none() || file.range(0..version.size.min(HEAD as u64)).await?.starts_with(magic) {
        return Ok(file);
    }
    let input = Unpacked::open(file.clone(), Compression::Auto).await?;
    let pieces = stream::try_unfold(input, |mut input| async { Ok::<_, Error>(input.next().await?.map(|piece| (piece, input))) });
    let spool = Spool::of(pieces.boxed()).await?;
    let version = FileVersion { size: spool.length(), ..file.version().clone() };
    Ok(Arc::new(Whole { file, version, spool }))
}

/// A file that was unpacked.
struct Whole {
    file: Arc<dyn RawFile>,
    /// With the size of the plain bytes.
    version: FileVersion,
    spool: Arc<Spool>,
}

#[async_trait]
impl RawFile for Whole {
    fn version(&self) -> &FileVersion {
        &self.version
    }

    async fn stream(&self) -> Result<BoxStream<'static, Result<Bytes>>> {
        let (spool, size) = (self.spool.clone(), self.version.size);
        let piece = move |at: u64| {
            let spool = spool.clone();
            async move { spool.get(at..(at + PIECE).min(size)).await }
        };
        Ok(stream::iter((0..size).step_by(PIECE as usize)).then(piece).boxed())
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        self.spool.get(range).await
    }

    async fn verify(&self) -> Result<()> {
        self.file.verify().await
    }

    fn unpacking(&self) -> Arc<Unpacking> {
        self.file.unpacking()
    }
}
