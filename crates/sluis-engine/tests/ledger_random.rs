//! Random sequences of operations by two workers, some of them nonsense, against a naive model: every answer is the same, and in the end the
//! ledger is sound.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::executor::block_on;
use proptest::collection::vec;
use proptest::prelude::*;
use sluis_core::{
    Checkpoint, Clock, Created, Epoch, ErrorKind, FileVersion, Generation, KnownFile, LaneId, LaneView, Lease, LedgerStore, Outcome, PipelineName,
    Planned, Record, Staged,
};
use sluis_engine::SqliteLedger;
use sluis_testkit::conformance::ledger::{MovedClock, at, committed, holder, planned, staged, version};

const WORKERS: usize = 2;
const LANES: [&str; 2] = ["1of2", "2of2"];

#[derive(Debug, Clone)]
enum Op {
    Acquire,
    Renew,
    Release,
    /// Seconds; forward or back.
    Clock(i64),
    /// Files (path, size) planned; and how the record is spoilt.
    Plan(Vec<(u8, u64)>, Spoilt),
    /// Outcomes of the splits in turn.
    Stage(Vec<u8>, Spoilt),
    Commit(Spoilt),
    Rewind(u64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Spoilt {
    No,
    Epoch(u64),
    From,
    Reports,
    Rows,
    Generation,
}

fn spoilt() -> impl Strategy<Value = Spoilt> {
    prop_oneof![
        12 => Just(Spoilt::No),
        1 => (0..4_u64).prop_map(Spoilt::Epoch),
        1 => Just(Spoilt::From),
        1 => Just(Spoilt::Reports),
        1 => Just(Spoilt::Rows),
        1 => Just(Spoilt::Generation),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Acquire),
        1 => Just(Op::Renew),
        1 => Just(Op::Release),
        1 => prop_oneof![3 => 1..40_i64, 1 => -100..0_i64].prop_map(Op::Clock),
        6 => (vec((0..6_u8, 0..4_u64), 0..4), spoilt()).prop_map(|(files, s)| Op::Plan(files, s)),
        6 => (vec(0..4_u8, 4), spoilt()).prop_map(|(outcomes, s)| Op::Stage(outcomes, s)),
        6 => spoilt().prop_map(Op::Commit),
        1 => (0..4_u64).prop_map(Op::Rewind),
    ]
}

/// What a lane is, naively: all records, in a map.
#[derive(Default)]
struct ModelLane {
    generation: u64,
    /// Worker, given at, until.
    held: Option<(usize, DateTime<Utc>, DateTime<Utc>)>,
    planned: BTreeMap<u64, Planned>,
    staged: BTreeMap<u64, Staged>,
    committed: BTreeMap<u64, Record>,
    rewound: Vec<u64>,
}

impl ModelLane {
    fn head(&self) -> (u64, Checkpoint) {
        let last = self.committed.keys().last().copied().unwrap_or(0);
        (last, self.staged.get(&last).map(|s| s.to.clone()).unwrap_or_default())
    }

    fn view(&self) -> LaneView {
        let (last, to) = self.head();
        let committed = (last > 0).then_some((Epoch(last), to));
        LaneView { committed, planned: self.planned.get(&(last + 1)).cloned(), staged: self.staged.get(&(last + 1)).cloned() }
    }

    fn create(&mut self, record: Record) -> Result<Created, ErrorKind> {
        if self.held.is_none() || record.generation().0 != self.generation {
            return Err(ErrorKind::Lease);
        }
        let epoch = record.epoch().0;
        let there = match &record {
            Record::Planned(_) => self.planned.get(&epoch).cloned().map(Record::Planned),
            Record::Staged(_) => self.staged.get(&epoch).cloned().map(Record::Staged),
            Record::Committed(_) => self.committed.get(&epoch).cloned(),
        };
        if let Some(winner) = there {
            return Ok(Created::Lost(Box::new(winner)));
        }
        let (last, from) = self.head();
        let good = epoch == last + 1
            && match &record {
                Record::Planned(p) => p.from == from && p.from.at_or_before(&p.to),
                Record::Staged(s) => self.planned.get(&epoch).is_some_and(|p| {
                    s.from == p.from && s.from.at_or_before(&s.to) && s.splits.len() == p.splits.len() && s.splits.iter().all(|r| r.rows.balanced())
                }),
                Record::Committed(_) => self.staged.contains_key(&epoch),
            };
        if !good {
            return Err(ErrorKind::Internal);
        }
        match record {
            Record::Planned(p) => drop(self.planned.insert(epoch, p)),
            Record::Staged(s) => drop(self.staged.insert(epoch, s)),
            other => drop(self.committed.insert(epoch, other)),
        }
        Ok(Created::Won)
    }
}

struct World {
    ledger: SqliteLedger,
    clock: Arc<MovedClock>,
    lanes: Vec<ModelLane>,
    /// What each worker believes to hold, per lane.
    leases: Vec<Vec<Option<Lease>>>,
    /// The order in which epochs were planned: (lane, epoch), and the paths that had landed by then; what another lane has begun counts as landed.
    order: Vec<(usize, u64, Vec<String>)>,
}

fn lane(index: usize) -> LaneId {
    LaneId::new("p", LANES[index])
}

impl World {
    fn new() -> World {
        let clock = MovedClock::at("2024-06-01T12:00:00Z");
        let ledger = SqliteLedger::in_memory(clock.clone()).unwrap();
        World { ledger, clock, lanes: vec![ModelLane::default(), ModelLane::default()], leases: vec![vec![None; 2]; WORKERS], order: Vec::new() }
    }

    fn apply(&mut self, worker: usize, index: usize, op: &Op) {
        let now = self.clock.now();
        let lease = self.leases[worker][index].clone();
        match op {
            Op::Clock(seconds) => self.clock.step(TimeDelta::seconds(*seconds)),
            Op::Acquire => self.acquire(worker, index, now),
            Op::Renew | Op::Release => {
                let Some(lease) = lease else { return };
                let model = &mut self.lanes[index];
                let current = model.held.is_some() && model.generation == lease.generation.0;
                if matches!(op, Op::Release) {
                    block_on(self.ledger.release(&lease)).expect("quietly");
                    model.held = if current { None } else { model.held };
                } else {
                    let answer = block_on(self.ledger.renew(&lease, Duration::from_secs(30)));
                    assert_eq!(
                        answer.map_err(|e| e.kind()).map(|l| l.generation),
                        if current { Ok(lease.generation) } else { Err(ErrorKind::Lease) }
                    );
                    if current {
                        model.held = Some((worker, now, now + TimeDelta::seconds(30)));
                    }
                }
            }
            Op::Rewind(to) => {
                let Some(lease) = lease else { return };
                let model = &mut self.lanes[index];
                let answer = block_on(async { self.ledger.rewind(&lease, Epoch(*to)) }).map(|r| r.epochs).map_err(|e| e.kind());
                let (last, _) = model.head();
                let expected = if model.held.is_none() || model.generation != lease.generation.0 {
                    Err(ErrorKind::Lease)
                } else if model.planned.contains_key(&(last + 1)) {
                    Err(ErrorKind::Conflict)
                } else {
                    let back: Vec<u64> = (to + 1..=last).filter(|e| !model.rewound.contains(e)).collect();
                    model.rewound.extend(&back);
                    Ok(back.len() as u64)
                };
                assert_eq!(answer, expected);
            }
            Op::Plan(..) | Op::Stage(..) | Op::Commit(_) => self.create(index, lease.map_or(Generation(0), |l| l.generation), op),
        }
    }

    fn acquire(&mut self, worker: usize, index: usize, now: DateTime<Utc>) {
        let answer = block_on(self.ledger.acquire(&lane(index), &holder(worker as u32), Duration::from_secs(30)));
        let model = &mut self.lanes[index];
        match &mut model.held {
            Some((_, given, until)) if now < *until => {
                assert_eq!(answer.expect_err("it is held").kind(), ErrorKind::Lease);
                let length = *until - *given;
                if *until > now + length + TimeDelta::seconds(1) {
                    (*given, *until) = (now, now + length);
                }
            }
            _ => {
                model.generation += 1;
                model.held = Some((worker, now, now + TimeDelta::seconds(30)));
                let lease = answer.expect("it is free");
                assert_eq!(lease.generation.0, model.generation);
                self.leases[worker][index] = Some(lease);
            }
        }
    }

    /// Makes the record that fits the lane, spoils it as asked, and gives it to both.
    fn create(&mut self, index: usize, generation: Generation, op: &Op) {
        let (last, from) = self.lanes[index].head();
        let next = last + 1;
        let spoil = |spoilt: &Spoilt, epoch: &mut Epoch, g: &mut Generation, start: &mut Checkpoint| match spoilt {
            Spoilt::Epoch(n) => *epoch = Epoch(*n),
            Spoilt::Generation => g.0 += 1,
            Spoilt::From => *start = at(77),
            _ => {}
        };
        let record = match op {
            Op::Plan(files, spoilt) => {
                let files = files.iter().map(|(path, size)| version(&path_of(*path), *size)).collect();
                let mut p = planned(next, generation, &from, files);
                spoil(spoilt, &mut p.epoch, &mut p.generation, &mut p.from);
                Record::Planned(p)
            }
            Op::Stage(outcomes, spoilt) => {
                let p = self.lanes[index].planned.get(&next).cloned().unwrap_or_else(|| planned(next, generation, &from, vec![]));
                let outcome = |i: usize| match outcomes[i % outcomes.len()] {
                    0 => Outcome::Changed("gone".into()),
                    1 => Outcome::Corrupt("bad".into()),
                    _ => Outcome::Read,
                };
                let mut s = staged(&p, (0..p.splits.len()).map(outcome).collect());
                s.generation = generation;
                spoil(spoilt, &mut s.epoch, &mut s.generation, &mut s.from);
                match (spoilt, s.splits.last_mut()) {
                    (Spoilt::Rows, Some(report)) => report.rows.read += 1,
                    (Spoilt::Reports, Some(_)) => drop(s.splits.pop()),
                    _ => {}
                }
                Record::Staged(s)
            }
            Op::Commit(spoilt) => {
                let s = staged(&planned(next, generation, &from, vec![]), vec![]);
                let mut c = committed(&s);
                spoil(spoilt, &mut c.epoch, &mut c.generation, &mut from.clone());
                Record::Committed(c)
            }
            other => panic!("{other:?} makes no record"),
        };
        let expected = self.lanes[index].create(record.clone());
        if let (Ok(Created::Won), Record::Planned(p)) = (&expected, &record) {
            let landed = |k: KnownFile| k.landed_before || self.unstaged(&k);
            let before = (0..6).map(path_of).filter(|path| self.known(path).is_some_and(landed)).collect();
            self.order.push((index, p.epoch.0, before));
        }
        let answer = block_on(self.ledger.create(&lane(index), record)).map_err(|e| e.kind());
        assert_eq!(answer, expected);
    }

    /// What is known of a path, from all records in the order of planning.
    fn known(&self, path: &str) -> Option<KnownFile> {
        let mut known: Option<KnownFile> = None;
        for (index, epoch, before) in &self.order {
            let model = &self.lanes[*index];
            let p = &model.planned[epoch];
            let mine: Vec<usize> = (0..p.splits.len()).filter(|i| p.splits[*i].file.as_ref().is_some_and(|f| f.path == path)).collect();
            let Some(first) = mine.first() else { continue };
            let version: FileVersion = p.splits[*first].file.clone().expect("it has one");
            let reports: Vec<&Outcome> = mine.iter().filter_map(|i| Some(&model.staged.get(epoch)?.splits[*i].outcome)).collect();
            let changed = reports.iter().any(|o| matches!(o, Outcome::Changed(_)));
            let corrupt = reports.iter().any(|o| matches!(o, Outcome::Corrupt(_)));
            let read = reports.iter().any(|o| matches!(o, Outcome::Read));
            let before = before.iter().any(|p| p == path);
            let again = !changed && model.rewound.contains(epoch);
            known = Some(KnownFile {
                version,
                lane: LANES[*index].into(),
                epoch: Epoch(*epoch),
                landed: !changed && !again,
                landed_before: before || read,
                again,
                mixed: false,
                corrupt,
            });
        }
        known
    }

    fn unstaged(&self, known: &KnownFile) -> bool {
        let index = LANES.iter().position(|l| *l == known.lane).expect("a lane of ours");
        !self.lanes[index].staged.contains_key(&known.epoch.0)
    }

    fn compare(&self) {
        for (index, model) in self.lanes.iter().enumerate() {
            assert_eq!(block_on(self.ledger.read(&lane(index))).unwrap(), model.view());
        }
        let history = self.ledger.history(&PipelineName::new("p"));
        let paths: Vec<String> = (0..6).map(path_of).collect();
        let known = block_on(history.lookup(&paths)).unwrap();
        for (path, known) in paths.iter().zip(known) {
            assert_eq!(known, self.known(path), "{path}");
        }
        let first = self.lanes.iter().all(|l| l.committed.is_empty());
        assert_eq!(block_on(history.is_first_run()).unwrap(), first);
    }
}

fn path_of(n: u8) -> String {
    format!("s3://b/{}/f{n}.csv", n % 2)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_answer_is_the_models(ops in vec((0..WORKERS, 0..LANES.len(), op()), 1..80)) {
        let mut world = World::new();
        for (worker, lane, op) in &ops {
            world.apply(*worker, *lane, op);
            world.compare();
        }
        let report = world.ledger.fsck().unwrap();
        // Receipts and committables of the model's records are made up; all else must hold.
        let problems: Vec<&String> = report.problems.iter().filter(|p| !p.contains("target `")).collect();
        prop_assert!(problems.is_empty(), "{:?}", problems);
        prop_assert_eq!(report.epochs, world.order.len() as u64);
    }
}
