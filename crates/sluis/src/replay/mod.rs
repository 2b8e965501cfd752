//! Rejected rows, tried again through the pipeline as it is now, once each.
//!
//! Rejects of one epoch, file and reason become one file in the state folder (`spool`), at the path that their file has below its URL, so
//! that captures come out the same. The lane `replay` then lands the spool like any source of files. A spool file's name and bytes follow
//! from the rejects alone, and the ledger's history of files knows which have landed: each row is replayed once, whatever dies when.
//!
//! Rows of an archive's members become an archive of the same members. What `delimiter: auto` found in a file goes for its spool file, too.
//!
//! Limits: the format must keep rows as text (CSV, JSON); a header needs the original file, unchanged, where it was; rows cut at 64 KiB
//! cannot be tried again; `_line` is the line in the spool and `_modified` the time of the reject. With `on_overwrite: replace` it is
//! refused: replayed rows would stay when their file is replaced, and as this lane and the one that replaces do not wait for each other, a replay that
//! was planned before could bring rows of the old version back after.

mod above;
mod as_found;
mod place;
mod spool;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use serde_json::json;
use sluis_core::{Checkpoint, Discovery, EpochLimits, Error, FileHistory, LaneShard, Member, Members, Opened, Result, Source, Split};
use sluis_engine::{Job, SqliteLedger};

use crate::assemble::Parts;
use crate::rejected::Filter;
use crate::session::Session;
use as_found::AsFound;
use place::Places;

pub use spool::{Spooled, header};

/// The lane that lands the spool.
pub const LANE: &str = "replay";

/// Puts rejected rows that were not replayed yet into the spool.
///
/// # Errors
/// `ErrorKind::Config` for a pipeline whose rejects cannot be replayed; those of reading and writing.
pub async fn fill(session: &Session, parts: &Parts, ledger: &SqliteLedger, filter: &Filter) -> Result<Spooled> {
    refuse(parts)?;
    spool::fill(session, parts, ledger, filter, &Places::of(parts)).await
}

fn refuse(parts: &Parts) -> Result<()> {
    let p = &parts.pipeline;
    if p.replaces_files() {
        let message =
            format!("rejects of `{}` cannot be replayed: with `on_overwrite: replace` replayed rows would stay when their file is replaced", p.name);
        return Err(Error::config(message)
            .hint("correct the pipeline, then land the files again: `sluis rewind` or `sluis backfill --again`; their rows are replaced"));
    }
    match p.format.as_ref().map(|f| f.def.name) {
        Some("csv" | "json") if p.source.def.name == "files" => Ok(()),
        Some(format) => Err(Error::config(format!("rejects of `{}` cannot be replayed: {format} keeps no text of single rows", p.name))
            .hint("correct the pipeline, then land the files again: `sluis backfill --again`")),
        None => Err(Error::config(format!("rejects of `{}` cannot be replayed: its source is not files", p.name))),
    }
}

/// The pipeline over its spool.
///
/// # Errors
/// Those of building it.
pub fn job(session: &Session, parts: &Parts) -> Result<Job> {
    let places = Arc::new(Places::of(parts));
    let mut over = Parts { pipeline: parts.pipeline.clone(), project: parts.project.clone(), context: parts.context.clone() };
    let config = &parts.pipeline.source.config;
    let mut from = json!({ "url": places.urls(), "on_overwrite": "ignore" });
    for key in ["match", "recursive", "hidden", "archive", "members", "metadata"] {
        if !config[key].is_null() {
            from[key] = config[key].clone();
        }
    }
    over.pipeline.source.config = from;
    if let Some(format) = &mut over.pipeline.format {
        format.config["compression"] = "none".into();
        format.config["encoding"] = "utf-8".into();
        match format.def.name {
            "csv" => {
                format.config["footer"] = 0.into();
                format.config["footer_count"] = serde_json::Value::Null;
            }
            _ => format.config["lines"] = true.into(),
        }
    }
    let source = Arc::new(Replayed { inner: over.source()?, places: places.clone() });
    let mut job = over.job(source, parts.sinks()?, parts.rejects(session)?, parts.tables())?;
    if let (Some(plain), Some(format)) = (&job.format, &over.pipeline.format)
        && format.config["delimiter"] == "auto"
    {
        job.format = Some(Arc::new(AsFound::new(plain.clone(), format, places)));
    }
    Ok(job)
}

/// The spool as a source: its `_file` is the original's.
struct Replayed {
    inner: Arc<dyn Source>,
    places: Arc<Places>,
}

#[async_trait]
impl Source for Replayed {
    async fn discover(&self, from: &Checkpoint, limits: &EpochLimits, shard: LaneShard, history: &dyn FileHistory) -> Result<Discovery> {
        if !self.places.root.is_dir() {
            return Ok(Discovery { to: from.clone(), ..Discovery::default() });
        }
        let mut found = self.inner.discover(from, limits, shard, history).await?;
        for split in &mut found.splits {
            if let (Some(file), Some(version)) = (split.constants.get_mut("_file"), &split.file) {
                *file = self.places.original(&version.path).unwrap_or_else(|| version.path.clone());
            }
        }
        Ok(found)
    }
    async fn open(&self, split: &Split) -> Result<Opened> {
        let opened = self.inner.open(split).await?;
        let original = split.file.as_ref().and_then(|version| Some((version.path.clone(), self.places.original(&version.path)?)));
        Ok(match (opened, original) {
            (Opened::Members(inner), Some((spool, original))) => Opened::Members(Box::new(ReplayedMembers { inner, spool, original })),
            (opened, _) => opened,
        })
    }
    fn constant_columns(&self) -> SchemaRef {
        self.inner.constant_columns()
    }
    async fn acknowledge(&self, _: &[Split]) -> Result<()> {
        // The spool stays: it says what was replayed, and heads rows that are rejected again.
        Ok(())
    }
    async fn probe(&self) -> Result<Vec<String>> {
        self.inner.probe().await
    }
}

/// Members of an archive in the spool: their `_file` is that of the original's.
struct ReplayedMembers {
    inner: Box<dyn Members>,
    spool: String,
    original: String,
}

#[async_trait]
impl Members for ReplayedMembers {
    fn count(&self) -> Option<usize> {
        self.inner.count()
    }
    async fn next(&mut self) -> Result<Option<Member>> {
        let mut next = self.inner.next().await?;
        if let Some(file) = next.as_mut().and_then(|member| member.constants.get_mut("_file"))
            && let Some(member) = file.strip_prefix(self.spool.as_str())
        {
            *file = format!("{}{member}", self.original);
        }
        Ok(next)
    }
    async fn verify(&self) -> Result<()> {
        self.inner.verify().await
    }
}
