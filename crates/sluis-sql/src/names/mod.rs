//! Binds the names of a statement to tables and columns.
//!
//! A name without quotes matches whatever its case, if only one column does; a name in double quotes matches exactly. Names are rewritten in the
//! statement to what they are really called, so that the planner (which folds nothing) finds them. Columns of expressions get the expression's
//! text as their name. All unknown and ambiguous names are reported at once.
//!
//! Deliberately not here: types of expressions; only those of columns are followed, for the fields of structs.

use std::collections::HashSet;
use std::ops::{ControlFlow, Range};

use arrow_schema::{DataType, Schema};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, ExceptSelectItem, ExcludeSelectItem, Expr, GroupByExpr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, OrderByKind,
    Query, RenameSelectItem, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Spanned, TableAlias, TableFactor, TableWithJoins,
    VisitMut, WildcardAdditionalOptions,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::text::{Problem, Text, suggestion};

mod expressions;

use expressions::{Paths, relation_named};

/// A column: its type if it is known.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub name: String,
    pub data_type: Option<DataType>,
}

/// A table that statements can name.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// The parts of its name.
    pub path: Vec<String>,
    /// What the planner calls it.
    pub key: String,
    pub columns: Vec<Column>,
    /// There may be columns that are not listed.
    pub open: bool,
}

impl Table {
    pub fn of_schema(path: Vec<String>, key: String, schema: &Schema, open: bool) -> Table {
        let columns = schema.fields().iter().map(|f| Column { name: f.name().clone(), data_type: Some(f.data_type().clone()) }).collect();
        Table { path, key, columns, open }
    }
}

/// What came of binding a statement.
pub(crate) struct Bound {
    pub problems: Vec<Problem>,
    /// A name was taken on trust: it may be a column of a table that is not known in full.
    pub trusted: bool,
    /// The columns that come out, as far as they are known.
    pub columns: Vec<Column>,
    pub open: bool,
}

/// Binds a statement in place. `closed`: a table that is not in `tables` does not exist.
pub(crate) fn bind_query(text: &Text<'_>, query: &mut Query, tables: &[Table], closed: bool) -> Bound {
    let _ = query.visit(&mut Paths);
    let mut binder = Binder::new(text, tables, closed);
    let out = binder.query(query);
    Bound { problems: binder.problems, trusted: binder.trusted, columns: out.columns, open: out.open }
}

/// The names of all CTEs in a query, in lower case.
pub(crate) fn cte_names(query: &Query) -> HashSet<String> {
    struct Ctes(HashSet<String>);
    impl datafusion::sql::sqlparser::ast::Visitor for Ctes {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            self.0.extend(query.with.iter().flat_map(|w| &w.cte_tables).map(|c| c.alias.name.value.to_lowercase()));
            ControlFlow::Continue(())
        }
    }
    let mut ctes = Ctes(HashSet::new());
    let _ = datafusion::sql::sqlparser::ast::Visit::visit(query, &mut ctes);
    ctes.0
}

/// Binds a condition over one table in place.
pub(crate) fn bind_condition(text: &Text<'_>, expr: &mut Expr, table: &Table) -> Bound {
    let _ = expr.visit(&mut Paths);
    let tables = [table.clone()];
    let mut binder = Binder::new(text, &tables, true);
    let relation = binder.relation_of(table);
    binder.scopes.push(Scope { relations: vec![relation], ..Scope::default() });
    binder.expressions(expr);
    Bound { problems: binder.problems, trusted: binder.trusted, columns: Vec::new(), open: false }
}

/// A table's name as written: its parts, whether each is quoted, and where it stands.
pub(crate) type Mention = (Vec<(String, bool)>, Span);

/// The names of all tables that a query mentions, its own CTEs among them.
pub(crate) fn mentioned(query: &Query) -> Vec<Mention> {
    struct Mentions(Vec<Mention>);
    impl datafusion::sql::sqlparser::ast::Visitor for Mentions {
        type Break = ();
        fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
            let parts = name.0.iter().filter_map(|p| p.as_ident()).map(|i| (i.value.clone(), i.quote_style.is_some())).collect();
            self.0.push((parts, name.span()));
            ControlFlow::Continue(())
        }
    }
    let mut mentions = Mentions(Vec::new());
    let _ = datafusion::sql::sqlparser::ast::Visit::visit(query, &mut mentions);
    mentions.0
}

/// A table in a FROM clause.
#[derive(Debug, Clone, Default)]
struct Relation {
    /// The name by which columns are qualified, in parts; empty: none.
    path: Vec<String>,
    /// The qualifier for the planner.
    key: String,
    columns: Vec<Column>,
    open: bool,
}

#[derive(Debug, Default)]
struct Scope {
    relations: Vec<Relation>,
    /// Names of the select list, where they can be used.
    aliases: Vec<String>,
    /// Columns of USING and NATURAL joins: they are one, not two.
    merged: Vec<String>,
}

/// How a name of one part was found.
enum Found {
    Column(Column),
    Alias(String),
    /// Perhaps a column of a table that is not known in full.
    Trusted,
    Missing,
    /// Said already.
    Ambiguous,
}

struct Binder<'b, 'a> {
    text: &'b Text<'a>,
    tables: &'b [Table],
    closed: bool,
    ctes: Vec<Relation>,
    scopes: Vec<Scope>,
    problems: Vec<Problem>,
    trusted: bool,
}

fn same(ident: &Ident, name: &str, fold: bool) -> bool {
    ident.value == name || (fold && ident.quote_style.is_none() && ident.value.to_lowercase() == name.to_lowercase())
}

/// Puts the real name in place, where it was written.
fn rename(ident: &mut Ident, name: &str) {
    if ident.value != name {
        ident.value = name.to_owned();
        // The planner folds nothing; quotes keep names with odd characters whole where they are printed.
        ident.quote_style = Some('"');
    }
}

impl<'b, 'a> Binder<'b, 'a> {
    fn new(text: &'b Text<'a>, tables: &'b [Table], closed: bool) -> Self {
        Binder { text, tables, closed, ctes: Vec::new(), scopes: Vec::new(), problems: Vec::new(), trusted: false }
    }

    fn relation_of(&self, table: &Table) -> Relation {
        Relation { path: table.path.clone(), key: table.key.clone(), columns: table.columns.clone(), open: table.open }
    }

    fn problem(&mut self, range: Option<Range<usize>>, message: String, hint: Option<String>) {
        let problem = Problem { range, message, hint };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    // Queries.

    fn query(&mut self, q: &mut Query) -> Relation {
        let known = self.ctes.len();
        if let Some(with) = &mut q.with {
            for cte in &mut with.cte_tables {
                let name = cte.alias.name.value.clone();
                if with.recursive {
                    let columns = Vec::new();
                    self.ctes.push(Relation { path: vec![name.clone()], key: name.clone(), columns, open: true });
                }
                let mut out = self.query(&mut cte.query);
                rename_columns(&mut out, &cte.alias);
                self.ctes.push(Relation { path: vec![name.clone()], key: name, ..out });
            }
        }
        let (out, scope) = self.set(&mut q.body);
        // ORDER BY sees what SELECT saw, and its names.
        self.scopes.push(scope.unwrap_or_else(|| Scope { relations: vec![out.clone()], ..Scope::default() }));
        if let Some(order) = &mut q.order_by
            && let OrderByKind::Expressions(exprs) = &mut order.kind
        {
            for e in exprs {
                self.expressions(e);
            }
        }
        self.scopes.pop();
        self.ctes.truncate(known);
        out
    }

    fn set(&mut self, body: &mut SetExpr) -> (Relation, Option<Scope>) {
        match body {
            SetExpr::Select(select) => {
                let (out, scope) = self.select(select);
                (out, Some(scope))
            }
            SetExpr::Query(query) => (self.query(query), None),
            SetExpr::SetOperation { left, right, .. } => {
                let (out, _) = self.set(left);
                self.set(right);
                (out, None)
            }
            SetExpr::Values(values) => {
                self.expressions(values);
                (Relation { open: true, ..Relation::default() }, None)
            }
            _ => (Relation { open: true, ..Relation::default() }, None),
        }
    }

    fn select(&mut self, s: &mut Select) -> (Relation, Scope) {
        self.scopes.push(Scope::default());
        for from in &mut s.from {
            self.from(from);
        }
        for expr in s.selection.iter_mut().chain(&mut s.prewhere) {
            self.expressions(expr);
        }
        let mut out = Relation::default();
        for item in &mut s.projection {
            self.item(item, &mut out);
        }
        let scope = self.scopes.last_mut().expect("pushed above");
        scope.aliases = out.columns.iter().map(|c| c.name.clone()).collect();
        if let GroupByExpr::Expressions(exprs, _) = &mut s.group_by {
            self.expressions(exprs);
        }
        for expr in s.having.iter_mut().chain(&mut s.qualify) {
            self.expressions(expr);
        }
        self.expressions(&mut s.named_window);
        self.expressions(&mut s.sort_by);
        if let Some(datafusion::sql::sqlparser::ast::Distinct::On(exprs)) = &mut s.distinct {
            self.expressions(exprs);
        }
        (out, self.scopes.pop().expect("pushed above"))
    }

    fn from(&mut self, from: &mut TableWithJoins) {
        let mut count = self.factor(&mut from.relation);
        for join in &mut from.joins {
            let added = self.factor(&mut join.relation);
            self.constraint(&mut join.join_operator, count, added);
            count += added;
        }
    }

    /// Adds the relations of a FROM item to the scope; how many.
    fn factor(&mut self, factor: &mut TableFactor) -> usize {
        let relation = match factor {
            TableFactor::Table { name, alias, .. } => {
                let Some(mut relation) = self.table(name) else { return self.push(Relation { open: true, ..Relation::default() }) };
                if let Some(alias) = alias {
                    rename_columns(&mut relation, alias);
                    relation.path = vec![alias.name.value.clone()];
                    relation.key.clone_from(&alias.name.value);
                }
                relation
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let mut relation = self.query(subquery);
                relation.path.clear();
                relation.key.clear();
                if let Some(alias) = alias {
                    rename_columns(&mut relation, alias);
                    relation.path = vec![alias.name.value.clone()];
                    relation.key.clone_from(&alias.name.value);
                }
                relation
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                let before = self.scopes.last().map_or(0, |s| s.relations.len());
                self.from(table_with_joins);
                return self.scopes.last().map_or(0, |s| s.relations.len()) - before;
            }
            TableFactor::UNNEST { array_exprs, alias, .. } => {
                self.expressions(array_exprs);
                let mut relation = Relation { open: true, ..Relation::default() };
                if let Some(alias) = alias {
                    relation.path = vec![alias.name.value.clone()];
                    relation.key.clone_from(&alias.name.value);
                }
                relation
            }
            _ => Relation { open: true, ..Relation::default() },
        };
        self.push(relation)
    }

    fn push(&mut self, relation: Relation) -> usize {
        if let Some(scope) = self.scopes.last_mut() {
            scope.relations.push(relation);
        }
        1
    }

    /// A CTE or table by name; `None` if it is not known. The name is replaced by the planner's.
    fn table(&mut self, name: &mut ObjectName) -> Option<Relation> {
        let parts: Vec<Ident> = name.0.iter().filter_map(|p| p.as_ident()).cloned().collect();
        let range = self.text.range(name.span());
        let cte = match parts.as_slice() {
            [only] => self
                .ctes
                .iter()
                .rev()
                .find(|c| c.path.first().is_some_and(|n| same(only, n, false)))
                .or_else(|| self.ctes.iter().rev().find(|c| c.path.first().is_some_and(|n| same(only, n, true)))),
            _ => None,
        };
        let matches = |fold: bool| -> Option<&Table> {
            self.tables.iter().find(|t| t.path.len() == parts.len() && t.path.iter().zip(&parts).all(|(n, p)| same(p, n, fold)))
        };
        let found = cte.cloned().or_else(|| matches(false).or_else(|| matches(true)).map(|t| self.relation_of(t)));
        let Some(relation) = found else {
            if self.closed {
                let written = parts.iter().map(|p| p.value.as_str()).collect::<Vec<_>>().join(".");
                let names: Vec<String> = self.tables.iter().map(|t| t.path.join(".")).chain(self.ctes.iter().map(|c| c.key.clone())).collect();
                let hint = suggestion(&written, names.iter().map(String::as_str));
                self.problem(range, format!("there is no table `{written}`"), hint);
            } else {
                self.trusted = true;
            }
            return None;
        };
        let span = name.span();
        let ident = Ident { value: relation.key.clone(), quote_style: Some('"'), span };
        name.0 = vec![ObjectNamePart::Identifier(ident)];
        Some(relation)
    }

    fn constraint(&mut self, operator: &mut JoinOperator, left: usize, right: usize) {
        use JoinOperator as J;
        let constraint = match operator {
            J::Join(c)
            | J::Inner(c)
            | J::Left(c)
            | J::LeftOuter(c)
            | J::Right(c)
            | J::RightOuter(c)
            | J::FullOuter(c)
            | J::CrossJoin(c)
            | J::Semi(c)
            | J::LeftSemi(c)
            | J::RightSemi(c)
            | J::Anti(c)
            | J::LeftAnti(c)
            | J::RightAnti(c)
            | J::StraightJoin(c) => c,
            _ => return,
        };
        match constraint {
            JoinConstraint::On(expr) => self.expressions(expr),
            JoinConstraint::Using(names) => {
                for name in names {
                    let Some(ObjectNamePart::Identifier(ident)) = name.0.last_mut() else { continue };
                    self.using(ident, left, right);
                }
            }
            JoinConstraint::Natural => {
                let scope = self.scopes.last_mut().expect("in a select");
                let at = scope.relations.len() - right;
                let (before, after) = scope.relations.split_at(at);
                let common: Vec<String> = after
                    .iter()
                    .flat_map(|r| &r.columns)
                    .filter(|c| before.iter().any(|b| b.columns.iter().any(|x| x.name == c.name)))
                    .map(|c| c.name.clone())
                    .collect();
                scope.merged.extend(common);
            }
            JoinConstraint::None => {}
        }
    }

    fn using(&mut self, ident: &mut Ident, left: usize, right: usize) {
        let range = self.text.range(ident.span);
        let scope = self.scopes.last_mut().expect("in a select");
        let at = scope.relations.len() - right;
        let from = at.saturating_sub(left);
        let find = |relations: &[Relation]| -> Option<String> {
            let named = |fold: bool| relations.iter().flat_map(|r| &r.columns).find(|c| same(ident, &c.name, fold)).map(|c| c.name.clone());
            named(false).or_else(|| named(true))
        };
        let (l, r) = (find(&scope.relations[from..at]), find(&scope.relations[at..]));
        let open = scope.relations[from..].iter().any(|r| r.open);
        match (l, r) {
            (Some(l), Some(r)) if l == r => {
                rename(ident, &l);
                scope.merged.push(l);
            }
            (Some(l), Some(r)) => {
                let message = format!("`{l}` and `{r}` are called differently, so USING cannot join them");
                self.problem(range, message, Some(format!("write `on … .\"{l}\" = … .\"{r}\"`")));
            }
            _ if open => {
                scope.merged.push(ident.value.clone());
                self.trusted = true;
            }
            _ => {
                let message = format!("column `{}` is not in both tables", ident.value);
                self.problem(range, message, None);
            }
        }
    }

    // The select list.

    fn item(&mut self, item: &mut SelectItem, out: &mut Relation) {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let written = expr.to_string();
                let is_unnest = matches!(&*expr, Expr::Function(f) if f.name.to_string().eq_ignore_ascii_case("unnest"));
                let data_type = self.type_of(expr);
                self.expressions(expr);
                let name = match &*expr {
                    Expr::Identifier(ident) => ident.value.clone(),
                    Expr::CompoundIdentifier(parts) => parts.last().map(|p| p.value.clone()).unwrap_or_default(),
                    Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
                        Some(AccessExpr::Dot(Expr::Value(field))) => field.value.clone().into_string().unwrap_or(written),
                        _ => written,
                    },
                    _ => written,
                };
                let is_column =
                    matches!(&*expr, Expr::Identifier(_)) || matches!(&*expr, Expr::CompoundIdentifier(p) if p.len() == 2 && self.is_relation(&p[0]));
                if is_unnest {
                    // Opens a struct into several columns, whose names only the planner knows.
                    out.open = true;
                    return;
                }
                out.columns.push(Column { name: name.clone(), data_type });
                if !is_column {
                    let span = expr.span();
                    let alias = Ident { value: name, quote_style: Some('"'), span };
                    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
                }
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                let data_type = self.type_of(expr);
                self.expressions(expr);
                out.columns.push(Column { name: alias.value.clone(), data_type });
            }
            SelectItem::Wildcard(options) => {
                let scope = self.scopes.last().expect("in a select");
                let mut all = Relation::default();
                let mut seen: HashSet<String> = HashSet::new();
                for relation in &scope.relations {
                    all.open |= relation.open;
                    for c in &relation.columns {
                        if !scope.merged.contains(&c.name) || seen.insert(c.name.clone()) {
                            all.columns.push(c.clone());
                        }
                    }
                }
                self.wildcard(options, all, out);
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                let parts: Vec<Ident> = name.0.iter().filter_map(|p| p.as_ident()).cloned().collect();
                let range = self.text.range(name.span());
                let scope = self.scopes.last().expect("in a select");
                match relation_named(scope, &parts) {
                    Some(relation) => {
                        let relation = relation.clone();
                        let ident = Ident { value: relation.key.clone(), quote_style: Some('"'), span: name.span() };
                        name.0 = vec![ObjectNamePart::Identifier(ident)];
                        self.wildcard(options, relation, out);
                    }
                    None => {
                        let names: Vec<String> = scope.relations.iter().map(|r| r.path.join(".")).collect();
                        let written = parts.iter().map(|p| p.value.as_str()).collect::<Vec<_>>().join(".");
                        let hint = suggestion(&written, names.iter().map(String::as_str));
                        self.problem(range, format!("there is no `{written}` in this FROM"), hint);
                        out.open = true;
                    }
                }
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(expr), _) => {
                self.expressions(expr);
                out.open = true;
            }
        }
    }

    fn wildcard(&mut self, options: &mut WildcardAdditionalOptions, all: Relation, out: &mut Relation) {
        let mut columns = all.columns;
        let mut dropped: Vec<&mut Ident> = Vec::new();
        match &mut options.opt_exclude {
            Some(ExcludeSelectItem::Single(ident)) => dropped.push(ident),
            Some(ExcludeSelectItem::Multiple(idents)) => dropped.extend(idents),
            None => {}
        }
        if let Some(ExceptSelectItem { first_element, additional_elements }) = &mut options.opt_except {
            dropped.push(first_element);
            dropped.extend(additional_elements);
        }
        for ident in dropped {
            if let Some(name) = self.listed(ident, &columns, all.open) {
                columns.retain(|c| c.name != name);
            }
        }
        if let Some(replace) = &mut options.opt_replace {
            for element in &mut replace.items {
                self.expressions(&mut element.expr);
                if let Some(name) = self.listed(&mut element.column_name, &columns, all.open) {
                    columns.iter_mut().filter(|c| c.name == name).for_each(|c| c.data_type = None);
                }
            }
        }
        if let Some(renames) = &mut options.opt_rename {
            let pairs: Vec<_> = match renames {
                RenameSelectItem::Single(one) => vec![one],
                RenameSelectItem::Multiple(many) => many.iter_mut().collect(),
            };
            for pair in pairs {
                if let Some(name) = self.listed(&mut pair.ident, &columns, all.open) {
                    columns.iter_mut().filter(|c| c.name == name).for_each(|c| c.name.clone_from(&pair.alias.value));
                }
            }
        }
        out.columns.extend(columns);
        out.open |= all.open;
    }

    /// A column named beside a wildcard; its real name.
    fn listed(&mut self, ident: &mut Ident, columns: &[Column], open: bool) -> Option<String> {
        let found = columns.iter().find(|c| same(ident, &c.name, false)).or_else(|| columns.iter().find(|c| same(ident, &c.name, true)));
        match found {
            Some(c) => {
                rename(ident, &c.name);
                Some(c.name.clone())
            }
            None if open => {
                self.trusted = true;
                None
            }
            None => {
                let hint = suggestion(&ident.value, columns.iter().map(|c| c.name.as_str()));
                self.problem(self.text.range(ident.span), format!("unknown column `{}`", ident.value), hint);
                None
            }
        }
    }
}

/// `as t (a, b)` renames the first columns.
fn rename_columns(relation: &mut Relation, alias: &TableAlias) {
    for (i, definition) in alias.columns.iter().enumerate() {
        match relation.columns.get_mut(i) {
            Some(column) => column.name.clone_from(&definition.name.value),
            None => relation.columns.push(Column { name: definition.name.value.clone(), data_type: None }),
        }
    }
}
