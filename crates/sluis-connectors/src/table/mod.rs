//! `into: table`: rows into an Iceberg table of the project's lake, seen when they are committed and once.
//!
//! | room | what |
//! |---|---|
//! | `config` | what is configured: valid by construction |
//! | `sink` | the sink over `sluis-lake`; what is promised |
//!
//! Deliberately not here: tables, snapshots, files (they are `sluis-lake`'s), retries.

mod config;
mod sink;

use std::sync::Arc;

use schemars::schema_for;
use sluis_core::{Guarantee, SinkDef};

pub use config::{TableSettings, TableTargetConfig};
pub use sink::TableSink;

/// `into: table`.
pub static TABLE: SinkDef = SinkDef {
    name: "table",
    summary: "A table of the lake (Iceberg): created and widened as needed; append, replace partitions or upsert by key; one step per epoch.",
    schema: || schema_for!(TableTargetConfig),
    validate: |value| TableSettings::parse(value).err().unwrap_or_default(),
    guarantee: |value| match TableSettings::parse(value) {
        Ok(settings) => sink::guarantee(&settings.mode, false),
        Err(_) => Guarantee::AtLeastOnce("the configuration has mistakes".into()),
    },
    build: |context, name, value| Ok(Arc::new(TableSink::build(context, name, value)?)),
};

#[cfg(test)]
mod tests;
