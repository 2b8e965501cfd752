//! Columns that are added and widen, and what does not fit.

use arrow_array::{Array, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array, ListArray, NullArray, StructArray};
use arrow_schema::DataType;
use sluis_core::ErrorKind;
use sluis_core::columns::type_name;

use super::*;

fn types(rows: &[RecordBatch]) -> Vec<String> {
    rows[0].schema().fields().iter().map(|f| format!("{} {}", f.name(), type_name(f.data_type()))).collect()
}

#[tokio::test]
async fn tables_widen_and_old_files_are_read_as_the_new_types() {
    let w = World::new();
    let t = w.table(settings("t"));
    let old = batch(vec![
        ("id", Arc::new(Int32Array::from(vec![1]))),
        ("f", Arc::new(Float32Array::from(vec![1.5]))),
        ("d", Arc::new(Decimal128Array::from(vec![150]).with_precision_and_scale(4, 2).unwrap())),
        ("unknown", Arc::new(NullArray::new(1))),
    ]);
    land(&t, 1, vec![old]).await;
    let new = batch(vec![
        ("d", Arc::new(Decimal128Array::from(vec![123_456]).with_precision_and_scale(8, 2).unwrap())),
        ("unknown", Arc::new(Date32Array::from(vec![-1]))),
        ("id", Arc::new(Int64Array::from(vec![1_i64 << 40]))),
        ("f", Arc::new(Float64Array::from(vec![0.1]))),
    ]);
    // In a process that knows the older table.
    land(&t, 2, vec![new, batch(vec![("id", Arc::new(Int32Array::from(vec![3])))])]).await;
    let rows = w.rows("t").await;
    assert_eq!(types(&rows), ["id bigint", "f double", "d decimal(8,2)", "unknown date"]);
    assert_eq!(w.ids("t").await, [1, 3, 1 << 40]);
    let seen = super::readers::read(&w, "t", None);
    assert_eq!(seen["ids"], serde_json::json!({ "id": 1, "f": 2, "d": 3, "unknown": 4 }));
    let first = seen["rows"].as_array().unwrap().iter().find(|r| r["id"] == 1).unwrap();
    assert_eq!((&first["f"], first["d"].as_str().unwrap(), &first["unknown"]), (&1.5.into(), "1.50", &serde_json::Value::Null));
    assert_eq!(super::readers::read(&w, "t", Some("id == 1"))["files"], 1, "old bounds are read as the new type");
}

#[tokio::test]
async fn nested_columns_grow_too() {
    let w = World::new();
    let t = w.table(settings("t"));
    let part = |fields: Vec<(&str, ArrayRef)>| -> ArrayRef {
        let fields = fields.into_iter().map(|(n, a)| (Arc::new(Field::new(n, a.data_type().clone(), true)), a)).collect::<Vec<_>>();
        Arc::new(StructArray::from(fields))
    };
    let list = |item: ArrayRef| -> ArrayRef {
        let field = Arc::new(Field::new("item", item.data_type().clone(), true));
        Arc::new(ListArray::new(field, arrow_buffer_offsets(item.len()), item, None))
    };
    let a = part(vec![("x", Arc::new(Int32Array::from(vec![7])))]);
    land(&t, 1, vec![batch(vec![("id", Arc::new(Int64Array::from(vec![1]))), ("p", a.clone()), ("l", list(a))])]).await;
    let b = part(vec![("y", Arc::new(StringArray::from(vec!["q"]))), ("x", Arc::new(Int64Array::from(vec![8])))]);
    land(&t, 2, vec![batch(vec![("l", list(b.clone())), ("p", b), ("id", Arc::new(Int64Array::from(vec![2])))])]).await;
    let rows = w.rows("t").await;
    assert_eq!(types(&rows), ["id bigint", "p struct<x: bigint, y: string>", "l list<struct<x: bigint, y: string>>"]);
    let seen = super::readers::read(&w, "t", None);
    let found = seen["rows"].as_array().unwrap();
    assert_eq!(found[0]["p"], serde_json::json!({ "x": 7, "y": null }));
    assert_eq!(found[1]["l"], serde_json::json!([{ "x": 8, "y": "q" }]));
}

#[tokio::test]
async fn maps_are_columns_and_their_values_widen() {
    let w = World::new();
    let t = w.table(settings("t"));
    let map = |rows: &[&[(&str, i64)]], wide: bool| -> ArrayRef {
        let keys: ArrayRef = Arc::new(StringArray::from(rows.iter().flat_map(|r| r.iter().map(|(k, _)| *k)).collect::<Vec<_>>()));
        let plain: Vec<i64> = rows.iter().flat_map(|r| r.iter().map(|(_, v)| *v)).collect();
        let values: ArrayRef =
            if wide { Arc::new(Int64Array::from(plain)) } else { Arc::new(Int32Array::from_iter_values(plain.into_iter().map(|v| v as i32))) };
        let DataType::Map(field, _) = sluis_core::columns::map_of(DataType::Utf8, values.data_type().clone()) else { panic!("a map") };
        let DataType::Struct(parts) = field.data_type() else { panic!("entries") };
        let entries = StructArray::new(parts.clone(), vec![keys, values], None);
        let offsets = arrow_buffer::OffsetBuffer::from_lengths(rows.iter().map(|r| r.len()));
        Arc::new(arrow_array::MapArray::new(field.clone(), offsets, entries, None, false))
    };
    land(&t, 1, vec![batch(vec![("id", Arc::new(Int64Array::from(vec![1, 2]))), ("m", map(&[&[("a", 1), ("b", 2)], &[]], false))])]).await;
    land(&t, 2, vec![batch(vec![("m", map(&[&[("c", 1 << 40)]], true)), ("id", Arc::new(Int64Array::from(vec![3])))])]).await;
    assert_eq!(types(&w.rows("t").await), ["id bigint", "m map<string, bigint>"]);
    let seen = super::readers::read(&w, "t", None);
    let found = seen["rows"].as_array().unwrap();
    assert_eq!(found[0]["m"], serde_json::json!([["a", 1], ["b", 2]]));
    assert_eq!(found[2]["m"], serde_json::json!([["c", 1_i64 << 40]]));
}

fn arrow_buffer_offsets(len: usize) -> arrow_buffer::OffsetBuffer<i32> {
    arrow_buffer::OffsetBuffer::from_lengths(vec![1; len])
}

#[tokio::test]
async fn what_does_not_fit_fails_before_anything_is_written() {
    let w = World::new();
    let t = w.table(settings("ns.t"));
    land(&t, 1, vec![ids([1])]).await;
    let before = w.files();
    for (name, array, says) in [
        ("text", Arc::new(Int64Array::from(vec![1])) as ArrayRef, "string in the table, and bigint"),
        ("ID", Arc::new(Int64Array::from(vec![1])), "upper and lower case"),
        ("id", Arc::new(StringArray::from(vec!["x"])), "bigint in the table, and string"),
    ] {
        let e = stage(&t, 2, vec![batch(vec![(name, array)])]).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Config);
        assert!(e.message().contains(says) && e.message().contains("ns.t") && e.hint_text().unwrap().contains("select"), "{e:?}");
    }
    assert_eq!(w.files(), before);
}

#[tokio::test]
async fn two_processes_may_widen_one_table() {
    let w = World::new();
    let (a, b) = (w.table_of("a", settings("t")), w.table_of("b", settings("t")));
    let column = |n: &str| batch(vec![("id", Arc::new(Int64Array::from(vec![1]))), (n, Arc::new(Int32Array::from(vec![1])))]);
    let (x, y) = futures::join!(stage(&a, 1, vec![column("x")]), stage(&b, 1, vec![column("y")]));
    commit(&a, 1, &x.unwrap()).await.unwrap();
    commit(&b, 1, &y.unwrap()).await.unwrap();
    let rows = w.rows("t").await;
    let mut names: Vec<String> = rows[0].schema().fields().iter().map(|f| f.name().clone()).collect();
    names.sort();
    assert_eq!(names, ["id", "x", "y"]);
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
}

#[tokio::test]
async fn columns_that_are_not_null_elsewhere_stay_so() {
    let w = World::new();
    let t = w.table(settings("t"));
    land(&t, 1, vec![ids([1])]).await;
    super::readers::script("require.py", &[w.db().to_str().unwrap(), "lake", "strict", "id"]);
    let strict = w.table(settings("strict"));
    land(&strict, 1, vec![ids([5])]).await;
    let holes = batch(vec![("id", Arc::new(Int64Array::from(vec![Some(1), None])))]);
    let e = stage(&strict, 2, vec![holes]).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Data);
    assert!(e.message().contains("`id` is NOT NULL"), "{e:?}");
    let e = stage(&strict, 2, vec![batch(vec![("text", Arc::new(StringArray::from(vec!["x"])))])]).await.unwrap_err();
    assert!(e.message().contains("NOT NULL") && e.kind() == ErrorKind::Config, "{e:?}");
    assert_eq!(w.rows("t").await[0].schema().field(0).data_type(), &DataType::Int64);
}
