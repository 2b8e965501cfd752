//! The suite that every [`crate::Storage`] must pass: run by this crate's tests against each of ours, and by crates that bring another one.
//!
//! Each function takes an empty storage and panics with what does not hold.

use bytes::Bytes;
use futures::StreamExt;
use sluis_core::{ErrorKind, FileVersion};

use crate::{Entry, IfExists, Published, StagedFile, StorageRef, read_all};

/// Runs everything that any writable storage promises. `fresh` gives an empty storage each time.
///
/// # Panics
/// Where the storage breaks a promise.
pub async fn all(mut fresh: impl FnMut() -> StorageRef) {
    staged_is_invisible_until_published(&fresh()).await;
    publishing_is_repeatable(&fresh()).await;
    a_foreign_file_at_the_target_is_a_conflict(&fresh()).await;
    replace_takes_the_place(&fresh()).await;
    empty_files(&fresh()).await;
    large_files(&fresh()).await;
    sweep_spares_what_is_kept_and_what_is_published(&fresh()).await;
    abandoned_writers_leave_nothing_after_a_sweep(&fresh()).await;
    reads_are_of_the_version_asked_for(&fresh()).await;
    ranges(&fresh()).await;
    listing(&fresh()).await;
    names_that_need_care(&fresh()).await;
    put_is_one_step_and_can_refuse(&fresh()).await;
    one_of_many_puts_wins(&fresh()).await;
    created_files_are_at_their_place(&fresh()).await;
    rename_and_delete_are_repeatable(&fresh()).await;
}

async fn paths(s: &StorageRef, prefix: &str) -> Vec<String> {
    let mut found: Vec<String> = s.list(prefix, None).map(|e| e.expect("list").path).collect().await;
    found.sort();
    found
}

/// What a reader sees that passes over hidden folders.
async fn visible(s: &StorageRef) -> Vec<String> {
    paths(s, "").await.into_iter().filter(|p| !p.starts_with("_sluis/")).collect()
}

async fn stage(s: &StorageRef, target: &str, scope: &str, name: &str, parts: &[&[u8]]) -> StagedFile {
    let mut w = s.stage(target, scope, name).await.expect("stage");
    for part in parts {
        w.write(Bytes::copy_from_slice(part)).await.expect("write");
    }
    let file = w.finish().await.expect("finish");
    assert_eq!(file.size, parts.iter().map(|p| p.len() as u64).sum::<u64>());
    // It is kept in a ledger meanwhile.
    let text = serde_json::to_string(&file).expect("to JSON");
    let back: StagedFile = serde_json::from_str(&text).expect("from JSON");
    assert_eq!(back, file);
    back
}

async fn text(s: &StorageRef, path: &str) -> String {
    String::from_utf8(read_all(s.as_ref(), path, None).await.expect("read").to_vec()).expect("text")
}

fn version(s: &StorageRef, e: &Entry) -> FileVersion {
    FileVersion { path: s.address(&e.path), size: e.size, modified: e.modified, etag: e.etag.clone() }
}

async fn staged_is_invisible_until_published(s: &StorageRef) {
    let file = stage(s, "out/day=1/a.csv", "p/main/1", "a", &[b"a,b\n", b"1,2\n"]).await;
    assert_eq!(visible(s).await, [""; 0], "what is staged must not be seen");
    assert!(s.head("out/day=1/a.csv").await.unwrap().is_none());
    assert_eq!(s.publish(&file, IfExists::Fail).await.unwrap(), Published::Now);
    assert_eq!(visible(s).await, ["out/day=1/a.csv"]);
    assert_eq!(text(s, "out/day=1/a.csv").await, "a,b\n1,2\n");
    s.sweep("p/main/1", &[]).await.unwrap();
    assert_eq!(paths(s, "").await, ["out/day=1/a.csv"], "nothing hidden may stay after the sweep");
}

async fn publishing_is_repeatable(s: &StorageRef) {
    let file = stage(s, "a", "p/main/1", "a", &[b"hello"]).await;
    for if_exists in [IfExists::Fail, IfExists::Fail, IfExists::Replace] {
        s.publish(&file, if_exists).await.unwrap();
    }
    assert_eq!(s.publish(&file, IfExists::Fail).await.unwrap(), Published::Before);
    assert_eq!(text(s, "a").await, "hello");
    // The published file was removed by somebody: that is not "published before".
    s.delete("a").await.unwrap();
    assert_eq!(s.publish(&file, IfExists::Fail).await.unwrap_err().kind(), ErrorKind::Conflict);
}

async fn a_foreign_file_at_the_target_is_a_conflict(s: &StorageRef) {
    s.put("a", Bytes::from_static(b"other"), IfExists::Fail).await.unwrap();
    let file = stage(s, "a", "p/main/1", "a", &[b"hello!"]).await;
    for _ in 0..2 {
        assert_eq!(s.publish(&file, IfExists::Fail).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
    assert_eq!(text(s, "a").await, "other");
    s.sweep("p/main", &[]).await.unwrap();
    assert_eq!(paths(s, "").await, ["a"]);
}

async fn replace_takes_the_place(s: &StorageRef) {
    s.put("d/a", Bytes::from_static(b"old"), IfExists::Fail).await.unwrap();
    let file = stage(s, "d/a", "p/main/2", "a", &[b"newer"]).await;
    assert_eq!(text(s, "d/a").await, "old");
    assert_eq!(s.publish(&file, IfExists::Replace).await.unwrap(), Published::Now);
    assert_eq!(s.publish(&file, IfExists::Replace).await.unwrap(), Published::Before);
    assert_eq!(text(s, "d/a").await, "newer");
}

async fn empty_files(s: &StorageRef) {
    let file = stage(s, "empty", "p/main/1", "e", &[]).await;
    assert_eq!(s.publish(&file, IfExists::Fail).await.unwrap(), Published::Now);
    assert_eq!(s.publish(&file, IfExists::Fail).await.unwrap(), Published::Before);
    let e = s.head("empty").await.unwrap().expect("it is there");
    assert_eq!(e.size, 0);
    assert_eq!(text(s, "empty").await, "");
    assert_eq!(read_all(s.as_ref(), "empty", Some(&version(s, &e))).await.unwrap().len(), 0);
    assert_eq!(s.read_range("empty", 0..0, None).await.unwrap().len(), 0);
    s.put("empty-put", Bytes::new(), IfExists::Fail).await.unwrap();
    s.create("empty-create").await.unwrap().finish().await.unwrap();
    s.sweep("p", &[]).await.unwrap();
    assert_eq!(paths(s, "").await, ["empty", "empty-create", "empty-put"]);
}

/// Bytes that differ at every place where parts or chunks could be mixed up.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

async fn large_files(s: &StorageRef) {
    let bytes = pattern(37 * 1024 * 1024 + 7);
    let pieces: Vec<&[u8]> = bytes.chunks(3 * 1024 * 1024 + 1).collect();
    let file = stage(s, "big", "p/main/1", "big", &pieces).await;
    assert_eq!(s.publish(&file, IfExists::Fail).await.unwrap(), Published::Now);
    assert_eq!(s.publish(&file, IfExists::Fail).await.unwrap(), Published::Before);
    let e = s.head("big").await.unwrap().expect("it is there");
    assert_eq!(e.size, bytes.len() as u64);
    assert!(read_all(s.as_ref(), "big", Some(&version(s, &e))).await.unwrap() == bytes, "read back");
    let mut w = s.create("created").await.unwrap();
    for piece in pieces {
        w.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    assert_eq!(w.finish().await.unwrap().size, bytes.len() as u64);
    assert!(read_all(s.as_ref(), "created", None).await.unwrap() == bytes, "read back");
    let range = 8 * 1024 * 1024 - 5..8 * 1024 * 1024 + 11;
    assert_eq!(s.read_range("created", range.start as u64..range.end as u64, None).await.unwrap(), bytes[range]);
    // A reader that stops early.
    let mut stream = s.read("created", None).await.unwrap();
    stream.next().await.expect("a chunk").unwrap();
}

async fn sweep_spares_what_is_kept_and_what_is_published(s: &StorageRef) {
    let kept = stage(s, "kept", "p/main/1", "kept", &[b"kept"]).await;
    let lost = stage(s, "lost", "p/main/1", "lost", &[b"lost"]).await;
    let old = stage(s, "old", "p/main/10", "old", &[b"old"]).await;
    let other_lane = stage(s, "other", "p/other/1", "other", &[b"other"]).await;
    let published = stage(s, "published", "p/main/1", "published", &[b"published"]).await;
    s.publish(&published, IfExists::Fail).await.unwrap();
    // `p/main/1` is not a prefix of `p/main/10`.
    s.sweep("p/main/1", std::slice::from_ref(&kept)).await.unwrap();
    assert_eq!(s.publish(&lost, IfExists::Fail).await.unwrap_err().kind(), ErrorKind::Conflict, "swept");
    for file in [&kept, &old, &other_lane] {
        assert_eq!(s.publish(file, IfExists::Fail).await.unwrap(), Published::Now, "{}", file.target);
    }
    for scope in ["p/main/", "p/other", "nothing/there"] {
        assert_eq!(s.sweep(scope, &[]).await.unwrap(), 0, "nothing left to abandon in {scope}");
    }
    assert_eq!(paths(s, "").await, ["kept", "old", "other", "published"]);
}

async fn abandoned_writers_leave_nothing_after_a_sweep(s: &StorageRef) {
    let mut w = s.stage("x", "p/main/3", "x").await.unwrap();
    w.write(Bytes::from(pattern(9 * 1024 * 1024))).await.unwrap();
    drop(w);
    drop(s.stage("y", "p/main/3", "y").await.unwrap());
    // A second attempt stages the same target under another name.
    let again = stage(s, "x", "p/main/3", "x2", &[b"again"]).await;
    s.sweep("p/main/3", std::slice::from_ref(&again)).await.unwrap();
    assert_eq!(s.publish(&again, IfExists::Fail).await.unwrap(), Published::Now);
    s.sweep("p/main/", &[]).await.unwrap();
    assert_eq!(paths(s, "").await, ["x"]);
    assert_eq!(text(s, "x").await, "again");
}

async fn reads_are_of_the_version_asked_for(s: &StorageRef) {
    s.put("a", Bytes::from_static(b"one"), IfExists::Fail).await.unwrap();
    let one = version(s, &s.head("a").await.unwrap().unwrap());
    assert_eq!(read_all(s.as_ref(), "a", Some(&one)).await.unwrap(), "one");
    assert_eq!(s.read_range("a", 1..2, Some(&one)).await.unwrap(), "n");
    // Of another length: a file system's clock may stand still for some milliseconds, and a folder has no etags.
    s.put("a", Bytes::from_static(b"three"), IfExists::Replace).await.unwrap();
    assert_eq!(read_all(s.as_ref(), "a", Some(&one)).await.unwrap_err().kind(), ErrorKind::SourceChanged);
    assert_eq!(s.read_range("a", 0..1, Some(&one)).await.unwrap_err().kind(), ErrorKind::SourceChanged);
    s.delete("a").await.unwrap();
    assert_eq!(read_all(s.as_ref(), "a", Some(&one)).await.unwrap_err().kind(), ErrorKind::SourceChanged);
    assert_eq!(s.read_range("a", 0..1, Some(&one)).await.unwrap_err().kind(), ErrorKind::SourceChanged);
    assert_eq!(read_all(s.as_ref(), "a", None).await.unwrap_err().kind(), ErrorKind::NotFound);
}

async fn ranges(s: &StorageRef) {
    s.put("r", Bytes::from_static(b"0123456789"), IfExists::Fail).await.unwrap();
    for (range, is) in [(0..10, "0123456789"), (3..5, "34"), (9..10, "9"), (4..4, "")] {
        assert_eq!(s.read_range("r", range, None).await.unwrap(), is);
    }
    assert!(s.read_range("r", 5..11, None).await.is_err(), "past the end");
}

async fn listing(s: &StorageRef) {
    let files = ["a", "b/1", "b/2", "b/c/3", "b.x", "ba/4", "z"];
    for path in files {
        s.put(path, Bytes::copy_from_slice(path.as_bytes()), IfExists::Fail).await.unwrap();
    }
    let mut expected: Vec<&str> = files.to_vec();
    expected.sort_unstable();
    assert_eq!(paths(s, "").await, expected);
    for prefix in ["b", "b/"] {
        assert_eq!(paths(s, prefix).await, ["b/1", "b/2", "b/c/3"]);
        let (entries, folders) = s.list_folder(prefix).await.unwrap();
        assert_eq!(entries.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), ["b/1", "b/2"]);
        assert_eq!(folders, ["c"]);
    }
    let (entries, folders) = s.list_folder("").await.unwrap();
    assert_eq!((entries.len(), folders), (3, vec!["b".to_owned(), "ba".to_owned()]));
    assert_eq!(paths(s, "nothing").await, [""; 0]);
    assert!(s.head("b").await.unwrap().is_none(), "a folder is no file");
    let listed: Vec<Entry> = s.list("", None).map(|e| e.unwrap()).collect().await;
    for e in &listed {
        let head = s.head(&e.path).await.unwrap().expect("it is there");
        assert_eq!((&head.path, head.size, &head.etag), (&e.path, e.size, &e.etag));
        assert_eq!(read_all(s.as_ref(), &e.path, Some(&version(s, e))).await.unwrap(), e.path, "a version from a listing can be read");
        assert!(e.modified.is_some());
    }
    if s.sorted() {
        assert!(listed.is_sorted_by(|a, b| a.path < b.path));
        let after: Vec<String> = s.list("", Some("b/1")).map(|e| e.unwrap().path).collect().await;
        assert_eq!(after, ["b/2", "b/c/3", "ba/4", "z"]);
    }
}

async fn names_that_need_care(s: &StorageRef) {
    let names = ["day=1/a b+c%20d.csv", "ünï/日本.json", "quote'\"&<x>.txt", "q?x=1#f.csv", "a:b;c,d@e!(f)~$.csv"];
    for name in names {
        let file = stage(s, name, "p/main/1", "n", &[name.as_bytes()]).await;
        assert_eq!(s.publish(&file, IfExists::Fail).await.unwrap(), Published::Now, "{name}");
        assert_eq!(s.publish(&file, IfExists::Fail).await.unwrap(), Published::Before, "{name}");
        assert_eq!(text(s, name).await, name);
        s.rename(name, &format!("moved/{name}")).await.unwrap();
    }
    s.sweep("p", &[]).await.unwrap();
    let mut expected: Vec<String> = names.iter().map(|n| format!("moved/{n}")).collect();
    expected.sort();
    assert_eq!(paths(s, "").await, expected);
    assert!(s.put("../out", Bytes::new(), IfExists::Replace).await.is_err(), "no way out of the root");
    assert!(s.put("a/../../out", Bytes::new(), IfExists::Replace).await.is_err(), "no way out of the root");
}

async fn put_is_one_step_and_can_refuse(s: &StorageRef) {
    s.put("m/v1.json", Bytes::from_static(b"{1}"), IfExists::Fail).await.unwrap();
    // The same again is what a retry after a lost answer does.
    s.put("m/v1.json", Bytes::from_static(b"{1}"), IfExists::Fail).await.unwrap();
    assert_eq!(s.put("m/v1.json", Bytes::from_static(b"{2}"), IfExists::Fail).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(text(s, "m/v1.json").await, "{1}");
    s.put("m/v1.json", Bytes::from_static(b"{3}"), IfExists::Replace).await.unwrap();
    assert_eq!(text(s, "m/v1.json").await, "{3}");
    assert_eq!(paths(s, "").await, ["m/v1.json"]);
}

async fn one_of_many_puts_wins(s: &StorageRef) {
    let all = (0..16).map(|i| async move { s.put("race", Bytes::from(format!("writer {i}")), IfExists::Fail).await });
    let done = futures::future::join_all(all).await;
    assert_eq!(done.iter().filter(|r| r.is_ok()).count(), 1);
    for e in done.into_iter().filter_map(|r| r.err()) {
        assert_eq!(e.kind(), ErrorKind::Conflict, "{e:?}");
    }
    assert!(text(s, "race").await.starts_with("writer "));
    assert_eq!(paths(s, "").await, ["race"]);
}

async fn created_files_are_at_their_place(s: &StorageRef) {
    let mut w = s.create("data/x/1.parquet").await.unwrap();
    w.write(Bytes::from_static(b"PAR")).await.unwrap();
    w.write(Bytes::from_static(b"1")).await.unwrap();
    let file = w.finish().await.unwrap();
    assert_eq!((file.target.as_str(), file.size), ("data/x/1.parquet", 4));
    assert_eq!(text(s, "data/x/1.parquet").await, "PAR1");
    assert_eq!(paths(s, "").await, ["data/x/1.parquet"]);
}

async fn rename_and_delete_are_repeatable(s: &StorageRef) {
    s.put("in/a", Bytes::from_static(b"a"), IfExists::Fail).await.unwrap();
    for _ in 0..2 {
        s.rename("in/a", "done/2024/a").await.unwrap();
        assert_eq!(paths(s, "").await, ["done/2024/a"]);
    }
    assert_eq!(s.rename("in/none", "done/none").await.unwrap_err().kind(), ErrorKind::NotFound);
    for _ in 0..2 {
        s.delete("done/2024/a").await.unwrap();
        assert!(s.head("done/2024/a").await.unwrap().is_none());
    }
}
