//! What needs a hand on the connection: a full disk, a busy file. All else is tested from outside, in `tests/ledger*.rs`.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use futures::executor::block_on;
use rusqlite::Connection;
use sluis_core::clock::FixedClock;
use sluis_core::{Checkpoint, Created, Epoch, ErrorKind, FileVersion, LaneId, LedgerStore, PartitionId, Planned, Position, Retry, Split};

use super::{SqliteLedger, owner};

fn planned(files: u64) -> Planned {
    let split = |n| Split {
        partition: PartitionId("files".into()),
        from: Position::Number(n),
        to: Some(Position::Number(n + 1)),
        file: Some(FileVersion { path: format!("/folder/{}", uuid::Uuid::new_v4()), size: n, modified: None, etag: None }),
        constants: Default::default(),
        replaces: false,
        apart: false,
        detail: serde_json::Value::Null,
    };
    let mut to = Checkpoint::default();
    to.set(PartitionId("files".into()), Position::Number(files));
    Planned {
        epoch: Epoch(1),
        generation: sluis_core::Generation(1),
        at: DateTime::UNIX_EPOCH,
        from: Checkpoint::default(),
        to,
        splits: (0..files).map(split).collect(),
    }
}

#[test]
fn a_full_disk_leaves_the_ledger_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(&folder.path().join("ledger.db"), Arc::new(FixedClock(DateTime::UNIX_EPOCH))).unwrap();
    let lane = LaneId::new("p", "main");
    block_on(ledger.acquire(&lane, &owner::this_process(DateTime::UNIX_EPOCH), Duration::from_secs(9))).unwrap();
    let limit = |pages: i64| ledger.file.connection().query_row(&format!("pragma max_page_count = {pages}"), [], |r| r.get::<_, i64>(0)).unwrap();
    limit(limit(1) + 10);
    let e = block_on(ledger.create(&lane, planned(5000).into())).unwrap_err();
    assert_eq!((e.kind(), e.retry_policy()), (ErrorKind::Capacity, Retry::Never), "{e:?}");
    assert!(e.to_string().contains("ledger.db") && e.hint_text().unwrap().contains("free some space"), "{e:?}");
    assert_eq!(block_on(ledger.read(&lane)).unwrap().planned, None);
    assert_eq!(ledger.fsck().unwrap().problems, [""; 0]);
    limit(1 << 20);
    assert_eq!(block_on(ledger.create(&lane, planned(5000).into())).unwrap(), Created::Won, "there is room again");
}

#[test]
fn a_ledger_that_stays_busy_is_told_as_something_that_passes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = SqliteLedger::open(&path, Arc::new(FixedClock(DateTime::UNIX_EPOCH))).unwrap();
    ledger.file.connection().busy_timeout(Duration::from_millis(1)).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let acquire = || block_on(ledger.acquire(&LaneId::new("p", "main"), &owner::this_process(DateTime::UNIX_EPOCH), Duration::from_secs(9)));
    let e = acquire().unwrap_err();
    assert_eq!((e.kind(), e.retry_policy()), (ErrorKind::Unavailable, Retry::Backoff), "{e:?}");
    assert!(ledger.lanes(None).unwrap().is_empty(), "a writer keeps nobody from looking");
    other.execute_batch("rollback").unwrap();
    acquire().unwrap();
}
