//! Variables, environments, defaults.

use serde_json::json;
use sluis_config::{Options, render};

use crate::{PIPELINE, codes, good, load, project};

const PROJECT: &str = r#"
vars: { bucket: dev-bucket, day: 2024-01-01 }
connections:
  raw: { s3: { region: eu, endpoint: "https://dev" } }
  web: { http: {} }
defaults:
  limits: { files: 7, rows: 3 }
  settings: { tries: 2 }
  rejects: { files: { url: rejects/ } }
  fail_if: rejects > ${percent}%
environments:
  prod:
    vars: { bucket: prod-bucket }
    connections:
      raw: { s3: { endpoint: "https://prod" } }
      web: { s3: {} }
    state_dir: /var/lib/sluis
    defaults: { limits: { rows: 5 } }
"#;
const USES: &str =
    "vars: { percent: 2 }\nfrom: { files: { url: \"s3://${bucket}/${day}\" }, csv: }\ninto: { table: { name: t } }\nlimits: { bytes: 1MiB }\n";

fn env(name: &str) -> Options {
    Options { env: Some(name.into()), ..Options::default() }
}

#[test]
fn an_environment_goes_over_the_project_and_the_command_line_over_all() {
    let dir = project(&[("sluis.yaml", PROJECT), ("pipelines/p.yaml", USES)]);
    let loaded = good(dir.path(), &Options::default());
    let p = &loaded.pipelines[0];
    assert_eq!(p.source.config["url"], "s3://dev-bucket/2024-01-01");
    assert_eq!((p.limits.files, p.limits.bytes, p.limits.rows, p.settings.tries.get()), (7, 1 << 20, 3, 2));
    assert_eq!(p.rejects.as_ref().unwrap().config["url"], "rejects/");
    assert_eq!(p.budget[0].to_string(), "rejects > 2%");
    assert_eq!(loaded.project.unwrap().connections["raw"], json!({"s3": {"region": "eu", "endpoint": "https://dev"}}));

    let mut options = env("prod");
    options.vars = vec![("day".into(), "2024-02-02".into())];
    let loaded = good(dir.path(), &options);
    let project = loaded.project.unwrap();
    assert_eq!(loaded.pipelines[0].source.config["url"], "s3://prod-bucket/2024-02-02");
    assert_eq!(loaded.pipelines[0].limits.rows, 5);
    assert_eq!(project.connections["raw"], json!({"s3": {"region": "eu", "endpoint": "https://prod"}}));
    assert_eq!(project.connections["web"], json!({"s3": {}}), "another kind replaces");
    assert_eq!((project.env.as_deref(), project.ledger_path.to_str()), (Some("prod"), Some("/var/lib/sluis/ledger.db")));
}

#[test]
fn an_environment_can_be_a_file_and_its_mistakes_are_shown_there() {
    let dir = project(&[("sluis.yaml", PROJECT), ("sluis.test.yaml", "vars: { bucket: test-bucket }\n"), ("pipelines/p.yaml", USES)]);
    let loaded = good(dir.path(), &env("test"));
    assert_eq!(loaded.pipelines[0].source.config["url"], "s3://test-bucket/2024-01-01");
    std::fs::write(dir.path().join("sluis.test.yaml"), "connections:\n  raw: { s3: { endpoint: here } }\ndefaults:\n  limits: { rows: 0 }\n")
        .unwrap();
    let said = load(dir.path(), &env("test")).diagnostics;
    let at: Vec<String> = said.iter().map(|d| format!("{} {}", d.code, d.span.as_ref().unwrap().text())).collect();
    assert_eq!(at, ["bad-config here", "out-of-range 0"], "{}", render(&said, false));
    assert!(said.iter().all(|d| d.span.as_ref().unwrap().file().path().ends_with("sluis.test.yaml")));
    assert_eq!(codes(&load(dir.path(), &env("tset"))), ["unknown-environment"]);
    assert_eq!(codes(&load(dir.path(), &env("../x"))), ["unknown-environment"]);
}

#[test]
fn variables_may_have_any_type() {
    let text = "vars: { n: 5, cfg: { delimiter: ';' }, on: true, urls: [a, b] }\nfrom: { files: { url: \"${urls}\", recursive: \"${on}\" }, csv: \"${cfg}\" }\n\
                into: { table: { name: \"t_${n}\" } }\nlimits: { files: \"${n}\" }\n";
    let dir = project(&[("p.yaml", text)]);
    let p = &good(dir.path(), &Options::default()).pipelines[0];
    assert_eq!(p.source.config, json!({"url": ["a", "b"], "recursive": true}));
    assert_eq!((p.limits.files, &p.targets[0].config["name"]), (5, &json!("t_5")));
    let given = Options { vars: vec![("n".into(), "soon".into())], ..Options::default() };
    assert_eq!(codes(&load(dir.path(), &given)), ["wrong-type"]);
}

#[test]
fn what_a_pipeline_says_itself_replaces_a_default_of_one_choice() {
    let text = format!("{}rejects: {{ table: {{ name: r }} }}\n", USES);
    let dir = project(&[("sluis.yaml", PROJECT), ("pipelines/p.yaml", &text)]);
    let p = &good(dir.path(), &Options::default()).pipelines[0];
    assert_eq!(p.rejects.as_ref().unwrap().def.name, "table");
}

#[test]
fn an_empty_project_file_is_a_project() {
    let dir = project(&[("sluis.yaml", "# nothing yet\n"), ("pipelines/p.yaml", PIPELINE)]);
    assert_eq!(good(dir.path(), &Options::default()).pipelines.len(), 1);
}

#[test]
fn the_lake_takes_its_own_keys_and_no_others() {
    let of = |text: &str| project(&[("sluis.yaml", text), ("pipelines/p.yaml", PIPELINE)]);
    let dir = of("lake: { warehouse: \"${where}\" }\nvars: { where: there }\nenvironments: { prod: { lake: { warehouse: here } } }\n");
    assert_eq!(good(dir.path(), &Options::default()).project.unwrap().lake, json!({ "warehouse": "there" }));
    assert_eq!(good(dir.path(), &env("prod")).project.unwrap().lake, json!({ "warehouse": "here" }));
    assert_eq!(good(of("lake:\n").path(), &Options::default()).project.unwrap().lake, json!({}));
    for (text, said) in [
        ("lake: { warehous: x }\n", "unknown-key"),
        ("lake: { warehouse: [x] }\n", "wrong-type"),
        ("lake: { warehouse: '' }\n", "bad-config"),
        ("environments: { prod: { lake: { warehous: x } } }\n", "unknown-key"),
    ] {
        let dir = of(text);
        let loaded = load(dir.path(), &Options::default());
        assert_eq!(codes(&loaded), [said], "{text} {}", render(&loaded.diagnostics, false));
        assert!(loaded.diagnostics[0].docs.as_deref().unwrap().starts_with("docs/reference/project-lake.md"), "{:?}", loaded.diagnostics[0].docs);
    }
}
