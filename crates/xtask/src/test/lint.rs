//! Clippy and rustdoc over the whole workspace, on top of the libraries that the test build has made.
//!
//! `cargo clippy` and `cargo doc` would first check all dependencies again, as metadata: minutes on two cores. So this runs `cargo build` with
//! this program as the wrapper of the compiler for our own crates: it calls clippy in the compiler's place, asks it for metadata only (nothing
//! is generated or linked), and documents each library with the same arguments. Cargo keeps what a wrapper made apart from its own.
//! Warnings are errors. Deliberately not here: which lints.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::process;

/// Set: this process stands in for rustc.
pub const WRAPPING: &str = "SLUIS_XTASK_STANDS_IN_FOR_RUSTC";

/// The whole step.
///
/// # Errors
/// If there is a warning (cargo has shown it).
pub fn run() -> Result<(), String> {
    let sysroot = process::output(Command::new("rustc").current_dir(process::root()).args(["--print", "sysroot"]))?;
    let tools = PathBuf::from(sysroot.trim()).join("bin");
    if !tools.join("clippy-driver").is_file() {
        return Err("no clippy: run `rustup component add clippy`".into());
    }
    // A copy: cargo must not find the wrapper itself among what it builds.
    let wrapper = process::scratch("lint")?.join("wrapper");
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    std::fs::copy(&own, &wrapper).map_err(|e| format!("cannot copy {}: {e}", own.display()))?;
    let mut command = process::cargo();
    command.args(["build", "--workspace", "--locked", "--all-targets", "--keep-going"]);
    command.env("RUSTC_WORKSPACE_WRAPPER", &wrapper).env(WRAPPING, &tools).env("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__");
    command.env("SLUIS_XTASK_DOCS", process::scratch("doc")?);
    process::run(&mut command).map_err(|_| "clippy or rustdoc has something to say".into())
}

/// In place of rustc: `wrapper RUSTC ARGUMENTS…`.
pub fn wrap() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let rustc = if arguments.is_empty() { return ExitCode::from(2) } else { arguments.remove(0) };
    let tools = PathBuf::from(std::env::var_os(WRAPPING).unwrap_or_default());
    let compiles = arguments.iter().any(|a| a.starts_with("--emit=") && a.contains("dep-info"));
    let name = after(&arguments, "--crate-name").unwrap_or_default().to_owned();
    if !compiles || name == "build_script_build" || arguments.iter().any(|a| a == "proc-macro") {
        return ended(Command::new(rustc).args(&arguments));
    }
    for argument in &mut arguments {
        if argument.starts_with("--emit=") {
            *argument = "--emit=dep-info,metadata".into();
        } else if let Some((label, path)) = argument.clone().split_once('=').filter(|(_, path)| path.ends_with(".rlib")) {
            // What this wrapper left for cargo to see is empty: what is known of the crate lies beside it.
            if std::fs::metadata(path).is_ok_and(|m| m.len() == 0) {
                *argument = format!("{label}={}rmeta", path.trim_end_matches("rlib"));
            }
        }
    }
    let linted = ended(Command::new(tools.join("clippy-driver")).arg(&rustc).args(&arguments));
    if linted != ExitCode::SUCCESS {
        return linted;
    }
    let tests = arguments.iter().any(|a| a == "--test");
    if let Some(made) = product(&arguments, &name, tests)
        && let Err(e) = std::fs::write(&made, b"")
    {
        eprintln!("cannot write {}: {e}", made.display());
        return ExitCode::FAILURE;
    }
    if tests || after(&arguments, "--crate-type") != Some("lib") { ExitCode::SUCCESS } else { document(&tools, &arguments) }
}

/// What cargo will look for, if it looks. It copies programs and examples to their final place when they are there, so those are not made.
fn product(arguments: &[String], name: &str, tests: bool) -> Option<PathBuf> {
    let folder = Path::new(after(arguments, "--out-dir")?);
    let extra = arguments.iter().find_map(|a| a.strip_prefix("extra-filename="))?;
    match after(arguments, "--crate-type") {
        Some("lib") => Some(folder.join(format!("lib{name}{extra}.rlib"))),
        _ if tests => Some(folder.join(format!("{name}{extra}"))),
        _ => None,
    }
}

/// rustdoc with the compiler's arguments, as far as it knows them.
fn document(tools: &Path, arguments: &[String]) -> ExitCode {
    let mut command = Command::new(tools.join("rustdoc"));
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--crate-name" | "--crate-type" | "--cfg" | "--check-cfg" | "--extern" | "-L" => {
                command.arg(argument).args(rest.next());
            }
            "-C" | "--out-dir" => {
                rest.next();
            }
            a if a.starts_with("--edition") || a.ends_with(".rs") => {
                command.arg(a);
            }
            _ => {}
        }
    }
    command.arg("-Dwarnings").arg("-o").arg(std::env::var_os("SLUIS_XTASK_DOCS").unwrap_or_default());
    ended(&mut command)
}

fn after<'a>(arguments: &'a [String], flag: &str) -> Option<&'a str> {
    arguments.windows(2).find(|w| w[0] == flag).map(|w| w[1].as_str())
}

fn ended(command: &mut Command) -> ExitCode {
    command.env_remove(WRAPPING);
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("cannot run `{}`: {e}", process::line(command));
            ExitCode::FAILURE
        }
    }
}
