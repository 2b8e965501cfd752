//! How much was told as read, so that it can be taken back when it is read again.
//!
//! Deliberately not here: telling.

use std::sync::atomic::{AtomicU64, Ordering};

/// Files, bytes, rows.
#[derive(Default)]
pub struct Told([AtomicU64; 3]);

impl Told {
    pub fn add(&self, (files, bytes, rows): (u64, u64, u64)) {
        for (all, more) in self.0.iter().zip([files, bytes, rows]) {
            all.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// All of it; from here it is counted anew.
    pub fn take(&self) -> (u64, u64, u64) {
        let [files, bytes, rows] = &self.0;
        (files.swap(0, Ordering::Relaxed), bytes.swap(0, Ordering::Relaxed), rows.swap(0, Ordering::Relaxed))
    }
}
