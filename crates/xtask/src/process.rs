//! Programs that are run: with a clean environment, a time limit, and an error that says what was run.
//!
//! Deliberately not here: what is run and why.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The project's folder.
pub fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.ancestors().nth(2).map_or(own.clone(), Path::to_path_buf)
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A folder of ours below `target`.
///
/// # Errors
/// If it cannot be made.
pub fn scratch(name: &str) -> Result<PathBuf, String> {
    let folder = target().join("xtask").join(name);
    std::fs::create_dir_all(&folder).map_err(|e| format!("cannot make the folder {}: {e}", folder.display()))?;
    Ok(folder)
}

/// `cargo` in the project's folder, without what `cargo run` put into the environment of this process: build scripts that look at it would
/// otherwise compile their crates anew.
pub fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let from_cargo = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_RUSTC_"].iter().any(|p| name.starts_with(p));
        if from_cargo || ["CARGO", "CARGO_PRIMARY_PACKAGE", "OUT_DIR", "LD_LIBRARY_PATH"].contains(&name.as_ref()) {
            command.env_remove(name.as_ref());
        }
    }
    command
}

/// What was run, for people.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs it, its output on ours.
///
/// # Errors
/// If it cannot be started or fails.
pub fn run(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|e| format!("cannot run `{}`: {e}", line(command)))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` failed ({status})", line(command))) }
}

/// Runs it and gives what it printed; standard error goes with the error.
///
/// # Errors
/// If it cannot be started or fails.
pub fn output(command: &mut Command) -> Result<String, String> {
    let out = command.stdin(Stdio::null()).output().map_err(|e| format!("cannot run `{}`: {e}", line(command)))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    Err(format!("`{}` failed ({}): {}", line(command), out.status, String::from_utf8_lossy(&out.stderr).trim()))
}

/// Runs it with all output in the file `log`; `None`: it took longer than `limit` and was killed.
///
/// # Errors
/// If it cannot be started.
pub fn logged(command: &mut Command, log: &Path, limit: Duration) -> Result<Option<ExitStatus>, String> {
    let file = File::create(log).map_err(|e| format!("cannot write {}: {e}", log.display()))?;
    let both = file.try_clone().map_err(|e| e.to_string())?;
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(file).stderr(both).spawn().map_err(|e| format!("cannot run `{}`: {e}", line(command)))?;
    loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            return Ok(Some(status));
        }
        if begun.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The last lines of a log.
pub fn tail(log: &Path, lines: usize) -> String {
    let text = std::fs::read(log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Whether a program of this name is on the search path.
pub fn on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}
