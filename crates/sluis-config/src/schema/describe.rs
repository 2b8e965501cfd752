//! A schema in words: what is expected, with an example.
//!
//! Deliberately not here: checking anything.

use serde_json::Value;

use super::alternatives;
use crate::suggest;

/// The words a schema alone allows, if it allows nothing else.
pub(crate) fn choices(schema: &Value) -> Option<Vec<&str>> {
    if let Some(word) = schema.get("const").and_then(Value::as_str) {
        return Some(vec![word]);
    }
    schema.get("enum")?.as_array()?.iter().filter(|v| !v.is_null()).map(Value::as_str).collect()
}

/// Whether the schema's `type` allows this one. No type allows all.
pub(crate) fn allows(schema: &Value, name: &str) -> bool {
    let is = |t: &str| t == name || (t == "number" && name == "integer");
    match schema.get("type") {
        Some(Value::String(t)) => is(t),
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).any(is),
        _ => match schema.get("const").or_else(|| schema.get("enum").and_then(|e| e.get(0))) {
            Some(Value::String(_)) => name == "string",
            Some(Value::Bool(_)) => name == "boolean",
            Some(Value::Number(_)) => name == "number" || name == "integer",
            Some(Value::Null) => name == "null",
            _ => true,
        },
    }
}

/// What is expected, in words: "a whole number", "text or a list of texts", "one of `a`, `b`".
pub(crate) fn type_words(root: &Value, schema: &Value) -> String {
    let all: Vec<&Value> = alternatives(root, schema).into_iter().filter(|s| s.get("type").and_then(Value::as_str) != Some("null")).collect();
    let words: Vec<&str> = all.iter().filter_map(|s| choices(s)).flatten().collect();
    let mut parts: Vec<String> = Vec::new();
    match words.len() {
        0 => {}
        1 => parts.push(format!("`{}`", words[0])),
        _ => parts.push(format!("one of {}", suggest::list(words))),
    }
    for schema in all.iter().filter(|s| choices(s).is_none()) {
        for part in plain_words(root, schema) {
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
    }
    match parts.split_last() {
        None => "nothing".into(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

fn plain_words(root: &Value, schema: &Value) -> Vec<String> {
    match schema.get("format").and_then(Value::as_str) {
        Some("sluis-duration") => return vec!["a duration".into()],
        Some("sluis-size") => return vec!["a size".into()],
        Some("sluis-type") => return vec!["a column type".into()],
        Some("sluis-budget") => return vec!["a budget".into()],
        _ => {}
    }
    if schema.get("type").is_none() {
        return vec!["any value".into()];
    }
    let mut out = Vec::new();
    for (name, words) in [("string", "a text"), ("boolean", "`true` or `false`"), ("number", "a number")] {
        if allows(schema, name) {
            out.push(words.to_owned());
        }
    }
    if allows(schema, "integer") && !allows(schema, "number") {
        out.push("a whole number".into());
    }
    if allows(schema, "array") {
        match schema.get("items").filter(|i| i.is_object()).map(|items| type_words(root, items)) {
            Some(items) if items == "a text" => out.push("a list of texts".into()),
            Some(items) if items == "any value" => out.push("a list".into()),
            Some(items) => out.push(format!("a list of: {items}")),
            None => out.push("a list".into()),
        }
    }
    if allows(schema, "object") {
        out.push("a mapping".into());
    }
    out
}

/// An example of a value, as it is written in YAML.
pub(crate) fn example(root: &Value, schema: &Value) -> Option<String> {
    let written = |v: &Value| v.as_str().map_or_else(|| v.to_string(), quoted);
    if let Some(first) = schema.get("examples").and_then(|e| e.get(0)) {
        return Some(written(first));
    }
    alternatives(root, schema).into_iter().find_map(|s| {
        if let Some(first) = s.get("examples").and_then(|e| e.get(0)) {
            return Some(written(first));
        }
        match s.get("format").and_then(Value::as_str) {
            Some("sluis-duration") => return Some("30s".into()),
            Some("sluis-size") => return Some("256MiB".into()),
            Some("sluis-type") => return Some("\"decimal(10,2)\"".into()),
            _ => {}
        }
        if let Some(words) = choices(s) {
            return words.first().map(|w| quoted(w));
        }
        let default = s.get("default").filter(|d| !d.is_null() && !d.is_object() && !d.is_array() && d.as_str() != Some(""));
        if let Some(default) = default {
            return Some(written(default));
        }
        if s.get("type").is_some() && allows(s, "boolean") {
            return Some("true".into());
        }
        if s.get("type").is_some() && allows(s, "integer") {
            return Some(s.get("minimum").and_then(Value::as_i64).unwrap_or(1).max(1).to_string());
        }
        None
    })
}

/// A text as it stands in YAML: with quotes where it needs them.
fn quoted(text: &str) -> String {
    let plain = !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || " _-./@%>".contains(c))
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && !matches!(text, "true" | "false" | "null")
        || text.parse::<sluis_core::HumanDuration>().is_ok();
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// A description on one line: the line ends of doc comments are no line ends.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A description's first sentence.
pub(crate) fn first_sentence(text: &str) -> String {
    let text = one_line(text);
    match text.find(". ") {
        Some(n) => text[..=n].to_owned(),
        None => text,
    }
}
