//! The target as a whole: against the suite that every sink must pass, on every storage; and what files look like to a reader.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{Field, Schema};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use sluis_core::{
    Attempt, CommitKey, Committable, Epoch, Error, ErrorKind, LaneId, ReadOptions, Receipt, Result, Sink, SinkName, StagedEpoch, WriteBatch, crash,
};
use sluis_storage::local::LocalStorage;
use sluis_storage::memory::{Fault, MemoryStorage};
use sluis_storage::{StorageRef, read_all};
use sluis_testkit::conformance::sink::{self as suite, Place};

use super::config::Settings;
use super::sink::FilesSink;
use super::writer::Limits;

fn sink_on(storage: &StorageRef, config: &Value, replaces: bool) -> FilesSink {
    let mut config = config.clone();
    config["url"] = json!("out/");
    let settings = Settings::parse(&config).unwrap_or_else(|p| panic!("{config}: {p:?}"));
    FilesSink::new("p", &SinkName::new("files"), storage.clone(), settings, replaces).unwrap()
}

/// Every path, sorted.
async fn paths(storage: &StorageRef) -> Vec<String> {
    let mut all: Vec<String> = match storage.list("", None).try_collect::<Vec<_>>().await {
        Ok(entries) => entries.into_iter().map(|e| e.path).collect(),
        // The folder is made by the first file.
        Err(e) if e.kind() == ErrorKind::NotFound => vec![],
        Err(e) => panic!("{e:?}"),
    };
    all.sort();
    all
}

/// Those that readers look at.
async fn seen(storage: &StorageRef) -> Vec<String> {
    paths(storage).await.into_iter().filter(|p| !p.split('/').any(|part| part.starts_with(['_', '.']))).collect()
}

async fn text(storage: &StorageRef, path: &str) -> String {
    String::from_utf8(read_all(storage.as_ref(), path, None).await.unwrap().to_vec()).unwrap()
}

/// All rows of a file.
async fn rows_of(storage: &StorageRef, path: &str, format: &str) -> Vec<RecordBatch> {
    let bytes = read_all(storage.as_ref(), path, None).await.unwrap();
    let format = sluis_formats::all().into_iter().find(|d| d.name == format).unwrap();
    let reader = (format.reader.unwrap())(&json!({})).unwrap();
    let file = sluis_formats::memory_file(path, bytes);
    let schema = reader.infer(std::slice::from_ref(&file), None).await.unwrap();
    let options = ReadOptions { schema, batch_rows: 1000, threads: 1, keep_origins: false, misfits: Default::default() };
    let decoded: Vec<_> = reader.read(file, &options).await.unwrap().collect().await;
    decoded.into_iter().map(|d| d.unwrap()).inspect(|d| assert!(d.rejects.is_empty())).map(|d| d.batch).collect()
}

/// A storage with a format.
struct Files {
    storage: StorageRef,
    config: Value,
    replaces: bool,
    _dir: Option<tempfile::TempDir>,
    /// Unfinished uploads of a path, where a storage can have them.
    uploads: Box<dyn Fn(&str) -> usize + Send + Sync>,
}

#[async_trait]
impl Place for Files {
    fn open(&self) -> Arc<dyn Sink> {
        Arc::new(sink_on(&self.storage, &self.config, self.replaces))
    }
    async fn visible(&self) -> Vec<i64> {
        let format = self.config["format"].as_str().unwrap_or("parquet");
        let mut ids = Vec::new();
        for path in seen(&self.storage).await {
            for batch in rows_of(&self.storage, &path, format).await {
                ids.extend(batch.column_by_name("id").unwrap().as_primitive::<Int64Type>().values());
            }
        }
        ids.sort_unstable();
        ids
    }
    async fn leftovers(&self) -> Vec<String> {
        let mut left: Vec<String> =
            paths(&self.storage).await.into_iter().filter(|p| p.starts_with("_sluis/") && !p.starts_with("_sluis/.sources/")).collect();
        left.extend(seen(&self.storage).await.into_iter().filter(|path| (self.uploads)(path) > 0).map(|path| format!("an upload of {path}")));
        left
    }
}

fn in_memory(config: Value) -> impl Fn(bool) -> Box<dyn Place> {
    move |replaces| {
        let storage: StorageRef = Arc::new(MemoryStorage::default());
        Box::new(Files { storage, config: config.clone(), replaces, _dir: None, uploads: Box::new(|_| 0) })
    }
}

fn in_a_folder(config: Value) -> impl Fn(bool) -> Box<dyn Place> {
    move |replaces| {
        let dir = tempfile::tempdir().unwrap();
        let storage: StorageRef = Arc::new(LocalStorage::new(dir.path().join("out")).unwrap());
        Box::new(Files { storage, config: config.clone(), replaces, _dir: Some(dir), uploads: Box::new(|_| 0) })
    }
}

fn on_s3(config: Value) -> impl Fn(bool) -> Box<dyn Place> {
    let minio = sluis_testkit::services::MinIo::shared();
    let connections: Arc<serde_json::Map<String, Value>> = Arc::new(serde_json::Map::from_iter([("here".to_owned(), minio.connection())]));
    move |replaces| {
        let bucket = minio.bucket("sink");
        let url = format!("s3://{bucket}/lake/out/");
        let storage = sluis_storage::url::open_folder(&url, &connections, Some("here"), std::path::Path::new("/")).unwrap();
        // Asked by whole keys: MinIO's list of all uploads is from a memory that a cancelled request can leave behind the truth.
        let uploads = move |path: &str| minio.open_uploads(&bucket, &format!("lake/out/{path}"));
        Box::new(Files { storage, config: config.clone(), replaces, _dir: None, uploads: Box::new(uploads) })
    }
}

#[tokio::test]
async fn conforms_in_memory_in_every_format() {
    for format in ["parquet", "csv", "json"] {
        let fresh = in_memory(json!({ "format": format }));
        suite::all(&fresh).await;
        suite::replacing(&fresh).await;
    }
    let fresh = in_memory(json!({ "format": "csv", "roll": { "rows": 3 } }));
    suite::all(&fresh).await;
    suite::replacing(&fresh).await;
    suite::all(&in_memory(json!({ "partition_by": ["name"] }))).await;
    suite::replacing(&in_memory(json!({ "partition_by": ["name"], "roll": { "rows": 2 } }))).await;
    suite::all(&in_memory(json!({ "name": "{uuid}.{ext}" }))).await;
}

#[tokio::test]
async fn conforms_in_a_folder() {
    for config in [json!({}), json!({ "format": "csv", "partition_by": ["name"] })] {
        let fresh = in_a_folder(config);
        suite::all(&fresh).await;
        suite::replacing(&fresh).await;
    }
}

#[tokio::test]
async fn conforms_on_s3() {
    let fresh = on_s3(json!({}));
    suite::all(&fresh).await;
    suite::replacing(&fresh).await;
}

// ---- one target by hand ---------------------------------------------------------------------------------------------------------------

struct Hand {
    storage: StorageRef,
    sink: FilesSink,
}

impl Hand {
    fn memory(config: Value, replaces: bool) -> Hand {
        Self::on(Arc::new(MemoryStorage::default()), config, replaces)
    }
    fn on(storage: StorageRef, config: Value, replaces: bool) -> Hand {
        let sink = sink_on(&storage, &config, replaces);
        Hand { storage, sink }
    }
    async fn stage(&self, epoch: u64, batches: Vec<(Option<&str>, RecordBatch)>) -> Result<Vec<Committable>> {
        let attempt = Attempt { lane: LaneId::new("p", "main"), epoch: Epoch(epoch), task: 0, id: format!("a{epoch}") };
        let mut writer = self.sink.writer(&attempt).await?;
        for (origin, batch) in batches {
            writer.write(WriteBatch { batch, origin: origin.map(Into::into) }).await?;
        }
        writer.close().await
    }
    fn key(&self, epoch: u64) -> CommitKey {
        CommitKey { lane: LaneId::new("p", "main"), sink: self.sink.name().clone(), epoch: Epoch(epoch) }
    }
    async fn commit(&self, epoch: u64, staged: &[Committable], replaced: &[&str]) -> Result<Receipt> {
        let replaced: Vec<String> = replaced.iter().map(|r| (*r).to_owned()).collect();
        self.sink.commit(&self.key(epoch), StagedEpoch { committables: staged, replaced: &replaced }).await
    }
    async fn epoch(&self, epoch: u64, batches: Vec<(Option<&str>, RecordBatch)>) {
        let staged = self.stage(epoch, batches).await.unwrap();
        self.commit(epoch, &staged, &[]).await.unwrap();
    }
    async fn texts(&self) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        for path in seen(&self.storage).await {
            out.insert(path.clone(), text(&self.storage, &path).await);
        }
        out
    }
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> = columns.iter().map(|(n, a)| Field::new(*n, a.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, a)| a).collect()).unwrap()
}

fn days(rows: &[(i64, i32)]) -> RecordBatch {
    batch(vec![
        ("id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|(id, _)| *id))) as ArrayRef),
        ("day", Arc::new(Date32Array::from_iter_values(rows.iter().map(|(_, day)| *day)))),
    ])
}

fn content(pieces: &[&[u8]]) -> RecordBatch {
    batch(vec![("content", Arc::new(arrow_array::BinaryArray::from_iter_values(pieces)))])
}

#[tokio::test]
async fn rows_come_in_partition_folders_and_epochs_in_files_of_their_own() {
    let h = Hand::memory(json!({ "format": "csv", "partition_by": ["day"] }), false);
    h.epoch(1, vec![(None, days(&[(1, 19_723), (2, 19_724), (3, 19_723)])), (None, days(&[(4, 19_723)]))]).await;
    h.epoch(2, vec![(None, days(&[(5, 19_724)]))]).await;
    let texts = h.texts().await;
    let expected = [
        ("day=2024-01-01/p-main-000001-000.csv", "id\n1\n3\n4\n"),
        ("day=2024-01-02/p-main-000001-001.csv", "id\n2\n"),
        ("day=2024-01-02/p-main-000002-000.csv", "id\n5\n"),
    ];
    assert_eq!(texts.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn files_roll_by_rows_exactly_and_by_bytes_about() {
    let h = Hand::memory(json!({ "format": "csv", "roll": { "rows": 4 } }), false);
    h.epoch(1, vec![(None, days(&[(0, 0); 10])), (None, days(&[(0, 0); 3]))]).await;
    let lines: Vec<usize> = h.texts().await.values().map(|t| t.lines().count() - 1).collect();
    assert_eq!(lines, [4, 4, 4, 1]);
    for (format, most) in [("csv", 80 << 10), ("parquet", 160 << 10)] {
        let h = Hand::memory(json!({ "format": format, "roll": { "size": "32KiB" } }), false);
        let ids =
            |n: i64| batch(vec![("id", Arc::new((n..n + 1000).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64)).collect::<Int64Array>()))]);
        h.epoch(1, (0..40).map(|i| (None, ids(i * 1000))).collect()).await;
        let mut sizes = Vec::new();
        for path in seen(&h.storage).await {
            sizes.push(h.storage.head(&path).await.unwrap().unwrap().size);
        }
        assert!(sizes.len() > 2, "{format}: {sizes:?}");
        assert!(sizes[..sizes.len() - 1].iter().all(|s| (16 << 10..most).contains(s)), "{format}: {sizes:?}");
    }
}

#[tokio::test]
async fn raw_files_are_the_sources_bytes_under_their_names() {
    let h = Hand::memory(json!({ "format": "raw" }), false);
    let first: Vec<u8> = (0..=255).collect();
    let batches = vec![
        (Some("s3://b/in/x.cdr"), content(&[&first[..100], &first[100..]])),
        (Some("s3://b/in/x.cdr"), content(&[b"\r\n\0"])),
        (Some("s3://b/in/y.cdr"), content(&[b"y"])),
    ];
    let staged = h.stage(1, batches).await.unwrap();
    assert_eq!(staged.len(), 2);
    h.commit(1, &staged, &[]).await.unwrap();
    let x = read_all(h.storage.as_ref(), "x.cdr", None).await.unwrap();
    assert_eq!(x, [&first[..], b"\r\n\0"].concat());
    assert_eq!(text(&h.storage, "y.cdr").await, "y");
    // The same name from another folder would write over it: said before anything is staged, with a way out.
    let e = h.stage(2, vec![(Some("s3://b/other/x.cdr"), content(&[b"z"]))]).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);
    assert!(e.hint_text().unwrap().contains("name"), "{e:?}");
    // By the column `_file`, as `metadata: [file]` gives it; it is not written.
    let h = Hand::memory(json!({ "format": "raw", "name": "{source}-{name}" }), false);
    let rows = batch(vec![
        ("content", Arc::new(arrow_array::BinaryArray::from_iter_values([&b"1"[..], b"2", b"3"])) as ArrayRef),
        ("_file", Arc::new(StringArray::from(vec!["/in/a", "/in/a", "/in/b"]))),
    ]);
    h.epoch(1, vec![(None, rows)]).await;
    assert_eq!(h.texts().await.into_values().collect::<std::collections::BTreeSet<_>>(), ["12".to_owned(), "3".to_owned()].into());
    let e = h.stage(2, vec![(None, content(&[b"?"]))]).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Config && e.hint_text().unwrap().contains("metadata"), "{e:?}");
}

#[tokio::test]
async fn a_raw_file_is_replaced_in_its_place() {
    let h = Hand::memory(json!({ "format": "raw" }), true);
    h.epoch(1, vec![(Some("/in/x"), content(&[b"one"])), (Some("/in/y"), content(&[b"y"]))]).await;
    let staged = h.stage(2, vec![(Some("/in/x"), content(&[b"tw", b"o"]))]).await.unwrap();
    assert_eq!(text(&h.storage, "x").await, "one");
    h.commit(2, &staged, &["/in/x"]).await.unwrap();
    assert_eq!(h.texts().await, BTreeMap::from([("x".into(), "two".into()), ("y".into(), "y".into())]));
    assert_eq!(h.stage(3, vec![(Some("/other/x"), content(&[b"z"]))]).await.unwrap_err().kind(), ErrorKind::Conflict, "another source's file");
}

#[tokio::test]
async fn members_of_an_archive_are_raw_files_that_leave_with_its_version() {
    let members = |rows: &[(&str, &str)]| {
        let files = rows.iter().map(|(name, _)| format!("/in/x.zip/{name}"));
        batch(vec![
            ("content", Arc::new(arrow_array::BinaryArray::from_iter_values(rows.iter().map(|(_, text)| text.as_bytes()))) as ArrayRef),
            ("_file", Arc::new(StringArray::from_iter_values(files))),
        ])
    };
    let h = Hand::memory(json!({ "format": "raw" }), true);
    let other = (Some("/in/y"), batch(vec![("content", content(&[b"y"]).column(0).clone()), ("_file", Arc::new(StringArray::from(vec!["/in/y"])))]));
    h.epoch(1, vec![(Some("/in/x.zip"), members(&[("a", "1"), ("a", "2"), ("b", "b")])), other]).await;
    let texts = |all: &[(&str, &str)]| all.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect::<BTreeMap<_, _>>();
    assert_eq!(h.texts().await, texts(&[("a", "12"), ("b", "b"), ("y", "y")]));
    let staged = h.stage(2, vec![(Some("/in/x.zip"), members(&[("a", "new"), ("c", "c")]))]).await.unwrap();
    h.commit(2, &staged, &["/in/x.zip"]).await.unwrap();
    assert_eq!(h.texts().await, texts(&[("a", "new"), ("c", "c"), ("y", "y")]));
    // Rows that do not say which member they are from would become one file.
    let e = h.stage(3, vec![(Some("/in/z.zip"), content(&[b"1", b"2"]))]).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Config && e.hint_text().unwrap().contains("metadata"), "{e:?}");
}

#[tokio::test]
async fn a_new_version_may_have_other_partitions_and_fewer_files() {
    let h = Hand::memory(json!({ "format": "csv", "partition_by": ["day"], "roll": { "rows": 1 } }), true);
    h.epoch(1, vec![(Some("/in/a"), days(&[(1, 0), (2, 0), (3, 1)])), (Some("/in/b"), days(&[(9, 0)]))]).await;
    assert_eq!(seen(&h.storage).await.len(), 4);
    let staged = h.stage(2, vec![(Some("/in/a"), days(&[(4, 1), (5, 2)]))]).await.unwrap();
    let receipt = h.commit(2, &staged, &["/in/a"]).await.unwrap();
    assert_eq!(receipt.detail["removed"]["files"], 2, "{}", receipt.detail);
    let mut rows: Vec<(String, String)> = h.texts().await.into_iter().map(|(p, t)| (p[..14].to_owned(), t)).collect();
    rows.sort();
    let row = |day: &str, id: &str| (format!("day=1970-01-{day}"), format!("id\n{id}\n"));
    assert_eq!(rows, [row("01", "9"), row("02", "4"), row("03", "5")]);
}

#[tokio::test]
async fn someone_elses_file_at_a_target_is_a_conflict_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let storages: [StorageRef; 2] = [Arc::new(MemoryStorage::default()), Arc::new(LocalStorage::new(dir.path().join("out")).unwrap())];
    for storage in storages {
        let h = Hand::on(storage, json!({ "format": "csv" }), false);
        let staged = h.stage(1, vec![(None, days(&[(1, 0)]))]).await.unwrap();
        h.storage.put("p-main-000001-000.csv", "theirs".into(), sluis_storage::IfExists::Fail).await.unwrap();
        let e = h.commit(1, &staged, &[]).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Conflict);
        assert!(e.contexts().iter().any(|(k, v)| *k == "file" && v.ends_with("p-main-000001-000.csv")), "{e:?}");
        assert_eq!(text(&h.storage, "p-main-000001-000.csv").await, "theirs");
        // The way out that the hint names.
        h.storage.rename("p-main-000001-000.csv", "theirs.txt").await.unwrap();
        h.commit(1, &staged, &[]).await.unwrap();
        assert_eq!(text(&h.storage, "p-main-000001-000.csv").await, "id,day\n1,1970-01-01\n");
        // And a published file that somebody took away is said, not made up.
        h.storage.delete("p-main-000001-000.csv").await.unwrap();
        assert_eq!(h.commit(1, &staged, &[]).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
}

#[tokio::test]
async fn open_files_are_bounded_and_no_row_is_lost_for_it() {
    let storage: StorageRef = Arc::new(MemoryStorage::default());
    let config = json!({ "format": "csv", "partition_by": ["day"] });
    for limits in [Limits { files: 3, bytes: 1 << 30 }, Limits { files: 1000, bytes: 2000 }] {
        let sink = sink_on(&storage, &config, false).with_limits(limits);
        let h = Hand { storage: storage.clone(), sink };
        let epoch = limits.files as u64;
        let batches = (0..50_i64).map(|i| (None, days(&(0..40).map(|d| (i * 40 + i64::from(d), d)).collect::<Vec<_>>()))).collect();
        let staged = h.stage(epoch, batches).await.unwrap();
        assert_eq!(staged.iter().map(|c| c.rows).sum::<u64>(), 2000);
        assert!(staged.len() > 40, "files were ended early: {}", staged.len());
        h.commit(epoch, &staged, &[]).await.unwrap();
        let of_epoch = format!("p-main-{epoch:06}-");
        let mut ids: Vec<i64> = Vec::new();
        for (path, text) in h.texts().await {
            if path.contains(&of_epoch) {
                ids.extend(text.lines().skip(1).map(|l| l.parse::<i64>().unwrap()));
            }
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..2000).collect::<Vec<_>>());
    }
}

/// Every operation of a commit fails once, before it and after it, and torn: the commit after it mends everything.
#[tokio::test]
async fn a_fault_at_any_operation_of_a_commit_is_mended_by_the_next() {
    let faults: [fn(Error) -> Fault; 3] = [Fault::Before, Fault::After, Fault::Torn];
    for (replaces, fault) in [false, true].into_iter().flat_map(|r| faults.map(|f| (r, f))) {
        let mut number = 0;
        loop {
            let storage = MemoryStorage::default();
            let h = Hand::on(Arc::new(storage.clone()), json!({ "format": "csv", "roll": { "rows": 2 } }), replaces);
            h.epoch(1, vec![(Some("/in/a"), days(&[(1, 0), (2, 0), (3, 0), (4, 0), (5, 0)])), (Some("/in/b"), days(&[(6, 0)]))]).await;
            let staged = h.stage(2, vec![(Some("/in/a"), days(&[(7, 0), (8, 0), (9, 0)]))]).await.unwrap();
            let replaced: &[&str] = if replaces { &["/in/a"] } else { &[] };
            let (mut count, fails) = (0, number);
            storage.set_faults(Some(Box::new(move |op| {
                count += 1;
                if count - 1 == fails { fault(Error::unavailable(format!("planned at {} {}", op.name, op.path))) } else { Fault::None }
            })));
            let failed = h.commit(2, &staged, replaced).await.is_err();
            storage.set_faults(None);
            h.commit(2, &staged, replaced).await.unwrap();
            h.sink.sweep(&h.key(2), &[]).await.unwrap();
            let mut ids: Vec<String> = h.texts().await.into_values().flat_map(|t| t.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()).collect();
            ids.sort();
            let ids: Vec<&str> = ids.iter().map(|l| l.split(',').next().unwrap()).collect();
            let expected = if replaces { vec!["6", "7", "8", "9"] } else { vec!["1", "2", "3", "4", "5", "6", "7", "8", "9"] };
            assert_eq!(ids, expected, "fault at operation {number}, replaces: {replaces}");
            assert!(paths(&h.storage).await.iter().all(|p| !p.starts_with("_sluis/") || p.starts_with("_sluis/.sources/")));
            if !failed {
                break;
            }
            number += 1;
        }
        assert!(number > 1, "operations fail: {number}");
    }
}

#[tokio::test]
async fn an_epoch_that_fails_while_it_is_staged_is_staged_again() {
    let storage = MemoryStorage::default();
    let h = Hand::on(Arc::new(storage.clone()), json!({}), false);
    for operation in ["stage", "write", "finish"] {
        storage.set_faults(Some(Box::new(move |op| {
            if op.name == operation { Fault::Torn(Error::new(ErrorKind::Capacity, "disk full")) } else { Fault::None }
        })));
        assert_eq!(h.stage(1, vec![(None, days(&[(1, 0)]))]).await.unwrap_err().kind(), ErrorKind::Capacity, "{operation}");
        storage.set_faults(None);
        assert!(seen(&h.storage).await.is_empty());
    }
    h.epoch(1, vec![(None, days(&[(1, 0)]))]).await;
    h.sink.sweep(&h.key(1), &[]).await.unwrap();
    assert_eq!(paths(&h.storage).await, ["p-main-000001-000.parquet"]);
}

#[tokio::test]
async fn a_target_that_cannot_be_written_to_says_so_and_what_to_do() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("out")).unwrap();
    std::fs::set_permissions(dir.path().join("out"), std::fs::Permissions::from_mode(0o555)).unwrap();
    let may = std::fs::write(dir.path().join("out/x"), "").is_ok();
    let h = Hand::on(Arc::new(LocalStorage::new(dir.path().join("out")).unwrap()), json!({}), false);
    if !may {
        // Whoever may do everything (root) sees no such error.
        let e = h.stage(1, vec![(None, days(&[(1, 0)]))]).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Permission, "{e:?}");
        assert_eq!(h.sink.probe().await.unwrap_err().kind(), ErrorKind::Permission);
    }
    std::fs::write(dir.path().join("file"), "").unwrap();
    let h = Hand::on(Arc::new(LocalStorage::new(dir.path().join("file/out")).unwrap()), json!({}), false);
    let e = h.stage(1, vec![(None, days(&[(1, 0)]))]).await.unwrap_err();
    assert!(e.hint_text().is_some() && e.to_string().contains("file"), "{e:?}");
}

#[tokio::test]
async fn columns_that_cannot_be_written_are_said_before_anything_is() {
    let h = Hand::memory(json!({ "format": "csv", "partition_by": ["day"] }), false);
    let schema = batch(vec![("id", Arc::new(Int64Array::from(vec![1])))]).schema();
    let e = h.sink.prepare(&schema).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Config && e.message().contains("day"), "{e:?}");
    let h = Hand::memory(json!({ "format": "raw" }), false);
    assert_eq!(h.sink.prepare(&days(&[]).schema()).await.unwrap_err().kind(), ErrorKind::Config);
    assert!(paths(&h.storage).await.is_empty());
}

#[tokio::test]
async fn the_points_of_a_commit_are_passed_in_their_order() {
    let h = Hand::memory(json!({ "format": "csv", "roll": { "rows": 1 } }), false);
    let staged = h.stage(1, vec![(None, days(&[(1, 0), (2, 0)]))]).await.unwrap();
    let passed = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let noted = passed.clone();
    let old = crash::set_hook(Some(Box::new(move |name| {
        noted.borrow_mut().push(name);
        false
    })));
    h.commit(1, &staged, &[]).await.unwrap();
    h.sink.sweep(&h.key(1), &[]).await.unwrap();
    crash::set_hook(old);
    assert_eq!(*passed.borrow(), ["sink.before_publish", "sink.mid_publish", "sink.after_publish", "sweep.before", "sweep.after"]);
}
