//! The features of third-party crates are the same whatever part of the workspace is built, so nothing is compiled twice.
//!
//! `sluis-features` pins them; each of ours depends on it. The fact checked: `cargo tree` shows the same features of a crate for each of our
//! crates alone as for the whole workspace. `--fix` writes the pins that are missing.

use std::collections::{BTreeMap, BTreeSet};

use crate::process;

const PINS: &str = "crates/sluis-features/Cargo.toml";

/// `name version` -> the sets of features it is built with (one for the host, one for the target at most).
type Tree = BTreeMap<String, BTreeSet<String>>;

/// # Errors
/// If cargo fails.
pub fn check(fix: bool, findings: &mut Vec<String>) -> Result<(), String> {
    let mut different = differences()?;
    for _ in 0..4 {
        if !fix || different.is_empty() {
            break;
        }
        pin(&different)?;
        different = differences()?;
    }
    for (package, (who, _)) in different {
        findings.push(format!("{PINS}: {who} alone builds {package} with other features than the workspace: run `cargo xtask tidy --fix`"));
    }
    Ok(())
}

/// Package -> (who builds it otherwise, the workspace's features).
fn differences() -> Result<BTreeMap<String, (String, BTreeSet<String>)>, String> {
    let whole = tree(&["--workspace"], "normal,build,dev")?;
    let names: Vec<String> = std::fs::read_dir(process::root().join("crates"))
        .map_err(|e| format!("crates: {e}"))?
        .filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    let mut out = BTreeMap::new();
    for name in names {
        // The program as `cargo run` builds it, too: without what tests need.
        for kinds in ["normal,build,dev", "normal,build"] {
            for (package, features) in tree(&["-p", &name], kinds)? {
                let all = whole.get(&package).cloned().unwrap_or_default();
                if !features.is_subset(&all) {
                    out.insert(package, (name.clone(), all));
                }
            }
        }
    }
    Ok(out)
}

fn tree(which: &[&str], kinds: &str) -> Result<Tree, String> {
    let mut command = process::cargo();
    command.args(["tree", "--locked", "-e", kinds, "--prefix", "none", "-f", "{p}|{f}"]).args(which);
    let mut out = Tree::new();
    for line in process::output(&mut command)?.lines() {
        let line = line.trim_end_matches(" (*)");
        let Some((package, features)) = line.split_once('|') else { continue };
        let mut words = package.split_whitespace();
        let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
        if !package.contains("(/") && name != "xtask" && !name.starts_with("sluis") {
            out.entry(format!("{name} {}", version.trim_start_matches('v'))).or_default().insert(features.to_owned());
        }
    }
    Ok(out)
}

/// Adds or replaces lines of `[dependencies]`.
fn pin(different: &BTreeMap<String, (String, BTreeSet<String>)>) -> Result<(), String> {
    let path = process::root().join(PINS);
    let mut lines: Vec<String> = std::fs::read_to_string(&path).map_err(|e| format!("{PINS}: {e}"))?.lines().map(str::to_owned).collect();
    for (package, (_, sets)) in different {
        let Some((name, version)) = package.split_once(' ') else { continue };
        let parts: Vec<&str> = version.split('.').collect();
        let major = if parts[0] == "0" { parts[..2].join(".") } else { parts[0].to_owned() };
        let features: BTreeSet<&str> = sets.iter().flat_map(|s| s.split(',')).filter(|f| !f.is_empty()).collect();
        let features = features.iter().map(|f| format!("\"{f}\"")).collect::<Vec<_>>().join(", ");
        let line = format!("{name} = {{ version = \"{major}\", default-features = false, features = [{features}] }}");
        match lines.iter().position(|l| l.starts_with(&format!("{name} = "))) {
            Some(at) => lines[at] = line,
            None => {
                let end = lines.iter().position(|l| l == "[build-dependencies]").unwrap_or(lines.len());
                lines.insert(end.saturating_sub(1), line);
            }
        }
    }
    std::fs::write(&path, lines.join("\n") + "\n").map_err(|e| format!("{PINS}: {e}"))
}
