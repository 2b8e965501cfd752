//! Who this process is, and whether the process that a lease names is still there.
//!
//! Guarantees: [`is_gone`] is true only for a process of this very host that certainly ended. Where the system cannot say (another host,
//! no `/proc`, processes hidden from us), the lease's time decides alone.

use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use sluis_core::LeaseHolder;

/// This process, as the holder of a lease since `now`.
pub fn this_process(now: DateTime<Utc>) -> LeaseHolder {
    let pid = std::process::id();
    LeaseHolder { host: host(), pid, pid_started: started(pid).map_or(0, |(_, at)| at), user: user(), since: now }
}

/// Whether the holder's process ran on this host and has ended: its pid is free, belongs to a younger process, or is a corpse.
pub fn is_gone(holder: &LeaseHolder) -> bool {
    // 0: its own system could not say when it started.
    if holder.pid_started == 0 || holder.host != host() || started(std::process::id()).is_none() {
        return false;
    }
    match started(holder.pid) {
        Some((state, at)) => at != holder.pid_started || matches!(state, 'Z' | 'X' | 'x'),
        // Some systems hide other users' processes; where the first one shows, none is hidden.
        None => !Path::new("/proc").join(holder.pid.to_string()).exists() && Path::new("/proc/1").exists(),
    }
}

/// State and start time (clock ticks since boot) of a process: fields 3 and 22 of `/proc/<pid>/stat`; the second field, the command in
/// parentheses, may hold anything.
fn started(pid: u32) -> Option<(char, u64)> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

fn host() -> String {
    let read = |path| fs::read_to_string(path).ok().map(|s| s.trim().to_owned()).filter(|s| !s.is_empty());
    read("/proc/sys/kernel/hostname")
        .or_else(|| read("/etc/hostname"))
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_else(|| "localhost".into())
}

fn user() -> String {
    use std::os::unix::fs::MetadataExt;
    let named = ["USER", "LOGNAME"].iter().find_map(|v| std::env::var(v).ok().filter(|s| !s.is_empty()));
    named.or_else(|| fs::metadata("/proc/self").ok().map(|m| format!("uid {}", m.uid()))).unwrap_or_else(|| "unknown".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_there_and_a_stranger_with_its_pid_is_not() {
        let me = this_process(DateTime::UNIX_EPOCH);
        assert!(me.pid_started > 0 && !me.host.is_empty() && !me.user.is_empty());
        assert!(!is_gone(&me));
        assert!(is_gone(&LeaseHolder { pid_started: me.pid_started + 1, ..me.clone() }), "the pid was used again");
        assert!(!is_gone(&LeaseHolder { pid_started: me.pid_started + 1, host: "elsewhere".into(), ..me.clone() }));
        assert!(!is_gone(&LeaseHolder { pid_started: 0, ..me }), "nothing is known of it");
    }

    #[test]
    fn a_process_that_ended_is_gone_even_while_its_parent_does_not_look() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let (_, at) = started(child.id()).unwrap();
        let holder = LeaseHolder { pid: child.id(), pid_started: at, ..this_process(DateTime::UNIX_EPOCH) };
        assert!(!is_gone(&holder));
        child.kill().unwrap();
        while !is_gone(&holder) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(is_gone(&holder));
    }
}
