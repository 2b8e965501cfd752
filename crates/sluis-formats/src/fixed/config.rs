//! What may stand below `fixed:`, and what it means.
//!
//! Deliberately not here: files, bytes. Guarantees: a [`Layout`] is valid by construction; every mistake has a sentence.

use std::borrow::Cow;

use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use sluis_core::ByteSize;

use crate::compress::Compression;
use crate::csv::config::{Columns, CsvRead, Header, Mistake, NewlineChoice, Ragged, Reading};
use crate::values::{FALSE_WORDS, TRUE_WORDS};

/// Characters of a line, at most, that columns may name.
const MOST: usize = 1 << 20;

/// Fixed width: every column has its place in the line. Places are counted in characters, after decoding.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FixedRead {
    /// Reading: the columns, as in `{ id: { width: 8, type: bigint }, name: { start: 21, width: 30 } }`. `start` is the number of the first
    /// character, from 1; default: behind the column before. The last column may lack `width`: it takes the rest of the line. What has no
    /// `type` is inferred. What no column covers is not read.
    #[schemars(extend("minProperties" = 1))]
    pub columns: FixedColumns,
    /// Reading: `utf-8` (default), `utf-16`, `latin1`, `cp1250` … A byte order mark in the file beats it.
    pub encoding: String,
    /// Reading: what ends a line: `auto` (default), `lf` (LF and CR LF), or `any` (CR alone too).
    pub newline: NewlineChoice,
    /// How the file is compressed: `auto` (by its first bytes and its name), `none`, `gzip`, `bzip2`, `zstd`, `xz`, `lz4`, `snappy`.
    pub compression: Compression,
    /// Reading: lines to skip before anything else, whatever they hold.
    pub skip: u64,
    /// Reading: number of header lines, which are no data. `true` is 1, `false` is 0. Default 0.
    pub header: Header,
    /// Reading: number of lines at the end of the file that are no data.
    pub footer: u64,
    /// Reading: texts that mean null, without the blanks around them. Default: the empty field.
    pub nulls: Vec<String>,
    /// Reading: words that mean true; any case. Default: true, t, yes, y, 1.
    pub true_words: Vec<String>,
    /// Reading: words that mean false; any case. Default: false, f, no, n, 0.
    pub false_words: Vec<String>,
    /// Reading: blanks and tabs around fields are no part of them. Default true.
    pub trim: bool,
    /// Reading: what becomes of lines that end before or within a column.
    pub ragged: Cut,
    /// Reading: what separates the whole from the fraction in numbers: `.` (default) or `,`.
    pub decimal: String,
    /// Reading: lines longer than this are rejected. Default 16MiB.
    pub max_row: ByteSize,
}

impl Default for FixedRead {
    fn default() -> Self {
        let own = |words: [&str; 5]| words.map(str::to_owned).to_vec();
        Self {
            columns: FixedColumns::default(),
            encoding: "utf-8".into(),
            newline: NewlineChoice::Auto,
            compression: Compression::Auto,
            skip: 0,
            header: Header(0),
            footer: 0,
            nulls: vec![String::new()],
            true_words: own(TRUE_WORDS),
            false_words: own(FALSE_WORDS),
            trim: true,
            ragged: Cut::Reject,
            decimal: ".".into(),
            max_row: ByteSize(16 << 20),
        }
    }
}

/// What becomes of lines that end before or within a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    /// They are rejected. The default.
    Reject,
    /// What is missing is null, what is cut is taken as it is.
    Pad,
}

/// The columns, in the order in which they are written.
#[derive(Debug, Clone, Default)]
pub struct FixedColumns(pub Vec<(String, FixedColumn)>);

/// Where a column stands in the line.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixedColumn {
    /// Number of its first character, from 1.
    pub start: Option<usize>,
    /// How many characters it has.
    pub width: Option<usize>,
    /// Its type, as in `decimal(10,2)` or `date(%Y%m%d)`.
    #[serde(rename = "type")]
    #[schemars(extend("format" = "sluis-type"))]
    pub data_type: Option<String>,
}

impl<'de> Deserialize<'de> for FixedColumns {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = FixedColumns;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of column names to places")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FixedColumns, A::Error> {
                let mut columns = Vec::new();
                while let Some(entry) = map.next_entry::<String, FixedColumn>()? {
                    columns.push(entry);
                }
                Ok(FixedColumns(columns))
            }
        }
        d.deserialize_map(InOrder)
    }
}

impl JsonSchema for FixedColumns {
    fn schema_name() -> Cow<'static, str> {
        "FixedColumns".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<FixedColumn>() })
    }
}

/// A column's place: characters from `start` (counted from 0) up to `end`; `usize::MAX` = the rest of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub start: usize,
    pub end: usize,
}

/// How to read, valid.
#[derive(Debug)]
pub struct Layout {
    /// What it has in common with CSV.
    pub reading: Reading,
    pub names: Vec<String>,
    pub places: Vec<Place>,
}

impl FixedRead {
    /// Checks the configuration.
    ///
    /// # Errors
    /// Every mistake.
    pub fn checked(&self) -> Result<Layout, Vec<Mistake>> {
        let mut mistakes: Vec<Mistake> = Vec::new();
        let (mut places, mut next) = (Vec::new(), Some(0));
        if self.columns.0.is_empty() {
            mistakes.push((vec!["columns".into()], "fixed width needs columns, as in `{ id: { width: 8, type: bigint } }`".into()));
        }
        for (name, column) in &self.columns.0 {
            let mut mistake = |message: &str| mistakes.push((vec!["columns".into(), name.clone()], message.into()));
            let start = match (column.start, next) {
                (Some(0), _) => {
                    mistake("`start` is counted from 1");
                    0
                }
                (Some(n), _) => n - 1,
                (None, Some(n)) => n,
                (None, None) => {
                    mistake("the column before takes the rest of the line: write `start`, or give that one a `width`");
                    0
                }
            };
            let end = match column.width {
                Some(0) => {
                    mistake("`width` is at least 1");
                    start
                }
                Some(n) => start.saturating_add(n),
                None => usize::MAX,
            };
            if start > MOST || (end > MOST && end < usize::MAX) {
                mistake("a column ends within the line's first 1048576 characters");
            }
            next = column.width.map(|_| end);
            places.push(Place { start, end });
        }
        let typed = self.columns.0.iter().filter_map(|(name, c)| Some((name.clone(), c.data_type.clone()?)));
        // Lines without any quoting, in CSV's words; a zero byte stands between no fields.
        let reading = Reading::new(&CsvRead {
            delimiter: "\0".into(),
            quote: "none".into(),
            encoding: self.encoding.clone(),
            newline: self.newline,
            compression: self.compression,
            skip: self.skip,
            header: self.header,
            footer: self.footer,
            columns: Columns::Typed(typed.collect()),
            nulls: self.nulls.clone(),
            true_words: self.true_words.clone(),
            false_words: self.false_words.clone(),
            trim: self.trim,
            ragged: match self.ragged {
                Cut::Reject => Ragged::Reject,
                Cut::Pad => Ragged::Pad,
            },
            decimal: self.decimal.clone(),
            max_row: self.max_row,
            ..CsvRead::default()
        });
        match reading {
            Ok(reading) if mistakes.is_empty() => {
                let names = self.columns.0.iter().map(|(name, _)| name.clone()).collect();
                Ok(Layout { reading, names, places })
            }
            Ok(_) => Err(mistakes),
            Err(more) => {
                mistakes.extend(more);
                Err(mistakes)
            }
        }
    }
}
