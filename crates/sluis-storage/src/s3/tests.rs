//! Against a real server (MinIO), and against one that misbehaves.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;
use sluis_testkit::services::MinIo;

use super::*;
use crate::{StorageRef, conformance, read_all};

fn nobody() -> Environment {
    Environment::new(|name| (name == "AWS_EC2_METADATA_DISABLED").then(|| "true".to_owned()))
}

fn settings(minio: &MinIo) -> S3Connection {
    S3Connection::deserialize(&minio.connection()["s3"]).unwrap()
}

/// Notes the pauses and does not sleep.
#[derive(Debug, Default)]
struct Awake(Mutex<Vec<Duration>>);
#[async_trait]
impl Sleeper for Awake {
    async fn sleep(&self, pause: Duration) {
        self.0.lock().unwrap().push(pause);
        tokio::task::yield_now().await;
    }
    fn jitter(&self) -> f64 {
        0.5
    }
}

fn at(minio: &MinIo, bucket: &str, prefix: &str) -> S3Storage {
    S3Storage::connect(&settings(minio), bucket, prefix, &nobody()).unwrap()
}

fn fresh(prefix: &str) -> (S3Storage, String) {
    let minio = MinIo::shared();
    let bucket = minio.bucket("t");
    // Most of what is here is about uploads, of a few bytes, too.
    (S3Storage { hides: Hides::Nothing, ..at(minio, &bucket, prefix) }, bucket)
}

fn small(prefix: &str) -> (S3Storage, String) {
    let (s, bucket) = fresh(prefix);
    (S3Storage { hides: Hides::AsNeeded, ..s }, bucket)
}

async fn stage(s: &S3Storage, target: &str, name: &str, bytes: &'static [u8]) -> StagedFile {
    let mut w = s.stage(target, "p/main/1", name).await.unwrap();
    w.write(Bytes::from_static(bytes)).await.unwrap();
    w.finish().await.unwrap()
}

fn parts(file: &StagedFile) -> (&str, &[String], Option<&str>) {
    match &file.staging {
        Staging::Multipart { upload, parts, etag } => (upload, parts, etag.as_deref()),
        Staging::Hidden { .. } => panic!("not an upload: {file:?}"),
    }
}

#[tokio::test]
async fn conforms_in_a_prefix() {
    conformance::all(|| -> StorageRef { Arc::new(fresh("in/a prefix+%20").0) }).await;
}

#[tokio::test]
async fn conforms_in_a_whole_bucket() {
    conformance::all(|| -> StorageRef { Arc::new(fresh("").0) }).await;
}

#[tokio::test]
async fn small_objects_are_staged_hidden_and_conform() {
    conformance::all(|| -> StorageRef { Arc::new(small("in/a prefix+%20").0) }).await;
    let (s, bucket) = small("");
    let files = [stage(&s, "a", "1", b"one").await, stage(&s, "a", "2", b"two").await, stage(&s, "b", "3", b"").await];
    assert!(files.iter().all(|f| matches!(&f.staging, Staging::Hidden { path } if path.starts_with("_sluis/p/main/1/"))), "{files:?}");
    assert_eq!(MinIo::shared().open_uploads(&bucket, "a"), 0);
    let (one, two) = futures::join!(s.publish(&files[0], IfExists::Fail), s.publish(&files[1], IfExists::Fail));
    assert_eq!([&one, &two].iter().filter(|r| r.is_ok()).count(), 1, "{one:?} {two:?}");
    assert_eq!(one.err().or(two.err()).unwrap().kind(), ErrorKind::Conflict);
    assert_eq!(s.sweep("p/main", &files[2..]).await.unwrap(), 1, "the loser");
    assert_eq!(s.publish(&files[2], IfExists::Fail).await.unwrap(), Published::Now);
    assert_eq!(s.publish(&files[2], IfExists::Fail).await.unwrap(), Published::Before);
    let left: Vec<String> = s.list("", None).map_ok(|e| e.path).try_collect().await.unwrap();
    assert_eq!(left, ["a", "b"]);
}

fn large(first: u8) -> Bytes {
    (0..upload::PART as u32 + 5_000_000).map(|i| (i >> 12) as u8 ^ first).collect::<Vec<_>>().into()
}

async fn stage_large(s: &S3Storage, target: &str, name: &str, first: u8) -> StagedFile {
    let mut w = s.stage(target, "p/main/1", name).await.unwrap();
    w.write(large(first)).await.unwrap();
    w.finish().await.unwrap()
}

#[tokio::test]
async fn large_objects_are_staged_hidden_where_a_completion_may_lose_them_and_copied_to_their_place() {
    let minio = MinIo::shared();
    let (s, bucket) = small("in");
    let (one, two) = (stage_large(&s, "a ü", "1 ü", 1).await, stage_large(&s, "a ü", "2", 2).await);
    assert!(matches!(&one.staging, Staging::Hidden { path } if path == "_sluis/p/main/1/1 ü.staged"), "{one:?}");
    assert_eq!(s.publish(&one, IfExists::Fail).await.unwrap(), Published::Now);
    for if_exists in [IfExists::Fail, IfExists::Replace] {
        assert_eq!(s.publish(&one, if_exists).await.unwrap(), Published::Before);
    }
    assert_eq!(s.publish(&two, IfExists::Fail).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(read_all(&s, "a ü", None).await.unwrap() == large(1));
    assert_eq!(s.publish(&two, IfExists::Replace).await.unwrap(), Published::Now);
    assert!(read_all(&s, "a ü", None).await.unwrap() == large(2));
    assert_eq!(s.publish(&one, IfExists::Replace).await.unwrap_err().kind(), ErrorKind::Conflict, "it had its time");
    // The copy was made, and the process died.
    let three = stage_large(&s, "c", "3", 3).await;
    let Staging::Hidden { path } = &three.staging else { panic!("{three:?}") };
    let (from, to) = (s.key(path).unwrap(), s.key("c").unwrap());
    s.copy(&from, &to, &s.head_key(&from).await.unwrap().unwrap()).await.unwrap();
    assert_eq!(s.publish(&three, IfExists::Fail).await.unwrap(), Published::Before);
    // What is given up leaves nothing, whether it was whole or not.
    let mut w = s.stage("d", "p/main/1", "4").await.unwrap();
    w.write(large(4)).await.unwrap();
    drop(w);
    stage_large(&s, "d", "5", 5).await;
    s.sweep("p", &[]).await.unwrap();
    assert_eq!(minio.open_uploads(&bucket, &s.key("_sluis/p/main/1/4.staged").unwrap()), 0);
    let left: Vec<String> = s.list("", None).map_ok(|e| e.path).try_collect().await.unwrap();
    assert_eq!(left, ["a ü", "c"]);
}

/// A server that keeps what a client that dies leaves: there an upload is completed at the commit.
#[tokio::test]
async fn large_objects_are_uploads_where_a_completion_is_whole() {
    let (s, _) = small("");
    s.client.server.set(COMPLETES_WHOLE.to_owned()).unwrap();
    let file = stage_large(&s, "large", "1", 1).await;
    assert!(matches!(file.staging, Staging::Multipart { .. }), "{file:?}");
    assert_eq!(s.publish(&file, IfExists::Fail).await.unwrap(), Published::Now);
    assert_eq!(s.publish(&file, IfExists::Fail).await.unwrap(), Published::Before);
}

/// A process that dies while it publishes a large object: MinIO would lose the parts of a completion that is cut off.
#[tokio::test]
async fn a_publish_of_a_large_object_that_is_cut_off_can_be_done_again() {
    let (s, _) = small("");
    let mut cut_off = 0;
    for round in 0..12_u64 {
        let target = format!("f{round}");
        let file = stage_large(&s, &target, &format!("{round}"), round as u8).await;
        let cut = tokio::time::timeout(Duration::from_millis(round * 5), s.publish(&file, IfExists::Fail)).await;
        cut_off += u32::from(cut.is_err());
        s.publish(&file, IfExists::Fail).await.unwrap();
        assert!(read_all(&s, &target, None).await.unwrap() == large(round as u8), "{round}");
    }
    assert!(cut_off > 1, "{cut_off}");
    s.sweep("p", &[]).await.unwrap();
    assert_eq!(s.list("", None).count().await, 12);
}

/// A process that dies while it publishes: the server may see the request cut off anywhere.
#[tokio::test]
async fn a_publish_that_is_cut_off_can_be_done_again() {
    let (s, _) = small("");
    for round in 0..60_u64 {
        let file = stage(&s, &format!("f{round}"), &format!("{round}"), b"some bytes").await;
        let cut = tokio::time::timeout(Duration::from_micros(round * 150), s.publish(&file, IfExists::Fail)).await;
        assert!(cut.is_err() || cut.is_ok_and(|done| done.is_ok()));
        s.publish(&file, IfExists::Fail).await.unwrap();
        assert_eq!(read_all(&s, &file.target, None).await.unwrap(), "some bytes");
    }
    assert_eq!(s.sweep("p", &[]).await.unwrap(), 0);
    assert_eq!(s.list("", None).count().await, 60);
}

#[tokio::test]
async fn the_etag_of_what_will_be_published_is_known_before() {
    let (s, _) = fresh("");
    for (target, bytes) in [("one", &b"hello"[..]), ("none", b"")] {
        let file = stage(&s, target, target, bytes).await;
        assert_eq!(s.publish(&file, IfExists::Fail).await.unwrap(), Published::Now);
        let there = s.head(target).await.unwrap().unwrap();
        assert_eq!(there.etag.as_deref(), parts(&file).2, "{target}");
        assert!(there.etag.unwrap().ends_with("-1"));
    }
}

#[tokio::test]
async fn a_crash_at_any_step_leaves_nothing_after_a_sweep() {
    let minio = MinIo::shared();
    let (s, bucket) = fresh("out");
    // Died after the marker, before the upload was begun.
    sweep::mark(&s.client, "out/_sluis/p/main/1/a.upload", "out/a").await.unwrap();
    // Died after the upload was begun, before anybody knew its id: twice.
    sweep::mark(&s.client, "out/_sluis/p/main/1/b.upload", "out/b").await.unwrap();
    for _ in 0..2 {
        Upload::begin(s.client.clone(), "out/b".into(), None).await.unwrap();
    }
    // Died after the parts were there.
    let staged = stage(&s, "c", "c", b"c").await;
    // Died after the publication, before the sweep.
    let published = stage(&s, "d", "d", b"d").await;
    s.publish(&published, IfExists::Fail).await.unwrap();
    // Of somebody else: another key with the same beginning, another lane.
    let other = Upload::begin(s.client.clone(), "out/b2".into(), None).await.unwrap();
    assert_eq!(minio.open_uploads(&bucket, "out/b"), 2);
    assert_eq!(s.sweep("p/main/", &[]).await.unwrap(), 3);
    for key in ["out/a", "out/b", "out/c", "out/d"] {
        assert_eq!(minio.open_uploads(&bucket, key), 0, "{key}");
    }
    let left: Vec<String> = s.list("", None).map_ok(|e| e.path).try_collect().await.unwrap();
    assert_eq!(left, ["d"]);
    assert_eq!(s.publish(&staged, IfExists::Fail).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(minio.open_uploads(&bucket, "out/b2"), 1);
    sweep::abort(&s.client, "out/b2", &other.id).await.unwrap();
    sweep::abort(&s.client, "out/b2", &other.id).await.unwrap();
}

#[tokio::test]
async fn what_is_kept_keeps_its_marker_until_it_is_published() {
    let minio = MinIo::shared();
    let (s, bucket) = fresh("");
    let kept = stage(&s, "a", "first", b"first").await;
    let lost = stage(&s, "a", "second", b"second").await;
    assert_eq!(minio.open_uploads(&bucket, "a"), 2);
    assert_eq!(s.sweep("p/main", std::slice::from_ref(&kept)).await.unwrap(), 1);
    assert_eq!(minio.open_uploads(&bucket, "a"), 1);
    assert_eq!(s.publish(&lost, IfExists::Fail).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(s.publish(&kept, IfExists::Fail).await.unwrap(), Published::Now);
    // Now the other one is a conflict for another reason, and the winner was published before.
    assert_eq!(s.publish(&lost, IfExists::Fail).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(s.publish(&kept, IfExists::Replace).await.unwrap(), Published::Before);
    s.sweep("p", &[]).await.unwrap();
    assert_eq!(s.list("", None).count().await, 1);
}

#[tokio::test]
async fn two_publishers_of_one_name_do_not_overwrite_each_other() {
    let (s, bucket) = fresh("");
    let (one, two) = (stage(&s, "a", "1", b"one").await, stage(&s, "a", "2", b"two!").await);
    let (a, b) = futures::join!(s.publish(&one, IfExists::Fail), s.publish(&two, IfExists::Fail));
    assert_eq!([&a, &b].iter().filter(|r| r.is_ok()).count(), 1, "{a:?} {b:?}");
    assert_eq!(a.err().or(b.err()).unwrap().kind(), ErrorKind::Conflict);
    // Also where the look before it saw nothing.
    let (id, p, _) = parts(&two);
    let again = s.complete("a", id, p, true).await.unwrap();
    assert!(matches!(again, Completed::Taken | Completed::NoUpload));
    s.sweep("p", &[]).await.unwrap();
    assert_eq!(MinIo::shared().open_uploads(&bucket, "a"), 0, "a refused completion leaves its upload to the sweep");
}

#[tokio::test]
async fn a_file_that_was_given_up_leaves_no_upload() {
    let (s, bucket) = fresh("");
    let mut w = s.create("data").await.unwrap();
    w.write(vec![1; 20 << 20].into()).await.unwrap();
    assert_eq!(MinIo::shared().open_uploads(&bucket, "data"), 1);
    drop(w);
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while MinIo::shared().open_uploads(&bucket, "data") > 0 {
        assert!(std::time::Instant::now() < end, "it is never aborted");
        tokio::task::yield_now().await;
    }
    assert!(s.head("data").await.unwrap().is_none());
}

#[tokio::test]
async fn large_objects_are_copied_in_parts() {
    let (mut s, bucket) = fresh("");
    // A part of a copy must be 5 MiB at least.
    s.largest_copy = 25 << 20;
    let bytes = Bytes::from((0..32_000_000_u32).map(|i| (i / 1000) as u8).collect::<Vec<_>>());
    let mut w = s.create("from").await.unwrap();
    w.write(bytes.clone()).await.unwrap();
    w.finish().await.unwrap();
    s.rename("from", "to").await.unwrap();
    assert!(read_all(&s, "to", None).await.unwrap() == bytes);
    assert!(s.head("from").await.unwrap().is_none());
    assert_eq!(MinIo::shared().open_uploads(&bucket, "to"), 0);
}

#[tokio::test]
async fn an_object_that_changes_while_it_is_read_is_noticed() {
    let (s, _) = fresh("");
    s.put("big", vec![1; 70 << 20].into(), IfExists::Fail).await.unwrap();
    let mut stream = s.read("big", None).await.unwrap();
    stream.next().await.unwrap().unwrap();
    s.put("big", vec![2; 70 << 20].into(), IfExists::Replace).await.unwrap();
    let e = stream.try_for_each(|_| async { Ok(()) }).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::SourceChanged, "{e:?}");
}

#[tokio::test]
async fn listings_go_on_over_many_pages() {
    let (s, _) = fresh("many");
    stream::iter(0..2100).map(|i| s.put_owned(format!("d/{i:05}"))).buffer_unordered(16).try_collect::<Vec<()>>().await.unwrap();
    s.put("d0", Bytes::new(), IfExists::Fail).await.unwrap();
    let all: Vec<String> = s.list("d", None).map_ok(|e| e.path).try_collect().await.unwrap();
    assert_eq!((all.len(), all.is_sorted(), all[2099].as_str()), (2100, true, "d/02099"));
    let some: Vec<String> = s.list("", Some("d/02050")).map_ok(|e| e.path).try_collect().await.unwrap();
    assert_eq!((some.len(), some[0].as_str()), (50, "d/02051"));
}

impl S3Storage {
    async fn put_owned(&self, path: String) -> Result<()> {
        self.put(&path, Bytes::new(), IfExists::Fail).await
    }
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let minio = MinIo::shared();
    let (_, bucket) = fresh("");
    let list = |s: S3Storage| async move { s.list("", None).try_collect::<Vec<_>>().await.unwrap_err() };
    let e = list(at(minio, "no-such-bucket", "")).await;
    assert_eq!(e.kind(), ErrorKind::NotFound, "{e:?}");
    assert!(e.message().contains("the bucket no-such-bucket does not exist"), "{e:?}");
    let missing = at(minio, "no-such-bucket", "");
    assert_eq!(missing.put("a", Bytes::new(), IfExists::Fail).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(missing.read("a", None).await.err().unwrap().kind(), ErrorKind::NotFound);
    let with = |change: fn(&mut S3Connection)| {
        let mut settings = settings(minio);
        change(&mut settings);
        S3Storage::connect(&settings, &bucket, "", &nobody())
    };
    let wrong_secret = with(|s| s.secret_key = Some(sluis_core::secret::Secret::new("not-the-secret"))).unwrap();
    let e = list(wrong_secret.clone()).await;
    assert_eq!(e.kind(), ErrorKind::Permission, "{e:?}");
    assert!(e.hint_text().unwrap().contains("secret key"), "{e:?}");
    assert!(!format!("{e:?}").contains("not-the-secret"));
    assert_eq!(wrong_secret.put("a", Bytes::new(), IfExists::Fail).await.unwrap_err().kind(), ErrorKind::Permission);
    assert_eq!(wrong_secret.head("a").await.unwrap_err().kind(), ErrorKind::Permission);
    let anonymous = with(|s| *s = S3Connection { endpoint: s.endpoint.clone(), anonymous: true, ..S3Connection::default() }).unwrap();
    assert_eq!(list(anonymous).await.kind(), ErrorKind::Permission);
    let nobody = with(|s| *s = S3Connection { endpoint: s.endpoint.clone(), ..S3Connection::default() }).unwrap();
    let e = list(nobody).await;
    assert_eq!(e.kind(), ErrorKind::Permission);
    assert!(e.hint_text().unwrap().contains("AWS_PROFILE"), "{e:?}");
    let nowhere = with(|s| {
        s.endpoint = Some("http://127.0.0.1:1".into());
        s.retries = Some(1);
    });
    let e = list(nowhere.unwrap()).await;
    assert_eq!((e.kind(), e.contexts().last().unwrap().0), (ErrorKind::Unavailable, "tries"), "{e:?}");
    assert_eq!(with(|s| s.endpoint = Some("minio".into())).unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_bucket_that_anybody_may_read_is_read_without_a_signature() {
    let minio = MinIo::shared();
    let (s, bucket) = fresh("");
    s.put("a", Bytes::from_static(b"open"), IfExists::Fail).await.unwrap();
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":["*"]}},"Action":["s3:GetObject","s3:ListBucket"],
        "Resource":["arn:aws:s3:::{bucket}","arn:aws:s3:::{bucket}/*"]}}]}}"#
    );
    let (status, body) = minio.request("PUT", &format!("/{bucket}?policy="), policy.as_bytes());
    assert_eq!(status, 204, "{body}");
    let settings = S3Connection { endpoint: Some(minio.endpoint.clone()), anonymous: true, ..S3Connection::default() };
    let open = S3Storage::connect(&settings, &bucket, "", &nobody()).unwrap();
    assert_eq!(read_all(&open, "a", None).await.unwrap(), "open");
    assert_eq!(open.list("", None).count().await, 1);
    let e = open.put("b", Bytes::new(), IfExists::Fail).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Permission, "{e:?}");
}

#[tokio::test]
async fn a_private_certificate_authority() {
    let minio = MinIo::start_tls();
    let bucket = minio.bucket("tls");
    let mut settings = settings(&minio);
    settings.retries = Some(1);
    let strange = S3Storage::connect(&settings, &bucket, "", &nobody()).unwrap();
    let e = strange.head("a").await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unavailable);
    assert!(e.hint_text().unwrap().contains("ca_file"), "{e:?}");
    settings.ca_file = Some(MinIo::ca_file());
    let s = S3Storage::connect(&settings, &bucket, "", &nobody()).unwrap();
    s.put("a", Bytes::from_static(b"a"), IfExists::Fail).await.unwrap();
    assert_eq!(read_all(&s, "a", None).await.unwrap(), "a");
}

#[tokio::test]
async fn a_role_is_assumed_and_its_credentials_work() {
    let minio = MinIo::shared();
    let bucket = minio.bucket("role");
    let mut settings = settings(minio);
    settings.role_arn = Some("arn:minio:iam:::role/x".into());
    settings.sts_endpoint = Some(minio.endpoint.clone());
    let s = S3Storage::connect(&settings, &bucket, "", &nobody()).unwrap();
    s.put("a", Bytes::from_static(b"a"), IfExists::Fail).await.unwrap();
    assert_eq!(read_all(&s, "a", None).await.unwrap(), "a");
    let used = s.client.credentials.as_ref().unwrap().get_credential().await.unwrap();
    assert!(used.key_id != minio.access && used.token.is_some(), "temporary ones");
}

#[tokio::test]
async fn folder_objects_of_consoles_are_no_files() {
    let (s, bucket) = fresh("");
    let (status, body) = MinIo::shared().request("PUT", &format!("/{bucket}/folder/"), b"");
    assert_eq!(status, 200, "{body}");
    s.put("folder/a", Bytes::new(), IfExists::Fail).await.unwrap();
    let all: Vec<String> = s.list("", None).map_ok(|e| e.path).try_collect().await.unwrap();
    assert_eq!(all, ["folder/a"]);
    let (files, folders) = s.list_folder("").await.unwrap();
    assert_eq!((files.len(), folders), (0, vec!["folder".to_owned()]));
}

/// A server in front of MinIO that does to some requests what networks do.
struct Hostile {
    endpoint: String,
    seen: Arc<AtomicUsize>,
}

/// What is done to a request, by its first line.
#[derive(Clone, Copy, PartialEq)]
enum Trick {
    Pass,
    /// Answers this, and the server never hears of it.
    Refuse(&'static str),
    /// The server does it; the answer is lost.
    LoseAnswer,
    /// The first half of the answer.
    CutAnswer,
}

impl Hostile {
    fn start(upstream: &str, tricks: impl Fn(&str, usize) -> Trick + Send + Sync + 'static) -> Hostile {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let seen = Arc::new(AtomicUsize::new(0));
        let (tricks, count) = (Arc::new(tricks), seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tricks, upstream, count) = (tricks.clone(), upstream.clone(), count.clone());
                std::thread::spawn(move || Hostile::serve(stream, &upstream, &*tricks, &count));
            }
        });
        Hostile { endpoint, seen }
    }

    /// One request of a connection, then it is closed.
    fn serve(mut stream: std::net::TcpStream, upstream: &str, tricks: &dyn Fn(&str, usize) -> Trick, count: &AtomicUsize) -> Option<()> {
        use std::io::{Read, Write};
        let mut asked = Vec::new();
        let head = loop {
            let mut piece = [0; 65536];
            let n = stream.read(&mut piece).ok().filter(|n| *n > 0)?;
            asked.extend_from_slice(&piece[..n]);
            if let Some(at) = asked.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let text = String::from_utf8_lossy(&asked[..head]).to_lowercase();
        let length: usize = text.split("content-length: ").nth(1).and_then(|t| t.split("\r\n").next()?.parse().ok()).unwrap_or(0);
        while asked.len() < head + length {
            let mut piece = [0; 65536];
            let n = stream.read(&mut piece).ok().filter(|n| *n > 0)?;
            asked.extend_from_slice(&piece[..n]);
        }
        let line = String::from_utf8_lossy(&asked).lines().next()?.to_owned();
        let trick = tricks(&line, count.fetch_add(1, Ordering::SeqCst));
        if let Trick::Refuse(answer) = trick {
            stream.write_all(answer.as_bytes()).ok()?;
            return Some(());
        }
        // The signed host name is ours; the server checks the header that it gets, whatever its own address is.
        let mut server = std::net::TcpStream::connect(upstream).ok()?;
        let head_text = String::from_utf8_lossy(&asked[..head]).replacen("\r\n", "\r\nConnection: close\r\n", 1);
        server.write_all(head_text.as_bytes()).ok()?;
        server.write_all(&asked[head..]).ok()?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).ok()?;
        match trick {
            Trick::LoseAnswer => {}
            Trick::CutAnswer => stream.write_all(&answer[..answer.len() / 2]).ok()?,
            _ => stream.write_all(&answer).ok()?,
        }
        Some(())
    }

    fn storage(&self, bucket: &str, awake: &Arc<Awake>) -> S3Storage {
        let mut settings = settings(MinIo::shared());
        settings.endpoint = Some(self.endpoint.clone());
        S3Storage { hides: Hides::Nothing, ..S3Storage::connect_with(&settings, bucket, "", &nobody(), awake.clone()).unwrap() }
    }
}

const SLOW_DOWN: &str =
    "HTTP/1.1 503 Slow Down\r\nRetry-After: 7\r\nContent-Length: 49\r\nConnection: close\r\n\r\n<Error><Code>SlowDown</Code><Message/></Error>   ";
const ERROR_IN_OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 41\r\nConnection: close\r\n\r\n<Error><Code>InternalError</Code></Error>";

#[tokio::test]
async fn every_request_survives_lost_answers_and_a_server_that_is_busy() {
    let minio = MinIo::shared();
    let tricks = [Trick::Refuse(SLOW_DOWN), Trick::LoseAnswer, Trick::CutAnswer];
    for (first, hides) in tricks.into_iter().flat_map(|t| [(t, Hides::Nothing), (t, Hides::AsNeeded)]) {
        let bucket = minio.bucket("hostile");
        // Every other request meets the trick, so each is tried twice.
        let hostile = Hostile::start(&minio.endpoint, move |_, n| if n.is_multiple_of(2) { first } else { Trick::Pass });
        let awake = Arc::new(Awake::default());
        let s = S3Storage { hides, ..hostile.storage(&bucket, &awake) };
        let file = stage(&s, "a", "a", b"hello").await;
        assert!(s.publish(&file, IfExists::Fail).await.is_ok());
        assert_eq!(read_all(&s, "a", None).await.unwrap(), "hello");
        s.put("b", Bytes::from_static(b"b"), IfExists::Fail).await.unwrap();
        s.rename("b", "c").await.unwrap();
        s.delete("c").await.unwrap();
        if hides == Hides::AsNeeded {
            let file = stage_large(&s, "a", "large", 7).await;
            assert!(matches!(file.staging, Staging::Hidden { .. }));
            s.publish(&file, IfExists::Replace).await.unwrap();
            assert!(read_all(&s, "a", None).await.unwrap() == large(7));
        }
        // A begun upload whose answer was lost is begun again: the sweep must find both.
        s.sweep("p", &[]).await.unwrap();
        assert_eq!(minio.open_uploads(&bucket, "a"), 0);
        let left: Vec<String> = s.list("", None).map_ok(|e| e.path).try_collect().await.unwrap();
        assert_eq!(left, ["a"]);
        assert!(hostile.seen.load(Ordering::SeqCst) > 16);
        let asked = awake.0.lock().unwrap().iter().all(|p| *p >= Duration::from_secs(7));
        assert_eq!(asked, matches!(first, Trick::Refuse(_)), "a server that asks for seven seconds gets them");
    }
}

#[tokio::test]
async fn an_error_inside_of_an_ok_is_an_error() {
    let minio = MinIo::shared();
    let bucket = minio.bucket("hostile");
    let once = AtomicUsize::new(0);
    let hostile = Hostile::start(&minio.endpoint, move |line, _| {
        let joins = line.starts_with("POST") && line.contains("?uploadId=");
        if joins && once.fetch_add(1, Ordering::SeqCst) == 0 { Trick::Refuse(ERROR_IN_OK) } else { Trick::Pass }
    });
    let s = hostile.storage(&bucket, &Arc::default());
    let file = stage(&s, "a", "a", b"hello").await;
    assert_eq!(s.publish(&file, IfExists::Fail).await.unwrap(), Published::Now);
    assert_eq!(read_all(&s, "a", None).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_server_that_stays_busy_is_given_up_with_the_way_out() {
    let minio = MinIo::shared();
    let hostile = Hostile::start(&minio.endpoint, |_, _| Trick::Refuse(SLOW_DOWN));
    let awake = Arc::new(Awake::default());
    let e = hostile.storage("any", &awake).put("a", Bytes::new(), IfExists::Fail).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unavailable);
    assert_eq!(e.retry_policy(), sluis_core::Retry::After(7000));
    assert!(e.hint_text().unwrap().contains("slow down"), "{e:?}");
    assert_eq!((awake.0.lock().unwrap().len(), e.contexts().last().unwrap().1.as_str()), (6, "7"));
}
