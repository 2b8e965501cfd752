//! `status`: what runs, whether it answers, where, and what it takes. Looks only: nothing is locked, changed or waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use sluis_core::Result;

use crate::cluster::{Cluster, Service};
use crate::ports::{self, Listener};
use crate::probe::{Asker, is_costly};
use crate::processes::{self, Found};

/// Longest wait for an answer: a status is a look, not a wait.
const ASK: Duration = Duration::from_millis(200);

/// A cluster at one moment.
#[derive(Debug, Serialize)]
pub struct Status {
    pub cluster: String,
    pub folder: String,
    pub secure: bool,
    pub services: Vec<ServiceStatus>,
    /// Bytes that all its processes take.
    pub memory: u64,
}

/// A service at one moment.
#[derive(Debug, Serialize)]
pub struct ServiceStatus {
    pub name: String,
    pub variant: String,
    pub about: String,
    /// If it is not the real thing: what it is.
    pub stand_in: String,
    pub state: ServiceState,
    pub ports: BTreeMap<String, u16>,
    pub memory: u64,
    /// Bytes it is meant to take at most.
    pub budget: u64,
    pub processes: Vec<ProcessStatus>,
}

/// In the order of what is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// Runs, and answers what can be asked quickly.
    Ready,
    /// Runs and does not answer: it starts, is slow, or hangs.
    Silent,
    /// Stopped by a signal.
    Paused,
    /// Some of its processes do not run.
    Half,
    /// Nothing of it runs.
    Down,
}

impl std::fmt::Display for ServiceState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ServiceState::Ready => "ready",
            ServiceState::Silent => "silent",
            ServiceState::Paused => "paused",
            ServiceState::Half => "half down",
            ServiceState::Down => "down",
        })
    }
}

/// A process at one moment.
#[derive(Debug, Serialize)]
pub struct ProcessStatus {
    pub name: String,
    pub pid: Option<u32>,
    pub state: ServiceState,
    /// Why it is not ready, where that is known.
    pub why: String,
    pub seconds: u64,
    pub memory: u64,
}

impl Cluster {
    /// # Errors
    /// If there is no such cluster, or what is written down of it cannot be read.
    pub fn status(&self) -> Result<Status> {
        let mut state = self.state()?.ok_or_else(|| self.is_not_there())?;
        let services = self.services(&mut state)?;
        let found = self.found();
        let statuses = std::thread::scope(|scope| {
            let all: Vec<_> = services.iter().map(|s| scope.spawn(|| one(s, &found))).collect();
            all.into_iter().filter_map(|h| h.join().ok()).collect::<Vec<_>>()
        });
        Ok(Status {
            cluster: self.name.clone(),
            folder: self.folder.display().to_string(),
            secure: state.secure,
            services: statuses,
            memory: found.iter().map(|f| f.memory).sum(),
        })
    }

    /// Every socket on which a process of the cluster waits for others.
    pub fn listeners(&self) -> Vec<Listener> {
        let pids: Vec<u32> = self.found().iter().map(|f| f.pid).collect();
        ports::listeners(&pids)
    }

    /// The numbers of all processes of the cluster.
    pub fn pids(&self) -> Vec<u32> {
        self.found().iter().map(|f| f.pid).collect()
    }

    /// The ports that were chosen for a service, by name; none if the cluster does not have it.
    ///
    /// # Errors
    /// If what is written down cannot be read.
    pub fn ports(&self, service: &str) -> Result<BTreeMap<String, u16>> {
        Ok(self.state()?.and_then(|mut s| s.ports.remove(service)).unwrap_or_default())
    }
}

fn one(service: &Service, found: &[Found]) -> ServiceStatus {
    let ground = service.ground().unwrap_or_default();
    let asker = Asker { folder: &service.folder, environment: &ground.environment, path: &ground.path, limit: ASK };
    let processes: Vec<ProcessStatus> = service
        .said
        .processes
        .iter()
        .map(|process| {
            let role = service.role(&process.name);
            let mine: Vec<&Found> = found.iter().filter(|f| f.role == role).collect();
            let memory = mine.iter().map(|f| f.memory).sum();
            let Some(leader) = mine.iter().find(|f| f.leads()) else {
                return ProcessStatus { name: process.name.clone(), pid: None, state: ServiceState::Down, why: String::new(), seconds: 0, memory };
            };
            let answer = || process.ready.iter().filter(|p| !is_costly(p)).try_for_each(|p| asker.ask(p));
            let (state, why) = match leader.state {
                'T' | 't' => (ServiceState::Paused, String::new()),
                _ => answer().map_or_else(|why| (ServiceState::Silent, why), |()| (ServiceState::Ready, String::new())),
            };
            let seconds = processes::age(leader).map_or(0, |d| d.as_secs());
            ProcessStatus { name: process.name.clone(), pid: Some(leader.pid), state, why, seconds, memory }
        })
        .collect();
    let down = processes.iter().filter(|p| p.state == ServiceState::Down).count();
    let state = match down {
        0 => processes.iter().map(|p| p.state).max().unwrap_or(ServiceState::Ready),
        n if n == processes.len() => ServiceState::Down,
        _ => ServiceState::Half,
    };
    ServiceStatus {
        name: service.name.clone(),
        variant: service.variant.clone(),
        about: service.said.about.clone(),
        stand_in: service.said.stand_in.clone(),
        state,
        ports: service.ports.clone(),
        memory: processes.iter().map(|p| p.memory).sum(),
        budget: service.said.processes.iter().map(|p| p.memory).sum(),
        processes,
    }
}
