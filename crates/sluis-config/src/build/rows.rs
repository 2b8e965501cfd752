//! What happens to rows on their way: `check`, `select`, `scope`, `tables`.
//!
//! Deliberately not here: SQL; it is parsed where it is run, with the places kept here.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, short};
use crate::pipeline::{Check, LookupTable, Select, SourcePart, replaces_files};
use crate::span::Span;
use crate::spec::{OnFail, Scope};
use crate::variables::literal;
use crate::yaml::{Kind, Node, Text};

use super::Builder;

/// How much of a condition is its name, if it has no other.
const NAME_LENGTH: usize = 60;

impl Builder<'_, '_> {
    pub(super) fn checks(&mut self, node: &Node) -> Vec<Check> {
        let Some(value) = node.get("check") else { return Vec::new() };
        let items = match &value.kind {
            Kind::List(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut out: Vec<Check> = Vec::new();
        let mut places: BTreeMap<String, Span> = BTreeMap::new();
        for item in items {
            let that = item.text().or_else(|| item.get("that").and_then(Node::text));
            let Some(that) = that.and_then(|t| self.sql(t, "check")) else { continue };
            let on_fail = item.get("on_fail").and_then(|n| self.conform(n, "OnFail")).and_then(|v| serde_json::from_value(v).ok());
            let named = self.plain_text(item, "name", "a name");
            let (name, at) = match named {
                Some(name) => (name.value, name.place.whole().first_line()),
                None => (condition_name(&that.value), that.place.whole().first_line()),
            };
            if let Some(first) = places.get(&name) {
                let d = Diagnostic::error("duplicate-name", format!("two checks are called `{name}`")).at(&at).also(first, "first here");
                self.report(d.help("give one another `name:`"), "check");
            }
            places.insert(name.clone(), at);
            out.push(Check { name, that: that.value, on_fail: on_fail.unwrap_or(OnFail::Reject), span: that.place });
        }
        out
    }

    pub(super) fn selects(&mut self, node: &Node, tables: &[LookupTable]) -> Vec<Select> {
        let Some(value) = node.get("select") else { return Vec::new() };
        let mut steps: Vec<(String, Option<Span>, &Text)> = Vec::new();
        match &value.kind {
            Kind::Text(text) => steps.push(("output".into(), None, text)),
            Kind::Map(entries) => {
                steps.extend(entries.iter().filter_map(|e| Some((e.key.clone(), Some(e.key_span.clone()), e.value.text()?))));
            }
            Kind::List(items) => {
                for item in items {
                    let name = self.plain_text(item, "name", "a name");
                    if let (Some(name), Some(sql)) = (name, item.get("sql").and_then(Node::text)) {
                        steps.push((name.value, Some(name.place.whole().first_line()), sql));
                    }
                }
            }
            _ => {}
        }
        let mut taken: BTreeMap<String, (Span, &str)> = tables.iter().map(|t| (t.name.to_lowercase(), (t.span.clone(), "a look-up table"))).collect();
        let mut out = Vec::new();
        for (name, at, sql) in steps {
            if let Some(at) = at {
                self.table_name(&name, &at, "select");
                if let Some((first, what)) = taken.get(&name.to_lowercase()) {
                    let d = Diagnostic::error("duplicate-name", format!("`{name}` is the name of {what} already"));
                    self.report(d.at(&at).also(first, "first here").help("give the step another name"), "select");
                }
                taken.insert(name.to_lowercase(), (at, "a step"));
            }
            if let Some(sql) = self.sql(sql, "select") {
                out.push(Select { name, sql: sql.value, span: sql.place });
            }
        }
        out
    }

    pub(super) fn tables(&mut self, node: &Node) -> Vec<LookupTable> {
        let Some(value) = node.get("tables") else { return Vec::new() };
        let mut out = Vec::new();
        for entry in value.entries() {
            self.table_name(&entry.key, &entry.key_span, "tables");
            if let Some((source, format)) = self.from(entry, &format!("tables.{}", entry.key)) {
                out.push(LookupTable { name: entry.key.clone(), source, format, span: entry.key_span.clone() });
            }
        }
        out
    }

    pub(super) fn scope(&mut self, node: &Node) -> Scope {
        node.get("scope").and_then(|n| self.conform(n, "Scope")).and_then(|v| serde_json::from_value(v).ok()).unwrap_or_default()
    }

    /// What cannot be had together.
    pub(super) fn combinations(&mut self, node: &Node, source: &SourcePart) {
        if let (Some(scope), true) = (node.entry("scope").filter(|_| self.scope(node) == Scope::Epoch), replaces_files(&source.config)) {
            let replace = node.get("from").and_then(|f| f.get(source.def.name)).and_then(|s| s.entry("on_overwrite"));
            let message = "with `scope: epoch` rows have no file of their own, so a new version of a file cannot replace the old one's rows";
            let mut d = Diagnostic::error("cannot-combine", message).at(&scope.value.span).label("rows of an epoch together");
            if let Some(replace) = replace {
                d = d.also(&replace.value.span.first_line(), "rows replaced file by file");
            }
            self.report(d.help("use `scope: row`, or `on_overwrite: fail`, `append` or `ignore`"), "scope");
        }
    }

    /// SQL as it stands, unless there is none.
    fn sql(&mut self, text: &Text, section: &str) -> Option<Text> {
        let sql = literal(text, "SQL", self.diagnostics);
        if sql.value.trim().is_empty() {
            let d = Diagnostic::error("missing-value", "there is no SQL in this text").at(&text.place.whole().first_line());
            self.report(d.help("as in `seconds >= 0` for a check, `select * from input` for a step"), section);
            return None;
        }
        Some(sql)
    }

    /// A name that SQL can use without quotes.
    fn table_name(&mut self, name: &str, at: &Span, section: &str) {
        if name.eq_ignore_ascii_case("input") {
            let d = Diagnostic::error("bad-name", "`input` is the name of the rows that come in").at(at);
            self.report(d.help("use another name"), section);
        } else if !crate::reference::is_name(name) {
            let d = Diagnostic::error("bad-name", format!("`{}` cannot be a table's name", short(name))).at(at);
            self.report(d.help("a letter or `_`, then letters, digits and `_`"), section);
        }
    }
}

/// A condition as its own name: on one line, cut if it is long.
fn condition_name(that: &str) -> String {
    let line = that.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= NAME_LENGTH {
        return line;
    }
    let cut: String = line.chars().take(NAME_LENGTH - 1).collect();
    format!("{cut}…")
}
