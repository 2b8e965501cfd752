//! Variables: `${name}` replaced by the value from `vars:` or `--var`.
//!
//! Guarantees: a variable may use others; circles and explosions are diagnostics; every unknown name is reported at its place.
//! Secrets' references stay as they are, also inside variables' values; so does `$${`, until the text is used ([`literal`]).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::reference::{Piece, Wrong, is_name, pieces};
use crate::span::{Segment, SourceFile, Span, TextSpan};
use crate::suggest;
use crate::yaml::{Kind, Node, Text, plain_scalar};

const DOCS: &str = "docs/reference/project.md#vars";
/// Values put in, at most, in one file, and bytes of one text.
const MOST_VALUES: usize = 100_000;
const MOST_BYTES: usize = 1 << 20;

/// The variables that a file sees.
pub(crate) struct Variables {
    raw: BTreeMap<String, Node>,
    /// Expanded values. `None`: being expanded, or in a circle.
    done: RefCell<BTreeMap<String, Option<Node>>>,
    used: RefCell<BTreeSet<String>>,
    values: Cell<usize>,
}

impl Variables {
    /// From `vars:` mappings, later ones over earlier ones, and `--var`, over all.
    pub fn new<'a>(layers: impl IntoIterator<Item = &'a Node>, given: &[(String, String)]) -> Self {
        let mut raw = BTreeMap::new();
        for entry in layers.into_iter().flat_map(Node::entries) {
            raw.insert(entry.key.clone(), entry.value.clone());
        }
        for (name, text) in given {
            raw.insert(name.clone(), given_value(name, text));
        }
        Self { raw, done: RefCell::default(), used: RefCell::default(), values: Cell::new(0) }
    }
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.raw.keys().map(String::as_str)
    }
    /// The names that were asked for.
    pub fn used(&self) -> BTreeSet<String> {
        self.used.borrow().clone()
    }

    /// `node` with every variable replaced. What cannot be is reported and stays.
    pub fn expand(&self, node: &Node, diagnostics: &mut Vec<Diagnostic>) -> Node {
        let kind = match &node.kind {
            Kind::Text(text) => return self.text(text, &node.span, diagnostics),
            Kind::List(items) => Kind::List(items.iter().map(|n| self.expand(n, diagnostics)).collect()),
            Kind::Map(entries) => Kind::Map(
                entries
                    .iter()
                    .map(|e| crate::yaml::Entry { key: e.key.clone(), key_span: e.key_span.clone(), value: self.expand(&e.value, diagnostics) })
                    .collect(),
            ),
            other => other.clone(),
        };
        Node { kind, span: node.span.clone() }
    }

    /// A variable alone is replaced by its value of whatever type, in quotes too: inside `{ }` there is no way to write it without.
    fn text(&self, text: &Text, span: &Span, diagnostics: &mut Vec<Diagnostic>) -> Node {
        if let [(range, Piece::Variable(name))] = &pieces(&text.value)[..] {
            return match self.value(name, &text.place.inside(range.clone()), diagnostics) {
                // It is spoken of where it is used.
                Some(value) => Node { kind: moved(value.kind, &text.place), span: span.clone() },
                None => Node { kind: Kind::Text(text.clone()), span: span.clone() },
            };
        }
        Node { kind: Kind::Text(self.inside(text, diagnostics)), span: span.clone() }
    }

    /// A text with the variables' values in it.
    fn inside(&self, text: &Text, diagnostics: &mut Vec<Diagnostic>) -> Text {
        if !text.value.contains("${") {
            return text.clone();
        }
        let mut out = Spliced::new(text);
        for (range, piece) in pieces(&text.value) {
            let at = text.place.inside(range.clone());
            match piece {
                Piece::Plain(_) | Piece::Escape => out.keep(range),
                Piece::Secret(_, body) if body.contains("${") => {
                    let body_start = range.end - 1 - body.len();
                    let mut inner = Spliced::new(text);
                    inner.keep(body_start..range.end - 1);
                    let inner = self.inside(&inner.finish(), diagnostics);
                    out.keep(range.start..body_start);
                    out.put(&inner.value, at.range().start);
                    out.keep(range.end - 1..range.end);
                }
                Piece::Secret(..) => out.keep(range),
                Piece::Wrong(wrong) => {
                    diagnostics.push(explain(wrong, &text.value[range.clone()], self).at(&at));
                    out.keep(range);
                }
                Piece::Variable(name) => match self.value(name, &at, diagnostics) {
                    None => out.keep(range),
                    Some(node) => match node.scalar() {
                        Some(value) => out.put(value, at.range().start),
                        None if node.is_null() => out.put("", at.range().start),
                        None => {
                            let d = Diagnostic::error(
                                "variable-not-text",
                                format!("the variable `{name}` is {} and cannot stand inside a text", node.what()),
                            );
                            diagnostics
                                .push(d.at(&at).also(&node.span.first_line(), "its value").help("use it alone, as the whole value").docs(DOCS));
                            out.keep(range);
                        }
                    },
                },
            }
        }
        if out.value.len() > MOST_BYTES {
            let d = Diagnostic::error("too-large", format!("with its variables put in, this text is longer than {MOST_BYTES} bytes"));
            diagnostics.push(d.at(&text.place.whole().first_line()).docs(DOCS));
            return text.clone();
        }
        out.finish()
    }

    /// A variable's value, expanded. `None` = reported.
    fn value(&self, name: &str, at: &Span, diagnostics: &mut Vec<Diagnostic>) -> Option<Node> {
        self.used.borrow_mut().insert(name.to_owned());
        self.values.set(self.values.get() + 1);
        let known = self.done.borrow().get(name).cloned();
        let value = match known {
            Some(Some(value)) => Some(value),
            Some(None) => {
                let d = Diagnostic::error("variable-circle", format!("the variable `{name}` needs its own value"));
                diagnostics.push(d.at(at).docs(DOCS));
                None
            }
            None => match self.raw.get(name) {
                None => {
                    diagnostics.push(self.unknown(name).at(at));
                    None
                }
                Some(raw) => {
                    self.done.borrow_mut().insert(name.to_owned(), None);
                    let value = self.expand(raw, diagnostics);
                    self.done.borrow_mut().insert(name.to_owned(), Some(value.clone()));
                    Some(value)
                }
            },
        }?;
        self.values.set(self.values.get() + size(&value));
        if self.values.get() > MOST_VALUES {
            diagnostics.push(Diagnostic::error("too-large", "variables put in more values than a file can hold").at(at).docs(DOCS));
            return None;
        }
        Some(value)
    }

    fn unknown(&self, name: &str) -> Diagnostic {
        let near = suggest::nearest(name, self.names());
        let help = match near {
            Some(near) => format!("did you mean `${{{near}}}`?"),
            None => format!("declare it under `vars:`, or give it with `--var {name}=…`; an environment variable is `${{env:{name}}}`"),
        };
        Diagnostic::error("unknown-variable", format!("there is no variable `{name}`")).help(help).docs(DOCS)
    }
}

fn size(node: &Node) -> usize {
    match &node.kind {
        Kind::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Kind::Map(entries) => 1 + entries.iter().map(|e| size(&e.value)).sum::<usize>(),
        _ => 1,
    }
}

/// A text that came from a variable stands, for messages, where the variable is used.
fn moved(kind: Kind, place: &TextSpan) -> Kind {
    match kind {
        Kind::Text(t) => {
            let segments = [Segment { at: 0, source: place.whole().range().start, fixed: true }];
            Kind::Text(Text { place: TextSpan::new(place.whole().clone(), Arc::new(segments)), ..t })
        }
        other => other,
    }
}

/// `--var name=text`, typed as a plain YAML scalar.
fn given_value(name: &str, text: &str) -> Node {
    let file = SourceFile::new("", format!("--var {name}"), text);
    let span = Span::new(&file, 0..file.text().len());
    let place = TextSpan::new(span.clone(), Arc::new([Segment { at: 0, source: 0, fixed: false }]));
    let kind = plain_scalar(text).unwrap_or_else(|| Kind::Text(Text { value: text.to_owned(), place }));
    Node { kind, span }
}

fn explain(wrong: Wrong<'_>, written: &str, variables: &Variables) -> Diagnostic {
    let d = match wrong {
        Wrong::Unclosed => {
            Diagnostic::error("bad-reference", "`${` is opened and never closed").help("close it with `}`; a plain `${` is written `$${`")
        }
        Wrong::Empty => Diagnostic::error("bad-reference", format!("`{written}` names nothing"))
            .help("as in `${name}`, `${env:NAME}`, `${file:PATH}`, `${cmd:COMMAND}`"),
        Wrong::Kind(kind) => {
            let help = match suggest::nearest(kind, ["env", "file", "cmd"]) {
                Some(near) => format!("did you mean `${{{near}:…}}`?"),
                None => "secrets are `${env:NAME}`, `${file:PATH}` and `${cmd:COMMAND}`".to_owned(),
            };
            Diagnostic::error("bad-reference", format!("`{kind}:` is no kind of reference")).help(help)
        }
        Wrong::Name(name) => {
            let help = suggest::help(name, variables.names(), "the variables are").unwrap_or_else(|| "a plain `${` is written `$${`".to_owned());
            Diagnostic::error("bad-reference", format!("`{name}` cannot be a variable's name: letters, digits and `_`")).help(help)
        }
    };
    d.docs(DOCS)
}

/// What is wrong with the names declared in a `vars:` mapping.
pub(crate) fn check_names(vars: &Node, diagnostics: &mut Vec<Diagnostic>) {
    for entry in vars.entries().iter().filter(|e| !is_name(&e.key)) {
        let d = Diagnostic::error("bad-name", format!("`{}` cannot be a variable's name", entry.key));
        diagnostics.push(d.at(&entry.key_span).help("a letter or `_`, then letters, digits and `_`").docs(DOCS));
    }
}

/// A text in the making, with its places.
struct Spliced<'a> {
    from: &'a Text,
    value: String,
    segments: Vec<Segment>,
}

impl<'a> Spliced<'a> {
    fn new(from: &'a Text) -> Self {
        Self { from, value: String::with_capacity(from.value.len()), segments: Vec::new() }
    }
    /// Bytes of the old text.
    fn keep(&mut self, range: std::ops::Range<usize>) {
        let old = self.from.place.segments();
        let first = old.partition_point(|s| s.at <= range.start).saturating_sub(1);
        for segment in old[first.min(old.len())..].iter().take_while(|s| s.at < range.end) {
            let skipped = range.start.saturating_sub(segment.at);
            let source = if segment.fixed { segment.source } else { segment.source + skipped };
            self.segments.push(Segment { at: self.value.len() + segment.at.max(range.start) - range.start, source, fixed: segment.fixed });
        }
        self.value.push_str(&self.from.value[range]);
    }
    /// Something that stands at one place of the file.
    fn put(&mut self, text: &str, source: usize) {
        self.segments.push(Segment { at: self.value.len(), source, fixed: true });
        self.value.push_str(text);
    }
    fn finish(self) -> Text {
        Text { value: self.value, place: TextSpan::new(self.from.place.whole().clone(), self.segments.into()) }
    }
}

/// A text that is used as it stands (SQL, names): `$${` becomes `${`. A secret in it is reported: nothing would ever resolve it.
pub(crate) fn literal(text: &Text, what: &str, diagnostics: &mut Vec<Diagnostic>) -> Text {
    if !text.value.contains("${") {
        return text.clone();
    }
    let mut out = Spliced::new(text);
    for (range, piece) in pieces(&text.value) {
        match piece {
            Piece::Escape => out.keep(range.start + 1..range.end),
            Piece::Secret(..) => {
                let d = Diagnostic::error("secret-here", format!("{what} cannot hold a secret: it is stored and shown"));
                let help = "secrets belong into connections and into the settings of sources and targets; for other values use `vars:`";
                diagnostics.push(d.at(&text.place.inside(range.clone())).help(help).docs("docs/reference/project.md#secrets"));
                out.keep(range);
            }
            _ => out.keep(range),
        }
    }
    out.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::yaml::parse;

    fn read(text: &str) -> Node {
        parse(&SourceFile::new("x.yaml", "x.yaml", text), &mut Vec::new()).unwrap()
    }
    fn expand(vars: &str, text: &str) -> (Value, Vec<Diagnostic>, Node) {
        let mut diagnostics = Vec::new();
        let node = Variables::new([&read(vars)], &[("given".into(), "7".into())]).expand(&read(text), &mut diagnostics);
        (node.to_value(), diagnostics, node)
    }

    #[test]
    fn variables_are_put_in_with_their_types() {
        let vars = "day: 2024-01-31\nn: 5\nlist: [1, '${day}']\nroot: s3://b/${day}\npw: ${env:PW}\nnothing:";
        let (value, diagnostics, _) = expand(
            vars,
            "a: ${n}\nb: 'x${n}'\nc: ${root}/x\nd: ${list}\ne: ${given}\nf: $${n}\ng: pw=${pw}\nh: '[${nothing}]'\ni: ${file:${day}/pw}",
        );
        assert_eq!(diagnostics, []);
        assert_eq!(
            value,
            json!({"a": 5, "b": "x5", "c": "s3://b/2024-01-31/x", "d": [1, "2024-01-31"], "e": 7, "f": "$${n}", "g": "pw=${env:PW}", "h": "[]",
                   "i": "${file:2024-01-31/pw}"})
        );
    }

    #[test]
    fn what_cannot_be_put_in_is_said_at_its_place() {
        for (text, code, place) in [
            ("a: x ${dya} y", "unknown-variable", "${dya}"),
            ("a: ${dya}", "unknown-variable", "${dya}"),
            ("a: 'x${list}'", "variable-not-text", "${list}"),
            ("a: ${one}", "variable-circle", "${one}"),
            ("a: ${evn:X}", "bad-reference", "${evn:X}"),
            ("a: x${day", "bad-reference", "${day"),
            ("a: ${file:x/${nope}}", "unknown-variable", "${nope}"),
        ] {
            let (_, diagnostics, _) = expand("day: 1\nlist: [1]\none: ${two}\ntwo: ${one}", text);
            assert_eq!(diagnostics.len(), 1, "{text}: {diagnostics:?}");
            assert_eq!(diagnostics[0].code, code, "{text}");
            if code != "variable-circle" {
                assert_eq!(diagnostics[0].span.as_ref().unwrap().text(), place);
            }
        }
        assert_eq!(expand("day: 1", "a: ${dya}").1[0].help.as_deref(), Some("did you mean `${day}`?"));
    }

    #[test]
    fn an_explosion_is_stopped() {
        let mut vars = "a0: [1, 2, 3, 4]\nt0: xxxxxxxx\n".to_owned();
        for i in 1..40 {
            let j = i - 1;
            vars.push_str(&format!("a{i}: [x, '${{a{j}}}', '${{a{j}}}', '${{a{j}}}']\nt{i}: \"${{t{j}}}${{t{j}}}${{t{j}}}\"\n"));
        }
        assert!(expand(&vars, "x: ${a39}").1.iter().all(|d| d.code == "too-large"));
        assert!(expand(&vars, "x: ${t39}").1.iter().all(|d| d.code == "too-large"));
        assert!(!expand(&vars, "x: ${t39}").1.is_empty() && !expand(&vars, "x: ${a39}").1.is_empty());
    }

    #[test]
    fn places_survive_what_is_put_in() {
        let (_, _, node) = expand("t: a_long_table_name", "sql: |\n  select x from ${t}\n  where bad = 1\n");
        let mut diagnostics = Vec::new();
        let text = literal(node.get("sql").unwrap().text().unwrap(), "SQL", &mut diagnostics);
        let find = |what: &str| text.value.find(what).map(|n| n..n + what.len()).unwrap();
        assert_eq!(text.place.inside(find("bad")).text(), "bad");
        assert_eq!(text.place.inside(find("select")).text(), "select");
        assert!(text.place.inside(find("long")).text().starts_with('$'));
        let (_, _, node) = expand("", "sql: 'x $${y} bad ${env:PW}'");
        let text = literal(node.get("sql").unwrap().text().unwrap(), "SQL", &mut diagnostics);
        assert_eq!(text.value, "x ${y} bad ${env:PW}");
        assert_eq!(text.place.inside(7..10).text(), "bad");
        assert_eq!((diagnostics.len(), diagnostics[0].code), (1, "secret-here"));
    }
}
