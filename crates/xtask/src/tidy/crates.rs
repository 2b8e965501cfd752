//! Rules for crates: who may know whom, one Arrow, nothing declared that nobody uses.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::files::Text;
use crate::process;

/// Our crates, and which of ours each may depend on. Everybody depends on `sluis-features`.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("sluis-features", &[]),
    ("sluis-core", &[]),
    ("sluis-config", &["sluis-core"]),
    ("sluis-dev", &["sluis-core"]),
    ("sluis-storage", &["sluis-core"]),
    ("sluis-parquet", &["sluis-core"]),
    ("sluis-formats", &["sluis-core", "sluis-parquet"]),
    ("sluis-engine", &["sluis-core"]),
    ("sluis-sql", &["sluis-core"]),
    ("sluis-lake", &["sluis-core", "sluis-parquet", "sluis-storage"]),
    ("sluis-connectors", &["sluis-core", "sluis-storage", "sluis-formats", "sluis-lake"]),
    ("sluis-testkit", &["sluis-core", "sluis-storage", "sluis-formats", "sluis-engine", "sluis-dev"]),
    (
        "sluis",
        &["sluis-core", "sluis-config", "sluis-storage", "sluis-formats", "sluis-engine", "sluis-sql", "sluis-lake", "sluis-connectors", "sluis-dev"],
    ),
    ("xtask", &[]),
    // Libraries that know nothing of ours.
    ("hadoop-auth", &[]),
    ("hms-client", &["hadoop-auth"]),
];
/// What only some of ours may depend on directly.
const ONLY: [(&str, &[&str]); 11] = [
    ("clap", &["sluis"]),
    ("clap_complete", &["sluis"]),
    ("indicatif", &["sluis"]),
    ("comfy-table", &["sluis"]),
    ("annotate-snippets", &["sluis", "sluis-config"]),
    ("datafusion", &["sluis", "sluis-sql"]),
    ("iceberg", &["sluis-lake"]),
    ("rusqlite", &["sluis-engine", "sluis-lake"]),
    ("saphyr-parser", &["sluis-config"]),
    ("minijinja", &["sluis-dev"]),
    ("toml", &["sluis-dev"]),
];
/// Whose tests may not link DataFusion, directly or not: a minute is the budget of their inner loop.
const WITHOUT_DATAFUSION: [&str; 9] =
    ["sluis-core", "sluis-config", "sluis-dev", "sluis-storage", "sluis-parquet", "sluis-formats", "sluis-engine", "sluis-lake", "sluis-connectors"];
/// One version of each in the whole tree.
const ONE_VERSION: [&str; 6] = ["arrow-array", "arrow-schema", "parquet", "datafusion", "object_store", "reqwest"];

pub fn check(all: &[Text], metadata: &Value, findings: &mut Vec<String>) {
    let ours: Vec<&Value> = metadata["packages"].as_array().into_iter().flatten().filter(|p| p["source"].is_null()).collect();
    for package in &ours {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, known)) = MAY_KNOW.iter().find(|(n, _)| *n == name) else {
            findings.push(format!("{name}: not in the dependency rule of {}", file!()));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            rule(name, known, dependency, findings);
            used(all, name, dependency, findings);
        }
    }
    one_version(metadata, findings);
    declared(all, &ours, findings);
    for name in WITHOUT_DATAFUSION {
        let tree = process::output(process::cargo().args(["tree", "--locked", "-p", name, "-e", "normal,build,dev", "--prefix", "none"]));
        if tree.is_ok_and(|t| t.lines().any(|l| l.starts_with("datafusion "))) {
            findings.push(format!("{name}: its tests link DataFusion, which only sluis-sql and sluis may"));
        }
    }
}

fn rule(name: &str, known: &[&str], dependency: &Value, findings: &mut Vec<String>) {
    let other = dependency["name"].as_str().unwrap_or_default();
    let for_tests = dependency["kind"] == "dev";
    let ours = MAY_KNOW.iter().any(|(n, _)| *n == other);
    // Tests may look further.
    let tests_may = for_tests && name != "sluis-core";
    if ours && other != "sluis-features" && !known.contains(&other) && !tests_may {
        findings.push(format!("{name}: may not depend on {other} (ARCHITECTURE.md, dependency rule)"));
    }
    let only = ONLY.iter().find(|(n, _)| *n == other).map(|(_, who)| who);
    if let Some(who) = only.filter(|who| name != "sluis-features" && !for_tests && !who.contains(&name)) {
        findings.push(format!("{name}: may not depend on {other}; only {} may", who.join(" and ")));
    }
}

/// A dependency that is named nowhere costs build time for nothing.
fn used(all: &[Text], name: &str, dependency: &Value, findings: &mut Vec<String>) {
    if name == "sluis-features" || name == "xtask" {
        return;
    }
    let other = dependency["name"].as_str().unwrap_or_default();
    let word = match other {
        "sluis-features" => return,
        "md-5" => "md5".to_owned(),
        other => other.replace('-', "_"),
    };
    let mut folders = vec![format!("crates/{name}/"), format!("libs/{name}/")];
    if name == "sluis" {
        folders.push("tests/".into());
    }
    let named = all.iter().any(|f| f.path.ends_with(".rs") && folders.iter().any(|d| f.path.starts_with(d.as_str())) && mentions(&f.text, &word));
    if !named {
        findings.push(format!("crates/{name}/Cargo.toml: nothing in {name} mentions {other}"));
    }
}

fn mentions(text: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].chars().next_back().is_some_and(part_of_name) && !text[at + word.len()..].chars().next().is_some_and(part_of_name))
}

fn one_version(metadata: &Value, findings: &mut Vec<String>) {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        versions.entry(package["name"].as_str().unwrap_or_default()).or_default().insert(package["version"].as_str().unwrap_or_default());
    }
    for name in ONE_VERSION {
        let found = versions.get(name).cloned().unwrap_or_default();
        if found.len() > 1 {
            findings.push(format!("Cargo.lock: {name} in {} versions ({found:?}): one Arrow line for the whole tree", found.len()));
        }
    }
}

/// Every entry of `[workspace.dependencies]` is asked for by a crate.
fn declared(all: &[Text], ours: &[&Value], findings: &mut Vec<String>) {
    let Some(manifest) = all.iter().find(|f| f.path == "Cargo.toml") else { return };
    let lines = manifest.text.lines().skip_while(|l| *l != "[workspace.dependencies]").skip(1).take_while(|l| !l.starts_with('['));
    for name in lines.filter_map(|l| Some(l.split_once('=')?.0.trim())).filter(|n| !n.starts_with('#')) {
        let asked = ours
            .iter()
            .filter(|p| p["name"] != "sluis-features")
            .flat_map(|p| p["dependencies"].as_array().into_iter().flatten())
            .any(|d| d["name"] == name);
        if !asked {
            findings.push(format!("Cargo.toml: no crate asks for the workspace dependency {name}"));
        }
    }
}
