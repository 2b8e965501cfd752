//! Bound statements to logical plans.
//!
//! No session: DataFusion's planner, analyzer and optimizer are called directly, so that a plan costs a fraction of a millisecond.

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::config::ConfigOptions;
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner};
use datafusion::logical_expr::{AggregateUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion::optimizer::{Analyzer, Optimizer, OptimizerContext};
use datafusion::sql::planner::{ParserOptions, SqlToRel};
use datafusion::sql::sqlparser::ast::{Query, Statement};

use crate::functions;
use crate::tables::Input;

static OPTIONS: LazyLock<Arc<ConfigOptions>> = LazyLock::new(|| {
    let mut options = ConfigOptions::default();
    // One partition: rows keep their order, so that a run done again gives the same rows.
    options.execution.target_partitions = 1;
    options.execution.collect_statistics = false;
    options.catalog.create_default_catalog_and_schema = false;
    options.catalog.information_schema = false;
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    Arc::new(options)
});

/// The options of every plan.
pub(crate) fn options() -> &'static Arc<ConfigOptions> {
    &OPTIONS
}

/// The tables that a statement may read, by the planner's names.
#[derive(Default)]
pub(crate) struct Catalog {
    sources: HashMap<String, Arc<dyn TableSource>>,
}

/// An earlier step: its plan takes its place.
struct View {
    schema: SchemaRef,
    plan: LogicalPlan,
}

impl TableSource for View {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

impl Catalog {
    pub fn input(schema: &SchemaRef) -> Catalog {
        let mut catalog = Catalog::default();
        catalog.add("input".into(), Arc::new(Input(Arc::clone(schema))));
        catalog
    }
    pub fn add(&mut self, key: String, table: Arc<dyn TableProvider>) {
        self.sources.insert(key, provider_as_source(table));
    }
    pub fn add_view(&mut self, key: String, plan: LogicalPlan) {
        let schema = Arc::clone(plan.schema().inner());
        self.sources.insert(key, Arc::new(View { schema, plan }));
    }
    pub fn source(&self, key: &str) -> Option<Arc<dyn TableSource>> {
        self.sources.get(key).cloned()
    }

    /// Plans a bound query and checks its types.
    pub fn plan(&self, query: Query) -> DfResult<LogicalPlan> {
        let context = Context(self);
        let plan = SqlToRel::new_with_options(&context, parser_options()).sql_statement_to_plan(Statement::Query(Box::new(query)))?;
        analyze(plan)
    }

    /// Runs with DataFusion's planner of expressions.
    pub fn with_planner<T>(&self, f: impl FnOnce(&SqlToRel<'_, Context<'_>>) -> T) -> T {
        let context = Context(self);
        f(&SqlToRel::new_with_options(&context, parser_options()))
    }
}

fn parser_options() -> ParserOptions {
    ParserOptions::new().with_enable_ident_normalization(false).with_map_string_types_to_utf8view(false).with_collect_spans(true)
}

/// Checks and coerces types.
pub(crate) fn analyze(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    Analyzer::new().execute_and_check(plan, &OPTIONS, |_, _| {})
}

/// Optimizes an analyzed plan. `clock`: `now()` is the time at which this is called.
pub(crate) fn optimize(plan: LogicalPlan, clock: bool) -> DfResult<LogicalPlan> {
    let context = OptimizerContext::new_with_config_options(Arc::clone(&OPTIONS));
    let context = if clock { context } else { context.without_query_execution_start_time() };
    Optimizer::new().optimize(plan, &context, |_, _| {})
}

/// Whether a scan reads the rows that are pushed.
pub(crate) fn is_input(source: &Arc<dyn TableSource>) -> bool {
    source_as_provider(source).is_ok_and(|p| p.as_any().is::<Input>())
}

/// DataFusion's view of a [`Catalog`].
pub(crate) struct Context<'c>(&'c Catalog);

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        self.0.sources.get(name.table()).cloned().ok_or_else(|| DataFusionError::Plan(format!("there is no table `{name}`")))
    }
    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> DfResult<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }
    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &functions::all().planners
    }
    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        functions::all().scalar.get(name).cloned()
    }
    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        functions::all().aggregate.get(name).cloned()
    }
    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        functions::all().window.get(name).cloned()
    }
    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }
    fn options(&self) -> &ConfigOptions {
        &OPTIONS
    }
    fn udf_names(&self) -> Vec<String> {
        functions::all().scalar.keys().cloned().collect()
    }
    fn udaf_names(&self) -> Vec<String> {
        functions::all().aggregate.keys().cloned().collect()
    }
    fn udwf_names(&self) -> Vec<String> {
        functions::all().window.keys().cloned().collect()
    }
}
