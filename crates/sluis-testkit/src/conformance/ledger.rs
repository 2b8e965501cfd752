//! The suite that every [`LedgerStore`] must pass.
//!
//! Each function takes an empty ledger and a clock that it moves, and panics with what does not hold.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sluis_core::{
    Change, Checkpoint, Clock, Committable, Committed, Created, Drift, Epoch, Error, ErrorKind, FileHistory, FileVersion, Generation, KnownFile,
    LaneId, LaneView, Lease, LeaseHolder, LedgerStore, Next, Outcome, PartitionId, PipelineName, Planned, Position, Receipt, Record, RowCounts,
    SinkName, Split, SplitReport, Staged, decide,
};

/// A clock that a test moves.
pub struct MovedClock(Mutex<DateTime<Utc>>);

impl MovedClock {
    pub fn at(text: &str) -> Arc<Self> {
        Arc::new(Self(Mutex::new(text.parse().expect("a moment in RFC 3339"))))
    }
    /// Forward, or back.
    pub fn step(&self, by: TimeDelta) {
        *self.0.lock().expect("no panic while the clock is moved") += by;
    }
}

impl Clock for MovedClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().expect("no panic while the clock is moved")
    }
}

/// A ledger and the clock it goes by.
pub type Fresh<'a> = &'a dyn Fn(Arc<dyn Clock>) -> Arc<dyn LedgerStore>;

const TTL: Duration = Duration::from_secs(30);

/// Runs everything that any ledger promises. `fresh` gives an empty one each time.
///
/// # Panics
/// Where the ledger breaks a promise.
pub async fn all(fresh: Fresh<'_>) {
    let world = || World::new(fresh);
    an_unknown_lane_is_at_its_beginning(&world()).await;
    an_epoch_goes_from_planned_to_committed(&world()).await;
    the_first_writer_wins(&world()).await;
    only_the_current_generation_writes(&world()).await;
    gaps_and_overlaps_are_refused(&world()).await;
    rows_that_do_not_add_up_are_refused(&world()).await;
    records_come_back_as_they_were(&world()).await;
    lanes_do_not_touch_each_other(&world()).await;
    a_lease_is_held_by_one(&world()).await;
    a_lease_ends_with_its_time(&world()).await;
    a_lease_ends_with_its_process(&world()).await;
    a_clock_that_goes_back_neither_frees_nor_holds_for_ever(&world()).await;
    generations_are_given_once(&world()).await;
    the_history_follows_the_records(&world()).await;
    the_history_knows_what_an_overwritten_file_was(&world()).await;
    the_history_knows_whose_rows_stand_among_others(&world()).await;
    the_history_answers_in_the_order_asked(&world()).await;
    the_history_belongs_to_the_pipeline(&world()).await;
    many_callers_at_once(&world()).await;
    the_last_schema_and_the_last_epoch(&world()).await;
}

/// A ledger under test.
struct World {
    ledger: Arc<dyn LedgerStore>,
    clock: Arc<MovedClock>,
    lane: LaneId,
}

impl World {
    fn new(fresh: Fresh<'_>) -> World {
        let clock = MovedClock::at("2024-06-01T12:00:00Z");
        World { ledger: fresh(clock.clone()), clock, lane: LaneId::new("p", "main") }
    }

    async fn acquire(&self, lane: &LaneId, who: u32) -> Result<Lease, Error> {
        self.ledger.acquire(lane, &holder(who), TTL).await
    }

    async fn lease(&self) -> Lease {
        self.acquire(&self.lane, 1).await.expect("the lane is free")
    }

    async fn create(&self, record: impl Into<Record>) -> Result<Created, Error> {
        self.ledger.create(&self.lane, record.into()).await
    }

    async fn win(&self, record: impl Into<Record>) {
        assert_eq!(self.create(record).await.expect("the record is good"), Created::Won);
    }

    /// A whole epoch of `files`, each with its outcome.
    async fn epoch(&self, lease: &Lease, files: &[(FileVersion, Outcome)]) {
        let view = self.ledger.read(&lease.lane).await.expect("read");
        let Next::Plan { epoch, from } = decide(view) else { panic!("an epoch is open") };
        let p = planned(epoch.0, lease.generation, &from, files.iter().map(|(v, _)| v.clone()).collect());
        let s = staged(&p, files.iter().map(|(_, o)| o.clone()).collect());
        let c = committed(&s);
        for record in [Record::Planned(p), Record::Staged(s), Record::Committed(c)] {
            assert_eq!(self.ledger.create(&lease.lane, record).await.expect("the record is good"), Created::Won);
        }
    }

    fn history(&self) -> Box<dyn FileHistory> {
        self.ledger.history(&self.lane.pipeline)
    }

    async fn known(&self, path: &str) -> Option<KnownFile> {
        self.history().lookup(&[path.to_owned()]).await.expect("lookup").remove(0)
    }
}

/// A process of another host, so that only time decides.
pub fn holder(number: u32) -> LeaseHolder {
    LeaseHolder {
        host: format!("conformance-host-{number}"),
        pid: 1000 + number,
        pid_started: 7,
        user: "ann".into(),
        since: "2024-06-01T12:00:00Z".parse().expect("a moment"),
    }
}

/// So many files taken.
pub fn at(n: u64) -> Checkpoint {
    let mut c = Checkpoint::default();
    if n > 0 {
        c.set(PartitionId("files".into()), Position::Number(n));
    }
    c
}

pub fn version(path: &str, size: u64) -> FileVersion {
    let modified = DateTime::from_timestamp(1_700_000_000 + size as i64, 123_456_789);
    FileVersion { path: path.into(), size, modified, etag: size.is_multiple_of(2).then(|| format!("etag-{size}")) }
}

pub fn planned(epoch: u64, generation: Generation, from: &Checkpoint, files: Vec<FileVersion>) -> Planned {
    let begin = from.position(&PartitionId("files".into())).number().expect("a number");
    let split = |(i, file): (usize, FileVersion)| Split {
        partition: PartitionId("files".into()),
        from: Position::Number(begin + i as u64),
        to: Some(Position::Number(begin + i as u64 + 1)),
        file: Some(file),
        constants: BTreeMap::from([("day".into(), "2024-06-01".into())]),
        replaces: false,
        apart: true,
        detail: json!({"n": i}),
    };
    let to = at(begin + files.len() as u64);
    let moment = "2024-06-01T12:00:00.123456789Z".parse().expect("a moment");
    Planned { epoch: Epoch(epoch), generation, at: moment, from: from.clone(), to, splits: files.into_iter().enumerate().map(split).collect() }
}

pub fn staged(planned: &Planned, outcomes: Vec<Outcome>) -> Staged {
    let report = |outcome: Outcome| {
        let rows = match outcome {
            Outcome::Read => RowCounts { read: 10, written: 8, rejected: 1, filtered: 2, added: 1 },
            Outcome::Changed(_) => RowCounts::default(),
            Outcome::Corrupt(_) => RowCounts { read: 1, rejected: 1, ..RowCounts::default() },
        };
        SplitReport { outcome, rows, bytes: 100 }
    };
    let splits: Vec<SplitReport> = outcomes.into_iter().map(report).collect();
    let rows = splits.iter().fold(RowCounts::default(), |sum, s| sum.plus(&s.rows));
    let committable =
        |sink: &str, rows| Committable { sink: SinkName::new(sink), rows, bytes: 7, handle: json!({"file": "a/b.parquet", "big": u64::MAX}) };
    Staged {
        epoch: planned.epoch,
        generation: planned.generation,
        at: planned.at,
        from: planned.from.clone(),
        to: planned.to.clone(),
        splits,
        committables: vec![committable("files", rows.written), committable("rejects", rows.rejected)],
        replaced: vec![],
        schema: None,
        drift: Some(vec![
            Drift {
                file: planned.splits.first().and_then(|s| s.file.clone()),
                column: "a".into(),
                change: Change::Added { data_type: "int".into() },
            },
            Drift { file: None, column: "b".into(), change: Change::Retyped { from: "int".into(), to: "bigint".into() } },
            Drift { file: None, column: "c".into(), change: Change::Missing { files: 1, of: 2 } },
            Drift { file: None, column: "d".into(), change: Change::Discarded { values: u64::MAX } },
            Drift { file: None, column: "e".into(), change: Change::Rescued { values: 3 } },
        ]),
    }
}

pub fn committed(staged: &Staged) -> Committed {
    let receipt = Receipt { sink: SinkName::new("files"), detail: json!({"files": ["a"]}), already: false };
    Committed { epoch: staged.epoch, generation: staged.generation, at: staged.at, receipts: vec![receipt] }
}

fn read(n: usize) -> Vec<Outcome> {
    vec![Outcome::Read; n]
}

fn refused(result: Result<Created, Error>, kind: ErrorKind, what: &str) {
    match result {
        Err(e) => assert_eq!(e.kind(), kind, "{what}: {e:?}"),
        Ok(created) => panic!("{what} must be refused, and was: {created:?}"),
    }
}

async fn an_unknown_lane_is_at_its_beginning(w: &World) {
    assert_eq!(w.ledger.read(&w.lane).await.unwrap(), LaneView::default());
    assert!(w.history().is_first_run().await.unwrap());
    assert_eq!(w.known("/a").await, None);
    assert_eq!(w.ledger.last_schema(&w.lane.pipeline).await.unwrap(), None);
    assert_eq!(w.ledger.last_committed(&w.lane).await.unwrap(), None);
    refused(w.create(planned(1, Generation(1), &at(0), vec![])).await, ErrorKind::Lease, "a record without a lease");
    assert_eq!(w.ledger.read(&w.lane).await.unwrap(), LaneView::default());
}

async fn an_epoch_goes_from_planned_to_committed(w: &World) {
    let lease = w.lease().await;
    assert_eq!(w.ledger.read(&w.lane).await.unwrap(), LaneView::default());
    let mut from = at(0);
    for epoch in 1..=3 {
        let before = w.ledger.read(&w.lane).await.unwrap();
        let p = planned(epoch, lease.generation, &from, vec![version("/d/a", epoch), version("/d/b", epoch)]);
        w.win(p.clone()).await;
        let view = w.ledger.read(&w.lane).await.unwrap();
        assert_eq!(view, LaneView { planned: Some(p.clone()), ..before.clone() });
        assert_eq!(decide(view), Next::Execute { planned: p.clone() });
        let s = Staged { schema: Some(json!({"z": 1, "a": [epoch]})), replaced: vec!["/d/a".into()], ..staged(&p, read(2)) };
        w.win(s.clone()).await;
        let view = w.ledger.read(&w.lane).await.unwrap();
        assert_eq!(decide(view), Next::Commit { planned: p, staged: s.clone() });
        assert_eq!(w.history().is_first_run().await.unwrap(), epoch == 1, "staged is not committed");
        w.win(committed(&s)).await;
        let view = w.ledger.read(&w.lane).await.unwrap();
        assert_eq!(view, LaneView { committed: Some((Epoch(epoch), s.to.clone())), planned: None, staged: None });
        assert!(!w.history().is_first_run().await.unwrap());
        from = s.to;
    }
}

async fn the_first_writer_wins(w: &World) {
    let lease = w.lease().await;
    let p = planned(1, lease.generation, &at(0), vec![version("/a", 1)]);
    let s = staged(&p, read(1));
    let c = committed(&s);
    for record in [Record::Planned(p.clone()), Record::Staged(s.clone()), Record::Committed(c.clone())] {
        w.win(record.clone()).await;
        let other = match record.clone() {
            Record::Planned(p) => Record::Planned(Planned { to: at(9), splits: vec![], ..p }),
            Record::Staged(s) => Record::Staged(Staged { committables: vec![], ..s }),
            Record::Committed(c) => Record::Committed(Committed { receipts: vec![], ..c }),
        };
        for again in [other, record.clone()] {
            assert_eq!(w.create(again).await.unwrap(), Created::Lost(Box::new(record.clone())), "the loser gets the winner's record");
        }
    }
    assert_eq!(w.known("/a").await.unwrap().epoch, Epoch(1));
    w.epoch(&lease, &[(version("/b", 1), Outcome::Read)]).await;
    assert_eq!(w.create(c.clone()).await.unwrap(), Created::Lost(Box::new(Record::Committed(c))), "also long after");
}

async fn only_the_current_generation_writes(w: &World) {
    let old = w.lease().await;
    let p = planned(1, old.generation, &at(0), vec![version("/a", 1)]);
    w.win(p.clone()).await;
    w.clock.step(TimeDelta::seconds(31));
    let new = w.acquire(&w.lane, 2).await.expect("the lease ran out");
    assert!(new.generation > old.generation);
    let s = staged(&p, read(1));
    refused(w.create(p.clone()).await, ErrorKind::Lease, "`planned` of an old generation, although it is there");
    refused(w.create(s.clone()).await, ErrorKind::Lease, "`staged` of an old generation");
    refused(w.create(Staged { generation: Generation(99), ..s.clone() }).await, ErrorKind::Lease, "`staged` of a generation to come");
    let s = Staged { generation: new.generation, ..s };
    w.win(s.clone()).await;
    refused(w.create(Committed { generation: old.generation, ..committed(&s) }).await, ErrorKind::Lease, "`committed` of an old generation");
    w.win(committed(&s)).await;
    w.ledger.release(&new).await.unwrap();
    refused(w.create(planned(2, new.generation, &at(1), vec![])).await, ErrorKind::Lease, "a record after the lease was given back");
}

async fn gaps_and_overlaps_are_refused(w: &World) {
    let lease = w.lease().await;
    let g = lease.generation;
    let bad = ErrorKind::Internal;
    let p = planned(1, g, &at(0), vec![version("/a", 1)]);
    let s = staged(&p, read(1));
    refused(w.create(s.clone()).await, bad, "`staged` without `planned`");
    refused(w.create(committed(&s)).await, bad, "`committed` without anything");
    refused(w.create(planned(2, g, &at(0), vec![])).await, bad, "a second epoch before the first");
    refused(w.create(planned(0, g, &at(0), vec![])).await, bad, "an epoch 0");
    refused(w.create(planned(1, g, &at(5), vec![])).await, bad, "an epoch that begins with a gap");
    assert_eq!(w.ledger.read(&w.lane).await.unwrap(), LaneView::default(), "what is refused leaves nothing");
    w.win(p.clone()).await;
    refused(w.create(committed(&s)).await, bad, "`committed` without `staged`");
    refused(w.create(planned(2, g, &at(1), vec![])).await, bad, "an epoch while another is open");
    refused(w.create(Staged { from: at(1), ..s.clone() }).await, bad, "`staged` that starts elsewhere");
    refused(w.create(Staged { splits: vec![], ..s.clone() }).await, bad, "`staged` without a report per split");
    w.win(s.clone()).await;
    refused(w.create(planned(2, g, &at(1), vec![])).await, bad, "an epoch before the last one is committed");
    w.win(committed(&s)).await;
    refused(w.create(planned(2, g, &at(0), vec![])).await, bad, "an epoch that overlaps");
    let p = planned(2, g, &at(1), vec![]);
    refused(w.create(Planned { to: at(0), ..p.clone() }).await, bad, "an epoch that goes back");
    w.win(p.clone()).await;
    refused(w.create(Staged { to: at(0), ..staged(&p, vec![]) }).await, bad, "`staged` that goes back");
    // An end that was open in the plan may come out further.
    let s = Staged { to: at(4), ..staged(&p, vec![]) };
    w.win(s.clone()).await;
    w.win(committed(&s)).await;
    assert_eq!(w.ledger.read(&w.lane).await.unwrap().committed, Some((Epoch(2), at(4))));
    w.win(planned(3, g, &at(4), vec![])).await;
}

async fn rows_that_do_not_add_up_are_refused(w: &World) {
    let lease = w.lease().await;
    let p = planned(1, lease.generation, &at(0), vec![version("/a", 1), version("/b", 1)]);
    w.win(p.clone()).await;
    let good = staged(&p, read(2));
    let mut lost = good.clone();
    lost.splits[0].rows.read += 1;
    refused(w.create(lost).await, ErrorKind::Internal, "a row that went nowhere");
    let mut shifted = good.clone();
    shifted.splits[0].rows.read += 1;
    shifted.splits[1].rows.read -= 1;
    refused(w.create(shifted).await, ErrorKind::Internal, "a row that went to another split");
    w.win(good).await;
}

async fn records_come_back_as_they_were(w: &World) {
    let lease = w.lease().await;
    let odd = ["s3://bucket/key with space/ü/'quote'\"\n.csv", "https://h/x?y=/z", "no slash", "/trailing/", "", "/nul\0/byte", "/%25/100%"];
    let mut files: Vec<FileVersion> = odd.iter().map(|path| version(path, 3)).collect();
    files.push(FileVersion { path: "/huge".into(), size: u64::MAX, modified: Some(DateTime::<Utc>::MAX_UTC), etag: None });
    files.push(FileVersion { path: "/old".into(), size: 0, modified: Some(DateTime::<Utc>::MIN_UTC), etag: Some(String::new()) });
    files.push(FileVersion { path: "/unknown".into(), size: 1, modified: None, etag: None });
    let etags = [
        "00000000000000000000000000000abc",
        "0000000000000000000000000000000A",
        "d41d8cd98f00b204e9800998ecf8427e-3",
        "md5:00",
        "+0000000000000000000000000000abc",
    ];
    files.extend(etags.iter().enumerate().map(|(i, etag)| FileVersion { etag: Some((*etag).into()), ..version(&format!("/etag/{i}"), 1) }));
    let mut p = planned(1, lease.generation, &at(0), files.clone());
    p.to.set(PartitionId("other".into()), Position::Text("2024-06".into()));
    p.splits[0].replaces = true;
    w.win(p.clone()).await;
    assert_eq!(w.ledger.read(&w.lane).await.unwrap().planned, Some(p.clone()));
    for file in &files {
        assert_eq!(w.known(&file.path).await.map(|k| k.version).as_ref(), Some(file));
    }
    let mut s = staged(&p, read(files.len()));
    s.schema = Some(json!({"fields": [{"name": "b"}, {"name": "a", "type": null}], "n": 1.5}));
    s.splits[1].outcome = Outcome::Corrupt("the archive is cut off".into());
    w.win(s.clone()).await;
    let view = w.ledger.read(&w.lane).await.unwrap();
    assert_eq!(view.staged, Some(s.clone()));
    let text = |v: &Option<Staged>| serde_json::to_string(v).unwrap();
    assert_eq!(text(&view.staged), text(&Some(s)), "the order of keys, too");
}

async fn lanes_do_not_touch_each_other(w: &World) {
    let lanes = [LaneId::new("p", "main"), LaneId::new("p", "2of2"), LaneId::new("q", "main")];
    let mut leases = Vec::new();
    for (i, lane) in lanes.iter().enumerate() {
        leases.push(w.acquire(lane, 1).await.unwrap());
        for n in 0..=i {
            w.epoch(&leases[i], &[(version(&format!("/{lane}/{n}"), 1), Outcome::Read)]).await;
        }
    }
    for (i, lane) in lanes.iter().enumerate() {
        let n = i as u64 + 1;
        assert_eq!(w.ledger.read(lane).await.unwrap().committed, Some((Epoch(n), at(n))));
    }
    w.ledger.release(&leases[0]).await.unwrap();
    w.ledger.renew(&leases[1], TTL).await.expect("another lane's lease is not touched");
}

async fn a_lease_is_held_by_one(w: &World) {
    let lease = w.lease().await;
    assert_eq!(lease.until, w.clock.now() + TimeDelta::seconds(30));
    for other in [1, 2] {
        let e = w.acquire(&w.lane, other).await.expect_err("it is held");
        assert_eq!(e.kind(), ErrorKind::Lease);
        let told = format!("{e} {}", e.hint_text().unwrap_or_default());
        for part in ["ann", "conformance-host-1", "1001", "2024-06-01T12:00:00Z", "p/main"] {
            assert!(told.contains(part), "`{part}` is missing: {told}");
        }
    }
    let renewed = w.ledger.renew(&lease, Duration::from_secs(60)).await.unwrap();
    assert_eq!((renewed.generation, renewed.until), (lease.generation, w.clock.now() + TimeDelta::seconds(60)));
    w.ledger.release(&renewed).await.unwrap();
    let next = w.acquire(&w.lane, 2).await.expect("it was given back");
    assert!(next.generation > lease.generation);
    assert_eq!(w.ledger.renew(&lease, TTL).await.expect_err("it was given back").kind(), ErrorKind::Lease);
    w.ledger.release(&lease).await.expect("quietly");
    w.ledger.renew(&next, TTL).await.expect("the old lease's release does nothing to the new one");
}

async fn a_lease_ends_with_its_time(w: &World) {
    let lease = w.lease().await;
    w.clock.step(TimeDelta::seconds(29));
    assert!(w.acquire(&w.lane, 2).await.is_err());
    let lease = w.ledger.renew(&lease, TTL).await.unwrap();
    w.clock.step(TimeDelta::seconds(29));
    assert!(w.acquire(&w.lane, 2).await.is_err(), "it was prolonged");
    w.clock.step(TimeDelta::seconds(2));
    let late = w.ledger.renew(&lease, TTL).await.expect("nobody took it meanwhile");
    assert!(w.acquire(&w.lane, 2).await.is_err());
    w.clock.step(TimeDelta::seconds(31));
    let next = w.acquire(&w.lane, 2).await.expect("it ran out");
    assert_eq!(next.generation, Generation(late.generation.0 + 1));
    let e = w.ledger.renew(&late, TTL).await.expect_err("it was lost");
    assert!(e.kind() == ErrorKind::Lease && e.to_string().contains("conformance-host-2"), "{e}");
    refused(w.create(planned(1, late.generation, &at(0), vec![])).await, ErrorKind::Lease, "a record of a lost lease");
}

async fn a_lease_ends_with_its_process(w: &World) {
    let me = sluis_engine::ledger::owner::this_process(w.clock.now());
    let lease = w.ledger.acquire(&w.lane, &me, TTL).await.unwrap();
    assert!(w.acquire(&w.lane, 2).await.is_err(), "this process is there");
    w.ledger.release(&lease).await.unwrap();
    let gone = LeaseHolder { pid_started: me.pid_started + 1, ..me.clone() };
    let lease = w.ledger.acquire(&w.lane, &gone, TTL).await.unwrap();
    let next = w.acquire(&w.lane, 2).await.expect("no such process runs on this host");
    assert!(next.generation > lease.generation);
}

async fn a_clock_that_goes_back_neither_frees_nor_holds_for_ever(w: &World) {
    let lease = w.lease().await;
    w.clock.step(TimeDelta::hours(-2));
    assert!(w.acquire(&w.lane, 2).await.is_err(), "a clock that went back frees nothing");
    w.clock.step(TimeDelta::seconds(29));
    assert!(w.acquire(&w.lane, 2).await.is_err());
    let lease = w.ledger.renew(&lease, TTL).await.expect("its holder goes on");
    w.clock.step(TimeDelta::seconds(29));
    assert!(w.acquire(&w.lane, 2).await.is_err());
    w.clock.step(TimeDelta::hours(-2));
    assert!(w.acquire(&w.lane, 2).await.is_err(), "from here it counts anew");
    w.clock.step(TimeDelta::seconds(31));
    let next = w.acquire(&w.lane, 2).await.expect("one lease after the change was noticed, not two hours");
    assert!(next.generation > lease.generation);
}

async fn generations_are_given_once(w: &World) {
    let mut last = Generation(0);
    for n in 0..5 {
        let lease = w.acquire(&w.lane, n).await.unwrap();
        assert!(lease.generation > last);
        last = lease.generation;
        if n % 2 == 0 {
            w.ledger.release(&lease).await.unwrap();
        } else {
            w.clock.step(TimeDelta::seconds(30));
        }
    }
}

async fn the_history_follows_the_records(w: &World) {
    let lease = w.lease().await;
    let files = [version("/d/read", 2), version("/d/changed", 3), version("/d/corrupt", 4)];
    let p = planned(1, lease.generation, &at(0), files.to_vec());
    w.win(p.clone()).await;
    let known = |file: &FileVersion, landed, landed_before| {
        Some(KnownFile {
            version: file.clone(),
            lane: "main".into(),
            epoch: Epoch(1),
            landed,
            landed_before,
            again: false,
            mixed: false,
            corrupt: false,
        })
    };
    for file in &files {
        assert_eq!(w.known(&file.path).await, known(file, true, false), "it is taken, and has landed nothing");
    }
    let s = staged(&p, vec![Outcome::Read, Outcome::Changed("it is gone".into()), Outcome::Corrupt("cut off".into())]);
    w.win(s.clone()).await;
    for _ in 0..2 {
        assert_eq!(w.known("/d/read").await, known(&files[0], true, true));
        assert_eq!(w.known("/d/changed").await, known(&files[1], false, false), "it is new when it is seen again");
        let corrupt = known(&files[2], true, false).map(|k| KnownFile { corrupt: true, ..k });
        assert_eq!(w.known("/d/corrupt").await, corrupt, "it is done with, and landed no rows");
        w.create(committed(&s)).await.expect("won, then lost");
    }
}

async fn the_history_knows_whose_rows_stand_among_others(w: &World) {
    let lease = w.lease().await;
    let files = [version("/d/mixed", 2), version("/d/never_read", 3)];
    let mut p = planned(1, lease.generation, &at(0), files.to_vec());
    p.splits.iter_mut().for_each(|split| split.apart = false);
    w.win(p.clone()).await;
    let s = staged(&p, vec![Outcome::Read, Outcome::Changed("it is gone".into())]);
    w.win(s.clone()).await;
    w.win(committed(&s)).await;
    let mixed = async |path: &str| w.known(path).await.map(|known| known.mixed);
    assert_eq!(mixed("/d/mixed").await, Some(true));
    let p = planned(2, lease.generation, &p.to, vec![version("/d/mixed", 4), version("/d/never_read", 5)]);
    w.win(p).await;
    assert_eq!(mixed("/d/mixed").await, Some(true), "the earlier version's rows are there");
    assert_eq!(mixed("/d/never_read").await, Some(false), "it had none");
}

async fn the_history_knows_what_an_overwritten_file_was(w: &World) {
    let lease = w.lease().await;
    let changed = || Outcome::Changed("rewritten".into());
    let fates = |k: Option<KnownFile>| k.map(|k| (k.version.size, k.epoch.0, k.landed, k.landed_before));
    w.epoch(&lease, &[(version("/f", 1), changed()), (version("/g", 1), Outcome::Read)]).await;
    w.epoch(&lease, &[(version("/f", 2), changed()), (version("/g", 2), changed())]).await;
    assert_eq!(fates(w.known("/f").await), Some((2, 2, false, false)), "no version ever landed");
    assert_eq!(fates(w.known("/g").await), Some((2, 2, false, true)), "the first version landed");
    w.epoch(&lease, &[(version("/f", 3), Outcome::Read), (version("/g", 3), Outcome::Corrupt("bad".into()))]).await;
    assert_eq!(fates(w.known("/f").await), Some((3, 3, true, true)));
    assert_eq!(fates(w.known("/g").await), Some((3, 3, true, true)), "the first version landed");
    w.epoch(&lease, &[(version("/f", 4), changed()), (version("/g", 4), changed())]).await;
    assert_eq!(fates(w.known("/f").await), Some((4, 4, false, true)));
    assert_eq!(fates(w.known("/g").await), Some((4, 4, false, true)));
}

async fn the_history_answers_in_the_order_asked(w: &World) {
    let lease = w.lease().await;
    let paths: Vec<String> = (0..3000).map(|n| format!("/d{}/sub/{:05}.csv", n % 7, n * 7919 % 3000)).collect();
    let (taken, free): (Vec<_>, Vec<_>) = paths.iter().enumerate().partition(|(i, _)| i % 3 != 0);
    let files: Vec<_> = taken.iter().map(|(i, path)| (version(path, *i as u64), Outcome::Read)).collect();
    for chunk in files.chunks(700) {
        w.epoch(&lease, chunk).await;
    }
    assert!(!free.is_empty());
    let mut asked = paths.clone();
    asked.extend(["/d0".to_owned(), "/d0/sub/".to_owned(), paths[1].clone(), paths[1].to_uppercase()]);
    let known = w.history().lookup(&asked).await.unwrap();
    assert_eq!(known.len(), asked.len());
    for (i, path) in paths.iter().enumerate() {
        let expected = (i % 3 != 0).then(|| version(path, i as u64));
        assert_eq!(known[i].as_ref().map(|k| k.version.clone()), expected, "{path}");
    }
    assert_eq!(known[3000..3002], [None, None]);
    assert_eq!(known[3002], known[1], "asked twice");
    assert_eq!(known[3003], None, "letters count");
    assert_eq!(w.history().lookup(&[]).await.unwrap(), []);
}

async fn the_history_belongs_to_the_pipeline(w: &World) {
    let (one, two, other) = (LaneId::new("p", "1of2"), LaneId::new("p", "2of2"), LaneId::new("q", "main"));
    let lease = w.acquire(&one, 1).await.unwrap();
    w.epoch(&lease, &[(version("/a", 1), Outcome::Read)]).await;
    assert_eq!(w.known("/a").await.unwrap().lane, "1of2", "lanes of a pipeline share it");
    assert_eq!(w.ledger.history(&PipelineName::new("q")).lookup(&["/a".into()]).await.unwrap(), [None]);
    assert!(w.ledger.history(&PipelineName::new("q")).is_first_run().await.unwrap());
    let lease = w.acquire(&other, 1).await.unwrap();
    w.epoch(&lease, &[(version("/a", 5), Outcome::Read)]).await;
    let lease = w.acquire(&two, 1).await.unwrap();
    w.epoch(&lease, &[(version("/a", 2), Outcome::Read)]).await;
    let known = w.known("/a").await.unwrap();
    assert_eq!((known.lane.as_str(), known.version.size), ("2of2", 2));
    let known = w.ledger.history(&PipelineName::new("q")).lookup(&["/a".into()]).await.unwrap().remove(0).unwrap();
    assert_eq!((known.lane.as_str(), known.version.size), ("main", 5));
}

async fn many_callers_at_once(w: &World) {
    let attempts = (0..20).map(|n| w.acquire(&w.lane, n));
    let leases: Vec<Lease> = futures::future::join_all(attempts).await.into_iter().filter_map(Result::ok).collect();
    let [lease] = &leases[..] else { panic!("{} hold the lane", leases.len()) };
    let records = (0..20).map(|n| w.create(planned(1, lease.generation, &at(0), vec![version("/a", n)])));
    let outcomes: Vec<Created> = futures::future::join_all(records).await.into_iter().map(|r| r.expect("no error")).collect();
    assert_eq!(outcomes.iter().filter(|c| **c == Created::Won).count(), 1, "one wins");
    let stands = w.ledger.read(&w.lane).await.unwrap().planned.map(Record::Planned).expect("it is planned");
    for lost in outcomes.into_iter().filter(|c| *c != Created::Won) {
        assert_eq!(lost, Created::Lost(Box::new(stands.clone())));
    }
}

async fn the_last_schema_and_the_last_epoch(w: &World) {
    let lease = w.lease().await;
    let schemas = [Some(json!({"fields": ["a"]})), Some(json!({"fields": ["a"]})), None, Some(json!({"fields": ["a", "b"]})), None];
    let mut newest = None;
    for (i, schema) in schemas.into_iter().enumerate() {
        let n = i as u64;
        let p = planned(n + 1, lease.generation, &at(n), vec![version("/a", n)]);
        w.win(p.clone()).await;
        assert_eq!(w.ledger.last_schema(&w.lane.pipeline).await.unwrap(), newest);
        let s = Staged { schema: schema.clone(), ..staged(&p, read(1)) };
        w.win(s.clone()).await;
        newest = schema.or(newest);
        assert_eq!(w.ledger.last_schema(&w.lane.pipeline).await.unwrap(), newest, "an epoch that decoded nothing changes nothing");
        w.win(committed(&s)).await;
        assert_eq!(w.ledger.last_committed(&w.lane).await.unwrap(), Some((p, s)));
    }
    assert_eq!(w.ledger.last_schema(&PipelineName::new("other")).await.unwrap(), None);
}
