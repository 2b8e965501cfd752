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

use super::dialect::{Dialect, Newline, Terminator};
use super::frame::Framer;
use crate::compress::Compression;
use crate::values::{BoolWords, FALSE_WORDS, Kind, Pattern, TRUE_WORDS};

/// Comma-separated values and their relatives: how the files are written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CsvRead {
    /// What stands between fields; several characters are fine; `tab` for a tabulator, `none` if nothing does (each record is one field).
    /// Reading: `auto` finds delimiter, quote and escape in the beginning of each file, always the same for the same bytes; then `quote` and
    /// `escape` must not be given. Default `,`.
    pub delimiter: String,
    /// The character around fields that hold delimiters or line ends; `none` if quotes mean nothing. A doubled one stands for one. Default `"`.
    pub quote: String,
    /// Reading: a character that takes the next one literally, as in `\"`; `none`, the default: a quote is doubled.
    pub escape: Option<String>,
    /// Reading: what becomes of quotes that break the rules: a field with text behind its closing quote, or without one.
    pub quotes: Quotes,
    /// Reading: lines that begin with this are skipped. Default `none`.
    pub comment: Option<String>,
    /// Reading: `utf-8` (default), `utf-16`, `latin1`, `cp1250` … A byte order mark in the file beats it.
    pub encoding: String,
    /// Reading: what ends a record: `auto` (default: as the file's first line ends), `lf` (LF and CR LF), `any` (LF, CR LF and CR, mixed as they come),
    /// `crlf` (nothing else: a lone LF or CR is text), `cr` (likewise), or another text of up to 8 characters, as in `"\x1e"` or `";;"`; then LF and CR are text.
    /// A text that begins as it ends, as `";;"` does, cannot be used with `escape`.
    pub newline: NewlineChoice,
    /// How the file is compressed: `auto` (reading: by its first bytes and its name; writing: not at all), `none`, `gzip`, `bzip2`, `zstd`, `xz`, `lz4`, `snappy`.
    pub compression: Compression,
    /// Reading: lines to skip before anything else, whatever they hold.
    pub skip: u64,
    /// Reading: number of header rows; the last one has the names. A header that has none of the names in `columns`, before rows of as many
    /// fields as `columns` has, is no list of names but a record about the file: then `columns` are all the columns, by position.
    /// `true` is 1, `false` is 0. Default 1. Writing: whether to write one.
    pub header: Header,
    /// Reading: number of rows at the end of the file that are no data.
    pub footer: u64,
    /// Reading: which field of the last footer row, from 1, has the number of data rows, rejected ones included: a file that has another
    /// number of them, or no such footer, is damaged. Default: none is checked.
    pub footer_count: Option<u32>,
    /// Reading: names of the columns, by position; they take the place of the header's. A header with more names than that keeps the rest of
    /// its own, unless the first row of data has as many fields as there are names here.
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
            quotes: Quotes::Strict,
            comment: None,
            encoding: "utf-8".into(),
            newline: NewlineChoice::Auto,
            compression: Compression::Auto,
            skip: 0,
            header: Header(1),
            footer: 0,
            footer_count: None,
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
    /// How the file is compressed: `none` (default), `gzip`, `bzip2`, `zstd`, `xz`, `lz4`, `snappy`.
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

/// What becomes of quotes that break the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Quotes {
    /// The line with the quote is rejected. The default.
    Strict,
    /// A quote that cannot be one is text. Of several ways to read the line, the one with as many fields as there are columns and the fewest
    /// oddities counts; without one the line is rejected.
    Lenient,
}

/// What ends a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewlineChoice {
    /// As the file's first line ends.
    Auto,
    /// This.
    Is(Newline),
}

impl<'de> Deserialize<'de> for NewlineChoice {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Ok(Self::Is(match text.as_str() {
            "auto" => return Ok(Self::Auto),
            "lf" | "\n" | "\\n" => Newline::Lf,
            "any" => Newline::Any,
            other => {
                let bytes = match other {
                    "cr" => b"\r".to_vec(),
                    "crlf" => b"\r\n".to_vec(),
                    other => unescaped(other).map_err(de::Error::custom)?,
                };
                let terminator = Terminator::new(&bytes);
                Newline::Text(terminator.ok_or_else(|| {
                    de::Error::custom(format!("`newline` is auto, lf, crlf, cr, any, or a text of 1 to {} bytes", Terminator::MOST))
                })?)
            }
        }))
    }
}

impl JsonSchema for NewlineChoice {
    fn schema_name() -> Cow<'static, str> {
        "NewlineChoice".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

/// A text of a key with `\t`, `\n`, `\r`, `\0` and `\xNN` in it put right; any other backslash is one.
fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, next) = match (first, tail) {
            (b'\\', [b't', tail @ ..]) => (b'\t', tail),
            (b'\\', [b'n', tail @ ..]) => (b'\n', tail),
            (b'\\', [b'r', tail @ ..]) => (b'\r', tail),
            (b'\\', [b'0', tail @ ..]) => (0, tail),
            (b'\\', [b'x', a, b, tail @ ..]) => {
                let digit = |d: u8| char::from(d).to_digit(16).ok_or_else(|| format!("`{text}`: after `\\x` come two hexadecimal digits"));
                let value = digit(*a)? * 16 + digit(*b)?;
                (
                    u8::try_from(value)
                        .ok()
                        .filter(u8::is_ascii)
                        .ok_or_else(|| format!("`{text}`: write ASCII in `\\x`, other characters as they are"))?,
                    tail,
                )
            }
            _ => (*first, tail),
        };
        out.push(byte);
        rest = next;
    }
    Ok(out)
}

/// What becomes of rows with too few or too many fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ragged {
    /// They are rejected. The default.
    Reject,
    /// Missing fields are null; surplus fields that are empty are dropped; other surplus is rejected.
    Pad,
    /// Missing fields are null; surplus fields that have a value are kept as JSON in the column `_rescued`, by their place in the row:
    /// `{"c4": "text"}`; the row lands. A row with more than 10000 of them, or 1 MiB, is rejected.
    Rescue,
    /// Like `pad`, and rows with a delimiter too few or too many, or with another one, are read in the way that fits the values of the file's
    /// first rows best: an empty field is dropped, or fields that run into each other are parted. For polluted files: it guesses.
    Repair,
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
    /// Delimiter, quote and escape are found in each file.
    pub sniffed: bool,
    pub encoding: &'static Encoding,
    pub compression: Compression,
    pub skip: u64,
    pub header: usize,
    pub footer: usize,
    /// Index of the field of the last footer row that has the number of rows.
    pub footer_count: Option<usize>,
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
        let sniffed = c.delimiter == "auto";
        let delimiter = delimiter(if sniffed { "," } else { &c.delimiter }).unwrap_or_else(|e| {
            mistake(&["delimiter"], e);
            vec![b',']
        });
        let quote = quote(&c.quote).unwrap_or_else(|e| {
            mistake(&["quote"], e);
            None
        });
        let escape = match c.escape.as_deref() {
            None | Some("" | "none") => None,
            Some(text) => one_byte(text).or_else(|| {
                mistake(&["escape"], format!("`{text}`: write one ASCII character, as in `\\`, or `none`"));
                None
            }),
        };
        if sniffed && (quote != Some(b'"') || escape.is_some()) {
            mistake(&["delimiter"], "`auto` finds quote and escape, too: leave them out".into());
        }
        let newline = match c.newline {
            NewlineChoice::Auto => None,
            NewlineChoice::Is(newline) => Some(newline),
        };
        let terminator = if let Some(Newline::Text(t)) = &newline { t.text() } else { b"" };
        for (key, byte) in [("quote", quote), ("escape", escape)] {
            if byte.is_some_and(|b| delimiter.contains(&b)) {
                mistake(&[key], format!("`{key}` and `delimiter` must differ"));
            }
            if byte.is_some_and(|b| terminator.contains(&b)) {
                mistake(&[key], format!("`{key}` and `newline` must differ"));
            }
        }
        if escape.is_some() && matches!(&newline, Some(Newline::Text(t)) if t.overlaps()) {
            // What an escape takes out of `aaa` is not to be seen from where a line begins: lines could not be counted.
            mistake(&["newline"], "a text that begins as it ends cannot be used with `escape`".into());
        }
        if delimiter.iter().any(|b| terminator.contains(b)) {
            mistake(&["newline"], "`newline` and `delimiter` must not have a character in common".into());
        }
        if sniffed && !terminator.is_empty() && terminator != b"\r" && terminator != b"\r\n" {
            mistake(&["newline"], "`delimiter: auto` needs lines that end with LF or CR".into());
        }
        if c.footer_count == Some(0) {
            mistake(&["footer_count"], "fields are counted from 1".into());
        }
        if c.footer_count.is_some() && c.footer == 0 {
            mistake(&["footer_count"], "`footer` must say how many rows the footer has".into());
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
        if let Some(twice) = c.names.iter().enumerate().find(|(n, name)| !name.is_empty() && c.names[..*n].contains(name)).map(|(_, name)| name) {
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
        let dialect = Dialect {
            delimiter,
            quote,
            escape: escape.filter(|e| Some(*e) != quote),
            comment: c.comment.as_ref().filter(|t| !matches!(t.as_str(), "" | "none")).map(|t| t.clone().into_bytes()),
            trim: c.trim,
            newline: newline.unwrap_or(Newline::Lf),
            lenient: c.quotes == Quotes::Lenient,
            max_row: c.max_row.0 as usize,
        };
        Ok(Self {
            dialect,
            newline,
            sniffed,
            encoding,
            compression: c.compression,
            skip: c.skip,
            header: c.header.0,
            footer: c.footer as usize,
            footer_count: c.footer_count.map(|n| n as usize - 1),
            names: c.names.clone(),
            declared,
            all_text,
            nulls: c.nulls.iter().map(|n| n.clone().into_bytes()).collect(),
            words,
            ragged: c.ragged,
            point,
        })
    }

    /// A framer for a file in this dialect. Where the number of columns is only known from rows, or rows may be spoilt, several are looked at.
    pub fn framer(&self, dialect: Dialect, target: usize) -> Framer {
        let framer = Framer::new(dialect, self.newline, target, self.skip, self.header, self.footer);
        let unknown = self.header == 0 && self.names.is_empty() && self.declared.is_empty();
        if unknown || self.ragged == Ragged::Repair { framer.judging(15) } else { framer }
    }

    /// The declared columns as a schema.
    pub fn declared_schema(&self) -> SchemaRef {
        if self.all_text {
            let mut names = self.names.clone();
            super::layout::make_unique(&mut names);
            return Schema::new(names.iter().map(|n| Field::new(n, DataType::Utf8, true)).collect::<Vec<_>>()).into();
        }
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

/// The delimiter's bytes; none for no delimiter.
pub fn delimiter(text: &str) -> Result<Vec<u8>, String> {
    let bytes = match text {
        "tab" => b"\t".to_vec(),
        "space" => b" ".to_vec(),
        "" | "none" => Vec::new(),
        other => unescaped(other)?,
    };
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
