//! Partition transforms beside PyIceberg's, open files, rolling.

use arrow_array::{BooleanArray, Date32Array, Decimal128Array, Int32Array, TimestampMicrosecondArray};
use sluis_core::ErrorKind;

use super::readers::script;
use super::*;

const DAY: i64 = 86_400_000_000;

#[tokio::test]
async fn transforms_are_those_of_pyiceberg_also_before_1970_and_for_nulls() {
    let times = vec![Some(-1), Some(0), Some(-DAY - 1), Some(1_700_000_000_000_000), None, Some(-40 * 366 * DAY)];
    let rows = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![1, -1, 10, -10, 15, -1_000_000_007]))),
        ("n", Arc::new(Int32Array::from(vec![Some(-5), Some(5), None, Some(0), Some(-10), Some(7)]))),
        ("d", Arc::new(Date32Array::from(vec![Some(-1), Some(0), None, Some(19_000), Some(-366), Some(59)]))),
        ("t", Arc::new(TimestampMicrosecondArray::from(times.clone()))),
        ("z", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
        ("s", Arc::new(StringArray::from(vec![Some("żółw"), Some(""), None, Some("iceberg"), Some("a=b/c"), Some("ice")]))),
        (
            "c",
            Arc::new(Decimal128Array::from(vec![Some(-1065), Some(1065), None, Some(0), Some(1), Some(99)]).with_precision_and_scale(9, 2).unwrap()),
        ),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true), None, None]))),
    ]);
    let cases: &[&[&str]] = &[
        &["truncate(10, n)", "year(d)", "hour(t)"],
        &["truncate(10, id)", "month(d)", "day(t)"],
        &["bucket(16, id)", "day(d)", "month(z)", "year(t)"],
        &["bucket(7, s)", "truncate(3, s)"],
        &["bucket(5, d)", "bucket(6, t)", "bucket(8, c)"],
        &["truncate(50, c)", "hour(z)", "b"],
        &["s", "d", "t", "z", "c", "n"],
    ];
    for (i, terms) in cases.iter().enumerate() {
        let w = World::new();
        let t = w.table(by(settings("t"), terms));
        land(&t, 1, vec![rows.slice(0, 3), rows.slice(3, 3)]).await;
        assert_eq!(w.ids("t").await, [-1_000_000_007, -10, -1, 1, 10, 15], "{terms:?}");
        let said = script("check_partitions.py", &[w.db().to_str().unwrap(), "lake", "t"]);
        assert_eq!(said.trim(), "6 rows", "case {i}: {terms:?}");
    }
}

#[tokio::test]
async fn open_files_are_bounded_and_files_roll_at_their_size() {
    let w = World::new();
    let clock = Arc::new(FixedClock(chrono::DateTime::UNIX_EPOCH));
    let many = by(settings("many"), &["bucket(1000, id)"]);
    let t = Table::new(w.lake(), PipelineName::new("p"), SinkName::new("table"), many, clock).with_open_files(8);
    let staged = land(&Arc::new(t), 1, vec![ids(0..500)]).await;
    assert!(staged.len() > 300);
    assert_eq!(w.ids("many").await, (0..500).collect::<Vec<_>>());

    let mut s = settings("big");
    s.target_bytes = 200_000;
    let t = w.table(s);
    let staged = land(&t, 1, (0..20).map(|n| ids(n * 10_000..(n + 1) * 10_000)).collect()).await;
    assert!(staged.len() > 3, "{} files", staged.len());
    assert!(staged.iter().all(|c| c.bytes < 800_000));
    assert_eq!(w.ids("big").await.len(), 200_000);
}

#[tokio::test]
async fn partitions_that_cannot_be_are_named() {
    let w = World::new();
    for (terms, says) in [
        (vec!["nothing"], "no column `nothing`"),
        (vec!["day(id)"], "`day(id)` cannot be made of bigint"),
        (vec!["hour(text)"], "cannot be made of string"),
        (vec!["id", "id"], "partition_by"),
    ] {
        let e = w.table(by(settings("t"), &terms)).prepare_for(ids([]).schema_ref()).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Config);
        assert!(e.message().contains(says) && e.hint_text().is_some(), "{terms:?}: {e:?}");
    }
    w.table(by(settings("t"), &["bucket(4, id)"])).prepare_for(ids([]).schema_ref()).await.unwrap();
    let e = w.table(by(settings("t"), &["bucket(5, id)"])).prepare_for(ids([]).schema_ref()).await.unwrap_err();
    assert!(e.message().contains("[bucket(4, id)]") && e.message().contains("[bucket(5, id)]"), "{e:?}");
    land(&w.table(settings("t")), 1, vec![ids([1, 2])]).await;
    assert_eq!(w.ids("t").await, [1, 2]);
}

#[tokio::test]
async fn a_partition_column_may_widen() {
    let w = World::new();
    let mut s = by(settings("t"), &["n", "truncate(10, n)"]);
    s.mode = Mode::Replace;
    let t = w.table(s);
    let rows = |ids: Vec<i64>, n: ArrayRef| batch(vec![("id", Arc::new(Int64Array::from(ids)) as ArrayRef), ("n", n)]);
    land(&t, 1, vec![rows(vec![1, 2, 3], Arc::new(Int32Array::from(vec![Some(7), Some(8), None])))]).await;
    land(&t, 2, vec![rows(vec![4], Arc::new(Int64Array::from(vec![7])))]).await;
    assert_eq!(w.ids("t").await, [2, 3, 4], "7 is 7, in both types");
    assert_eq!(script("check_partitions.py", &[w.db().to_str().unwrap(), "lake", "t"]).trim(), "3 rows");
    // Manifests from before and after are merged.
    let t = w.table(settings("t"));
    for epoch in 3..=40 {
        land(&t, epoch, vec![rows(vec![epoch as i64 + 10], Arc::new(Int64Array::from(vec![epoch as i64])))]).await;
    }
    assert_eq!(w.ids("t").await.len(), 41);
    assert_eq!(script("check_partitions.py", &[w.db().to_str().unwrap(), "lake", "t"]).trim(), "41 rows");
}
