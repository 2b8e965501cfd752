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
