//! The schemas of pipeline and project files: our own grammar (`spec.rs`) with what the registry's connectors and formats take put in.
//!
//! One source for the editors' JSON Schema, the checks of files (`conform.rs`), and the reference docs (`reference_docs.rs`).
//! Beside standard keywords there are `x-sluis-docs` (the docs' page of what follows) and `x-sluis-what` (what a mapping's keys name).

mod conform;
mod describe;

pub(crate) use conform::{Conform, Place};
pub(crate) use describe::{one_line, type_words};

use schemars::schema_for;
use serde_json::{Map, Value, json};
use sluis_core::Registry;

use crate::spec::{PipelineSpec, ProjectSpec};

/// Where the reference docs are, from the root of the repository.
pub(crate) const DOCS: &str = "docs/reference/";

/// JSON Schema (draft 2020-12) of pipeline files, for editors.
pub fn json_schema(registry: &Registry) -> Value {
    assemble(schema_for!(PipelineSpec).to_value(), registry, "A sluis pipeline", "pipeline.md")
}

/// JSON Schema (draft 2020-12) of `sluis.yaml`.
pub fn project_schema(registry: &Registry) -> Value {
    assemble(schema_for!(ProjectSpec).to_value(), registry, "A sluis project", "project.md")
}

/// JSON Schema of one environment of a project: what `sluis.NAME.yaml` holds.
pub(crate) fn environment_schema(project: &Value) -> Value {
    let mut schema = project["$defs"]["EnvironmentSpec"].clone();
    schema["$defs"] = project["$defs"].clone();
    schema["x-sluis-docs"] = format!("{DOCS}project.md").into();
    schema
}

fn assemble(mut root: Value, registry: &Registry, title: &str, page: &str) -> Value {
    let mut defs = root["$defs"].as_object().cloned().unwrap_or_default();
    let mut from = Map::new();
    let mut into = Map::new();
    let mut kinds = Map::new();
    for d in &registry.sources {
        from.insert(d.name.into(), embed(&mut defs, "source", d.name, d.summary, (d.schema)().to_value()));
    }
    for d in registry.formats.iter().filter(|d| d.reader.is_some()) {
        from.insert(d.name.into(), embed(&mut defs, "format", d.name, d.summary, (d.schema)().to_value()));
    }
    for d in &registry.sinks {
        into.insert(d.name.into(), embed(&mut defs, "target", d.name, d.summary, (d.schema)().to_value()));
    }
    for d in &registry.connections {
        kinds.insert(d.name.into(), embed(&mut defs, "connection", d.name, d.summary, (d.schema)().to_value()));
    }
    let choice = |what: &str, properties: &Map<String, Value>| json!({ "type": "object", "properties": properties, "additionalProperties": false, "minProperties": 1, "x-sluis-what": what });
    defs.insert("from".into(), choice("source or format", &from));
    defs.insert("tables".into(), json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/from" } }));
    defs.insert("target".into(), choice("target", &into));
    into.insert("as".into(), json!({ "type": "string", "description": "The target's name in the ledger and in messages. Default: its kind." }));
    defs.insert("named_target".into(), choice("target", &into));
    let named = json!({ "$ref": "#/$defs/named_target" });
    defs.insert("targets".into(), json!({ "anyOf": [named, { "type": "array", "items": named, "minItems": 1 }] }));
    defs.insert("connection".into(), choice("kind of connection", &kinds));
    defs.insert("connections".into(), json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/connection" } }));
    if let Some(d) = registry.lake.filter(|_| root["properties"].get("lake").is_some()) {
        let lake = embed(&mut defs, LAKE.0, LAKE.1, d.summary, (d.schema)().to_value());
        root["properties"]["lake"] = lake.clone();
        defs["EnvironmentSpec"]["properties"]["lake"] = lake;
    }
    root["$defs"] = defs.into();
    root["title"] = title.into();
    root["x-sluis-docs"] = format!("{DOCS}{page}").into();
    drop_null_defaults(&mut root);
    root
}

/// Puts a part's own schema into the definitions, with its inner ones, and returns a reference to it.
fn embed(defs: &mut Map<String, Value>, family: &str, name: &str, summary: &str, mut schema: Value) -> Value {
    let own = format!("{family}.{name}");
    redirect(&mut schema, &own);
    if let Some(map) = schema.as_object_mut() {
        if let Some(Value::Object(inner)) = map.remove("$defs") {
            defs.extend(inner.into_iter().map(|(key, value)| (format!("{own}.{key}"), value)));
        }
        map.remove("$schema");
        map.remove("title");
        map.insert("x-sluis-docs".into(), format!("{DOCS}{}", page(family, name)).into());
    }
    let needs_keys = schema["required"].as_array().is_some_and(|r| !r.is_empty());
    defs.insert(own.clone(), schema);
    let reference = json!({ "$ref": format!("#/$defs/{own}") });
    // `csv:` with nothing behind it is `csv: {}`.
    if needs_keys {
        json!({ "description": summary, "$ref": reference["$ref"] })
    } else {
        json!({ "description": summary, "anyOf": [reference, { "type": "null" }] })
    }
}

/// The family and name that the lake's settings have among the definitions: there is one lake, whatever it is made of.
pub(crate) const LAKE: (&str, &str) = ("project", "lake");

/// The docs' page of a part.
pub(crate) fn page(family: &str, name: &str) -> String {
    format!("{family}-{name}.md")
}

/// `#/$defs/X` to `#/$defs/own.X`, `#` to `#/$defs/own`.
fn redirect(value: &mut Value, own: &str) {
    match value {
        Value::Object(map) => {
            for (key, item) in map.iter_mut() {
                match item {
                    Value::String(to) if key == "$ref" => {
                        if to == "#" {
                            *to = format!("#/$defs/{own}");
                        } else if let Some(name) = to.strip_prefix("#/$defs/") {
                            *to = format!("#/$defs/{own}.{name}");
                        }
                    }
                    other => redirect(other, own),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redirect(item, own)),
        _ => {}
    }
}

/// `default: null` says nothing to anybody.
fn drop_null_defaults(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("default") == Some(&Value::Null) {
                map.remove("default");
            }
            map.values_mut().for_each(drop_null_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_null_defaults),
        _ => {}
    }
}

/// The schema that a reference leads to.
pub(crate) fn follow<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut at = schema;
    // No chain of references is longer; a circle ends here.
    for _ in 0..16 {
        let Some(to) = at.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/")) else { return at };
        match root["$defs"].get(to) {
            Some(next) => at = next,
            None => return at,
        }
    }
    at
}

/// The alternatives of a schema, flat: without `anyOf` and `oneOf` in it, references followed.
pub(crate) fn alternatives<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    fn gather<'a>(root: &'a Value, schema: &'a Value, depth: usize, out: &mut Vec<&'a Value>) {
        let schema = follow(root, schema);
        match schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
            Some(list) if depth < 8 => list.iter().for_each(|s| gather(root, s, depth + 1, out)),
            _ => out.push(schema),
        }
    }
    let mut out = Vec::new();
    gather(root, schema, 0, &mut out);
    out
}
