//! Optimized logical plans to steps that run on a pushed batch, or the reason why not.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, NullEquality};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan, Unnest};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_plan::unnest::ListUnnest;
use tokio::sync::OnceCell;

use crate::engine::checked_expr;
use crate::lookup::{Kind, Lookup};
use crate::planner;
use crate::rowwise::Op;

/// Why a plan does not run row by row.
pub(crate) enum Refused {
    /// It looks across rows: what in it does.
    Across(&'static str),
    /// It does not read `input`.
    NoInput,
    Failed(DataFusionError),
}

impl From<DataFusionError> for Refused {
    fn from(e: DataFusionError) -> Self {
        Refused::Failed(e)
    }
}

/// How often the pushed rows are read by a plan.
pub(crate) fn reads_of_input(plan: &LogicalPlan) -> usize {
    let mut count = 0;
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && planner::is_input(&scan.source)
        {
            count += 1;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    count
}

/// Compiles an optimized plan.
pub(crate) fn compile(plan: &LogicalPlan) -> Result<Vec<Op>, Refused> {
    let mut ops = Vec::new();
    if reads_of_input(plan) == 0 {
        return match plan {
            // A condition that is never true: the optimizer took the rows away.
            LogicalPlan::EmptyRelation(e) if !e.produce_one_row => Ok(vec![Op::Nothing(Arc::clone(plan.schema().inner()))]),
            LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) if is_empty(plan) => Ok(vec![Op::Nothing(Arc::clone(plan.schema().inner()))]),
            _ => Err(Refused::NoInput),
        };
    }
    add(plan, &mut ops)?;
    Ok(ops)
}

fn is_empty(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::EmptyRelation(e) => !e.produce_one_row,
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => is_empty(plan.inputs()[0]),
        _ => false,
    }
}

fn add(plan: &LogicalPlan, ops: &mut Vec<Op>) -> Result<(), Refused> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            assert!(scan.filters.is_empty() && scan.fetch.is_none(), "nothing is pushed into the scan of `input`");
            if let Some(columns) = &scan.projection {
                ops.push(Op::Columns { columns: columns.clone(), schema: Arc::clone(plan.schema().inner()) });
            }
            Ok(())
        }
        LogicalPlan::SubqueryAlias(alias) => add(&alias.input, ops),
        LogicalPlan::Projection(p) => {
            add(&p.input, ops)?;
            let exprs = p.expr.iter().map(|e| physical(e, p.input.schema())).collect::<DfResult<Vec<_>>>()?;
            ops.push(Op::Project { exprs, schema: Arc::clone(plan.schema().inner()) });
            Ok(())
        }
        LogicalPlan::Filter(f) => {
            add(&f.input, ops)?;
            ops.push(Op::Filter(physical(&f.predicate, f.input.schema())?));
            Ok(())
        }
        LogicalPlan::Unnest(u) => {
            add(&u.input, ops)?;
            ops.push(unnest(u));
            Ok(())
        }
        LogicalPlan::Join(join) => {
            let (left, right) = (reads_of_input(&join.left), reads_of_input(&join.right));
            if left > 0 && right > 0 {
                return Err(Refused::Across("a join of `input` with itself"));
            }
            let lookup = lookup(join, left > 0)?;
            add(if left > 0 { &join.left } else { &join.right }, ops)?;
            ops.push(Op::Lookup(Arc::new(lookup)));
            Ok(())
        }
        other => Err(Refused::Across(word(other))),
    }
}

fn word(plan: &LogicalPlan) -> &'static str {
    match plan {
        LogicalPlan::Aggregate(_) => "an aggregate or GROUP BY",
        LogicalPlan::Distinct(_) => "DISTINCT",
        LogicalPlan::Window(_) => "a window function",
        LogicalPlan::Sort(_) => "ORDER BY",
        LogicalPlan::Limit(_) => "LIMIT",
        LogicalPlan::Union(_) => "UNION",
        LogicalPlan::RecursiveQuery(_) => "WITH RECURSIVE",
        _ => "this statement",
    }
}

fn unnest(u: &Unnest) -> Op {
    let lists = u.list_type_columns.iter().map(|(i, c)| ListUnnest { index_in_input_schema: *i, depth: c.depth }).collect();
    Op::Unnest { lists, structs: u.struct_type_columns.clone(), options: u.options.clone(), schema: Arc::clone(u.schema.inner()) }
}

fn lookup(join: &Join, input_first: bool) -> Result<Lookup, Refused> {
    let kind = match (join.join_type, input_first) {
        (JoinType::Inner, _) => Kind::Inner,
        (JoinType::Left, true) | (JoinType::Right, false) => Kind::Outer,
        (JoinType::LeftSemi, true) | (JoinType::RightSemi, false) => Kind::Semi,
        (JoinType::LeftAnti, true) if join.null_aware => Kind::NullAwareAnti,
        (JoinType::LeftAnti, true) | (JoinType::RightAnti, false) => Kind::Anti,
        (JoinType::LeftMark, true) | (JoinType::RightMark, false) => Kind::Mark,
        _ => return Err(Refused::Across("a join that keeps rows of the other table")),
    };
    let (input, table) = if input_first { (&join.left, &join.right) } else { (&join.right, &join.left) };
    let mut keys = (Vec::new(), Vec::new());
    for (l, r) in &join.on {
        let (ours, theirs) = if input_first { (l, r) } else { (r, l) };
        keys.0.push(physical(ours, input.schema())?);
        keys.1.push(physical(theirs, table.schema())?);
    }
    let both = join.left.schema().join(join.right.schema())?;
    let filter = join.filter.as_ref().map(|f| physical(f, &both)).transpose()?;
    let nullable = |schema: &SchemaRef| -> SchemaRef {
        Arc::new(arrow_schema::Schema::new(schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>()))
    };
    Ok(Lookup {
        name: table_name(table),
        table: table.as_ref().clone(),
        table_schema: Arc::clone(table.schema().inner()),
        input_keys: keys.0,
        table_keys: keys.1,
        filter,
        both_schema: nullable(both.inner()),
        input_first,
        kind,
        nulls_match: join.null_equality == NullEquality::NullEqualsNull,
        schema: Arc::clone(join.schema.inner()),
        built: OnceCell::new(),
    })
}

/// The first table that a plan reads.
fn table_name(plan: &LogicalPlan) -> String {
    let mut name = None;
    let _ = plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            name = Some(format!("`{}`", scan.table_name.table()));
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    name.unwrap_or_else(|| "in the join".into())
}

/// An expression that runs on batches of this schema; results that do not fit are errors.
pub(crate) fn physical(expr: &Expr, schema: &DFSchema) -> DfResult<Arc<dyn PhysicalExpr>> {
    let mut props = ExecutionProps::new();
    props.config_options = Some(Arc::clone(planner::options()));
    checked_expr(create_physical_expr(expr, schema, &props)?)
}
