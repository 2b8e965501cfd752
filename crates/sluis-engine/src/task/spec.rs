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
            schema: Some(spec.schema),
        };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<TaskReport>(&text).unwrap(), report);
    }
}
