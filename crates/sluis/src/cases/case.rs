//! A test as it is written.
//!
//! Deliberately not here: running it, reading the expected rows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sluis_config::{Diagnostic, read_document};
use sluis_core::{Error, Result};

/// A test.
#[derive(Debug)]
pub struct Case {
    /// Its path below `tests/`, without the ending.
    pub name: String,
    /// The pipeline it says it is for.
    pub pipeline: Option<String>,
    pub now: DateTime<Utc>,
    /// Path below the source's URL, and bytes.
    pub given: BTreeMap<String, Vec<u8>>,
    /// Look-up tables: name, file name (its ending says the format where the pipeline does not), bytes.
    pub tables: BTreeMap<String, Text>,
    /// By target; `rejects` among them; `rows` is the first target.
    pub expect: Vec<(String, Text)>,
    /// The run must fail with this in its message.
    pub error: Option<String>,
}

/// Some text and the file name that says its format; no file name: found out.
#[derive(Debug, Clone)]
pub struct Text {
    pub file: Option<String>,
    pub bytes: Vec<u8>,
}

/// JSON Schema of a test's file.
pub fn schema() -> Value {
    let text = json!({ "anyOf": [
        { "type": "string" },
        { "type": "object", "properties": { "file": { "type": "string", "description": "A file beside the test." } }, "required": ["file"], "additionalProperties": false },
        { "type": "null" }
    ] });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A test of a sluis pipeline",
        "type": "object",
        "additionalProperties": false,
        "required": ["expect"],
        "properties": {
            "description": { "type": "string", "description": "What it shows." },
            "pipeline": { "type": "string", "description": "The pipeline's name. Default: the folder's name, or the only pipeline." },
            "now": { "type": "string", "description": "What the clock shows, as in 2024-01-31T12:00:00Z. Default: 2024-01-01T00:00:00Z." },
            "given": { "type": "object", "additionalProperties": text, "description": "The source's files: path below its URL, and text. A folder `given/` beside `test.yaml` counts too." },
            "tables": { "type": "object", "additionalProperties": text, "description": "Look-up tables by name." },
            "expect": { "type": "object", "additionalProperties": text, "description": "Rows by target (`rows`: the first target), and `rejects`: as CSV with a header, JSON, or a text table. A file in a folder `expected/` counts too." },
            "error": { "type": "string", "description": "The run must fail with this in its message." }
        }
    })
}

/// All tests below a project's `tests/`, and what is wrong with those that cannot be read.
///
/// # Errors
/// A folder that cannot be listed.
pub fn find(project_dir: &Path) -> Result<(Vec<Case>, Vec<Diagnostic>)> {
    let root = project_dir.join("tests");
    let (mut cases, mut diagnostics) = (Vec::new(), Vec::new());
    if root.is_dir() {
        walk(&root, &root, &mut cases, &mut diagnostics)?;
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((cases, diagnostics))
}

fn walk(root: &Path, dir: &Path, cases: &mut Vec<Case>, diagnostics: &mut Vec<Diagnostic>) -> Result<()> {
    let whole = dir.join("test.yaml");
    if whole.is_file() {
        cases.extend(case(root, &whole, dir, Some(dir), diagnostics)?);
        return Ok(());
    }
    for path in list(dir)? {
        if path.is_dir() {
            walk(root, &path, cases, diagnostics)?;
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            cases.extend(case(root, &path, &path.with_extension(""), None, diagnostics)?);
        }
    }
    Ok(())
}

fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io("list", dir.display(), e))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.retain(|p| p.file_name().is_some_and(|n| !n.to_string_lossy().starts_with('.')));
    paths.sort();
    Ok(paths)
}

/// One test's file. `folder`: where `given/` and `expected/` are.
fn case(root: &Path, file: &Path, named: &Path, folder: Option<&Path>, diagnostics: &mut Vec<Diagnostic>) -> Result<Option<Case>> {
    let (value, found) = read_document(file, &schema());
    diagnostics.extend(found);
    let Some(value) = value else { return Ok(None) };
    let name = named.strip_prefix(root).unwrap_or(named).display().to_string();
    let beside = file.parent().unwrap_or(root);
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    let now = text("now").unwrap_or_else(|| "2024-01-01T00:00:00Z".into());
    let now = DateTime::parse_from_rfc3339(&now).map_err(|e| {
        Error::config(format!("`now: {now}` is not a time")).source(e).context("test", &name).hint("write it as 2024-01-31T12:00:00Z")
    })?;
    let texts = |key: &str| -> Result<Vec<(String, Text)>> {
        let entries = value[key].as_object().into_iter().flatten();
        entries.map(|(k, v)| Ok((k.clone(), read(v, beside).map_err(|e| e.context("test", &name))?))).collect()
    };
    let mut given: BTreeMap<String, Vec<u8>> = texts("given")?.into_iter().map(|(k, t)| (k, t.bytes)).collect();
    let mut expect = texts("expect")?;
    if let Some(folder) = folder {
        let root = folder.join("given");
        let mut files = Vec::new();
        below(&root, &mut files)?;
        for path in files {
            let relative = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
            given.insert(relative, bytes(&path)?);
        }
        for path in if folder.join("expected").is_dir() { list(&folder.join("expected"))? } else { Vec::new() } {
            let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            expect.push((stem, Text { file: Some(path.display().to_string()), bytes: bytes(&path)? }));
        }
    }
    if let Some(outside) = given.keys().find(|k| k.starts_with('/') || k.split('/').any(|p| p == "..")) {
        return Err(Error::config(format!("`{outside}` is no path below the source's URL")).context("test", &name));
    }
    Ok(Some(Case {
        pipeline: text("pipeline").or_else(|| folder_name(root, named)),
        now: now.to_utc(),
        given,
        tables: texts("tables")?.into_iter().collect(),
        expect,
        error: text("error"),
        name,
    }))
}

/// The name of the folder a test is in, unless that is `tests/` itself.
fn folder_name(root: &Path, named: &Path) -> Option<String> {
    let parent = named.parent()?;
    (parent != root).then(|| parent.file_name().map(|n| n.to_string_lossy().into_owned())).flatten()
}

fn read(value: &Value, beside: &Path) -> Result<Text> {
    match value["file"].as_str() {
        Some(file) => Ok(Text { file: Some(file.to_owned()), bytes: bytes(&beside.join(file))? }),
        None => Ok(Text { file: None, bytes: value.as_str().unwrap_or_default().as_bytes().to_vec() }),
    }
}

fn below(dir: &Path, out: &mut Vec<PathBuf>) -> Result<()> {
    if dir.is_dir() {
        for path in list(dir)? {
            if path.is_dir() { below(&path, out)? } else { out.push(path) }
        }
    }
    Ok(())
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::io("read", path.display(), e))
}
