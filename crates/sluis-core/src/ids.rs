//! Names and numbers, each a type of its own.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $t:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $t(pub String);
        impl $t {
            pub fn new(name: impl Into<String>) -> Self { Self(name.into()) }
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
    };
}

name!(
    /// A pipeline's name: its file's name without `.yaml`. Letters, digits, `_`, `-`, `.`.
    PipelineName
);
name!(
    /// A target within a pipeline: `table`, `files`, or with a number where there are several of a kind (`files_2`); `rejects` for the rejects' target.
    SinkName
);

/// One lane of one pipeline: what epochs are counted in. The default lane is called `main`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LaneId {
    pub pipeline: PipelineName,
    pub lane: String,
}

impl LaneId {
    pub fn new(pipeline: impl Into<String>, lane: impl Into<String>) -> Self {
        Self { pipeline: PipelineName::new(pipeline), lane: lane.into() }
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pipeline, self.lane)
    }
}

/// The number of a micro-batch within its lane, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    pub const FIRST: Epoch = Epoch(1);
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of an owner of a lane; grows with each change of owner. A record of an older generation is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// What a commit is known by in the target: at most one commit per key ever takes effect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommitKey {
    pub lane: LaneId,
    pub sink: SinkName,
    pub epoch: Epoch,
}

impl fmt::Display for CommitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.lane, self.sink, self.epoch)
    }
}

/// One try of one task of one epoch. `id` is unique for ever, so that two attempts never write to one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub lane: LaneId,
    pub epoch: Epoch,
    /// Number of the task within the epoch, from 0.
    pub task: u32,
    /// Unique: letters and digits only.
    pub id: String,
}
