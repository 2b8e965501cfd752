//! Two processes at once, and processes that are told to stop.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::sandbox::{Sandbox, binary, said};

/// Files, one an epoch: enough to be met at work.
const FILES: usize = 3000;

fn busy() -> Sandbox {
    let sandbox = Sandbox::new();
    for n in 0..FILES {
        sandbox.file(&format!("in/{n:05}.csv"), format!("id\n{n}\n"));
    }
    sandbox.file("load.yaml", "from:\n  files: { url: in/ }\n  csv: {}\ninto:\n  files: { url: out/, format: csv }\nlimits: { files: 1 }\n");
    sandbox
}

/// Starts a run and waits until it has committed something.
fn started(sandbox: &Sandbox) -> Child {
    let mut child = sandbox.command(binary()).args(["run", "load.yaml", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|l| l.unwrap().contains("committed")), "nothing was committed");
    // What else it says must not fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn signal(child: &Child, name: &str) {
    let sent = std::process::Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Every id once: none is lost, none is doubled.
fn every_row_once(sandbox: &Sandbox) {
    let mut ids: Vec<usize> = std::fs::read_dir(sandbox.path("out"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "csv"))
        .flat_map(|p| std::fs::read_to_string(p).unwrap().lines().skip(1).map(|l| l.parse().unwrap()).collect::<Vec<usize>>())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..FILES).collect::<Vec<_>>());
}

fn finish(sandbox: &Sandbox) {
    sandbox.file("load.yaml", "from:\n  files: { url: in/ }\n  csv: {}\ninto:\n  files: { url: out/, format: csv }\nlimits: { files: 5000 }\n");
    sandbox.sluis("run load.yaml").expect(0, &["done"]);
    every_row_once(sandbox);
    sandbox.sluis("ledger fsck").expect(0, &["everything is consistent"]);
}

#[test]
fn a_run_that_is_told_to_stop_ends_within_a_second_and_the_next_goes_on() {
    let sandbox = busy();
    for name in ["INT", "TERM"] {
        let child = started(&sandbox);
        let at = Instant::now();
        signal(&child, name);
        let said = said(child.wait_with_output().unwrap());
        assert!(at.elapsed() < Duration::from_secs(3), "{:?} on a machine that has other things to do", at.elapsed());
        let line: serde_json::Value = serde_json::from_str(said.stdout.trim()).unwrap();
        assert_eq!(
            (said.code, line["status"].as_str(), line["error"]["kind"].as_str()),
            (Some(1), Some("interrupted"), Some("interrupted")),
            "{said:?}"
        );
        assert!(line["epochs"].as_u64().unwrap() > 0);
    }
    finish(&sandbox);
}

#[test]
fn of_two_processes_one_works_and_the_other_says_who_does() {
    let sandbox = busy();
    let child = started(&sandbox);
    let pid = child.id().to_string();
    let other = sandbox.sluis("run load.yaml --json");
    other.expect(4, &["\"status\":\"held\"", &pid]);
    assert_eq!(other.stdout.lines().count(), 1);
    sandbox.sluis("run load.yaml --lanes 2").expect(4, &[&pid]);
    sandbox.sluis("rewind load.yaml --to-epoch 0 --yes").expect(4, &[&pid]);
    sandbox.sluis("backfill load.yaml").expect(4, &[&pid]);
    sandbox.sluis("status").expect(0, &["running", &pid]);
    signal(&child, "KILL");
    assert_eq!(said(child.wait_with_output().unwrap()).code, None);
    // The lease of a process that is gone does not keep anybody waiting.
    finish(&sandbox);
}

#[test]
fn a_crash_point_fires_and_the_next_run_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.file("in/a.csv", "id\n1\n2\n");
    sandbox.file("load.yaml", "from:\n  files: { url: in/ }\n  csv: {}\ninto:\n  files: { url: out/, format: csv }\n");
    sandbox.sh("SLUIS_CRASH_AT=nowhere sluis run load.yaml").expect(2, &["unknown crash point", "plan.before_record"]);
    for point in ["plan.after_record", "stage.after_record"] {
        let said = sandbox.sh(&format!("SLUIS_CRASH_AT={point} sluis run load.yaml"));
        assert!(said.stderr.contains(&format!("crash point {point} fired")), "{said:?}");
    }
    sandbox.sluis("status").expect(0, &["unfinished: epoch 1 staged"]);
    sandbox.sluis("run load.yaml").expect(0, &["an earlier run left it unfinished", "2 rows read, 2 written"]);
    sandbox.sluis("run load.yaml").expect(0, &["nothing new"]);
}
