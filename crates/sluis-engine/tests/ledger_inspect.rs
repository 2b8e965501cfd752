//! Questions people ask of the ledger, and `rewind`.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use sluis_core::{
    Change, Clock, Created, Drift, Epoch, ErrorKind, FileVersion, LaneId, Lease, LedgerStore, Next, Outcome, PipelineName, Record, Staged, decide,
};
use sluis_engine::SqliteLedger;
use sluis_testkit::conformance::ledger::{MovedClock, committed, holder, planned, staged, version};

struct World {
    ledger: SqliteLedger,
    clock: Arc<MovedClock>,
}

impl World {
    fn new() -> World {
        let clock = MovedClock::at("2024-06-01T12:00:00Z");
        World { ledger: SqliteLedger::in_memory(clock.clone()).unwrap(), clock }
    }

    async fn acquire(&self, lane: &LaneId) -> Lease {
        self.ledger.acquire(lane, &holder(1), Duration::from_secs(30)).await.unwrap()
    }

    /// Plans `files`, and goes on to `last`.
    async fn epoch(&self, lease: &Lease, files: &[(FileVersion, Outcome)], change: impl Fn(&mut Staged), last: &str) -> Epoch {
        let Next::Plan { epoch, from } = decide(self.ledger.read(&lease.lane).await.unwrap()) else { panic!("an epoch is open") };
        let p = planned(epoch.0, lease.generation, &from, files.iter().map(|(v, _)| v.clone()).collect());
        let mut s = staged(&p, files.iter().map(|(_, o)| o.clone()).collect());
        change(&mut s);
        let c = committed(&s);
        for record in [Record::Planned(p), Record::Staged(s), Record::Committed(c)] {
            let done = record.kind() == last;
            assert_eq!(self.ledger.create(&lease.lane, record).await.unwrap(), Created::Won);
            if done {
                break;
            }
        }
        epoch
    }

    async fn landed(&self, lease: &Lease, files: &[FileVersion]) -> Epoch {
        let files: Vec<_> = files.iter().map(|f| (f.clone(), Outcome::Read)).collect();
        self.epoch(lease, &files, |_| {}, "committed").await
    }

    /// `(landed, landed_before, again)`.
    async fn known(&self, pipeline: &str, path: &str) -> Option<(bool, bool, bool)> {
        let known = self.ledger.history(&PipelineName::new(pipeline)).lookup(&[path.to_owned()]).await.unwrap().remove(0);
        known.map(|k| (k.landed, k.landed_before, k.again))
    }

    fn sound(&self) {
        assert_eq!(self.ledger.fsck().unwrap().problems, [""; 0]);
    }
}

#[tokio::test]
async fn lanes_say_where_they_stand() {
    let w = World::new();
    assert!(w.ledger.lanes(None).unwrap().is_empty());
    let (main, other) = (LaneId::new("p", "main"), LaneId::new("q", "main"));
    let lease = w.acquire(&main).await;
    w.landed(&lease, &[version("/a", 1), version("/b", 1)]).await;
    w.epoch(&lease, &[(version("/c", 1), Outcome::Read), (version("/d", 1), Outcome::Changed("gone".into()))], |_| {}, "committed").await;
    w.epoch(&lease, &[(version("/e", 1), Outcome::Read)], |_| {}, "staged").await;
    w.acquire(&other).await;
    let lanes = w.ledger.lanes(None).unwrap();
    assert_eq!(lanes.iter().map(|l| &l.lane).collect::<Vec<_>>(), [&main, &other]);
    let status = &lanes[0];
    assert_eq!(status.last_committed, Some((Epoch(2), "2024-06-01T12:00:00.123456789Z".parse().unwrap())));
    assert_eq!(status.open, Some((Epoch(3), "staged")));
    assert_eq!((status.epochs, status.files, status.bytes), (2, 3, 400), "what was staged only does not count, nor what changed");
    assert_eq!((status.rows.read, status.rows.written, status.rows.rejected, status.rows.filtered, status.rows.added), (30, 24, 3, 6, 3));
    let had = status.holder.as_ref().unwrap();
    assert_eq!((&had.who, had.generation, had.until, had.alive), (&holder(1), lease.generation, lease.until, true));
    assert_eq!((lanes[1].last_committed, lanes[1].open, lanes[1].epochs), (None, None, 0));
    w.clock.step(TimeDelta::seconds(31));
    assert!(!w.ledger.lanes(Some(&PipelineName::new("p"))).unwrap()[0].holder.as_ref().unwrap().alive);
    w.ledger.release(&lease).await.unwrap();
    assert!(w.ledger.lanes(Some(&PipelineName::new("p"))).unwrap()[0].holder.is_none());
    assert!(w.ledger.lanes(Some(&PipelineName::new("none"))).unwrap().is_empty());
    w.sound();
}

#[tokio::test]
async fn epochs_come_newest_first_over_all_lanes() {
    let w = World::new();
    let one = w.acquire(&LaneId::new("p", "1of2")).await;
    let two = w.acquire(&LaneId::new("p", "2of2")).await;
    let schema = |text: &'static str| move |s: &mut Staged| s.schema = Some(json!({"fields": [text]}));
    w.epoch(&one, &[(version("/a", 1), Outcome::Read)], schema("a"), "committed").await;
    w.epoch(&two, &[(version("/b", 1), Outcome::Read)], schema("b"), "committed").await;
    w.epoch(&one, &[(version("/c", 1), Outcome::Read)], schema("a"), "committed").await;
    w.epoch(&one, &[(version("/a", 2), Outcome::Read)], |s| s.replaced = vec!["/a".into()], "staged").await;
    w.epoch(&two, &[(version("/d", 5), Outcome::Read), (version("/e", 6), Outcome::Read)], schema("c"), "planned").await;
    let epochs = w.ledger.epochs(&PipelineName::new("p"), 10).unwrap();
    let names: Vec<String> = epochs.iter().map(|e| format!("{}:{}", e.lane.lane, e.epoch)).collect();
    assert_eq!(names, ["2of2:2", "1of2:3", "1of2:2", "2of2:1", "1of2:1"]);
    let [open, half, same, _, first] = &epochs[..] else { panic!("five") };
    assert!(open.staged_at.is_none() && open.committed_at.is_none());
    assert_eq!((open.files, open.bytes, open.rows.read), (2, 11, 0), "what it is going to read");
    assert!(half.staged_at.is_some() && half.committed_at.is_none() && half.receipts.is_empty());
    assert_eq!((half.replaced.as_slice(), half.files, half.rows.written), (["/a".to_owned()].as_slice(), 1, 8));
    assert_eq!((&same.schema, &first.schema), (&None, &Some(json!({"fields": ["a"]}))), "only where it is another one");
    assert_eq!((first.receipts.len(), first.generation), (1, one.generation));
    assert_eq!(w.ledger.epochs(&PipelineName::new("p"), 2).unwrap().len(), 2);
    assert!(w.ledger.epochs(&PipelineName::new("none"), 2).unwrap().is_empty());
    w.sound();
}

#[tokio::test]
async fn why_tells_the_whole_story_of_a_file() {
    let w = World::new();
    let main = w.acquire(&LaneId::new("p", "main")).await;
    let other = w.acquire(&LaneId::new("q", "main")).await;
    let path = "s3://b/in/day=1/f.csv";
    w.epoch(&main, &[(version(path, 1), Outcome::Changed("it was rewritten".into()))], |_| {}, "committed").await;
    w.landed(&main, &[version(path, 2), version("s3://b/in/day=2/f.csv", 9), version("s3://b/in/day=1/xf.csv", 9)]).await;
    w.epoch(&main, &[(version(path, 3), Outcome::Corrupt("cut off".into()))], |_| {}, "committed").await;
    w.epoch(&main, &[(version(path, 4), Outcome::Read)], |_| {}, "planned").await;
    w.landed(&other, &[version("f.csv", 1)]).await;
    let stories = w.ledger.why(path).unwrap();
    let [story] = &stories[..] else { panic!("one file: {stories:?}") };
    assert_eq!((story.pipeline.as_str(), story.path.as_str()), ("p", path));
    let told: Vec<_> = story.versions.iter().map(|v| (v.version.size, v.epoch.0, v.fate.as_str(), v.rows.written)).collect();
    assert_eq!(told, [(1, 1, "changed: it was rewritten", 0), (2, 2, "landed", 8), (3, 3, "corrupt: cut off", 0), (4, 4, "planned", 0)]);
    assert!(story.versions[1].committed_at.is_some() && story.versions[3].staged_at.is_none());
    assert_eq!(story.versions[2].version, version(path, 3));
    let found = |file: &str| w.ledger.why(file).unwrap().into_iter().map(|s| s.path).collect::<Vec<_>>();
    assert_eq!(found("f.csv"), [path, "s3://b/in/day=2/f.csv", "f.csv"]);
    assert_eq!(found("day=1/f.csv"), [path]);
    assert_eq!(found("in/day=2/f.csv"), ["s3://b/in/day=2/f.csv"]);
    for unknown in ["y=1/f.csv", "F.csv", "", "day=1/", "%", "s3://b/in/day=1/f.csv/"] {
        assert_eq!(found(unknown), [""; 0], "{unknown}");
    }
    w.sound();
}

#[tokio::test]
async fn a_rewind_makes_files_new_again() {
    let w = World::new();
    let main = w.acquire(&LaneId::new("p", "main")).await;
    let other = w.acquire(&LaneId::new("p", "other")).await;
    w.landed(&main, &[version("/a", 1), version("/b", 1)]).await;
    w.landed(&main, &[version("/c", 1), version("/b", 2)]).await;
    w.epoch(&main, &[(version("/d", 1), Outcome::Read), (version("/e", 1), Outcome::Changed("gone".into()))], |_| {}, "committed").await;
    w.landed(&other, &[version("/o", 1)]).await;
    assert_eq!(w.ledger.rewind(&main, Epoch(3)).unwrap().epochs, 0);
    let back = w.ledger.rewind(&main, Epoch(1)).unwrap();
    assert_eq!((back.epochs, back.files), (2, 3));
    assert_eq!(w.known("p", "/a").await, Some((true, true, false)));
    for path in ["/b", "/c", "/d"] {
        assert_eq!(w.known("p", path).await, Some((false, true, true)), "{path} is asked for again");
    }
    assert_eq!(w.known("p", "/e").await, Some((false, false, false)), "it never landed");
    assert_eq!(w.known("p", "/o").await, Some((true, true, false)), "another lane's");
    assert_eq!(w.ledger.why("c").unwrap()[0].versions[0].fate, "rewound");
    assert_eq!(w.ledger.rewind(&main, Epoch(1)).unwrap().epochs, 0, "they are given back already");
    let again = w.landed(&main, &[version("/c", 1)]).await;
    assert_eq!(again, Epoch(4), "numbers go on");
    assert_eq!(w.known("p", "/c").await, Some((true, true, false)));
    let fates: Vec<_> = w.ledger.why("c").unwrap().remove(0).versions.into_iter().map(|v| v.fate).collect();
    assert_eq!(fates, ["rewound", "landed"]);
    let back = w.ledger.rewind(&main, Epoch(0)).unwrap();
    assert_eq!((back.epochs, back.files), (2, 3), "epochs 1 and 4; 2 and 3 were given back before");
    assert!(!w.ledger.history(&PipelineName::new("p")).is_first_run().await.unwrap());
    w.epoch(&main, &[(version("/z", 1), Outcome::Read)], |_| {}, "planned").await;
    assert_eq!(w.ledger.rewind(&main, Epoch(0)).unwrap_err().kind(), ErrorKind::Conflict, "an epoch is open");
    w.ledger.release(&main).await.unwrap();
    assert_eq!(w.ledger.rewind(&main, Epoch(0)).unwrap_err().kind(), ErrorKind::Lease);
    w.sound();
}

#[tokio::test]
async fn a_backfill_may_ask_for_what_other_lanes_landed() {
    let w = World::new();
    let (main, back) = (w.acquire(&LaneId::new("p", "main")).await, w.acquire(&LaneId::new("p", "backfill-1")).await);
    w.landed(&main, &[version("/a", 1), version("/b", 1)]).await;
    w.epoch(&main, &[(version("/c", 1), Outcome::Changed("gone".into())), (version("/d", 1), Outcome::Corrupt("bad".into()))], |_| {}, "committed")
        .await;
    w.landed(&back, &[version("/b", 1)]).await;
    let history = w.ledger.history_again(&PipelineName::new("p"), "backfill-1");
    let known = history.lookup(&["/a", "/b", "/c", "/d", "/new"].map(str::to_owned)).await.unwrap();
    let fates: Vec<_> = known.into_iter().map(|k| k.map(|k| (k.landed, k.landed_before, k.again))).collect();
    assert_eq!(fates[..2], [Some((false, true, true)), Some((true, true, false))], "its own are done");
    assert_eq!(fates[2..], [Some((false, false, false)), Some((false, false, true)), None]);
    assert_eq!(w.known("p", "/a").await, Some((true, true, false)), "to others nothing changed");
}

#[tokio::test]
async fn one_ledger_in_memory_is_shared_by_several_owners() {
    let w = World::new();
    let lane = LaneId::new("p", "main");
    let lease = w.acquire(&lane).await;
    let slow = MovedClock::at("2024-06-01T13:00:00Z");
    let other = w.ledger.shared(slow.clone());
    let taken = other.acquire(&lane, &holder(2), Duration::from_secs(30)).await.expect("by its clock the lease ran out");
    assert!(taken.generation > lease.generation && taken.until > slow.now());
    assert_eq!(w.ledger.renew(&lease, Duration::from_secs(30)).await.unwrap_err().kind(), ErrorKind::Lease);
}

#[tokio::test]
async fn drift_is_told_as_it_was_recorded_and_by_the_schemas_of_epochs_that_did_not() {
    let w = World::new();
    let lease = w.acquire(&LaneId::new("p", "main")).await;
    let column = |name: &str, t: &str| json!({ "name": name, "type": t, "nullable": true });
    let none = |schema: serde_json::Value| {
        move |s: &mut Staged| {
            s.drift = None;
            s.schema = Some(schema.clone());
        }
    };
    let files = |n: u64| [(version(&format!("/{n}"), 1), Outcome::Read)];
    w.epoch(&lease, &files(1), none(json!([column("a", "int")])), "committed").await;
    w.epoch(&lease, &files(2), none(json!([column("a", "bigint"), column("b", "string")])), "committed").await;
    let missing = |lacks: &'static [&'static str]| {
        move |s: &mut Staged| {
            let lacks = lacks.iter().map(|c| Drift { file: None, column: (*c).into(), change: Change::Missing { files: 1, of: 1 } });
            s.drift = Some(lacks.collect());
        }
    };
    let recorded = |s: &mut Staged| {
        let file = Some(version("/3", 1));
        s.drift = Some(vec![Drift { file, column: "c".into(), change: Change::Rescued { values: 2 } }]);
    };
    w.epoch(&lease, &files(3), recorded, "committed").await;
    for (n, lacks) in [(4, &["a"][..]), (5, &["a"]), (6, &["a", "b"]), (7, &["b"]), (8, &[])] {
        w.epoch(&lease, &files(n), missing(lacks), "committed").await;
    }
    let history = w.ledger.schema_history(&PipelineName::new("p"), 100).unwrap();
    let told: Vec<String> = history
        .iter()
        .map(|e| {
            let file = e.file.as_ref().map_or("-", |f| f.path.as_str());
            let value = serde_json::to_value(e).unwrap();
            assert!(value["at"].is_string() && value["lane"].is_object(), "{value}");
            format!("{} {file} {} {}", e.epoch, e.column, value["change"].as_str().unwrap())
        })
        .collect();
    let want = ["1 - a added", "2 - a retyped", "2 - b added", "3 /3 c rescued", "4 - a missing", "6 - b missing", "7 - a back", "8 - b back"];
    assert_eq!(told, want);
    assert_eq!(w.ledger.schema_history(&PipelineName::new("p"), 2).unwrap(), history[6..]);
    w.sound();
}
