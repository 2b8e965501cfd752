//! A pipeline's SQL: as `sluis-sql` takes it, and what is wrong with it, at its place in the YAML file.
//!
//! Deliberately not here: SQL. No network and no schema but what the pipeline declares.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use sluis_config::spec::{OnFail, Scope};
use sluis_config::{Diagnostic, Pipeline};
use sluis_core::columns::unite;
use sluis_core::contract::RESCUED;
use sluis_core::{TableResolver, TableSource};
use sluis_sql::{CheckRule, Part, SqlProblem, Step, TransformSpec};

/// The checks and steps of a pipeline; `None` if it has neither.
pub fn transform_spec(pipeline: &Pipeline, tables: Arc<dyn TableResolver>) -> Option<TransformSpec> {
    if pipeline.checks.is_empty() && pipeline.selects.is_empty() {
        return None;
    }
    let on_fail = |o| match o {
        OnFail::Reject => sluis_sql::OnFail::Reject,
        OnFail::Warn => sluis_sql::OnFail::Warn,
        OnFail::Fail => sluis_sql::OnFail::Fail,
    };
    Some(TransformSpec {
        checks: pipeline.checks.iter().map(|c| CheckRule { name: c.name.clone(), that: c.that.clone(), on_fail: on_fail(c.on_fail) }).collect(),
        steps: pipeline.selects.iter().map(|s| Step { name: s.name.clone(), sql: s.sql.clone() }).collect(),
        across_rows: pipeline.scope == Scope::Epoch,
        tables,
        batch_rows: pipeline.settings.batch_rows.get(),
    })
}

/// Every mistake in a pipeline's SQL that can be found without its data.
pub fn problems(pipeline: &Pipeline) -> Vec<Diagnostic> {
    let Some(spec) = transform_spec(pipeline, Arc::new(NoTables)) else { return Vec::new() };
    let mut found = sluis_sql::syntax(&spec);
    if found.is_empty() {
        let (input, complete) = known_columns(pipeline);
        if complete || !input.fields().is_empty() {
            found = sluis_sql::against(&spec, &input, complete);
        }
    }
    found.into_iter().map(|p| diagnostic(pipeline, p)).collect()
}

fn diagnostic(pipeline: &Pipeline, problem: SqlProblem) -> Diagnostic {
    let (span, section) = match problem.part {
        Part::Check(n) => (&pipeline.checks[n].span, "check"),
        Part::Step(n) => (&pipeline.selects[n].span, "select"),
    };
    let at = problem.range.filter(|r| !r.is_empty()).map_or_else(|| span.whole().first_line(), |r| span.inside(r));
    Diagnostic::error("bad-sql", problem.message).at(&at).maybe_help(problem.hint).docs(format!("docs/reference/pipeline.md#{section}"))
}

/// The columns that a pipeline's configuration names, and whether its files can have no others.
pub fn known_columns(pipeline: &Pipeline) -> (SchemaRef, bool) {
    let mut constants = (pipeline.source.def.constant_columns)(&pipeline.source.config);
    let format = pipeline.format.as_ref();
    if pipeline.contract.rescues() || format.is_some_and(|f| f.rescues()) {
        constants = unite(&constants, &Schema::new(vec![Field::new(RESCUED, DataType::Utf8, true)]));
    }
    let Some(format) = &pipeline.format else { return (constants, false) };
    let declared = (format.def.declared_columns)(&format.config);
    let all = match format.def.name {
        "raw" => true,
        "csv" => headless(&format.config),
        // Every column has its place; those without a type are not among the declared ones.
        "fixed" => format.config["columns"].as_object().is_some_and(|c| c.len() == declared.as_ref().map_or(0, |d| d.fields().len())),
        _ => false,
    };
    let complete = declared.is_some() && all;
    (unite(&declared.unwrap_or_else(|| Arc::new(Schema::empty())), &constants), complete)
}

/// Whether files have no header: then the columns declared are all there are.
fn headless(csv: &serde_json::Value) -> bool {
    let header = &csv["header"];
    (header.as_u64() == Some(0) || header.as_bool() == Some(false)) && csv["names"].as_array().is_none_or(Vec::is_empty)
}

/// No tables: for looking at SQL where nothing is opened.
pub struct NoTables;

#[async_trait::async_trait]
impl TableResolver for NoTables {
    async fn resolve(&self, _: &[String]) -> sluis_core::Result<Option<Arc<dyn TableSource>>> {
        Ok(None)
    }
    async fn names(&self) -> sluis_core::Result<Vec<Vec<String>>> {
        Ok(Vec::new())
    }
}
