//! Whether files are JSON, and how their documents are laid out, by their beginnings.
//!
//! Deliberately not here: columns. Guarantees: text that is no JSON is never taken for it; the notes say what was found.

use serde_json::{Map, Value};
use sluis_core::registry::{FileHead, Sniffed};

use super::is_lines;
use super::parse::Parser;
use crate::compress::unpack::beginning;

/// Plain bytes looked at.
const ENOUGH: usize = 256 * 1024;
/// Records below a key that are worth a path.
const RECORDS: usize = 2;

/// See [`sluis_core::FormatDef`].
pub fn sniff(heads: &[FileHead]) -> Option<Sniffed> {
    let mut found: Option<Sniffed> = None;
    for head in heads {
        let (text, whole) = beginning(head, ENOUGH);
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text).trim_ascii();
        if !text.is_empty() {
            let one = of_file(text, whole)?;
            found = Some(match found {
                Some(before) if before.options == one.options => before,
                Some(before) => Sniffed { confidence: before.confidence.min(0.5), ..before },
                None => one,
            });
        }
    }
    found
}

fn of_file(text: &[u8], whole: bool) -> Option<Sniffed> {
    let say = |options: Map<String, Value>, confidence: f64, note: &str| {
        Some(Sniffed { options: Value::Object(options), confidence, notes: vec![note.to_owned()] })
    };
    match text[0] {
        b'[' => {
            let mut parser = Parser::new(&text[1..]);
            let first = parser.peek();
            let good = match first {
                Some(b'{') => parser.skip().is_ok() || !whole,
                Some(b']') => true,
                _ => return None,
            };
            if good { say(Map::new(), 0.95, "one array of documents") } else { None }
        }
        b'{' => {
            if is_lines(text) {
                return lines(text, whole).and_then(|sure| say(Map::new(), sure, "a document per line"));
            }
            let mut parser = Parser::new(text);
            match parser.skip() {
                Ok(document) if parser.end().is_ok() => match records(document) {
                    Some(path) => {
                        let note = format!("one document; its records stand at `{path}`");
                        say(Map::from_iter([("path".to_owned(), Value::String(path))]), 0.8, &note)
                    }
                    None => say(Map::new(), 0.9, "one document over several lines"),
                },
                Ok(_) => say(Map::new(), 0.9, "documents one after another"),
                // It goes on behind what was looked at, or it is no JSON.
                Err(_) if !whole && Parser::opens_with_name(text) => say(Map::new(), 0.6, "a document that goes on behind what was looked at"),
                Err(_) => None,
            }
        }
        _ => None,
    }
}

/// How sure it is that every line is a document.
fn lines(text: &[u8], whole: bool) -> Option<f64> {
    let (mut good, mut bad) = (0_usize, 0_usize);
    let mut lines = text.split(|b| *b == b'\n').filter(|l| !l.trim_ascii().is_empty()).peekable();
    while let Some(line) = lines.next() {
        // The last one may be cut off.
        if lines.peek().is_none() && !whole && good > 0 {
            break;
        }
        let mut parser = Parser::new(line);
        if parser.peek() == Some(b'{') && parser.skip().is_ok() && parser.end().is_ok() { good += 1 } else { bad += 1 }
    }
    (good > bad).then(|| 0.98 * good as f64 / (good + bad) as f64)
}

/// The key at the top under which a list of objects stands, if there is one such key.
fn records(document: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(document).ok()?;
    let mut lists = value.as_object()?.iter().filter(|(_, v)| v.as_array().is_some_and(|a| a.len() >= RECORDS && a.iter().all(Value::is_object)));
    let (key, _) = lists.next()?;
    let plain = !key.is_empty() && !key.contains(['.', '*', '/', '~']);
    (lists.next().is_none() && plain).then(|| key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, whole: bool) -> Option<(Value, f64, String)> {
        let head = FileHead { path: "/in/f".into(), bytes: bytes::Bytes::copy_from_slice(text.as_bytes()), whole };
        sniff(&[head]).map(|s| (s.options, s.confidence, s.notes.join("; ")))
    }

    #[test]
    fn layouts_are_told_apart() {
        let note = |text: &str, whole: bool| told(text, whole).map(|t| t.2).unwrap_or_default();
        assert_eq!(note("{\"a\":1}\n{\"a\":2}\n{\"a", false), "a document per line");
        assert_eq!(note(" [\n{\"a\":1},\n", false), "one array of documents");
        assert_eq!(note("{\n \"a\": 1\n}\n{\n\"a\": 2}", true), "documents one after another");
        assert_eq!(note("{\n \"a\": [1,\n", false), "a document that goes on behind what was looked at");
        let (options, ..) = told("{\n\"next\": null, \"items\": [\n{\"a\":1},{\"a\":2}]}", true).unwrap();
        assert_eq!(options, serde_json::json!({ "path": "items" }));
        for no in ["a,b\n1,2\n", "", "[1,2]\n", "{not json}\n{nor this}\n", "\"text\"", "{", "[section]\nkey=1"] {
            assert_eq!(told(no, true), None, "{no}");
        }
        assert!(told("{\"a\":1}\n{broken\n{\"a\":2}\n", true).unwrap().1 < 0.7, "a bad line makes it less sure");
    }
}
