//! sluis-config
mod build;
mod diagnostic;
mod discover;
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
pub use grammar::{AlertOn, Budget, Cron, Trigger};
pub use load::{Loaded, Options, load_project};
pub use pipeline::{Alert, Check, FormatPart, LookupTable, Pipeline, Select, Settings, SourcePart, Target};
pub use project::Project;
pub use reference_docs::reference_markdown;
pub use schema::{json_schema, project_schema};
pub use secret::{resolve, resolve_with};
pub use span::{SourceFile, Span, TextSpan};
