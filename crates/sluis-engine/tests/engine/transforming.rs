//! Checks and selects: what they reject, leave out, add; how runs are cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use sluis_core::transform::CheckFailure;
use sluis_core::{Error, ErrorKind, Result, RowCounts, Transform, TransformPlan, TransformRun, Transformed};
use sluis_engine::Event;

use crate::fakes::{World, csv, expected};

/// What it does with a row by its column `n`.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    /// Rejects below 0, warns from 1000 on, fails at 666.
    Check,
    /// Leaves out odd ones.
    Filter,
    /// Every row twice.
    Double,
    /// Gives each batch when the next one comes.
    HoldBack,
    /// The number of rows.
    Count,
}

#[derive(Clone)]
struct Fake {
    does: Does,
    runs: Arc<AtomicU64>,
}

fn fake(does: Does) -> Fake {
    Fake { does, runs: Arc::default() }
}

struct FakePlan {
    fake: Fake,
    input: SchemaRef,
}

struct FakeRun {
    does: Does,
    held: Option<RecordBatch>,
    count: i64,
}

fn count_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("count", DataType::Int64, true)]))
}

#[async_trait]
impl Transform for Fake {
    async fn plan(&self, input: &SchemaRef) -> Result<Arc<dyn TransformPlan>> {
        if input.index_of("n").is_err() {
            return Err(Error::config("no column `n`"));
        }
        Ok(Arc::new(FakePlan { fake: self.clone(), input: input.clone() }))
    }
    fn across_rows(&self) -> bool {
        self.does == Does::Count
    }
}

impl TransformPlan for FakePlan {
    fn output_schema(&self) -> SchemaRef {
        if self.fake.does == Does::Count { count_schema() } else { self.input.clone() }
    }
    fn row_wise(&self) -> bool {
        matches!(self.fake.does, Does::Check | Does::Filter | Does::Double)
    }
    fn keeps_rows(&self) -> bool {
        self.fake.does == Does::Check
    }
    fn start(&self) -> Result<Box<dyn TransformRun>> {
        self.fake.runs.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(FakeRun { does: self.fake.does, held: None, count: 0 }))
    }
}

fn pick(batch: &RecordBatch, rows: Vec<u32>) -> RecordBatch {
    arrow_select::take::take_record_batch(batch, &UInt32Array::from(rows)).unwrap()
}

#[async_trait]
impl TransformRun for FakeRun {
    async fn push(&mut self, batch: RecordBatch) -> Result<Transformed> {
        let n: Vec<i64> = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>().values().to_vec();
        let rows = |keep: &dyn Fn(i64) -> bool| (0..n.len() as u32).filter(|i| keep(n[*i as usize])).collect::<Vec<_>>();
        let mut out = Transformed::default();
        match self.does {
            Does::Check => {
                if n.contains(&666) {
                    return Err(Error::new(ErrorKind::Data, "check `never_666` failed"));
                }
                let fail = |i: &u32| CheckFailure { row: *i as usize, check: "not_negative".into(), message: format!("n is {}", n[*i as usize]) };
                out.failures = rows(&|n| n < 0).iter().rev().map(fail).collect();
                out.warnings = vec![("small".into(), rows(&|n| n >= 1000).len() as u64)];
                out.batches = vec![pick(&batch, rows(&|n| n >= 0))];
            }
            Does::Filter => out.batches = vec![pick(&batch, rows(&|n| n % 2 == 0))],
            Does::Double => out.batches = vec![pick(&batch, rows(&|_| true).into_iter().flat_map(|i| [i, i]).collect())],
            Does::HoldBack => out.batches.extend(self.held.replace(batch)),
            Does::Count => self.count += batch.num_rows() as i64,
        }
        Ok(out)
    }
    async fn finish(self: Box<Self>) -> Result<Vec<RecordBatch>> {
        if self.does == Does::Count {
            let count: ArrayRef = Arc::new(Int64Array::from(vec![self.count]));
            return Ok(vec![RecordBatch::try_new(count_schema(), vec![count]).unwrap()]);
        }
        Ok(self.held.into_iter().collect())
    }
}

#[tokio::test]
async fn failures_are_rejects_with_line_and_bytes() {
    for threads in [1, 4] {
        let mut world = World::new();
        let transform = fake(Does::Check);
        world.transform(transform.clone());
        world.job.settings.threads = threads;
        world.files.put("/a.csv", "n,name\n1,x\n-2,y\n3,z\n");
        world.files.put("/b.csv", "n,name\n-4,x\n1000,\"two\nlines\"\n-5,y\nbad,z\n");
        let summary = world.must_run().await;
        assert_eq!(summary.rows, RowCounts { read: 7, written: 3, rejected: 4, ..RowCounts::default() });
        assert_eq!(summary.warned, 1);
        assert_eq!(world.told(|e| matches!(e, Event::Warned { check, rows: 1, .. } if check == "small")), 1);
        assert_eq!(world.target.rows(), ["1|x", "3|z", "1000|two\nlines"]);
        let mut rejects: Vec<String> =
            world.rejects.rows().iter().map(|r| r.splitn(4, '|').nth(3).unwrap().split("|2023").next().unwrap().to_owned()).collect();
        rejects.sort();
        assert_eq!(rejects[0], "/a.csv|3|not_negative|check_failed|n is -2|-2,y");
        assert_eq!(rejects[1], "/b.csv|2|not_negative|check_failed|n is -4|-4,x");
        assert_eq!(rejects[2], "/b.csv|5|not_negative|check_failed|n is -5|-5,y");
        assert!(rejects[3].starts_with("/b.csv|6|n|bad_value|"), "{rejects:?}");
        assert_eq!(transform.runs.load(Ordering::SeqCst), 1, "both files went through in one batch");
    }
}

#[tokio::test]
async fn a_check_that_must_hold_commits_nothing() {
    let mut world = World::new();
    world.transform(fake(Does::Check));
    world.files.put("/a.csv", csv(0..1000));
    let e = world.run().await.error.unwrap();
    assert_eq!((e.kind(), e.message()), (ErrorKind::Data, "check `never_666` failed"));
    assert!(world.target.rows().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rows_left_out_and_added_are_counted_by_file() {
    for (does, threads) in [(Does::Filter, 1), (Does::Filter, 4), (Does::Double, 1), (Does::Double, 4)] {
        let mut world = World::new();
        world.transform(fake(does));
        (world.job.settings.threads, world.job.settings.batch_rows) = (threads, 7);
        for i in 0..50 {
            world.files.put(&format!("/{i:02}.csv"), csv(i * 5..i * 5 + 5));
        }
        let summary = world.must_run().await;
        let want = match does {
            Does::Filter => RowCounts { read: 250, written: 125, filtered: 125, ..RowCounts::default() },
            _ => RowCounts { read: 250, written: 500, added: 250, ..RowCounts::default() },
        };
        assert_eq!(summary.rows, want);
        let (_, staged) = world.engine.ledger.last_committed(&world.lane.id).await.unwrap().unwrap();
        let first: Vec<u64> = staged.splits[..2].iter().map(|s| s.rows.written).collect();
        assert_eq!(first, if does == Does::Filter { [3, 2] } else { [10, 10] });
        let rows = world.target.rows();
        let expected: Vec<String> = match does {
            Does::Filter => expected(0..250).into_iter().step_by(2).collect(),
            _ => expected(0..250).into_iter().flat_map(|r| [r.clone(), r]).collect(),
        };
        assert!(rows == expected, "in order");
    }
}

#[tokio::test]
async fn runs_that_hold_rows_back_get_one_file_each() {
    let mut world = World::new();
    let transform = fake(Does::HoldBack);
    world.transform(transform.clone());
    world.job.settings.batch_rows = 4;
    for i in 0..5 {
        world.files.put(&format!("/{i}.csv"), csv(i * 10..i * 10 + 10));
    }
    let summary = world.must_run().await;
    assert_eq!(summary.rows, RowCounts { read: 50, written: 50, ..RowCounts::default() });
    assert_eq!(world.target.rows(), expected(0..50));
    assert_eq!(transform.runs.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn across_rows_one_run_takes_the_epoch() {
    let mut world = World::with_format(serde_json::json!({}));
    let transform = fake(Does::Count);
    world.transform(transform.clone());
    (world.job.settings.tasks, world.job.settings.threads, world.job.settings.sample_files) = (4, 4, 1);
    world.files.put("/a.csv", csv(0..10));
    world.files.put("/b.csv", csv(10..30));
    world.files.put("/c.csv", "n,name,late\n1,x,y\n");
    let summary = world.must_run().await;
    assert_eq!(world.target.rows(), ["31"]);
    assert_eq!(summary.rows, RowCounts { read: 31, written: 1, filtered: 30, ..RowCounts::default() });
    let (_, staged) = world.engine.ledger.last_committed(&world.lane.id).await.unwrap().unwrap();
    assert!(staged.schema.unwrap().to_string().contains("late"));
    assert_eq!(transform.runs.load(Ordering::SeqCst), 2, "it began again when it knew all columns");
}

#[tokio::test]
async fn across_rows_and_replaced_files_do_not_go_together() {
    let mut world = World::new();
    world.transform(fake(Does::Count));
    world.job.settings.replaces_files = true;
    assert_eq!(world.run().await.error.unwrap().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn sql_that_does_not_fit_is_said_before_anything_is_read() {
    let mut world = World::with_format(serde_json::json!({}));
    world.transform(fake(Does::Check));
    world.files.put("/a.csv", "m\n1\n");
    let e = world.run().await.error.unwrap();
    assert_eq!((e.kind(), e.message()), (ErrorKind::Config, "no column `n`"));
    assert_eq!(world.files.opened.load(Ordering::SeqCst), 1, "the sample only");
}
