//! A file's bytes, decompressed: its stream, through the decompressor that its first bytes and its name ask for.
//!
//! Deliberately not here: encodings. Guarantees: bounded memory; what is decompressed is so off the reactor.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use sluis_core::{Error, RawFile, Result, Unpacking};

use super::{Compression, Decompressor, HEAD};

/// Compressed input from this size on is decompressed off the reactor.
const WORTH_A_THREAD: usize = 16 * 1024;

/// The plain bytes of a file, piece by piece.
pub struct Unpacked {
    file: Arc<dyn RawFile>,
    input: BoxStream<'static, Result<Bytes>>,
    compression: Compression,
    /// `None`: nothing read yet.
    decompressor: Option<Decompressor>,
    unpacking: Arc<Unpacking>,
    ended: bool,
}

impl Unpacked {
    /// Opens the file's stream. Nothing is read yet.
    ///
    /// # Errors
    /// Those of [`RawFile::stream`].
    pub async fn open(file: Arc<dyn RawFile>, compression: Compression) -> Result<Self> {
        let unpacking = file.unpacking();
        Self::open_within(file, compression, unpacking).await
    }

    /// Likewise, counted together with others.
    ///
    /// # Errors
    /// As [`Unpacked::open`].
    pub async fn open_within(file: Arc<dyn RawFile>, compression: Compression, unpacking: Arc<Unpacking>) -> Result<Self> {
        let input = file.stream().await?;
        Ok(Self { file, input, compression, decompressor: None, unpacking, ended: false })
    }

    /// The next piece, never empty; `None` at the end.
    ///
    /// # Errors
    /// `CorruptInput` for damaged compression or too much of it, and whatever the storage says.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.decompressor.is_none() {
            let head = self.head().await?;
            let mut decompressor = Decompressor::new(self.compression.detect(&self.file.version().path, &head))?;
            if !decompressor.is_plain() {
                decompressor = decompressor.within(self.unpacking.clone());
            }
            decompressor.push(head);
            self.decompressor = Some(decompressor);
        }
        let Some(decompressor) = &mut self.decompressor else { return Err(Error::internal("a file has no decompressor")) };
        loop {
            if let Some(plain) = plain_piece(decompressor).await? {
                return Ok(Some(plain));
            }
            if self.ended {
                decompressor.finish()?;
                return Ok(None);
            }
            match self.input.next().await.transpose()? {
                Some(bytes) => decompressor.push(bytes),
                None => self.ended = true,
            }
        }
    }

    /// Stored bytes worked on so far.
    pub fn consumed(&self) -> u64 {
        self.decompressor.as_ref().map_or(0, Decompressor::consumed)
    }

    /// The first bytes: at least [`HEAD`] of them, or all there are.
    async fn head(&mut self) -> Result<Bytes> {
        let mut head = Bytes::new();
        while head.len() < HEAD {
            match self.input.next().await.transpose()? {
                None => {
                    self.ended = true;
                    break;
                }
                Some(more) if head.is_empty() => head = more,
                Some(more) => head = [head, more].concat().into(),
            }
        }
        Ok(head)
    }
}

async fn plain_piece(decompressor: &mut Decompressor) -> Result<Option<Bytes>> {
    if decompressor.is_plain() || decompressor.pending() < WORTH_A_THREAD {
        return decompressor.next_piece();
    }
    let mut moved = std::mem::replace(decompressor, Decompressor::new(Compression::None)?);
    let (moved, piece) = tokio::task::spawn_blocking(move || {
        let piece = moved.next_piece();
        (moved, piece)
    })
    .await
    .map_err(|e| Error::internal("decompressing panicked").source(e))?;
    *decompressor = moved;
    piece
}
