//! What may stand below `csv:`, for reading and for writing, and what it means.
//!
//! Deliberately not here: files, bytes. Guarantees: a [`Reading`] is valid by construction; every mistake has a sentence.

use std::borrow::Cow;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use encoding_rs::Encoding;
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use sluis_core::ByteSize;
use sluis_core::columns::parse_type;

use super::dialect::{Dialect, Newline};
use crate::compress::Compression;
use crate::values::{BoolWords, FALSE_WORDS, Kind, Pattern, TRUE_WORDS};

/// Comma-separated values and their relatives: how the files are written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CsvRead {
    /// What stands between fields; several characters are fine; `tab` for a tabulator. Default `,`.
    pub delimiter: String,
    /// The character around fields that hold delimiters or line ends; `none` if quotes mean nothing. A doubled one stands for one. Default `"`.
    pub quote: String,
    /// Reading: a character that takes the next one literally, as in `\"`. Default: none, a quote is doubled.
    pub escape: Option<String>,
    /// Reading: lines that begin with this are skipped.
    pub comment: Option<String>,
    /// Reading: `utf-8` (default), `utf-16`, `latin1`, `cp1250` … A byte order mark in the file beats it.
    pub encoding: String,
    /// Reading: what ends a line: `auto` (default), `lf` (LF and CR LF), or `any` (CR alone too).
    pub newline: NewlineChoice,
    /// How the file is compressed: `auto` (reading: by its first bytes and its name; writing: not at all), `none`, `gzip`, `zstd`.
    pub compression: Compression,
    /// Reading: lines to skip before anything else, whatever they hold.
    pub skip: u64,
    /// Reading: number of header rows; the last one has the names. A header that has none of the names in `columns`, before rows of as many
    /// fields as `columns` has, is no list of names but a record about the file: then `columns` are all the columns, by position.
    /// `true` is 1, `false` is 0. Default 1. Writing: whether to write one.
    pub header: Header,
    /// Reading: number of rows at the end of the file that are no data.
    pub footer: u64,
    /// Reading: names of the columns, by position; they take the place of the header's.
    pub names: Vec<String>,
    /// Reading: types of columns by name, as in `{ id: bigint, at: "timestamp(%Y%m%d)" }`; what is not named is inferred. Without a header
    /// and `names` these are all the columns, by position. A name in a header may differ in upper and lower case. `string` alone: every column is text, nothing is inferred.
    /// A timestamp with an offset is read as UTC; a fraction finer than a microsecond is cut. An empty field is null in every column but text.
    pub columns: Columns,
    /// Reading: texts that mean null; quoted ones do not in text columns. Default: the empty field.
    pub nulls: Vec<String>,
    /// Reading: words that mean true; any case. Default: true, t, yes, y, 1.
    pub true_words: Vec<String>,
    /// Reading: words that mean false; any case. Default: false, f, no, n, 0.
    pub false_words: Vec<String>,
    /// Reading: blanks and tabs around fields are no part of them. Default false. Around numbers, dates and bools they never are.
    pub trim: bool,
    /// Reading: what becomes of rows with too few or too many fields.
    pub ragged: Ragged,
    /// Reading: what separates the whole from the fraction in numbers: `.` (default) or `,`.
    pub decimal: String,
    /// Reading: rows longer than this are rejected. Default 16MiB.
    pub max_row: ByteSize,
}

impl Default for CsvRead {
    fn default() -> Self {
        let own = |words: [&str; 5]| words.map(str::to_owned).to_vec();
        Self {
            delimiter: ",".into(),
            quote: "\"".into(),
            escape: None,
            comment: None,
            encoding: "utf-8".into(),
            newline: NewlineChoice::Auto,
            compression: Compression::Auto,
            skip: 0,
            header: Header(1),
            footer: 0,
            names: Vec::new(),
            columns: Columns::Typed(Vec::new()),
            nulls: vec![String::new()],
            true_words: own(TRUE_WORDS),
            false_words: own(FALSE_WORDS),
            trim: false,
            ragged: Ragged::Reject,
            decimal: ".".into(),
            max_row: ByteSize(16 << 20),
        }
    }
}

/// How CSV files are written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CsvWrite {
    /// What stands between fields; `tab` for a tabulator. Default `,`.
    pub delimiter: String,
    /// The character around fields that hold delimiters, quotes or line ends; doubled within. Default `"`.
    pub quote: String,
    /// Writing: which fields are quoted: `needed` (default) or `all`.
    pub quoting: Quoting,
    /// Whether the first row has the names. Default true.
    pub header: bool,
    /// Writing: what stands for null. Default: the empty field; then an empty text is written quoted.
    pub null: String,
    /// How the file is compressed: `none` (default), `gzip`, `zstd`.
    pub compression: Compression,
}

impl Default for CsvWrite {
    fn default() -> Self {
        Self {
            delimiter: ",".into(),
            quote: "\"".into(),
            quoting: Quoting::Needed,
            header: true,
            null: String::new(),
            compression: Compression::None,
        }
    }
}

/// Which fields are written in quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Quoting {
    /// Those that would be read wrongly without.
    Needed,
    /// All that are not null.
    All,
}

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NewlineChoice {
    /// As the file's first line ends.
    Auto,
    /// LF, or CR LF.
    Lf,
    /// LF, CR LF or CR, mixed as they come.
    Any,
}

/// What becomes of rows with too few or too many fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ragged {
    /// They are rejected. The default.
    Reject,
    /// Missing fields are null; surplus fields that are empty are dropped; other surplus is rejected.
    Pad,
}

/// Number of header rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header(pub usize);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Is(bool),
            Rows(u32),
        }
        Ok(match Form::deserialize(d).map_err(|_| de::Error::custom("`header` is a number of rows, true or false"))? {
            Form::Is(b) => Header(usize::from(b)),
            Form::Rows(n) => Header(n as usize),
        })
    }
}

impl JsonSchema for Header {
    fn schema_name() -> Cow<'static, str> {
        "Header".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({ "type": ["integer", "boolean"], "minimum": 0 })
    }
}

impl Serialize for Header {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(self.0 as u64)
    }
}

/// Types of columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Columns {
    /// By name, in order; types as written.
    Typed(Vec<(String, String)>),
    /// One type for all.
    All(String),
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Columns;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of column names to types, or the word `string`")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Columns, E> {
                Ok(Columns::All(v.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns, A::Error> {
                let mut columns = Vec::new();
                while let Some(entry) = map.next_entry::<String, String>()? {
                    columns.push(entry);
                }
                Ok(Columns::Typed(columns))
            }
        }
        d.deserialize_any(Either)
    }
}

impl Serialize for Columns {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Columns::All(t) => s.serialize_str(t),
            Columns::Typed(columns) => s.collect_map(columns.iter().map(|(n, t)| (n, t))),
        }
    }
}

impl JsonSchema for Columns {
    fn schema_name() -> Cow<'static, str> {
        "Columns".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({ "oneOf": [
            { "type": "object", "additionalProperties": { "type": "string", "format": "sluis-type" } },
            { "type": "string", "enum": ["string"] }
        ] })
    }
}

/// A mistake: the keys it is about, and a sentence.
pub type Mistake = (Vec<String>, String);

/// A declared column.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    pub name: String,
    pub kind: Kind,
}

/// How to read, valid.
#[derive(Debug, Clone)]
pub struct Reading {
    /// With `newline` as configured, or [`Newline::Lf`] until it has been found out.
    pub dialect: Dialect,
    /// `None` = find out.
    pub newline: Option<Newline>,
    pub encoding: &'static Encoding,
    pub compression: Compression,
    pub skip: u64,
    pub header: usize,
    pub footer: usize,
    pub names: Vec<String>,
    pub declared: Vec<Declared>,
    /// Every column is text.
    pub all_text: bool,
    pub nulls: Vec<Vec<u8>>,
    pub words: BoolWords,
    pub ragged: Ragged,
    /// `.` or `,`.
    pub point: u8,
}

impl Reading {
    /// Checks a configuration.
    ///
    /// # Errors
    /// Every mistake.
    pub fn new(c: &CsvRead) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut mistake = |at: &[&str], message: String| mistakes.push((at.iter().map(|s| (*s).to_owned()).collect(), message));
        let delimiter = delimiter(&c.delimiter).unwrap_or_else(|e| {
            mistake(&["delimiter"], e);
            vec![b',']
        });
        let quote = quote(&c.quote).unwrap_or_else(|e| {
            mistake(&["quote"], e);
            None
        });
        let escape = match c.escape.as_deref() {
            None => None,
            Some(text) => one_byte(text).or_else(|| {
                mistake(&["escape"], format!("`{text}`: write one ASCII character, as in `\\`"));
                None
            }),
        };
        for (key, byte) in [("quote", quote), ("escape", escape)] {
            if byte.is_some_and(|b| delimiter.contains(&b)) {
                mistake(&[key], format!("`{key}` and `delimiter` must differ"));
            }
        }
        if c.comment.as_deref() == Some("") {
            mistake(&["comment"], "write what comment lines begin with, as in `#`".into());
        }
        let encoding = crate::text::encoding(&c.encoding).unwrap_or_else(|e| {
            mistake(&["encoding"], e);
            encoding_rs::UTF_8
        });
        let point = match c.decimal.as_str() {
            "," => b',',
            "." => b'.',
            other => {
                mistake(&["decimal"], format!("`{other}`: write `.` or `,`"));
                b'.'
            }
        };
        if !(1024..=1 << 30).contains(&c.max_row.0) {
            mistake(&["max_row"], "between 1KiB and 1GiB".into());
        }
        if c.footer > 1_000_000 {
            mistake(&["footer"], "at most 1000000 rows".into());
        }
        let words = BoolWords::new(&c.true_words, &c.false_words);
        if let Some(both) = c.true_words.iter().find(|w| c.false_words.iter().any(|n| n.eq_ignore_ascii_case(w))) {
            mistake(&["true_words"], format!("`{both}` cannot mean true and false"));
        }
        if let Some(twice) = c.names.iter().enumerate().find(|(n, name)| c.names[..*n].contains(name)).map(|(_, name)| name) {
            mistake(&["names"], format!("`{twice}` is there twice"));
        }
        let (mut declared, mut all_text) = (Vec::new(), false);
        match &c.columns {
            Columns::All(t) if parse_type(t) == Ok((DataType::Utf8, None)) => all_text = true,
            Columns::All(t) => mistake(&["columns"], format!("`{t}`: write `string`, or a map of names to types")),
            Columns::Typed(columns) => {
                for (name, text) in columns {
                    match column_kind(text, &words) {
                        Ok(kind) => declared.push(Declared { name: name.clone(), kind }),
                        Err(e) => mistake(&["columns", name], e),
                    }
                }
            }
        }
        let positional = c.header.0 == 0 && !c.names.is_empty();
        if let Some(lost) = declared.iter().find(|d| positional && !c.names.contains(&d.name)) {
            mistake(&["columns", &lost.name], format!("`{}` is not among `names`, and the files have no header", lost.name));
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let newline = match c.newline {
            NewlineChoice::Auto => None,
            NewlineChoice::Lf => Some(Newline::Lf),
            NewlineChoice::Any => Some(Newline::Any),
        };
        let dialect = Dialect {
            delimiter,
            quote,
            escape: escape.filter(|e| Some(*e) != quote),
            comment: c.comment.as_ref().map(|t| t.clone().into_bytes()),
            trim: c.trim,
            newline: newline.unwrap_or(Newline::Lf),
            max_row: c.max_row.0 as usize,
        };
        Ok(Self {
            dialect,
            newline,
            encoding,
            compression: c.compression,
            skip: c.skip,
            header: c.header.0,
            footer: c.footer as usize,
            names: c.names.clone(),
            declared,
            all_text,
            nulls: c.nulls.iter().map(|n| n.clone().into_bytes()).collect(),
            words,
            ragged: c.ragged,
            point,
        })
    }

    /// The declared columns as a schema.
    pub fn declared_schema(&self) -> SchemaRef {
        Schema::new(self.declared.iter().map(|d| Field::new(&d.name, d.kind.data_type(), true)).collect::<Vec<_>>()).into()
    }

    /// The kind a column is parsed as: as declared, else as the schema's type says with no pattern.
    pub fn kind(&self, name: &str, data_type: &DataType) -> Kind {
        let pattern = self.declared.iter().find(|d| d.name == name).and_then(|d| match &d.kind {
            Kind::Date(p) | Kind::Timestamp(p, _) => p.as_ref(),
            _ => None,
        });
        Kind::of(data_type, pattern, &self.words).unwrap_or(Kind::Text)
    }
}

/// The kind a type in `columns:` means, with its pattern compiled.
fn column_kind(text: &str, words: &BoolWords) -> Result<Kind, String> {
    let (data_type, pattern) = parse_type(text)?;
    let pattern = pattern.map(|p| Pattern::new(&p)).transpose()?;
    Kind::of(&data_type, pattern.as_ref(), words).ok_or_else(|| format!("a CSV column cannot be of type `{text}`"))
}

/// The delimiter's bytes.
pub fn delimiter(text: &str) -> Result<Vec<u8>, String> {
    let bytes = match text {
        "tab" | "\\t" => b"\t".to_vec(),
        other => other.as_bytes().to_vec(),
    };
    if bytes.is_empty() {
        return Err("the delimiter is empty: write one or more characters, as in `;` or `tab`".into());
    }
    if bytes.iter().any(|b| matches!(b, b'\n' | b'\r')) {
        return Err("a line end cannot be the delimiter".into());
    }
    Ok(bytes)
}

/// The quote's byte, or none.
pub fn quote(text: &str) -> Result<Option<u8>, String> {
    match text {
        "" | "none" => Ok(None),
        other => one_byte(other).map(Some).ok_or_else(|| format!("`{other}`: write one ASCII character, or `none`")),
    }
}

/// The byte of one ASCII character that is no line end.
fn one_byte(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [b] if b.is_ascii() && !matches!(b, b'\n' | b'\r') => Some(*b),
        _ => None,
    }
}
