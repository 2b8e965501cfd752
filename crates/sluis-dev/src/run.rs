//! Programs that run to their end: steps of a service, clients of package registries, probes. With a limit of time, and found in more places
//! than the search path of a user has.
//!
//! Deliberately not here: processes that stay ([`crate::processes`]).

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use sluis_core::{Error, ErrorKind, Result};

/// The path of a program: as given if it has a slash, else the first in `more`, the search path, and where administrators' programs lie.
pub fn program(name: &str, more: &[PathBuf]) -> Option<String> {
    if name.contains('/') {
        return Some(name.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from);
    let found = more.iter().cloned().chain(std::env::split_paths(&path)).chain(usual).map(|f| f.join(name)).find(|p| p.is_file())?;
    Some(found.to_string_lossy().into_owned())
}

/// The same, or an error that says what to install.
///
/// # Errors
/// If it is nowhere.
pub fn needed(name: &str, more: &[PathBuf], hint: &str) -> Result<String> {
    program(name, more).ok_or_else(|| Error::not_found(format!("the program `{name}` is not installed")).hint(hint.to_owned()))
}

/// A command with something to read and a limit.
pub struct Run<'a> {
    pub command: Command,
    pub stdin: &'a str,
    pub limit: Duration,
}

/// What it came to; no status: it was killed at the limit.
pub struct Ended {
    pub status: Option<ExitStatus>,
    /// Standard output and error together.
    pub output: Vec<u8>,
}

impl Run<'_> {
    /// Runs it and keeps what it says.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn finish(mut self) -> std::io::Result<Ended> {
        let (mut reader, writer) = std::io::pipe()?;
        self.command.stdout(writer.try_clone()?).stderr(writer);
        let limit = self.limit;
        let child = self.start()?;
        // The command holds the writing ends: gone, so that the end is seen.
        drop(self.command);
        let reading = std::thread::spawn(move || {
            let mut out = Vec::new();
            let _ = reader.read_to_end(&mut out);
            out
        });
        let status = wait(child, limit);
        // A child of the child may hold the pipe for ever.
        let output = if status.is_some() { reading.join().unwrap_or_default() } else { Vec::new() };
        Ok(Ended { status, output })
    }

    /// Runs it with the output that the command has.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn status(mut self) -> std::io::Result<Option<ExitStatus>> {
        Ok(wait(self.start()?, self.limit))
    }

    fn start(&mut self) -> std::io::Result<std::process::Child> {
        let stdin = if self.stdin.is_empty() { Stdio::null() } else { Stdio::piped() };
        let mut child = self.command.stdin(stdin).spawn()?;
        if let Some(mut pipe) = child.stdin.take() {
            // Who does not read it does not want it.
            let _ = pipe.write_all(self.stdin.as_bytes());
        }
        Ok(child)
    }
}

fn wait(mut child: std::process::Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)), // polls
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

/// The last lines of a log; none if there is no log.
pub fn tail(log: &Path, lines: usize) -> String {
    let text = std::fs::read(log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Refuses a Java that is missing or older than 17, and says which it is otherwise.
///
/// # Errors
/// With what to install.
pub fn java() -> Result<String> {
    const HINT: &str = "install Java 17 or newer (Debian: `apt-get install openjdk-17-jre-headless`), or let JAVA_HOME lead to one";
    let home = std::env::var_os("JAVA_HOME").filter(|h| !h.is_empty()).map(|h| PathBuf::from(h).join("bin/java"));
    let java = match home {
        Some(java) if !java.is_file() => {
            return Err(Error::not_found("JAVA_HOME does not lead to a Java").context("file", java.display()).hint(HINT));
        }
        Some(java) => java.to_string_lossy().into_owned(),
        None => needed("java", &[], HINT)?,
    };
    let mut command = Command::new(&java);
    command.arg("-version");
    let ended = Run { command, stdin: "", limit: Duration::from_secs(60) }.finish().map_err(|e| Error::io("run", &java, e).hint(HINT))?;
    let said = String::from_utf8_lossy(&ended.output).into_owned();
    match version(&said) {
        Some(major) if major >= 17 => Ok(java),
        Some(major) => Err(Error::new(ErrorKind::NotFound, format!("Java {major} is too old: the services need Java 17 or newer"))
            .context("program", java)
            .hint(HINT)),
        None => Err(Error::new(ErrorKind::NotFound, "this Java does not say its version")
            .context("program", java)
            .context("said", said.lines().next().unwrap_or_default())
            .hint(HINT)),
    }
}

/// `openjdk version "17.0.15" 2025-04-15` and, older, `java version "1.8.0_292"`.
fn version(said: &str) -> Option<u32> {
    let text = said.split('"').nth(1)?;
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
    match numbers.next()? {
        1 => numbers.next(),
        major => Some(major),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_java_are_read_in_both_fashions() {
        assert_eq!(version("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK"), Some(17));
        assert_eq!(version("java version \"1.8.0_292\""), Some(8));
        assert_eq!(version("openjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(version("sh: java: not found"), None);
    }

    #[test]
    fn what_takes_too_long_is_killed() {
        let mut command = Command::new("sleep");
        command.arg("600");
        assert!(Run { command, stdin: "", limit: Duration::from_millis(50) }.finish().expect("a start").status.is_none());
    }

    #[test]
    fn standard_input_and_both_outputs_pass() {
        let mut command = Command::new("sh");
        command.args(["-c", "cat; echo err >&2"]);
        let ended = Run { command, stdin: "in", limit: Duration::from_secs(60) }.finish().expect("a start");
        assert_eq!((String::from_utf8_lossy(&ended.output).into_owned(), ended.status.is_some_and(|s| s.success())), ("inerr\n".into(), true));
    }
}
