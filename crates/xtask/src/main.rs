//! `cargo xtask`: what the project does to itself. Tests, services for tests, tidiness, generated docs, benchmarks.
//!
//! Deliberately not here: anything that the product needs. It depends on one crate for JSON, so that it starts in seconds on a fresh clone.

mod bench;
mod deny;
mod docs;
mod files;
mod process;
mod services;
mod test;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "cargo xtask COMMAND

  test [FILTER]     everything that must hold: format, tidy, build, clippy, rustdoc, licences, docs, and all tests on real services
  services          builds or finds what the tests need: an S3 server, a Python with the readers, packages of all services
  tidy [--fix]      the rules that no compiler knows; --fix pins features anew
  deny              licences, banned crates, sources of crates (deny.toml)
  docs [--check]    writes docs/reference and docs/connectors; --check: says what is out of date
  bench [--quick] [--as-built] [NAME…]
                    speed beside installed peers, kept in docs/benchmarks.md

`test FILTER` runs only test programs whose name has FILTER in it, and leaves out the checks.
";

fn main() -> ExitCode {
    if std::env::var_os(test::lint::WRAPPING).is_some() {
        return test::lint::wrap();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test"] => test::run(None),
        ["test", filter] => test::run(Some(filter)),
        ["services"] => services::run().and_then(|()| services::packages()),
        ["tidy"] => tidy::run(false),
        ["tidy", "--fix"] => tidy::run(true),
        ["deny"] => deny::run(),
        ["docs"] => docs::run(false),
        ["docs", "--check"] => docs::run(true),
        ["bench", rest @ ..] => bench::run(rest),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}
