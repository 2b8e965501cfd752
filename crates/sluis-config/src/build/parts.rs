//! Sources, formats and connections: the registry's parts as a file configures them.
//!
//! Deliberately not here: what a part's keys mean; its own `validate` says.

use serde_json::Value;
use sluis_core::registry::Problem;

use super::Builder;
use crate::diagnostic::Diagnostic;
use crate::pipeline::{FormatPart, SourcePart};
use crate::reference::{has_secret, masked};
use crate::schema::{DOCS, page};
use crate::suggest;
use crate::yaml::{Entry, Node};

impl Builder<'_, '_> {
    /// A source and the format beside it. `what`: `from`, or the look-up table.
    pub(super) fn from(&mut self, from: &Entry, what: &str) -> Option<(SourcePart, Option<FormatPart>)> {
        let registry = self.around.registry;
        let entries = from.value.entries();
        let sources: Vec<_> = entries.iter().filter_map(|e| Some((e, registry.source(&e.key)?))).collect();
        let formats: Vec<_> = entries.iter().filter_map(|e| Some((e, registry.format(&e.key).filter(|d| d.reader.is_some())?))).collect();
        // A word that is neither may be meant as one; it was reported.
        let strangers = entries.len() > sources.len() + formats.len();
        let readers = || suggest::list(registry.formats.iter().filter(|d| d.reader.is_some()).map(|d| d.name));
        if let [(first, _), (second, _), ..] = sources[..] {
            let d = Diagnostic::error("several-sources", format!("`{what}` takes one source, found `{}` and `{}`", first.key, second.key));
            let d = d.at(&second.key_span).label("second source").also(&first.key_span, "first source");
            self.report(d.help("make a pipeline of each; several places of one kind are a list in its `url`"), "from");
            return None;
        }
        if let [(first, _), (second, _), ..] = formats[..] {
            let d = Diagnostic::error("several-formats", format!("`{what}` takes one format, found `{}` and `{}`", first.key, second.key));
            let d = d.at(&second.key_span).label("second format").also(&first.key_span, "first format");
            self.report(d.help("make a pipeline of each"), "from");
            return None;
        }
        let Some(&(entry, def)) = sources.first() else {
            if !strangers && !entries.is_empty() {
                let d = Diagnostic::error("no-source", format!("`{what}` names no source")).at(&from.key_span).label("a source is missing");
                self.report(d.help(format!("there is: {}", suggest::list(registry.sources.iter().map(|d| d.name)))), "from");
            }
            return None;
        };
        match (formats.first(), def.needs_format) {
            (None, true) if !strangers => {
                let d = Diagnostic::error("no-format", format!("`{}` needs a format beside it", def.name)).at(&entry.key_span);
                let help = format!("say how the files are written: {}; as in `csv: {{}}` at the same indentation", readers());
                self.report(d.label("a format is missing").help(help), "from");
                return None;
            }
            (None, true) => return None,
            (Some((format, _)), false) => {
                let d = Diagnostic::error("format-not-needed", format!("`{}` brings rows: a format has no meaning beside it", def.name));
                self.report(d.at(&format.key_span).also(&entry.key_span, "the source").help(format!("remove `{}`", format.key)), "from");
                return None;
            }
            _ => {}
        }
        let config = self.part("source", entry, def.validate);
        self.connection(entry);
        let format = match formats.first() {
            None => None,
            Some((entry, def)) => Some(FormatPart { def, config: self.part("format", entry, def.validate)?, span: entry.key_span.clone() }),
        };
        Some((SourcePart { def, config: config?, span: entry.key_span.clone() }, format))
    }

    /// A part's configuration, if it conforms to its schema and has no other problems.
    pub(super) fn part(&mut self, family: &str, entry: &Entry, validate: fn(&Value) -> Vec<Problem>) -> Option<Value> {
        let config = self.conform(&entry.value, &format!("{family}.{}", entry.key))?;
        let config = if config.is_null() { Value::Object(serde_json::Map::new()) } else { config };
        let found = problems(family, entry, &config, validate);
        let good = found.is_empty();
        self.diagnostics.extend(found);
        good.then_some(config)
    }
}

/// What a part itself finds wrong, each at its place. Nothing is said of values that hold a secret: they are not known yet.
pub(crate) fn problems(family: &str, entry: &Entry, config: &Value, validate: fn(&Value) -> Vec<Problem>) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    for problem in validate(&mask(config)) {
        let (node, key) = entry.value.descend(&problem.at);
        if holds_secret(node) {
            continue;
        }
        let path = std::iter::once(entry.key.as_str()).chain(problem.at.iter().map(String::as_str)).collect::<Vec<_>>().join(".");
        let at = match key {
            _ if problem.at.is_empty() => entry.key_span.clone(),
            Some(key) if !node.entries().is_empty() || node.span.text().contains('\n') => key.clone(),
            _ => node.span.first_line(),
        };
        let section = problem.at.first().map(|key| format!("#{key}")).unwrap_or_default();
        let d = Diagnostic::error("bad-config", format!("`{path}`: {}", problem.message)).at(&at).maybe_help(problem.hint);
        out.push(d.docs(format!("{DOCS}{}{section}", page(family, &entry.key))));
    }
    out
}

fn holds_secret(node: &Node) -> bool {
    let mut found = false;
    node.texts(&mut |t| found |= has_secret(&t.value));
    found
}

/// The configuration with `***` for every secret: a part may look at it, and what it registers as a secret is nothing.
fn mask(value: &Value) -> Value {
    match value {
        Value::String(text) if text.contains("${") => masked(text).into(),
        Value::Array(items) => items.iter().map(mask).collect(),
        Value::Object(map) => Value::Object(map.iter().map(|(k, v)| (k.clone(), mask(v))).collect()),
        other => other.clone(),
    }
}
