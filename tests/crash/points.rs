//! Death at every named crash point, on every kind of target.

use sluis_core::crash;
use sluis_testkit::services::MinIo;

use crate::landing::{Landing, sluis};

const FROM: &str = r#"
from:
  files: { url: in/, after_commit: delete }
  csv: { columns: { id: bigint, word: string } }
settings: { tasks: 2, batch_rows: 2 }
into:
"#;

/// Dies at each point, each time with new files; gives the points that were never passed.
fn die_everywhere(landing: &mut Landing, check: impl Fn(&Landing)) -> Vec<&'static str> {
    let mut missed = Vec::new();
    for point in crash::POINTS {
        for _ in 0..4 {
            landing.arrive();
        }
        let ran = sluis().run(landing.path(), &["run", "--quiet"], &[("SLUIS_CRASH_AT", point)]);
        if !ran.fired(point) {
            missed.push(*point);
        }
        landing.run();
        landing.check_books();
        check(landing);
        let left = std::fs::read_dir(landing.path().join("in")).expect("in/").count();
        assert_eq!(left, 0, "{point}: files that landed are deleted");
    }
    missed
}

#[test]
fn into_local_files() {
    let mut landing = Landing::new(&format!("{FROM}  files: {{ url: out/, format: csv }}\n"), "");
    assert_eq!(die_everywhere(&mut landing, Landing::check_files), [""; 0], "points that were not passed");
}

#[test]
fn into_a_table() {
    // So few snapshots are kept that some expire with every other commit; with `upsert` data files leave with them.
    let properties = "properties: { history.expire.min-snapshots-to-keep: \"2\" }";
    for mode in ["mode: append", "mode: upsert, key: [id], partition_by: [\"bucket(2, id)\"]"] {
        let mut landing = Landing::new(&format!("{FROM}  table: {{ name: shot, {mode}, {properties} }}\n"), "");
        let missed = die_everywhere(&mut landing, |l| {
            l.check_table("shot");
            l.check_lake();
        });
        assert_eq!(missed, [""; 0], "points that were not passed: {mode}");
    }
}

#[test]
fn into_s3() {
    let minio = MinIo::shared();
    let bucket = minio.bucket("crash");
    let connection = format!(
        "connections:\n  store:\n    s3: {{ endpoint: \"{}\", allow_http: true, path_style: true, region: us-east-1, access_key: {}, secret_key: {} }}\n",
        minio.endpoint, minio.access, minio.secret
    );
    let mut landing = Landing::new(&format!("{FROM}  files: {{ url: s3://{bucket}/out/, format: csv }}\n"), &connection);
    // What is in the bucket is read back by a pipeline of its own, into a table.
    let back = format!(
        "from:\n  files: {{ url: s3://{bucket}/out/ }}\n  csv: {{ columns: {{ id: bigint, word: string }} }}\ninto:\n  table: {{ name: back }}\n"
    );
    std::fs::create_dir_all(landing.path().join("back")).expect("a folder");
    std::fs::write(landing.path().join("back/back.yaml"), back).expect("a pipeline");
    let missed = die_everywhere(&mut landing, |l| {
        sluis().run(l.path(), &["run", "back/back.yaml", "--quiet"], &[]).good();
        l.check_table("back");
    });
    assert_eq!(missed, [""; 0], "points that were not passed");
}
