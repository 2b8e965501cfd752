//! Files that are damaged, foreign, newer, unwritable or gone: told with the way out, never a panic, nothing lost.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use sluis_core::clock::FixedClock;
use sluis_core::{Checkpoint, Clock, Created, Epoch, Error, ErrorKind, LaneId, Lease, LedgerStore, Outcome, Record, Result};
use sluis_engine::SqliteLedger;
use sluis_testkit::conformance::ledger::{at, committed, holder, planned, staged, version};

fn clock() -> Arc<dyn Clock> {
    Arc::new(FixedClock("2024-06-01T12:00:00Z".parse().unwrap()))
}

fn lane() -> LaneId {
    LaneId::new("p", "main")
}

async fn acquire(ledger: &SqliteLedger) -> Result<Lease> {
    ledger.acquire(&lane(), &holder(1), Duration::from_secs(30)).await
}

async fn epoch(ledger: &SqliteLedger, lease: &Lease, n: u64, files: u64) -> Result<()> {
    let from = if n == 1 { Checkpoint::default() } else { at((n - 1) * files) };
    let taken = (0..files).map(|i| version(&format!("/folder {}/file-{n}-{i}.csv", i % 5), i)).collect();
    let p = planned(n, lease.generation, &from, taken);
    let s = staged(&p, vec![Outcome::Read; files as usize]);
    let c = committed(&s);
    for record in [Record::Planned(p), Record::Staged(s), Record::Committed(c)] {
        assert_eq!(ledger.create(&lane(), record).await?, Created::Won);
    }
    Ok(())
}

/// A ledger of `epochs` epochs of 50 files in a fresh folder.
async fn written(epochs: u64) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/ledger.db");
    let ledger = SqliteLedger::open(&path, clock()).unwrap();
    let lease = acquire(&ledger).await.unwrap();
    for n in 1..=epochs {
        epoch(&ledger, &lease, n, 50).await.unwrap();
    }
    ledger.release(&lease).await.unwrap();
    (folder, path)
}

/// The whole of what a person is told.
fn told(e: &Error) -> String {
    format!("{e}; {}; {}", e.causes().join("; "), e.hint_text().unwrap_or_default())
}

fn assert_way_out(e: &Error, path: &Path) {
    assert_eq!(e.kind(), ErrorKind::Ledger, "{e:?}");
    let told = told(e);
    for part in [&path.display().to_string(), "fsck", "restore a copy", "move it"] {
        assert!(told.contains(part), "`{part}` is missing: {told}");
    }
}

fn refused(path: &Path) -> Error {
    SqliteLedger::open(path, clock()).err().expect("it must be refused")
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_it_again() {
    let (folder, path) = written(3).await;
    let names: Vec<_> = fs::read_dir(folder.path().join("state")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["ledger.db"], "nothing beside it when nobody has it open");
    let ledger = SqliteLedger::open(&path, clock()).unwrap();
    assert_eq!(ledger.read(&lane()).await.unwrap().committed, Some((Epoch(3), at(150))));
    assert_eq!(ledger.fsck().unwrap().problems, [""; 0]);
}

#[tokio::test]
async fn looking_creates_nothing_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none/ledger.db");
    assert!(SqliteLedger::open_existing(&path, clock()).unwrap().is_none());
    assert!(!path.parent().unwrap().exists());
    let (folder, path) = written(2).await;
    let before = fs::read(&path).unwrap();
    let ledger = SqliteLedger::open_existing(&path, clock()).unwrap().unwrap();
    assert_eq!(ledger.lanes(None).unwrap()[0].epochs, 2);
    assert_eq!(ledger.fsck().unwrap().epochs, 2);
    assert_eq!(acquire(&ledger).await.unwrap_err().kind(), ErrorKind::Internal, "it is for looking only");
    drop(ledger);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path().join("state")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_file_that_is_empty_or_cut_off_or_something_else_is_refused() {
    let (_folder, path) = written(5).await;
    let whole = fs::read(&path).unwrap();
    for bytes in [&b""[..], b"SQLite", b"{\"json\": true, \"and\": \"more\"}", &[0; 4096], &whole[..16], &whole[..5000], &whole[..whole.len() - 4096]]
    {
        fs::write(&path, bytes).unwrap();
        assert_way_out(&refused(&path), &path);
        assert_way_out(&SqliteLedger::open_existing(&path, clock()).err().expect("refused"), &path);
        assert_eq!(fs::read(&path).unwrap(), bytes, "it is left as it is");
    }
    fs::write(&path, &whole).unwrap();
    SqliteLedger::open(&path, clock()).expect("a copy that was put back is good");
}

#[tokio::test]
async fn random_bytes_in_the_middle_are_noticed_wherever_they_are() {
    let (_folder, path) = written(40).await;
    let whole = fs::read(&path).unwrap();
    let mut seed = 42_u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    let mut silent = Vec::new();
    for page in 0..whole.len() as u64 / 4096 {
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(&whole).unwrap();
        file.seek(SeekFrom::Start(page * 4096)).unwrap();
        let noise: Vec<u8> = (0..4096).map(|_| random() as u8).collect();
        file.write_all(&noise).unwrap();
        drop(file);
        match SqliteLedger::open(&path, clock()) {
            Err(e) => assert_way_out(&e, &path),
            // A page that nothing points to, or bytes of a record: each record has a checksum.
            Ok(ledger) if ledger.fsck().unwrap().problems.is_empty() => silent.push(page),
            Ok(_) => {}
        }
        if let Ok(Some(ledger)) = SqliteLedger::open_existing(&path, clock()) {
            let _ = (ledger.lanes(None), ledger.why("file-1-1.csv"), ledger.read(&lane()).await, ledger.epochs(&lane().pipeline, 99));
        }
    }
    assert!(silent.is_empty(), "{silent:?}: pages whose damage nobody sees");
}

#[tokio::test]
async fn a_damaged_record_is_named_and_stops_only_those_who_need_it() {
    let (_folder, path) = written(3).await;
    let c = Connection::open(&path).unwrap();
    c.execute("update record set body = zeroblob(length(body)) where epoch = 2 and kind = 2", []).unwrap();
    drop(c);
    let ledger = SqliteLedger::open(&path, clock()).unwrap();
    assert_eq!(ledger.lanes(None).unwrap()[0].epochs, 3);
    let problems = ledger.fsck().unwrap().problems;
    assert!(problems[0].contains("p/main") && problems[0].contains("epoch 2"), "{problems:?}");
    assert_way_out(&ledger.epochs(&lane().pipeline, 9).unwrap_err(), &path);
    let lease = acquire(&ledger).await.unwrap();
    assert_eq!(lease.generation.0, 2);
}

#[tokio::test]
async fn fsck_names_every_broken_invariant() {
    let (_folder, path) = written(4).await;
    let whole = fs::read(&path).unwrap();
    let cases = [
        ("delete from record where epoch = 2 and kind = 1", "planned` is missing"),
        ("delete from record where epoch = 2 and kind = 2", "staged` is missing"),
        ("delete from record where epoch = 4 and kind = 3", "committed` is missing"),
        ("update record set body = (select body from record where epoch = 1 and kind = 1) where epoch = 2 and kind = 1", "epoch 1"),
        ("update record set epoch = 9 where epoch = 4", "newest record is of epoch 9"),
        ("update lane set committed = 3", "epoch 3"),
        ("update lane set committed = 2", "only the next epoch may be open"),
        ("update lane set reached = '{}'", "I1"),
        ("update lane set reached = 'x'", "checkpoint"),
        ("update lane set rows_read = rows_read + 1", "totals"),
        ("update lane set generation = 0", "generation"),
        ("update record set rows_written = 5 where epoch = 3 and kind = 2", "sums"),
        ("update file set epoch = 3 where epoch = 2", "does not know that it took"),
        ("delete from file where name = 'file-3-7.csv'", "does not know /folder 2/file-3-7.csv"),
        ("update file set flags = 1 where name = 'file-3-7.csv'", "another fate"),
        ("update file set size = 77 where name = 'file-3-7.csv'", "another fate or size"),
        ("insert into file select dir, 'made up', lane, epoch, flags, size, modified, etag from file limit 1", "the epochs took 200"),
    ];
    for (damage, expected) in cases {
        fs::write(&path, &whole).unwrap();
        let c = Connection::open(&path).unwrap();
        c.execute_batch(damage).unwrap();
        drop(c);
        let report = SqliteLedger::open_existing(&path, clock()).unwrap().unwrap().fsck().unwrap();
        assert!(report.problems.iter().any(|p| p.contains(expected)), "{damage}: `{expected}` is not in {:#?}", report.problems);
    }
}

#[tokio::test]
async fn a_view_that_decide_would_panic_about_is_told_as_damage() {
    let (_folder, path) = written(1).await;
    let ledger = SqliteLedger::open(&path, clock()).unwrap();
    let lease = acquire(&ledger).await.unwrap();
    let p = planned(2, lease.generation, &at(50), vec![]);
    ledger.create(&lane(), p.clone().into()).await.unwrap();
    ledger.create(&lane(), staged(&p, vec![]).into()).await.unwrap();
    drop(ledger);
    let whole = fs::read(&path).unwrap();
    for damage in [
        "update lane set reached = '{}'",
        "delete from record where epoch = 2 and kind = 1",
        "delete from record where epoch = 2 and kind = 2",
        "update lane set committed = 2",
        "update lane set planned = 1, staged = 1",
    ] {
        fs::write(&path, &whole).unwrap();
        Connection::open(&path).unwrap().execute_batch(damage).unwrap();
        let ledger = SqliteLedger::open(&path, clock()).unwrap();
        match ledger.read(&lane()).await {
            Err(e) => assert_way_out(&e, &path),
            // Shifted as a whole: fsck says it, and nothing can be written before it is repaired.
            Ok(_) => assert!(!ledger.fsck().unwrap().problems.is_empty(), "{damage}"),
        }
    }
}

#[tokio::test]
async fn foreign_and_newer_databases_are_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    Connection::open(&path).unwrap().execute_batch("create table iceberg_tables (x)").unwrap();
    let before = fs::read(&path).unwrap();
    let e = refused(&path);
    assert!(e.kind() == ErrorKind::Ledger && told(&e).contains("not a ledger of sluis"), "{e:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
    let (_folder, path) = written(1).await;
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let e = refused(&path);
    assert!(e.kind() == ErrorKind::Ledger && told(&e).contains("newer sluis") && told(&e).contains("99"), "{e:?}");
    let folder_in_place = tempfile::tempdir().unwrap();
    assert_eq!(refused(folder_in_place.path()).kind(), ErrorKind::Ledger);
}

#[tokio::test]
async fn places_that_cannot_be_written_are_told() {
    // `/proc` refuses new folders to everybody, root included.
    let e = refused(Path::new("/proc/sluis/ledger.db"));
    assert!(matches!(e.kind(), ErrorKind::Permission | ErrorKind::NotFound), "{e:?}");
    assert!(told(&e).contains("/proc/sluis"), "{e:?}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let e = refused(&file.join("ledger.db"));
    assert!(told(&e).contains(&file.display().to_string()), "{e:?}");
}

#[tokio::test]
async fn a_ledger_that_was_moved_away_is_not_written_to() {
    let (folder, path) = written(1).await;
    let ledger = SqliteLedger::open(&path, clock()).unwrap();
    let lease = acquire(&ledger).await.unwrap();
    let elsewhere = folder.path().join("elsewhere.db");
    fs::rename(&path, &elsewhere).unwrap();
    let e = epoch(&ledger, &lease, 2, 50).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Ledger && told(&e).contains("moved"), "{e:?}");
    assert_eq!(refused(&path).kind(), ErrorKind::Ledger, "its write-ahead log is there: this is no fresh start");
    fs::rename(&elsewhere, &path).unwrap();
    epoch(&ledger, &lease, 2, 50).await.expect("it was put back");
}
