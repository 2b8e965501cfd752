//! `into: files`: the sink itself, for each of its duties a room.
//!
//! Guarantees: see [`guarantee`]. Deliberately not here: control flow; what is done when is the engine's.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use sluis_core::{Attempt, BuildContext, CommitKey, Committable, Error, Guarantee, Receipt, Result, Sink, SinkName, SinkWriter, StagedEpoch, crash};
use sluis_storage::StorageRef;

use super::commit::{self, Handle};
use super::config::{Mode, Settings};
use super::divide;
use super::index::{Sources, listed};
use super::layout::Template;
use super::writer::{FILE, FilesWriter, Limits};

/// A target, decided: what all its writers and commits need.
pub struct Target {
    pub name: SinkName,
    pub pipeline: String,
    pub storage: StorageRef,
    pub settings: Settings,
    pub mode: Mode,
    pub replaces: bool,
    pub template: Template,
    pub limits: Limits,
}

impl Target {
    /// Where an epoch of a lane is staged. Each target has its own place, so that two of them in one folder do not sweep each other's.
    pub fn scope(&self, lane: &str, epoch: u64) -> String {
        format!("{}/{epoch}", self.lane_scope(lane))
    }

    fn lane_scope(&self, lane: &str) -> String {
        format!("{}/{lane}/{}", self.pipeline, self.name)
    }

    pub fn sources(&self) -> Sources<'_> {
        Sources { storage: self.storage.as_ref(), pipeline: &self.pipeline, sink: self.name.as_str() }
    }

    /// Bytes the storage may hold back of one open file: a part of an upload, or what one write to a disk takes.
    pub fn gathers(&self) -> u64 {
        if self.storage.root().contains("://") { 8 << 20 } else { 1 << 20 }
    }
}

/// The files target.
pub struct FilesSink {
    target: Arc<Target>,
}

impl FilesSink {
    /// From the registry's arguments.
    ///
    /// # Errors
    /// `ErrorKind::Config`.
    pub fn build(context: &BuildContext, name: &SinkName, value: &Value) -> Result<Self> {
        let settings = Settings::parse(value).map_err(|problems| {
            let all: Vec<String> = problems.iter().map(|p| format!("{}: {}", p.at.join("."), p.message)).collect();
            Error::config(all.join("; ")).context("target", name)
        })?;
        let connections = context.connections.as_ref();
        let storage = sluis_storage::url::open_folder(&settings.url, connections, settings.connection.as_deref(), &context.project_dir)?;
        Self::new(context.pipeline.as_str(), name, storage, settings, context.replaces_files)
    }

    /// On a storage that is open already.
    ///
    /// # Errors
    /// `ErrorKind::Config`: a `name` that does not fit.
    pub fn new(pipeline: &str, name: &SinkName, storage: StorageRef, settings: Settings, replaces: bool) -> Result<Self> {
        let mode = settings.mode(replaces);
        let template = settings.template(mode, name).map_err(|m| Error::config(m).context("target", name))?;
        let limits = Limits::default();
        let target = Target { name: name.clone(), pipeline: pipeline.to_owned(), storage, settings, mode, replaces, template, limits };
        Ok(Self { target: Arc::new(target) })
    }

    #[cfg(test)]
    pub fn with_limits(self, limits: Limits) -> Self {
        let target = Arc::into_inner(self.target).expect("not shared with a writer");
        Self { target: Arc::new(Target { limits, ..target }) }
    }
}

/// What the target promises with this configuration.
pub fn guarantee(mode: Mode, replaces: bool) -> Guarantee {
    let once = "files are staged where no reader looks, the ledger names them, and each then gets its final name in one step, never over another file; \
                a commit that is repeated finds what has its name already";
    let whole = "a reader sees each file whole or not at all; the files of one epoch appear one after the other";
    Guarantee::ExactlyOnce(match (mode, replaces) {
        (_, true) => format!(
            "{once}; a source file's new version takes the places of the old version's files one by one, then the files that are too many go: \
             between those steps a reader may see some files of the old version beside some of the new one, never two versions of one file"
        ),
        (Mode::Raw, false) => format!("{once}, with its source's bytes; {whole}"),
        (_, false) => format!("{once}; {whole}; an epoch that makes one file appears at once"),
    })
}

#[async_trait]
impl Sink for FilesSink {
    fn name(&self) -> &SinkName {
        &self.target.name
    }

    fn guarantee(&self) -> Guarantee {
        guarantee(self.target.mode, self.target.replaces)
    }

    async fn prepare(&self, schema: &SchemaRef) -> Result<()> {
        let settings = &self.target.settings;
        let in_target = |e: Error| e.context("target", self.name());
        if !settings.partition_by.is_empty() {
            divide::check(schema, &settings.partition_by).map_err(in_target)?;
        }
        let left_out = |name: &String| settings.partition_by.contains(name) || (self.target.mode == Mode::Raw && name == FILE);
        let keep: Vec<usize> = (0..schema.fields().len()).filter(|i| !left_out(schema.field(*i).name())).collect();
        let content = schema.project(&keep).map_err(|e| Error::internal("columns cannot be chosen").source(e))?;
        // A folder is made when the first file is written; whether these columns can be written is known now.
        settings.factory.encoder(&Arc::new(content)).map(|_| ()).map_err(in_target)
    }

    async fn writer(&self, attempt: &Attempt) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(FilesWriter::new(self.target.clone(), attempt.clone())))
    }

    async fn commit(&self, key: &CommitKey, staged: StagedEpoch<'_>) -> Result<Receipt> {
        commit::commit(&self.target, key, staged).await.map_err(|e| e.context("target", self.name()))
    }

    async fn sweep(&self, up_to: &CommitKey, keep: &[Committable]) -> Result<()> {
        crash::point("sweep.before")?;
        let keep = keep.iter().map(|c| Ok(Handle::of(c)?.file)).collect::<Result<Vec<_>>>()?;
        let storage = &self.target.storage;
        // Only epochs that are over: a worker that sweeps late must not touch what the next one is staging.
        let (_, folders) = listed(storage.as_ref(), &format!("_sluis/{}", self.target.lane_scope(&up_to.lane.lane))).await?;
        let mut epochs: BTreeSet<u64> = folders.iter().filter_map(|name| name.trim_end_matches('/').rsplit('/').next()?.parse().ok()).collect();
        // This one in any case: a sweep also takes what a torn write of the index left.
        epochs.insert(up_to.epoch.0);
        for epoch in epochs.into_iter().filter(|epoch| *epoch <= up_to.epoch.0) {
            storage.sweep(&self.target.scope(&up_to.lane.lane, epoch), &keep).await?;
        }
        crash::point("sweep.after")
    }

    async fn probe(&self) -> Result<Vec<String>> {
        let storage = &self.target.storage;
        let scope = format!(".probe/{}", uuid::Uuid::new_v4().simple());
        let tried = async {
            let mut file = storage.stage(".sluis-probe", &scope, "probe").await?;
            file.write(Bytes::from_static(b"sluis")).await?;
            file.finish().await
        };
        let tried = tried.await;
        storage.sweep(&scope, &[]).await?;
        tried?;
        Ok(vec![format!("{}: can write and delete", storage.root())])
    }
}
