//! Every format against the suite that all of them must pass.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{Field, Schema};
use serde_json::{Value, json};
use sluis_core::FileFormat;
use sluis_testkit::conformance::decoder::{self, Case};

fn reader(format: &str, config: Value) -> Arc<dyn FileFormat> {
    let def = crate::all().into_iter().find(|d| d.name == format).unwrap();
    assert!((def.validate)(&config).is_empty(), "{config}");
    (def.reader.unwrap())(&config).unwrap()
}

fn rows() -> RecordBatch {
    let n = 0..40_i64;
    let some = |i: i64| i % 7 != 3;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter(n.clone().map(|i| some(i).then_some(i * 1_000_000_007 - 9))))),
        ("small", Arc::new(Int32Array::from_iter(n.clone().map(|i| Some(i as i32 - 20))))),
        ("ok", Arc::new(BooleanArray::from_iter(n.clone().map(|i| some(i).then_some(i % 2 == 0))))),
        ("ratio", Arc::new(Float64Array::from_iter(n.clone().map(|i| some(i).then_some(i as f64 / 7.0))))),
        (
            "cost",
            Arc::new(
                Decimal128Array::from_iter(n.clone().map(|i| some(i).then_some(i as i128 * 12_345 - 7))).with_precision_and_scale(20, 4).unwrap(),
            ),
        ),
        ("day", Arc::new(Date32Array::from_iter(n.clone().map(|i| some(i).then_some(19_000 + i as i32))))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter(n.clone().map(|i| some(i).then_some(1_700_000_000_000_000 + i * 1_000_001))))),
        (
            "atz",
            Arc::new(
                TimestampMicrosecondArray::from_iter(n.clone().map(|i| some(i).then_some(1_700_000_000_123_456 + i * 60_000_000)))
                    .with_timezone("UTC"),
            ),
        ),
        ("text", Arc::new(StringArray::from_iter(n.clone().map(|i| some(i).then(|| format!("a \"quoted\", {i}\nsecond line; é\t'x'")))))),
        // The last column always holds something: a line is never empty.
        ("last", Arc::new(StringArray::from_iter(n.map(|i| Some(format!("0{i}")))))),
    ];
    let schema = Schema::new(columns.iter().map(|(name, c)| Field::new(*name, c.data_type().clone(), true)).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, c)| c).collect()).unwrap()
}

fn written(format: &Value, batch: &RecordBatch) -> Vec<u8> {
    let mut encoder = crate::writer_from_value(format).unwrap().encoder(&batch.schema()).unwrap();
    let mut out = Vec::new();
    encoder.write(batch, &mut out).unwrap();
    encoder.finish(&mut out).unwrap();
    out
}

#[tokio::test]
async fn csv_conforms() {
    let mut file = b"id,name,cost\n".to_vec();
    for i in 0..60 {
        let line = match i % 10 {
            3 => format!("x{i},bad number,1.5\n"),
            5 => format!("{i},\"two\nlines, {i}\",2.25\n"),
            7 => format!("{i},too,many,fields\n"),
            8 => format!("{i},caf\u{e9} {i},\r\n"),
            _ => format!("{i},name {i},{i}.0625\n"),
        };
        file.extend_from_slice(line.as_bytes());
    }
    let format = reader("csv", json!({ "columns": { "id": "bigint", "cost": "decimal(10,4)" } }));
    decoder::all(&Case { format, file, good: 48, bad: 12, lines: true }).await;
}

#[tokio::test]
async fn csv_with_header_and_footer_in_gzip_conforms() {
    let rows: Vec<String> = (0..50).map(|i| format!("{i}|{}|2024010{}", i * 3, i % 9 + 1)).collect();
    let text = format!("HDR|20240101\n{}\nTRL|50\n", rows.join("\n"));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, text.as_bytes()).unwrap();
    let format = reader(
        "csv",
        json!({ "delimiter": "|", "header": 1, "footer": 1, "columns": { "id": "bigint", "seconds": "int", "day": "date(%Y%m%d)" }, "compression": "gzip" }),
    );
    decoder::all(&Case { format, file: gzip.finish().unwrap(), good: 50, bad: 0, lines: true }).await;
}

#[tokio::test]
async fn json_conforms() {
    let mut file = Vec::new();
    for i in 0..60 {
        let line = match i % 10 {
            3 => format!("{{\"id\": {i}, \"name\": \n"),
            5 => format!("{{\"id\": {i}, \"deep\": {{\"list\": [1, 2, {i}], \"s\": \"\\u00e9 {i}\"}}}}\n"),
            7 => "[1, 2]\n".to_owned(),
            _ => format!("{{\"id\": {i}, \"name\": \"n {i}\"}}\n"),
        };
        file.extend_from_slice(line.as_bytes());
    }
    decoder::all(&Case { format: reader("json", json!({})), file, good: 48, bad: 12, lines: true }).await;
}

#[tokio::test]
async fn parquet_conforms() {
    let file = written(&json!({ "parquet": { "row_group_rows": 11 } }), &rows());
    decoder::all(&Case { format: reader("parquet", json!({})), file, good: 40, bad: 0, lines: false }).await;
}

#[tokio::test]
async fn avro_conforms() {
    for codec in ["null", "deflate", "snappy", "zstd"] {
        let file = written(&json!({ "avro": { "codec": codec, "block_size": "1KiB" } }), &rows());
        decoder::all(&Case { format: reader("avro", json!({})), file, good: 40, bad: 0, lines: false }).await;
    }
}

#[tokio::test]
async fn fixed_width_conforms() {
    let mut file = b"HEADER\n".to_vec();
    for i in 0..60 {
        let line = match i % 10 {
            3 => format!("x{i:05}bad number      1.5\n"),
            7 => format!("{i:06}too short\n"),
            8 => format!("{i:06}caf\u{e9}            {i:>4}\r\n"),
            _ => format!("{i:06}name {i:<11}{i:>4}\n"),
        };
        file.extend_from_slice(line.as_bytes());
    }
    let columns = json!({ "id": { "width": 6, "type": "bigint" }, "name": { "width": 16 }, "cost": { "width": 4, "type": "decimal(10,4)" } });
    let format = reader("fixed", json!({ "columns": columns, "header": 1 }));
    decoder::all(&Case { format, file, good: 48, bad: 12, lines: true }).await;
}

#[cfg(feature = "orc")]
#[tokio::test]
async fn orc_conforms() {
    let (file, _) = crate::orc::tests::written(40);
    decoder::all(&Case { format: reader("orc", json!({})), file, good: 40, bad: 0, lines: false }).await;
}

#[tokio::test]
async fn raw_conforms() {
    let file: Vec<u8> = (0..255).collect();
    decoder::all(&Case { format: reader("raw", json!({})), file, good: 1, bad: 0, lines: false }).await;
}

#[tokio::test]
async fn what_is_written_reads_back() {
    let batch = rows();
    let types: serde_json::Map<String, Value> =
        batch.schema().fields().iter().map(|f| (f.name().clone(), sluis_core::columns::type_name(f.data_type()).into())).collect();
    for (write, read) in [
        (json!("csv"), json!({ "columns": types })),
        (json!({ "csv": { "delimiter": ";", "compression": "zstd" } }), json!({ "delimiter": ";", "columns": types, "compression": "zstd" })),
        (json!("json"), json!({ "columns": types })),
        (json!({ "json": { "compression": "gzip" } }), json!({ "columns": types })),
        (json!("avro"), json!({})),
        (json!({ "avro": { "codec": "zstd", "block_size": "1KiB" } }), json!({})),
        (json!("parquet"), json!({})),
        (json!({ "parquet": { "compression": "zstd" } }), json!({})),
    ] {
        let name = write.as_str().map_or_else(|| write.as_object().unwrap().keys().next().unwrap().clone(), str::to_owned);
        decoder::round_trip(crate::writer_from_value(&write).unwrap().as_ref(), reader(&name, read).as_ref(), &batch).await;
    }
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values([&b"\x00\xff"[..], b"abc"]));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![Field::new("content", bytes.data_type().clone(), true)])), vec![bytes]).unwrap();
    assert_eq!(written(&json!("raw"), &batch), b"\x00\xffabc");
}
