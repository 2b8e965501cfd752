//! `from: files`: files of a local folder, S3 or a web server, each version once.
//!
//! | room | what |
//! |---|---|
//! | `config`, `marker`, `place`, `pattern/` | what is configured: valid by construction |
//! | `walk`, `hidden`, `manifest` | what is there |
//! | `judge`, `settle`, `content` | is it new, complete, really changed |
//! | `scan`, `candidates`, `discover`, `notes` | one pass over the listing; an epoch's splits |
//! | `raw`, `acknowledge`, `source` | reading a split; what becomes of files after the commit |
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
mod notes;
mod pattern;
mod place;
mod raw;
mod scan;
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
