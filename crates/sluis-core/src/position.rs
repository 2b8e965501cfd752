//! How far a source has been read: `PartitionId -> Position`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A totally ordered sub-stream of a source: a Kafka partition, an API's date window; for files one per lane.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionId(pub String);

/// A place in a partition. Positions of one partition are all of one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Before the first.
    Beginning,
    /// So many taken: an offset, or for files the number of file versions this lane has taken.
    Number(u64),
    /// A cursor whose order is the text's.
    Text(String),
}

impl Position {
    /// The number in it; 0 for the beginning. Text has none.
    pub fn number(&self) -> Option<u64> {
        match self {
            Position::Beginning => Some(0),
            Position::Number(n) => Some(*n),
            Position::Text(_) => None,
        }
    }
}

/// How far each partition has been read. A partition that is absent is at its beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Checkpoint(pub BTreeMap<PartitionId, Position>);

impl Checkpoint {
    pub fn position(&self, partition: &PartitionId) -> Position {
        self.0.get(partition).cloned().unwrap_or(Position::Beginning)
    }
    pub fn set(&mut self, partition: PartitionId, position: Position) {
        self.0.insert(partition, position);
    }
    /// Whether every partition of `self` is at or before its place in `later`.
    pub fn at_or_before(&self, later: &Checkpoint) -> bool {
        self.0.iter().all(|(p, at)| *at <= later.position(p))
    }
}
