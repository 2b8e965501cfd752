//! Polluted files: one clean table, spoilt in every way of the list below, one at a time, and read with its dialect given. What comes out
//! is held against the clean table.
//!
//! The kinds of pollution and the measures are those of the literature on loading polluted CSV files: of the header's names, of the records
//! and of the cells, precision, recall and F1, and whether the file could be read at all: ten points for a perfect file. The table, the
//! files and the reader's options here are our own. Run with `POLLUTION=1` to see the score of every kind.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::StreamExt;
use serde_json::{Value, json};
use sluis_core::{FileFormat, ReadOptions};
use sluis_formats::cell::Cells;
use sluis_formats::{CSV, memory_file};

type Rows = Vec<Vec<String>>;

/// One polluted file.
struct Case {
    kind: &'static str,
    name: String,
    bytes: Vec<u8>,
    options: Value,
    /// The header and the rows that should come out.
    clean: Rows,
}

const NAMES: [&str; 9] = ["day", "time", "count", "station", "price", "kind", "note", "link", "remark"];

/// A table of dates, times, numbers and texts; some with delimiters, quotes and blanks in them, some empty.
fn clean(rows: usize) -> Rows {
    let kinds = ["river gauge", "rain gauge", "thermometer", "buoy"];
    let remarks = ["", "checked", "out of order, see log", "", "set to \"low\"", "moved 3 m north"];
    let row = |i: usize| {
        vec![
            format!("2021-{:02}-{:02}", i % 12 + 1, i % 28 + 1),
            format!("{:02}:{:02}", (i * 7) % 24, (i * 13) % 60),
            format!("{}", (i * 37) % 500 + 1),
            format!("ST-{:03}", (i * 17) % 300),
            format!("{}.{:02}", (i * 11) % 90, (i * 29) % 100),
            kinds[i % 4].to_owned(),
            format!("{} of the {} kind", ["old", "new", "rebuilt"][i % 3], ["first", "second"][i % 2]),
            format!("http://data.example/{}/{i}", ["a", "b"][i % 2]),
            remarks[i % 6].to_owned(),
        ]
    };
    std::iter::once(NAMES.map(str::to_owned).to_vec()).chain((0..rows).map(row)).collect()
}

/// How a file is written.
#[derive(Clone)]
struct Style {
    delimiter: &'static str,
    quote: &'static str,
    escape: &'static str,
    end: &'static str,
    /// Which columns are quoted even where they need not be.
    quoted: fn(usize) -> bool,
}

const STYLES: [(&str, fn(usize) -> bool); 3] = [("needed", |_| false), ("texts", |c| c == 3 || c > 4), ("all", |_| true)];

fn style(quoted: fn(usize) -> bool) -> Style {
    Style { delimiter: ",", quote: "\"", escape: "\"", end: "\r\n", quoted }
}

impl Style {
    fn cell(&self, column: usize, text: &str) -> String {
        let needed = text.contains(self.delimiter) || text.contains(self.quote) || text.contains(['\n', '\r']) || text.contains(self.end);
        if needed || (self.quoted)(column) {
            format!("{q}{}{q}", text.replace(self.quote, &format!("{}{}", self.escape, self.quote)), q = self.quote)
        } else {
            text.to_owned()
        }
    }
    fn cells(&self, row: &[String]) -> Vec<String> {
        row.iter().enumerate().map(|(c, text)| self.cell(c, text)).collect()
    }
    fn line(&self, row: &[String]) -> String {
        self.cells(row).join(self.delimiter)
    }
    fn file(&self, rows: &[Vec<String>]) -> String {
        rows.iter().map(|r| self.line(r) + self.end).collect()
    }
    /// The file with one line changed.
    fn with(&self, rows: &[Vec<String>], changed: usize, line: &str) -> String {
        rows.iter().enumerate().map(|(n, r)| if n == changed { line.to_owned() } else { self.line(r) } + self.end).collect()
    }
}

/// Options for every file: its names, and that everything is text.
fn options(more: Value) -> Value {
    let mut all = json!({ "columns": "string", "names": NAMES });
    if let (Some(all), Some(more)) = (all.as_object_mut(), more.as_object()) {
        all.extend(more.clone());
    }
    all
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (style_name, quoted) in STYLES {
        let style = style(quoted);
        let rows = clean(30);
        whole_files(style_name, &style, &rows, &mut cases);
        one_record(style_name, &style, &rows, &mut cases);
    }
    cases
}

fn whole_files(style_name: &str, style: &Style, rows: &Rows, cases: &mut Vec<Case>) {
    let mut add = |kind: &'static str, text: String, more: Value, clean: &[Vec<String>]| {
        cases.push(Case { kind, name: format!("{kind} {style_name}"), bytes: text.into_bytes(), options: options(more), clean: clean.to_vec() });
    };
    let file = style.file(rows);
    add("clean", file.clone(), json!({}), rows);
    add("empty", String::new(), json!({}), &rows[..1]);
    add("header only", style.file(&rows[..1]), json!({}), &rows[..1]);
    add("one row", style.file(&rows[..2]), json!({}), &rows[..2]);
    add("no last line end", file.trim_end().to_owned(), json!({}), rows);
    add("two last line ends", format!("{file}\r\n"), json!({}), rows);
    add("no header", style.file(&rows[1..]), json!({ "header": 0 }), rows);
    for n in [2, 3] {
        add("several header rows", style.file(&rows[..1]).repeat(n - 1) + &file, json!({ "header": n }), rows);
    }
    add("preamble", format!("PREAMBLE,,,,,,,,\r\n,,,,,,,,\r\n{file}"), json!({ "skip": 2 }), rows);
    add("footer", format!("{file}FOOTNOTE,,,,,,,,\r\n"), json!({ "footer": 1 }), rows);
    let wider: Rows = rows[..10].iter().map(|r| [r.as_slice(), &r[2..3]].concat()).collect();
    add("a wider table behind", format!("{file}{}", style.file(&wider)), json!({}), rows);
    for (name, delimiter) in [(";", ";"), ("tab", "\t"), (", ", ", "), ("space", " "), ("|", "|"), ("||", "||"), ("§", "§"), ("\\x1f", "\u{1f}")] {
        add("field delimiter", Style { delimiter, ..style.clone() }.file(rows), json!({ "delimiter": name }), rows);
    }
    for (name, end) in [("auto", "\n"), ("auto", "\r"), ("crlf", "\r\n"), ("cr", "\r"), ("\\x1e", "\u{1e}"), ("@", "@"), ("%%\\n", "%%\n")] {
        add("record delimiter", Style { end, ..style.clone() }.file(rows), json!({ "newline": name }), rows);
    }
    let mixed: String = rows.iter().enumerate().map(|(n, r)| style.line(r) + ["\n", "\r\n", "\r"][n % 3]).collect();
    add("record delimiter", mixed, json!({ "newline": "any" }), rows);
    add("quote", Style { quote: "'", escape: "'", ..style.clone() }.file(rows), json!({ "quote": "'" }), rows);
    add("escape", Style { escape: "\\", ..style.clone() }.file(rows), json!({ "escape": "\\" }), rows);
    add("no escape", Style { escape: "", ..style.clone() }.file(rows), json!({ "escape": "none" }), rows);
}

fn one_record(style_name: &str, style: &Style, rows: &Rows, cases: &mut Vec<Case>) {
    let mut add = |kind: &'static str, at: String, text: String, clean: Rows| {
        cases.push(Case { kind, name: format!("{kind} {style_name} {at}"), bytes: text.into_bytes(), options: options(json!({})), clean });
    };
    for (n, row) in rows.iter().enumerate() {
        let cells = style.cells(row);
        for c in 0..row.len() {
            let at = format!("{n}/{c}");
            let mut more = cells.clone();
            more.insert(c, String::new());
            add("a delimiter too many", at.clone(), style.with(rows, n, &more.join(",")), rows.clone());
            if c > 0 {
                let line = format!("{}{}", cells[..c].join(","), cells[c..].join(","));
                add("a delimiter too few", at.clone(), style.with(rows, n, &line), rows.clone());
            }
            let (mut quoted, mut clean) = (cells.clone(), rows.clone());
            quoted[c] = match cells[c].strip_prefix('"') {
                Some(rest) => format!("\"\"{rest}"),
                None => format!("\"{}", cells[c]),
            };
            if n > 0 {
                clean[n][c].insert(0, '"');
            }
            add("a quote too many", at, style.with(rows, n, &quoted.join(",")), clean);
        }
        add("another delimiter", format!("{n}"), style.with(rows, n, &cells.join(" ")), rows.clone());
    }
}

/// What the reader makes of a file: header and rows.
async fn load(case: &Case, policy: &Value) -> Option<Rows> {
    let mut options = case.options.clone();
    options.as_object_mut()?.extend(policy.as_object()?.clone());
    assert!((CSV.validate)(&options).is_empty(), "{options}");
    let format: Arc<dyn FileFormat> = (CSV.reader?)(&options).ok()?;
    let file = memory_file("/polluted.csv", case.bytes.clone());
    let schema = format.infer(std::slice::from_ref(&file), None).await.ok()?;
    let mut out: Rows = vec![schema.fields().iter().map(|f| f.name().clone()).collect()];
    let read = ReadOptions { schema, batch_rows: 8192, threads: 1, keep_origins: false, misfits: Default::default() };
    let mut stream = format.read(file, &read).await.ok()?;
    while let Some(decoded) = stream.next().await {
        let batch = decoded.ok()?.batch;
        let columns: Vec<Cells> = batch.columns().iter().map(Cells::new).collect::<Result<_, _>>().ok()?;
        for row in 0..batch.num_rows() {
            let cell = |c: &Cells| {
                let mut text = Vec::new();
                if !c.is_null(row) {
                    c.text(row, &mut text);
                }
                String::from_utf8(text).unwrap_or_default()
            };
            out.push(columns.iter().map(cell).collect());
        }
    }
    Some(out)
}

/// Precision, recall and F1 of what was loaded, as multisets.
fn measure(wanted: &[String], loaded: &[String]) -> f64 {
    if wanted.is_empty() {
        return 3.0;
    }
    let mut counts: HashMap<&str, i64> = HashMap::new();
    wanted.iter().for_each(|w| *counts.entry(w).or_default() += 1);
    let mut common = 0.0;
    for text in loaded {
        if let Some(n) = counts.get_mut(text.as_str()).filter(|n| **n > 0) {
            *n -= 1;
            common += 1.0;
        }
    }
    if common == 0.0 {
        return 0.0;
    }
    let (p, r) = (common / loaded.len() as f64, common / wanted.len() as f64);
    p + r + 2.0 * p * r / (p + r)
}

fn score(clean: &Rows, loaded: Option<&Rows>) -> f64 {
    let Some(loaded) = loaded else { return 0.0 };
    let records = |rows: &Rows| rows.iter().skip(1).map(|r| r.concat()).collect::<Vec<_>>();
    let cells = |rows: &Rows| rows.concat();
    1.0 + measure(&clean[0], &loaded[0]) + measure(&records(clean), &records(loaded)) + measure(&cells(clean), &cells(loaded))
}

/// The mean score of every kind under a policy, and of all files.
async fn scores(policy: Value) -> (BTreeMap<&'static str, f64>, f64) {
    let mut kinds: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    let told = std::env::var_os("POLLUTION").is_some();
    for case in cases() {
        let loaded = load(&case, &policy).await;
        let score = score(&case.clean, loaded.as_ref());
        if told && score < 9.99 {
            let wrong = |rows: &Rows| rows.iter().filter(|r| !case.clean.contains(r)).map(|r| r.join("¦")).collect::<Vec<_>>();
            println!("{score:7.4} {} {:?}", case.name, loaded.as_ref().map(wrong));
        }
        kinds.entry(case.kind).or_default().push(score);
    }
    let all: Vec<f64> = kinds.values().flatten().copied().collect();
    let mean = |s: &[f64]| s.iter().sum::<f64>() / s.len() as f64;
    let kinds: BTreeMap<_, _> = kinds.iter().map(|(k, s)| (*k, mean(s))).collect();
    if told {
        kinds.iter().for_each(|(k, s)| println!("{s:7.4} {k}"));
        println!("{:7.4} all, {policy}", mean(&all));
    }
    (kinds, mean(&all))
}

#[tokio::test]
async fn polluted_files_come_out_as_the_clean_table() {
    let (kinds, all) = scores(json!({ "ragged": "repair", "quotes": "lenient" })).await;
    for (kind, least) in [("another delimiter", 9.8), ("a delimiter too few", 9.93), ("a delimiter too many", 9.99), ("a quote too many", 9.99)] {
        assert!(kinds[kind] > least, "{kind}: {}", kinds[kind]);
    }
    for (kind, score) in kinds.iter().filter(|(k, _)| !k.starts_with("a ") && !k.starts_with("another") && **k != "no escape") {
        assert!(*score > 9.999_999, "{kind}: {score}");
    }
    assert!(all > 9.97, "{all}");
}

#[tokio::test]
async fn without_names_a_spoilt_header_or_first_row_spoils_no_other() {
    // As many fields as most rows have is what the header has, too.
    let (kinds, all) = scores(json!({ "ragged": "repair", "quotes": "lenient", "names": [] })).await;
    for kind in ["a delimiter too few", "a delimiter too many"] {
        assert!(kinds[kind] > 9.9, "{kind}: {}", kinds[kind]);
    }
    assert!(all > 9.9, "{all}");
}

#[tokio::test]
async fn by_default_only_the_spoilt_record_is_lost() {
    let (kinds, all) = scores(json!({})).await;
    // One record of thirty, in records and in cells.
    for kind in ["another delimiter", "a delimiter too few", "a delimiter too many", "a quote too many"] {
        assert!(kinds[kind] > 9.89, "{kind}: {}", kinds[kind]);
    }
    assert!(all > 9.9, "{all}");
}
