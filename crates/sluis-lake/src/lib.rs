//! The lake: Iceberg tables (format version 2) in a local folder or S3, with a catalog in SQLite.
//!
//! | room | what |
//! |---|---|
//! | `config` | `lake:` of a project |
//! | [`catalog`] | which metadata file is a table's current one: one trait, one conditional swap; the SQLite catalog (PyIceberg's layout) |
//! | `lake` | the lake, opened: tables by name, addresses to paths |
//! | [`table`] | one target table: create, evolve, write, commit, sweep |
//! | `schema`, `partition` | columns and partition transforms, to and from Arrow |
//! | `encode`, `facts`, `writer` | rows to data files, with the statistics that readers prune by |
//! | `manifest`, `commit`, `remove`, `upsert`, `expire` | one snapshot per epoch, by our own metadata and a pointer swap |
//! | `retype`, `rewrite` | columns that get another type than Iceberg's promotions allow; data files written again |
//! | `sweep`, `stale`, `ids` | leftovers of attempts that did not win; metadata that nothing names any more; whose files are, by their names |
//! | `read`, `resolver` | tables as SQL sees them |
//!
//! Deliberately not here: pipelines, configuration of the target, DataFusion. Guarantees: data, statistics and the commit key become
//! visible in one step, once; what a writer stages is seen by nobody before; other engines read the tables (format version 2, no delete files).

pub mod catalog;
mod commit;
mod config;
mod encode;
mod expire;
mod facts;
mod ids;
mod lake;
mod manifest;
mod partition;
mod read;
mod remove;
mod resolver;
mod retype;
mod rewrite;
mod schema;
mod stale;
mod sweep;
pub mod table;
mod upsert;
mod work;
mod writer;

pub use catalog::TableName;
pub use config::{LAKE, LakeConfig};
pub use lake::Lake;
pub use partition::Term;
pub use table::{Compression, Mode, Settings, Table};

#[cfg(test)]
mod tests;
