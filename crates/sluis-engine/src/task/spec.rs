//! What a task is told and what it says: plain data, JSON at a boundary of processes.
//!
//! Deliberately not here: the pipeline itself, which both sides build from the same configuration.

use std::collections::BTreeMap;

use arrow_schema::{Field, Schema};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluis_core::columns::schema_to_json;
use sluis_core::{Committable, Epoch, LaneId, Split, SplitReport};

use super::{Learned, Seen};

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
    /// Columns whose values are told if they are not of their type; rows with others are rejected.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub told: Vec<String>,
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
    /// What was seen of the files' columns.
    #[serde(default)]
    pub seen: Seen,
    /// Types that columns need, by the contract `evolve`. If there are any, nothing was staged and `splits` is empty: the epoch begins again.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub wider: Vec<Wider>,
}

/// A column that needs a wider type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wider {
    /// The column with the type, as `columns::schema_to_json` writes a schema of one.
    pub column: Value,
    /// The first split that needs it, by number within the task.
    pub split: usize,
}

impl TaskReport {
    /// Of a task that cannot go on with the types it was given.
    pub(crate) fn wider(task: u32, learned: Learned) -> Self {
        let column = |name: String, data_type| schema_to_json(&Schema::new(vec![Field::new(name, data_type, true)]));
        let wider = learned.into_iter().map(|(name, (data_type, split))| Wider { column: column(name, data_type), split });
        Self {
            task,
            attempt: String::new(),
            splits: Vec::new(),
            committables: Vec::new(),
            warnings: BTreeMap::new(),
            schema: None,
            seen: Seen::default(),
            wider: wider.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluis_core::{FileVersion, Outcome, PartitionId, Position, RowCounts, SinkName};

    #[test]
    fn both_survive_json() {
        let file = FileVersion { path: "s3://b/k".into(), size: 7, modified: Some(DateTime::UNIX_EPOCH), etag: Some("e".into()) };
        let split = Split {
            partition: PartitionId("files".into()),
            from: Position::Beginning,
            to: Some(Position::Number(1)),
            file: Some(file),
            constants: BTreeMap::from([("day".into(), "2024-02-29".into())]),
            replaces: true,
            apart: false,
            detail: serde_json::json!({ "a": 1 }),
        };
        let spec = TaskSpec {
            lane: LaneId::new("p", "main"),
            epoch: Epoch(7),
            task: 3,
            planned_at: DateTime::UNIX_EPOCH,
            splits: vec![split],
            schema: serde_json::json!([{ "name": "a", "type": "bigint", "nullable": true }]),
            told: vec!["a".into()],
            threads: 4,
        };
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<TaskSpec>(&text).unwrap(), spec);
        let report = TaskReport {
            task: 3,
            attempt: "abc".into(),
            splits: vec![SplitReport {
                outcome: Outcome::Changed("gone".into()),
                rows: RowCounts { added: 2, written: 2, ..RowCounts::default() },
                bytes: 9,
            }],
            committables: vec![Committable { sink: SinkName::new("files"), rows: 2, bytes: 5, handle: serde_json::json!({ "path": "x" }) }],
            warnings: BTreeMap::from([("check".into(), 4)]),
            schema: Some(spec.schema.clone()),
            seen: Seen::default(),
            wider: vec![Wider { column: spec.schema, split: 0 }],
        };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<TaskReport>(&text).unwrap(), report);
    }
}
