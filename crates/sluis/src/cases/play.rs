//! The pipeline over the given files, by the very engine: the source reads a temporary folder, targets are in memory, the clock stands still.
//!
//! Deliberately not here: connections and secrets. What a target's mode (`upsert`, `replace`) would do to earlier rows is not played.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow_array::RecordBatch;
use arrow_schema::DataType;
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use sluis_config::{LookupTable, Pipeline, Project};
use sluis_core::clock::FixedClock;
use sluis_core::{BuildContext, Clock, Error, Result, Sink, SinkName, TableResolver, TableSource};
use sluis_engine::{Engine, Lane, RunOptions, Silent, SqliteLedger, Stop};

use super::capture::Capture;
use super::case::{Case, Text};
use super::expect::Rows;
use crate::assemble::Parts;
use crate::drawn::text_rows;
use crate::session::Session;
use crate::tables::{FileTable, reader};
use crate::url_parts;

/// What a target got.
pub struct Got {
    pub target: String,
    pub rows: Rows,
    /// By column.
    pub types: Vec<DataType>,
}

/// What came of it.
pub struct Played {
    /// The targets in their order, then `rejects`.
    pub targets: Vec<Got>,
    pub error: Option<Error>,
}

/// Plays it.
///
/// # Errors
/// What is not the pipeline's doing: no temporary folder, a pipeline that cannot be built.
pub async fn play(session: &Session, project: &Project, pipeline: &Pipeline, case: &Case) -> Result<Played> {
    let dir = tempfile::tempdir().map_err(|e| Error::io("make", "a temporary folder", e))?;
    let root = std::fs::canonicalize(dir.path()).map_err(|e| Error::io("find", dir.path().display(), e))?;
    let given = root.join("given");
    lay_out(&given, case)?;
    let clock: Arc<dyn Clock> = Arc::new(FixedClock(case.now));
    let parts = parts(project, pipeline, &root, &given, &clock)?;
    let tables = Arc::new(GivenTables::new(session, &parts, &root.join("tables"), case)?);
    let captures: Vec<Arc<Capture>> = pipeline.targets.iter().map(|t| Arc::new(Capture::new(t.name.clone()))).collect();
    let rejects = Arc::new(Capture::new(SinkName::new("rejects")));
    let sinks = captures.iter().map(|c| c.clone() as Arc<dyn Sink>).collect();
    let mut job = parts.job(parts.source()?, sinks, rejects.clone(), tables)?;
    job.settings.tries = 1;
    if case.error.is_none() {
        // A share of rejects means nothing among the few rows of a test.
        job.budget = Arc::new(|_| None);
    }
    let engine = Engine { ledger: Arc::new(SqliteLedger::in_memory(clock.clone())?), clock, observer: Arc::new(Silent) };
    let outcome = engine.run(&job, &Lane::main(&pipeline.name), &RunOptions::default(), &Stop::default()).await;
    let prefix = format!("{}/", given.display());
    let targets = captures.iter().chain([&rejects]).map(|c| got(c, &prefix)).collect::<Result<_>>()?;
    Ok(Played { targets, error: outcome.error })
}

/// The given files, last modified a day before the test's moment.
fn lay_out(given: &Path, case: &Case) -> Result<()> {
    std::fs::create_dir_all(given).map_err(|e| Error::io("make", given.display(), e))?;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(case.now.timestamp()).unwrap_or(0));
    let modified = now.checked_sub(Duration::from_secs(86_400)).unwrap_or(SystemTime::UNIX_EPOCH);
    for (path, bytes) in &case.given {
        write(&given.join(path), bytes, modified)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8], modified: SystemTime) -> Result<()> {
    let io = |e| Error::io("write", path.display(), e);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    std::fs::write(path, bytes).map_err(io)?;
    std::fs::File::options().write(true).open(path).and_then(|f| f.set_modified(modified)).map_err(io)
}

/// The pipeline with the given files in the place of its own.
fn parts(project: &Project, pipeline: &Pipeline, root: &Path, given: &Path, clock: &Arc<dyn Clock>) -> Result<Parts> {
    let mut pipeline = pipeline.clone();
    if pipeline.source.def.name != "files" {
        return Err(Error::config(format!("`{}` reads no files: it cannot be tested this way", pipeline.name)));
    }
    let config = &mut pipeline.source.config;
    let folder = url_parts::escaped(&given.display().to_string());
    let mut urls: Vec<String> = url_parts::all(&config["url"]).iter().map(|u| format!("{folder}/{}", url_parts::split(u).1)).collect();
    urls.dedup();
    config["url"] = json!(urls);
    if let Some(map) = config.as_object_mut() {
        map.remove("connection");
        map.remove("after_commit");
        if let Some(manifest) = map.get("manifest").and_then(Value::as_str).map(str::to_owned) {
            let name = manifest.rsplit('/').next().unwrap_or(&manifest);
            map.insert("manifest".into(), given.join(name).display().to_string().into());
        }
    }
    let project = Project { state_dir: root.join("state"), connections: Map::new(), lake: json!({}), ..project.clone() };
    let context = BuildContext {
        pipeline: pipeline.name.clone(),
        project_dir: root.to_owned(),
        state_dir: project.state_dir.clone(),
        connections: Arc::default(),
        lake: json!({}),
        clock: clock.clone(),
        replaces_files: pipeline.replaces_files(),
        retypes: pipeline.contract.types == sluis_core::OnDrift::Evolve,
        selection: None,
    };
    Ok(Parts { pipeline, project, context })
}

/// Tables that a test gives; others are not there.
struct GivenTables {
    tables: BTreeMap<String, Arc<GivenTable>>,
}

struct GivenTable {
    context: BuildContext,
    source: &'static sluis_core::SourceDef,
    config: Value,
    format: Arc<dyn sluis_core::FileFormat>,
}

impl GivenTables {
    fn new(session: &Session, parts: &Parts, dir: &Path, case: &Case) -> Result<Self> {
        let mut tables = BTreeMap::new();
        let source = session.registry().source("files").ok_or_else(|| Error::internal("this build reads no files"))?;
        for (name, text) in &case.tables {
            let lookup = parts.pipeline.tables.iter().find(|t| t.name.eq_ignore_ascii_case(name));
            let format = format(session, lookup, text)?;
            let file = dir.join(name.replace('/', "_")).join(text.file.as_deref().and_then(|f| f.rsplit('/').next()).unwrap_or("table"));
            write(&file, &text.bytes, SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_800))?;
            let config = json!({ "url": file.display().to_string() });
            tables.insert(name.to_lowercase(), Arc::new(GivenTable { context: parts.context.clone(), source, config, format }));
        }
        Ok(Self { tables })
    }
}

/// As the pipeline reads the table; else as the file's ending says; else CSV.
fn format(session: &Session, lookup: Option<&LookupTable>, text: &Text) -> Result<Arc<dyn sluis_core::FileFormat>> {
    if let Some(format) = lookup.and_then(|t| t.format.as_ref()) {
        return reader(format.def, &format.config);
    }
    let name = match text.file.as_deref().and_then(|f| f.rsplit_once('.')).map(|(_, e)| e) {
        Some("json" | "jsonl" | "ndjson") => "json",
        Some("parquet") => "parquet",
        Some("avro") => "avro",
        _ => "csv",
    };
    let def = session.registry().format(name).ok_or_else(|| Error::internal("a format is not in this build"))?;
    reader(def, &json!({}))
}

#[async_trait]
impl TableResolver for GivenTables {
    async fn resolve(&self, path: &[String]) -> Result<Option<Arc<dyn TableSource>>> {
        let Some(table) = self.tables.get(&path.join(".").to_lowercase()) else { return Ok(None) };
        let source = (table.source.build)(&table.context, &table.config)?;
        Ok(Some(Arc::new(FileTable::new(source, Some(table.format.clone()), 8192).await?)))
    }
    async fn names(&self) -> Result<Vec<Vec<String>>> {
        Ok(self.tables.keys().map(|k| k.split('.').map(str::to_owned).collect()).collect())
    }
}

/// What a target got, as text; addresses of given files as they were given.
fn got(capture: &Capture, prefix: &str) -> Result<Got> {
    let batches = capture.batches();
    let (mut columns, mut types): (Vec<String>, Vec<DataType>) = (Vec::new(), Vec::new());
    for field in batches.iter().flat_map(|b| b.schema_ref().fields().iter()) {
        if !columns.contains(field.name()) {
            columns.push(field.name().clone());
            types.push(field.data_type().clone());
        }
    }
    let mut rows = Vec::new();
    for batch in &batches {
        rows.extend(aligned(batch, &columns, prefix)?);
    }
    let target = sluis_core::Sink::name(capture).to_string();
    Ok(Got { target, rows: Rows { columns, rows }, types })
}

fn aligned(batch: &RecordBatch, columns: &[String], prefix: &str) -> Result<Vec<Vec<Option<String>>>> {
    let index: Vec<Option<usize>> = columns.iter().map(|c| batch.schema_ref().index_of(c).ok()).collect();
    let plain = |text: &String| text.replace(prefix, "");
    Ok(text_rows(batch)?.into_iter().map(|row| index.iter().map(|i| i.and_then(|i| row[i].as_ref().map(plain))).collect()).collect())
}
