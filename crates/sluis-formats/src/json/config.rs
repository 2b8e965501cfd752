//! What may stand below `json:`.

use schemars::JsonSchema;
use serde::Deserialize;
use sluis_core::ByteSize;

use crate::compress::Compression;
use crate::csv::config::{Columns, CsvRead, Mistake, Reading};

/// JSON: a document per line, one array of documents, or documents one after another. Nested values are kept.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JsonRead {
    /// Reading: whether every line is a document; default: found out. Writing: lines (`true`, the default) or one array (`false`).
    pub lines: Option<bool>,
    /// How the file is compressed: `auto` (reading: by its first bytes and its name; writing: not at all), `none`, `gzip`, `zstd`.
    pub compression: Compression,
    /// Reading: `utf-8` (default), `utf-16`, `latin1` … A byte order mark in the file beats it.
    pub encoding: String,
    /// Reading: types of columns by name, as in `{ id: bigint, at: "timestamp(%Y%m%d)" }`; what is not named is inferred.
    /// `string` alone: every column is text, nested values as JSON.
    pub columns: Columns,
    /// Reading: documents longer than this are rejected. Default 16MiB.
    pub max_row: ByteSize,
}

impl Default for JsonRead {
    fn default() -> Self {
        Self {
            lines: None,
            compression: Compression::Auto,
            encoding: "utf-8".into(),
            columns: Columns::Typed(Vec::new()),
            max_row: ByteSize(16 << 20),
        }
    }
}

impl JsonRead {
    /// What it has in common with CSV, checked: encoding, compression, declared columns, limits.
    ///
    /// # Errors
    /// Every mistake.
    pub fn checked(&self) -> Result<Reading, Vec<Mistake>> {
        // Lines of text without any quoting, in CSV's words.
        Reading::new(&CsvRead {
            quote: "none".into(),
            header: crate::csv::config::Header(0),
            encoding: self.encoding.clone(),
            compression: self.compression,
            columns: self.columns.clone(),
            max_row: self.max_row,
            ..CsvRead::default()
        })
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
    /// How the file is compressed: `none` (default), `gzip`, `zstd`.
    pub compression: Compression,
}

impl Default for JsonWrite {
    fn default() -> Self {
        Self { lines: true, pretty: false, nulls: true, compression: Compression::None }
    }
}
