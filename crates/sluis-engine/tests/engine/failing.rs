//! Things that fail: what is tried again, what is said, what is left.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sluis_core::{Error, ErrorKind, LedgerStore, Retry, RowCounts};
use sluis_engine::ledger::owner::this_process;
use sluis_engine::{Event, RunOptions, Stop};

use crate::fakes::{World, csv, expected};

fn passing() -> Error {
    Error::unavailable("slow down").retry(Retry::After(1))
}

fn lasting() -> Error {
    Error::new(ErrorKind::Permission, "you may not")
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    for operation in ["discover", "open", "read", "prepare", "writer", "write", "close", "commit", "commit answer"] {
        let world = World::new();
        world.files.put("/a.csv", csv(0..10));
        let faults = if ["discover", "open", "read"].contains(&operation) { &world.files.faults } else { &world.target.faults };
        faults.set(operation, 2, passing);
        let summary = world.must_run().await;
        assert_eq!(summary.epochs, 1, "{operation}");
        assert_eq!(world.target.rows(), expected(0..10), "{operation}");
        assert_eq!(world.told(|e| matches!(e, Event::Retrying { of: 3, .. })), 2, "{operation}");
        assert_eq!(world.told(|e| matches!(e, Event::Recovering { .. })), 0, "{operation}: it is our own epoch");
    }
}

#[tokio::test]
async fn tries_are_bounded_and_a_later_run_recovers() {
    for operation in ["open", "write", "commit"] {
        let world = World::new();
        world.files.put("/a.csv", csv(0..10));
        let faults = if operation == "open" { &world.files.faults } else { &world.target.faults };
        faults.set(operation, 3, passing);
        let e = world.run().await.error.unwrap();
        assert_eq!((e.kind(), e.message()), (ErrorKind::Unavailable, "slow down"), "{operation}");
        assert!(world.target.rows().is_empty(), "{operation}");
        world.must_run().await;
        assert_eq!(world.target.rows(), expected(0..10), "{operation}");
        assert_eq!(world.told(|e| matches!(e, Event::Recovering { .. })), 1, "{operation}");
    }
}

#[tokio::test]
async fn what_will_not_pass_fails_at_once() {
    let world = World::new();
    world.files.put("/a.csv", csv(0..10));
    world.target.faults.set("write", 1, lasting);
    let e = world.run().await.error.unwrap();
    assert_eq!(e.kind(), ErrorKind::Permission);
    assert_eq!(world.told(|e| matches!(e, Event::Retrying { .. })), 0);
    world.must_run().await;
    assert_eq!(world.target.rows(), expected(0..10));
}

#[tokio::test]
async fn after_the_commit_failures_are_problems_and_a_later_run_mends_them() {
    let world = World::new();
    world.files.put("/a.csv", csv(0..10));
    world.files.faults.set("acknowledge", 1, lasting);
    world.target.faults.set("sweep", 1, lasting);
    world.must_run().await;
    assert_eq!(world.told(|e| matches!(e, Event::Problem(_))), 2);
    assert!(world.files.acknowledged.lock().unwrap().is_empty());
    world.must_run().await;
    assert_eq!(world.files.acknowledged.lock().unwrap().len(), 1);
    assert_eq!(world.target.rows(), expected(0..10));
}

#[tokio::test]
async fn a_target_that_conceals_rows_fails_the_epoch() {
    let world = World::new();
    world.files.put("/a.csv", csv(0..10));
    world.target.conceals.store(1, Ordering::SeqCst);
    let e = world.run().await.error.unwrap();
    assert_eq!((e.kind(), e.message()), (ErrorKind::Data, "10 rows were given to the target and it staged 9"));
    assert!(world.target.rows().is_empty());
    world.target.conceals.store(0, Ordering::SeqCst);
    world.must_run().await;
    assert_eq!(world.target.rows(), expected(0..10));
}

#[tokio::test]
async fn rejects_that_are_concealed_fail_the_epoch() {
    let world = World::new();
    world.files.put("/a.csv", "n,name\nbad,x\n");
    world.rejects.conceals.store(1, Ordering::SeqCst);
    assert_eq!(world.run().await.error.unwrap().kind(), ErrorKind::Data);
}

#[tokio::test]
async fn a_broken_budget_commits_nothing() {
    let mut world = World::new();
    world.job.budget = Arc::new(|rows: &RowCounts| (rows.rejected > 1).then(|| format!("{} rejects", rows.rejected)));
    world.files.put("/a.csv", "n,name\n1,x\nbad,x\nbad,y\n");
    let outcome = world.run().await;
    let e = outcome.error.unwrap();
    assert_eq!((e.kind(), e.message(), outcome.summary.epochs), (ErrorKind::Budget, "2 rejects", 0));
    assert!(world.target.rows().is_empty() && world.rejects.rows().is_empty());
    world.job.budget = Arc::new(|_: &RowCounts| None);
    assert_eq!(world.must_run().await.rows.rejected, 2);
}

#[tokio::test]
async fn a_target_that_left_the_pipeline_is_not_forgotten() {
    let mut world = World::new();
    world.second_target();
    world.files.put("/a.csv", csv(0..10));
    world.target.faults.set("commit", 9, lasting);
    assert!(world.run().await.error.is_some());
    let second = world.job.sinks.pop().unwrap();
    let e = world.run().await.error.unwrap();
    assert_eq!(e.kind(), ErrorKind::Config);
    assert!(e.message().contains("memory_2"), "{e}");
    world.job.sinks.push(second);
    world.target.faults.set("commit", 0, lasting);
    world.must_run().await;
}

#[tokio::test]
async fn another_holder_is_named() {
    let world = World::new();
    let owner = this_process(chrono::Utc::now());
    world.engine.ledger.acquire(&world.lane.id, &owner, Duration::from_secs(60)).await.unwrap();
    let e = world.run().await.error.unwrap();
    assert_eq!(e.kind(), ErrorKind::Lease);
    assert!(e.to_string().contains(&owner.pid.to_string()), "{e}");
}

#[tokio::test]
async fn a_lease_that_is_lost_stops_the_run_before_its_next_effect() {
    let world = World::new();
    world.files.put("/a.csv", csv(0..10));
    // While it reads, time passes unseen and another takes the lane.
    let (ledger, clock, lane) = (world.engine.ledger.clone(), world.clock.clone(), world.lane.id.clone());
    let once = std::sync::Once::new();
    *world.files.on_piece.lock().unwrap() = Some(Box::new(move |_, _, _| {
        once.call_once(|| {
            clock.advance(3600);
            let thief = this_process(chrono::DateTime::UNIX_EPOCH);
            let taken = ledger.acquire(&lane, &thief, Duration::from_secs(600));
            std::thread::scope(|s| s.spawn(|| futures::executor::block_on(taken).unwrap()).join().unwrap());
        });
    }));
    let e = world.run().await.error.unwrap();
    assert_eq!(e.kind(), ErrorKind::Lease, "{e}");
    assert!(world.target.rows().is_empty());
    world.clock.advance(3600);
    world.must_run().await;
    assert_eq!(world.target.rows(), expected(0..10));
}

#[tokio::test]
async fn a_lease_taken_while_writing_hangs_is_noticed_in_the_background() {
    let world = World::new();
    world.files.put("/a.csv", csv(0..10));
    world.target.stuck.store(true, Ordering::SeqCst);
    let options = RunOptions { lease: Duration::from_millis(60), ..RunOptions::default() };
    let stop = Stop::default();
    let thief = async {
        while world.told(|e| matches!(e, Event::Read { .. })) == 0 {
            tokio::task::yield_now().await;
        }
        world.clock.advance(3600);
        world.engine.ledger.acquire(&world.lane.id, &this_process(chrono::DateTime::UNIX_EPOCH), Duration::from_secs(600)).await.unwrap()
    };
    let (outcome, _) = tokio::join!(world.engine.run(&world.job, &world.lane, &options, &stop), thief);
    assert_eq!(outcome.error.unwrap().kind(), ErrorKind::Lease);
}

#[tokio::test]
async fn stop_abandons_an_epoch_within_a_second() {
    for threads in [1, 4] {
        let mut world = World::new();
        world.job.settings.threads = threads;
        world.files.put("/a.csv", csv(0..10));
        world.target.stuck.store(true, Ordering::SeqCst);
        let stop = Stop::default();
        let stopping = async {
            while world.told(|e| matches!(e, Event::Read { .. })) == 0 {
                tokio::task::yield_now().await;
            }
            stop.stop();
            Instant::now()
        };
        let (outcome, stopped) = tokio::join!(world.run_until(&stop), stopping);
        assert!(stopped.elapsed() < Duration::from_secs(1));
        assert_eq!(outcome.error.unwrap().kind(), ErrorKind::Interrupted);
        assert!(world.target.rows().is_empty());
        world.target.stuck.store(false, Ordering::SeqCst);
        // The lease was given back: nobody waits.
        world.must_run().await;
        assert_eq!(world.target.rows(), expected(0..10));
    }
}

#[tokio::test]
async fn stop_ends_a_pause_and_a_run_that_has_not_begun() {
    let world = World::new();
    world.files.put("/a.csv", csv(0..10));
    world.target.faults.set("write", 9, || Error::unavailable("slow down").retry(Retry::After(3_600_000)));
    let stop = Stop::default();
    let stopping = async {
        while world.told(|e| matches!(e, Event::Retrying { .. })) == 0 {
            tokio::task::yield_now().await;
        }
        stop.stop();
    };
    let (outcome, ()) = tokio::join!(world.run_until(&stop), stopping);
    assert_eq!(outcome.error.unwrap().kind(), ErrorKind::Interrupted);
    let events = world.events.0.lock().unwrap().len();
    assert_eq!(world.run_until(&stop).await.error.unwrap().kind(), ErrorKind::Interrupted);
    assert_eq!(world.events.0.lock().unwrap().len(), events, "it never began");
}

#[tokio::test]
async fn the_story_of_a_run_passes_fsck() {
    let clock = Arc::new(sluis_core::clock::FixedClock(chrono::Utc::now()));
    let ledger = Arc::new(sluis_engine::SqliteLedger::in_memory(clock.clone()).unwrap());
    let mut world = World::new();
    world.engine.ledger = ledger.clone() as Arc<dyn LedgerStore>;
    world.engine.clock = clock;
    world.job.limits.files = 2;
    world.job.settings.corrupt_files_are_rejected = true;
    for i in 0..5 {
        world.files.put(&format!("/{i}.csv"), csv(i * 10..i * 10 + 10));
    }
    world.files.put("/9.csv", "n,name\nbad,x\n");
    world.target.faults.set("close", 1, passing);
    world.must_run().await;
    let report = ledger.fsck().unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!((report.epochs, report.files), (3, 6));
}
