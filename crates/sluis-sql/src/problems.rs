//! All that is wrong with the SQL of a pipeline, at once.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{Distinct, Expr, Ident, Query, Select, SelectItem, SetExpr, Spanned, Value};
use sluis_core::{Error, Result};

use crate::checks::{self, Condition};
use crate::compile::{self, Refused};
use crate::names::{self, Table};
use crate::output;
use crate::planner::{self, Catalog};
use crate::rowwise::Op;
use crate::rules::{self, Place};
use crate::spec::{Part, SqlProblem, TransformSpec};
use crate::tables::Resolved;
use crate::text::{Problem, Text, deep};
use crate::{plain, tables};

/// What is wrong whatever the input looks like: text that is no SQL, statements and functions that are not allowed, looks across rows without
/// `scope: epoch`, steps that read themselves or later ones, steps that nothing reads. Needs no network.
pub fn syntax(spec: &TransformSpec) -> Vec<SqlProblem> {
    parse(spec).problems
}

/// What is wrong for this input: unknown and ambiguous columns, types that do not fit, columns with one name. Parts that [`syntax`] has problems
/// with are passed over. Needs no network: look-up tables are taken on trust. `complete`: `input` has no other columns than these.
pub fn against(spec: &TransformSpec, input: &SchemaRef, complete: bool) -> Vec<SqlProblem> {
    analyze(spec, &parse(spec), input, complete, None).problems
}

/// The statements of a pipeline. `None`: something is wrong with it.
pub(crate) struct Parsed {
    pub checks: Vec<Option<Expr>>,
    pub steps: Vec<Option<Query>>,
    pub problems: Vec<SqlProblem>,
}

/// Parses all statements and holds them against the rules.
pub(crate) fn parse(spec: &TransformSpec) -> Parsed {
    deep(|| parse_here(spec))
}

fn parse_here(spec: &TransformSpec) -> Parsed {
    let mut problems = Vec::new();
    let mut note = |part: Part, found: Vec<Problem>| {
        let clean = found.is_empty();
        problems.extend(found.into_iter().map(|p| problem(part, p)));
        clean
    };
    let checks = spec.checks.iter().enumerate().map(|(i, check)| {
        let text = Text::new(&check.that);
        match text.expression() {
            Ok(expr) => note(Part::Check(i), rules::condition(&text, &expr)).then_some(expr),
            Err(p) => {
                note(Part::Check(i), vec![p]);
                None
            }
        }
    });
    let checks = checks.collect();
    let names: Vec<&str> = spec.steps.iter().map(|s| s.name.as_str()).collect();
    let mut steps: Vec<Option<Query>> = Vec::new();
    let mut reads: Vec<Option<HashSet<String>>> = Vec::new();
    for (i, step) in spec.steps.iter().enumerate() {
        let text = Text::new(&step.sql);
        let place = Place::Step { before: &names[..i], from_here: &names[i..], across_rows: spec.across_rows };
        match text.statement() {
            Ok(statement) => {
                let (query, mut found) = rules::statement(&text, &statement, place);
                if query.is_some() && found.reads.is_empty() && found.problems.is_empty() {
                    let known = if i == 0 { "`input`" } else { "`input` or an earlier step" };
                    found
                        .problems
                        .push(Problem::new(None, format!("this reads nothing of {known}")).hint("write `… from input`, the rows that come in"));
                }
                let query = query.cloned();
                reads.push(Some(found.reads));
                let clean = note(Part::Step(i), found.problems);
                steps.push(query.filter(|_| clean));
            }
            Err(p) => {
                note(Part::Step(i), vec![p]);
                reads.push(None);
                steps.push(None);
            }
        }
    }
    // A step that nothing reads is a mistake, if all later ones could be read.
    for (i, name) in names.iter().enumerate().take(names.len().saturating_sub(1)) {
        let later = &reads[i + 1..];
        if later.iter().all(|r| r.as_ref().is_some_and(|r| !r.is_empty() && !r.contains(&name.to_lowercase()))) {
            let p = Problem::new(None, format!("no later step reads `{name}`"));
            note(Part::Step(i), vec![p.hint(format!("the last step's rows are the output: write `… from {name}` there, or leave the step out"))]);
        }
    }
    Parsed { checks, steps, problems }
}

fn problem(part: Part, p: Problem) -> SqlProblem {
    SqlProblem { part, range: p.range, message: p.message, hint: p.hint }
}

/// How the select runs.
pub(crate) enum Selected {
    Rows { ops: Vec<Op>, plan: LogicalPlan },
    Across { plan: LogicalPlan },
}

/// What came of planning. `conditions` and `selected` are complete if there are no problems and nothing was taken on trust.
pub(crate) struct Analysis {
    pub problems: Vec<SqlProblem>,
    pub conditions: Vec<Condition>,
    pub selected: Option<Selected>,
    /// The steps' names and plans, not optimized.
    pub steps: Vec<(String, LogicalPlan)>,
}

/// Binds and plans everything. `resolved`: all look-up tables; without it they are taken on trust.
pub(crate) fn analyze(spec: &TransformSpec, parsed: &Parsed, input: &SchemaRef, complete: bool, resolved: Option<&Resolved>) -> Analysis {
    deep(|| analyze_here(spec, parsed, input, complete, resolved))
}

fn analyze_here(spec: &TransformSpec, parsed: &Parsed, input: &SchemaRef, complete: bool, resolved: Option<&Resolved>) -> Analysis {
    let mut out = Analysis { problems: Vec::new(), conditions: Vec::new(), selected: None, steps: Vec::new() };
    let table = Table::of_schema(vec!["input".into()], "input".into(), input, !complete);
    for (i, expr) in parsed.checks.iter().enumerate() {
        let (Some(expr), part) = (expr, Part::Check(i)) else { continue };
        let text = Text::new(&spec.checks[i].that);
        let mut expr = expr.clone();
        let bound = names::bind_condition(&text, &mut expr, &table);
        let sound = bound.problems.is_empty() && !bound.trusted;
        out.problems.extend(bound.problems.into_iter().map(|p| problem(part, p)));
        if sound {
            match checks::condition(expr, input) {
                Ok(condition) => out.conditions.push(condition),
                Err(message) => out.problems.push(SqlProblem { part, range: None, message, hint: None }),
            }
        }
    }
    let mut tables = vec![table];
    let mut catalog = Catalog::input(input);
    if let Some(resolved) = resolved {
        tables.extend(resolved.tables.iter().cloned());
        for (table, provider) in resolved.tables.iter().zip(&resolved.providers) {
            catalog.add(table.key.clone(), Arc::clone(provider));
        }
    }
    for (i, query) in parsed.steps.iter().enumerate() {
        let name = spec.steps[i].name.clone();
        let unknown = Table { path: vec![name.clone()], key: name.clone(), columns: Vec::new(), open: true };
        let table = match query {
            Some(query) => step(spec, i, query, &tables, &mut catalog, resolved.is_some(), &mut out),
            None => unknown,
        };
        tables.push(table);
    }
    if out.steps.len() == spec.steps.len()
        && let Some((_, plan)) = out.steps.last()
    {
        let last = Part::Step(spec.steps.len() - 1);
        match select(plan.clone(), spec.across_rows) {
            Ok(selected) => out.selected = Some(selected),
            Err(p) => out.problems.push(problem(last, p)),
        }
    }
    out
}

/// Binds and plans one step; the table that later steps see.
fn step(spec: &TransformSpec, i: usize, query: &Query, tables: &[Table], catalog: &mut Catalog, closed: bool, out: &mut Analysis) -> Table {
    let (text, name, part) = (Text::new(&spec.steps[i].sql), spec.steps[i].name.clone(), Part::Step(i));
    let mut query = query.clone();
    let bound = names::bind_query(&text, &mut query, tables, closed);
    let sound = bound.problems.is_empty();
    out.problems.extend(bound.problems.into_iter().map(|p| problem(part, p)));
    let guess = Table { path: vec![name.clone()], key: name.clone(), columns: bound.columns, open: bound.open || !sound };
    // A plan over tables that are not known, or over steps that could not be planned, would find faults that are not there.
    if !sound || bound.trusted || out.steps.len() < i {
        return Table { open: true, ..guess };
    }
    let mut seen = HashSet::new();
    if let Some(twice) = guess.columns.iter().map(|c| c.name.as_str()).find(|n| !seen.insert(*n)) {
        out.problems.push(problem(part, same_name(twice)));
        return guess;
    }
    match catalog.plan(query.clone()) {
        Ok(plan) => {
            let schema = Arc::clone(plan.schema().inner());
            if let Some(twice) = output::duplicate(&schema) {
                out.problems.push(problem(part, same_name(twice)));
                return guess;
            }
            catalog.add_view(name.clone(), plan.clone());
            out.steps.push((name.clone(), plan));
            Table::of_schema(vec![name.clone()], name, &schema, bound.open)
        }
        Err(e) => {
            out.problems.extend(locate(&text, &query, catalog, &e).into_iter().map(|p| problem(part, p)));
            Table { open: true, ..guess }
        }
    }
}

fn same_name(name: &str) -> Problem {
    Problem::new(None, format!("two columns are called `{name}`"))
        .hint(format!("give one another name, as in `… as other_{name}`, or leave it out, as in `* exclude ({name})`"))
}

/// Decides how a planned select runs.
fn select(plan: LogicalPlan, across_rows: bool) -> Result<Selected, Problem> {
    let failed = |e: &DataFusionError| Problem::new(None, plain::text(e));
    let plan = planner::optimize(plan, false).map_err(|e| failed(&e))?;
    match compile::compile(&plan) {
        Ok(ops) => Ok(Selected::Rows { ops, plan }),
        Err(Refused::Across(_)) if across_rows => Ok(Selected::Across { plan }),
        Err(Refused::Across(what)) => Err(Problem::new(None, format!("{what} looks across rows, and this pipeline takes each row by itself"))
            .hint("say `scope: epoch` to let the select see all rows of an epoch at once (and no other epoch's)")),
        Err(Refused::NoInput) => Err(Problem::new(None, "this reads nothing of `input`").hint("write `… from input`, the rows that come in")),
        Err(Refused::Failed(e)) => Err(failed(&e)),
    }
}

/// Finds which columns of the select list or whether the condition cannot be planned, by planning each by itself.
fn locate(text: &Text<'_>, query: &Query, catalog: &Catalog, e: &DataFusionError) -> Vec<Problem> {
    let mut found = Vec::new();
    if let SetExpr::Select(select) = query.body.as_ref() {
        let one = SelectItem::ExprWithAlias { expr: Expr::value(Value::Number("1".into(), false)), alias: Ident::new("one") };
        let bare =
            Select { projection: vec![one], selection: None, having: None, qualify: None, distinct: None::<Distinct>, ..select.as_ref().clone() };
        let bare = Select { group_by: datafusion::sql::sqlparser::ast::GroupByExpr::Expressions(Vec::new(), Vec::new()), ..bare };
        let mut attempt = |select: Select, span| {
            let query = Query { body: Box::new(SetExpr::Select(Box::new(select))), order_by: None, limit_clause: None, fetch: None, ..query.clone() };
            if let Err(e) = catalog.plan(query) {
                found.push(Problem::new(text.wide_range(span), plain::text(&e)));
            }
        };
        for item in &select.projection {
            if let SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } = item {
                attempt(Select { projection: vec![item.clone()], ..bare.clone() }, e.span());
            }
        }
        if let Some(condition) = &select.selection {
            attempt(Select { selection: Some(condition.clone()), ..bare.clone() }, condition.span());
        }
    }
    if found.is_empty() {
        found.push(Problem::new(None, plain::text(e)));
    }
    found
}

/// Finds the look-up tables of all steps. Problems: names that nobody knows.
///
/// # Errors
/// Those of the resolver.
pub(crate) async fn resolve(spec: &TransformSpec, parsed: &Parsed) -> Result<(tables::Resolved, Vec<SqlProblem>)> {
    let mut resolved = Resolved::default();
    let mut problems = Vec::new();
    let mut local: HashSet<String> = HashSet::from(["input".to_owned()]);
    for (i, query) in parsed.steps.iter().enumerate() {
        if let Some(query) = query {
            let mut here = local.clone();
            here.extend(names::cte_names(query));
            let found = resolved.add(&names::mentioned(query), &here, spec.tables.as_ref(), &Text::new(&spec.steps[i].sql)).await?;
            problems.extend(found.into_iter().map(|p| problem(Part::Step(i), p)));
        }
        local.insert(spec.steps[i].name.to_lowercase());
    }
    Ok((resolved, problems))
}

/// The first of some problems as an error, with the SQL.
pub(crate) fn error(spec: &TransformSpec, problems: &[SqlProblem]) -> Option<Error> {
    let first = problems.first()?;
    let more = if problems.len() > 1 { format!(" (and {} more)", problems.len() - 1) } else { String::new() };
    let (kind, name) = spec.part_name(first.part);
    let mut error = Error::config(format!("{}{more}", first.message))
        .context(kind, name)
        .context("sql", excerpt(spec.sql(first.part), first.range.as_ref().map(|r| r.start)));
    if let Some(hint) = &first.hint {
        error = error.hint(hint);
    }
    Some(error)
}

/// SQL on one line: all of it if it is short, else around a place.
pub(crate) fn excerpt(sql: &str, at: Option<usize>) -> String {
    const WIDTH: usize = 120;
    if sql.len() <= WIDTH {
        return sql.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    let at = at.unwrap_or(0);
    let floor = |mut i: usize| {
        while !sql.is_char_boundary(i) {
            i -= 1;
        }
        i
    };
    let start = floor(at.saturating_sub(WIDTH / 3));
    let end = floor((start + WIDTH).min(sql.len()));
    let cut = sql[start..end].split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}{cut}{}", if start > 0 { "…" } else { "" }, if end < sql.len() { "…" } else { "" })
}
