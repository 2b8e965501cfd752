//! Debian's packages, without installing them: downloaded by apt, which checks them against the archive's signed index, and unpacked into a
//! folder of the cache. Nothing of the system changes, no daemon is started, and nobody has to be root.
//!
//! Where there is no apt, the programs of the system must do, and the package's folder is the root folder. Pinned is the release: its archive
//! serves one version of a package, and replaces it by the next one that mends something. What was unpacked stands in the file `unpacked`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sluis_core::{Error, ErrorKind, Result};

use super::{Fetch, offline};
use crate::description::Package;
use crate::home::{self, Home};
use crate::render::is_root;
use crate::run::{self, Run};

/// For what asks no network.
const PLAN: Duration = Duration::from_secs(120);
const DOWNLOAD: Duration = Duration::from_secs(20 * 60);

/// Whether packages are unpacked here; if not, the system's own programs are used.
pub fn unpacks() -> bool {
    ["apt-get", "dpkg-deb"].iter().all(|p| run::program(p, &[]).is_some())
}

/// The release of the system, which is part of what a package is.
pub fn release() -> String {
    let said = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let lines = said.lines().filter(|l| l.starts_with("ID=") || l.starts_with("VERSION_ID="));
    lines.collect::<Vec<_>>().join(" ") + std::env::consts::ARCH
}

/// Where there is no apt: whether the system has the programs.
///
/// # Errors
/// With what to install.
pub fn system_has(package: &Package) -> Result<()> {
    let more = folders(Path::new(""), package);
    let missing = package.programs.iter().find(|p| run::program(p, &more).is_none());
    let Some(program) = missing else { return Ok(()) };
    Err(Error::not_found(format!("the program `{program}` is not installed, and there is no apt to fetch it with"))
        .hint(format!("install what brings `{program}` (in Debian: {})", package.debian.join(" "))))
}

/// Where programs lie below the package's folder.
pub fn folders(root: &Path, package: &Package) -> Vec<PathBuf> {
    if root.as_os_str().is_empty() {
        return package.path.iter().flat_map(|p| expand(Path::new(p))).collect();
    }
    let own = package.path.iter().map(|p| root.join(p.trim_start_matches('/')));
    let usual = ["usr/sbin", "usr/bin", "sbin", "bin"].iter().map(|p| root.join(p));
    own.chain(usual).flat_map(|p| expand(&p)).collect()
}

/// Where libraries lie below the package's folder.
pub fn libraries(root: &Path) -> Vec<PathBuf> {
    ["usr/lib", "lib"].iter().flat_map(|p| below(&root.join(p))).filter(|p| is_multiarch(p)).collect()
}

fn is_multiarch(folder: &Path) -> bool {
    folder.is_dir() && folder.file_name().is_some_and(|n| n.to_string_lossy().contains("-linux-gnu"))
}

pub fn fetch(fetch: &Fetch<'_>, home: &Home) -> Result<()> {
    let archives = fetch.draft.join(".archives");
    home::folder(&archives)?;
    // The system's lists if they will do; else lists of our own, which anybody may fetch.
    let with_system = download(fetch, &[], &archives);
    if let Err(first) = with_system {
        let lists = lists(home)?;
        let mut update = apt(&lists);
        update.arg("update");
        fetch.client(update).map_err(|e| e.context("first try", first))?;
        download(fetch, &lists, &archives)?;
    }
    let mut names = Vec::new();
    for archive in sorted(&archives) {
        let mut unpack = Command::new(run::needed("dpkg-deb", &[], "install dpkg")?);
        unpack.arg("--extract").arg(&archive).arg(fetch.draft);
        fetch.client(unpack)?;
        names.push(archive.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default());
    }
    super::remove(&archives)?;
    home::write(&fetch.draft.join("unpacked"), (names.join("\n") + "\n").as_bytes())
}

/// Options that keep lists and archives in our own folder.
fn lists(home: &Home) -> Result<Vec<String>> {
    let (lists, cache) = (home.packages().join(".apt/lists"), home.packages().join(".apt/cache"));
    for folder in [lists.join("partial"), cache.join("archives/partial")] {
        home::folder(&folder)?;
    }
    Ok(vec![format!("Dir::State::Lists={}", lists.display()), format!("Dir::Cache={}", cache.display())])
}

fn apt(options: &[String]) -> Command {
    let mut command = Command::new(run::program("apt-get", &[]).unwrap_or_else(|| "apt-get".into()));
    command.env("LC_ALL", "C");
    if is_root() {
        // Else it fetches as a user who may not write where we keep things.
        command.args(["-o", "APT::Sandbox::User=root"]);
    }
    for option in options {
        command.args(["-o", option]);
    }
    command
}

/// The packages and what of their dependencies the system does not have, into a folder.
fn download(fetch: &Fetch<'_>, options: &[String], archives: &Path) -> Result<()> {
    let mut plan = apt(options);
    plan.args(["-o", "Debug::NoLocking=1", "--simulate", "--no-install-recommends", "install"]).args(&fetch.package.debian);
    let planned = Run { command: plan, stdin: "", limit: PLAN }.finish().map_err(|e| Error::io("run", "apt-get", e))?;
    let said = String::from_utf8_lossy(&planned.output).into_owned();
    if !planned.status.is_some_and(|s| s.success()) {
        let why: Vec<&str> = said.lines().filter(|l| l.starts_with("E:")).take(3).collect();
        return Err(Error::new(ErrorKind::NotFound, "the archive of this release does not have the packages")
            .context("packages", fetch.package.debian.join(" "))
            .source(why.join("\n")));
    }
    let mut names: Vec<&str> = said.lines().filter_map(|l| l.strip_prefix("Inst ")?.split(' ').next()).collect();
    names.extend(fetch.package.debian.iter().map(String::as_str));
    names.sort_unstable();
    names.dedup();
    let mut get = apt(options);
    get.arg("download").args(&names).current_dir(archives);
    let ended = Run { command: get, stdin: "", limit: DOWNLOAD }.finish().map_err(|e| Error::io("run", "apt-get", e))?;
    if ended.status.is_some_and(|s| s.success()) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.output).into_owned();
    let why: Vec<&str> = said.lines().filter(|l| l.starts_with("E:")).take(3).collect();
    let hint = if offline(&said) { "the package is not in the cache: run it again with a network, once" } else { "`apt-get update` may help" };
    Err(Error::new(ErrorKind::Unavailable, "apt cannot download a package").source(why.join("\n")).hint(hint))
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut all = below(folder);
    all.sort();
    all
}

/// Folders that a path with `*` for whole parts means; the last in order (the newest version) first.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_libraries_are_found_below_the_folder() {
        let root = tempfile::tempdir().expect("a folder");
        for folder in ["usr/bin", "usr/lib/postgresql/15/bin", "usr/lib/x86_64-linux-gnu", "usr/lib/python3"] {
            std::fs::create_dir_all(root.path().join(folder)).expect("a folder");
        }
        let package: Package = toml::from_str("debian = ['postgresql']\npath = ['/usr/lib/postgresql/*/bin']").expect("a package");
        let relative = |all: Vec<PathBuf>| -> Vec<String> {
            all.iter().map(|p| p.strip_prefix(root.path()).expect("below").to_string_lossy().into_owned()).collect()
        };
        assert_eq!(relative(folders(root.path(), &package)), ["usr/lib/postgresql/15/bin", "usr/bin"]);
        assert_eq!(relative(libraries(root.path())), ["usr/lib/x86_64-linux-gnu"]);
    }
}
