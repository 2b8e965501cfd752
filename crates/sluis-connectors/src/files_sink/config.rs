//! `into: files:` as it is written ([`FilesTargetConfig`]) and as it is meant ([`Settings`], valid by construction).
//!
//! The doc comments of `FilesTargetConfig` are the users' reference. Deliberately not here: disk and network.

use std::sync::Arc;

use schemars::{JsonSchema, SchemaGenerator};
use serde::Deserialize;
use serde_json::Value;
use sluis_core::registry::Problem;
use sluis_core::{ByteSize, EncoderFactory, SinkName};

use super::layout::{Part, Template};

/// Files in a folder or a bucket: new rows come as new files, in partition folders if wanted.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesTargetConfig {
    /// The folder to write to: a path (relative paths start at the project's folder), `file://`, `s3://bucket/prefix/`.
    pub url: String,
    /// Name of the connection to use, from `connections:` in `sluis.yaml`. Default: the one whose `for` fits the URL, else the environment.
    #[serde(default)]
    pub connection: Option<String>,
    /// The format: `parquet` (default), `csv`, `json`, `raw`, or one of them with options: `{csv: {delimiter: ";"}}`. `raw` writes the
    /// bytes of each source file as they are, under its own name.
    #[serde(default = "parquet")]
    #[schemars(schema_with = "format_schema")]
    pub format: Value,
    /// Columns whose values become folders, as Hive has them: `[day, region]` gives `day=2024-01-01/region=eu/`. They are left out of
    /// the files. Rows without a value go to `__HIVE_DEFAULT_PARTITION__`. Default: none.
    #[serde(default)]
    pub partition_by: Vec<String>,
    /// How files are named, below the partition's folder: `{pipeline}`, `{lane}`, `{sink}`, `{epoch}`, `{n}` (number of the file in its
    /// epoch), `{uuid}`, `{ext}`; where each file is of one source file also `{source}` (a hash of its path), `{name}` and `{stem}` (its
    /// name, without the ending). Default: `{pipeline}-{lane}-{epoch}-{n}.{ext}`; with `on_overwrite: replace`
    /// `{pipeline}-{source}-{n}.{ext}`; for `raw` `{name}`. It must keep files apart: `{epoch}` and `{n}`, or `{uuid}`; with
    /// `on_overwrite: replace` `{source}` and `{n}`.
    #[serde(default)]
    pub name: Option<String>,
    /// When a file is full and the next one begins.
    #[serde(default)]
    pub roll: Roll,
}

/// A file ends at whichever comes first.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Roll {
    /// Bytes of a file as written, about. Default: `256MiB`.
    pub size: ByteSize,
    /// Rows of a file, exactly. Default: no limit.
    #[schemars(range(min = 1))]
    pub rows: Option<u64>,
}

impl Default for Roll {
    fn default() -> Self {
        Self { size: ByteSize(256 << 20), rows: None }
    }
}

fn parquet() -> Value {
    "parquet".into()
}

fn format_schema(_: &mut SchemaGenerator) -> schemars::Schema {
    sluis_formats::writer_schema()
}

/// How rows find their file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// New files in each epoch.
    Append,
    /// Files of their own for each source file; a new version of it takes their place.
    Replace,
    /// One file for each source file: its bytes.
    Raw,
}

/// A configuration without mistakes.
#[derive(Clone)]
pub struct Settings {
    pub url: String,
    pub connection: Option<String>,
    pub factory: Arc<dyn EncoderFactory>,
    pub partition_by: Vec<String>,
    /// `None`: the mode's own.
    pub name: Option<Template>,
    pub roll_bytes: u64,
    pub roll_rows: Option<u64>,
}

fn problem(at: &[&str], message: impl Into<String>, hint: Option<&str>) -> Problem {
    Problem { at: at.iter().map(|s| (*s).to_owned()).collect(), message: message.into(), hint: hint.map(str::to_owned) }
}

impl Settings {
    /// Reads a configuration; or every mistake in it.
    pub fn parse(value: &Value) -> Result<Settings, Vec<Problem>> {
        let config = FilesTargetConfig::deserialize(value).map_err(|e| vec![problem(&[], e.to_string(), None)])?;
        let mut problems = place(&config);
        for p in sluis_formats::validate_writer(&config.format) {
            problems.push(Problem { at: std::iter::once("format".to_owned()).chain(p.at).collect(), ..p });
        }
        for (i, column) in config.partition_by.iter().enumerate() {
            if column.is_empty() || config.partition_by[..i].contains(column) {
                problems.push(problem(&["partition_by"], format!("column `{column}` is empty or listed twice"), None));
            }
        }
        if config.roll.size.0 == 0 || config.roll.rows == Some(0) {
            problems.push(problem(&["roll"], "a file holds at least one byte and one row", None));
        }
        let name = config.name.as_deref().and_then(|text| match template(text, &config.format) {
            Ok(template) => Some(template),
            Err(p) => {
                problems.push(p);
                None
            }
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        let factory =
            sluis_formats::writer_from_value(&config.format).map_err(|e| vec![problem(&["format"], e.message().to_owned(), e.hint_text())])?;
        Ok(Settings {
            url: config.url,
            connection: config.connection,
            factory,
            partition_by: config.partition_by,
            name,
            roll_bytes: config.roll.size.0,
            roll_rows: config.roll.rows,
        })
    }

    pub fn mode(&self, replaces_files: bool) -> Mode {
        match self.factory.name() {
            "raw" => Mode::Raw,
            _ if replaces_files => Mode::Replace,
            _ => Mode::Append,
        }
    }

    /// The template in use, or what is wrong with the one that was given, in this mode.
    pub fn template(&self, mode: Mode, sink: &SinkName) -> Result<Template, String> {
        let Some(template) = &self.name else {
            // A second target, or the rejects, may be pointed at the same folder.
            let sink = if sink.as_str() == "files" { "" } else { "-{sink}" };
            return Template::parse(&match mode {
                Mode::Append => format!("{{pipeline}}{sink}-{{lane}}-{{epoch}}-{{n}}.{{ext}}"),
                Mode::Replace => format!("{{pipeline}}{sink}-{{source}}-{{n}}.{{ext}}"),
                Mode::Raw => "{name}".to_owned(),
            });
        };
        let missing = match mode {
            Mode::Append if appends(template) => None,
            Mode::Append => Some("files of an epoch, and epochs, must not share names: `name` needs `{epoch}` and `{n}`, or `{uuid}`"),
            Mode::Replace if replaces(template) => None,
            Mode::Replace => {
                Some("with `on_overwrite: replace` a file is found again by the hash of its source's path: `name` needs `{source}` and `{n}`")
            }
            Mode::Raw if raw(template) => None,
            Mode::Raw => Some("with `raw` each source file is one file: `name` needs `{name}`, `{source}`, or `{uuid}`"),
        };
        missing.map_or_else(|| Ok(template.clone()), |m| Err(m.to_owned()))
    }
}

fn of_one_source(t: &Template) -> bool {
    [Part::Source, Part::Name, Part::Stem].into_iter().any(|p| t.has(p))
}

fn appends(t: &Template) -> bool {
    !of_one_source(t) && (t.has(Part::Uuid) || t.has(Part::Epoch) && t.has(Part::Number))
}

fn replaces(t: &Template) -> bool {
    t.has(Part::Source) && t.has(Part::Number) && !t.has(Part::Uuid) && !t.has(Part::Epoch) && !t.has(Part::Lane)
}

fn raw(t: &Template) -> bool {
    [Part::Source, Part::Name, Part::Uuid].into_iter().any(|p| t.has(p))
}

fn place(config: &FilesTargetConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    let url = config.url.to_ascii_lowercase();
    if config.url.is_empty() {
        problems.push(problem(&["url"], "the URL is empty", Some("write a path, file:// or s3://")));
    }
    if url.starts_with("http://") || url.starts_with("https://") {
        problems.push(problem(&["url"], "a web server can be read from, not written to", Some("write to a path, file:// or s3://")));
    }
    if config.connection.is_some() && !config.url.contains("://") && !config.url.contains("${") {
        problems.push(problem(&["connection"], "local files need no connection", Some("remove it, or write `url` with s3://")));
    }
    problems
}

/// Checks what can be said before it is known whether the pipeline replaces files.
fn template(text: &str, format: &Value) -> Result<Template, Problem> {
    let template = Template::parse(text).map_err(|message| problem(&["name"], message, None))?;
    let is_raw = format.as_str() == Some("raw") || format.get("raw").is_some();
    if if is_raw { raw(&template) } else { appends(&template) || replaces(&template) } {
        return Ok(template);
    }
    let (message, hint) = if is_raw {
        ("with `raw` each source file is one file: `name` needs `{name}`, `{source}` or `{uuid}`", "for example `{source}-{name}`")
    } else {
        (
            "`name` does not keep files apart: it needs `{epoch}` and `{n}`, or `{uuid}`; with `on_overwrite: replace` `{source}` and `{n}`, without `{epoch}`, `{lane}` and `{uuid}`",
            "for example `{pipeline}-{lane}-{epoch}-{n}.{ext}`",
        )
    };
    Err(problem(&["name"], message, Some(hint)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_shortest_form_is_parquet_by_epoch() {
        let s = Settings::parse(&json!({ "url": "out/" })).unwrap();
        assert_eq!((s.factory.name(), s.roll_bytes, s.roll_rows), ("parquet", 256 << 20, None));
        assert_eq!((s.mode(false), s.mode(true)), (Mode::Append, Mode::Replace));
        let sink = SinkName::new("files");
        assert!(s.template(Mode::Append, &sink).unwrap().has(Part::Epoch));
        assert!(s.template(Mode::Append, &SinkName::new("rejects")).unwrap().has(Part::Sink));
    }

    #[test]
    fn every_mistake_is_named_at_its_key() {
        let bad = json!({ "url": "https://h/x", "format": { "csv": { "delimitr": 1 } }, "partition_by": ["a", "a"], "name": "{pipeline}.{ext}", "roll": { "rows": 0 } });
        let at: Vec<String> = Settings::parse(&bad).err().unwrap().iter().map(|p| p.at.join(".")).collect();
        assert_eq!(at, ["url", "format.csv", "partition_by", "roll", "name"]);
        for (key, value) in [("nam", json!("x")), ("format", json!("xlsx")), ("name", json!("{epoch}")), ("name", json!("{source}-{epoch}-{n}"))] {
            let mut config = json!({ "url": "out" });
            config[key] = value;
            assert!(Settings::parse(&config).is_err(), "{key}");
        }
    }

    #[test]
    fn a_name_must_fit_the_mode() {
        let sink = SinkName::new("files");
        for (name, mode, ok) in [
            ("{epoch}-{n}", Mode::Append, true),
            ("{uuid}.{ext}", Mode::Append, true),
            ("{source}-{n}", Mode::Append, false),
            ("{source}-{n}", Mode::Replace, true),
            ("{stem}-{source}-{n}", Mode::Replace, true),
            ("{epoch}-{n}", Mode::Replace, false),
        ] {
            let s = Settings::parse(&json!({ "url": "out", "name": name })).unwrap();
            assert_eq!(s.template(mode, &sink).is_ok(), ok, "{name} {mode:?}");
        }
        let s = Settings::parse(&json!({ "url": "out", "format": "raw", "name": "{source}-{name}" })).unwrap();
        assert!(s.template(s.mode(false), &sink).is_ok());
        assert!(Settings::parse(&json!({ "url": "out", "format": "raw", "name": "{epoch}-{n}" })).is_err());
    }
}
