//! P6: what a ledger that knows N files costs an epoch of 100 new ones, beside an empty ledger.
//!
//! `ledger_scale [N] [FOLDER]` (10 million; a temporary folder) builds both ledgers through the engine's own calls and measures each in a
//! process of its own, so that peak memory is that of the measured work. One JSON line per measure:
//! - `build`: making the large ledger.
//! - `epoch`: open, take the lane, look 100 new files up, plan, stage, commit, give the lane back.
//! - `listing`: looking up all N paths in the order of a listing, as `discover` does where old files stay at the source.
//! - `questions`: `lanes`, the last 20 `epochs`, and `why` of one file.
//! - `compare`: the large ledger's extra time and memory per epoch.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sluis_core::clock::FixedClock;
use sluis_core::{
    Checkpoint, Clock, Committable, Committed, Created, Epoch, FileVersion, LaneId, Lease, LedgerStore, Next, Outcome, PartitionId, Planned,
    Position, Receipt, Record, Result, RowCounts, SinkName, Split, SplitReport, Staged, decide,
};
use sluis_engine::SqliteLedger;
use sluis_engine::ledger::owner::this_process;

const FILES_PER_FOLDER: u64 = 1000;
const FILES_PER_EPOCH: u64 = 20_000;
const NEW_FILES: u64 = 100;
const EPOCHS_MEASURED: usize = 15;
/// As many as one page of an S3 listing.
const LOOKUP: u64 = 1000;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match text[..] {
        ["--epoch", ledger] => epochs(Path::new(ledger)).await,
        ["--listing", ledger, known] => listing(Path::new(ledger), known.parse()?).await,
        ["--questions", ledger] => questions(Path::new(ledger)),
        ["--build", ledger, known] => build(Path::new(ledger), known.parse()?).await,
        [] => compare(10_000_000, None),
        [known] => compare(known.parse()?, None),
        [known, folder] => compare(known.parse()?, Some(folder.into())),
        _ => Err("usage: ledger_scale [N] [FOLDER]".into()),
    }
}

fn compare(known: u64, folder: Option<PathBuf>) -> Result<(), Failure> {
    let temporary = std::env::temp_dir().join(format!("ledger-scale-{}", std::process::id()));
    let keep = folder.is_some();
    let folder = folder.unwrap_or(temporary);
    std::fs::create_dir_all(&folder)?;
    let (large, empty) = (folder.join(format!("known-{known}.db")), folder.join("empty.db"));
    let _ = std::fs::remove_file(&empty);
    let text = |path: &Path| path.display().to_string();
    if !large.exists() {
        println!("{}", step(&["--build", &text(&large), &known.to_string()])?);
    }
    step(&["--build", &text(&empty), "0"])?;
    let run = |ledger: &Path, known: u64| -> Result<Value, Failure> {
        let mut line = step(&["--epoch", &text(ledger)])?;
        line["known"] = known.into();
        println!("{line}");
        Ok(line)
    };
    let (small, big) = (run(&empty, 0)?, run(&large, known)?);
    println!("{}", step(&["--listing", &text(&large), &known.to_string()])?);
    println!("{}", step(&["--questions", &text(&large)])?);
    let number = |line: &Value, key: &str| line[key].as_f64().unwrap_or(f64::NAN);
    let extra = |key: &str| number(&big, key) - number(&small, key);
    let line = json!({
        "measure": "compare", "known": known, "new": NEW_FILES,
        "extra_ms": extra("ms"), "extra_first_ms": extra("first_ms"), "extra_peak_mib": extra("peak_mib"),
    });
    println!("{line}");
    if !keep {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

/// Runs this program again and reads its one line.
fn step(arguments: &[&str]) -> Result<Value, Failure> {
    let output = std::process::Command::new(std::env::current_exe()?).args(arguments).stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{arguments:?} failed: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(FixedClock(Utc::now()))
}

fn lane() -> LaneId {
    LaneId::new("cdrs", "main")
}

/// The n-th file of a bucket that is listed in order.
fn file(n: u64) -> FileVersion {
    let (folder, hour) = (n / FILES_PER_FOLDER, n / FILES_PER_FOLDER % 24);
    FileVersion {
        path: format!(
            "s3://telecom-landing/cdrs/switch-{:02}/{:08}/{hour:02}/MobileVikings_{n:010}.cdr",
            folder / 24 / 400,
            20_200_101 + folder / 24
        ),
        size: 20_000 + n % 5000,
        modified: DateTime::from_timestamp(1_600_000_000 + n as i64, 0),
        etag: Some(format!("{:032x}", u128::from(n) * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
    }
}

fn at(n: u64) -> Checkpoint {
    let mut c = Checkpoint::default();
    c.set(PartitionId("files".into()), Position::Number(n));
    c
}

/// Plans, stages and commits `files`.
async fn epoch(ledger: &dyn LedgerStore, lease: &Lease, epoch: Epoch, from: Checkpoint, files: Vec<FileVersion>) -> Result<(), Failure> {
    let begin = from.position(&PartitionId("files".into())).number().unwrap_or(0);
    let split = |(i, file): (usize, FileVersion)| Split {
        partition: PartitionId("files".into()),
        from: Position::Number(begin + i as u64),
        to: Some(Position::Number(begin + i as u64 + 1)),
        file: Some(file),
        constants: [("day".to_owned(), "2024-06-01".to_owned())].into(),
        replaces: false,
        apart: false,
        detail: Value::Null,
    };
    let rows = RowCounts { read: 400, written: 399, rejected: 1, ..RowCounts::default() };
    let reports = vec![SplitReport { outcome: Outcome::Read, rows, bytes: 20_000 }; files.len()];
    let (at, to, generation) = (Utc::now(), at(begin + files.len() as u64), lease.generation);
    let splits = files.into_iter().enumerate().map(split).collect();
    let planned = Planned { epoch, generation, at, from: from.clone(), to: to.clone(), splits };
    let sink = SinkName::new("table");
    let committables =
        vec![Committable { sink: sink.clone(), rows: 399 * reports.len() as u64, bytes: 1 << 20, handle: json!({"path": "data/0001.parquet"}) }];
    let staged =
        Staged { epoch, generation, at, from, to, splits: reports, committables, replaced: vec![], schema: Some(json!({"fields": []})), drift: None };
    let committed = Committed { epoch, generation, at, receipts: vec![Receipt { sink, detail: json!({"snapshot": 1}), already: false }] };
    for record in [Record::Planned(planned), Record::Staged(staged), Record::Committed(committed)] {
        if ledger.create(&lease.lane, record).await? != Created::Won {
            return Err("somebody else writes this ledger".into());
        }
    }
    Ok(())
}

async fn build(path: &Path, known: u64) -> Result<(), Failure> {
    let began = Instant::now();
    let ledger = SqliteLedger::open(path, clock())?;
    let lease = ledger.acquire(&lane(), &this_process(Utc::now()), Duration::from_secs(3600)).await?;
    let mut n = 0;
    while n < known {
        let end = known.min(n + FILES_PER_EPOCH);
        epoch(&ledger, &lease, Epoch(n / FILES_PER_EPOCH + 1), if n == 0 { Checkpoint::default() } else { at(n) }, (n..end).map(file).collect())
            .await?;
        n = end;
    }
    ledger.release(&lease).await?;
    drop(ledger);
    let size = std::fs::metadata(path)?.len();
    let seconds = began.elapsed().as_secs_f64();
    println!("{}", json!({"measure": "build", "known": known, "seconds": seconds, "mib": mib(size), "peak_mib": peak()}));
    Ok(())
}

async fn epochs(path: &Path) -> Result<(), Failure> {
    let began = Instant::now();
    let ledger = SqliteLedger::open(path, clock())?;
    let open = began.elapsed();
    let mut times = Vec::new();
    let mut parts = [Duration::ZERO; 3];
    for _ in 0..EPOCHS_MEASURED {
        let began = Instant::now();
        let lease = ledger.acquire(&lane(), &this_process(Utc::now()), Duration::from_secs(30)).await?;
        let Next::Plan { epoch: number, from } = decide(ledger.read(&lane()).await?) else { return Err("an epoch is open".into()) };
        let begin = from.position(&PartitionId("files".into())).number().unwrap_or(0);
        let files: Vec<FileVersion> = (begin..begin + NEW_FILES).map(file).collect();
        let paths: Vec<String> = files.iter().map(|f| f.path.clone()).collect();
        parts[0] += began.elapsed();
        let mark = Instant::now();
        if ledger.history(&lane().pipeline).lookup(&paths).await?.iter().any(Option::is_some) {
            return Err("a new file is known".into());
        }
        parts[1] += mark.elapsed();
        let mark = Instant::now();
        epoch(&ledger, &lease, number, from, files).await?;
        parts[2] += mark.elapsed();
        ledger.release(&lease).await?;
        times.push(began.elapsed());
    }
    let first = times[0];
    times.sort();
    let each = |d: Duration| d.as_secs_f64() * 1000.0 / EPOCHS_MEASURED as f64;
    let line = json!({
        "measure": "epoch", "new": NEW_FILES, "ms": times[times.len() / 2].as_secs_f64() * 1000.0, "first_ms": (open + first).as_secs_f64() * 1000.0,
        "open_ms": open.as_secs_f64() * 1000.0, "lease_ms": each(parts[0]), "lookup_ms": each(parts[1]), "records_ms": each(parts[2]), "peak_mib": peak(),
    });
    println!("{line}");
    Ok(())
}

async fn listing(path: &Path, known: u64) -> Result<(), Failure> {
    let ledger = SqliteLedger::open_existing(path, clock())?.ok_or("no ledger")?;
    let history = ledger.history(&lane().pipeline);
    let began = Instant::now();
    let (mut n, mut found) = (0, 0);
    while n < known {
        let end = known.min(n + LOOKUP);
        let paths: Vec<String> = (n..end).map(|n| file(n).path).collect();
        found += history.lookup(&paths).await?.iter().filter(|k| k.as_ref().is_some_and(|k| k.landed)).count() as u64;
        n = end;
    }
    if found != known {
        return Err(format!("{found} of {known} files are known").into());
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{}", json!({"measure": "listing", "known": known, "seconds": seconds, "files_per_second": known as f64 / seconds, "peak_mib": peak()}));
    Ok(())
}

fn questions(path: &Path) -> Result<(), Failure> {
    let ledger = SqliteLedger::open_existing(path, clock())?.ok_or("no ledger")?;
    let timed = |f: &dyn Fn() -> Result<usize>| -> Result<f64> {
        let began = Instant::now();
        f()?;
        Ok(began.elapsed().as_secs_f64() * 1000.0)
    };
    let lanes = timed(&|| Ok(ledger.lanes(None)?.len()))?;
    let epochs = timed(&|| Ok(ledger.epochs(&lane().pipeline, 20)?.len()))?;
    let why = timed(&|| Ok(ledger.why("MobileVikings_0000000042.cdr")?.len()))?;
    println!("{}", json!({"measure": "questions", "lanes_ms": lanes, "epochs_ms": epochs, "why_ms": why, "peak_mib": peak()}));
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// The most memory this process ever had, as the system counts it.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<f64>().ok()).map_or(f64::NAN, |kib| kib / 1024.0)
}
