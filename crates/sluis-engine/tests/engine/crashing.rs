//! Death at every crash point, then another run: every row is there once.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use sluis_core::{ErrorKind, crash};
use sluis_engine::{Event, RunOptions, Stop};

use crate::fakes::{World, csv, expected};

fn world() -> World {
    let mut world = World::new();
    world.second_target();
    world.job.limits.files = 2;
    world.job.settings.batch_rows = 10;
    for i in 0..3 {
        world.files.put(&format!("/{i}.csv"), format!("{}bad,row\n", csv(i * 10..i * 10 + 10)));
    }
    world
}

fn at_the(name: &'static str, n: usize) {
    let mut passed = 0;
    crash::set_hook(Some(Box::new(move |point| {
        passed += usize::from(point == name);
        point == name && passed == n
    })));
}

#[test]
fn every_point_is_passed_in_a_plain_run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let passed: Rc<RefCell<Vec<&str>>> = Rc::default();
    let note = passed.clone();
    crash::set_hook(Some(Box::new(move |point| {
        note.borrow_mut().push(point);
        false
    })));
    runtime.block_on(world().must_run());
    crash::set_hook(None);
    let passed = passed.borrow();
    let all: BTreeSet<&str> = passed.iter().copied().collect();
    assert_eq!(all, crash::POINTS.iter().copied().collect());
    let mut first: Vec<&str> = Vec::new();
    for point in passed.iter() {
        if !first.contains(point) {
            first.push(point);
        }
    }
    assert_eq!(first, crash::POINTS, "in the order that the list says");
}

#[test]
fn whatever_point_it_dies_at_the_next_run_lands_every_row_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut deaths = 0;
    for point in crash::POINTS {
        for n in 1.. {
            let world = world();
            at_the(point, n);
            let outcome = runtime.block_on(world.run());
            crash::set_hook(None);
            let Some(e) = outcome.error else { break };
            assert_eq!(e.kind(), ErrorKind::Crash, "{point}:{n}: {e:?}");
            deaths += 1;
            // A dead process gives no lease back.
            let e = runtime.block_on(world.run()).error.unwrap();
            assert_eq!(e.kind(), ErrorKind::Lease, "{point}:{n}");
            world.clock.advance(3600);
            runtime.block_on(world.must_run());
            assert_eq!(world.target.rows(), expected(0..30), "{point}:{n}");
            assert_eq!(world.rejects.rows().len(), 3, "{point}:{n}");
            assert_eq!(world.files.acknowledged.lock().unwrap().len(), 3, "{point}:{n}: all files are acknowledged");
            assert_eq!((world.target.staged_heaps(), world.rejects.staged_heaps()), (0, 0), "{point}:{n}: nothing is left behind");
            let taken_up = world.told(|e| matches!(e, Event::Recovering { .. }));
            let open = ["plan.after_record", "task.", "stage.", "commit.before", "commit.after_sink", "sink."].iter().any(|p| point.starts_with(p));
            assert_eq!(taken_up, usize::from(open), "{point}:{n}");
        }
    }
    assert!(deaths > 60, "{deaths}");
}

#[test]
fn a_second_death_in_recovery_costs_nothing_either() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for first in crash::POINTS {
        for second in crash::POINTS {
            let world = world();
            for point in [first, second] {
                at_the(point, 1);
                let outcome = runtime.block_on(world.run());
                assert!(outcome.error.is_none_or(|e| e.kind() == ErrorKind::Crash));
                world.clock.advance(3600);
            }
            crash::set_hook(None);
            runtime.block_on(world.must_run());
            assert_eq!(world.target.rows(), expected(0..30), "{first}, {second}");
            assert_eq!(world.rejects.rows().len(), 3, "{first}, {second}");
            assert_eq!(world.target.staged_heaps(), 0, "{first}, {second}");
        }
    }
}

#[test]
fn explain_tells_what_was_left() {
    use sluis_engine::Explanation;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (point, left) in [("task.mid_write", "execute"), ("commit.before_sink", "commit")] {
        let world = world();
        at_the(point, 1);
        let outcome = runtime.block_on(world.engine.run(&world.job, &world.lane, &RunOptions::default(), &Stop::default()));
        crash::set_hook(None);
        assert!(outcome.error.is_some());
        match (left, runtime.block_on(world.engine.explain(&world.job, &world.lane)).unwrap()) {
            ("execute", Explanation::Execute { planned }) => assert_eq!(planned.splits.len(), 2),
            ("commit", Explanation::Commit { staged, .. }) => assert_eq!(staged.rows().written, 20),
            other => panic!("{other:?}"),
        }
    }
}
