//! Where rows go: `into` and `rejects`.
//!
//! A target's name is part of its commit keys: it must be unique, and stay.

use sluis_core::SinkName;

use super::{Builder, is_plain_name};
use crate::diagnostic::{Diagnostic, short};
use crate::pipeline::Target;
use crate::span::Span;
use crate::yaml::{Entry, Kind, Node};

impl Builder<'_, '_> {
    pub(super) fn targets(&mut self, node: &Node) -> Vec<Target> {
        let Some(into) = node.get("into") else { return Vec::new() };
        let maps: Vec<&Node> = match &into.kind {
            Kind::List(items) => items.iter().collect(),
            _ => vec![into],
        };
        let in_list = matches!(into.kind, Kind::List(_));
        let mut out: Vec<Target> = Vec::new();
        let mut names: Vec<(String, Span)> = Vec::new();
        for map in maps {
            let kinds: Vec<&Entry> = map.entries().iter().filter(|e| e.key != "as").collect();
            let given = map.entry("as");
            if let ([first, second, ..], true) = (&kinds[..], in_list || given.is_some()) {
                let message = if in_list { "an item of this list is one target" } else { "`as` names one target" };
                let d = Diagnostic::error("several-targets", format!("{message}, found `{}` and `{}`", first.key, second.key));
                let d = d.at(&second.key_span).label("second target").also(&first.key_span, "first target");
                self.report(d.help("write `- ` before each of them"), "into");
            }
            if let (Some(given), true) = (given, kinds.is_empty()) {
                let d = Diagnostic::error("missing-key", "`as` names a target, and there is none beside it").at(&given.key_span);
                self.report(d.help("as in `{ files: {...}, as: archive }`"), "into");
            }
            for kind in kinds {
                let (name, at) = self.target_name(kind, given, &names);
                if let Some((_, first)) = names.iter().find(|(have, _)| *have == name) {
                    let d = Diagnostic::error("duplicate-name", format!("two targets are called `{name}`")).at(&at).also(first, "first here");
                    self.report(d.help("give each another name with `as:`"), "into");
                }
                names.push((name.clone(), at));
                out.extend(self.target(kind, name));
            }
        }
        out
    }

    pub(super) fn rejects(&mut self, node: &Node) -> Option<Target> {
        let value = node.get("rejects")?;
        if let [first, second, ..] = value.entries() {
            let d = Diagnostic::error("several-targets", format!("rejects go to one target, found `{}` and `{}`", first.key, second.key));
            let d = d.at(&second.key_span).label("second target").also(&first.key_span, "first target").help("keep one of them");
            self.report(d, "rejects");
        }
        self.target(value.entries().first()?, "rejects".into())
    }

    fn target(&mut self, kind: &Entry, name: String) -> Option<Target> {
        let def = self.around.registry.sink(&kind.key)?;
        let config = self.part("target", kind, def.validate);
        self.connection(kind);
        Some(Target { name: SinkName::new(name), def, config: config?, span: kind.key_span.clone() })
    }

    /// What it is called: `as`, else its kind, with a number from the second of a kind on.
    fn target_name(&mut self, kind: &Entry, given: Option<&Entry>, taken: &[(String, Span)]) -> (String, Span) {
        let text = given.and_then(|g| Some((g, g.value.text().cloned()?)));
        if let Some((entry, text)) = text {
            let name = crate::variables::literal(&text, "a name", self.diagnostics).value;
            if name == "rejects" || !is_plain_name(&name) {
                let why = if name == "rejects" { "it is the name of the rejects' target" } else { "letters, digits, `_`, `-` and `.`" };
                let d = Diagnostic::error("bad-name", format!("a target cannot be called `{}`", short(&name))).at(&entry.value.span.first_line());
                self.report(d.help(why), "into");
            }
            return (name, entry.value.span.first_line());
        }
        let of_kind = |n: usize| if n == 1 { kind.key.clone() } else { format!("{}_{n}", kind.key) };
        let name = (1..).map(of_kind).find(|name| taken.iter().all(|(have, _)| have != name)).unwrap_or_else(|| kind.key.clone());
        (name, kind.key_span.clone())
    }
}
