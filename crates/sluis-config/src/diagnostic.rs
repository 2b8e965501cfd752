//! A mistake in the configuration, as data, as text for people, as JSON for scripts.
//!
//! Deliberately not here: finding mistakes, and secrets: everything shown passes [`sluis_core::secret::redact`].

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use sluis_core::secret::redact;

use crate::span::Span;

/// Whether it can run nevertheless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// A stable word for scripts: `unknown-key`, `missing-key`, `wrong-type` …
    pub code: &'static str,
    pub severity: Severity,
    /// One sentence: what is wrong.
    pub message: String,
    /// Where; `None` if it is about no place in a file (a file that cannot be read).
    pub span: Option<Span>,
    /// A few words beside the underlined text.
    pub label: Option<String>,
    /// Other places that matter, with a few words each.
    pub also: Vec<(Span, String)>,
    /// What to do.
    pub help: Option<String>,
    /// The docs' section: a path in the repository with an anchor, `docs/reference/pipeline.md#from`.
    pub docs: Option<String>,
}

impl Diagnostic {
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Error, message: message.into(), span: None, label: None, also: Vec::new(), help: None, docs: None }
    }
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }
    #[must_use]
    pub fn at(mut self, span: &Span) -> Self {
        self.span = Some(span.clone());
        self
    }
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }
    #[must_use]
    pub fn also(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.also.push((span.clone(), label.into()));
        self
    }
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }
    #[must_use]
    pub fn docs(mut self, docs: impl Into<String>) -> Self {
        self.docs = Some(docs.into());
        self
    }
}

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Also<'a> {
            span: &'a Span,
            label: String,
        }
        let mut form = s.serialize_struct("Diagnostic", 8)?;
        form.serialize_field("code", self.code)?;
        form.serialize_field("severity", &self.severity)?;
        form.serialize_field("message", &redact(&self.message))?;
        form.serialize_field("span", &self.span)?;
        form.serialize_field("label", &self.label.as_deref().map(redact))?;
        form.serialize_field("also", &self.also.iter().map(|(span, label)| Also { span, label: redact(label) }).collect::<Vec<_>>())?;
        form.serialize_field("help", &self.help.as_deref().map(redact))?;
        form.serialize_field("docs", &self.docs)?;
        form.end()
    }
}

/// A text cut to what fits into a sentence.
pub(crate) fn short(text: &str) -> String {
    const MOST: usize = 40;
    let cut: String = text.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() > MOST { format!("{cut}…") } else { cut }
}

/// Whether anything among them stops a run.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|d| d.severity == Severity::Error)
}

/// All of them for a terminal: file, line and column, the line with the place underlined, help, the docs' section; then a line that counts
/// them. Empty if there are none.
pub fn render(diagnostics: &[Diagnostic], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in diagnostics {
        let _ = writeln!(out, "{}\n", renderer.render(&[group(diagnostic)]));
    }
    let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
    let words = |n: usize, what: &str| (n > 0).then(|| format!("{n} {what}{}", if n == 1 { "" } else { "s" }));
    let counts: Vec<String> = [words(count(Severity::Error), "error"), words(count(Severity::Warning), "warning")].into_iter().flatten().collect();
    if !counts.is_empty() {
        let _ = writeln!(out, "{}", counts.join(", "));
    }
    redact(&out)
}

fn group(d: &Diagnostic) -> Group<'_> {
    let level = match d.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(d.message.as_str()).id(d.code));
    if let Some(primary) = &d.span {
        let mut others: Vec<&(Span, String)> = d.also.iter().collect();
        let mut snippet = snippet(primary, AnnotationKind::Primary, d.label.as_deref());
        others.retain(|(span, label)| {
            let same = std::sync::Arc::ptr_eq(span.file(), primary.file());
            if same {
                snippet = std::mem::replace(&mut snippet, Snippet::source("")).annotation(AnnotationKind::Context.span(span.range()).label(label));
            }
            !same
        });
        group = group.element(snippet);
        for (span, label) in others {
            group = group.element(self::snippet(span, AnnotationKind::Context, Some(label)));
        }
    }
    if let Some(help) = &d.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    if let Some(docs) = &d.docs {
        group = group.element(Level::NOTE.with_name("docs").message(docs.as_str()));
    }
    group
}

fn snippet<'a>(span: &'a Span, kind: AnnotationKind, label: Option<&'a str>) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    Snippet::source(span.file().text()).path(span.file().shown()).annotation(kind.span(span.range()).label(label))
}
