//! The ledger's records: `planned` -> `staged` -> `committed` per `(lane, epoch)`; immutable, first writer wins.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, Generation};
use crate::position::Checkpoint;
use crate::sink::{Committable, Receipt};
use crate::split::{FileVersion, Split};

/// What an epoch will read. Pinned: a replay reads the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    pub epoch: Epoch,
    pub generation: Generation,
    pub at: DateTime<Utc>,
    pub from: Checkpoint,
    pub to: Checkpoint,
    pub splits: Vec<Split>,
}

/// The decision: from here only forward. Holds the end checkpoint and every committable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Staged {
    pub epoch: Epoch,
    pub generation: Generation,
    pub at: DateTime<Utc>,
    pub from: Checkpoint,
    pub to: Checkpoint,
    /// One per split of `planned`, in its order.
    pub splits: Vec<SplitReport>,
    /// What the sinks staged; `Committable::sink` says whose.
    pub committables: Vec<Committable>,
    /// Source paths whose earlier rows leave with this commit (`on_overwrite: replace`).
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub replaced: Vec<String>,
    /// The Arrow schema of what was decoded, as JSON (`columns::schema_to_json`), for drift history and stable types.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub schema: Option<serde_json::Value>,
    /// How the epoch's files differed from what the pipeline had seen before. `None`: it was not recorded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drift: Option<Vec<Drift>>,
}

impl Staged {
    /// What became of values by contract, over all files.
    pub fn values(&self) -> ValueCounts {
        self.drift.iter().flatten().fold(ValueCounts::default(), |all, drift| match drift.change {
            Change::Discarded { values } => ValueCounts { discarded: all.discarded + values, ..all },
            Change::Rescued { values } => ValueCounts { rescued: all.rescued + values, ..all },
            _ => all,
        })
    }
    /// Sum over the splits.
    pub fn rows(&self) -> RowCounts {
        self.splits.iter().fold(RowCounts::default(), |a, s| a.plus(&s.rows))
    }
    /// Bytes read from the source.
    pub fn bytes(&self) -> u64 {
        self.splits.iter().map(|s| s.bytes).sum()
    }
}

/// A difference between files and what the pipeline had seen before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// The file that brought it, the first of the epoch. `None`: it is of no one file, or not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<FileVersion>,
    pub column: String,
    #[serde(flatten)]
    pub change: Change,
}

/// What the difference is. Types as pipelines write them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A new column.
    Added {
        #[serde(rename = "type")]
        data_type: String,
    },
    /// A column with another type than before.
    Retyped { from: String, to: String },
    /// So many of the epoch's files with rows lack a column that was there before.
    Missing { files: u64, of: u64 },
    /// Values left out by contract.
    Discarded { values: u64 },
    /// Values kept in `_rescued` by contract.
    Rescued { values: u64 },
}

/// What became of values that the schema has no place for, or that are not of their column's type; their rows landed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueCounts {
    pub discarded: u64,
    pub rescued: u64,
}

impl ValueCounts {
    #[must_use]
    pub fn plus(&self, o: &ValueCounts) -> ValueCounts {
        ValueCounts { discarded: self.discarded + o.discarded, rescued: self.rescued + o.rescued }
    }
    pub fn any(&self) -> bool {
        self.discarded + self.rescued > 0
    }
}

/// All sinks have made the epoch visible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Committed {
    pub epoch: Epoch,
    pub generation: Generation,
    pub at: DateTime<Utc>,
    pub receipts: Vec<Receipt>,
}

/// Any of the three.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    Planned(Planned),
    Staged(Staged),
    Committed(Committed),
}

impl Record {
    pub fn epoch(&self) -> Epoch {
        match self {
            Record::Planned(r) => r.epoch,
            Record::Staged(r) => r.epoch,
            Record::Committed(r) => r.epoch,
        }
    }
    pub fn generation(&self) -> Generation {
        match self {
            Record::Planned(r) => r.generation,
            Record::Staged(r) => r.generation,
            Record::Committed(r) => r.generation,
        }
    }
    /// `planned`, `staged` or `committed`.
    pub fn kind(&self) -> &'static str {
        match self {
            Record::Planned(_) => "planned",
            Record::Staged(_) => "staged",
            Record::Committed(_) => "committed",
        }
    }
}

impl From<Planned> for Record {
    fn from(record: Planned) -> Self {
        Record::Planned(record)
    }
}

impl From<Staged> for Record {
    fn from(record: Staged) -> Self {
        Record::Staged(record)
    }
}

impl From<Committed> for Record {
    fn from(record: Committed) -> Self {
        Record::Committed(record)
    }
}

/// What became of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Read to its end.
    Read,
    /// The version that was planned is gone: the file was rewritten or deleted. A new version is a new file to `discover`.
    Changed(String),
    /// Damaged, and `on_corrupt: reject`: one reject for the whole file, no rows.
    Corrupt(String),
}

/// What reading one split came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitReport {
    pub outcome: Outcome,
    pub rows: RowCounts,
    /// Bytes read from the source, before decompression.
    pub bytes: u64,
}

/// Rows are accounted for: `read + added == written + rejected + filtered`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCounts {
    /// Rows (records) found in the source, good or bad.
    pub read: u64,
    /// Rows given to the targets.
    pub written: u64,
    /// Rows given to the rejects.
    pub rejected: u64,
    /// Rows that `select` left out.
    pub filtered: u64,
    /// Rows that `select` made beyond those it was given (unnest, or a summary over an epoch).
    #[serde(skip_serializing_if = "is_zero", default)]
    pub added: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl RowCounts {
    #[must_use]
    pub fn plus(&self, o: &RowCounts) -> RowCounts {
        RowCounts {
            read: self.read + o.read,
            written: self.written + o.written,
            rejected: self.rejected + o.rejected,
            filtered: self.filtered + o.filtered,
            added: self.added + o.added,
        }
    }
    /// Invariant: nothing lost, nothing made up.
    pub fn balanced(&self) -> bool {
        self.read + self.added == self.written + self.rejected + self.filtered
    }
}

/// What `decide` needs to know of a lane, read in one go.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LaneView {
    /// The last committed epoch and where it ended.
    pub committed: Option<(Epoch, Checkpoint)>,
    /// The record of the epoch after it, if it was planned.
    pub planned: Option<Planned>,
    /// Likewise, if it was staged.
    pub staged: Option<Staged>,
}
