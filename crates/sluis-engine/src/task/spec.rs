//! What a task is told and what it says: plain data, JSON at a boundary of processes.
//!
//! Deliberately not here: the pipeline itself, which both sides build from the same configuration.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluis_core::{Committable, Epoch, LaneId, Split, SplitReport};

/// A task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    pub lane: LaneId,
    pub epoch: Epoch,
    /// Its number within the epoch, from 0.
    pub task: u32,
    /// When the epoch was planned: the value of `_loaded` and of the rejects' `rejected_at`, so that a replay makes the same rows.
    pub planned_at: DateTime<Utc>,
    /// In the order in which they are read.
    pub splits: Vec<Split>,
    /// The pinned schema, as `columns::schema_to_json` writes it.
    pub schema: Value,
    /// Threads it may use.
    pub threads: usize,
}

/// What a task came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    pub task: u32,
    /// The attempt that staged.
    pub attempt: String,
    /// One per split, in their order.
    pub splits: Vec<SplitReport>,
    /// Of all targets, the rejects' included.
    pub committables: Vec<Committable>,
    /// Rows that failed `on_fail: warn` checks, by check.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub warnings: BTreeMap<String, u64>,
    /// The columns that were decoded, if there are more than were pinned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub schema: Option<Value>,
}
