//! Runs that go well.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_schema::{DataType, Field, Schema};
use sluis_core::{Epoch, ErrorKind, LaneShard, RowCounts};
use sluis_engine::{Event, Explanation, Lane, RunOptions, Stop};

use crate::fakes::{World, csv, expected};

#[tokio::test]
async fn files_land_once_and_later_ones_in_later_epochs() {
    let world = World::new();
    world.files.put("/a.csv", csv(0..10));
    world.files.put("/b.csv", csv(10..20));
    let summary = world.must_run().await;
    assert_eq!((summary.epochs, summary.files), (1, 2));
    assert_eq!(summary.rows, RowCounts { read: 20, written: 20, ..RowCounts::default() });
    assert_eq!(world.target.rows(), expected(0..20));
    assert_eq!(world.must_run().await.epochs, 0);
    world.files.put("/c.csv", csv(20..30));
    assert_eq!(world.must_run().await.epochs, 1);
    assert_eq!(world.target.rows(), expected(0..30));
    assert_eq!(world.target.commits.lock().unwrap().iter().map(|k| k.epoch.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(world.files.acknowledged.lock().unwrap().len(), 3);
    assert!(world.rejects.commits.lock().unwrap().is_empty(), "no rejects, nothing is made where they would go");
    assert!(world.rejects.prepared.lock().unwrap().is_empty());
}

#[tokio::test]
async fn limits_make_epochs_and_max_epochs_ends_a_run() {
    let mut world = World::new();
    for i in 0..10 {
        world.files.put(&format!("/{i}.csv"), csv(i * 10..i * 10 + 10));
    }
    world.job.limits.files = 3;
    let options = RunOptions { max_epochs: Some(2), ..RunOptions::default() };
    let outcome = world.engine.run(&world.job, &world.lane, &options, &Stop::default()).await;
    assert!(outcome.error.is_none());
    assert_eq!((outcome.summary.epochs, outcome.summary.files), (2, 6));
    assert_eq!(world.must_run().await.epochs, 2);
    assert_eq!(world.target.rows(), expected(0..100));
}

#[tokio::test]
async fn small_batches_are_joined_and_large_ones_pass() {
    let world = World::new();
    for i in 0..100 {
        world.files.put(&format!("/{i:03}.csv"), csv(i * 100..i * 100 + 100));
    }
    world.must_run().await;
    assert_eq!(world.target.rows(), expected(0..10_000));
    let sizes: Vec<usize> = world.target.batches().iter().map(|b| b.num_rows()).collect();
    assert_eq!(sizes, [1000; 10]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_number_of_threads_changes_nothing() {
    let content = |threads, tasks| async move {
        let mut world = World::with_format(serde_json::json!({}));
        (world.job.settings.threads, world.job.settings.tasks) = (threads, tasks);
        for i in 0..60_i64 {
            let extra = if i % 7 == 3 { "n,name,extra\n1,x,y\n".to_owned() } else { String::new() };
            let text = if extra.is_empty() { csv(i * 50..i * 50 + 50) } else { extra };
            world.files.put(&format!("/{i:03}.csv"), text);
        }
        world.files.put("/500.csv", csv(0..400_000));
        world.files.put("/501.csv", csv(0..10));
        world.must_run().await;
        (world.target.batches(), world.target.rows())
    };
    let (batches, rows) = content(1, 1).await;
    assert_eq!(rows.len(), 51 * 50 + 9 + 400_010);
    let (batches_4, rows_4) = content(4, 1).await;
    assert!(batches == batches_4, "every batch is the same");
    assert!(rows == rows_4);
    let (_, rows_by_3) = content(4, 3).await;
    let mut shorter: Vec<&str> = rows.iter().map(|r| r.trim_end_matches("|∅")).collect();
    let mut shorter_by_3: Vec<&str> = rows_by_3.iter().map(|r| r.trim_end_matches("|∅")).collect();
    shorter.sort_unstable();
    shorter_by_3.sort_unstable();
    assert!(shorter == shorter_by_3, "tasks have the same rows");
}

#[tokio::test]
async fn columns_that_files_bring_are_added_and_known_ones_stay() {
    let world = World::with_format(serde_json::json!({}));
    world.files.put("/a.csv", "a,b\n1,x\n");
    world.must_run().await;
    world.files.put("/b.csv", "c,a\n7,2\n");
    world.must_run().await;
    world.files.put("/c.csv", "b\ny\n");
    world.must_run().await;
    assert_eq!(world.target.rows(), ["1|x", "2|∅|7", "∅|y|∅"]);
    let schema = world.target.batches().pop().unwrap().schema();
    let columns: Vec<(&str, &DataType)> = schema.fields().iter().map(|f| (f.name().as_str(), f.data_type())).collect();
    assert_eq!(columns, [("a", &DataType::Int64), ("b", &DataType::Utf8), ("c", &DataType::Int64)]);
    assert_eq!(world.target.prepared.lock().unwrap().len(), 3, "the target was widened before it was written to, once a run");
}

#[tokio::test]
async fn a_column_beyond_the_sample_is_text_and_comes_last() {
    let mut world = World::with_format(serde_json::json!({}));
    world.job.settings.sample_files = 1;
    world.constants(Arc::new(Schema::new(vec![Field::new("file_number", DataType::Int32, false), Field::new("_line", DataType::Int64, false)])));
    world.files.put("/1.csv", "a\n1\n");
    world.files.put("/2.csv", "a,late\n2,5\n3,6\n");
    world.must_run().await;
    assert_eq!(world.target.rows(), ["1|1|2", "2|2|2|5", "3|2|3|6"]);
    assert_eq!(world.target.batches()[1].schema().field(3).data_type(), &DataType::Utf8);
}

#[tokio::test]
async fn a_name_that_stands_twice_is_refused() {
    let mut world = World::new();
    world.constants(Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, false)])));
    world.files.put("/1.csv", csv(0..3));
    let e = world.run().await.error.unwrap();
    assert_eq!((e.kind(), e.message()), (ErrorKind::Config, "the files have a column `name`, and the source adds one of that name"));
}

#[tokio::test]
async fn rows_that_cannot_be_decoded_become_rejects() {
    let world = World::new();
    world.files.put("/a.csv", "n,name\n1,x\nbad,y\n2,z\n");
    world.files.put("/b.csv", "n,name\n3,x\n");
    let summary = world.must_run().await;
    assert_eq!(summary.rows, RowCounts { read: 4, written: 3, rejected: 1, ..RowCounts::default() });
    assert_eq!(world.target.rows(), ["1|x", "2|z", "3|x"]);
    let rejects = world.rejects.rows();
    assert_eq!(rejects.len(), 1);
    assert!(rejects[0].starts_with("p|main|1|/a.csv|3|n|bad_value|") && rejects[0].contains("|bad,y|2023-11-14"), "{rejects:?}");
}

#[tokio::test]
async fn a_million_rejects_come_in_batches() {
    let world = World::new();
    let rows: String = (0..200_000).map(|i| format!("x{i},bad\n")).collect();
    world.files.put("/a.csv", format!("n,name\n{rows}"));
    let summary = world.must_run().await;
    assert_eq!(summary.rows, RowCounts { read: 200_000, rejected: 200_000, ..RowCounts::default() });
    let batches = world.rejects.batches();
    assert!(batches.len() > 4 && batches.iter().all(|b| b.num_rows() <= 16 * 1024));
    assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), 200_000);
}

#[tokio::test]
async fn empty_files_count_and_leave_nothing() {
    let world = World::new();
    world.files.put("/a.csv", "");
    world.files.put("/b.csv", "n,name\n");
    let summary = world.must_run().await;
    assert_eq!((summary.epochs, summary.files, summary.rows.read), (1, 2, 0));
    assert!(world.target.rows().is_empty());
    assert_eq!(world.must_run().await.epochs, 0);
}

#[tokio::test]
async fn lanes_share_the_files() {
    let world = World::new();
    for i in 0..20 {
        world.files.put(&format!("/{i:02}.csv"), csv(i * 10..i * 10 + 10));
    }
    let lane = |index: u32| {
        let mut lane = Lane::main(&world.job.pipeline);
        lane.id.lane = format!("{}of2", index + 1);
        lane.shard = LaneShard { index, of: 2 };
        lane
    };
    let (options, stop, first, second) = (RunOptions::default(), Stop::default(), lane(0), lane(1));
    let (a, b) = tokio::join!(world.engine.run(&world.job, &first, &options, &stop), world.engine.run(&world.job, &second, &options, &stop));
    assert!(a.error.is_none() && b.error.is_none());
    assert!(a.summary.files > 0 && b.summary.files > 0);
    assert_eq!(a.summary.files + b.summary.files, 20);
    let mut all = expected(0..200);
    all.sort();
    assert_eq!(world.target.sorted(), all);
}

#[tokio::test]
async fn explain_moves_nothing() {
    let world = World::new();
    world.files.put("/a.csv", csv(0..10));
    for _ in 0..2 {
        match world.engine.explain(&world.job, &world.lane).await.unwrap() {
            Explanation::Plan { epoch, discovery } => assert_eq!((epoch, discovery.splits.len()), (Epoch(1), 1)),
            other => panic!("{other:?}"),
        }
    }
    world.must_run().await;
    match world.engine.explain(&world.job, &world.lane).await.unwrap() {
        Explanation::Plan { epoch, discovery } => assert_eq!((epoch, discovery.splits.len()), (Epoch(2), 0)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn two_targets_get_the_same_and_events_tell_the_story() {
    let mut world = World::new();
    let second = world.second_target();
    world.files.put("/a.csv", csv(0..10));
    world.must_run().await;
    assert_eq!(world.target.rows(), second.rows());
    assert_eq!(second.rows(), expected(0..10));
    let told: Vec<String> = world.events.0.lock().unwrap().iter().map(|e| format!("{e:?}").split([' ', '(']).next().unwrap().to_owned()).collect();
    assert_eq!(told, ["Started", "Discovered", "Planned", "Read", "Staged", "Committed"]);
    let rows = |e: &Event| matches!(e, Event::Read { rows: 10, files: 1, bytes, .. } if *bytes > 0);
    assert_eq!(world.told(rows), 1);
    assert_eq!(world.files.opened.load(Ordering::SeqCst), 2, "once for the sample, once to read it");
}
