//! What DuckDB and PyIceberg see.

use std::process::Command;

use arrow_array::{
    BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array, ListArray, StructArray, TimestampMicrosecondArray,
};
use serde_json::{Value, json};

use super::*;

pub(super) fn script(name: &str, arguments: &[&str]) -> String {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = top.join("target/services/venv/bin/python");
    assert!(python.exists(), "the readers' Python is not installed: run `cargo xtask services`");
    let out = Command::new(python).arg(top.join("tests/readers").join(name)).args(arguments).output().expect("python starts");
    assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}

/// What `read_table.py` says of a table.
pub(super) fn read(w: &World, table: &str, filter: Option<&str>) -> Value {
    let db = w.db();
    let mut arguments = vec![db.to_str().expect("text"), "lake", table];
    arguments.extend(filter);
    serde_json::from_str(&script("read_table.py", &arguments)).expect("JSON")
}

#[tokio::test]
async fn other_engines_read_all_types() {
    let w = World::new();
    let t = w.table(settings("ns.types"));
    let list = ListArray::from_iter_primitive::<arrow_array::types::Int32Type, _, _>(vec![Some(vec![Some(1), None]), None]);
    let part = StructArray::from(vec![(
        Arc::new(Field::new("x", arrow_schema::DataType::Utf8, true)),
        Arc::new(StringArray::from(vec![Some("a"), None])) as ArrayRef,
    )]);
    let rows = batch(vec![
        ("i", Arc::new(Int32Array::from(vec![Some(-1), None]))),
        ("l", Arc::new(Int64Array::from(vec![i64::MAX, i64::MIN]))),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("f", Arc::new(Float32Array::from(vec![Some(1.5), Some(f32::NAN)]))),
        ("d", Arc::new(Float64Array::from(vec![-0.5, 2.0]))),
        ("small", Arc::new(Decimal128Array::from(vec![Some(-12345), None]).with_precision_and_scale(7, 2).unwrap())),
        ("mid", Arc::new(Decimal128Array::from(vec![Some(123_456_789_012), None]).with_precision_and_scale(15, 3).unwrap())),
        ("big", Arc::new(Decimal128Array::from(vec![Some(-170_141_183_460_469), Some(128)]).with_precision_and_scale(38, 10).unwrap())),
        ("s", Arc::new(StringArray::from(vec![Some("żółw"), Some("")]))),
        ("bin", Arc::new(arrow_array::BinaryArray::from(vec![Some([0_u8, 255].as_slice()), None]))),
        ("day", Arc::new(Date32Array::from(vec![-1, 19723]))),
        ("ts", Arc::new(TimestampMicrosecondArray::from(vec![-1, 1_700_000_000_123_456]))),
        ("tz", Arc::new(TimestampMicrosecondArray::from(vec![-1, 1_700_000_000_123_456]).with_timezone("UTC"))),
        ("list", Arc::new(list)),
        ("part", Arc::new(part)),
    ]);
    land(&t, 1, vec![rows]).await;
    let seen = read(&w, "ns.types", None);
    assert_eq!(seen["format"], 2);
    assert_eq!(seen["columns"]["big"], "decimal(38, 10)");
    assert_eq!(seen["columns"]["tz"], "timestamptz");
    let first = seen["rows"].as_array().unwrap().iter().find(|r| r["i"] == -1).unwrap();
    assert_eq!(
        *first,
        json!({ "i": -1, "l": i64::MAX, "b": true, "f": 1.5, "d": -0.5, "small": "-123.45", "mid": "123456789.012", "big": "-17014.1183460469",
            "s": "żółw", "bin": "00ff", "day": "1969-12-31", "ts": "1969-12-31 23:59:59.999999", "tz": "1969-12-31 23:59:59.999999+00:00",
            "list": [1, null], "part": { "x": "a" } })
    );
    let duck = seen["duckdb"].as_array().unwrap().iter().find(|r| r["i"] == -1).unwrap();
    for column in ["i", "l", "small", "mid", "big", "s", "bin", "day", "ts", "tz", "list", "part"] {
        assert_eq!(duck[column], first[column], "{column}");
    }
    // Statistics let readers leave files out, also for values that are negative or have few digits.
    for (filter, files) in [("big < -20000", 0), ("small == -123.45", 1), ("day < '1969-12-31'", 0), ("l > 0", 1), ("s > 'žž'", 0), ("f > 1.6", 0)]
    {
        assert_eq!(read(&w, "ns.types", Some(filter))["files"], files, "{filter}");
    }
}

#[tokio::test]
async fn we_and_pyiceberg_write_to_one_table() {
    let w = World::new();
    let t = w.table(by(settings("t"), &["bucket(4, text)"]));
    land(&t, 1, vec![ids([1, 2, 3])]).await;
    script("append.py", &[w.db().to_str().unwrap(), "lake", "t", r#"{"id": 50, "text": "v1"}"#]);
    land(&t, 2, vec![ids([4])]).await;
    assert_eq!(w.ids("t").await, [1, 2, 3, 4, 50]);
    let seen = read(&w, "t", None);
    let ids: Vec<i64> = seen["rows"].as_array().unwrap().iter().map(|r| r["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), 5);
    assert_eq!(seen["duckdb"], seen["rows"]);
    assert_eq!(seen["properties"]["sluis.commit.p.main.table"], "2");
    // PyIceberg computed its row's bucket itself: a filter finds both.
    assert_eq!(read(&w, "t", Some("text == 'v1'"))["rows"].as_array().unwrap().len(), 2);
}
