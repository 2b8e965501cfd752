//! Any other YAML file of a project (its tests), read with the same care as pipelines: against a JSON Schema, every mistake at its place.
//!
//! Deliberately not here: variables, secrets, what the values mean.

use std::path::Path;

use serde_json::Value;

use crate::diagnostic::{Diagnostic, has_errors};
use crate::read::read;
use crate::schema::{Conform, Place};

/// The file as JSON, if it is there, is YAML, and conforms to `schema` (JSON Schema; definitions in its `$defs`); and what is wrong with it.
/// An empty file is `null`.
pub fn read_document(path: &Path, schema: &Value) -> (Option<Value>, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let Some(node) = read(path, &mut diagnostics).and_then(|file| crate::yaml::parse(&file, &mut diagnostics)) else {
        return (None, diagnostics);
    };
    let mut walk = Conform::new(schema);
    let value = walk.walk(&node, schema, &Place::root());
    diagnostics.append(&mut walk.found);
    let good = !has_errors(&diagnostics);
    (good.then_some(value), diagnostics)
}
