//! `cargo xtask bench`: how fast sluis is beside installed peers, measured in one run, kept in `docs/benchmarks.md`.
//!
//! Every result is checked (rows and the sum of ids) before its time counts. Data is the same on every machine. Deliberately not here:
//! thresholds; a person reads the page.

mod contest;
mod data;
mod own;
mod report;

use std::path::PathBuf;

use crate::{process, services};

/// What all benchmarks share.
pub struct Bench {
    /// `target/bench`.
    pub folder: PathBuf,
    pub python: PathBuf,
    pub sluis: PathBuf,
    /// Smaller sizes, fewer rounds, nothing kept.
    pub quick: bool,
}

/// A measured thing: a line of a table.
pub struct Line {
    pub name: String,
    /// As they stand in the table after the name.
    pub cells: Vec<String>,
}

/// One benchmark's table.
pub struct Table {
    pub title: String,
    pub about: String,
    pub columns: Vec<&'static str>,
    pub lines: Vec<Line>,
}

type Work = fn(&Bench) -> Result<Table, String>;

const ALL: [(&str, Work); 7] = [
    ("p1a", contest::p1a),
    ("p1b", contest::p1b),
    ("p6", own::ledger),
    ("p7", own::startup),
    ("p8", own::bad_rows),
    ("epoch", own::epoch),
    ("decode", own::decode),
];

/// Runs those named, or all; keeps the result unless `--quick`, or `--as-built` (which measures what happens to be there).
///
/// # Errors
/// If something cannot be built, run, or is wrong.
pub fn run(arguments: &[&str]) -> Result<(), String> {
    let (quick, as_built) = (arguments.contains(&"--quick"), arguments.contains(&"--as-built"));
    if let Some(unknown) = arguments.iter().find(|a| a.starts_with('-') && !["--quick", "--as-built"].contains(a)) {
        return Err(format!("no option `{unknown}`; there are --quick and --as-built"));
    }
    let names: Vec<&str> = arguments.iter().copied().filter(|a| !a.starts_with("--")).collect();
    if let Some(unknown) = names.iter().find(|n| !ALL.iter().any(|(name, _)| name == *n)) {
        let known: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        return Err(format!("no benchmark `{unknown}`; there are {}", known.join(", ")));
    }
    let python = services::python::environment("bench/venv", "bench/requirements.txt")?;
    if !as_built {
        // The profile as it stands, whatever the inner loop has set.
        let mut build = process::cargo();
        build.env_remove("CARGO_PROFILE_DEV_OPT_LEVEL").args(["build", "--locked", "--bins", "--examples"]);
        process::run(build.args(["-p", "sluis", "-p", "sluis-engine"]))?;
        if names.is_empty() || names.contains(&"decode") {
            // The profile `dev` does not optimise what peers are made of (arrow-csv, arrow-json): there they would look slow.
            let mut build = process::cargo();
            process::run(build.args(["build", "--locked", "--profile", "bench", "-p", "sluis-formats", "--example", "decode_speed"]))?;
        }
    }
    let built = process::target().join("debug");
    let bench = Bench { folder: process::target().join("bench"), python, sluis: built.join("sluis"), quick };
    let mut tables = Vec::new();
    for (name, work) in ALL {
        if names.is_empty() || names.contains(&name) {
            println!("\n== {name}");
            let table = work(&bench)?;
            println!("{}", report::markdown(&table));
            tables.push(table);
        }
    }
    let heading = report::heading(&bench)?;
    println!("{heading}");
    if quick || as_built || !names.is_empty() {
        println!("not kept: only a whole run is comparable with the others");
        return Ok(());
    }
    report::keep(&heading, &tables)
}
