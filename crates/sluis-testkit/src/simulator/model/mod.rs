//! The commit protocol as a model: two workers, a ledger, a source that grows, one target; every external effect is one step.
//!
//! [`sluis_core::decide()`] is the real one. Targets are those of the blueprint's table, and some that do it wrong, so that it is seen that
//! the explorer finds what it looks for. [`crashes`] runs every schedule of at most so many crashes, each just before or just after
//! an effect (after it: the acknowledgement is lost). [`zombies`] pauses a worker anywhere, lets a second one take over, and wakes the
//! first one up.
//!
//! Checked at every step: I1 (no gap, no overlap), I2 (nothing is visible before it is staged), I3 (commits in order), I6 (what was
//! acknowledged is never read again; what a record names is never swept), and readers (an epoch is visible as a whole, where the
//! target says so). Checked at the end: every row of the source has taken effect, once.

mod target;
mod worker;

pub use target::Target;

use super::choices::{Choices, Explored, every};
use worker::{Worker, World};

/// Rows of the source where workers crash (two epochs), and where they sleep (three).
const ROWS: usize = 3;
const ROWS_OF_ZOMBIES: usize = 4;
/// More steps than any run takes that makes progress.
const STEPS: usize = 400;

/// Every schedule of at most `faults` crashes.
pub fn crashes(target: Target, faults: u32) -> Explored {
    every(|choices| crash_run(target, faults, choices))
}

/// One schedule of [`crashes`].
///
/// # Errors
/// The invariant that does not hold, with the steps before it.
pub fn crash_run(target: Target, faults: u32, choices: &mut Choices) -> Result<(), String> {
    let mut world = World::new(target, ROWS);
    let mut left = faults;
    let mut worker = Worker::new(0);
    let mut died = Vec::new();
    for n in 0.. {
        if worker.stopped() {
            break;
        }
        assert!(n < STEPS, "no progress after {died:?}");
        let fault = if left > 0 { choices.choose(2) } else { 0 };
        if fault != 1 {
            worker.step(&mut world).map_err(|e| format!("{e}; {died:?}"))?;
        }
        if fault > 0 {
            left -= 1;
            died.push(format!("died {} {}", if fault == 1 { "before" } else { "after" }, worker.doing()));
            worker = Worker::new(0);
        }
    }
    world.conserved().map_err(|e| format!("{e}; {died:?}"))
}

/// Every way to pause a worker, let another take over for some steps, wake the first for some steps, and let both go on.
pub fn zombies(target: Target) -> Explored {
    every(|choices| zombie_run(target, choices))
}

/// One schedule of [`zombies`].
///
/// # Errors
/// As [`crash_run`].
pub fn zombie_run(target: Target, choices: &mut Choices) -> Result<(), String> {
    let mut world = World::new(target, ROWS_OF_ZOMBIES);
    let (mut a, mut b) = (Worker::new(0), Worker::new(1));
    go_on(&mut a, &mut world, choices)?;
    let paused = a.doing();
    let told = |e: String| format!("{e}; A paused at {paused}");
    // The lease is granted to B only after A's deadline.
    world.lease_owner = 1;
    go_on(&mut b, &mut world, choices).map_err(told)?;
    go_on(&mut a, &mut world, choices).map_err(told)?;
    for worker in [&mut b, &mut a] {
        drain(worker, &mut world).map_err(told)?;
    }
    world.lease_owner = 2;
    drain(&mut Worker::new(2), &mut world).map_err(told)?;
    world.conserved().map_err(told)
}

/// Steps until the schedule says to pause, or the worker stops.
fn go_on(worker: &mut Worker, world: &mut World, choices: &mut Choices) -> Result<(), String> {
    while !worker.stopped() && choices.choose(1) == 0 {
        worker.step(world)?;
    }
    Ok(())
}

fn drain(worker: &mut Worker, world: &mut World) -> Result<(), String> {
    for _ in 0..STEPS {
        if worker.stopped() {
            return Ok(());
        }
        worker.step(world)?;
    }
    panic!("no progress at {}", worker.doing());
}
