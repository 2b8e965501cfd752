//! Limits, backlogs, bounded memory, and folders that are not there.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use serde_json::json;
use sluis_core::{Error, ErrorKind, Source};
use sluis_storage::{Entry, IfExists, Published, StagedFile, StagedWriter, Storage};

use super::super::discover::CARRIED;
use super::*;

/// So many small files, and a count of those that were listed.
#[derive(Debug)]
struct Wide {
    files: u64,
    sorted: bool,
    listed: Arc<AtomicU64>,
}

impl Wide {
    fn entry(n: u64) -> Entry {
        Entry { path: format!("f{n:08}"), size: 10, modified: Some(time(OLD)), etag: Some("e".into()) }
    }
    fn no<T>() -> Result<T> {
        Err(Error::internal("not for this test"))
    }
}

#[async_trait]
impl Storage for Wide {
    fn root(&self) -> &str {
        "wide://x"
    }
    fn list(&self, _: &str, start_after: Option<&str>) -> BoxStream<'static, Result<Entry>> {
        let (files, sorted, listed) = (self.files, self.sorted, self.listed.clone());
        let from = start_after.filter(|_| sorted).map_or(0, |after| after[1..].parse::<u64>().unwrap() + 1);
        stream::iter((from..files).map(move |n| {
            listed.fetch_add(1, Ordering::Relaxed);
            // Unsorted: from the last to the first.
            Ok(Wide::entry(if sorted { n } else { files - 1 - n }))
        }))
        .boxed()
    }
    fn sorted(&self) -> bool {
        self.sorted
    }
    async fn list_folder(&self, _: &str) -> Result<(Vec<Entry>, Vec<String>)> {
        Wide::no()
    }
    async fn head(&self, path: &str) -> Result<Option<Entry>> {
        Ok(Some(Wide::entry(path[1..].parse().unwrap())))
    }
    async fn read(&self, _: &str, _: Option<&FileVersion>) -> Result<BoxStream<'static, Result<Bytes>>> {
        Wide::no()
    }
    async fn read_range(&self, _: &str, _: Range<u64>, _: Option<&FileVersion>) -> Result<Bytes> {
        Wide::no()
    }
    async fn stage(&self, _: &str, _: &str, _: &str) -> Result<Box<dyn StagedWriter>> {
        Wide::no()
    }
    async fn publish(&self, _: &StagedFile, _: IfExists) -> Result<Published> {
        Wide::no()
    }
    async fn sweep(&self, _: &str, _: &[StagedFile]) -> Result<u64> {
        Wide::no()
    }
    async fn put(&self, _: &str, _: Bytes, _: IfExists) -> Result<()> {
        Wide::no()
    }
    async fn create(&self, _: &str) -> Result<Box<dyn StagedWriter>> {
        Wide::no()
    }
    async fn rename(&self, _: &str, _: &str) -> Result<()> {
        Wide::no()
    }
    async fn delete(&self, _: &str) -> Result<()> {
        Wide::no()
    }
}

fn wide(files: u64, sorted: bool) -> (Lane, Arc<AtomicU64>) {
    let listed = Arc::new(AtomicU64::new(0));
    let settings = Settings::parse(&json!({ "url": "x/" })).unwrap();
    let storage = Arc::new(Wide { files, sorted, listed: listed.clone() });
    let place = Place { url: "wide".into(), storage, named: String::new(), pattern: settings.urls[0].pattern.clone() };
    let clock = TestClock::at(NOW);
    (Lane::around(FilesSource::new(settings, vec![place], None, None, clock.clone()), clock), listed)
}

#[tokio::test]
async fn memory_does_not_grow_with_the_listing() {
    let (mut lane, listed) = wide(300_000, false);
    lane.limits.files = 1000;
    let d = lane.discover().await.unwrap();
    assert_eq!((d.splits.len(), d.more), (1000, true));
    assert_eq!(names(&d)[0], "f00000000", "the first by path, though they were listed last");
    assert_eq!(listed.load(Ordering::Relaxed), 300_000);
    let held = lane.source.progress().values().map(|p| p.queue.len()).sum::<usize>();
    assert!(held <= CARRIED, "{held}");
    let most = lane.history.lookups.lock().unwrap().iter().copied().max();
    assert!(most.is_some_and(|n| n <= 4096), "{most:?}");
}

#[tokio::test]
async fn a_backlog_is_not_listed_anew_for_every_epoch() {
    for sorted in [true, false] {
        let (mut lane, listed) = wide(20_000, sorted);
        lane.limits.files = 100;
        let all = lane.run().await;
        assert_eq!(all.len(), 20_000, "sorted {sorted}");
        assert!(all.is_sorted());
        let listed = listed.load(Ordering::Relaxed);
        // Two passes, and for sorted listings the chunks that were begun.
        assert!(listed <= 20_000 * 2 + 200 * 4096, "sorted {sorted}: {listed}");
    }
}

#[tokio::test]
async fn what_was_found_but_not_recorded_is_found_again() {
    for sorted in [true, false] {
        let (mut lane, _) = wide(1000, sorted);
        lane.limits.files = 10;
        for _ in 0..3 {
            let first = lane.discover().await.unwrap();
            assert_eq!(names(&first), names(&lane.discover().await.unwrap()), "sorted {sorted}");
            assert!(first.more);
            lane.epoch().await;
        }
        assert_eq!(lane.run().await.len(), 970);
    }
}

#[tokio::test]
async fn files_that_come_behind_a_backlog_are_not_lost() {
    let storage = MemoryStorage::new("m://x");
    for i in 10..40 {
        storage.set(&format!("f{i}"), "x");
    }
    let mut lane = Lane::memory(&storage, json!({}));
    lane.limits.files = 7;
    let mut all = lane.epoch().await;
    storage.set("a", "behind what was taken");
    storage.set("f99", "after it");
    all.extend(lane.run().await);
    assert_eq!(all.len(), 32);
    assert!(all.contains(&"a".to_owned()));
    assert!(!lane.discover().await.unwrap().more);
}

#[tokio::test]
async fn limits_on_bytes_let_at_least_one_file_pass() {
    let storage = MemoryStorage::new("m://x");
    for name in ["a", "b", "c"] {
        storage.set(name, "0123456789");
    }
    let mut lane = Lane::memory(&storage, json!({}));
    lane.limits.bytes = 25;
    let d = lane.discover().await.unwrap();
    assert_eq!((names(&d), d.more), (vec!["a".to_owned(), "b".to_owned()], true));
    lane.limits.bytes = 1;
    assert_eq!(lane.run().await, ["a", "b", "c"]);
    lane.limits.bytes = 30;
    assert!(!lane.discover().await.unwrap().more);
}

#[tokio::test]
async fn files_that_vanish_from_a_backlog_do_not_end_it() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    for i in 0..9 {
        write(base, &format!("in/f{i}"), "x", OLD);
    }
    let mut lane = Lane::local(base, json!({ "url": "in" }));
    lane.limits.files = 1;
    assert_eq!(lane.epoch().await, ["f0"]);
    for i in 1..8 {
        std::fs::remove_file(base.join(format!("in/f{i}"))).unwrap();
    }
    assert_eq!(lane.run().await, ["f8"]);
}

#[tokio::test]
async fn patterns_of_fixed_depth_look_only_into_folders_that_match() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    for name in ["in/20240101/a.csv", "in/20240102/b.csv", "in/20240102/deeper/c.csv", "in/other/d.csv", "in/e.csv"] {
        write(base, name, "x", OLD);
    }
    let closed = base.join("in/other");
    let mut lane = Lane::local(base, json!({ "url": "in", "match": "{day:%Y%m%d}/*.csv" }));
    lane.limits.files = 1;
    assert_eq!(lane.run().await, ["a.csv", "b.csv"]);
    assert!(closed.exists());
    assert_eq!(Lane::local(base, json!({ "url": "in", "match": "*.csv", "recursive": false })).run().await, ["e.csv"]);
    assert_eq!(Lane::local(base, json!({ "url": "in/20240102/*" })).run().await, ["b.csv"]);
    assert_eq!(Lane::local(base, json!({ "url": "in/2024*/" })).run().await, ["a.csv", "b.csv", "c.csv"]);
    assert_eq!(Lane::local(base, json!({ "url": "in/{day:%Y%m%d}/", "match": "b*" })).run().await, ["b.csv"]);
}

#[tokio::test]
async fn a_missing_folder_is_an_error_and_an_empty_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    for url in ["none", "none/", "none/*.csv", "none.csv"] {
        let lane = Lane::local(base, json!({ "url": url }));
        let e = lane.discover().await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NotFound, "{url}");
        assert!(format!("{e}").contains("none") && e.hint_text().is_some_and(|h| h.contains("url")), "{url}: {e}");
        assert_eq!(lane.source.probe().await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    std::fs::create_dir(base.join("empty")).unwrap();
    let mut lane = Lane::local(base, json!({ "url": "empty" }));
    assert!(lane.run().await.is_empty());
    assert!(lane.source.probe().await.unwrap()[0].ends_with("empty"));
}
