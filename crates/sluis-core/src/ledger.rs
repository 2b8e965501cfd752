//! The durable log the engine decides by, as a trait; the engine's `ledger/` implements it on SQLite.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ids::{Epoch, Generation, LaneId, PipelineName};
use crate::record::{LaneView, Planned, Record, Staged};
use crate::split::FileVersion;

/// The outcome of a conditional create: the record that now stands, and whether it is the caller's.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// The caller's record was written.
    Won,
    /// Another was there first; this is it.
    Lost(Box<Record>),
}

/// Who owns a lane, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseHolder {
    pub host: String,
    pub pid: u32,
    /// Start time of that process in clock ticks since boot, so that a reused pid is not taken for the owner.
    pub pid_started: u64,
    pub user: String,
    pub since: DateTime<Utc>,
}

/// Ownership of a lane until `until`, unless renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub lane: LaneId,
    pub generation: Generation,
    pub until: DateTime<Utc>,
}

/// Which files of a source a lane takes: those whose path hashes to `index` modulo `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneShard {
    pub index: u32,
    pub of: u32,
}

impl LaneShard {
    pub const ALL: LaneShard = LaneShard { index: 0, of: 1 };
    /// Whether `path` belongs to this lane (FNV-1a of its bytes: stable for ever).
    pub fn holds(&self, path: &str) -> bool {
        if self.of <= 1 {
            return true;
        }
        let hash = path.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        hash % u64::from(self.of) == u64::from(self.index)
    }
}

/// A file version the ledger has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFile {
    /// The newest version taken of that path.
    pub version: FileVersion,
    pub lane: String,
    pub epoch: Epoch,
    /// False if that version was planned but changed before it was read (`Outcome::Changed`): it never landed.
    pub landed: bool,
    /// Whether any version of this path ever landed rows.
    pub landed_before: bool,
    /// A person asked for this file once more (`rewind`, `backfill --again`): whatever the policy for overwritten files says, it counts
    /// as new, and where the policy is `replace` its earlier rows leave. `landed` is false then.
    pub again: bool,
    /// Rows of this path may stand in the targets among others', where nothing can take them away: a version landed without `Split::apart`.
    pub mixed: bool,
    /// That version was damaged as a whole (`Outcome::Corrupt`): it is on record as one reject, and no row of it landed.
    pub corrupt: bool,
}

/// The history of file versions of one pipeline, for `discover`.
#[async_trait]
pub trait FileHistory: Send + Sync {
    /// The newest known version of each path, in the order asked. Sorted input is fastest; ask some thousands at a time.
    async fn lookup(&self, paths: &[String]) -> Result<Vec<Option<KnownFile>>>;
    /// Whether the pipeline has committed anything yet (`start: new` looks at this).
    async fn is_first_run(&self) -> Result<bool>;
}

/// The ledger.
#[async_trait]
pub trait LedgerStore: Send + Sync {
    /// What `decide` needs of a lane, in one consistent read.
    async fn read(&self, lane: &LaneId) -> Result<LaneView>;
    /// Writes a record unless one of its kind is there for the epoch; durable when it returns. Also keeps the file history
    /// (in the same transaction). Refused with `ErrorKind::Lease` if the record's generation is not the lane's current one.
    async fn create(&self, lane: &LaneId, record: Record) -> Result<Created>;
    /// Takes a lane that is free, expired, or whose owner's process on this very host is gone. `ErrorKind::Lease` names the holder.
    async fn acquire(&self, lane: &LaneId, owner: &LeaseHolder, ttl: Duration) -> Result<Lease>;
    /// Prolongs it. `ErrorKind::Lease` if it was lost.
    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease>;
    /// Gives it back; quietly does nothing if it was lost.
    async fn release(&self, lease: &Lease) -> Result<()>;
    /// The file history of a pipeline.
    fn history(&self, pipeline: &PipelineName) -> Box<dyn FileHistory>;
    /// The records of the lane's last committed epoch: its `acknowledge` and `sweep` are repeated by the next run, in case it died before them.
    /// `None` where there is none, or where the store does not keep it.
    async fn last_committed(&self, lane: &LaneId) -> Result<Option<(Planned, Staged)>> {
        let _ = lane;
        Ok(None)
    }
    /// The schema that the pipeline's last staged epoch decoded, as JSON.
    async fn last_schema(&self, pipeline: &PipelineName) -> Result<Option<serde_json::Value>>;
}
