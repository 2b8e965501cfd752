//! Conditions on rows.
//!
//! Each is evaluated over the whole batch at once; single rows are looked at only where one fails. Where a condition cannot be computed (division by
//! zero, a cast that does not fit) the rows at fault are found by halving, and they fail.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use arrow_select::filter::filter_record_batch;
use datafusion::common::DFSchema;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::ColumnarValue;
use datafusion::scalar::ScalarValue;
use datafusion::sql::planner::PlannerContext;
use datafusion::sql::sqlparser::ast::Expr;
use sluis_core::columns::type_name;
use sluis_core::transform::CheckFailure;
use sluis_core::{Error, ErrorKind, Result};

use crate::planner::Catalog;
use crate::rowwise::{mask, values};
use crate::spec::{CheckRule, OnFail};
use crate::{compile, plain, planner};

/// How many characters of a condition messages show.
const CONDITION_LENGTH: usize = 200;

/// A condition, compiled.
#[derive(Debug)]
pub(crate) struct Condition {
    pub expr: Arc<dyn PhysicalExpr>,
    /// The columns it mentions.
    pub columns: Vec<usize>,
}

/// Plans a bound condition over `input`; the error is a sentence.
pub(crate) fn condition(expr: Expr, input: &SchemaRef) -> Result<Condition, String> {
    let catalog = Catalog::input(input);
    let schema = DFSchema::try_from_qualified_schema("input", input).map_err(|e| plain::text(&e))?;
    let expr = catalog.with_planner(|p| p.sql_to_expr(expr, &schema, &mut PlannerContext::new())).map_err(|e| plain::text(&e))?;
    let plan = catalog.source("input").ok_or_else(|| "there is no input".to_owned()).and_then(|source| {
        LogicalPlanBuilder::scan("input", source, None).and_then(|b| b.project([expr.alias("check")])?.build()).map_err(|e| plain::text(&e))
    })?;
    let plan = planner::analyze(plan).map_err(|e| plain::text(&e))?;
    let context = OptimizerContext::new_with_config_options(Arc::clone(planner::options())).without_query_execution_start_time();
    let simplify = Optimizer::with_rules(vec![Arc::new(SimplifyExpressions::new())]);
    let plan = simplify.optimize(plan, &context, |_, _| {}).map_err(|e| plain::text(&e))?;
    let LogicalPlan::Projection(projection) = &plan else { return Err("this is not a condition".into()) };
    let expr = &projection.expr[0];
    match expr.get_type(projection.input.schema()).map_err(|e| plain::text(&e))? {
        DataType::Boolean | DataType::Null => {}
        other => return Err(format!("a condition is true or false, and this is {}", type_name(&other))),
    }
    let physical = compile::physical(expr, projection.input.schema()).map_err(|e| plain::text(&e))?;
    let mut columns: Vec<usize> = collect_columns(&physical).iter().map(|c| c.index()).collect();
    columns.sort_unstable();
    Ok(Condition { expr: physical, columns })
}

/// What the checks leave of a batch.
pub(crate) struct Checked {
    pub batch: RecordBatch,
    pub failures: Vec<CheckFailure>,
    pub warnings: Vec<(Arc<str>, u64)>,
}

struct Rule {
    name: Arc<str>,
    /// The condition as messages show it.
    that: String,
    on_fail: OnFail,
    condition: Condition,
}

/// The checks of a pipeline over one input schema.
pub(crate) struct Checks(Vec<Rule>);

/// A row for which a condition is false, or why it could not be computed.
type Failing = (usize, Option<String>);

impl Checks {
    pub fn new(rules: &[CheckRule], conditions: Vec<Condition>) -> Checks {
        assert_eq!(rules.len(), conditions.len(), "a condition per rule");
        let rules = rules.iter().zip(conditions).map(|(rule, condition)| {
            let mut that = rule.that.split_whitespace().collect::<Vec<_>>().join(" ");
            if that.chars().count() > CONDITION_LENGTH {
                that = that.chars().take(CONDITION_LENGTH - 1).chain(['…']).collect();
            }
            Rule { name: rule.name.as_str().into(), that, on_fail: rule.on_fail, condition }
        });
        Checks(rules.collect())
    }

    /// Tries all checks on a batch, each on the rows that no earlier one rejected.
    ///
    /// # Errors
    /// `ErrorKind::Data` if a row fails an `on_fail: fail` check.
    pub fn apply(&self, batch: RecordBatch) -> Result<Checked> {
        let mut alive: Option<Vec<bool>> = None;
        let (mut failures, mut warnings): (Vec<CheckFailure>, Vec<(Arc<str>, u64)>) = (Vec::new(), Vec::new());
        for rule in &self.0 {
            let failing = rule.failing(&batch, alive.as_deref());
            if failing.is_empty() {
                continue;
            }
            match rule.on_fail {
                OnFail::Warn => warnings.push((Arc::clone(&rule.name), failing.len() as u64)),
                OnFail::Reject => {
                    let alive = alive.get_or_insert_with(|| vec![true; batch.num_rows()]);
                    for (row, why) in failing {
                        alive[row] = false;
                        let message = rule.message(&batch, row, why.as_deref());
                        failures.push(CheckFailure { row, check: Arc::clone(&rule.name), message });
                    }
                }
                OnFail::Fail => {
                    let (row, why) = &failing[0];
                    let more = if failing.len() > 1 { format!(" ({} rows of this batch in all)", failing.len()) } else { String::new() };
                    let message = format!("{}; row {} of the batch{more}", rule.message(&batch, *row, why.as_deref()), row + 1);
                    return Err(Error::new(ErrorKind::Data, message)
                        .context("check", &rule.name)
                        .hint("the check says `on_fail: fail`: correct the data, or let it `reject` or `warn`"));
                }
            }
        }
        let batch = match alive {
            Some(alive) => {
                failures.sort_by_key(|f| f.row);
                filter_record_batch(&batch, &mask(alive)).map_err(|e| Error::internal("cannot filter a batch").source(e))?
            }
            None => batch,
        };
        Ok(Checked { batch, failures, warnings })
    }
}

impl Rule {
    fn message(&self, batch: &RecordBatch, row: usize, why: Option<&str>) -> String {
        let values = values(batch, row, &self.condition.columns);
        let values = if values.is_empty() { values } else { format!(" ({values})") };
        match why {
            None => format!("check `{}` failed: {}{values}", self.name, self.that),
            Some(why) => format!("check `{}` cannot be computed: {}{values}: {why}", self.name, self.that),
        }
    }

    /// The rows that fail, among those alive, in order.
    fn failing(&self, batch: &RecordBatch, alive: Option<&[bool]>) -> Vec<Failing> {
        match falses(&self.condition.expr, batch) {
            Ok(mut rows) => {
                if let Some(alive) = alive {
                    rows.retain(|r| alive[*r]);
                }
                rows.into_iter().map(|r| (r, None)).collect()
            }
            Err(_) => {
                let rows: Vec<usize> = (0..batch.num_rows()).filter(|r| alive.is_none_or(|a| a[*r])).collect();
                let living = match alive {
                    Some(alive) => filter_record_batch(batch, &mask(alive.to_vec())).expect("a bit per row"),
                    None => batch.clone(),
                };
                let mut out = Vec::new();
                self.halve(&living, &rows, &mut out);
                out
            }
        }
    }

    /// Finds the rows that fail where the whole cannot be computed. `rows`: the numbers of the batch's rows.
    fn halve(&self, batch: &RecordBatch, rows: &[usize], out: &mut Vec<Failing>) {
        match falses(&self.condition.expr, batch) {
            Ok(failing) => out.extend(failing.into_iter().map(|r| (rows[r], None))),
            Err(e) if rows.len() == 1 => out.push((rows[0], Some(plain::text(&e)))),
            Err(_) if rows.is_empty() => {}
            Err(_) => {
                let half = rows.len() / 2;
                self.halve(&batch.slice(0, half), &rows[..half], out);
                self.halve(&batch.slice(half, rows.len() - half), &rows[half..], out);
            }
        }
    }
}

/// The rows for which a condition is false (null is not).
fn falses(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> DfResult<Vec<usize>> {
    let array = match expr.evaluate(batch)? {
        ColumnarValue::Scalar(ScalarValue::Boolean(Some(false))) => return Ok((0..batch.num_rows()).collect()),
        ColumnarValue::Scalar(_) => return Ok(Vec::new()),
        ColumnarValue::Array(array) => array,
    };
    let Some(array) = array.as_boolean_opt() else { return Ok(Vec::new()) };
    if array.true_count() + array.null_count() == array.len() {
        return Ok(Vec::new());
    }
    Ok((0..array.len()).filter(|i| array.is_valid(*i) && !array.value(*i)).collect())
}
