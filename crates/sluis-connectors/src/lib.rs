//! Connectors: one folder per external system, and the registry that lists them.
//!
//! Deliberately not here: control flow. A source lists splits and opens one; a sink stages, commits and sweeps; when and in which
//! order is the engine's. A new connector is its folder and one line in [`registry()`].

pub mod files;
pub mod files_sink;
mod registry;
pub mod table;

pub use registry::registry;
