//! Processes of a cluster: started in sessions of their own, and found again by whoever looks, from `/proc` alone.
//!
//! Three marks, each enough: `SLUIS_DEV_CLUSTER` in the environment (also of all they start); a file that the process itself writes before it
//! becomes the program, with its start time, so that a number given to another process since is recognised; the session. So nothing is lost
//! when `sluis` is killed in mid-start. Deliberately not here: when to start and stop what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use sluis_core::{Error, ErrorKind, Result};

/// The environment variable that marks a process: the cluster's folder.
pub const MARK: &str = "SLUIS_DEV_CLUSTER";
/// `service/process` of a marked process.
const ROLE: &str = "SLUIS_DEV_ROLE";

/// A live process of a cluster.
#[derive(Debug, Clone)]
pub struct Found {
    pub pid: u32,
    /// In clock ticks since the machine started; with `pid` it names the process for good.
    pub start: u64,
    pub session: u32,
    /// `R`, `S`, `D`, `T` (stopped by a signal), …
    pub state: char,
    /// `service/process`, or `service/step …`, if known.
    pub role: String,
    /// Resident memory in bytes.
    pub memory: u64,
}

impl Found {
    /// Whether it is the process that was started, not one of its children.
    pub fn leads(&self) -> bool {
        self.pid == self.session
    }
}

/// What to start.
pub struct Start<'a> {
    pub cluster: &'a Path,
    /// `service/process`.
    pub role: &'a str,
    pub argv: &'a [String],
    pub env: &'a BTreeMap<String, String>,
    pub folder: &'a Path,
    pub log: &'a Path,
}

impl Start<'_> {
    /// The command, marked, with its output at the end of the log.
    ///
    /// # Errors
    /// If the program is nowhere or the log cannot be written.
    pub fn command(&self, program: &str, arguments: &[String]) -> Result<Command> {
        let log = File::options().create(true).append(true).open(self.log).map_err(|e| Error::io("write", self.log.display(), e))?;
        let both = log.try_clone().map_err(|e| Error::io("write", self.log.display(), e))?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder).stdin(Stdio::null()).stdout(log).stderr(both);
        command.envs(self.env).env(MARK, self.cluster).env(ROLE, self.role);
        Ok(command)
    }

    /// Starts a program that stays; `argv[0]` is a path. How it ends is known there, if it ends before we do.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&self) -> Result<Arc<OnceLock<ExitStatus>>> {
        // `read` and `printf` are the shell's own; `exec` keeps the number and the start time.
        const SHELL: &str = r#"read -r s </proc/$$/stat && printf '%s\n' "$s" >"$1" && shift && exec setsid "$@""#;
        let mark = pid_file(self.cluster, self.role);
        let mut arguments: Vec<String> = ["-c", SHELL, "sluis-dev"].map(str::to_owned).to_vec();
        arguments.push(mark.to_string_lossy().into_owned());
        arguments.extend(self.argv.iter().cloned());
        let _ = std::fs::remove_file(&mark);
        let mut child = self.command("sh", &arguments)?.spawn().map_err(|e| Error::io("start", self.argv[0].clone(), e))?;
        // Whoever stays longer than the process collects its end; who does not leaves that to the system.
        let end = Arc::new(OnceLock::new());
        let ended = end.clone();
        std::thread::spawn(move || child.wait().map(|status| ended.set(status)));
        Ok(end)
    }
}

/// Where a process writes its number and start time.
pub fn pid_file(cluster: &Path, role: &str) -> PathBuf {
    cluster.join("run").join(format!("{}.pid", role.replace('/', ".")))
}

/// One line of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    pid: u32,
    state: char,
    session: u32,
    start: u64,
}

fn stat(line: &str) -> Option<Stat> {
    // The name is in parentheses and may have any of them itself.
    let (head, rest) = line.rsplit_once(')')?;
    let pid = head.split(' ').next()?.parse().ok()?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    Some(Stat { pid, state: words.first()?.chars().next()?, session: words.get(3)?.parse().ok()?, start: words.get(19)?.parse().ok()? })
}

/// Every live process of the cluster.
pub fn find(cluster: &Path) -> Vec<Found> {
    let all = all();
    let mut roles: BTreeMap<u32, String> = BTreeMap::new();
    let mark = [MARK.as_bytes(), b"=", cluster.as_os_str().as_encoded_bytes()].concat();
    for pid in all.keys() {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if environment.split(|b| *b == 0).any(|v| v == mark) {
            let role = environment.split(|b| *b == 0).find_map(|v| v.strip_prefix(ROLE.as_bytes())?.strip_prefix(b"="));
            roles.insert(*pid, String::from_utf8_lossy(role.unwrap_or_default()).into_owned());
        }
    }
    let booted = booted();
    // Programs that write their title over their environment are known by what they wrote before, and their children by the session.
    let mut sessions: BTreeMap<u32, String> = BTreeMap::new();
    for entry in std::fs::read_dir(cluster.join("run")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(role) = name.strip_suffix(".pid").map(|n| n.replacen('.', "/", 1)) else { continue };
        let Some(was) = std::fs::read_to_string(entry.path()).ok().and_then(|t| stat(&t)) else { continue };
        match all.get(&was.pid) {
            Some(is) if is.start == was.start => {
                roles.insert(was.pid, role.clone());
                sessions.insert(was.pid, role);
            }
            Some(_) => {}
            // Its number is not given away while its session lives; a restart of the machine ends sessions.
            None if entry.metadata().and_then(|m| m.modified()).is_ok_and(|at| booted.is_some_and(|b| at > b)) => {
                sessions.insert(was.pid, role);
            }
            None => {}
        }
    }
    for (pid, role) in &roles {
        if all.get(pid).is_some_and(|s| s.session == *pid) {
            sessions.entry(*pid).or_insert_with(|| role.clone());
        }
    }
    let mut found = Vec::new();
    for (pid, is) in all {
        let Some(role) = roles.get(&pid).or_else(|| sessions.get(&is.session)) else { continue };
        found.push(Found { pid, start: is.start, session: is.session, state: is.state, role: role.clone(), memory: memory(pid) });
    }
    found
}

/// Every process that is not dead already.
fn all() -> BTreeMap<u32, Stat> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let stats = pids.filter_map(|pid| stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?));
    stats.filter(|s| !matches!(s.state, 'Z' | 'X' | 'x')).map(|s| (s.pid, s)).collect()
}

/// When the machine started.
fn booted() -> Option<std::time::SystemTime> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let seconds: u64 = text.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn memory(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kilobytes = text.lines().find_map(|l| l.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// How long it has been running.
pub fn age(found: &Found) -> Option<Duration> {
    let up: f64 = std::fs::read_to_string("/proc/uptime").ok()?.split(' ').next()?.parse().ok()?;
    // Linux counts in hundredths of seconds wherever it tells user programs.
    Some(Duration::from_secs_f64((up - found.start as f64 / 100.0).max(0.0)))
}

/// A signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Terminate,
    Interrupt,
    Quit,
    Kill,
    Pause,
    Resume,
}

/// Sends it, if the process is still the one that was found.
///
/// # Errors
/// If the system does not let us.
pub fn send(found: &Found, signal: Signal) -> Result<()> {
    let number = match signal {
        Signal::Terminate => libc::SIGTERM,
        Signal::Interrupt => libc::SIGINT,
        Signal::Quit => libc::SIGQUIT,
        Signal::Kill => libc::SIGKILL,
        Signal::Pause => libc::SIGSTOP,
        Signal::Resume => libc::SIGCONT,
    };
    let same = std::fs::read_to_string(format!("/proc/{}/stat", found.pid)).ok().and_then(|l| stat(&l)).is_some_and(|s| s.start == found.start);
    let Some(pid) = i32::try_from(found.pid).ok().filter(|_| same) else { return Ok(()) };
    // SAFETY: `kill` takes two numbers and touches no memory of ours.
    if unsafe { libc::kill(pid, number) } == 0 {
        return Ok(());
    }
    let e = std::io::Error::last_os_error();
    if e.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(Error::io("signal the process", found.pid, e)) }
}

/// Kills all that `which` finds until it finds nothing: children may be born while their parents die.
///
/// # Errors
/// If something lives after ten seconds.
pub fn kill_all(which: impl Fn() -> Vec<Found>) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let found = which();
        if found.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            let pids = found.iter().map(|f| f.pid.to_string()).collect::<Vec<_>>().join(", ");
            return Err(Error::new(ErrorKind::Unavailable, format!("processes do not end after SIGKILL: {pids}"))
                .hint("the system holds them (a disk that hangs?)"));
        }
        for one in &found {
            send(one, Signal::Kill)?;
        }
        std::thread::sleep(Duration::from_millis(20)); // polls
    }
}

/// Roles of the cluster that have a live leader.
pub fn running(found: &[Found]) -> BTreeSet<&str> {
    found.iter().filter(|f| f.leads()).map(|f| f.role.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(cluster: &Path, role: &str, script: &str) {
        std::fs::create_dir_all(cluster.join("run")).expect("a folder");
        let argv = ["sh", "-c", script].map(str::to_owned);
        let log = cluster.join("log");
        Start { cluster, role, argv: &argv, env: &BTreeMap::new(), folder: cluster, log: &log }.spawn().expect("a start");
    }

    fn wait(cluster: &Path, what: impl Fn(&[Found]) -> bool) -> Vec<Found> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let found = find(cluster);
            if what(&found) {
                return found;
            }
            assert!(Instant::now() < end, "{found:?}");
            std::thread::sleep(Duration::from_millis(10)); // polls
        }
    }

    #[test]
    fn the_name_of_a_program_may_hold_anything() {
        let line = "42 (a ) b (c) S 1 42 41 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 0 0";
        assert_eq!(stat(line), Some(Stat { pid: 42, state: 'S', session: 41, start: 777 }));
    }

    #[test]
    fn children_without_the_mark_are_found_by_the_session_also_when_their_parent_is_dead() {
        let folder = tempfile::tempdir().expect("a folder");
        start(folder.path(), "a/b", "env -i sleep 600 & wait");
        let found = wait(folder.path(), |f| f.len() == 2);
        let leader = found.iter().find(|f| f.leads()).expect("a leader");
        assert_eq!(leader.role, "a/b");
        send(leader, Signal::Kill).expect("a signal");
        let left = wait(folder.path(), |f| f.len() == 1);
        assert_eq!((left[0].role.as_str(), left[0].leads()), ("a/b", false));
        kill_all(|| find(folder.path())).expect("an end");
    }

    #[test]
    fn marked_processes_are_found_without_any_file() {
        let folder = tempfile::tempdir().expect("a folder");
        start(folder.path(), "a/b", "sleep 600 & wait");
        wait(folder.path(), |f| f.len() == 2);
        std::fs::remove_dir_all(folder.path().join("run")).expect("gone");
        let found = wait(folder.path(), |f| f.len() == 2);
        assert_eq!(running(&found).into_iter().collect::<Vec<_>>(), ["a/b"]);
        kill_all(|| find(folder.path())).expect("an end");
    }

    #[test]
    fn a_number_that_another_process_has_now_is_not_ours() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("run")).expect("a folder");
        let own = std::fs::read_to_string("/proc/self/stat").expect("our line");
        let is = stat(&own).expect("our line");
        let forged = own.replace(&format!(" {} ", is.start), &format!(" {} ", is.start - 1));
        std::fs::write(pid_file(folder.path(), "a/b"), forged).expect("a file");
        assert!(find(folder.path()).is_empty());
    }
}
