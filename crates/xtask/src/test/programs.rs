//! The test programs: built by one `cargo test --no-run`, run side by side, counted by their own last lines.
//!
//! Deliberately not here: choosing tests within a program.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process;

/// Longer than this no test program may take.
const LIMIT: Duration = Duration::from_secs(25 * 60);

/// A built test program.
#[derive(Debug, Clone)]
pub struct Program {
    /// `sluis-core` for unit tests, `sluis crash` for an integration test.
    name: String,
    executable: PathBuf,
    /// The package's folder, where it runs.
    folder: PathBuf,
    /// Builds the unit tests' and the integration tests' environment.
    package: String,
}

/// What `test result:` lines say in sum.
#[derive(Debug, Default)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
}

/// The one build of everything: libraries, the binary, examples, tests.
///
/// # Errors
/// If something does not compile (cargo has shown it).
pub fn build() -> Result<Vec<Program>, String> {
    let mut command = process::cargo();
    command.args(["test", "--workspace", "--locked", "--no-run", "--all-targets", "--message-format=json-render-diagnostics"]);
    let out = command.stderr(Stdio::inherit()).stdin(Stdio::null()).output().map_err(|e| format!("cannot run cargo: {e}"))?;
    if !out.status.success() {
        return Err("it does not compile".into());
    }
    let mut found = Vec::new();
    for message in String::from_utf8_lossy(&out.stdout).lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let (Some(executable), Some(manifest)) = (message["executable"].as_str(), message["manifest_path"].as_str()) else { continue };
        if message["profile"]["test"] != true {
            continue;
        }
        let folder = Path::new(manifest).parent().unwrap_or(Path::new(".")).to_path_buf();
        let package = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let kind = message["target"]["kind"][0].as_str().unwrap_or_default();
        let target = message["target"]["name"].as_str().unwrap_or_default();
        let name = match kind {
            "lib" => package.clone(),
            "bin" => format!("{package} (program)"),
            "example" => continue,
            _ => format!("{package} {target}"),
        };
        found.push(Program { name, executable: executable.into(), folder, package });
    }
    Ok(found)
}

/// Runs programs, two at a time (they use threads themselves), those first that took longest the last time.
///
/// # Errors
/// If a test failed.
pub fn run(mut programs: Vec<Program>, filter: Option<&str>, counts: &mut Counts) -> Result<(), String> {
    programs.retain(|p| filter.is_none_or(|f| p.name.contains(f)));
    let times_file = process::scratch("times")?.join("tests.json");
    let mut times: HashMap<String, f64> =
        std::fs::read(&times_file).ok().and_then(|b| serde_json::from_slice::<Value>(&b).ok()).map(|v| seconds(&v)).unwrap_or_default();
    // Unknown ones first: they may be long.
    programs.sort_by(|a, b| {
        let time = |p: &Program| times.get(&p.name).copied().unwrap_or(f64::MAX);
        time(b).total_cmp(&time(a)).then_with(|| b.name.cmp(&a.name))
    });
    let logs = process::scratch("logs")?;
    let queue = Mutex::new(programs.into_iter().collect::<VecDeque<_>>());
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(program) = queue.lock().ok().and_then(|mut q| q.pop_front()) else { return };
                    let result = one(&program, &logs);
                    if let Ok(mut all) = results.lock() {
                        all.push((program, result));
                    }
                }
            });
        }
    });
    let mut bad = Vec::new();
    for (program, result) in results.into_inner().unwrap_or_default() {
        counts.passed += result.passed;
        counts.failed += result.failed;
        times.insert(program.name.clone(), result.took.as_secs_f64());
        if result.failed > 0 {
            bad.push(program.name);
        }
    }
    let text: serde_json::Map<String, Value> = times.into_iter().map(|(k, v)| (k, Value::from(v))).collect();
    // Only the order of the next run hangs on it.
    let _ = std::fs::write(&times_file, Value::from(text).to_string());
    if bad.is_empty() { Ok(()) } else { Err(format!("failed in: {}", bad.join(", "))) }
}

fn seconds(times: &Value) -> HashMap<String, f64> {
    times.as_object().into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), v.as_f64()?))).collect()
}

struct Ran {
    passed: u64,
    failed: u64,
    took: Duration,
}

fn one(program: &Program, logs: &Path) -> Ran {
    let log = logs.join(format!("{}.log", program.name.replace(' ', "-")));
    let mut command = Command::new(&program.executable);
    command.current_dir(&program.folder).env("CARGO_MANIFEST_DIR", &program.folder).env("CARGO_PKG_NAME", &program.package);
    // A test that writes snapshots anew proves nothing.
    command.env_remove("SLUIS_BLESS").env_remove("LD_LIBRARY_PATH");
    let begun = Instant::now();
    let ended = process::logged(&mut command, &log, LIMIT);
    let took = begun.elapsed();
    let (passed, mut failed, ignored) = count(&log);
    let why = match ended {
        Ok(Some(status)) if status.success() => None,
        Ok(Some(status)) => Some(format!("{status}")),
        Ok(None) => Some(format!("killed after {} minutes", LIMIT.as_secs() / 60)),
        Err(e) => Some(e),
    };
    if why.is_some() {
        // Died before it could say so: one failure at least.
        failed = failed.max(1);
    }
    let ignored = if ignored > 0 { format!(", {ignored} ignored") } else { String::new() };
    let verdict = if why.is_none() { "ok    " } else { "FAILED" };
    let mut said = format!("{verdict} {:<28} {passed:>4} passed, {failed} failed{ignored}  {:.1} s", program.name, took.as_secs_f64());
    if let Some(why) = why {
        said += &format!(" ({why})\n{}\n", process::tail(&log, 200));
    }
    println!("{said}");
    Ran { passed, failed, took }
}

/// Sums `test result: ok. 3 passed; 0 failed; 1 ignored; …` lines.
fn count(log: &Path) -> (u64, u64, u64) {
    let text = std::fs::read(log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let mut sums = (0, 0, 0);
    for line in text.lines().filter(|l| l.starts_with("test result: ")) {
        let number = |word: &str| {
            let words: Vec<&str> = line.split([' ', ';']).filter(|w| !w.is_empty()).collect();
            words.windows(2).find(|w| w[1] == word).and_then(|w| w[0].parse::<u64>().ok()).unwrap_or(0)
        };
        sums = (sums.0 + number("passed"), sums.1 + number("failed"), sums.2 + number("ignored"));
    }
    sums
}

/// The examples in doc comments.
///
/// # Errors
/// If one fails.
pub fn doc_tests(counts: &mut Counts) -> Result<(), String> {
    let log = process::scratch("logs")?.join("doc-tests.log");
    let mut command = process::cargo();
    command.args(["test", "--workspace", "--locked", "--doc"]);
    let ended = process::logged(&mut command, &log, LIMIT)?;
    let (passed, failed, _) = count(&log);
    counts.passed += passed;
    counts.failed += failed;
    if ended.is_some_and(|s| s.success()) {
        println!("{passed} passed");
        return Ok(());
    }
    counts.failed += u64::from(failed == 0);
    Err(format!("cargo test --doc failed\n{}", process::tail(&log, 100)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_cargo_test_are_summed() {
        let log = std::env::temp_dir().join(format!("xtask-count-{}", std::process::id()));
        let text = "running 2 tests\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
                    test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured\nsaid: test result: ok. 9 passed\n";
        std::fs::write(&log, text).expect("a file");
        let sums = count(&log);
        std::fs::remove_file(&log).expect("the file");
        assert_eq!(sums, (7, 2, 1));
    }
}
