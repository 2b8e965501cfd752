//! A pipeline that is valid by construction: what the engine is given.
//!
//! Made by [`crate::load_project`] alone. Its parts' configurations hold references to secrets until [`Pipeline::resolve`].
//! Deliberately not here: building sources, formats and targets.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sluis_core::registry::SourceDef;
use sluis_core::{Contract, EpochLimits, FormatDef, PipelineName, Result, SinkDef, SinkName};

use crate::grammar::{AlertOn, Budget, Trigger};
use crate::secret::resolve;
use crate::span::{Span, TextSpan};
use crate::spec::{OnCorrupt, OnFail, Scope};

/// A source as configured.
#[derive(Clone)]
pub struct SourcePart {
    pub def: &'static SourceDef,
    /// Its configuration; conforms to `def.schema` and passed `def.validate`.
    pub config: Value,
    pub span: Span,
}

/// A format as configured.
#[derive(Clone)]
pub struct FormatPart {
    pub def: &'static FormatDef,
    pub config: Value,
    pub span: Span,
}

impl FormatPart {
    /// Whether rows get the column `_rescued` for what they hold beyond their columns.
    pub fn rescues(&self) -> bool {
        self.def.reader.and_then(|reader| reader(&self.config).ok()).is_some_and(|format| format.rescues())
    }
}

/// A target as configured.
#[derive(Clone)]
pub struct Target {
    pub name: SinkName,
    pub def: &'static SinkDef,
    pub config: Value,
    pub span: Span,
}

/// A condition that rows must meet.
#[derive(Debug, Clone)]
pub struct Check {
    pub name: String,
    /// SQL. Not parsed here.
    pub that: String,
    pub on_fail: OnFail,
    /// Where `that` stands.
    pub span: TextSpan,
}

/// A step of SQL.
#[derive(Debug, Clone)]
pub struct Select {
    /// The table that later steps know it as; `output` if there is but one without a name.
    pub name: String,
    /// SQL. Not parsed here.
    pub sql: String,
    /// Where `sql` stands.
    pub span: TextSpan,
}

/// Files to look things up in, a table to SQL.
#[derive(Clone)]
pub struct LookupTable {
    pub name: String,
    pub source: SourcePart,
    pub format: Option<FormatPart>,
    /// Where its name stands.
    pub span: Span,
}

/// Who is told, and of what.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    pub email: Vec<String>,
    pub on: Vec<AlertOn>,
}

/// How the work is done. See [`crate::spec::SettingsSpec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    pub tasks: NonZeroUsize,
    /// `None`: one per processor.
    pub threads: Option<NonZeroUsize>,
    pub batch_rows: NonZeroUsize,
    pub sample_files: NonZeroUsize,
    pub on_corrupt: OnCorrupt,
    pub tries: NonZeroUsize,
}

/// One pipeline.
#[derive(Clone)]
pub struct Pipeline {
    pub name: PipelineName,
    /// The file it was read from.
    pub file: PathBuf,
    pub description: Option<String>,
    pub source: SourcePart,
    /// There if and only if the source needs one.
    pub format: Option<FormatPart>,
    /// In the order in which they are tried; names are unique.
    pub checks: Vec<Check>,
    /// What happens when files change.
    pub contract: Contract,
    /// Names are unique, and none is `input` or a look-up table's. Empty: rows go on as they are.
    pub selects: Vec<Select>,
    pub scope: Scope,
    pub tables: Vec<LookupTable>,
    /// At least one; names are unique.
    pub targets: Vec<Target>,
    /// `None`: Parquet files in the state folder.
    pub rejects: Option<Target>,
    pub when: Trigger,
    pub alert: Option<Alert>,
    pub limits: EpochLimits,
    /// `fail_if`: each fails the epoch before its commit.
    pub budget: Vec<Budget>,
    pub settings: Settings,
}

impl Pipeline {
    /// The same with every secret in it resolved and registered for redaction.
    ///
    /// # Errors
    /// Those of [`resolve`], with the file and the part.
    pub fn resolve(&self, project_dir: &Path) -> Result<Pipeline> {
        let file = self.file.display();
        let part = |key: &str, config: &Value| resolve(config, project_dir).map_err(|e| e.context("part", key).context("file", &file));
        let mut out = self.clone();
        out.source.config = part(&format!("from.{}", self.source.def.name), &self.source.config)?;
        if let Some(format) = &mut out.format {
            format.config = part(&format!("from.{}", format.def.name), &format.config)?;
        }
        for table in &mut out.tables {
            let key = format!("tables.{}", table.name);
            table.source.config = part(&key, &table.source.config)?;
            if let Some(format) = &mut table.format {
                format.config = part(&key, &format.config)?;
            }
        }
        for target in &mut out.targets {
            target.config = part(&format!("into.{}", target.name), &target.config)?;
        }
        if let Some(rejects) = &mut out.rejects {
            rejects.config = part("rejects", &rejects.config)?;
        }
        Ok(out)
    }

    /// Whether a new version of a file replaces the rows of the old one (`on_overwrite: replace`).
    pub fn replaces_files(&self) -> bool {
        replaces_files(&self.source.config)
    }

    /// The pipeline as JSON, for `explain` and the API: defaults filled in, secrets as they are referred to.
    pub fn to_json(&self) -> Value {
        let beside = |source: &SourcePart, format: &Option<FormatPart>| {
            let mut from = json!({ source.def.name: source.config });
            if let Some(format) = format {
                from[format.def.name] = format.config.clone();
            }
            from
        };
        let target = |t: &Target| json!({ "name": t.name, "kind": t.def.name, "config": t.config });
        let limit = |n: u64| if n == u64::MAX { Value::Null } else { n.into() };
        json!({
            "name": self.name,
            "file": self.file,
            "description": self.description,
            "from": beside(&self.source, &self.format),
            "check": self.checks.iter().map(|c| json!({ "name": c.name, "that": c.that, "on_fail": c.on_fail.word() })).collect::<Vec<_>>(),
            "contract": { "columns": self.contract.columns.word(), "types": self.contract.types.word() },
            "select": self.selects.iter().map(|s| json!({ "name": s.name, "sql": s.sql })).collect::<Vec<_>>(),
            "scope": match self.scope { Scope::Row => "row", Scope::Epoch => "epoch" },
            "tables": self.tables.iter().map(|t| (t.name.clone(), beside(&t.source, &t.format))).collect::<serde_json::Map<_, _>>(),
            "into": self.targets.iter().map(target).collect::<Vec<_>>(),
            "rejects": self.rejects.as_ref().map(target),
            "when": self.when.to_string(),
            "alert": self.alert.as_ref().map(|a| json!({ "email": a.email, "on": a.on.iter().map(ToString::to_string).collect::<Vec<_>>() })),
            "fail_if": self.budget.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "limits": { "files": limit(self.limits.files), "bytes": limit(self.limits.bytes), "rows": limit(self.limits.rows) },
            "settings": {
                "tasks": self.settings.tasks, "threads": self.settings.threads, "batch_rows": self.settings.batch_rows,
                "sample_files": self.settings.sample_files, "tries": self.settings.tries,
                "on_corrupt": match self.settings.on_corrupt { OnCorrupt::Fail => "fail", OnCorrupt::Reject => "reject" },
            },
        })
    }
}

/// Whether a source's configuration says so.
pub(crate) fn replaces_files(config: &Value) -> bool {
    config["on_overwrite"].as_str() == Some("replace")
}

impl OnFail {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            OnFail::Reject => "reject",
            OnFail::Warn => "warn",
            OnFail::Fail => "fail",
        }
    }
}
