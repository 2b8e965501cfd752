//! What was found, as YAML for a pipeline's file.
//!
//! Deliberately not here: reading YAML. Guarantee: what is written is read back as it was meant, whatever names and texts hold.

use arrow_schema::SchemaRef;
use serde_json::Value;
use sluis_core::columns::{parse_type, type_name};

/// A value on one line. What looks like a reference (`${x}`) is written so that it is none.
pub fn flow(value: &Value) -> String {
    in_flow(value, &scalar)
}

/// Likewise; references stay references.
pub fn flow_with_references(value: &Value) -> String {
    in_flow(value, &key)
}

fn in_flow(value: &Value, text: &dyn Fn(&str) -> String) -> String {
    match value {
        Value::String(t) => text(t),
        Value::Array(items) => format!("[{}]", items.iter().map(|v| in_flow(v, text)).collect::<Vec<_>>().join(", ")),
        Value::Object(map) if map.is_empty() => "{}".into(),
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(k, v)| format!("{}: {}", key(k), in_flow(v, text))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

/// A text as a value.
pub fn scalar(text: &str) -> String {
    key(&text.replace("${", "$${"))
}

/// A text as a key (there are no references in keys), in quotes unless it cannot be taken for anything else.
pub fn key(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(plain);
    const OTHERS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if word && !OTHERS.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{2028}' | '\u{2029}' | '\u{feff}' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `from:` with a source's and a format's settings; the columns below the format where it takes them, else as comments.
pub fn from_block(files: &Value, format: &str, options: &Value, takes_columns: bool, columns: &SchemaRef) -> String {
    let mut out = format!("from:\n  files: {}\n", flow(files));
    let given: Vec<(&String, &Value)> = options.as_object().into_iter().flatten().filter(|(name, _)| *name != "columns").collect();
    let typed = options.get("columns").and_then(Value::as_object);
    let writable = takes_columns && options.get("columns").is_none_or(Value::is_object) && !columns.fields().is_empty();
    if given.is_empty() && !writable {
        let columns = options.get("columns").map_or_else(|| "{}".into(), |c| flow(&serde_json::json!({ "columns": c })));
        out.push_str(&format!("  {format}: {columns}\n"));
    } else {
        out.push_str(&format!("  {format}:\n"));
        given.iter().for_each(|(name, value)| out.push_str(&format!("    {name}: {}\n", flow(value))));
        if let (Some(columns), false) = (options.get("columns"), writable) {
            out.push_str(&format!("    columns: {}\n", flow(columns)));
        }
    }
    if writable {
        let mut comments = String::new();
        let mut lines = String::new();
        for field in columns.fields() {
            let found = type_name(field.data_type());
            match typed.and_then(|t| t.get(field.name())).and_then(Value::as_str).map_or(found.clone(), str::to_owned) {
                t if parse_type(&t).is_ok() => lines.push_str(&format!("      {}: {}\n", key(field.name()), scalar(&t))),
                _ => comments.push_str(&format!("      # {}: {found}\n", key(field.name()))),
            }
        }
        let braces = if lines.is_empty() { " {}" } else { "" };
        out.push_str(&format!("    columns:{braces}\n{lines}{comments}"));
    } else if !takes_columns {
        columns.fields().iter().for_each(|f| out.push_str(&format!("  # {}: {}\n", key(f.name()), type_name(f.data_type()))));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::{DataType, Field, Schema};
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_quoted_where_they_could_be_taken_for_something_else() {
        for (text, is) in [
            ("a_b-c", "a_b-c"),
            ("in/x.csv", "in/x.csv"),
            ("yes", "\"yes\""),
            ("1", "\"1\""),
            ("", "\"\""),
            ("a: b", "\"a: b\""),
            ("tab\t\"", "\"tab\\t\\\"\""),
            ("${x}", "\"$${x}\""),
            ("*.csv", "\"*.csv\""),
            ("decimal(10,2)", "\"decimal(10,2)\""),
        ] {
            assert_eq!(scalar(text), is);
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let hostile = ["a b", "yes", "${x}", "c: d", "# e", "é\"'\\", "\u{7f}\u{85}\u{2028}", "1", "-", "[x]", "null", ""];
        let fields: Vec<Field> = hostile.iter().map(|n| Field::new(*n, DataType::Int64, true)).collect();
        let text = from_block(
            &json!({ "url": "in/${x}/{a}*" }),
            "csv",
            &json!({ "delimiter": "\t", "nulls": ["", "NA"] }),
            true,
            &Arc::new(Schema::new(fields)),
        );
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.yaml");
        std::fs::write(&file, format!("{text}into: {{ files: {{ url: out/ }} }}\n")).unwrap();
        let loaded = sluis_config::load_project(&file, &sluis_connectors::registry(), &sluis_config::Options::default());
        assert!(loaded.is_valid(), "{text}\n{}", sluis_config::render(&loaded.diagnostics, false));
        let config = &loaded.pipelines[0].format.as_ref().unwrap().config;
        assert_eq!((config["delimiter"].as_str(), &config["nulls"]), (Some("\t"), &json!(["", "NA"])));
        let declared: Vec<&str> = config["columns"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(declared, hostile);
    }

    #[test]
    fn only_what_the_format_takes_is_written() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let files = json!({ "url": "in/" });
        assert_eq!(from_block(&files, "parquet", &json!({}), false, &schema), "from:\n  files: { url: in/ }\n  parquet: {}\n  # a: bigint\n");
        assert_eq!(from_block(&files, "csv", &json!({}), true, &schema), "from:\n  files: { url: in/ }\n  csv:\n    columns:\n      a: bigint\n");
        assert_eq!(
            from_block(&files, "csv", &json!({ "columns": "string" }), true, &schema),
            "from:\n  files: { url: in/ }\n  csv: { columns: string }\n"
        );
    }
}
