//! Well-formed files in many dialects, read by us, by DuckDB and by Polars: all three see the same text. Python runs once.
//!
//! Deliberately not here: files that break the rules, where readers differ by policy (`pollution.rs`, `csv/`). What the peers cannot be told
//! (Polars: delimiters of several characters, escapes) or refuse is left out for them alone, and must be little.

use std::process::Command;
use std::sync::Arc;

use futures::StreamExt;
use serde_json::{Value, json};
use sluis_core::{FileFormat, ReadOptions};
use sluis_formats::cell::Cells;
use sluis_formats::{CSV, memory_file};

type Rows = Vec<Vec<Option<String>>>;

/// The same seed gives the same files on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// A file: its text, how a peer is told to read it, and how we are.
struct Case {
    text: String,
    theirs: Value,
    ours: Value,
}

const PARTS: [&str; 20] = [
    "a",
    "b",
    "7",
    "-1.5",
    "é",
    "日本",
    ",",
    ";",
    "|",
    "||",
    "\t",
    "'",
    "\"",
    " ",
    "  ",
    "\\",
    "\n",
    "\r\n",
    "long text without anything special",
    "#",
];

fn case(dice: &mut Dice) -> Case {
    let delimiter = dice.of(&[",", ",", ";", "|", "\t", "||"]);
    let quote = dice.of(&["\"", "\"", "\"", "'"]);
    let escape = dice.of(&["", "", "", "\\"]);
    let end = dice.of(&["\n", "\n", "\r\n"]);
    let header = dice.below(2) == 0;
    let width = 2 + dice.below(4);
    let names: Vec<String> = (0..width).map(|c| format!("c{c}")).collect();
    let mut text = String::new();
    if header {
        text.push_str(&(names.join(delimiter) + end));
    }
    let rows = 1 + dice.below(30);
    for row in 0..rows {
        for column in 0..width {
            if column > 0 {
                text.push_str(delimiter);
            }
            // The first column is never empty, so that no line is blank to anyone.
            let value: String =
                (0..dice.below(4).max(usize::from(column == 0))).map(|_| dice.of(&PARTS)).filter(|p| escape.is_empty() || *p != "\\").collect();
            let value = if column == 0 && value.is_empty() { "x".to_owned() } else { value };
            text.push_str(&written(&value, delimiter, quote, escape, dice.below(4) == 0));
        }
        if row + 1 < rows || dice.below(3) > 0 {
            text.push_str(end);
        }
    }
    let named = if delimiter == "\t" { "tab" } else { delimiter };
    let mut ours = json!({ "delimiter": named, "quote": quote, "header": header, "names": names, "columns": "string", "newline": "lf" });
    if !escape.is_empty() {
        ours["escape"] = escape.into();
    }
    Case { text, theirs: json!({ "delimiter": delimiter, "quote": quote, "escape": escape, "header": header, "names": names }), ours }
}

fn written(value: &str, delimiter: &str, quote: &str, escape: &str, always: bool) -> String {
    let plain = !value.contains(delimiter) && !value.contains(['\n', '\r', '"', '\'', '\\', '|', '#', ' ']);
    if plain && (!always || value.is_empty()) {
        return value.to_owned();
    }
    let escaped =
        if escape.is_empty() { value.replace(quote, &quote.repeat(2)) } else { value.replace('\\', "\\\\").replace(quote, &format!("\\{quote}")) };
    format!("{quote}{escaped}{quote}")
}

async fn read(case: &Case) -> Rows {
    let format: Arc<dyn FileFormat> = CSV.reader.expect("a reader")(&case.ours).expect("valid options");
    let file = memory_file("/f.csv", case.text.clone());
    let schema = format.infer(std::slice::from_ref(&file), None).await.expect("a schema");
    let options = ReadOptions { schema, batch_rows: 8, threads: 2, keep_origins: false, misfits: Default::default() };
    let mut stream = format.read(file, &options).await.expect("a stream");
    let mut out = Vec::new();
    while let Some(item) = stream.next().await {
        let d = item.expect("rows");
        assert!(d.rejects.is_empty(), "{:?} in {:?}", d.rejects, case.text);
        let columns: Vec<Cells> = d.batch.columns().iter().map(|c| Cells::new(c).expect("cells")).collect();
        for row in 0..d.batch.num_rows() {
            let cell = |c: &Cells| {
                let mut text = Vec::new();
                c.text(row, &mut text);
                (!c.is_null(row)).then(|| String::from_utf8(text).expect("UTF-8"))
            };
            out.push(columns.iter().map(cell).collect());
        }
    }
    out
}

#[tokio::test]
async fn duckdb_and_polars_see_the_same_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut dice = Dice(20_240_229);
    let cases: Vec<Case> = (0..250).map(|_| case(&mut dice)).collect();
    let manifest: Vec<Value> = cases
        .iter()
        .enumerate()
        .map(|(n, case)| {
            let path = folder.path().join(format!("{n}.csv"));
            std::fs::write(&path, &case.text).expect("a file");
            let mut entry = case.theirs.clone();
            entry["path"] = path.to_string_lossy().into();
            entry
        })
        .collect();
    let path = folder.path().join("manifest.json");
    std::fs::write(&path, serde_json::to_vec(&manifest).expect("JSON")).expect("a manifest");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/readers/read_csv.py");
    let out = Command::new(sluis_testkit::services::python()).arg(script).arg(&path).output().expect("Python");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let seen: Vec<Value> = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(seen.len(), cases.len());
    let refusals = String::from_utf8_lossy(&out.stderr).lines().filter(|l| l.contains("Error")).count();
    let (mut duckdb, mut polars) = (0, 0);
    for (case, seen) in cases.iter().zip(seen) {
        let ours = read(case).await;
        for (who, count) in [("duckdb", &mut duckdb), ("polars", &mut polars)] {
            if seen[who].is_null() {
                continue;
            }
            let theirs: Rows = serde_json::from_value(seen[who].clone()).expect("rows");
            assert_eq!(ours, theirs, "{who}: {} {:?}", case.ours, case.text);
            *count += 1;
        }
    }
    assert!(duckdb > 200 && polars > 100, "{duckdb} and {polars} files were compared, {refusals} refused");
}
