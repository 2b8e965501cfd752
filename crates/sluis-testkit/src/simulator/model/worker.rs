//! The world of the model, and a worker that walks through the protocol in it, one external effect a step.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sluis_core::{Checkpoint, Committable, Committed, Epoch, Generation, LaneView, Next, PartitionId, Planned, Position, SinkName, Staged, decide};

use super::target::{Applied, Apply, State, Target};

/// A row: key and value.
pub type Row = (u64, u64);

/// A ledger with conditional creates. Records of an older generation are not refused here: a harder world than the real one.
#[derive(Default)]
pub struct Ledger {
    pub planned: BTreeMap<Epoch, Planned>,
    pub staged: BTreeMap<Epoch, Staged>,
    pub committed: BTreeMap<Epoch, Committed>,
}

impl Ledger {
    fn view(&self) -> LaneView {
        let committed = self.committed.keys().next_back().map(|e| (*e, self.staged[e].to.clone()));
        let next = committed.as_ref().map_or(Epoch::FIRST, |(e, _)| e.next());
        LaneView { committed, planned: self.planned.get(&next).cloned(), staged: self.staged.get(&next).cloned() }
    }
}

/// Everything that outlives a worker.
pub struct World {
    pub ledger: Ledger,
    pub target: State,
    pub kind: Target,
    source: Vec<Row>,
    /// Rows of the source that are there already.
    available: usize,
    /// Rows before this are gone: acknowledged.
    acknowledged: u64,
    next_id: u64,
    pub lease_owner: u8,
}

impl World {
    pub fn new(kind: Target, rows: usize) -> World {
        let keys = if kind.keyed() { [1, 2, 1, 3, 1] } else { [1, 2, 3, 4, 5] };
        let source = keys.iter().zip(10..).map(|(k, v)| (*k, v)).take(rows).collect();
        World { ledger: Ledger::default(), target: State::default(), kind, source, available: 1, acknowledged: 0, next_id: 0, lease_owner: 0 }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Whether every row of the source has taken effect, once.
    ///
    /// # Errors
    /// What is there, and what should be.
    pub fn conserved(&self) -> Result<(), String> {
        self.target.conserved(self.kind, &self.source, &self.ranges())
    }

    /// The rows of each committed epoch.
    fn ranges(&self) -> Vec<&[Row]> {
        let rows = |s: &Staged| &self.source[number(&s.from) as usize..number(&s.to) as usize];
        self.ledger.committed.keys().map(|e| rows(&self.ledger.staged[e])).collect()
    }

    /// The invariants that hold at every step.
    fn check(&self) -> Result<(), String> {
        let mut at = 0;
        for (epoch, staged) in &self.ledger.staged {
            if number(&staged.from) != at {
                return Err(format!("I1: gap or overlap at epoch {epoch}"));
            }
            at = number(&staged.to);
        }
        for (i, epoch) in self.ledger.committed.keys().enumerate() {
            if epoch.0 != i as u64 + 1 || !self.ledger.staged.contains_key(epoch) {
                return Err(format!("I3: epoch {epoch} is committed out of order"));
            }
        }
        if self.kind.direct() {
            return Ok(());
        }
        let staged: BTreeSet<Row> = self.source[..at as usize].iter().copied().collect();
        if let Some(early) = self.target.visible(self.kind).iter().find(|row| !staged.contains(row)) {
            return Err(format!("I2: {early:?} is visible before it is staged"));
        }
        if self.kind.whole_epochs() {
            let visible: BTreeSet<Row> = self.target.visible(self.kind).into_iter().collect();
            for staged in self.ledger.staged.values() {
                let rows = &self.source[number(&staged.from) as usize..number(&staged.to) as usize];
                let seen = rows.iter().filter(|row| visible.contains(row)).count();
                if seen != 0 && seen != rows.len() {
                    return Err(format!("a reader sees {seen} of the {} rows of epoch {}", rows.len(), staged.epoch));
                }
            }
        }
        Ok(())
    }
}

fn checkpoint(n: u64) -> Checkpoint {
    let mut c = Checkpoint::default();
    if n > 0 {
        c.set(PartitionId("s".into()), Position::Number(n));
    }
    c
}

fn number(c: &Checkpoint) -> u64 {
    c.position(&PartitionId("s".into())).number().unwrap_or(0)
}

/// What a `staged` record names.
fn named(staged: &Staged) -> Vec<u64> {
    staged.committables.iter().filter_map(|c| c.handle.as_u64()).collect()
}

/// Where a worker is: the next external effect.
#[derive(Debug, Clone)]
enum Step {
    Decide,
    Plan { epoch: Epoch, from: u64 },
    Read { epoch: Epoch, from: u64 },
    Write { epoch: Epoch, from: u64, to: u64, files: Vec<u64> },
    Stage { epoch: Epoch, from: u64, to: u64, files: Vec<u64> },
    LookUp { epoch: Epoch, files: Vec<u64> },
    Apply { epoch: Epoch, files: Vec<u64>, apply: Apply },
    Finish { epoch: Epoch },
    Acknowledge { epoch: Epoch },
    Sweep { epoch: Epoch },
    CaughtUp,
    Dead,
}

/// One process.
pub struct Worker {
    step: Step,
    id: u8,
}

impl Worker {
    pub fn new(id: u8) -> Worker {
        Worker { step: Step::Decide, id }
    }

    pub fn stopped(&self) -> bool {
        matches!(self.step, Step::CaughtUp | Step::Dead)
    }

    pub fn doing(&self) -> String {
        format!("{:?}", self.step)
    }

    /// One external effect.
    pub fn step(&mut self, w: &mut World) -> Result<(), String> {
        let now = std::mem::replace(&mut self.step, Step::Dead);
        let shows = matches!(now, Step::Stage { .. } | Step::LookUp { .. } | Step::Apply { .. } | Step::Finish { .. } | Step::Sweep { .. });
        self.step = self.effect(now, w)?;
        // Nothing else changes what the invariants are about.
        if shows { w.check() } else { Ok(()) }
    }

    fn effect(&self, now: Step, w: &mut World) -> Result<Step, String> {
        Ok(match now {
            Step::Decide => match decide(w.ledger.view()) {
                Next::Plan { epoch, from } if number(&from) < w.source.len() as u64 => Step::Plan { epoch, from: number(&from) },
                Next::Plan { .. } => Step::CaughtUp,
                Next::Execute { planned } => Step::Read { epoch: planned.epoch, from: number(&planned.from) },
                Next::Commit { staged, .. } => Step::LookUp { epoch: staged.epoch, files: named(&staged) },
            },
            Step::Plan { epoch, from } => {
                // Where it ends is open, as with an API: a replay may read further than the first try.
                let record = Planned {
                    epoch,
                    generation: Generation(1),
                    at: chrono::DateTime::UNIX_EPOCH,
                    from: checkpoint(from),
                    to: checkpoint(from),
                    splits: vec![],
                };
                w.ledger.planned.entry(epoch).or_insert(record);
                Step::Decide
            }
            Step::Read { epoch, from } => {
                w.available = (w.available + 1).min(w.source.len()).max(from as usize + 1);
                let to = (w.available as u64).min(from + 3);
                if from < w.acknowledged && !w.ledger.staged.contains_key(&epoch) {
                    return Err(format!("I6: row {from} was acknowledged and is read again"));
                }
                Step::Write { epoch, from, to, files: vec![] }
            }
            Step::Write { epoch, from, to, mut files } => {
                let row = w.source[from as usize + files.len()];
                if w.kind.direct() && w.kind.leased() && w.lease_owner != self.id {
                    return Ok(Step::Dead);
                }
                let id = w.id();
                w.target.stage(w.kind, epoch, id, row);
                files.push(id);
                if files.len() as u64 == to - from { Step::Stage { epoch, from, to, files } } else { Step::Write { epoch, from, to, files } }
            }
            Step::Stage { epoch, from, to, files } => {
                w.ledger.staged.entry(epoch).or_insert_with(|| staged(epoch, from, to, &files));
                Step::Decide
            }
            Step::LookUp { epoch, files } => match w.target.look_up(w.kind, epoch) {
                Some(apply) => Step::Apply { epoch, files, apply },
                None => Step::Finish { epoch },
            },
            Step::Apply { epoch, files, apply } => {
                // A write that needs the lease is not issued, and no longer on its way, once the lease is another's.
                if w.kind.leased() && w.lease_owner != self.id {
                    return Ok(Step::Dead);
                }
                match w.target.apply(w.kind, epoch, &files, apply) {
                    Ok(Applied::More(apply)) => Step::Apply { epoch, files, apply },
                    Ok(Applied::Done) => Step::Finish { epoch },
                    Ok(Applied::Fenced) => Step::Dead,
                    // Late: it is committed, and what was staged for it was swept since. The worker fails, and does no harm.
                    Err(_) if w.ledger.committed.contains_key(&epoch) => Step::Dead,
                    Err(e) => return Err(e),
                }
            }
            Step::Finish { epoch } => {
                let record = Committed { epoch, generation: Generation(1), at: chrono::DateTime::UNIX_EPOCH, receipts: vec![] };
                w.ledger.committed.entry(epoch).or_insert(record);
                Step::Acknowledge { epoch }
            }
            Step::Acknowledge { epoch } => {
                w.acknowledged = w.acknowledged.max(number(&w.ledger.staged[&epoch].to));
                Step::Sweep { epoch }
            }
            Step::Sweep { epoch } => {
                w.target.sweep(epoch, &named(&w.ledger.staged[&epoch]));
                Step::Decide
            }
            Step::CaughtUp | Step::Dead => now,
        })
    }
}

fn staged(epoch: Epoch, from: u64, to: u64, files: &[u64]) -> Staged {
    let committable = |id: &u64| Committable { sink: SinkName(String::new()), rows: 1, bytes: 0, handle: json!(id) };
    Staged {
        epoch,
        generation: Generation(1),
        at: chrono::DateTime::UNIX_EPOCH,
        from: checkpoint(from),
        to: checkpoint(to),
        splits: vec![],
        committables: files.iter().map(committable).collect(),
        replaced: vec![],
        schema: None,
        drift: None,
    }
}
