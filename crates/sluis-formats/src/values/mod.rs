//! Text to typed values: the room every text format (CSV, JSON strings, fixed width) and every cast from text shares.
//!
//! Pure functions from bytes to a value or nothing. Deliberately not here: null markers, quotes, columns, builders.
//! Guarantees: no value is rounded, wrapped or cut silently, but for fractions of a second finer than a microsecond, which are cut.

pub mod format;
pub mod guess;
pub mod numbers;
pub mod pattern;
pub mod time;

use std::fmt::Write as _;

use arrow_schema::{DataType, TimeUnit};

pub use pattern::Pattern;

/// What a text column is parsed as.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Bool(BoolWords),
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    /// Precision and scale.
    Decimal(u8, i8),
    Text,
    Binary,
    Date(Option<Pattern>),
    /// The pattern, and the zone of the column's type: values without an offset are taken as UTC.
    Timestamp(Option<Pattern>, Option<std::sync::Arc<str>>),
}

impl Kind {
    /// The kind for an Arrow type; `None` for types that text columns cannot be parsed to directly (nested ones).
    pub fn of(data_type: &DataType, pattern: Option<&Pattern>, words: &BoolWords) -> Option<Kind> {
        Some(match data_type {
            DataType::Boolean => Kind::Bool(words.clone()),
            DataType::Int8 => Kind::Int8,
            DataType::Int16 => Kind::Int16,
            DataType::Int32 => Kind::Int32,
            DataType::Int64 => Kind::Int64,
            DataType::Float32 => Kind::Float32,
            DataType::Float64 => Kind::Float64,
            DataType::Decimal128(p, s) if *s >= 0 => Kind::Decimal(*p, *s),
            DataType::Utf8 => Kind::Text,
            DataType::Binary => Kind::Binary,
            DataType::Date32 => Kind::Date(pattern.cloned()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => Kind::Timestamp(pattern.cloned(), zone.clone()),
            _ => return None,
        })
    }

    /// The Arrow type of the column it makes.
    pub fn data_type(&self) -> DataType {
        match self {
            Kind::Bool(_) => DataType::Boolean,
            Kind::Int8 => DataType::Int8,
            Kind::Int16 => DataType::Int16,
            Kind::Int32 => DataType::Int32,
            Kind::Int64 => DataType::Int64,
            Kind::Float32 => DataType::Float32,
            Kind::Float64 => DataType::Float64,
            Kind::Decimal(p, s) => DataType::Decimal128(*p, *s),
            Kind::Text => DataType::Utf8,
            Kind::Binary => DataType::Binary,
            Kind::Date(_) => DataType::Date32,
            Kind::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        }
    }

    /// Whether a text that is not null is a value of this kind.
    pub fn holds(&self, raw: &[u8], point: u8) -> bool {
        match self {
            Kind::Bool(words) => words.parse(raw).is_some(),
            Kind::Int8 => numbers::int64(raw).is_some_and(|v| i8::try_from(v).is_ok()),
            Kind::Int16 => numbers::int64(raw).is_some_and(|v| i16::try_from(v).is_ok()),
            Kind::Int32 => numbers::int64(raw).is_some_and(|v| i32::try_from(v).is_ok()),
            Kind::Int64 => numbers::int64(raw).is_some(),
            Kind::Float32 | Kind::Float64 => numbers::float64(raw, point).is_some(),
            Kind::Decimal(p, s) => numbers::decimal(raw, *p, *s, point).is_some(),
            Kind::Text | Kind::Binary => true,
            Kind::Date(None) => time::date(raw).is_some(),
            Kind::Date(Some(p)) => p.date(raw).is_some(),
            Kind::Timestamp(None, _) => time::timestamp(raw).is_some(),
            Kind::Timestamp(Some(p), _) => p.timestamp(raw).is_some(),
        }
    }

    /// Why a text is not a value of this kind: one sentence for people, with the text cut to a readable length.
    pub fn complaint(&self, raw: &[u8]) -> String {
        let mut out = String::with_capacity(48 + raw.len().min(60));
        out.push('`');
        push_excerpt(&mut out, raw);
        out.push_str("` is no ");
        match self {
            Kind::Bool(words) => {
                out.push_str("bool: one of ");
                out.push_str(&words.describe());
            }
            Kind::Date(Some(p)) => {
                out.push_str("date of the form ");
                out.push_str(p.text());
            }
            Kind::Timestamp(Some(p), _) => {
                out.push_str("timestamp of the form ");
                out.push_str(p.text());
            }
            Kind::Decimal(p, s) => {
                let _ = write!(out, "decimal({p},{s})");
                if numbers::decimal(raw, 38, 0, b'.').is_some() || numbers::is_decimal(raw) {
                    let _ = write!(out, ": at most {} digits before the point and {s} after it", i16::from(*p) - i16::from(*s));
                }
            }
            Kind::Int8 | Kind::Int16 | Kind::Int32 | Kind::Int64 if numbers::is_integer(raw) => {
                out.push_str(self.name());
                out.push_str(": it is out of range");
            }
            _ => out.push_str(self.name()),
        }
        out
    }

    /// The type's name in pipelines.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Bool(_) => "bool",
            Kind::Int8 => "tinyint",
            Kind::Int16 => "smallint",
            Kind::Int32 => "int",
            Kind::Int64 => "bigint",
            Kind::Float32 => "float",
            Kind::Float64 => "double",
            Kind::Decimal(..) => "decimal",
            Kind::Text => "string",
            Kind::Binary => "binary",
            Kind::Date(_) => "date",
            Kind::Timestamp(_, None) => "timestamp",
            Kind::Timestamp(_, Some(_)) => "timestamptz",
        }
    }
}

/// Puts at most 60 bytes of `raw` into `out`, readable: invalid and control bytes as escapes.
pub fn push_excerpt(out: &mut String, raw: &[u8]) {
    const SHOWN: usize = 60;
    let cut = &raw[..raw.len().min(SHOWN)];
    match std::str::from_utf8(cut) {
        Ok(text) if !text.bytes().any(|b| b.is_ascii_control()) => out.push_str(text),
        _ => {
            for chunk in cut.utf8_chunks() {
                chunk.valid().chars().for_each(|c| if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) });
                // A character cut in two by the limit is not worth an escape.
                if chunk.valid().len() + chunk.invalid().len() < cut.len() || raw.len() <= SHOWN {
                    chunk.invalid().iter().for_each(|b| out.push_str(&format!("\\x{b:02x}")));
                }
            }
        }
    }
    if raw.len() > SHOWN {
        out.push('…');
    }
}

/// The words that mean true and false, compared without regard to ASCII case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoolWords(Vec<(Vec<u8>, bool)>);

/// The words that mean true by default.
pub const TRUE_WORDS: [&str; 5] = ["true", "t", "yes", "y", "1"];
/// The words that mean false by default.
pub const FALSE_WORDS: [&str; 5] = ["false", "f", "no", "n", "0"];

impl Default for BoolWords {
    fn default() -> Self {
        Self::new(&TRUE_WORDS, &FALSE_WORDS)
    }
}

impl BoolWords {
    /// These words. The first of both lists should be the most frequent.
    pub fn new<S: AsRef<str>>(yes: &[S], no: &[S]) -> Self {
        let mut words = Vec::new();
        for i in 0..yes.len().max(no.len()) {
            words.extend(yes.get(i).map(|w| (w.as_ref().as_bytes().to_vec(), true)));
            words.extend(no.get(i).map(|w| (w.as_ref().as_bytes().to_vec(), false)));
        }
        Self(words)
    }

    /// Reads a word.
    #[inline]
    pub fn parse(&self, raw: &[u8]) -> Option<bool> {
        self.0.iter().find(|(w, _)| w == raw || w.eq_ignore_ascii_case(raw)).map(|(_, v)| *v)
    }

    fn describe(&self) -> String {
        self.0.iter().map(|(w, _)| String::from_utf8_lossy(w)).collect::<Vec<_>>().join(", ")
    }
}
