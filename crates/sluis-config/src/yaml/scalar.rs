//! A scalar's type (YAML 1.2 core: null, true/false, numbers, else text), and which byte of its value stands where in the file.
//!
//! Deliberately not here: what type is asked for; `yes`, `no`, `on`, `off` and dates are texts.

use std::sync::Arc;

use saphyr_parser::ScalarStyle;
use serde_json::Number;

use super::{Kind, Node, Text};
use crate::span::{Segment, SourceFile, Span, TextSpan};

/// A scalar as a node. `text_only`: whatever it looks like (`!!str`).
pub(super) fn node(file: &Arc<SourceFile>, value: &str, style: ScalarStyle, text_only: bool, span: Span) -> Node {
    let range = span.range();
    // Plain and block scalars are reported up to what follows them.
    let trimmed = span.text().trim_end();
    let span = Span::new(file, range.start..range.start + trimmed.len());
    let plain = style == ScalarStyle::Plain;
    let kind = if plain && !text_only { plain_scalar(value) } else { None };
    let kind = kind.unwrap_or_else(|| {
        let segments = segments(value, style, &span);
        Kind::Text(Text { value: value.to_owned(), place: TextSpan::new(span.clone(), segments.into()) })
    });
    Node { kind, span }
}

/// The type of a plain scalar; `None` = text.
pub(crate) fn plain_scalar(value: &str) -> Option<Kind> {
    match value {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Kind::Null),
        "true" | "True" | "TRUE" => return Some(Kind::Bool(true, value.to_owned())),
        "false" | "False" | "FALSE" => return Some(Kind::Bool(false, value.to_owned())),
        _ => {}
    }
    let number = |n: Number| Some(Kind::Number(n, value.to_owned()));
    let based = |digits: &str, base| u64::from_str_radix(digits, base).ok().map(Number::from);
    if let Some(n) = value.strip_prefix("0x").and_then(|d| based(d, 16)).or_else(|| value.strip_prefix("0o").and_then(|d| based(d, 8))) {
        return number(n);
    }
    let unsigned = value.strip_prefix(['+', '-']).unwrap_or(value);
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        if let Ok(n) = value.parse::<i64>() {
            return number(n.into());
        }
        if let Ok(n) = value.parse::<u64>() {
            return number(n.into());
        }
    }
    // A number starts with a digit or a point and a digit: not `inf`, `nan`, `e5`, `1h`.
    let digit_first = unsigned.strip_prefix('.').unwrap_or(unsigned).starts_with(|c: char| c.is_ascii_digit());
    if digit_first && unsigned.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b)) {
        return value.parse::<f64>().ok().and_then(Number::from_f64).and_then(number);
    }
    None
}

/// Which offsets of the value stand at which offsets of the file.
fn segments(value: &str, style: ScalarStyle, span: &Span) -> Vec<Segment> {
    let (raw, base) = (span.text(), span.range().start);
    match style {
        ScalarStyle::Literal => {
            let header = header(span);
            literal(value, &raw[header..], base + header)
        }
        ScalarStyle::Plain => align(value, raw, base),
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
            // `raw` starts with the quote, unless an anchor or a tag stands before it.
            let open = raw.find(['"', '\'']).map_or(0, |n| n + 1);
            align(value, &raw[open..], base + open)
        }
        ScalarStyle::Folded => {
            let header = header(span);
            align(value, &raw[header..], base + header)
        }
    }
}

/// How much of a block scalar's span is its header (`|`, `>-`): the parser's span may start there or with the content.
fn header(span: &Span) -> usize {
    let file = span.file();
    let start = span.range().start;
    let line = file.line(file.position(start).0);
    let content = file.text()[line.start..start].trim().is_empty();
    if content { 0 } else { span.text().find('\n').map_or(span.text().len(), |n| n + 1) }
}

/// `|`: each line of the value is the end of a line of the file.
fn literal(value: &str, raw: &str, base: usize) -> Vec<Segment> {
    let mut source = base;
    let mut at = 0;
    let mut out = Vec::new();
    for (line, written) in value.split('\n').zip(raw.split('\n')) {
        let indent = written.len().saturating_sub(line.len());
        out.push(Segment { at, source: source + indent, fixed: false });
        at += line.len() + 1;
        source += written.len() + 1;
    }
    out
}

/// Walks value and file side by side: blanks may differ (folding), and the file may have more (escapes, doubled quotes).
fn align(value: &str, raw: &str, base: usize) -> Vec<Segment> {
    /// How far the next character is looked for: an escape is at most ten long, and indentation is skipped apart.
    const REACH: usize = 12;
    let mut out = vec![Segment { at: 0, source: base, fixed: false }];
    let mut source = 0;
    for (at, c) in value.char_indices() {
        let rest = raw.get(source..).unwrap_or("");
        let skip = if rest.starts_with(c) {
            0
        } else if c.is_whitespace() {
            continue;
        } else {
            let blanks = rest.len() - rest.trim_start().len();
            let near: usize = rest[blanks..].char_indices().take(REACH).find(|(_, s)| *s == c).map_or(0, |(n, _)| n);
            blanks + near
        };
        source += skip;
        let last = out[out.len() - 1];
        if last.source + (at - last.at) != base + source {
            out.push(Segment { at, source: base + source, fixed: false });
        }
        source += if raw.get(source..).is_some_and(|r| r.starts_with(c)) { c.len_utf8() } else { 0 };
    }
    out
}
