//! A cluster of a test's own: in a folder that goes with it, and no process left behind it.

use std::process::{Command, Output};

use sluis_dev::{Cluster, Home, Silent, Up};
use tempfile::TempDir;

/// Services that are up as long as this value lives.
pub struct Ground {
    pub cluster: Cluster,
    services: Vec<String>,
    secure: bool,
    folder: TempDir,
}

impl Ground {
    /// Brings services up; packages come from the user's cache.
    pub fn up(services: &[&str], secure: bool) -> Ground {
        let folder = tempfile::Builder::new().prefix("sluis-dev-").tempdir().expect("a folder");
        let home = Home::of_user().expect("a home");
        let cluster = Cluster::at(&home, folder.path()).expect("a cluster");
        let ground = Ground { cluster, services: services.iter().map(|s| (*s).to_owned()).collect(), secure, folder };
        ground.repair();
        ground
    }

    /// `up` again.
    pub fn repair(&self) {
        let up = Up { services: self.services.clone(), secure: self.secure, ..Up::default() };
        let brought = self.cluster.up(&up, &Silent).expect("up");
        assert!(brought.failed.is_empty(), "{:?}", brought.failed);
        self.only_loopback();
    }

    fn only_loopback(&self) {
        let listeners = self.cluster.listeners();
        assert!(!listeners.is_empty(), "nobody listens");
        for listener in listeners {
            assert!(listener.address.is_loopback(), "{listener:?}");
        }
    }

    /// The service's own shell with arguments.
    pub fn shell(&self, service: &str, arguments: &[&str]) -> Output {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        self.cluster.shell(service, &arguments).expect("a shell").stdin(std::process::Stdio::null()).output().expect("a start")
    }

    /// What the shell prints; it must succeed.
    pub fn says(&self, service: &str, arguments: &[&str]) -> String {
        let output = self.shell(service, arguments);
        let (out, err) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
        assert!(output.status.success(), "{service} {arguments:?}: {out}{err}");
        out
    }

    /// What the shell prints while it fails.
    pub fn refuses(&self, service: &str, arguments: &[&str]) -> String {
        let output = self.shell(service, arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{service} {arguments:?} works: {said}");
        said
    }

    /// What a Python program prints that has the cluster's exports in its environment.
    pub fn python(&self, program: &str) -> Output {
        let exports = self.cluster.client().expect("exports").exports;
        Command::new("python3").args(["-c", program]).envs(exports).output().expect("python3")
    }

    /// SIGKILL for all of a service.
    pub fn kill(&self, service: &str) {
        self.cluster.fault(service, "kill", &Silent).expect("killed");
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let down = self.cluster.down(&Silent);
        let left = self.cluster.pids();
        if std::thread::panicking() {
            for log in std::fs::read_dir(self.folder.path().join("logs")).into_iter().flatten().flatten() {
                let text = std::fs::read_to_string(log.path()).unwrap_or_default();
                eprintln!("--- {}\n{}", log.path().display(), text.lines().rev().take(15).collect::<Vec<_>>().join("\n"));
            }
            return;
        }
        down.expect("down");
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

/// The whole of what a program printed; it must succeed.
pub fn good(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}
