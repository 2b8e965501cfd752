//! A select that looks at its own row only, compiled: steps over the pushed batch, without a session, tasks or channels.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_buffer::BooleanBuffer;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::SchemaRef;
use arrow_select::filter::filter_record_batch;
use datafusion::common::UnnestOptions;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ColumnarValue;
use datafusion::physical_plan::streaming::StreamingTableExec;
use datafusion::physical_plan::unnest::{ListUnnest, UnnestExec};
use datafusion::scalar::ScalarValue;
use sluis_core::{Error, Result};

use crate::lookup::Lookup;
use crate::output::Output;
use crate::tables::Held;
use crate::{compile, engine, plain, planner};

/// How many characters of a value, and of all values of a row, messages show.
const VALUE_LENGTH: usize = 60;
const ROW_LENGTH: usize = 300;

/// One step over a batch.
#[derive(Debug)]
pub(crate) enum Op {
    /// Some of the columns.
    Columns {
        columns: Vec<usize>,
        schema: SchemaRef,
    },
    Project {
        exprs: Vec<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
    },
    Filter(Arc<dyn PhysicalExpr>),
    Lookup(Arc<Lookup>),
    Unnest {
        lists: Vec<ListUnnest>,
        structs: Vec<usize>,
        options: UnnestOptions,
        schema: SchemaRef,
    },
    /// No rows at all.
    Nothing(SchemaRef),
}

/// A select, compiled.
#[derive(Debug)]
pub(crate) struct Program {
    ops: Vec<Op>,
    pub output: Output,
    /// The steps' names and plans, to tell which of them failed.
    steps: Vec<(String, LogicalPlan)>,
}

impl Program {
    /// `optimized`: the plan of the last of `steps`, optimized.
    pub fn new(ops: Vec<Op>, optimized: &LogicalPlan, steps: Vec<(String, LogicalPlan)>) -> Program {
        Program { ops, output: Output::of(optimized), steps }
    }

    /// Whether every row makes exactly one.
    pub fn keeps_rows(&self) -> bool {
        self.ops.iter().all(|op| matches!(op, Op::Columns { .. } | Op::Project { .. }))
    }

    /// The rows that come of these rows.
    ///
    /// # Errors
    /// `ErrorKind::Data` if a value cannot be computed: names the step, a row and its values.
    pub async fn run(&self, batch: RecordBatch) -> Result<RecordBatch> {
        prepare(&self.ops).await?;
        match self.compute(batch.clone()).await {
            Ok(batch) => Ok(batch),
            Err(e) => Err(self.explain(&batch, e).await),
        }
    }

    async fn compute(&self, batch: RecordBatch) -> DfResult<RecordBatch> {
        let batch = run(&self.ops, batch).await?;
        Ok(self.output.apply(&batch)?)
    }

    /// Finds the step and the row for which it failed.
    async fn explain(&self, batch: &RecordBatch, e: DataFusionError) -> Error {
        let mut rows = batch.clone();
        let mut first = 0;
        let mut error = e;
        while rows.num_rows() > 1 {
            let half = rows.num_rows() / 2;
            let (a, b) = (rows.slice(0, half), rows.slice(half, rows.num_rows() - half));
            if let Err(e) = self.compute(a.clone()).await {
                (rows, error) = (a, e);
            } else if let Err(e) = self.compute(b.clone()).await {
                (rows, error) = (b, e);
                first += half;
            } else {
                break;
            }
        }
        let mut step = self.steps.last().map(|(n, _)| n.as_str()).unwrap_or_default();
        for (name, plan) in &self.steps {
            let Ok(ops) = planner::optimize(plan.clone(), false).map_err(compile::Refused::from).and_then(|p| compile::compile(&p)) else { continue };
            if prepare(&ops).await.is_ok() && run(&ops, rows.clone()).await.is_err() {
                step = name;
                break;
            }
        }
        let columns = match self.ops.first() {
            Some(Op::Columns { columns, .. }) => columns.clone(),
            _ => (0..batch.num_columns()).collect(),
        };
        let where_ = match rows.num_rows() {
            1 => format!(" in row {} of the batch ({})", first + 1, values(&rows, 0, &columns)),
            _ => String::new(),
        };
        plain::run_error(error, |why| format!("select `{step}` cannot be computed{where_}: {why}"))
    }
}

async fn prepare(ops: &[Op]) -> Result<()> {
    for op in ops {
        if let Op::Lookup(lookup) = op {
            lookup.prepare().await?;
        }
    }
    Ok(())
}

async fn run(ops: &[Op], mut batch: RecordBatch) -> DfResult<RecordBatch> {
    for op in ops {
        batch = match op {
            Op::Columns { columns, schema } => {
                let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                let columns = columns.iter().map(|i| Arc::clone(batch.column(*i))).collect();
                RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?
            }
            Op::Project { exprs, schema } => {
                let rows = batch.num_rows();
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                let columns = exprs.iter().map(|e| e.evaluate(&batch)?.into_array(rows)).collect::<DfResult<_>>()?;
                RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?
            }
            Op::Filter(predicate) => match truth(predicate.evaluate(&batch)?, batch.num_rows())? {
                Truth::All => batch,
                Truth::None => batch.slice(0, 0),
                Truth::Some(keep) => filter_record_batch(&batch, &keep)?,
            },
            Op::Lookup(lookup) => {
                let built = lookup.built.get().ok_or_else(|| DataFusionError::Internal("a look-up table was not read".into()))?;
                lookup.join(built, &batch)?
            }
            Op::Unnest { lists, structs, options, schema } => unnest(batch, lists, structs, options, schema).await?,
            Op::Nothing(schema) => RecordBatch::new_empty(Arc::clone(schema)),
        };
    }
    Ok(batch)
}

/// Which rows meet a condition (null: they do not).
enum Truth {
    All,
    None,
    Some(BooleanArray),
}

fn truth(value: ColumnarValue, rows: usize) -> DfResult<Truth> {
    match value {
        ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))) => Ok(Truth::All),
        ColumnarValue::Scalar(_) => Ok(Truth::None),
        ColumnarValue::Array(array) => {
            let array = array.as_boolean_opt().ok_or_else(|| DataFusionError::Internal("a condition that is neither true nor false".into()))?;
            let count = array.true_count();
            Ok(if count == rows {
                Truth::All
            } else if count == 0 {
                Truth::None
            } else {
                Truth::Some(array.clone())
            })
        }
    }
}

async fn unnest(batch: RecordBatch, lists: &[ListUnnest], structs: &[usize], options: &UnnestOptions, schema: &SchemaRef) -> DfResult<RecordBatch> {
    let input = StreamingTableExec::try_new(batch.schema(), vec![Arc::new(Held(batch))], None, [], false, None)?;
    let exec = UnnestExec::new(Arc::new(input), lists.to_vec(), structs.to_vec(), Arc::clone(schema), options.clone())?;
    let batches = datafusion::physical_plan::collect(Arc::new(exec), engine::task()).await?;
    Ok(arrow_select::concat::concat_batches(schema, &batches)?)
}

/// The values of a row, for messages: `seconds = -5, msisdn = '32…'`.
pub(crate) fn values(batch: &RecordBatch, row: usize, columns: &[usize]) -> String {
    let options = FormatOptions::default().with_null("null");
    let mut out = String::new();
    for (n, i) in columns.iter().enumerate() {
        let column = batch.column(*i);
        let mut value = ArrayFormatter::try_new(column.as_ref(), &options).and_then(|f| f.value(row).try_to_string()).unwrap_or_else(|_| "?".into());
        if value.chars().count() > VALUE_LENGTH {
            value = value.chars().take(VALUE_LENGTH - 1).chain(['…']).collect();
        }
        let text = column.is_valid(row)
            && matches!(column.data_type(), arrow_schema::DataType::Utf8 | arrow_schema::DataType::LargeUtf8 | arrow_schema::DataType::Utf8View);
        let quote = if text { "'" } else { "" };
        let _ = write!(out, "{}{} = {quote}{value}{quote}", if n > 0 { ", " } else { "" }, batch.schema_ref().field(*i).name());
        if out.chars().count() > ROW_LENGTH {
            out = out.chars().take(ROW_LENGTH).chain(['…']).collect();
            break;
        }
    }
    out
}

/// A mask of rows, one bit each.
pub(crate) fn mask(bits: Vec<bool>) -> BooleanArray {
    BooleanArray::new(BooleanBuffer::from(bits), None)
}
