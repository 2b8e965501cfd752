//! Where in a rejected row's text the fault is, so that it can be pointed at.
//!
//! It is found from the row's own bytes, the dialect, and what the reject says, when somebody looks: rejecting stays cheap.
//! Deliberately not here: showing it. Guarantee: whatever the bytes, a range within them or nothing.

use std::ops::Range;

use serde_json::Value;
use sluis_core::RejectReason;

use crate::csv::column::unquoted;
use crate::csv::config::{CsvRead, Reading};
use crate::csv::dialect::Dialect;
use crate::csv::scan::{Sink, scan};
use crate::def::config_of;
use crate::json::parse::{Parser, Text, unescape};
use crate::values::push_excerpt;

/// What a reject says.
#[derive(Debug, Clone, Copy)]
pub struct Fault<'a> {
    pub reason: RejectReason,
    pub column: Option<&'a str>,
    pub message: &'a str,
}

/// The bytes of `raw` that a reject is about; an empty range is a place where something is missing. `names`: the columns of the file, in
/// its order, where they are known. `None`: it is about no bytes in particular, or cannot be told.
pub fn locate(format: &str, options: &Value, raw: &[u8], fault: Fault<'_>, names: Option<&[String]>) -> Option<Range<usize>> {
    let range = match (format, fault.reason) {
        (_, RejectReason::BadEncoding) => invalid(raw),
        ("csv", _) => {
            let reading = Reading::new(&config_of::<CsvRead>("csv", options).ok()?).ok()?;
            in_csv(&reading, raw, fault, names)
        }
        ("json", RejectReason::BadSyntax) => {
            let at: usize = fault.message.rsplit_once("(at byte ")?.1.strip_suffix(')')?.parse().ok()?;
            (at <= raw.len()).then(|| at..(at + 1).min(raw.len()))
        }
        ("json", _) => in_document(raw, &fault.column?.split('.').collect::<Vec<_>>()),
        _ => None,
    };
    range.filter(|r| r.start <= r.end && r.end <= raw.len())
}

/// The names of a CSV file's columns, from the lines that stand above its rows.
pub fn csv_names(options: &Value, head: &[u8]) -> Option<Vec<String>> {
    let reading = Reading::new(&config_of::<CsvRead>("csv", options).ok()?).ok()?;
    let mut framer = reading.framer(dialect_of(&reading, head), head.len() + 1);
    framer.push(head);
    framer.end();
    let opening = framer.open()?;
    Some(crate::csv::layout::names(&reading, framer.dialect(), &opening))
}

/// The dialect as configured, or as the bytes say.
fn dialect_of(reading: &Reading, bytes: &[u8]) -> Dialect {
    if reading.sniffed { crate::csv::sniff::of_text(&reading.dialect, reading.newline, bytes) } else { reading.dialect.clone() }
}

/// The first bytes that are no UTF-8.
fn invalid(raw: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    for chunk in raw.utf8_chunks() {
        at += chunk.valid().len();
        if !chunk.invalid().is_empty() {
            return Some(at..at + chunk.invalid().len());
        }
    }
    None
}

fn in_csv(reading: &Reading, raw: &[u8], fault: Fault<'_>, names: Option<&[String]>) -> Option<Range<usize>> {
    let dialect = &dialect_of(reading, raw);
    let mut record = Record { raw, dialect, fields: Vec::new(), bad: None };
    scan(raw, 0, dialect, true, &mut record);
    let fields = record.fields;
    match fault.reason {
        RejectReason::BadQuote => record.bad,
        RejectReason::TooFewFields => Some(raw.len()..raw.len()),
        RejectReason::TooManyFields => {
            let width = names.map(<[String]>::len).or_else(|| expected(fault.message))?;
            Some(fields.get(width)?.start..fields.last()?.end)
        }
        RejectReason::BadValue | RejectReason::MissingValue | RejectReason::ContractViolated => {
            let column = fault.column?;
            let named = || fields.get(names?.iter().position(|n| n == column)?).cloned();
            let by_position = || {
                let all = if reading.names.is_empty() {
                    reading.declared.iter().map(|d| &d.name).collect::<Vec<_>>()
                } else {
                    reading.names.iter().collect()
                };
                let at = all.iter().position(|n| *n == column).filter(|_| reading.header == 0 || !reading.names.is_empty())?;
                fields.get(at).cloned()
            };
            named().or_else(by_position).or_else(|| only_one(&fields, raw, dialect, fault.message))
        }
        _ => None,
    }
}

/// `5 fields where 4 are expected`
fn expected(message: &str) -> Option<usize> {
    message.split_once(" fields where ")?.1.split(' ').next()?.parse().ok()
}

/// The field whose text the message quotes, if there is just one.
fn only_one(fields: &[Range<usize>], raw: &[u8], dialect: &Dialect, message: &str) -> Option<Range<usize>> {
    let mut quoting = fields.iter().filter(|f| {
        let mut start = String::from("`");
        push_excerpt(&mut start, unquoted(&raw[f.start..f.end], dialect));
        start.push('`');
        message.starts_with(&start)
    });
    let first = quoting.next()?;
    quoting.next().is_none().then(|| first.clone())
}

/// The fields of the first record, or what is bad in it.
struct Record<'a> {
    raw: &'a [u8],
    dialect: &'a Dialect,
    fields: Vec<Range<usize>>,
    bad: Option<Range<usize>>,
}

impl Sink for Record<'_> {
    fn field(&mut self, start: usize, end: usize) {
        let blank = |b: &u8| self.dialect.trim && matches!(b, b' ' | b'\t');
        let field = &self.raw[start..end];
        let before = field.iter().take_while(|b| blank(b)).count();
        let after = field[before..].iter().rev().take_while(|b| blank(b)).count();
        self.fields.push(start + before..end - after);
    }
    fn record(&mut self, _: usize, _: usize, _: u64) -> bool {
        false
    }
    fn bad_quote(&mut self, start: usize, end: usize, _: u64, _: u64) -> bool {
        let begin = self.fields.last().map_or(start, |f| f.end);
        self.bad = quoted_badly(self.raw, begin, end, self.dialect);
        false
    }
}

/// The text behind a closing quote; or, if none closes, all from the one that opens.
fn quoted_badly(raw: &[u8], begin: usize, end: usize, dialect: &Dialect) -> Option<Range<usize>> {
    let quote = dialect.quote?;
    let open = begin + memchr::memchr(quote, raw.get(begin..end)?)?;
    let mut at = open + 1;
    while at < end {
        match raw[at] {
            b if dialect.escape == Some(b) => at += 2,
            b if b == quote && raw.get(at + 1) == Some(&quote) => at += 2,
            b if b == quote => {
                let rest = &raw[at + 1..end];
                let stop = memchr::memmem::find(rest, &dialect.delimiter).unwrap_or(rest.len());
                return Some(at + 1..at + 1 + stop.max(1).min(rest.len()));
            }
            _ => at += 1,
        }
    }
    Some(open..end)
}

/// The value at a path of keys.
fn in_document(raw: &[u8], path: &[&str]) -> Option<Range<usize>> {
    let mut parser = Parser::new(raw);
    let mut names = path;
    let (first, rest) = names.split_first()?;
    names = rest;
    let mut wanted = *first;
    if parser.peek() != Some(b'{') {
        return None;
    }
    parser.expect(b'{', "").ok()?;
    loop {
        let key = parser.key().ok()?;
        let start = offset(raw, key.raw).saturating_sub(1);
        if !is_named(key, wanted) {
            parser.skip().ok()?;
            if !parser.more(b'}').ok()? {
                return None;
            }
            continue;
        }
        match names.split_first() {
            Some((next, rest)) if parser.peek() == Some(b'{') => {
                parser.expect(b'{', "").ok()?;
                (wanted, names) = (next, rest);
            }
            // A list's elements are not told apart, and a value that is wrong itself cannot be passed.
            _ => {
                return Some(match parser.skip() {
                    Ok(value) => offset(raw, value)..offset(raw, value) + value.len(),
                    Err(_) => start..raw.len(),
                });
            }
        }
    }
}

fn is_named(key: Text<'_>, name: &str) -> bool {
    let mut text = Vec::new();
    unescape(key, &mut text).is_some() && text == name.as_bytes()
}

/// Where a part of `whole` begins in it.
fn offset(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found<'a>(format: &str, options: &Value, raw: &'a str, reason: RejectReason, column: &str, message: &str) -> Option<&'a str> {
        let fault = Fault { reason, column: Some(column).filter(|c| !c.is_empty()), message };
        locate(format, options, raw.as_bytes(), fault, None).map(|r| &raw[r])
    }

    #[test]
    fn a_csv_field_is_found_by_name_by_position_or_by_what_is_quoted() {
        use RejectReason::{BadQuote, BadValue, TooFewFields, TooManyFields};
        let plain = json!({});
        let headless = json!({ "header": 0, "delimiter": "||", "columns": { "a": "int", "b": "int" } });
        assert_eq!(found("csv", &plain, "2,x,Bob", BadValue, "n", "`x` is no int"), Some("x"));
        assert_eq!(found("csv", &plain, "x,\"x\",Bob", BadValue, "n", "`x` is no int"), None, "two of them");
        assert_eq!(found("csv", &headless, "x||x", BadValue, "b", "`x` is no int"), Some("x"));
        let fault = Fault { reason: BadValue, column: Some("b"), message: "`x` is no int" };
        assert_eq!(locate("csv", &headless, b"x||x", fault, None), Some(3..4));
        let names = ["a".to_owned(), "b".to_owned()];
        assert_eq!(locate("csv", &plain, b"x,\"x\ny\"", fault, Some(&names)), Some(2..7));
        assert_eq!(found("csv", &plain, "1,2,3,4", TooManyFields, "", "4 fields where 2 are expected"), Some("3,4"));
        assert_eq!(found("csv", &plain, "1,2", TooFewFields, "c", "2 of 3 fields"), Some(""));
        assert_eq!(found("csv", &plain, "1,\"a\" b,2", BadQuote, "", ""), Some(" b"));
        assert_eq!(found("csv", &plain, "1,\"a b,2", BadQuote, "", ""), Some("\"a b,2"));
        assert_eq!(found("csv", &json!({ "trim": true }), "1 , x ,2", BadValue, "n", "`x` is no int"), Some("x"));
    }

    #[test]
    fn a_value_in_a_document_is_found_by_its_path() {
        use RejectReason::{BadSyntax, BadValue};
        let none = json!({});
        let doc = "{\"a\": 1, \"b\": {\"c\": [1, 2], \"d\\u0065\": \"x\"}}";
        assert_eq!(found("json", &none, doc, BadValue, "b.de", "`x` is no int"), Some("\"x\""));
        assert_eq!(found("json", &none, doc, BadValue, "b.c", ""), Some("[1, 2]"));
        assert_eq!(found("json", &none, doc, BadValue, "z", ""), None);
        assert_eq!(found("json", &none, "{\"a\" 1}", BadSyntax, "", "`:` is expected (at byte 5)"), Some("1"));
        assert_eq!(found("json", &none, "{\"a\"", BadSyntax, "", "`:` is expected (at byte 4)"), Some(""));
    }

    #[test]
    fn nothing_panics_and_nothing_is_outside() {
        let raw = b"\"\x00\xff{[\",\n\"\"a\\u,}:1\xc3";
        for start in 0..raw.len() {
            for end in start..=raw.len() {
                for format in ["csv", "json", "parquet"] {
                    for reason in RejectReason::ALL {
                        for options in [json!({}), json!({ "escape": "\\", "trim": true })] {
                            let fault = Fault { reason, column: Some("a.b"), message: "9 fields where 1 are (at byte 3)" };
                            if let Some(range) = locate(format, &options, &raw[start..end], fault, None) {
                                assert!(range.end <= end - start);
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_names_of_a_header_are_read_as_the_reader_does() {
        assert_eq!(csv_names(&json!({ "skip": 1, "delimiter": ";" }), b"x\na;\"b;c\"\n"), Some(vec!["a".into(), "b;c".into()]));
    }
}
