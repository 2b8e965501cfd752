//! What may stand below `json:`.

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use schemars::JsonSchema;
use serde::Deserialize;
use sluis_core::ByteSize;
use sluis_core::columns::parse_type;

use super::path::Path;
use crate::compress::Compression;
use crate::csv::config::{Columns, CsvRead, Mistake, Reading};

/// JSON: a document per line, one array of documents, or documents one after another; or records below a path inside documents.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JsonRead {
    /// Reading: whether every line is a document; default: found out. Writing: lines (`true`, the default) or one array (`false`).
    pub lines: Option<bool>,
    /// Reading: where the records are inside a document: keys with points between them, as in `data.items`, `*` for every element of a list
    /// on the way; or a JSON pointer, as in `/data/items`. A list there is its elements, an object is one record. The documents may be of any
    /// size; what surrounds the records must be JSON, or the file is damaged.
    pub path: Option<String>,
    /// Reading: what becomes of objects and lists in new columns: `keep` (default: structs and lists), `flatten` (the fields of an object
    /// are columns of their own, `address_city`; lists stay), `text` (JSON text).
    pub nested: Nested,
    /// Reading: with `nested: flatten`, what stands between the names. Default `_`.
    pub separator: String,
    /// How the file is compressed: `auto` (reading: by its first bytes and its name; writing: not at all), `none`, `gzip`, `bzip2`, `zstd`, `xz`, `lz4`, `snappy`.
    pub compression: Compression,
    /// Reading: `utf-8` (default), `utf-16`, `latin1` … A byte order mark in the file beats it.
    pub encoding: String,
    /// Reading: types of columns by name, as in `{ id: bigint, at: "timestamp(%Y%m%d)", tags: "list<string>",
    /// place: "struct<city: string, at: map<string, double>>" }`; what is not named is inferred. `string` alone: every column is text, nested values as JSON.
    pub columns: Columns,
    /// Reading: documents longer than this are rejected. Default 16MiB.
    pub max_row: ByteSize,
}

impl Default for JsonRead {
    fn default() -> Self {
        Self {
            lines: None,
            path: None,
            nested: Nested::Keep,
            separator: "_".into(),
            compression: Compression::Auto,
            encoding: "utf-8".into(),
            columns: Columns::Typed(Vec::new()),
            max_row: ByteSize(16 << 20),
        }
    }
}

/// What becomes of objects and lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Nested {
    /// Structs and lists.
    Keep,
    /// Objects become columns of their own; lists stay lists.
    Flatten,
    /// JSON text.
    Text,
}

/// How to read, valid.
#[derive(Debug)]
pub struct JsonReading {
    /// What it has in common with CSV.
    pub reading: Reading,
    pub lines: Option<bool>,
    pub path: Option<Path>,
    pub nested: Nested,
    pub separator: Vec<u8>,
    /// The declared columns, nested ones among them.
    pub declared: SchemaRef,
}

impl JsonReading {
    /// Whether an object at the top, or below others that are, is columns of its own.
    pub fn flattens(&self, name: &[u8]) -> bool {
        self.nested == Nested::Flatten && !self.declared.fields().iter().any(|f| f.name().as_bytes() == name)
    }
}

impl JsonRead {
    /// Checks the configuration.
    ///
    /// # Errors
    /// Every mistake.
    pub fn checked(&self) -> Result<JsonReading, Vec<Mistake>> {
        let mut mistakes: Vec<Mistake> = Vec::new();
        let path = self.path.as_deref().map(Path::new).transpose().unwrap_or_else(|e| {
            mistakes.push((vec!["path".into()], e));
            None
        });
        if self.separator.is_empty() {
            mistakes.push((vec!["separator".into()], "write what stands between the names, as in `_`".into()));
        }
        let is_nested = |text: &str| parse_type(text).ok().map(|(t, _)| t).filter(DataType::is_nested);
        let (mut nested, mut plain) = (Vec::new(), self.columns.clone());
        if let Columns::Typed(columns) = &mut plain {
            columns.retain(|(name, text)| match is_nested(text) {
                Some(t) => {
                    nested.push(Field::new(name, t, true));
                    false
                }
                None => true,
            });
        }
        // Lines of text without any quoting, in CSV's words.
        let reading = Reading::new(&CsvRead {
            quote: "none".into(),
            header: crate::csv::config::Header(0),
            encoding: self.encoding.clone(),
            compression: self.compression,
            columns: plain,
            max_row: self.max_row,
            ..CsvRead::default()
        });
        let reading = match reading {
            Ok(reading) if mistakes.is_empty() => reading,
            Ok(_) => return Err(mistakes),
            Err(more) => {
                mistakes.extend(more);
                return Err(mistakes);
            }
        };
        let mut declared: Vec<Field> = reading.declared_schema().fields().iter().map(|f| f.as_ref().clone()).chain(nested).collect();
        if let Columns::Typed(columns) = &self.columns {
            declared.sort_by_key(|f| columns.iter().position(|(name, _)| name == f.name()));
        }
        let declared = Schema::new(declared).into();
        Ok(JsonReading { reading, lines: self.lines, path, nested: self.nested, separator: self.separator.clone().into_bytes(), declared })
    }
}

/// How JSON files are written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JsonWrite {
    /// A document per line (`true`, the default) or one array (`false`).
    pub lines: bool,
    /// Writing: indented for people; needs `lines: false`. Default false.
    pub pretty: bool,
    /// Writing: whether nulls are written as `null` (`true`, the default) or left out.
    pub nulls: bool,
    /// How the file is compressed: `none` (default), `gzip`, `bzip2`, `zstd`, `xz`, `lz4`, `snappy`.
    pub compression: Compression,
}

impl Default for JsonWrite {
    fn default() -> Self {
        Self { lines: true, pretty: false, nulls: true, compression: Compression::None }
    }
}
