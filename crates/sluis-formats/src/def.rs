//! What every format's definition needs: configuration from JSON values, one schema for reading and writing.
//!
//! Deliberately not here: any format.

use std::sync::Arc;

use schemars::Schema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sluis_core::registry::{FileHead, Sniffed};
use sluis_core::{EncoderFactory, Error, Result};

use crate::compress::unpack::beginning;

/// A format's configuration; nothing (`null`) means all defaults.
///
/// # Errors
/// `ErrorKind::Config` with what is wrong.
pub fn config_of<T: DeserializeOwned>(format: &str, value: &Value) -> Result<T> {
    let value = if value.is_null() { Value::Object(Map::new()) } else { value.clone() };
    serde_json::from_value(value).map_err(|e| Error::config(format!("{format}: {e}")))
}

/// Likewise, without the keys that `T` does not know.
pub fn lenient<T: DeserializeOwned + schemars::JsonSchema>(value: &Value) -> Result<T> {
    let schema = schemars::schema_for!(T);
    let known = schema.get("properties").and_then(Value::as_object);
    let kept = match (value, known) {
        (Value::Object(map), Some(known)) => {
            Value::Object(map.iter().filter(|(k, _)| known.contains_key(*k)).map(|(k, v)| (k.clone(), v.clone())).collect())
        }
        (other, _) => other.clone(),
    };
    config_of("", &kept)
}

/// Files that begin with their format's mark, as they are or unpacked: all that have bytes must.
pub fn sniff_magic(heads: &[FileHead], magic: &[u8]) -> Option<Sniffed> {
    let mut heads = heads.iter().filter(|h| !h.bytes.is_empty()).peekable();
    heads.peek()?;
    let begins = |h: &FileHead| h.bytes.starts_with(magic) || beginning(h, magic.len()).0 == magic;
    heads.all(begins).then(|| Sniffed { options: Value::Object(Map::new()), confidence: 1.0, notes: Vec::new() })
}

/// One schema with the keys of both; those of `reading` win.
pub fn merged_schema(reading: &Schema, writing: &Schema) -> Schema {
    let mut merged = reading.clone();
    for section in ["properties", "$defs"] {
        let Some(more) = writing.get(section).and_then(Value::as_object) else { continue };
        let into = merged.ensure_object().entry(section).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(into) = into {
            more.iter().for_each(|(k, v)| {
                into.entry(k.clone()).or_insert_with(|| v.clone());
            });
        }
    }
    merged
}

/// What writes the files of a sink, from the value of its `format:` key: a name (`"parquet"`), or one key with options (`{"csv": {…}}`).
///
/// # Errors
/// `ErrorKind::Config`: no such format, a format that cannot be written, wrong options.
pub fn writer_from_value(value: &Value) -> Result<Arc<dyn EncoderFactory>> {
    let (name, options) = named(value)?;
    let def = crate::all().into_iter().find(|d| d.name == name).ok_or_else(|| unknown(name))?;
    let writer = def.writer.ok_or_else(|| unknown(name))?;
    writer(options)
}

/// The JSON Schema of what [`writer_from_value`] takes.
pub fn writer_schema() -> Schema {
    let formats: Vec<_> = crate::all().into_iter().filter(|d| d.writer.is_some()).collect();
    let names: Vec<Value> = formats.iter().map(|d| d.name.into()).collect();
    let mut forms = vec![serde_json::json!({ "type": "string", "enum": names })];
    for (name, schema) in writer_schemas() {
        let mut one = Map::new();
        one.insert(name.into(), schema.to_value());
        forms.push(serde_json::json!({ "type": "object", "properties": one, "required": [name], "additionalProperties": false }));
    }
    let mut schema = Schema::default();
    schema.insert("description".into(), "The format: a name, or a name with options, as in `{ csv: { delimiter: \";\" } }`.".into());
    schema.insert("oneOf".into(), Value::Array(forms));
    schema
}

/// The options of each format that can be written, with every definition in place (no `$defs`).
fn writer_schemas() -> Vec<(&'static str, Schema)> {
    fn of<T: schemars::JsonSchema>() -> Schema {
        let mut settings = schemars::generate::SchemaSettings::draft2020_12();
        settings.inline_subschemas = true;
        settings.meta_schema = None;
        settings.into_generator().into_root_schema_for::<T>()
    }
    vec![
        ("avro", of::<crate::avro::config::AvroWrite>()),
        ("csv", of::<crate::csv::config::CsvWrite>()),
        ("json", of::<crate::json::config::JsonWrite>()),
        ("parquet", of::<crate::parquet::config::ParquetWrite>()),
        ("raw", of::<crate::raw::RawWrite>()),
    ]
}

/// Mistakes in what [`writer_from_value`] is to take: paths of keys and sentences. Empty = it will be taken.
pub fn validate_writer(value: &Value) -> Vec<sluis_core::registry::Problem> {
    match writer_from_value(value) {
        Ok(_) => Vec::new(),
        Err(e) => {
            let at = named(value).ok().filter(|_| value.is_object()).map(|(name, _)| vec![name.to_owned()]).unwrap_or_default();
            vec![sluis_core::registry::Problem { at, message: e.message().to_owned(), hint: e.hint_text().map(str::to_owned) }]
        }
    }
}

fn named(value: &Value) -> Result<(&str, &Value)> {
    const NOTHING: &Value = &Value::Null;
    match value {
        Value::String(name) => Ok((name, NOTHING)),
        Value::Object(map) if map.len() == 1 => map.iter().next().map(|(k, v)| (k.as_str(), v)).ok_or_else(|| unknown("")),
        _ => Err(Error::config("`format` is a name, as in `parquet`, or one name with options, as in `{ csv: { delimiter: \";\" } }`")),
    }
}

fn unknown(name: &str) -> Error {
    let known: Vec<&str> = crate::all().into_iter().filter(|d| d.writer.is_some()).map(|d| d.name).collect();
    Error::config(format!("`{name}` is no format that can be written: one of {}", known.join(", ")))
}
