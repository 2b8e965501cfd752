//! The real engine on the real ledger, over targets in memory: those that are right stay right under every schedule, and what is wrong is
//! found. Real targets are simulated where they live (`sluis-connectors/tests/simulation.rs`).

use sluis_testkit::simulator::choices::{Choices, every, first_violation, random};
use sluis_testkit::simulator::drive::{Faults, Pauses, crash_run, zombie_run};
use sluis_testkit::simulator::sink::{Flaw, MemoryTarget};
use sluis_testkit::simulator::source::OnOverwrite;
use sluis_testkit::simulator::world::{Change, Shape, World};

fn world(flaw: Flaw, shape: Shape, changes: &[Change]) -> World {
    let target = MemoryTarget::new(flaw, &["id", "value"]);
    World::new(shape, vec![Box::new(target)], Box::new(MemoryTarget::new(Flaw::None, &["file", "line"])), changes)
}

const COMES: Change = |files| files.put("in/c", &["6,c1"]);
const CHANGES: Change = |files| files.put("in/b", &["7,b3", "bad", "8,b4"]);

/// Three crashes: see `sluis-connectors/tests/simulation.rs`, into real files.
#[test]
fn two_crashes_at_named_points_lose_and_repeat_nothing() {
    for files_per_epoch in [1, 2] {
        let shape = Shape { tasks: 1, files_per_epoch, ..Shape::default() };
        let runs = every(|c| crash_run(world(Flaw::None, shape, &[]), Faults::points(2), c)).clean("two crashes");
        assert!(runs > 80, "{runs}");
    }
}

#[test]
fn any_fault_at_any_step_loses_and_repeats_nothing() {
    let shapes = [Shape::default(), Shape { deletes: true, files_per_epoch: 1, ..Shape::default() }, Shape { lanes: 2, ..Shape::default() }];
    for shape in shapes {
        let runs = every(|c| crash_run(world(Flaw::None, shape, &[COMES]), Faults::everywhere(1), c)).clean("one fault");
        assert!(runs > 100, "{runs}");
    }
}

#[test]
fn random_faults_while_files_change_lose_and_repeat_nothing() {
    let faults = Faults { changes_while_running: true, ..Faults::everywhere(3) };
    for on_overwrite in [OnOverwrite::Append, OnOverwrite::Replace] {
        // A target in memory cannot take rows away: with `Replace` only files that never landed are overwritten.
        let changes: &[Change] = if on_overwrite == OnOverwrite::Append { &[COMES, CHANGES] } else { &[COMES] };
        for (tasks, deletes) in [(1, true), (2, false)] {
            let shape = Shape { tasks, deletes, on_overwrite, files_per_epoch: 1, ..Shape::default() };
            random(1, 200, 25, |c| crash_run(world(Flaw::None, shape, changes), faults, c)).clean("random faults");
        }
    }
}

#[test]
fn a_worker_that_sleeps_and_wakes_up_does_no_harm() {
    let shape = Shape { tasks: 1, ..Shape::default() };
    let runs = every(|c| zombie_run(world(Flaw::None, shape, &[COMES]), Pauses::Points, c)).clean("zombies");
    assert!(runs > 300, "{runs}");
    random(1, 300, 12, |c| zombie_run(world(Flaw::None, Shape::default(), &[COMES]), Pauses::Effects, c)).clean("random zombies");
}

#[test]
fn targets_that_get_it_wrong_are_found_and_the_schedule_replays() {
    for flaw in [Flaw::IgnoresTheKey, Flaw::ShowsWhatIsStaged, Flaw::ShowsHalves] {
        let run = |c: &mut Choices| crash_run(world(flaw, Shape::default(), &[]), Faults::points(1), c);
        let explored = first_violation(run);
        let first = explored.first.clone().unwrap_or_default();
        explored.caught(&format!("{flaw:?}"));
        let schedule = first.rsplit('"').nth(1).expect("a schedule in quotes");
        let again = run(&mut Choices::written(schedule)).expect_err("the schedule replays");
        assert!(first.starts_with(&again), "{again} is not {first}");
    }
    // A sleeper that sweeps what its successor has staged.
    let run = |c: &mut Choices| zombie_run(world(Flaw::SweepsTooMuch, Shape { files_per_epoch: 1, ..Shape::default() }, &[]), Pauses::Effects, c);
    first_violation(run).caught("SweepsTooMuch");
}
