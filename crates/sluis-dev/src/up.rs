//! `up`: every service that is asked for, and those it needs, ready. What runs already is left alone; what is half there is repaired.
//!
//! Services start side by side, each when what it needs is ready. Deliberately not here: one service's steps ([`crate::start`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sluis_core::{Error, ErrorKind, Result};

use crate::catalog::USUAL;
use crate::cluster::{Cluster, Service, State, ask};
use crate::tell::{Event, Tell};
use crate::{home, ports, processes, start, stop};

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Up {
    /// As in `kafka:3`; none: those the cluster has, else [`USUAL`].
    pub services: Vec<String>,
    /// One realm, one authority of certificates, all services speaking them. Decided when a cluster is made.
    pub secure: bool,
    /// Empties the cluster first.
    pub fresh: bool,
    /// Brings everything down if one service fails.
    pub stop_on_failure: bool,
}

/// What it came to.
#[derive(Debug)]
pub struct Brought {
    /// Ready, with the time each took, and whether it ran before.
    pub ready: Vec<(String, Duration, bool)>,
    /// Not ready, and why.
    pub failed: Vec<(String, Error)>,
    /// The most memory the ready ones are meant to take together, in bytes.
    pub budget: u64,
    pub took: Duration,
}

/// Everything that threads of one `up` share.
pub(crate) struct Session<'a> {
    pub cluster: &'a Cluster,
    pub tell: &'a dyn Tell,
    state: Mutex<State>,
    /// `true`: ready; `false`: failed.
    ended: Mutex<BTreeMap<String, bool>>,
    changed: Condvar,
}

impl Session<'_> {
    /// Whether a step need not run again.
    pub fn is_done(&self, service: &str, step: &str) -> bool {
        held(&self.state).services.get(service).is_some_and(|s| s.done.contains(step))
    }

    /// Remembers that a step need not run again.
    pub fn done(&self, service: &str, step: &str) -> Result<()> {
        let mut state = held(&self.state);
        state.services.entry(service.to_owned()).or_default().done.insert(step.to_owned());
        self.cluster.save(&state)
    }

    fn end(&self, service: &str, good: bool) {
        held(&self.ended).insert(service.to_owned(), good);
        self.changed.notify_all();
    }

    /// Waits for a service; whether it is ready.
    fn wait(&self, service: &str) -> bool {
        let mut ended = held(&self.ended);
        loop {
            if let Some(good) = ended.get(service) {
                return *good;
            }
            ended = self.changed.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    /// Brings services up and waits until they answer.
    ///
    /// # Errors
    /// If what is asked for cannot be had at all. What single services came to is in the answer.
    pub fn up(&self, up: &Up, tell: &dyn Tell) -> Result<Brought> {
        let begun = Instant::now();
        let lock = self.lock()?;
        if up.fresh {
            stop::all(self, tell)?;
            self.clear()?;
        }
        let known = self.state()?;
        if known.is_none() && !self.found().is_empty() {
            tell.tell("", Event::Note("processes of a cluster of which nothing is written down are ended".into()));
            stop::all(self, tell)?;
            self.clear()?;
        }
        let mut state = known.clone().unwrap_or_else(|| State { secure: up.secure, ..State::default() });
        if up.secure && !state.secure {
            return Err(Error::config("the cluster was made without --secure")
                .hint("`sluis dev up --secure --fresh` begins anew (its data goes), `--cluster NAME` makes another cluster"));
        }
        let unnamed = up.services.is_empty() && state.services.is_empty();
        let mut wanted = self.wanted(up, &mut state)?;
        let all = self.services(&mut state)?;
        // Nobody asked for it by name.
        for refused in all.iter().filter(|s| unnamed && !s.said.refuse.is_empty()) {
            tell.tell(&refused.name, Event::Note(format!("left out: {}", refused.said.refuse)));
            wanted.remove(&refused.name);
            state.services.remove(&refused.name);
        }
        let services = needed(all, &wanted);
        self.save(&state)?;
        let session = Session { cluster: self, tell, state: Mutex::new(state), ended: Mutex::default(), changed: Condvar::new() };
        let mut brought = side_by_side(&session, &services);
        brought.took = begun.elapsed();
        if up.stop_on_failure && !brought.failed.is_empty() {
            stop::all(self, tell)?;
        }
        drop(lock);
        Ok(brought)
    }

    fn wanted(&self, up: &Up, state: &mut State) -> Result<BTreeSet<String>> {
        if !up.services.is_empty() {
            return up.services.iter().map(|text| ask(state, text)).collect();
        }
        if state.services.is_empty() {
            return USUAL.iter().map(|name| ask(state, name)).collect();
        }
        Ok(state.services.keys().cloned().collect())
    }

    /// Empties the cluster's folder; nothing of it may run.
    pub(crate) fn clear(&self) -> Result<()> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for path in entries.map(|e| e.path()).filter(|p| !p.ends_with(".lock")) {
            let gone = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            gone.map_err(|e| Error::io("remove", path.display(), e))?;
        }
        Ok(())
    }
}

/// Those wanted and what they need.
fn needed(all: Vec<Service>, wanted: &BTreeSet<String>) -> Vec<Service> {
    let mut names = wanted.clone();
    // Each comes after what it needs, so once from the end.
    for service in all.iter().rev() {
        if names.contains(&service.name) {
            names.extend(service.said.needs.iter().cloned());
        }
    }
    all.into_iter().filter(|s| names.contains(&s.name)).collect()
}

fn side_by_side(session: &Session<'_>, services: &[Service]) -> Brought {
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for service in services {
            let results = &results;
            scope.spawn(move || {
                let begun = Instant::now();
                let result = one(session, service);
                match &result {
                    Ok(started) => session.tell.tell(&service.name, Event::Up { took: begun.elapsed(), already: !started }),
                    Err(e) => session.tell.tell(&service.name, Event::Failed { why: e.to_string() }),
                }
                session.end(&service.name, result.is_ok());
                held(results).push((service.name.clone(), begun.elapsed(), result));
            });
        }
    });
    let mut brought = Brought { ready: Vec::new(), failed: Vec::new(), budget: 0, took: Duration::ZERO };
    for (name, took, result) in results.into_inner().unwrap_or_else(PoisonError::into_inner) {
        match result {
            Ok(started) => brought.ready.push((name, took, !started)),
            Err(e) => brought.failed.push((name, e)),
        }
    }
    let good = |s: &&Service| brought.ready.iter().any(|(name, _, _)| *name == s.name);
    brought.budget = services.iter().filter(good).flat_map(|s| &s.said.processes).map(|p| p.memory).sum();
    // A service that failed by itself explains those that failed for want of it.
    brought.failed.sort_by_key(|(name, e)| (e.kind() == ErrorKind::NotFound && e.message().starts_with("not started"), name.clone()));
    brought
}

/// Whether anything had to be started.
fn one(session: &Session<'_>, service: &Service) -> Result<bool> {
    if !service.said.refuse.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, format!("{} is not to be had here: {}", service.name, service.said.refuse)));
    }
    start::packages(session, service)?;
    for need in &service.said.needs {
        if !session.wait(need) {
            return Err(Error::not_found(format!("not started: it needs {need}, which failed")));
        }
    }
    let started = start::service(session, service).inspect_err(|_| half_started(session, service))?;
    loopback_only(session.cluster, service)?;
    Ok(started)
}

/// A process that is up while its service is not is kept: its log and its state tell why. Only orphans go.
fn half_started(session: &Session<'_>, service: &Service) {
    let orphans = || {
        let found = session.cluster.found();
        let led: BTreeSet<String> = processes::running(&found).into_iter().map(str::to_owned).collect();
        let ours = format!("{}/", service.name);
        found.into_iter().filter(|f| f.role.starts_with(&ours) && !led.contains(&f.role)).collect()
    };
    // The error that brought us here is the one to tell.
    let _ = processes::kill_all(orphans);
}

/// Nothing of a development cluster can be reached from outside: what listens elsewhere is stopped.
fn loopback_only(cluster: &Cluster, service: &Service) -> Result<()> {
    let ours = format!("{}/", service.name);
    let found = || cluster.found().into_iter().filter(|f| f.role.starts_with(&ours)).collect::<Vec<_>>();
    let pids: Vec<u32> = found().iter().map(|f| f.pid).collect();
    let strangers: Vec<String> = ports::listeners(&pids).iter().filter(|l| !l.address.is_loopback()).map(ToString::to_string).collect();
    if strangers.is_empty() {
        return Ok(());
    }
    processes::kill_all(found)?;
    Err(Error::internal(format!("{} listened beyond loopback and was stopped: {}", service.name, strangers.join(", "))))
}

/// Writes what a service's templates say.
pub(crate) fn files(cluster: &Cluster, service: &Service) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    home::folder(&service.folder)?;
    for folder in &service.said.folders {
        home::folder(&service.folder.join(folder))?;
    }
    for (file, text) in &service.files {
        let path = match file.to.strip_prefix("client/") {
            Some(rest) => cluster.client_folder().join(rest),
            None => service.folder.join(&file.to),
        };
        if let Some(parent) = path.parent() {
            home::folder(parent)?;
        }
        home::write(&path, text.as_bytes())?;
        let mode = u32::from_str_radix(&file.mode, 8).map_err(|_| Error::internal(format!("`{}` is no mode of a file", file.mode)))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).map_err(|e| Error::io("set the mode of", path.display(), e))?;
    }
    Ok(())
}
