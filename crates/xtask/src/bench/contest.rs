//! P1a and P1b: files in, a table's files out, beside DuckDB, Polars and dlt.
//!
//! Rounds are interleaved, so that a machine that slows down slows everybody down. The median of the rounds counts.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::data::{self, Data};
use super::{Bench, Line, Table};
use crate::process;

/// What a run cost.
#[derive(Clone, Copy)]
pub struct Cost {
    pub wall: f64,
    pub cpu: f64,
    pub peak: f64,
}

/// Runs a program and says what it cost.
///
/// # Errors
/// If it fails; with the end of what it said.
pub fn measure(bench: &Bench, name: &str, command: &Command) -> Result<Cost, String> {
    let logs = bench.folder.join("logs");
    std::fs::create_dir_all(&logs).map_err(|e| e.to_string())?;
    let (result, log) = (logs.join(format!("{name}.json")), logs.join(format!("{name}.log")));
    let mut outer = Command::new(&bench.python);
    outer.arg(process::root().join("bench/measure.py")).arg(&result).arg(&log).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        outer.current_dir(folder);
    }
    process::output(&mut outer)?;
    let cost: Value = std::fs::read(&result).ok().and_then(|b| serde_json::from_slice(&b).ok()).ok_or("measure.py wrote nothing")?;
    if cost["status"] != 0 {
        return Err(format!("`{}` failed:\n{}", process::line(command), process::tail(&log, 20)));
    }
    let number = |key: &str| cost[key].as_f64().unwrap_or(f64::NAN);
    Ok(Cost { wall: number("wall"), cpu: number("cpu"), peak: number("peak") })
}

/// The one in the middle by wall time.
pub fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by(|a, b| a.wall.total_cmp(&b.wall));
    costs[costs.len() / 2]
}

/// The pipeline that lands [`data::wide`].
pub fn wide_pipeline(folder: &Path, target: &str) -> String {
    let columns = "id: bigint, account: int, name: string, amount: \"decimal(12,2)\", seen_at: timestamp, score: double, active: bool, day: date";
    format!(
        "from:\n  files: {{ url: {} }}\n  csv: {{ columns: {{ {columns} }} }}\ninto:\n  files: {{ url: {target}/, format: {{ parquet: {{ compression: snappy }} }} }}\n",
        folder.display()
    )
}

pub fn p1a(bench: &Bench) -> Result<Table, String> {
    let data = data::wide(&bench.folder, if bench.quick { 1_000_000 } else { 10_000_000 })?;
    let pipeline = |target: &str| wide_pipeline(&data.folder, target);
    let about = format!("One CSV file of {} rows and 8 typed columns ({} MB) to Parquet (snappy).", data.rows, data.bytes / 1_000_000);
    contest(bench, "p1a", "P1a: one large CSV to Parquet", about, &data, &["duckdb", "polars"], pipeline)
}

pub fn p1b(bench: &Bench) -> Result<Table, String> {
    let data = data::drifting(&bench.folder, if bench.quick { 500 } else { 5_000 })?;
    let pipeline = |target: &str| {
        format!("from:\n  files: {{ url: {} }}\n  csv: {{}}\ninto:\n  files: {{ url: {target}/, format: parquet }}\n", data.folder.display())
    };
    let about = format!(
        "{} CSV files of 100 rows whose columns come, go and move ({} MB) to one Parquet table; types inferred, columns matched by name.",
        data.files,
        data.bytes / 1_000_000
    );
    contest(bench, "p1b", "P1b: thousands of small drifting CSVs", about, &data, &["duckdb", "polars", "dlt"], pipeline)
}

fn contest(
    bench: &Bench,
    id: &str,
    title: &str,
    about: String,
    data: &Data,
    peers: &[&str],
    pipeline: impl Fn(&str) -> String,
) -> Result<Table, String> {
    let work = bench.folder.join(id);
    let names: Vec<&str> = std::iter::once("sluis").chain(peers.iter().copied()).collect();
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); names.len()];
    for round in 0..if bench.quick { 1 } else { 3 } {
        for (number, name) in names.iter().enumerate() {
            // dlt takes minutes: once is enough to see where it is.
            if *name == "dlt" && round > 0 {
                continue;
            }
            let place = work.join(format!("{name}-{round}"));
            let _ = std::fs::remove_dir_all(&place);
            std::fs::create_dir_all(&place).map_err(|e| e.to_string())?;
            let (command, result) = entrant(bench, id, name, &place, data, &pipeline)?;
            let cost = measure(bench, &format!("{id}-{name}"), &command)?;
            verify(bench, &result, data)?;
            println!("{name}: {:.2} s, CPU {:.2} s, {:.0} MB", cost.wall, cost.cpu, cost.peak / 1e6);
            costs[number].push(cost);
            let _ = std::fs::remove_dir_all(&place);
        }
    }
    let middle: Vec<Cost> = costs.into_iter().map(median).collect();
    let own = middle[0];
    let lines = names.iter().zip(&middle).map(|(name, cost)| Line {
        name: (*name).to_owned(),
        cells: vec![
            format!("{:.2} s", cost.wall),
            format!("{:.2} s", cost.cpu),
            format!("{:.0} MB", cost.peak / 1e6),
            format!("{:.0} MB/s", data.bytes as f64 / 1e6 / cost.wall),
            format!("{:.2}", own.wall / cost.wall),
        ],
    });
    let columns = vec!["", "wall", "CPU", "peak memory", "of input", "sluis's wall time as a part of it"];
    Ok(Table { title: title.into(), about, columns, lines: lines.collect() })
}

/// The command of an entrant, and where its result will be.
fn entrant(bench: &Bench, id: &str, name: &str, place: &Path, data: &Data, pipeline: &impl Fn(&str) -> String) -> Result<(Command, PathBuf), String> {
    if name == "sluis" {
        let file = place.join("pipeline.yaml");
        std::fs::write(&file, pipeline("out")).map_err(|e| e.to_string())?;
        let mut command = Command::new(&bench.sluis);
        command.current_dir(place).args(["run", "pipeline.yaml"]);
        return Ok((command, place.join("out")));
    }
    let target = place.join("out");
    let mut command = Command::new(&bench.python);
    command.current_dir(place).arg(process::root().join("bench/peers.py")).arg(format!("{id}-{name}")).arg(&data.folder).arg(&target);
    Ok((command, if name == "dlt" { target } else { target.with_extension("parquet") }))
}

fn verify(bench: &Bench, result: &Path, data: &Data) -> Result<(), String> {
    let said = process::output(Command::new(&bench.python).arg(process::root().join("bench/verify.py")).arg(result))?;
    let wanted = format!("{} {}", data.rows, data.sum_of_ids);
    if said.trim() == wanted { Ok(()) } else { Err(format!("{}: rows and sum of ids are {}, not {wanted}", result.display(), said.trim())) }
}
