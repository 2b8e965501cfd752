//! An archive's bytes at any place, fetched in windows, so that small neighbours cost one read.
//!
//! Guarantees: at most [`HELD`] windows are held; nothing is asked for beyond the file's end.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sluis_core::{RawFile, Result};

use super::damaged;

/// Bytes of a window.
const WINDOW: u64 = 1 << 20;
/// Windows held.
pub const HELD: usize = 4;
/// Bytes given at once by [`Windows::next`].
const STEP: u64 = 256 << 10;

/// The archive, window by window.
pub struct Windows {
    pub file: Arc<dyn RawFile>,
    held: Mutex<VecDeque<(u64, Bytes)>>,
}

impl Windows {
    pub fn new(file: Arc<dyn RawFile>) -> Self {
        Self { file, held: Mutex::default() }
    }

    /// Bytes of the archive.
    pub fn size(&self) -> u64 {
        self.file.version().size
    }

    /// Some bytes.
    ///
    /// # Errors
    /// `ErrorKind::CorruptInput`: they are not all in the file. Those of reading.
    pub async fn get(&self, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end || range.end > self.size() {
            return Err(damaged(format!("the archive is cut off: bytes {} to {} are not there", range.start, range.end)));
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if let Some(held) = self.held_part(&range) {
            return Ok(held);
        }
        let wanted = range.start..range.end.max(range.start.saturating_add(WINDOW)).min(self.size());
        let bytes = self.file.range(wanted.clone()).await?;
        if bytes.len() as u64 != wanted.end - wanted.start {
            return Err(damaged(format!(
                "the archive is cut off: {} of {} bytes came from byte {}",
                bytes.len(),
                wanted.end - wanted.start,
                wanted.start
            )));
        }
        let part = bytes.slice(..(range.end - range.start) as usize);
        // What is larger is wanted once.
        if bytes.len() as u64 <= WINDOW {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            if held.len() == HELD {
                held.pop_front();
            }
            held.push_back((wanted.start, bytes));
        }
        Ok(part)
    }

    /// The next bytes of a range, about a quarter of a megabyte; empty if it is.
    ///
    /// # Errors
    /// As [`Windows::get`].
    pub async fn next(&self, range: &mut Range<u64>) -> Result<Bytes> {
        let end = range.end.min(range.start.saturating_add(STEP));
        let bytes = self.get(range.start..end).await?;
        range.start = end;
        Ok(bytes)
    }

    fn held_part(&self, range: &Range<u64>) -> Option<Bytes> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, bytes) = held.iter().find(|(at, bytes)| *at <= range.start && range.end <= at + bytes.len() as u64)?;
        Some(bytes.slice((range.start - at) as usize..(range.end - at) as usize))
    }
}
