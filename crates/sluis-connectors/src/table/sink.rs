//! `into: table`: the sink over the lake.
//!
//! Guarantees: see [`guarantee`]. Deliberately not here: control flow; what is done when is the engine's.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use serde_json::Value;
use sluis_core::{
    Attempt, BuildContext, Clock, CommitKey, Committable, Error, Guarantee, PipelineName, Receipt, Result, Sink, SinkName, SinkWriter, StagedEpoch,
};
use sluis_lake::{Lake, Mode, Settings, Table};

use super::config::TableSettings;

/// A table as a target.
pub struct TableSink {
    name: SinkName,
    table: Arc<Table>,
    replaces: bool,
    mode: Mode,
}

impl TableSink {
    /// From the registry's arguments.
    ///
    /// # Errors
    /// `ErrorKind::Config`.
    pub fn build(context: &BuildContext, name: &SinkName, value: &Value) -> Result<Self> {
        let settings = TableSettings::parse(value).map_err(|problems| {
            let all: Vec<String> = problems.iter().map(|p| format!("{}: {}", p.at.join("."), p.message)).collect();
            Error::config(all.join("; ")).context("target", name)
        })?;
        let lake = Lake::open(&context.lake, &context.connections, &context.project_dir, &context.state_dir)?;
        Self::new(lake, context.pipeline.clone(), name, settings, context.replaces_files, context.retypes, context.clock.clone())
    }

    /// On a lake that is open already. `replaces`: rows of source files may leave; `retypes`: columns may change their types.
    ///
    /// # Errors
    /// `ErrorKind::Config`: `mode: upsert` where source files may be replaced.
    pub fn new(
        lake: Lake,
        pipeline: PipelineName,
        name: &SinkName,
        settings: TableSettings,
        replaces: bool,
        retypes: bool,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        if replaces && matches!(settings.mode, Mode::Upsert { .. }) {
            return Err(Error::config("`on_overwrite: replace` takes rows away by the file they came from, `mode: upsert` by their key: not both")
                .context("target", name)
                .hint("with `mode: upsert` write `on_overwrite: append`: a new version's rows replace the old ones by key; or use `mode: append`"));
        }
        let mode = settings.mode.clone();
        let settings = Settings {
            name: settings.name,
            partition_by: settings.partition_by,
            mode: settings.mode,
            compression: settings.compression,
            target_bytes: settings.target_bytes,
            comment: settings.comment,
            properties: settings.properties,
            replaces,
            retypes,
        };
        let table = Arc::new(Table::new(lake, pipeline, name.clone(), settings, clock));
        Ok(Self { name: name.clone(), table, replaces, mode })
    }

    fn in_target(&self, e: Error) -> Error {
        e.context("target", &self.name).context("table", self.table.name())
    }
}

/// What the target promises with this configuration.
pub fn guarantee(mode: &Mode, replaces: bool) -> Guarantee {
    let once = "an epoch is one snapshot of the table, which holds its rows and its commit key: both are there or neither, and a commit that is repeated finds the key";
    let what = match (mode, replaces) {
        (Mode::Append, false) => "",
        (Mode::Append, true) => "; the rows of a source file's old version leave in the same snapshot",
        (Mode::Replace, _) => "; the partitions it replaces change in the same snapshot",
        (Mode::Upsert { .. }, _) => "; rows with its keys leave in the same snapshot",
    };
    Guarantee::ExactlyOnce(format!("{once}{what}"))
}

#[async_trait]
impl Sink for TableSink {
    fn name(&self) -> &SinkName {
        &self.name
    }

    fn guarantee(&self) -> Guarantee {
        guarantee(&self.mode, self.replaces)
    }

    async fn prepare(&self, schema: &SchemaRef) -> Result<()> {
        self.table.prepare_for(schema).await.map_err(|e| self.in_target(e))
    }

    async fn fits(&self, schema: &SchemaRef) -> Result<()> {
        self.table.fits(schema).await.map_err(|e| self.in_target(e))
    }

    async fn changes(&self, schema: &SchemaRef) -> Result<Vec<String>> {
        self.table.changes(schema).await.map_err(|e| self.in_target(e))
    }

    async fn writer(&self, attempt: &Attempt) -> Result<Box<dyn SinkWriter>> {
        Ok(self.table.writer(attempt))
    }

    async fn commit(&self, key: &CommitKey, staged: StagedEpoch<'_>) -> Result<Receipt> {
        self.table.commit(key, staged).await.map_err(|e| self.in_target(e))
    }

    async fn sweep(&self, up_to: &CommitKey, keep: &[Committable]) -> Result<()> {
        self.table.sweep(up_to, keep).await.map_err(|e| self.in_target(e))
    }

    async fn probe(&self) -> Result<Vec<String>> {
        self.table.probe().await.map_err(|e| self.in_target(e))
    }
}
