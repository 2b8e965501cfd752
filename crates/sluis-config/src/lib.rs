//! Configuration: YAML files of a project in, valid pipelines or diagnostics out.
//!
//! | room | what |
//! |---|---|
//! | `yaml/`, `span`, `read`, `discover`, `document` | files and trees that know where everything stands |
//! | `variables`, `reference`, `secret` | `${name}`, and `${env:} ${file:} ${cmd:}`, which are resolved late |
//! | `spec`, `schema/`, `grammar/` | what can be written: the typing, the JSON Schema, the small languages |
//! | `build/`, `pipeline`, `project`, `load` | what is meant, valid by construction |
//! | `diagnostic`, `suggest`, `reference_docs` | what is wrong and where that is explained |
//!
//! Guarantees: reads the project's own YAML files and nothing else; no network; no panic on any bytes; every mistake at once, each at its
//! place. Deliberately not here: connectors (they come as a [`sluis_core::Registry`]), SQL, running anything.

mod build;
mod diagnostic;
mod discover;
mod document;
mod grammar;
mod load;
mod pipeline;
mod project;
mod read;
mod reference;
mod reference_docs;
mod schema;
mod secret;
mod span;
pub mod spec;
mod suggest;
mod variables;
mod yaml;

pub use diagnostic::{Diagnostic, Severity, has_errors, render};
pub use document::read_document;
pub use grammar::{AlertOn, Budget, Cron, Trigger};
pub use load::{Loaded, Options, load_project};
pub use pipeline::{Alert, Check, FormatPart, LookupTable, Pipeline, Select, Settings, SourcePart, Target};
pub use project::Project;
pub use reference_docs::reference_markdown;
pub use schema::{json_schema, project_schema};
pub use secret::{resolve, resolve_with};
pub use span::{SourceFile, Span, TextSpan};
