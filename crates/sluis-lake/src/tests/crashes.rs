//! Deaths, lost acknowledgements and races between any two steps.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use sluis_core::{Error, ErrorKind, crash};
use sluis_storage::memory::{Fault, MemoryStorage};

use super::*;
use crate::catalog::Catalog;

/// Files below the lake that no metadata of the table name.
async fn leftovers(w: &World, table: &str) -> Vec<String> {
    let named = w.lake().named_files(&TableName::parse(table).unwrap()).await.unwrap();
    let root = w.root();
    w.files().into_iter().filter(|f| !named.contains(root.join(f).to_str().unwrap())).collect()
}

async fn dies_at<T>(point: &'static str, work: impl Future<Output = Result<T>>) {
    let old = crash::set_hook(Some(Box::new(move |name| name == point)));
    let done = work.await;
    crash::set_hook(old);
    assert_eq!(done.err().map(|e| e.kind()), Some(ErrorKind::Crash), "{point} was passed");
}

#[tokio::test]
async fn a_death_at_any_point_is_mended_by_the_next_process() {
    for mode in [Mode::Append, Mode::Replace, Mode::Upsert { key: vec!["id".into()] }] {
        for point in ["sink.before_publish", "sink.mid_publish", "sink.after_publish"] {
            let w = World::new();
            let with = || Settings { mode: mode.clone(), ..settings("t") };
            land(&w.table(with()), 1, vec![ids([1, 2])]).await;
            let t = w.table(with());
            stage_from(&t, 2, "lost", vec![(None, ids([9]))]).await.unwrap();
            let staged = stage_from(&t, 2, "won", vec![(None, ids([2, 3]))]).await.unwrap();
            dies_at(point, commit(&t, 2, &staged)).await;
            let t = w.table(with());
            assert_eq!(commit(&t, 2, &staged).await.unwrap().already, point == "sink.after_publish");
            let expected = match mode {
                Mode::Append => vec![1, 2, 2, 3],
                Mode::Replace => vec![2, 3],
                Mode::Upsert { .. } => vec![1, 2, 3],
            };
            assert_eq!(w.ids("t").await, expected, "{mode:?} {point}");
            for point in ["sweep.before", "sweep.after"] {
                dies_at(point, t.sweep(&key("p", 2), &staged)).await;
            }
            w.table(with()).sweep(&key("p", 2), &staged).await.unwrap();
            assert_eq!(leftovers(&w, "t").await, [""; 0], "{mode:?} {point}");
            assert_eq!(w.ids("t").await, expected);
            land(&w.table(with()), 3, vec![ids([4])]).await;
        }
    }
}

#[tokio::test]
async fn metadata_of_a_commit_that_died_go_though_the_next_process_sweeps_the_epoch_before_first() {
    let w = World::new();
    let first = land(&w.table(settings("t")), 1, vec![ids([1])]).await;
    let t = w.table(settings("t"));
    let staged = stage(&t, 2, vec![ids([2])]).await.unwrap();
    dies_at("sink.mid_publish", commit(&t, 2, &staged)).await;
    assert_eq!(leftovers(&w, "t").await.len(), 3 + 1, "metadata, list, manifest and the data");
    let t = w.table(settings("t"));
    t.sweep(&key("p", 1), &first).await.unwrap();
    assert_eq!(leftovers(&w, "t").await.len(), 3 + 1, "it may be alive");
    commit(&t, 2, &staged).await.unwrap();
    t.sweep(&key("p", 2), &staged).await.unwrap();
    assert_eq!(leftovers(&w, "t").await, [""; 0]);
}

#[tokio::test]
async fn creations_and_widenings_that_died_leave_nothing_and_other_tables_stay() {
    let w = World::new();
    // A table that had the name before; and a creation that died, whole and torn.
    land(&w.table(settings("t")), 1, vec![ids([1])]).await;
    let before: Vec<String> = w.files();
    w.lake().drop_table(&TableName::parse("t").unwrap()).await.unwrap();
    let t = w.table(settings("t"));
    let staged = stage(&t, 2, vec![ids([2])]).await.unwrap();
    let made = w.files().into_iter().find(|f| f.ends_with(".metadata.json") && !before.contains(f)).expect("a creation");
    let made = w.root().join(made);
    let bytes = std::fs::read(&made).unwrap();
    let metadata = |name: &str| made.with_file_name(name);
    let stray = |number: u64| metadata(&format!("{number:05}-{}.metadata.json", crate::ids::Owner::preparing(&t).id(0)));
    let strangers = metadata(&format!("00000-{}.metadata.json", uuid::Uuid::new_v4()));
    let (dead, torn, alive) = (stray(0), stray(1), stray(2));
    for (path, bytes) in [(&dead, &bytes[..]), (&torn, &bytes[..10]), (&alive, &bytes[..]), (&strangers, &bytes[..])] {
        std::fs::write(path, bytes).unwrap();
    }
    commit(&t, 2, &staged).await.unwrap();
    t.sweep(&key("p", 2), &staged).await.unwrap();
    assert_eq!([dead, torn, alive, strangers].map(|p| p.exists()), [false, false, true, true]);
    let files = w.files();
    let gone: Vec<&String> = before.iter().filter(|f| !files.contains(f)).collect();
    // The empty version that the table before began with is nobody's loss.
    assert!(gone.iter().all(|f| f.contains("/metadata/00000-")), "{gone:?}");
    assert_eq!(w.ids("t").await, [2]);
}

#[tokio::test]
async fn a_table_that_was_dropped_keeps_its_files_whatever_its_successor_sweeps() {
    let w = World::new();
    for mode in [Mode::Append, Mode::Replace] {
        let with = || Settings { mode: mode.clone(), ..settings("t") };
        for epoch in 1..=3 {
            land(&w.table(with()), epoch, vec![ids([epoch as i64])]).await;
        }
        let named = w.lake().named_files(&TableName::parse("t").unwrap()).await.unwrap();
        assert!(w.lake().drop_table(&TableName::parse("t").unwrap()).await.unwrap());
        for epoch in [4, 5, 70] {
            land(&w.table(with()), epoch, vec![ids([epoch as i64])]).await;
        }
        let lost: Vec<&String> = named.iter().filter(|f| !Path::new(f).exists() && !f.contains("/00000-")).collect();
        assert!(lost.is_empty(), "{mode:?}: {lost:?}");
        w.lake().drop_table(&TableName::parse("t").unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_worker_wrote_for_an_epoch_that_was_swept_goes_with_a_later_one() {
    for mode in [Mode::Append, Mode::Replace, Mode::Upsert { key: vec!["id".into()] }] {
        let with = || Settings { mode: mode.clone(), ..settings("t") };
        let w = World::new();
        let sleeper = w.table(with());
        // In the epochs' folder; and right before another folder begins.
        for (slept_in, lands) in [(1, [1, 2]), (2, [3, 5]), (63, [63, 64]), (64, [65, 66])] {
            let t = w.table(with());
            for epoch in lands {
                land(&t, epoch, vec![ids([epoch as i64])]).await;
            }
            let seen = w.ids("t").await;
            stage_from(&sleeper, slept_in, "late", vec![(None, ids([99]))]).await.unwrap();
            assert_eq!(leftovers(&w, "t").await.len(), 1, "{mode:?} {slept_in}");
            let t = w.table(with());
            for epoch in [lands[1] + 1, lands[1] + 2] {
                let staged = stage(&t, epoch, vec![]).await.unwrap();
                assert!(staged.is_empty());
                t.sweep(&key("p", epoch), &staged).await.unwrap();
            }
            assert_eq!(leftovers(&w, "t").await, [""; 0], "{mode:?} {slept_in}");
            assert_eq!(w.ids("t").await, seen);
        }
    }
}

#[tokio::test]
async fn an_expiry_that_was_cut_off_is_finished_by_the_next_process() {
    for mode in [Mode::Append, Mode::Replace, Mode::Upsert { key: vec!["id".into()] }] {
        let with = || {
            let mut s = Settings { mode: mode.clone(), ..settings("t") };
            s.properties.insert("history.expire.min-snapshots-to-keep".into(), "2".into());
            s
        };
        let w = World::new();
        let t = w.table(with());
        for epoch in 1..=4 {
            land(&t, epoch, vec![ids([epoch as i64, 0])]).await;
        }
        let staged = stage(&t, 5, vec![ids([5, 0])]).await.unwrap();
        dies_at("sink.after_publish", commit(&t, 5, &staged)).await;
        let seen = w.ids("t").await;
        assert!(leftovers(&w, "t").await.len() >= 2, "{mode:?}: lists of old snapshots, and what they alone name");
        // A lane of another pipeline does not wait for that process to come back.
        let other = w.table_of("other", with());
        for epoch in 1..=30 {
            land(&other, epoch, vec![]).await;
        }
        land(&w.table_of("other", with()), 31, vec![ids([100])]).await;
        let t = w.table(with());
        assert!(commit(&t, 5, &staged).await.unwrap().already);
        t.sweep(&key("p", 5), &staged).await.unwrap();
        land(&t, 6, vec![]).await;
        assert_eq!(leftovers(&w, "t").await, [""; 0], "{mode:?}");
        assert!(seen.len() > 1 && w.ids("t").await.contains(&100));
    }
}

/// Two epochs landed; epoch 3 staged and committed, which lets the first snapshot expire, while the `n`-th operation of the storage goes wrong;
/// then by the next process.
async fn with_fault(n: u64, fault: fn() -> Fault) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let storage = MemoryStorage::new("memory://lake");
    let lake = || Lake::with(Arc::new(storage.clone()), Arc::new(SqliteCatalog::new(dir.path().join("c.db"), "lake")));
    let table = || {
        let clock = Arc::new(FixedClock(chrono::DateTime::UNIX_EPOCH));
        let mut settings = upsert(settings("t"), &["id"]);
        settings.properties.insert("history.expire.min-snapshots-to-keep".into(), "1".into());
        Arc::new(Table::new(lake(), PipelineName::new("p"), SinkName::new("table"), settings, clock))
    };
    land(&table(), 1, vec![ids([1, 2, 3])]).await;
    land(&table(), 2, vec![ids([1])]).await;
    let fired = Arc::new(AtomicU64::new(0));
    let (count, told) = (AtomicU64::new(0), fired.clone());
    let t = table();
    let staged = stage(&t, 3, vec![ids([3, 4]), ids([4])]).await.unwrap();
    storage.set_faults(Some(Box::new(move |_| {
        if count.fetch_add(1, Ordering::SeqCst) == n {
            told.fetch_add(1, Ordering::SeqCst);
            return fault();
        }
        Fault::None
    })));
    let first = commit(&t, 3, &staged).await;
    storage.set_faults(None);
    let t = table();
    let again = commit(&t, 3, &staged).await.unwrap();
    assert!(first.is_err() || again.already, "what was said to be done is done");
    t.sweep(&key("p", 3), &staged).await.unwrap();
    land(&t, 4, vec![ids([5])]).await;
    let source = lake().resolver().resolve(&["t".into()]).await.unwrap().unwrap();
    let batches: Vec<RecordBatch> = source.scan(None).await.unwrap().try_collect().await.unwrap();
    let mut seen: Vec<i64> = batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4, 5], "operation {n}");
    let named = lake().named_files(&TableName::parse("t").unwrap()).await.unwrap();
    let left: BTreeSet<String> = storage.paths().into_iter().map(|p| format!("memory://lake/{p}")).filter(|p| !named.contains(p)).collect();
    assert!(left.is_empty(), "operation {n}: {left:?}");
    fired.load(Ordering::SeqCst) == 1
}

#[tokio::test]
async fn a_fault_of_any_operation_costs_and_doubles_nothing() {
    let faults: [fn() -> Fault; 3] =
        [|| Fault::Before(Error::unavailable("no")), || Fault::After(Error::unavailable("lost")), || Fault::Torn(Error::unavailable("torn"))];
    for fault in faults {
        let mut n = 0;
        while with_fault(n, fault).await {
            n += 1;
        }
        assert!(n > 5, "a commit has some operations: {n}");
    }
}

/// A catalog that lets others go first, once.
#[derive(Debug)]
struct Slow {
    inner: SqliteCatalog,
    first: Mutex<Option<(Arc<()>, tokio::sync::oneshot::Sender<()>, tokio::sync::oneshot::Receiver<()>)>>,
}

#[async_trait]
impl Catalog for Slow {
    async fn load(&self, table: &TableName) -> Result<Option<String>> {
        self.inner.load(table).await
    }
    async fn swap(&self, table: &TableName, old: &str, new: &str) -> Result<bool> {
        let first = self.first.lock().unwrap().take();
        if let Some((_, about_to, go_on)) = first {
            about_to.send(()).unwrap();
            go_on.await.unwrap();
        }
        self.inner.swap(table, old, new).await
    }
    async fn create(&self, table: &TableName, location: &str) -> Result<bool> {
        self.inner.create(table, location).await
    }
    async fn list(&self) -> Result<Vec<TableName>> {
        self.inner.list().await
    }
    async fn remove(&self, table: &TableName) -> Result<bool> {
        self.inner.remove(table).await
    }
}

/// A worker that is paused right before its swap while another one does something.
async fn paused(w: &World, staged: &[Committable], meanwhile: impl Future<Output = ()>) -> Result<Receipt> {
    let (about_to, wait) = tokio::sync::oneshot::channel();
    let (go, go_on) = tokio::sync::oneshot::channel();
    let catalog = Slow { inner: SqliteCatalog::new(w.db(), "lake"), first: Mutex::new(Some((Arc::new(()), about_to, go_on))) };
    let storage: StorageRef = Arc::new(LocalStorage::new(w.root()).unwrap());
    let clock = Arc::new(FixedClock(chrono::DateTime::UNIX_EPOCH));
    let t = Arc::new(Table::new(Lake::with(storage, Arc::new(catalog)), PipelineName::new("p"), SinkName::new("table"), settings("t"), clock));
    let other = async {
        wait.await.unwrap();
        meanwhile.await;
        go.send(()).unwrap();
    };
    let (receipt, ()) = futures::join!(commit(&t, 2, staged), other);
    receipt
}

#[tokio::test]
async fn a_zombie_that_wakes_up_before_its_swap_commits_nothing_twice() {
    let w = World::new();
    let t = w.table(settings("t"));
    land(&t, 1, vec![ids([1])]).await;
    let staged = stage(&t, 2, vec![ids([2])]).await.unwrap();
    let meanwhile = async {
        commit(&t, 2, &staged).await.unwrap();
        land(&t, 3, vec![ids([3])]).await;
    };
    let receipt = paused(&w, &staged, meanwhile).await.unwrap();
    assert!(receipt.already);
    assert_eq!(w.ids("t").await, [1, 2, 3]);
    assert_eq!(leftovers(&w, "t").await, [""; 0], "what the zombie wrote is removed by itself");
}

#[tokio::test]
async fn another_pipeline_between_load_and_swap_is_kept() {
    let w = World::new();
    let t = w.table(settings("t"));
    land(&t, 1, vec![ids([1])]).await;
    let staged = stage(&t, 2, vec![ids([2])]).await.unwrap();
    let other = w.table_of("other", settings("t"));
    let receipt = paused(&w, &staged, async {
        land(&other, 1, vec![ids([100])]).await;
    });
    assert!(!receipt.await.unwrap().already);
    assert_eq!(w.ids("t").await, [1, 2, 100]);
    assert_eq!(leftovers(&w, "t").await, [""; 0]);
}
