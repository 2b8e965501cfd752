//! The engine's side: `check` and `select` as [`Transform`].

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use sluis_core::transform::{Transform, TransformPlan, TransformRun, Transformed};
use sluis_core::{Error, Result};

use crate::checks::Checks;
use crate::epoch::{Across, IN_MEMORY, Spool};
use crate::output::Output;
use crate::problems::{self, Analysis, Parsed, Selected};
use crate::rowwise::Program;
use crate::spec::{OnFail, TransformSpec};

/// How many plans are kept for input schemas that come again.
const KEPT: usize = 16;

/// Parses the checks and the select of a pipeline. They are planned when the input's schema is known.
///
/// # Errors
/// `ErrorKind::Config` with the first of the problems that [`crate::syntax`] finds.
pub fn transform(spec: TransformSpec) -> Result<Arc<dyn Transform>> {
    let parsed = problems::parse(&spec);
    if let Some(error) = problems::error(&spec, &parsed.problems) {
        return Err(error);
    }
    Ok(Arc::new(Sql { spec, parsed, plans: Mutex::default() }))
}

struct Sql {
    spec: TransformSpec,
    parsed: Parsed,
    /// Plans without look-up tables: those with must see the tables as they are when planned.
    plans: Mutex<Vec<(SchemaRef, Arc<Plan>)>>,
}

#[async_trait]
impl Transform for Sql {
    async fn plan(&self, input: &SchemaRef) -> Result<Arc<dyn TransformPlan>> {
        {
            let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, plan)) = plans.iter().find(|(schema, _)| Arc::ptr_eq(schema, input) || schema == input) {
                return Ok(Arc::clone(plan) as Arc<dyn TransformPlan>);
            }
        }
        let (resolved, unknown) = problems::resolve(&self.spec, &self.parsed).await?;
        if let Some(error) = problems::error(&self.spec, &unknown) {
            return Err(error);
        }
        let analysis = problems::analyze(&self.spec, &self.parsed, input, true, Some(&resolved));
        if let Some(error) = problems::error(&self.spec, &analysis.problems) {
            return Err(error);
        }
        let plan = Arc::new(self.assemble(analysis, input)?);
        if resolved.tables.is_empty() {
            let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
            if plans.len() >= KEPT {
                plans.remove(0);
            }
            plans.push((Arc::clone(input), Arc::clone(&plan)));
        }
        Ok(plan)
    }

    fn across_rows(&self) -> bool {
        self.spec.across_rows
    }

    fn may_reject(&self) -> bool {
        self.spec.checks.iter().any(|c| c.on_fail == OnFail::Reject)
    }
}

impl Sql {
    fn assemble(&self, analysis: Analysis, input: &SchemaRef) -> Result<Plan> {
        let checks = Arc::new(Checks::new(&self.spec.checks, analysis.conditions));
        let select = match analysis.selected {
            None if self.spec.steps.is_empty() => Select::Nothing,
            None => return Err(Error::internal("a select was not planned")),
            Some(Selected::Rows { ops, plan }) => Select::Rows(Arc::new(Program::new(ops, &plan, analysis.steps))),
            Some(Selected::Across { plan }) => {
                let step = self.spec.steps.last().map(|s| s.name.clone()).unwrap_or_default();
                Select::Across(Arc::new(Across { output: Output::of(&plan), plan, input: Arc::clone(input), step, in_memory: IN_MEMORY }))
            }
        };
        Ok(Plan { input: Arc::clone(input), checks, select, batch_rows: self.spec.batch_rows.max(1) })
    }
}

#[derive(Clone)]
enum Select {
    /// There is none: rows go on as they are.
    Nothing,
    Rows(Arc<Program>),
    Across(Arc<Across>),
}

struct Plan {
    input: SchemaRef,
    checks: Arc<Checks>,
    select: Select,
    batch_rows: usize,
}

impl TransformPlan for Plan {
    fn output_schema(&self) -> SchemaRef {
        match &self.select {
            Select::Nothing => Arc::clone(&self.input),
            Select::Rows(program) => Arc::clone(&program.output.schema),
            Select::Across(across) => Arc::clone(&across.output.schema),
        }
    }

    fn row_wise(&self) -> bool {
        !matches!(self.select, Select::Across(_))
    }

    fn keeps_rows(&self) -> bool {
        match &self.select {
            Select::Nothing => true,
            Select::Rows(program) => program.keeps_rows(),
            Select::Across(_) => false,
        }
    }

    fn start(&self) -> Result<Box<dyn TransformRun>> {
        let spool = match &self.select {
            Select::Across(across) => Some(Spool::new(Arc::clone(&across.input), across.in_memory)),
            _ => None,
        };
        Ok(Box::new(Run {
            input: Arc::clone(&self.input),
            checks: Arc::clone(&self.checks),
            select: self.select.clone(),
            spool,
            batch_rows: self.batch_rows,
        }))
    }
}

struct Run {
    input: SchemaRef,
    checks: Arc<Checks>,
    select: Select,
    spool: Option<Spool>,
    batch_rows: usize,
}

#[async_trait]
impl TransformRun for Run {
    async fn push(&mut self, batch: RecordBatch) -> Result<Transformed> {
        if batch.num_columns() != self.input.fields().len()
            || batch.columns().iter().zip(self.input.fields()).any(|(c, f)| c.data_type() != f.data_type())
        {
            return Err(Error::internal("a batch has another schema than the plan was made for"));
        }
        let pushed = batch.num_rows();
        let checked = self.checks.apply(batch)?;
        let mut out = Transformed { batches: Vec::new(), failures: checked.failures, warnings: checked.warnings };
        if checked.batch.num_rows() == 0 {
            return Ok(out);
        }
        match &self.select {
            Select::Nothing => out.batches.push(checked.batch),
            Select::Rows(program) => {
                let rows = program.run(checked.batch).await?;
                pieces(rows, self.batch_rows.max(pushed), &mut out.batches);
            }
            Select::Across(_) => {
                let Some(spool) = &mut self.spool else { return Err(Error::internal("a run without its spool")) };
                spool.push(checked.batch)?;
            }
        }
        Ok(out)
    }

    async fn finish(self: Box<Self>) -> Result<Vec<RecordBatch>> {
        match (&self.select, self.spool) {
            (Select::Across(across), Some(spool)) => {
                let mut out = Vec::new();
                for batch in across.run(spool).await? {
                    pieces(batch, self.batch_rows, &mut out);
                }
                Ok(out)
            }
            _ => Ok(Vec::new()),
        }
    }
}

/// Cuts a batch into pieces of at most `most` rows; none if it is empty.
pub(crate) fn pieces(batch: RecordBatch, most: usize, out: &mut Vec<RecordBatch>) {
    let rows = batch.num_rows();
    if rows > 0 && rows <= most {
        out.push(batch);
        return;
    }
    out.extend((0..rows).step_by(most).map(|start| batch.slice(start, most.min(rows - start))));
}
