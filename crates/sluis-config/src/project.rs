//! A project: the folder, what its file says, with the chosen environment laid over it.
//!
//! Made by [`crate::load_project`]. Deliberately not here: pipelines, opening anything.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use sluis_core::{Registry, Result};

use crate::build::problems;
use crate::diagnostic::Diagnostic;
use crate::schema::{Conform, DOCS, LAKE, Place, project_schema};
use crate::secret::resolve;
use crate::variables::literal;
use crate::yaml::{Kind, Node};

/// What a project's pipelines share. A lone pipeline file has one too: its folder and the defaults.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its folder, absolute. Relative paths in configuration start here.
    pub dir: PathBuf,
    /// `sluis.yaml`, if there is one.
    pub file: Option<PathBuf>,
    /// Default: the folder's name.
    pub name: String,
    pub description: Option<String>,
    /// The environment chosen with `--env`.
    pub env: Option<String>,
    /// `.sluis` in the folder unless the file says otherwise; absolute.
    pub state_dir: PathBuf,
    /// `ledger.db` in the state folder unless the file says otherwise; absolute.
    pub ledger_path: PathBuf,
    /// Name -> `{ kind: {…} }`; secrets are not resolved.
    pub connections: Map<String, Value>,
    /// `{}` = the default lake in the state folder; secrets are not resolved.
    pub lake: Value,
}

impl Project {
    /// The project of a folder without a `sluis.yaml`.
    pub fn default_at(dir: &Path) -> Self {
        let state_dir = dir.join(".sluis");
        Self {
            dir: dir.to_owned(),
            file: None,
            name: dir.file_name().map_or_else(|| "project".into(), |n| n.to_string_lossy().into_owned()),
            description: None,
            env: None,
            ledger_path: state_dir.join("ledger.db"),
            state_dir,
            connections: Map::new(),
            lake: Value::Object(Map::new()),
        }
    }

    /// The same with every secret in connections and lake resolved and registered for redaction.
    ///
    /// # Errors
    /// Those of [`resolve`], with the file and the part.
    pub fn resolve(&self) -> Result<Project> {
        let file = self.file.as_deref().unwrap_or(&self.dir).display();
        let mut out = self.clone();
        for (name, value) in &mut out.connections {
            *value = resolve(value, &self.dir).map_err(|e| e.context("part", format!("connections.{name}")).context("file", &file))?;
        }
        out.lake = resolve(&self.lake, &self.dir).map_err(|e| e.context("part", "lake").context("file", &file))?;
        Ok(out)
    }
}

/// Builds a project from its file's tree, overlays and variables put in. `None` if anything is wrong.
pub(crate) fn build(
    dir: &Path,
    file: &Path,
    env: Option<&str>,
    node: &Node,
    registry: &Registry,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Project> {
    let grammar = project_schema(registry);
    let mut found = Vec::new();
    let mut walk = Conform::new(&grammar);
    let whole = walk.walk(node, &grammar, &Place::root());
    found.append(&mut walk.found);
    let connections = connections(node, registry, &grammar, &mut found);
    lake(node, registry, &grammar, &mut found);
    let mut text = |key: &str, what: &str| node.get(key).and_then(Node::text).map(|t| literal(t, what, &mut found).value);
    let (name, description, state_dir) = (text("name", "a name"), text("description", "the description"), text("state_dir", "the state folder"));
    let ledger = node.get("ledger").and_then(|l| l.get("path")).and_then(Node::text).map(|t| literal(t, "the ledger's path", &mut found).value);
    let good = found.is_empty();
    diagnostics.append(&mut found);
    let plain = Project::default_at(dir);
    let state_dir = state_dir.map_or(plain.state_dir, |p| dir.join(p));
    good.then(|| Project {
        file: Some(file.to_owned()),
        name: name.unwrap_or(plain.name),
        description,
        env: env.map(str::to_owned),
        ledger_path: ledger.map_or_else(|| state_dir.join("ledger.db"), |p| dir.join(p)),
        state_dir,
        connections,
        lake: whole.get("lake").filter(|lake| !lake.is_null()).cloned().unwrap_or(plain.lake),
        dir: plain.dir,
    })
}

/// The names of a project's connections, right or wrong.
pub(crate) fn connection_names(node: Option<&Node>) -> BTreeSet<String> {
    node.and_then(|n| n.get("connections")).map(|c| c.entries().iter().map(|e| e.key.clone()).collect()).unwrap_or_default()
}

fn connections(node: &Node, registry: &Registry, grammar: &Value, found: &mut Vec<Diagnostic>) -> Map<String, Value> {
    let mut out = Map::new();
    for connection in node.get("connections").into_iter().flat_map(Node::entries) {
        if let [first, second, ..] = connection.value.entries() {
            let d = Diagnostic::error("several-kinds", format!("a connection is of one kind, found `{}` and `{}`", first.key, second.key));
            let d = d.at(&second.key_span).label("second kind").also(&first.key_span, "first kind");
            found.push(d.help("give each a name of its own").docs(format!("{DOCS}project.md#connections")));
            continue;
        }
        let Some(kind) = connection.value.entries().first() else { continue };
        let Some(def) = registry.connections.iter().find(|d| d.name == kind.key) else { continue };
        let schema = serde_json::json!({ "$ref": format!("#/$defs/connection.{}", def.name) });
        let Some(config) = Conform::check(grammar, &schema, &kind.value) else { continue };
        let config = if config.is_null() { Value::Object(Map::new()) } else { config };
        let mut problems = problems("connection", kind, &config, def.validate);
        found.append(&mut problems);
        out.insert(connection.key.clone(), serde_json::json!({ def.name: config }));
    }
    out
}

/// What the lake itself finds wrong in its settings.
fn lake(node: &Node, registry: &Registry, grammar: &Value, found: &mut Vec<Diagnostic>) {
    let Some(def) = registry.lake else { return };
    let Some(entry) = node.entries().iter().find(|e| e.key == "lake") else { return };
    let schema = serde_json::json!({ "$ref": format!("#/$defs/{}.{}", LAKE.0, LAKE.1) });
    if let Some(config) = Conform::check(grammar, &schema, &entry.value).filter(|c| !c.is_null()) {
        found.append(&mut problems(LAKE.0, entry, &config, def.validate));
    }
}

/// Passwords and tokens that stand in a file as they are must not be printed either: what is said of a line shows the line.
pub(crate) fn hide_written_secrets(node: &Node) {
    const WORDS: [&str; 4] = ["secret", "password", "token", "bearer"];
    match &node.kind {
        Kind::Map(entries) => {
            for entry in entries {
                let key = entry.key.to_lowercase();
                match entry.value.scalar() {
                    Some(value) if WORDS.iter().any(|w| key.contains(w)) && !value.contains("${") => sluis_core::secret::register(value),
                    _ => hide_written_secrets(&entry.value),
                }
            }
        }
        Kind::List(items) => items.iter().for_each(hide_written_secrets),
        _ => {}
    }
}
