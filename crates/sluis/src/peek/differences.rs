//! How the columns of files differ: those that some lack, types that are not the same, another order. Pure.

use arrow_schema::SchemaRef;
use serde_json::{Value, json};
use sluis_core::columns::type_name;

/// One file's columns: as inferred from it alone, and the names it really has, in its order.
pub struct Columns<'a> {
    pub file: &'a str,
    pub schema: &'a SchemaRef,
    pub names: &'a [String],
}

/// One difference.
#[derive(Debug, PartialEq, Eq)]
pub enum Difference {
    /// A column, and the files that do not have it.
    Missing { column: String, files: Vec<String>, of: usize },
    /// A column, and its type in each file, by type.
    Types { column: String, types: Vec<(String, Vec<String>)> },
    /// Files that have their columns in another order than the first.
    Order { files: Vec<String> },
}

/// All of them; `schema` has the columns of all the files.
pub fn differences(files: &[Columns<'_>], schema: &SchemaRef) -> Vec<Difference> {
    let mut out = Vec::new();
    let have = |file: &Columns<'_>, name: &str| file.names.iter().any(|n| n == name);
    for field in schema.fields() {
        let lacking: Vec<String> = files.iter().filter(|f| !have(f, field.name())).map(|f| f.file.to_owned()).collect();
        if !lacking.is_empty() && lacking.len() < files.len() {
            out.push(Difference::Missing { column: field.name().clone(), files: lacking, of: files.len() });
        }
        let mut types: Vec<(String, Vec<String>)> = Vec::new();
        for file in files.iter().filter(|f| have(f, field.name())) {
            let Ok(own) = file.schema.field_with_name(field.name()) else { continue };
            let name = type_name(own.data_type());
            match types.iter_mut().find(|(t, _)| *t == name) {
                Some((_, files)) => files.push(file.file.to_owned()),
                None => types.push((name, vec![file.file.to_owned()])),
            }
        }
        if types.len() > 1 {
            out.push(Difference::Types { column: field.name().clone(), types });
        }
    }
    if let Some((first, others)) = files.split_first() {
        let moved: Vec<String> = others.iter().filter(|f| moved(first.names, f.names)).map(|f| f.file.to_owned()).collect();
        if !moved.is_empty() {
            out.push(Difference::Order { files: moved });
        }
    }
    out
}

/// Whether what both have stands in another order.
fn moved(first: &[String], other: &[String]) -> bool {
    let place = |name: &String| first.iter().position(|n| n == name);
    !other.iter().filter_map(place).is_sorted()
}

/// Names of files, a few of them.
fn some(files: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = files.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if files.len() > SHOWN { format!("{shown} and {} more", files.len() - SHOWN) } else { shown }
}

impl Difference {
    /// One sentence. `read_as`: the type of the column over all files.
    pub fn text(&self, schema: &SchemaRef) -> String {
        match self {
            Difference::Missing { column, files, of } => format!("`{column}` is not in {} of {of} files: {}", files.len(), some(files)),
            Difference::Types { column, types } => {
                let each = types.iter().map(|(t, files)| format!("{t} in {}", some(files))).collect::<Vec<_>>().join("; ");
                let read_as = schema.field_with_name(column).map_or(String::new(), |f| format!("; read as {}", type_name(f.data_type())));
                format!("`{column}` is {each}{read_as}")
            }
            Difference::Order { files } => format!("columns stand in another order than in the first file: {}", some(files)),
        }
    }

    pub fn to_json(&self) -> Value {
        match self {
            Difference::Missing { column, files, .. } => json!({ "kind": "missing", "column": column, "files": files }),
            Difference::Types { column, types } => {
                let types: serde_json::Map<String, Value> = types.iter().map(|(t, files)| (t.clone(), json!(files))).collect();
                json!({ "kind": "types", "column": column, "types": types })
            }
            Difference::Order { files } => json!({ "kind": "order", "files": files }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::{DataType, Field, Schema};

    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
        Arc::new(Schema::new(columns.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>()))
    }

    #[test]
    fn what_comes_goes_changes_and_moves_is_told() {
        use DataType::{Int64, Utf8};
        let (a, b) = (schema(&[("x", Int64), ("y", Utf8)]), schema(&[("y", Utf8), ("x", Utf8), ("z", Int64)]));
        let names = |s: &SchemaRef| s.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
        let (of_a, of_b) = (names(&a), names(&b));
        let files = [Columns { file: "a", schema: &a, names: &of_a }, Columns { file: "b", schema: &b, names: &of_b }];
        let all = schema(&[("x", Utf8), ("y", Utf8), ("z", Int64)]);
        let found: Vec<String> = differences(&files, &all).iter().map(|d| d.text(&all)).collect();
        assert_eq!(
            found,
            [
                "`x` is bigint in a; string in b; read as string",
                "`z` is not in 1 of 2 files: a",
                "columns stand in another order than in the first file: b"
            ]
        );
        assert_eq!(differences(&files[..1], &a), []);
    }
}
