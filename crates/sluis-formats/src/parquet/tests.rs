//! Parquet round trips, types of other writers, damage.

use std::sync::Arc;

use arrow_array::builder::{Int32Builder, MapBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array,
    LargeStringArray, ListArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use serde_json::json;
use sluis_core::columns::type_name;
use sluis_core::{Decoded, ErrorKind, FileFormat, ReadOptions, Result};

use super::*;
use crate::memory::memory_file;

const PARQUET_READER: Parquet = Parquet { max_page: 256 << 20 };

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap()
}

fn encode(options: serde_json::Value, batches: &[RecordBatch]) -> Vec<u8> {
    let factory = crate::writer_from_value(&options).unwrap();
    let mut encoder = factory.encoder(&batches[0].schema()).unwrap();
    let mut out = Vec::new();
    for b in batches {
        encoder.write(b, &mut out).unwrap();
    }
    encoder.finish(&mut out).unwrap();
    out
}

async fn read(bytes: impl Into<Bytes>, schema: Option<SchemaRef>, threads: usize) -> (SchemaRef, Vec<Result<Decoded>>) {
    let file = memory_file("/data/f.parquet", bytes.into());
    let schema = match schema {
        Some(s) => s,
        None => PARQUET_READER.infer(std::slice::from_ref(&file), None).await.unwrap(),
    };
    let options = ReadOptions { schema: schema.clone(), batch_rows: 1000, threads, keep_origins: true, misfits: Default::default() };
    (schema, PARQUET_READER.read(file, &options).await.unwrap().collect().await)
}

fn types(schema: &SchemaRef) -> String {
    schema.fields().iter().map(|f| format!("{} {}", f.name(), type_name(f.data_type()))).collect::<Vec<_>>().join(", ")
}

fn all_types(rows: usize) -> RecordBatch {
    let some = |i: usize| i % 7 != 3;
    let n = 0..rows;
    let ints: ArrayRef = Arc::new(n.clone().map(|i| some(i).then_some(i as i64 * 31 % 1009)).collect::<Int64Array>());
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(n.clone().map(|i| some(i).then(|| (0..i as i32 % 4).map(Some).collect::<Vec<_>>())));
    let inner: ArrayRef = Arc::new(n.clone().map(|i| Some(format!("in {i}"))).collect::<StringArray>());
    let structs = StructArray::from(vec![
        (Arc::new(Field::new("x", DataType::Utf8, true)), inner),
        (Arc::new(Field::new("l", list.data_type().clone(), true)), Arc::new(list.clone()) as ArrayRef),
    ]);
    batch(vec![
        ("i", ints),
        ("b", Arc::new(n.clone().map(|i| some(i).then_some(i % 2 == 0)).collect::<BooleanArray>())),
        ("s", Arc::new(n.clone().map(|i| some(i).then(|| format!("text {}", i % 50))).collect::<StringArray>())),
        ("d", Arc::new(n.clone().map(|i| i as f64 / 3.0).collect::<Float64Array>())),
        ("day", Arc::new(n.clone().map(|i| Some(i as i32)).collect::<Date32Array>())),
        ("at", Arc::new(n.clone().map(|i| Some(i as i64 * 1_000_001)).collect::<TimestampMicrosecondArray>())),
        ("atz", Arc::new(n.clone().map(|i| Some(i as i64)).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))),
        ("m", Arc::new(n.clone().map(|i| Some(10_i128.pow(37) + i as i128)).collect::<Decimal128Array>().with_precision_and_scale(38, 4).unwrap())),
        ("l", Arc::new(list)),
        ("st", Arc::new(structs)),
    ])
}

#[tokio::test]
async fn what_is_written_reads_back() {
    let whole = all_types(25_000);
    let parts: Vec<RecordBatch> = (0..25).map(|i| whole.slice(i * 1000, 1000)).collect();
    for options in [
        json!("parquet"),
        json!({ "parquet": { "compression": "zstd", "row_group_rows": 3001 } }),
        json!({ "parquet": { "compression": "none", "row_group_rows": 10_000 } }),
    ] {
        let bytes = encode(options.clone(), &parts);
        for threads in [1, 4] {
            let (schema, items) = read(bytes.clone(), None, threads).await;
            assert_eq!(
                types(&schema),
                "i bigint, b bool, s string, d double, day date, at timestamp, atz timestamptz, m decimal(38,4), l list<int>, st struct<x: string, l: list<int>>"
            );
            let items: Vec<Decoded> = items.into_iter().map(Result::unwrap).collect();
            let lines: Vec<u64> = items.iter().flat_map(|d| d.origins.as_ref().unwrap().lines.clone()).collect();
            assert_eq!(lines, (1..=25_000).collect::<Vec<_>>());
            let read: Vec<RecordBatch> = items.into_iter().map(|d| d.batch).collect();
            let read = arrow_select::concat::concat_batches(&schema, &read).unwrap();
            for (a, b) in whole.columns().iter().zip(read.columns()) {
                assert!(crate::cast::normalize(a).unwrap().to_data() == b.to_data(), "{options}");
            }
        }
    }
}

#[test]
fn levels_belong_to_their_compression() {
    for wrong in [json!({ "level": 3 }), json!({ "compression": "zstd", "level": 23 }), json!({ "compression": "gzip", "level": 10 })] {
        assert_eq!(crate::writer_from_value(&json!({ "parquet": wrong })).err().unwrap().kind(), ErrorKind::Config);
    }
    let rows = all_types(20_000);
    let size = |options: serde_json::Value| encode(json!({ "parquet": options }), std::slice::from_ref(&rows)).len();
    assert!(size(json!({ "compression": "gzip", "level": 9 })) < size(json!({ "compression": "gzip", "level": 0 })) / 2);
    assert_ne!(size(json!({ "dictionary": false })), size(json!({})));
}

/// Thrift's compact form of an unsigned number.
fn varint(mut v: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
    out
}

/// The file with every place of its footer where `from` stands as a zigzag number saying `to`; the footer's length is set right again.
fn with_claim(file: &[u8], from: i64, to: i64) -> Option<Vec<u8>> {
    let zigzag = |v: i64| varint(((v << 1) ^ (v >> 63)) as u64);
    let length = u32::from_le_bytes(file[file.len() - 8..file.len() - 4].try_into().unwrap()) as usize;
    let (data, footer) = file[..file.len() - 8].split_at(file.len() - 8 - length);
    let (from, to) = (zigzag(from), zigzag(to));
    let mut out = Vec::new();
    let (mut at, mut found) = (0, 0);
    while at < footer.len() {
        if footer[at..].starts_with(&from) {
            out.extend(&to);
            at += from.len();
            found += 1;
        } else {
            out.push(footer[at]);
            at += 1;
        }
    }
    let size = (out.len() as u32).to_le_bytes();
    (found > 0).then(|| [data, &out, &size, b"PAR1"].concat())
}

#[tokio::test]
async fn metadata_that_lie_are_damage() {
    let rows = all_types(5003);
    let good = encode(json!({ "parquet": { "compression": "none" } }), std::slice::from_ref(&rows));
    let metadata = parquet::file::metadata::ParquetMetaDataReader::new().parse_and_finish(&Bytes::from(good.clone())).unwrap();
    let column = metadata.row_group(0).column(2);
    let claims = [("rows", 5003), ("a column's place", column.data_page_offset()), ("a column's size", column.compressed_size())];
    for (what, value) in claims {
        for claim in [0, 1, value - 1, value + 1, 1 << 20, 1 << 40, i64::MAX, -1, i64::MIN] {
            let Some(bytes) = with_claim(&good, value, claim) else { panic!("{what} ({value}) is not in the footer") };
            let (_, items) = read(bytes, None, 2).await;
            let rows: usize = items.iter().filter_map(|i| i.as_ref().ok()).map(|d| d.batch.num_rows()).sum();
            assert!(rows <= 5003, "{what} said to be {claim}: {rows} rows");
            for e in items.into_iter().filter_map(Result::err) {
                assert_eq!(e.kind(), ErrorKind::CorruptInput, "{what} said to be {claim}: {e}");
            }
        }
    }
    // Of the length of the footer.
    for claim in [0, 1, good.len() as u32 - 8, good.len() as u32, u32::MAX] {
        let mut bytes = good.clone();
        let at = bytes.len() - 8;
        bytes[at..at + 4].copy_from_slice(&claim.to_le_bytes());
        let (_, items) = read(bytes, None, 2).await;
        assert!(items.into_iter().all(|i| i.is_err_and(|e| e.kind() == ErrorKind::CorruptInput)), "a footer of {claim} bytes");
    }
}

#[test]
fn row_groups_end_at_their_limit() {
    let whole = all_types(10_000);
    let bytes = encode(json!({ "parquet": { "row_group_rows": 3000 } }), &[whole.slice(0, 7000), whole.slice(7000, 3000)]);
    let metadata = parquet::file::metadata::ParquetMetaDataReader::new().parse_and_finish(&Bytes::from(bytes)).unwrap();
    assert_eq!(metadata.row_groups().iter().map(|g| g.num_rows()).collect::<Vec<_>>(), [3000, 3000, 3000, 1000]);
    assert!(metadata.row_group(0).column(0).statistics().is_some());
}

#[test]
fn an_encoder_holds_a_row_group_at_most() {
    let part = all_types(10_000);
    let factory = crate::writer_from_value(&json!({ "parquet": { "row_group_size": "256KiB" } })).unwrap();
    let mut encoder = factory.encoder(&part.schema()).unwrap();
    let (mut out, mut most) = (Vec::new(), 0);
    for _ in 0..100 {
        encoder.write(&part, &mut out).unwrap();
        most = most.max(encoder.buffered_bytes());
    }
    assert!(!out.is_empty() && most < 16 << 20, "{most}");
}

fn foreign() -> RecordBatch {
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    map.keys().append_value("k");
    map.values().append_value(5);
    map.append(true).unwrap();
    map.append(false).unwrap();
    batch(vec![
        ("large", Arc::new(LargeStringArray::from(vec![Some("a"), None]))),
        ("dict", Arc::new(vec![Some("x"), Some("y")].into_iter().collect::<DictionaryArray<Int32Type>>())),
        ("ns", Arc::new(TimestampNanosecondArray::from(vec![1_000_000_000, 2_000]))),
        ("u", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
        ("fixed", Arc::new(FixedSizeBinaryArray::try_from_iter([[1_u8, 2], [3, 4]].into_iter()).unwrap())),
        ("map", Arc::new(map.finish())),
    ])
}

#[tokio::test]
async fn types_of_other_writers_become_those_of_pipelines() {
    let batch = foreign();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let (schema, items) = read(bytes, None, 2).await;
    assert_eq!(types(&schema), "large string, dict string, ns timestamp, u decimal(20,0), fixed binary, map map<string, int>");
    let d = items.into_iter().next().unwrap().unwrap();
    assert!(d.rejects.is_empty());
    assert_eq!(d.batch.num_rows(), 2);
}

#[tokio::test]
async fn values_the_pinned_type_cannot_hold_reject_their_row() {
    let batch = batch(vec![("a", Arc::new(Int64Array::from(vec![1, 5_000_000_000, 3]))), ("s", Arc::new(StringArray::from(vec!["x", "y", "z"])))]);
    let bytes = encode(json!("parquet"), &[batch]);
    let pinned: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, true)]));
    let (_, items) = read(bytes, Some(pinned), 1).await;
    let d = items.into_iter().next().unwrap().unwrap();
    assert_eq!(types(&d.batch.schema()), "a int, s string");
    assert_eq!((d.batch.num_rows(), d.rejects.len(), d.origins.unwrap().lines), (2, 1, vec![1, 3]));
    let r = &d.rejects[0];
    assert_eq!((r.line, r.column.as_deref(), r.message.as_str()), (2, Some("a"), "`5000000000` (bigint) does not fit int"));
    assert_eq!(r.raw.as_ref(), br#"{"a":5000000000,"s":"y"}"#);
}

#[tokio::test]
async fn damage_is_said_and_never_a_panic() {
    let good = encode(json!("parquet"), &[all_types(5000)]);
    assert!(read(Vec::new(), None, 2).await.1.is_empty(), "a file of no bytes has no rows");
    for bytes in [b"PAR1".to_vec(), good[..good.len() / 2].to_vec(), vec![0; 5000]] {
        let (schema, items) = read(bytes, None, 2).await;
        assert!(schema.fields().is_empty());
        let e = items.into_iter().last().unwrap().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::CorruptInput);
        assert!(e.to_string().contains("/data/f.parquet"), "{e}");
    }
    // Bytes changed anywhere: an error, or other values, or rejects; never a panic that escapes, never more rows than the file says.
    let mut x = 1_u64;
    for _ in 0..300 {
        let mut bytes = good.clone();
        for _ in 0..4 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = if x & 1 == 0 { bytes.len() - 1 - (x >> 33) as usize % 4000 } else { (x >> 33) as usize % bytes.len() };
            bytes[at] = (x >> 20) as u8;
        }
        let (_, items) = read(bytes, None, 2).await;
        for e in items.into_iter().filter_map(Result::err) {
            assert!(matches!(e.kind(), ErrorKind::CorruptInput), "{e:?}");
        }
    }
}

#[tokio::test]
async fn footers_unite_and_files_without_rows_do_not_count() {
    let a = encode(json!("parquet"), &[batch(vec![("x", Arc::new(Int32Array::from(vec![1])))])]);
    let b = encode(json!("parquet"), &[batch(vec![("y", Arc::new(StringArray::from(vec!["t"]))), ("x", Arc::new(Int64Array::from(vec![1])))])]);
    let none = encode(
        json!("parquet"),
        &[batch(vec![("x", Arc::new(StringArray::from(Vec::<&str>::new()))), ("z", Arc::new(Int32Array::from(Vec::<i32>::new())))])],
    );
    let files = [none, a, b].map(|bytes| memory_file("/f", bytes));
    assert_eq!(types(&PARQUET_READER.infer(&files, None).await.unwrap()), "x bigint, y string");
}
