//! The sink over real lakes: the conformance suite, S3, and other engines' readers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use async_trait::async_trait;
use futures::TryStreamExt;
use serde_json::{Map, Value, json};
use sluis_core::clock::FixedClock;
use sluis_core::{Attempt, CommitKey, Epoch, ErrorKind, LaneId, PipelineName, Sink, SinkName, StagedEpoch, WriteBatch};
use sluis_lake::{Lake, TableName};
use sluis_testkit::conformance::sink::{self as suite, Place};
use sluis_testkit::services::MinIo;
use tempfile::TempDir;

use super::*;

/// A lake of its own, opened anew for every look.
struct World {
    dir: TempDir,
    lake: Value,
    connections: Map<String, Value>,
    config: Value,
    replaces: bool,
}

impl World {
    fn local(config: Value, replaces: bool) -> World {
        World { dir: tempfile::tempdir().unwrap(), lake: json!({}), connections: Map::new(), config, replaces }
    }
    fn state(&self) -> PathBuf {
        std::fs::canonicalize(self.dir.path()).unwrap().join(".sluis")
    }
    fn lake(&self) -> Lake {
        Lake::open(&self.lake, &self.connections, self.dir.path(), &self.state()).unwrap()
    }
    fn sink(&self) -> TableSink {
        let settings = TableSettings::parse(&self.config).unwrap();
        let clock = Arc::new(FixedClock(chrono::DateTime::UNIX_EPOCH));
        TableSink::new(self.lake(), PipelineName::new("p"), &SinkName::new("table"), settings, self.replaces, false, clock).unwrap()
    }
    async fn ids(&self) -> Vec<i64> {
        let Some(source) = self.lake().resolver().resolve(&["t".into()]).await.unwrap() else { return vec![] };
        let batches: Vec<_> = source.scan(Some(&["id".into()])).await.unwrap().try_collect().await.unwrap();
        let mut ids: Vec<i64> = batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        ids.sort_unstable();
        ids
    }
    async fn land(&self, epoch: u64, ids: std::ops::Range<i64>) {
        let sink = self.sink();
        let lane = LaneId::new("p", "main");
        let mut writer = sink.writer(&Attempt { lane: lane.clone(), epoch: Epoch(epoch), task: 0, id: format!("a{epoch}") }).await.unwrap();
        writer.write(WriteBatch { batch: suite::rows(ids), origin: None }).await.unwrap();
        let staged = writer.close().await.unwrap();
        let key = CommitKey { lane, sink: SinkName::new("table"), epoch: Epoch(epoch) };
        for already in [false, true] {
            let receipt = sink.commit(&key, StagedEpoch { committables: &staged, replaced: &[] }).await.unwrap();
            assert_eq!(receipt.already, already);
        }
        sink.sweep(&key, &staged).await.unwrap();
    }
}

fn files(folder: &Path, out: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            true => files(&entry.path(), out),
            false => out.push(entry.path().to_string_lossy().into_owned()),
        }
    }
}

#[async_trait]
impl Place for World {
    fn open(&self) -> Arc<dyn Sink> {
        Arc::new(self.sink())
    }
    async fn visible(&self) -> Vec<i64> {
        self.ids().await
    }
    async fn leftovers(&self) -> Vec<String> {
        let named = self.lake().named_files(&TableName::parse("t").unwrap()).await.unwrap();
        let mut all = Vec::new();
        files(&self.state().join("lake"), &mut all);
        all.retain(|f| !f.contains("/catalog.db") && !named.contains(f));
        all
    }
}

#[tokio::test]
async fn it_keeps_every_promise_of_a_sink() {
    for config in
        [json!({ "name": "t" }), json!({ "name": "t", "partition_by": ["bucket(3, id)"] }), json!({ "name": "t", "mode": "upsert", "key": ["id"] })]
    {
        suite::all(&|replaces| Box::new(World::local(config.clone(), replaces))).await;
    }
    for config in [json!({ "name": "t" }), json!({ "name": "t", "partition_by": ["bucket(3, id)"] })] {
        suite::replacing(&|replaces| Box::new(World::local(config.clone(), replaces))).await;
    }
}

#[tokio::test]
async fn a_lake_in_s3_is_read_by_pyiceberg() {
    let minio = MinIo::shared();
    let bucket = minio.bucket("lake");
    let mut w = World::local(json!({ "name": "t", "partition_by": ["truncate(10, id)"], "compression": "zstd" }), false);
    w.lake = json!({ "url": format!("s3://{bucket}/warehouse/"), "connection": "minio", "catalog": { "sqlite": "catalog.db" } });
    w.connections.insert("minio".into(), minio.connection());
    for epoch in 1..=3 {
        w.land(epoch, epoch as i64 * 10..epoch as i64 * 10 + 12).await;
    }
    let ids: Vec<i64> = w.ids().await;
    assert_eq!(ids.len(), 36);
    let connection = minio.connection()["s3"].clone();
    let properties = json!({
        "s3.endpoint": connection["endpoint"], "s3.access-key-id": connection["access_key"], "s3.secret-access-key": connection["secret_key"],
        "s3.region": "us-east-1", "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
    });
    let out = Command::new(sluis_testkit::services::python())
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/readers/read_table.py"))
        .args([w.dir.path().join("catalog.db").to_str().unwrap(), "lake", "t"])
        .env("CATALOG_PROPERTIES", properties.to_string())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let seen: Value = serde_json::from_slice(&out.stdout).unwrap();
    let mut theirs: Vec<i64> = seen["rows"].as_array().unwrap().iter().map(|r| r["id"].as_i64().unwrap()).collect();
    theirs.sort_unstable();
    assert_eq!(theirs, ids);
}

#[test]
fn replacing_files_and_upserting_exclude_each_other() {
    let w = World::local(json!({ "name": "t", "mode": "upsert", "key": ["id"] }), true);
    let settings = TableSettings::parse(&w.config).unwrap();
    let clock = Arc::new(FixedClock(chrono::DateTime::UNIX_EPOCH));
    let e = TableSink::new(w.lake(), PipelineName::new("p"), &SinkName::new("table"), settings, true, false, clock).err().unwrap();
    assert_eq!(e.kind(), ErrorKind::Config);
    assert!(e.hint_text().unwrap().contains("on_overwrite: append"));
}

#[test]
fn the_users_page_has_every_key() {
    let page = include_str!("README.md");
    for schema in [schemars::schema_for!(TableTargetConfig), schemars::schema_for!(sluis_lake::LakeConfig)] {
        for key in schema.get("properties").and_then(|p| p.as_object()).unwrap().keys() {
            assert!(page.contains(&format!("\n| `{key}` | ")), "{key}");
        }
    }
}
