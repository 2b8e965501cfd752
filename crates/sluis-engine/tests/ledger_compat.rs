//! Ledgers of every released version still open: `/tests/compat/ledger-v<N>.db`, each with what must be found in it beside it as JSON.
//!
//! A fixture is written once, when a version of the tables is new, and never again:
//! `cargo test -p sluis-engine --test ledger_compat -- --ignored write_the_fixture_of_this_version`

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use serde_json::{Value, json};
use sluis_core::clock::FixedClock;
use sluis_core::{Clock, Created, Epoch, FileVersion, LaneId, Lease, LedgerStore, Next, Outcome, PipelineName, Record, Staged, decide};
use sluis_engine::SqliteLedger;
use sluis_engine::ledger::VERSION;
use sluis_testkit::conformance::ledger::{committed, holder, planned, staged, version};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/compat")
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(FixedClock("2024-06-01T12:00:10Z".parse().unwrap()))
}

/// Plans `files`, and goes on to `last`.
fn epoch(ledger: &SqliteLedger, lease: &Lease, files: &[(FileVersion, Outcome)], change: impl Fn(&mut Staged), last: &str) {
    let Next::Plan { epoch, from } = decide(block_on(ledger.read(&lease.lane)).unwrap()) else { panic!("an epoch is open") };
    let p = planned(epoch.0, lease.generation, &from, files.iter().map(|(v, _)| v.clone()).collect());
    let mut s = staged(&p, files.iter().map(|(_, o)| o.clone()).collect());
    change(&mut s);
    let c = committed(&s);
    for record in [Record::Planned(p), Record::Staged(s), Record::Committed(c)] {
        let done = record.kind() == last;
        assert_eq!(block_on(ledger.create(&lease.lane, record)).unwrap(), Created::Won);
        if done {
            break;
        }
    }
}

/// One of everything that a ledger can hold.
fn fill(ledger: &SqliteLedger) {
    let acquire = |lane: LaneId, who| block_on(ledger.acquire(&lane, &holder(who), Duration::from_secs(30))).unwrap();
    let read = |path: &str, size| (version(path, size), Outcome::Read);
    let schema = |names: &'static [&'static str]| move |s: &mut Staged| s.schema = Some(json!({ "fields": names }));
    let calls = acquire(LaneId::new("calls", "main"), 1);
    epoch(ledger, &calls, &[read("s3://landing/calls/day=1/a.csv", 10), read("s3://landing/calls/day=1/ü b.csv", 11)], schema(&["a"]), "committed");
    let bad = [
        (version("s3://landing/calls/day=2/a.csv", 12), Outcome::Changed("it was rewritten".into())),
        (version("s3://landing/calls/day=2/b.csv", 13), Outcome::Corrupt("the archive is cut off".into())),
    ];
    epoch(ledger, &calls, &bad, |_| {}, "committed");
    let replaced = |s: &mut Staged| {
        s.schema = Some(json!({"fields": ["a", "b"]}));
        s.replaced = vec!["s3://landing/calls/day=1/a.csv".into()];
    };
    epoch(ledger, &calls, &[read("s3://landing/calls/day=1/a.csv", 20), read("s3://landing/calls/day=2/a.csv", 21)], replaced, "committed");
    epoch(ledger, &calls, &[read("s3://landing/calls/day=3/a.csv", 30)], schema(&["a", "b"]), "staged");
    let one = acquire(LaneId::new("telemetry", "1of2"), 1);
    epoch(ledger, &one, &[read("/data/telemetry/1.csv", 1)], schema(&["x"]), "committed");
    epoch(ledger, &one, &[read("/data/telemetry/2.csv", 2)], schema(&["x"]), "committed");
    ledger.rewind(&one, Epoch(1)).unwrap();
    block_on(ledger.release(&one)).unwrap();
    let two = acquire(LaneId::new("telemetry", "2of2"), 2);
    epoch(ledger, &two, &[read("/data/telemetry/3.csv", 3)], |_| {}, "planned");
}

/// Everything that can be asked of a ledger.
fn told(ledger: &SqliteLedger) -> Value {
    let names = [PipelineName::new("calls"), PipelineName::new("telemetry")];
    let lanes = ledger.lanes(None).unwrap();
    let views: Vec<Value> = lanes
        .iter()
        .map(|l| {
            let view = block_on(ledger.read(&l.lane)).unwrap();
            let last = block_on(ledger.last_committed(&l.lane)).unwrap();
            json!({"committed": view.committed, "planned": view.planned, "staged": view.staged, "last": last})
        })
        .collect();
    let stories: Vec<_> = ["a.csv", "ü b.csv", "b.csv", "1.csv", "2.csv", "3.csv"].iter().flat_map(|f| ledger.why(f).unwrap()).collect();
    let known = |pipeline: &PipelineName| {
        let paths: Vec<String> = stories.iter().map(|s| s.path.clone()).collect();
        let known = block_on(ledger.history(pipeline).lookup(&paths)).unwrap();
        let each = known.into_iter().flatten().map(|k| json!([k.version, k.lane, k.epoch, k.landed, k.landed_before, k.again]));
        each.collect::<Vec<Value>>()
    };
    json!({
        "lanes": lanes,
        "views": views,
        "epochs": names.iter().map(|n| ledger.epochs(n, 99).unwrap()).collect::<Vec<_>>(),
        "stories": stories,
        "known": names.iter().map(known).collect::<Vec<_>>(),
        "schemas": names.iter().map(|n| block_on(ledger.last_schema(n)).unwrap()).collect::<Vec<_>>(),
    })
}

/// Whether all of `expected` is in `found`: later versions may tell more.
fn holds(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => expected.iter().all(|(k, v)| found.get(k).is_some_and(|f| holds(f, v))),
        (Value::Array(found), Value::Array(expected)) => found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| holds(f, e)),
        _ => found == expected,
    }
}

#[test]
#[ignore = "writes the fixture of a new version of the tables"]
fn write_the_fixture_of_this_version() {
    let path = folder().join(format!("ledger-v{VERSION}.db"));
    assert!(!path.exists(), "{} is there: fixtures of a version are never written again", path.display());
    let ledger = SqliteLedger::open(&path, clock()).unwrap();
    fill(&ledger);
    let text = serde_json::to_string_pretty(&told(&ledger)).unwrap();
    fs::write(path.with_extension("json"), text + "\n").unwrap();
}

#[test]
fn ledgers_of_every_version_open_and_go_on() {
    let temporary = tempfile::tempdir().unwrap();
    for version in 1..=VERSION {
        let name = format!("ledger-v{version}.db");
        let expected: Value = serde_json::from_slice(&fs::read(folder().join(&name).with_extension("json")).unwrap()).unwrap();
        let path = temporary.path().join(&name);
        fs::copy(folder().join(&name), &path).unwrap();
        let looking = SqliteLedger::open_existing(&path, clock()).unwrap().expect("it is there");
        assert!(holds(&told(&looking), &expected), "{name}, for looking: {:#}", told(&looking));
        drop(looking);
        let ledger = SqliteLedger::open(&path, clock()).unwrap();
        assert!(holds(&told(&ledger), &expected), "{name}: {:#}", told(&ledger));
        assert_eq!(ledger.fsck().unwrap().problems, [""; 0], "{name}");
        // Nothing was recorded of drift then, and these schemas are no columns.
        assert_eq!(ledger.schema_history(&PipelineName::new("calls"), 100).unwrap(), []);
        go_on(&ledger);
        assert_eq!(ledger.fsck().unwrap().problems, [""; 0], "{name}, an epoch later");
    }
}

/// What was staged is committed, and another epoch follows.
fn go_on(ledger: &SqliteLedger) {
    let lane = LaneId::new("telemetry", "2of2");
    ledger.lanes(None).unwrap().iter().for_each(|l| assert_eq!(l.holder.is_some(), l.lane.lane != "1of2"));
    let lane_of_calls = LaneId::new("calls", "main");
    let later: Arc<dyn Clock> = Arc::new(FixedClock("2024-06-01T13:00:00Z".parse().unwrap()));
    let ledger = ledger.shared(later);
    for lane in [lane, lane_of_calls] {
        let lease = block_on(ledger.acquire(&lane, &holder(9), Duration::from_secs(30))).expect("the lease ran out");
        assert_eq!(lease.generation.0, 2);
        loop {
            let record: Record = match decide(block_on(ledger.read(&lane)).unwrap()) {
                Next::Plan { .. } => break,
                Next::Execute { planned } => {
                    Staged { generation: lease.generation, ..staged(&planned, vec![Outcome::Read; planned.splits.len()]) }.into()
                }
                Next::Commit { staged, .. } => {
                    let mut record = committed(&staged);
                    record.generation = lease.generation;
                    record.into()
                }
            };
            assert_eq!(block_on(ledger.create(&lane, record)).unwrap(), Created::Won);
        }
        epoch(&ledger, &lease, &[(version(&format!("/new/{lane}"), 1), Outcome::Read)], |_| {}, "committed");
    }
}
