//! The local storage: the conformance suite, and what only folders of a disk can do.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use futures::TryStreamExt;
use tempfile::TempDir;

use super::durable::{Exclusive, rename_new, rename_new_by};
use super::*;
use crate::{StorageRef, conformance, read_all};

fn fresh(dirs: &mut Vec<TempDir>) -> StorageRef {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    dirs.push(dir);
    Arc::new(LocalStorage::new(root).unwrap())
}

fn at(dir: &Path) -> LocalStorage {
    LocalStorage::new(dir).unwrap()
}

fn version(s: &LocalStorage, path: &str) -> FileVersion {
    let meta = fs::metadata(s.root.join(path)).unwrap();
    FileVersion { path: s.address(path), size: meta.len(), modified: modified(&meta), etag: None }
}

async fn stage(s: &LocalStorage, target: &str, bytes: &'static [u8]) -> StagedFile {
    let mut w = s.stage(target, "p/main/1", "n").await.unwrap();
    w.write(Bytes::from_static(bytes)).await.unwrap();
    w.finish().await.unwrap()
}

#[tokio::test]
async fn a_file_that_tells_no_size_is_read_to_its_end() {
    let text = read_all(&at(Path::new("/proc/self")), "status", None).await.unwrap();
    assert!(String::from_utf8_lossy(&text).contains("Threads:"), "{text:?}");
}

#[tokio::test]
async fn conforms() {
    let mut dirs = Vec::new();
    conformance::all(|| fresh(&mut dirs)).await;
    for dir in &dirs {
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["root"], "nothing outside of the root");
    }
}

#[test]
fn conforms_without_tokio() {
    let mut dirs = Vec::new();
    futures::executor::block_on(conformance::all(|| fresh(&mut dirs)));
}

#[tokio::test]
async fn sweep_leaves_no_empty_folders_and_nothing_else_goes() {
    let dir = tempfile::tempdir().unwrap();
    let s = at(dir.path());
    fs::write(dir.path().join("readme.txt"), "mine").unwrap();
    let file = stage(&s, "a", b"a").await;
    assert!(dir.path().join("_sluis/p/main/1/n.staged").exists());
    s.publish(&file, IfExists::Fail).await.unwrap();
    assert_eq!(s.sweep("p/main/", &[]).await.unwrap(), 0);
    let left: BTreeSet<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["a", "readme.txt"].map(Into::into).into());
}

#[tokio::test]
async fn every_state_a_crash_leaves_is_finished_by_the_next_publish() {
    let dir = tempfile::tempdir().unwrap();
    let s = at(dir.path());
    // Died between link and unlink: both names, one file.
    let file = stage(&s, "linked", b"x").await;
    fs::hard_link(dir.path().join("_sluis/p/main/1/n.staged"), dir.path().join("linked")).unwrap();
    assert_eq!(s.publish(&file, IfExists::Fail).await.unwrap(), Published::Before);
    assert!(!dir.path().join("_sluis/p/main/1/n.staged").exists());
    // Another attempt published the very same bytes.
    let file = stage(&s, "copied", b"same").await;
    fs::write(dir.path().join("copied"), "same").unwrap();
    assert_eq!(s.publish(&file, IfExists::Fail).await.unwrap(), Published::Before);
    // Torn: the staged file lost bytes.
    let file = stage(&s, "torn", b"whole").await;
    fs::write(dir.path().join("_sluis/p/main/1/n.staged"), "who").unwrap();
    assert_eq!(s.publish(&file, IfExists::Fail).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(!dir.path().join("torn").exists());
}

#[test]
fn a_new_name_never_overwrites_whichever_way_it_is_given() {
    for how in [Exclusive::Rename, Exclusive::Link, Exclusive::Look] {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        assert_eq!(rename_new_by(how, &from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{how:?}");
        assert_eq!(fs::read_to_string(&to).unwrap(), "old");
        fs::remove_file(&to).unwrap();
        rename_new_by(how, &from, &to).unwrap();
        assert!(!from.exists() && to.exists());
        assert_eq!(rename_new(&from, &to).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let s = at(dir.path());
    let full = dir.path().join("big");
    fs::write(&full, vec![1; 12 << 20]).unwrap();
    let expect = version(&s, "big");
    let mut stream = s.read("big", Some(&expect)).await.unwrap();
    stream.try_next().await.unwrap().unwrap();
    // Same length, written in place: only the time tells.
    use std::os::unix::fs::FileExt;
    File::options().write(true).open(&full).unwrap().write_all_at(b"2", 11 << 20).unwrap();
    let later = expect.modified.unwrap() + chrono::TimeDelta::nanoseconds(1000);
    File::options().write(true).open(&full).unwrap().set_modified(later.into()).unwrap();
    let e = stream.try_for_each(|_| async { Ok(()) }).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::SourceChanged, "{e:?}");
    // A microsecond is enough to be another version, and cutting it, and growing it.
    assert_eq!(s.read("big", Some(&expect)).await.err().unwrap().kind(), ErrorKind::SourceChanged);
    let expect = version(&s, "big");
    File::options().append(true).open(&full).unwrap().set_len(5).unwrap();
    assert_eq!(s.read_range("big", 0..10, Some(&expect)).await.unwrap_err().kind(), ErrorKind::SourceChanged);
}

#[tokio::test]
async fn a_file_replaced_while_it_is_read_gives_the_version_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let s = at(dir.path());
    fs::write(dir.path().join("big"), vec![1; 12 << 20]).unwrap();
    let expect = version(&s, "big");
    let stream = s.read("big", Some(&expect)).await.unwrap();
    s.put("big", Bytes::from_static(b"new"), IfExists::Replace).await.unwrap();
    let all: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert_eq!(all.iter().map(Bytes::len).sum::<usize>(), 12 << 20);
    assert!(all.iter().all(|b| b.iter().all(|x| *x == 1)));
}

#[tokio::test]
async fn links_are_followed_but_not_in_circles() {
    let dir = tempfile::tempdir().unwrap();
    let s = at(dir.path());
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    fs::write(dir.path().join("a/file"), "1").unwrap();
    symlink(dir.path().join("a/file"), dir.path().join("a/b/link")).unwrap();
    symlink(dir.path(), dir.path().join("a/b/round")).unwrap();
    symlink("self", dir.path().join("self")).unwrap();
    symlink("nowhere", dir.path().join("dead")).unwrap();
    symlink(dir.path().join("a/b"), dir.path().join("c")).unwrap();
    let mut found: Vec<_> = s.list("", None).map_ok(|e| (e.path, e.size)).try_collect().await.unwrap();
    found.sort();
    let expected = [("a/b/link", 1), ("a/file", 1), ("c/link", 1)];
    assert_eq!(found, expected.map(|(p, n)| (p.to_owned(), n)));
}

#[tokio::test]
async fn a_root_that_is_not_there_is_said_and_a_folder_below_it_is_just_empty() {
    let dir = tempfile::tempdir().unwrap();
    let missing = at(&dir.path().join("cdrz"));
    let e = missing.list("", None).try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!((e.kind(), e.message().contains("cdrz does not exist")), (ErrorKind::NotFound, true));
    assert_eq!(missing.list_folder("").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(at(dir.path()).list("later", None).try_collect::<Vec<_>>().await.unwrap().is_empty());
    // A name that is no text.
    use std::os::unix::ffi::OsStrExt;
    fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"\xff.csv")), "").unwrap();
    let e = at(dir.path()).list("", None).try_collect::<Vec<_>>().await.unwrap_err();
    assert!(e.message().contains("not valid UTF-8") && e.hint_text().is_some(), "{e:?}");
}

#[tokio::test]
async fn failures_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    // Below a regular file.
    let s = at(&dir.path().join("file"));
    let e = s.put("a", Bytes::from_static(b"x"), IfExists::Fail).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Config, "{e:?}");
    assert!(e.hint_text().unwrap().contains("folder"), "{e:?}");
    assert!(s.head("a").await.unwrap().is_none());
    assert!(s.stage("a", "p/main/1", "a").await.unwrap().finish().await.is_err());
    // A place where nobody may write, not even root.
    if Path::new("/sys/kernel").exists() {
        let e = at(Path::new("/sys/kernel")).put("a", Bytes::from_static(b"x"), IfExists::Fail).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Permission, "{e:?}");
        assert!(e.hint_text().is_some(), "{e:?}");
    }
    // A disk without room.
    let mut w = at(Path::new("/dev")).create("full").await.unwrap();
    w.write(Bytes::from_static(b"x")).await.unwrap();
    let e = w.finish().await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Capacity, "{e:?}");
    assert!(e.hint_text().is_some());
    // A folder is not a file.
    assert!(at(dir.path().parent().unwrap()).read(dir.path().file_name().unwrap().to_str().unwrap(), None).await.is_err());
    assert_eq!(LocalStorage::new("relative").unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn temporary_files_of_dead_processes_go_and_those_of_living_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let s = at(dir.path());
    let puts = dir.path().join("_sluis/.put");
    fs::create_dir_all(&puts).unwrap();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim();
    let (dead, alive, foreign) = (format!("{host},4194999,0.tmp"), format!("{host},{},7.tmp", std::process::id()), "elsewhere,1,0.tmp".to_owned());
    for name in [&dead, &alive, &foreign] {
        fs::write(puts.join(name), "x").unwrap();
    }
    s.sweep("p/main/", &[]).await.unwrap();
    let left: BTreeSet<_> = fs::read_dir(&puts).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(left, [alive, foreign].into());
    // A put beside them leaves them alone.
    s.put("a", Bytes::from_static(b"a"), IfExists::Fail).await.unwrap();
    assert_eq!(fs::read_dir(&puts).unwrap().count(), 2);
    assert_eq!(read_all(&s, "a", None).await.unwrap(), "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn sweeping_one_lane_does_not_disturb_another_that_is_staging() {
    let dir = tempfile::tempdir().unwrap();
    let s = Arc::new(at(dir.path()));
    let staging = (0..50_u32).map(|i| {
        let s = s.clone();
        tokio::spawn(async move {
            let scope = format!("p/lane{}/{i}", i % 5);
            let mut w = s.stage(&format!("out/{i}"), &scope, "n").await.unwrap();
            w.write(Bytes::from(i.to_string())).await.unwrap();
            let file = w.finish().await.unwrap();
            s.publish(&file, IfExists::Fail).await.unwrap();
            s.sweep(&scope, &[]).await.unwrap();
            s.put(&format!("meta/{i}"), Bytes::new(), IfExists::Fail).await.unwrap();
        })
    });
    futures::future::try_join_all(staging.collect::<Vec<_>>()).await.unwrap();
    let files: Vec<_> = s.list("", None).try_collect().await.unwrap();
    assert_eq!(files.len(), 100);
    assert!(!dir.path().join("_sluis").exists());
}
