//! Licences, banned crates and sources of all crates that this platform's build takes in, by `deny.toml`.
//!
//! It reads the part of cargo-deny's file that it can judge from `cargo metadata`: `[licenses] allow`, `[bans] deny`, and that every crate
//! comes from the public registry. Where cargo-deny is installed, it is asked too. Deliberately not here: security advisories; their
//! database needs a network of its own, and a test must say the same tomorrow.

use serde_json::Value;

use crate::{files, process};

/// The whole check.
///
/// # Errors
/// Every finding, one a line.
pub fn run() -> Result<(), String> {
    let rules = std::fs::read_to_string(process::root().join("deny.toml")).map_err(|e| format!("deny.toml: {e}"))?;
    let allowed = strings(&rules, "licenses", "allow");
    let banned = strings(&rules, "bans", "deny");
    if allowed.is_empty() || banned.is_empty() {
        return Err("deny.toml: [licenses] allow and [bans] deny must not be empty".into());
    }
    let metadata = files::metadata()?;
    let mut problems = Vec::new();
    let mut count = 0;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        let name = format!("{} {}", text("name"), text("version"));
        let license = text("license");
        if !permits(license, &allowed) {
            problems.push(format!("{name}: licence `{license}` is not among those of deny.toml"));
        }
        if banned.iter().any(|b| b == text("name")) {
            problems.push(format!("{name}: banned by deny.toml"));
        }
        match &package["source"] {
            Value::Null => {}
            Value::String(source) if source == "registry+https://github.com/rust-lang/crates.io-index" => count += 1,
            other => problems.push(format!("{name}: comes from {other}, not from crates.io")),
        }
    }
    if process::on_path("cargo-deny")
        && let Err(e) = process::run(process::cargo().args(["deny", "--offline", "check", "bans", "licenses", "sources"]))
    {
        problems.push(e);
    }
    if problems.is_empty() {
        println!("{count} crates: licences, bans and sources as deny.toml says");
        return Ok(());
    }
    Err(problems.join("\n"))
}

/// The quoted strings of an array `key = […]` in `[section]`.
fn strings(toml: &str, section: &str, key: &str) -> Vec<String> {
    let lines = toml.lines().map(|l| l.split('#').next().unwrap_or_default());
    let inside: Vec<&str> = lines.skip_while(|l| l.trim() != format!("[{section}]")).skip(1).take_while(|l| !l.starts_with('[')).collect();
    let text = inside.join("\n");
    let Some(at) = text.find(&format!("{key} = [")) else { return Vec::new() };
    let array = &text[at..];
    let array = &array[..array.find(']').unwrap_or(array.len())];
    array.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether an SPDX expression (or the old `MIT/Apache-2.0`) can be met with the allowed licences.
fn permits(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let verdict = any(&words, &mut at, allowed);
    verdict && at == words.len()
}

fn any(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = every(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= every(words, at, allowed);
    }
    met
}

fn every(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at, allowed);
    }
    met
}

fn one(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let met = any(words, at, allowed);
        *at += 1;
        return met;
    }
    // An exception only ever permits more.
    if words.get(*at) == Some(&"WITH") {
        *at += 2;
    }
    allowed.iter().any(|a| a == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions() {
        let allowed = ["MIT".to_owned(), "ISC".to_owned()];
        for good in ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "MIT AND ISC", "(GPL-3.0 OR MIT) AND ISC", "MIT WITH LLVM-exception", "X AND Y OR ISC"] {
            assert!(permits(good, &allowed), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "MIT ISC", "MIT AND", "(MIT"] {
            assert!(!permits(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn arrays_of_a_section() {
        let toml = "[licenses]\nallow = [\n  \"MIT\", # short\n  \"ISC\",\n]\n[bans]\ndeny = [{ crate = \"openssl\" }]\n";
        assert_eq!(strings(toml, "licenses", "allow"), ["MIT", "ISC"]);
        assert_eq!(strings(toml, "bans", "deny"), ["openssl"]);
        assert!(strings(toml, "sources", "allow").is_empty());
    }
}
