//! Files of which nothing is known yet, looked at: what format they have, their columns, first rows, what would be rejected.
//!
//! | room | what |
//! |---|---|
//! | here | from an address to a [`Look`] |
//! | `beginning`, `read` | a file's beginning, kept; read as a run would |
//! | `kind` | which format it is |
//! | `almost`, `compact` | columns that are text because of a few values; whole numbers that are moments |
//! | `differences` | how the columns of files differ |
//! | `yaml`, `report` | what was found: to paste, for people, for scripts |
//!
//! Guarantees: nothing is written, no state is looked at or moved; memory is bounded by [`HEAD`] bytes of each file that is looked at.

mod almost;
mod beginning;
mod compact;
pub mod differences;
mod kind;
mod read;
pub mod report;
pub mod yaml;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Map, Value, json};
use sluis_config::Project;
use sluis_core::registry::{FileHead, Sniffed};
use sluis_core::{
    BuildContext, Checkpoint, EpochLimits, Error, ErrorKind, FileFormat, FormatDef, LaneShard, PipelineName, Reject, Result, Source, Split,
};

use self::almost::Almost;
use self::beginning::Beginning;
use self::compact::Compact;
use self::differences::{Columns, Difference};
use crate::session::{Session, shown};
use crate::tables::{NoHistory, reader};
use crate::url_parts;

/// Bytes of each file that are looked at, as stored.
pub const HEAD: usize = 1 << 20;
/// And of all of them.
const HEADS: usize = 64 << 20;
/// Files listed, at most, to choose from.
const LISTED: u64 = 1000;
/// Files opened at once.
const AT_ONCE: usize = 8;

/// What to look at.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// As it is typed: a relative path starts at the working directory.
    pub url: String,
    pub pattern: Option<String>,
    pub connection: Option<String>,
    pub hidden: bool,
    /// Files to look at, at most.
    pub files: usize,
    /// Rows to show, and rejects.
    pub rows: usize,
    pub format: Option<String>,
}

/// What was found.
pub struct Look {
    /// The settings of `from: files`, with the URL as it was typed.
    pub from: Value,
    pub def: &'static FormatDef,
    pub sniffed: Sniffed,
    pub others: Vec<(&'static str, f64)>,
    /// All that were found, and whether there are more.
    pub found: u64,
    pub more: bool,
    pub files: Vec<Looked>,
    pub notes: Vec<String>,
    /// The columns of all files together.
    pub schema: SchemaRef,
    /// The columns that come from files' names.
    pub constants: SchemaRef,
    /// Nulls seen, by column of `schema`.
    pub nulls: Vec<u64>,
    /// What its columns of text nearly are, by column of `schema`.
    pub almost: Vec<Almost>,
    /// Which of its columns of whole numbers are moments, by column of `schema`.
    pub compact: Vec<Compact>,
    /// The first rows, as `schema`.
    pub first: Vec<RecordBatch>,
    /// The first rows that would be rejected.
    pub rejects: Vec<WouldBe>,
}

/// A file that was looked at.
pub struct Looked {
    pub path: String,
    /// Bytes, as stored.
    pub size: u64,
    /// Those that were looked at.
    pub seen: u64,
    pub whole: bool,
    /// Inferred from this file alone; `None` if it has no rows.
    pub schema: Option<SchemaRef>,
    /// Its columns.
    pub names: Vec<String>,
    pub rows: u64,
    pub rejected: u64,
    /// Why it could not be read on.
    pub damage: Option<String>,
}

/// A row that would be rejected.
pub struct WouldBe {
    pub file: String,
    pub reject: Reject,
    /// Where in its text the fault is.
    pub at: Option<Range<usize>>,
}

impl Look {
    /// Rows looked at, rejects among them.
    pub fn rows(&self) -> (u64, u64) {
        self.files.iter().fold((0, 0), |(rows, rejected), f| (rows + f.rows + f.rejected, rejected + f.rejected))
    }

    pub fn differences(&self) -> Vec<Difference> {
        let names: Vec<String> = self.files.iter().map(|f| shown(Path::new(&f.path))).collect();
        let files = self.files.iter().zip(&names).filter(|(f, _)| !f.names.is_empty());
        let columns: Vec<Columns<'_>> =
            files.filter_map(|(f, name)| Some(Columns { file: name, schema: f.schema.as_ref()?, names: &f.names })).collect();
        differences::differences(&columns, &self.schema)
    }

    /// Columns that are text because of a few values, one sentence each.
    pub fn almost_texts(&self) -> Vec<String> {
        self.schema.fields().iter().zip(&self.almost).filter_map(|(f, almost)| almost.text(f.name())).collect()
    }

    /// Columns of moments written as whole numbers, and the type with its pattern that each is offered. Only where values are text.
    pub fn offered(&self) -> impl Iterator<Item = (&str, &Compact, &'static str)> {
        let text = self.def.name == "csv" && self.sniffed.options.get("columns").is_none();
        let columns = self.schema.fields().iter().zip(&self.compact).filter(move |_| text);
        columns.filter_map(|(f, compact)| Some((f.name().as_str(), compact, compact.type_name(f.name())?)))
    }

    /// Whether the format's settings take the types of columns.
    pub fn takes_columns(&self) -> bool {
        (self.def.schema)().get("properties").and_then(|p| p.get("columns")).is_some()
    }

    /// `from:` as YAML, for a pipeline of the project in `dir`.
    pub fn yaml(&self, dir: &Path) -> Result<String> {
        let mut files = self.from.clone();
        files["url"] = url_below(files["url"].as_str().unwrap_or_default(), dir)?.into();
        let mut options = self.sniffed.options.clone();
        for (column, _, name) in self.offered() {
            options["columns"][column] = name.into();
        }
        Ok(yaml::from_block(&files, self.def.name, &options, self.takes_columns(), &self.schema))
    }
}

/// Looks.
///
/// # Errors
/// Those of the project's configuration, of the source, and `ErrorKind::NotFound` and `Data` where there is nothing to see.
pub async fn look(session: &Session, project: &Project, ask: &Ask) -> Result<Look> {
    let mut from = json!({ "url": typed(&ask.url) });
    for (key, value) in [("connection", &ask.connection), ("match", &ask.pattern)] {
        if let Some(value) = value {
            from[key] = value.clone().into();
        }
    }
    if ask.hidden {
        from["hidden"] = true.into();
    }
    let source = source(session, project, &from)?;
    let found = source.discover(&Checkpoint::default(), &LIMITS, LaneShard::ALL, &NoHistory).await?;
    let (splits, endings) = kind::most_alike(found.splits, |s| s.name());
    let mut notes = found.notes;
    if let Some(endings) = &endings {
        notes.push(mixed(endings));
        if ask.pattern.is_none()
            && let Some(first) = splits.first()
        {
            from["match"] = format!("*.{}*", kind::ending(first.name())).trim_end_matches('*').into();
        }
    }
    let found_files = splits.len() as u64;
    let chosen = spread(splits, ask.files.max(1));
    if chosen.is_empty() {
        return Err(nothing(&ask.url, &notes));
    }
    let files = beginnings(&source, &chosen, ask.files.max(1)).await?;
    let heads: Vec<FileHead> = files.iter().map(|f| f.head()).filter(|h| !h.bytes.is_empty()).collect();
    if heads.is_empty() {
        let what = if files.len() == 1 { "the file is empty".to_owned() } else { format!("all of {} files are empty", files.len()) };
        return Err(Error::new(ErrorKind::Data, what).context("url", &ask.url).hint("look at one that has rows"));
    }
    let chosen = kind::choose(session.registry(), &heads, ask.format.as_deref())?;
    let format = reader(chosen.def, &chosen.sniffed.options)?;
    let raw: Vec<_> = files.iter().map(|f| f.clone() as Arc<dyn sluis_core::RawFile>).collect();
    let schema = format.infer(&raw, None).await?;
    let mut look = Look {
        from,
        def: chosen.def,
        sniffed: chosen.sniffed,
        others: chosen.others,
        found: found_files,
        more: found.more,
        files: Vec::new(),
        notes,
        constants: source.constant_columns(),
        nulls: vec![0; schema.fields().len()],
        almost: vec![Almost::default(); schema.fields().len()],
        compact: vec![Compact::default(); schema.fields().len()],
        schema,
        first: Vec::new(),
        rejects: Vec::new(),
    };
    for file in files {
        let own = own_schema(&format, &file).await?;
        read::read(&mut look, &format, file, own, ask.rows).await?;
    }
    Ok(look)
}

const LIMITS: EpochLimits = EpochLimits { files: LISTED, bytes: u64::MAX, rows: u64::MAX };

/// What was typed; a path that is there is that file, whatever its name has in it.
fn typed(url: &str) -> String {
    if !url.contains("://") && url.contains(['*', '?', '[', '{']) && Path::new(url).exists() { url_parts::escaped(url) } else { url.to_owned() }
}

/// A URL as a pipeline in `dir` writes it.
fn url_below(url: &str, dir: &Path) -> Result<String> {
    if url.contains("://") || url.starts_with(['/', '~']) {
        return Ok(url.to_owned());
    }
    let (fixed, pattern) = url_parts::split(url);
    let here = std::path::absolute(if fixed.is_empty() { "." } else { fixed }).map_err(|e| Error::io("find", fixed, e))?;
    let here: PathBuf = url_parts::without_dots(&here);
    let slash = if fixed.is_empty() || fixed.ends_with('/') || !pattern.is_empty() { "/" } else { "" };
    let path = match here.strip_prefix(url_parts::without_dots(dir)) {
        Ok(below) if below.as_os_str().is_empty() => String::from("."),
        Ok(below) => below.display().to_string(),
        Err(_) => here.display().to_string(),
    };
    let path = format!("{path}{slash}{pattern}");
    Ok(match path.strip_prefix("./") {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => path,
    })
}

fn source(session: &Session, project: &Project, from: &Value) -> Result<Arc<dyn Source>> {
    let def = session.registry().source("files").ok_or_else(|| Error::internal("this build reads no files"))?;
    if let Some(problem) = (def.validate)(from).into_iter().next() {
        let e = Error::config(problem.message);
        return Err(match problem.hint {
            Some(hint) => e.hint(hint),
            None => e,
        });
    }
    let url = from["url"].as_str().unwrap_or_default();
    let context = BuildContext {
        pipeline: PipelineName::new("peek"),
        project_dir: std::env::current_dir().map_err(|e| Error::io("find", "the working directory", e))?,
        state_dir: project.state_dir.clone(),
        connections: Arc::new(connections(project, url, from["connection"].as_str())?),
        lake: json!({}),
        clock: session.clock.clone(),
        replaces_files: false,
        retypes: false,
        selection: None,
    };
    (def.build)(&context, from)
}

/// The project's connections; secrets are looked up only of those that may serve the URL.
fn connections(project: &Project, url: &str, named: Option<&str>) -> Result<Map<String, Value>> {
    let mut out = project.connections.clone();
    let Some((scheme, _)) = url.split_once("://") else { return Ok(out) };
    for (name, value) in &mut out {
        let (kind, settings) = value.as_object().and_then(|o| o.iter().next()).map_or(("", &Value::Null), |(k, v)| (k.as_str(), v));
        let prefixes: Vec<&str> = settings["for"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let fits = scheme.starts_with(kind) && if prefixes.is_empty() { kind == "s3" } else { prefixes.iter().any(|p| url.starts_with(p)) };
        if named.map_or(fits, |named| named == name) {
            *value = sluis_config::resolve(value, &project.dir).map_err(|e| e.context("part", format!("connections.{name}")))?;
        }
    }
    Ok(out)
}

fn mixed(endings: &BTreeMap<String, usize>) -> String {
    let mut all: Vec<_> = endings.iter().collect();
    all.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let named = |(ending, n): &(&String, &usize)| if ending.is_empty() { format!("{n} without an ending") } else { format!("{n} .{ending}") };
    format!(
        "files of several kinds are there ({}); the first kind is looked at, --match chooses others",
        all.iter().map(named).collect::<Vec<_>>().join(", ")
    )
}

fn nothing(url: &str, notes: &[String]) -> Error {
    let e = Error::new(ErrorKind::NotFound, format!("there are no files at {url}"));
    match notes.first() {
        Some(note) => e.hint(note.clone()),
        None => e.hint("hidden names (`.x`, `_x`, `x.tmp`) are left out without --hidden; --match must fit the names below the URL"),
    }
}

/// As many as wanted, from the first to the last.
fn spread(splits: Vec<Split>, most: usize) -> Vec<Split> {
    let n = splits.len();
    if n <= most {
        return splits;
    }
    let take: std::collections::BTreeSet<usize> = (0..most).map(|i| if most == 1 { 0 } else { i * (n - 1) / (most - 1) }).collect();
    splits.into_iter().enumerate().filter(|(i, _)| take.contains(i)).map(|(_, s)| s).collect()
}

/// Beginnings of files: those of `splits`, and `most` of the members of archives among them.
async fn beginnings(source: &Arc<dyn Source>, splits: &[Split], most: usize) -> Result<Vec<Arc<Beginning>>> {
    let members = (most / splits.len().max(1)).max(1);
    let limit = (HEADS / splits.len().max(most)).clamp(64 * 1024, HEAD);
    let one = |split: Split| {
        let source = source.clone();
        async move {
            let mut beginnings = Vec::new();
            for file in source.open(&split).await?.sample(members).await? {
                beginnings.push(Arc::new(Beginning::read(file, limit).await?));
            }
            Ok::<_, Error>(beginnings)
        }
    };
    let opening: Vec<_> = splits.iter().cloned().map(one).collect();
    let all: Vec<Vec<Arc<Beginning>>> = stream::iter(opening).buffered(AT_ONCE).try_collect().await?;
    Ok(all.into_iter().flatten().collect())
}

/// What one file alone says; damage is said by reading it.
async fn own_schema(format: &Arc<dyn FileFormat>, file: &Arc<Beginning>) -> Result<Option<SchemaRef>> {
    let file: Arc<dyn sluis_core::RawFile> = file.clone();
    match format.infer(&[file], None).await {
        Ok(schema) => Ok(Some(schema)),
        Err(e) if matches!(e.kind(), ErrorKind::CorruptInput | ErrorKind::SourceChanged) => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_written_as_the_project_sees_it() {
        let here = std::env::current_dir().unwrap();
        for (url, is) in [
            ("in", "in"),
            ("in/", "in/"),
            (".", "."),
            ("./", "./"),
            ("in/x.csv", "in/x.csv"),
            ("./in/../in/*.csv", "in/*.csv"),
            ("*.csv", "*.csv"),
            ("s3://b/in/", "s3://b/in/"),
            ("/data/x", "/data/x"),
        ] {
            assert_eq!(url_below(url, &here).unwrap(), is, "{url}");
        }
        assert_eq!(url_below("in/", &here.join("in")).unwrap(), "./");
        assert_eq!(url_below("in", &here.join("other")).unwrap(), here.join("in").display().to_string());
    }

    #[test]
    fn files_are_taken_from_the_first_to_the_last() {
        let split = |n: usize| Split {
            partition: sluis_core::PartitionId("files".into()),
            from: sluis_core::Position::Beginning,
            to: None,
            file: Some(sluis_core::FileVersion { path: n.to_string(), size: 0, modified: None, etag: None }),
            constants: BTreeMap::new(),
            replaces: false,
            apart: false,
            detail: Value::Null,
        };
        let taken = |n: usize, most| spread((0..n).map(split).collect(), most).iter().map(|s| s.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(taken(3, 10), ["0", "1", "2"]);
        assert_eq!(taken(10, 4), ["0", "3", "6", "9"]);
        assert_eq!(taken(10, 1), ["0"]);
    }
}
