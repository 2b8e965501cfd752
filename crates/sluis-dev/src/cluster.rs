//! A cluster: its folder, what is written down of it, and its services as their descriptions say for it.
//!
//! Below the folder: `state.json` (variants, ports, steps that are done), `run/` (who the processes are), `logs/`, `client/` (what clients need),
//! and a folder per service. Deliberately not here: who runs (`/proc` says that, see [`crate::processes`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sluis_core::{Error, ErrorKind, Result};

use crate::description::{self, Description, FileSpec};
use crate::home::{self, Home};
use crate::processes::{self, Found};
use crate::render::{Ports, World};
use crate::{catalog, packages};

const FORMAT: u32 = 1;

/// A cluster by its folder, whether it is there or not.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub(crate) home: Home,
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
}

/// What is written down.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub format: u32,
    pub secure: bool,
    pub services: BTreeMap<String, Known>,
    pub ports: Ports,
}

/// What is written down of a service.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Known {
    pub variant: String,
    /// Steps that need not run again.
    pub done: BTreeSet<String>,
}

/// A service of a cluster, rendered.
pub(crate) struct Service {
    pub name: String,
    pub variant: String,
    pub said: Description,
    /// Files and their contents.
    pub files: Vec<(FileSpec, String)>,
    /// (service, package)
    pub packages: BTreeSet<(String, String)>,
    pub ports: BTreeMap<String, u16>,
    pub folder: PathBuf,
    home: Home,
}

/// What the programs of a service run on.
#[derive(Debug, Default)]
pub(crate) struct Ground {
    /// Where programs are looked for first.
    pub path: Vec<PathBuf>,
    /// What the description says, and the search paths of unpacked packages.
    pub environment: BTreeMap<String, String>,
}

impl Service {
    /// Once its packages are there.
    pub fn ground(&self) -> Result<Ground> {
        let mut ground = Ground { path: Vec::new(), environment: self.said.environment.clone() };
        let mut libraries = Vec::new();
        for (service, name) in &self.packages {
            let (programs, more) = packages::search(&self.home, service, name)?;
            ground.path.extend(programs);
            libraries.extend(more);
        }
        let mut search = |name: &str, folders: &[PathBuf]| {
            let was = std::env::var_os(name).unwrap_or_default();
            let all = folders.iter().cloned().chain(std::env::split_paths(&was).filter(|p| !p.as_os_str().is_empty()));
            if let (false, Ok(joined)) = (folders.is_empty(), std::env::join_paths(all)) {
                ground.environment.entry(name.to_owned()).or_insert_with(|| joined.to_string_lossy().into_owned());
            }
        };
        search("LD_LIBRARY_PATH", &libraries);
        search("PATH", &ground.path.clone());
        Ok(ground)
    }
    /// `service/process`, as processes are marked.
    pub fn role(&self, process: &str) -> String {
        format!("{}/{process}", self.name)
    }
}

impl Cluster {
    /// The user's cluster of this name.
    ///
    /// # Errors
    /// If it is no name for a folder.
    pub fn named(home: &Home, name: &str) -> Result<Cluster> {
        let good = !name.is_empty() && name.len() <= 40 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !good {
            return Err(Error::config(format!("`{name}` is no name for a cluster")).hint("lower-case letters, digits and `-`, at most 40"));
        }
        Ok(Cluster { home: home.clone(), name: name.into(), folder: home.clusters().join(name) })
    }

    /// The cluster in a folder of your choice; the folder is made.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn at(home: &Home, folder: &Path) -> Result<Cluster> {
        home::folder(folder)?;
        let folder = folder.canonicalize().map_err(|e| Error::io("find", folder.display(), e))?;
        let name = folder.file_name().map_or("cluster".into(), |n| n.to_string_lossy().into_owned());
        Ok(Cluster { home: home.clone(), name, folder })
    }

    /// Names of the clusters that are there, sorted.
    pub fn all(home: &Home) -> Vec<String> {
        let entries = std::fs::read_dir(home.clusters()).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).filter(|n| !n.starts_with('.')).collect();
        names.sort();
        names
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether anything was ever brought up in it.
    pub fn exists(&self) -> bool {
        self.folder.join("state.json").is_file()
    }

    /// A folder that belongs to clients: their configuration.
    pub fn client_folder(&self) -> PathBuf {
        self.folder.join("client")
    }

    pub(crate) fn log(&self, role: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{}.log", role.replace('/', ".")))
    }

    pub(crate) fn found(&self) -> Vec<Found> {
        processes::find(&self.folder)
    }

    /// Held while something is changed; released with the value.
    pub(crate) fn lock(&self) -> Result<File> {
        home::folder(&self.folder)?;
        let path = self.folder.join(".lock");
        let file = File::create(&path).map_err(|e| Error::io("write", path.display(), e))?;
        file.lock().map_err(|e| Error::io("lock", path.display(), e))?;
        Ok(file)
    }

    /// `None`: nothing is written down.
    pub(crate) fn state(&self) -> Result<Option<State>> {
        let path = self.folder.join("state.json");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", path.display(), e)),
        };
        let broken = || {
            Error::new(ErrorKind::CorruptInput, "what is written down of the cluster cannot be read")
                .context("file", path.display())
                .hint("`sluis dev up --fresh` makes the cluster anew; its data goes, the downloads stay")
        };
        let state: State = serde_json::from_slice(&bytes).map_err(|e| broken().source(e))?;
        if state.format == FORMAT { Ok(Some(state)) } else { Err(broken().context("format", state.format)) }
    }

    pub(crate) fn save(&self, state: &State) -> Result<()> {
        let mut state = state.clone();
        state.format = FORMAT;
        let text = serde_json::to_vec_pretty(&state).map_err(|e| Error::internal(format!("a state without JSON: {e}")))?;
        home::write(&self.folder.join("state.json"), &text)
    }

    /// The services of a state, and those they need, rendered; each after what it needs. New ports and needs are put into the state.
    pub(crate) fn services(&self, state: &mut State) -> Result<Vec<Service>> {
        // What a service needs may depend on the others, so until nothing is added.
        loop {
            let world = self.world(state);
            let mut needs = BTreeSet::new();
            for (name, known) in &mut state.services {
                let said = description::parse(name, &world.render(name, &known.variant, "service.toml")?)?;
                if known.variant.is_empty() {
                    known.variant = said.variants.first().cloned().unwrap_or_default();
                } else if !said.variants.contains(&known.variant) {
                    return Err(no_variant(name, &known.variant, &said.variants));
                }
                needs.extend(said.needs);
            }
            state.ports = world.ports();
            let before = state.services.len();
            for need in needs {
                state.services.entry(need).or_default();
            }
            if state.services.len() == before && state.services.iter().all(|(_, k)| !k.variant.is_empty() || before > 0) {
                break;
            }
        }
        let world = self.world(state);
        let mut all = Vec::new();
        for (name, known) in &state.services {
            world.mentioned();
            let said = description::parse(name, &world.render(name, &known.variant, "service.toml")?)?;
            let mut files = Vec::new();
            for file in &said.files {
                files.push((file.clone(), world.render_with(name, &known.variant, &file.from, &file.values)?));
            }
            let mut packages = world.mentioned();
            packages.extend(said.packages.iter().map(|p| {
                let (service, package) = p.split_once('/').unwrap_or((name, p));
                (service.to_owned(), package.to_owned())
            }));
            let folder = world.dir(name);
            all.push(Service {
                name: name.clone(),
                variant: known.variant.clone(),
                said,
                files,
                packages,
                ports: BTreeMap::new(),
                folder,
                home: self.home.clone(),
            });
        }
        state.ports = world.ports();
        for service in &mut all {
            service.ports = state.ports.get(&service.name).cloned().unwrap_or_default();
        }
        ordered(all)
    }

    fn world(&self, state: &State) -> World {
        let services = state.services.iter().map(|(name, known)| (name.clone(), known.variant.clone())).collect();
        World::new(&self.home, &self.folder, state.secure, services, state.ports.clone(), self.foreign())
    }

    /// Ports that other clusters of the user have chosen.
    fn foreign(&self) -> BTreeSet<u16> {
        let mut ports = BTreeSet::new();
        for name in Cluster::all(&self.home) {
            let folder = self.home.clusters().join(&name);
            if folder == self.folder {
                continue;
            }
            let other = Cluster { home: self.home.clone(), name, folder };
            if let Ok(Some(state)) = other.state() {
                ports.extend(state.ports.values().flat_map(|p| p.values().copied()));
            }
        }
        ports
    }
}

fn no_variant(name: &str, variant: &str, variants: &[String]) -> Error {
    let error = Error::config(format!("the service {name} has no variant `{variant}`"));
    if variants.is_empty() {
        return error.hint(format!("write `{name}` alone"));
    }
    error.hint(format!("its variants are {}", variants.iter().map(|v| format!("{name}:{v}")).collect::<Vec<_>>().join(", ")))
}

/// Each after what it needs.
fn ordered(mut left: Vec<Service>) -> Result<Vec<Service>> {
    let mut out: Vec<Service> = Vec::new();
    while !left.is_empty() {
        let at = left.iter().position(|s| s.said.needs.iter().all(|n| out.iter().any(|o| o.name == *n)));
        let Some(at) = at else {
            let names = left.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Error::internal(format!("services need each other in a circle: {names}")));
        };
        out.push(left.remove(at));
    }
    Ok(out)
}

/// The service asked for, as in `kafka:3`, put into a state.
pub(crate) fn ask(state: &mut State, text: &str) -> Result<String> {
    let (name, variant) = catalog::asked(text)?;
    let known = state.services.entry(name.clone()).or_default();
    if !variant.is_empty() && known.variant != variant {
        if !known.variant.is_empty() && !known.done.is_empty() {
            return Err(Error::config(format!("the cluster has {name}:{} with data in it", known.variant))
                .hint(format!("`sluis dev up --fresh {text}` begins anew (its data goes), `--cluster NAME` makes another cluster")));
        }
        known.variant = variant;
    }
    Ok(name)
}
