//! Bad input and bad surroundings: each ends with what, where, why and what to do; never with a panic; and nothing is lost.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use crate::sandbox::{Said, Sandbox, binary, said};

const PIPELINE: &str =
    "from:\n  files: { url: in/, on_overwrite: replace }\n  csv: { columns: { id: bigint } }\ninto:\n  files: { url: out/, format: csv }\n";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.file("in/a.csv", "id\n1\n2\n").file("load.yaml", PIPELINE);
    sandbox
}

/// All ids in the target, sorted.
fn ids(sandbox: &Sandbox) -> Vec<u64> {
    let entries = std::fs::read_dir(sandbox.path("out")).into_iter().flatten();
    let files = entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "csv"));
    let mut ids: Vec<u64> =
        files.flat_map(|p| std::fs::read_to_string(p).unwrap().lines().skip(1).map(|l| l.parse().unwrap()).collect::<Vec<_>>()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn wrong_yaml() {
    let s = sandbox();
    s.file("load.yaml", "from:\n  files: { url: in/\n  csv: {}\n");
    s.sluis("run load.yaml").expect(2, &["load.yaml:", "error"]);
    s.file("load.yaml", "from: [1, 2\n\t- x");
    s.sluis("check load.yaml").expect(2, &["load.yaml:", "error"]);
    s.file("load.yaml", b"from: \xff\xfe");
    s.sluis("check load.yaml").expect(2, &["not text in UTF-8"]);
}

#[test]
fn missing_files_and_folders() {
    let s = sandbox();
    s.sluis("run laod.yaml").expect(2, &["there is no file or folder", "laod.yaml", "did you mean `load.yaml`?"]);
    s.sluis("run nothing").expect(2, &["nothing"]);
    s.sluis("run --project nowhere").expect(2, &["nowhere"]);
    std::fs::rename(s.path("in"), s.path("elsewhere")).unwrap();
    s.sluis("run load.yaml").expect(1, &["error:", "in"]);
    std::fs::rename(s.path("elsewhere"), s.path("in")).unwrap();
    s.sluis("run load.yaml").expect(0, &["2 rows read, 2 written"]);
    assert_eq!(ids(&s), [1, 2]);
}

/// Runs sluis as a user who may not do everything. As one already, if this test is not run by root.
fn as_nobody(s: &Sandbox, words: &str) -> Said {
    let mut command = s.command(binary());
    if std::fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m)).unwrap() == 0 {
        command.uid(65_534).gid(65_534);
    }
    said(command.args(words.split_whitespace()).output().unwrap())
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn folders_that_may_not_be_read_or_written() {
    let s = sandbox();
    mode(&s.root, 0o777);
    mode(&s.path("in"), 0o000);
    as_nobody(&s, "run load.yaml").expect(1, &["error:", "/in", "ermission", "hint:"]);
    as_nobody(&s, "check --connect load.yaml").expect(1, &["missing", "from files", "/in"]);
    mode(&s.path("in"), 0o755);
    std::fs::create_dir_all(s.path("out")).unwrap();
    mode(&s.path("out"), 0o555);
    as_nobody(&s, "run load.yaml").expect(1, &["error:", "/out", "ermission", "hint:"]);
    as_nobody(&s, "check --connect load.yaml").expect(1, &["missing", "into files"]);
    mode(&s.path("out"), 0o777);
    as_nobody(&s, "run load.yaml").expect(0, &["2 rows read, 2 written"]);
    assert_eq!(ids(&s), [1, 2]);
}

#[test]
fn a_state_folder_that_may_not_be_written() {
    let s = sandbox();
    mode(&s.root, 0o555);
    as_nobody(&s, "run load.yaml").expect(1, &["error:", ".sluis", "hint:"]);
    mode(&s.root, 0o777);
    as_nobody(&s, "run load.yaml").expect(0, &["2 written"]);
}

#[test]
fn a_truncated_archive() {
    let s = sandbox();
    let text: String = std::iter::once("id\n".to_owned()).chain((0..20_000).map(|n| format!("{n}\n"))).collect();
    s.file("in/b.csv", &text);
    s.sh("gzip in/b.csv && head -c 2000 in/b.csv.gz > in/x && mv in/x in/b.csv.gz").expect(0, &[]);
    s.sluis("run load.yaml").expect(1, &["error:", "b.csv.gz", "hint:"]);
    assert_eq!(ids(&s), [0_u64; 0], "nothing of the epoch is visible");
    s.file("load.yaml", format!("{PIPELINE}settings: {{ on_corrupt: reject }}\n"));
    s.sluis("run load.yaml").expect(0, &["1 rejected"]);
    s.sluis("rejects show load.yaml").expect(0, &["corrupt_file", "b.csv.gz"]);
    assert_eq!(ids(&s), [1, 2], "no row of the damaged file");
}

#[test]
fn archives_that_are_cut_off_or_blow_up() {
    let s = sandbox();
    let text: String = std::iter::once("id\n".to_owned()).chain((0..20_000).map(|n| format!("{n}\n"))).collect();
    s.file("more/b.csv", &text).file("more/c.csv", "id\n7\nx\n");
    s.sh("tar -czf in/b.tgz -C more c.csv b.csv && head -c 9000 in/b.tgz > in/x && mv in/x in/b.tgz").expect(0, &[]);
    s.sluis("run load.yaml").expect(1, &["error:", "in/b.tgz", "cut off", "hint:"]);
    assert_eq!(ids(&s), [0_u64; 0], "nothing of the epoch is visible");
    s.file("load.yaml", format!("{PIPELINE}settings: {{ on_corrupt: reject }}\n"));
    s.sluis("run load.yaml").expect(0, &["1 rejected"]);
    s.sluis("rejects show load.yaml").expect(0, &["corrupt_file", "b.tgz"]);
    assert_eq!(ids(&s), [1, 2], "no row of any member");
    s.sh("tar -czf in/b.tgz -C more c.csv b.csv").expect(0, &[]);
    s.sluis("run load.yaml").expect(0, &["20,001 written"]);
    s.sluis("rejects show load.yaml").expect(0, &["bad_value", "b.tgz/c.csv"]);
    s.sluis("ledger why b.tgz").expect(0, &["b.tgz"]);
    s.file("more/b.csv", "id\n3\n").file("more/c.csv", "id\n4\n");
    s.sh("tar -czf in/b.tgz -C more c.csv b.csv").expect(0, &[]);
    s.sluis("run load.yaml").expect(0, &["2 written"]);
    assert_eq!(ids(&s), [1, 2, 3, 4], "the rows of all members were replaced");
    // A limit that this file exceeds, and a zip whose members share their bytes.
    s.file("more/d.csv", &text);
    s.sh("tar -czf in/d.tgz -C more d.csv").expect(0, &[]);
    s.file("load.yaml", PIPELINE.replace("url: in/", "url: in/, max_unpacked: 100kB"));
    s.sluis("run load.yaml").expect(1, &["error:", "d.tgz", "`max_unpacked`", "hint:"]);
    std::fs::remove_file(s.path("in/d.tgz")).unwrap();
    s.file("in/e.zip", overlapping());
    s.sluis("run load.yaml").expect(1, &["error:", "e.zip", "overlap", "hint:"]);
    std::fs::remove_file(s.path("in/e.zip")).unwrap();
    s.sluis("run load.yaml").expect(0, &["0 rows read"]);
    assert_eq!(ids(&s), [1, 2, 3, 4]);
}

/// A zip of two members, both with the same bytes.
fn overlapping() -> Vec<u8> {
    let fields = b"\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0\x05\0\0\0\x05\0\0\0";
    let mut zip = [&b"PK\x03\x04\x14\0"[..], fields, b"a.csvid\n1\n"].concat();
    let start = zip.len() as u8;
    for _ in 0..2 {
        zip.extend([&b"PK\x01\x02\x14\0\x14\0"[..], fields, &[0; 14], b"a.csv"].concat());
    }
    let length = zip.len() as u8 - start;
    zip.extend([&b"PK\x05\x06\0\0\0\0\x02\0\x02\0"[..], &[length, 0, 0, 0, start, 0, 0, 0, 0, 0]].concat());
    zip
}

#[test]
fn files_that_change_or_vanish_after_they_were_planned() {
    let s = sandbox();
    s.file("in/b.csv", "id\n3\n").file("in/c.csv", "id\n4\n");
    let died = s.sh("SLUIS_CRASH_AT=plan.after_record sluis run load.yaml");
    assert!(died.stderr.contains("fired"), "{died:?}");
    s.file("in/b.csv", "id\n30\n31\n");
    std::fs::remove_file(s.path("in/c.csv")).unwrap();
    s.sluis("run load.yaml").expect(0, &[]);
    s.sluis("run load.yaml").expect(0, &["nothing new"]);
    assert_eq!(ids(&s), [1, 2, 30, 31], "the new version once, nothing of the old one");
    s.sluis("ledger why c.csv").expect(0, &["changed"]);
    s.sluis("ledger fsck").expect(0, &["everything is consistent"]);
}

#[test]
fn a_clock_that_goes_backwards() {
    let s = sandbox();
    s.sh("SLUIS_CLOCK=2030-01-01T00:00:00Z sluis run load.yaml").expect(0, &["2 written"]);
    s.file("in/b.csv", "id\n3\n");
    s.sh("SLUIS_CLOCK=2020-01-01T00:00:00Z sluis run load.yaml").expect(0, &["1 written"]);
    s.sluis("run load.yaml").expect(0, &["nothing new"]);
    assert_eq!(ids(&s), [1, 2, 3]);
    s.sluis("ledger fsck").expect(0, &["everything is consistent"]);
    s.sh("SLUIS_CLOCK=yesterday sluis run load.yaml").expect(2, &["SLUIS_CLOCK", "hint:"]);
}

#[test]
fn a_full_disk() {
    let s = sandbox();
    let text: String = std::iter::once("id\n".to_owned()).chain((0..200_000).map(|n| format!("{n}\n"))).collect();
    s.file("in/b.csv", &text);
    // The limit on a file's size fails writes as a full disk does: in the middle, at any of them.
    s.sh("trap '' XFSZ; ulimit -f 1024; exec sluis run load.yaml").expect(1, &["error:", "hint:", "free some space"]);
    assert_eq!(ids(&s), [0_u64; 0]);
    s.sluis("run load.yaml").expect(0, &["200,002 written"]);
    assert_eq!(ids(&s).len(), 200_002);
    let left = s.sh("find out -name '*.staged'");
    assert_eq!(left.stdout, "", "nothing staged is left");
}

#[test]
fn a_damaged_ledger_is_refused_with_the_way_out() {
    let s = sandbox();
    s.sluis("run load.yaml").expect(0, &[]);
    let ledger = s.path(".sluis/ledger.db");
    let good = std::fs::read(&ledger).unwrap();
    let mut bad = good.clone();
    bad[..200].fill(b'x');
    std::fs::write(&ledger, &bad).unwrap();
    for command in ["run load.yaml", "status", "ledger fsck"] {
        s.sluis(command).expect(1, &["error:", "ledger.db", "hint:"]);
    }
    assert_eq!(std::fs::read(&ledger).unwrap(), bad, "it is left as it is");
    std::fs::write(&ledger, good).unwrap();
    s.sluis("run load.yaml").expect(0, &["nothing new"]);
    assert_eq!(ids(&s), [1, 2]);
}

#[test]
fn two_pipelines_with_one_name() {
    let s = Sandbox::new();
    s.file("sluis.yaml", "name: p\n")
        .file("pipelines/a.yaml", PIPELINE)
        .file("pipelines/b.yaml", format!("name: a\n{PIPELINE}"))
        .file("in/a.csv", "id\n1\n");
    s.sluis("run").expect(2, &["two pipelines are called `a`", "a.yaml", "b.yaml"]);
    assert!(!s.path("out").exists());
}

#[test]
fn a_target_that_someone_else_wrote_to() {
    let s = Sandbox::new();
    s.file("in/a.csv", "id\n1\n2\n").file("load.yaml", PIPELINE.replace("replace", "fail"));
    s.file("out/load-main-000001-000.csv", "somebody else's\n");
    s.sluis("run load.yaml").expect(1, &["error:", "load-main-000001-000.csv", "hint:"]);
    assert_eq!(std::fs::read_to_string(s.path("out/load-main-000001-000.csv")).unwrap(), "somebody else's\n", "it is not touched");
    std::fs::remove_file(s.path("out/load-main-000001-000.csv")).unwrap();
    s.sluis("run load.yaml").expect(0, &["2 written"]);
    assert_eq!(ids(&s), [1, 2]);
}

#[test]
fn secrets_never_show() {
    let s = sandbox();
    s.file("sluis.yaml", "connections: { raw: { s3: { endpoint: \"http://127.0.0.1:1\", access_key: key-of-ours, secret_key: \"${env:SECRET}\", retries: 0, timeout: 1s } } }\n");
    s.file(
        "pipelines/p.yaml",
        "from:\n  files: { url: s3://bucket/in/, connection: raw }\n  csv: {}\ninto:\n  files: { url: out/ }\nsettings: { tries: 1 }\n",
    );
    s.sluis("check").expect(0, &["no mistakes"]);
    s.sluis("run").expect(2, &["`SECRET` is not set", "hint:"]);
    let run = s.sh("SECRET=hunter2/hunter2? sluis run -vvv --json 2>&1");
    assert!(run.code == Some(1) && !run.all().contains("hunter2"), "{run:?}");
    let wrong = s.sh("SECRET=hunter2/hunter2? sluis check --connect");
    assert!(wrong.code == Some(1) && wrong.all().contains("missing") && !wrong.all().contains("hunter2"), "{wrong:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let s = sandbox();
    s.sh("sluis schema | head -n 1").expect(0, &["{"]);
}

#[test]
fn replacing_is_refused_where_earlier_rows_stand_among_others() {
    let s = sandbox();
    let into = "into:\n  table: { name: t }\n  files: { url: out/, format: csv }\n";
    let pipeline = |policy: &str| format!("from:\n  files: {{ url: in/, on_overwrite: {policy} }}\n  csv: {{ columns: {{ id: bigint }} }}\n{into}");
    s.file("load.yaml", pipeline("fail")).file("in/b.csv", "id\n3\n");
    s.sluis("run load.yaml").expect(0, &["3 written"]);
    s.file("load.yaml", pipeline("replace")).file("in/c.csv", "id\n4\n");
    s.sluis("run load.yaml").expect(0, &["1 row read, 1 written"]);
    s.file("in/a.csv", "id\n10\n20\n30\n");
    s.sluis("run load.yaml").expect(1, &["in/a.csv", "landed before `on_overwrite: replace` was set", "hint:"]);
    assert_eq!(ids(&s), [1, 2, 3, 4]);
    // What landed since can be replaced.
    s.file("in/a.csv", "id\n1\n2\n").file("load.yaml", pipeline("ignore"));
    s.sluis("run load.yaml").expect(0, &[]);
    std::fs::remove_file(s.path("in/a.csv")).unwrap();
    s.file("load.yaml", pipeline("replace")).file("in/c.csv", "id\n41\n42\n");
    s.sluis("run load.yaml").expect(0, &["2 written"]);
    assert_eq!(ids(&s), [1, 2, 3, 41, 42]);
}

#[test]
fn a_library_that_panics_over_a_damaged_file_is_told_as_damage_and_as_nothing_else() {
    let s = Sandbox::new();
    s.file("src/a.csv", "id,name\n1,Ada\n2,Bob\n");
    s.file("make.yaml", "from: { files: { url: src/ }, csv: }\ninto: { files: { url: made/, format: parquet } }\n");
    s.sluis("run make.yaml --quiet").expect(0, &[]);
    let made = std::fs::read_dir(s.path("made")).unwrap().map(|e| e.unwrap().path()).find(|p| p.extension().is_some_and(|e| e == "parquet")).unwrap();
    let good = std::fs::read(made).unwrap();
    let length = u32::from_le_bytes(good[good.len() - 8..good.len() - 4].try_into().unwrap()) as usize;
    let footer = good.len() - 8 - length..good.len() - 8;
    let mut panics = 0;
    // A place that begins at byte 4 is said to begin at byte -1: the library asserts that no place does.
    for at in footer.filter(|at| good[*at] == 8) {
        let mut bytes = good.clone();
        bytes[at] = 1;
        s.file("in/f.parquet", &bytes);
        let said = s.sluis("peek in/f.parquet --format parquet");
        assert!(!said.all().contains("bug in sluis") && !said.all().contains("panicked"), "byte {at}: {}", said.all());
        if said.all().contains("its metadata contradict its data") {
            panics += 1;
            s.file("load.yaml", "from: { files: { url: in/, on_overwrite: append }, parquet: }\ninto: { files: { url: out/, format: csv } }\n");
            let said = s.sluis("run load.yaml");
            said.expect(1, &["the Parquet file is damaged: its metadata contradict its data", "f.parquet"]);
            assert!(!said.all().contains("bug in sluis") && !said.all().contains("panicked"), "{}", said.all());
            break;
        }
    }
    assert!(panics > 0, "no change made the library panic: the test shows nothing");
}
