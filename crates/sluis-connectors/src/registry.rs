//! The one list of everything this build can talk to: help, schema, docs and `check` iterate it.

use sluis_core::Registry;

/// Sources, targets, formats and kinds of connection of this build.
pub fn registry() -> Registry {
    Registry {
        sources: vec![&crate::files::SOURCE],
        sinks: vec![&crate::files_sink::FILES, &crate::table::TABLE],
        formats: sluis_formats::all(),
        connections: vec![sluis_storage::connection::S3_CONNECTION, sluis_storage::connection::HTTP_CONNECTION],
        lake: Some(sluis_lake::LAKE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that a page shows as YAML.
    fn examples(page: &str) -> Vec<String> {
        page.split("```yaml\n").skip(1).map(|block| block.split("```").next().unwrap_or_default().to_owned()).collect()
    }

    /// Loads a pipeline with this registry; what is wrong, as text.
    fn said(pipeline: &str, project: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("pipelines")).unwrap();
        std::fs::write(dir.path().join("sluis.yaml"), project).unwrap();
        std::fs::write(dir.path().join("pipelines/p.yaml"), pipeline).unwrap();
        let loaded = sluis_config::load_project(dir.path(), &registry(), &sluis_config::Options::default());
        assert_eq!(loaded.is_valid(), loaded.pipelines.len() == 1 && loaded.project.is_some());
        sluis_config::render(&loaded.diagnostics, false)
    }

    /// The pipeline of the project's first page, with the targets that this build has.
    const BLUEPRINT: &str = r#"
from:
  files:
    url: s3://mv-cdrs/cdrs/
    match: "MobileVikings_{day:%Y%m%d}_{seq:int}.cdr"
    settle: 1m
    on_overwrite: replace
  csv: { delimiter: "|", header: 1, footer: 1, columns: { call_id: bigint, msisdn: string, started_at: "timestamp(%Y%m%d%H%M%S)", seconds: int, cost: "decimal(10,4)" } }
check:
  - { name: non_negative, that: "seconds >= 0" }
select: "select *, cast(started_at as date) as call_day from input"
into:
  table: { name: telecom.mv_cdrs, partition_by: [call_day] }
rejects:
  files: { url: rejects/ }
when: "5 3 * * *"
alert: { email: [ops@example.org], on: [failure, rejects > 1%] }
"#;

    #[test]
    fn the_first_pages_pipeline_is_valid() {
        assert_eq!(said(BLUEPRINT, ""), "");
        let to_files = BLUEPRINT.replace("  table: { name: telecom.mv_cdrs,", "  files: { url: out/,");
        assert_eq!(said(&to_files, "connections: { raw: { s3: { region: eu-west-1, for: [s3://mv-cdrs/] } } }"), "");
        let several = BLUEPRINT.replace("into:\n  table: {", "into:\n  - files: { url: out/, format: { csv: { compression: gzip } } }\n  - table: {");
        assert_eq!(said(&several, "lake: {}"), "");
        for (right, wrong, says) in [
            ("on_overwrite: replace", "on_overwrite: replce", "on_overwrite"),
            ("settle: 1m", "setle: 1m", "did you mean `settle`?"),
            ("seq:int", "seq:itn", "unknown type"),
            ("footer: 1", "footer: many", "footer"),
            ("cost: \"decimal(10,4)\"", "cost: \"decimal(1O,4)\"", "cost"),
            ("rejects/", "https://h/rejects/", "not written to"),
            ("  files: { url: rejects/ }", "  files: { url: rejects/, format: xlsx }", "xlsx"),
        ] {
            let text = said(&BLUEPRINT.replace(right, wrong), "");
            assert!(text.contains(says) && text.contains("docs/reference/"), "{wrong}: {text}");
        }
    }

    #[test]
    fn every_example_of_the_users_pages_is_valid() {
        let mut seen = 0;
        for page in [include_str!("files/README.md"), include_str!("files_sink/README.md"), include_str!("table/README.md")] {
            for example in examples(page) {
                let from = if example.contains("from:") { "" } else { "from: { files: { url: in/ }, csv: }\n" };
                let into = if example.contains("into:") { "" } else { "into: { files: { url: out/ } }\n" };
                // A page may show a part of a project's file, too.
                if !example.contains("from:") && !example.contains("into:") {
                    continue;
                }
                assert_eq!(said(&format!("{from}{example}{into}"), ""), "", "{example}");
                seen += 1;
            }
        }
        assert!(seen > 4);
    }

    #[test]
    fn the_users_page_of_the_files_target_has_every_key() {
        let page = include_str!("files_sink/README.md");
        let schema = (registry().sink("files").unwrap().schema)();
        for key in schema.get("properties").and_then(|p| p.as_object()).unwrap().keys() {
            assert!(page.contains(&format!("\n| `{key}` | ")), "{key}");
        }
    }

    #[test]
    fn every_part_has_a_page_of_the_reference_and_every_key_a_heading() {
        let all = registry();
        let pages: std::collections::BTreeMap<String, String> = sluis_config::reference_markdown(&all).into_iter().collect();
        let mut parts: Vec<(String, schemars::Schema)> = Vec::new();
        parts.extend(all.sources.iter().map(|d| (format!("source-{}.md", d.name), (d.schema)())));
        parts.extend(all.formats.iter().map(|d| (format!("format-{}.md", d.name), (d.schema)())));
        parts.extend(all.sinks.iter().map(|d| (format!("target-{}.md", d.name), (d.schema)())));
        parts.extend(all.connections.iter().map(|d| (format!("connection-{}.md", d.name), (d.schema)())));
        parts.extend(all.lake.iter().map(|d| ("project-lake.md".to_owned(), (d.schema)())));
        for (name, schema) in parts {
            let page = pages.get(&name).unwrap_or_else(|| panic!("{name} is missing"));
            for (key, about) in schema.get("properties").and_then(|p| p.as_object()).into_iter().flatten() {
                assert!(page.contains(&format!("\n## `{key}`\n")), "{name}: {key}");
                assert!(about.get("description").is_some() || about.get("$ref").is_some(), "{name}: `{key}` is not explained");
            }
        }
        for (name, page) in &pages {
            for link in page.split("](").skip(1).filter_map(|l| l.split(')').next()).filter(|l| l.ends_with(".md") && !l.starts_with("rejects/")) {
                assert!(pages.contains_key(link), "{name}: {link}");
            }
        }
    }

    #[test]
    fn every_format_can_be_read_and_all_but_two_written() {
        for format in registry().formats {
            // Without columns there is no fixed width.
            let least = if format.name == "fixed" { serde_json::json!({ "columns": { "a": { "width": 1 } } }) } else { serde_json::json!({}) };
            assert!((format.validate)(&least).is_empty() && (format.reader.unwrap())(&least).is_ok(), "{}", format.name);
            assert_eq!(format.writer.is_none(), ["fixed", "orc"].contains(&format.name), "{}", format.name);
            assert!(format.writer.is_none_or(|writer| writer(&serde_json::json!({})).is_ok()), "{}", format.name);
            assert!((format.validate)(&serde_json::json!({ "no_such_key": 1 })).len() < 2);
        }
    }

    #[test]
    fn names_are_unique_and_every_schema_is_an_object() {
        let all = registry();
        let mut names: Vec<(&str, &str)> = Vec::new();
        for source in &all.sources {
            names.push(("source", source.name));
            assert!((source.schema)().as_object().is_some_and(|o| o.contains_key("properties")), "{}", source.name);
        }
        names.extend(all.sinks.iter().map(|d| ("sink", d.name)));
        names.extend(all.formats.iter().map(|d| ("format", d.name)));
        names.extend(all.connections.iter().map(|d| ("connection", d.name)));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(all.source("files").is_some_and(|files| files.needs_format));
    }
}
