//! What tests need from outside Rust: an S3 server and a Python with the readers, below `target/services`.
//!
//! Deliberately not here: starting them (a test starts its own, see `sluis-testkit`). Everything is pinned; what is there already in the
//! pinned version is left alone, and what was built once on this machine is copied from the user's cache.

mod minio;
pub mod python;

use std::path::PathBuf;
use std::process::Command;

use crate::process;

/// Installs what is missing, one line a step.
///
/// # Errors
/// What could not be had and what to install by hand.
pub fn run() -> Result<(), String> {
    let server = minio::install();
    let readers = python::environment("services/venv", "tests/readers/requirements.txt").map(|_| ());
    let problems: Vec<String> = [server, readers].into_iter().filter_map(Result::err).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// Does something to development clusters with the example `cluster` of `sluis-dev`, which links no engine.
///
/// # Errors
/// If it does not build or fails.
pub fn cluster(words: &[&str]) -> Result<(), String> {
    let mut command = process::cargo();
    command.args(["run", "--quiet", "--locked", "-p", "sluis-dev", "--example", "cluster", "--"]).args(words);
    process::run(command.env("CLUSTER", folder("cluster")?))
}

/// What all services are made of, into the user's cache: Java's, Debian's, Python's and Node's packages, through their own clients.
///
/// # Errors
/// What could not be had, and what to do.
pub fn packages() -> Result<(), String> {
    if !process::on_path("mvn") {
        debian(&["maven", "openjdk-17-jdk-headless"], "no Maven: services on Java are made of its packages")?;
    }
    cluster(&["fetch"])
}

/// `target/services/<below>`.
fn folder(below: &str) -> Result<PathBuf, String> {
    let folder = process::target().join("services").join(below);
    std::fs::create_dir_all(&folder).map_err(|e| format!("cannot make the folder {}: {e}", folder.display()))?;
    Ok(folder)
}

/// Where builds that take minutes are kept for the next clone: `$XDG_CACHE_HOME/sluis` or `~/.cache/sluis`.
fn cache() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(base.join("sluis"))
}

/// Installs Debian packages if this is Debian and we are root.
///
/// # Errors
/// One line that says what to install.
pub fn debian(packages: &[&str], what_for: &str) -> Result<(), String> {
    let by_hand = format!("{what_for}: please install {}", packages.join(" "));
    let root = process::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !root || !process::on_path("apt-get") {
        return Err(by_hand);
    }
    println!("services: apt-get install {} ({what_for})", packages.join(" "));
    let log = process::scratch("logs")?.join("apt.log");
    let limit = std::time::Duration::from_secs(600);
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        process::logged(&mut command, &log, limit).is_ok_and(|status| status.is_some_and(|s| s.success()))
    };
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(packages);
    if apt(&install) || (apt(&["update"]) && apt(&install)) {
        return Ok(());
    }
    Err(format!("{by_hand} (apt-get failed: {})", process::tail(&log, 1)))
}
