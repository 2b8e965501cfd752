//! What an epoch reads, pinned: file versions and splits.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::position::{PartitionId, Position};

/// The identity of what was read: path + etag, or size + modification time where there is no etag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileVersion {
    /// The full address: `s3://bucket/key`, `/a/local/path`, `https://…`. Never holds credentials.
    pub path: String,
    /// Bytes.
    pub size: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub modified: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub etag: Option<String>,
}

impl FileVersion {
    /// What tells versions of one path apart, as a short text: `e:<etag>`, else `m:<size>:<nanoseconds since 1970>`.
    pub fn tag(&self) -> String {
        match (&self.etag, &self.modified) {
            (Some(etag), _) => format!("e:{etag}"),
            (None, Some(at)) => format!("m:{}:{}", self.size, at.timestamp_nanos_opt().unwrap_or_else(|| at.timestamp_micros())),
            (None, None) => format!("s:{}", self.size),
        }
    }
    pub fn same_version(&self, other: &FileVersion) -> bool {
        self.path == other.path && self.tag() == other.tag()
    }
}

/// `(partition, from, to]` of a source, and what is needed to read just that. Plain data: it is stored in `planned`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Split {
    pub partition: PartitionId,
    pub from: Position,
    /// `None`: open (an API that cannot know its end).
    pub to: Option<Position>,
    /// For sources of files: the version to read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<FileVersion>,
    /// Columns this split's rows get as constants: the captures of `match:`, as text; the source declares their types.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub constants: BTreeMap<String, String>,
    /// An older version of this file was landed before and its rows must leave as these arrive (`on_overwrite: replace`).
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub replaces: bool,
    /// Targets keep this file's rows apart from others', so that its next version can take their place (`on_overwrite: replace`).
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub apart: bool,
    /// What else the source needs; opaque to the engine.
    #[serde(skip_serializing_if = "serde_json::Value::is_null", default)]
    pub detail: serde_json::Value,
}

impl Split {
    /// What a person knows it by.
    pub fn name(&self) -> &str {
        self.file.as_ref().map_or(&self.partition.0, |f| &f.path)
    }
}
