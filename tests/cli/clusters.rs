//! `sluis dev` as people meet it: a cluster in a folder of the test's own, packages from the user's cache.
//!
//! What services do is proven in `sluis-dev`; here is the command, and what it does when the machine lacks something.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::sandbox::{Said, Sandbox, binary, said};

/// A home whose packages are the user's.
struct Home {
    sandbox: Sandbox,
}

impl Home {
    fn with_packages() -> Home {
        let home = Home { sandbox: Sandbox::new() };
        let packages = sluis_dev::Home::of_user().unwrap().packages();
        std::fs::create_dir_all(&packages).unwrap();
        std::fs::create_dir_all(home.folder()).unwrap();
        std::os::unix::fs::symlink(packages, home.folder().join("packages")).unwrap();
        home
    }

    fn empty() -> Home {
        Home { sandbox: Sandbox::new() }
    }

    fn folder(&self) -> PathBuf {
        self.sandbox.path("home")
    }

    fn command(&self, words: &str) -> Command {
        let mut command = self.sandbox.command(binary());
        command.arg("dev").args(words.split_whitespace()).env("SLUIS_DEV_HOME", self.folder());
        command
    }

    fn dev(&self, words: &str) -> Said {
        said(self.command(words).output().unwrap())
    }

    /// A program that comes before all others of its name.
    fn program(&self, name: &str, script: &str) {
        self.sandbox.file(&format!("bin/{name}"), format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(self.sandbox.path(&format!("bin/{name}")), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The same with the programs of this test before all others.
    fn with_programs(&self, words: &str) -> Said {
        let mut command = self.command(words);
        let path = format!("{}:{}", self.sandbox.path("bin").display(), std::env::var("PATH").unwrap_or_default());
        said(command.env("PATH", path).env_remove("JAVA_HOME").output().unwrap())
    }

    /// Live processes that have this home's cluster in their environment.
    fn processes(&self) -> usize {
        let mark = format!("SLUIS_DEV_CLUSTER={}/", self.folder().display());
        let environments = std::fs::read_dir("/proc").unwrap().flatten().map(|e| std::fs::read(e.path().join("environ")).unwrap_or_default());
        environments.filter(|e| e.split(|b| *b == 0).any(|v| v.starts_with(mark.as_bytes()))).count()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // After a failure too.
        let _ = self.command("down").output();
    }
}

#[test]
fn a_cluster_comes_up_is_looked_at_hurt_repaired_and_ended_and_needs_its_clients_once() {
    let home = Home::with_packages();
    home.dev("up s3").expect(0, &["s3", "ready in", "sluis dev down"]);
    let status = home.dev("status --json");
    let status: serde_json::Value = serde_json::from_str(&status.expect(0, &[]).stdout).unwrap();
    assert_eq!(status["services"][0]["state"], "ready", "{status}");
    home.dev("env").expect(0, &["export AWS_ENDPOINT_URL='http://localhost:"]);
    home.dev("logs s3 -n 5").expect(0, &[]);
    home.dev("fault s3 kill").expect(0, &[]);
    home.dev("status").expect(0, &["down"]);
    // Whatever would fetch something says that it was called, and fails.
    for name in ["mvn", "go", "npm", "pip", "apt-get", "curl"] {
        home.program(name, "echo called >>\"$SLUIS_DEV_HOME/called\"; exit 1");
    }
    home.with_programs("up s3").expect(0, &["ready in"]);
    home.with_programs("up").expect(0, &["ran already"]);
    assert!(!home.folder().join("called").exists());
    home.dev("down").expect(0, &["1 process ended"]);
    assert_eq!(home.processes(), 0);
    home.dev("reset").expect(0, &["the downloads are kept"]);
    home.dev("status").expect(1, &["there is no cluster default", "`sluis dev up` makes it"]);
}

#[test]
fn the_connections_that_env_writes_pass_check() {
    let home = Home::with_packages();
    home.dev("up s3").expect(0, &[]);
    home.dev("env").expect(0, &[]);
    let written = std::fs::read_to_string(home.folder().join("clusters/default/client/sluis.yaml")).unwrap();
    assert!(written.contains("s3_dev:"), "{written}");
    home.sandbox.file("sluis.yaml", &written);
    home.sandbox.sluis("check --connect").expect(0, &[]);
    home.dev("down").expect(0, &[]);
}

#[test]
fn sluis_killed_in_mid_start_leaves_nothing_that_up_does_not_repair_or_down_does_not_end() {
    let home = Home::with_packages();
    for repair in ["up zookeeper kudu", "down"] {
        let mut up = home.command("up zookeeper kudu").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(120);
        while home.processes() == 0 {
            assert!(Instant::now() < end, "nothing is started");
            std::thread::sleep(Duration::from_millis(1)); // polls
        }
        up.kill().unwrap();
        up.wait().unwrap();
        assert!(home.processes() > 0, "what it started went with it");
        home.dev(repair).expect(0, &[]);
        home.dev("down").expect(0, &[]);
        assert_eq!(home.processes(), 0);
    }
}

#[test]
fn a_java_that_is_too_old_or_missing_is_said_and_the_rest_stays_up() {
    let home = Home::with_packages();
    home.program("java", "echo 'openjdk version \"11.0.2\" 2019-01-15' >&2");
    let said = home.with_programs("up zookeeper s3");
    said.expect(1, &["Java 11 is too old", "openjdk-17", "1 service not up; still up: s3"]);
    let said = home.with_programs("up zookeeper s3 --stop-on-failure");
    said.expect(1, &["Java 11 is too old", "everything was brought down"]);
    assert_eq!(home.processes(), 0);
}

#[test]
fn no_network_and_no_room_at_the_first_use_are_said_as_such() {
    let home = Home::empty();
    home.program("mvn", "echo '[ERROR] Unknown host repo.example.org'; exit 1");
    home.with_programs("up zookeeper").expect(1, &["the registry cannot be reached", "Unknown host", "log:"]);
    home.program("mvn", "echo '[ERROR] No space left on device'; exit 1");
    home.with_programs("up zookeeper").expect(1, &["free some space"]);
    // What came is not what is pinned.
    home.program("mvn", "for a; do case $a in -DoutputDirectory=*) echo x >${a#*=}/zookeeper-3.9.4.jar;; esac; done");
    home.with_programs("up zookeeper").expect(1, &["zookeeper-3.9.4.jar has another checksum", "did not come"]);
    assert_eq!(home.processes(), 0);
}

#[test]
fn what_is_asked_wrongly_is_a_usage_error() {
    let home = Home::empty();
    home.dev("up hbase").expect(2, &["there is no service `hbase`", "kafka"]);
    home.dev("up kafka:2").expect(2, &["has no variant `2`", "kafka:3"]);
    home.dev("up s3 --cluster ../x").expect(2, &["no name for a cluster"]);
    home.dev("down").expect(0, &["0 processes ended"]);
    home.dev("services").expect(0, &["zookeeper", "kudu"]);
}
