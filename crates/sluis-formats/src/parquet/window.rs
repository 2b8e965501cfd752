//! A file's bytes for the readers of Parquet and ORC, fetched in windows: small files whole, large ones a window per column at a time.
//!
//! Deliberately not here: Parquet. Guarantees: a bounded number of windows is held; nothing is asked for beyond the file's end.
//! Works on blocking threads only: it waits for the storage.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{ChunkReader, Length};
use sluis_core::{Error, ErrorKind, RawFile, Unpacking};
use tokio::runtime::Handle;

use super::pages::{Pages, SIZES};

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
    unpacking: Arc<Unpacking>,
    /// What went wrong here, the last of it: libraries make texts of errors.
    failed: Mutex<Option<Error>>,
    /// Whose pages are looked at.
    pages: Option<Pages>,
}

impl Windows {
    /// A reader for the metadata: the whole file if it is small, else its end. Must be called within the runtime.
    pub fn open(file: Arc<dyn RawFile>) -> Self {
        let length = file.version().size;
        let unpacking = file.unpacking();
        let (handle, held) = (Handle::current(), Mutex::default());
        Self(Arc::new(Inner { file, handle, length, window: TAIL, most: 4, held, unpacking, failed: Mutex::default(), pages: None }))
    }

    /// A reader for one row group, `side_by_side` of which work at a time; pages beyond `max_page` bytes are refused.
    pub fn for_row_group(&self, group: &RowGroupMetaData, side_by_side: usize, max_page: u64) -> Self {
        self.narrowed(group.num_columns(), side_by_side, Some(Pages::new(group, max_page)))
    }

    /// A reader for the streams of a stripe (ORC).
    pub fn for_stripe(&self) -> Self {
        self.narrowed(1, 1, None)
    }

    /// A reader for a part of `columns` columns, `side_by_side` of which work at a time. A file that is held whole is shared.
    fn narrowed(&self, columns: usize, side_by_side: usize, pages: Option<Pages>) -> Self {
        let most = columns.max(1) * 2 + 1;
        let window = (HELD / (most * side_by_side.max(1))).clamp(64 * 1024, 1 << 20) as u64;
        let whole = self.held().iter().find(|(start, bytes)| *start == 0 && bytes.len() as u64 == self.0.length).cloned();
        let held = Mutex::new(whole.into_iter().collect());
        let Inner { file, handle, length, unpacking, .. } = &*self.0;
        let (file, handle, unpacking) = (file.clone(), handle.clone(), unpacking.clone());
        Self(Arc::new(Inner { file, handle, length: *length, window, most, held, unpacking, failed: Mutex::default(), pages }))
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.0.length
    }

    /// What counts the bytes that the file unpacks to.
    pub fn unpacking(&self) -> &Unpacking {
        &self.0.unpacking
    }

    /// Some bytes, for formats other than Parquet.
    ///
    /// # Errors
    /// `CorruptInput` for bytes behind the end; what the storage says.
    pub fn bytes(&self, start: u64, length: u64) -> sluis_core::Result<Bytes> {
        let n = usize::try_from(length).unwrap_or(usize::MAX);
        Ok(self.get(start, n)?.slice(..n))
    }

    /// What went wrong in reading, if something did; once.
    pub fn own_error(&self) -> Option<Error> {
        self.0.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Keeps an error for who asks for it when the library has failed by it.
    fn fail(&self, e: Error) -> ParquetError {
        let text = e.message().to_owned();
        *self.0.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
        ParquetError::General(text)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, VecDeque<(u64, Bytes)>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At least `length` bytes from `start` on, more if they are at hand.
    fn get(&self, start: u64, length: usize) -> sluis_core::Result<Bytes> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.0.length);
        let Some(end) = end else {
            return Err(damaged(format!("it claims to have bytes {start} to {}, and has {}", start.saturating_add(length as u64), self.0.length)));
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
        let bytes = self.0.handle.block_on(self.0.file.range(range.clone()))?;
        if bytes.len() != wanted {
            return Err(damaged(format!("{} of {wanted} bytes came from byte {}", bytes.len(), range.start)));
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

fn damaged(what: String) -> Error {
    Error::new(ErrorKind::CorruptInput, format!("the file is damaged: {what}"))
        .hint("send the file again, or set `on_corrupt: reject` to go on without it")
}

impl Length for Windows {
    fn len(&self) -> u64 {
        self.0.length
    }
}

impl ChunkReader for Windows {
    type T = WindowRead;

    fn get_read(&self, start: u64) -> Result<WindowRead, ParquetError> {
        Ok(WindowRead { windows: self.clone(), at: start, begun: false })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.get(start, length).map_err(|e| self.fail(e))?.slice(..length);
        if let Some(pages) = &self.0.pages {
            pages.data(start, &bytes).map_err(|e| self.fail(e))?;
        }
        Ok(bytes)
    }
}

/// Reads on from a position.
pub struct WindowRead {
    windows: Windows,
    at: u64,
    /// Something was read: where pages are looked at, a header stands where reading begins.
    begun: bool,
}

impl WindowRead {
    fn next(&mut self) -> sluis_core::Result<Bytes> {
        let inner = &self.windows.0;
        if let Some(pages) = inner.pages.as_ref().filter(|_| !self.begun) {
            let header = self.windows.get(self.at, SIZES.min((inner.length - self.at) as usize))?;
            pages.header(self.at, &header, &inner.unpacking)?;
        }
        self.begun = true;
        self.windows.get(self.at, 1)
    }
}

impl Read for WindowRead {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at >= self.windows.0.length || buffer.is_empty() {
            return Ok(0);
        }
        let bytes = self.next().map_err(|e| std::io::Error::other(self.windows.fail(e)))?;
        let n = bytes.len().min(buffer.len());
        buffer[..n].copy_from_slice(&bytes[..n]);
        self.at += n as u64;
        Ok(n)
    }
}
