//! `lake:` of a project: where its tables are and which of their versions is current.
//!
//! Deliberately not here: opening anything. The doc comments of [`LakeConfig`] are the users' reference.

use std::path::PathBuf;

use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::Value;
use sluis_core::registry::{ConnectionDef, Problem};
use sluis_core::{Error, Result};

/// `lake:`, in the shape of a connection's kind, so that configurations are checked by the same code.
pub const LAKE: ConnectionDef = ConnectionDef {
    name: "lake",
    summary: "Where tables live: a local folder or S3, with a catalog in SQLite.",
    schema: || -> Schema { schema_for!(LakeConfig) },
    validate: |value| match LakeConfig::parse(value) {
        Ok(config) => config.problems(),
        Err(e) => vec![Problem { at: Vec::new(), message: e.message().to_owned(), hint: None }],
    },
};

/// The lake of a project: Iceberg tables in a folder or a bucket. Nothing needs to be set: the default is a folder beside the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LakeConfig {
    /// A local folder; relative paths start at the project's folder. Default: `lake` in the project's state folder (`.sluis/`).
    pub path: Option<String>,
    /// The place as a URL, instead of `path`: `s3://bucket/prefix/`.
    pub url: Option<String>,
    /// Name of the connection to use for `url`, from `connections:`. Default: the one whose `for` fits, else the environment.
    pub connection: Option<String>,
    /// Which of a table's versions is current. Default: an SQLite file, `catalog.db`, in the folder; for `url` in the project's state folder.
    pub catalog: Option<CatalogConfig>,
}

/// A catalog, in the layout that PyIceberg's SqlCatalog reads and writes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CatalogConfig {
    /// Path of the SQLite file; relative paths start at the project's folder. It must be on a local disk.
    pub sqlite: PathBuf,
    /// The catalog's name in that file, as other engines have to say it. Default: `lake`.
    #[serde(default)]
    pub name: Option<String>,
}

impl LakeConfig {
    /// Reads it; `null` is the default.
    ///
    /// # Errors
    /// `ErrorKind::Config`.
    pub fn parse(value: &Value) -> Result<LakeConfig> {
        if value.is_null() {
            return Ok(LakeConfig::default());
        }
        LakeConfig::deserialize(value).map_err(|e| Error::config(format!("lake: {e}")))
    }

    /// Mistakes that the schema cannot say.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut say = |at: &str, message: &str, hint: &str| {
            found.push(Problem { at: vec![at.to_owned()], message: message.to_owned(), hint: Some(hint.to_owned()) });
        };
        if self.path.is_some() && self.url.is_some() {
            say("url", "`path` and `url` are two ways to say where the lake is", "keep one of them");
        }
        if self.path.as_deref().is_some_and(|p| p.is_empty() || (p.contains("://") && !p.starts_with("file://"))) {
            say("path", "`path` is a local folder", "write `url: s3://bucket/prefix/` for other places");
        }
        if let Some(url) = &self.url {
            let known = ["s3://", "s3a://", "file://", "${"].iter().any(|scheme| url.starts_with(scheme));
            if !known {
                say("url", "the lake can be in S3 or a local folder", "write `url: s3://bucket/prefix/`, or `path: folder`");
            }
        }
        if self.connection.is_some() && self.url.is_none() {
            say("connection", "a local folder needs no connection", "remove it, or write `url: s3://…`");
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn mistakes_are_named_at_their_key() {
        for (value, at) in [
            (json!({ "path": "x", "url": "s3://b/" }), "url"),
            (json!({ "path": "s3://b/" }), "path"),
            (json!({ "url": "https://b/" }), "url"),
            (json!({ "path": "x", "connection": "c" }), "connection"),
            (json!({ "pth": "x" }), ""),
        ] {
            let found = (LAKE.validate)(&value);
            assert_eq!(found.len(), 1, "{value}: {found:?}");
            assert_eq!(found[0].at.join("."), at, "{value}");
        }
        for value in [json!({}), json!(null), json!({ "url": "s3://b/lake/", "connection": "c", "catalog": { "sqlite": "c.db", "name": "x" } })] {
            assert!((LAKE.validate)(&value).is_empty(), "{value}");
        }
        assert!((LAKE.schema)().as_object().is_some_and(|o| o.contains_key("properties")));
    }
}
