//! Plain bytes at hand at random places: in memory or, beyond [`IN_MEMORY`], in a temporary file without a name.
//!
//! Deliberately not here: how much may come (who unpacks counts that: [`sluis_core::Unpacking`]). Guarantee: memory is bounded.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, TryStreamExt};
use sluis_core::{Error, ErrorKind, Result};

/// What is held in memory, at most.
pub const IN_MEMORY: usize = 8 << 20;

/// Plain bytes at hand.
pub struct Spool {
    length: u64,
    bytes: Held,
}

enum Held {
    Memory(Bytes),
    File(std::fs::File),
}

impl Spool {
    /// Takes all of a stream.
    ///
    /// # Errors
    /// Those of the stream, and of writing a temporary file.
    pub async fn of(mut pieces: BoxStream<'static, Result<Bytes>>) -> Result<Arc<Spool>> {
        let mut held = Vec::new();
        while held.len() <= IN_MEMORY {
            match pieces.try_next().await? {
                Some(piece) => held.extend_from_slice(&piece),
                None => return Ok(Arc::new(Spool { length: held.len() as u64, bytes: Held::Memory(held.into()) })),
            }
        }
        let mut file = tempfile::tempfile().map_err(not_written)?;
        let (mut length, mut next) = (0, Some(Bytes::from(held)));
        while let Some(piece) = next {
            length += piece.len() as u64;
            let written = tokio::task::spawn_blocking(move || {
                let written = std::io::Write::write_all(&mut file, &piece);
                (file, written)
            });
            let (back, written) = written.await.map_err(|e| Error::internal("unpacking panicked").source(e))?;
            written.map_err(not_written)?;
            file = back;
            next = pieces.try_next().await?;
        }
        Ok(Arc::new(Spool { length, bytes: Held::File(file) }))
    }

    /// Bytes in it.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Some of the bytes.
    ///
    /// # Errors
    /// `ErrorKind::CorruptInput`: they are not there. Those of reading.
    pub async fn get(self: &Arc<Self>, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end || range.end > self.length {
            let message = format!("bytes {} to {} of {} were asked for", range.start, range.end, self.length);
            return Err(Error::new(ErrorKind::CorruptInput, message));
        }
        if let Held::Memory(bytes) = &self.bytes {
            return Ok(bytes.slice(range.start as usize..range.end as usize));
        }
        let this = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            let Held::File(file) = &this.bytes else { return Ok(Bytes::new()) };
            let mut out = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut out, range.start).map(|()| Bytes::from(out))
        });
        let read = read.await.map_err(|e| Error::internal("reading a temporary file panicked").source(e))?;
        read.map_err(|e| Error::io("read back what was unpacked into", std::env::temp_dir().display(), e))
    }
}

fn not_written(e: std::io::Error) -> Error {
    Error::io("unpack into", std::env::temp_dir().display(), e)
}
