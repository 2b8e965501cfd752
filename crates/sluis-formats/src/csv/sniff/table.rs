//! What stands around a table, and what its values say: preamble, header, footer, comments, null markers, decimal comma.
//!
//! Deliberately not here: delimiters and quotes, encodings. Guarantees: pure; nothing is said of the end of a file whose end was not seen.

use super::dialect::{Record, Records, records, usual_width};
use crate::csv::column::unquoted;
use crate::csv::dialect::Dialect;
use crate::csv::repair::is_number_or_time;

/// What is found of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub comment: Option<String>,
    pub trim: bool,
    /// Lines before the table.
    pub skip: u64,
    pub header: usize,
    /// Whether the values tell a header from data; else one is assumed.
    pub header_told: bool,
    /// Rows behind the table; `None`: the end was not seen.
    pub footer: Option<usize>,
    /// Field of the last footer row, from 1, with the number of data rows.
    pub footer_count: Option<usize>,
    pub columns: usize,
    pub rows: usize,
    pub too_short: usize,
    pub too_long: usize,
    pub bad_quotes: usize,
    pub nulls: Vec<String>,
    pub decimal_comma: bool,
}

/// What comments begin with.
const COMMENTS: [&str; 4] = ["#", "//", "--", "%"];
/// What people write for nothing.
const NOTHING: [&str; 15] = ["NA", "N/A", "n/a", "#N/A", "NULL", "null", "Null", "\\N", "nan", "NaN", "None", "nil", "-", "--", "?"];
const TRAILERS: [&str; 10] = ["trl", "trailer", "trl1", "eof", "end", "total", "totals", "sum", "footer", "summary"];
/// Rows before a table, header rows, rows behind a table: at most.
const MOST_BEFORE: usize = 40;
const MOST_HEADERS: usize = 3;
const MOST_BEHIND: usize = 3;

/// Looks at a text in a dialect.
pub fn look(text: &[u8], whole: bool, dialect: &Dialect) -> Table {
    let mut dialect = dialect.clone();
    let mut found = records(text, whole, &dialect);
    let comment = comment(text, whole, &dialect, &found);
    if let Some(c) = &comment {
        dialect.comment = Some(c.clone().into_bytes());
        found = records(text, whole, &dialect);
    }
    let trim = blanks_around(text, &dialect, &found);
    if trim {
        dialect.trim = true;
        found = records(text, whole, &dialect);
    }
    let view = View { text, dialect: &dialect };
    view.table(&found, comment, trim)
}

/// How many records are not as wide as most.
fn odd(records: &[Record]) -> usize {
    records.len() - usual_width(records).1
}

/// What lines begin with that are no rows: without them the table is more even.
fn comment(text: &[u8], whole: bool, dialect: &Dialect, found: &Records) -> Option<String> {
    let lines = || text.split(|b| matches!(b, b'\n' | b'\r'));
    COMMENTS.iter().find_map(|mark| {
        if !lines().any(|l| l.starts_with(mark.as_bytes())) {
            return None;
        }
        let with = records(text, whole, &Dialect { comment: Some(mark.as_bytes().to_vec()), ..dialect.clone() });
        let taken = found.all.len().saturating_sub(with.all.len());
        // A header that begins with the mark is as wide as the rows.
        let better = odd(&with.all) + taken <= odd(&found.all) && taken > 0;
        (better && with.all.len() >= taken).then(|| (*mark).to_owned())
    })
}

/// Whether blanks stand before nearly every field but the first, or before quotes.
fn blanks_around(text: &[u8], dialect: &Dialect, found: &Records) -> bool {
    if dialect.delimiter.iter().all(u8::is_ascii_whitespace) {
        return false;
    }
    let inner = || found.all.iter().filter(|r| !r.bad).flat_map(|r| r.fields.iter().skip(1)).filter(|(s, e)| s < e);
    let blank = inner().filter(|(s, e)| matches!(text[*s], b' ' | b'\t') || matches!(text[e - 1], b' ' | b'\t')).count();
    let all = inner().count();
    all > 0 && blank * 10 >= all * 9
}

struct View<'a> {
    text: &'a [u8],
    dialect: &'a Dialect,
}

impl<'a> View<'a> {
    fn cell(&self, record: &Record, column: usize) -> &'a [u8] {
        record.fields.get(column).map_or(&[][..], |(s, e)| unquoted(self.text[*s..*e].trim_ascii(), self.dialect).trim_ascii())
    }

    fn filled(&self, record: &Record) -> usize {
        (0..record.fields.len()).filter(|c| !self.cell(record, *c).is_empty()).count()
    }

    fn table(&self, found: &Records, comment: Option<String>, trim: bool) -> Table {
        let all = &found.all;
        let (width, _) = usual_width(all);
        let start = self.start(all, width);
        let behind = if found.complete { self.behind(&all[start..], width) } else { 0 };
        let body = &all[start..all.len() - behind];
        let told = self.columns_told(body, width);
        let (header, header_told) = self.header(body, width, &told);
        let data = &body[header.min(body.len())..];
        let nulls = self.nulls(data, width);
        let decimal_comma = self.dialect.delimiter != b"," && self.decimal_comma(data, width);
        let footer_count = if behind > 0 { all.last().and_then(|last| self.count_in(last, data.len())) } else { None };
        Table {
            comment,
            trim,
            skip: if start > 0 { all[start].line } else { 0 },
            header,
            header_told,
            footer: found.complete.then_some(behind),
            footer_count,
            columns: width,
            rows: data.len(),
            too_short: data.iter().filter(|r| !r.bad && r.fields.len() < width).count(),
            too_long: data.iter().filter(|r| !r.bad && r.fields.len() > width).count(),
            bad_quotes: data.iter().filter(|r| r.bad).count(),
            nulls,
            decimal_comma,
        }
    }

    /// The first record of the table: of the usual width, and not all but empty where what follows is full.
    fn start(&self, all: &[Record], width: usize) -> usize {
        let fits = |r: &Record| r.fields.len() == width && !r.bad;
        let even = (0..all.len().min(MOST_BEFORE)).find(|n| fits(&all[*n]) && all.get(n + 1).is_none_or(fits)).unwrap_or(0);
        let sparse = |r: &Record| width >= 3 && self.filled(r) <= 1;
        let usual = all[even..].iter().filter(|r| fits(r) && !sparse(r)).count();
        let skipped = all[even..].iter().take(MOST_BEFORE).take_while(|r| fits(r) && sparse(r)).count();
        if usual > skipped { even + skipped } else { even }
    }

    /// Rows at the end that are none of the table's.
    fn behind(&self, all: &[Record], width: usize) -> usize {
        let odd = |r: &Record| {
            let first = String::from_utf8_lossy(self.cell(r, 0)).to_ascii_lowercase();
            r.fields.len() != width || TRAILERS.contains(&first.trim_end_matches([':', '.']))
        };
        let n = all.iter().rev().take(MOST_BEHIND + 1).take_while(|r| !r.bad && odd(r)).count();
        if n <= MOST_BEHIND && n + 2 <= all.len() { n } else { 0 }
    }

    /// Which columns are numbers or times below their first rows.
    fn columns_told(&self, body: &[Record], width: usize) -> Vec<bool> {
        let rest = body.get(MOST_HEADERS.min(body.len() / 2)..).unwrap_or_default();
        (0..width)
            .map(|c| {
                let values = || rest.iter().filter(|r| r.fields.len() == width).map(|r| self.cell(r, c)).filter(|v| !v.is_empty() && !is_nothing(v));
                let typed = values().filter(|v| is_number_or_time(v)).count();
                typed > 0 && typed * 10 >= values().count() * 9
            })
            .collect()
    }

    /// Header rows, and whether the values tell.
    fn header(&self, body: &[Record], width: usize, told: &[bool]) -> (usize, bool) {
        let typed: Vec<usize> = (0..width).filter(|c| told[*c]).collect();
        if !typed.is_empty() {
            // A row of names has no number where numbers are; one that has is data.
            let is_names = |r: &Record| {
                let values = typed.iter().map(|c| self.cell(r, *c)).filter(|v| !v.is_empty());
                let (data, names): (Vec<_>, Vec<_>) = values.partition(|v| is_number_or_time(v) || is_nothing(v));
                names.len() > data.len()
            };
            let rows = body.iter().take(MOST_HEADERS).take_while(|r| is_names(r)).count();
            // Nothing but names: there is no data to tell them from.
            return (if rows == body.len() { rows.min(1) } else { rows }, true);
        }
        let Some(first) = body.first() else { return (1, false) };
        let names: Vec<&[u8]> = (0..first.fields.len()).map(|c| self.cell(first, c)).collect();
        let unique = names.iter().enumerate().all(|(n, name)| !name.is_empty() && !names[..n].contains(name));
        let again = body[1..].iter().any(|r| (0..width).any(|c| self.cell(r, c) == names.get(c).copied().unwrap_or_default()));
        let short = names.iter().all(|n| n.len() <= 64 && !is_number_or_time(n));
        (usize::from(unique && short && !again), false)
    }

    /// Words for nothing, in columns that are numbers and times but for them.
    fn nulls(&self, data: &[Record], width: usize) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for c in 0..width {
            let values = || data.iter().filter(|r| r.fields.len() == width).map(|r| self.cell(r, c)).filter(|v| !v.is_empty());
            let (mut typed, mut other, mut words) = (0, 0, Vec::new());
            for value in values() {
                if is_nothing(value) {
                    words.push(String::from_utf8_lossy(value).into_owned());
                } else if is_number_or_time(value) {
                    typed += 1;
                } else {
                    other += 1;
                }
            }
            let certain = |w: &str| matches!(w, "NULL" | "\\N" | "#N/A");
            found.extend(words.into_iter().filter(|w| (typed > 0 && other == 0) || certain(w)));
        }
        found.sort();
        found.dedup();
        found
    }

    /// Whether there are numbers with a decimal comma, and none with a point.
    fn decimal_comma(&self, data: &[Record], width: usize) -> bool {
        let number = |v: &[u8], mark: u8| {
            let v = v.strip_prefix(b"-").unwrap_or(v);
            let mut parts = v.split(|b| *b == mark);
            let digits = |p: Option<&[u8]>| p.is_some_and(|p| !p.is_empty() && p.iter().all(u8::is_ascii_digit));
            digits(parts.next()) && digits(parts.next()) && parts.next().is_none()
        };
        let column = |c: usize| {
            let values = || data.iter().filter(|r| r.fields.len() == width).map(|r| self.cell(r, c)).filter(|v| !v.is_empty() && !is_nothing(v));
            let commas = values().filter(|v| number(v, b',')).count();
            let whole = values().filter(|v| v.strip_prefix(b"-").unwrap_or(v).iter().all(u8::is_ascii_digit)).count();
            commas > 0 && commas + whole == values().count()
        };
        let points = data.iter().any(|r| (0..width).any(|c| number(self.cell(r, c), b'.')));
        !points && (0..width).any(column)
    }

    /// The field of a footer row that has the number of rows.
    fn count_in(&self, footer: &Record, rows: usize) -> Option<usize> {
        let is_count = |c: &usize| std::str::from_utf8(self.cell(footer, *c)).ok().and_then(|t| t.parse().ok()) == Some(rows);
        (0..footer.fields.len()).find(is_count).map(|c| c + 1)
    }
}

fn is_nothing(value: &[u8]) -> bool {
    NOTHING.iter().any(|n| n.as_bytes() == value)
}
