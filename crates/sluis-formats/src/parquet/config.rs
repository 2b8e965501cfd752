//! What may stand below `parquet:`.

use schemars::JsonSchema;
use serde::Deserialize;
use sluis_core::{ByteSize, Error, Result};

/// Parquet files: every file says itself what it holds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ParquetRead {
    /// Reading: a file with a page that is larger than this, unpacked, is damaged. Writers make pages of about 1MiB, unless a single value is
    /// larger. Default 256MiB.
    pub max_page: ByteSize,
}

impl Default for ParquetRead {
    fn default() -> Self {
        Self { max_page: ByteSize(256 << 20) }
    }
}

impl ParquetRead {
    /// Checks what the schema cannot say.
    ///
    /// # Errors
    /// A sentence.
    pub fn checked(self) -> Result<Self, String> {
        if (1 << 20..=1 << 30).contains(&self.max_page.0) { Ok(self) } else { Err("between 1MiB and 1GiB".into()) }
    }
}

/// How Parquet files are written. Timestamps are 64-bit microseconds, which DuckDB, Spark, PyArrow, Polars, Trino, Impala and Hive 4 read;
/// the old 96-bit form, which alone Hive 2 and 3 read as timestamps, is not written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ParquetWrite {
    /// Writing: how pages are compressed: `snappy` (default), `zstd`, `lz4`, `gzip`, `none`.
    pub compression: PageCompression,
    /// Writing: how hard `zstd` (1 to 22, default 1) or `gzip` (0 to 9, default 6) tries.
    pub level: Option<u32>,
    /// Writing: whether values that repeat are written once per row group and page by number. Default true; false for columns of values that
    /// are all different.
    pub dictionary: bool,
    /// Writing: rows of a row group, at most. Default 1048576.
    pub row_group_rows: usize,
    /// Writing: bytes of a row group, about, at most. Default 128MiB.
    pub row_group_size: ByteSize,
}

impl Default for ParquetWrite {
    fn default() -> Self {
        Self { compression: PageCompression::Snappy, level: None, dictionary: true, row_group_rows: 1 << 20, row_group_size: ByteSize(128 << 20) }
    }
}

impl ParquetWrite {
    /// Checks what the schema cannot say.
    pub fn checked(self) -> Result<Self> {
        if self.row_group_rows == 0 || self.row_group_size.0 < 64 * 1024 {
            return Err(Error::config("parquet: a row group has at least one row (`row_group_rows`) and 64KiB (`row_group_size`)"));
        }
        let levels = match self.compression {
            PageCompression::Zstd => Some(1..=22),
            PageCompression::Gzip => Some(0..=9),
            _ => None,
        };
        match (self.level, levels) {
            (Some(level), Some(levels)) if !levels.contains(&level) => {
                Err(Error::config(format!("parquet: level: {} to {} for this compression", levels.start(), levels.end())))
            }
            (Some(_), None) => Err(Error::config("parquet: `level` needs `compression: zstd` or `compression: gzip`")),
            _ => Ok(self),
        }
    }
}

/// How pages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PageCompression {
    Snappy,
    Zstd,
    Lz4,
    Gzip,
    None,
}
