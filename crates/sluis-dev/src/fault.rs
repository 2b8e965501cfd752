//! Faults: what happens to services in the field, done to one of a cluster on purpose.
//!
//! `kill`, `pause`, `resume`, `restart` and `slow` work for every service; others are steps that its description knows.

use std::collections::BTreeMap;

use sluis_core::{Error, ErrorKind, Result};

use crate::cluster::{Cluster, Service};
use crate::processes::{self, Found, Signal, Start};
use crate::tell::{Event, Tell};
use crate::up::Up;
use crate::{start, stop};

/// Names of faults, with what each does.
pub const FAULTS: [(&str, &str); 6] = [
    ("kill", "SIGKILL, as a crash: `up` repairs it"),
    ("pause", "stands still (SIGSTOP): connections stay open, nothing answers"),
    ("resume", "ends a pause, `slow` and `partition`"),
    ("restart", "stops and starts it again, with its data"),
    ("slow", "runs only a fifth of the time"),
    ("partition", "cut off from its peers, where the service knows how"),
];

/// The process that makes others slow.
const SLOWER: &str = "fault-slow";

impl Cluster {
    /// Does `fault` to a service, or to one process of it (`kudu/tserver-1`).
    ///
    /// # Errors
    /// If there is no such service, process or fault, or nothing of it runs.
    pub fn fault(&self, target: &str, fault: &str, tell: &dyn Tell) -> Result<()> {
        let (name, process) = target.split_once('/').map_or((target, None), |(n, p)| (n, Some(p)));
        let lock = self.lock()?;
        let mut state = self.state()?.ok_or_else(|| self.is_not_there())?;
        let services = self.services(&mut state)?;
        let known: Vec<&str> = services.iter().map(|s| s.name.as_str()).collect();
        let Some(service) = services.iter().find(|s| s.name == name) else {
            let error = Error::config(format!("the cluster {} has no service {name}", self.name));
            return Err(error.hint(format!("it has {}", known.join(", "))));
        };
        let processes: Vec<&str> = service.said.processes.iter().map(|p| p.name.as_str()).collect();
        if let Some(process) = process.filter(|p| !processes.contains(p)) {
            let error = Error::config(format!("the service {name} has no process {process}"));
            return Err(error.hint(format!("it has {}", processes.join(", "))));
        }
        let hit = Hit { cluster: self, service, process };
        match fault {
            "kill" => hit.running().and_then(|_| hit.kill()),
            "pause" => hit.signal(Signal::Pause),
            "resume" => hit.resume(),
            "slow" => hit.slow(),
            "restart" => {
                stop::some(self, tell, |role| hit.meant(role))?;
                let services = vec![name.to_owned()];
                drop(lock);
                let brought = self.up(&Up { services, secure: state.secure, ..Up::default() }, tell)?;
                return brought.failed.into_iter().next().map_or(Ok(()), |(_, e)| Err(e));
            }
            other => hit.custom(other),
        }?;
        tell.tell(name, Event::Note(format!("{target}: {fault}")));
        Ok(())
    }

    /// For whoever asks something of a cluster that was never brought up.
    pub(crate) fn is_not_there(&self) -> Error {
        let error = Error::not_found(format!("there is no cluster {}", self.name));
        let others = Cluster::all(&self.home);
        let hint = if others.is_empty() {
            "`sluis dev up` makes it".to_owned()
        } else {
            format!("`sluis dev up` makes it; there are {}", others.join(", "))
        };
        error.hint(hint)
    }
}

struct Hit<'a> {
    cluster: &'a Cluster,
    service: &'a Service,
    process: Option<&'a str>,
}

impl Hit<'_> {
    fn meant(&self, role: &str) -> bool {
        match (role.split_once('/'), self.process) {
            (Some((service, process)), Some(one)) => service == self.service.name && process == one,
            (Some((service, _)), None) => service == self.service.name,
            (None, _) => false,
        }
    }

    fn found(&self) -> Vec<Found> {
        self.cluster.found().into_iter().filter(|f| self.meant(&f.role)).collect()
    }

    fn running(&self) -> Result<Vec<Found>> {
        let found = self.found();
        if found.is_empty() {
            let what = self.process.map_or(self.service.name.clone(), |p| self.service.role(p));
            return Err(Error::new(ErrorKind::NotFound, format!("nothing of {what} runs")).hint("`sluis dev up` starts it"));
        }
        Ok(found)
    }

    fn kill(&self) -> Result<()> {
        processes::kill_all(|| self.found())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.running()?.iter().try_for_each(|f| processes::send(f, signal))
    }

    fn resume(&self) -> Result<()> {
        let slower = self.service.role(SLOWER);
        processes::kill_all(|| self.cluster.found().into_iter().filter(|f| f.role == slower).collect())?;
        for fault in self.service.said.faults.values() {
            for step in &fault.undo {
                start::run_step(self.cluster, self.service, step, &format!("fault-{}", step.name))?;
            }
        }
        self.signal(Signal::Resume)
    }

    /// A process that stops and continues the others, in turns too short for a timeout and too long not to be felt.
    fn slow(&self) -> Result<()> {
        const LOOP: &str = "while kill -STOP \"$@\" 2>/dev/null; do sleep 0.2; kill -CONT \"$@\" 2>/dev/null; sleep 0.05; done";
        let pids: Vec<String> = self.running()?.iter().filter(|f| f.leads()).map(|f| f.pid.to_string()).collect();
        let mut argv: Vec<String> = ["/bin/sh", "-c", LOOP, SLOWER].map(str::to_owned).to_vec();
        argv.extend(pids);
        let role = self.service.role(SLOWER);
        let log = self.cluster.log(&role);
        let start = Start { cluster: &self.cluster.folder, role: &role, argv: &argv, env: &BTreeMap::new(), folder: &self.service.folder, log: &log };
        start.spawn().map(|_| ())
    }

    fn custom(&self, name: &str) -> Result<()> {
        let Some(fault) = self.service.said.faults.get(name) else {
            let own = self.service.said.faults.keys().map(String::as_str);
            let all = ["kill", "pause", "resume", "restart", "slow"].into_iter().chain(own).collect::<Vec<_>>().join(", ");
            return Err(Error::config(format!("the service {} knows no fault `{name}`", self.service.name)).hint(format!("it knows {all}")));
        };
        fault.steps.iter().try_for_each(|step| start::run_step(self.cluster, self.service, step, &format!("fault-{}", step.name)))
    }
}
