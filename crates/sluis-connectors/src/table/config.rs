//! `into: table:` as it is written ([`TableTargetConfig`]) and as it is meant ([`TableSettings`], valid by construction).
//!
//! The doc comments of `TableTargetConfig` are the users' reference. Deliberately not here: disk and network.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use sluis_core::ByteSize;
use sluis_core::registry::Problem;
use sluis_lake::{Compression, Mode, TableName, Term};

/// A table of the lake. It is created with the first rows, and gets columns as rows bring them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableTargetConfig {
    /// The table: `name`, or `namespace.name`. Letters, digits, `_` and `-`.
    pub name: String,
    /// How rows are divided: columns, or `year(c)`, `month(c)`, `day(c)`, `hour(c)`, `bucket(16, c)`, `truncate(4, c)` of them. For a new
    /// table; one that is there must have the same, or leave this out. Default: no partitions.
    #[serde(default)]
    pub partition_by: Vec<String>,
    /// What happens to rows that are there: `append` (default) keeps them; `replace` replaces the partitions that an epoch's rows fall in (the whole
    /// table if it has none); `upsert` replaces rows with the same `key`.
    #[serde(default)]
    pub mode: ModeConfig,
    /// For `mode: upsert`: the columns that tell a row. Of rows of one epoch with the same key the last one stays.
    #[serde(default)]
    pub key: Vec<String>,
    /// How data are compressed: `snappy` (default), `zstd`, `lz4`, `gzip`, `none`.
    #[serde(default)]
    pub compression: CompressionConfig,
    /// Bytes of a data file, about; then the next one begins. Default: `256MiB`.
    #[serde(default = "target_size")]
    pub target_size: ByteSize,
    /// A sentence about the table, for whoever looks at it. Set when the table is created.
    #[serde(default)]
    pub comment: Option<String>,
    /// More Iceberg table properties. Set when the table is created.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

/// What happens to rows that are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModeConfig {
    #[default]
    Append,
    Replace,
    Upsert,
}

/// How data are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompressionConfig {
    #[default]
    Snappy,
    Zstd,
    Lz4,
    Gzip,
    None,
}

fn target_size() -> ByteSize {
    ByteSize(256 << 20)
}

/// A configuration without mistakes.
#[derive(Debug, Clone)]
pub struct TableSettings {
    pub name: TableName,
    pub partition_by: Vec<Term>,
    pub mode: Mode,
    pub compression: Compression,
    pub target_bytes: u64,
    pub comment: Option<String>,
    pub properties: BTreeMap<String, String>,
}

/// Properties that Iceberg or sluis itself keeps.
const KEPT: &[&str] = &[
    "format-version",
    "uuid",
    "snapshot-count",
    "current-snapshot-summary",
    "current-snapshot-id",
    "current-snapshot-timestamp-ms",
    "current-schema",
    "default-partition-spec",
    "default-sort-order",
    "write.format.default",
    "write.metadata.compression-codec",
    "write.data.path",
    "write.metadata.path",
];

fn problem(at: &[&str], message: impl Into<String>, hint: Option<&str>) -> Problem {
    Problem { at: at.iter().map(|s| (*s).to_owned()).collect(), message: message.into(), hint: hint.map(str::to_owned) }
}

impl TableSettings {
    /// Reads a configuration; or every mistake in it.
    ///
    /// # Errors
    /// The mistakes.
    pub fn parse(value: &Value) -> Result<TableSettings, Vec<Problem>> {
        let config = TableTargetConfig::deserialize(value).map_err(|e| vec![problem(&[], e.to_string(), None)])?;
        let mut problems = Vec::new();
        // A name that is made of a variable is known later.
        let name = if config.name.contains("${") { "later" } else { &config.name };
        let name = TableName::parse(name).map_err(|m| problems.push(problem(&["name"], m, None))).ok();
        let mut partition_by: Vec<Term> = Vec::new();
        for text in &config.partition_by {
            match text.parse::<Term>() {
                Ok(term) if partition_by.contains(&term) => problems.push(problem(&["partition_by"], format!("`{text}` is listed twice"), None)),
                Ok(term) => partition_by.push(term),
                Err(m) => problems.push(problem(&["partition_by"], m, None)),
            }
        }
        match (config.mode, config.key.is_empty()) {
            (ModeConfig::Upsert, true) => {
                problems.push(problem(&["key"], "`mode: upsert` needs a key", Some("say which columns tell a row: `key: [id]`")))
            }
            (ModeConfig::Append | ModeConfig::Replace, false) => {
                problems.push(problem(&["key"], "`key` belongs to `mode: upsert`", Some("write `mode: upsert`, or remove the key")));
            }
            _ => {}
        }
        for (i, column) in config.key.iter().enumerate() {
            if column.is_empty() || config.key[..i].contains(column) {
                problems.push(problem(&["key"], format!("column `{column}` is empty or listed twice"), None));
            }
        }
        if config.target_size.0 < 1 << 16 {
            problems.push(problem(&["target_size"], "a data file holds at least 64KiB", Some("sizes of 128MiB to 512MiB are read fastest")));
        }
        for key in config.properties.keys().filter(|k| KEPT.contains(&k.as_str()) || k.starts_with("sluis.")) {
            problems.push(problem(&["properties", key], format!("`{key}` is kept by sluis or by Iceberg itself"), Some("remove it")));
        }
        let Some(name) = name.filter(|_| problems.is_empty()) else { return Err(problems) };
        Ok(TableSettings {
            name,
            partition_by,
            mode: match config.mode {
                ModeConfig::Append => Mode::Append,
                ModeConfig::Replace => Mode::Replace,
                ModeConfig::Upsert => Mode::Upsert { key: config.key },
            },
            compression: match config.compression {
                CompressionConfig::Snappy => Compression::Snappy,
                CompressionConfig::Zstd => Compression::Zstd,
                CompressionConfig::Lz4 => Compression::Lz4,
                CompressionConfig::Gzip => Compression::Gzip,
                CompressionConfig::None => Compression::None,
            },
            target_bytes: config.target_size.0,
            comment: config.comment,
            properties: config.properties,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_shortest_form_appends() {
        let s = TableSettings::parse(&json!({ "name": "telecom.cdrs" })).unwrap();
        assert_eq!((s.name.to_string().as_str(), s.mode, s.target_bytes), ("telecom.cdrs", Mode::Append, 256 << 20));
        assert!(s.partition_by.is_empty());
    }

    #[test]
    fn every_mistake_is_named_at_its_key() {
        let bad =
            json!({ "name": "a b", "partition_by": ["week(x)", "d", "d"], "mode": "upsert", "target_size": "1KiB", "properties": { "uuid": "1" } });
        let at: Vec<String> = TableSettings::parse(&bad).unwrap_err().iter().map(|p| p.at.join(".")).collect();
        assert_eq!(at, ["name", "partition_by", "partition_by", "key", "target_size", "properties.uuid"]);
        for (key, value) in [("nme", json!("x")), ("mode", json!("merge")), ("key", json!(["id"])), ("compression", json!("brotli"))] {
            let mut config = json!({ "name": "t" });
            config[key] = value;
            assert!(TableSettings::parse(&config).is_err(), "{key}");
        }
    }
}
