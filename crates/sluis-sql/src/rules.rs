//! What a statement may not do, seen in its text alone: no network, no schema.
//!
//! Statements other than SELECT, files and table functions, functions that give other results in another run, functions that do not exist, and
//! (without `scope: epoch`) what looks across rows of `input`. Aggregates and the like over look-up tables alone are free: they see the same rows
//! whatever is pushed.

use std::collections::HashSet;
use std::ops::{ControlFlow, Range};

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Function, GroupByExpr, Join, JoinOperator, ObjectName, Query, Select, SelectItem, SetExpr, SetOperator, Spanned, Statement,
    TableFactor, TableWithJoins, Visit, Visitor,
};

use crate::functions::{self, FunctionKind};
use crate::text::{Problem, Text, nearest};

/// Where a statement stands, which decides what it may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// A step of a pipeline: its name, the steps before it, it and those after it.
    Step { before: &'a [&'a str], from_here: &'a [&'a str], across_rows: bool },
    /// The condition of a check.
    Check,
    /// `sluis sql`.
    Query,
}

/// What was found.
pub(crate) struct Findings {
    pub problems: Vec<Problem>,
    /// Names of `input` and steps that are read, in lower case.
    pub reads: HashSet<String>,
}

/// Looks at a statement; the query in it is returned if it is one.
pub(crate) fn statement<'s>(text: &Text<'_>, statement: &'s Statement, place: Place<'_>) -> (Option<&'s Query>, Findings) {
    let mut rules = Rules::new(text, place);
    let Statement::Query(query) = statement else {
        let word = text.sql.split_whitespace().next().unwrap_or_default().to_uppercase();
        let range = text.keyword(&word, None);
        rules.problem(range, format!("{word} is not possible here"), "only SELECT reads rows and changes nothing");
        return (None, rules.findings());
    };
    rules.query(query);
    (Some(query), rules.findings())
}

/// Looks at the condition of a check.
pub(crate) fn condition(text: &Text<'_>, expr: &Expr) -> Vec<Problem> {
    let mut rules = Rules::new(text, Place::Check);
    rules.expressions(expr, true);
    rules.findings().problems
}

struct Rules<'t, 'a> {
    text: &'t Text<'a>,
    place: Place<'t>,
    /// Names of CTEs in sight, with whether they read `input`.
    ctes: Vec<(String, bool)>,
    problems: Vec<Problem>,
    reads: HashSet<String>,
}

impl<'t, 'a> Rules<'t, 'a> {
    fn new(text: &'t Text<'a>, place: Place<'t>) -> Self {
        Rules { text, place, ctes: Vec::new(), problems: Vec::new(), reads: HashSet::new() }
    }

    fn findings(self) -> Findings {
        Findings { problems: self.problems, reads: self.reads }
    }

    fn problem(&mut self, range: Option<Range<usize>>, message: impl Into<String>, hint: impl Into<String>) {
        let problem = Problem::new(range, message).hint(hint);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// `what` looks across rows: a problem unless the pipeline allows it.
    fn across(&mut self, range: Option<Range<usize>>, what: &str) {
        if matches!(self.place, Place::Step { across_rows: false, .. }) {
            self.problem(
                range,
                format!("{what} looks across rows, and this pipeline takes each row by itself"),
                "say `scope: epoch` to let the select see all rows of an epoch at once (and no other epoch's), or do it where the table is read",
            );
        }
    }

    /// Checks a query; returns whether its rows come from `input`.
    fn query(&mut self, q: &Query) -> bool {
        let known = self.ctes.len();
        if let Some(with) = &q.with {
            if with.recursive && self.place != Place::Query {
                self.problem(
                    self.text.keyword("recursive", None),
                    "WITH RECURSIVE is not possible here",
                    "a select sees `input`, earlier steps and look-up tables",
                );
            }
            for cte in &with.cte_tables {
                let name = cte.alias.name.value.to_lowercase();
                if with.recursive {
                    self.ctes.push((name.clone(), false));
                }
                let depends = self.query(&cte.query);
                self.ctes.push((name, depends));
            }
        }
        let depends = self.set(&q.body);
        let start = self.text.range(q.body.span());
        if let Some(order) = &q.order_by {
            if depends {
                self.across(self.text.keyword("order", start.clone()).or_else(|| self.text.range(order.span())), "ORDER BY");
            }
            self.expressions(order, depends);
        }
        if depends && (q.limit_clause.is_some() || q.fetch.is_some()) {
            let range = ["limit", "offset", "fetch"].iter().find_map(|w| self.text.keyword(w, start.clone()));
            self.across(range, "LIMIT");
        }
        let odd = [
            (!q.locks.is_empty(), "FOR UPDATE"),
            (q.for_clause.is_some(), "FOR"),
            (q.settings.is_some(), "SETTINGS"),
            (q.format_clause.is_some(), "FORMAT"),
            (!q.pipe_operators.is_empty(), "|>"),
        ];
        for (_, word) in odd.iter().filter(|(there, _)| *there) {
            self.problem(self.text.keyword(word.split(' ').next().unwrap_or(word), None), format!("{word} is not supported"), "leave it out");
        }
        self.ctes.truncate(known);
        depends
    }

    fn set(&mut self, body: &SetExpr) -> bool {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { op, left, right, .. } => {
                let after = self.text.range(left.span());
                let depends = self.set(left) | self.set(right);
                if depends {
                    let word = match op {
                        SetOperator::Union => "UNION",
                        SetOperator::Intersect => "INTERSECT",
                        SetOperator::Except | SetOperator::Minus => "EXCEPT",
                    };
                    self.across(self.text.keyword(word, after), word);
                }
                depends
            }
            SetExpr::Values(values) => {
                self.expressions(values, false);
                false
            }
            other => {
                self.problem(self.text.range(other.span()), "this is not a SELECT", "only SELECT reads rows and changes nothing");
                false
            }
        }
    }

    fn select(&mut self, s: &Select) -> bool {
        let start = self.text.range(s.select_token.0.span);
        let sources: Vec<bool> = s.from.iter().map(|f| self.from(f)).collect();
        if sources.iter().filter(|d| **d).count() > 1 {
            self.across(self.text.range(s.from[1].span()), "a join of `input` with itself");
        }
        let depends = sources.contains(&true);
        if depends {
            if let Some(Distinct::Distinct | Distinct::On(_)) = &s.distinct {
                self.across(self.text.keyword("distinct", start.clone()), "DISTINCT");
            }
            if !matches!(&s.group_by, GroupByExpr::Expressions(e, m) if e.is_empty() && m.is_empty()) {
                self.across(self.text.keyword("group", start.clone()), "GROUP BY");
            }
            if s.top.is_some() {
                self.across(self.text.keyword("top", start.clone()), "TOP");
            }
            if !s.sort_by.is_empty() {
                self.across(self.text.keyword("sort", start.clone()), "SORT BY");
            }
        }
        if s.into.is_some() {
            self.problem(self.text.keyword("into", start), "SELECT INTO writes a table", "the pipeline's `into:` says where rows go");
        }
        for item in &s.projection {
            self.expressions(item, depends);
            if let SelectItem::UnnamedExpr(Expr::Subquery(_)) = item {
                self.problem(self.text.range(item.span()), "this column has no name", "write `(…) as NAME`");
            }
        }
        for expr in s.selection.iter().chain(&s.having).chain(&s.qualify).chain(&s.prewhere) {
            self.expressions(expr, depends);
        }
        self.expressions(&s.group_by, depends);
        self.expressions(&s.named_window, depends);
        self.expressions(&s.sort_by, depends);
        depends
    }

    fn from(&mut self, from: &TableWithJoins) -> bool {
        let mut depends = self.relation(&from.relation);
        for join in &from.joins {
            let right = self.relation(&join.relation);
            if depends && right {
                self.across(self.text.range(join.span()), "a join of `input` with itself");
            }
            self.join(join, depends, right);
            depends |= right;
        }
        depends
    }

    fn join(&mut self, join: &Join, left: bool, right: bool) {
        let range = self.text.range(join.span());
        match &join.join_operator {
            JoinOperator::FullOuter(_) if left || right => self.across(range, "FULL JOIN (it keeps rows of the other table)"),
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) if left && !right => {
                self.across(range, "RIGHT JOIN (it keeps rows of the other table)")
            }
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) if right && !left => self.across(range, "LEFT JOIN from another table to `input`"),
            JoinOperator::RightSemi(_) | JoinOperator::RightAnti(_) if left && !right => {
                self.across(range, "this join (its rows are the other table's)")
            }
            JoinOperator::Semi(_) | JoinOperator::LeftSemi(_) | JoinOperator::Anti(_) | JoinOperator::LeftAnti(_) if right && !left => {
                self.across(range, "this join (its rows are the other table's)");
            }
            _ => {}
        }
        self.expressions(&join.join_operator, left || right);
    }

    fn relation(&mut self, factor: &TableFactor) -> bool {
        match factor {
            TableFactor::Table { name, args: None, .. } => self.table(name),
            TableFactor::Derived { subquery, .. } => self.query(subquery),
            TableFactor::NestedJoin { table_with_joins, .. } => self.from(table_with_joins),
            TableFactor::UNNEST { array_exprs, .. } => {
                self.expressions(array_exprs, true);
                false
            }
            other => {
                self.problem(
                    self.text.wide_range(other.span()),
                    "a table function cannot be read from",
                    "read `input`, an earlier step, or a table by name; lists are opened by `unnest(…)` in the select list",
                );
                false
            }
        }
    }

    fn table(&mut self, name: &ObjectName) -> bool {
        let range = self.text.range(name.span());
        let parts: Vec<_> = name.0.iter().filter_map(|p| p.as_ident()).collect();
        if parts.len() != name.0.len() || parts.iter().any(|p| p.quote_style == Some('\'') || p.value.contains('/')) {
            self.problem(
                range,
                format!("`{name}` is not the name of a table"),
                "files are read by name only after they are declared under `tables:`",
            );
            return false;
        }
        let [only] = parts.as_slice() else { return false };
        let lower = only.value.to_lowercase();
        if let Some((_, depends)) = self.ctes.iter().rev().find(|(n, _)| *n == lower) {
            return *depends;
        }
        let Place::Step { before, from_here, .. } = self.place else { return false };
        if lower == "input" || before.iter().any(|n| n.to_lowercase() == lower) {
            self.reads.insert(lower);
            return true;
        }
        if let Some(at) = from_here.iter().position(|n| n.to_lowercase() == lower) {
            let message = if at == 0 { format!("step `{only}` reads itself") } else { format!("step `{only}` comes after this one") };
            self.problem(range, message, "a step reads `input`, earlier steps and look-up tables");
        }
        false
    }

    /// Checks expressions and the subqueries in them.
    fn expressions(&mut self, node: &impl Visit, depends: bool) {
        let _ = node.visit(&mut InExpressions { rules: self, depends, depth: 0 });
    }

    fn function(&mut self, f: &Function, depends: bool) {
        let range = self.text.range(f.name.span());
        let Some(ident) = f.name.0.last().and_then(|p| p.as_ident()) else { return };
        let name = ident.value.to_lowercase();
        let all = functions::all();
        match all.kind(&name) {
            FunctionKind::Volatile if self.place != Place::Query => {
                let clock = matches!(name.as_str(), "now" | "today" | "current_timestamp" | "current_date" | "current_time");
                let hint = if clock {
                    "use the column `_loaded` (see `metadata` of the source): the time of the epoch"
                } else {
                    "derive the value from the row's own columns, as in `md5(concat(…))`"
                };
                self.problem(
                    range,
                    format!("`{name}` gives another result in every run, so an epoch that is run again would write other rows"),
                    hint,
                );
            }
            FunctionKind::Unknown if f.over.is_none() || !all.window.contains_key(&name) => {
                let near = nearest(&name, all.names());
                let hint = match near.is_empty() {
                    true => "see the list of functions in the documentation of `select`".to_owned(),
                    false => format!("did you mean {}?", near.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" or ")),
                };
                self.problem(range, format!("there is no function `{name}`"), hint);
            }
            FunctionKind::Aggregate | FunctionKind::Window if self.place == Place::Check => {
                self.problem(range, format!("`{name}` looks across rows, and a check sees one row"), "check the row's own columns");
            }
            _ if f.over.is_some() && self.place == Place::Check => {
                self.problem(range, "a window looks across rows, and a check sees one row", "check the row's own columns");
            }
            _ if f.over.is_some() && depends => self.across(range, &format!("the window function `{name}`")),
            FunctionKind::Window if depends => self.across(range, &format!("the window function `{name}`")),
            FunctionKind::Aggregate if depends => self.across(range, &format!("the aggregate `{name}`")),
            _ => {}
        }
    }
}

/// Visits expressions down to, but not into, subqueries: those are queries of their own.
struct InExpressions<'r, 't, 'a> {
    rules: &'r mut Rules<'t, 'a>,
    depends: bool,
    depth: usize,
}

impl Visitor for InExpressions<'_, '_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.depth += 1;
        if self.depth == 1 {
            let range = self.rules.text.wide_range(query.span());
            if self.rules.place == Place::Check {
                self.rules.problem(range, "a check sees one row and no table", "look the value up in the `select`, or filter there");
            } else if self.rules.query(query) {
                self.rules.across(range, "a subquery over `input`");
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let Expr::Function(f) = expr
        {
            self.rules.function(f, self.depends);
        }
        ControlFlow::Continue(())
    }
}
