//! Walks a tree of YAML along a JSON Schema: every mistake becomes a diagnostic, and what conforms becomes JSON.
//!
//! Of JSON Schema it knows what our schemas use: `type`, `properties`, `required`, `additionalProperties`, `items`, `minItems`, `enum`,
//! `const`, `anyOf`, `oneOf`, `$ref`, bounds, `pattern`, and our formats by name. Numbers stand for themselves as text where a text is
//! asked for. Texts with references to secrets are taken as texts and not looked into.
//! Deliberately not here: what values mean together.

use serde_json::{Map, Value};
use sluis_core::columns::parse_type;
use sluis_core::{ByteSize, HumanDuration};

use super::describe::{allows, choices, example, first_sentence, one_line, type_words};
use super::{alternatives, follow};
use crate::diagnostic::Diagnostic;
use crate::grammar::{AlertOn, Budget, Cron};
use crate::reference::{has_open, has_secret};
use crate::span::Span;
use crate::suggest;
use crate::yaml::{Kind, Node};

/// Other tools' words for our top-level keys.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("source", "from"),
    ("input", "from"),
    ("sources", "from"),
    ("target", "into"),
    ("targets", "into"),
    ("sink", "into"),
    ("to", "into"),
    ("output", "into"),
    ("destination", "into"),
    ("checks", "check"),
    ("tests", "check"),
    ("validate", "check"),
    ("where", "check"),
    ("sql", "select"),
    ("transform", "select"),
    ("query", "select"),
    ("schedule", "when"),
    ("cron", "when"),
    ("every", "when"),
    ("errors", "rejects"),
    ("alerts", "alert"),
    ("notify", "alert"),
    ("variables", "vars"),
    ("lookups", "tables"),
];

/// Where in a file the walk is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// `from.files.settle`
    pub path: String,
    /// The key whose value this is.
    pub key: Option<Span>,
    /// The docs' page, and its section once a key was entered.
    page: String,
    section: Option<String>,
}

impl Place {
    /// The whole of a file.
    pub fn root() -> Self {
        Self { path: String::new(), key: None, page: String::new(), section: None }
    }
    /// The value of a key.
    pub fn key(&self, name: &str, span: &Span) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { path, key: Some(span.clone()), page: self.page.clone(), section: self.section.clone().or_else(|| Some(name.to_owned())) }
    }
    /// An item of a list.
    pub fn item(&self, index: usize) -> Self {
        Self { path: format!("{}[{index}]", self.path), key: None, ..self.clone() }
    }
    /// The docs' section.
    pub fn docs(&self) -> Option<String> {
        match (&self.page, &self.section) {
            (page, _) if page.is_empty() => None,
            (page, Some(section)) => Some(format!("{page}#{}", section.to_lowercase())),
            (page, None) => Some(page.clone()),
        }
    }
    fn enter(&self, schema: &Value) -> Self {
        match schema.get("x-sluis-docs").and_then(Value::as_str) {
            Some(page) if page != self.page => Self { page: page.to_owned(), section: None, ..self.clone() },
            _ => self.clone(),
        }
    }
    /// "`from.files`" or "the file".
    fn name(&self) -> String {
        if self.path.is_empty() { "the file".into() } else { format!("`{}`", self.path) }
    }
}

/// A walk, and what it found.
pub(crate) struct Conform<'a> {
    root: &'a Value,
    /// Missing keys are no mistake: an overlay says only what differs.
    partial: bool,
    pub found: Vec<Diagnostic>,
}

impl<'a> Conform<'a> {
    /// `root` holds the definitions that references lead to.
    pub fn new(root: &'a Value) -> Self {
        Self { root, partial: false, found: Vec::new() }
    }
    pub fn partial(root: &'a Value) -> Self {
        Self { partial: true, ..Self::new(root) }
    }

    /// The node as JSON, if it conforms.
    pub fn check(root: &'a Value, schema: &Value, node: &Node) -> Option<Value> {
        let mut walk = Conform::new(root);
        let value = walk.walk(node, schema, &Place::root());
        walk.found.is_empty().then_some(value)
    }

    /// The node as JSON; meaningful only if nothing was found in it.
    pub fn walk(&mut self, node: &Node, schema: &Value, place: &Place) -> Value {
        let outer = schema;
        let schema = follow(self.root, schema);
        let place = &place.enter(schema);
        if schema.is_boolean() {
            return node.to_value();
        }
        let all = alternatives(self.root, schema);
        if node.is_null() {
            return self.nothing(node, schema, &all, place);
        }
        // Reported where variables are put in.
        if node.text().is_some_and(|t| has_open(&t.value)) {
            return node.to_value();
        }
        let fitting: Vec<&Value> = all.iter().copied().filter(|s| fits(s, node)).collect();
        match fitting[..] {
            [] => {
                self.wrong_type(node, outer, schema, place);
                node.to_value()
            }
            [one] if all.len() == 1 => self.single(node, one, place),
            _ => self.several(node, outer, &fitting, &all, place),
        }
    }

    /// An empty value: an empty mapping where that is enough, else as if the key were not there.
    fn nothing(&mut self, node: &Node, schema: &Value, all: &[&Value], place: &Place) -> Value {
        let object = all.iter().find(|s| s.get("type").is_some() && allows(s, "object"));
        let complete = |s: &Value| s["required"].as_array().is_none_or(Vec::is_empty);
        let null = all.iter().any(|s| allows(s, "null"));
        match object {
            Some(object) if complete(object) && object.get("minProperties").is_none_or(|n| n.as_u64() <= Some(0)) => Value::Object(Map::new()),
            _ if null => Value::Null,
            Some(object) => {
                let empty = Node { kind: Kind::Map(Vec::new()), span: node.span.clone() };
                self.single(&empty, object, place)
            }
            None => {
                let d = Diagnostic::error("missing-value", format!("{} has no value", place.name())).at(&node.span.first_line());
                self.found.push(self.with_example(d.label(format!("expected {}", type_words(self.root, schema))), schema, place));
                Value::Null
            }
        }
    }

    /// Several alternatives fit by type: the first that conforms, else the one with the fewest mistakes speaks.
    fn several(&mut self, node: &Node, outer: &Value, fitting: &[&Value], all: &[&Value], place: &Place) -> Value {
        let mut best: Option<(Vec<Diagnostic>, Value)> = None;
        for schema in fitting {
            let mut trial = Conform { root: self.root, partial: self.partial, found: Vec::new() };
            let value = trial.single(node, schema, &place.enter(schema));
            if trial.found.is_empty() {
                return value;
            }
            if best.as_ref().is_none_or(|(least, _)| trial.found.len() < least.len()) {
                best = Some((trial.found, value));
            }
        }
        let words: Vec<&str> = all.iter().filter_map(|s| choices(s)).flatten().collect();
        if let (Some(text), false) = (node.text(), words.is_empty()) {
            self.wrong_word(node, &text.value, &words, outer, place);
        } else if let Some((found, _)) = &mut best {
            self.found.append(found);
        }
        best.map_or(Value::Null, |(_, value)| value)
    }

    fn single(&mut self, node: &Node, schema: &Value, place: &Place) -> Value {
        match &node.kind {
            Kind::Null => Value::Null,
            Kind::Bool(b, _) => (*b).into(),
            Kind::Text(text) => {
                if !has_secret(&text.value) {
                    self.text(node, &text.value, schema, place);
                }
                text.value.clone().into()
            }
            Kind::Number(number, raw) => {
                let numeric = allows(schema, "number") || allows(schema, "integer");
                if schema.get("type").is_some()
                    && (!numeric || schema.get("format").is_some_and(|f| f.as_str().is_some_and(|f| f.starts_with("sluis-"))))
                {
                    self.text(node, raw, schema, place);
                    return raw.clone().into();
                }
                self.number(node, number, schema, place);
                number.clone().into()
            }
            Kind::List(items) => self.list(node, items, schema, place),
            Kind::Map(_) => self.map(node, schema, place),
        }
    }

    fn text(&mut self, node: &Node, text: &str, schema: &Value, place: &Place) {
        if let Some(words) = choices(schema) {
            if !words.contains(&text) {
                self.wrong_word(node, text, &words, schema, place);
            }
            return;
        }
        let format = schema.get("format").and_then(Value::as_str).unwrap_or("");
        let (code, expected, wrong) = match format {
            "sluis-duration" => ("bad-duration", "a duration", text.parse::<HumanDuration>().err()),
            "sluis-size" => ("bad-size", "a size", text.parse::<ByteSize>().err()),
            "sluis-type" => ("bad-type", "a column type", parse_type(text).err()),
            "sluis-budget" => ("bad-budget", "a budget", text.parse::<Budget>().err()),
            "sluis-cron" => ("bad-cron", "a crontab line", text.parse::<Cron>().err()),
            "sluis-email" => ("bad-address", "an e-mail address", bad_address(text)),
            "sluis-alert" => ("bad-budget", "`failure` or a budget", text.parse::<AlertOn>().err()),
            _ => return self.pattern(node, text, schema, place),
        };
        if let Some(message) = wrong {
            let near = (format == "sluis-type").then(|| near_type(text)).flatten().map(|t| format!("did you mean `{t}`?"));
            let mut d = Diagnostic::error(code, message).at(&node.span.first_line()).label(format!("expected {expected}")).maybe_help(near);
            d.docs = place.docs();
            self.found.push(d);
        }
    }

    fn pattern(&mut self, node: &Node, text: &str, schema: &Value, place: &Place) {
        let short = schema.get("minLength").and_then(Value::as_u64).is_some_and(|n| (text.chars().count() as u64) < n);
        if short {
            let d = Diagnostic::error("wrong-value", format!("{} is too short", place.name())).at(&node.span.first_line());
            return self.found.push(self.with_example(d, schema, place));
        }
        let pattern = schema.get("pattern").and_then(Value::as_str).and_then(|p| regex::Regex::new(p).ok());
        if pattern.is_some_and(|p| !p.is_match(text)) {
            let what = schema.get("description").and_then(Value::as_str).map(one_line);
            let d = Diagnostic::error("wrong-value", format!("`{text}` does not fit {}", place.name())).at(&node.span.first_line());
            let d = match what {
                Some(what) => d.label(format!("expected: {}", what.trim_end_matches('.'))),
                None => d,
            };
            self.found.push(self.with_example(d, schema, place));
        }
    }

    fn number(&mut self, node: &Node, number: &serde_json::Number, schema: &Value, place: &Place) {
        let n = number.as_f64().unwrap_or(0.0);
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        let (low, high) = match schema.get("format").and_then(Value::as_str) {
            Some("uint8") => (0.0, 255.0),
            Some("uint16") => (0.0, 65_535.0),
            Some("uint32") => (0.0, 4_294_967_295.0),
            Some("int8") => (-128.0, 127.0),
            Some("int16") => (-32_768.0, 32_767.0),
            Some("int32") => (-2_147_483_648.0, 2_147_483_647.0),
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        };
        let low = bound("minimum").unwrap_or(low).max(low);
        let high = bound("maximum").unwrap_or(high).min(high);
        let says = if n < low {
            format!("at least {low}")
        } else if n > high {
            format!("at most {high}")
        } else if let Some(limit) = bound("exclusiveMinimum").filter(|limit| n <= *limit) {
            format!("more than {limit}")
        } else if let Some(limit) = bound("exclusiveMaximum").filter(|limit| n >= *limit) {
            format!("less than {limit}")
        } else {
            return;
        };
        let mut d =
            Diagnostic::error("out-of-range", format!("{} is {says}, found {number}", place.name())).at(&node.span).label(format!("expected {says}"));
        d.docs = place.docs();
        self.found.push(d);
    }

    fn list(&mut self, node: &Node, items: &[Node], schema: &Value, place: &Place) -> Value {
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        let most = schema.get("maxItems").and_then(Value::as_u64).unwrap_or(u64::MAX);
        let says = match items.len() as u64 {
            n if n < least && least == 1 => Some("the list is empty".to_owned()),
            n if n < least => Some(format!("the list needs at least {least} items, found {n}")),
            n if n > most => Some(format!("the list takes at most {most} items, found {n}")),
            _ => None,
        };
        if let Some(says) = says {
            let d = Diagnostic::error("wrong-value", format!("{}: {says}", place.name())).at(&node.span.first_line());
            let d = self.with_example(d, schema, place);
            self.found.push(d);
        }
        let each = schema.get("items").filter(|i| !i.is_boolean());
        let first = schema.get("prefixItems").and_then(Value::as_array);
        let walked = items.iter().enumerate().map(|(i, item)| match first.and_then(|f| f.get(i)).or(each) {
            Some(schema) => self.walk(item, schema, &place.item(i)),
            None => item.to_value(),
        });
        walked.collect()
    }

    fn map(&mut self, node: &Node, schema: &Value, place: &Place) -> Value {
        let none = Map::new();
        let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let more = schema.get("additionalProperties");
        let mut out = Map::new();
        for entry in node.entries() {
            let at = place.key(&entry.key, &entry.key_span);
            let value = match (known.get(&entry.key), more) {
                (Some(schema), _) => self.walk(&entry.value, schema, &at),
                (None, Some(Value::Bool(false))) => {
                    self.unknown_key(entry, known, schema, place);
                    continue;
                }
                (None, Some(schema @ Value::Object(_))) => self.walk(&entry.value, schema, &at),
                (None, _) => entry.value.to_value(),
            };
            // An optional key without a value is a key that is not there.
            let open = more.is_none() || more == Some(&Value::Bool(true));
            if !value.is_null() || (open && !known.contains_key(&entry.key)) {
                out.insert(entry.key.clone(), value);
            }
        }
        if !self.partial {
            self.missing(node, schema, known, place);
        }
        out.into()
    }

    fn missing(&mut self, node: &Node, schema: &Value, known: &Map<String, Value>, place: &Place) {
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if node.entry(key).is_some() {
                continue;
            }
            let message =
                if place.path.is_empty() { format!("the key `{key}` is missing") } else { format!("`{}` needs the key `{key}`", place.path) };
            let at = place.key.clone().unwrap_or_else(|| node.entries().first().map_or_else(|| node.span.first_line(), |e| e.key_span.clone()));
            let about = known.get(key).and_then(|s| s.get("description").or_else(|| follow(self.root, s).get("description"))).and_then(Value::as_str);
            let mut d = Diagnostic::error("missing-key", message).at(&at).label(format!("`{key}` is missing"));
            if let Some(about) = about {
                d = d.help(format!("`{key}`: {}", first_sentence(about)));
            }
            d.docs = place.key(key, &at).docs();
            self.found.push(d);
        }
        let empty = schema.get("minProperties").and_then(Value::as_u64) == Some(1) && node.entries().is_empty();
        if empty {
            let what = schema.get("x-sluis-what").and_then(Value::as_str).unwrap_or("key");
            let at = place.key.clone().unwrap_or_else(|| node.span.first_line());
            let names = suggest::list(known.keys().map(String::as_str).filter(|k| *k != "as"));
            let mut d = Diagnostic::error("missing-key", format!("{} is empty", place.name())).at(&at).label(format!("a {what} is missing"));
            d = d.help(format!("there is: {names}"));
            d.docs = place.docs();
            self.found.push(d);
        }
    }

    fn unknown_key(&mut self, entry: &crate::yaml::Entry, known: &Map<String, Value>, schema: &Value, place: &Place) {
        let key = entry.key.as_str();
        let names = || known.keys().map(String::as_str).filter(|k| *k != "as");
        let what = schema.get("x-sluis-what").and_then(Value::as_str);
        let message = match what {
            Some(what) => format!("there is no {what} `{key}`"),
            None if place.path.is_empty() => format!("unknown key `{key}`"),
            None => format!("unknown key `{key}` in `{}`", place.path),
        };
        let near = suggest::nearest(key, known.keys().map(String::as_str));
        let other = OTHER_WORDS.iter().find(|(word, ours)| *word == key && known.contains_key(*ours) && place.path.is_empty()).map(|(_, ours)| *ours);
        let help = match (near, other) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Some(ours)) => format!("that is `{ours}` here"),
            (None, None) => match self.elsewhere(key) {
                Some(path) => format!("`{key}` belongs to `{path}`"),
                None if known.is_empty() => "it takes no keys".to_owned(),
                None if what.is_some() => format!("there is: {}", suggest::list(names())),
                None => format!("the keys are {}", suggest::list(names())),
            },
        };
        let code = if what.is_some() { "unknown-name" } else { "unknown-key" };
        let mut d = Diagnostic::error(code, message).at(&entry.key_span).label(if what.is_some() { "unknown" } else { "not a key here" }).help(help);
        d.docs = near.map_or_else(|| place.docs(), |near| place.key(near, &entry.key_span).docs());
        self.found.push(d);
    }

    /// Where else in this grammar a key of this name stands, if at one place only.
    fn elsewhere(&self, key: &str) -> Option<String> {
        let mut found = Vec::new();
        find_key(self.root, self.root, key, "", 0, &mut found);
        found.dedup();
        match &found[..] {
            [one] => Some(one.clone()),
            _ => None,
        }
    }

    fn wrong_word(&mut self, node: &Node, text: &str, words: &[&str], schema: &Value, place: &Place) {
        let listed = suggest::list(words.iter().copied());
        let message = format!("{} is one of {listed}, found `{}`", place.name(), crate::diagnostic::short(text));
        let help = suggest::nearest(text, words.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        let mut d = Diagnostic::error("wrong-value", message).at(&node.span.first_line()).label("not one of them").maybe_help(help);
        d.docs = place.docs();
        let _ = schema;
        self.found.push(d);
    }

    fn wrong_type(&mut self, node: &Node, outer: &Value, schema: &Value, place: &Place) {
        let expected = type_words(self.root, schema);
        let at = match node.kind {
            Kind::Map(_) | Kind::List(_) if node.span.text().contains('\n') => place.key.clone().unwrap_or_else(|| node.span.first_line()),
            _ => node.span.first_line(),
        };
        let d = if node.text().is_some_and(|t| has_secret(&t.value)) {
            Diagnostic::error("wrong-type", format!("{} is {expected}; a secret is a text", place.name()))
                .help("for a value that is no secret use a variable: `${name}`")
        } else {
            Diagnostic::error("wrong-type", format!("{} is {expected}, found {}", place.name(), node.what()))
        };
        let d = d.at(&at).label(format!("expected {expected}"));
        let all = alternatives(self.root, schema);
        let wants = |name: &str| all.iter().any(|s| s.get("type").is_some() && s.get("format").is_none() && allows(s, name));
        let written = node.scalar().map(str::to_lowercase);
        let d = match (&node.kind, written.as_deref()) {
            (Kind::Text(_), Some("yes" | "on" | "y")) if wants("boolean") => d.help("write `true`"),
            (Kind::Text(_), Some("no" | "off" | "n")) if wants("boolean") => d.help("write `false`"),
            (Kind::Bool(_, raw), _) if wants("string") => d.help(format!("write it in quotes: `\"{raw}\"`")),
            (Kind::Map(_), _) if wants("string") && node.span.text().starts_with('{') => d.help("a text that starts with `{` needs quotes"),
            (Kind::List(_), _) if wants("string") && node.span.text().starts_with('[') => d.help("a text that starts with `[` needs quotes"),
            (Kind::Text(_) | Kind::Number(..), _) if wants("array") && !node.span.text().contains('\n') => {
                d.help(format!("write a list: `[{}]`", node.span.text()))
            }
            _ => d,
        };
        let d = if d.help.is_some() { d } else { self.with_example(d, outer, place) };
        self.found.push(Diagnostic { docs: place.docs(), ..d });
    }

    fn with_example(&self, mut d: Diagnostic, schema: &Value, place: &Place) -> Diagnostic {
        let name = place.path.rsplit(['.', ']']).next().filter(|n| !n.is_empty());
        if let (Some(name), Some(example)) = (name, example(self.root, schema)) {
            d = d.help(format!("for example `{name}: {example}`"));
        }
        d.docs = place.docs();
        d
    }
}

/// Whether a schema takes a value of the node's type.
fn fits(schema: &Value, node: &Node) -> bool {
    match &node.kind {
        Kind::Null => allows(schema, "null"),
        Kind::Bool(..) => allows(schema, "boolean"),
        Kind::Text(_) => allows(schema, "string"),
        Kind::Number(n, _) => allows(schema, "number") || (!n.is_f64() && allows(schema, "integer")) || allows(schema, "string"),
        Kind::List(_) => allows(schema, "array"),
        Kind::Map(_) => allows(schema, "object"),
    }
}

fn bad_address(text: &str) -> Option<String> {
    let plausible = text.split_once('@').is_some_and(|(who, host)| !who.is_empty() && !host.is_empty() && !host.contains('@'));
    (!plausible || text.contains(char::is_whitespace))
        .then(|| format!("`{}` is not an e-mail address, as in `ops@example.org`", crate::diagnostic::short(text)))
}

/// The column type that was meant, where what is wrong is the name.
fn near_type(text: &str) -> Option<&'static str> {
    const NAMES: [&str; 13] =
        ["bool", "tinyint", "smallint", "int", "bigint", "float", "double", "decimal", "string", "binary", "date", "timestamp", "timestamptz"];
    let written = text.split('(').next()?.trim();
    suggest::nearest(written, NAMES).filter(|name| *name != written)
}

fn find_key(root: &Value, schema: &Value, key: &str, path: &str, depth: usize, found: &mut Vec<String>) {
    if depth > 3 || found.len() > 1 {
        return;
    }
    for schema in alternatives(root, schema) {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { continue };
        if !path.is_empty() && properties.contains_key(key) && !found.iter().any(|f| f == path) {
            found.push(path.to_owned());
        }
        for (name, below) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            find_key(root, below, key, &path, depth + 1, found);
        }
    }
}
