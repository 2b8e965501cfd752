//! Files without mistakes become what they say.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sluis_config::spec::{OnCorrupt, OnFail, Scope};
use sluis_config::{AlertOn, Options, Trigger};
use sluis_core::{Contract, OnDrift};

use crate::{PIPELINE, codes, good, load, project};

const FULL: &str = r#"
description: Call records of the day
vars: { base: data }
from:
  files:
    url: "${base}/cdrs/"
    match: "MobileVikings_{day:%Y%m%d}_{seq:int}.cdr"
    settle: 1m
    on_overwrite: replace
    connection: raw
  csv: { delimiter: "|", header: 1, footer: 1, columns: { call_id: bigint, started_at: "timestamp(%Y%m%d%H%M%S)", cost: "decimal(10,4)" } }
tables:
  cells: { files: { url: cells.csv }, csv: {} }
check:
  - { name: non_negative, that: "seconds >= 0" }
  - call_id is not null
  - { that: cost < 1000, on_fail: warn }
contract: { columns: freeze }
select:
  clean: select * from input
  final: "select c.*, cells.name from clean c left join cells using (cell)"
into:
  - table: { name: telecom.cdrs, partition_by: [call_day] }
  - files: { url: out/a }
  - files: { url: out/b }
  - files: { url: out/c }
    as: archive
rejects:
  table: { name: cdr_errors }
when: "5 3 * * *"
alert: { email: ops@example.org, on: [failure, rejects > 1%] }
fail_if: [rejects > 5%, rejects > 1000]
limits: { files: 10, bytes: 1GiB }
settings: { tasks: 2, on_corrupt: reject }
"#;

#[test]
fn a_full_pipeline_is_read() {
    let dir = project(&[("sluis.yaml", "connections: { raw: { s3: { region: eu } } }"), ("pipelines/mv_cdrs.yaml", FULL)]);
    let loaded = good(dir.path(), &Options::default());
    let p = &loaded.pipelines[0];
    assert_eq!(p.name.as_str(), "mv_cdrs");
    assert_eq!(p.source.def.name, "files");
    assert_eq!(p.source.config["url"], "data/cdrs/");
    assert_eq!(p.format.as_ref().unwrap().config["header"], 1);
    assert!(p.replaces_files());
    let checks: Vec<(&str, OnFail)> = p.checks.iter().map(|c| (c.name.as_str(), c.on_fail)).collect();
    assert_eq!(checks, [("non_negative", OnFail::Reject), ("call_id is not null", OnFail::Reject), ("cost < 1000", OnFail::Warn)]);
    assert_eq!(p.checks[0].span.inside(0..7).text(), "seconds");
    let selects: Vec<&str> = p.selects.iter().map(|s| s.name.as_str()).collect();
    assert_eq!((selects, p.scope), (vec!["clean", "final"], Scope::Row));
    assert_eq!((p.tables[0].name.as_str(), p.tables[0].format.as_ref().unwrap().config.clone()), ("cells", json!({})));
    let targets: Vec<&str> = p.targets.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(targets, ["table", "files", "files_2", "archive"]);
    assert_eq!(p.rejects.as_ref().unwrap().name.as_str(), "rejects");
    assert_eq!(p.when.to_string(), "5 3 * * *");
    assert_eq!(p.alert.as_ref().unwrap().on[0], AlertOn::Failure);
    assert!(p.budget[1].exceeded(1001, 1_000_000) && !p.budget[0].exceeded(5, 100));
    assert_eq!((p.limits.files, p.limits.bytes, p.limits.rows), (10, 1 << 30, u64::MAX));
    assert_eq!((p.settings.tasks.get(), p.settings.on_corrupt, p.settings.tries.get()), (2, OnCorrupt::Reject, 5));
    assert_eq!(p.contract, Contract { columns: OnDrift::Freeze, types: OnDrift::Evolve });
    let shown = p.to_json();
    assert_eq!(shown["contract"], json!({ "columns": "freeze", "types": "evolve" }));
    assert_eq!((&shown["when"], &shown["fail_if"][0], &shown["limits"]["rows"]), (&json!("5 3 * * *"), &json!("rejects > 5%"), &json!(null)));
}

#[test]
fn the_short_forms_mean_the_same() {
    for (text, says) in [
        ("check: x > 1", "check"),
        ("check: [x > 1]", "check"),
        ("select: select * from input", "output"),
        ("select: [{ name: a, sql: select * from input }]", "a"),
        ("select: |\n  select *\n  from input", "output"),
    ] {
        let dir = project(&[("p.yaml", &format!("{PIPELINE}{text}\n"))]);
        let p = &good(&dir.path().join("p.yaml"), &Options::default()).pipelines[0];
        match says {
            "check" => assert_eq!((p.checks.len(), p.checks[0].that.as_str()), (1, "x > 1")),
            name => assert_eq!(p.selects[0].name, name, "{text}"),
        }
    }
}

#[test]
fn every_trigger_is_read() {
    for (text, is) in [
        ("live", "live"),
        ("manual", "manual"),
        ("every 30s", "every 30s"),
        ("{ every: 90m }", "every 1h 30m"),
        ("{ cron: '@daily' }", "@daily"),
        ("{ after: p2 }", "after p2"),
        ("after p2", "after p2"),
        ("", "manual"),
    ] {
        let dir = project(&[("p.yaml", &format!("{PIPELINE}when: {text}\n")), ("p2.yaml", PIPELINE)]);
        let loaded = good(dir.path(), &Options::default());
        assert_eq!(loaded.pipelines[0].when.to_string(), is);
    }
    assert_eq!("every 30s".parse(), Ok(Trigger::Every(Duration::from_secs(30))));
}

#[test]
fn a_lone_file_is_a_project() {
    let dir = project(&[("a/p.yml", PIPELINE)]);
    let loaded = good(&dir.path().join("a/p.yml"), &Options::default());
    let p = loaded.project.as_ref().unwrap();
    assert_eq!((p.dir.clone(), p.state_dir.clone()), (dir.path().join("a"), dir.path().join("a/.sluis")));
    assert_eq!((p.name.as_str(), p.file.is_none(), p.ledger_path.clone()), ("a", true, dir.path().join("a/.sluis/ledger.db")));
    assert_eq!(loaded.pipelines[0].name.as_str(), "p");
    assert_eq!(codes(&load(&dir.path().join("a/q.yml"), &Options::default())), ["not-found"]);
}

#[test]
fn a_file_in_a_project_is_of_the_project_and_alone_asked_for() {
    let broken = "from: 1";
    let dir = project(&[
        ("sluis.yaml", "name: shop\nstate_dir: state\nledger: { path: /var/l.db }"),
        ("pipelines/a.yaml", PIPELINE),
        ("pipelines/sub/b.yml", &PIPELINE.replace("into", "when: after a\ninto")),
        ("pipelines/sub/broken.yaml", broken),
        ("pipelines/.hidden.yaml", broken),
        ("tests/c.yaml", broken),
    ]);
    let loaded = good(&dir.path().join("pipelines/a.yaml"), &Options::default());
    let p = loaded.project.as_ref().unwrap();
    assert_eq!((p.name.as_str(), p.state_dir.clone(), p.ledger_path.as_path()), ("shop", dir.path().join("state"), Path::new("/var/l.db")));
    assert_eq!(loaded.pipelines.len(), 1);
    let below = load(&dir.path().join("pipelines/sub"), &Options::default());
    assert_eq!(below.pipelines.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert!(!below.is_valid());
    let all = load(dir.path(), &Options::default());
    assert_eq!(all.pipelines.len(), 2);
    let by_project_file = load(&dir.path().join("sluis.yaml"), &Options::default());
    assert_eq!(codes(&by_project_file), codes(&all));
}

#[test]
fn an_empty_folder_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = load(dir.path(), &Options::default());
    assert_eq!((codes(&loaded), loaded.is_valid()), (vec!["no-pipelines"], true));
}

#[test]
fn a_contract_of_the_project_leaves_bytes_alone() {
    let raw = "from: { files: { url: in/ }, raw: {} }\ninto: { table: { name: t } }";
    let text = "from: { files: { url: in/ }, csv: { columns: string } }\ninto: { table: { name: t } }";
    let dir = project(&[("sluis.yaml", "defaults: { contract: rescue }"), ("pipelines/a.yaml", raw), ("pipelines/b.yaml", text)]);
    let contracts: Vec<Contract> = good(dir.path(), &Options::default()).pipelines.iter().map(|p| p.contract).collect();
    assert_eq!(contracts, [Contract::default(), Contract { columns: OnDrift::Rescue, types: OnDrift::Rescue }]);
}
