//! From a path to everything that is there: finds the project, reads its files, lays the environment over, builds every pipeline.
//!
//! Guarantees: reads nothing but the project's own YAML files; no network, no clock, no state; never panics; all mistakes at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluis_core::Registry;

use crate::build::{self, Built, Surroundings};
use crate::diagnostic::{Diagnostic, has_errors};
use crate::discover::{Asked, Found, discover};
use crate::pipeline::Pipeline;
use crate::project::{self, Project};
use crate::read::read;
use crate::schema::{Conform, DOCS, Place, environment_schema, json_schema, project_schema};
use crate::span::{SourceFile, Span};
use crate::suggest;
use crate::variables::{self, Variables};
use crate::yaml::{Entry, Kind, Merge, Node, merge};

/// What the command line adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `--env prod`
    pub env: Option<String>,
    /// `--var name=text`, in order.
    pub vars: Vec<(String, String)>,
}

/// What was found at a path.
pub struct Loaded {
    /// `None` if the project's own file has mistakes.
    pub project: Option<Project>,
    /// The pipelines without mistakes, by name.
    pub pipelines: Vec<Pipeline>,
    /// By file and line.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// Whether nothing stops a run.
    pub fn is_valid(&self) -> bool {
        !has_errors(&self.diagnostics)
    }
}

/// Loads the project or the pipeline at `path`: a project's folder, a folder of pipelines, or one pipeline's file. A file that has no
/// `sluis.yaml` beside or above it is a project by itself. Where only a part of a project is asked for, only that part's pipelines and
/// mistakes are returned; names are looked up in all of it.
pub fn load_project(path: &Path, registry: &Registry, options: &Options) -> Loaded {
    let mut loader = Loader { registry, options, diagnostics: Vec::new(), shared: Vec::new(), used: BTreeSet::new(), declared: BTreeSet::new() };
    match discover(path) {
        Ok(found) => loader.load(&found),
        Err(d) => Loaded { project: None, pipelines: Vec::new(), diagnostics: vec![*d] },
    }
}

struct Loader<'a> {
    registry: &'a Registry,
    options: &'a Options,
    diagnostics: Vec<Diagnostic>,
    /// Files that every pipeline depends on.
    shared: Vec<PathBuf>,
    /// Variables asked for, and declared, anywhere.
    used: BTreeSet<String>,
    declared: BTreeSet<String>,
}

impl Loader<'_> {
    fn load(&mut self, found: &Found) -> Loaded {
        let tree = self.project_tree(found);
        if tree.is_none() && (found.project_file.is_some() || has_errors(&self.diagnostics)) {
            // Without the project's variables and connections every pipeline would seem wrong.
            return Loaded { project: None, pipelines: Vec::new(), diagnostics: in_order(std::mem::take(&mut self.diagnostics)) };
        }
        let project = match (&tree, &found.project_file) {
            (Some(tree), Some(file)) => self.project(found, file, tree),
            _ => Some(Project::default_at(&found.dir)),
        };
        let grammar = json_schema(self.registry);
        let connections = project::connection_names(tree.as_ref());
        let around = Surroundings { registry: self.registry, grammar: &grammar, connections: &connections };
        let mut built: Vec<(PathBuf, Built)> = Vec::new();
        for path in &found.pipelines {
            if let Some(one) = self.pipeline(path, tree.as_ref(), &around) {
                built.push((path.clone(), one));
            }
        }
        self.names(&mut built);
        self.namesakes(&found.beside, &mut built);
        self.circles(&built);
        self.unused_variables();
        if found.pipelines.is_empty() && !has_errors(&self.diagnostics) {
            self.diagnostics.push(found.nothing_here());
        }
        let asked = |path: &Path| match &found.asked {
            Asked::All => true,
            Asked::File(file) => file == path,
            Asked::Below(dir) => path.starts_with(dir),
        };
        let mut pipelines: Vec<Pipeline> = built.into_iter().filter(|(path, _)| asked(path)).filter_map(|(_, b)| b.pipeline).collect();
        pipelines.sort_by(|a, b| a.name.cmp(&b.name));
        let mut diagnostics = std::mem::take(&mut self.diagnostics);
        diagnostics.retain(|d| {
            let mut files = d.span.iter().chain(d.also.iter().map(|(s, _)| s)).map(|s| s.file().path()).peekable();
            files.peek().is_none() || files.any(|f| asked(f) || self.shared.iter().any(|s| s == f) || f.as_os_str().is_empty())
        });
        Loaded { project, pipelines, diagnostics: in_order(diagnostics) }
    }

    /// The project file's tree with the environment laid over it. `None` if there is no file, or it cannot be read.
    fn project_tree(&mut self, found: &Found) -> Option<Node> {
        let wanted = self.options.env.as_deref();
        let Some(path) = &found.project_file else {
            if let Some(env) = wanted {
                let d = Diagnostic::error("unknown-environment", format!("there is no environment `{env}`: there is no `sluis.yaml`"));
                self.diagnostics.push(d.help("environments are written in a project's `sluis.yaml`").docs(format!("{DOCS}project.md#environments")));
            }
            return None;
        };
        self.shared.push(path.clone());
        let file = read(path, &mut self.diagnostics)?;
        let mut tree = crate::yaml::parse(&file, &mut self.diagnostics)?;
        if tree.is_null() {
            // An empty project file is a project with the defaults.
            tree.kind = Kind::Map(Vec::new());
        }
        project::hide_written_secrets(&tree);
        let environments = take(&mut tree, "environments");
        self.check_environments(environments.as_ref());
        let Some(env) = wanted else { return Some(tree) };
        let inside = environments.as_ref().and_then(|e| e.get(env));
        let beside = found.environment_file(env);
        if inside.is_none() && beside.is_none() {
            self.unknown_environment(env, found, environments.as_ref(), &file);
            return None;
        }
        if let Some(inside) = inside {
            tree = merge(&tree, inside, &project_rule);
        }
        if let Some(beside) = beside {
            self.shared.push(beside.clone());
            let file = read(&beside, &mut self.diagnostics)?;
            let over = crate::yaml::parse(&file, &mut self.diagnostics)?;
            project::hide_written_secrets(&over);
            if !over.is_null() {
                self.check_environment(&over, &Place::root());
                tree = merge(&tree, &over, &project_rule);
            }
        }
        Some(tree)
    }

    /// Every environment, chosen or not: a mistake in one is found before the day it is chosen.
    fn check_environments(&mut self, environments: Option<&Node>) {
        let Some(environments) = environments.filter(|e| !e.is_null()) else { return };
        let place = Place::root();
        if !matches!(environments.kind, Kind::Map(_)) {
            let d = Diagnostic::error("wrong-type", format!("`environments` is a mapping, found {}", environments.what()));
            self.diagnostics.push(d.at(&environments.span.first_line()).docs(format!("{DOCS}project.md#environments")));
        }
        for entry in environments.entries() {
            if !build::is_plain_name(&entry.key) {
                let d = Diagnostic::error("bad-name", format!("`{}` cannot be an environment's name", entry.key)).at(&entry.key_span);
                self.diagnostics.push(d.help("letters, digits, `_`, `-` and `.`").docs(format!("{DOCS}project.md#environments")));
            }
            if !entry.value.is_null() {
                self.check_environment(&entry.value, &place.key("environments", &entry.key_span).key(&entry.key, &entry.key_span));
            }
        }
    }

    fn check_environment(&mut self, node: &Node, place: &Place) {
        let project = project_schema(self.registry);
        let schema = environment_schema(&project);
        let mut walk = Conform::partial(&schema);
        walk.walk(node, &schema, place);
        self.diagnostics.append(&mut walk.found);
        if let Some(vars) = node.get("vars") {
            variables::check_names(vars, &mut self.diagnostics);
            self.declared.extend(vars.entries().iter().map(|e| e.key.clone()));
        }
    }

    fn unknown_environment(&mut self, env: &str, found: &Found, environments: Option<&Node>, file: &Arc<SourceFile>) {
        let mut names: BTreeSet<String> = environments.iter().flat_map(|e| e.entries()).map(|e| e.key.clone()).collect();
        names.extend(found.environment_names());
        let help = suggest::help(env, names.iter().map(String::as_str), "the environments are")
            .unwrap_or_else(|| format!("write it under `environments:` in {}, or as `sluis.{env}.yaml` beside it", file.shown()));
        let d = Diagnostic::error("unknown-environment", format!("there is no environment `{env}`")).help(help);
        self.diagnostics.push(d.docs(format!("{DOCS}project.md#environments")));
    }

    fn project(&mut self, found: &Found, file: &Path, tree: &Node) -> Option<Project> {
        let mut tree = tree.clone();
        let vars = take(&mut tree, "vars");
        if let Some(vars) = &vars {
            variables::check_names(vars, &mut self.diagnostics);
            self.declared.extend(vars.entries().iter().map(|e| e.key.clone()));
        }
        let variables = Variables::new(vars.as_ref(), &self.options.vars);
        // A default is looked at in each pipeline, where all its variables are known.
        let defaults = take(&mut tree, "defaults");
        let mut whole = variables.expand(&tree, &mut self.diagnostics);
        self.used.extend(variables.used());
        put_back(&mut whole, "vars", vars);
        put_back(&mut whole, "defaults", defaults);
        project::build(&found.dir, file, self.options.env.as_deref(), &whole, self.registry, &mut self.diagnostics)
    }

    fn pipeline(&mut self, path: &Path, project: Option<&Node>, around: &Surroundings<'_>) -> Option<Built> {
        let file = read(path, &mut self.diagnostics)?;
        let tree = crate::yaml::parse(&file, &mut self.diagnostics)?;
        project::hide_written_secrets(&tree);
        if tree.is_null() {
            let d = Diagnostic::error("empty-file", "there is nothing in this file").at(&Span::new(&file, file.line(1)));
            let help = "a pipeline has at least `from:` and `into:`";
            self.diagnostics.push(d.help(help).docs(format!("{DOCS}pipeline.md")));
            return None;
        }
        let mut tree = match project.and_then(|p| p.get("defaults")) {
            Some(defaults) if matches!(tree.kind, Kind::Map(_)) => merge(&known_defaults(defaults), &tree, &pipeline_rule),
            _ => tree,
        };
        let vars = take(&mut tree, "vars");
        if let Some(vars) = &vars {
            variables::check_names(vars, &mut self.diagnostics);
        }
        let layers = project.and_then(|p| p.get("vars")).into_iter().chain(vars.as_ref());
        let variables = Variables::new(layers, &self.options.vars);
        self.declared.extend(vars.iter().flat_map(|v| v.entries()).map(|e| e.key.clone()));
        let mut whole = variables.expand(&tree, &mut self.diagnostics);
        self.used.extend(variables.used());
        put_back(&mut whole, "vars", vars);
        Some(build::build(around, &file, &whole, &mut self.diagnostics))
    }

    /// Two pipelines with one name would share a ledger: neither is usable.
    fn names(&mut self, built: &mut [(PathBuf, Built)]) {
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        for i in 0..built.len() {
            // Names become file names, and some file systems take upper and lower case for the same.
            let name = built[i].1.name.as_str().to_lowercase();
            let Some(&have) = first.get(&name) else {
                first.insert(name, i);
                continue;
            };
            let (other, one) = (&built[have].1, &built[i].1);
            let d = Diagnostic::error("duplicate-pipeline", format!("two pipelines are called `{}`", one.name));
            let d = d.at(&one.name_span).label("this one").also(&other.name_span, "and this one");
            self.diagnostics.push(d.help("rename one of the files, or give one another `name:`").docs(build::docs("name")));
            built[have].1.pipeline = None;
            built[i].1.pipeline = None;
        }
    }

    /// A lone pipeline's namesake in the same folder would share its ledger: it is not usable.
    fn namesakes(&mut self, beside: &[PathBuf], built: &mut [(PathBuf, Built)]) {
        let Some((_, one)) = built.first_mut() else { return };
        for path in beside {
            // What is wrong with other files is said when they are asked for.
            let mut ignored = Vec::new();
            let Some(file) = read(path, &mut ignored) else { continue };
            let Some(tree) = crate::yaml::parse(&file, &mut ignored).filter(|t| t.get("from").is_some()) else { continue };
            let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            let (name, span) = match tree.get("name").and_then(|n| Some((n.text()?.value.clone(), n.span.clone()))) {
                Some(given) => given,
                None => (stem, Span::new(&file, file.line(1))),
            };
            if name.to_lowercase() == one.name.as_str().to_lowercase() {
                let message =
                    format!("two pipelines in this folder are called `{}`: they would share what is known of their files in `.sluis`", one.name);
                let d = Diagnostic::error("duplicate-pipeline", message).at(&one.name_span).label("this one").also(&span, "and this one");
                self.diagnostics.push(d.help("rename one of the files, or give one another `name:`").docs(build::docs("name")));
                one.pipeline = None;
            }
        }
    }

    /// `after` must name pipelines that are there, and not come back to itself.
    fn circles(&mut self, built: &[(PathBuf, Built)]) {
        let all: BTreeMap<&str, &Built> = built.iter().map(|(_, b)| (b.name.as_str(), b)).collect();
        for (_, one) in built {
            for (other, span) in &one.after {
                if !all.contains_key(other.as_str()) {
                    let names = all.keys().copied().filter(|n| *n != one.name.as_str());
                    let help = suggest::help(other.as_str(), names, "the pipelines are").unwrap_or_else(|| "the project has no other".into());
                    let d = Diagnostic::error("unknown-pipeline", format!("there is no pipeline `{other}` to run after")).at(span).help(help);
                    self.diagnostics.push(d.docs(build::docs("when")));
                }
            }
            let mut seen: BTreeSet<&str> = BTreeSet::new();
            let mut next: Vec<&str> = one.after.iter().map(|(n, _)| n.as_str()).collect();
            while let Some(name) = next.pop() {
                if name == one.name.as_str() {
                    let d = Diagnostic::error("pipeline-circle", format!("`{name}` would run after itself")).at(&one.after[0].1);
                    self.diagnostics.push(d.help("break the circle: let one of them run at a time of its own").docs(build::docs("when")));
                    break;
                }
                if seen.insert(name) {
                    next.extend(all.get(name).iter().flat_map(|b| b.after.iter()).map(|(n, _)| n.as_str()));
                }
            }
        }
    }

    /// A `--var` that nobody knows is a slip.
    fn unused_variables(&mut self) {
        for (name, _) in &self.options.vars {
            if !self.used.contains(name) && !self.declared.contains(name) {
                let names: BTreeSet<&str> = self.used.iter().chain(&self.declared).map(String::as_str).collect();
                let help = suggest::help(name, names, "the variables are").unwrap_or_else(|| "no file uses a variable".into());
                let d = Diagnostic::error("unknown-variable", format!("`--var {name}`: there is no variable `{name}`"));
                self.diagnostics.push(d.help(help).docs(format!("{DOCS}project.md#vars")));
            }
        }
    }
}

/// A connection is of one kind: another kind replaces it whole.
fn project_rule(path: &[&str]) -> Merge {
    match path {
        ["connections", _] => Merge::Kind,
        ["defaults", "rejects" | "when" | "alert" | "contract"] => Merge::Replace,
        _ => Merge::Keys,
    }
}

/// What a pipeline says of where, when and who is said whole; limits and settings are filled up.
fn pipeline_rule(path: &[&str]) -> Merge {
    match path {
        [] | ["limits" | "settings"] => Merge::Keys,
        _ => Merge::Replace,
    }
}

/// The defaults that pipelines take; others are mistakes of the project file, and said there.
fn known_defaults(defaults: &Node) -> Node {
    const KEYS: [&str; 7] = ["rejects", "contract", "when", "alert", "fail_if", "limits", "settings"];
    let entries: Vec<Entry> = defaults.entries().iter().filter(|e| KEYS.contains(&e.key.as_str())).cloned().collect();
    Node { kind: Kind::Map(entries), span: defaults.span.clone() }
}

fn take(node: &mut Node, key: &str) -> Option<Node> {
    let Kind::Map(entries) = &mut node.kind else { return None };
    let at = entries.iter().position(|e| e.key == key)?;
    Some(entries.remove(at).value)
}

fn put_back(node: &mut Node, key: &str, value: Option<Node>) {
    if let (Kind::Map(entries), Some(value)) = (&mut node.kind, value) {
        let key_span = value.span.clone();
        entries.push(Entry { key: key.to_owned(), key_span, value });
    }
}

/// By file and line, each once: a default's mistake is found in the project's file and in every pipeline.
fn in_order(diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut out: Vec<Diagnostic> = Vec::new();
    let plain = |d: &Diagnostic| d.message.replace("`defaults.", "`");
    for d in diagnostics {
        if !out.iter().any(|have| have.code == d.code && have.span == d.span && plain(have) == plain(&d)) {
            out.push(d);
        }
    }
    out.sort_by_cached_key(|d| d.span.as_ref().map(|s| (s.file().path().to_owned(), s.range().start)));
    out
}
