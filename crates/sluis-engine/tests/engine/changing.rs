//! Files that change, vanish or are damaged while they are read; files that are replaced.

use sluis_core::{ErrorKind, RowCounts};
use sluis_engine::Event;

use crate::fakes::{Files, World, csv, expected};

/// Does something when a file's piece was read.
fn when(world: &World, path: &'static str, piece: usize, act: impl Fn(&Files) + Send + Sync + 'static) {
    *world.files.on_piece.lock().unwrap() = Some(Box::new(move |files, p, n| {
        // Sampling reads the first pieces, too.
        if p == path && n == piece {
            act(files);
        }
    }));
}

#[tokio::test]
async fn a_small_file_that_is_rewritten_while_read_lands_as_its_new_version() {
    let mut world = World::new();
    world.job.settings.sample_files = 1;
    world.files.put("/a.csv", csv(0..10));
    world.files.put("/b.csv", csv(10..20));
    world.files.put("/c.csv", csv(20..30));
    let once = std::sync::Once::new();
    when(&world, "/b.csv", 1, move |files| once.call_once(|| files.put("/b.csv", csv(100..103))));
    let summary = world.must_run().await;
    assert_eq!(summary.rows, RowCounts { read: 23, written: 23, ..RowCounts::default() });
    assert_eq!((summary.epochs, summary.files), (2, 3), "the new version is a new file");
    assert_eq!(world.target.rows(), [expected(0..10), expected(20..30), expected(100..103)].concat());
    assert_eq!(world.files.opened.load(std::sync::atomic::Ordering::SeqCst), 2 + 4, "nothing was read again");
}

#[tokio::test]
async fn rows_of_a_large_file_that_changes_are_not_staged() {
    for threads in [1, 4] {
        let mut world = World::new();
        world.job.settings.threads = threads;
        world.files.put("/a.csv", csv(0..10));
        world.files.put("/b.csv", csv(0..400_000));
        world.files.put("/c.csv", csv(20..30));
        let pieces = csv(0..400_000).len() / crate::fakes::PIECE;
        when(&world, "/b.csv", pieces, |files| files.remove("/b.csv"));
        let summary = world.must_run().await;
        assert_eq!(summary.rows, RowCounts { read: 20, written: 20, ..RowCounts::default() });
        assert_eq!(summary.files, 2);
        assert_eq!(world.target.rows(), [expected(0..10), expected(20..30)].concat());
        assert_eq!(world.target.staged_heaps(), 0, "what the first attempt staged was swept");
    }
}

#[tokio::test]
async fn a_file_that_is_gone_is_no_error() {
    let world = World::new();
    world.files.put("/a.csv", csv(0..10));
    world.files.put("/b.csv", csv(10..20));
    when(&world, "/a.csv", 1, |files| files.remove("/b.csv"));
    assert_eq!(world.must_run().await.files, 1);
    assert_eq!(world.target.rows(), expected(0..10));
    world.files.put("/b.csv", csv(10..20));
    world.must_run().await;
    assert_eq!(world.target.rows(), expected(0..20));
}

/// A gzip file that lacks its end.
fn torn(rows: std::ops::Range<i64>) -> Vec<u8> {
    // Stored blocks: the format in its simplest form.
    let text = csv(rows);
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    for block in text.as_bytes().chunks(60_000) {
        let n = block.len() as u16;
        out.push(0);
        out.extend(n.to_le_bytes());
        out.extend((!n).to_le_bytes());
        out.extend(block);
    }
    out
}

#[tokio::test]
async fn a_damaged_file_fails_the_epoch_or_becomes_one_reject() {
    for rows in [0..10, 0..400_000] {
        let mut world = World::new();
        world.files.put("/a.csv", csv(10..20));
        world.files.put("/b.csv", torn(rows));
        world.files.put("/c.csv", csv(20..30));
        let e = world.run().await.error.unwrap();
        assert_eq!(e.kind(), ErrorKind::CorruptInput);
        assert!(e.to_string().contains("/b.csv"), "{e}");
        assert!(world.target.rows().is_empty());
        world.job.settings.corrupt_files_are_rejected = true;
        let summary = world.must_run().await;
        assert_eq!(summary.rows, RowCounts { read: 21, written: 20, rejected: 1, ..RowCounts::default() });
        assert_eq!(world.target.rows(), expected(10..30));
        let rejects = world.rejects.rows();
        assert!(rejects.len() == 1 && rejects[0].starts_with("p|main|1|/b.csv|0|∅|corrupt_file|"), "{rejects:?}");
        assert_eq!(world.must_run().await.epochs, 0, "a damaged file is not read again");
        assert!(!world.files.acknowledged.lock().unwrap().contains("/b.csv"), "it is not archived or deleted");
    }
}

#[tokio::test]
async fn a_bad_capture_is_a_mistake_of_its_file() {
    use arrow_schema::{DataType, Field, Schema};
    let mut world = World::new();
    world.constants(std::sync::Arc::new(Schema::new(vec![Field::new("seq", DataType::Int32, false)])));
    world.files.put("/1.csv", csv(0..1));
    world.files.put("/x.csv", csv(1..2));
    let e = world.run().await.error.unwrap();
    assert_eq!((e.kind(), e.message()), (ErrorKind::CorruptInput, "`x` is no int: the value of `seq`"));
    world.job.settings.corrupt_files_are_rejected = true;
    world.must_run().await;
    assert_eq!(world.target.rows(), ["0|row 0|1"]);
    assert_eq!(world.rejects.rows().len(), 1);
}

#[tokio::test]
async fn replaced_files_leave_as_their_new_versions_arrive() {
    for threads in [1, 4] {
        let mut world = World::new();
        world.job.settings.replaces_files = true;
        world.job.settings.threads = threads;
        world.files.put("/a.csv", csv(0..10));
        world.files.put("/b.csv", "n,name\n10,row 10\nbad,row\n");
        world.files.put("/c.csv", csv(20..30));
        world.must_run().await;
        assert_eq!(world.target.origins(), [Some("/a.csv".to_owned()), Some("/b.csv".into()), Some("/c.csv".into())], "files are kept apart");
        assert_eq!(world.rejects.origins(), [Some("/b.csv".to_owned())]);
        world.files.put("/b.csv", csv(11..13));
        world.must_run().await;
        assert_eq!(world.target.rows(), [expected(0..10), expected(20..30), expected(11..13)].concat());
        assert!(world.rejects.rows().is_empty(), "rejects of the old version leave, too");
    }
}

#[tokio::test]
async fn a_replacement_that_vanishes_takes_nothing_with_it() {
    let mut world = World::new();
    world.job.settings.replaces_files = true;
    world.files.put("/a.csv", csv(0..10));
    world.must_run().await;
    world.files.put("/a.csv", csv(5..6));
    when(&world, "/a.csv", 1, |files| files.remove("/a.csv"));
    world.must_run().await;
    assert_eq!(world.target.rows(), expected(0..10));
    assert_eq!(world.told(|e| matches!(e, Event::Committed { files: 0, .. })), 1);
}
