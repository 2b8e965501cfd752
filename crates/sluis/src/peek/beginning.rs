//! The beginning of a file, read once and kept: what sniffs, infers and decodes reads it again from here.
//!
//! Guarantee: the storage is asked for more only by who reads beyond it, and is asked for the same version then.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sluis_core::registry::FileHead;
use sluis_core::{FileVersion, RawFile, Result};

/// Bytes of an item of the stream.
const PIECE: usize = 64 * 1024;

/// A file whose beginning is in memory.
pub struct Beginning {
    inner: Arc<dyn RawFile>,
    head: Bytes,
    whole: bool,
    beyond: Arc<AtomicBool>,
}

impl Beginning {
    /// Reads the first bytes, at least `limit` of them or all there are.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn read(inner: Arc<dyn RawFile>, limit: usize) -> Result<Beginning> {
        let mut stream = inner.stream().await?;
        let mut head = BytesMut::new();
        let whole = loop {
            if head.len() > limit {
                break false;
            }
            match stream.try_next().await? {
                Some(piece) => head.extend_from_slice(&piece),
                None => break true,
            }
        };
        drop(stream);
        if !whole {
            head.truncate(limit);
        }
        Ok(Beginning { inner, head: head.freeze(), whole, beyond: Arc::default() })
    }

    pub fn head(&self) -> FileHead {
        FileHead { path: self.inner.version().path.clone(), bytes: self.head.clone(), whole: self.whole }
    }

    /// Whether someone has read on behind it.
    pub fn is_passed(&self) -> bool {
        self.beyond.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl RawFile for Beginning {
    fn version(&self) -> &FileVersion {
        self.inner.version()
    }

    async fn stream(&self) -> Result<BoxStream<'static, Result<Bytes>>> {
        let head = self.head.clone();
        let pieces = (0..head.len()).step_by(PIECE).map(move |at| Ok(head.slice(at..head.len().min(at + PIECE))));
        let known = stream::iter(pieces);
        if self.whole {
            return Ok(known.boxed());
        }
        let (inner, beyond, length) = (self.inner.clone(), self.beyond.clone(), self.head.len());
        let rest = stream::once(async move {
            beyond.store(true, Ordering::Relaxed);
            inner.stream().await
        });
        let mut skip = length;
        let rest = rest.try_flatten().map_ok(move |mut piece| {
            let passed = skip.min(piece.len());
            skip -= passed;
            piece.split_off(passed)
        });
        Ok(known.chain(rest.try_filter(|piece| std::future::ready(!piece.is_empty()))).boxed())
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        match (usize::try_from(range.start), usize::try_from(range.end)) {
            (Ok(start), Ok(end)) if start <= end && end <= self.head.len() => Ok(self.head.slice(start..end)),
            _ => self.inner.range(range).await,
        }
    }

    /// Nothing is kept of what is read: it need not be the newest.
    async fn verify(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(file: &Beginning) -> Vec<u8> {
        file.stream()
            .await
            .unwrap()
            .try_fold(Vec::new(), |mut out, piece| async move {
                assert!(!piece.is_empty());
                out.extend_from_slice(&piece);
                Ok(out)
            })
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn the_whole_file_is_read_from_it_and_the_storage_only_behind_it() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        for (limit, piece) in [(1000, 1), (1000, 999), (1000, 1000), (70_000, 4096), (0, 10)] {
            let inner = sluis_formats::memory::memory_file_in_pieces("a", bytes.clone(), piece);
            let file = Beginning::read(inner, limit).await.unwrap();
            assert_eq!((file.head().bytes.len(), file.head().whole, file.is_passed()), (limit, false, false));
            let mut first = file.stream().await.unwrap();
            for _ in 0..limit.div_ceil(PIECE) {
                first.try_next().await.unwrap().unwrap();
            }
            assert!(!file.is_passed());
            assert_eq!(all(&file).await, bytes);
            assert!(file.is_passed());
            assert_eq!(file.range(5..7).await.unwrap(), &bytes[5..7]);
            assert_eq!(file.range(199_998..200_000).await.unwrap(), &bytes[199_998..]);
        }
        let small = Beginning::read(sluis_formats::memory_file("a", vec![1, 2, 3]), 3).await.unwrap();
        assert!(small.head().whole, "as long as the limit");
        assert_eq!((all(&small).await, small.is_passed()), (vec![1, 2, 3], false));
    }
}
