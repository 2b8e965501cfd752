//! `from: files:` as it is written, and as it is meant: [`FilesConfig`] is the typing, [`Settings`] is valid by construction.
//!
//! The doc comments of `FilesConfig` are the users' reference: docs and the editors' schema are made from them.
//! Deliberately not here: disk and network.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::time::Duration;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sluis_core::UnpackLimits;
use sluis_core::registry::Problem;
use sluis_core::units::{ByteSize, HumanDuration};

use super::marker::Marker;
use super::members::ArchiveChoice;
use super::pattern::Pattern;
use super::place::{self, UrlPattern};

/// Files of a folder, a bucket or a web server: each version of each file lands once.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesConfig {
    /// Where the files are: a path (relative paths start at the project's folder), `file://`, `s3://bucket/prefix/`, `https://host/path/`.
    /// A folder, one file, or a pattern such as `in/2024-*/*.csv`; or a list of those. A file that several of them name is taken once.
    /// In a URL `?` belongs to `https://` addresses; elsewhere it stands for one character.
    pub url: Urls,
    /// Name of the connection to use, from `connections:` in `sluis.yaml`. Default: the one whose `for` fits the URL, else the environment.
    #[serde(default)]
    pub connection: Option<String>,
    /// Which files to take: `*` (part of a name), `?` (one character), `[a-z]`, `{a,b}` (alternatives), `**` (any folders), and captures
    /// that become columns: `{station}`, `{seq:int}`, `{day:%Y%m%d}`. With a `/` it is about the path below `url`, without one about
    /// the file's name in any folder. `\` takes the meaning from the next character. Default: every file.
    #[serde(default, rename = "match")]
    pub pattern: Option<String>,
    /// Whether folders below `url` are looked into. Default: true.
    #[serde(default = "yes")]
    pub recursive: bool,
    /// A file is taken when it was not modified for this long, so that uploads in progress are left alone. Default: `0s`, take it at once.
    #[serde(default)]
    pub settle: Option<HumanDuration>,
    /// Whether hidden and temporary files are taken too: names that start with `.` or `_`, end with `~` or with .tmp, .temp, .part,
    /// .partial, .crdownload, .filepart, .swp, and everything in folders that start with `.` or `_`. Default: false. A `match` whose
    /// names start with `.` or `_` takes those names without it.
    #[serde(default)]
    pub hidden: bool,
    /// A file is taken only when this marker file exists: `"{path}.done"`, `"{stem}.ok"`, or one name for a whole folder, `_SUCCESS`.
    /// `{path}` is the path below `url`, `{name}` the file's name, `{stem}` its name without the last ending; what has no `{path}` is
    /// looked for in the file's own folder. Markers are never read as data.
    #[serde(default)]
    pub done_marker: Option<String>,
    /// Only the files listed in this file are taken. A path below `url`, or a path or URL of its own. One path per line (blank lines and
    /// lines that start with `#` are skipped), or JSON: a list of paths or of `{path, size, md5}`, or `{"entries": [...]}` of those.
    /// With `size` or `md5` a file is taken when it is as listed.
    #[serde(default)]
    pub manifest: Option<String>,
    /// What happens when a file that has landed is there in a new version: `fail` (default: stop and say so), `replace` (the old
    /// version's rows leave in the commit that brings the new ones; targets: `table` and `files`), `append` (its rows come in
    /// addition), `ignore` (the new version is passed over, with a warning).
    #[serde(default)]
    pub on_overwrite: OnOverwrite,
    /// How a file that was only touched is told from one that was rewritten, where the storage keeps no etag (local folders): `version`
    /// (default) compares the contents of files up to 4 MiB and, for larger ones, trusts size and modification time; `content`
    /// compares contents whatever the size, which reads every new file once more.
    #[serde(default)]
    pub identity: Identity,
    /// Which files the first run takes: `all` (default); `new`: what is there at the first run is passed over for good; or a date
    /// (`2024-01-31`) or time (`2024-01-31T12:00:00Z`): only files of then or later, by the first date in `match`, else by modification
    /// time.
    #[serde(default)]
    pub start: Start,
    /// What happens to a file once its rows are committed: `keep` (default), `delete`, or `{archive: FOLDER, delay: 7d}` or
    /// `{delete: true, delay: 7d}`. Files that have changed since are left alone.
    #[serde(default)]
    pub after_commit: AfterCommit,
    /// What files are opened as: `auto` (default: by their names, `.zip`, `.tar`, `.tar.gz`, `.tgz` and other compressed tars), `none` (every
    /// file as it is), `zip` or `tar` (every file, whatever its name). The members of an archive are read as files of their own, and land
    /// together with it.
    #[serde(default)]
    pub archive: ArchiveChoice,
    /// Which members of archives to take, in the language of `match`; captures become columns. Without a `/` it is about a member's name in
    /// any folder of the archive. Default: every member. Hidden and temporary names are passed over as `hidden` says.
    #[serde(default)]
    pub members: Option<String>,
    /// How many times its size a file may unpack to, once it unpacks to more than 100 MiB; beyond it counts as damaged. For an archive: all
    /// of its members together. Default: 1000.
    #[serde(default)]
    pub max_ratio: Option<NonZeroU64>,
    /// How much a file may unpack to; beyond it counts as damaged. For an archive: all of its members together. Default: `1TiB`.
    #[serde(default)]
    pub max_unpacked: Option<ByteSize>,
    /// Columns to add to each row: `file` (`_file`, its full address; with a member's name behind it), `line` (`_line`), `modified` (`_modified`, the file's modification
    /// time), `loaded` (`_loaded`, when the epoch was planned). Default: none.
    #[serde(default)]
    pub metadata: Vec<Metadata>,
}

fn yes() -> bool {
    true
}

/// One URL or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Urls {
    One(String),
    Many(#[schemars(length(min = 1))] Vec<String>),
}

impl Urls {
    pub fn all(&self) -> &[String] {
        match self {
            Urls::One(url) => std::slice::from_ref(url),
            Urls::Many(urls) => urls,
        }
    }
}

/// A new version of a file that has landed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnOverwrite {
    /// Pass the new version over, with a warning.
    Ignore,
    /// The old version's rows leave as the new ones arrive.
    Replace,
    /// The new version's rows come in addition.
    Append,
    /// Stop and say so.
    #[default]
    Fail,
}

/// How versions are told apart where there are no etags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// Size and modification time; contents too for files up to 4 MiB.
    #[default]
    Version,
    /// Contents, whatever the size.
    Content,
}

/// Which of the files that are there at first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    #[default]
    All,
    New,
    From(DateTime<Utc>),
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let day = || NaiveDate::parse_from_str(&text, "%Y-%m-%d").map(|day| day.and_time(NaiveTime::MIN).and_utc());
        match text.as_str() {
            "all" => Ok(Start::All),
            "new" => Ok(Start::New),
            _ => DateTime::parse_from_rfc3339(&text).map(|at| at.to_utc()).or_else(|_| day()).map(Start::From).map_err(|_| {
                serde::de::Error::custom(format!("`{text}` is not `all`, `new`, a date (`2024-01-31`) or a time (`2024-01-31T12:00:00Z`)"))
            }),
        }
    }
}

impl JsonSchema for Start {
    fn schema_name() -> Cow<'static, str> {
        "Start".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^(all|new|[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2}))?)$",
            "description": "`all`, `new`, a date or a time.",
            "examples": ["all", "new", "2024-01-31", "2024-01-31T12:00:00Z"]
        })
    }
}

/// What happens to a file after the commit.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum AfterCommit {
    Word(AfterCommitWord),
    Action(AfterCommitAction),
}

impl Default for AfterCommit {
    fn default() -> Self {
        AfterCommit::Word(AfterCommitWord::Keep)
    }
}

/// The short form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AfterCommitWord {
    /// Leave it where it is.
    Keep,
    /// Delete it.
    Delete,
}

/// The long form: one of `archive` and `delete`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AfterCommitAction {
    /// Move it to this folder, under the path it has below `url`: a path (relative paths start at the project's folder; for local files
    /// only) or a URL. A name that is taken there gets the file's modification time added.
    #[serde(default)]
    pub archive: Option<String>,
    /// Delete it.
    #[serde(default)]
    pub delete: bool,
    /// Only once the file is at least this old, by its modification time; it is looked at again at the end of every later run.
    #[serde(default)]
    pub delay: Option<HumanDuration>,
}

/// A column about where a row came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metadata {
    /// `_file` string: the full address of the file.
    File,
    /// `_line` bigint: the line the row starts in (the row's number where the format has no lines).
    Line,
    /// `_modified` timestamptz: the file's modification time.
    Modified,
    /// `_loaded` timestamptz: when the epoch was planned.
    Loaded,
}

impl Metadata {
    fn field(self) -> Field {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        match self {
            Metadata::File => Field::new("_file", DataType::Utf8, true),
            Metadata::Line => Field::new("_line", DataType::Int64, true),
            Metadata::Modified => Field::new("_modified", time, true),
            Metadata::Loaded => Field::new("_loaded", time, true),
        }
    }
}

/// What becomes of files after the commit, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Afterwards {
    Keep,
    Delete { delay: Duration },
    Archive { to: String, delay: Duration },
}

/// A configuration without mistakes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// One per URL.
    pub urls: Vec<UrlPattern>,
    pub connection: Option<String>,
    pub settle: Duration,
    pub hidden: bool,
    pub marker: Option<Marker>,
    pub manifest: Option<String>,
    pub on_overwrite: OnOverwrite,
    pub identity: Identity,
    pub start: Start,
    pub afterwards: Afterwards,
    pub archive: ArchiveChoice,
    pub members: Option<Pattern>,
    pub unpack: UnpackLimits,
    pub metadata: Vec<Metadata>,
    /// Captures and metadata columns.
    pub columns: SchemaRef,
}

fn problem(at: &str, message: impl Into<String>, hint: Option<&str>) -> Problem {
    Problem { at: vec![at.to_owned()], message: message.into(), hint: hint.map(str::to_owned) }
}

impl Settings {
    /// Reads a configuration; or every mistake in it.
    pub fn parse(value: &Value) -> Result<Settings, Vec<Problem>> {
        let config = FilesConfig::deserialize(value).map_err(|e| vec![Problem { at: Vec::new(), message: e.to_string(), hint: None }])?;
        let mut problems = combinations(&config);
        let urls = urls(&config, &mut problems);
        let marker = config.done_marker.as_deref().and_then(|text| {
            Marker::parse(text).map_err(|message| problems.push(problem("done_marker", message, Some("as in `\"{path}.done\"` or `_SUCCESS`")))).ok()
        });
        let afterwards = afterwards(&config, &mut problems);
        let members = config.members.as_deref().and_then(|text| members(text, &urls, &mut problems));
        let columns = columns(&urls, members.as_ref(), &config.metadata, &mut problems);
        let unpack = UnpackLimits::default();
        let unpack = UnpackLimits {
            ratio: config.max_ratio.map_or(unpack.ratio, NonZeroU64::get),
            bytes: config.max_unpacked.map_or(unpack.bytes, |size| size.0),
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Settings {
            urls,
            connection: config.connection,
            settle: config.settle.map_or(Duration::ZERO, |s| s.0),
            hidden: config.hidden,
            marker,
            manifest: config.manifest,
            on_overwrite: config.on_overwrite,
            identity: config.identity,
            start: config.start,
            afterwards,
            archive: config.archive,
            members,
            unpack,
            metadata: config.metadata,
            columns,
        })
    }
}

/// What does not go together.
fn combinations(config: &FilesConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    if config.manifest.is_some() {
        let complete = "a manifest lists files that are complete";
        if config.settle.is_some_and(|s| s.0 > Duration::ZERO) {
            problems.push(problem("settle", format!("{complete}: `settle` has no meaning beside it"), Some("remove one of the two")));
        }
        if config.done_marker.is_some() {
            problems.push(problem("done_marker", format!("{complete}: `done_marker` has no meaning beside it"), Some("remove one of the two")));
        }
    }
    if !config.recursive && config.pattern.as_deref().is_some_and(|p| p.contains("**")) {
        problems.push(problem("recursive", "`**` in `match` looks into folders, `recursive: false` does not", Some("remove one of the two")));
    }
    if config.connection.is_some() && config.url.all().iter().all(|url| place::is_local(url)) {
        problems.push(problem("connection", "local files need no connection", Some("remove it, or write `url` with s3:// or https://")));
    }
    if config.archive == ArchiveChoice::None && config.members.is_some() {
        problems.push(problem("members", "with `archive: none` no file has members", Some("remove one of the two")));
    }
    if config.manifest.as_deref() == Some("") {
        problems.push(problem("manifest", "the path of the manifest is empty", None));
    }
    problems
}

fn urls(config: &FilesConfig, problems: &mut Vec<Problem>) -> Vec<UrlPattern> {
    let written = config.url.all();
    if written.is_empty() {
        problems.push(problem("url", "there is no URL in this list", None));
    }
    if let Some(twice) = written.iter().enumerate().find(|(i, url)| written[..*i].contains(url)) {
        problems.push(problem("url", format!("`{}` is listed twice", twice.1), None));
    }
    let mut out = Vec::new();
    for url in written {
        match UrlPattern::new(url, config.pattern.as_deref(), config.recursive) {
            Ok(parts) => out.push(parts),
            // A mistake in `match` is the same for every URL.
            Err(p) if problems.contains(&p) => {}
            Err(p) => problems.push(p),
        }
    }
    out
}

fn afterwards(config: &FilesConfig, problems: &mut Vec<Problem>) -> Afterwards {
    let out = match &config.after_commit {
        AfterCommit::Word(AfterCommitWord::Keep) => Afterwards::Keep,
        AfterCommit::Word(AfterCommitWord::Delete) => Afterwards::Delete { delay: Duration::ZERO },
        AfterCommit::Action(action) => {
            let delay = action.delay.map_or(Duration::ZERO, |d| d.0);
            match (&action.archive, action.delete) {
                (Some(to), false) if !to.is_empty() => Afterwards::Archive { to: to.clone(), delay },
                (None, true) => Afterwards::Delete { delay },
                _ => {
                    problems.push(problem("after_commit", "say one of `archive: FOLDER` and `delete: true`", None));
                    Afterwards::Keep
                }
            }
        }
    };
    let urls = config.url.all();
    if out != Afterwards::Keep && urls.iter().any(|url| place::is_http(url)) {
        problems.push(problem("after_commit", "files of a web server can only be kept", Some("remove `after_commit`")));
    }
    if let Afterwards::Archive { to, .. } = &out {
        if place::is_relative(to) && !urls.iter().all(|url| place::is_local(url)) {
            let hint = Some("write the whole URL of the folder, as in s3://bucket/archive/");
            problems.push(problem("after_commit", format!("`{to}` is a local folder, but the files are not local"), hint));
        }
        if place::is_http(to) {
            problems.push(problem("after_commit", "a web server is no place to archive files to", None));
        }
    }
    out
}

fn members(text: &str, urls: &[UrlPattern], problems: &mut Vec<Problem>) -> Option<Pattern> {
    let pattern = match Pattern::of_match(text, true) {
        Ok(pattern) => pattern,
        Err(e) => {
            problems.push(problem("members", format!("at character {} of `{text}`: {}", e.at, e.message), None));
            return None;
        }
    };
    let columns = pattern.columns();
    let outside = urls.iter().flat_map(|url| url.pattern.columns()).find(|field| columns.iter().any(|c| c.name() == field.name()));
    if let Some(field) = outside {
        let message = format!("`{}` is captured from the archive's name already", field.name());
        problems.push(problem("members", message, Some("give one of the two captures another name")));
    }
    Some(pattern)
}

fn columns(urls: &[UrlPattern], members: Option<&Pattern>, metadata: &[Metadata], problems: &mut Vec<Problem>) -> SchemaRef {
    let mut fields: Vec<Field> = Vec::new();
    for field in urls.iter().map(|url| &url.pattern).chain(members).flat_map(Pattern::columns) {
        match fields.iter().find(|f| f.name() == field.name()) {
            Some(have) if have.data_type() != field.data_type() => {
                problems.push(problem("url", format!("the capture `{}` has another type in another URL", field.name()), None));
            }
            Some(_) => {}
            None if ["_file", "_line", "_modified", "_loaded"].contains(&field.name().as_str()) => {
                let message = format!("a capture cannot be called `{}`: that is a metadata column", field.name());
                problems.push(problem("match", message, Some("name it otherwise; `metadata: [file, line, modified, loaded]` adds those columns")));
            }
            None => fields.push(field),
        }
    }
    for wanted in metadata {
        let field = wanted.field();
        if !fields.iter().any(|f| f.name() == field.name()) {
            fields.push(field);
        }
    }
    std::sync::Arc::new(Schema::new(fields))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mistakes(value: Value) -> Vec<String> {
        match Settings::parse(&value) {
            Ok(_) => vec![],
            Err(problems) => problems.into_iter().map(|p| format!("{}: {}", p.at.join("."), p.message)).collect(),
        }
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let s = Settings::parse(&json!({ "url": "in/" })).unwrap();
        assert_eq!((s.on_overwrite, s.start, s.afterwards), (OnOverwrite::Fail, Start::All, Afterwards::Keep));
        assert!(s.settle.is_zero() && !s.hidden && s.columns.fields().is_empty());
    }

    #[test]
    fn everything_is_read_as_written() {
        let s = Settings::parse(&json!({
            "url": ["s3://b/in/{country}/", "s3://c/{country}/*.cdr"], "connection": "lake", "settle": "1m", "hidden": true,
            "done_marker": "{path}.done", "on_overwrite": "replace", "identity": "content", "start": "2024-01-31",
            "after_commit": { "archive": "s3://b/done", "delay": "7d" }, "metadata": ["file", "line", "modified", "loaded", "file"],
        }))
        .unwrap();
        assert_eq!(s.start, Start::From("2024-01-31T00:00:00Z".parse().unwrap()));
        assert_eq!(s.afterwards, Afterwards::Archive { to: "s3://b/done".into(), delay: Duration::from_secs(7 * 86_400) });
        let names: Vec<&str> = s.columns.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, ["country", "_file", "_line", "_modified", "_loaded"]);
        let s = Settings::parse(&json!({ "url": "in", "start": "new", "after_commit": { "delete": true } })).unwrap();
        assert_eq!((s.start, s.afterwards), (Start::New, Afterwards::Delete { delay: Duration::ZERO }));
    }

    #[test]
    fn every_mistake_is_said_at_its_key() {
        for (value, says) in [
            (json!({ "url": "in", "matsch": "x" }), ": unknown field `matsch`"),
            (json!({ "url": "in", "start": "yesterday" }), "`yesterday` is not"),
            (json!({ "url": [] }), "url: there is no URL"),
            (json!({ "url": ["in", "in"] }), "url: `in` is listed twice"),
            (json!({ "url": "in", "match": "x_{seq:itn}" }), "match: at character 8 of `x_{seq:itn}`: unknown type"),
            (json!({ "url": "in/[a", "match": "x" }), "url: at character 4 of `in/[a`"),
            (json!({ "url": "in/a*", "match": "*.csv" }), "url: the pattern in this URL names files already"),
            (json!({ "url": "s3://b*/x" }), "url: a pattern cannot stand"),
            (json!({ "url": "in", "match": "**/x", "recursive": false }), "recursive: `**`"),
            (json!({ "url": "in/{a}/", "match": "{a}.csv" }), "url: two parts"),
            (json!({ "url": "in", "match": "{_file}.csv" }), "match: a capture cannot be called `_file`"),
            (json!({ "url": ["a/{x:int}.csv", "b/{x}.csv"] }), "url: the capture `x` has another type"),
            (json!({ "url": "in", "manifest": "m", "settle": "1s" }), "settle: a manifest"),
            (json!({ "url": "in", "manifest": "m", "done_marker": "_OK" }), "done_marker: a manifest"),
            (json!({ "url": "in", "done_marker": "{pth}.done" }), "done_marker: `{pth}`"),
            (json!({ "url": "in", "members": "{n:itn}" }), "members: at character 4 of `{n:itn}`"),
            (json!({ "url": "in/{n}.zip", "members": "{n}.csv" }), "members: `n` is captured"),
            (json!({ "url": "in", "members": "{_line}.csv" }), "match: a capture cannot be called `_line`"),
            (json!({ "url": "in", "members": "*.csv", "archive": "none" }), "members: with `archive: none`"),
            (json!({ "url": "in", "max_ratio": 0 }), ": invalid value"),
            (json!({ "url": "in", "connection": "c" }), "connection: local"),
            (json!({ "url": "https://h/in/", "after_commit": "delete" }), "after_commit: files of a web server"),
            (json!({ "url": "https://h/in/", "after_commit": { "delete": true, "delay": "1d" } }), "after_commit: files of a web server"),
            (json!({ "url": "in", "after_commit": { "delay": "1d" } }), "after_commit: say one of"),
            (json!({ "url": "s3://b/in/", "after_commit": { "archive": "done" } }), "after_commit: `done` is a local folder"),
        ] {
            let got = mistakes(value.clone());
            assert!(got.iter().any(|m| m.contains(says)), "{value}: {got:?}");
        }
        assert_eq!(mistakes(json!({ "url": ["a", "b"], "match": "{", "manifest": "m", "settle": "1s" })).len(), 2, "each mistake once, all at once");
    }

    #[test]
    fn every_key_is_documented() {
        let schema = schemars::schema_for!(FilesConfig);
        let keys = schema.get("properties").and_then(Value::as_object).unwrap();
        assert_eq!(keys.len(), 17);
        for (key, about) in keys {
            assert!(about["description"].as_str().is_some_and(|d| d.len() > 30), "{key}");
        }
    }
}
