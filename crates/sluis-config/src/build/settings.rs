//! When and how: `when`, `alert`, `fail_if`, `limits`, `settings`.

use std::num::NonZeroUsize;

use serde::de::DeserializeOwned;
use sluis_core::{EpochLimits, PipelineName};

use super::{Builder, is_plain_name};
use crate::diagnostic::{Diagnostic, short};
use crate::grammar::{AlertOn, Budget, Trigger};
use crate::pipeline::{Alert, Settings};
use crate::span::Span;
use crate::spec::{AlertSpec, LimitsSpec, OneOrMany, SettingsSpec, WhenSpec};
use crate::yaml::{Kind, Node};

/// What an epoch takes unless told otherwise: enough for files of a good size, little enough to be done again.
const FILES: u64 = 1000;
const BYTES: u64 = 2 << 30;

impl Builder<'_, '_> {
    pub(super) fn spec<T: DeserializeOwned>(&self, node: &Node, key: &str, definition: &str) -> Option<T> {
        let value = self.conform(node.get(key)?, definition)?;
        serde_json::from_value(value).ok()
    }

    pub(super) fn when(&mut self, node: &Node) -> (Trigger, Vec<(PipelineName, Span)>) {
        let Some(value) = node.get("when") else { return (Trigger::Manual, Vec::new()) };
        let span = value.span.first_line();
        let trigger = match &value.kind {
            Kind::Text(text) => {
                let text = crate::variables::literal(text, "a time", self.diagnostics);
                if crate::reference::has_open(&text.value) { Ok(Trigger::Manual) } else { text.value.parse() }
            }
            Kind::Map(_) => self.when_spec(node, value),
            // Reported by the first walk.
            _ => Ok(Trigger::Manual),
        };
        let trigger = match trigger {
            Ok(trigger) => trigger,
            Err(message) => {
                let code = if message.contains("not a crontab line") || message.contains("never comes true") { "bad-cron" } else { "bad-when" };
                let near =
                    value.text().and_then(|t| crate::suggest::nearest(t.value.trim(), ["live", "manual"])).map(|n| format!("did you mean `{n}`?"));
                self.report(Diagnostic::error(code, message).at(&span).maybe_help(near), "when");
                Trigger::Manual
            }
        };
        let Trigger::After(names) = &trigger else { return (trigger, Vec::new()) };
        if names.is_empty() {
            self.report(Diagnostic::error("bad-when", "`after` names no pipeline").at(&span).help("as in `after: load_cells`"), "when");
        }
        for name in names.iter().filter(|n| !is_plain_name(n.as_str())) {
            let d = Diagnostic::error("bad-when", format!("`{}` cannot be a pipeline's name", short(name.as_str()))).at(&span);
            self.report(d.help("as in `after: load_cells`"), "when");
        }
        let after = names.iter().map(|n| (n.clone(), span.clone())).collect();
        (trigger, after)
    }

    fn when_spec(&mut self, node: &Node, value: &Node) -> Result<Trigger, String> {
        const KINDS: [&str; 3] = ["cron", "every", "after"];
        if KINDS.iter().filter(|k| value.get(k).is_some()).count() != 1 {
            return Err("`when` takes one of `cron`, `every` and `after`".into());
        }
        let Some(spec) = self.spec::<WhenSpec>(node, "when", "WhenSpec") else { return Ok(Trigger::Manual) };
        match (spec.cron, spec.every, spec.after) {
            (Some(cron), ..) => cron.0.parse().map(Trigger::Cron),
            (_, Some(every), _) => Trigger::every(every.0),
            (.., after) => Ok(Trigger::After(after.map_or_else(Vec::new, OneOrMany::into_vec).into_iter().map(PipelineName).collect())),
        }
    }

    pub(super) fn alert(&mut self, node: &Node) -> Option<Alert> {
        let spec = self.spec::<AlertSpec>(node, "alert", "AlertSpec")?;
        let email = spec.email.into_vec().into_iter().map(|e| e.0).collect();
        let on = spec.on.map_or_else(|| vec![AlertOn::Failure], |on| on.into_vec().iter().filter_map(|t| t.0.parse().ok()).collect());
        Some(Alert { email, on })
    }

    pub(super) fn budget(&mut self, node: &Node) -> Vec<Budget> {
        let Some(value) = node.get("fail_if") else { return Vec::new() };
        let texts: Option<OneOrMany<String>> = serde_json::from_value(value.to_value()).ok();
        texts.map_or_else(Vec::new, |texts| texts.into_vec().iter().filter_map(|t| t.parse().ok()).collect())
    }

    pub(super) fn limits(&mut self, node: &Node) -> EpochLimits {
        let spec: LimitsSpec = self.spec(node, "limits", "LimitsSpec").unwrap_or_default();
        let bytes = spec.bytes.map_or(BYTES, |b| b.0);
        if let (0, Some(at)) = (bytes, node.get("limits").and_then(|l| l.get("bytes"))) {
            self.report(
                Diagnostic::error("out-of-range", "`limits.bytes` is at least 1, found 0").at(&at.span).help("as in `bytes: 2GiB`"),
                "limits",
            );
        }
        EpochLimits { files: spec.files.unwrap_or(FILES), bytes, rows: spec.rows.unwrap_or(u64::MAX) }
    }

    pub(super) fn settings(&mut self, node: &Node) -> Settings {
        let spec: SettingsSpec = self.spec(node, "settings", "SettingsSpec").unwrap_or_default();
        let count = |n: Option<u32>, default: usize| {
            n.and_then(|n| NonZeroUsize::new(n as usize)).or(NonZeroUsize::new(default)).unwrap_or(NonZeroUsize::MIN)
        };
        Settings {
            tasks: count(spec.tasks, 1),
            threads: spec.threads.and_then(|n| NonZeroUsize::new(n as usize)),
            batch_rows: count(spec.batch_rows, 8192),
            sample_files: count(spec.sample_files, 10),
            on_corrupt: spec.on_corrupt.unwrap_or_default(),
            tries: count(spec.tries, 5),
        }
    }
}
