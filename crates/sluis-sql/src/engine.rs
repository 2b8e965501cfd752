//! DataFusion's own execution, for what is not row by row: bounded in memory, spilling to temporary files.
//!
//! The session is made when the first such plan runs, without catalogs, functions or file formats.

use std::sync::{Arc, LazyLock};

use arrow_array::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DfResult;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{SendableRecordBatchStream, SessionStateDefaults, TaskContext};
use datafusion::logical_expr::{LogicalPlan, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;

use crate::planner;

/// Memory that sorts, aggregates and joins of the process may take together before they spill.
pub(crate) const MEMORY: usize = 1 << 30;

/// Temporary files that they may write.
const TEMPORARY: u64 = 200 << 30;

static SESSION: LazyLock<SessionState> = LazyLock::new(|| {
    let pool = TrackConsumersPool::new(FairSpillPool::new(MEMORY), std::num::NonZeroUsize::MIN);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_max_temp_directory_size(TEMPORARY)
        .build_arc()
        .expect("no part of the environment is touched before it is used");
    SessionStateBuilder::new()
        .with_config(SessionConfig::from(planner::options().as_ref().clone()))
        .with_runtime_env(runtime)
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .build()
});

static TASK: LazyLock<Arc<TaskContext>> = LazyLock::new(|| SESSION.task_ctx());

/// The context in which operators run.
pub(crate) fn task() -> Arc<TaskContext> {
    Arc::clone(&TASK)
}

/// Runs an optimized plan.
pub(crate) async fn run(plan: &LogicalPlan) -> DfResult<SendableRecordBatchStream> {
    let mut state = SESSION.clone();
    state.execution_props_mut().mark_start_execution(Arc::clone(planner::options()));
    let physical = state.query_planner().create_physical_plan(plan, &state).await?;
    execute_stream(checked(physical)?, task())
}

/// Runs an optimized plan and gathers its rows, up to so many bytes; `None` if there are more.
pub(crate) async fn gather(plan: &LogicalPlan, limit: usize) -> DfResult<Option<Vec<RecordBatch>>> {
    use futures::TryStreamExt as _;
    let mut stream = run(plan).await?;
    let (mut out, mut bytes) = (Vec::new(), 0usize);
    while let Some(batch) = stream.try_next().await? {
        bytes = bytes.saturating_add(batch.get_array_memory_size());
        if bytes > limit {
            return Ok(None);
        }
        out.push(batch);
    }
    Ok(Some(out))
}

/// Arithmetic whose result does not fit is an error, not another number.
pub(crate) fn checked_expr(expr: Arc<dyn PhysicalExpr>) -> DfResult<Arc<dyn PhysicalExpr>> {
    expr.transform_up(|e| {
        Ok(match e.as_any().downcast_ref::<BinaryExpr>() {
            Some(b) if matches!(b.op(), Operator::Plus | Operator::Minus | Operator::Multiply) => {
                let checked = BinaryExpr::new(Arc::clone(b.left()), *b.op(), Arc::clone(b.right())).with_fail_on_overflow(true);
                Transformed::yes(Arc::new(checked) as Arc<dyn PhysicalExpr>)
            }
            _ => Transformed::no(e),
        })
    })
    .map(|t| t.data)
}

fn checked(plan: Arc<dyn ExecutionPlan>) -> DfResult<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        if let Some(p) = node.as_any().downcast_ref::<ProjectionExec>() {
            let exprs = p
                .expr()
                .iter()
                .map(|e| Ok(ProjectionExpr { expr: checked_expr(Arc::clone(&e.expr))?, alias: e.alias.clone() }))
                .collect::<DfResult<Vec<_>>>()?;
            return Ok(Transformed::yes(Arc::new(ProjectionExec::try_new(exprs, Arc::clone(p.input()))?) as Arc<dyn ExecutionPlan>));
        }
        if let Some(f) = node.as_any().downcast_ref::<FilterExec>() {
            let predicate = checked_expr(Arc::clone(f.predicate()))?;
            return Ok(Transformed::yes(Arc::new(FilterExecBuilder::from(f).with_predicate(predicate).build()?) as Arc<dyn ExecutionPlan>));
        }
        Ok(Transformed::no(node))
    })
    .map(|t| t.data)
}
