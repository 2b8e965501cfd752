//! What every command starts from: the global flags, the project they point at, its ledger.
//!
//! Guarantee: nothing is opened, read or started before a command asks for it, so that `--version` and `check` answer at once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use sluis_config::{Loaded, Options, Pipeline, Project, has_errors, load_project, render};
use sluis_core::{Clock, Error, PipelineName, Registry, Result};
use sluis_engine::SqliteLedger;

use crate::exit::{Exit, Failure};
use crate::print;

/// The global flags, meant.
pub struct Session {
    /// `--project`.
    pub project: Option<PathBuf>,
    pub options: Options,
    pub json: bool,
    pub quiet: bool,
    /// Whether standard error is coloured.
    pub color: bool,
    pub clock: Arc<dyn Clock>,
    registry: OnceLock<Registry>,
}

/// A project, and the pipelines that were asked for.
pub struct Asked {
    pub project: Project,
    pub pipelines: Vec<Pipeline>,
}

impl Session {
    pub fn new(project: Option<PathBuf>, options: Options, json: bool, quiet: bool, color: bool, clock: Arc<dyn Clock>) -> Self {
        Self { project, options, json, quiet, color, clock, registry: OnceLock::new() }
    }

    /// The same, for another project.
    pub fn at(&self, project: &Path) -> Session {
        Session::new(Some(project.to_owned()), Options::default(), false, self.quiet, self.color, self.clock.clone())
    }

    pub fn registry(&self) -> &Registry {
        self.registry.get_or_init(sluis_connectors::registry)
    }

    /// The folder that names are looked up from: `--project`, else the working directory.
    pub fn base(&self) -> PathBuf {
        self.project.clone().unwrap_or_else(|| PathBuf::from("."))
    }

    /// What stands at a path, a pipeline's name, or (`None`) in the project; right or wrong.
    pub fn look(&self, what: Option<&str>) -> Loaded {
        let base = self.base();
        let Some(what) = what else { return load_project(&base, self.registry(), &self.options) };
        let path = Path::new(what);
        let below = base.join(path);
        if path.exists() || !is_name(what) {
            let path = if !path.exists() && below.exists() { &below } else { path };
            return load_project(path, self.registry(), &self.options);
        }
        if below.exists() {
            return load_project(&below, self.registry(), &self.options);
        }
        let all = load_project(&base, self.registry(), &self.options);
        match all.pipelines.iter().find(|p| p.name.as_str() == what).map(|p| p.file.clone()) {
            Some(file) => load_project(&file, self.registry(), &self.options),
            // The path's own message says what is there; with a mistake in the project, that comes first.
            None if all.is_valid() && all.pipelines.is_empty() => load_project(path, self.registry(), &self.options),
            None => self.no_such(what, all),
        }
    }

    fn no_such(&self, what: &str, mut all: Loaded) -> Loaded {
        let names: Vec<&str> = all.pipelines.iter().map(|p| p.name.as_str()).collect();
        let help = format!("the pipelines are: {}; or give the path of a file or folder", names.join(", "));
        let d = sluis_config::Diagnostic::error("not-found", format!("there is no file, folder or pipeline `{what}`")).help(help);
        all.diagnostics.push(d);
        all.pipelines.clear();
        all
    }

    /// What is asked for, without mistakes. Mistakes, those of SQL too, are told on standard error.
    ///
    /// # Errors
    /// `Said(Config)` if there are any.
    pub fn load(&self, what: Option<&str>) -> std::result::Result<Asked, Failure> {
        let mut loaded = self.look(what);
        for pipeline in &loaded.pipelines {
            loaded.diagnostics.extend(crate::statements::problems(pipeline));
            loaded.diagnostics.extend(crate::pairs::problems(pipeline));
        }
        self.tell(&loaded);
        match loaded.project {
            Some(project) if !has_errors(&loaded.diagnostics) => Ok(Asked { project, pipelines: loaded.pipelines }),
            _ => Err(Failure::Said(Exit::Config)),
        }
    }

    /// The project alone: mistakes in its pipelines do not matter.
    ///
    /// # Errors
    /// `Said(Config)` if its own file has mistakes.
    pub fn project(&self) -> std::result::Result<Project, Failure> {
        let loaded = self.look(None);
        match loaded.project {
            Some(project) => Ok(project),
            None => {
                self.tell(&loaded);
                Err(Failure::Said(Exit::Config))
            }
        }
    }

    /// One pipeline, by name or file.
    ///
    /// # Errors
    /// `Said(Config)` for mistakes; `ErrorKind::Config` if it is not one.
    pub fn pipeline(&self, what: &str) -> std::result::Result<(Project, Pipeline), Failure> {
        let asked = self.load(Some(what))?;
        let mut pipelines = asked.pipelines;
        match (pipelines.pop(), pipelines.is_empty()) {
            (Some(one), true) => Ok((asked.project, one)),
            _ => Err(Error::config(format!("`{what}` is not one pipeline")).hint("name one, or give the path of its file").into()),
        }
    }

    /// A pipeline's name as the ledger knows it: also one whose file is gone.
    ///
    /// # Errors
    /// Those of [`Session::pipeline`], for a path.
    pub fn name(&self, what: &str) -> std::result::Result<PipelineName, Failure> {
        if is_name(what) && !Path::new(what).is_file() { Ok(PipelineName::new(what)) } else { Ok(self.pipeline(what)?.1.name) }
    }

    fn tell(&self, loaded: &Loaded) {
        print::err(&render(&loaded.diagnostics, self.color));
    }

    /// The project's ledger, made if there is none.
    ///
    /// # Errors
    /// Those of [`SqliteLedger::open`].
    pub fn ledger(&self, project: &Project) -> Result<SqliteLedger> {
        SqliteLedger::open(&project.ledger_path, self.clock.clone())
    }

    /// The project's ledger for looking only.
    ///
    /// # Errors
    /// Those of [`SqliteLedger::open_existing`].
    pub fn existing_ledger(&self, project: &Project) -> Result<Option<SqliteLedger>> {
        SqliteLedger::open_existing(&project.ledger_path, self.clock.clone())
    }
}

/// Whether it can be a pipeline's name, rather than a path.
fn is_name(what: &str) -> bool {
    !what.contains(['/', '\\']) && !what.ends_with(".yaml") && !what.ends_with(".yml") && !what.starts_with('.')
}

/// A runtime for commands that read or write data.
///
/// # Errors
/// The system gives no threads.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| {
        Error::new(sluis_core::ErrorKind::Capacity, "cannot start threads").source(e).hint("the limit on processes (ulimit -u) may be reached")
    })
}

/// A path as people see it: relative to the working directory if it is below it.
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let relative = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    relative.filter(|p| !p.as_os_str().is_empty()).as_deref().unwrap_or(path).display().to_string()
}
