//! From a tree that was read to a [`Pipeline`]: what the schema says, then what values mean together.
//!
//! Everything wrong is found in one pass: a part with mistakes leaves the others to be looked at.
//! Deliberately not here: reading files, variables (they are in already), and other pipelines.

mod contract;
mod parts;
mod rows;
mod settings;
mod targets;

pub(crate) use parts::problems;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use sluis_core::{PipelineName, Registry};

use crate::diagnostic::Diagnostic;
use crate::pipeline::Pipeline;
use crate::schema::{Conform, Place};
use crate::span::{SourceFile, Span};
use crate::variables::literal;
use crate::yaml::{Entry, Node, Text};

/// What a pipeline is built against.
pub(crate) struct Surroundings<'a> {
    pub registry: &'a Registry,
    /// The pipeline files' schema.
    pub grammar: &'a Value,
    /// Names in the project's `connections:`.
    pub connections: &'a BTreeSet<String>,
}

/// What is known of a pipeline even if it has mistakes.
pub(crate) struct Built {
    pub name: PipelineName,
    /// Where its name stands, or the beginning of its file.
    pub name_span: Span,
    /// The pipelines it waits for, and where they are named.
    pub after: Vec<(PipelineName, Span)>,
    pub pipeline: Option<Pipeline>,
}

/// Builds a pipeline; `None` in it, and diagnostics, if anything is wrong.
pub(crate) fn build(around: &Surroundings<'_>, file: &std::sync::Arc<SourceFile>, node: &Node, diagnostics: &mut Vec<Diagnostic>) -> Built {
    let before = diagnostics.iter().filter(|d| d.severity == crate::Severity::Error).count();
    let mut walk = Conform::new(around.grammar);
    walk.walk(node, around.grammar, &Place::root());
    diagnostics.append(&mut walk.found);
    let mut builder = Builder { around, diagnostics };
    let (name, name_span) = builder.name(file, node);
    let from = node.entry("from").and_then(|e| builder.from(e, "from"));
    let checks = builder.checks(node);
    let mut contract = builder.contract(node);
    let tables = builder.tables(node);
    let selects = builder.selects(node, &tables);
    let scope = builder.scope(node);
    let targets = builder.targets(node);
    let rejects = builder.rejects(node);
    let (when, after) = builder.when(node);
    let alert = builder.alert(node);
    let limits = builder.limits(node);
    let budget = builder.budget(node);
    let settings = builder.settings(node);
    let description = builder.plain_text(node, "description", "the description").map(|t| t.value);
    if let Some((source, format)) = &from {
        builder.combinations(node, source);
        contract = builder.contract_combinations(node, contract, source, format.as_ref());
    }
    let after_names = after.into_iter().collect();
    let errors = diagnostics.iter().filter(|d| d.severity == crate::Severity::Error).count();
    let pipeline = match from {
        Some((source, format)) if errors == before && !targets.is_empty() => Some(Pipeline {
            name: name.clone(),
            file: file.path().to_owned(),
            description,
            source,
            format,
            checks,
            contract,
            selects,
            scope,
            tables,
            targets,
            rejects,
            when,
            alert,
            limits,
            budget,
            settings,
        }),
        _ => None,
    };
    Built { name, name_span, after: after_names, pipeline }
}

struct Builder<'a, 'd> {
    around: &'a Surroundings<'a>,
    diagnostics: &'d mut Vec<Diagnostic>,
}

/// A section of the pipelines' reference page.
pub(crate) fn docs(section: &str) -> String {
    format!("{}pipeline.md#{section}", crate::schema::DOCS)
}

/// Whether it can name a pipeline, a target or an environment: it becomes part of file names.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

impl Builder<'_, '_> {
    fn report(&mut self, diagnostic: Diagnostic, section: &str) {
        self.diagnostics.push(diagnostic.docs(docs(section)));
    }

    /// The value of an entry as JSON, if it conforms to a definition of the grammar. What is wrong was reported by the first walk.
    fn conform(&self, node: &Node, definition: &str) -> Option<Value> {
        Conform::check(self.around.grammar, &json!({ "$ref": format!("#/$defs/{definition}") }), node)
    }

    /// A text that is used as it stands. `None` if there is none, or it is no text (reported by the first walk).
    fn plain_text(&mut self, node: &Node, key: &str, what: &str) -> Option<Text> {
        let value = node.get(key)?;
        match value.text() {
            Some(text) => Some(literal(text, what, self.diagnostics)),
            // A number is as good a text.
            None => value
                .scalar()
                .map(|raw| Text { value: raw.to_owned(), place: crate::span::TextSpan::new(value.span.clone(), std::sync::Arc::new([])) }),
        }
    }

    fn name(&mut self, file: &std::sync::Arc<SourceFile>, node: &Node) -> (PipelineName, Span) {
        if let Some(text) = self.plain_text(node, "name", "a name") {
            let span = text.place.whole().clone();
            if !is_plain_name(&text.value) {
                let d = Diagnostic::error("bad-name", format!("`{}` cannot be a pipeline's name", crate::diagnostic::short(&text.value)));
                self.report(d.at(&span.first_line()).help("letters, digits, `_`, `-` and `.`, not starting with `-` or `.`"), "name");
            }
            return (PipelineName::new(text.value), span);
        }
        let stem = file.path().file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let span = Span::new(file, file.line(1));
        if !is_plain_name(&stem) {
            let d = Diagnostic::error("bad-name", format!("the file's name `{stem}` cannot be a pipeline's name"));
            self.report(d.at(&span).help("rename the file, or give the pipeline a `name:` of letters, digits, `_`, `-` and `.`"), "name");
        }
        (PipelineName::new(stem), span)
    }

    /// A reference to a connection of the project.
    fn connection(&mut self, entry: &Entry) {
        let Some((value, name)) = entry.value.get("connection").and_then(|n| Some((n, n.text()?.value.clone()))) else { return };
        if crate::reference::has_secret(&name) || crate::reference::has_open(&name) || self.around.connections.contains(&name) {
            return;
        }
        let names = self.around.connections.iter().map(String::as_str);
        let help = crate::suggest::help(&name, names, "the connections are")
            .unwrap_or_else(|| "the project has none: write it under `connections:` in `sluis.yaml`".into());
        let d = Diagnostic::error("unknown-connection", format!("there is no connection `{name}`")).at(&value.span).help(help);
        self.diagnostics.push(d.docs(format!("{}project.md#connections", crate::schema::DOCS)));
    }
}

/// A path's last part, for messages.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}
