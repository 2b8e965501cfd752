//! Virtual environments with pinned packages.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::debian;
use crate::process;

const LIMIT: Duration = Duration::from_secs(20 * 60);

/// A virtual environment at `target/<place>` with the packages that the file `requirements` (from the project's folder) pins; gives its Python.
///
/// # Errors
/// If there is no Python 3, no venv, or a package cannot be had.
pub fn environment(place: &str, requirements: &str) -> Result<PathBuf, String> {
    let wanted = std::fs::read_to_string(process::root().join(requirements)).map_err(|e| format!("{requirements}: {e}"))?;
    let folder = process::target().join(place);
    let python = folder.join("bin/python");
    let stamp = folder.join("requirements.txt");
    if python.exists() && std::fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
        println!("services: {requirements} is installed");
        return Ok(python);
    }
    if !process::on_path("python3") {
        debian(&["python3", "python3-venv"], "no Python 3.11 or newer")?;
    }
    let begun = Instant::now();
    println!("services: packages of {requirements} are being installed");
    let log = process::scratch("logs")?.join(format!("{}.log", place.replace('/', "-")));
    let make = || {
        let mut command = Command::new("python3");
        command.args(["-m", "venv", "--clear"]).arg(&folder);
        process::logged(&mut command, &log, LIMIT).map(|status| status.is_some_and(|s| s.success()) && folder.join("bin/pip").exists())
    };
    if !make()? {
        debian(&["python3-venv"], "python3 has no venv")?;
        if !make()? {
            return Err(format!("python3 -m venv {} fails: {}", folder.display(), process::tail(&log, 3)));
        }
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--only-binary", ":all:", "-r"]);
    pip.arg(process::root().join(requirements));
    match process::logged(&mut pip, &log, LIMIT)? {
        Some(status) if status.success() => {}
        _ => return Err(format!("pip cannot install {requirements}: {}\n(whole log: {})", process::tail(&log, 3), log.display())),
    }
    std::fs::write(&stamp, wanted).map_err(|e| format!("{}: {e}", stamp.display()))?;
    println!("services: {requirements} installed in {} s", begun.elapsed().as_secs());
    Ok(python)
}
