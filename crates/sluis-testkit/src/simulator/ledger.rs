//! A real ledger as one process sees it: each call is a step. Notes what was decided, for the oracle.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use sluis_core::{Created, Epoch, FileHistory, LaneId, LaneView, Lease, LeaseHolder, LedgerStore, PipelineName, Planned, Record, Result, Staged};

use super::process::{Process, Room};

/// The records that stand, by lane and epoch.
#[derive(Debug, Default)]
pub struct Decided {
    pub staged: BTreeMap<(LaneId, Epoch), Staged>,
    pub committed: BTreeMap<(LaneId, Epoch), ()>,
}

/// What was decided, shared by all processes of a world.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<Decided>>);

impl Seen {
    pub fn decided(&self) -> MutexGuard<'_, Decided> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ledger of a process.
pub struct SimLedger {
    pub inner: Arc<dyn LedgerStore>,
    pub process: Process,
    pub seen: Seen,
}

#[async_trait]
impl LedgerStore for SimLedger {
    async fn read(&self, lane: &LaneId) -> Result<LaneView> {
        self.process.effect(Room::Ledger, "read the lane", self.inner.read(lane)).await
    }

    async fn create(&self, lane: &LaneId, record: Record) -> Result<Created> {
        let what = format!("create {}", record.kind());
        let create = async {
            let created = self.inner.create(lane, record.clone()).await?;
            let mut decided = self.seen.decided();
            match (&created, record) {
                (Created::Won, Record::Staged(s)) => drop(decided.staged.insert((lane.clone(), s.epoch), s)),
                (Created::Won, Record::Committed(c)) => drop(decided.committed.insert((lane.clone(), c.epoch), ())),
                _ => {}
            }
            Ok(created)
        };
        self.process.effect(Room::Ledger, &what, create).await
    }

    async fn acquire(&self, lane: &LaneId, owner: &LeaseHolder, ttl: Duration) -> Result<Lease> {
        self.process.effect(Room::Ledger, "acquire", self.inner.acquire(lane, owner, ttl)).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        self.process.effect(Room::Ledger, "renew", self.inner.renew(lease, ttl)).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        self.process.effect(Room::Ledger, "release", self.inner.release(lease)).await
    }

    fn history(&self, pipeline: &PipelineName) -> Box<dyn FileHistory> {
        self.inner.history(pipeline)
    }

    async fn last_committed(&self, lane: &LaneId) -> Result<Option<(Planned, Staged)>> {
        self.process.effect(Room::Ledger, "read the last epoch", self.inner.last_committed(lane)).await
    }

    async fn last_schema(&self, pipeline: &PipelineName) -> Result<Option<Value>> {
        self.inner.last_schema(pipeline).await
    }
}
