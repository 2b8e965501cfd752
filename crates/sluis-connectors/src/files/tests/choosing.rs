//! Which files are taken, and which not.

use serde_json::json;
use sluis_core::{ErrorKind, LaneShard, PartitionId, Position, Source};
use sluis_storage::memory::MemoryStorage;

use super::super::judge;
use super::*;

#[tokio::test]
async fn every_file_is_taken_once_whatever_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    write(base, "in/b.csv", "b", "2024-05-01T00:00:00Z");
    write(base, "in/a.csv", "a", "2024-05-01T00:00:00Z");
    write(base, "in/x/empty.csv", "", OLD);
    let mut lane = Lane::local(base, json!({ "url": "in", "metadata": ["file", "modified"] }));
    let d = lane.discover().await.unwrap();
    assert_eq!(names(&d), ["a.csv", "b.csv", "empty.csv"]);
    assert!(!d.more && d.notes.is_empty());
    assert_eq!(d.splits[1].from, Position::Number(1));
    assert_eq!(d.to.position(&PartitionId("files".into())), Position::Number(3));
    let full = base.join("in/a.csv").to_str().unwrap().to_owned();
    assert_eq!(d.splits[0].constants["_file"], full);
    assert_eq!(d.splits[0].constants["_modified"], "2024-05-01T00:00:00Z");
    assert_eq!(d, lane.discover().await.unwrap(), "it moves no state");
    assert_eq!(lane.epoch().await.len(), 3);
    assert!(lane.epoch().await.is_empty());
    // Late files: older than all, with an equal time, moved in with their old times.
    write(base, "in/0.csv", "0", "2001-01-01T00:00:00Z");
    write(base, "in/c.csv", "c", "2024-05-01T00:00:00Z");
    write(base, "in/x/y/d.csv", "d", OLD);
    assert_eq!(lane.run().await, ["0.csv", "c.csv", "d.csv"]);
    assert_eq!(lane.at.position(&PartitionId("files".into())), Position::Number(6));
}

#[tokio::test]
async fn captures_are_constants_and_wrong_ones_are_noted() {
    let storage = MemoryStorage::new("m://x");
    for name in ["s_20240131_0042.cdr", "in/s_20240201_7.cdr", "s_20241341_1.cdr", "other.cdr"] {
        storage.set(name, "x");
    }
    let lane = Lane::memory(&storage, json!({ "match": "s_{day:%Y%m%d}_{seq:int}.cdr" }));
    let d = lane.discover().await.unwrap();
    assert_eq!(names(&d), ["s_20240201_7.cdr", "s_20240131_0042.cdr"]);
    assert_eq!(d.splits[1].constants.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["day=2024-01-31", "seq=42"]);
    assert_eq!(d.notes, ["1 file passed over: a part of the name does not parse: m://x/s_20241341_1.cdr (`20241341` for day is no date)"]);
    let columns = lane.source.constant_columns();
    assert_eq!(columns.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>(), ["day", "seq"]);
}

#[tokio::test]
async fn hidden_and_temporary_files_are_passed_over_unless_asked_for() {
    let storage = MemoryStorage::new("m://x");
    for name in ["a.csv", "a.csv.part", ".a.csv", "_SUCCESS", "_tmp/b.csv", "_sluis/p/main/1/c.csv"] {
        storage.set(name, "x");
    }
    assert_eq!(Lane::memory(&storage, json!({})).run().await, ["a.csv"]);
    let all = Lane::memory(&storage, json!({ "hidden": true })).run().await;
    assert_eq!(all, [".a.csv", "_SUCCESS", "b.csv", "a.csv", "a.csv.part"], "never our own staged files");
}

#[tokio::test]
async fn a_new_version_goes_by_the_policy() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    for (policy, taken) in [("replace", true), ("append", true), ("ignore", false), ("fail", false)] {
        write(base, "in/a.csv", "one", OLD);
        let mut lane = Lane::local(base, json!({ "url": "in", "on_overwrite": policy }));
        assert_eq!(lane.run().await, ["a.csv"]);
        write(base, "in/a.csv", "two", OLD);
        assert!(lane.run().await.is_empty(), "same size and time: cannot be told apart");
        write(base, "in/a.csv", "other", "2024-01-02T00:00:00Z");
        match lane.discover().await {
            Ok(d) => {
                assert_eq!(d.splits.len(), usize::from(taken), "{policy}");
                assert!(d.splits.iter().all(|s| s.replaces == (policy == "replace")), "{policy}");
                assert_eq!(d.notes.len(), usize::from(policy == "ignore"), "{policy}: {:?}", d.notes);
                lane.history.record(&d.splits, true);
                assert!(lane.discover().await.unwrap().splits.is_empty(), "{policy}: once");
            }
            Err(e) => {
                assert_eq!((policy, e.kind()), ("fail", ErrorKind::Conflict));
                let text = format!("{e} {}", e.hint_text().unwrap());
                for part in ["in/a.csv", "3 bytes", "5 bytes", "epoch 1", "`replace`"] {
                    assert!(text.contains(part), "{text}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_version_that_never_landed_is_taken_again() {
    let storage = MemoryStorage::new("m://x");
    storage.set("a", "1");
    let mut lane = Lane::memory(&storage, json!({}));
    let planned = lane.discover().await.unwrap();
    lane.history.record(&planned.splits, false);
    assert_eq!(names(&lane.discover().await.unwrap()), ["a"], "the same version is back");
    storage.set("a", "22");
    let d = lane.discover().await.unwrap();
    assert!(d.splits.len() == 1 && !d.splits[0].replaces, "no row of it ever landed");
    assert_eq!(lane.run().await, ["a"]);
}

#[tokio::test]
async fn a_touched_file_is_not_a_new_version() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    write(base, "in/a.csv", "one", OLD);
    let mut lane = Lane::local(base, json!({ "url": "in" }));
    assert_eq!(lane.run().await, ["a.csv"]);
    touch(base, "in/a.csv", "2024-02-02T00:00:00Z");
    assert!(lane.run().await.is_empty(), "same content, new time");
    write(base, "in/a.csv", "two", "2024-02-03T00:00:00Z");
    assert_eq!(lane.discover().await.unwrap_err().kind(), ErrorKind::Conflict, "same size, other content");
}

#[tokio::test]
async fn an_object_put_again_with_the_same_content_is_known() {
    let storage = MemoryStorage::new("m://x");
    storage.set("a", "1");
    let mut lane = Lane::memory(&storage, json!({ "on_overwrite": "replace" }));
    assert_eq!(lane.run().await, ["a"]);
    assert!(lane.run().await.is_empty());
    storage.set("a", "2");
    assert_eq!(lane.run().await, ["a"], "another etag");
}

#[tokio::test]
async fn files_settle() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    write(base, "in/a.csv", "a", "2024-06-01T11:58:00Z");
    write(base, "in/b.csv", "b", "2024-06-01T11:59:30Z");
    write(base, "in/ahead.csv", "c", "2024-06-01T12:30:00Z");
    write(base, "in/far.csv", "d", "2034-06-01T12:30:00Z");
    let mut lane = Lane::local(base, json!({ "url": "in", "settle": "1m" }));
    let d = lane.discover().await.unwrap();
    assert_eq!(names(&d), ["a.csv", "far.csv"]);
    assert_eq!(d.notes.len(), 2, "{:?}", d.notes);
    assert_eq!(lane.epoch().await, ["a.csv", "far.csv"]);
    lane.clock.set("2024-06-01T11:00:00Z");
    assert!(lane.epoch().await.is_empty(), "the clock went backwards: they wait");
    lane.clock.set("2024-06-01T11:59:59Z");
    assert_eq!(lane.epoch().await, ["ahead.csv", "b.csv"], "seen unchanged for a minute");
    write(base, "in/c.csv", "b", "2024-06-01T11:59:30Z");
    lane.clock.set("2024-06-01T12:01:00Z");
    assert_eq!(lane.run().await, ["c.csv"]);
}

#[tokio::test]
async fn done_markers() {
    let storage = MemoryStorage::new("m://x");
    for name in ["a.csv", "a.csv.done", "b.csv", "d/c.csv"] {
        storage.set(name, "x");
    }
    let mut lane = Lane::memory(&storage, json!({ "done_marker": "{path}.done" }));
    let d = lane.discover().await.unwrap();
    assert_eq!(names(&d), ["a.csv"]);
    assert_eq!(d.notes, ["2 files waiting: the done marker is not there: m://x/b.csv (m://x/b.csv.done), m://x/d/c.csv (m://x/d/c.csv.done)"]);
    assert_eq!(lane.run().await, ["a.csv"]);
    storage.set("d/c.csv.done", "");
    assert_eq!(lane.run().await, ["c.csv"]);
    storage.set("d/_SUCCESS", "");
    assert_eq!(Lane::memory(&storage, json!({ "done_marker": "_SUCCESS", "match": "*.csv" })).run().await, ["c.csv"]);
}

#[tokio::test]
async fn manifests() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    for name in ["in/a.csv", "in/b.csv", "in/_c.csv", "in/unlisted.csv"] {
        write(base, name, "one\n", OLD);
    }
    let config = json!({ "url": "in", "manifest": "files.txt" });
    let mut lane = Lane::local(base, config.clone());
    let d = lane.discover().await.unwrap();
    assert!(d.splits.is_empty() && d.notes[0].contains("files.txt"), "{:?}", d.notes);
    let full = base.join("in/_c.csv");
    write(base, "in/files.txt", &format!("# today\nb.csv\n\n./a.csv\nmissing.csv\n{}\n/elsewhere/x\n", full.display()), OLD);
    let d = lane.discover().await.unwrap();
    assert_eq!(names(&d), ["_c.csv", "a.csv", "b.csv"], "a listed file is meant, also a hidden one");
    assert_eq!(d.notes.len(), 2, "{:?}", d.notes);
    assert_eq!(lane.run().await.len(), 3);
    // Sizes and checksums: what is not as listed waits.
    let md5 = "5bbf5a52328e7439ae6e719dfe712200";
    let list = json!([{ "path": "a.csv", "size": 4, "md5": md5 }, { "path": "b.csv", "size": 5 }, { "path": "unlisted.csv", "md5": "00" }]);
    write(base, "list.json", &list.to_string(), OLD);
    let mut lane = Lane::local(base, json!({ "url": "in", "manifest": base.join("list.json") }));
    let d = lane.discover().await.unwrap();
    assert_eq!(names(&d), ["a.csv"]);
    assert!(d.notes[0].starts_with("2 files waiting: not as the manifest lists it"), "{:?}", d.notes);
    assert_eq!(lane.run().await, ["a.csv"]);
}

#[tokio::test]
async fn start_new_passes_over_what_is_there_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    for name in ["in/a", "in/b", "in/c"] {
        write(base, name, "x", OLD);
    }
    write(base, "in/soon", "x", "2024-06-01T12:00:01Z");
    let mut lane = Lane::local(base, json!({ "url": "in", "start": "new" }));
    lane.limits.files = 2;
    let d = lane.discover().await.unwrap();
    assert_eq!(names(&d), ["a", "b"]);
    assert!(d.more && d.splits.iter().all(|s| s.file.as_ref().is_some_and(judge::passed_over)));
    lane.epoch().await;
    lane.clock.set("2024-06-01T12:00:10Z");
    assert_eq!(lane.epoch().await, ["c"]);
    assert_eq!(lane.epoch().await, ["start"]);
    write(base, "in/late-but-old", "x", OLD);
    let d = lane.discover().await.unwrap();
    assert_eq!(names(&d), ["late-but-old", "soon"]);
    assert!(!d.splits.iter().any(|s| s.file.as_ref().is_some_and(judge::passed_over)));
    assert_eq!(lane.run().await.len(), 2);
    // An empty first run is one too: its only split has no file.
    let empty = tempfile::tempdir().unwrap();
    let mut lane = Lane::local(empty.path(), json!({ "url": ".", "start": "new" }));
    assert_eq!(lane.epoch().await, ["start"]);
    write(empty.path(), "a", "x", OLD);
    assert_eq!(lane.run().await, ["a"]);
}

#[tokio::test]
async fn start_from_a_date_goes_by_the_captured_date_else_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    for (name, modified) in [("in/x_20231231.csv", NOW), ("in/x_20240101.csv", "2020-01-01T00:00:00Z"), ("in/y.csv", "2020-01-01T00:00:00Z")] {
        write(base, name, "x", modified);
    }
    let mut lane = Lane::local(base, json!({ "url": "in", "start": "2024-01-01", "match": "x_{day:%Y%m%d}.csv" }));
    assert_eq!(lane.run().await, ["x_20240101.csv"]);
    let mut lane = Lane::local(base, json!({ "url": "in", "start": "2024-01-01T00:00:00Z" }));
    assert_eq!(lane.run().await, ["x_20231231.csv"]);
}

#[tokio::test]
async fn shards_share_the_files_out() {
    let storage = MemoryStorage::new("m://x");
    for i in 0..50 {
        storage.set(&format!("f{i}"), "x");
    }
    let lane = Lane::memory(&storage, json!({}));
    let mut all = Vec::new();
    for index in 0..3 {
        let d = lane.source.discover(&lane.at, &lane.limits, LaneShard { index, of: 3 }, &lane.history).await.unwrap();
        assert!(!d.splits.is_empty());
        all.extend(names(&d));
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 50);
}

#[tokio::test]
async fn urls_that_overlap_give_each_file_once() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    for name in ["in/a.csv", "in/x/b.csv", "in/c.txt"] {
        write(base, name, "x", OLD);
    }
    let mut lane = Lane::local(base, json!({ "url": ["in/*.csv", "in/x", "in", "in/c.txt"] }));
    assert_eq!(names(&lane.discover().await.unwrap()), ["a.csv", "b.csv", "c.txt"]);
    lane.limits.files = 1;
    assert_eq!(lane.run().await, ["a.csv", "b.csv", "c.txt"]);
}

#[tokio::test]
async fn a_backfill_takes_its_selection_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    for name in ["in/x_20231231.csv", "in/x_20240101.csv", "in/x_20240131.csv", "in/y_20240115.csv"] {
        write(base, name, "x", OLD);
    }
    let config = json!({ "url": "in", "start": "new", "match": "{kind}_{day:%Y%m%d}.csv" });
    let mut lane = Lane::local(base, config.clone());
    assert_eq!(lane.run().await.len(), 5, "four files are passed over, then the first run ends");
    write(base, "in/x_20240116.csv", "late", OLD);
    let clock = lane.clock.clone();
    let backfill = |glob: Option<&str>, from: Option<&str>, to: Option<&str>| {
        let at = |text: Option<&str>| text.map(|t| time(&format!("{t}T00:00:00Z")));
        let selection = sluis_core::Selection { from: at(from), to: at(to), glob: glob.map(str::to_owned) };
        let context = BuildContext { selection: Some(selection), ..context(base, clock.clone()) };
        FilesSource::build(&context, &config)
    };
    lane.source = backfill(Some("x_*"), Some("2024-01-01"), Some("2024-02-01")).unwrap();
    lane.at = Checkpoint::default();
    let d = lane.discover().await.unwrap();
    assert_eq!(names(&d), ["x_20240101.csv", "x_20240116.csv", "x_20240131.csv"]);
    assert!(!d.splits.iter().any(|s| s.replaces || s.file.as_ref().is_some_and(judge::passed_over)), "they are read");
    assert_eq!(lane.run().await.len(), 3);
    assert!(lane.run().await.is_empty(), "each once");
    lane.source = backfill(None, None, Some("2024-02-01")).unwrap();
    assert_eq!(lane.run().await, ["x_20231231.csv", "y_20240115.csv"], "what no run and no backfill has read");
    assert_eq!(backfill(Some("{"), None, None).err().unwrap().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_backfill_does_not_look_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    write(base, "in/a", "x", OLD);
    let config = json!({ "url": "in", "start": "2024-05-01" });
    let mut lane = Lane::local(base, config.clone());
    assert!(lane.run().await.is_empty());
    let context = BuildContext { selection: Some(Default::default()), ..context(base, lane.clock.clone()) };
    lane.source = FilesSource::build(&context, &config).unwrap();
    assert_eq!(lane.run().await, ["a"]);
}
