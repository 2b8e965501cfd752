//! What happens while a lane is driven, told as it happens: progress bars, log lines and metrics are made from it.
//!
//! Deliberately not here: printing.

use sluis_core::{Epoch, LaneId, Receipt, RowCounts, ValueCounts};

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The lane is ours.
    Started { generation: u64 },
    /// An earlier run left this epoch unfinished; it is taken up. `step`: `execute` or `commit`.
    Recovering { epoch: Epoch, step: &'static str },
    /// The source was asked what is new.
    Discovered { files: u64, bytes: u64, more: bool },
    /// A sentence from the source that a person should know.
    Note(String),
    /// `planned` is written: the epoch will read so much.
    Planned { epoch: Epoch, files: u64, bytes: u64 },
    /// Progress within the epoch, as increments since the last such event. `bytes` as stored at the source.
    Read { epoch: Epoch, files: u64, bytes: u64, rows: u64 },
    /// So much of what was told as read is read again.
    Reread { epoch: Epoch, files: u64, bytes: u64, rows: u64 },
    /// Rows that failed an `on_fail: warn` check, per epoch.
    Warned { epoch: Epoch, check: String, rows: u64 },
    /// `staged` is written: from here only forward.
    Staged { epoch: Epoch, rows: RowCounts },
    /// `committed` is written.
    Committed { epoch: Epoch, files: u64, bytes: u64, rows: RowCounts, values: ValueCounts, receipts: Vec<Receipt> },
    /// Something failed in a way that may pass; it is tried again after the pause.
    Retrying { epoch: Option<Epoch>, error: String, attempt: usize, of: usize, pause_ms: u64 },
    /// Something went wrong that costs no rows (a file could not be archived): it is tried again by a later run.
    Problem(String),
}

/// Is told of events. Called from several threads; must not block for long.
pub trait Observer: Send + Sync {
    fn event(&self, lane: &LaneId, event: Event);
}

/// Looks away.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: &LaneId, _: Event) {}
}
