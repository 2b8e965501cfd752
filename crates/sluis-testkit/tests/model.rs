//! The protocol's model under every schedule of up to three crashes and every way a worker can sleep and wake up.

use sluis_testkit::simulator::choices::Choices;
use sluis_testkit::simulator::model::{Target, crash_run, crashes, zombies};

#[test]
fn no_schedule_of_three_crashes_harms_a_target_of_the_table() {
    for target in Target::RIGHT {
        let runs = crashes(target, 3).clean(&format!("{target:?}"));
        assert!(runs > 10_000, "{target:?}: {runs} schedules are not all of them");
    }
}

#[test]
fn no_zombie_harms_a_target_of_the_table() {
    for target in Target::RIGHT {
        let runs = zombies(target).clean(&format!("{target:?}"));
        assert!(runs > 3_000, "{target:?}: {runs} schedules are not all of them");
    }
}

#[test]
fn what_is_wrong_if_a_worker_dies_is_caught_and_replays() {
    for target in Target::WRONG_IN_CRASHES {
        let explored = crashes(target, 2);
        let first = explored.first.clone().unwrap_or_default();
        explored.caught(&format!("{target:?}"));
        let schedule = first.rsplit('"').nth(1).expect("a schedule in quotes");
        let again = crash_run(target, 2, &mut Choices::written(schedule)).expect_err("the schedule replays");
        assert!(first.starts_with(&again), "{again} is not {first}");
    }
}

#[test]
fn what_is_wrong_if_a_worker_sleeps_is_caught() {
    for target in Target::WRONG_WITH_ZOMBIES {
        zombies(target).caught(&format!("{target:?}"));
    }
}
