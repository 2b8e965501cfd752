//! Fuzz targets: no bytes make a reader panic, loop, or give an answer that depends on how the bytes were cut.
//!
//! Each target runs over its kept corpus (`corpus/<target>/`) and a fixed number of seeded mutations of it. `FUZZ_ROUNDS=n` asks for more,
//! `FUZZ_SEED=n` for others; a failure says which, and writes the input beside the corpus for a person to keep or fix. To run on and on:
//! `while FUZZ_SEED=$RANDOM FUZZ_ROUNDS=20000 cargo test -p sluis-formats --test fuzz; do :; done`.
//!
//! A new format is one line in [`TARGETS`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use sluis_core::{FileFormat, ReadOptions};
use sluis_formats::archive::{Archive, Choose};
use sluis_formats::memory::memory_file_in_pieces;

/// A target: its corpus, and what is done with an input.
struct Target {
    name: &'static str,
    run: fn(&[u8]),
}

const TARGETS: &[Target] = &[
    Target { name: "csv", run: csv },
    Target { name: "json", run: json },
    Target { name: "fixed", run: fixed },
    Target { name: "parquet", run: parquet },
    Target { name: "avro", run: avro },
    #[cfg(feature = "orc")]
    Target { name: "orc", run: orc },
    Target { name: "decompress", run: decompress },
    Target { name: "archive", run: archive },
];

/// Mutations of a run without `FUZZ_ROUNDS`, for each target.
const ROUNDS: u64 = 300;

/// The first byte chooses the options, the rest is the file.
fn csv(input: &[u8]) {
    let (choice, file) = input.split_first().map_or((0, input), |(c, f)| (*c, f));
    let options = [
        json!({}),
        json!({ "columns": "string", "ragged": "repair", "quotes": "lenient" }),
        json!({ "delimiter": "auto", "quotes": "lenient" }),
        json!({ "delimiter": "||", "escape": "\\", "trim": true, "newline": "any", "ragged": "rescue" }),
        json!({ "header": 0, "newline": "\\x1e", "quote": "'", "max_row": 1024 }),
        json!({ "header": 2, "footer": 1, "skip": 1, "comment": "#", "footer_count": 1 }),
        json!({ "encoding": "utf-16", "columns": { "a": "int", "b": "decimal(9,2)", "c": "timestamp(%d.%m.%Y)" } }),
        json!({ "encoding": "shift_jis", "delimiter": "none", "quote": "none" }),
    ];
    let options = &options[usize::from(choice) % options.len()];
    same_however_cut("csv", options, "/fuzz.csv", file);
    let head = sluis_core::FileHead { path: "/fuzz.csv".into(), bytes: file.to_vec().into(), whole: choice & 64 == 0 };
    if let Some(found) = sluis_formats::CSV.sniff.and_then(|sniff| sniff(&[head])) {
        assert!((0.0..=1.0).contains(&found.confidence), "{found:?}");
        assert!((sluis_formats::CSV.validate)(&found.options).is_empty(), "what is found can be configured: {found:?}");
        assert!(sluis_formats::CSV.reader.is_some_and(|r| r(&found.options).is_ok()), "{found:?}");
    }
}

fn json(input: &[u8]) {
    same_however_cut("json", &json!({}), "/fuzz.json", input);
    same_however_cut("json", &json!({ "path": "data.items", "nested": "flatten" }), "/fuzz.json", input);
}

fn fixed(input: &[u8]) {
    let columns = json!({ "id": { "width": 5, "type": "int" }, "name": { "width": 8 }, "amount": { "start": 14, "type": "decimal(12,2)" } });
    same_however_cut("fixed", &json!({ "columns": columns, "footer": 1 }), "/fuzz.txt", input);
    same_however_cut("fixed", &json!({ "columns": columns, "ragged": "pad", "header": 1 }), "/fuzz.txt", input);
}

fn avro(input: &[u8]) {
    let _ = read("avro", &json!({}), "/fuzz.avro", input, 1 << 20);
}

#[cfg(feature = "orc")]
fn orc(input: &[u8]) {
    let _ = read("orc", &json!({}), "/fuzz.orc", input, 1 << 20);
}

fn parquet(input: &[u8]) {
    let _ = read("parquet", &json!({}), "/fuzz.parquet", input, 1 << 20);
}

/// The first byte chooses the name, the rest is the file.
fn decompress(input: &[u8]) {
    let (choice, file) = input.split_first().map_or((0, input), |(c, f)| (*c, f));
    let name = ["/f.gz", "/f.zst", "/f", "/f.bz2", "/f.xz", "/f.lz4", "/f.sz"][usize::from(choice) % 7];
    same_however_cut("csv", &json!({ "columns": "string" }), name, file);
}

/// The first byte chooses the name, the rest is the file.
fn archive(input: &[u8]) {
    let (choice, file) = input.split_first().map_or((0, input), |(c, f)| (*c, f));
    let name = ["/f.zip", "/f.tar", "/f.tar.gz", "/f.tar.xz", "/f.tbz2"][usize::from(choice) % 5];
    let whole = members(name, file, 1 << 20);
    let pieces = members(name, file, 7);
    assert_eq!(whole.1, pieces.1, "{name}");
    // How much is read before damage is found is no promise.
    if whole.1.is_none() {
        assert_eq!(whole.0, pieces.0, "{name}");
    }
}

/// Names and bytes of members, and the error's kind.
fn members(name: &str, bytes: &[u8], piece: usize) -> (Vec<(String, Vec<u8>)>, Option<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let kind = Archive::by_name(name).expect("the name of an archive");
    let mut out = Vec::new();
    let read = async {
        let choose: Choose = Arc::new(|_| Some(Default::default()));
        let mut members = sluis_formats::archive::open(memory_file_in_pieces(name, bytes.to_vec(), piece), kind, choose).await?;
        while let Some(member) = members.next().await? {
            let version = member.file.version().clone();
            let pieces: Vec<bytes::Bytes> = member.file.stream().await?.try_collect().await?;
            let content = pieces.concat();
            assert_eq!(content.len() as u64, version.size, "{}: as long as it says", version.path);
            if !member.alone {
                let (from, to) = (version.size / 3, version.size / 2);
                assert_eq!(member.file.range(from..to).await?, &content[from as usize..to as usize], "{}", version.path);
            }
            out.push((version.path, content));
        }
        members.verify().await
    };
    let error = runtime.block_on(read).err().map(|e| format!("{:?}", e.kind()));
    (out, error)
}

fn same_however_cut(format: &str, options: &Value, path: &str, file: &[u8]) {
    let whole = read(format, options, path, file, 1 << 20);
    let pieces = read(format, options, path, file, 7);
    assert_eq!(whole.2, pieces.2, "{options}");
    // How much is read before damage is found is no promise.
    if whole.2.is_none() {
        assert_eq!(whole, pieces, "{options}");
    }
}

/// Rows, rejects and the error's kind, as text.
fn read(format: &str, options: &Value, path: &str, bytes: &[u8], piece: usize) -> (Vec<String>, Vec<String>, Option<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let def = sluis_formats::all().into_iter().find(|d| d.name == format).expect("a format");
        let reader: Arc<dyn FileFormat> = def.reader.expect("a reader")(options).expect("valid options");
        let file = memory_file_in_pieces(path, bytes.to_vec(), piece);
        let schema = match reader.infer(std::slice::from_ref(&file), None).await {
            Ok(schema) => schema,
            Err(e) => return (Vec::new(), Vec::new(), Some(format!("{:?}", e.kind()))),
        };
        let read = ReadOptions { schema, batch_rows: 64, threads: 2, keep_origins: false, misfits: Default::default() };
        let mut stream = match reader.read(file, &read).await {
            Ok(stream) => stream,
            Err(e) => return (Vec::new(), Vec::new(), Some(format!("{:?}", e.kind()))),
        };
        let (mut rows, mut rejects, mut error) = (Vec::new(), Vec::new(), None);
        while let Some(item) = stream.next().await {
            match item {
                Ok(d) => {
                    let cells: Vec<_> = d.batch.columns().iter().filter_map(|c| sluis_formats::cell::Cells::new(c).ok()).collect();
                    for row in 0..d.batch.num_rows() {
                        let mut text = Vec::new();
                        for cell in &cells {
                            if !cell.is_null(row) {
                                cell.text(row, &mut text);
                            }
                            text.push(b'|');
                        }
                        rows.push(String::from_utf8_lossy(&text).into_owned());
                    }
                    rows.extend(d.surplus.iter().map(|s| s.members.clone()));
                    rejects.extend(d.rejects.iter().map(|r| format!("{} {}", r.line, r.reason.code())));
                }
                Err(e) => error = Some(format!("{:?}", e.kind())),
            }
        }
        (rows, rejects, error)
    })
}

/// A small generator of numbers: the same seed gives the same inputs on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Bytes that mean something to some format.
const TOKENS: [&[u8]; 24] = [
    b",",
    b"\"",
    b"\"\"",
    b"\n",
    b"\r",
    b"\r\n",
    b"\\",
    b";",
    b"|",
    b"||",
    b" ",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"#",
    b"1e999",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\\u0000",
    b"PAR1",
    b"\x1e",
];

fn mutated(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut input = seeds[dice.below(seeds.len())].clone();
    for _ in 0..1 + dice.below(6) {
        let at = dice.below(input.len() + 1);
        match dice.below(7) {
            0 if !input.is_empty() => input[at.min(at.saturating_sub(1))] ^= 1 << dice.below(8),
            1 => drop(input.splice(at..at, TOKENS[dice.below(TOKENS.len())].iter().copied())),
            2 => {
                let to = (at + dice.below(16)).min(input.len());
                drop(input.drain(at..to));
            }
            3 => {
                let to = (at + dice.below(64)).min(input.len());
                let copy = input[at..to].to_vec();
                let into = dice.below(input.len() + 1);
                drop(input.splice(into..into, copy));
            }
            4 => {
                let other = &seeds[dice.below(seeds.len())];
                let part = other[dice.below(other.len() + 1)..].to_vec();
                input.truncate(at);
                input.extend(part);
            }
            5 => input.truncate(at),
            _ => drop(input.splice(at..at, std::iter::repeat_n(dice.next() as u8, dice.below(80)))),
        }
        input.truncate(1 << 16);
    }
    input
}

fn corpus(target: &str) -> (PathBuf, Vec<Vec<u8>>) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder).expect("a corpus").map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    let seeds = paths.iter().map(|p| std::fs::read(p).expect("a seed")).collect();
    (folder, seeds)
}

fn fuzz(target: &str) {
    let target = TARGETS.iter().find(|t| t.name == target).expect("a target");
    let number = |name: &str, default| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (rounds, seed) = (number("FUZZ_ROUNDS", ROUNDS), number("FUZZ_SEED", 1));
    let (folder, seeds) = corpus(target.name);
    assert!(!seeds.is_empty(), "the corpus of {} is empty", target.name);
    seeds.iter().for_each(|s| (target.run)(s));
    for round in 0..rounds {
        let mut dice = Dice(seed ^ round.wrapping_mul(0x0100_0000_01b3));
        let input = mutated(&seeds, &mut dice);
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| (target.run)(&input))) {
            let kept = folder.join(format!("found-{seed}-{round}"));
            std::fs::write(&kept, &input).expect("a place for what was found");
            eprintln!("{}: seed {seed}, round {round}: the input is in {}", target.name, kept.display());
            std::panic::resume_unwind(cause);
        }
    }
}

#[test]
fn csv_holds() {
    fuzz("csv");
}

#[test]
fn json_holds() {
    fuzz("json");
}

#[test]
fn fixed_width_holds() {
    fuzz("fixed");
}

#[test]
fn avro_holds() {
    fuzz("avro");
}

#[cfg(feature = "orc")]
#[test]
fn orc_holds() {
    fuzz("orc");
}

#[test]
fn parquet_holds() {
    fuzz("parquet");
}

#[test]
fn decompression_holds() {
    fuzz("decompress");
}

#[test]
fn archives_hold() {
    fuzz("archive");
}

#[test]
fn every_corpus_has_a_target() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in std::fs::read_dir(folder).expect("the corpora") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        let known = TARGETS.iter().any(|t| t.name == name) || (name == "orc" && cfg!(not(feature = "orc")));
        assert!(known, "{name} is no target");
    }
}
