//! The data of the benchmarks: made once into `target/bench`, the same on every machine.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A folder of CSV files, and what must come out of it.
pub struct Data {
    pub folder: PathBuf,
    pub bytes: u64,
    pub files: u64,
    pub rows: u64,
    pub sum_of_ids: u64,
}

struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// One file, `rows` rows, 8 typed columns, about 100 bytes a row.
///
/// # Errors
/// If it cannot be written.
pub fn wide(under: &Path, rows: u64) -> Result<Data, String> {
    let folder = under.join(format!("data/typed-{rows}"));
    let path = folder.join("typed.csv");
    let sum_of_ids = rows * (rows + 1) / 2;
    if !path.exists() {
        std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let part = folder.join(".part");
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&part).map_err(|e| e.to_string())?);
        out.write_all(b"id,account,name,amount,seen_at,score,active,day\n").map_err(|e| e.to_string())?;
        let mut numbers = Numbers(88_172_645_463_325_252);
        let mut line = String::with_capacity(200);
        for id in 1..=rows {
            let x = numbers.next();
            let (a, b) = (x % 1_000_003, x >> 40);
            line.clear();
            let _ = writeln!(
                line,
                "{id},{},customer {} of {},{}.{:02},2024-{:02}-{:02} {:02}:{:02}:{:02}.{:03},{},{},2023-{:02}-{:02}",
                x % 2_000_000_000,
                b % 9973,
                a % 101,
                b % 1_000_000,
                a % 100,
                a % 12 + 1,
                b % 28 + 1,
                a % 24,
                b % 60,
                a % 60,
                b % 1000,
                (a as f64) / 7.0,
                if x & 64 == 0 { "true" } else { "false" },
                b % 12 + 1,
                a % 28 + 1,
            );
            out.write_all(line.as_bytes()).map_err(|e| e.to_string())?;
        }
        out.flush().and_then(|()| std::fs::rename(&part, &path)).map_err(|e| e.to_string())?;
    }
    let bytes = std::fs::metadata(&path).map_err(|e| e.to_string())?.len();
    Ok(Data { folder, bytes, files: 1, rows, sum_of_ids })
}

/// The file of [`wide`], with an amount in every row that is no number.
///
/// # Errors
/// If it cannot be written.
pub fn bad(under: &Path, rows: u64) -> Result<Data, String> {
    let good = wide(under, rows)?;
    let folder = under.join(format!("data/bad-{rows}"));
    let path = folder.join("bad.csv");
    if !path.exists() {
        std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let part = folder.join(".part");
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&part).map_err(|e| e.to_string())?);
        let from = BufReader::with_capacity(1 << 20, File::open(good.folder.join("typed.csv")).map_err(|e| e.to_string())?);
        for (number, line) in from.lines().enumerate() {
            let line = line.map_err(|e| e.to_string())?;
            let mut fields: Vec<&str> = line.split(',').collect();
            if number > 0 {
                fields[3] = "n/a";
            }
            let spoiled = fields.join(",");
            writeln!(out, "{spoiled}").map_err(|e| e.to_string())?;
        }
        out.flush().and_then(|()| std::fs::rename(&part, &path)).map_err(|e| e.to_string())?;
    }
    let bytes = std::fs::metadata(&path).map_err(|e| e.to_string())?.len();
    Ok(Data { folder, bytes, files: 1, rows, sum_of_ids: 0 })
}

/// `files` files of 100 rows, whose columns drift: one is added, another one, the order changes, one goes.
///
/// # Errors
/// If it cannot be written.
pub fn drifting(under: &Path, files: u64) -> Result<Data, String> {
    const ROWS: u64 = 100;
    let folder = under.join(format!("data/drifting-{files}"));
    let rows = files * ROWS;
    let mut bytes = 0;
    if !folder.exists() {
        let part = under.join("data/.drifting");
        let _ = std::fs::remove_dir_all(&part);
        std::fs::create_dir_all(&part).map_err(|e| e.to_string())?;
        let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
        for file in 0..files {
            let text = drifted(file, files, file * ROWS, ROWS, &mut numbers);
            std::fs::write(part.join(format!("day-{file:05}.csv")), text).map_err(|e| e.to_string())?;
        }
        std::fs::rename(&part, &folder).map_err(|e| e.to_string())?;
    }
    for entry in std::fs::read_dir(&folder).map_err(|e| e.to_string())?.flatten() {
        bytes += entry.metadata().map_err(|e| e.to_string())?.len();
    }
    Ok(Data { folder, bytes, files, rows, sum_of_ids: rows * (rows + 1) / 2 })
}

fn drifted(file: u64, files: u64, before: u64, rows: u64, numbers: &mut Numbers) -> String {
    let columns: &[&str] = match file * 5 / files {
        0 => &["id", "name", "amount"],
        1 => &["id", "name", "amount", "city"],
        2 => &["id", "name", "amount", "city", "score"],
        3 => &["score", "city", "id", "amount", "name"],
        _ => &["id", "city", "amount", "score"],
    };
    let mut out = columns.join(",") + "\n";
    for row in 1..=rows {
        let x = numbers.next();
        for (number, column) in columns.iter().enumerate() {
            if number > 0 {
                out.push(',');
            }
            let _ = match *column {
                "id" => write!(out, "{}", before + row),
                "name" => write!(out, "customer {}", x % 9973),
                "amount" => write!(out, "{}.{:02}", x % 100_000, x >> 8 & 63),
                "city" => write!(out, "{}", ["Gent", "Brugge", "Namur", "Aarlen"][(x >> 20) as usize & 3]),
                _ => write!(out, "{}", (x >> 32) as f64 / 1024.0),
            };
        }
        out.push('\n');
    }
    out
}
