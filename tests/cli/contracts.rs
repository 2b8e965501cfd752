//! Every contract against every way in which files change, in CSV and JSON, into files and into a table: what lands, what is rejected, what
//! fails. The table of it all is `contracts.txt`, written anew with `SLUIS_BLESS=1`.
//!
//! All cases are pipelines of one project: a first run lands the first file of each, a second the others.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sluis_testkit::services;

use crate::sandbox::Sandbox;

/// A way in which files change.
struct Drift {
    name: &'static str,
    /// Options of the format.
    options: &'static str,
    /// As JSON lines: the file of the first epoch, and those of the second. One file is looked at to infer types.
    first: &'static [&'static str],
    then: &'static [&'static [&'static str]],
    csv: bool,
}

const CONTRACTS: [&str; 5] = ["evolve", "freeze", "discard_row", "discard_value", "rescue"];

const DRIFTS: [Drift; 12] = [
    Drift::new("new_column", &[r#"{"id":1,"n":1}"#], &[&[r#"{"id":2,"n":2,"x":"a"}"#, r#"{"id":3,"n":3,"x":null}"#]]),
    Drift::new("null_only_column", &[r#"{"id":1,"n":1}"#], &[&[r#"{"id":2,"n":2,"x":null}"#]]),
    Drift::new("missing_column", &[r#"{"id":1,"n":1}"#], &[&[r#"{"id":2}"#]]),
    Drift::new("reordered", &[r#"{"id":1,"n":1}"#], &[&[r#"{"n":2,"id":3}"#]]),
    Drift::new("renamed_case", &[r#"{"id":1,"n":1}"#], &[&[r#"{"ID":2,"n":2}"#]]),
    Drift::new("wider_in_sample", &[r#"{"id":1,"n":1}"#], &[&[r#"{"id":2,"n":2.5}"#]]),
    Drift::new("wider_beyond_sample", &[r#"{"id":1,"n":1}"#], &[&[r#"{"id":2,"n":2}"#], &[r#"{"id":3,"n":3.5}"#, r#"{"id":4,"n":4}"#]]),
    Drift::new("text_in_number", &[r#"{"id":1,"n":1}"#], &[&[r#"{"id":2,"n":2}"#], &[r#"{"id":3,"n":"none"}"#, r#"{"id":4,"n":4}"#]]),
    // In the first epoch nothing has landed yet that could hold a type fast.
    Drift::new("text_in_number_at_first", &[], &[&[r#"{"id":2,"n":2}"#], &[r#"{"id":3,"n":"none"}"#, r#"{"id":4,"n":4}"#]]),
    Drift {
        options: r#"columns: { n: int }"#,
        ..Drift::new("declared", &[r#"{"id":1,"n":1}"#], &[&[r#"{"id":2,"n":"none","x":"a"}"#, r#"{"id":3,"n":3}"#]])
    },
    Drift {
        csv: false,
        ..Drift::new("new_field", &[r#"{"id":1,"o":{"a":1}}"#], &[&[r#"{"id":2,"o":{"a":2}}"#], &[r#"{"id":3,"o":{"a":3,"b":"y"}}"#]])
    },
    Drift { csv: false, ..Drift::new("other_shape", &[r#"{"id":1,"o":{"a":1}}"#], &[&[r#"{"id":2,"o":{"a":2}}"#], &[r#"{"id":3,"o":[1]}"#]]) },
];

impl Drift {
    const fn new(name: &'static str, first: &'static [&'static str], then: &'static [&'static [&'static str]]) -> Self {
        Self { name, options: "", first, then, csv: true }
    }
}

/// One case.
struct Case {
    drift: &'static Drift,
    contract: &'static str,
    format: &'static str,
    target: &'static str,
}

impl Case {
    fn name(&self) -> String {
        format!("{}_{}_{}_{}", self.drift.name, self.contract, self.format, self.target)
    }

    fn pipeline(&self) -> String {
        let (name, format, options, contract) = (self.name(), self.format, self.drift.options, self.contract);
        let into = match self.target {
            "table" => format!("table: {{ name: {name} }}"),
            _ => format!("files: {{ url: out/{name}/, format: json }}"),
        };
        format!(
            "from:\n  files: {{ url: in/{name}/ }}\n  {format}: {{ {options} }}\ncontract: {contract}\ninto: {{ {into} }}\n\
             rejects: {{ files: {{ url: rejects/{name}/, format: json }} }}\nsettings: {{ sample_files: 1 }}\n"
        )
    }

    fn put(&self, sandbox: &Sandbox, file: &str, lines: &[&str]) {
        let text = if self.format == "json" { lines.iter().map(|l| format!("{l}\n")).collect() } else { as_csv(lines) };
        sandbox.file(&format!("in/{}/{file}.{}", self.name(), self.format), text);
    }

    /// Rows of the target, as JSON.
    fn rows(&self, sandbox: &Sandbox) -> Vec<String> {
        match self.target {
            "table" => {
                let said = sandbox.sh(&format!("sluis sql --json 'select * from {} order by id'", self.name()));
                if said.code == Some(0) { said.stdout.lines().map(str::to_owned).collect() } else { vec!["no table".into()] }
            }
            _ => lines_below(&sandbox.path(&format!("out/{}", self.name()))),
        }
    }

    /// Reasons and columns of the rejects.
    fn rejects(&self, sandbox: &Sandbox) -> Vec<String> {
        let short = |line: &String| {
            let reject: Value = serde_json::from_str(line).unwrap();
            format!("{}({})", reject["reason"].as_str().unwrap(), reject["column"].as_str().unwrap_or("-"))
        };
        lines_below(&sandbox.path(&format!("rejects/{}", self.name()))).iter().map(short).collect()
    }
}

/// Objects with scalars as CSV; the header has the keys of the first, and of later ones what it lacks.
fn as_csv(lines: &[&str]) -> String {
    let rows: Vec<serde_json::Map<String, Value>> = lines.iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    let mut header: Vec<String> = Vec::new();
    for (line, row) in lines.iter().zip(&rows) {
        let mut keys: Vec<&String> = row.keys().collect();
        keys.sort_by_key(|k| line.find(&format!("\"{k}\"")));
        keys.into_iter().for_each(|k| {
            if !header.contains(k) {
                header.push(k.clone())
            }
        });
    }
    let cell = |v: Option<&Value>| match v {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let mut out = header.join(",") + "\n";
    for row in rows {
        out.push_str(&(header.iter().map(|k| cell(row.get(k))).collect::<Vec<_>>().join(",") + "\n"));
    }
    out
}

fn lines_below(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.flatten().map(|e| e.path()).filter(|p| p.is_file()).collect();
    files.sort();
    files.iter().flat_map(|f| std::fs::read_to_string(f).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for drift in &DRIFTS {
        for format in ["csv", "json"].into_iter().filter(|f| *f == "json" || drift.csv) {
            for target in ["files", "table"] {
                all.extend(CONTRACTS.map(|contract| Case { drift, contract, format, target }));
            }
        }
    }
    all
}

/// How each pipeline's run ended.
fn run(sandbox: &Sandbox) -> BTreeMap<String, Value> {
    let said = sandbox.sh("sluis run --json --quiet");
    assert!(!said.all().contains("panicked") && !said.all().contains("a bug in sluis"), "{said:?}");
    let ends = said.stdout.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    ends.map(|end| (end["pipeline"].as_str().unwrap().to_owned(), end)).collect()
}

#[test]
fn each_contract_meets_each_drift() {
    let sandbox = Sandbox::new();
    let cases = cases();
    sandbox.file("sluis.yaml", "name: contracts\n");
    for case in &cases {
        sandbox.file(&format!("pipelines/{}.yaml", case.name()), case.pipeline());
        std::fs::create_dir_all(sandbox.path(&format!("in/{}", case.name()))).unwrap();
        if !case.drift.first.is_empty() {
            case.put(&sandbox, "1", case.drift.first);
        }
    }
    for (name, end) in run(&sandbox) {
        assert_eq!(end["status"], "done", "{name}: {end}");
    }
    for case in &cases {
        case.drift.then.iter().enumerate().for_each(|(i, lines)| case.put(&sandbox, &(i + 2).to_string(), lines));
    }
    let ends = run(&sandbox);
    let mut table = String::new();
    for case in &cases {
        let end = &ends[&case.name()];
        let _ = writeln!(table, "{} | {} | {} | {}", case.drift.name, case.contract, case.format, case.target);
        if end["status"] != "done" {
            let error = &end["error"];
            let _ = writeln!(table, "  fails: {} {}: {}", error["kind"].as_str().unwrap(), error["context"], error["message"].as_str().unwrap());
        }
        case.rows(&sandbox).iter().for_each(|row| table.push_str(&format!("  {row}\n")));
        let rejects = case.rejects(&sandbox);
        if !rejects.is_empty() {
            let _ = writeln!(table, "  rejects: {}", rejects.join(", "));
        }
        if !end["values"].is_null() {
            let _ = writeln!(table, "  values: {}", end["values"]);
        }
        let rows = &end["rows"];
        let count = |key: &str| rows[key].as_u64().unwrap();
        assert_eq!(count("read"), count("written") + count("rejected") + count("filtered"), "{}: {end}", case.name());
    }
    let table = sandbox.blot(&table);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cli/contracts.txt");
    if std::env::var_os("SLUIS_BLESS").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    let differing = expected.lines().zip(table.lines()).position(|(a, b)| a != b);
    let from = differing.unwrap_or(0).saturating_sub(3);
    let part = |text: &str| text.lines().skip(from).take(12).map(|l| format!("  {l}\n")).collect::<String>();
    assert!(table == expected, "expected:\n{}got:\n{}", part(&expected), part(&table));
    sandbox.sluis("ledger fsck").expect(0, &[]);
}

#[test]
fn a_column_that_is_inferred_takes_the_type_that_the_table_has() {
    let sandbox = Sandbox::new();
    let pipeline = |columns: &str, folder: &str| {
        format!("from: {{ files: {{ url: {folder}/ }}, csv: {{ columns: {{ {columns} }} }} }}\ninto: {{ table: {{ name: people }} }}\n")
    };
    sandbox
        .file("pipelines/a.yaml", pipeline("zip: string, size: double, day: timestamp", "in/a"))
        .file("in/a/1.csv", "zip,size,day\n01234,1.5,2024-01-01\n");
    sandbox.file("pipelines/b.yaml", pipeline("", "in/b")).file("in/b/1.csv", "zip,size,day\n9000,2,2024-01-02\n");
    sandbox.file("sluis.yaml", "name: people\n");
    sandbox.sluis("run a").expect(0, &[]);
    sandbox.sluis("run b").expect(0, &[]);
    let said = sandbox.sh("sluis sql --csv 'select zip, size, day from people order by 1'");
    said.expect(0, &["01234,1.5,2024-01-01 00:00:00", "9000,2.0,2024-01-02 00:00:00"]);
}

/// Files of each epoch, in turn, one row each: JSON where values have parts, else CSV. One file is looked at to infer types.
const EVOLVING: [(&str, &[&[&str]]); 13] = [
    ("double_at_first", &[&[r#"{"id":1,"n":1}"#, r#"{"id":2,"n":2.5}"#]]),
    ("text_at_first", &[&[r#"{"id":1,"n":1}"#, r#"{"id":2,"n":"none"}"#]]),
    ("text_at_first_for_date", &[&[r#"{"id":1,"n":"2024-01-01"}"#, r#"{"id":2,"n":"soon"}"#]]),
    ("double", &[&[r#"{"id":1,"n":1}"#], &[r#"{"id":2,"n":2}"#, r#"{"id":3,"n":3.5}"#]]),
    ("double_in_sample", &[&[r#"{"id":1,"n":1}"#], &[r#"{"id":2,"n":2.5}"#]]),
    ("text", &[&[r#"{"id":1,"n":1}"#], &[r#"{"id":2,"n":"none"}"#]]),
    ("double_then_text", &[&[r#"{"id":1,"n":1}"#], &[r#"{"id":2,"n":2.5}"#], &[r#"{"id":3,"n":"x"}"#], &[r#"{"id":4,"n":4}"#]]),
    ("large_numbers", &[&[r#"{"id":1,"n":9007199254740993}"#], &[r#"{"id":2,"n":2.5}"#]]),
    ("bool", &[&[r#"{"id":1,"n":true}"#], &[r#"{"id":2,"n":7}"#]]),
    ("timestamp", &[&[r#"{"id":1,"n":"2024-01-01"}"#], &[r#"{"id":2,"n":"2024-01-02 10:00:00"}"#]]),
    ("text_for_date", &[&[r#"{"id":1,"n":"2024-01-01"}"#], &[r#"{"id":2,"n":"soon"}"#]]),
    ("in_struct", &[&[r#"{"id":1,"n":{"a":1}}"#], &[r#"{"id":2,"n":{"a":2.5,"b":"x"}}"#]]),
    ("in_list", &[&[r#"{"id":1,"n":[1,2]}"#], &[r#"{"id":2,"n":["x"]}"#]]),
];

fn format_of(name: &str) -> &'static str {
    if name.starts_with("in_") { "json" } else { "csv" }
}

/// What `read_rows.py` says.
fn as_others_read(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/readers/read_rows.py");
    let out = Command::new(services::python()).arg(script).args(arguments).output().expect("python starts");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}

#[test]
fn columns_that_evolve_are_whole_for_other_readers() {
    let sandbox = Sandbox::new();
    sandbox.file("sluis.yaml", "name: evolving\n");
    for (name, _) in EVOLVING {
        let format = format_of(name);
        let from = format!("from: {{ files: {{ url: in/{name}/ }}, {format}: {{}} }}\nsettings: {{ sample_files: 1 }}\n");
        let into = format!("into: {{ table: {{ name: {name} }}, files: {{ url: out/{name}/, format: parquet }} }}\n");
        sandbox.file(&format!("pipelines/{name}.yaml"), from + &into);
        std::fs::create_dir_all(sandbox.path(&format!("in/{name}"))).unwrap();
    }
    let mut rejected = 0;
    for epoch in 0..4 {
        for (name, epochs) in EVOLVING {
            for (i, line) in epochs.get(epoch).copied().unwrap_or_default().iter().enumerate() {
                let text = if format_of(name) == "json" { format!("{line}\n") } else { as_csv(&[line]) };
                sandbox.file(&format!("in/{name}/{epoch}{i}.{}", format_of(name)), text);
            }
        }
        for (name, end) in run(&sandbox) {
            assert_eq!(end["status"], "done", "{name}: {end}");
            rejected += end["rows"]["rejected"].as_u64().unwrap();
        }
    }
    assert_eq!(rejected, 0);
    let folders: Vec<String> = EVOLVING.iter().map(|(name, _)| sandbox.path(&format!("out/{name}")).display().to_string()).collect();
    let catalog = sandbox.path(".sluis/lake/catalog.db").display().to_string();
    let arguments: Vec<&str> = [catalog.as_str(), "lake"].into_iter().chain(folders.iter().map(String::as_str)).collect();
    let seen: Value = serde_json::from_str(&as_others_read(&arguments)).unwrap();
    let mut told = String::new();
    for ((name, epochs), folder) in EVOLVING.iter().zip(&folders) {
        for (place, read) in [("table", &seen[name]), ("files", &seen[folder])] {
            let _ = writeln!(told, "{name} | {place} | {}", read["columns"]["n"].as_str().unwrap_or("-"));
            let rows = read["rows"].as_array().unwrap();
            assert_eq!(rows.len(), epochs.iter().map(|e| e.len()).sum::<usize>(), "{name} {place}: {read}");
            let mut rows: Vec<&Value> = rows.iter().collect();
            rows.sort_by_key(|r| r["id"].as_i64());
            rows.iter().for_each(|row| told.push_str(&format!("  {}\n", json!([row["id"], row["n"]]))));
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cli/evolving.txt");
    if std::env::var_os("SLUIS_BLESS").is_some() {
        std::fs::write(&path, &told).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), told);
    let history = sandbox.sh("sluis history double_then_text --schema");
    history.expect(0, &["bigint → double", "double → string"]);
    sandbox.sluis("ledger fsck").expect(0, &[]);
}

#[test]
fn sql_names_columns_that_only_some_files_have() {
    let sandbox = Sandbox::new();
    let pipeline = |select: &str| {
        format!(
            "from: {{ files: {{ url: in/ }}, csv: {{ columns: {{ declared: int }} }} }}\nselect: {select}\n\
             into: {{ files: {{ url: out/, format: json }} }}\nsettings: {{ sample_files: 1 }}\n"
        )
    };
    sandbox.file("sluis.yaml", "name: some\n").file("in/1.csv", "id\n1\n").file("in/2.csv", "id\n2\n").file("in/3.csv", "id,late\n3,x\n");
    sandbox.file("pipelines/p.yaml", pipeline("select id, lat from input"));
    sandbox.sluis("run").expect(2, &["unknown column `lat`", "did you mean `late`?"]);
    sandbox.file("pipelines/p.yaml", pipeline("select id, late, declared from input"));
    sandbox.sluis("explain").expect(0, &["rows come with: declared int, id bigint, late string"]);
    sandbox.sluis("run").expect(0, &["3 rows read, 3 written"]);
    // And in an epoch whose files have none of them.
    sandbox.file("in/4.csv", "id\n4\n");
    sandbox.sluis("run").expect(0, &["1 row read, 1 written"]);
    let rows = lines_below(&sandbox.path("out"));
    let expected = [r#"{"id":1,"late":null,"declared":null}"#, r#"{"id":2,"late":null,"declared":null}"#, r#"{"id":3,"late":"x","declared":null}"#];
    assert_eq!(rows[..3], expected);
    assert_eq!(rows[3..], [r#"{"id":4,"late":null,"declared":null}"#]);
}

#[test]
fn explain_says_what_a_run_would_take_and_change() {
    let sandbox = Sandbox::new();
    let pipeline = |contract: &str| format!("from: {{ files: {{ url: in/ }}, csv: {{}} }}\ncontract: {contract}\ninto: {{ table: {{ name: p }} }}\n");
    sandbox.file("sluis.yaml", "name: told\n").file("in/1.csv", "id,n\n1,1\n").file("pipelines/p.yaml", pipeline("evolve"));
    sandbox.sluis("run").expect(0, &[]);
    sandbox.file("in/2.csv", "id,n,more\n2,2.5,x\n");
    let change = "column `n` of table `p` becomes double (it is bigint): data files that have it are written again";
    sandbox.sluis("explain").expect(0, &["rows come with: id bigint, n double, more string", change]);
    sandbox.file("pipelines/p.yaml", pipeline("{ columns: discard_value, types: discard_row }"));
    let said = sandbox.sluis("explain");
    said.expect(0, &["rows come with: id bigint, n bigint"]);
    assert!(!said.all().contains("more") && !said.all().contains("written again"), "{said:?}");
}

#[test]
fn a_change_of_type_that_is_killed_anywhere_is_mended() {
    let sandbox = Sandbox::new();
    let points = sluis_core::crash::POINTS.iter().chain(sluis_core::crash::RARE_POINTS);
    for (i, point) in points.enumerate() {
        let folder = format!("in/{i}");
        sandbox.file(
            &format!("p{i}.yaml"),
            format!("from: {{ files: {{ url: {folder}/, after_commit: delete }}, csv: {{}} }}\ninto: {{ table: {{ name: t{i} }} }}\n"),
        );
        sandbox.file(&format!("{folder}/1.csv"), "id,n\n1,1\n");
        sandbox.sluis(&format!("run p{i}.yaml --quiet")).expect(0, &[]);
        sandbox.file(&format!("{folder}/2.csv"), "id,n\n2,two\n");
        let died = sandbox.sh(&format!("SLUIS_CRASH_AT={point} sluis run p{i}.yaml --quiet"));
        assert!(died.all().contains("fired"), "{point}: {died:?}");
        sandbox.sluis(&format!("run p{i}.yaml --quiet")).expect(0, &[]);
        let said = sandbox.sh(&format!("sluis sql --csv 'select id, n from t{i} order by id'"));
        assert_eq!(said.stdout, "id,n\n1,1\n2,two\n", "{point}");
    }
    sandbox.sluis("ledger fsck").expect(0, &[]);
}

#[test]
fn a_reject_says_who_holds_its_columns_type() {
    let s = Sandbox::new();
    s.file("p.yaml", "from: { files: { url: in/ }, csv: {} }\ninto: { table: { name: parts, partition_by: [n] } }\n");
    s.file("in/1.csv", "id,n\n1,5\n");
    s.sluis("run p.yaml").expect(0, &["1 row read, 1 written"]);
    s.file("in/2.csv", "id,n\n2,2.5\n3,6\n");
    s.sluis("run p.yaml").expect(0, &["2 rows read, 1 written, 1 rejected"]);
    s.sluis("rejects show p.yaml").expect(0, &["`2.5` is no bigint; target `table` takes no other type for the column"]);
    // Of a declared type nobody else is the cause.
    s.file("q.yaml", "from: { files: { url: in/ }, csv: { columns: { n: int } } }\ninto: { files: { url: out/, format: csv } }\n");
    s.sluis("run q.yaml").expect(0, &["1 rejected"]);
    let shown = s.sluis("rejects show q.yaml");
    shown.expect(0, &["`2.5` is no int"]);
    assert!(!shown.all().contains("takes no other type"), "{}", shown.all());
}
