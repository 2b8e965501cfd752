//! Rules for Rust files: headers, length, names, words, sleeping tests, crash points.

use std::collections::BTreeSet;
use std::path::Path;

use crate::files::Text;

/// Lines a file may have: "about 600".
const LINES: usize = 650;
/// Names that say nothing of what is in the room.
const EMPTY_NAMES: [&str; 9] = ["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc", "shared"];
/// What a finished tree has none of. In pieces, so that this file has none either.
const UNFINISHED: [&str; 7] = [
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
    concat!("XX", "X:"),
    concat!("for ", "now"),
];

pub fn check(all: &[Text], findings: &mut Vec<String>) {
    for file in all.iter().filter(|f| f.path.ends_with(".rs")) {
        one(file, findings);
    }
    points(all, findings);
}

fn one(file: &Text, findings: &mut Vec<String>) {
    let path = &file.path;
    if !file.text.starts_with("//!") {
        findings.push(format!("{path}:1: no header: a file begins with `//!` and says what the room is for"));
    }
    let lines = file.text.lines().count();
    if lines > LINES {
        findings.push(format!("{path}: {lines} lines; rooms have up to about 600: cut it where the subject changes"));
    }
    for part in Path::new(path).iter().map(|p| p.to_string_lossy()) {
        let stem = part.split('.').next().unwrap_or_default();
        if EMPTY_NAMES.contains(&stem) {
            findings.push(format!("{path}: `{stem}` says nothing of what is in there: name it after the thing"));
        }
    }
    let mut testing = is_test(path);
    let mut before = "";
    for (number, line) in file.text.lines().enumerate() {
        testing |= line.trim() == "#[cfg(test)]";
        for word in UNFINISHED.iter().filter(|w| line.contains(**w)) {
            // In plain text the last one is allowed in sentences for users.
            if *word != UNFINISHED[6] || line.trim_start().starts_with("//") {
                findings.push(format!("{path}:{}: `{}` has no place in a finished tree", number + 1, word.trim_end_matches('(')));
            }
        }
        let sleeps = line.contains("thread::sleep(") || line.contains("time::sleep(");
        let meant = |l: &str| l.contains("// polls") || l.contains("// the moment of the shot");
        if testing && sleeps && !meant(line) && !meant(before) {
            findings.push(format!("{path}:{}: a test sleeps: poll for the fact (a sleep between two looks carries `// polls`)", number + 1));
        }
        before = line;
    }
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs") || path.contains("sluis-testkit/")
}

/// `POINTS` and `RARE_POINTS` of `sluis_core::crash` and the calls of `point("…")` name the same points.
fn points(all: &[Text], findings: &mut Vec<String>) {
    const LIST: &str = "crates/sluis-core/src/crash.rs";
    let Some(list) = all.iter().find(|f| f.path == LIST) else { return };
    let lists = list.text.split("POINTS: &[&str] = &[").skip(1).filter_map(|t| t.split("];").next());
    let listed: BTreeSet<&str> = lists.flat_map(|inside| inside.split('"').skip(1).step_by(2)).collect();
    let mut passed = BTreeSet::new();
    for file in all.iter().filter(|f| f.path.starts_with("crates/") && f.path.ends_with(".rs") && f.path != LIST && !is_test(&f.path)) {
        if file.path.contains("/xtask/") {
            continue;
        }
        let code = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        for call in code.split("point(\"").skip(1) {
            let name = call.split('"').next().unwrap_or_default();
            passed.insert(name.to_owned());
            if !listed.contains(name) {
                findings.push(format!("{}: the crash point `{name}` is not in {LIST}", file.path));
            }
        }
    }
    for name in listed.iter().filter(|n| !passed.contains(**n)) {
        findings.push(format!("{LIST}: nothing passes the crash point `{name}`"));
    }
}
