//! SQL text: parsing, and places in it as byte ranges.

use std::ops::Range;

use datafusion::sql::sqlparser::ast::{Expr, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

/// How deep expressions and subqueries may be nested.
const NESTING: usize = 100;

/// The stack on which SQL is parsed and planned: both recurse, and the threads that call have little.
const STACK: usize = 64 << 20;

/// Runs what recurses over SQL on a stack that is deep enough for it.
///
/// # Panics
/// If `f` does, or if no thread can be started.
pub(crate) fn deep<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("sql".into()).stack_size(STACK).spawn_scoped(scope, f).expect("a thread can be started");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Something wrong with one SQL text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub range: Option<Range<usize>>,
    pub message: String,
    pub hint: Option<String>,
}

impl Problem {
    pub fn new(range: Option<Range<usize>>, message: impl Into<String>) -> Problem {
        Problem { range, message: message.into(), hint: None }
    }
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }
}

/// An SQL text whose lines are counted.
pub(crate) struct Text<'a> {
    pub sql: &'a str,
    lines: Vec<usize>,
}

impl<'a> Text<'a> {
    pub fn new(sql: &'a str) -> Text<'a> {
        let lines = std::iter::once(0).chain(sql.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Text { sql, lines }
    }

    /// The byte at which a place of the parser begins. Columns count characters from 1.
    fn offset(&self, at: Location) -> Option<usize> {
        let start = *self.lines.get(usize::try_from(at.line).ok()?.checked_sub(1)?)?;
        let column = usize::try_from(at.column).ok()?.checked_sub(1)?;
        let line = &self.sql[start..];
        Some(start + line.char_indices().nth(column).map_or(line.len(), |(i, _)| i))
    }

    /// Bytes of a span; `None` if the parser does not know it.
    pub fn range(&self, span: Span) -> Option<Range<usize>> {
        let (start, end) = (self.offset(span.start)?, self.offset(span.end)?);
        (start < end).then_some(start..end)
    }

    /// Bytes of an expression, with the closing brackets that the parser leaves out of calls and lists.
    pub fn wide_range(&self, span: Span) -> Option<Range<usize>> {
        let mut range = self.range(span)?;
        loop {
            let inside = &self.sql[range.clone()];
            let rest = &self.sql[range.end..];
            let spaces = rest.len() - rest.trim_start().len();
            let open = |a: char, b: char| inside.matches(a).count() > inside.matches(b).count() && rest[spaces..].starts_with(b);
            if !open('(', ')') && !open('[', ']') {
                return Some(range);
            }
            range.end += spaces + 1;
        }
    }

    /// The first token that is this keyword, at or after a place.
    pub fn keyword(&self, word: &str, from: Option<Range<usize>>) -> Option<Range<usize>> {
        let from = from.map_or(0, |r| r.start);
        tokens(self.sql).ok()?.into_iter().find_map(|t| match &t.token {
            Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word) => self.range(t.span).filter(|r| r.start >= from),
            _ => None,
        })
    }

    /// One statement.
    pub fn statement(&self) -> Result<Statement, Problem> {
        let dialect = GenericDialect {};
        let mut statements = tokens(self.sql)
            .map_err(ParserError::from)
            .and_then(|tokens| Parser::new(&dialect).with_recursion_limit(NESTING).with_tokens_with_locations(tokens).parse_statements())
            .map_err(|e| self.parse_problem(&e))?;
        match statements.len() {
            0 => Err(Problem::new(None, "there is no SQL here")),
            1 => Ok(statements.remove(0)),
            n => Err(Problem::new(None, format!("{n} statements where one is expected")).hint("keep one, without `;` between")),
        }
    }

    /// One expression and nothing after it.
    pub fn expression(&self) -> Result<Expr, Problem> {
        let dialect = GenericDialect {};
        let all = tokens(self.sql).map_err(|e| self.parse_problem(&e.into()))?;
        let mut parser = Parser::new(&dialect).with_recursion_limit(NESTING).with_tokens_with_locations(all);
        let expr = parser.parse_expr().map_err(|e| self.parse_problem(&e))?;
        let next = parser.next_token();
        match next.token {
            Token::EOF => Ok(expr),
            other => Err(Problem::new(self.range(next.span), format!("the condition ends before `{other}`"))
                .hint("one expression that is true or false, as in `seconds >= 0 and cost is not null`")),
        }
    }

    fn parse_problem(&self, e: &ParserError) -> Problem {
        let text = match e {
            ParserError::TokenizerError(t) | ParserError::ParserError(t) => t.clone(),
            ParserError::RecursionLimitExceeded => {
                return Problem::new(None, format!("nested too deeply: more than {NESTING} levels")).hint("cut it into several steps");
            }
        };
        let (message, at) = match text.rfind(" at Line: ") {
            Some(i) => (text[..i].to_owned(), location(&text[i..])),
            None => (text, None),
        };
        let range = match at.and_then(|at| self.offset(at)) {
            Some(start) => Some(start..start + word_length(&self.sql[start..])),
            None if message.ends_with("EOF") => Some(self.sql.trim_end().len()..self.sql.trim_end().len()),
            None => None,
        };
        let message = message.replace("found: EOF", "found the end of the text").replace("Expected: ", "expected ").replace(", found: ", ", found ");
        let mut chars = message.chars();
        let message = chars.next().map(|c| c.to_lowercase().chain(chars).collect::<String>()).unwrap_or_default();
        Problem::new(range, message)
    }
}

fn tokens(sql: &str) -> Result<Vec<TokenWithSpan>, datafusion::sql::sqlparser::tokenizer::TokenizerError> {
    Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location()
}

/// Reads ` at Line: 1, Column: 5`.
fn location(text: &str) -> Option<Location> {
    let (line, column) = text.strip_prefix(" at Line: ")?.split_once(", Column: ")?;
    Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}

fn word_length(rest: &str) -> usize {
    let word: usize = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').map(char::len_utf8).sum();
    if word > 0 { word } else { rest.chars().next().map_or(0, char::len_utf8) }
}

/// Names near to one that is not there: at most three, best first.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = name.to_lowercase();
    let mut scored: Vec<(f64, &str)> = names
        .map(|n| {
            let have = n.to_lowercase();
            let inside = wanted.len() >= 3 && (have.contains(&wanted) || wanted.contains(&have) && have.len() >= 3);
            (strsim::jaro_winkler(&wanted, &have).max(if inside { 0.85 } else { 0.0 }), n)
        })
        .filter(|(score, _)| *score > 0.8)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.dedup_by(|a, b| a.1 == b.1);
    let best = scored.first().map_or(0.0, |s| s.0);
    scored.into_iter().take_while(|s| s.0 > best - 0.08).take(3).map(|(_, n)| n).collect()
}

/// "did you mean …", or the names there are (cut), or nothing.
pub(crate) fn suggestion<'a>(name: &str, names: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let near = nearest(name, names.clone());
    if !near.is_empty() {
        return Some(format!("did you mean {}?", near.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" or ")));
    }
    let all: Vec<&str> = names.take(13).collect();
    if all.is_empty() {
        return None;
    }
    let more = if all.len() > 12 { ", …" } else { "" };
    Some(format!("there are {}{more}", all.iter().take(12).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")))
}
