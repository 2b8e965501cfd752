//! What to say about text that is not YAML: the parser's finding, in words that help.
//!
//! Deliberately not here: mistakes in YAML that can be read.

use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::span::{SourceFile, Span};

/// A diagnostic for a parser's error at a byte offset.
pub(super) fn diagnostic(file: &Arc<SourceFile>, at: usize, info: &str) -> Diagnostic {
    // At the end of the file the place to look at is the last line with something in it.
    let written = file.text().trim_end();
    let at = if at >= written.len() { written.char_indices().next_back().map_or(0, |(last, _)| last) } else { at };
    let (line, _) = file.position(at);
    if let Some(tab) = tab_in_indentation(file, line) {
        let d = Diagnostic::error("yaml-tab", "a tab indents this line; YAML is indented with spaces");
        return d.at(&tab).label("tab").help("replace tabs by spaces");
    }
    if let Some(reference) = reference_in_flow(file, line) {
        let d = Diagnostic::error("yaml-syntax", "inside `{ }` and `[ ]` a text with `${…}` in it needs quotes");
        return d.at(&reference).label("here").help("as in `{ url: \"${base}/in\" }`");
    }
    if let Some((value, help)) = needs_quotes(file, line) {
        return Diagnostic::error("yaml-syntax", format!("this is not YAML: {}", words(info))).at(&value).help(help);
    }
    let end = file.text()[at..].chars().next().filter(|c| *c != '\n').map_or(at, |c| at + c.len_utf8());
    let mut d = Diagnostic::error("yaml-syntax", format!("this is not YAML: {}", words(info))).at(&Span::new(file, at..end)).label("here");
    if let Some(help) = advice(info) {
        d = d.help(help);
    }
    d
}

/// The first tab that indents this line or the one before.
fn tab_in_indentation(file: &Arc<SourceFile>, line: usize) -> Option<Span> {
    (line.saturating_sub(1).max(1)..=line).find_map(|line| {
        let range = file.line(line);
        let text = &file.text()[range.clone()];
        let indent = &text[..text.len() - text.trim_start().len()];
        indent.find('\t').map(|n| Span::new(file, range.start + n..range.start + n + 1))
    })
}

/// An unquoted `${…}` in a flow collection that starts in this line.
fn reference_in_flow(file: &Arc<SourceFile>, line: usize) -> Option<Span> {
    let range = file.line(line);
    let text = &file.text()[range.clone()];
    let (mut quote, mut open) = (None, 0_usize);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '$') if open > 0 && text[i..].starts_with("${") => {
                let end = text[i..].find('}').map_or(text.len(), |n| i + n + 1);
                return Some(Span::new(file, range.start + i..range.start + end));
            }
            (None, '{' | '[') => open += 1,
            (None, '}' | ']') => open = open.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// A value in this line that starts with a character that means something in YAML, or has a `: ` in it.
fn needs_quotes(file: &Arc<SourceFile>, line: usize) -> Option<(Span, String)> {
    let range = file.line(line);
    let text = &file.text()[range.clone()];
    let key_end = text.find(": ").map(|n| n + 2).or_else(|| text.trim_start().starts_with("- ").then(|| text.find("- ").map_or(0, |n| n + 2)))?;
    let value = text[key_end..].trim();
    let start = range.start + key_end + (text[key_end..].len() - text[key_end..].trim_start().len());
    let span = Span::new(file, start..start + value.len());
    let first = value.chars().next()?;
    let quoted = if value.contains('"') { format!("'{value}'") } else { format!("\"{value}\"") };
    if "*&!%@`|>".contains(first) {
        return Some((span, format!("a text that starts with `{first}` needs quotes: `{quoted}`")));
    }
    if first == '{' && value.contains('}') && !value.ends_with('}') {
        return Some((span, format!("a text that starts with `{{` needs quotes: `{quoted}`")));
    }
    if !"\"'[{".contains(first) && (value.contains(": ") || value.ends_with(':')) {
        return Some((span, format!("a text with `: ` in it needs quotes: `{quoted}`")));
    }
    None
}

/// The parser's words, where there are better ones.
fn words(info: &str) -> &str {
    match info {
        i if i.contains("unexpected end of stream") => "a quote is opened and never closed",
        i if i.contains("did not find expected ',' or") || i.contains("expected ',' or") => "a comma or the closing bracket is missing",
        i if i.contains("simple key expect") || i.contains("did not find expected ':'") => "a `:` after the key is missing",
        i if i.contains("mapping values are not allowed") => "a value cannot start here",
        i if i.contains("did not find expected key") => "a key is expected here; the indentation does not fit the lines above",
        i if i.contains("unknown anchor") => "there is no anchor of this name",
        i if i.contains("recursion limit") => "brackets are nested too deeply",
        i => i,
    }
}

fn advice(info: &str) -> Option<&'static str> {
    if info.contains("mapping values are not allowed") || info.contains("expected key") || info.contains("simple key expect") {
        Some("write `key: value`, with the keys of one mapping at the same indentation")
    } else if info.contains("invalid trailing content") {
        Some("a text that starts with a quote ends with it; put quotes around the whole text")
    } else if info.contains("unprintable") {
        Some("remove the character, or write it as an escape in double quotes")
    } else {
        None
    }
}
