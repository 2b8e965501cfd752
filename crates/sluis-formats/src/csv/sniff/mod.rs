//! What the beginning of files says of how they are written: the options that reading them needs.
//!
//! | file | what |
//! |---|---|
//! | [`dialect`] | delimiter, quote, escape: candidates are tried with the real scan and judged |
//! | [`table`] | preamble, header, footer, comments, null markers, decimal comma |
//!
//! Deliberately not here: types of columns (`infer.rs`), I/O. Guarantees: pure; the same heads give the same answer; only what differs from
//! the defaults is an option.

pub mod dialect;
pub mod table;
#[cfg(test)]
mod tests;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use serde_json::{Map, Value, json};
use sluis_core::{FileHead, Sniffed};

use self::dialect::Found;
use self::table::Table;
use super::dialect::Dialect;
use crate::compress::unpack::beginning;

/// Bytes of text that a dialect is found in: as many for every file, so that the answer depends on the file alone.
pub const HEAD: usize = 64 * 1024;

/// The dialect of a file by the beginning of its text, for `delimiter: auto`: `base` with delimiter, quote and escape as they are found.
pub fn of_text(base: &Dialect, newline: Option<super::dialect::Newline>, head: &[u8]) -> Dialect {
    let known = head.len().min(HEAD);
    match dialect::find(&head[..known], known < HEAD, newline) {
        Some(found) => {
            let Dialect { delimiter, quote, escape, .. } = found.dialect;
            Dialect { delimiter, quote, escape, ..base.clone() }
        }
        None => base.clone(),
    }
}

/// See [`sluis_core::FormatDef::sniff`].
pub fn sniff(heads: &[FileHead]) -> Option<Sniffed> {
    let files: Vec<File> = heads.iter().filter_map(File::look).collect();
    if files.is_empty() || files.len() * 2 < heads.iter().filter(|h| !h.bytes.is_empty()).count() {
        return None;
    }
    Some(Summary { files: &files }.sniffed())
}

/// What one file says.
struct File {
    path: String,
    /// `None`: UTF-8, or what its byte order mark says.
    encoding: Option<&'static Encoding>,
    marked: bool,
    found: Option<Found>,
    table: Table,
}

impl File {
    /// `None`: empty, or no text.
    fn look(head: &FileHead) -> Option<Self> {
        let (bytes, whole) = beginning(head, HEAD);
        if bytes.is_empty() {
            return None;
        }
        let (encoding, marked) = encoding(&bytes, whole);
        let (text, _) = encoding.decode_with_bom_removal(&bytes);
        let text = text.as_bytes();
        if !is_table(text) {
            return None;
        }
        let found = dialect::find(text, whole, None);
        let newline = Dialect::detect_newline(text);
        let dialect = found.as_ref().map_or_else(|| Dialect { newline, ..Dialect::default() }, |f| f.dialect.clone());
        let table = table::look(text, whole, &dialect);
        Some(Self { path: head.path.clone(), encoding: (encoding != UTF_8 && !marked).then_some(encoding), marked, found, table })
    }

    fn dialect(&self) -> (Vec<u8>, Option<u8>, Option<u8>) {
        self.found.as_ref().map_or((vec![b','], Some(b'"'), None), |f| (f.dialect.delimiter.clone(), f.dialect.quote, f.dialect.escape))
    }

    /// How sure the dialect is: a good table, and no other delimiter that makes one nearly as good.
    fn confidence(&self) -> f64 {
        let Some(found) = &self.found else { return 0.2 };
        let ahead = ((found.score - found.second) / found.score).clamp(0.0, 1.0);
        let rows = self.table.rows.max(1) as f64;
        let odd = (self.table.too_short + self.table.too_long + self.table.bad_quotes) as f64 / rows;
        (0.55 + 0.45 * ahead) * found.score.clamp(0.0, 1.0).sqrt() * (1.0 - odd.min(0.5)) * if self.table.rows < 3 { 0.7 } else { 1.0 }
    }
}

/// The encoding of a text, and whether a byte order mark says so.
fn encoding(bytes: &[u8], whole: bool) -> (&'static Encoding, bool) {
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return (encoding, true);
    }
    // Text that is mostly ASCII has a zero in every second byte.
    let zeros = |odd: usize| bytes.iter().skip(odd).step_by(2).filter(|b| **b == 0).count() * 5 > bytes.len();
    match (zeros(0), zeros(1)) {
        (false, true) => return (UTF_16LE, false),
        (true, false) => return (UTF_16BE, false),
        _ => {}
    }
    let valid = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        // A character that the end of the head cuts in two.
        Err(e) => !whole && e.error_len().is_none(),
    };
    if valid {
        return (UTF_8, false);
    }
    let mut detector = chardetng::EncodingDetector::new();
    detector.feed(bytes, whole);
    (detector.guess(None, false), false)
}

/// Whether a text may be a table of text: no binary format, no JSON, no markup.
fn is_table(text: &[u8]) -> bool {
    let controls = text.iter().filter(|b| **b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r' | 0x01 | 0x1c..=0x1f)).count();
    let first = text.trim_ascii_start();
    let markup = [&b"<?xml"[..], b"<!DOCTYPE", b"<html", b"PAR1", b"Obj\x01", b"ORC", b"%PDF", b"PK\x03\x04"].iter().any(|m| first.starts_with(m));
    let json = matches!(first, [b'{', rest @ ..] if matches!(rest.trim_ascii_start(), [b'"' | b'}', ..]))
        || matches!(first, [b'[', rest @ ..] if matches!(rest.trim_ascii_start(), [b'{' | b'[' | b'"' | b']', ..]));
    !first.is_empty() && controls * 100 <= text.len() && !markup && !json
}

/// All files together.
struct Summary<'a> {
    files: &'a [File],
}

impl Summary<'_> {
    /// What most files say; the first of two that are as frequent.
    fn most<T: PartialEq>(&self, of: impl Fn(&File) -> T) -> (T, usize) {
        let values: Vec<T> = self.files.iter().map(of).collect();
        let count = |v: &T| values.iter().filter(|o| *o == v).count();
        let best = (0..values.len()).rev().max_by_key(|n| count(&values[*n])).unwrap_or(0);
        let n = count(&values[best]);
        (values.into_iter().nth(best).unwrap_or_else(|| unreachable!("there is a file")), n)
    }

    fn sniffed(&self) -> Sniffed {
        let mut options = Map::new();
        let mut notes = Vec::new();
        self.dialect(&mut options, &mut notes);
        self.encoding(&mut options, &mut notes);
        self.around(&mut options, &mut notes);
        self.values(&mut options, &mut notes);
        let confidence = self.files.iter().map(File::confidence).sum::<f64>() / self.files.len() as f64;
        Sniffed { options: Value::Object(options), confidence: (confidence * 100.0).round() / 100.0, notes }
    }

    fn dialect(&self, options: &mut Map<String, Value>, notes: &mut Vec<String>) {
        let ((delimiter, quote, escape), agree) = self.most(File::dialect);
        let other = self.files.iter().find(|f| f.dialect() != (delimiter.clone(), quote, escape));
        if let Some(other) = other.filter(|_| agree < self.files.len()) {
            options.insert("delimiter".into(), "auto".into());
            notes
                .push(format!("The files are not written alike: {} differs from most; each one's delimiter is found when it is opened.", other.path));
            return;
        }
        if delimiter != b"," {
            options.insert("delimiter".into(), named(&delimiter).into());
        }
        if quote != Some(b'"') {
            options.insert("quote".into(), quote.map_or_else(|| "none".to_owned(), |q| char::from(q).to_string()).into());
        }
        if let Some(e) = escape {
            options.insert("escape".into(), char::from(e).to_string().into());
        }
        if self.files.iter().all(|f| f.found.is_none()) {
            notes.push("No delimiter was found: each line is one value.".into());
        }
    }

    fn encoding(&self, options: &mut Map<String, Value>, notes: &mut Vec<String>) {
        let foreign: Vec<&File> = self.files.iter().filter(|f| f.encoding.is_some()).collect();
        if let Some(encoding) = foreign.first().and_then(|f| f.encoding) {
            options.insert("encoding".into(), encoding.name().to_ascii_lowercase().into());
            let plain = if encoding == UTF_16LE || encoding == UTF_16BE { "by its zero bytes" } else { "a guess by its letters" };
            notes.push(format!("The encoding is {}, {plain}: look at the words with accents.", encoding.name()));
            if foreign.iter().any(|f| f.encoding != Some(encoding)) {
                notes.push("Not all files have the same encoding.".into());
            }
        }
        if self.files.iter().any(|f| f.marked) {
            notes.push("A byte order mark says what the encoding is.".into());
        }
    }

    fn around(&self, options: &mut Map<String, Value>, notes: &mut Vec<String>) {
        let (comment, _) = self.most(|f| f.table.comment.clone());
        if let Some(comment) = comment {
            options.insert("comment".into(), comment.into());
        }
        let (skip, agree) = self.most(|f| f.table.skip);
        if skip > 0 {
            options.insert("skip".into(), skip.into());
            notes.push(format!("{skip} lines stand before the table."));
        }
        if agree < self.files.len() {
            notes.push("Not all files have as many lines before the table.".into());
        }
        let (header, _) = self.most(|f| f.table.header);
        if header != 1 {
            options.insert("header".into(), header.into());
        }
        if !self.files.iter().any(|f| f.table.header_told) {
            let what = if header == 0 { "there seems to be no header" } else { "the first row seems to be a header" };
            notes.push(format!("All columns are text, so the values do not tell for certain: {what}."));
        }
        let ends: Vec<&Table> = self.files.iter().map(|f| &f.table).filter(|t| t.footer.is_some()).collect();
        if let Some(footer) = ends.first().and_then(|t| t.footer).filter(|n| *n > 0 && ends.iter().all(|t| t.footer == Some(*n))) {
            options.insert("footer".into(), footer.into());
            notes.push(format!("The last {} no data.", if footer == 1 { "row is".to_owned() } else { format!("{footer} rows are") }));
            if let Some(count) = ends[0].footer_count.filter(|c| ends.iter().all(|t| t.footer_count == Some(*c))) {
                options.insert("footer_count".into(), count.into());
                notes.push(format!("Field {count} of the footer is the number of rows, which is checked."));
            }
        }
        if self.files.iter().all(|f| f.table.trim) {
            options.insert("trim".into(), true.into());
        }
    }

    fn values(&self, options: &mut Map<String, Value>, notes: &mut Vec<String>) {
        let mut nulls: Vec<String> = self.files.iter().flat_map(|f| f.table.nulls.iter().cloned()).collect();
        nulls.sort();
        nulls.dedup();
        if !nulls.is_empty() {
            nulls.insert(0, String::new());
            options.insert("nulls".into(), json!(nulls));
        }
        if self.files.iter().any(|f| f.table.decimal_comma) {
            options.insert("decimal".into(), ",".into());
        }
        let sum = |of: fn(&Table) -> usize| self.files.iter().map(|f| of(&f.table)).sum::<usize>();
        let (short, long, bad, rows) = (sum(|t| t.too_short), sum(|t| t.too_long), sum(|t| t.bad_quotes), sum(|t| t.rows));
        if short > 0 {
            notes.push(format!("{short} of {rows} rows have too few fields: rejected, unless `ragged: pad`."));
        }
        if long > 0 {
            notes.push(format!("{long} of {rows} rows have too many fields: rejected, unless `ragged: repair` finds out how to read them, or `ragged: rescue` keeps what is beyond."));
        }
        if bad > 0 {
            notes.push(format!("{bad} of {rows} rows have a quote that breaks the rules: rejected, unless `quotes: lenient`."));
        }
        let widths = self.most(|f| f.table.columns);
        if widths.1 < self.files.len() {
            notes.push("The files have different numbers of columns: they are matched by name.".into());
        }
    }
}

/// A delimiter as configuration writes it.
fn named(delimiter: &[u8]) -> String {
    match delimiter {
        b"\t" => "tab".into(),
        b" " => "space".into(),
        other => {
            String::from_utf8_lossy(other).chars().map(|c| if c.is_control() { format!("\\x{:02x}", c as u32) } else { c.to_string() }).collect()
        }
    }
}
