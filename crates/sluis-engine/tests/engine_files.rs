//! The engine with the real files source and target on a local folder: that the parts fit; and (ignored) what it costs.
//!
//! `cargo test -p sluis-engine --test engine_files -- --ignored --nocapture --test-threads 1` prints the costs.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluis_core::{BuildContext, Clock, EpochLimits, LaneId, PipelineName, RowCounts, SinkName};
use sluis_engine::{Engine, Event, Job, JobSettings, Lane, Observer, RunOptions, SqliteLedger, Stop};

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        chrono::Utc::now()
    }
}

/// Notes when what happened.
struct Timed(Instant, Mutex<Vec<(Duration, String)>>);

impl Observer for Timed {
    fn event(&self, _: &LaneId, event: Event) {
        if let Event::Problem(what) = &event {
            println!("{what}");
        }
        let name = format!("{event:?}").split([' ', '(']).next().unwrap_or_default().to_owned();
        let mut all = self.1.lock().unwrap();
        if all.last().is_none_or(|(_, last)| *last != name) {
            all.push((self.0.elapsed(), name));
        }
    }
}

fn job(folder: &Path, threads: usize, source: Value, format: &str) -> Job {
    let pipeline = PipelineName::new("p");
    let context = BuildContext {
        pipeline: pipeline.clone(),
        project_dir: folder.to_owned(),
        state_dir: folder.join(".sluis"),
        connections: Arc::default(),
        lake: json!({}),
        clock: Arc::new(SystemClock),
        replaces_files: false,
        retypes: false,
        selection: None,
    };
    let registry = sluis_connectors::registry();
    let sink = |name: &str, url: &str, format: &str| {
        (registry.sink("files").unwrap().build)(&context, &SinkName::new(name), &json!({ "url": url, "format": format })).unwrap()
    };
    Job {
        source: (registry.source("files").unwrap().build)(&context, &source).unwrap(),
        format: Some((registry.format("csv").unwrap().reader.unwrap())(&json!({})).unwrap()),
        declared: Arc::new(arrow_schema::Schema::empty()),
        contract: Default::default(),
        transform: None,
        sinks: vec![sink("files", "out/", format)],
        rejects: sink("rejects", ".sluis/rejects/p/", "parquet"),
        limits: EpochLimits { files: 100_000, bytes: 1 << 40, rows: u64::MAX },
        budget: Arc::new(|_: &RowCounts| None),
        settings: JobSettings {
            tasks: 1,
            threads,
            batch_rows: 8192,
            sample_files: 8,
            corrupt_files_are_rejected: false,
            tries: 3,
            replaces_files: false,
        },
        pipeline,
    }
}

async fn run(folder: &Path, job: &Job) -> (sluis_engine::Summary, Duration, Vec<(Duration, String)>) {
    let clock = Arc::new(SystemClock);
    let ledger = Arc::new(SqliteLedger::open(&folder.join(".sluis/ledger.db"), clock.clone()).unwrap());
    let start = Instant::now();
    let observer = Arc::new(Timed(start, Mutex::default()));
    let engine = Engine { ledger, clock, observer: observer.clone() };
    let outcome = engine.run(job, &Lane::main(&job.pipeline), &RunOptions::default(), &Stop::default()).await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let times = observer.1.lock().unwrap().clone();
    (outcome.summary, start.elapsed(), times)
}

fn text(rows: usize, salt: usize) -> String {
    let mut out = String::from("id,name,amount,day,flag,note\n");
    for i in 0..rows {
        let n = i * 7919 + salt;
        out.push_str(&format!(
            "{n},customer {},{}.{:02},2024-{:02}-{:02},{},some words here\n",
            n % 1000,
            n % 500,
            n % 100,
            n % 12 + 1,
            n % 28 + 1,
            n.is_multiple_of(2)
        ));
    }
    out
}

fn source() -> Value {
    json!({ "url": "in/", "settle": "0s" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_files_land_in_local_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    for i in 0..300 {
        std::fs::write(folder.path().join(format!("in/{i:05}.csv")), text(10, i)).unwrap();
    }
    let job = job(folder.path(), 2, source(), "csv");
    let (summary, ..) = run(folder.path(), &job).await;
    assert_eq!((summary.epochs, summary.files, summary.rows.written), (1, 300, 3000));
    std::fs::write(folder.path().join("in/99999.csv"), text(5, 1)).unwrap();
    let (summary, ..) = run(folder.path(), &job).await;
    assert_eq!((summary.epochs, summary.files, summary.rows.written), (1, 1, 5));
    let mut lines = 0;
    for entry in std::fs::read_dir(folder.path().join("out")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "csv") {
            lines += std::fs::read_to_string(path).unwrap().lines().count() - 1;
        }
    }
    assert_eq!(lines, 3005);
}

/// Files, bytes and rows that were told as read, less those that are read again; and how often such were told.
#[derive(Default)]
struct Told(Mutex<([i64; 3], usize)>);

impl Observer for Told {
    fn event(&self, _: &LaneId, event: Event) {
        let (sign, files, bytes, rows) = match event {
            Event::Read { files, bytes, rows, .. } => (1, files, bytes, rows),
            Event::Reread { files, bytes, rows, .. } => (-1, files, bytes, rows),
            _ => return,
        };
        let mut told = self.0.lock().unwrap();
        [files, bytes, rows].into_iter().zip(&mut told.0).for_each(|(n, sum)| *sum += sign * n as i64);
        told.1 += usize::from(sign < 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_that_begins_again_is_told_once() {
    for tasks in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        for i in 0..9 {
            std::fs::write(folder.path().join(format!("in/{i}.csv")), format!("id,n\n1,{i}\n2,{i}.5\n")).unwrap();
        }
        std::fs::write(folder.path().join("in/0.csv"), "id,n\n1,1\n2,2\n").unwrap();
        let mut job = job(folder.path(), 2, source(), "csv");
        (job.settings.sample_files, job.settings.tasks) = (1, tasks);
        let clock = Arc::new(SystemClock);
        let ledger = Arc::new(SqliteLedger::open(&folder.path().join(".sluis/ledger.db"), clock.clone()).unwrap());
        let told = Arc::new(Told::default());
        let engine = Engine { ledger, clock, observer: told.clone() };
        let outcome = engine.run(&job, &Lane::main(&job.pipeline), &RunOptions::default(), &Stop::default()).await;
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        assert_eq!((outcome.summary.rows.written, outcome.summary.rows.rejected), (18, 0));
        let (sums, again) = *told.0.lock().unwrap();
        assert_eq!((sums, again), ([9, outcome.summary.bytes as i64, 18], 1), "{tasks} tasks");
    }
}

/// A plain tar.
fn tar(files: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, text) in files {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", text.len()).as_bytes());
        header[156] = b'0';
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        out.extend(header);
        out.extend(text.as_bytes());
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// The lines of all files that landed, in the order of the files.
fn landed(folder: &Path) -> Vec<String> {
    let mut files: Vec<_> = std::fs::read_dir(folder.join("out")).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "csv"));
    files.sort();
    files.iter().flat_map(|path| std::fs::read_to_string(path).unwrap().lines().skip(1).map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_an_archive_land_in_their_order_whole_or_not_at_all() {
    // One that is read on its own thread, and one whose members are decoded side by side; a member larger than what is held of one.
    for (members, rows) in [(3, 5), (40, 2000), (2, 60_000)] {
        let files: Vec<(String, String)> = (0..members).map(|i| (format!("d/{i}.csv"), text(rows, i * 31))).collect();
        let mut landings = Vec::new();
        for threads in [1, 2, 5] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("in")).unwrap();
            std::fs::write(folder.path().join("in/a.tar"), tar(&files)).unwrap();
            std::fs::write(folder.path().join("in/b.csv"), text(7, 1)).unwrap();
            let source = json!({ "url": "in/", "metadata": ["file", "line"] });
            let (summary, ..) = run(folder.path(), &job(folder.path(), threads, source, "csv")).await;
            assert_eq!((summary.epochs, summary.files, summary.rows.written), (1, 2, (members * rows + 7) as u64));
            let lines = landed(folder.path());
            let prefix = folder.path().display().to_string();
            landings.push(lines.iter().map(|l| l.replace(&prefix, "")).collect::<Vec<_>>());
        }
        let line = |i: usize| landings[0][i].clone();
        assert!(line(0).ends_with("/in/a.tar/d/0.csv,2") && line(rows).ends_with("/in/a.tar/d/1.csv,2"), "{} {}", line(0), line(rows));
        assert!(line(members * rows).ends_with("/in/b.csv,2"));
        assert!(landings.iter().all(|l| *l == landings[0]), "the same, whatever the number of threads");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    // Cut off behind rows that have long been with the writers.
    let files: Vec<(String, String)> = (0..40).map(|i| (format!("{i}.csv"), text(2000, i))).collect();
    let whole = tar(&files);
    std::fs::write(folder.path().join("in/a.tar"), &whole[..whole.len() - 2000]).unwrap();
    std::fs::write(folder.path().join("in/b.csv"), text(7, 1)).unwrap();
    let mut job = job(folder.path(), 2, source(), "csv");
    job.settings.corrupt_files_are_rejected = true;
    let (summary, ..) = run(folder.path(), &job).await;
    assert_eq!((summary.rows.written, summary.rows.rejected, landed(folder.path()).len()), (7, 1, 7));
}

/// The most memory since the last call, in MB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Milliseconds of CPU that this process has used.
fn cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    [11, 12].iter().filter_map(|i| fields.get(*i)?.parse::<u64>().ok()).sum::<u64>() * 10
}

fn show(what: &str, took: Duration, times: &[(Duration, String)]) {
    let steps: Vec<String> = times.iter().map(|(at, name)| format!("{name} {:.1}", at.as_secs_f64() * 1000.0)).collect();
    println!("{what}: {:.1} ms, peak {} MB, CPU so far {} ms   ({})", took.as_secs_f64() * 1000.0, peak(), cpu(), steps.join(", "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints what many small files cost"]
async fn cost_of_five_thousand_small_files() {
    for (threads, format) in [(2, "parquet"), (1, "parquet"), (2, "csv")] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        for i in 0..5000 {
            std::fs::write(folder.path().join(format!("in/{i:05}.csv")), text(100, i)).unwrap();
        }
        println!("before: peak {} MB, CPU {} ms", peak(), cpu());
        let (summary, took, times) = run(folder.path(), &job(folder.path(), threads, source(), format)).await;
        assert_eq!(summary.rows.written, 500_000);
        show(&format!("5000 files, {threads} threads, {format}"), took, &times);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints what one large file costs"]
async fn cost_of_one_large_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::write(folder.path().join("in/large.csv"), text(4_000_000, 1)).unwrap();
    let bytes = std::fs::metadata(folder.path().join("in/large.csv")).unwrap().len();
    for (threads, format) in [(2, "parquet"), (1, "parquet"), (2, "csv")] {
        let _ = std::fs::remove_dir_all(folder.path().join(".sluis"));
        let _ = std::fs::remove_dir_all(folder.path().join("out"));
        println!("before: peak {} MB, CPU {} ms", peak(), cpu());
        let (summary, took, times) = run(folder.path(), &job(folder.path(), threads, source(), format)).await;
        assert_eq!(summary.rows.written, 4_000_000);
        let rate = bytes as f64 / took.as_secs_f64() / 1e6;
        show(&format!("one file of {} MB, {threads} threads, {format}: {rate:.0} MB/s", bytes / 1_000_000), took, &times);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints what a small epoch costs"]
async fn cost_of_a_small_epoch() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    let mut job = job(folder.path(), 2, source(), "parquet");
    job.limits.files = 1;
    for i in 0..40 {
        std::fs::write(folder.path().join(format!("in/{i:05}.csv")), text(100, i)).unwrap();
    }
    println!("before: peak {} MB, CPU {} ms", peak(), cpu());
    let (summary, took, times) = run(folder.path(), &job).await;
    println!("{:.1} ms per epoch", took.as_secs_f64() * 1000.0 / summary.epochs as f64);
    let at = times.iter().position(|(_, n)| n == "Committed").unwrap_or(0);
    show("first epochs", took, &times[..(at + 10).min(times.len())]);
}
