//! The one list of everything this build can talk to: help, schema, docs and `check` iterate it.

use sluis_core::Registry;

/// Sources, targets, formats and kinds of connection of this build.
pub fn registry() -> Registry {
    Registry {
        sources: vec![&crate::files::SOURCE],
        sinks: vec![],
        formats: vec![],
        connections: vec![sluis_storage::connection::S3_CONNECTION, sluis_storage::connection::HTTP_CONNECTION],
    }
}
