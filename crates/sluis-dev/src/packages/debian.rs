//! Programs of the system: looked for, and installed where this is Debian and we are root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sluis_core::{Error, ErrorKind, Result};

use crate::description::Package;
use crate::render::is_root;
use crate::run::{self, Run};
use crate::tell::{Event, Tell};

pub fn ensure(service: &str, name: &str, package: &Package, tell: &dyn Tell) -> Result<()> {
    let path: Vec<PathBuf> = package.path.iter().flat_map(|p| expand(p)).collect();
    let missing = || package.programs.iter().find(|p| run::program(p, &path).is_none_or(|found| !Path::new(&found).is_file()));
    let Some(program) = missing() else { return Ok(()) };
    let names = package.debian.join(" ");
    let by_hand = format!("install the Debian packages by hand: `apt-get install {names}`");
    let error = Error::not_found(format!("the program `{program}` is not installed")).context("package", format!("{service}/{name}"));
    if !is_root() || run::program("apt-get", &[]).is_none() {
        return Err(error.hint(by_hand));
    }
    let begun = Instant::now();
    tell.tell(service, Event::Fetching { package: name.to_owned(), kind: "Debian" });
    // One at a time within this process; the package manager itself waits for others.
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock();
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(package.debian.iter().map(String::as_str));
    let done = apt(&install).or_else(|_| apt(&["update"]).and_then(|()| apt(&install)));
    drop(one);
    done.map_err(|said| Error::new(ErrorKind::Unavailable, format!("apt-get cannot install {names}")).source(said).hint(by_hand.clone()))?;
    if missing().is_some() {
        return Err(error.hint(by_hand));
    }
    tell.tell(service, Event::Fetched { package: name.to_owned(), took: begun.elapsed(), bytes: 0 });
    Ok(())
}

fn apt(arguments: &[&str]) -> std::result::Result<(), String> {
    let mut command = Command::new("apt-get");
    // Services must not be started by their packages: `up` starts its own.
    command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments);
    let ended = Run { command, stdin: "", limit: Duration::from_secs(900) }.to_end().map_err(|e| e.to_string())?;
    if ended.status.is_some_and(|s| s.success()) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.output).into_owned();
    Err(said.lines().filter(|l| l.starts_with("E:")).take(3).collect::<Vec<_>>().join("\n"))
}

/// Folders that a path with `*` for whole parts means; the last in order (the newest version) first.
pub fn expand(pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in Path::new(pattern) {
        found = found.into_iter().flat_map(|at| if part == "*" { below(&at) } else { vec![at.join(part)] }).collect();
    }
    found.retain(|p| p.is_dir());
    found.sort();
    found.reverse();
    found
}

fn below(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect()
}
