//! Against a small server that answers what each test says.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;

use futures::StreamExt;
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::read_all;

/// A request as it came: `METHOD /path`, and the whole head in lower case.
struct Asked {
    line: String,
    head: String,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.split(&format!("\r\n{name}: ")).nth(1)?.split("\r\n").next()
    }
}

type Log = Arc<Mutex<Vec<String>>>;

/// Serves every request on a connection of its own with what `answer` gives (the whole answer); `None`: hangs up.
fn serve(answer: impl Fn(&Asked, usize) -> Option<Vec<u8>> + Send + Sync + 'static) -> (String, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let log = Log::default();
    let (answer, noted) = (Arc::new(answer), log.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (answer, noted) = (answer.clone(), noted.clone());
            std::thread::spawn(move || one(stream, &*answer, &noted));
        }
    });
    (url, log)
}

fn one(mut stream: TcpStream, answer: &dyn Fn(&Asked, usize) -> Option<Vec<u8>>, log: &Log) -> Option<()> {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        let mut piece = [0; 4096];
        let n = stream.read(&mut piece).ok().filter(|n| *n > 0)?;
        asked.extend_from_slice(&piece[..n]);
    }
    let head = String::from_utf8_lossy(&asked).into_owned();
    let line = head.split(" HTTP/").next()?.to_owned();
    let number = {
        let mut log = log.lock().unwrap();
        log.push(line.clone());
        log.len() - 1
    };
    stream.write_all(&answer(&Asked { line, head: head.to_lowercase() }, number)?).ok()
}

fn answer(status: u16, headers: &str, body: &[u8]) -> Option<Vec<u8>> {
    let mut out = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    out.extend_from_slice(body);
    Some(out)
}

/// A plain web server over these files: ranges, etags, index pages.
fn files(all: &'static [(&'static str, &'static str)]) -> impl Fn(&Asked, usize) -> Option<Vec<u8>> + Send + Sync + 'static {
    let all: BTreeMap<&str, &str> = all.iter().copied().collect();
    move |asked, _| {
        let (method, path) = asked.line.split_once(' ')?;
        if path.ends_with('/') {
            let names: std::collections::BTreeSet<&str> =
                all.keys().filter_map(|f| f.strip_prefix(path)).map(|rest| rest.split_inclusive('/').next().unwrap_or(rest)).collect();
            let links: String = names.iter().map(|n| format!("<a href=\"{n}\">{n}</a>\n")).collect();
            return if links.is_empty() { answer(404, "", b"") } else { answer(200, "Content-Type: text/html; charset=utf-8\r\n", links.as_bytes()) };
        }
        let Some(body) = all.get(path) else { return answer(404, "", b"not here") };
        let tag = format!("Etag: \"{}-{}\"\r\nLast-Modified: Wed, 01 May 2024 10:00:00 GMT\r\n", path.len(), body.len());
        if method == "HEAD" {
            let text = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n{tag}\r\n", body.len());
            return Some(text.into_bytes());
        }
        if asked.header("if-match").is_some_and(|t| !tag.to_lowercase().contains(t)) {
            return answer(412, "", b"");
        }
        match asked.header("range").and_then(|r| r.strip_prefix("bytes=")?.split_once('-')) {
            None => answer(200, &tag, body.as_bytes()),
            Some((from, to)) => {
                let from: usize = from.parse().ok()?;
                let to = to.parse().map_or(body.len(), |to: usize| body.len().min(to + 1));
                if from >= body.len() {
                    return answer(416, "", b"");
                }
                answer(206, &format!("{tag}Content-Range: bytes {from}-{}/{}\r\n", to - 1, body.len()), &body.as_bytes()[from..to])
            }
        }
    }
}

#[derive(Debug, Default)]
struct Awake(Mutex<Vec<Duration>>);
#[async_trait]
impl Sleeper for Awake {
    async fn sleep(&self, pause: Duration) {
        self.0.lock().unwrap().push(pause);
    }
    fn jitter(&self) -> f64 {
        0.0
    }
}

fn open_with(url: &str, settings: serde_json::Value) -> (HttpStorage, String, Arc<Awake>) {
    let awake = Arc::new(Awake::default());
    let settings = HttpConnection::deserialize(&settings).unwrap();
    let (s, path) = HttpStorage::connect_with(url, &settings, &Environment::new(|_| None), awake.clone()).unwrap();
    (s, path, awake)
}

fn open(url: &str) -> (HttpStorage, String) {
    let (s, path, _) = open_with(url, json!({}));
    (s, path)
}

fn version(s: &HttpStorage, e: &Entry) -> FileVersion {
    FileVersion { path: s.address(&e.path), size: e.size, modified: e.modified, etag: e.etag.clone() }
}

#[tokio::test]
async fn a_folder_is_listed_with_what_is_below() {
    let (url, log) =
        serve(files(&[("/data/in/a%20b.csv", "one"), ("/data/in/sub/c.csv", "three"), ("/data/in/sub/deep/d.csv", ""), ("/data/other.csv", "x")]));
    let (s, path) = open(&format!("{url}/data/in/"));
    assert_eq!((path.as_str(), s.root()), ("", format!("{url}/data/in").as_str()));
    let all: Vec<Entry> = s.list("", None).try_collect().await.unwrap();
    let names: Vec<_> = all.iter().map(|e| (e.path.as_str(), e.size)).collect();
    assert_eq!(names, [("a b.csv", 3), ("sub/c.csv", 5), ("sub/deep/d.csv", 0)]);
    for e in &all {
        assert!(e.etag.is_some() && e.modified.is_some());
        assert_eq!(read_all(&s, &e.path, Some(&version(&s, e))).await.unwrap().len() as u64, e.size);
    }
    let (entries, folders) = s.list_folder("sub").await.unwrap();
    assert_eq!((entries[0].path.as_str(), folders), ("sub/c.csv", vec!["deep".to_owned()]));
    assert!(s.head("none.csv").await.unwrap().is_none());
    assert_eq!(s.list("none", None).count().await, 0);
    assert!(log.lock().unwrap().iter().all(|line| !line.contains("other")));
    let e = open(&format!("{url}/nothing/")).0.list("", None).try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn one_file_and_its_ranges_and_versions() {
    let (url, _) = serve(files(&[("/x/data.csv", "0123456789")]));
    let (s, path) = open(&format!("{url}/x/data.csv"));
    assert_eq!((path.as_str(), s.address(&path)), ("data.csv", format!("{url}/x/data.csv")));
    let e = s.head(&path).await.unwrap().unwrap();
    let v = version(&s, &e);
    assert_eq!(read_all(&s, &path, Some(&v)).await.unwrap(), "0123456789");
    assert_eq!(s.read_range(&path, 3..5, Some(&v)).await.unwrap(), "34");
    assert_eq!(s.read_range(&path, 3..3, None).await.unwrap(), "");
    assert!(s.read_range(&path, 5..11, None).await.is_err());
    let old = FileVersion { etag: Some("older".into()), ..v.clone() };
    assert_eq!(read_all(&s, &path, Some(&old)).await.unwrap_err().kind(), ErrorKind::SourceChanged);
    assert_eq!(s.read_range(&path, 0..2, Some(&old)).await.unwrap_err().kind(), ErrorKind::SourceChanged);
    let by_time = FileVersion { etag: None, modified: v.modified.map(|m| m + chrono::TimeDelta::seconds(1)), ..v.clone() };
    assert_eq!(read_all(&s, &path, Some(&by_time)).await.unwrap_err().kind(), ErrorKind::SourceChanged);
    assert_eq!(read_all(&s, "gone", Some(&v)).await.unwrap_err().kind(), ErrorKind::SourceChanged);
    assert_eq!(read_all(&s, "gone", None).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_busy_server_is_asked_again_when_it_wants() {
    let ok = files(&[("/a.csv", "hello")]);
    let (url, log) = serve(move |asked, n| if n < 3 { answer(503, "Retry-After: 9\r\n", b"") } else { ok(asked, n) });
    let (s, path, awake) = open_with(&format!("{url}/a.csv"), json!({}));
    assert_eq!(read_all(&s, &path, None).await.unwrap(), "hello");
    assert_eq!(*awake.0.lock().unwrap(), [Duration::from_secs(9); 3]);
    assert_eq!(log.lock().unwrap().len(), 4);
    let (url, _) = serve(|_, _| answer(500, "", b""));
    let (s, path, _) = open_with(&format!("{url}/a.csv"), json!({"retries": 2}));
    let e = s.head(&path).await.unwrap_err();
    assert_eq!((e.kind(), e.contexts().last().unwrap().1.as_str()), (ErrorKind::Unavailable, "3"), "{e:?}");
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    const BODY: &str = "0123456789abcdefghij";
    for (ranges, etags, ok) in [(true, true, true), (false, true, true), (true, false, false)] {
        let whole = files(&[("/a.csv", BODY)]);
        let (url, log) = serve(move |asked, n| {
            let mut a = String::from_utf8(whole(asked, n)?).unwrap();
            if !etags {
                a = a.split("\r\n").filter(|l| !l.starts_with("Etag") && !l.starts_with("Last-M")).collect::<Vec<_>>().join("\r\n");
            }
            if !ranges && asked.header("range").is_some() {
                a = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nEtag: \"6-20\"\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len());
            }
            // Twice, half of what was to come is missing.
            if n < 2 {
                let head = a.find("\r\n\r\n").unwrap() + 4;
                a.truncate(head + (a.len() - head) / 2);
            }
            Some(a.into_bytes())
        });
        let (s, path) = open(&format!("{url}/a.csv"));
        let got = read_all(&s, &path, None).await;
        if ok {
            assert_eq!(got.unwrap(), BODY);
            assert_eq!(log.lock().unwrap().len(), 3);
        } else {
            assert!(got.unwrap_err().message().contains("still the same"));
        }
    }
}

#[tokio::test]
async fn a_file_that_changes_during_a_break_is_noticed() {
    let (url, _) = serve(|asked, n| {
        if n == 0 {
            return Some(b"HTTP/1.1 200 OK\r\nEtag: \"one\"\r\nContent-Length: 10\r\n\r\n01234".to_vec());
        }
        assert_eq!(asked.header("if-match"), Some("\"one\""));
        answer(412, "", b"")
    });
    let (s, path) = open(&format!("{url}/a.csv"));
    assert_eq!(read_all(&s, &path, None).await.unwrap_err().kind(), ErrorKind::SourceChanged);
}

#[tokio::test]
async fn sizes_that_head_does_not_tell_are_found_out() {
    // HEAD refused, range understood.
    let ok = files(&[("/a.csv", "hello")]);
    let (url, _) = serve(move |asked, n| if asked.line.starts_with("HEAD") { answer(405, "", b"") } else { ok(asked, n) });
    let (s, path) = open(&format!("{url}/a.csv"));
    assert_eq!(s.head(&path).await.unwrap().unwrap().size, 5);
    // No range, no length: chunks.
    let (url, _) = serve(|asked, _| {
        let body = if asked.line.starts_with("HEAD") { "" } else { "5\r\nhello\r\n3\r\n wo\r\n0\r\n\r\n" };
        Some(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{body}").into_bytes())
    });
    let (s, path) = open(&format!("{url}/a.csv"));
    let e = s.head(&path).await.unwrap().unwrap();
    assert_eq!(e.size, 8);
    assert_eq!(read_all(&s, &path, Some(&version(&s, &e))).await.unwrap(), "hello wo");
    assert_eq!(s.read_range(&path, 4..7, None).await.unwrap(), "o w");
}

#[tokio::test]
async fn secrets_are_sent_and_not_shown() {
    let (url, log) = serve(|asked, _| match asked.header("authorization") {
        Some("basic dxnlcjpwyxnzd29yza==" | "bearer very-secret-token") => answer(200, "", b"ok"),
        _ => answer(401, "", b""),
    });
    let signed = url.replace("http://", "http://user:password@") + "/a.csv?id=5&sig=abcdefgh";
    let (s, path) = open(&signed);
    assert_eq!((path.as_str(), s.root()), ("a.csv?id=5", url.as_str()));
    assert_eq!(read_all(&s, &path, None).await.unwrap(), "ok");
    assert_eq!(log.lock().unwrap()[0], "GET /a.csv?id=5&sig=abcdefgh");
    let (s, path, _) = open_with(&format!("{url}/a.csv"), json!({"bearer": "very-secret-token", "headers": {"X-A": "b"}}));
    assert_eq!(read_all(&s, &path, None).await.unwrap(), "ok");
    assert!(!format!("{s:?}").contains("very-secret-token"), "{s:?}");
    let e = read_all(&open(&format!("{url}/a.csv")).0, "a.csv", None).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Permission);
}

#[tokio::test]
async fn a_token_does_not_follow_a_redirect_to_another_host() {
    let (elsewhere, log) = serve(|_, _| answer(200, "", b"stolen"));
    let elsewhere = elsewhere.replace("127.0.0.1", "localhost");
    let (url, _) = serve(move |asked, _| match asked.line.as_str() {
        "GET /near.csv" => answer(302, "Location: /moved.csv\r\n", b""),
        "GET /moved.csv" => answer(200, "", b"moved"),
        _ => answer(302, &format!("Location: {elsewhere}/x\r\n"), b""),
    });
    let (s, _, _) = open_with(&format!("{url}/"), json!({"headers": {"X-Key": "very-secret-key"}}));
    assert_eq!(read_all(&s, "near.csv", None).await.unwrap(), "moved");
    assert_eq!(read_all(&s, "far.csv", None).await.unwrap_err().kind(), ErrorKind::Config);
    assert!(log.lock().unwrap().is_empty());
    assert_eq!(read_all(&open(&format!("{url}/")).0, "far.csv", None).await.unwrap(), "stolen");
}

#[tokio::test]
async fn nothing_is_written() {
    let (s, _) = open("http://localhost:1/x/");
    let e = s.put("a", Bytes::new(), IfExists::Fail).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Config);
    assert!(e.message().contains("read-only"), "{e}");
    assert!(s.stage("a", "s", "n").await.is_err() && s.create("a").await.is_err());
    assert!(s.delete("a").await.is_err() && s.rename("a", "b").await.is_err() && s.sweep("a", &[]).await.is_err());
}

#[test]
fn basic_credentials() {
    for (text, is) in [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj"), ("user:password", "dXNlcjpwYXNzd29yZA==")] {
        assert_eq!(base64(text.as_bytes()), is);
    }
}
