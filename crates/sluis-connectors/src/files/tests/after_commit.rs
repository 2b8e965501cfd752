//! Archiving and deleting: after the commit only, only what landed, repeatable, also across crashes.

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;

use serde_json::json;
use sluis_core::{ErrorKind, Source, crash};

use super::*;

fn files(base: &Path) -> Vec<String> {
    fn walk(base: &Path, folder: &Path, out: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(base, &path, out) } else { out.push(path.strip_prefix(base).unwrap().to_str().unwrap().to_owned()) }
        }
    }
    let mut out = Vec::new();
    walk(base, base, &mut out);
    out.sort();
    out
}

#[tokio::test]
async fn deleted_after_the_commit_and_only_what_landed() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    for name in ["in/a", "in/b", "in/c"] {
        write(base, name, "x", OLD);
    }
    let lane = Lane::local(base, json!({ "url": "in", "after_commit": "delete" }));
    let d = lane.discover().await.unwrap();
    assert_eq!(files(base).len(), 3);
    lane.history.record(&d.splits, true);
    write(base, "in/b", "a new version", NOW);
    for _ in 0..2 {
        lane.source.acknowledge(&d.splits).await.unwrap();
        assert_eq!(files(base), ["in/b"]);
    }
}

#[tokio::test]
async fn a_damaged_file_stays_whatever_is_due() {
    for afterwards in [json!("delete"), json!({ "archive": "done" })] {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        write(base, "in/bad", "cut of", OLD);
        let lane = Lane::local(base, json!({ "url": "in", "after_commit": afterwards }));
        let d = lane.discover().await.unwrap();
        lane.history.record_corrupt(&d.splits);
        // The engine acknowledges what was read; later discoveries find what is due.
        for _ in 0..2 {
            lane.source.acknowledge(&[]).await.unwrap();
            assert!(lane.discover().await.unwrap().splits.is_empty());
            lane.source.acknowledge(&[]).await.unwrap();
            assert_eq!(files(base), ["in/bad"]);
        }
        // Sent again, and whole: `on_overwrite` is `fail`, and nothing landed that it would overwrite.
        write(base, "in/bad", "cut off no more", NOW);
        let d = lane.discover().await.unwrap();
        assert_eq!(names(&d), ["bad"]);
        assert!(!d.splits[0].replaces);
        lane.history.record(&d.splits, true);
        lane.source.acknowledge(&d.splits).await.unwrap();
        assert!(!files(base).contains(&"in/bad".to_owned()));
    }
}

#[tokio::test]
async fn archived_under_their_paths_and_never_over_another() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    write(base, "in/x/a.csv", "one", OLD);
    write(base, "in/b.csv", "two", OLD);
    let config = json!({ "url": "in", "after_commit": { "archive": "in/done" }, "on_overwrite": "append" });
    let mut lane = Lane::local(base, config);
    for _ in 0..2 {
        let d = lane.discover().await.unwrap();
        lane.epoch().await;
        lane.source.acknowledge(&d.splits).await.unwrap();
        assert_eq!(files(base), ["in/done/b.csv", "in/done/x/a.csv"], "what is in the archive is not taken");
    }
    write(base, "in/b.csv", "another", "2024-03-03T03:03:03Z");
    let d = lane.discover().await.unwrap();
    assert_eq!(names(&d), ["b.csv"]);
    lane.epoch().await;
    lane.source.acknowledge(&d.splits).await.unwrap();
    lane.source.acknowledge(&d.splits).await.unwrap();
    assert_eq!(files(base), ["in/done/b.20240303T030303000.csv", "in/done/b.csv", "in/done/x/a.csv"]);
    assert_eq!(fs::read_to_string(base.join("in/done/b.csv")).unwrap(), "two");
}

#[tokio::test]
async fn archived_into_another_storage_by_copy() {
    let dir = tempfile::tempdir().unwrap();
    let memory = MemoryStorage::new("m://archive");
    let base = dir.path();
    write(base, "in/x/a.csv", "one", OLD);
    let clock = TestClock::at(NOW);
    let settings = Settings::parse(&json!({ "url": "in", "after_commit": { "archive": "elsewhere" } })).unwrap();
    let place = Place::open(&settings.urls[0], None, &context(base, clock.clone())).unwrap();
    let archive = super::super::acknowledge::Archive { storage: Arc::new(memory.clone()), shared: vec![None] };
    let mut lane = Lane::around(FilesSource::new(settings, vec![place], None, Some(archive), clock.clone()), clock);
    let d = lane.discover().await.unwrap();
    lane.epoch().await;
    lane.source.acknowledge(&d.splits).await.unwrap();
    assert!(files(base).is_empty());
    assert_eq!(memory.paths(), ["x/a.csv"]);
    assert_eq!(memory.bytes("x/a.csv").unwrap(), "one");
}

#[tokio::test]
async fn what_a_crash_left_undone_is_done_later() {
    for point in ["acknowledge.before", "acknowledge.mid", "acknowledge.after"] {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        for name in ["in/a", "in/b", "in/c"] {
            write(base, name, "x", OLD);
        }
        let config = json!({ "url": "in", "after_commit": "delete" });
        let mut lane = Lane::local(base, config.clone());
        let d = lane.discover().await.unwrap();
        lane.epoch().await;
        let passed = Rc::new(RefCell::new(Vec::new()));
        let seen = passed.clone();
        crash::set_hook(Some(Box::new(move |name| {
            seen.borrow_mut().push(name);
            name == point
        })));
        let died = lane.source.acknowledge(&d.splits).await;
        crash::set_hook(None);
        assert_eq!(died.unwrap_err().kind(), ErrorKind::Crash, "{point}");
        assert_eq!(passed.borrow().last(), Some(&point));
        // The next process: it sees them listed, landed and still there.
        lane.source = FilesSource::build(&context(base, lane.clock.clone()), &config).unwrap();
        assert!(lane.discover().await.unwrap().splits.is_empty(), "{point}");
        lane.source.acknowledge(&[]).await.unwrap();
        assert!(files(base).is_empty(), "{point}");
    }
}

#[tokio::test]
async fn delays_are_kept_across_processes() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    write(base, "in/old", "x", OLD);
    write(base, "in/young", "x", "2024-05-31T12:00:00Z");
    let config = json!({ "url": "in", "after_commit": { "delete": true, "delay": "7d" } });
    let mut lane = Lane::local(base, config.clone());
    let d = lane.discover().await.unwrap();
    lane.epoch().await;
    lane.source.acknowledge(&d.splits).await.unwrap();
    assert_eq!(files(base), ["in/young"]);
    lane.source = FilesSource::build(&context(base, lane.clock.clone()), &config).unwrap();
    for (now, left) in [("2024-06-07T11:59:59Z", 1), ("2024-06-07T12:00:00Z", 0)] {
        lane.clock.set(now);
        assert!(lane.discover().await.unwrap().splits.is_empty());
        assert_eq!(files(base).len(), 1, "discovering moves nothing");
        lane.source.acknowledge(&[]).await.unwrap();
        assert_eq!(files(base).len(), left, "{now}");
    }
}

#[tokio::test]
async fn a_single_file_that_was_deleted_after_its_commit_is_no_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    write(base, "in/a.csv", "x", OLD);
    let mut lane = Lane::local(base, json!({ "url": "in/a.csv", "after_commit": "delete" }));
    let d = lane.discover().await.unwrap();
    lane.epoch().await;
    lane.source.acknowledge(&d.splits).await.unwrap();
    assert!(lane.run().await.is_empty());
}

#[tokio::test]
async fn files_that_start_new_passed_over_stay() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    write(base, "in/a", "x", OLD);
    let mut lane = Lane::local(base, json!({ "url": "in", "start": "new", "after_commit": "delete" }));
    let d = lane.discover().await.unwrap();
    lane.epoch().await;
    lane.source.acknowledge(&d.splits).await.unwrap();
    lane.run().await;
    lane.source.acknowledge(&[]).await.unwrap();
    assert_eq!(files(base), ["in/a"]);
}
