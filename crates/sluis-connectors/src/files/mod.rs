//! `from: files`: files of a local folder, S3 or a web server, each version once.
//!
//! | room | what |
//! |---|---|
//! | `config`, `marker`, `place`, `pattern/` | what is configured: valid by construction |
//! | `walk`, `hidden`, `manifest` | what is there |
//! | `judge`, `settle`, `content`, `selection` | is it new, complete, really changed; in the range of a backfill |
//! | `scan`, `candidates`, `discover`, `notes` | one pass over the listing; an epoch's splits |
//! | `raw`, `members`, `acknowledge`, `source` | reading a split, or the members of an archive; what becomes of files after the commit |
//!
//! Guarantees: a file version that landed is not taken again; one that did not is taken, however late it comes and whatever its time
//! says; a file that changed while it was read is not landed half. Memory does not grow with the number of files.
//! Deliberately not here: formats, epochs, the ledger.

mod acknowledge;
mod candidates;
mod config;
mod content;
mod discover;
mod hidden;
mod judge;
mod manifest;
mod marker;
mod members;
mod near;
mod notes;
mod pattern;
mod place;
mod raw;
mod scan;
mod selection;
mod settle;
mod source;
mod walk;

use std::sync::Arc;

use arrow_schema::Schema;
use schemars::schema_for;
use sluis_core::SourceDef;

pub use config::{FilesConfig, OnOverwrite};
pub use source::FilesSource;

/// `from: files`.
pub static SOURCE: SourceDef = SourceDef {
    name: "files",
    summary: "Files of a local folder, S3 (and what speaks it) or a web server; each version of each file lands once.",
    schema: || schema_for!(FilesConfig),
    needs_format: true,
    validate: |value| config::Settings::parse(value).err().unwrap_or_default(),
    constant_columns: |value| config::Settings::parse(value).map_or_else(|_| Arc::new(Schema::empty()), |settings| settings.columns),
    build: |context, value| Ok(Arc::new(FilesSource::build(context, value)?)),
};

#[cfg(test)]
mod tests;

#[cfg(test)]
mod readme {
    //! The users' page tells what is there.

    #[test]
    fn its_table_has_every_key_and_its_examples_are_valid() {
        let page = include_str!("README.md");
        let schema = schemars::schema_for!(super::FilesConfig);
        for key in schema.get("properties").and_then(|p| p.as_object()).unwrap().keys() {
            assert!(page.contains(&format!("\n| `{key}` | ")), "{key}");
        }
        let shown = serde_json::json!({
            "url": "s3://mv-cdrs/cdrs/", "match": "MobileVikings_{day:%Y%m%d}_{seq:int}.cdr", "settle": "1m", "on_overwrite": "replace",
            "metadata": ["file", "line"],
        });
        for (key, value) in shown.as_object().unwrap() {
            let value = value.as_str().unwrap_or("[file, line]");
            assert!(page.contains(&format!("    {key}: {value}")) || page.contains(&format!("    {key}: \"{value}\"")), "{key}");
        }
        assert!((super::SOURCE.validate)(&shown).is_empty());
        let columns = (super::SOURCE.constant_columns)(&shown);
        assert_eq!(columns.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["day", "seq", "_file", "_line"]);
    }
}
