//! What an epoch costs a table of a local lake beside its rows: `cargo run -p sluis-lake --example epoch_cost [EPOCHS] [ROWS] [FOLDER]`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{Field, Schema};
use serde_json::json;
use sluis_core::clock::FixedClock;
use sluis_core::{Attempt, CommitKey, Epoch, LaneId, PipelineName, SinkName, StagedEpoch, WriteBatch};
use sluis_lake::{Compression, Lake, Mode, Settings, Table, TableName};

fn rows(count: i64) -> RecordBatch {
    let columns: Vec<(&str, Arc<dyn arrow_array::Array>)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..count))),
        ("name", Arc::new(StringArray::from_iter_values((0..count).map(|i| format!("name {}", i % 977))))),
        ("value", Arc::new(Float64Array::from_iter_values((0..count).map(|i| i as f64 / 7.0)))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values((0..count).map(|i| 1_700_000_000_000_000 + i * 1_000_003)))),
    ];
    let fields: Vec<Field> = columns.iter().map(|(n, a)| Field::new(*n, a.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, a)| a).collect()).expect("a batch")
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let argument = |n: usize, default: &str| std::env::args().nth(n).unwrap_or_else(|| default.to_owned());
    let (epochs, count): (u64, i64) = (argument(1, "300").parse().expect("epochs"), argument(2, "100").parse().expect("rows"));
    let folder = std::path::PathBuf::from(argument(3, "target/epoch_cost"));
    let folder = std::path::absolute(folder).expect("a folder");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    let lake = Lake::open(&json!({}), &serde_json::Map::new(), &folder, &folder).expect("a lake");
    let settings = Settings {
        name: TableName::parse("t").expect("a name"),
        partition_by: vec![],
        mode: Mode::Append,
        compression: Compression::Snappy,
        target_bytes: 256 << 20,
        comment: None,
        properties: Default::default(),
        replaces: false,
        retypes: false,
    };
    let clock = Arc::new(FixedClock(chrono::Utc::now()));
    let table = Arc::new(Table::new(lake, PipelineName::new("p"), SinkName::new("table"), settings, clock));
    let (lane, batch) = (LaneId::new("p", "main"), rows(count));
    let mut times: Vec<[Duration; 3]> = Vec::new();
    for epoch in 1..=epochs {
        let began = Instant::now();
        let mut writer = table.writer(&Attempt { lane: lane.clone(), epoch: Epoch(epoch), task: 0, id: format!("a{epoch}") });
        writer.write(WriteBatch { batch: batch.clone(), origin: None }).await.expect("write");
        let staged = writer.close().await.expect("close");
        let stage = began.elapsed();
        let key = CommitKey { lane: lane.clone(), sink: SinkName::new("table"), epoch: Epoch(epoch) };
        table.commit(&key, StagedEpoch { committables: &staged, replaced: &[] }).await.expect("commit");
        let commit = began.elapsed();
        table.sweep(&key, &staged).await.expect("sweep");
        times.push([stage, commit - stage, began.elapsed() - commit]);
    }
    for (name, part) in [("first half", 0..times.len() / 2), ("second half", times.len() / 2..times.len())] {
        let mut line = format!("{name}, median (90 %, most) in ms:");
        for (i, what) in ["stage", "commit", "sweep"].iter().enumerate() {
            let mut these: Vec<f64> = times[part.clone()].iter().map(|t| t[i].as_secs_f64() * 1e3).collect();
            these.sort_by(f64::total_cmp);
            let at = |share: f64| these[((these.len() - 1) as f64 * share) as usize];
            line += &format!("  {what} {:.2} ({:.2}, {:.2})", at(0.5), at(0.9), at(1.0));
        }
        println!("{line}");
    }
    let _ = std::fs::remove_dir_all(&folder);
}
