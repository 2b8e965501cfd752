//! What the columns of one file are: names from its header or the configuration, types from the pinned schema.
//!
//! Deliberately not here: bytes of data. Guarantees: names are unique and never empty; no column of a file is dropped.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;

use sluis_core::Misfits;

use super::config::{Ragged, Reading};
use super::dialect::Dialect;
use super::frame::Opening;
use super::repair::{self, Habit, Rules};
use crate::values::Kind;

/// Everything a block of the file needs to be decoded.
#[derive(Debug)]
pub struct Layout {
    pub dialect: Arc<Dialect>,
    pub kinds: Vec<Kind>,
    pub schema: SchemaRef,
    pub nulls: Nulls,
    pub ragged: Ragged,
    /// What separates whole and fraction in numbers.
    pub point: u8,
    pub keep_origins: bool,
    /// Columns whose bad values are told; empty: none.
    pub told: Vec<bool>,
    /// Whole numbers that a column of `double` cannot hold are told, too.
    pub exact: bool,
    /// What the values of the columns usually are; empty where no row is put right.
    pub habits: Vec<Habit>,
    /// Numbers of the fields whose own names columns have (`ragged: rescue`).
    pub numbered: HashSet<usize>,
}

/// The names of a file's columns.
pub fn names(reading: &Reading, dialect: &Dialect, opening: &Opening) -> Vec<String> {
    let mut names: Vec<String> = if reading.header > 0 {
        let last = header_fields(reading, dialect, opening);
        let mut names: Vec<String> = last.iter().map(|raw| header_name(raw, dialect)).collect();
        given(reading, &mut names, opening.width);
        if by_position(reading, &names, opening.width) { declared(reading) } else { spelled_as_declared(reading, names) }
    } else if !reading.names.is_empty() {
        reading.names.clone()
    } else if !reading.declared.is_empty() {
        declared(reading)
    } else {
        vec![String::new(); opening.width.unwrap_or(0)]
    };
    make_unique(&mut names);
    names
}

/// The fields of the last header record. It may be spoilt, too: then most rows say how many fields it should have.
fn header_fields(reading: &Reading, dialect: &Dialect, opening: &Opening) -> Vec<Bytes> {
    let last = opening.header.get(reading.header - 1).cloned().unwrap_or_default();
    let width = opening.width.filter(|w| *w != last.len() && reading.names.is_empty() && reading.ragged == Ragged::Repair);
    let rules = Rules { quotes: dialect.lenient, pad: false, repair: true };
    match width.and_then(|w| repair::read(&opening.raw, dialect, Some(w), rules, &[])) {
        Some(fields) => fields.into_iter().map(|(start, end)| opening.raw.slice(start..end)).collect(),
        None => last,
    }
}

/// The names that are given take the place of the header's, which may be a broken one: the first row says whether more columns follow.
fn given(reading: &Reading, names: &mut Vec<String>, width: Option<usize>) {
    let given = &reading.names;
    if names.len() < given.len() || (!given.is_empty() && width == Some(given.len())) {
        names.clone_from(given);
    } else {
        names.iter_mut().zip(given).for_each(|(name, given)| name.clone_from(given));
    }
}

fn declared(reading: &Reading) -> Vec<String> {
    reading.declared.iter().map(|d| d.name.clone()).collect()
}

/// Letters' case and blanks around a name do not keep it from being the declared one.
fn alike(a: &str, b: &str) -> bool {
    a.trim().to_lowercase() == b.trim().to_lowercase()
}

/// Whether the header is no list of names but a record about the file (`HDR|20240101`), or titles: it has none of the declared names, and
/// it is as long as the declared columns are many, or it is no header of the first row. Then the declared columns are all there are, in
/// their order.
fn by_position(reading: &Reading, names: &[String], width: Option<usize>) -> bool {
    let columns = reading.declared.len();
    // Titles, or a record as long as a row; a single column that is called otherwise is another column.
    let as_long = names.len() == columns && columns > 1;
    let fits = as_long || width.is_none_or(|w| w != names.len() && (w == columns || columns > names.len()));
    columns > 0 && reading.names.is_empty() && fits && !names.iter().any(|n| reading.declared.iter().any(|d| alike(&d.name, n)))
}

/// A header's name that differs from a declared one only in case, or in blanks around it, is that one, unless the declared one itself, or
/// another that is like it, is there too.
fn spelled_as_declared(reading: &Reading, mut names: Vec<String>) -> Vec<String> {
    for column in &reading.declared {
        let mut like = names.iter_mut().filter(|n| alike(n, &column.name));
        if let (Some(only), None) = (like.next(), like.next()) {
            only.clone_from(&column.name);
        }
    }
    names
}

fn header_name(raw: &[u8], dialect: &Dialect) -> String {
    let text = String::from_utf8_lossy(raw);
    let text = if dialect.trim { text.trim_matches([' ', '\t']) } else { &text };
    match dialect.quote {
        Some(q) if text.len() >= 2 && text.as_bytes()[0] == q && text.ends_with(char::from(q)) => {
            let mut name = Vec::new();
            super::decode::unescape(&text.as_bytes()[1..text.len() - 1], dialect, true, &mut name);
            String::from_utf8_lossy(&name).into_owned()
        }
        _ => text.to_owned(),
    }
}

/// Empty names become `c<number>`; the second of a name becomes `name_2` and so on.
pub fn make_unique(names: &mut [String]) {
    let mut taken: HashSet<String> = names.iter().filter(|n| !n.is_empty()).cloned().collect();
    let mut seen: HashSet<String> = HashSet::with_capacity(names.len());
    for (i, slot) in names.iter_mut().enumerate() {
        if slot.is_empty() {
            *slot = format!("c{}", i + 1);
            if taken.insert(slot.clone()) {
                seen.insert(slot.clone());
                continue;
            }
        } else if seen.insert(slot.clone()) {
            continue;
        }
        let fresh = (2_usize..).map(|n| format!("{slot}_{n}")).find(|name| !taken.contains(name)).unwrap_or_default();
        taken.insert(fresh.clone());
        seen.insert(fresh.clone());
        *slot = fresh;
    }
}

impl Layout {
    /// Tells the values that are asked for.
    #[must_use]
    pub fn telling(mut self, misfits: &Misfits) -> Self {
        if *misfits != Misfits::Reject {
            self.told = self.schema.fields().iter().map(|f| misfits.told(f.name())).collect();
            self.exact = misfits.exact();
        }
        self
    }

    /// The layout of a file with these columns, read with the types of `schema`; what `schema` lacks is text.
    pub fn new(reading: &Reading, dialect: Arc<Dialect>, names: &[String], schema: &Schema, keep_origins: bool) -> Self {
        let types: HashMap<&str, &DataType> = schema.fields().iter().map(|f| (f.name().as_str(), f.data_type())).collect();
        let kinds: Vec<Kind> = names.iter().map(|n| types.get(n.as_str()).map_or(Kind::Text, |t| reading.kind(n, t))).collect();
        let fields: Vec<Field> = names.iter().zip(&kinds).map(|(n, k)| Field::new(n, k.data_type(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        Self {
            numbered: if reading.ragged == Ragged::Rescue { super::surplus::numbered(&schema) } else { HashSet::new() },
            dialect,
            kinds,
            schema,
            nulls: Nulls::new(&reading.nulls),
            ragged: reading.ragged,
            point: reading.point,
            keep_origins,
            told: Vec::new(),
            exact: false,
            habits: Vec::new(),
        }
    }

    /// Learns what the columns hold from the beginning of the data, which is all of it if `whole`, so that rows can be put right.
    pub fn learn(&mut self, head: &[u8], whole: bool) {
        if self.ragged == Ragged::Repair || self.dialect.lenient {
            self.habits = repair::learn(head, whole, &self.dialect, self.kinds.len());
        }
    }

    /// How a record is read that breaks the rules.
    pub fn rules(&self) -> Rules {
        Rules { quotes: self.dialect.lenient, pad: self.ragged != Ragged::Reject, repair: self.ragged == Ragged::Repair }
    }
}

/// Texts that mean null.
#[derive(Debug, Clone)]
pub struct Nulls {
    /// The empty field is one.
    pub empty: bool,
    /// The others.
    words: Vec<Vec<u8>>,
    /// Bit `n` is set if a word of `n` bytes is there; bit 63 also for longer ones.
    lengths: u64,
}

impl Nulls {
    pub fn new(markers: &[Vec<u8>]) -> Self {
        let words: Vec<Vec<u8>> = markers.iter().filter(|m| !m.is_empty()).cloned().collect();
        Self { empty: markers.iter().any(Vec::is_empty), lengths: words.iter().fold(0, |bits, w| bits | 1 << w.len().min(63)), words }
    }
    /// Whether there is any but the empty one.
    pub fn has_words(&self) -> bool {
        self.lengths != 0
    }
    /// Whether a text that is not empty means null.
    #[inline(always)]
    pub fn is_word(&self, raw: &[u8]) -> bool {
        self.lengths & 1 << raw.len().min(63) != 0 && self.words.iter().any(|w| w == raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_nothing_is_dropped() {
        let unique = |names: &[&str]| {
            let mut names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            make_unique(&mut names);
            names.join(" ")
        };
        assert_eq!(unique(&["a", "b", "a", "a"]), "a b a_2 a_3");
        assert_eq!(unique(&["a", "a", "a_2"]), "a a_3 a_2");
        assert_eq!(unique(&["", "x", ""]), "c1 x c3");
        assert_eq!(unique(&["c2", ""]), "c2 c2_2");
        assert_eq!(unique(&["a", "A"]), "a A");
    }
}
