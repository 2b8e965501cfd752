//! What the encoders write is what other programs read: every type through every encoder, then DuckDB, PyArrow, fastavro and Python's own
//! JSON over the files. A Python that is not there is a failure.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Value, json};

const ROWS: i64 = 60;

/// Nulls among values; the ends of each range.
fn every<T>(values: &[T], at: i64) -> Option<T>
where
    T: Clone,
{
    if at % 5 == 3 { None } else { values.get(at as usize % values.len()).cloned() }
}

fn nested() -> (ArrayRef, ArrayRef, ArrayRef) {
    let mut items = ListBuilder::new(Int32Builder::new());
    let mut scores = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for at in 0..ROWS {
        (0..at % 4).for_each(|n| items.values().append_option((n != 2).then_some(at as i32 - n as i32)));
        items.append(at % 7 != 1);
        (0..at % 3).for_each(|n| {
            scores.keys().append_value(format!("k \"{n}\""));
            scores.values().append_option((n == 0).then_some(at as i32));
        });
        scores.append(at % 7 != 2).unwrap();
    }
    let city: ArrayRef = Arc::new(StringArray::from_iter((0..ROWS).map(|at| every(&["Gent", "", "a\tb"], at))));
    let size: ArrayRef =
        Arc::new(Decimal128Array::from_iter((0..ROWS).map(|at| every(&[0, -1, 12_345], at))).with_precision_and_scale(10, 3).unwrap());
    let fields = vec![Field::new("city", DataType::Utf8, true), Field::new("size", size.data_type().clone(), true)];
    let nulls = (0..ROWS).map(|at| at % 7 != 4).collect::<Vec<_>>().into();
    let place = StructArray::try_new(fields.into(), vec![city, size], Some(nulls)).unwrap();
    (Arc::new(items.finish()), Arc::new(place), Arc::new(scores.finish()))
}

fn all_types() -> RecordBatch {
    let n = || 0..ROWS;
    let most = 10_i128.pow(38) - 1;
    let times = [0, -1, 1_709_210_096_123_456, -62_135_596_800_000_000, 253_402_300_799_999_999];
    let texts = ["plain", "", "a,b", "\"quoted\"", "two\nlines", " blanks ", "é€𝄞", "null", "NA", "\\N", "tab\there"];
    let (items, place, scores) = nested();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("flag", Arc::new(BooleanArray::from_iter(n().map(|at| every(&[true, false], at))))),
        ("i8", Arc::new(Int8Array::from_iter(n().map(|at| every(&[0, i8::MIN, i8::MAX], at))))),
        ("i16", Arc::new(Int16Array::from_iter(n().map(|at| every(&[0, i16::MIN, i16::MAX], at))))),
        ("i32", Arc::new(Int32Array::from_iter(n().map(|at| every(&[0, i32::MIN, i32::MAX], at))))),
        ("i64", Arc::new(Int64Array::from_iter(n().map(|at| every(&[0, i64::MIN, i64::MAX, 9_007_199_254_740_993], at))))),
        ("single", Arc::new(Float32Array::from_iter(n().map(|at| every(&[0.0, 0.1, -1.5e-30, f32::MAX], at))))),
        ("double", Arc::new(Float64Array::from_iter(n().map(|at| every(&[0.0, 0.1, -1.0 / 3.0, 1.0e300, 5e-324], at))))),
        ("money", Arc::new(Decimal128Array::from_iter(n().map(|at| every(&[0, most, -most, 1], at))).with_precision_and_scale(38, 4).unwrap())),
        ("price", Arc::new(Decimal128Array::from_iter(n().map(|at| every(&[0, 999_999_999, -5], at))).with_precision_and_scale(9, 2).unwrap())),
        ("text", Arc::new(StringArray::from_iter(n().map(|at| every(&texts, at))))),
        ("bytes", Arc::new(BinaryArray::from_iter(n().map(|at| every(&[&b"\x00\xff\x80"[..], b"", b"abc"], at))))),
        ("day", Arc::new(Date32Array::from_iter(n().map(|at| every(&[0, -1, 19_782, -719_162, 2_932_896], at))))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter(n().map(|at| every(&times, at))))),
        ("moment", Arc::new(TimestampMicrosecondArray::from_iter(n().map(|at| every(&times, at))).with_timezone("UTC"))),
        ("items", items),
        ("place", place),
        ("scores", scores),
    ];
    let schema = Schema::new(columns.iter().map(|(name, c)| Field::new(*name, c.data_type().clone(), true)).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, c)| c).collect()).unwrap()
}

fn write(path: &Path, format: &Value, batch: &RecordBatch) {
    let factory = crate::writer_from_value(format).unwrap();
    let mut encoder = factory.encoder(&batch.schema()).unwrap();
    let mut out = Vec::new();
    for at in (0..batch.num_rows()).step_by(17) {
        encoder.write(&batch.slice(at, 17.min(batch.num_rows() - at)), &mut out).unwrap();
    }
    encoder.finish(&mut out).unwrap();
    std::fs::write(path, out).unwrap();
}

#[test]
fn others_read_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let batch = all_types();
    let without_bytes = batch.project(&(0..batch.num_columns()).filter(|i| batch.schema().field(*i).name() != "bytes").collect::<Vec<_>>()).unwrap();
    let files = [
        ("expected.jsonl", json!("json")),
        ("array.json", json!({ "json": { "lines": false } })),
        ("pretty.json", json!({ "json": { "lines": false, "pretty": true } })),
        ("snappy.parquet", json!("parquet")),
        ("zstd.parquet", json!({ "parquet": { "compression": "zstd", "level": 9, "row_group_rows": 7, "dictionary": false } })),
        ("lz4.parquet", json!({ "parquet": { "compression": "lz4" } })),
        ("gzip.parquet", json!({ "parquet": { "compression": "gzip" } })),
        ("null.avro", json!({ "avro": { "codec": "null" } })),
        ("deflate.avro", json!("avro")),
        ("snappy.avro", json!({ "avro": { "codec": "snappy", "block_size": "1KiB" } })),
        ("zstd.avro", json!({ "avro": { "codec": "zstd", "namespace": "a.b" } })),
    ];
    files.iter().for_each(|(name, format)| write(&folder.path().join(name), format, &batch));
    write(&folder.path().join("plain.csv"), &json!("csv"), &without_bytes);
    write(&folder.path().join("quoted.csv"), &json!({ "csv": { "quoting": "all" } }), &without_bytes);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/readers/read_formats.py");
    let output = Command::new(sluis_testkit::services::python()).arg(script).arg(folder.path()).output().unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{wrong}");
    // Each file by each of its readers.
    assert_eq!(said.lines().count(), 8 + 4 + 6 + 4, "{said}");
}
