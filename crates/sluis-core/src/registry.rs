//! What a connector says of itself. The registry is the one list that CLI help, JSON Schema, docs and `check` iterate.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use schemars::Schema;
use serde_json::Value;

use crate::clock::Clock;
use crate::error::Result;
use crate::format::{EncoderFactory, FileFormat};
use crate::ids::{PipelineName, SinkName};
use crate::sink::{Guarantee, Sink};
use crate::source::Source;

/// What a connector is built with. Secrets in `config` values are resolved already (and registered for redaction).
#[derive(Clone)]
pub struct BuildContext {
    pub pipeline: PipelineName,
    /// Folder of the project; relative paths in configuration start here.
    pub project_dir: PathBuf,
    /// Where local state lives (`.sluis/`): ledger, default lake.
    pub state_dir: PathBuf,
    /// `connections:` of the project, resolved: name -> `{ kind: {…} }`.
    pub connections: Arc<serde_json::Map<String, Value>>,
    /// `lake:` of the project, resolved; `{}` = the default: `<state_dir>/lake` with an SQLite catalog.
    pub lake: Value,
    pub clock: Arc<dyn Clock>,
    /// `on_overwrite: replace`: sinks must be able to remove the rows of one source file.
    pub replaces_files: bool,
    /// `contract: types: evolve`: a target may give a column another type, though it has to write rows again that are there.
    pub retypes: bool,
    /// A backfill: the source takes what is selected and nothing else, whatever its own first-run policy says. `None`: everything new.
    pub selection: Option<Selection>,
}

/// What a backfill takes. Parts that are `None` do not narrow it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of this moment or later: by the first date that `match` captures, else by modification time.
    pub from: Option<DateTime<Utc>>,
    /// Of before this moment (exclusive).
    pub to: Option<DateTime<Utc>>,
    /// In the language of the source's `match`: a path below its URL if there is a `/` in it, else a file's name; or, if it starts with
    /// `/` or a scheme, a full address.
    pub glob: Option<String>,
}

/// A mistake in a connector's configuration that its JSON Schema cannot say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of keys below the connector's own: `["match"]`; empty = the whole.
    pub at: Vec<String>,
    pub message: String,
    pub hint: Option<String>,
}

/// A kind of source: one key under `from:`.
pub struct SourceDef {
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// JSON Schema of its configuration (from `schemars`; doc comments become the docs).
    pub schema: fn() -> Schema,
    /// Whether a format (`csv:`, `json:` …) must stand beside it.
    pub needs_format: bool,
    /// Checks without network or disk.
    pub validate: fn(&Value) -> Vec<Problem>,
    /// The columns its configuration adds, as an Arrow schema (captures, metadata columns); no network or disk.
    pub constant_columns: fn(&Value) -> arrow_schema::SchemaRef,
    pub build: fn(&BuildContext, &Value) -> Result<Arc<dyn Source>>,
}

/// A kind of target: one key under `into:` or `rejects:`.
pub struct SinkDef {
    pub name: &'static str,
    pub summary: &'static str,
    pub schema: fn() -> Schema,
    pub validate: fn(&Value) -> Vec<Problem>,
    /// What it would promise with this configuration, without connecting.
    pub guarantee: fn(&Value) -> Guarantee,
    pub build: fn(&BuildContext, &SinkName, &Value) -> Result<Arc<dyn Sink>>,
}

/// The beginning of a file, as stored (compressed if it is).
#[derive(Debug, Clone)]
pub struct FileHead {
    pub path: String,
    pub bytes: Bytes,
    /// The bytes are all there is.
    pub whole: bool,
}

/// What a format finds in the beginning of files.
#[derive(Debug, Clone)]
pub struct Sniffed {
    /// The options as `from:` would write them below the format's key, only where they differ from the defaults.
    pub options: Value,
    /// 0 to 1: how sure it is that the files are of the format and the options are right.
    pub confidence: f64,
    /// One sentence each, for people: what was found and what is doubtful.
    pub notes: Vec<String>,
}

/// A file format.
pub struct FormatDef {
    pub name: &'static str,
    pub summary: &'static str,
    pub schema: fn() -> Schema,
    pub validate: fn(&Value) -> Vec<Problem>,
    pub reader: Option<fn(&Value) -> Result<Arc<dyn FileFormat>>>,
    pub writer: Option<fn(&Value) -> Result<Arc<dyn EncoderFactory>>>,
    /// The columns the configuration declares, as an Arrow schema, where it declares any; no network or disk.
    pub declared_columns: fn(&Value) -> Option<arrow_schema::SchemaRef>,
    /// Finds the options that files need, from their beginnings. `None` as an answer: they are not of this format, or it cannot be told.
    pub sniff: Option<fn(&[FileHead]) -> Option<Sniffed>>,
}

/// Everything this build can talk to.
pub struct Registry {
    pub sources: Vec<&'static SourceDef>,
    pub sinks: Vec<&'static SinkDef>,
    pub formats: Vec<&'static FormatDef>,
    /// Kinds of connection (`s3` …) with their JSON Schemas.
    pub connections: Vec<ConnectionDef>,
    /// `lake:` of a project, in a connection's shape; `None`: this build has no lake.
    pub lake: Option<ConnectionDef>,
}

/// A kind of connection: one key under a name in `connections:`.
#[derive(Clone, Copy)]
pub struct ConnectionDef {
    pub name: &'static str,
    pub summary: &'static str,
    pub schema: fn() -> Schema,
    pub validate: fn(&Value) -> Vec<Problem>,
}

impl Registry {
    pub fn source(&self, name: &str) -> Option<&'static SourceDef> {
        self.sources.iter().copied().find(|d| d.name == name)
    }
    pub fn sink(&self, name: &str) -> Option<&'static SinkDef> {
        self.sinks.iter().copied().find(|d| d.name == name)
    }
    pub fn format(&self, name: &str) -> Option<&'static FormatDef> {
        self.formats.iter().copied().find(|d| d.name == name)
    }
}
