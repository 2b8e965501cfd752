//! Packages: what services are made of, fetched by the clients of their registries, pinned by version and checksum, kept once per user.
//!
//! A package lies in a folder whose name has a digest of all that pins it. It is made beside it and renamed when whole, under a lock, so that
//! half a download is never taken for a package and two clusters never fetch the same at once. Deliberately not here: which are needed when.

mod debian;
mod go;
mod maven;
mod node;
mod python;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use sluis_core::{Error, ErrorKind, Result};

use crate::catalog;
use crate::description::Package;
use crate::home::{self, Home};
use crate::run::{self, Run};
use crate::tell::{Event, Tell};

/// For the client of a registry, on a slow line.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// The folder of a package, there or not. Empty, which with `/usr` behind it means the system's: Debian packages where there is no apt.
///
/// # Errors
/// If the service has no such package.
pub fn folder(home: &Home, service: &str, name: &str) -> Result<PathBuf> {
    let package = get(service, name)?;
    if !package.debian.is_empty() && !debian::unpacks() {
        return Ok(PathBuf::new());
    }
    Ok(home.packages().join(format!("{name}-{}", key(service, name, &package)?)))
}

fn get(service: &str, name: &str) -> Result<Package> {
    let found = catalog::packages(service)?.remove(name);
    found.ok_or_else(|| Error::internal(format!("the service {service} has no package {name} in its packages.toml")))
}

/// A digest of everything that says what the package is.
fn key(service: &str, name: &str, package: &Package) -> Result<String> {
    let mut digest = Sha256::new();
    digest.update(serde_json::to_string(package).map_err(|e| Error::internal(format!("a package without JSON: {e}")))?);
    let mut files = vec![format!("{name}.lock")];
    files.extend(package.pip.clone());
    if package.npm {
        files.extend(["package.json".to_owned(), "package-lock.json".to_owned()]);
    }
    if !package.debian.is_empty() {
        digest.update(debian::release());
    }
    for file in files {
        digest.update(catalog::file(service, &file).unwrap_or_default());
    }
    Ok(hex(&digest.finalize())[..12].to_owned())
}

/// Where programs and libraries of a Debian package lie, in the order of search; nothing for other kinds.
///
/// # Errors
/// As [`folder`].
pub fn search(home: &Home, service: &str, name: &str) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let package = get(service, name)?;
    if package.debian.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let root = folder(home, service, name)?;
    let libraries = if root.as_os_str().is_empty() { Vec::new() } else { debian::libraries(&root) };
    Ok((debian::folders(&root, &package), libraries))
}

/// Makes a package be there; at once and without a network if it is.
///
/// # Errors
/// What could not be had, why, and what to do.
pub fn ensure(home: &Home, service: &str, name: &str, tell: &dyn Tell) -> Result<()> {
    let package = get(service, name)?;
    if !package.debian.is_empty() && !debian::unpacks() {
        return debian::system_has(&package).map_err(|e| e.context("package", format!("{service}/{name}")));
    }
    let folder = folder(home, service, name)?;
    if folder.is_dir() {
        return Ok(());
    }
    home::folder(&home.packages())?;
    let lock = home.packages().join(format!(".{name}.lock"));
    let lock = File::create(&lock).map_err(|e| Error::io("write", lock.display(), e))?;
    lock.lock().map_err(|e| Error::io("lock the package", name, e))?;
    // Another process may have made it while we waited.
    if folder.is_dir() {
        return Ok(());
    }
    let begun = Instant::now();
    tell.tell(service, Event::Fetching { package: name.to_owned(), kind: kind(&package) });
    let draft = home.packages().join(format!(".{name}.draft"));
    remove(&draft)?;
    home::folder(&draft)?;
    let log = home.packages().join(format!("{name}.log"));
    let fetch = Fetch { service, name, package: &package, draft: &draft, log: &log };
    let made = if !package.maven.is_empty() {
        maven::fetch(&fetch)
    } else if !package.debian.is_empty() {
        debian::fetch(&fetch, home)
    } else if package.go.is_some() {
        go::fetch(&fetch)
    } else if package.pip.is_some() {
        python::fetch(&fetch)
    } else {
        node::fetch(&fetch)
    };
    made.map_err(|e| e.context("package", format!("{service}/{name}")))?;
    std::fs::rename(&draft, &folder).map_err(|e| Error::io("put the package at", folder.display(), e))?;
    tell.tell(service, Event::Fetched { package: name.to_owned(), took: begun.elapsed(), bytes: size(&folder) });
    Ok(())
}

fn kind(package: &Package) -> &'static str {
    if !package.maven.is_empty() {
        "Maven"
    } else if !package.debian.is_empty() {
        "Debian"
    } else if package.go.is_some() {
        "Go (built from source)"
    } else if package.pip.is_some() {
        "PyPI"
    } else {
        "npm"
    }
}

/// A package to be made.
struct Fetch<'a> {
    service: &'a str,
    name: &'a str,
    package: &'a Package,
    /// Where to make it.
    draft: &'a Path,
    log: &'a Path,
}

impl Fetch<'_> {
    /// Runs a registry's client.
    fn client(&self, mut command: Command) -> Result<()> {
        let shown = std::iter::once(command.get_program()).chain(command.get_args()).map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let log = File::create(self.log).map_err(|e| Error::io("write", self.log.display(), e))?;
        let both = log.try_clone().map_err(|e| Error::io("write", self.log.display(), e))?;
        command.stdout(log).stderr(both);
        let ended = Run { command, stdin: "", limit: LIMIT }.status().map_err(|e| Error::io("run", &shown, e))?;
        if ended.is_some_and(|s| s.success()) {
            return Ok(());
        }
        let said = run::tail(self.log, 400);
        let hint = if ["Could not find artifact", "404 Not Found", "No matching distribution", "E404"].iter().any(|w| said.contains(w)) {
            "the registry does not have it: a mirror may lack it"
        } else if offline(&said) {
            "the package is not in the cache, and the registry cannot be reached: run it again with a network (once), or set up the registry's client (mirror, proxy)"
        } else if said.contains("No space left on device") {
            "free some space, then run it again: what is half there is made anew"
        } else {
            "look at the log, then run it again: what is half there is made anew"
        };
        let kind = if said.contains("No space left on device") { ErrorKind::Capacity } else { ErrorKind::Unavailable };
        let why = if ended.is_none() { "it took too long" } else { "its client failed" };
        let last: Vec<&str> = said.lines().filter(|l| l.contains("ERROR") || l.contains("rror:")).take(3).collect();
        let last = if last.is_empty() { run::tail(self.log, 3) } else { last.join("\n") };
        Err(Error::new(kind, format!("a package cannot be fetched: {why}"))
            .context("command", shown)
            .context("log", self.log.display())
            .source(last)
            .hint(hint))
    }
}

/// Whether a client's words are those of one without a network.
fn offline(said: &str) -> bool {
    let words = [
        "Unknown host",
        "UnknownHost",
        "No route to host",
        "Connection refused",
        "Network is unreachable",
        "Temporary failure in name resolution",
        "no such host",
        "dial tcp",
        "Could not resolve",
        "ENOTFOUND",
        "ECONNREFUSED",
        "EAI_AGAIN",
        "NewConnectionError",
        "Connect to ",
    ];
    words.iter().any(|w| said.contains(w))
}

/// The digest of a file, in hexadecimal digits.
fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|e| Error::io("read", path.display(), e))?;
    let mut digest = Sha256::new();
    std::io::copy(&mut file, &mut digest).map_err(|e| Error::io("read", path.display(), e))?;
    Ok(hex(&digest.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            // Go makes its folders read-only.
            Err(Error::io("remove", folder.display(), e))
        }
        _ => Ok(()),
    }
}

/// Bytes of all files below a folder.
pub fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|e| e.metadata().map_or(0, |m| if m.is_dir() { size(&e.path()) } else { m.len() })).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tell::Silent;

    #[test]
    fn every_package_is_pinned() {
        for service in catalog::names() {
            for (name, package) in catalog::packages(service).expect(service) {
                let has = |file: &str| catalog::file(service, file).is_some_and(|bytes| !bytes.is_empty());
                assert!(package.maven.is_empty() || has(&format!("{name}.lock")), "{service}/{name} has no lock");
                assert_eq!(package.go.is_some(), package.sum.is_some(), "{service}/{name}: a module has a sum");
                assert!(!package.npm || (has("package.json") && has("package-lock.json")), "{service}/{name} has no package-lock.json");
                if let Some(requirements) = &package.pip {
                    let text = catalog::text(service, requirements).expect("text");
                    assert!(text.contains("--hash=sha256:"), "{service}/{requirements} has no hashes");
                }
            }
        }
    }

    #[test]
    fn a_package_that_is_there_is_not_fetched_and_a_draft_is_not_a_package() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path()).expect("a home");
        let place = super::folder(&home, "zookeeper", "zookeeper").expect("a place");
        std::fs::create_dir_all(home.packages().join(".zookeeper.draft")).expect("a folder");
        assert!(!place.exists());
        std::fs::create_dir_all(&place).expect("a folder");
        ensure(&home, "zookeeper", "zookeeper", &Silent).expect("it is there");
    }
}
