//! `peek` and `init --from`: what is found, and that what is written from it runs.

use std::path::Path;

use sluis_testkit::services::MinIo;

use crate::sandbox::Sandbox;

/// Copies a folder of the examples.
fn example(s: &Sandbox, from: &str, to: &str) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(from);
    std::fs::create_dir_all(s.path(to)).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, s.path(to).join(path.file_name().unwrap())).unwrap();
    }
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn nothing_is_written_and_no_project_is_needed() {
    let s = Sandbox::new();
    s.file("in/a.csv", "id,name\n1,Ada\n2,Bob\n");
    let before = s.sh("find . | sort").stdout;
    s.sluis("peek in/a.csv").expect(0, &["format csv", "id ", "bigint", "Ada", "2 rows", "from:\n  files: { url: in/a.csv }\n  csv:"]);
    s.sluis("peek in").expect(0, &["2 rows"]);
    s.sluis("peek in/*.csv --json").expect(0, &["\"rows\":2"]);
    assert_eq!(s.sh("find . | sort").stdout, before);
}

#[test]
fn the_block_that_is_printed_runs_as_it_stands() {
    let s = Sandbox::new();
    s.file("in/a b.csv", "sku,price\n00012,1.50\n").file("in/b.csv", "price,sku,\"x: y\"\n2,7,yes\n");
    let found = json(&s.sluis("peek in/ --json").expect(0, &[]).stdout);
    s.file("p.yaml", format!("{}into:\n  files: {{ url: out/, format: csv }}\n", found["yaml"].as_str().unwrap()));
    s.sluis("check p.yaml").expect(0, &["no mistakes"]);
    s.sluis("run p.yaml").expect(0, &["2 rows read, 2 written"]);
}

#[test]
fn what_is_not_there_or_not_understood_is_said_with_a_way_out() {
    let s = Sandbox::new();
    s.file("empty.csv", "").file("in/_hidden.csv", "a\n1\n").file("x.bin", b"\x00\x01\x02\x03\xff\xfe\x00");
    s.sluis("peek nothing.csv").expect(1, &["error:", "nothing.csv"]);
    s.sluis("peek in/").expect(1, &["there are no files at in/", "--hidden"]);
    s.sluis("peek in/ --hidden").expect(0, &["format csv"]);
    s.sluis("peek empty.csv").expect(1, &["the file is empty"]);
    s.sluis("peek x.bin").expect(1, &["cannot be told", "--format"]);
    s.sluis("peek x.bin --format xlsx").expect(2, &["there is no format `xlsx`"]);
    s.sluis("peek s3://bucket/x.csv --connection nope").expect(2, &["there is no connection `nope`"]);
    s.sluis("peek in/[ ").expect(2, &["error:"]);
}

#[test]
fn only_the_beginning_of_a_large_file_is_read() {
    let s = Sandbox::new();
    let row = format!("1,{}\n", "x".repeat(1000));
    s.file("big.csv", format!("id,text\n{}", row.repeat(20_000)));
    let found = json(&s.sluis("peek big.csv --json").expect(0, &[]).stdout);
    let file = &found["files"][0];
    assert_eq!((file["looked_at"].as_u64(), file["whole"].as_bool()), (Some(1 << 20), Some(false)));
    assert!(found["rows"].as_u64().unwrap() < 10_000, "{}", found["rows"]);
    assert_eq!(found["rejected"], 0, "the row at the end of the beginning is none");
    s.sluis("peek big.csv").expect(0, &["1 MiB of", "no more than the first 1 MiB"]);
}

#[test]
fn compressed_and_damaged_files_are_looked_at_as_far_as_they_go() {
    let s = Sandbox::new();
    let text: String = std::iter::once("id,name\n".to_owned()).chain((0..50_000).map(|n| format!("{n},n{n}\n"))).collect();
    s.file("a.csv", &text);
    s.sh("gzip -k a.csv && head -c 60000 a.csv.gz > cut.csv.gz").expect(0, &[]);
    s.sluis("peek a.csv.gz").expect(0, &["50,000 rows", "n0"]);
    s.sluis("peek cut.csv.gz").expect(0, &["cut.csv.gz is damaged: ", "id "]);
}

#[test]
fn s3_and_connections_of_the_project() {
    let minio = MinIo::shared();
    let bucket = minio.bucket("peek");
    let s = Sandbox::new();
    let connection = format!(
        "s3: {{ endpoint: \"{}\", allow_http: true, path_style: true, region: us-east-1, access_key: {}, secret_key: \"${{env:KEY}}\" }}",
        minio.endpoint, minio.access
    );
    let other = "other: { s3: { access_key: a, secret_key: \"${env:NOT_SET_ANYWHERE}\", for: [s3://elsewhere/] } }";
    s.file("sluis.yaml", format!("connections:\n  store: {{ {connection} }}\n  {other}\n"));
    let pipeline =
        format!("from: {{ files: {{ url: in/ }}, csv: }}\ninto: {{ files: {{ url: \"s3://{bucket}/in/\", connection: store, format: csv }} }}\n");
    s.file("in/a.csv", "id,name\n1,Ada\n").file("pipelines/p.yaml", pipeline);
    let key = format!("KEY={}", minio.secret);
    s.sh(&format!("NOT_SET_ANYWHERE=x {key} sluis run --quiet")).expect(0, &[]);
    s.sh(&format!("{key} sluis peek s3://{bucket}/in/ --connection store")).expect(0, &["Ada", "connection: store"]);
    s.sh(&format!("{key} sluis peek s3://{bucket}/in/")).expect(0, &["Ada"]);
    s.sh(&format!("sluis peek s3://{bucket}/in/ --connection store")).expect(2, &["`KEY` is not set", "connections.store"]);
    s.sh(&format!("{key} sluis init made --from s3://{bucket}/in/ --connection store")).expect(0, &["made made/sluis.yaml"]);
    let made = std::fs::read_to_string(s.path("made/sluis.yaml")).unwrap();
    assert!(made.contains("${env:KEY}") && !made.contains(&minio.secret), "{made}");
    s.sh(&format!("{key} sluis run --project made")).expect(0, &["1 row read, 1 written"]);
    let tried = s.sh(&format!("{key} sluis check --connect"));
    tried.expect(2, &["ok       connections store: not tried", "missing  connections other", "NOT_SET_ANYWHERE"]);
}

#[test]
fn a_project_made_from_files_is_checked_runs_and_lands_every_row() {
    for (data, name, files, rows) in [("telemetry/data/telemetry", "telemetry", "adbreaks*", 0), ("prices/data/prices", "prices", "*", 0)] {
        let s = Sandbox::new();
        example(&s, data, &format!("data/{name}"));
        let lines = s.sh(&format!("cat data/{name}/{files} | wc -l")).stdout.trim().parse::<usize>().unwrap();
        let count = s.sh(&format!("ls data/{name}/{files} | wc -l")).stdout.trim().parse::<usize>().unwrap();
        s.sh(&format!("sluis init made --from 'data/{name}/' --match '{files}'")).expect(0, &["made made/pipelines/"]);
        s.sluis("check --project made").expect(0, &["1 pipeline: no mistakes found"]);
        let ran = json(&s.sluis("run --project made --json").expect(0, &[]).stdout);
        assert_eq!((ran["rows"]["written"].as_u64(), ran["rows"]["rejected"].as_u64()), (Some((lines - count) as u64), Some(rows)), "{data}: {ran}");
    }
    let s = Sandbox::new();
    s.file("in/a.csv", "a\n1\n");
    s.sluis("init made --from in/a.csv --quiet").expect(0, &[]);
    s.sluis("init made --from in/a.csv").expect(2, &["is there already", "nothing was written"]);
}

#[test]
fn lone_pipelines_with_one_name_in_a_folder_are_refused() {
    let s = Sandbox::new();
    let pipeline = "from: { files: { url: in/ }, csv: }\ninto: { files: { url: out/ } }\n";
    s.file("in/a.csv", "a\n1\n").file("a.yaml", format!("name: x\n{pipeline}")).file("b.yaml", format!("name: X\n{pipeline}"));
    s.file("c.yaml", "name: x\nservices: {}\n").file("d.yaml", "a: [");
    s.sluis("run a.yaml").expect(2, &["two pipelines in this folder are called `x`", "a.yaml:1", "b.yaml:1"]);
    s.sluis("check b.yaml").expect(2, &["a.yaml:1", "rename one of the files"]);
    assert!(!s.path(".sluis").exists());
    s.file("b.yaml", format!("name: y\n{pipeline}"));
    s.sluis("run a.yaml").expect(0, &["1 written"]);
}

/// A small web server over these files: an index page, lengths, ranges. The address it stands at.
fn web(files: Vec<(&'static str, Vec<u8>)>) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answer = move |asked: &str| {
        let (method, path) = asked.split_once(' ').unwrap_or_default();
        let path = path.split(' ').next().unwrap_or_default();
        let range = asked.to_lowercase().split("range: bytes=").nth(1).map(|r| r.split("\r\n").next().unwrap_or_default().to_owned());
        let links: String = files.iter().filter_map(|(name, _)| Some(format!("<a href=\"{0}\">{0}</a>\n", name.strip_prefix(path)?))).collect();
        let found = files.iter().find(|(name, _)| *name == path).map(|(_, bytes)| bytes.clone());
        let (status, kind, all) = match found {
            Some(bytes) => (200, "application/octet-stream", bytes),
            None if path.ends_with('/') && !links.is_empty() => (200, "text/html", links.into_bytes()),
            None => (404, "text/plain", Vec::new()),
        };
        let mut head = format!("Content-Type: {kind}\r\nEtag: \"{}\"\r\nLast-Modified: Wed, 01 May 2024 10:00:00 GMT\r\n", all.len());
        let part = range.filter(|_| status == 200).and_then(|r| {
            let (from, to) = r.split_once('-')?;
            let from: usize = from.parse().ok()?;
            Some(from..to.parse().map_or(all.len(), |to: usize| all.len().min(to + 1)))
        });
        let (status, body) = match part {
            Some(part) => {
                head.push_str(&format!("Content-Range: bytes {}-{}/{}\r\n", part.start, part.end.saturating_sub(1), all.len()));
                (206, all.get(part).unwrap_or_default())
            }
            None => (status, &all[..]),
        };
        let mut out = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n{head}\r\n", body.len()).into_bytes();
        out.extend_from_slice(if method == "HEAD" { b"" } else { body });
        out
    };
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut asked = Vec::new();
            let mut piece = [0; 4096];
            while !asked.ends_with(b"\r\n\r\n") {
                match stream.read(&mut piece) {
                    Ok(n) if n > 0 => asked.extend_from_slice(&piece[..n]),
                    _ => break,
                }
            }
            // Who looks only at a beginning hangs up.
            let _ = stream.write_all(&answer(&String::from_utf8_lossy(&asked)));
        }
    });
    address
}

#[test]
fn files_of_a_web_server_are_looked_at_and_land() {
    let s = Sandbox::new();
    let large: String = std::iter::once("id,text\n".to_owned()).chain((0..60_000).map(|n| format!("{n},{}\n", "x".repeat(40)))).collect();
    let url = web(vec![
        ("/data/a.csv", b"id;name\n1;Ada\n2;Bob\n".to_vec()),
        ("/data/b.csv", b"id;name\n3;Eve\n".to_vec()),
        ("/large.csv", large.into_bytes()),
    ]);
    s.sluis(&format!("peek {url}/data/a.csv")).expect(0, &["format csv", "delimiter: \";\"", "Ada", "2 rows"]);
    let found = json(&s.sluis(&format!("peek {url}/data/ --json")).expect(0, &[]).stdout);
    assert_eq!((found["files_found"].as_u64(), found["rows"].as_u64()), (Some(2), Some(3)), "{found}");
    let found = json(&s.sluis(&format!("peek {url}/large.csv --json")).expect(0, &[]).stdout);
    assert_eq!((found["files"][0]["looked_at"].as_u64(), found["files"][0]["whole"].as_bool()), (Some(1 << 20), Some(false)), "{found}");
    s.sluis(&format!("peek {url}/data/nothing.csv")).expect(1, &["error:", "nothing.csv"]);
    s.sluis(&format!("init made --from {url}/data/")).expect(0, &["made made/pipelines/"]);
    s.sluis("check --project made").expect(0, &["no mistakes"]);
    s.sluis("run --project made").expect(0, &["3 rows read, 3 written"]);
}

#[test]
fn moments_written_as_whole_numbers_are_offered_as_such() {
    let s = Sandbox::new();
    s.file("in/a.csv", "id,started_at,day,n\n1,20240129075211,20240129,20240129\n2,20240129235959,20240130,7\n,,20240131,\n");
    let seen = s.sluis("peek in/a.csv");
    seen.expect(0, &["started_at  timestamp(%Y%m%d%H%M%S)", "`day` is offered as date(%Y%m%d)", "without that type it is bigint"]);
    let found = json(&s.sluis("peek in/a.csv --json").expect(0, &[]).stdout);
    assert_eq!(found["offered"].as_array().map(Vec::len), Some(2), "{found}");
    s.file("p.yaml", format!("{}into:\n  files: {{ url: out/, format: csv }}\n", found["yaml"].as_str().unwrap()));
    s.sluis("run p.yaml").expect(0, &["3 rows read, 3 written"]);
    assert!(
        s.sh("cat out/*.csv").stdout.contains("1,2024-01-29 07:52:11,2024-01-29,20240129")
            || s.sh("cat out/*.csv").stdout.contains("2024-01-29T07:52:11")
    );
}
