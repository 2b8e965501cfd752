//! `sluis sql`: one SELECT over the tables of a resolver, `SHOW TABLES`, `DESCRIBE table`.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{ObjectName, Query, Statement};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use sluis_core::columns::type_name;
use sluis_core::{Error, ErrorKind, Result, TableResolver};

use crate::names::{bind_query, cte_names, mentioned};
use crate::output::Output;
use crate::planner::{self, Catalog};
use crate::problems::excerpt;
use crate::rules::{self, Place};
use crate::tables::Resolved;
use crate::text::{Problem, Text, deep};
use crate::transform::pieces;
use crate::{engine, plain};

/// What a query gives.
pub struct QueryResult {
    pub schema: SchemaRef,
    /// Its rows; they are computed as they are taken.
    pub stream: BoxStream<'static, Result<RecordBatch>>,
}

/// Runs one statement that reads. Tables are found by the names in it, columns are read only if they are used. Batches have at most `batch_rows` rows.
///
/// # Errors
/// `ErrorKind::Config` if the statement is wrong, `ErrorKind::NotFound` if a table does not exist, else those of the tables and of running it.
pub async fn query(sql: &str, tables: Arc<dyn TableResolver>, batch_rows: usize) -> Result<QueryResult> {
    let text = Text::new(sql);
    let statement = deep(|| text.statement()).map_err(|p| wrong(sql, &[p]))?;
    match &statement {
        Statement::ShowTables { .. } => return show_tables(tables.as_ref()).await,
        Statement::ExplainTable { table_name, .. } => return describe(&text, table_name, tables.as_ref()).await,
        _ => {}
    }
    let (query, found) = deep(|| rules::statement(&text, &statement, Place::Query));
    let (Some(query), []) = (query, found.problems.as_slice()) else {
        return Err(wrong(sql, &found.problems).hint("one SELECT, SHOW TABLES or DESCRIBE table"));
    };
    select(&text, query.clone(), tables.as_ref(), batch_rows.max(1)).await
}

async fn select(text: &Text<'_>, mut query: Query, tables: &dyn TableResolver, batch_rows: usize) -> Result<QueryResult> {
    let mut resolved = Resolved::default();
    let missing = resolved.add(&mentioned(&query), &cte_names(&query), tables, text).await?;
    if !missing.is_empty() {
        return Err(not_found(&missing));
    }
    let bound = deep(|| bind_query(text, &mut query, &resolved.tables, true));
    if !bound.problems.is_empty() {
        return Err(wrong(text.sql, &bound.problems));
    }
    let mut catalog = Catalog::default();
    for (table, provider) in resolved.tables.iter().zip(resolved.providers) {
        catalog.add(table.key.clone(), provider);
    }
    let plan = deep(|| catalog.plan(query).and_then(|plan| planner::optimize(plan, true)))
        .map_err(|e| wrong(text.sql, &[Problem::new(None, plain::text(&e))]))?;
    let output = Output::of(&plan);
    let failed = |e| plain::run_error(e, |why| format!("the query cannot be computed: {why}"));
    let rows = engine::run(&plan).await.map_err(failed)?;
    let schema = Arc::clone(&output.schema);
    let stream = rows.map(move |batch| -> Result<_> {
        let batch = output.apply(&batch.map_err(failed)?).map_err(|e| failed(e.into()))?;
        let mut out = Vec::new();
        pieces(batch, batch_rows, &mut out);
        Ok(futures::stream::iter(out.into_iter().map(Ok)))
    });
    Ok(QueryResult { schema, stream: stream.try_flatten().boxed() })
}

async fn show_tables(tables: &dyn TableResolver) -> Result<QueryResult> {
    let mut names: Vec<String> = tables.names().await?.into_iter().map(|n| n.join(".")).collect();
    names.sort();
    let schema = Arc::new(Schema::new(vec![Field::new("table", DataType::Utf8, false)]));
    held(schema, |schema| RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(names))]))
}

async fn describe(text: &Text<'_>, name: &ObjectName, tables: &dyn TableResolver) -> Result<QueryResult> {
    use datafusion::sql::sqlparser::ast::Spanned as _;
    let parts = name.0.iter().filter_map(|p| p.as_ident()).map(|i| (i.value.clone(), i.quote_style.is_some())).collect();
    let mut resolved = Resolved::default();
    let missing = resolved.add(&[(parts, name.span())], &HashSet::new(), tables, text).await?;
    let Some(provider) = resolved.providers.first().filter(|_| missing.is_empty()) else { return Err(not_found(&missing)) };
    let table = provider.schema();
    let schema = Arc::new(Schema::new(vec![
        Field::new("column", DataType::Utf8, false),
        Field::new("type", DataType::Utf8, false),
        Field::new("nullable", DataType::Boolean, false),
    ]));
    held(schema, |schema| {
        let names: StringArray = table.fields().iter().map(|f| Some(f.name().as_str())).collect();
        let types: StringArray = table.fields().iter().map(|f| Some(type_name(f.data_type()))).collect();
        let nullable: BooleanArray = table.fields().iter().map(|f| Some(f.is_nullable())).collect();
        RecordBatch::try_new(schema, vec![Arc::new(names), Arc::new(types), Arc::new(nullable)])
    })
}

fn held(schema: SchemaRef, batch: impl FnOnce(SchemaRef) -> Result<RecordBatch, datafusion::arrow::error::ArrowError>) -> Result<QueryResult> {
    let batch = batch(Arc::clone(&schema)).map_err(|e| Error::internal("cannot list tables or columns").source(e))?;
    Ok(QueryResult { schema, stream: futures::stream::iter([Ok(batch)]).boxed() })
}

fn not_found(missing: &[Problem]) -> Error {
    let (message, hint) = missing.first().map(|p| (p.message.clone(), p.hint.clone())).unwrap_or_else(|| ("there is no such table".into(), None));
    Error::new(ErrorKind::NotFound, message).hint(hint.unwrap_or_else(|| "no table is there yet; SHOW TABLES lists them".into()))
}

/// The first of some problems, with the SQL around it.
fn wrong(sql: &str, problems: &[Problem]) -> Error {
    let Some(first) = problems.first() else { return Error::internal("an SQL statement failed without a reason") };
    let more = if problems.len() > 1 { format!(" (and {} more)", problems.len() - 1) } else { String::new() };
    let error = Error::config(format!("{}{more}", first.message)).context("sql", excerpt(sql, first.range.as_ref().map(|r| r.start)));
    match &first.hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
