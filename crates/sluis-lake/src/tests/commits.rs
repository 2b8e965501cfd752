//! Commits: seen at once, once, whatever happens between.

use sluis_core::ErrorKind;

use super::*;
use crate::catalog::Catalog as _;

#[tokio::test]
async fn epochs_append_and_what_is_staged_is_not_seen() {
    let w = World::new();
    let t = w.table(settings("ns.t"));
    t.prepare_for(ids([]).schema_ref()).await.unwrap();
    let staged = stage(&t, 1, vec![ids([1, 2]), ids([3])]).await.unwrap();
    assert_eq!(staged.iter().map(|c| c.rows).sum::<u64>(), 3);
    assert!(w.ids("ns.t").await.is_empty());
    assert!(!commit(&t, 1, &staged).await.unwrap().already);
    assert_eq!(w.ids("ns.t").await, [1, 2, 3]);
    land(&t, 2, vec![ids([4])]).await;
    assert_eq!(w.ids("ns.t").await, [1, 2, 3, 4]);
    assert_eq!(w.lake().tables().await.unwrap(), [TableName::parse("ns.t").unwrap()]);
    assert!(w.lake().resolver().resolve(&["ns".into(), "T".into()]).await.unwrap().is_some(), "SQL gives names in lower case");
    assert!(w.lake().resolver().resolve(&["t".into()]).await.unwrap().is_none());
}

#[tokio::test]
async fn a_repeated_commit_finds_its_key_also_behind_others() {
    let w = World::new();
    let t = w.table(settings("t"));
    let one = land(&t, 1, vec![ids([1])]).await;
    let receipt = commit(&t, 1, &one).await.unwrap();
    assert!(receipt.already && receipt.detail["snapshot"].is_i64());
    let two = land(&t, 2, vec![ids([2])]).await;
    land(&w.table_of("other", settings("t")), 1, vec![ids([100])]).await;
    // A zombie of an older epoch, in a process that remembers nothing.
    let zombie = w.table(settings("t"));
    assert!(commit(&zombie, 1, &one).await.unwrap().already);
    assert!(commit(&zombie, 2, &two).await.unwrap().already);
    assert_eq!(w.ids("t").await, [1, 2, 100]);
}

#[tokio::test]
async fn an_epoch_of_another_ledger_is_not_taken_for_done() {
    let w = World::new();
    let t = w.table(settings("t"));
    land(&t, 1, vec![ids([1])]).await;
    land(&t, 2, vec![ids([2])]).await;
    let foreign = stage_from(&w.table(settings("t")), 1, "other", vec![(None, ids([7]))]).await.unwrap();
    let e = commit(&w.table(settings("t")), 1, &foreign).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);
    assert!(e.hint_text().unwrap().contains("ledger"), "{e:?}");
    assert_eq!(w.ids("t").await, [1, 2]);
}

#[tokio::test]
async fn an_empty_epoch_changes_nothing() {
    let w = World::new();
    let mut s = settings("t");
    s.mode = Mode::Replace;
    let t = w.table(s);
    land(&t, 1, vec![ids([1])]).await;
    let before = w.files();
    land(&t, 2, vec![ids([])]).await;
    assert_eq!(w.files(), before);
    assert_eq!(w.ids("t").await, [1]);
}

#[tokio::test]
async fn replace_takes_the_place_of_the_whole_table_or_of_the_partitions_written() {
    let w = World::new();
    let mut s = settings("whole");
    s.mode = Mode::Replace;
    let t = w.table(s);
    land(&t, 1, vec![ids([1, 2])]).await;
    land(&t, 2, vec![ids([3])]).await;
    assert_eq!(w.ids("whole").await, [3]);

    let mut s = by(settings("parts"), &["truncate(10, id)"]);
    s.mode = Mode::Replace;
    let t = w.table(s);
    land(&t, 1, vec![ids([1, 2, 11, 12, 21])]).await;
    let staged = land(&t, 2, vec![ids([5, 22, 23])]).await;
    assert_eq!(w.ids("parts").await, [5, 11, 12, 22, 23]);
    assert!(commit(&t, 2, &staged).await.unwrap().already);
    assert_eq!(w.ids("parts").await, [5, 11, 12, 22, 23]);
}

#[tokio::test]
async fn rows_of_replaced_source_files_leave_in_the_same_step() {
    let w = World::new();
    let mut s = by(settings("t"), &["truncate(10, id)"]);
    s.replaces = true;
    let t = w.table(s.clone());
    let first = stage_from(&t, 1, "a", vec![(Some("in/a"), ids([1, 11])), (Some("in/a"), ids([2])), (Some("in/b"), ids([3]))]).await.unwrap();
    assert_eq!(first.len(), 3, "files are of one source file and one partition");
    commit(&t, 1, &first).await.unwrap();
    let t = w.table(s);
    let second = stage_from(&t, 2, "b", vec![(Some("in/a"), ids([4]))]).await.unwrap();
    let replaced = ["in/a".to_owned()];
    let staged = StagedEpoch { committables: &second, replaced: &replaced };
    let receipt = t.commit(&key("p", 2), staged.clone()).await.unwrap();
    assert_eq!(receipt.detail["removed"]["rows"], 3);
    assert_eq!(w.ids("t").await, [3, 4]);
    assert!(t.commit(&key("p", 2), staged).await.unwrap().already);
    // A version without rows: only the old ones leave.
    let staged = StagedEpoch { committables: &[], replaced: &replaced };
    assert!(!t.commit(&key("p", 3), staged.clone()).await.unwrap().already);
    assert!(t.commit(&key("p", 3), staged).await.unwrap().already);
    assert_eq!(w.ids("t").await, [3]);
}

#[tokio::test]
async fn two_pipelines_in_one_table_both_succeed() {
    let w = World::new();
    w.table(settings("t")).prepare_for(ids([]).schema_ref()).await.unwrap();
    let mut running = Vec::new();
    for n in 0..4_i64 {
        let t = w.table_of(&format!("p{n}"), settings("t"));
        running.push(tokio::spawn(async move {
            for epoch in 1..=10 {
                land(&t, epoch, vec![ids([n * 100 + epoch as i64])]).await;
            }
        }));
    }
    for r in running {
        r.await.unwrap();
    }
    let all: Vec<i64> = (0..4).flat_map(|n| (1..=10).map(move |e| n * 100 + e)).collect();
    assert_eq!(w.ids("t").await, all);
    // Nothing that lost a race is left: as many lists as snapshots, and every try's files belong to a snapshot.
    let lists = w.files().iter().filter(|f| f.contains("/snap-")).count();
    assert_eq!(lists, 40);
}

#[tokio::test]
async fn a_table_that_was_dropped_or_made_anew_is_a_conflict() {
    let w = World::new();
    let t = w.table(settings("t"));
    let staged = stage(&t, 1, vec![ids([1])]).await.unwrap();
    let name = TableName::parse("t").unwrap();
    assert!(w.lake().drop_table(&name).await.unwrap());
    let e = commit(&t, 1, &staged).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);
    assert!(e.message().contains("gone") && e.hint_text().is_some());
    w.table(settings("t")).prepare_for(ids([]).schema_ref()).await.unwrap();
    let e = commit(&t, 1, &staged).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);
    assert!(e.message().contains("made anew"), "{e:?}");
}

#[tokio::test]
async fn damaged_metadata_are_named() {
    let w = World::new();
    land(&w.table(settings("t")), 1, vec![ids([1])]).await;
    let location = SqliteCatalog::new(w.db(), "lake").load(&TableName::parse("t").unwrap()).await.unwrap().unwrap();
    std::fs::write(&location, b"{ not json").unwrap();
    let e = w.table(settings("t")).prepare_for(ids([]).schema_ref()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::CorruptInput);
    assert!(e.to_string().contains(&location));
    std::fs::remove_file(&location).unwrap();
    assert_eq!(w.table(settings("t")).prepare_for(ids([]).schema_ref()).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn probing_leaves_nothing() {
    let w = World::new();
    assert!(w.table(settings("t")).probe().await.unwrap()[1].contains("will be created"));
    assert!(w.files().is_empty(), "{:?}", w.files());
    land(&w.table(settings("t")), 1, vec![ids([1])]).await;
    assert!(w.table(settings("t")).probe().await.unwrap()[1].contains("2 columns"));
}
