//! Targets in memory behind the real [`Sink`] trait: one that does what the trait asks, and some that get it wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use serde_json::json;
use sluis_core::{Attempt, CommitKey, Committable, Epoch, Guarantee, Receipt, Result, Sink, SinkName, SinkWriter, StagedEpoch, WriteBatch, crash};

use super::lines::text;
use super::process::{Process, Room};
use super::world::Target;

/// What a target gets wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// A commit that is repeated is applied again.
    IgnoresTheKey,
    /// Rows are visible as soon as they are written.
    ShowsWhatIsStaged,
    /// Sweeps whatever is staged, also what a later record names.
    SweepsTooMuch,
    /// Half of an epoch is visible while it is committed, though it says that epochs appear at once.
    ShowsHalves,
}

#[derive(Debug, Default)]
struct State {
    staged: BTreeMap<String, (Epoch, Vec<String>)>,
    visible: Vec<String>,
    keys: BTreeSet<CommitKey>,
}

/// The target. Clones share what is in it.
#[derive(Debug, Clone)]
pub struct MemoryTarget {
    flaw: Flaw,
    columns: &'static [&'static str],
    state: Arc<Mutex<State>>,
}

impl MemoryTarget {
    /// Keeps the named columns of each row.
    pub fn new(flaw: Flaw, columns: &'static [&'static str]) -> Self {
        Self { flaw, columns, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Target for MemoryTarget {
    fn sink(&self, name: &SinkName, process: &Process) -> Arc<dyn Sink> {
        Arc::new(MemorySink { name: name.clone(), target: self.clone(), process: process.clone() })
    }

    fn rows(&self) -> Result<Vec<String>, String> {
        Ok(self.state().visible.clone())
    }

    fn leftovers(&self) -> Vec<String> {
        self.state().staged.keys().cloned().collect()
    }

    fn whole_epochs(&self) -> bool {
        true
    }
}

struct MemorySink {
    name: SinkName,
    target: MemoryTarget,
    process: Process,
}

impl MemorySink {
    /// Makes visible what is staged as `ids`.
    fn show(&self, ids: &[String]) -> Result<()> {
        let mut state = self.target.state();
        for id in ids {
            match state.staged.get(id).cloned() {
                Some((_, rows)) => state.visible.extend(rows),
                None => return Err(sluis_core::Error::internal(format!("what was staged as {id} is gone"))),
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for MemorySink {
    fn name(&self) -> &SinkName {
        &self.name
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce("rows and commit key change in one step".into())
    }

    async fn prepare(&self, _: &SchemaRef) -> Result<()> {
        Ok(())
    }

    async fn writer(&self, attempt: &Attempt) -> Result<Box<dyn SinkWriter>> {
        let (id, epoch) = (format!("{}-{}", attempt.lane, attempt.id), attempt.epoch);
        Ok(Box::new(MemoryWriter { sink: self.name.clone(), target: self.target.clone(), process: self.process.clone(), id, epoch, rows: vec![] }))
    }

    async fn commit(&self, key: &CommitKey, staged: StagedEpoch<'_>) -> Result<Receipt> {
        crash::point("sink.before_publish")?;
        let ids: Vec<String> = staged.committables.iter().filter_map(|c| c.handle.as_str().map(str::to_owned)).collect();
        let (flaw, half) = (self.target.flaw, ids.len() / 2);
        let is_here = || self.target.state().keys.contains(key);
        let already = is_here();
        if !already && flaw == Flaw::ShowsHalves {
            self.process.effect(Room::Sink, "show one half", async { self.show(&ids[..half]) }).await?;
            crash::point("sink.mid_publish")?;
        }
        let apply = async {
            let rest = if flaw == Flaw::ShowsHalves { &ids[half..] } else { &ids[..] };
            // In the same step as the rows: another may have committed since this one looked.
            if !is_here() && flaw != Flaw::ShowsWhatIsStaged {
                self.show(rest)?;
            }
            let mut state = self.target.state();
            ids.iter().for_each(|id| drop(state.staged.remove(id)));
            state.keys.insert(key.clone());
            Ok(())
        };
        if flaw == Flaw::IgnoresTheKey {
            self.process.effect(Room::Sink, "show", async { self.show(&ids) }).await?;
        } else {
            self.process.effect(Room::Sink, "apply", apply).await?;
        }
        crash::point("sink.after_publish")?;
        Ok(Receipt { sink: self.name.clone(), detail: json!({}), already })
    }

    async fn sweep(&self, up_to: &CommitKey, keep: &[Committable]) -> Result<()> {
        crash::point("sweep.before")?;
        let lane = format!("{}-", up_to.lane);
        let sweep = async {
            let kept = |id: &String| keep.iter().any(|c| c.handle.as_str() == Some(id)) && self.target.flaw != Flaw::IgnoresTheKey;
            let all = self.target.flaw == Flaw::SweepsTooMuch;
            self.target.state().staged.retain(|id, (epoch, _)| !(all || *epoch <= up_to.epoch) || !id.starts_with(&lane) || (!all && kept(id)));
            Ok(())
        };
        self.process.effect(Room::Sink, "sweep", sweep).await?;
        crash::point("sweep.after")
    }

    async fn probe(&self) -> Result<Vec<String>> {
        Ok(vec![])
    }
}

struct MemoryWriter {
    sink: SinkName,
    target: MemoryTarget,
    process: Process,
    id: String,
    epoch: Epoch,
    rows: Vec<Vec<String>>,
}

#[async_trait]
impl SinkWriter for MemoryWriter {
    async fn write(&mut self, batch: WriteBatch) -> Result<()> {
        self.rows.push(text(&batch.batch, self.target.columns));
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<Vec<Committable>> {
        let mut committables = Vec::new();
        for (n, rows) in self.rows.into_iter().enumerate() {
            let (id, count) = (format!("{}-{n}", self.id), rows.len() as u64);
            let stage = async {
                let mut state = self.target.state();
                if self.target.flaw == Flaw::ShowsWhatIsStaged {
                    state.visible.extend(rows.clone());
                }
                state.staged.insert(id.clone(), (self.epoch, rows));
                Ok(())
            };
            self.process.effect(Room::Sink, "stage", stage).await?;
            committables.push(Committable { sink: self.sink.clone(), rows: count, bytes: count, handle: json!(id) });
        }
        Ok(committables)
    }
}
