//! The ledger on SQLite against the suite of its trait, on the disk and in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sluis_core::{Clock, LedgerStore};
use sluis_engine::SqliteLedger;
use sluis_testkit::conformance::ledger as suite;

#[tokio::test]
async fn conformance_in_memory() {
    suite::all(&|clock: Arc<dyn Clock>| Arc::new(SqliteLedger::in_memory(clock).unwrap()) as Arc<dyn LedgerStore>).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conformance_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let count = AtomicU64::new(0);
    suite::all(&|clock: Arc<dyn Clock>| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        Arc::new(SqliteLedger::open(&folder.path().join(format!("{n}/ledger.db")), clock).unwrap()) as Arc<dyn LedgerStore>
    })
    .await;
}

/// Without a runtime calls stay where they are.
#[test]
fn conformance_without_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let count = AtomicU64::new(0);
    futures::executor::block_on(suite::all(&|clock: Arc<dyn Clock>| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        Arc::new(SqliteLedger::open(&folder.path().join(format!("{n}/ledger.db")), clock).unwrap()) as Arc<dyn LedgerStore>
    }));
}
