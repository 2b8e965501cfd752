//! A cluster in a folder of its own, that goes with the test whatever becomes of it; packages are those of the user.

#![allow(dead_code, reason = "each test program uses its part")]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use sluis_dev::{Cluster, Home, ServiceState, Silent, Up};

pub struct World {
    pub cluster: Cluster,
    pub folder: tempfile::TempDir,
}

impl World {
    pub fn new() -> World {
        let folder = tempfile::Builder::new().prefix("sluis-dev-").tempdir().expect("a folder");
        let home = Home::of_user().expect("a home");
        let cluster = Cluster::at(&home, &folder.path().join("cluster")).expect("a cluster");
        World { cluster, folder }
    }

    /// A cluster with services that are up.
    pub fn with(services: &[&str], secure: bool) -> World {
        let world = World::new();
        world.up_with(&Up { services: services.iter().map(|s| (*s).to_owned()).collect(), secure, ..Up::default() });
        world
    }

    /// `up` for what the cluster has.
    pub fn repair(&self) {
        self.up_with(&Up::default());
    }

    pub fn up(&self, services: &[&str]) {
        self.up_with(&Up { services: services.iter().map(|s| (*s).to_owned()).collect(), ..Up::default() });
    }

    pub fn up_with(&self, up: &Up) {
        let brought = self.cluster.up(up, &Silent).unwrap_or_else(|e| panic!("{e:?}\nhint: {:?}", e.hint_text()));
        let failed: Vec<String> = brought.failed.iter().map(|(name, e)| format!("{name}: {e:?}\nhint: {:?}", e.hint_text())).collect();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        for listener in self.cluster.listeners() {
            assert!(listener.address.is_loopback(), "{listener:?}");
        }
    }

    /// Ends it and proves that nothing is left: no process has the cluster in its environment.
    pub fn down(&self) {
        self.cluster.down(&Silent).unwrap_or_else(|e| panic!("{e:?}"));
        let mark = format!("SLUIS_DEV_CLUSTER={}", self.cluster.folder().display());
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            assert!(!environment.split(|b| *b == 0).any(|v| v == mark.as_bytes()), "{} is left", entry.path().display());
        }
        assert_eq!(self.cluster.pids(), Vec::<u32>::new());
    }

    pub fn fault(&self, target: &str, fault: &str) {
        self.cluster.fault(target, fault, &Silent).unwrap_or_else(|e| panic!("{e:?}"));
    }

    pub fn state(&self, service: &str) -> ServiceState {
        let status = self.cluster.status().unwrap_or_else(|e| panic!("{e:?}"));
        status.services.iter().find(|s| s.name == service).map(|s| s.state).expect("the service")
    }

    pub fn until(&self, service: &str, state: ServiceState) {
        let end = Instant::now() + Duration::from_secs(60);
        while self.state(service) != state {
            assert!(Instant::now() < end, "{service} is {:?} and not {state:?}", self.state(service));
            std::thread::sleep(Duration::from_millis(20)); // polls
        }
    }

    /// The best of five looks is a quick one, whatever else the machine does.
    pub fn quick_status(&self) {
        let look = || {
            let begun = Instant::now();
            self.cluster.status().unwrap_or_else(|e| panic!("{e:?}"));
            begun.elapsed()
        };
        let best = (0..5).map(|_| look()).min().expect("five looks");
        assert!(best < Duration::from_millis(500), "{best:?}");
    }

    /// What the service's own shell says to a command.
    pub fn shell(&self, service: &str, arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        output(&mut self.cluster.shell(service, &arguments).unwrap_or_else(|e| panic!("{e:?}")))
    }

    /// The service's own shell with a command, however it ends.
    pub fn try_shell(&self, service: &str, arguments: &[&str]) -> Output {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let mut shell = self.cluster.shell(service, &arguments).unwrap_or_else(|e| panic!("{e:?}"));
        shell.stdin(Stdio::null()).output().expect("a start")
    }

    /// What the service's own shell says while it fails.
    pub fn refuses(&self, service: &str, arguments: &[&str]) -> String {
        let out = self.try_shell(service, arguments);
        assert!(!out.status.success(), "{service} {arguments:?} works: {}", said(&out));
        said(&out)
    }

    /// A Python program that has the cluster's exports in its environment.
    pub fn python(&self, program: &str) -> Output {
        let exports = self.cluster.client().unwrap_or_else(|e| panic!("{e:?}")).exports;
        Command::new("python3").args(["-c", program]).envs(exports).output().expect("python3")
    }

    pub fn export(&self, name: &str) -> String {
        self.cluster.client().unwrap_or_else(|e| panic!("{e:?}")).exports.get(name).unwrap_or_else(|| panic!("no export {name}")).clone()
    }

    /// The folder of a package, by the name before its digest.
    pub fn package(&self, name: &str) -> PathBuf {
        let entries = std::fs::read_dir(Home::of_user().expect("a home").packages()).expect("packages");
        let begin = format!("{name}-");
        entries
            .flatten()
            .map(|e| e.path())
            .find(|p| p.is_dir() && p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&begin)))
            .expect(name)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The test has told what is wrong.
            let _ = self.cluster.down(&Silent);
        } else {
            self.down();
        }
    }
}

/// Standard output of a program that must end well.
pub fn output(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{command:?}: {}\n{}{}", out.status, text(&out.stdout), text(&out.stderr));
    text(&out.stdout)
}

/// Both outputs of a program.
pub fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// Standard output of a program that must have ended well.
pub fn good(out: &Output) -> String {
    assert!(out.status.success(), "{}", said(out));
    String::from_utf8_lossy(&out.stdout).into_owned()
}
