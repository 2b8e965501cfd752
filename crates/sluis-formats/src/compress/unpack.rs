//! A file's bytes, decompressed: its stream, through the decompressor that its first bytes and its name ask for.
//!
//! Deliberately not here: encodings. Guarantees: bounded memory; what is decompressed is so off the reactor.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use sluis_core::{Error, RawFile, Result, Unpacking};

use super::{Compression, Decompressor, HEAD};
use sluis_core::registry::FileHead;

/// Compressed input from this size on is decompressed off the reactor.
const WORTH_A_THREAD: usize = 16 * 1024;

/// The plain bytes of a file, piece by piece.
pub struct Unpacked {
    file: Arc<dyn RawFile>,
    input: BoxStream<'static, Result<Bytes>>,
    compression: Compression,
    /// What plain files begin with, whatever their name says; may be empty.
    magic: &'static [u8],
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
        Ok(Self { file, input, compression, magic: b"", decompressor: None, unpacking, ended: false })
    }

    /// A file that is plain if it begins like this, whatever its name says.
    pub fn unless(mut self, magic: &'static [u8]) -> Self {
        self.magic = magic;
        self
    }

    /// The next piece, never empty; `None` at the end.
    ///
    /// # Errors
    /// `CorruptInput` for damaged compression or too much of it, and whatever the storage says.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.decompressor.is_none() {
            let head = self.head().await?;
            let plain = !self.magic.is_empty() && head.starts_with(self.magic);
            let kind = if plain { Compression::None } else { self.compression.detect(&self.file.version().path, &head) };
            let mut decompressor = Decompressor::new(kind)?;
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

/// The plain beginning of a file, up to `most` bytes, and whether it is all of it. Damage ends it.
pub fn beginning(head: &FileHead, most: usize) -> (Vec<u8>, bool) {
    let kind = Compression::Auto.detect(&head.path, &head.bytes);
    let mut out = Vec::new();
    let Ok(mut decompressor) = Decompressor::new(kind) else { return (out, false) };
    decompressor.push(head.bytes.clone());
    loop {
        match decompressor.next_piece() {
            Ok(Some(piece)) if out.len() < most => out.extend_from_slice(&piece[..piece.len().min(most - out.len())]),
            Ok(Some(_)) => return (out, false),
            Ok(None) => break,
            Err(_) => return (out, false),
        }
    }
    let whole = head.whole && out.len() < most && decompressor.finish().is_ok();
    (out, whole)
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
