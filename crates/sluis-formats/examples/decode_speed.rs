//! How fast the CSV decoder and the Parquet encoder are, alone, on a generated file of eight typed columns.
//!
//! `cargo run -p sluis-formats --example decode_speed [megabytes] [threads] [rounds]` prints MB/s of: framing, decoding on one thread,
//! reading with all threads, reading a file of bad rows only, and encoding to Parquet.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;
use sluis_core::{FileFormat, ReadOptions, Result};
use sluis_formats::csv::config::{CsvRead, Reading};
use sluis_formats::csv::decode::decode_block;
use sluis_formats::csv::frame::Framer;
use sluis_formats::csv::layout::{Layout, names};
use sluis_formats::{CSV, memory_file, writer_from_value};

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

fn config() -> serde_json::Value {
    json!({ "columns": {
        "id": "int", "count": "bigint", "name": "string", "price": "decimal(12,4)", "seen_at": "timestamp", "score": "double", "active": "bool",
        "day": "date" } })
}

fn say(what: &str, bytes: usize, took: Duration) {
    println!("{what:32} {:8.0} MB/s  {:7.1} ms", bytes as f64 / 1e6 / took.as_secs_f64(), took.as_secs_f64() * 1e3);
}

async fn read(text: &Bytes, threads: usize) -> Result<(Vec<RecordBatch>, usize)> {
    let format: Arc<dyn FileFormat> = match CSV.reader {
        Some(reader) => reader(&config())?,
        None => return Ok((Vec::new(), 0)),
    };
    let schema = format.infer(&[], None).await?;
    let options = ReadOptions { schema, batch_rows: 8192, threads, keep_origins: false, misfits: Default::default() };
    let mut rows = format.read(memory_file("/speed.csv", text.clone()), &options).await?;
    let (mut batches, mut rejects) = (Vec::new(), 0);
    while let Some(d) = rows.next().await {
        let d = d?;
        rejects += d.rejects.len();
        batches.push(d.batch);
    }
    Ok((batches, rejects))
}

fn main() -> Result<()> {
    let argument = |n: usize, default: usize| std::env::args().nth(n).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (megabytes, threads, rounds) = (argument(1, 256), argument(2, 2), argument(3, 3));
    let text = Bytes::from(generate(megabytes << 20, false));
    let bad = Bytes::from(generate(megabytes << 20, true));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let parsed: CsvRead = serde_json::from_value(config()).expect("a configuration");
    let reading = Reading::new(&parsed).expect("a valid configuration");
    for _ in 0..rounds {
        let started = Instant::now();
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
        say("framing", text.len(), started.elapsed());
        let names = names(&reading, &opening.expect("a header"));
        let layout = Layout::new(&reading, framer.dialect().clone(), &names, &reading.declared_schema(), false);
        let started = Instant::now();
        let decoded: usize = blocks.iter().map(|b| b.bytes.len()).sum();
        for block in blocks {
            let d = decode_block(&layout, block)?;
            assert!(d.rejects.is_empty(), "clean rows");
        }
        say("decoding, one thread", decoded, started.elapsed());

        let started = Instant::now();
        let (batches, _) = runtime.block_on(read(&text, threads))?;
        say(&format!("reading, {threads} threads"), text.len(), started.elapsed());

        let started = Instant::now();
        let (_, rejects) = runtime.block_on(read(&bad, threads))?;
        say(&format!("reading {rejects} bad rows"), bad.len(), started.elapsed());

        let factory = writer_from_value(&json!("parquet"))?;
        let started = Instant::now();
        let (mut out, mut written) = (Vec::new(), 0);
        let mut encoder = factory.encoder(&batches[0].schema())?;
        for batch in &batches {
            encoder.write(batch, &mut out)?;
            written += out.len();
            out.clear();
        }
        encoder.finish(&mut out)?;
        written += out.len();
        say(&format!("Parquet of {:.0} MB", written as f64 / 1e6), text.len(), started.elapsed());

        let mut encoder = writer_from_value(&json!("json"))?.encoder(&batches[0].schema())?;
        let started = Instant::now();
        let mut lines = Vec::new();
        batches.iter().try_for_each(|b| encoder.write(b, &mut lines))?;
        encoder.finish(&mut lines)?;
        say("writing JSON lines", lines.len(), started.elapsed());
        let lines = Bytes::from(lines);
        let json = sluis_formats::JSON.reader.map(|r| r(&config())).transpose()?.expect("a reader");
        let options = ReadOptions { schema: batches[0].schema(), batch_rows: 8192, threads: 1, keep_origins: false, misfits: Default::default() };
        let started = Instant::now();
        runtime.block_on(async {
            let mut rows = json.read(memory_file("/speed.json", lines.clone()), &options).await?;
            while let Some(d) = rows.next().await {
                assert!(d?.rejects.is_empty(), "clean rows");
            }
            Ok::<_, sluis_core::Error>(())
        })?;
        say("reading JSON lines, one thread", lines.len(), started.elapsed());

        let mut encoder = writer_from_value(&json!("csv"))?.encoder(&batches[0].schema())?;
        let started = Instant::now();
        let (mut text, mut written) = (Vec::new(), 0);
        for batch in &batches {
            encoder.write(batch, &mut text)?;
            written += text.len();
            text.clear();
        }
        encoder.finish(&mut text)?;
        say("writing CSV", written + text.len(), started.elapsed());
        println!();
    }
    Ok(())
}
