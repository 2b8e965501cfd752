//! `down`, and ending parts of a cluster: asked first, killed after the time that the description grants.
//!
//! Guarantee: no process of what was to end is left, whatever is written down, lost or half done.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sluis_core::Result;

use crate::cluster::Cluster;
use crate::description::Stop;
use crate::processes::{self, Found, Signal};
use crate::tell::{Event, Tell};

impl Cluster {
    /// Ends every process; how many services' processes there were.
    ///
    /// # Errors
    /// If the system holds a process or does not let us end it.
    pub fn down(&self, tell: &dyn Tell) -> Result<usize> {
        if !self.folder.is_dir() {
            return Ok(0);
        }
        let _lock = self.lock()?;
        all(self, tell)
    }

    /// Ends everything and takes all data away; packages stay.
    ///
    /// # Errors
    /// As [`Cluster::down`]; if something cannot be removed.
    pub fn reset(&self, tell: &dyn Tell) -> Result<()> {
        if !self.folder.is_dir() {
            return Ok(());
        }
        let lock = self.lock()?;
        all(self, tell)?;
        self.clear()?;
        // Nobody has waited for a folder that is about to go: who does next makes it anew.
        let _ = std::fs::remove_file(self.folder.join(".lock"));
        let _ = std::fs::remove_dir(&self.folder);
        drop(lock);
        Ok(())
    }
}

/// Ends every process of the cluster.
pub(crate) fn all(cluster: &Cluster, tell: &dyn Tell) -> Result<usize> {
    some(cluster, tell, |_| true)
}

/// Ends the processes that `which` names by their roles; how many roles had one.
pub(crate) fn some(cluster: &Cluster, tell: &dyn Tell, which: impl Fn(&str) -> bool) -> Result<usize> {
    let manners = manners(cluster);
    let found = || cluster.found().into_iter().filter(|f| which(&f.role)).collect::<Vec<Found>>();
    let first = found();
    for one in first.iter().filter(|f| f.state == 'T') {
        processes::send(one, Signal::Resume)?;
    }
    let leaders: Vec<&Found> = first.iter().filter(|f| f.leads()).collect();
    for leader in &leaders {
        let signal = match manners.get(&leader.role) {
            Some((Stop::Int, _)) => Signal::Interrupt,
            Some((Stop::Quit, _)) => Signal::Quit,
            _ => Signal::Terminate,
        };
        processes::send(leader, signal)?;
    }
    let begun = Instant::now();
    let mut killed: Vec<String> = Vec::new();
    loop {
        let left = found();
        if left.is_empty() {
            break;
        }
        for leader in leaders.iter().filter(|l| left.iter().any(|f| f.role == l.role)) {
            let grace = manners.get(&leader.role).map_or(Duration::from_secs(10), |(_, grace)| *grace);
            let lives = left.iter().any(|f| f.pid == leader.pid);
            // Children that outlive the process they belong to have nobody to wait for.
            if begun.elapsed() > grace || (!lives && begun.elapsed() > Duration::from_secs(1)) {
                if lives {
                    killed.push(leader.role.clone());
                }
                processes::kill_all(|| found().into_iter().filter(|f| f.role == leader.role).collect())?;
            }
        }
        // What no leader speaks for: steps, orphans.
        let led = |f: &Found| leaders.iter().any(|l| l.role == f.role);
        if left.iter().any(|f| !led(f)) {
            processes::kill_all(|| found().into_iter().filter(|f| !led(f)).collect())?;
        }
        std::thread::sleep(Duration::from_millis(20)); // polls
    }
    for leader in &leaders {
        let (service, process) = leader.role.split_once('/').unwrap_or((&leader.role, ""));
        tell.tell(service, Event::Stopped { process: process.to_owned(), killed: killed.contains(&leader.role) });
        let _ = std::fs::remove_file(processes::pid_file(&cluster.folder, &leader.role));
    }
    Ok(leaders.len())
}

/// How each process likes to be ended. What cannot be read is not known: then SIGTERM and ten seconds.
fn manners(cluster: &Cluster) -> BTreeMap<String, (Stop, Duration)> {
    let Ok(Some(mut state)) = cluster.state() else { return BTreeMap::new() };
    let services = cluster.services(&mut state).unwrap_or_default();
    services.iter().flat_map(|s| s.said.processes.iter().map(|p| (s.role(&p.name), (p.stop, p.grace)))).collect()
}
