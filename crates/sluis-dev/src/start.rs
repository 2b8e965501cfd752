//! One service: its packages, files, steps and processes, until all of it answers.
//!
//! Guarantee: a process that dies is noticed at once and its last words are in the error. Deliberately not here: other services.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sluis_core::{Error, ErrorKind, Result};

use crate::cluster::{Cluster, Ground, Service};
use crate::description::{Process, Step};
use crate::probe::{Asker, is_costly};
use crate::processes::{self, Signal, Start};
use crate::run::{self, Run};
use crate::tell::Event;
use crate::up::{self, Session};
use crate::{home, packages, ports};

/// Of one question of a probe.
const ASK: Duration = Duration::from_secs(5);
/// How much of a log an error shows.
const TAIL: usize = 12;

/// Fetches what the service is made of.
pub(crate) fn packages(session: &Session<'_>, service: &Service) -> Result<()> {
    for (owner, name) in &service.packages {
        packages::ensure(&session.cluster.home, owner, name, session.tell)?;
    }
    if service.said.java { java().map(|_| ()) } else { Ok(()) }
}

/// Java is looked at once.
fn java() -> Result<String> {
    static JAVA: OnceLock<String> = OnceLock::new();
    if let Some(java) = JAVA.get() {
        return Ok(java.clone());
    }
    let found = run::java()?;
    Ok(JAVA.get_or_init(|| found).clone())
}

/// Starts what does not run and waits until everything answers; whether anything was started.
pub(crate) fn service(session: &Session<'_>, service: &Service) -> Result<bool> {
    let cluster = session.cluster;
    for folder in ["run", "logs", "client"] {
        home::folder(&cluster.folder.join(folder))?;
    }
    up::files(cluster, service)?;
    let one = One { session, service, ground: service.ground()? };
    let running = one.repair()?;
    let starts = service.said.processes.iter().any(|p| !running.contains(&p.name));
    if starts {
        one.ports_are_free()?;
    }
    for step in &service.said.prepare {
        one.step(step, "", starts)?;
    }
    one.processes(&running)?;
    for step in &service.said.after {
        one.step(step, "", starts)?;
    }
    Ok(starts)
}

struct One<'a> {
    session: &'a Session<'a>,
    service: &'a Service,
    ground: Ground,
}

impl One<'_> {
    /// Names of processes that run; those that were paused go on, orphans and steps of a start that was cut short are ended.
    fn repair(&self) -> Result<BTreeSet<String>> {
        let prefix = format!("{}/", self.service.name);
        let cluster = self.session.cluster;
        let ours = || cluster.found().into_iter().filter(|f| f.role.starts_with(&prefix)).collect::<Vec<_>>();
        let known: BTreeSet<String> = self.service.said.processes.iter().map(|p| self.service.role(&p.name)).collect();
        let found = ours();
        let led: BTreeSet<String> = processes::running(&found).into_iter().filter(|r| known.contains(*r)).map(str::to_owned).collect();
        if found.iter().any(|f| !led.contains(&f.role)) {
            self.session.tell.tell(&self.service.name, Event::Note("what an earlier start left half done is ended".into()));
            processes::kill_all(|| ours().into_iter().filter(|f| !led.contains(&f.role)).collect())?;
        }
        for paused in found.iter().filter(|f| f.state == 'T') {
            processes::send(paused, Signal::Resume)?;
        }
        Ok(led.iter().filter_map(|role| role.strip_prefix(&prefix)).map(str::to_owned).collect())
    }

    fn ports_are_free(&self) -> Result<()> {
        let prefix = format!("{}/", self.service.name);
        let found = self.session.cluster.found();
        let pids: Vec<u32> = found.iter().filter(|f| f.role.starts_with(&prefix)).map(|f| f.pid).collect();
        let held: BTreeSet<u16> = ports::listeners(&pids).iter().map(|l| l.port).collect();
        for (name, port) in &self.service.ports {
            if held.contains(port) || ports::is_free(*port) {
                continue;
            }
            let holder = ports::holder(*port).unwrap_or_else(|| "a process of another user".into());
            return Err(Error::new(ErrorKind::Conflict, format!("the port {port} ({}'s `{name}`) is taken by {holder}", self.service.name))
                .hint("end that process, or let the cluster choose other ports: `sluis dev up --fresh` (its data goes)"));
        }
        Ok(())
    }

    /// Runs a step if it has to run.
    fn step(&self, step: &Step, process: &str, starts: bool) -> Result<()> {
        let (session, service) = (self.session, self.service);
        let name = if process.is_empty() { step.name.clone() } else { format!("{process}-{}", step.name) };
        let wanted = if step.every { starts } else { !session.is_done(&service.name, &name) };
        let spared = || step.unless.as_ref().is_some_and(|p| self.asker().ask(p).is_ok());
        if !wanted || spared() {
            return Ok(());
        }
        session.tell.tell(&service.name, Event::Step { name: name.clone() });
        run_step(session.cluster, service, step, &name)?;
        if step.every { Ok(()) } else { session.done(&service.name, &name) }
    }

    /// Starts processes side by side, each when those it needs are ready.
    fn processes(&self, running: &BTreeSet<String>) -> Result<()> {
        let ready: Mutex<BTreeMap<&str, bool>> = Mutex::default();
        let changed = Condvar::new();
        let errors = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for process in &self.service.said.processes {
                let (ready, changed, errors) = (&ready, &changed, &errors);
                scope.spawn(move || {
                    let mut all = ready.lock().unwrap_or_else(PoisonError::into_inner);
                    let good = loop {
                        let states: Vec<Option<bool>> = process.needs.iter().map(|n| all.get(n.as_str()).copied()).collect();
                        if states.contains(&Some(false)) {
                            break false;
                        }
                        if states.iter().all(Option::is_some) {
                            break true;
                        }
                        all = changed.wait(all).unwrap_or_else(PoisonError::into_inner);
                    };
                    drop(all);
                    let result = if good { self.process(process, running.contains(&process.name)) } else { Ok(false) };
                    let good = *result.as_ref().unwrap_or(&false);
                    if let Err(e) = result {
                        errors.lock().unwrap_or_else(PoisonError::into_inner).push(e);
                    }
                    ready.lock().unwrap_or_else(PoisonError::into_inner).insert(&process.name, good);
                    changed.notify_all();
                });
            }
        });
        match errors.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().next() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn process(&self, process: &Process, running: bool) -> Result<bool> {
        let begun = Instant::now();
        let mut ended = None;
        if !running {
            for step in &process.prepare {
                self.step(step, &process.name, true)?;
            }
            self.session.tell.tell(&self.service.name, Event::Started { process: process.name.clone() });
            ended = Some(spawn(self.session.cluster, self.service, process, &self.ground)?);
        }
        self.wait(process, ended.as_deref())?;
        self.session.tell.tell(&self.service.name, Event::Ready { process: process.name.clone(), took: begun.elapsed() });
        Ok(true)
    }

    /// Until it answers, dies, or has taken too long.
    fn wait(&self, process: &Process, ended: Option<&OnceLock<ExitStatus>>) -> Result<()> {
        let role = self.service.role(&process.name);
        let asker = self.asker();
        let end = Instant::now() + process.timeout;
        let pause = if process.ready.iter().any(is_costly) { 300 } else { 50 };
        loop {
            let answer = asker.all(&process.ready);
            let dead = match ended {
                Some(ended) => ended.get().is_some(),
                None => !processes::running(&self.session.cluster.found()).contains(role.as_str()),
            };
            if dead {
                let how = ended.and_then(OnceLock::get).map_or("it ended".into(), ToString::to_string);
                return Err(self.with_log(&role, Error::new(ErrorKind::Unavailable, format!("{role} died before it was ready ({how})"))));
            }
            let Err(why) = answer else { return Ok(()) };
            if Instant::now() > end {
                let error = Error::new(ErrorKind::Unavailable, format!("{role} is not ready after {} s: {why}", process.timeout.as_secs()));
                return Err(self.with_log(&role, error));
            }
            std::thread::sleep(Duration::from_millis(pause)); // polls
        }
    }

    fn with_log(&self, role: &str, error: Error) -> Error {
        with_log(self.session.cluster, role, error)
    }

    fn asker(&self) -> Asker<'_> {
        Asker { folder: &self.service.folder, environment: &self.ground.environment, path: &self.ground.path, limit: ASK }
    }
}

fn with_log(cluster: &Cluster, role: &str, error: Error) -> Error {
    let log = cluster.log(role);
    let said = run::tail(&log, TAIL);
    let all = run::tail(&log, 200);
    let hint = if all.contains("No space left on device") {
        "the disk is full: free some space, then run it again"
    } else if all.contains("Address already in use") || all.contains("BindException") {
        "a port is taken: end who has it, or let the cluster choose other ports with `sluis dev up --fresh` (its data goes)"
    } else if all.contains("Cannot allocate memory") || all.contains("OutOfMemoryError") {
        "there is not enough memory: bring up fewer services, or end something else"
    } else {
        "`sluis dev logs SERVICE` shows all of the log; `sluis dev up` tries again"
    };
    let error = error.context("log", log.display());
    let error = if said.is_empty() { error } else { error.source(format!("its last words:\n{said}")) };
    error.hint(hint)
}

fn full_environment(ground: &Ground, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut environment = ground.environment.clone();
    environment.extend(own.clone());
    environment
}

/// The program by its path, and the rest.
fn resolved(argv: &[String], path: &[PathBuf]) -> Result<Vec<String>> {
    let name = argv.first().ok_or_else(|| Error::internal("an empty command"))?;
    let found = if name == "java" { java()? } else { run::needed(name, path, &format!("install `{name}`"))? };
    Ok(std::iter::once(found).chain(argv.iter().skip(1).cloned()).collect())
}

/// Starts a process of a service.
fn spawn(cluster: &Cluster, service: &Service, process: &Process, ground: &Ground) -> Result<Arc<OnceLock<ExitStatus>>> {
    let role = service.role(&process.name);
    let argv = resolved(&process.argv, &ground.path)?;
    let env = full_environment(ground, &process.env);
    let log = cluster.log(&role);
    Start { cluster: &cluster.folder, role: &role, argv: &argv, env: &env, folder: &service.folder, log: &log }.spawn()
}

/// Runs a step to its end; `name` names its log.
pub(crate) fn run_step(cluster: &Cluster, service: &Service, step: &Step, name: &str) -> Result<()> {
    for folder in &step.clears {
        let folder = service.folder.join(folder);
        match std::fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("empty the folder", folder.display(), e)),
            _ => home::folder(&folder)?,
        }
    }
    let role = service.role(name);
    let ground = service.ground()?;
    let argv = resolved(&step.argv, &ground.path)?;
    let env = full_environment(&ground, &step.env);
    let log = cluster.log(&role);
    let start = Start { cluster: &cluster.folder, role: &role, argv: &argv, env: &env, folder: &service.folder, log: &log };
    let command = start.command(&argv[0], &argv[1..])?;
    let ended = Run { command, stdin: &step.stdin, limit: step.timeout }.status().map_err(|e| Error::io("run", &argv[0], e))?;
    let why = match ended {
        Some(status) if status.success() => return Ok(()),
        Some(status) => format!("the step {role} failed ({status})"),
        None => format!("the step {role} was not done after {} s", step.timeout.as_secs()),
    };
    Err(with_log(cluster, &role, Error::new(ErrorKind::Unavailable, why)))
}
