//! Names in expressions: columns, qualified columns, fields of structs.

use std::ops::ControlFlow;

use arrow_schema::DataType;
use datafusion::sql::sqlparser::ast::{AccessExpr, Expr, Ident, Query, Subscript, Value, VisitMut, VisitorMut};

use super::{Binder, Column, Found, Relation, Scope, rename, same};
use crate::text::{nearest, suggestion};

impl Binder<'_, '_> {
    pub(super) fn expressions(&mut self, node: &mut impl VisitMut) {
        let _ = node.visit(&mut InExpressions { binder: self, depth: 0 });
    }

    pub(super) fn is_relation(&self, ident: &Ident) -> bool {
        self.scopes.iter().rev().any(|s| s.relations.iter().any(|r| r.key == ident.value))
    }

    /// Finds a name of one part, the innermost scope first.
    fn find(&mut self, ident: &Ident, report: bool) -> Found {
        for depth in (0..self.scopes.len()).rev() {
            let scope = &self.scopes[depth];
            let mut hits: Vec<(usize, Vec<&Column>)> = Vec::new();
            for (i, relation) in scope.relations.iter().enumerate() {
                let exact: Vec<&Column> = relation.columns.iter().filter(|c| same(ident, &c.name, false)).take(1).collect();
                let columns = if exact.is_empty() { relation.columns.iter().filter(|c| same(ident, &c.name, true)).collect() } else { exact };
                if !columns.is_empty() {
                    hits.push((i, columns));
                }
            }
            let exact_alias = scope.aliases.iter().find(|a| same(ident, a, false));
            if hits.len() > 1 && hits.iter().all(|(_, c)| c.len() == 1 && scope.merged.contains(&c[0].name)) {
                hits.truncate(1);
            }
            match hits.as_slice() {
                [] => {}
                [(_, columns)] if columns.len() == 1 => return Found::Column(columns[0].clone()),
                _ if exact_alias.is_some() => return Found::Alias(ident.value.clone()),
                [(_, columns)] => {
                    let names = columns.iter().map(|c| format!("\"{}\"", c.name)).collect::<Vec<_>>();
                    let message = format!("`{}` may be {}", ident.value, names.join(" or "));
                    if report {
                        self.problem(self.text.range(ident.span), message, Some("write the name in double quotes, as the column is called".into()));
                    }
                    return Found::Ambiguous;
                }
                many => {
                    let names: Vec<String> = many
                        .iter()
                        .map(|(i, c)| format!("`{}.{}`", scope.relations[*i].path.last().map_or("?", String::as_str), c[0].name))
                        .collect();
                    let message = format!("`{}` is in several tables: {}", ident.value, names.join(", "));
                    if report {
                        self.problem(self.text.range(ident.span), message, Some(format!("write {}", names[0])));
                    }
                    return Found::Ambiguous;
                }
            }
            if let Some(alias) = exact_alias.or_else(|| scope.aliases.iter().find(|a| same(ident, a, true))) {
                return Found::Alias(alias.clone());
            }
            if scope.relations.iter().any(|r| r.open) {
                self.trusted |= report;
                return Found::Trusted;
            }
        }
        Found::Missing
    }

    fn bind_name(&mut self, ident: &mut Ident) {
        match self.find(ident, true) {
            Found::Column(c) => rename(ident, &c.name),
            Found::Alias(name) => rename(ident, &name),
            Found::Trusted | Found::Ambiguous => {}
            Found::Missing => {
                let names: Vec<String> = self
                    .scopes
                    .iter()
                    .rev()
                    .flat_map(|s| s.relations.iter().flat_map(|r| &r.columns).map(|c| c.name.clone()).chain(s.aliases.clone()))
                    .collect();
                let mut hint = suggestion(&ident.value, names.iter().map(String::as_str));
                let range = self.text.range(ident.span);
                let mut message = format!("unknown column `{}`", ident.value);
                if ident.quote_style == Some('"') {
                    let close = names.iter().find(|n| n.to_lowercase() == ident.value.to_lowercase());
                    hint = match close {
                        Some(n) => Some(format!("the column is called \"{n}\"; names in double quotes match exactly")),
                        None if nearest(&ident.value, names.iter().map(String::as_str)).is_empty() => Some("text is written in single quotes".into()),
                        None => hint,
                    };
                }
                if names.is_empty() {
                    message = format!("`{}` is not known here: this SELECT has no FROM", ident.value);
                }
                self.problem(range, message, hint);
            }
        }
    }

    /// Binds `table.column`, `table.column.field`, `column.field` and so on.
    fn bind_path(&mut self, parts: &mut Vec<Ident>) {
        if let Some((length, depth, index)) = self.qualifier(parts) {
            let relation = self.scopes[depth].relations[index].clone();
            let written = parts.len();
            let column = &parts[length];
            let found = relation.columns.iter().find(|c| same(column, &c.name, false)).cloned();
            let folded: Vec<Column> = relation.columns.iter().filter(|c| same(column, &c.name, true)).cloned().collect();
            let found = match (found, folded.as_slice()) {
                (Some(c), _) => Some(c),
                (None, [only]) => Some(only.clone()),
                (None, []) if relation.open => {
                    self.trusted = true;
                    None
                }
                (None, []) => {
                    let hint = suggestion(&column.value, relation.columns.iter().map(|c| c.name.as_str()));
                    self.problem(self.text.range(column.span), format!("unknown column `{}` of `{}`", column.value, relation.path.join(".")), hint);
                    None
                }
                (None, many) => {
                    let names = many.iter().map(|c| format!("\"{}\"", c.name)).collect::<Vec<_>>();
                    let message = format!("`{}` may be {}", column.value, names.join(" or "));
                    self.problem(self.text.range(column.span), message, Some("write the name in double quotes, as the column is called".into()));
                    None
                }
            };
            if !relation.key.is_empty() {
                // The planner knows the table by one name.
                parts.drain(1..length);
                rename(&mut parts[0], &relation.key);
            }
            if let Some(c) = found {
                let at = parts.len() - (written - length);
                rename(&mut parts[at], &c.name);
                self.bind_fields(&mut parts[at + 1..], c.data_type);
            }
            return;
        }
        let first = parts[0].clone();
        match self.find(&first, false) {
            Found::Column(c) => {
                rename(&mut parts[0], &c.name);
                self.bind_fields(&mut parts[1..], c.data_type);
            }
            Found::Missing => {
                let relations: Vec<String> = self.scopes.iter().rev().flat_map(|s| &s.relations).flat_map(|r| r.path.last().cloned()).collect();
                let columns = self.scopes.iter().rev().flat_map(|s| &s.relations).flat_map(|r| &r.columns).map(|c| c.name.as_str());
                let hint = suggestion(&first.value, relations.iter().map(String::as_str).chain(columns));
                self.problem(self.text.range(first.span), format!("there is no table or column `{}` here", first.value), hint);
            }
            Found::Trusted => self.trusted = true,
            Found::Alias(_) => {}
            Found::Ambiguous => self.bind_name(&mut parts[0]),
        }
    }

    /// How many parts name a table, and which.
    fn qualifier(&self, parts: &[Ident]) -> Option<(usize, usize, usize)> {
        for length in (1..parts.len()).rev() {
            for depth in (0..self.scopes.len()).rev() {
                let scope = &self.scopes[depth];
                for fold in [false, true] {
                    if let Some(i) = scope.relations.iter().position(|r| ends_with(&r.path, &parts[..length], fold)) {
                        return Some((length, depth, i));
                    }
                }
            }
        }
        None
    }

    /// Binds fields of a struct. Unknown types are left to the planner.
    fn bind_fields(&mut self, parts: &mut [Ident], data_type: Option<DataType>) -> Option<DataType> {
        let mut at = data_type;
        for part in parts {
            at = self.bind_field(part, at);
        }
        at
    }

    fn bind_field(&mut self, part: &mut Ident, at: Option<DataType>) -> Option<DataType> {
        let at = at?;
        let DataType::Struct(fields) = &at else {
            if !at.is_nested() && !matches!(at, DataType::Null | DataType::Dictionary(..)) {
                let message = format!("there is no field `{}` in a {}", part.value, sluis_core::columns::type_name(&at));
                self.problem(self.text.range(part.span), message, None);
            }
            return None;
        };
        let found = fields.iter().find(|f| same(part, f.name(), false)).or_else(|| fields.iter().find(|f| same(part, f.name(), true)));
        match found {
            Some(f) => {
                rename(part, f.name());
                Some(f.data_type().clone())
            }
            None => {
                let hint = suggestion(&part.value, fields.iter().map(|f| f.name().as_str()));
                self.problem(self.text.range(part.span), format!("unknown field `{}`", part.value), hint);
                None
            }
        }
    }

    /// The type of a column or field, before it is bound.
    pub(super) fn type_of(&mut self, expr: &Expr) -> Option<DataType> {
        match expr {
            Expr::Identifier(ident) => match self.find(ident, false) {
                Found::Column(c) => c.data_type,
                _ => None,
            },
            Expr::CompoundIdentifier(parts) => {
                let (column, fields) = match self.qualifier(parts) {
                    Some((length, depth, i)) => {
                        let relation = &self.scopes[depth].relations[i];
                        let name = &parts[length];
                        let column = relation
                            .columns
                            .iter()
                            .find(|c| same(name, &c.name, false))
                            .or_else(|| relation.columns.iter().find(|c| same(name, &c.name, true)));
                        (column?.data_type.clone(), &parts[length + 1..])
                    }
                    None => match self.find(&parts[0], false) {
                        Found::Column(c) => (c.data_type, &parts[1..]),
                        _ => return None,
                    },
                };
                fields.iter().try_fold(column?, |t, f| field_type(&t, f))
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                let root = self.type_of(root)?;
                access_chain.iter().try_fold(root, |t, access| access_type(&t, access))
            }
            Expr::Nested(inner) => self.type_of(inner),
            _ => None,
        }
    }

    /// Binds the fields of `a.b[1].c`; what stands in brackets is visited on its own.
    fn bind_access(&mut self, root: &Expr, chain: &mut [AccessExpr]) {
        let mut at = self.type_of(root);
        for access in chain {
            at = match access {
                AccessExpr::Dot(Expr::Identifier(field)) => {
                    let found = self.bind_field(field, at);
                    // The planner takes a field's name as text, and so it is not visited as a column.
                    *access = AccessExpr::Dot(Expr::value(Value::SingleQuotedString(field.value.clone())));
                    found
                }
                other => at.and_then(|t| access_type(&t, other)),
            };
        }
    }
}

fn field_type(t: &DataType, field: &Ident) -> Option<DataType> {
    let DataType::Struct(fields) = t else { return None };
    let found = fields.iter().find(|f| same(field, f.name(), false)).or_else(|| fields.iter().find(|f| same(field, f.name(), true)));
    found.map(|f| f.data_type().clone())
}

fn access_type(t: &DataType, access: &AccessExpr) -> Option<DataType> {
    match (access, t) {
        (AccessExpr::Dot(Expr::Identifier(field)), t) => field_type(t, field),
        (AccessExpr::Subscript(Subscript::Index { .. }), DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _)) => {
            Some(f.data_type().clone())
        }
        (AccessExpr::Subscript(Subscript::Slice { .. }), t) => Some(t.clone()),
        _ => None,
    }
}

fn ends_with(path: &[String], parts: &[Ident], fold: bool) -> bool {
    parts.len() <= path.len() && path[path.len() - parts.len()..].iter().zip(parts).all(|(n, p)| same(p, n, fold))
}

pub(super) fn relation_named<'s>(scope: &'s Scope, parts: &[Ident]) -> Option<&'s Relation> {
    [false, true].iter().find_map(|fold| scope.relations.iter().find(|r| !parts.is_empty() && ends_with(&r.path, parts, *fold)))
}

/// Makes one path of `a.b` in `a.b[1].c`, as it is where nothing is in brackets: `a` may be a table.
pub(super) struct Paths;

impl VisitorMut for Paths {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::CompoundFieldAccess { root, access_chain } = expr else { return ControlFlow::Continue(()) };
        let mut path = match root.as_ref() {
            Expr::Identifier(ident) => vec![ident.clone()],
            Expr::CompoundIdentifier(parts) => parts.clone(),
            _ => return ControlFlow::Continue(()),
        };
        let dots = access_chain.iter().take_while(|a| matches!(a, AccessExpr::Dot(Expr::Identifier(_)))).count();
        if dots == 0 {
            return ControlFlow::Continue(());
        }
        for access in access_chain.drain(..dots) {
            if let AccessExpr::Dot(Expr::Identifier(ident)) = access {
                path.push(ident);
            }
        }
        if access_chain.is_empty() {
            *expr = Expr::CompoundIdentifier(path);
        } else {
            **root = Expr::CompoundIdentifier(path);
        }
        ControlFlow::Continue(())
    }
}

/// Visits expressions down to subqueries, which are bound as queries of their own.
struct InExpressions<'r, 'b, 'a> {
    binder: &'r mut Binder<'b, 'a>,
    depth: usize,
}

impl VisitorMut for InExpressions<'_, '_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        if self.depth == 1 {
            self.binder.query(query);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        match expr {
            Expr::Identifier(ident) => {
                self.binder.bind_name(ident);
            }
            Expr::CompoundIdentifier(parts) => self.binder.bind_path(parts),
            Expr::CompoundFieldAccess { root, access_chain } => {
                let root = root.clone();
                self.binder.bind_access(&root, access_chain);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
