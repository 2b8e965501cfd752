//! Tables as Markdown, and the page that keeps them.

use std::process::Command;

use super::{Bench, Table};
use crate::process;

const PAGE: &str = "docs/benchmarks.md";
/// New runs go below this line of the page, newest first.
const MARK: &str = "<!-- runs, newest first; written by cargo xtask bench -->";

pub fn markdown(table: &Table) -> String {
    let mut out = format!("### {}\n\n{}\n\n|", table.title, table.about);
    for column in &table.columns {
        out += &format!(" {column} |");
    }
    out += "\n|";
    for number in 0..table.columns.len() {
        out += if number == 0 { "---|" } else { "---:|" };
    }
    out.push('\n');
    for line in &table.lines {
        out += &format!("| {} | {} |\n", line.name, line.cells.join(" | "));
    }
    out
}

/// Date, machine, versions.
///
/// # Errors
/// If a version cannot be asked.
pub fn heading(bench: &Bench) -> Result<String, String> {
    let ask = |program: &str, arguments: &[&str]| process::output(Command::new(program).args(arguments)).map(|t| t.trim().to_owned());
    let peers = process::output(Command::new(&bench.python).arg(process::root().join("bench/peers.py")).arg("versions"))?;
    let own = process::output(Command::new(&bench.sluis).arg("--version"))?;
    let commit = ask("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_else(|_| "unknown".into());
    let read = |path: &str, key: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().find(|l| l.starts_with(key)).and_then(|l| l.split_once(':')).map(|(_, v)| v.trim().to_owned()).unwrap_or_default()
    };
    let memory = read("/proc/meminfo", "MemTotal").split(' ').next().and_then(|k| k.parse::<u64>().ok()).unwrap_or(0) / (1 << 20);
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    Ok(format!(
        "## {}, commit {commit}\n\n{} with {cores} cores, {memory} GiB of memory, {}; load before the end {}. {} (profile `dev`, {}). {}.\n",
        ask("date", &["-u", "+%Y-%m-%d %H:%M UTC"])?,
        read("/proc/cpuinfo", "model name"),
        ask("uname", &["-sr"])?,
        load.split(' ').next().unwrap_or_default(),
        own.trim(),
        ask("rustc", &["--version"])?.split(" (").next().unwrap_or_default(),
        peers.trim(),
    ))
}

/// Puts a run on top of the kept ones.
///
/// # Errors
/// If the page has no place for it.
pub fn keep(heading: &str, tables: &[Table]) -> Result<(), String> {
    let path = process::root().join(PAGE);
    let page = std::fs::read_to_string(&path).map_err(|e| format!("{PAGE}: {e}"))?;
    let (before, after) = page.split_once(MARK).ok_or_else(|| format!("{PAGE} has no line `{MARK}`"))?;
    let tables: Vec<String> = tables.iter().map(markdown).collect();
    let text = format!("{before}{MARK}\n\n{heading}\n{}{after}", tables.join("\n"));
    std::fs::write(&path, text).map_err(|e| format!("{PAGE}: {e}"))?;
    println!("kept in {PAGE}");
    Ok(())
}
