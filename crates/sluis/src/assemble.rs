//! From a pipeline and its project, as configured, to a [`Job`] that the engine can drive.
//!
//! Secrets are resolved here, late. Deliberately not here: driving it, and any connection to anything (building contacts nobody).

use std::path::Path;
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use serde_json::{Value, json};
use sluis_config::spec::OnCorrupt;
use sluis_config::{Budget, Pipeline, Project, Target};
use sluis_core::{BuildContext, OnDrift, Result, RowCounts, Sink, SinkName, Source, TableResolver};
use sluis_engine::{BudgetCheck, Job, JobSettings};

use crate::print::count;
use crate::session::Session;
use crate::statements;
use crate::tables::{PipelineTables, reader};

/// A pipeline with everything that its parts are built from: secrets are in it, so it is not to be shown.
pub struct Parts {
    pub pipeline: Pipeline,
    pub project: Project,
    pub context: BuildContext,
}

impl Parts {
    /// Resolves the secrets of both.
    ///
    /// # Errors
    /// Those of [`sluis_config::resolve`].
    pub fn resolve(session: &Session, project: &Project, pipeline: &Pipeline) -> Result<Parts> {
        let named = |e: sluis_core::Error| e.context("pipeline", &pipeline.name);
        let resolved = project.resolve().map_err(named)?;
        let pipeline = pipeline.resolve(&project.dir).map_err(named)?;
        let context = BuildContext {
            pipeline: pipeline.name.clone(),
            project_dir: resolved.dir.clone(),
            state_dir: resolved.state_dir.clone(),
            connections: Arc::new(resolved.connections.clone()),
            lake: resolved.lake.clone(),
            clock: session.clock.clone(),
            replaces_files: pipeline.replaces_files(),
            retypes: pipeline.contract.types == OnDrift::Evolve,
            selection: None,
        };
        Ok(Parts { pipeline, project: resolved, context })
    }

    pub fn source(&self) -> Result<Arc<dyn Source>> {
        (self.pipeline.source.def.build)(&self.context, &self.pipeline.source.config)
    }

    pub fn sinks(&self) -> Result<Vec<Arc<dyn Sink>>> {
        self.pipeline.targets.iter().map(|t| (t.def.build)(&self.context, &t.name, &t.config)).collect()
    }

    /// The target of the rejects.
    pub fn rejects(&self, session: &Session) -> Result<Arc<dyn Sink>> {
        let target = rejects_target(session, &self.project, &self.pipeline);
        (target.def.build)(&self.context, &target.name, &target.config)
    }

    /// Tables that its SQL can look things up in.
    pub fn tables(&self) -> Arc<dyn TableResolver> {
        let p = &self.pipeline;
        Arc::new(PipelineTables::new(self.context.clone(), p.tables.clone(), &self.project, p.settings.batch_rows.get()))
    }

    /// The whole, with this source, these sinks and these rejects.
    ///
    /// # Errors
    /// `ErrorKind::Config`.
    pub fn job(&self, source: Arc<dyn Source>, sinks: Vec<Arc<dyn Sink>>, rejects: Arc<dyn Sink>, tables: Arc<dyn TableResolver>) -> Result<Job> {
        let p = &self.pipeline;
        let format = match &p.format {
            None => None,
            Some(format) => Some(reader(format.def, &format.config)?),
        };
        let transform = match statements::transform_spec(p, tables) {
            None => None,
            Some(spec) => Some(sluis_sql::transform(spec)?),
        };
        let threads = p.settings.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, std::num::NonZeroUsize::get);
        Ok(Job {
            pipeline: p.name.clone(),
            source,
            declared: declared_columns(p),
            format,
            contract: p.contract,
            transform,
            sinks,
            rejects,
            limits: p.limits,
            budget: budget(p.budget.clone()),
            settings: JobSettings {
                tasks: p.settings.tasks.get(),
                threads,
                batch_rows: p.settings.batch_rows.get(),
                sample_files: p.settings.sample_files.get(),
                corrupt_files_are_rejected: p.settings.on_corrupt == OnCorrupt::Reject,
                tries: p.settings.tries.get(),
                replaces_files: p.replaces_files(),
            },
        })
    }

    /// The whole, as configured.
    ///
    /// # Errors
    /// Those of the parts, with the pipeline's name.
    pub fn plain_job(&self, session: &Session) -> Result<Job> {
        let job = || self.job(self.source()?, self.sinks()?, self.rejects(session)?, self.tables());
        job().map_err(|e| e.context("pipeline", &self.pipeline.name))
    }
}

/// Where a pipeline's rejects go: as configured, else Parquet files in the state folder.
pub fn rejects_target(session: &Session, project: &Project, pipeline: &Pipeline) -> Target {
    if let Some(target) = &pipeline.rejects {
        return target.clone();
    }
    let Some(def) = session.registry().sink("files") else { unreachable!("every build has `into: files`") };
    let config = default_rejects(&project.state_dir, pipeline.name.as_str());
    Target { name: SinkName::new("rejects"), def, config, span: pipeline.source.span.clone() }
}

fn default_rejects(state_dir: &Path, pipeline: &str) -> Value {
    // Small row groups: a file of bad rows only must take no more memory than a good one.
    let format = json!({ "parquet": { "row_group_size": "16MiB" } });
    json!({ "url": state_dir.join("rejects").join(pipeline).display().to_string(), "format": format })
}

/// The columns that a pipeline's format declares.
pub fn declared_columns(pipeline: &Pipeline) -> SchemaRef {
    let declared = pipeline.format.as_ref().and_then(|f| (f.def.declared_columns)(&f.config));
    declared.unwrap_or_else(|| Arc::new(Schema::empty()))
}

/// All budgets of a pipeline as one question.
fn budget(budgets: Vec<Budget>) -> BudgetCheck {
    Arc::new(move |rows: &RowCounts| {
        let broken = budgets.iter().find(|b| b.exceeded(rows.rejected, rows.read))?;
        Some(format!("{} of {} rows were rejected; `fail_if: {broken}` allows no more", count(rows.rejected), count(rows.read)))
    })
}
