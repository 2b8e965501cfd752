//! Delimiter, quote and escape of a text: every candidate is tried with the real scan, and the table that comes out is judged.
//!
//! A good dialect makes rows of the same width, of values that look like something (numbers, times, words), with no quote that breaks the
//! rules. Deliberately not here: encodings, headers, what stands around the table. Guarantees: pure; the same bytes give the same answer.

use crate::csv::dialect::{Dialect, Newline};
use crate::csv::scan::{Sink, scan};

/// Records looked at.
const RECORDS: usize = 400;
/// Fields of a record looked at.
const FIELDS: usize = 2000;

/// One record: where its fields are.
#[derive(Debug, Clone)]
pub struct Record {
    /// Line ends before it.
    pub line: u64,
    pub fields: Vec<(usize, usize)>,
    /// A quote broke the rules.
    pub bad: bool,
}

/// The records of a text.
#[derive(Debug, Clone)]
pub struct Records {
    pub all: Vec<Record>,
    /// The text's end was reached.
    pub complete: bool,
}

/// Reads the records of `text`. `whole`: it is all of a file; else the last record, which may be cut, is left out.
pub fn records(text: &[u8], whole: bool, dialect: &Dialect) -> Records {
    let mut collect = Collect { text, dialect, all: Vec::new(), fields: Vec::new(), count: 0 };
    let stop = scan(text, 0, dialect, whole, &mut collect);
    Records { complete: stop.at == text.len() && whole, all: collect.all }
}

struct Collect<'a> {
    text: &'a [u8],
    dialect: &'a Dialect,
    all: Vec<Record>,
    fields: Vec<(usize, usize)>,
    count: usize,
}

impl Sink for Collect<'_> {
    fn field(&mut self, start: usize, end: usize) {
        self.count += 1;
        if self.count <= FIELDS {
            self.fields.push((start, end));
        }
    }
    fn record(&mut self, start: usize, end: usize, line: u64) -> bool {
        let fields = std::mem::take(&mut self.fields);
        self.count = 0;
        if fields.len() > 1 || !self.dialect.is_blank(self.text[start..end].trim_ascii()) {
            self.all.push(Record { line, fields, bad: false });
        }
        self.all.len() < RECORDS
    }
    fn bad_quote(&mut self, start: usize, end: usize, line: u64, _: u64) -> bool {
        self.fields.clear();
        self.count = 0;
        self.all.push(Record { line, fields: vec![(start, end)], bad: true });
        self.all.len() < RECORDS
    }
}

/// The number of fields that most records have, the wider of two that are as frequent, and how many have it.
pub fn usual_width(records: &[Record]) -> (usize, usize) {
    let mut counts: Vec<(usize, usize)> = Vec::new();
    for record in records.iter().filter(|r| !r.bad) {
        match counts.iter_mut().find(|(width, _)| *width == record.fields.len()) {
            Some((_, n)) => *n += 1,
            None => counts.push((record.fields.len(), 1)),
        }
    }
    counts.into_iter().max_by_key(|(width, n)| (*n, *width)).unwrap_or((1, 0))
}

/// A dialect and how good a table it makes of the text, from 0 to 1.
#[derive(Debug, Clone)]
pub struct Found {
    pub dialect: Dialect,
    pub score: f64,
    /// The score of the best dialect with another delimiter.
    pub second: f64,
}

/// Delimiters, most usual first, with how much is believed of what they show: a blank or a colon separates many things.
const DELIMITERS: [(&str, f64); 19] = [
    (",", 1.0),
    (";", 1.0),
    ("\t", 1.0),
    ("|", 1.0),
    ("||", 0.99),
    ("|~|", 0.99),
    ("~|~", 0.99),
    ("^|^", 0.99),
    ("~~", 0.97),
    ("::", 0.97),
    (";;", 0.97),
    ("~", 0.95),
    ("^", 0.95),
    ("\u{1f}", 1.0),
    ("\u{1}", 1.0),
    ("§", 0.95),
    ("¦", 0.95),
    (":", 0.6),
    (" ", 0.6),
];

/// The dialect of a text; `None` if nothing separates fields. `newline`: what ends lines; `None` = as the first line ends.
pub fn find(text: &[u8], whole: bool, newline: Option<Newline>) -> Option<Found> {
    let newline = newline.unwrap_or_else(|| Dialect::detect_newline(text));
    let has = |wanted: &str| memchr::memmem::find(text, wanted.as_bytes()).is_some();
    let quotes: Vec<Option<u8>> = [Some(b'"'), Some(b'\'')].into_iter().filter(|q| q.is_some_and(|b| text.contains(&b))).chain([None]).collect();
    let mut best: Option<Found> = None;
    let mut second = 0.0_f64;
    for (delimiter, trust) in DELIMITERS.iter().filter(|(d, _)| has(d)) {
        let mut own: Option<(f64, Dialect)> = None;
        for quote in &quotes {
            let slashed = quote.is_some_and(|q| memchr::memmem::find(text, &[b'\\', q]).is_some());
            for escape in [None, Some(b'\\')].into_iter().take(1 + usize::from(slashed)) {
                let dialect = Dialect { delimiter: delimiter.as_bytes().to_vec(), quote: *quote, escape, newline, ..Dialect::default() };
                let score = judge(text, whole, &dialect) * trust;
                // What is simpler comes first and wins a tie.
                if own.as_ref().is_none_or(|(best, _)| score > *best + 1e-9) {
                    own = Some((score, dialect));
                }
            }
        }
        let Some((score, mut dialect)) = own else { continue };
        // Quotes that are not used might as well be the usual ones.
        if dialect.quote.is_none() && !has("\"") {
            dialect.quote = Some(b'"');
        }
        match &best {
            Some(b) if score <= b.score + 1e-9 => second = second.max(score),
            _ => {
                second = second.max(best.as_ref().map_or(0.0, |b| b.score));
                best = Some(Found { dialect, score, second: 0.0 });
            }
        }
    }
    best.filter(|b| b.score > 0.05).map(|b| Found { second, ..b })
}

/// How good a table a dialect makes of a text.
fn judge(text: &[u8], whole: bool, dialect: &Dialect) -> f64 {
    let records = records(text, whole, dialect).all;
    let (width, with_it) = usual_width(&records);
    if width < 2 || records.is_empty() {
        return 0.0;
    }
    // What stands before the table and behind it says little about it.
    let inside = |r: &Record| r.fields.len() == width && !r.bad;
    let first = records.iter().position(inside).unwrap_or(0);
    let last = records.iter().rposition(inside).unwrap_or(0);
    let outside = (first + records.len() - 1 - last) as f64 * 0.3;
    let body = &records[first..=last];
    let same = with_it as f64 / (body.len() as f64 + outside);
    let bad = body.iter().filter(|r| r.bad).count() as f64 / body.len() as f64;
    let (mut known, mut cells) = (0.0, 0_u32);
    let mut empty = vec![true; width];
    for record in body.iter().filter(|r| inside(r)) {
        for (field, empty) in record.fields.iter().zip(&mut empty) {
            let raw = &text[field.0..field.1];
            *empty &= raw.is_empty();
            known += likeness(raw, dialect);
            cells += 1;
        }
    }
    // Columns without any value are made by half a delimiter.
    let full = empty.iter().filter(|e| !**e).count() as f64 / width as f64;
    let width = width as f64;
    // Two rows that agree say less than many.
    let sure = 1.0 - 0.4 / with_it as f64;
    same * same * (1.0 - bad) * (1.0 - bad) * full * full * (known / f64::from(cells.max(1))) * ((width - 0.4) / width) * sure
}

/// How much a field looks like a value.
fn likeness(raw: &[u8], dialect: &Dialect) -> f64 {
    let raw = raw.trim_ascii();
    let is_quoted = dialect.quote.is_some_and(|q| raw.len() >= 2 && raw[0] == q && raw[raw.len() - 1] == q);
    if is_quoted {
        return 1.0;
    }
    let Some((first, last)) = raw.first().zip(raw.last()) else { return 0.6 };
    if matches!(first, b'"' | b'\'') || matches!(last, b'"') {
        return 0.1;
    }
    if crate::csv::repair::is_number_or_time(raw) {
        return 1.0;
    }
    // Whatever else could separate fields is suspicious in one.
    let separators = raw.iter().filter(|b| matches!(b, b',' | b';' | b'\t' | b'|' | b'~' | b'^')).count();
    if separators > 0 {
        return (0.7 - 0.15 * separators as f64).max(0.1);
    }
    if raw.iter().any(|b| *b < 0x20) {
        return 0.2;
    }
    let letters = raw.iter().filter(|b| b.is_ascii_alphanumeric() || **b >= 0x80 || matches!(b, b' ' | b'_' | b'-' | b'.')).count();
    0.6 + 0.35 * letters as f64 / raw.len() as f64
}
