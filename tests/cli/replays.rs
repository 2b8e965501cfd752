//! `rejects replay`: through the pipeline as it is now, by name, once, whatever dies when.

use crate::sandbox::Sandbox;

/// What stands in the target's CSV files, without headers, sorted.
fn landed(s: &Sandbox) -> Vec<String> {
    let entries = std::fs::read_dir(s.path("out")).into_iter().flatten();
    let files = entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "csv"));
    let mut rows: Vec<String> =
        files.flat_map(|p| std::fs::read_to_string(p).unwrap().lines().skip(1).map(str::to_owned).collect::<Vec<_>>()).collect();
    rows.sort();
    rows
}

fn pipeline(format: &str) -> String {
    format!("from:\n  files: {{ url: in/ }}\n  {format}\nselect: select id, n, word from input\ninto:\n  files: {{ url: out/, format: csv }}\n")
}

#[test]
fn csv_rows_of_files_with_columns_in_another_order_land_by_name_once() {
    let s = Sandbox::new();
    s.file("in/a.csv", "id,n,word\n1,x,Ada\n2,2,Bob\n").file("in/b.csv", "preamble\n").file("in/c.csv", "word,n,id\nEve,\"y,z\",3\nJoe,4,4\n");
    std::fs::remove_file(s.path("in/b.csv")).unwrap();
    s.file("load.yaml", pipeline("csv: { columns: { id: int, n: int, word: string } }"));
    s.sluis("run load.yaml").expect(0, &["4 rows read, 2 written, 2 rejected"]);
    s.file("load.yaml", pipeline("csv: { columns: { id: int, n: string, word: string } }"));
    s.sluis("rejects replay load.yaml").expect(0, &["2 rows read, 2 written"]);
    s.sluis("rejects replay load.yaml").expect(0, &["nothing new", "2 rows were replayed before"]);
    assert_eq!(landed(&s), ["1,x,Ada", "2,2,Bob", "3,\"y,z\",Eve", "4,4,Joe"]);
    s.sluis("ledger fsck").expect(0, &["everything is consistent"]);
}

#[test]
fn json_documents_over_several_lines_land_once() {
    let s = Sandbox::new();
    s.file("in/a.json", "[\n {\"id\": 1,\n  \"n\": \"x\",\n  \"word\": \"A\\nda\"},\n {\"id\": 2, \"n\": 2, \"word\": \"Bob\"}\n]\n");
    s.file("load.yaml", pipeline("json: { columns: { id: int, n: int, word: string } }"));
    s.sluis("run load.yaml").expect(0, &["2 rows read, 1 written, 1 rejected"]);
    s.sluis("rejects show load.yaml").expect(0, &["in/a.json:3: `x` is no int", "|   \"n\": \"x\",\n      |        ^^^\n"]);
    s.file(
        "load.yaml",
        pipeline("json: { columns: { id: int, n: string, word: string } }").replace("n, word from", "n, replace(word, chr(10), '-') as word from"),
    );
    s.sluis("rejects replay load.yaml").expect(0, &["1 row read, 1 written"]);
    s.sluis("rejects replay load.yaml").expect(0, &["nothing new"]);
    assert_eq!(landed(&s), ["1,x,A-da", "2,2,Bob"]);
}

#[test]
fn a_replay_that_is_killed_anywhere_and_repeated_lands_rows_once() {
    let s = Sandbox::new();
    s.file("in/a.csv", "id,n,word\n1,x,Ada\n2,2,Bob\n3,y,Eve\n").file("in/b.csv", "id,n,word\n4,z,Joe\n");
    let narrow = pipeline("csv: { columns: { id: int, n: int, word: string } }");
    let wide = pipeline("csv: { columns: { id: int, n: string, word: string } }");
    s.file("load.yaml", &narrow);
    s.sluis("run load.yaml").expect(0, &["1 written, 3 rejected"]);
    s.file("load.yaml", &wide);
    let mut fired = 0;
    for point in sluis_core::crash::POINTS {
        let died = s.sh(&format!("SLUIS_CRASH_AT={point} sluis rejects replay load.yaml"));
        fired += usize::from(died.all().contains("fired"));
        let rows = landed(&s);
        assert!(rows.len() == 1 || rows.len() == 4, "{point}: all of an epoch or nothing of it: {rows:?}");
    }
    assert!(fired >= 5, "only {fired} points were passed");
    s.sluis("rejects replay load.yaml").expect(0, &[]);
    assert_eq!(landed(&s), ["1,x,Ada", "2,2,Bob", "3,y,Eve", "4,z,Joe"]);
    s.sluis("rejects replay load.yaml").expect(0, &["nothing new", "3 rows were replayed before"]);
    s.sluis("ledger fsck").expect(0, &["everything is consistent"]);
}

#[test]
fn a_kill_at_each_point_by_itself_loses_and_doubles_nothing() {
    for point in sluis_core::crash::POINTS {
        let s = Sandbox::new();
        s.file("in/a.csv", "id,n,word\n1,x,Ada\n2,2,Bob\n");
        s.file("load.yaml", pipeline("csv: { columns: { id: int, n: int, word: string } }"));
        s.sluis("run load.yaml --quiet").expect(0, &[]);
        s.file("load.yaml", pipeline("csv: { columns: { id: int, n: string, word: string } }"));
        s.sh(&format!("SLUIS_CRASH_AT={point} sluis rejects replay load.yaml"));
        s.sluis("rejects replay load.yaml").expect(0, &[]);
        assert_eq!(landed(&s), ["1,x,Ada", "2,2,Bob"], "{point}");
    }
}

#[test]
fn what_cannot_be_replayed_is_said() {
    let s = Sandbox::new();
    s.file("in/a.bin", "some bytes");
    s.file("load.yaml", "from:\n  files: { url: in/ }\n  raw: {}\ncheck:\n  - { name: short, that: \"content is null\" }\ninto:\n  files: { url: out/, format: raw }\n");
    s.sluis("run load.yaml").expect(0, &["1 rejected"]);
    s.sluis("rejects show load.yaml").expect(0, &["check_failed in `short`"]);
    s.sluis("rejects replay load.yaml").expect(2, &["raw keeps no text of single rows", "backfill --again"]);
    s.file("load.yaml", "from:\n  files: { url: in/, on_overwrite: replace }\n  csv: {}\ninto:\n  files: { url: out/, format: csv }\n");
    s.sluis("rejects replay load.yaml").expect(2, &["would stay when their file is replaced", "sluis rewind"]);
}

#[test]
fn rows_of_archives_members_land_once_with_their_captures() {
    let s = Sandbox::new();
    s.file("src/day_20240102.csv", "id,n,word\n1,x,Ada\n2,2,Bob\n").file("src/day_20240103.csv", "word,n,id\nEve,y,3\n").file("src/notes.txt", "n");
    s.file("other/day_20240104.csv", "id,n,word\n4,\"z,z\",Joe\n").file("in/c_9.csv", "id,n,word\n5,w,Kim\n");
    s.sh("tar -czf in/a_7.tar.gz -C src . && python3 -m zipfile -c in/b_8.zip other/").expect(0, &[]);
    let pipeline = |n: &str| {
        format!(
            "from:\n  files: {{ url: in/, match: \"{{k}}_{{m:int}}.*\", members: \"day_{{day:%Y%m%d}}.csv\", metadata: [file] }}\n  \
             csv: {{ columns: {{ id: int, n: {n}, word: string }} }}\n\
             select: select id, n, word, m, day, _file from input\ninto:\n  files: {{ url: out/, format: csv }}\n"
        )
    };
    s.file("load.yaml", pipeline("int"));
    s.sluis("run load.yaml").expect(0, &["5 rows read, 1 written, 4 rejected"]);
    s.sluis("rejects show load.yaml").expect(0, &["in/a_7.tar.gz/day_20240103.csv:2: `y` is no int", "| Eve,y,3\n      |     ^\n"]);
    // Still bad: rejected again, out of the spool.
    s.file("load.yaml", pipeline("double"));
    s.sluis("rejects replay load.yaml").expect(0, &["4 rows read, 0 written, 4 rejected"]);
    s.file("load.yaml", pipeline("string"));
    s.sluis("rejects replay load.yaml --file a_7").expect(0, &["2 rows read, 2 written", "2 rows were replayed before"]);
    s.sluis("rejects replay load.yaml").expect(0, &["2 rows read, 2 written"]);
    s.sluis("rejects replay load.yaml").expect(0, &["nothing new", "8 rows were replayed before"]);
    let from = |name: &str| s.path("in").join(name).display().to_string();
    assert_eq!(
        landed(&s),
        [
            format!("1,x,Ada,7,2024-01-02,{}", from("a_7.tar.gz/day_20240102.csv")),
            format!("2,2,Bob,7,2024-01-02,{}", from("a_7.tar.gz/day_20240102.csv")),
            format!("3,y,Eve,7,2024-01-03,{}", from("a_7.tar.gz/day_20240103.csv")),
            format!("4,\"z,z\",Joe,8,2024-01-04,{}", from("b_8.zip/other/day_20240104.csv")),
            format!("5,w,Kim,9,,{}", from("c_9.csv")),
        ]
    );
    s.sluis("ledger fsck").expect(0, &["everything is consistent"]);
}

#[test]
fn an_archive_that_is_gone_keeps_its_rows_from_being_replayed_and_says_so() {
    let s = Sandbox::new();
    s.file("src/a.csv", "id,n,word\n1,x,Ada\n");
    s.sh("mkdir in && tar -cf in/a.tar -C src .").expect(0, &[]);
    s.file("load.yaml", pipeline("csv: { columns: { id: int, n: int, word: string } }"));
    s.sluis("run load.yaml").expect(0, &["1 rejected"]);
    s.sh("rm in/a.tar").expect(0, &[]);
    s.file("load.yaml", pipeline("csv: { columns: { id: int, n: string, word: string } }"));
    s.sluis("rejects replay load.yaml").expect(1, &["1 row of", "in/a.tar cannot be replayed", "header is not to be had"]);
}

#[test]
fn the_dialect_found_in_a_file_goes_for_its_rejected_rows() {
    let s = Sandbox::new();
    s.file("in/a.csv", "1;1;Ada\n2;2;'B;ob'\n3;3;Cid\n4;4;Dan\n7;a,b,c,d;'Z;ed'\n8;8;Fay\n");
    s.file("in/b.csv", "5|5|Gus\n6|;;x;;|Hal\n9|9|Ivy\n");
    s.file("src/c.csv", "10\t10\tJan\n11\t|,|\tKay\n12\t12\tLea\n");
    s.sh("tar -czf in/c.tgz -C src .").expect(0, &[]);
    let pipeline =
        |n: &str| pipeline(&format!("csv: {{ delimiter: auto, header: 0, names: [id, n, word], columns: {{ id: int, n: {n}, word: string }} }}"));
    s.file("load.yaml", pipeline("int"));
    s.sluis("run load.yaml").expect(0, &["12 rows read, 9 written, 3 rejected"]);
    s.file("load.yaml", pipeline("double"));
    s.sluis("rejects replay load.yaml").expect(0, &["3 rows read, 0 written, 3 rejected"]);
    s.file("load.yaml", pipeline("string"));
    s.sluis("rejects replay load.yaml").expect(0, &["3 rows read, 3 written"]);
    let rows = landed(&s);
    for row in ["7,\"a,b,c,d\",Z;ed", "6,;;x;;,Hal", "11,\"|,|\",Kay"] {
        assert!(rows.iter().any(|r| r == row), "{row}: {rows:?}");
    }
    s.sluis("ledger fsck").expect(0, &["everything is consistent"]);
}
