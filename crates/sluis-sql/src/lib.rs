//! `check` and `select` on DataFusion, and the queries of `sluis sql`.
//!
//! | room | what |
//! |---|---|
//! | `spec` | what a pipeline says, and what is wrong with it |
//! | `text` | SQL text: parsing, and places in it as byte ranges |
//! | `rules` | what a statement may not do: other statements, looks across rows, functions that differ between runs |
//! | `names` | binds names to columns, ignoring case where it is safe |
//! | `planner` | statements to logical plans |
//! | `compile` | logical plans to steps that run on a pushed batch |
//! | `rowwise` | those steps, run |
//! | `lookup` | look-up tables: read once, then joined by a hash table |
//! | `checks` | conditions on rows |
//! | `epoch` | plans that look across rows: rows are spooled, the plan runs at the end |
//! | `engine` | DataFusion's own execution, bounded in memory |
//! | `query` | `sluis sql` |
//!
//! Deliberately not here: reading files, writing tables, configuration, printing. No session is made for a plan that only looks at its own row.
//!
//! Guarantees: the same rows pushed in the same order give the same rows and failures; functions that would break that are refused.

mod checks;
mod compile;
mod engine;
mod epoch;
mod functions;
mod lookup;
mod names;
mod output;
mod plain;
mod planner;
mod problems;
mod query;
mod rowwise;
mod rules;
mod spec;
mod tables;
mod text;
mod transform;

pub use problems::{against, syntax};
pub use query::{QueryResult, query};
pub use spec::{CheckRule, OnFail, Part, SqlProblem, Step, TransformSpec};
pub use transform::transform;

#[cfg(test)]
mod tests;
