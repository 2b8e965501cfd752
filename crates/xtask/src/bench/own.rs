//! What has no peer: the ledger at scale, starting up, the fixed cost of an epoch, the decoders alone.

use std::process::Command;

use serde_json::Value;

use super::contest::{Cost, measure, median, wide_pipeline};
use super::{Bench, Line, Table, data};
use crate::process;

/// P6: an epoch of 100 new files among millions of known ones, beside an empty ledger.
pub fn ledger(bench: &Bench) -> Result<Table, String> {
    let known = if bench.quick { 200_000 } else { 10_000_000 };
    let mut command = Command::new(process::target().join("debug/examples/ledger_scale"));
    let said = process::output(command.arg(known.to_string()))?;
    let mut lines = Vec::new();
    for measured in said.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()) {
        let mut facts: Vec<String> = Vec::new();
        for (key, value) in measured.as_object().into_iter().flatten().filter(|(key, _)| *key != "measure") {
            let value = value.as_f64().map_or_else(|| value.to_string(), |n| if n.fract() == 0.0 { format!("{n:.0}") } else { format!("{n:.2}") });
            facts.push(format!("{key} {value}"));
        }
        lines.push(Line { name: measured["measure"].as_str().unwrap_or_default().to_owned(), cells: vec![facts.join(", ")] });
    }
    if lines.is_empty() {
        return Err(format!("ledger_scale said nothing: {said}"));
    }
    let about = format!("100 new files in a ledger that knows {known}, and in an empty one: `ledger_scale {known}`. Times in ms, memory in MiB.");
    Ok(Table { title: "P6: the ledger at scale".into(), about, columns: vec!["", "measured"], lines })
}

/// P7: `sluis --version` and `sluis check`.
pub fn startup(bench: &Bench) -> Result<Table, String> {
    let project = bench.folder.join("p7");
    let _ = std::fs::remove_dir_all(&project);
    std::fs::create_dir_all(project.join("pipelines")).map_err(|e| e.to_string())?;
    std::fs::write(project.join("sluis.yaml"), "name: bench\n").map_err(|e| e.to_string())?;
    let pipeline = "from:\n  files: { url: in/ }\n  csv: { columns: { id: bigint, seconds: int, at: timestamp } }\n\
                    check:\n  - { name: non_negative, that: \"seconds >= 0\" }\nselect: \"select *, cast(at as date) as day from input\"\n\
                    into:\n  table: { name: calls, partition_by: [day] }\n";
    std::fs::write(project.join("pipelines/calls.yaml"), pipeline).map_err(|e| e.to_string())?;
    let mut lines = Vec::new();
    for (name, arguments, goal) in [("sluis --version", vec!["--version"], 20.0), ("sluis check (one pipeline, with SQL)", vec!["check"], 100.0)] {
        let mut costs: Vec<Cost> = Vec::new();
        for _ in 0..if bench.quick { 10 } else { 50 } {
            let mut command = Command::new(&bench.sluis);
            command.current_dir(&project).args(&arguments);
            costs.push(measure(bench, "p7", &command)?);
        }
        let cost = median(costs);
        let cells = vec![
            format!("{:.1} ms", cost.wall * 1e3),
            format!("{:.1} ms", cost.cpu * 1e3),
            format!("{:.0} MB", cost.peak / 1e6),
            format!("{goal:.0} ms"),
        ];
        lines.push(Line { name: format!("`{name}`"), cells });
    }
    let about = "Median of many runs of the program.".into();
    Ok(Table { title: "P7: starting up".into(), about, columns: vec!["", "wall", "CPU", "peak memory", "goal"], lines })
}

/// P8: a file whose every row is bad, beside the same file as it should be.
pub fn bad_rows(bench: &Bench) -> Result<Table, String> {
    let rows = if bench.quick { 100_000 } else { 1_000_000 };
    let mut lines = Vec::new();
    let mut clean = None;
    for (name, data, bad) in [("every row good", data::wide(&bench.folder, rows)?, false), ("every row bad", data::bad(&bench.folder, rows)?, true)] {
        let mut costs: Vec<Cost> = Vec::new();
        for _ in 0..if bench.quick { 1 } else { 3 } {
            let place = bench.folder.join("p8");
            let _ = std::fs::remove_dir_all(&place);
            std::fs::create_dir_all(&place).map_err(|e| e.to_string())?;
            std::fs::write(place.join("bad.yaml"), wide_pipeline(&data.folder, "out")).map_err(|e| e.to_string())?;
            let mut command = Command::new(&bench.sluis);
            command.current_dir(&place).args(["run", "bad.yaml"]);
            costs.push(measure(bench, "p8", &command)?);
            let said = process::output(Command::new(&bench.sluis).current_dir(&place).args(["history", "bad.yaml", "--json"]))?;
            let of =
                |key: &str| said.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()).filter_map(|v| v["rows"][key].as_u64()).sum::<u64>();
            let (written, rejected) = (of("written"), of("rejected"));
            if (written, rejected) != if bad { (0, rows) } else { (rows, 0) } {
                return Err(format!("{name}: {written} rows written and {rejected} rejected, of {rows}"));
            }
        }
        let cost = median(costs);
        let first = *clean.get_or_insert(cost);
        lines.push(Line {
            name: name.into(),
            cells: vec![
                format!("{:.2} s", cost.wall),
                format!("{:.2} s", cost.cpu),
                format!("{:.0} MB", cost.peak / 1e6),
                format!("{:.2}", cost.wall / first.wall),
                "2.00".into(),
            ],
        });
    }
    let about = format!(
        "A CSV file of {rows} rows and 8 typed columns to Parquet; and one in which no row has a number for its amount: all go to the rejects."
    );
    let columns = vec!["", "wall", "CPU", "peak memory", "of the good file's time", "goal"];
    Ok(Table { title: "P8: bad rows".into(), about, columns, lines })
}

/// The fixed cost of an epoch on the local lake: many epochs of one tiny file each, in one run.
pub fn epoch(bench: &Bench) -> Result<Table, String> {
    let epochs = if bench.quick { 20 } else { 200 };
    let mut lines = Vec::new();
    for (name, into) in [("Iceberg table in the local lake", "table: { name: tiny }"), ("Parquet files", "files: { url: out/, format: parquet }")] {
        let place = bench.folder.join("epoch");
        let _ = std::fs::remove_dir_all(&place);
        std::fs::create_dir_all(place.join("in")).map_err(|e| e.to_string())?;
        for number in 0..epochs {
            std::fs::write(place.join(format!("in/{number:05}.csv")), format!("id,name\n{number},a\n")).map_err(|e| e.to_string())?;
        }
        let pipeline = format!(
            "from:\n  files: {{ url: in/ }}\n  csv: {{ columns: {{ id: bigint, name: string }} }}\ninto:\n  {into}\nlimits: {{ files: 1 }}\n"
        );
        std::fs::write(place.join("tiny.yaml"), pipeline).map_err(|e| e.to_string())?;
        let said = process::output(Command::new(&bench.sluis).current_dir(&place).args(["run", "tiny.yaml", "--json"]))?;
        let last: Value = said.lines().last().and_then(|l| serde_json::from_str(l).ok()).ok_or("`sluis run --json` ends with no JSON")?;
        let (done, seconds) = (last["epochs"].as_f64().unwrap_or(0.0), last["seconds"].as_f64().unwrap_or(f64::NAN));
        if done != f64::from(epochs) {
            return Err(format!("{done} epochs instead of {epochs}: {last}"));
        }
        lines.push(Line { name: name.into(), cells: vec![format!("{done:.0}"), format!("{:.1} ms", seconds * 1e3 / done), "15 ms".into()] });
    }
    let about =
        "Plan, read one row, stage, commit, write the ledger: one run of many epochs of one file each, its time divided by their number.".into();
    Ok(Table { title: "An epoch's fixed cost".into(), about, columns: vec!["target", "epochs", "per epoch", "goal"], lines })
}

/// The decoder and the encoder alone, without files, engine or ledger.
pub fn decode(bench: &Bench) -> Result<Table, String> {
    let mut command = Command::new(process::target().join("release/examples/decode_speed"));
    let said = process::output(command.arg(if bench.quick { "32" } else { "256" }))?;
    let lines = said.lines().filter_map(|line| {
        let mut cells = line.split('\t').map(str::to_owned);
        Some(Line { name: cells.next()?, cells: cells.collect() })
    });
    Ok(Table {
        title: "Decoders and encoders alone".into(),
        about: "`decode_speed` (profile `bench`: all of it optimised, the peers too), in memory: bytes of the file by seconds of CPU, and that as a part of the speed of reading the same file from the page cache.".into(),
        columns: vec!["", "GB/s per core", "of the read"],
        lines: lines.collect(),
    })
}
