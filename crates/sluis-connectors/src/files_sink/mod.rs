//! `into: files`: rows as files in a local folder or S3, seen when they are committed and once.
//!
//! | room | what |
//! |---|---|
//! | `config`, `layout` | what is configured: valid by construction; names and partition folders |
//! | `divide`, `output`, `naming`, `writer` | rows to their folders; files open at once; staging |
//! | `commit`, `index` | publishing; which files a source's rows are in (`on_overwrite: replace`) |
//! | `sink` | the sink: the duties above behind the trait; sweeping, probing, what is promised |
//!
//! Guarantees: see `sink::guarantee`, printed by `check`. Deliberately not here: formats (encoders come from `sluis-formats`), the
//! steps of staging and publishing (they are `sluis-storage`'s), retries.

mod commit;
mod config;
mod divide;
mod index;
mod layout;
mod naming;
mod output;
mod sink;
mod writer;

use std::sync::Arc;

use schemars::schema_for;
use sluis_core::{Guarantee, SinkDef};

pub use config::{FilesTargetConfig, Settings};
pub use sink::FilesSink;

/// `into: files`.
pub static FILES: SinkDef = SinkDef {
    name: "files",
    summary: "Files in a local folder or S3: Parquet, Avro, CSV, JSON or raw, in partition folders if wanted; seen when committed.",
    schema: || schema_for!(FilesTargetConfig),
    validate: |value| Settings::parse(value).err().unwrap_or_default(),
    guarantee: |value| match Settings::parse(value) {
        Ok(settings) => sink::guarantee(settings.mode(false), false),
        Err(_) => Guarantee::AtLeastOnce("the configuration has mistakes".into()),
    },
    build: |context, name, value| Ok(Arc::new(FilesSink::build(context, name, value)?)),
};

#[cfg(test)]
mod tests;
