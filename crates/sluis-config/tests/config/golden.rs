//! `tests/diagnostics/*.yaml`: files with mistakes, and beside each (`.txt`) what is said of them.
//!
//! A case is one pipeline, or several files: `#@ file: PATH` starts each. `#@ options: --env prod --var day=1` comes first.
//! `SLUIS_BLESS=1 cargo test -p sluis-config` writes the `.txt` anew.

use std::path::{Path, PathBuf};

use sluis_config::{Options, render};

use crate::{load, project};

struct Case {
    files: Vec<(String, String)>,
    options: Options,
    path: String,
}

fn read(text: &str, name: &str) -> Case {
    let mut case = Case { files: vec![], options: Options::default(), path: String::new() };
    let mut at = name.to_owned();
    let mut body = String::new();
    for line in text.split_inclusive('\n') {
        if let Some(options) = line.strip_prefix("#@ options:") {
            let words: Vec<&str> = options.split_whitespace().collect();
            for pair in words.chunks(2) {
                match pair {
                    ["--env", env] => case.options.env = Some((*env).to_owned()),
                    ["--var", var] => case.options.vars.push(var.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).unwrap()),
                    ["--path", path] => case.path = (*path).to_owned(),
                    other => panic!("{name}: {other:?}"),
                }
            }
        } else if let Some(file) = line.strip_prefix("#@ file:") {
            if !body.trim().is_empty() {
                case.files.push((at, std::mem::take(&mut body)));
            }
            body.clear();
            at = file.trim().to_owned();
        } else {
            body.push_str(line);
        }
    }
    case.files.push((at, body));
    case
}

fn said(path: &Path) -> String {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let case = read(&std::fs::read_to_string(path).unwrap(), &name);
    let files: Vec<(&str, &str)> = case.files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let dir = project(&files);
    let root = std::path::absolute(dir.path()).unwrap();
    let asked = if case.files.len() == 1 && case.path.is_empty() { root.join(&case.files[0].0) } else { root.join(&case.path) };
    let loaded = load(&asked, &case.options);
    assert!(!loaded.diagnostics.is_empty(), "{name}: nothing is wrong");
    // As JSON too: it must not fail.
    let json = serde_json::to_string(&loaded.diagnostics).unwrap();
    assert!(json.contains("\"code\""));
    render(&loaded.diagnostics, false).replace(&format!("{}/", root.display()), "").replace(&root.display().to_string(), "DIR")
}

#[test]
fn every_mistake_is_said_as_expected() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics");
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "yaml")).collect();
    cases.sort();
    assert!(cases.len() > 15);
    let mut wrong = Vec::new();
    for case in cases {
        let said = said(&case);
        let expected = case.with_extension("txt");
        if std::env::var_os("SLUIS_BLESS").is_some() {
            std::fs::write(&expected, said).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("{} says now:\n{said}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
