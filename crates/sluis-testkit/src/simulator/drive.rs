//! Schedules over a world: crashes, lost answers, torn writes, errors; and zombies.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sluis_core::ErrorKind;

use super::choices::Choices;
use super::process::{Fate, Process, Room, Step};
use super::world::{Ended, World};

/// Which faults a schedule may have. Schedules that cannot differ count once: a process that dies has only left what it did before, so of
/// several points without an effect between them the first stands for all, and where every effect may be followed by a death none is needed.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// At most so many.
    pub most: u32,
    /// At every step; else only at the named crash points.
    pub everywhere: bool,
    /// Whether the files may change while a process runs; else only between processes.
    pub changes_while_running: bool,
}

impl Faults {
    /// Crashes at named points.
    pub fn points(most: u32) -> Faults {
        Faults { most, everywhere: false, changes_while_running: false }
    }

    /// Every kind of fault at every step.
    pub fn everywhere(most: u32) -> Faults {
        Faults { most, everywhere: true, changes_while_running: false }
    }

    /// Answers that are possible at a step: those of [`Fate`] beyond `Goes`.
    fn kinds(self, step: &Step<'_>) -> &'static [Fate] {
        use Fate::{DiesAfter, DiesBefore, DiesTorn, Fails, LosesAnswer};
        let writes = ["write", "finish", "put"].iter().any(|w| step.what.starts_with(w));
        match step.room {
            Room::Point if self.everywhere => &[],
            Room::Point => &[DiesBefore],
            _ if !self.everywhere => &[],
            // Dying before or after a look is the same, and the same as dying at the effect next to it.
            _ if step.looks() => &[Fails],
            Room::Storage if writes => &[DiesTorn, DiesAfter, Fails, LosesAnswer],
            _ => &[DiesBefore, DiesAfter, Fails, LosesAnswer],
        }
    }
}

/// Answers that several processes and threads draw, one at a time.
#[derive(Clone)]
struct Drawn(Arc<Mutex<Choices>>);

impl Drawn {
    fn lock(&self) -> MutexGuard<'_, Choices> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lends `choices` to `run`, and turns a panic into a violation, so that it comes with its schedule.
fn lend(choices: &mut Choices, run: impl FnOnce(Drawn) -> Result<(), String>) -> Result<(), String> {
    let drawn = Drawn(Arc::new(Mutex::new(std::mem::replace(choices, Choices::written("")))));
    let result = catch_unwind(AssertUnwindSafe(|| run(drawn.clone())));
    *choices = drawn.lock().clone();
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

/// Runs processes one after the other, each until it is caught up or something happens to it; then one that nothing happens to.
///
/// # Errors
/// The invariant that does not hold, and what happened before.
pub fn crash_run(world: World, faults: Faults, choices: &mut Choices) -> Result<(), String> {
    lend(choices, |drawn| {
        let world = Arc::new(world);
        let left = Arc::new(Mutex::new(faults.most));
        let story = Arc::new(Mutex::new(Vec::<String>::new()));
        let told = |e: String| format!("{e}\n  after: {}", story.lock().unwrap_or_else(PoisonError::into_inner).join("; "));
        loop {
            let before = *left.lock().unwrap_or_else(PoisonError::into_inner);
            for lane in 0..world.shape.lanes {
                let process = faulty(&world, faults, &drawn, &left, &story);
                let ended = world.run(&process, &world.lane(lane));
                world.unbroken().map_err(told)?;
                world.leases_run_out();
                let unharmed = *left.lock().unwrap_or_else(PoisonError::into_inner) == before;
                if let (true, Some(e)) = (unharmed, &ended.error) {
                    return Err(told(format!("a run that nothing happened to failed: {e:?}")));
                }
            }
            let spent = before - *left.lock().unwrap_or_else(PoisonError::into_inner);
            if spent == 0 && !world.change() {
                break;
            }
            if spent > 0 {
                world.change();
            }
        }
        drain(&world).map_err(told)?;
        world.settled().map_err(told)
    })
}

fn faulty(world: &Arc<World>, faults: Faults, drawn: &Drawn, left: &Arc<Mutex<u32>>, story: &Arc<Mutex<Vec<String>>>) -> Process {
    let (drawn, left, story, inner) = (drawn.clone(), left.clone(), story.clone(), world.clone());
    let mut done_since_a_point = true;
    world.watched(move |step| {
        let done = done_since_a_point;
        done_since_a_point = step.room != Room::Point && (done || !step.looks());
        if faults.changes_while_running && step.room == Room::Source && inner.changes_left() && drawn.lock().choose(1) == 1 {
            inner.change();
        }
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds = faults.kinds(step);
        if *left == 0 || kinds.is_empty() || (step.room == Room::Point && !done) {
            return Fate::Goes;
        }
        match drawn.lock().choose(kinds.len() as u32) {
            0 => Fate::Goes,
            n => {
                *left -= 1;
                let fate = kinds[n as usize - 1];
                story.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{fate:?} {}", step.what));
                fate
            }
        }
    })
}

/// Processes that nothing happens to, until all lanes are caught up.
fn drain(world: &Arc<World>) -> Result<(), String> {
    while world.change() {}
    for lane in 0..world.shape.lanes {
        let ended = world.run(&world.watched(|_| Fate::Goes), &world.lane(lane));
        if let Some(e) = ended.error {
            return Err(format!("the last run failed: {e:?}"));
        }
    }
    Ok(())
}

/// Where a worker may be paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pauses {
    /// At named crash points.
    Points,
    /// At every step that changes something.
    Effects,
}

impl Pauses {
    fn at(self, step: &Step<'_>) -> bool {
        step.room == Room::Point || (self == Pauses::Effects && !step.looks())
    }
}

/// Worker A is paused somewhere; its lease runs out; B takes over and is paused somewhere; A wakes up and is paused again; B goes on to its
/// end, then A to its own; then a new file comes and a third worker, that nothing happens to.
///
/// # Errors
/// As [`crash_run`].
pub fn zombie_run(world: World, pauses: Pauses, choices: &mut Choices) -> Result<(), String> {
    lend(choices, |drawn| {
        let world = Arc::new(world);
        let mut a = Worker::start(&world, pauses, drawn.clone(), "A");
        a.go_on();
        world.leases_run_out();
        world.change();
        let mut b = Worker::start(&world, pauses, drawn, "B");
        b.go_on();
        // At named points every pair of pauses is tried; a second pause of A would be too many.
        a.turn(pauses == Pauses::Effects);
        let story = format!("A paused at {:?}, B at {:?}", a.paused, b.paused);
        let told = |e: String| format!("{e}\n  after: {story}");
        // Before B took the lease, A may have woken up and renewed its own: then it is B who is told to wait.
        let late = b.paused.first().is_some_and(|at| at == "acquire");
        let b = b.finish();
        let a = a.finish();
        world.unbroken().map_err(told)?;
        if let Some(e) = b?.error.filter(|e| !(late && e.kind() == ErrorKind::Lease)) {
            return Err(told(format!("B holds the lease and failed: {e:?}")));
        }
        if let Some(e) = a?.error.filter(|e| !matches!(e.kind(), ErrorKind::Lease | ErrorKind::Conflict)) {
            return Err(told(format!("A lost its lease and says something else: {e:?}")));
        }
        world.leases_run_out();
        world.files.put("in/z", &["99,z"]);
        drain(&world).map_err(told)?;
        world.settled().map_err(told)
    })
}

/// What a worker's thread says when it pauses or ends.
enum Said {
    Paused(String),
    Ended(Result<Ended, String>),
}

/// A process on a thread of its own. At most one runs at any time.
struct Worker {
    wake: Sender<bool>,
    said: Receiver<Said>,
    ended: Option<Result<Ended, String>>,
    paused: Vec<String>,
}

impl Worker {
    /// Not running until told to.
    fn start(world: &Arc<World>, pauses: Pauses, drawn: Drawn, name: &str) -> Worker {
        let (wake, woken) = channel::<bool>();
        let (tell, said) = channel();
        let (world, tell_pause) = (world.clone(), tell.clone());
        let body = move || {
            // Whether it may be paused again before its end.
            let Ok(mut pausing) = woken.recv() else { return };
            let process = world.watched(move |step| {
                if pausing && pauses.at(step) && drawn.lock().choose(1) == 1 {
                    let _ = tell_pause.send(Said::Paused(step.what.to_owned()));
                    pausing = woken.recv().unwrap_or(false);
                }
                Fate::Goes
            });
            let ended = catch_unwind(AssertUnwindSafe(|| world.run(&process, &world.lane(0))));
            let _ = tell.send(Said::Ended(ended.map_err(|_| "the worker panicked".to_owned())));
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(body).expect("a thread");
        Worker { wake, said, ended: None, paused: vec![] }
    }

    fn turn(&mut self, may_pause: bool) {
        if self.ended.is_some() {
            return;
        }
        let _ = self.wake.send(may_pause);
        match self.said.recv() {
            Ok(Said::Paused(at)) => self.paused.push(at),
            Ok(Said::Ended(ended)) => self.ended = Some(ended),
            Err(_) => self.ended = Some(Err("the worker's thread is gone".to_owned())),
        }
    }

    /// Runs until it is paused, or ends.
    fn go_on(&mut self) {
        self.turn(true);
    }

    fn finish(mut self) -> Result<Ended, String> {
        self.turn(false);
        self.ended.unwrap_or_else(|| Err("the worker did not end".to_owned()))
    }
}
