//! A world: what outlives processes (files, ledger, targets, the clock), the processes in it, and the oracle.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sluis_core::{EpochLimits, Error, PipelineName, Sink, SinkName};
use sluis_engine::{Engine, Job, JobSettings, Lane, RunOptions, Silent, SqliteLedger, Stop};

use super::clock::SimClock;
use super::ledger::{Seen, SimLedger};
use super::lines::Lines;
use super::process::{Fate, Process, Step};
use super::source::{Expected, MemoryFiles, MemorySource, OnOverwrite};

/// How long a lease holds in the simulator.
const LEASE: Duration = Duration::from_secs(30);

/// What a target durably is: every process has its own sink on it.
pub trait Target: Send + Sync {
    /// The code under test, as part of a process.
    fn sink(&self, name: &SinkName, process: &Process) -> Arc<dyn Sink>;
    /// What a reader sees at this moment, as [`super::lines::text`] writes rows. Not a step of anybody.
    ///
    /// # Errors
    /// What a reader cannot make sense of.
    fn rows(&self) -> Result<Vec<String>, String>;
    /// What is staged, or otherwise not part of what readers see.
    fn leftovers(&self) -> Vec<String>;
    /// Whether readers see an epoch at once (as the sink guarantees).
    fn whole_epochs(&self) -> bool;
    /// For a target whose rows take others' places: the part of it that a row takes over for its epoch. For worlds of one file an epoch, in which
    /// no file is overwritten.
    fn part(&self) -> Option<fn(&str) -> i64> {
        None
    }
}

/// How the work of a world is cut.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub tasks: usize,
    pub files_per_epoch: u64,
    pub batch_rows: usize,
    pub on_overwrite: OnOverwrite,
    /// Files leave after the commit.
    pub deletes: bool,
    pub lanes: u32,
}

impl Default for Shape {
    fn default() -> Self {
        Self { tasks: 2, files_per_epoch: 2, batch_rows: 2, on_overwrite: OnOverwrite::Append, deletes: false, lanes: 1 }
    }
}

/// Something that happens to the files between or during runs.
pub type Change = fn(&MemoryFiles);

/// The world.
pub struct World {
    pub clock: SimClock,
    pub files: MemoryFiles,
    pub ledger: Arc<SqliteLedger>,
    pub seen: Seen,
    pub targets: Vec<Box<dyn Target>>,
    pub rejects: Box<dyn Target>,
    pub shape: Shape,
    /// Not yet happened, in order.
    changes: Mutex<std::vec::IntoIter<Change>>,
    broken: Mutex<Option<String>>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    pub error: Option<Error>,
    pub epochs: u64,
}

impl World {
    /// With two files that hold five good rows and a bad one.
    pub fn new(shape: Shape, targets: Vec<Box<dyn Target>>, rejects: Box<dyn Target>, changes: &[Change]) -> Self {
        let files: [(&str, &[&str]); 2] = [("in/a", &["1,a1", "2,a2", "oops", "3,a3"]), ("in/b", &["4,b1", "5,b2"])];
        Self::with_files(shape, targets, rejects, &files, changes)
    }

    /// With these files.
    pub fn with_files(shape: Shape, targets: Vec<Box<dyn Target>>, rejects: Box<dyn Target>, files: &[(&str, &[&str])], changes: &[Change]) -> Self {
        let clock = SimClock::default();
        let ledger = SqliteLedger::in_memory(Arc::new(clock.clone())).expect("a ledger in memory");
        let world = Self {
            clock,
            files: MemoryFiles::default(),
            ledger: Arc::new(ledger),
            seen: Seen::default(),
            targets,
            rejects,
            shape,
            changes: Mutex::new(Vec::from(changes).into_iter()),
            broken: Mutex::new(None),
        };
        files.iter().for_each(|(path, lines)| world.files.put(path, lines));
        world
    }

    /// Lets the next change happen. False if there is none left.
    pub fn change(&self) -> bool {
        let change = self.changes.lock().unwrap_or_else(PoisonError::into_inner).next();
        change.inspect(|change| change(&self.files)).is_some()
    }

    pub fn changes_left(&self) -> bool {
        !self.changes.lock().unwrap_or_else(PoisonError::into_inner).as_slice().is_empty()
    }

    /// The name of a lane, and which files are its.
    pub fn lane(&self, index: u32) -> Lane {
        let pipeline = PipelineName::new("sim");
        let mut lane = Lane::main(&pipeline);
        if self.shape.lanes > 1 {
            lane.id.lane = format!("{}of{}", index + 1, self.shape.lanes);
            lane.shard = sluis_core::LaneShard { index, of: self.shape.lanes };
        }
        lane
    }

    fn job(&self, process: &Process) -> Job {
        let name = |i: usize| SinkName::new(if i == 0 { "target".to_owned() } else { format!("target_{}", i + 1) });
        let Shape { tasks, files_per_epoch, batch_rows, on_overwrite, deletes, .. } = self.shape;
        Job {
            pipeline: PipelineName::new("sim"),
            source: Arc::new(MemorySource { files: self.files.clone(), process: process.clone(), on_overwrite, deletes }),
            format: Some(Arc::new(Lines)),
            declared: Arc::new(arrow_schema::Schema::empty()),
            contract: Default::default(),
            transform: None,
            sinks: self.targets.iter().enumerate().map(|(i, t)| t.sink(&name(i), process)).collect(),
            rejects: self.rejects.sink(&SinkName::new("rejects"), process),
            limits: EpochLimits { files: files_per_epoch, bytes: u64::MAX, rows: u64::MAX },
            budget: Arc::new(|_| None),
            settings: JobSettings {
                tasks,
                threads: 1,
                batch_rows,
                sample_files: 1,
                corrupt_files_are_rejected: false,
                tries: 1,
                replaces_files: on_overwrite == OnOverwrite::Replace,
            },
        }
    }

    /// Runs the real engine as `process`, to its end.
    pub fn run(&self, process: &Process, lane: &Lane) -> Ended {
        let ledger = SimLedger { inner: self.ledger.clone(), process: process.clone(), seen: self.seen.clone() };
        let engine = Engine { ledger: Arc::new(ledger), clock: Arc::new(self.clock.clone()), observer: Arc::new(Silent) };
        let options = RunOptions { max_epochs: None, lease: LEASE };
        let job = self.job(process);
        let outcome = process.run(engine.run(&job, lane, &options, &Stop::default()));
        Ended { error: outcome.error, epochs: outcome.summary.epochs }
    }

    /// Time passes until no lease of a dead process holds any more.
    pub fn leases_run_out(&self) {
        self.clock.advance(LEASE + Duration::from_secs(1));
    }

    /// Notes a violation; the first one stands.
    pub fn note(&self, result: Result<(), String>, at: Option<&Step<'_>>) {
        if let Err(what) = result {
            let at = at.map(|s| format!(" (at step {}, {})", s.number, s.what)).unwrap_or_default();
            self.broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| format!("{what}{at}"));
        }
    }

    /// What was noted.
    ///
    /// # Errors
    /// The first violation.
    pub fn unbroken(&self) -> Result<(), String> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    /// What holds at every step, whoever reads.
    ///
    /// # Errors
    /// The invariant that does not hold.
    pub fn readers(&self) -> Result<(), String> {
        let expected = self.files.expected(self.shape.on_overwrite);
        let acknowledged = self.files.acknowledged_rows();
        for (i, target) in self.targets.iter().enumerate() {
            let mut rows = target.rows().map_err(|e| format!("target {i}: {e}"))?;
            if let Some(part) = target.part() {
                self.one_after_the_other(i, rows, part)?;
                continue;
            }
            if let Some(gone) = acknowledged.iter().find(|row| !rows.contains(row)) {
                return Err(format!("I6: {gone} was acknowledged, and target {i} does not show it"));
            }
            let count = rows.len() as u64;
            rows.sort_unstable();
            if let Some(twice) = rows.windows(2).find(|w| w[0] == w[1]) {
                return Err(format!("target {i} shows {} twice", twice[0]));
            }
            if self.shape.on_overwrite == OnOverwrite::Replace {
                continue;
            }
            let known = |row: &String| expected.rows.contains(row) || expected.perhaps.iter().any(|v| v.contains(row));
            if let Some(foreign) = rows.iter().find(|row| !known(row)) {
                return Err(format!("target {i} shows {foreign}, which is in no file"));
            }
            self.counts(i, count, target.whole_epochs())?;
        }
        Ok(())
    }

    /// Where rows take others' places: what target `i` shows is what some number of epochs leave, of those that were decided.
    fn one_after_the_other(&self, i: usize, mut rows: Vec<String>, part: fn(&str) -> i64) -> Result<(), String> {
        rows.sort_unstable();
        let decided = self.seen.decided();
        let (least, most) = (decided.committed.len(), decided.staged.len());
        let mut states = self.files.after_each(part).into_iter().skip(least).take(most + 1 - least);
        if states.any(|state| state == rows) {
            return Ok(());
        }
        Err(format!("target {i} shows {rows:?}, which is not what {least} to {most} epochs leave"))
    }

    /// I2, and halves of epochs: compares the number of rows that target `i` shows with what was decided.
    fn counts(&self, i: usize, count: u64, whole: bool) -> Result<(), String> {
        let decided = self.seen.decided();
        let is_committed = |key| decided.committed.contains_key(key);
        let committed: u64 = decided.staged.iter().filter(|(key, _)| is_committed(key)).map(|(_, s)| s.rows().written).sum();
        let open: Vec<u64> = decided.staged.iter().filter(|(key, _)| !is_committed(key)).map(|(_, s)| s.rows().written).collect();
        let most = committed + open.iter().sum::<u64>();
        if count > most {
            return Err(format!("I2: target {i} shows {count} rows; committed are {committed}, staged {open:?}"));
        }
        if count < committed {
            return Err(format!("target {i} shows {count} rows of {committed} committed ones"));
        }
        let sums = |open: &[u64]| {
            (0..1_u32 << open.len())
                .map(|set| open.iter().enumerate().filter(|(j, _)| set >> j & 1 == 1).map(|(_, n)| n).sum::<u64>())
                .collect::<Vec<_>>()
        };
        if whole && !sums(&open).contains(&(count - committed)) {
            return Err(format!("target {i} shows {count} rows: half an epoch (committed are {committed}, staged {open:?})"));
        }
        Ok(())
    }

    /// What holds in the end: every row once, every reject once, nothing left behind, a ledger in order.
    ///
    /// # Errors
    /// What does not.
    pub fn settled(&self) -> Result<(), String> {
        self.unbroken()?;
        let Expected { rows, rejects, perhaps, perhaps_rejected } = self.files.expected(self.shape.on_overwrite);
        let all = self.targets.iter().map(|t| (t, &rows, &perhaps)).chain([(&self.rejects, &rejects, &perhaps_rejected)]);
        for (i, (target, must, perhaps)) in all.enumerate() {
            let name = if i == self.targets.len() { "the rejects".to_owned() } else { format!("target {i}") };
            let left_at_last = target.part().and_then(|part| self.files.after_each(part).pop());
            conserved(target.rows()?, left_at_last.as_ref().unwrap_or(must), perhaps).map_err(|e| format!("{name}: {e}"))?;
            let left = target.leftovers();
            if !left.is_empty() {
                return Err(format!("{name}: left behind: {}", left.join(", ")));
            }
        }
        let report = self.ledger.fsck().map_err(|e| format!("fsck: {e:?}"))?;
        if report.problems.is_empty() { Ok(()) } else { Err(format!("fsck: {}", report.problems.join("; "))) }
    }

    /// A director that lets everything happen, while readers read.
    pub fn watched(self: &Arc<Self>, mut fate: impl FnMut(&Step<'_>) -> Fate + Send + 'static) -> Process {
        let world = self.clone();
        // What others see changes only after a step that has an effect.
        let mut changed = true;
        Process::new(Box::new(move |step| {
            if changed {
                world.note(world.readers(), Some(&step));
            }
            changed = !step.looks();
            fate(&step)
        }))
    }
}

/// Whether `got` is all of `must`, and of each of `perhaps` all or nothing, and nothing else.
fn conserved(mut got: Vec<String>, must: &[String], perhaps: &[Vec<String>]) -> Result<(), String> {
    let there = got.clone();
    let mut want: Vec<String> = must.to_vec();
    want.extend(perhaps.iter().filter(|v| v.iter().any(|row| there.contains(row) && !must.contains(row))).flatten().cloned());
    want.sort_unstable();
    got.sort_unstable();
    if got == want { Ok(()) } else { Err(format!("holds {got:?} and should hold {want:?}")) }
}
