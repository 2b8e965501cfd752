//! Upserts by key.

use std::collections::BTreeMap;

use arrow_array::{Date32Array, Decimal128Array};
use sluis_core::ErrorKind;

use super::*;

fn pairs(values: &[(i64, &str)]) -> RecordBatch {
    let text = StringArray::from_iter_values(values.iter().map(|(_, t)| *t));
    batch(vec![("id", Arc::new(Int64Array::from_iter_values(values.iter().map(|(i, _)| *i)))), ("text", Arc::new(text))])
}

async fn map(w: &World, table: &str) -> BTreeMap<i64, String> {
    let mut out = BTreeMap::new();
    for b in w.rows(table).await {
        let (ids, texts) = (b.column(0).as_primitive::<Int64Type>().clone(), b.column(1).as_string::<i32>().clone());
        for i in 0..b.num_rows() {
            assert!(out.insert(ids.value(i), texts.value(i).to_owned()).is_none(), "a key is there once");
        }
    }
    out
}

fn expected(pairs: &[(i64, &str)]) -> BTreeMap<i64, String> {
    pairs.iter().map(|(i, t)| (*i, (*t).to_owned())).collect()
}

#[tokio::test]
async fn rows_with_the_same_key_are_replaced_and_the_last_of_an_epoch_wins() {
    let w = World::new();
    let t = w.table(upsert(settings("t"), &["id"]));
    land(&t, 1, vec![pairs(&[(1, "a"), (2, "b"), (3, "c")]), pairs(&[(2, "b2")])]).await;
    assert_eq!(map(&w, "t").await, expected(&[(1, "a"), (2, "b2"), (3, "c")]));
    let staged = land(&t, 2, vec![pairs(&[(3, "c2"), (4, "d"), (3, "c3")])]).await;
    assert_eq!(map(&w, "t").await, expected(&[(1, "a"), (2, "b2"), (3, "c3"), (4, "d")]));
    assert!(commit(&t, 2, &staged).await.unwrap().already);
    // All rows of a file leave.
    land(&t, 3, vec![pairs(&[(1, "z"), (2, "z"), (3, "z"), (4, "z")])]).await;
    assert_eq!(map(&w, "t").await, expected(&[(1, "z"), (2, "z"), (3, "z"), (4, "z")]));
    let seen = super::readers::read(&w, "t", None);
    assert_eq!((seen["files"].as_u64(), seen["rows"].as_array().unwrap().len()), (Some(1), 4));
    assert_eq!(seen["rows"], seen["duckdb"]);
}

#[tokio::test]
async fn files_that_cannot_hold_a_key_stay_as_they_are() {
    let w = World::new();
    let t = w.table(by(upsert(settings("t"), &["id"]), &["truncate(100, id)"]));
    land(&t, 1, vec![ids(0..300)]).await;
    let staged = stage(&t, 2, vec![pairs(&[(150, "new"), (350, "new")])]).await.unwrap();
    let receipt = commit(&t, 2, &staged).await.unwrap();
    assert_eq!(receipt.detail["removed"]["files"], 1);
    let all = map(&w, "t").await;
    assert_eq!((all.len(), all[&150].as_str(), all[&151].as_str()), (301, "new", "v151"));
}

#[tokio::test]
async fn a_row_moves_to_another_partition_and_order_holds_across_partitions() {
    let w = World::new();
    let t = w.table(by(upsert(settings("t"), &["id"]), &["text"]));
    land(&t, 1, vec![pairs(&[(1, "x"), (2, "x"), (3, "y")])]).await;
    // One key in several partitions, in one batch and across batches: the last one stays.
    land(&t, 2, vec![pairs(&[(1, "z"), (2, "y"), (1, "x"), (1, "y")]), pairs(&[(2, "a"), (1, "a"), (1, "z")])]).await;
    assert_eq!(map(&w, "t").await, expected(&[(1, "z"), (2, "a"), (3, "y")]));
}

#[tokio::test]
async fn keys_of_several_columns_with_nulls_and_all_kinds_of_types() {
    let w = World::new();
    let t = w.table(upsert(settings("t"), &["d", "c", "s"]));
    let rows = |id: i64| {
        batch(vec![
            ("id", Arc::new(Int64Array::from(vec![id, id + 1, id + 2])) as ArrayRef),
            ("d", Arc::new(Date32Array::from(vec![Some(-1), None, Some(-1)]))),
            ("c", Arc::new(Decimal128Array::from(vec![Some(100), None, Some(100)]).with_precision_and_scale(5, 2).unwrap())),
            ("s", Arc::new(StringArray::from(vec![Some(""), None, None]))),
        ])
    };
    land(&t, 1, vec![rows(1)]).await;
    assert_eq!(w.ids("t").await, [1, 2, 3]);
    land(&t, 2, vec![rows(11)]).await;
    assert_eq!(w.ids("t").await, [11, 12, 13]);
}

#[tokio::test]
async fn rewritten_rows_keep_columns_that_came_later_and_old_types_widen() {
    let w = World::new();
    let t = w.table(upsert(settings("t"), &["id"]));
    let narrow = batch(vec![("id", Arc::new(arrow_array::Int32Array::from(vec![1, 2])) as ArrayRef)]);
    land(&t, 1, vec![narrow]).await;
    land(&t, 2, vec![ids([2, 1 << 40])]).await;
    assert_eq!(w.ids("t").await, [1, 2, 1 << 40]);
    assert_eq!(w.rows("t").await[0].num_columns(), 2);
}

#[tokio::test]
async fn keys_that_cannot_be_are_named() {
    let w = World::new();
    let e = w.table(upsert(settings("t"), &["nothing"])).prepare_for(ids([]).schema_ref()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Config);
    assert!(e.message().contains("`nothing`"), "{e:?}");
    let float = batch(vec![("f", Arc::new(arrow_array::Float64Array::from(vec![0.5])) as ArrayRef)]);
    let e = w.table(upsert(settings("u"), &["f"])).prepare_for(float.schema_ref()).await.unwrap_err();
    assert!(e.message().contains("double"), "{e:?}");
    assert!(w.files().is_empty());
}
