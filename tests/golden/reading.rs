//! What landed, as text that does not depend on the order of files and rows: tables through `sluis sql`, files as they are, rejects through
//! `sluis rejects show`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use futures::StreamExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use sluis_testkit::binary::files_below;

use crate::ways::sluis;

/// File name in `expected/` -> its text.
pub type Seen = BTreeMap<String, String>;

/// Looks at everything that landed. `expected` may hold the query for a table: `table.<name>.sql`.
pub fn see(dir: &Path, expected: &Path) -> Seen {
    let mut seen = Seen::new();
    let tables: Vec<String> = serde_json::from_str(&sluis().run(dir, &["sql", "--json"], &[]).good()).expect("names of tables");
    for table in tables {
        let query = std::fs::read_to_string(expected.join(format!("table.{table}.sql"))).unwrap_or_else(|_| format!("select * from {table}"));
        let text = sluis().run(dir, &["sql", "--csv", query.trim()], &[]).good();
        let (header, rows) = text.split_once('\n').unwrap_or((&text, ""));
        seen.insert(format!("table.{table}.txt"), sorted(header, rows.lines().map(str::to_owned)));
    }
    for place in std::fs::read_dir(dir.join("out")).into_iter().flatten().flatten() {
        let name = place.file_name().to_string_lossy().into_owned();
        // Rejects hold times and places of this very run: they are looked at below.
        if name != "refused" {
            seen.insert(format!("files.{name}.txt"), files(&place.path()));
        }
    }
    let rejects = sluis().run(dir, &["rejects", "show", "pipeline.yaml", "--json"], &[]).good();
    let rejects: Vec<String> = rejects.lines().map(reject).collect();
    if !rejects.is_empty() {
        seen.insert("rejects.txt".into(), sorted("file, line, column, reason, raw", rejects.into_iter()));
    }
    seen
}

fn sorted(header: &str, rows: impl Iterator<Item = String>) -> String {
    let mut rows: Vec<String> = rows.collect();
    rows.sort();
    rows.insert(0, header.to_owned());
    rows.iter().map(|r| format!("{r}\n")).collect()
}

fn reject(line: &str) -> String {
    let row: Value = serde_json::from_str(line).expect("a rejected row as JSON");
    let file = row["file"].as_str().and_then(|f| f.rsplit('/').next()).unwrap_or_default();
    json!([file, row["line"], row["column"], row["reason"], row["raw"]]).to_string()
}

/// Rows of all files that a reader sees, each after its folder.
fn files(place: &Path) -> String {
    let mut rows = Vec::new();
    let mut headers = BTreeSet::new();
    for file in files_below(place) {
        let below = file.strip_prefix(place).expect("below").display().to_string();
        if below.split('/').any(|part| part.starts_with(['_', '.'])) {
            continue;
        }
        let folder = below.rsplit_once('/').map(|(folder, _)| folder.to_owned()).unwrap_or_default();
        let bytes = std::fs::read(&file).expect("a file");
        let (ending, is_table) = match below.rsplit('.').next() {
            Some("gz") => (unzip(&bytes), true),
            Some("csv") => (String::from_utf8_lossy(&bytes).into_owned(), true),
            Some("parquet") => (parquet_as_csv(bytes), true),
            Some("avro") => (avro_as_csv(bytes), true),
            Some("json" | "jsonl") => (String::from_utf8_lossy(&bytes).into_owned(), false),
            // As it is, under its own name.
            _ => (format!("{:?}", String::from_utf8_lossy(&bytes)), false),
        };
        let raw = ending.starts_with('"') && !is_table;
        let mut lines = ending.lines();
        if is_table {
            headers.insert(lines.next().unwrap_or_default().to_owned());
        }
        let place = if raw { &below } else { &folder };
        rows.extend(lines.map(|line| format!("{place}: {line}")));
    }
    sorted(&headers.into_iter().collect::<Vec<_>>().join(" / "), rows.into_iter())
}

fn unzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text).expect("gzip");
    text
}

fn avro_as_csv(bytes: Vec<u8>) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let batches = runtime.block_on(async {
        let avro = sluis_formats::AVRO.reader.expect("a reader")(&json!({})).expect("Avro");
        let file = sluis_formats::memory_file("/f.avro", bytes);
        let schema = avro.infer(std::slice::from_ref(&file), None).await.expect("columns");
        let options = sluis_core::ReadOptions { schema, batch_rows: 100, threads: 1, keep_origins: false, misfits: Default::default() };
        let rows = avro.read(file, &options).await.expect("an Avro file");
        rows.map(|d| d.expect("rows").batch).collect::<Vec<_>>().await
    });
    as_csv(batches.into_iter())
}

fn parquet_as_csv(bytes: Vec<u8>) -> String {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).and_then(|b| b.build()).expect("a Parquet file");
    as_csv(reader.map(|batch| batch.expect("a batch")))
}

fn as_csv(batches: impl Iterator<Item = arrow_array::RecordBatch>) -> String {
    let csv = sluis_formats::writer_from_value(&json!("csv")).expect("CSV");
    let mut out = Vec::new();
    let mut encoder = None;
    for batch in batches {
        let encoder = encoder.get_or_insert_with(|| csv.encoder(&batch.schema()).expect("an encoder"));
        encoder.write(&batch, &mut out).expect("rows as CSV");
    }
    if let Some(encoder) = encoder {
        encoder.finish(&mut out).expect("rows as CSV");
    }
    String::from_utf8(out).expect("text")
}
