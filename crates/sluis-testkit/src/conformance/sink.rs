//! The suite that every [`Sink`] must pass.
//!
//! Each function takes an empty place and panics with what does not hold. Crashes come through [`sluis_core::crash::set_hook`], which is
//! the thread's: run the suite on a runtime of one thread. Rows have the columns `id` (bigint) and `name` (string); some also `more` (int).

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use async_trait::async_trait;
use sluis_core::{Attempt, CommitKey, Committable, Epoch, ErrorKind, LaneId, Receipt, Result, Sink, SinkName, StagedEpoch, WriteBatch, crash};

/// One target, as tests see it: `open` is what each new process would build on the same place.
#[async_trait]
pub trait Place: Send + Sync {
    fn open(&self) -> Arc<dyn Sink>;
    /// The ids that a reader sees, sorted; twice if they are there twice.
    async fn visible(&self) -> Vec<i64>;
    /// What lies at the place beside what readers see and the sink's own lasting records: paths, uploads. Empty after a sweep of everything.
    async fn leftovers(&self) -> Vec<String>;
}

/// Gives an empty place each time; `replaces`: for a pipeline with `on_overwrite: replace`.
pub type Fresh<'a> = &'a dyn Fn(bool) -> Box<dyn Place>;

/// The points inside sinks.
const POINTS: [&str; 3] = ["sink.before_publish", "sink.mid_publish", "sink.after_publish"];

/// Runs everything that any sink promises that appends.
///
/// # Panics
/// Where the sink breaks a promise.
pub async fn all(fresh: Fresh<'_>) {
    nothing_is_seen_before_the_commit_and_every_row_after_it(fresh(false).as_ref()).await;
    a_repeated_commit_changes_nothing(fresh(false).as_ref()).await;
    a_crash_at_any_point_of_a_commit_is_mended_by_the_next(fresh).await;
    an_attempt_that_was_given_up_leaves_nothing(fresh(false).as_ref()).await;
    a_sweep_spares_other_lanes_and_what_is_kept(fresh(false).as_ref()).await;
    a_crash_in_a_sweep_is_mended_by_the_next(fresh).await;
    new_columns_come_in_the_middle(fresh(false).as_ref()).await;
    an_epoch_without_rows_commits(fresh(false).as_ref()).await;
    preparing_and_probing_leave_no_rows(fresh(false).as_ref()).await;
    two_attempts_of_one_task_do_not_meet(fresh(false).as_ref()).await;
}

/// Runs everything that a sink promises for pipelines whose files may be overwritten.
///
/// # Panics
/// Where the sink breaks a promise.
pub async fn replacing(fresh: Fresh<'_>) {
    rows_of_an_old_version_leave_as_the_new_ones_come(fresh(true).as_ref()).await;
    a_crash_while_replacing_is_mended_by_the_next(fresh).await;
    a_file_is_replaced_by_nothing(fresh(true).as_ref()).await;
    only_the_replaced_files_rows_leave(fresh(true).as_ref()).await;
}

/// Rows with these ids.
pub fn rows(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let ids: Vec<i64> = ids.into_iter().collect();
    let names: Vec<Option<String>> = ids.iter().map(|id| (id % 3 != 0).then(|| format!("n{id}"))).collect();
    batch(vec![("id", Arc::new(Int64Array::from(ids))), ("name", Arc::new(StringArray::from(names)))])
}

/// Likewise, with the column `more`, first.
pub fn wider(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let narrow = rows(ids);
    let more: ArrayRef = Arc::new((0..narrow.num_rows() as i32).collect::<Int32Array>());
    batch(vec![("more", more), ("id", narrow.column(0).clone()), ("name", narrow.column(1).clone())])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let field = |(name, column): &(&str, ArrayRef)| Field::new(*name, DataType::clone(column.data_type()), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, c)| c).collect()).expect("columns of one length")
}

fn key(sink: &dyn Sink, lane: &str, epoch: u64) -> CommitKey {
    CommitKey { lane: LaneId::new("p", lane), sink: SinkName::new(sink.name().as_str()), epoch: Epoch(epoch) }
}

fn attempt(lane: &str, epoch: u64, task: u32, id: &str) -> Attempt {
    Attempt { lane: LaneId::new("p", lane), epoch: Epoch(epoch), task, id: id.to_owned() }
}

/// Stages batches, each with its origin; what comes back went through the ledger's JSON.
async fn stage_as(sink: &dyn Sink, attempt: Attempt, batches: Vec<(Option<&str>, RecordBatch)>) -> Vec<Committable> {
    for (_, batch) in &batches {
        sink.prepare(batch.schema_ref()).await.expect("prepare");
    }
    let mut writer = sink.writer(&attempt).await.expect("writer");
    let mut count = 0;
    for (origin, batch) in batches {
        count += batch.num_rows() as u64;
        writer.write(WriteBatch { batch, origin: origin.map(Into::into) }).await.expect("write");
    }
    let staged = writer.close().await.expect("close");
    assert_eq!(staged.iter().map(|c| c.rows).sum::<u64>(), count, "the committables' rows are the rows written");
    assert!(staged.iter().all(|c| c.sink == *sink.name()), "committables name their sink");
    let text = serde_json::to_string(&staged).expect("to JSON");
    serde_json::from_str(&text).expect("from JSON")
}

async fn stage(sink: &dyn Sink, epoch: u64, ids: impl IntoIterator<Item = i64>) -> Vec<Committable> {
    let ids: Vec<i64> = ids.into_iter().collect();
    let halves = ids.chunks(ids.len().div_ceil(2).max(1)).map(|half| (None, rows(half.iter().copied()))).collect();
    stage_as(sink, attempt("main", epoch, 0, &format!("a{epoch}")), halves).await
}

/// Several tasks' worth, so that a commit has several steps.
async fn stage_tasks(sink: &dyn Sink, epoch: u64, ids: std::ops::Range<i64>) -> Vec<Committable> {
    let mut all = Vec::new();
    let each = ((ids.end - ids.start) / 3).max(1);
    for task in 0..3_u32 {
        let start = ids.start + i64::from(task) * each;
        let end = if task == 2 { ids.end } else { start + each };
        let attempt = attempt("main", epoch, task, &format!("a{epoch}t{task}"));
        all.extend(stage_as(sink, attempt, vec![(None, rows(start..end))]).await);
    }
    all
}

async fn commit_in(sink: &dyn Sink, lane: &str, epoch: u64, staged: &[Committable], replaced: &[String]) -> Result<Receipt> {
    sink.commit(&key(sink, lane, epoch), StagedEpoch { committables: staged, replaced }).await
}

async fn commit(sink: &dyn Sink, epoch: u64, staged: &[Committable]) -> Receipt {
    commit_in(sink, "main", epoch, staged, &[]).await.expect("commit")
}

fn ids(range: impl IntoIterator<Item = i64>) -> Vec<i64> {
    range.into_iter().collect()
}

/// Runs `work` with a process that dies when `point` is passed for the `nth` time; whether it died.
async fn dies_at<T>(point: &'static str, nth: usize, work: impl Future<Output = Result<T>>) -> bool {
    let mut passed = 0;
    let old = crash::set_hook(Some(Box::new(move |name| {
        passed += usize::from(name == point);
        name == point && passed == nth
    })));
    let done = work.await;
    crash::set_hook(old);
    match done {
        Ok(_) => false,
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::Crash, "only the crash fails: {e:?}");
            true
        }
    }
}

pub async fn nothing_is_seen_before_the_commit_and_every_row_after_it(place: &dyn Place) {
    let sink = place.open();
    assert_eq!(place.visible().await, ids([]), "an empty place");
    let staged = stage(sink.as_ref(), 1, 0..100).await;
    assert!(!staged.is_empty());
    assert_eq!(place.visible().await, ids([]), "what is staged is not seen");
    let receipt = commit(place.open().as_ref(), 1, &staged).await;
    assert!(!receipt.already && receipt.sink == *sink.name());
    assert_eq!(place.visible().await, ids(0..100));
    let staged = stage(sink.as_ref(), 2, 100..150).await;
    assert_eq!(place.visible().await, ids(0..100));
    commit(sink.as_ref(), 2, &staged).await;
    assert_eq!(place.visible().await, ids(0..150), "the next epoch is added");
    sink.sweep(&key(sink.as_ref(), "main", 2), &[]).await.expect("sweep");
    assert_eq!(place.visible().await, ids(0..150), "a sweep touches nothing that is seen");
    assert_eq!(place.leftovers().await, [""; 0]);
}

pub async fn a_repeated_commit_changes_nothing(place: &dyn Place) {
    let sink = place.open();
    let staged = stage_tasks(sink.as_ref(), 1, 0..30).await;
    commit(sink.as_ref(), 1, &staged).await;
    for sink in [sink, place.open()] {
        let receipt = commit(sink.as_ref(), 1, &staged).await;
        assert!(receipt.already, "it finds its commit in the target: {}", receipt.detail);
        assert_eq!(place.visible().await, ids(0..30));
    }
}

pub async fn a_crash_at_any_point_of_a_commit_is_mended_by_the_next(fresh: Fresh<'_>) {
    for point in POINTS {
        let mut fired = 0;
        for nth in 1..10 {
            let place = fresh(false);
            let sink = place.open();
            let first = stage(sink.as_ref(), 1, 0..10).await;
            commit(sink.as_ref(), 1, &first).await;
            let staged = stage_tasks(sink.as_ref(), 2, 10..40).await;
            let died = dies_at(point, nth, commit_in(sink.as_ref(), "main", 2, &staged, &[])).await;
            let seen = place.visible().await;
            let unique: BTreeSet<i64> = seen.iter().copied().collect();
            assert_eq!(unique.len(), seen.len(), "{point} {nth}: a row twice after the crash");
            if died && point == "sink.before_publish" {
                assert_eq!(seen, ids(0..10), "nothing is seen before the first step");
            }
            commit(place.open().as_ref(), 2, &staged).await;
            assert_eq!(place.visible().await, ids(0..40), "{point} {nth}");
            place.open().sweep(&key(sink.as_ref(), "main", 2), &[]).await.expect("sweep");
            assert_eq!((place.visible().await, place.leftovers().await), (ids(0..40), vec![]), "{point} {nth}");
            fired += usize::from(died);
            if !died {
                break;
            }
        }
        assert!(fired > 0 || point == "sink.mid_publish", "{point} is never passed");
    }
}

pub async fn an_attempt_that_was_given_up_leaves_nothing(place: &dyn Place) {
    let sink = place.open();
    let mut writer = sink.writer(&attempt("main", 1, 0, "dropped")).await.expect("writer");
    sink.prepare(rows([]).schema_ref()).await.expect("prepare");
    writer.write(WriteBatch { batch: rows(0..1000), origin: None }).await.expect("write");
    drop(writer);
    stage_as(sink.as_ref(), attempt("main", 1, 0, "lost"), vec![(None, rows(0..10))]).await;
    let staged = stage_as(sink.as_ref(), attempt("main", 1, 0, "won"), vec![(None, rows(0..10))]).await;
    commit(sink.as_ref(), 1, &staged).await;
    sink.sweep(&key(sink.as_ref(), "main", 1), &[]).await.expect("sweep");
    assert_eq!(place.visible().await, ids(0..10));
    assert_eq!(place.leftovers().await, [""; 0]);
}

pub async fn a_sweep_spares_other_lanes_and_what_is_kept(place: &dyn Place) {
    let sink = place.open();
    let one = stage(sink.as_ref(), 1, 0..10).await;
    let other = stage_as(sink.as_ref(), attempt("backfill", 1, 0, "b1"), vec![(None, rows(10..20))]).await;
    let later = stage_as(sink.as_ref(), attempt("main", 2, 0, "a2"), vec![(None, rows(20..30))]).await;
    sink.sweep(&key(sink.as_ref(), "main", 1), &one).await.expect("sweep");
    commit(sink.as_ref(), 1, &one).await;
    sink.sweep(&key(sink.as_ref(), "main", 1), &[]).await.expect("sweep");
    commit(sink.as_ref(), 2, &later).await;
    commit_in(sink.as_ref(), "backfill", 1, &other, &[]).await.expect("the other lane's commit");
    assert_eq!(place.visible().await, ids(0..30));
    for (lane, epoch) in [("main", 2), ("backfill", 1)] {
        sink.sweep(&key(sink.as_ref(), lane, epoch), &[]).await.expect("sweep");
    }
    assert_eq!(place.leftovers().await, [""; 0]);
    let receipt = commit_in(sink.as_ref(), "backfill", 1, &other, &[]).await.expect("the other lane's commit, again");
    assert!(receipt.already, "each lane's commits are known apart");
    assert_eq!(place.visible().await, ids(0..30));
}

pub async fn a_crash_in_a_sweep_is_mended_by_the_next(fresh: Fresh<'_>) {
    for point in ["sweep.before", "sweep.after"] {
        let place = fresh(false);
        let sink = place.open();
        stage_as(sink.as_ref(), attempt("main", 1, 0, "lost"), vec![(None, rows(0..10))]).await;
        let staged = stage(sink.as_ref(), 1, 0..10).await;
        commit(sink.as_ref(), 1, &staged).await;
        assert!(dies_at(point, 1, sink.sweep(&key(sink.as_ref(), "main", 1), &[])).await, "{point} is never passed");
        let sink = place.open();
        sink.sweep(&key(sink.as_ref(), "main", 1), &[]).await.expect("sweep");
        assert_eq!((place.visible().await, place.leftovers().await), (ids(0..10), vec![]), "{point}");
    }
}

pub async fn new_columns_come_in_the_middle(place: &dyn Place) {
    let sink = place.open();
    let staged = stage_as(sink.as_ref(), attempt("main", 1, 0, "a"), vec![(None, rows(0..5)), (None, wider(5..10)), (None, rows(10..15))]).await;
    commit(sink.as_ref(), 1, &staged).await;
    let staged = stage_as(sink.as_ref(), attempt("main", 2, 0, "b"), vec![(None, rows(15..20))]).await;
    commit(sink.as_ref(), 2, &staged).await;
    assert_eq!(place.visible().await, ids(0..20), "rows with the column and without it");
}

pub async fn an_epoch_without_rows_commits(place: &dyn Place) {
    let sink = place.open();
    commit(sink.as_ref(), 1, &[]).await;
    let staged = stage_as(sink.as_ref(), attempt("main", 2, 0, "a"), vec![(None, rows([]))]).await;
    commit(sink.as_ref(), 2, &staged).await;
    commit(sink.as_ref(), 2, &staged).await;
    let staged = stage(sink.as_ref(), 3, 0..3).await;
    commit(sink.as_ref(), 3, &staged).await;
    assert_eq!(place.visible().await, ids(0..3));
}

pub async fn preparing_and_probing_leave_no_rows(place: &dyn Place) {
    let sink = place.open();
    for _ in 0..2 {
        sink.prepare(rows([]).schema_ref()).await.expect("prepare");
        sink.prepare(wider([]).schema_ref()).await.expect("prepare wider");
        assert!(!sink.probe().await.expect("probe").is_empty(), "a probe says what it found");
    }
    assert_eq!(place.visible().await, ids([]));
    assert_eq!(place.leftovers().await, [""; 0]);
}

pub async fn two_attempts_of_one_task_do_not_meet(place: &dyn Place) {
    let sink = place.open();
    let mut slow = sink.writer(&attempt("main", 1, 0, "slow")).await.expect("writer");
    sink.prepare(rows([]).schema_ref()).await.expect("prepare");
    slow.write(WriteBatch { batch: rows(0..10), origin: None }).await.expect("write");
    let staged = stage_as(sink.as_ref(), attempt("main", 1, 0, "fast"), vec![(None, rows(0..10))]).await;
    slow.write(WriteBatch { batch: rows(10..20), origin: None }).await.expect("write");
    commit(sink.as_ref(), 1, &staged).await;
    // A worker that was paused and goes on: its work is lost, and harms nobody.
    let _ = slow.close().await;
    assert_eq!(place.visible().await, ids(0..10));
    sink.sweep(&key(sink.as_ref(), "main", 1), &[]).await.expect("sweep");
    assert_eq!((place.visible().await, place.leftovers().await), (ids(0..10), vec![]));
}

/// Epoch 1: files a, b, c with 10 rows each.
async fn three_files(sink: &dyn Sink) {
    let batches = vec![(Some("in/a"), rows(0..10)), (Some("in/b"), rows(10..15)), (Some("in/b"), rows(15..20)), (Some("in/c"), rows(20..30))];
    let staged = stage_as(sink, attempt("main", 1, 0, "a1"), batches).await;
    commit(sink, 1, &staged).await;
}

pub async fn rows_of_an_old_version_leave_as_the_new_ones_come(place: &dyn Place) {
    let sink = place.open();
    three_files(sink.as_ref()).await;
    assert_eq!(place.visible().await, ids(0..30));
    for (epoch, start) in [(2, 100), (3, 200)] {
        let staged = stage_as(sink.as_ref(), attempt("main", epoch, 0, &format!("a{epoch}")), vec![(Some("in/b"), rows(start..start + 7))]).await;
        let before = place.visible().await;
        assert_eq!(before.len(), if epoch == 2 { 30 } else { 27 }, "nothing leaves before the commit");
        let receipt = commit_in(place.open().as_ref(), "main", epoch, &staged, &["in/b".into()]).await.expect("commit");
        assert!(!receipt.already);
        let expected = ids((0..10).chain(20..30).chain(start..start + 7));
        assert_eq!(place.visible().await, expected);
        commit_in(place.open().as_ref(), "main", epoch, &staged, &["in/b".into()]).await.expect("the commit again");
        assert_eq!(place.visible().await, expected, "again");
    }
    sink.sweep(&key(sink.as_ref(), "main", 3), &[]).await.expect("sweep");
    assert_eq!(place.leftovers().await, [""; 0]);
}

pub async fn a_crash_while_replacing_is_mended_by_the_next(fresh: Fresh<'_>) {
    for point in POINTS {
        for nth in 1..10 {
            let place = fresh(true);
            let sink = place.open();
            three_files(sink.as_ref()).await;
            let batches = vec![(Some("in/a"), rows(100..105)), (Some("in/b"), rows(105..110)), (Some("in/d"), rows(110..115))];
            let staged = stage_as(sink.as_ref(), attempt("main", 2, 0, "a2"), batches).await;
            let replaced = ["in/a".to_owned(), "in/b".to_owned()];
            let died = dies_at(point, nth, commit_in(sink.as_ref(), "main", 2, &staged, &replaced)).await;
            let sink = place.open();
            commit_in(sink.as_ref(), "main", 2, &staged, &replaced).await.expect("the commit again");
            sink.sweep(&key(sink.as_ref(), "main", 2), &[]).await.expect("sweep");
            assert_eq!((place.visible().await, place.leftovers().await), (ids((20..30).chain(100..115)), vec![]), "{point} {nth}");
            // And the version after that one takes the places of just these rows.
            let staged = stage_as(sink.as_ref(), attempt("main", 3, 0, "a3"), vec![(Some("in/a"), rows(200..203))]).await;
            commit_in(sink.as_ref(), "main", 3, &staged, &["in/a".to_owned()]).await.expect("commit");
            assert_eq!(place.visible().await, ids((20..30).chain(105..115).chain(200..203)), "{point} {nth}");
            if !died {
                break;
            }
        }
    }
}

pub async fn a_file_is_replaced_by_nothing(place: &dyn Place) {
    let sink = place.open();
    three_files(sink.as_ref()).await;
    commit_in(sink.as_ref(), "main", 2, &[], &["in/a".into()]).await.expect("commit");
    assert_eq!(place.visible().await, ids(10..30), "the new version has no rows");
    commit_in(sink.as_ref(), "main", 3, &[], &["in/never".into()]).await.expect("a file that never landed rows");
    let staged = stage_as(sink.as_ref(), attempt("main", 4, 0, "a4"), vec![(Some("in/a"), rows(0..3))]).await;
    commit_in(sink.as_ref(), "main", 4, &staged, &["in/a".into()]).await.expect("commit");
    assert_eq!(place.visible().await, ids((0..3).chain(10..30)), "and it comes back");
}

pub async fn only_the_replaced_files_rows_leave(place: &dyn Place) {
    let sink = place.open();
    three_files(sink.as_ref()).await;
    // A file of another path with the very same rows, and another lane.
    let staged = stage_as(sink.as_ref(), attempt("2of2", 1, 0, "b1"), vec![(Some("in/a2"), rows(100..110))]).await;
    commit_in(sink.as_ref(), "2of2", 1, &staged, &[]).await.expect("commit");
    let staged = stage_as(sink.as_ref(), attempt("main", 2, 0, "a2"), vec![(Some("in/a"), rows(100..110))]).await;
    commit_in(sink.as_ref(), "main", 2, &staged, &["in/a".into()]).await.expect("commit");
    let mut expected = ids((10..30).chain(100..110).chain(100..110));
    expected.sort_unstable();
    assert_eq!(place.visible().await, expected);
    commit_in(sink.as_ref(), "2of2", 2, &[], &["in/a2".into()]).await.expect("commit");
    assert_eq!(place.visible().await, ids((10..30).chain(100..110)));
}
