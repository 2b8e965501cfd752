//! Columns that get another type: what readers see before, at and after the commit; who may; lanes that meet; deaths.

use arrow_array::{BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, StructArray, TimestampMicrosecondArray};
use arrow_schema::DataType;
use serde_json::{Value, json};
use sluis_core::{ErrorKind, crash};

use super::readers::read;
use super::*;

fn retyping(settings: Settings) -> Settings {
    Settings { retypes: true, ..settings }
}

fn with(name: &str, first: i64, array: ArrayRef) -> RecordBatch {
    let ids = Int64Array::from_iter_values(first..first + array.len() as i64);
    batch(vec![("id", Arc::new(ids)), (name, array)])
}

fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn doubles(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// A column as others read it, by id.
fn column(w: &World, name: &str) -> Vec<Value> {
    let seen = read(w, "t", None);
    assert_eq!(seen["duckdb"], seen["rows"], "DuckDB and PyIceberg agree");
    let mut rows = seen["rows"].as_array().unwrap().clone();
    rows.sort_by_key(|r| r["id"].as_i64());
    rows.into_iter().map(|r| r[name].clone()).collect()
}

/// Likewise as text, as we read it.
async fn own(w: &World, name: &str) -> Vec<String> {
    let mut rows: Vec<(i64, String)> = Vec::new();
    for b in w.rows("t").await {
        let ids = b.column_by_name("id").unwrap().as_primitive::<Int64Type>().clone();
        let text = crate::schema::cast(b.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
        rows.extend(ids.values().iter().zip(text.as_string::<i32>()).map(|(id, t)| (*id, t.unwrap_or("-").to_owned())));
    }
    rows.sort();
    rows.into_iter().map(|(_, text)| text).collect()
}

async fn leftovers(w: &World) -> Vec<String> {
    let named = w.lake().named_files(&TableName::parse("t").unwrap()).await.unwrap();
    let root = w.root();
    w.files().into_iter().filter(|f| !named.contains(root.join(f).to_str().unwrap())).collect()
}

async fn fits(t: &Arc<Table>, batch: &RecordBatch) -> Option<String> {
    t.fits(&batch.schema()).await.err().map(|e| {
        assert_eq!(e.kind(), ErrorKind::Config);
        e.message().to_owned()
    })
}

#[tokio::test]
async fn whole_numbers_become_doubles_and_doubles_text() {
    let w = World::new();
    let t = w.table(retyping(settings("t")));
    land(&t, 1, vec![with("n", 1, ints(&[1, -2]))]).await;
    land(&t, 2, vec![ids([3])]).await;
    let new = with("n", 4, doubles(&[2.5]));
    assert_eq!(fits(&t, &new).await, None);
    let said = t.changes(&new.schema()).await.unwrap();
    assert_eq!(said, ["column `n` of table `t` becomes double (it is bigint): data files that have it are written again"]);
    let staged = stage(&t, 3, vec![new]).await.unwrap();
    assert_eq!(column(&w, "n"), [json!(1), json!(-2), Value::Null], "a draft is seen by nobody");
    let receipt = commit(&t, 3, &staged).await.unwrap();
    assert_eq!(receipt.detail["retyped"], json!([{ "column": "n", "from": "bigint", "to": "double" }]));
    t.sweep(&key("p", 3), &staged).await.unwrap();
    assert_eq!(column(&w, "n"), [json!(1.0), json!(-2.0), Value::Null, json!(2.5)]);
    assert_eq!(read(&w, "t", None)["ids"], json!({ "id": 1, "n": 4, "text": 3 }));
    assert_eq!(read(&w, "t", Some("n > 1.5"))["files"], 2, "statistics are those of the new type; a file without the column has none");
    // In a process of its own; a narrower type of before fits as it is.
    let t = w.table(retyping(settings("t")));
    land(&t, 4, vec![with("n", 5, ints(&[7])), with("n", 6, texts(&["none"]))]).await;
    assert_eq!(column(&w, "n"), ["1.0", "-2.0", "", "2.5", "7.0", "none"].map(|v| if v.is_empty() { Value::Null } else { v.into() }));
    land(&t, 5, vec![with("n", 7, texts(&["x"]))]).await;
    land(&t, 6, vec![]).await;
    assert_eq!(leftovers(&w).await, [""; 0]);
}

#[tokio::test]
async fn every_type_that_can_become_text_does_and_structs_take_their_fields_along() {
    let w = World::new();
    let t = w.table(retyping(settings("t")));
    let part = |x: ArrayRef| -> ArrayRef { Arc::new(StructArray::from(vec![(Arc::new(Field::new("x", x.data_type().clone(), true)), x)])) };
    let columns: Vec<(&str, ArrayRef, Value)> = vec![
        ("b", Arc::new(BooleanArray::from(vec![true])), json!("true")),
        ("i", Arc::new(Int32Array::from(vec![-7])), json!("-7")),
        ("c", Arc::new(Decimal128Array::from(vec![-150]).with_precision_and_scale(6, 2).unwrap()), json!("-1.50")),
        ("d", Arc::new(Date32Array::from(vec![19_723])), json!("2024-01-01")),
        ("t", Arc::new(TimestampMicrosecondArray::from(vec![1_700_000_000_123_456])), json!("2023-11-14T22:13:20.123456")),
    ];
    let mut first = vec![("id", ints(&[1])), ("s", part(ints(&[3])))];
    first.extend(columns.iter().map(|(n, a, _)| (*n, a.clone())));
    land(&t, 1, vec![batch(first)]).await;
    let mut then = vec![("id", ints(&[2])), ("s", part(doubles(&[0.5])))];
    then.extend(columns.iter().map(|(n, _, _)| (*n, texts(&["-"]))));
    land(&t, 2, vec![batch(then)]).await;
    for (name, _, as_text) in &columns {
        assert_eq!(column(&w, name), [as_text.clone(), json!("-")], "{name}");
    }
    assert_eq!(column(&w, "s"), [json!({ "x": 3.0 }), json!({ "x": 0.5 })]);
    // What has parts, or is no text, does not become one.
    let e = fits(&t, &batch(vec![("s", texts(&["x"]))])).await.unwrap();
    assert!(e.contains("struct<x: double> in the table, and string"), "{e}");
}

#[tokio::test]
async fn dates_become_timestamps_and_decimals_get_digits_after_the_point() {
    let w = World::new();
    let t = w.table(retyping(settings("t")));
    let decimal = |v: i128, p, s| -> ArrayRef { Arc::new(Decimal128Array::from(vec![v]).with_precision_and_scale(p, s).unwrap()) };
    land(&t, 1, vec![batch(vec![("id", ints(&[1])), ("d", Arc::new(Date32Array::from(vec![1]))), ("c", decimal(150, 4, 2))])]).await;
    let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]));
    land(&t, 2, vec![batch(vec![("id", ints(&[2])), ("d", at), ("c", decimal(12_345, 6, 4))])]).await;
    assert_eq!(column(&w, "d"), ["1970-01-02 00:00:00", "1970-01-01 00:00:00.000001"]);
    assert_eq!(column(&w, "c"), ["1.5000", "1.2345"]);
}

#[tokio::test]
async fn numbers_that_a_double_does_not_have_stay_exact() {
    let w = World::new();
    let t = w.table(retyping(settings("t")));
    let large = (1_i64 << 53) + 1;
    land(&t, 1, vec![with("n", 1, ints(&[large, 2]))]).await;
    let e = fits(&t, &with("n", 3, doubles(&[0.5]))).await.unwrap();
    assert!(e.contains("column `n`") && e.contains("too large"), "{e}");
    assert_eq!(fits(&t, &with("n", 3, texts(&["0.5"]))).await, None);
    // Nobody asked: the commit finds it, and makes text of the column.
    land(&t, 2, vec![with("n", 3, doubles(&[0.5]))]).await;
    assert_eq!(column(&w, "n"), [json!(large.to_string()), json!("2"), json!("0.5")]);
    land(&t, 3, vec![]).await;
    assert_eq!(leftovers(&w).await, [""; 0]);
}

#[tokio::test]
async fn a_table_without_rows_changes_its_types_without_any_work() {
    let w = World::new();
    let t = w.table(retyping(settings("t")));
    let staged = stage(&t, 1, vec![with("n", 1, ints(&[1]))]).await.unwrap();
    drop(staged);
    let staged = stage_from(&t, 1, "again", vec![(None, with("n", 1, texts(&["1", "x"])))]).await.unwrap();
    commit(&t, 1, &staged).await.unwrap();
    t.sweep(&key("p", 1), &staged).await.unwrap();
    assert_eq!(column(&w, "n"), ["1", "x"]);
    assert_eq!(w.data_files(), 1);
    assert_eq!(leftovers(&w).await, [""; 0]);
}

#[tokio::test]
async fn only_its_own_pipeline_changes_a_table_and_never_keys_and_partitions() {
    let w = World::new();
    land(&w.table(retyping(settings("t"))), 1, vec![with("n", 1, ints(&[1]))]).await;
    let text = with("n", 2, texts(&["x"]));
    for (t, may) in [
        (w.table(settings("t")), false),
        (w.table_of("other", retyping(settings("t"))), false),
        (w.table(retyping(upsert(settings("t"), &["n"]))), false),
        (w.table(retyping(upsert(settings("t"), &["id"]))), true),
    ] {
        assert_eq!(fits(&t, &text).await.is_none(), may);
    }
    land(&w.table(retyping(by(settings("parts"), &["bucket(4, n)"]))), 1, vec![with("n", 1, ints(&[1]))]).await;
    assert!(fits(&w.table(retyping(settings("parts"))), &text).await.is_some());
    // Another's rows, of the type of before, go on landing.
    land(&w.table(retyping(settings("t"))), 2, vec![text]).await;
    land(&w.table_of("other", settings("t")), 1, vec![with("n", 3, ints(&[3]))]).await;
    assert_eq!(column(&w, "n"), ["1", "x", "3"]);
}

#[tokio::test]
async fn rows_leave_as_they_should_in_every_mode() {
    let w = World::new();
    let upserts = || retyping(upsert(settings("t"), &["id"]));
    land(&w.table(upserts()), 1, vec![with("n", 1, ints(&[1, 2, 3]))]).await;
    land(&w.table(upserts()), 2, vec![with("n", 10, ints(&[10]))]).await;
    land(&w.table(upserts()), 3, vec![with("n", 2, texts(&["two"])), with("n", 3, texts(&["x"])), with("n", 3, texts(&["three"]))]).await;
    assert_eq!(column(&w, "n"), ["1", "two", "three", "10"]);
    land(&w.table(upserts()), 4, vec![]).await;
    assert_eq!(leftovers(&w).await, [""; 0]);

    let w = World::new();
    let parts = || retyping(Settings { mode: Mode::Replace, ..by(settings("t"), &["id"]) });
    land(&w.table(parts()), 1, vec![with("n", 1, ints(&[1, 2]))]).await;
    land(&w.table(parts()), 2, vec![with("n", 2, texts(&["two"]))]).await;
    assert_eq!(column(&w, "n"), ["1", "two"]);

    let w = World::new();
    let t = w.table(retyping(Settings { replaces: true, ..settings("t") }));
    let rows = |n: &str, values: ArrayRef, first| (Some(n.to_owned()), with("n", first, values));
    let land_from = async |epoch, batches: Vec<(Option<String>, RecordBatch)>, replaced: &[String]| {
        let batches = batches.iter().map(|(o, b)| (o.as_deref(), b.clone())).collect();
        let staged = stage_from(&t, epoch, &format!("a{epoch}"), batches).await.unwrap();
        t.commit(&key("p", epoch), StagedEpoch { committables: &staged, replaced }).await.unwrap();
        t.sweep(&key("p", epoch), &staged).await.unwrap();
    };
    land_from(1, vec![rows("a", ints(&[1]), 1), rows("b", ints(&[2]), 2)], &[]).await;
    land_from(2, vec![rows("c", texts(&["x"]), 3)], &[]).await;
    // Files that were written again still tell whose rows they have.
    land_from(3, vec![rows("a", texts(&["new"]), 4)], &["a".to_owned()]).await;
    assert_eq!(column(&w, "n"), ["2", "x", "new"]);
}

#[tokio::test]
async fn lanes_that_meet_lose_nothing() {
    let orders: [&[(&str, fn() -> ArrayRef, &str)]; 3] = [
        &[("one", || texts(&["x"]), "x"), ("two", || ints(&[5]), "5")],
        &[("one", || doubles(&[0.5]), "0.5"), ("two", || texts(&["x"]), "x")],
        &[("one", || texts(&["x"]), "x"), ("two", || doubles(&[0.5]), "0.5")],
    ];
    for lanes in orders {
        let w = World::new();
        let t = w.table(retyping(settings("t")));
        land(&t, 1, vec![with("n", 1, ints(&[1]))]).await;
        let key = |lane: &str| CommitKey { lane: LaneId::new("p", lane), sink: SinkName::new("table"), epoch: Epoch(1) };
        // Both have staged before either commits.
        let mut staged = Vec::new();
        for (i, (lane, array, _)) in lanes.iter().enumerate() {
            let attempt = Attempt { lane: LaneId::new("p", *lane), epoch: Epoch(1), task: 0, id: "a".into() };
            let mut writer = t.writer(&attempt);
            writer.write(WriteBatch { batch: with("n", 2 + i as i64, array()), origin: None }).await.unwrap();
            staged.push(writer.close().await.unwrap());
        }
        for ((lane, ..), staged) in lanes.iter().zip(&staged) {
            t.commit(&key(lane), StagedEpoch { committables: staged, replaced: &[] }).await.unwrap();
            t.sweep(&key(lane), staged).await.unwrap();
        }
        let seen = own(&w, "n").await;
        assert!(seen[0] == "1" || seen[0] == "1.0", "{seen:?}");
        let rest = &seen[1..];
        assert_eq!(rest, lanes.iter().map(|(_, _, text)| *text).collect::<Vec<_>>());
        for ((lane, ..), staged) in lanes.iter().zip(&staged) {
            assert!(t.commit(&key(lane), StagedEpoch { committables: staged, replaced: &[] }).await.unwrap().already);
        }
    }
}

#[tokio::test]
async fn a_death_at_any_point_of_it_is_mended_by_the_next_process() {
    for mode in [Mode::Append, Mode::Upsert { key: vec!["id".into()] }] {
        for point in ["sink.before_publish", "sink.mid_rewrite", "sink.mid_publish", "sink.after_publish"] {
            let w = World::new();
            let settings = || retyping(Settings { mode: mode.clone(), ..settings("t") });
            land(&w.table(settings()), 1, vec![with("n", 1, ints(&[1, 2]))]).await;
            let t = w.table(settings());
            let staged = stage(&t, 2, vec![with("n", 2, texts(&["x"]))]).await.unwrap();
            let old = crash::set_hook(Some(Box::new(move |name| name == point)));
            let died = commit(&t, 2, &staged).await;
            crash::set_hook(old);
            assert_eq!(died.unwrap_err().kind(), ErrorKind::Crash, "{point} was passed");
            if point != "sink.after_publish" {
                assert_eq!(own(&w, "n").await, ["1", "2"], "{point}");
            }
            let t = w.table(settings());
            assert_eq!(commit(&t, 2, &staged).await.unwrap().already, point == "sink.after_publish");
            t.sweep(&key("p", 2), &staged).await.unwrap();
            let expected: &[&str] = if mode == Mode::Append { &["1", "2", "x"] } else { &["1", "x"] };
            assert_eq!(own(&w, "n").await, expected, "{mode:?} {point}");
            land(&w.table(settings()), 3, vec![]).await;
            assert_eq!(leftovers(&w).await, [""; 0], "{mode:?} {point}");
        }
    }
}

#[tokio::test]
async fn a_commit_is_known_again_though_its_files_were_written_again_and_its_snapshot_is_gone() {
    let w = World::new();
    let mut settings = retyping(settings("t"));
    settings.properties.insert("history.expire.min-snapshots-to-keep".into(), "1".into());
    let t = w.table(settings.clone());
    let staged = stage(&t, 1, vec![with("n", 1, ints(&[1]))]).await.unwrap();
    commit(&t, 1, &staged).await.unwrap();
    let attempt = Attempt { lane: LaneId::new("p", "other"), epoch: Epoch(1), task: 0, id: "a".into() };
    let mut writer = t.writer(&attempt);
    writer.write(WriteBatch { batch: with("n", 2, texts(&["x"])), origin: None }).await.unwrap();
    let others = writer.close().await.unwrap();
    let key = CommitKey { lane: attempt.lane.clone(), sink: SinkName::new("table"), epoch: Epoch(1) };
    t.commit(&key, StagedEpoch { committables: &others, replaced: &[] }).await.unwrap();
    for _ in 0..2 {
        assert!(commit(&w.table(settings.clone()), 1, &staged).await.unwrap().already);
    }
    assert_eq!(own(&w, "n").await, ["1", "x"]);
}
