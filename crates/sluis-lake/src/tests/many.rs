//! Thousands of epochs: what a commit reads and writes stays small, and what nobody can reach any more goes.

use std::time::Instant;

use super::*;
use crate::manifest;

#[tokio::test]
async fn metadata_stay_small() {
    let w = World::new();
    let t = w.table(settings("t"));
    let mut slowest_half = Vec::new();
    for epoch in 1..=450 {
        let began = Instant::now();
        land(&t, epoch, vec![ids([epoch as i64])]).await;
        if epoch > 225 {
            slowest_half.push(began.elapsed());
        }
    }
    slowest_half.sort_unstable();
    println!("median epoch: {:?}, slowest: {:?}", slowest_half[slowest_half.len() / 2], slowest_half[slowest_half.len() - 1]);
    assert_eq!(w.ids("t").await, (1..=450).collect::<Vec<i64>>());
    let lake = w.lake();
    let version = lake.load(&TableName::parse("t").unwrap()).await.unwrap().unwrap();
    let manifests = manifest::current(&lake, &version).await.unwrap();
    assert!(manifests.len() < 64, "{} manifests", manifests.len());
    assert!(version.metadata.snapshots().len() <= 200);
    let named = lake.named_files(&TableName::parse("t").unwrap()).await.unwrap();
    let files = w.files();
    let left: Vec<&String> = files.iter().filter(|f| !named.contains(w.root().join(f).to_str().unwrap())).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(files.iter().filter(|f| f.ends_with(".metadata.json")).count() <= 21);
    // The key of an epoch whose snapshot is gone is still known.
    let staged = stage(&t, 451, vec![ids([451])]).await.unwrap();
    commit(&t, 451, &staged).await.unwrap();
    let seen = super::readers::read(&w, "t", None);
    assert_eq!((seen["rows"].as_array().unwrap().len(), seen["duckdb"].as_array().unwrap().len()), (451, 451));
    let summary = version.metadata.current_snapshot().unwrap().summary().additional_properties.clone();
    assert_eq!(summary["total-records"], "450");
}

#[tokio::test]
async fn replaced_data_go_with_the_snapshots_that_showed_them() {
    let w = World::new();
    let mut s = settings("t");
    s.mode = Mode::Replace;
    s.properties.insert("history.expire.min-snapshots-to-keep".into(), "5".into());
    let t = w.table(s);
    for epoch in 1..=40 {
        land(&t, epoch, vec![ids([epoch as i64])]).await;
    }
    assert_eq!(w.ids("t").await, [40]);
    assert!(w.data_files() <= 12, "{} data files", w.data_files());
    let lake = w.lake();
    let version = lake.load(&TableName::parse("t").unwrap()).await.unwrap().unwrap();
    // Each snapshot that is kept can still be read.
    for snapshot in version.metadata.snapshots() {
        for m in manifest::of_snapshot(&lake, &version.metadata, snapshot).await.unwrap() {
            for e in manifest::entries(&lake, &version.metadata, &m).await.unwrap().into_iter().filter(manifest::Entry::live) {
                assert!(Path::new(e.file.file_path()).exists(), "{} of snapshot {}", e.file.file_path(), snapshot.snapshot_id());
            }
        }
    }
}
