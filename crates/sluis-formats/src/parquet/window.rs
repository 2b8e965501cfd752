//! A file's bytes for the readers of Parquet and ORC, fetched in windows: small files whole, large ones a window per column at a time.
//!
//! Deliberately not here: Parquet. Guarantees: a bounded number of windows is held; nothing is asked for beyond the file's end.
//! Works on blocking threads only: it waits for the storage.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use sluis_core::{Error, ErrorKind, RawFile};
use tokio::runtime::Handle;

/// Files up to this size are read whole.
const WHOLE: u64 = 8 << 20;
/// Bytes of the file's end that are read first.
const TAIL: u64 = 256 * 1024;
/// What all windows of one reader hold together, about.
const HELD: usize = 64 << 20;

/// The file, window by window.
#[derive(Clone)]
pub struct Windows(Arc<Inner>);

struct Inner {
    file: Arc<dyn RawFile>,
    handle: Handle,
    length: u64,
    window: u64,
    most: usize,
    held: Mutex<VecDeque<(u64, Bytes)>>,
}

impl Windows {
    /// A reader for the metadata: the whole file if it is small, else its end. Must be called within the runtime.
    pub fn open(file: Arc<dyn RawFile>) -> Self {
        let length = file.version().size;
        Self(Arc::new(Inner { file, handle: Handle::current(), length, window: TAIL, most: 4, held: Mutex::default() }))
    }

    /// A reader for one row group of `columns` columns, `side_by_side` of which work at a time. A file that is held whole is shared.
    pub fn for_row_group(&self, columns: usize, side_by_side: usize) -> Self {
        let most = columns.max(1) * 2 + 1;
        let window = (HELD / (most * side_by_side.max(1))).clamp(64 * 1024, 1 << 20) as u64;
        let whole = self.held().iter().find(|(start, bytes)| *start == 0 && bytes.len() as u64 == self.0.length).cloned();
        let held = Mutex::new(whole.into_iter().collect());
        Self(Arc::new(Inner { file: self.0.file.clone(), handle: self.0.handle.clone(), length: self.0.length, window, most, held }))
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.0.length
    }

    /// Some bytes, for formats other than Parquet.
    ///
    /// # Errors
    /// `CorruptInput` for bytes behind the end; what the storage says.
    pub fn bytes(&self, start: u64, length: u64) -> sluis_core::Result<Bytes> {
        let n = usize::try_from(length).unwrap_or(usize::MAX);
        match self.get(start, n) {
            Ok(bytes) => Ok(bytes.slice(..n)),
            Err(e) => Err(own_error(e).unwrap_or_else(|e| Error::new(ErrorKind::CorruptInput, "bytes behind the file's end are claimed").source(e))),
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, VecDeque<(u64, Bytes)>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At least `length` bytes from `start` on, more if they are at hand.
    fn get(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.0.length);
        let Some(end) = end else {
            return Err(ParquetError::EOF(format!("bytes {start} to {} of a file of {}", start.saturating_add(length as u64), self.0.length)));
        };
        if let Some((at, bytes)) = self.held().iter().find(|(at, bytes)| *at <= start && end <= at + bytes.len() as u64) {
            return Ok(bytes.slice((start - at) as usize..));
        }
        let range = if self.0.length <= WHOLE {
            0..self.0.length
        } else if self.0.length - start <= TAIL {
            self.0.length - TAIL..self.0.length
        } else {
            start..end.max((start + self.0.window).min(self.0.length))
        };
        let wanted = (range.end - range.start) as usize;
        let bytes = self.0.handle.block_on(self.0.file.range(range.clone())).map_err(|e| ParquetError::External(Box::new(e)))?;
        if bytes.len() != wanted {
            return Err(ParquetError::EOF(format!("{} of {wanted} bytes came from byte {}", bytes.len(), range.start)));
        }
        let slice = bytes.slice((start - range.start) as usize..);
        let mut held = self.held();
        while held.len() >= self.0.most {
            held.pop_front();
        }
        held.push_back((range.start, bytes));
        Ok(slice)
    }
}

/// The storage's own error, if that is what is in it.
pub fn own_error(e: ParquetError) -> Result<Error, ParquetError> {
    match e {
        ParquetError::External(inner) => inner.downcast::<Error>().map(|e| *e).map_err(ParquetError::External),
        other => Err(other),
    }
}

impl Length for Windows {
    fn len(&self) -> u64 {
        self.0.length
    }
}

impl ChunkReader for Windows {
    type T = WindowRead;

    fn get_read(&self, start: u64) -> Result<WindowRead, ParquetError> {
        Ok(WindowRead { windows: self.clone(), at: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        Ok(self.get(start, length)?.slice(..length))
    }
}

/// Reads on from a position.
pub struct WindowRead {
    windows: Windows,
    at: u64,
}

impl Read for WindowRead {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at >= self.windows.0.length || buffer.is_empty() {
            return Ok(0);
        }
        let bytes = self.windows.get(self.at, 1).map_err(std::io::Error::other)?;
        let n = bytes.len().min(buffer.len());
        buffer[..n].copy_from_slice(&bytes[..n]);
        self.at += n as u64;
        Ok(n)
    }
}
