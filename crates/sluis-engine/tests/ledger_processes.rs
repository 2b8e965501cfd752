//! Several processes on one ledger file: they wait for each other, one wins, a killed one is taken over at once, nothing is lost.
//!
//! The other processes are this test binary again, running the test `child` with its task in the environment.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::executor::block_on;
use sluis_core::{Checkpoint, Clock, Created, Epoch, ErrorKind, LaneId, LedgerStore, Next, Outcome, PipelineName, Record, decide};
use sluis_engine::SqliteLedger;
use sluis_engine::ledger::owner::this_process;
use sluis_testkit::conformance::ledger::{committed, planned, staged, version};

const TASK: &str = "SLUIS_LEDGER_TEST_TASK";
const HOUR: Duration = Duration::from_secs(3600);

struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

fn open(path: &Path) -> SqliteLedger {
    SqliteLedger::open(path, Arc::new(WallClock)).unwrap()
}

fn spawn(path: &Path, task: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(TASK, format!("{task} {}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Drives `lane` through epochs of one file each until `until`.
fn drive(ledger: &SqliteLedger, lane: &LaneId, until: u64) {
    let lease = block_on(ledger.acquire(lane, &this_process(Utc::now()), HOUR)).expect("the lane is free or its owner was killed");
    loop {
        let record: Record = match decide(block_on(ledger.read(lane)).unwrap()) {
            Next::Plan { epoch, .. } if epoch.0 > until => break,
            Next::Plan { epoch, from } => planned(epoch.0, lease.generation, &from, vec![version(&format!("/{lane}/{epoch}"), epoch.0)]).into(),
            Next::Execute { planned } => {
                let mut s = staged(&planned, vec![Outcome::Read; planned.splits.len()]);
                s.generation = lease.generation;
                s.into()
            }
            Next::Commit { staged, .. } => {
                let mut c = committed(&staged);
                c.generation = lease.generation;
                c.into()
            }
        };
        assert_eq!(block_on(ledger.create(lane, record)).unwrap(), Created::Won);
        println!("step");
    }
    block_on(ledger.release(&lease)).unwrap();
}

#[test]
fn child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let mut words = task.splitn(3, ' ');
    let (task, lane, path) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    if task == "locked-out" {
        return locked_out(Path::new(path));
    }
    let ledger = open(Path::new(path));
    match task {
        "drive" => drive(&ledger, &LaneId::new("p", lane), 40),
        "endless" => drive(&ledger, &LaneId::new("p", lane), u64::MAX),
        other => panic!("{other}?"),
    }
}

#[test]
fn processes_wait_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/down/ledger.db");
    // They also race to create it.
    let children: Vec<Child> = (0..4).map(|n| spawn(&path, &format!("drive lane-{n}"))).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let ledger = open(&path);
    let lanes = ledger.lanes(None).unwrap();
    assert_eq!(lanes.iter().map(|l| (l.epochs, l.files)).collect::<Vec<_>>(), [(40, 40); 4]);
    assert_eq!(ledger.fsck().unwrap().problems, [""; 0]);
    drop(ledger);
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no leftovers of the race");
}

#[test]
fn a_killed_process_is_taken_over_at_once_and_nothing_of_it_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let lane = LaneId::new("p", "main");
    let mut generation = 0;
    for round in 1..=8 {
        let mut child = spawn(&path, "endless main");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..round * 5 {
            while !lines.next().expect("it goes on").unwrap().contains("step") {}
        }
        if round == 1 {
            let e = block_on(open(&path).acquire(&lane, &this_process(Utc::now()), HOUR)).unwrap_err();
            assert!(e.kind() == ErrorKind::Lease && e.to_string().contains(&format!("process {}", child.id())), "{e}");
        }
        child.kill().unwrap();
        // Not waited for: a corpse is gone, too.
        let ledger = open(&path);
        let lease = loop {
            match block_on(ledger.acquire(&lane, &this_process(Utc::now()), HOUR)) {
                Ok(lease) => break lease,
                Err(e) => assert_eq!(e.kind(), ErrorKind::Lease, "{e}"),
            }
        };
        assert!(lease.generation.0 > generation);
        generation = lease.generation.0;
        let report = ledger.fsck().unwrap();
        assert_eq!(report.problems, [""; 0]);
        assert!(report.epochs * 3 >= round * 5, "what it said is done is there: {report:?}");
        block_on(ledger.release(&lease)).unwrap();
        child.wait().unwrap();
    }
    let ledger = open(&path);
    drive(&ledger, &lane, ledger.lanes(None).unwrap()[0].epochs + 2);
    let epochs = ledger.epochs(&PipelineName::new("p"), usize::MAX).unwrap();
    assert_eq!(epochs.last().unwrap().epoch, Epoch(1));
    assert_eq!(block_on(ledger.read(&lane)).unwrap().committed.map(|(e, _)| e), Some(epochs[0].epoch));
    assert_ne!(block_on(ledger.read(&lane)).unwrap().committed.unwrap().1, Checkpoint::default());
}

/// What a user sees who may read the ledger and its folder, and write neither.
fn locked_out(path: &Path) {
    let e = SqliteLedger::open(path, Arc::new(WallClock)).err().expect("it must be refused");
    assert!(e.kind() == ErrorKind::Permission && e.hint_text().unwrap().contains("access"), "{e:?}");
    let e = SqliteLedger::open(&path.with_file_name("new.db"), Arc::new(WallClock)).err().expect("it must be refused");
    assert!(e.kind() == ErrorKind::Permission && e.to_string().contains("new.db"), "{e:?}");
    let ledger = SqliteLedger::open_existing(path, Arc::new(WallClock)).unwrap().expect("it is there");
    assert_eq!(ledger.lanes(None).unwrap()[0].epochs, 3);
    assert_eq!(ledger.fsck().unwrap().problems, [""; 0]);
    println!("all seen");
}

#[test]
fn who_may_only_read_can_look() {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let state = folder.path().join("state ?#%");
    let path = state.join("ledger.db");
    drive(&open(&path), &LaneId::new("p", "main"), 3);
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(&state, Permissions::from_mode(0o555)).unwrap();
    // Root may do anything: the child is somebody else then, and gets a copy of this program that it can reach.
    let program = folder.path().join("child");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut command = Command::new(&program);
    command.args(["--exact", "child", "--nocapture"]).env(TASK, format!("locked-out main {}", path.display())).current_dir(folder.path());
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("all seen"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    fs::set_permissions(&state, Permissions::from_mode(0o755)).unwrap();
}
