//! The schemas hold together, and with the docs.

use serde_json::Value;
use sluis_config::{Options, json_schema, project_schema, reference_markdown};

use crate::fakes::registry;
use crate::{good, project};

fn every<'a>(value: &'a Value, visit: &mut dyn FnMut(&'a Value)) {
    visit(value);
    match value {
        Value::Object(map) => map.values().for_each(|v| every(v, visit)),
        Value::Array(items) => items.iter().for_each(|v| every(v, visit)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    for schema in [json_schema(&registry()), project_schema(&registry())] {
        let mut seen = 0;
        every(&schema, &mut |v| {
            if let Some(to) = v.get("$ref").and_then(Value::as_str) {
                let name = to.strip_prefix("#/$defs/").unwrap_or_else(|| panic!("{to}"));
                assert!(schema["$defs"].get(name).is_some(), "{to}");
                seen += 1;
            }
        });
        assert!(seen > 10);
        assert_eq!(schema["additionalProperties"], false);
    }
}

#[test]
fn every_key_of_ours_is_documented() {
    for schema in [json_schema(&registry()), project_schema(&registry())] {
        for (key, about) in schema["properties"].as_object().unwrap() {
            assert!(about["description"].as_str().is_some_and(|d| d.len() > 8), "{key}");
        }
    }
}

/// The examples of a page, and the anchors of its headings as GitHub and others make them.
fn yaml_of(page: &str) -> String {
    page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap().to_owned()
}

fn anchors(page: &str) -> Vec<String> {
    let headings = page.lines().filter(|l| l.starts_with('#')).map(|l| l.trim_start_matches('#').trim());
    headings.map(|h| h.to_lowercase().chars().filter(|c| c.is_alphanumeric() || "_- ".contains(*c)).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn the_examples_of_the_docs_load() {
    let pages = reference_markdown(&registry());
    let page = |name: &str| pages.iter().find(|(n, _)| n == name).unwrap().1.as_str();
    let dir = project(&[("sluis.yaml", &yaml_of(page("project.md"))), ("pipelines/cdrs.yaml", &yaml_of(page("pipeline.md")))]);
    assert_eq!(good(dir.path(), &Options::default()).pipelines.len(), 1);
    good(dir.path(), &Options { env: Some("prod".into()), vars: vec![] });
}

#[test]
fn every_link_of_a_diagnostic_leads_to_a_heading() {
    let pages = reference_markdown(&registry());
    let mut links = 0;
    for case in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/diagnostics")).unwrap() {
        let path = case.unwrap().path();
        if path.extension().is_none_or(|e| e != "txt") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for link in text.lines().filter_map(|l| l.trim().strip_prefix("= docs: docs/reference/")) {
            let (page, anchor) = link.split_once('#').map_or((link, None), |(p, a)| (p, Some(a)));
            let (_, body) = pages.iter().find(|(name, _)| name == page).unwrap_or_else(|| panic!("{}: {link}", path.display()));
            assert!(anchor.is_none_or(|a| anchors(body).iter().any(|h| h == a)), "{}: {link}", path.display());
            links += 1;
        }
    }
    assert!(links > 80, "{links}");
}

#[test]
fn every_part_has_a_page_with_its_keys() {
    let pages = reference_markdown(&registry());
    for name in
        ["README.md", "pipeline.md", "project.md", "source-files.md", "source-queue.md", "format-csv.md", "target-table.md", "connection-s3.md"]
    {
        assert!(pages.iter().any(|(n, _)| n == name), "{name}");
    }
    let files = &pages.iter().find(|(n, _)| n == "source-files.md").unwrap().1;
    assert!(files.contains("## `settle`\n\n*A duration.*\n\nHow long a file must be unchanged.\n"), "{files}");
    assert!(files.contains("- `replace`: The old rows leave.") && files.contains("*A text or a list of texts, required.*"), "{files}");
    let pipeline = &pages.iter().find(|(n, _)| n == "pipeline.md").unwrap().1;
    assert!(pipeline.contains("- [`files`](source-files.md): Files of a folder.") && pipeline.contains("- `on_corrupt`: "), "{pipeline}");
}
