//! How fast decoders and encoders are, alone, per core, beside those of others and the plain reading of the same bytes.
//!
//! `cargo run -p sluis-formats --example decode_speed [megabytes] [rounds]` prints a line per decoder or encoder, with tabulators between:
//! name, GB/s per core (bytes of the file by seconds of CPU, the best round), and that as a part of the speed of reading the file from the
//! page cache. Eight typed columns; every result's rows are counted before its time does.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use sluis_core::{Error, FileFormat, ReadOptions, Result};
use sluis_formats::csv::config::{CsvRead, Reading};
use sluis_formats::csv::decode::decode_block;
use sluis_formats::csv::frame::{Block, Framer};
use sluis_formats::csv::layout::{Layout, names};
use sluis_formats::{memory_file, writer_from_value};

const COLUMNS: &str = "id,count,name,price,seen_at,score,active,day";

fn generate(bytes: usize, bad: bool) -> String {
    let mut out = String::with_capacity(bytes + 200);
    out.push_str(COLUMNS);
    out.push('\n');
    let mut x = 88_172_645_463_325_252_u64;
    while out.len() < bytes {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        let (a, b) = (x % 1_000_003, x >> 40);
        let day = if bad { 99 } else { a % 28 + 1 };
        let _ = writeln!(
            out,
            "{},{},customer {} of {},{}.{:04},2024-{:02}-{:02} {:02}:{:02}:{:02}.{:03},{},{},2023-{:02}-{day:02}",
            a,
            x >> 8,
            b % 9973,
            a % 101,
            b % 100_000,
            a % 10_000,
            a % 12 + 1,
            b % 28 + 1,
            a % 24,
            b % 60,
            a % 60,
            b % 1000,
            (a as f64) / 7.0,
            if x & 64 == 0 { "true" } else { "false" },
            b % 12 + 1,
        );
    }
    out
}

fn columns() -> Value {
    json!({
        "id": "int", "count": "bigint", "name": "string", "price": "decimal(12,4)", "seen_at": "timestamp", "score": "double", "active": "bool",
        "day": "date" })
}

/// Every column as wide as its widest text.
const WIDTHS: [(&str, usize); 8] =
    [("id", 8), ("count", 20), ("name", 24), ("price", 12), ("seen_at", 26), ("score", 22), ("active", 6), ("day", 11)];

fn fixed_width(text: &str) -> (String, Value) {
    let mut out = String::with_capacity(text.len() * 2);
    for line in text.lines().skip(1) {
        line.split(',').zip(WIDTHS).for_each(|(field, (_, width))| {
            let _ = write!(out, "{field:<width$}");
        });
        out.push('\n');
    }
    let typed = columns();
    let places = WIDTHS.iter().map(|(name, width)| ((*name).to_owned(), json!({ "width": width, "type": typed[*name] })));
    (out, json!({ "columns": places.collect::<serde_json::Map<_, _>>() }))
}

/// Seconds of CPU that this process has used, all its threads together.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
    fields.iter().sum::<f64>() / 100.0
}

struct Race {
    rounds: usize,
    /// GB/s of the plain read.
    read: f64,
}

impl Race {
    /// Runs `work` over `bytes` bytes; it answers how many rows it has seen.
    fn run(&mut self, name: &str, bytes: usize, rows: usize, mut work: impl FnMut() -> Result<usize>) -> Result<f64> {
        let mut best = f64::INFINITY;
        for _ in 0..self.rounds {
            // The clock counts hundredths of a second: as often as it takes to see half a second.
            let (begun, mut times) = (cpu(), 0);
            while times == 0 || cpu() - begun < 0.5 {
                let seen = work()?;
                assert_eq!(seen, rows, "{name} sees every row");
                times += 1;
            }
            best = best.min((cpu() - begun) / f64::from(times));
        }
        let speed = bytes as f64 / 1e9 / best;
        let part = if self.read > 0.0 { speed / self.read } else { 1.0 };
        println!("{name}\t{speed:.2}\t{part:.3}");
        Ok(speed)
    }
}

fn reader(format: &str, config: &Value) -> Result<Arc<dyn FileFormat>> {
    let def = sluis_formats::all().into_iter().find(|d| d.name == format);
    def.and_then(|d| d.reader).ok_or_else(|| Error::internal("no such format"))?(config)
}

/// Rows and rejects of a file, decoded by one thread.
async fn read(format: &dyn FileFormat, bytes: &Bytes, batches: Option<&mut Vec<RecordBatch>>) -> Result<usize> {
    let file = memory_file("/speed", bytes.clone());
    let schema = format.infer(std::slice::from_ref(&file), None).await?;
    let options = ReadOptions { schema, batch_rows: 8192, threads: 1, keep_origins: false, misfits: Default::default() };
    let mut items = format.read(file, &options).await?;
    let (mut rows, mut keep) = (0, batches);
    while let Some(d) = items.next().await {
        let d = d?;
        rows += d.batch.num_rows() + d.rejects.len();
        if let Some(keep) = &mut keep {
            keep.push(d.batch);
        }
    }
    Ok(rows)
}

fn write(format: &Value, batches: &[RecordBatch]) -> Result<Vec<u8>> {
    let mut encoder = writer_from_value(format)?.encoder(&batches[0].schema())?;
    let mut out = Vec::new();
    batches.iter().try_for_each(|b| encoder.write(b, &mut out))?;
    encoder.finish(&mut out)?;
    Ok(out)
}

/// The file's blocks and what decodes them.
fn blocks(text: &[u8]) -> (Vec<Block>, Layout) {
    let parsed: CsvRead = serde_json::from_value(json!({ "columns": columns() })).expect("a configuration");
    let reading = Reading::new(&parsed).expect("a valid configuration");
    let mut framer = Framer::new(reading.dialect.clone(), None, 1 << 20, 0, 1, 0);
    let (mut blocks, mut opening) = (Vec::new(), None);
    for piece in text.chunks(1 << 20) {
        framer.push(piece);
        if opening.is_none() {
            opening = framer.open();
        }
        while let Some(block) = framer.next_block() {
            blocks.push(block);
        }
    }
    framer.end();
    while let Some(block) = framer.next_block() {
        blocks.push(block);
    }
    let names = names(&reading, framer.dialect(), &opening.expect("a header"));
    let layout = Layout::new(&reading, framer.dialect().clone(), &names, &reading.declared_schema(), false);
    (blocks, layout)
}

fn plain_read(path: &std::path::Path) -> Result<usize> {
    let failed = |e: std::io::Error| Error::internal("the file cannot be read").source(e);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let (mut buffer, mut total) = (vec![0; 1 << 20], 0);
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(total),
            n => total += n,
        }
    }
}

fn main() -> Result<()> {
    let argument = |n: usize, default: usize| std::env::args().nth(n).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (megabytes, rounds) = (argument(1, 128), argument(2, 3));
    let plain = generate(megabytes << 20, false);
    let rows = plain.lines().count() - 1;
    let (fixed, fixed_config) = fixed_width(&plain);
    let text = Bytes::from(plain);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let config = json!({ "columns": columns() });
    let mut race = Race { rounds, read: 0.0 };

    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&text).expect("room for it");
    race.read = race.run("reading the file, page cache", text.len(), text.len(), || plain_read(file.path()))?;

    let (csv_blocks, layout) = blocks(&text);
    race.run("CSV, blocks", text.len(), rows, || csv_blocks.iter().map(|b| Ok(decode_block(&layout, b.clone())?.batch.num_rows())).sum())?;
    let csv = reader("csv", &config)?;
    let mut batches = Vec::new();
    runtime.block_on(read(csv.as_ref(), &text, Some(&mut batches)))?;
    let schema = batches[0].schema();
    race.run("CSV, files", text.len(), rows, || runtime.block_on(read(csv.as_ref(), &text, None)))?;
    race.run("CSV: arrow-csv", text.len(), rows, || {
        let reader = arrow_csv::ReaderBuilder::new(schema.clone()).with_header(true).with_batch_size(8192).build_buffered(text.as_ref());
        reader.and_then(|r| r.map(|b| Ok(b?.num_rows())).sum()).map_err(|e| Error::internal("arrow-csv fails").source(e))
    })?;
    race.run("CSV: csv crate, fields only", text.len(), rows, || {
        let (mut reader, mut record, mut seen) = (csv::Reader::from_reader(text.as_ref()), csv::ByteRecord::new(), 0);
        while reader.read_byte_record(&mut record).map_err(|e| Error::internal("csv fails").source(e))? {
            seen += 1;
        }
        Ok(seen)
    })?;
    let bad = Bytes::from(generate(megabytes << 20, true));
    let bad_rows = memchr::memchr_iter(b'\n', &bad).count() - 1;
    race.run("CSV, every row bad", bad.len(), bad_rows, || runtime.block_on(read(csv.as_ref(), &bad, None)))?;

    let lines = Bytes::from(write(&json!("json"), &batches)?);
    let jsonl = reader("json", &config)?;
    race.run("JSON lines", lines.len(), rows, || runtime.block_on(read(jsonl.as_ref(), &lines, None)))?;
    race.run("JSON lines: arrow-json", lines.len(), rows, || {
        let reader = arrow_json::ReaderBuilder::new(schema.clone()).with_batch_size(8192).build(lines.as_ref());
        reader.and_then(|r| r.map(|b| Ok(b?.num_rows())).sum()).map_err(|e| Error::internal("arrow-json fails").source(e))
    })?;
    for (name, format, read_config) in [
        ("JSON, one array", json!({ "json": { "lines": false } }), Some(("json", config.clone()))),
        ("Avro, uncompressed", json!({ "avro": { "codec": "null" } }), Some(("avro", json!({})))),
        ("Avro, deflate", json!("avro"), Some(("avro", json!({})))),
        ("Parquet, snappy", json!("parquet"), Some(("parquet", json!({})))),
    ] {
        let bytes = Bytes::from(write(&format, &batches)?);
        if let Some((format, config)) = read_config {
            let format = reader(format, &config)?;
            race.run(name, bytes.len(), rows, || runtime.block_on(read(format.as_ref(), &bytes, None)))?;
        }
    }
    let fixed = Bytes::from(fixed);
    let format = reader("fixed", &fixed_config)?;
    race.run("fixed width", fixed.len(), rows, || runtime.block_on(read(format.as_ref(), &fixed, None)))?;

    for (name, format) in [
        ("writing CSV", json!("csv")),
        ("writing JSON lines", json!("json")),
        ("writing Avro, uncompressed", json!({ "avro": { "codec": "null" } })),
        ("writing Parquet, snappy (bytes of the CSV)", json!("parquet")),
    ] {
        let length = if format == json!("parquet") { text.len() } else { write(&format, &batches)?.len() };
        race.run(name, length, rows, || write(&format, &batches).map(|_| rows))?;
    }
    Ok(())
}
