//! The suite that every [`Source`] must pass whose splits are files.
//!
//! Each function takes an empty place and panics with what does not hold. Run it on a runtime of one thread: crashes come through the
//! thread's hook ([`sluis_core::crash::set_hook`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::TryStreamExt;
use sluis_core::{Checkpoint, Discovery, Epoch, EpochLimits, ErrorKind, FileHistory, KnownFile, LaneShard, Opened, Result, Source, Split, crash};

/// One source's place, as tests see it. The source takes every file there, and for a new version of a file the new version.
#[async_trait]
pub trait Place: Send + Sync {
    /// What each new process would build.
    fn open(&self) -> Arc<dyn Source>;
    /// Puts a file there, or a new version of it (of another length).
    async fn put(&self, name: &str, bytes: &[u8]);
    async fn delete(&self, name: &str);
    /// What is there, by name.
    async fn names(&self) -> Vec<String>;
}

/// Gives an empty place each time; `removes`: its source deletes or archives files after the commit.
pub type Fresh<'a> = &'a dyn Fn(bool) -> Box<dyn Place>;

/// A history in memory that goes by the rules of the ledger's.
#[derive(Default)]
pub struct MemoryHistory(Mutex<(BTreeMap<String, KnownFile>, u64)>);

impl MemoryHistory {
    /// Records an epoch; `landed`: or every file of it as changed before it was read.
    pub fn record(&self, splits: &[Split], landed: bool) {
        let mut state = self.0.lock().expect("no panic while the history is held");
        state.1 += 1;
        let epoch = Epoch(state.1);
        for version in splits.iter().filter_map(|s| s.file.clone()) {
            let landed_before = landed || state.0.get(&version.path).is_some_and(|k| k.landed_before);
            let known =
                KnownFile { lane: "main".into(), epoch, landed, landed_before, again: false, mixed: false, corrupt: false, version: version.clone() };
            state.0.insert(version.path, known);
        }
    }
}

#[async_trait]
impl FileHistory for MemoryHistory {
    async fn lookup(&self, paths: &[String]) -> Result<Vec<Option<KnownFile>>> {
        let state = self.0.lock().expect("no panic while the history is held");
        Ok(paths.iter().map(|p| state.0.get(p).cloned()).collect())
    }
    async fn is_first_run(&self) -> Result<bool> {
        Ok(self.0.lock().expect("no panic while the history is held").1 == 0)
    }
}

/// Runs everything that any source of files promises.
///
/// # Panics
/// Where the source breaks a promise.
pub async fn all(fresh: Fresh<'_>) {
    every_file_comes_once_within_the_limits(fresh(false).as_ref()).await;
    looking_moves_nothing(fresh(false).as_ref()).await;
    a_new_process_goes_on_where_the_old_one_was(fresh(false).as_ref()).await;
    what_comes_later_comes_whatever_its_name(fresh(false).as_ref()).await;
    a_new_version_is_a_new_split_and_the_old_one_cannot_be_read(fresh(false).as_ref()).await;
    a_file_that_is_gone_is_said_to_be_changed(fresh(false).as_ref()).await;
    a_version_that_never_landed_comes_again(fresh(false).as_ref()).await;
    shards_share_the_files_out(fresh(false).as_ref()).await;
    acknowledging_is_repeatable_and_touches_what_landed(fresh).await;
    a_probe_moves_nothing(fresh(false).as_ref()).await;
}

const LIMITS: EpochLimits = EpochLimits { files: 4, bytes: 1 << 30, rows: u64::MAX };

/// A lane that goes on.
struct Lane<'a> {
    place: &'a dyn Place,
    source: Arc<dyn Source>,
    history: MemoryHistory,
    at: Checkpoint,
}

impl<'a> Lane<'a> {
    fn new(place: &'a dyn Place) -> Self {
        Self { place, source: place.open(), history: MemoryHistory::default(), at: Checkpoint::default() }
    }

    async fn discover(&self) -> Discovery {
        let found = self.source.discover(&self.at, &LIMITS, LaneShard::ALL, &self.history).await.expect("discover");
        checked(&self.at, &found, self.source.as_ref());
        found
    }

    fn record(&mut self, found: &Discovery, landed: bool) {
        self.history.record(&found.splits, landed);
        self.at = found.to.clone();
    }

    /// Epochs until caught up: the contents of every file, by name.
    async fn run(&mut self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for _ in 0..100 {
            let found = self.discover().await;
            if found.splits.is_empty() {
                assert_eq!(found.to, self.at, "caught up: the checkpoint stays");
                assert!(!found.more, "caught up: there is no more");
                return all;
            }
            for split in &found.splits {
                all.push((name(split), text(self.source.as_ref(), split).await.expect("read")));
            }
            self.record(&found, true);
            self.source.acknowledge(&found.splits).await.expect("acknowledge");
        }
        panic!("the source never says that it is caught up");
    }

    async fn put(&self, names: &[&str]) {
        for name in names {
            self.place.put(name, name.as_bytes()).await;
        }
    }
}

fn name(split: &Split) -> String {
    split.name().rsplit('/').next().unwrap_or_default().to_owned()
}

fn sorted(found: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut found = found;
    found.sort();
    found
}

fn pairs(names: &[&str]) -> Vec<(String, String)> {
    sorted(names.iter().map(|n| ((*n).to_owned(), (*n).to_owned())).collect())
}

/// What holds of every discovery.
fn checked(from: &Checkpoint, found: &Discovery, source: &dyn Source) {
    assert!(from.at_or_before(&found.to), "a checkpoint only goes forward");
    assert!(found.splits.len() as u64 <= LIMITS.files, "the limits are kept");
    let mut at = from.clone();
    for split in &found.splits {
        assert_eq!(split.from, at.position(&split.partition), "splits follow each other without gap or overlap");
        let to = split.to.clone().expect("files have an end");
        assert!(split.from < to, "a split is not empty");
        at.set(split.partition.clone(), to);
        let columns = source.constant_columns();
        assert!(split.constants.keys().all(|c| columns.column_with_name(c).is_some()), "constants are declared: {:?}", split.constants);
    }
    assert_eq!(at, found.to, "the checkpoint is where the last splits end");
    let paths: BTreeSet<&str> = found.splits.iter().map(Split::name).collect();
    assert_eq!(paths.len(), found.splits.len(), "a file once per epoch");
}

async fn text(source: &dyn Source, split: &Split) -> Result<String> {
    let Opened::File(file) = source.open(split).await? else { panic!("a file was planned") };
    assert_eq!(Some(file.version()), split.file.as_ref(), "the file opened is the version planned");
    let pieces: Vec<bytes::Bytes> = file.stream().await?.try_collect().await?;
    let whole = pieces.concat();
    if !whole.is_empty() {
        let middle = whole.len() as u64 / 2;
        assert_eq!(file.range(middle..whole.len() as u64).await?, whole[middle as usize..], "a range is that part of the stream");
    }
    file.verify().await?;
    Ok(String::from_utf8_lossy(&whole).into_owned())
}

async fn is_changed(source: &dyn Source, split: &Split) {
    let error = text(source, split).await.expect_err("what was planned is no longer there");
    assert_eq!(error.kind(), ErrorKind::SourceChanged, "{error:?}");
}

pub async fn every_file_comes_once_within_the_limits(place: &dyn Place) {
    let mut lane = Lane::new(place);
    assert!(lane.run().await.is_empty(), "nothing is there");
    let names: Vec<String> = (0..11).map(|i| format!("f{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    lane.put(&names).await;
    lane.place.put("empty", b"").await;
    let first = lane.discover().await;
    assert!(first.more && !first.splits.is_empty());
    let mut expected = pairs(&names);
    expected.push(("empty".into(), String::new()));
    assert_eq!(sorted(lane.run().await), sorted(expected), "an empty file is a file");
    assert!(lane.run().await.is_empty(), "each once");
}

pub async fn looking_moves_nothing(place: &dyn Place) {
    let lane = Lane::new(place);
    lane.put(&["a", "b", "c", "d", "e", "f"]).await;
    let first = lane.discover().await;
    assert_eq!(lane.discover().await.splits, first.splits, "what was not recorded is found again");
    assert_eq!(lane.discover().await.to, first.to);
    assert_eq!(lane.place.open().discover(&lane.at, &LIMITS, LaneShard::ALL, &lane.history).await.expect("discover").splits, first.splits);
}

pub async fn a_new_process_goes_on_where_the_old_one_was(place: &dyn Place) {
    let mut lane = Lane::new(place);
    lane.put(&["a", "b", "c", "d", "e", "f"]).await;
    let first = lane.discover().await;
    lane.record(&first, true);
    lane.source = lane.place.open();
    // Splits planned by another process are opened from their plain data.
    let text_of = serde_json::to_string(&first.splits).expect("to JSON");
    let splits: Vec<Split> = serde_json::from_str(&text_of).expect("from JSON");
    for split in &splits {
        assert_eq!(text(lane.source.as_ref(), split).await.expect("read"), name(split));
    }
    let rest = lane.run().await;
    assert_eq!(rest.len() + splits.len(), 6);
    assert!(rest.iter().all(|(n, _)| !splits.iter().any(|s| name(s) == *n)));
}

pub async fn what_comes_later_comes_whatever_its_name(place: &dyn Place) {
    let mut lane = Lane::new(place);
    lane.put(&["m1", "m2", "m3", "m4", "m5"]).await;
    let first = lane.discover().await;
    lane.record(&first, true);
    // Before and behind what was taken, while there is still more.
    lane.put(&["a", "z"]).await;
    let rest = lane.run().await;
    let taken: Vec<String> = first.splits.iter().map(name).chain(rest.into_iter().map(|(n, _)| n)).collect();
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), 7, "{taken:?}");
    assert_eq!(taken.len(), 7, "{taken:?}");
}

pub async fn a_new_version_is_a_new_split_and_the_old_one_cannot_be_read(place: &dyn Place) {
    let mut lane = Lane::new(place);
    lane.put(&["a"]).await;
    let old = lane.discover().await;
    lane.place.put("a", b"another text").await;
    is_changed(lane.source.as_ref(), &old.splits[0]).await;
    is_changed(lane.place.open().as_ref(), &old.splits[0]).await;
    lane.record(&old, false);
    assert_eq!(lane.run().await, [("a".to_owned(), "another text".to_owned())]);
}

pub async fn a_file_that_is_gone_is_said_to_be_changed(place: &dyn Place) {
    let mut lane = Lane::new(place);
    lane.put(&["a", "b"]).await;
    let old = lane.discover().await;
    lane.place.delete("a").await;
    is_changed(lane.source.as_ref(), &old.splits[0]).await;
    assert_eq!(text(lane.source.as_ref(), &old.splits[1]).await.expect("read"), "b");
    lane.record(&old, true);
    assert!(lane.run().await.is_empty());
}

pub async fn a_version_that_never_landed_comes_again(place: &dyn Place) {
    let mut lane = Lane::new(place);
    lane.put(&["a"]).await;
    let planned = lane.discover().await;
    lane.record(&planned, false);
    let again = lane.discover().await;
    assert_eq!(again.splits[0].file, planned.splits[0].file, "the same version is back: nothing of it landed");
    assert_ne!(again.splits[0].from, planned.splits[0].from, "and the checkpoint went on");
}

pub async fn shards_share_the_files_out(place: &dyn Place) {
    let names: Vec<String> = (0..30).map(|i| format!("f{i}")).collect();
    for name in &names {
        place.put(name, b"x").await;
    }
    let source = place.open();
    let limits = EpochLimits { files: 100, ..LIMITS };
    let mut all = Vec::new();
    for index in 0..3 {
        let found = source.discover(&Checkpoint::default(), &limits, LaneShard { index, of: 3 }, &MemoryHistory::default()).await.expect("discover");
        assert!(found.splits.len() < 30);
        all.extend(found.splits.iter().map(name));
    }
    all.sort();
    assert_eq!(all.len(), 30);
    all.dedup();
    assert_eq!(all.len(), 30);
}

pub async fn acknowledging_is_repeatable_and_touches_what_landed(fresh: Fresh<'_>) {
    for point in ["", "acknowledge.before", "acknowledge.mid", "acknowledge.after"] {
        let place = fresh(true);
        let mut lane = Lane::new(place.as_ref());
        lane.put(&["a", "b", "c"]).await;
        let found = lane.discover().await;
        lane.record(&found, true);
        // A new version, and a new file: neither has landed.
        lane.place.put("b", b"another text").await;
        lane.put(&["later"]).await;
        if !point.is_empty() {
            let old = crash::set_hook(Some(Box::new(move |name| name == point)));
            let died = lane.source.acknowledge(&found.splits).await;
            crash::set_hook(old);
            assert_eq!(died.expect_err("the point is passed").kind(), ErrorKind::Crash, "{point}");
        }
        for source in [place.open(), place.open()] {
            source.acknowledge(&found.splits).await.expect("acknowledge");
            assert_eq!(sorted_names(place.as_ref()).await, ["b", "later"], "{point}");
        }
    }
    let place = fresh(false);
    let mut lane = Lane::new(place.as_ref());
    lane.put(&["a", "b"]).await;
    lane.run().await;
    assert_eq!(sorted_names(place.as_ref()).await, ["a", "b"], "files are kept unless told otherwise");
}

async fn sorted_names(place: &dyn Place) -> Vec<String> {
    let mut names = place.names().await;
    names.sort();
    names
}

pub async fn a_probe_moves_nothing(place: &dyn Place) {
    let mut lane = Lane::new(place);
    lane.put(&["a"]).await;
    assert!(!lane.source.probe().await.expect("probe").is_empty(), "a probe says what it found");
    assert_eq!(sorted_names(place).await, ["a"]);
    assert_eq!(lane.run().await, pairs(&["a"]));
}
