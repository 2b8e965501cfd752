//! A registry like the real one, small: sources, formats, targets and connections that are never built.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema as Columns, SchemaRef};
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::Value;
use sluis_core::registry::{ConnectionDef, Problem};
use sluis_core::{Error, FormatDef, Guarantee, HumanDuration, Registry, SinkDef, SourceDef};

/// Files of a folder.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
pub struct Files {
    /// Where the files are: a path or a URL. Several are a list.
    url: Urls,
    /// Which files to take, by name.
    #[serde(default, rename = "match")]
    pattern: Option<String>,
    /// Name of the connection to use.
    #[serde(default)]
    connection: Option<String>,
    /// How long a file must be unchanged.
    #[serde(default)]
    settle: Option<HumanDuration>,
    /// What happens to a file that changed.
    #[serde(default)]
    on_overwrite: OnOverwrite,
    /// Whether folders are looked into.
    #[serde(default)]
    recursive: bool,
    /// Which files the first run takes.
    #[serde(default)]
    #[schemars(schema_with = "start")]
    start: Option<String>,
    /// What happens afterwards.
    #[serde(default)]
    after_commit: Option<After>,
    /// Columns to add.
    #[serde(default)]
    metadata: Vec<Metadata>,
}

fn start(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "pattern": "^(all|new|[0-9-]{10})$", "description": "`all`, `new` or a date.", "examples": ["new"] })
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum Urls {
    One(String),
    Many(Vec<String>),
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OnOverwrite {
    /// Passed over.
    Ignore,
    /// The old rows leave.
    Replace,
    Append,
    #[default]
    Fail,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum After {
    Word(Word),
    Action(Action),
}
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Word {
    Keep,
    Delete,
}
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Action {
    /// Folder.
    archive: String,
    /// How long to wait.
    #[serde(default)]
    delay: Option<HumanDuration>,
}
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Metadata {
    File,
    Line,
}

/// CSV.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
pub struct Csv {
    /// What stands between fields.
    #[serde(default)]
    delimiter: Option<String>,
    /// Lines above the rows.
    #[serde(default)]
    header: Option<u8>,
    /// Lines below the rows.
    #[serde(default)]
    footer: Option<u32>,
    /// Columns and their types.
    #[serde(default)]
    #[schemars(schema_with = "columns")]
    columns: Types,
}

#[derive(Deserialize)]
#[serde(untagged)]
#[allow(dead_code)]
enum Types {
    All(String),
    Each(BTreeMap<String, String>),
}

impl Default for Types {
    fn default() -> Self {
        Types::Each(BTreeMap::new())
    }
}

fn columns(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "anyOf": [
        { "type": "object", "additionalProperties": { "type": "string", "format": "sluis-type" } },
        { "const": "string" },
    ] })
}

/// The names declared, whatever their types.
fn declared(value: &Value) -> Option<SchemaRef> {
    let names = value["columns"].as_object()?.keys();
    Some(Arc::new(Columns::new(names.map(|n| Field::new(n, DataType::Utf8, true)).collect::<Vec<_>>())))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A table.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
pub struct Table {
    /// The table's name.
    name: String,
    /// What a commit does.
    #[serde(default)]
    mode: Option<Mode>,
    /// Key columns.
    #[serde(default)]
    key: Vec<String>,
    /// Columns whose values make partitions.
    #[serde(default)]
    partition_by: Vec<String>,
}
#[derive(Deserialize, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Append,
    Upsert,
}

/// Files written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
pub struct FilesOut {
    /// Where to.
    url: String,
    /// How they are written.
    #[serde(default)]
    format: Option<String>,
    /// Name of the connection to use.
    #[serde(default)]
    connection: Option<String>,
}

/// S3.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
#[allow(dead_code)]
pub struct S3 {
    /// URL of the service.
    endpoint: Option<String>,
    /// Region.
    region: Option<String>,
    /// Access key.
    access_key: Option<String>,
    /// Secret key.
    secret_key: Option<String>,
    /// How often.
    retries: Option<u32>,
}

/// The lake.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Lake {
    /// Folder of the tables.
    warehouse: Option<String>,
}

fn parsed<T: for<'de> Deserialize<'de>>(value: &Value, more: impl Fn(&T) -> Vec<Problem>) -> Vec<Problem> {
    match T::deserialize(value) {
        Ok(t) => more(&t),
        Err(e) => vec![Problem { at: vec![], message: e.to_string(), hint: None }],
    }
}

fn problem(at: &[&str], message: &str, hint: Option<&str>) -> Problem {
    Problem { at: at.iter().map(|s| (*s).to_owned()).collect(), message: message.into(), hint: hint.map(str::to_owned) }
}

fn never<T>() -> Result<T, Error> {
    Err(Error::internal("fakes are never built"))
}

static FILES: SourceDef = SourceDef {
    name: "files",
    summary: "Files of a folder.",
    schema: || schema_for!(Files),
    needs_format: true,
    validate: |v| {
        parsed::<Files>(v, |f| {
            let mut out = Vec::new();
            if f.pattern.as_deref().is_some_and(|p| p.matches('{').count() != p.matches('}').count()) {
                out.push(problem(&["match"], "a brace is not closed", Some("write `{name}` or `{name:type}`")));
            }
            if let Urls::Many(urls) = &f.url {
                out.extend(
                    urls.iter().enumerate().filter(|(_, u)| u.is_empty()).map(|(i, _)| problem(&["url", &i.to_string()], "the URL is empty", None)),
                );
            }
            out
        })
    },
    constant_columns: |_| Arc::new(Columns::empty()),
    build: |_, _| never(),
};
static QUEUE: SourceDef = SourceDef {
    name: "queue",
    summary: "Messages of a queue.",
    schema: || schema_for!(Nothing),
    needs_format: false,
    validate: |_| vec![],
    constant_columns: |_| Arc::new(Columns::empty()),
    build: |_, _| never(),
};
static CSV: FormatDef = FormatDef {
    name: "csv",
    summary: "Comma-separated values.",
    schema: || schema_for!(Csv),
    validate: |v| parsed::<Csv>(v, |_| vec![]),
    reader: Some(|_| never()),
    writer: None,
    declared_columns: declared,
    sniff: None,
};
static RAW: FormatDef = FormatDef {
    name: "raw",
    summary: "Bytes as they are.",
    schema: || schema_for!(Nothing),
    validate: |v| parsed::<Nothing>(v, |_| vec![]),
    reader: Some(|_| never()),
    writer: None,
    declared_columns: |_| None,
    sniff: None,
};
static JSON: FormatDef = FormatDef {
    name: "json",
    summary: "JSON lines.",
    schema: || schema_for!(Nothing),
    validate: |v| parsed::<Nothing>(v, |_| vec![]),
    reader: Some(|_| never()),
    writer: None,
    declared_columns: |_| None,
    sniff: None,
};
static TABLE: SinkDef = SinkDef {
    name: "table",
    summary: "A table of the lake.",
    schema: || schema_for!(Table),
    validate: |v| {
        parsed::<Table>(v, |t| {
            if t.mode == Some(Mode::Upsert) && t.key.is_empty() {
                vec![problem(&[], "`mode: upsert` needs a `key`", Some("as in `key: [call_id]`"))]
            } else {
                vec![]
            }
        })
    },
    guarantee: |_| Guarantee::ExactlyOnce(String::new()),
    build: |_, _, _| never(),
};
static FILES_OUT: SinkDef = SinkDef {
    name: "files",
    summary: "Files.",
    schema: || schema_for!(FilesOut),
    validate: |v| parsed::<FilesOut>(v, |_| vec![]),
    guarantee: |_| Guarantee::ExactlyOnce(String::new()),
    build: |_, _, _| never(),
};

pub fn registry() -> Registry {
    Registry {
        sources: vec![&FILES, &QUEUE],
        sinks: vec![&TABLE, &FILES_OUT],
        formats: vec![&CSV, &JSON, &RAW],
        connections: vec![
            ConnectionDef {
                name: "s3",
                summary: "Amazon S3.",
                schema: || schema_for!(S3),
                validate: |v| {
                    parsed::<S3>(v, |s| {
                        let plain = s.endpoint.as_deref().is_some_and(|e| !e.starts_with("https://"));
                        if plain {
                            vec![problem(&["endpoint"], "this is not the URL of a service", Some("write it as `https://host`"))]
                        } else {
                            vec![]
                        }
                    })
                },
            },
            ConnectionDef { name: "http", summary: "A web server.", schema: || schema_for!(Nothing), validate: |_| vec![] },
        ],
        lake: Some(ConnectionDef {
            name: "lake",
            summary: "Where tables are.",
            schema: || schema_for!(Lake),
            validate: |v| {
                parsed::<Lake>(v, |lake| {
                    let empty = lake.warehouse.as_deref() == Some("");
                    if empty { vec![problem(&["warehouse"], "the folder's name is empty", None)] } else { vec![] }
                })
            },
        }),
    }
}
