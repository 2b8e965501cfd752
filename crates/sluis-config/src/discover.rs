//! What belongs to a path: the project's folder and file, the pipelines' files, and which of them were asked for.
//!
//! Deliberately not here: reading what is in them.

use std::path::{Path, PathBuf};

use crate::diagnostic::Diagnostic;
use crate::read::shown;
use crate::schema::DOCS;
use crate::suggest;

/// Folders below `pipelines/` are followed so deep.
const DEPTH: usize = 16;
/// Files looked at beside a pipeline without a project, at most.
const BESIDE: usize = 1000;

/// What was asked for.
pub(crate) enum Asked {
    All,
    File(PathBuf),
    Below(PathBuf),
}

/// What is there.
pub(crate) struct Found {
    /// The project's folder, absolute.
    pub dir: PathBuf,
    pub project_file: Option<PathBuf>,
    /// In order of their paths.
    pub pipelines: Vec<PathBuf>,
    /// Files beside a pipeline that is a project by itself: it shares its state folder with those of them that are pipelines too.
    pub beside: Vec<PathBuf>,
    pub asked: Asked,
}

type Stop = Box<Diagnostic>;

/// Looks at a path.
pub(crate) fn discover(path: &Path) -> Result<Found, Stop> {
    let absolute = std::path::absolute(path).map_err(|e| cannot("look at", path, e))?;
    let absolute = without_dots(&absolute);
    let meta = std::fs::metadata(&absolute)
        .map_err(|e| if e.kind() == std::io::ErrorKind::NotFound { missing(&absolute) } else { cannot("look at", &absolute, e) })?;
    if meta.is_dir() {
        return folder(&absolute);
    }
    let parent = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    if is_project_file(&absolute) || is_environment_file(&absolute) {
        return folder(&parent);
    }
    match root_above(&parent)? {
        Some((dir, file)) => {
            let mut pipelines = pipelines_of(&dir)?;
            if !pipelines.contains(&absolute) {
                pipelines.push(absolute.clone());
            }
            Ok(Found { dir, project_file: Some(file), pipelines, beside: Vec::new(), asked: Asked::File(absolute) })
        }
        None => {
            // A folder that cannot be listed keeps nobody from its files.
            let all = list(&parent).unwrap_or_default();
            let beside = all.into_iter().filter(|p| *p != absolute && is_yaml(p) && p.is_file()).take(BESIDE).collect();
            Ok(Found { dir: parent, project_file: None, pipelines: vec![absolute.clone()], beside, asked: Asked::File(absolute) })
        }
    }
}

fn folder(dir: &Path) -> Result<Found, Stop> {
    match root_above(dir)? {
        Some((root, file)) => {
            let pipelines = pipelines_of(&root)?;
            let asked = if root == dir { Asked::All } else { Asked::Below(dir.to_owned()) };
            Ok(Found { dir: root, project_file: Some(file), pipelines, beside: Vec::new(), asked })
        }
        None => Ok(Found { dir: dir.to_owned(), project_file: None, pipelines: pipelines_of(dir)?, beside: Vec::new(), asked: Asked::All }),
    }
}

impl Found {
    /// There is not one pipeline.
    pub fn nothing_here(&self) -> Diagnostic {
        let d = Diagnostic::warning("no-pipelines", format!("there are no pipelines in {}", shown(&self.dir)));
        d.help("a pipeline is a YAML file in the folder `pipelines/`; `sluis init` makes a first one").docs(format!("{DOCS}pipeline.md"))
    }
    /// `sluis.NAME.yaml` beside the project file.
    pub fn environment_file(&self, env: &str) -> Option<PathBuf> {
        // A name with a separator in it would lead elsewhere.
        let names = self.environment_names();
        let known = names.iter().any(|n| n == env);
        ["yaml", "yml"].iter().map(|end| self.dir.join(format!("sluis.{env}.{end}"))).find(|p| known && p.is_file())
    }
    /// The environments that have a file of their own.
    pub fn environment_names(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return Vec::new() };
        let mut names: Vec<String> = entries.flatten().filter_map(|e| environment_of(&e.path())).collect();
        names.sort();
        names
    }
}

/// The nearest folder from here up that has a project file.
fn root_above(dir: &Path) -> Result<Option<(PathBuf, PathBuf)>, Stop> {
    for dir in dir.ancestors() {
        let (yaml, yml) = (dir.join("sluis.yaml"), dir.join("sluis.yml"));
        match (yaml.is_file(), yml.is_file()) {
            (true, true) => {
                let d = Diagnostic::error("two-projects", format!("there are two project files in {}", shown(dir)));
                return Err(Box::new(d.help("keep `sluis.yaml` and remove `sluis.yml`").docs(format!("{DOCS}project.md"))));
            }
            (true, false) => return Ok(Some((dir.to_owned(), yaml))),
            (false, true) => return Ok(Some((dir.to_owned(), yml))),
            (false, false) => {}
        }
    }
    Ok(None)
}

/// The pipelines' files of a project: all below `pipelines/`; without that folder, those beside the project file.
fn pipelines_of(dir: &Path) -> Result<Vec<PathBuf>, Stop> {
    let mut out = Vec::new();
    let below = dir.join("pipelines");
    if below.is_dir() {
        walk(&below, 0, &mut out)?;
    } else {
        for entry in list(dir)? {
            if entry.is_file() && is_yaml(&entry) && !is_project_file(&entry) && !is_environment_file(&entry) {
                out.push(entry);
            }
        }
    }
    out.sort();
    Ok(out)
}

fn walk(dir: &Path, depth: usize, out: &mut Vec<PathBuf>) -> Result<(), Stop> {
    for path in list(dir)? {
        if path.is_dir() {
            if depth < DEPTH {
                walk(&path, depth + 1, out)?;
            }
        } else if is_yaml(&path) {
            out.push(path);
        }
    }
    Ok(())
}

/// What is in a folder, but for hidden names.
fn list(dir: &Path) -> Result<Vec<PathBuf>, Stop> {
    let entries = std::fs::read_dir(dir).map_err(|e| cannot("list", dir, e))?;
    let paths = entries.flatten().map(|e| e.path());
    Ok(paths.filter(|p| !crate::build::file_name(p).starts_with('.')).collect())
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yaml" || e == "yml")
}
fn is_project_file(path: &Path) -> bool {
    matches!(crate::build::file_name(path).as_str(), "sluis.yaml" | "sluis.yml")
}
fn is_environment_file(path: &Path) -> bool {
    environment_of(path).is_some()
}
/// `prod` of `sluis.prod.yaml`.
fn environment_of(path: &Path) -> Option<String> {
    let name = crate::build::file_name(path);
    let name = name.strip_prefix("sluis.")?;
    let name = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml"))?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// `a/./b/../c` to `a/c`, so that files are compared by one name. A folder that is a link keeps its name.
fn without_dots(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

fn cannot(what: &str, path: &Path, e: std::io::Error) -> Stop {
    let e = sluis_core::Error::io(what, shown(path), e);
    let cause = e.causes().into_iter().next().unwrap_or_default();
    Box::new(Diagnostic::error("cannot-read", format!("{}: {cause}", e.message())).maybe_help(e.hint_text().map(str::to_owned)))
}

fn missing(path: &Path) -> Stop {
    let d = Diagnostic::error("not-found", format!("there is no file or folder {}", shown(path)));
    let beside: Vec<String> = path.parent().and_then(|p| list(p).ok()).unwrap_or_default().iter().map(|p| crate::build::file_name(p)).collect();
    let near = suggest::nearest(&crate::build::file_name(path), beside.iter().map(String::as_str));
    Box::new(d.maybe_help(near.map(|n| format!("did you mean `{n}`?"))))
}
