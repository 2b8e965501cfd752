//! `cargo xtask test`: everything that must hold, in one command, with the time of every step and one line at the end.
//!
//! Dependencies are compiled once: the tests' own build is the only one, and the lint step reads its output. Deliberately not here: any
//! check that runs only here and not by its own command.

pub mod lint;
mod programs;

use std::time::{Duration, Instant};

use crate::{deny, docs, process, services, tidy};

/// What the steps came to.
struct Steps {
    begun: Instant,
    rows: Vec<(String, Duration, bool)>,
    passed: u64,
    failed: u64,
    problems: Vec<String>,
}

impl Steps {
    /// Runs one step; says so first, keeps its time, goes on whatever it comes to.
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<(), String>) -> bool {
        println!("\n== {name}");
        let begun = Instant::now();
        let done = work();
        self.rows.push((name.to_owned(), begun.elapsed(), done.is_ok()));
        if let Err(problem) = done {
            println!("{problem}");
            self.problems.push(format!("{name}: {}", problem.lines().next().unwrap_or_default()));
            self.failed += 1;
            return false;
        }
        true
    }

    /// The table of times and the last line.
    fn finish(self) -> Result<(), String> {
        println!("\n== where the time went");
        for (name, took, good) in &self.rows {
            println!("{:>8.1} s  {name}{}", took.as_secs_f64(), if *good { "" } else { "  FAILED" });
        }
        println!("{:>8.1} s  in all", self.begun.elapsed().as_secs_f64());
        for problem in &self.problems {
            println!("FAILED {problem}");
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 && self.passed > 0 { Ok(()) } else { Err("not all is well".into()) }
    }
}

/// All of it; or, with a filter, only the test programs whose name has it.
///
/// # Errors
/// If anything failed.
pub fn run(filter: Option<&str>) -> Result<(), String> {
    let mut steps = Steps { begun: Instant::now(), rows: Vec::new(), passed: 0, failed: 0, problems: Vec::new() };
    if filter.is_none() {
        steps.step("format", || process::run(process::cargo().args(["fmt", "--all", "--", "--check"])));
        steps.step("tidy", || tidy::run(false));
    }
    steps.step("a C compiler", compiler);
    // The services are built while the compiler works.
    let helpers = std::thread::spawn(|| (services::run(), Instant::now()));
    let mut found = Vec::new();
    let built = steps.step("build", || {
        found = programs::build()?;
        Ok(())
    });
    if filter.is_none() {
        steps.step("clippy and rustdoc", lint::run);
        steps.step("deny", deny::run);
        if built {
            steps.step("generated docs", || docs::run(true));
        }
    }
    steps.step("services (what was left of them)", || match helpers.join() {
        Ok((done, _)) => done,
        Err(_) => Err("the step panicked".into()),
    });
    if built && filter.is_none() {
        steps.step("packages of services", services::packages);
    }
    if built {
        let mut counts = programs::Counts::default();
        steps.step("unit and integration tests", || programs::run(found, filter, &mut counts));
        // Also after a failure: what tests shared goes with them.
        steps.step("services of the tests end", || services::cluster(&["reset"]));
        if filter.is_none() {
            steps.step("doc tests", || programs::doc_tests(&mut counts));
        }
        steps.passed += counts.passed;
        // A step that failed because of its tests is those tests, not one more.
        let told = steps.rows.iter().filter(|(name, _, good)| !good && name.ends_with("tests")).count() as u64;
        steps.failed = steps.failed - told.min(steps.failed) + counts.failed.max(told);
    }
    steps.finish()
}

/// SQLite, zstd and ring are partly C.
fn compiler() -> Result<(), String> {
    if process::on_path("cc") { Ok(()) } else { services::debian(&["gcc", "libc6-dev"], "no C compiler") }
}
