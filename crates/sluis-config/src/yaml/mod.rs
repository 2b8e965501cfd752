//! YAML text to a tree in which every key and value knows where it stands.
//!
//! Guarantees: bounded depth and size whatever the text (aliases included), no panic, duplicate keys found.
//! Deliberately not here: what keys mean, variables.

mod merge;
mod parse;
mod scalar;
mod syntax;

pub(crate) use merge::{Merge, merge};
pub(crate) use parse::parse;
pub(crate) use scalar::plain_scalar;

use serde_json::{Map, Number, Value};

use crate::diagnostic::short;
use crate::span::{Span, TextSpan};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub kind: Kind,
    pub span: Span,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Null,
    /// The value, and how it was written (`true`, `True`).
    Bool(bool, String),
    /// The value, and how it was written: where a text is asked for, that is it (`1.10`, `007`).
    Number(Number, String),
    Text(Text),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A text. References (`${…}`, `$${`) stand in it as they were written until variables are put in.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub value: String,
    pub place: TextSpan,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key: String,
    pub key_span: Span,
    pub value: Node,
}

impl Node {
    pub fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|e| e.key == key)
    }
    /// The value of a key, unless there is none or it is empty.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|e| &e.value).filter(|n| !n.is_null())
    }
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }
    pub fn text(&self) -> Option<&Text> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }
    /// A scalar as text, as it was written.
    pub fn scalar(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(t) => Some(&t.value),
            Kind::Bool(_, raw) | Kind::Number(_, raw) => Some(raw),
            Kind::Null | Kind::List(_) | Kind::Map(_) => None,
        }
    }
    /// The node below at this path of keys and indices, or the deepest there is; with the key's place if it is a key's value.
    pub fn descend<'a>(&'a self, path: &[String]) -> (&'a Node, Option<&'a Span>) {
        let mut at = (self, None);
        for step in path {
            let next = match &at.0.kind {
                Kind::Map(entries) => entries.iter().find(|e| e.key == *step).map(|e| (&e.value, Some(&e.key_span))),
                Kind::List(items) => step.parse::<usize>().ok().and_then(|i| items.get(i)).map(|n| (n, None)),
                _ => None,
            };
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        at
    }
    /// Every text in it.
    pub fn texts<'a>(&'a self, visit: &mut dyn FnMut(&'a Text)) {
        match &self.kind {
            Kind::Text(text) => visit(text),
            Kind::List(items) => items.iter().for_each(|n| n.texts(visit)),
            Kind::Map(entries) => entries.iter().for_each(|e| e.value.texts(visit)),
            Kind::Null | Kind::Bool(..) | Kind::Number(..) => {}
        }
    }
    /// As JSON, by what was written alone.
    pub fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(b, _) => (*b).into(),
            Kind::Number(n, _) => n.clone().into(),
            Kind::Text(t) => t.value.clone().into(),
            Kind::List(items) => items.iter().map(Node::to_value).collect(),
            Kind::Map(entries) => Value::Object(entries.iter().map(|e| (e.key.clone(), e.value.to_value())).collect::<Map<_, _>>()),
        }
    }
    /// What it is, for "found …".
    pub fn what(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".into(),
            Kind::Bool(_, raw) => format!("`{raw}`"),
            Kind::Number(_, raw) => format!("the number `{}`", short(raw)),
            Kind::Text(t) => format!("the text `{}`", short(&t.value)),
            Kind::List(_) => "a list".into(),
            Kind::Map(_) => "a mapping".into(),
        }
    }
}

#[cfg(test)]
mod tests;
