//! Tables as DataFusion sees them: the rows pushed in, the rows spooled, and what a [`TableResolver`] finds.

use std::any::Any;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, TryStreamExt};
use sluis_core::{Result, TableResolver, TableSource};

use crate::names::Table;
use crate::text::{Problem, Text, suggestion};

/// The rows that are pushed. It is planned over, never scanned by DataFusion.
#[derive(Debug)]
pub(crate) struct Input(pub SchemaRef);

#[async_trait]
impl TableProvider for Input {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }
    fn table_type(&self) -> TableType {
        TableType::Temporary
    }
    async fn scan(&self, _: &dyn Session, _: Option<&Vec<usize>>, _: &[Expr], _: Option<usize>) -> DfResult<Arc<dyn ExecutionPlan>> {
        Err(DataFusionError::Internal("the rows of a push are not a table that can be scanned".into()))
    }
}

/// Makes the stream of one scan, given the columns it needs.
pub(crate) trait Scan: Send + Sync {
    fn open(&self, columns: Option<&[usize]>) -> SendableRecordBatchStream;
}

/// A table whose rows come from a [`Scan`].
pub(crate) struct Scanned {
    pub schema: SchemaRef,
    pub scan: Arc<dyn Scan>,
}

impl fmt::Debug for Scanned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanned").field("schema", &self.schema).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for Scanned {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn table_type(&self) -> TableType {
        TableType::Base
    }
    async fn scan(&self, _: &dyn Session, projection: Option<&Vec<usize>>, _: &[Expr], limit: Option<usize>) -> DfResult<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(p) => Arc::new(self.schema.project(p)?),
            None => Arc::clone(&self.schema),
        };
        let partition = Arc::new(OneScan { schema: Arc::clone(&schema), scan: Arc::clone(&self.scan), columns: projection.cloned() });
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![partition], None, [], false, limit)?))
    }
}

struct OneScan {
    schema: SchemaRef,
    scan: Arc<dyn Scan>,
    columns: Option<Vec<usize>>,
}

impl fmt::Debug for OneScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneScan").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl PartitionStream for OneScan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }
    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        self.scan.open(self.columns.as_deref())
    }
}

/// Rows that are at hand.
#[derive(Debug)]
pub(crate) struct Held(pub RecordBatch);

impl PartitionStream for Held {
    fn schema(&self) -> &SchemaRef {
        self.0.schema_ref()
    }
    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batch = self.0.clone();
        Box::pin(RecordBatchStreamAdapter::new(self.0.schema(), futures::stream::iter([Ok(batch)])))
    }
}

/// A table that a resolver found.
struct Found {
    name: String,
    source: Arc<dyn TableSource>,
    schema: SchemaRef,
}

impl Scan for Found {
    fn open(&self, columns: Option<&[usize]>) -> SendableRecordBatchStream {
        let schema = match columns {
            Some(c) => Arc::new(self.schema.project(c).expect("columns of this table")),
            None => Arc::clone(&self.schema),
        };
        // A scan of no columns counts rows: the first column stands in.
        let mut names: Option<Vec<String>> = columns.map(|c| c.iter().map(|i| self.schema.field(*i).name().clone()).collect());
        if let (Some(n), Some(first)) = (&mut names, self.schema.fields().first())
            && n.is_empty()
        {
            n.push(first.name().clone());
        }
        let (source, name, shape) = (Arc::clone(&self.source), self.name.clone(), Arc::clone(&schema));
        let stream = futures::stream::once(async move { source.scan(names.as_deref()).await }).try_flatten().map(move |batch| {
            let batch = batch.map_err(|e| DataFusionError::External(Box::new(e.context("table", &name))))?;
            let columns = batch.columns().iter().take(shape.fields().len()).cloned().collect();
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            Ok(RecordBatch::try_new_with_options(Arc::clone(&shape), columns, &options)?)
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, stream))
    }
}

/// The tables that a statement mentions, found: those for binding names and those for planning, in the same order.
#[derive(Default)]
pub(crate) struct Resolved {
    pub tables: Vec<Table>,
    pub providers: Vec<Arc<dyn TableProvider>>,
}

impl Resolved {
    /// Finds what is mentioned and not yet here. Names that nobody knows become problems, unless they are among `local` (steps, CTEs), in lower case.
    ///
    /// # Errors
    /// Those of the resolver.
    pub async fn add(
        &mut self,
        mentioned: &[crate::names::Mention],
        local: &HashSet<String>,
        resolver: &dyn TableResolver,
        text: &Text<'_>,
    ) -> Result<Vec<Problem>> {
        let mut problems = Vec::new();
        for (parts, span) in mentioned {
            let path: Vec<String> = parts.iter().map(|(name, _)| name.clone()).collect();
            if path.is_empty()
                || (path.len() == 1 && local.contains(&path[0].to_lowercase()))
                || self.tables.iter().any(|t| same_path(&t.path, parts))
            {
                continue;
            }
            if let Some((path, source)) = find(&path, parts, resolver).await? {
                let schema = source.schema();
                let key = path.join(".");
                self.tables.push(Table::of_schema(path, key.clone(), &schema, false));
                self.providers.push(Arc::new(Scanned { schema: Arc::clone(&schema), scan: Arc::new(Found { name: key, source, schema }) }));
                continue;
            }
            let names: Vec<String> = resolver.names().await?.into_iter().map(|n| n.join(".")).chain(local.iter().cloned()).collect();
            let written = path.join(".");
            let hint = suggestion(&written, names.iter().map(String::as_str));
            problems.push(Problem { range: text.range(*span), message: format!("there is no table `{written}`"), hint });
        }
        Ok(problems)
    }
}

fn same_path(path: &[String], parts: &[(String, bool)]) -> bool {
    path.len() == parts.len() && path.iter().zip(parts).all(|(n, (p, quoted))| n == p || (!quoted && n.to_lowercase() == p.to_lowercase()))
}

/// As written, else ignoring the case of what is not quoted.
async fn find(path: &[String], parts: &[(String, bool)], resolver: &dyn TableResolver) -> Result<Option<(Vec<String>, Arc<dyn TableSource>)>> {
    if let Some(source) = resolver.resolve(path).await? {
        return Ok(Some((path.to_vec(), source)));
    }
    if parts.iter().all(|(_, quoted)| *quoted) {
        return Ok(None);
    }
    for name in resolver.names().await? {
        if name != path
            && same_path(&name, parts)
            && let Some(source) = resolver.resolve(&name).await?
        {
            return Ok(Some((name, source)));
        }
    }
    Ok(None)
}
