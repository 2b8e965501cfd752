//! What may stand below `avro:`.

use schemars::JsonSchema;
use serde::Deserialize;
use sluis_core::{ByteSize, Error, Result};

use super::encode::is_name;

/// Avro object container files: every file says itself what it holds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AvroRead {
    /// Reading: a block that is larger than this, packed or unpacked, is damage. Default 128MiB.
    pub max_block: ByteSize,
}

impl Default for AvroRead {
    fn default() -> Self {
        Self { max_block: ByteSize(128 << 20) }
    }
}

impl AvroRead {
    /// Checks what the schema cannot say.
    ///
    /// # Errors
    /// A sentence.
    pub fn checked(self) -> Result<Self, String> {
        if (64 << 10..=1 << 30).contains(&self.max_block.0) { Ok(self) } else { Err("between 64KiB and 1GiB".into()) }
    }
}

/// How Avro files are written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AvroWrite {
    /// Writing: how blocks are compressed: `deflate` (default; every reader has it), `snappy`, `zstd`, `null` (not at all).
    pub codec: Codec,
    /// Writing: bytes of a block before compression, about. Default 64KiB.
    pub block_size: ByteSize,
    /// Writing: the record's name in the schema. Default `row`.
    pub record: String,
    /// Writing: the namespace of the names in the schema, as in `com.example`. Default: none.
    pub namespace: String,
}

impl Default for AvroWrite {
    fn default() -> Self {
        Self { codec: Codec::Deflate, block_size: ByteSize(64 << 10), record: "row".into(), namespace: String::new() }
    }
}

impl AvroWrite {
    /// Checks what the schema cannot say.
    ///
    /// # Errors
    /// `ErrorKind::Config`.
    pub fn checked(self) -> Result<Self> {
        if !(1 << 10..=64 << 20).contains(&self.block_size.0) {
            return Err(Error::config("avro: block_size: between 1KiB and 64MiB"));
        }
        if !is_name(&self.record) || !(self.namespace.is_empty() || self.namespace.split('.').all(is_name)) {
            return Err(Error::config("avro: names in Avro are letters, digits and `_`, and begin with no digit (`record`, `namespace`)"));
        }
        Ok(self)
    }
}

/// How blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstd,
    /// Read only: few readers have it.
    #[serde(skip)]
    Bzip2,
    /// Likewise.
    #[serde(skip)]
    Xz,
}

impl Codec {
    /// The codec of a file's header.
    pub fn named(name: &[u8]) -> Option<Codec> {
        Some(match name {
            b"null" | b"" => Codec::Null,
            b"deflate" => Codec::Deflate,
            b"snappy" => Codec::Snappy,
            b"zstandard" => Codec::Zstd,
            b"bzip2" => Codec::Bzip2,
            b"xz" => Codec::Xz,
            _ => return None,
        })
    }

    /// Its name in a file's header.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Null => "null",
            Codec::Deflate => "deflate",
            Codec::Snappy => "snappy",
            Codec::Zstd => "zstandard",
            Codec::Bzip2 => "bzip2",
            Codec::Xz => "xz",
        }
    }
}
