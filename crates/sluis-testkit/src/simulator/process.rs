//! A simulated process: every external effect is a step, and a director says what becomes of it.
//!
//! A process that died has no effects any more, whatever its code goes on to try. Steps are the crash points of the code under test (see
//! [`sluis_core::crash`]) and every call of the ledger, the source and the storage. Deliberately not here: which fate comes when.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sluis_core::{Error, ErrorKind, Result, crash};

/// What becomes of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Goes,
    /// The process dies and the effect does not happen.
    DiesBefore,
    /// The effect happens, and the process dies before it knows.
    DiesAfter,
    /// What is written is cut in the middle, and the process dies.
    DiesTorn,
    /// The effect does not happen: an error that may pass.
    Fails,
    /// The effect happens, and an error is returned: a lost acknowledgement.
    LosesAnswer,
}

impl Fate {
    /// Whether the process is dead then.
    pub fn is_death(self) -> bool {
        matches!(self, Fate::DiesBefore | Fate::DiesAfter | Fate::DiesTorn)
    }
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// A named crash point: nothing happens there, so there is no before and after.
    Point,
    Ledger,
    Source,
    Storage,
    Sink,
}

/// A step about to happen.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// From 0, within its process.
    pub number: u64,
    pub room: Room,
    /// `publish out/a.json`, `create staged`, `commit.before_sink` …
    pub what: &'a str,
}

impl Step<'_> {
    /// Whether it changes nothing, whatever becomes of it.
    pub fn looks(&self) -> bool {
        self.room == Room::Point || ["list", "read", "head", "open", "verify"].iter().any(|w| self.what.starts_with(w))
    }
}

/// Says what becomes of each step. May block: the process is paused then.
pub type Director = Box<dyn FnMut(Step<'_>) -> Fate + Send>;

/// What whoever does the step has to do.
#[derive(Debug)]
pub enum Effect {
    Go,
    /// Return this error, do nothing.
    Before(Error),
    /// Do it, then return this error.
    After(Error),
    /// Do half of it, if it is a write; return this error.
    Torn(Error),
}

/// A process. Clones are the same one.
#[derive(Clone)]
pub struct Process {
    dead: Arc<AtomicBool>,
    steps: Arc<AtomicU64>,
    director: Arc<Mutex<Director>>,
}

impl Process {
    /// Begins one.
    pub fn new(director: Director) -> Process {
        Process { dead: Arc::default(), steps: Arc::default(), director: Arc::new(Mutex::new(director)) }
    }

    /// One that nothing happens to.
    pub fn lucky() -> Process {
        Process::new(Box::new(|_| Fate::Goes))
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::SeqCst)
    }

    /// A step: what is to be done.
    pub fn step(&self, room: Room, what: &str) -> Effect {
        let dead = || Error::new(ErrorKind::Crash, format!("the simulated process is dead ({what})"));
        if self.is_dead() {
            return Effect::Before(dead());
        }
        let number = self.steps.fetch_add(1, Ordering::SeqCst);
        let fate = (self.director.lock().unwrap_or_else(PoisonError::into_inner))(Step { number, room, what });
        if fate.is_death() {
            self.dead.store(true, Ordering::SeqCst);
        }
        let passing = |how: &str| Error::new(ErrorKind::Unavailable, format!("simulated: {how} ({what})"));
        match fate {
            Fate::Goes => Effect::Go,
            Fate::DiesBefore => Effect::Before(dead()),
            Fate::DiesAfter => Effect::After(dead()),
            Fate::DiesTorn => Effect::Torn(dead()),
            Fate::Fails => Effect::Before(passing("it failed")),
            Fate::LosesAnswer => Effect::After(passing("the answer was lost")),
        }
    }

    /// A step that is all or nothing.
    ///
    /// # Errors
    /// Those of the step's fate and those of `work`.
    pub async fn effect<T>(&self, room: Room, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self.step(room, what) {
            Effect::Go => work.await,
            Effect::Before(e) | Effect::Torn(e) => Err(e),
            Effect::After(e) => {
                work.await?;
                Err(e)
            }
        }
    }

    /// Runs `work` as this process on this thread, its crash points included, to its end.
    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        struct Uninstall;
        impl Drop for Uninstall {
            fn drop(&mut self) {
                crash::set_hook(None);
            }
        }
        let process = self.clone();
        let hook = move |name: &'static str| match process.step(Room::Point, name) {
            Effect::Go => false,
            Effect::Before(e) | Effect::After(e) | Effect::Torn(e) => {
                assert_eq!(e.kind(), ErrorKind::Crash, "at a crash point a process dies or goes on");
                true
            }
        };
        crash::set_hook(Some(Box::new(hook)));
        let _uninstall = Uninstall;
        futures::executor::block_on(work)
    }
}
