//! The reference docs, made from the schemas: one page for pipeline files, one for projects, one per source, format, target and connection.
//!
//! Every key is a heading, so that diagnostics can link to it. Deliberately not here: writing files; `cargo xtask docs` does.

use std::fmt::Write as _;

use serde_json::Value;
use sluis_core::Registry;

use crate::schema::{LAKE, alternatives, follow, json_schema, one_line, page, project_schema, type_words};

/// A whole pipeline with the keys most used. A test loads it.
pub(crate) const EXAMPLE: &str = r#"description: Call records of the day
from:
  files:
    url: in/cdrs/
    match: "MobileVikings_{day:%Y%m%d}_{seq:int}.cdr"
    settle: 1m
  csv: { delimiter: "|", header: 1, footer: 1, columns: { call_id: bigint, seconds: int, cost: "decimal(10,4)" } }
check:
  - { name: non_negative, that: "seconds >= 0" }
  - { that: "cost < 1000", on_fail: warn }
select: "select *, cost * 1.21 as cost_with_tax from input"
into:
  table: { name: telecom.cdrs, partition_by: [day] }
rejects:
  files: { url: rejects/ }
when: "5 3 * * *"
fail_if: "rejects > 1%"
"#;

/// A whole project file. A test loads it.
pub(crate) const PROJECT_EXAMPLE: &str = r#"name: shop
vars: { bucket: raw-dev }
connections:
  raw: { s3: { region: eu-west-1, access_key: "${env:RAW_KEY}", secret_key: "${file:/run/secrets/raw}" } }
defaults:
  limits: { files: 500 }
  alert: { email: ops@example.org }
environments:
  prod:
    vars: { bucket: raw }
    state_dir: /var/lib/sluis/shop
"#;

const YAML: &str = "## YAML

Files are YAML 1.2, one document each, indented with spaces. `yes`, `no`, `on`, `off` and dates are texts; write `true` and `false`. A number where
a text is asked for is taken as it is written. A text needs quotes if it starts with `*`, `&`, `!`, `%`, `@`, `{`, `[`, `|`, `>` or a quote, if it
has `: ` or ` #` in it, and inside `{ }` or `[ ]` also if it has one of `{ } [ ] ,` in it (so has `${name}`). SQL of several lines is best written
as a block, after `|`. Anchors, aliases and `<<` work; tags have no meaning. A key stands once in its mapping.
";

const SECRETS: &str = "## Secrets

In the settings of connections, the lake, sources, formats and targets a text may refer to a secret:

- `${env:NAME}`: a variable of the environment,
- `${file:PATH}`: what a file holds, without the line end at its end; a relative path starts at the project's folder,
- `${cmd:COMMAND}`: what a command prints (`sh -c`, in the project's folder).

They are resolved when a run, or `check --connect`, needs them, and never by `check`, `explain` or `schema`. Whatever sluis prints or stores shows
`***` in their place. A plain `${` is written `$${`.
";

/// The pages: file name and Markdown.
pub fn reference_markdown(registry: &Registry) -> Vec<(String, String)> {
    let pipeline = json_schema(registry);
    let project = project_schema(registry);
    let mut pages = vec![("README.md".to_owned(), index(registry))];
    let intro = format!("{}\n\n```yaml\n{EXAMPLE}```\n", about(&pipeline));
    pages.push(("pipeline.md".into(), finish(format!("# Pipeline files\n\n{intro}\n{}\n{YAML}", keys(&pipeline, &pipeline, registry, 2)))));
    let intro = format!("{}\n\n```yaml\n{PROJECT_EXAMPLE}```\n", about(&project));
    pages.push(("project.md".into(), finish(format!("# Project files\n\n{intro}\n{}\n{SECRETS}", keys(&project, &project, registry, 2)))));
    let mut part = |family: &str, name: &str, title: String, summary: &str, root: &Value| {
        let schema = &root["$defs"][format!("{family}.{name}")];
        let more = about(schema);
        let mut text = format!("# {title}\n\n{summary}\n");
        if !more.is_empty() && more.trim_end_matches('.') != summary.trim_end_matches('.') {
            let _ = write!(text, "\n{more}\n");
        }
        let list = keys(root, schema, registry, 2);
        let _ = write!(text, "\n{}", if list.is_empty() { "It has no settings.\n" } else { &list });
        pages.push((page(family, name), finish(text)));
    };
    for d in &registry.sources {
        part("source", d.name, format!("`from: {}`", d.name), d.summary, &pipeline);
    }
    for d in &registry.formats {
        part("format", d.name, format!("Format `{}`", d.name), d.summary, &pipeline);
    }
    for d in &registry.sinks {
        part("target", d.name, format!("`into: {}`", d.name), d.summary, &pipeline);
    }
    for d in &registry.connections {
        part("connection", d.name, format!("Connection `{}`", d.name), d.summary, &project);
    }
    if let Some(d) = &registry.lake {
        part(LAKE.0, LAKE.1, "The lake: `lake:` of a project".into(), d.summary, &project);
    }
    pages
}

fn index(registry: &Registry) -> String {
    let mut out =
        "# Reference\n\nMade from the program itself by `cargo xtask docs`.\n\n- [Pipeline files](pipeline.md)\n- [Project files](project.md)\n"
            .to_owned();
    let mut list = |title: &str, family: &str, parts: Vec<(&str, &str)>| {
        let _ = write!(out, "\n## {title}\n\n");
        for (name, summary) in parts {
            let _ = writeln!(out, "- [`{name}`]({}): {summary}", page(family, name));
        }
    };
    list("Sources", "source", registry.sources.iter().map(|d| (d.name, d.summary)).collect());
    list("Formats", "format", registry.formats.iter().map(|d| (d.name, d.summary)).collect());
    list("Targets", "target", registry.sinks.iter().map(|d| (d.name, d.summary)).collect());
    list("Connections", "connection", registry.connections.iter().map(|d| (d.name, d.summary)).collect());
    if let Some(d) = &registry.lake {
        list("Lake", LAKE.0, vec![(LAKE.1, d.summary)]);
    }
    out.push_str("\n## Rejects\n\nWhy a row is rejected, each with an example and what to do:\n\n");
    for reason in sluis_core::RejectReason::ALL {
        let _ = writeln!(out, "- [`{0}`](rejects/{0}.md): {1}", reason.code(), reason.meaning());
    }
    out
}

fn about(schema: &Value) -> String {
    schema.get("description").and_then(Value::as_str).map(paragraphs).unwrap_or_default()
}

fn paragraphs(text: &str) -> String {
    text.split("\n\n").map(one_line).collect::<Vec<_>>().join("\n\n")
}

/// A heading per key, with type, default, description and what is below it.
fn keys(root: &Value, schema: &Value, registry: &Registry, level: usize) -> String {
    let mut out = String::new();
    let schema = follow(root, schema);
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return out };
    for (key, about) in properties {
        let _ = write!(out, "{} `{key}`\n\n{}\n\n", "#".repeat(level), facts(root, schema, key, about));
        if let Some(text) = description(root, about) {
            let _ = write!(out, "{text}\n\n");
        }
        let links = links(key, registry);
        let below = if links.is_empty() { below(root, about, 0) } else { links };
        if !below.is_empty() {
            let _ = writeln!(out, "{below}");
        }
    }
    out
}

/// "A duration, required."
fn facts(root: &Value, parent: &Value, key: &str, schema: &Value) -> String {
    let mut words = type_words(root, schema);
    if let Some(first) = words.get(..1) {
        words = format!("{}{}", first.to_uppercase(), &words[1..]);
    }
    let required = parent["required"].as_array().is_some_and(|r| r.iter().any(|k| k.as_str() == Some(key)));
    let said = description(root, schema).is_some_and(|d| d.to_lowercase().contains("default"));
    let default = schema.get("default").filter(|d| !said && (d.is_string() && d.as_str() != Some("") || d.is_boolean() || d.is_number()));
    let default = default.map(|d| format!(" Default: `{}`.", d.as_str().map_or_else(|| d.to_string(), str::to_owned))).unwrap_or_default();
    format!("*{words}{}.*{default}", if required { ", required" } else { "" })
}

fn description(root: &Value, schema: &Value) -> Option<String> {
    let own = schema.get("description").and_then(Value::as_str);
    own.or_else(|| follow(root, schema).get("description").and_then(Value::as_str)).map(paragraphs)
}

/// What connectors can stand under a key of ours.
fn links(key: &str, registry: &Registry) -> String {
    let mut out = String::new();
    let mut list = |title: &str, family: &str, parts: Vec<(&str, &str)>| {
        let _ = write!(out, "{title}:\n\n");
        for (name, summary) in parts {
            let _ = writeln!(out, "- [`{name}`]({}): {summary}", page(family, name));
        }
        out.push('\n');
    };
    match key {
        "from" => {
            list("Sources", "source", registry.sources.iter().map(|d| (d.name, d.summary)).collect());
            list("Formats", "format", registry.formats.iter().filter(|d| d.reader.is_some()).map(|d| (d.name, d.summary)).collect());
        }
        "into" => list("Targets", "target", registry.sinks.iter().map(|d| (d.name, d.summary)).collect()),
        "lake" => {
            if let Some(d) = &registry.lake {
                list("Its settings", LAKE.0, vec![(LAKE.1, d.summary)]);
            }
        }
        "connections" => list("Kinds", "connection", registry.connections.iter().map(|d| (d.name, d.summary)).collect()),
        _ => {}
    }
    out
}

/// Words with a meaning, and keys of mappings, as nested lists.
fn below(root: &Value, schema: &Value, depth: usize) -> String {
    // Where the registry's parts begin other pages begin.
    if depth > 3
        || schema.get("$ref").is_some_and(|r| r.as_str().is_some_and(|r| r.starts_with("#/$defs/connection") || r.starts_with("#/$defs/target")))
    {
        return String::new();
    }
    let pad = "  ".repeat(depth);
    let mut out = String::new();
    for schema in alternatives(root, schema) {
        if let (Some(word), Some(about)) = (schema.get("const").and_then(Value::as_str), schema.get("description").and_then(Value::as_str)) {
            let _ = writeln!(out, "{pad}- `{word}`: {}", one_line(about));
        }
        for (key, about) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let text = description(root, about).map(|d| format!(" {}", one_line(&d))).unwrap_or_default();
            let _ = writeln!(out, "{pad}- `{key}`: {}{text}", facts(root, schema, key, about));
            if about.get("x-sluis-docs").is_none() {
                out.push_str(&below(root, about, depth + 1));
            }
        }
        for inner in [schema.get("items"), schema.get("additionalProperties")].into_iter().flatten().filter(|s| s.is_object()) {
            out.push_str(&below(root, inner, depth));
        }
    }
    out
}

/// One empty line between blocks, one line end at the end.
fn finish(text: String) -> String {
    let mut out = text;
    while out.contains("\n\n\n") {
        out = out.replace("\n\n\n", "\n\n");
    }
    format!("{}\n", out.trim_end())
}
