//! What was found, for people and for scripts.

use std::path::Path;

use arrow_schema::DataType;
use serde_json::{Value, json};
use sluis_core::Result;
use sluis_core::columns::{schema_to_json, type_name};

use super::{HEAD, Look, yaml};
use crate::drawn::{Drawn, text_rows};
use crate::session::shown;
use crate::{faults, print};

/// Characters of a cell, at most.
const CELL: usize = 40;
/// Columns of the table of rows, at most.
const COLUMNS: usize = 30;

/// The whole, for people. `dir`: the folder of the project that the YAML would stand in.
///
/// # Errors
/// A type that cannot be shown.
pub fn text(look: &Look, dir: &Path) -> Result<String> {
    let mut out = scope(look);
    look.notes.iter().for_each(|n| out.push_str(&format!("note: {n}\n")));
    out.push_str(&kind(look));
    out.push_str(&columns(look));
    out.push_str(&first_rows(look)?);
    out.push_str(&rejects(look));
    let differences = look.differences();
    if !differences.is_empty() {
        out.push_str("\ndifferences between the files\n");
        differences.iter().for_each(|d| out.push_str(&format!("  {}\n", d.text(&look.schema))));
    }
    let damaged = look.files.iter().filter_map(|f| Some((f, f.damage.as_ref()?)));
    damaged.for_each(|(f, why)| out.push_str(&format!("\n{} is damaged: {why}\n", shown(Path::new(&f.path)))));
    out.push_str(&format!("\nfor a pipeline\n\n{}", look.yaml(dir)?));
    Ok(out)
}

fn scope(look: &Look) -> String {
    let url = look.from["url"].as_str().unwrap_or_default();
    let (rows, _) = look.rows();
    let sizes = look.files.iter().fold((0, 0), |(seen, size), f| (seen + f.seen, size + f.size));
    let more = if look.more { "more than " } else { "" };
    let all = look.files.len() as u64 == look.found && !look.more;
    let files = match (all, look.found) {
        (true, 1) => String::new(),
        (true, n) => format!("{}, ", print::counted(n, "file")),
        (false, n) => format!("{} of {more}{}, ", look.files.len(), print::counted(n, "file")),
    };
    let bytes = if look.files.iter().all(|f| f.whole) {
        format!("{}, all of it", print::bytes(sizes.1))
    } else {
        format!("{} of {}, no more than the first {} of each", print::bytes(sizes.0), print::bytes(sizes.1), print::bytes(HEAD as u64))
    };
    format!("{url}: looked at {files}{bytes}: {}\n", print::counted(rows, "row"))
}

fn percent(part: f64) -> String {
    format!("{:.0}%", (part * 100.0).clamp(0.0, 100.0))
}

fn kind(look: &Look) -> String {
    let mut out = format!("\nformat {}, {} sure", look.def.name, percent(look.sniffed.confidence));
    if let Some((name, sure)) = look.others.first() {
        out.push_str(&format!(" ({name}: {})", percent(*sure)));
    }
    out.push('\n');
    let options: Vec<(&String, &Value)> = look.sniffed.options.as_object().into_iter().flatten().filter(|(name, _)| *name != "columns").collect();
    if options.is_empty() {
        out.push_str("  read with its default settings\n");
    }
    options.iter().for_each(|(name, value)| out.push_str(&format!("  {name}: {}\n", yaml::flow(value))));
    look.sniffed.notes.iter().for_each(|n| out.push_str(&format!("  {n}\n")));
    out
}

fn columns(look: &Look) -> String {
    let (rows, rejected) = look.rows();
    let good = rows - rejected;
    let empty = |i: usize| match look.nulls.get(i) {
        Some(n) if good > 0 && *n == good => "always empty".to_owned(),
        Some(n) if *n > 0 && good > 0 => format!("{} empty", percent((*n as f64 / good as f64).max(0.01))),
        _ => String::new(),
    };
    let offered: std::collections::HashMap<&str, &str> = look.offered().map(|(column, _, name)| (column, name)).collect();
    let of_type = |f: &arrow_schema::Field| offered.get(f.name().as_str()).map_or_else(|| type_name(f.data_type()), |t| (*t).to_owned());
    let mut lines: Vec<Vec<String>> = look.schema.fields().iter().enumerate().map(|(i, f)| vec![f.name().clone(), of_type(f), empty(i)]).collect();
    let named = look.constants.fields().iter().map(|f| vec![f.name().clone(), type_name(f.data_type()), "from the file's name".into()]);
    lines.extend(named);
    let mut out = format!("\n{}\n", print::counted(lines.len() as u64, "column"));
    lines.iter_mut().for_each(|l| l[0] = print::short(&l[0], CELL));
    let grid = print::grid(&["", "", ""], &lines, &[]);
    grid.lines().skip(1).for_each(|l| out.push_str(&format!("  {l}\n")));
    let mut said = look.almost_texts();
    said.extend(look.offered().filter_map(|(column, compact, _)| compact.text(column)));
    if !said.is_empty() {
        out.push('\n');
        said.iter().for_each(|text| out.push_str(&format!("  {text}\n")));
    }
    out
}

fn first_rows(look: &Look) -> Result<String> {
    let shown: usize = look.first.iter().map(arrow_array::RecordBatch::num_rows).sum();
    // Bytes are no text to show.
    let binary = look.schema.fields().iter().all(|f| matches!(f.data_type(), DataType::Binary));
    if shown == 0 || binary {
        return Ok(String::new());
    }
    let columns: Vec<usize> = (0..look.schema.fields().len().min(COLUMNS)).collect();
    let cut = |e| sluis_core::Error::internal("columns cannot be chosen").source(e);
    let mut table = Drawn::new(&std::sync::Arc::new(look.schema.project(&columns).map_err(cut)?), Some(CELL));
    for batch in &look.first {
        table.add(&batch.project(&columns).map_err(cut)?)?;
    }
    let left = look.schema.fields().len() - columns.len();
    let more = if left > 0 { format!(" ({} more)", print::counted(left as u64, "column")) } else { String::new() };
    Ok(format!("\nfirst {}{more}\n{}\n", print::counted(shown as u64, "row"), table.text()))
}

fn rejects(look: &Look) -> String {
    let (rows, rejected) = look.rows();
    if rejected == 0 {
        return String::new();
    }
    let mut out = format!("\n{} of {} would be rejected\n", print::count(rejected), print::counted(rows, "row"));
    for would in &look.rejects {
        let r = &would.reject;
        let column = r.column.as_ref().map_or(String::new(), |c| format!(" in `{c}`"));
        let message = format!("{}{column}: {}", r.reason.code(), r.message);
        out.push_str(&faults::told(&would.file, r.line, &message, &r.raw, would.at.clone()));
    }
    let mut pages: Vec<String> = look.rejects.iter().map(|w| w.reject.reason.docs()).collect();
    pages.sort();
    pages.dedup();
    if rejected > look.rejects.len() as u64 {
        out.push_str(&format!("    and {}\n", print::counted(rejected - look.rejects.len() as u64, "other")));
    }
    pages.iter().for_each(|p| out.push_str(&format!("  = docs: {p}\n")));
    out
}

/// The whole, for scripts.
///
/// # Errors
/// A type that cannot be written.
pub fn json(look: &Look, dir: &Path) -> Result<Value> {
    let (rows, rejected) = look.rows();
    let files: Vec<Value> = look
        .files
        .iter()
        .map(|f| {
            json!({
                "path": f.path, "size": f.size, "looked_at": f.seen, "whole": f.whole, "rows": f.rows, "rejected": f.rejected,
                "damage": f.damage, "columns": f.names,
            })
        })
        .collect();
    let mut columns = schema_to_json(&look.schema);
    for (column, nulls) in columns.as_array_mut().into_iter().flatten().zip(&look.nulls) {
        column["nulls"] = (*nulls).into();
    }
    let mut first = Vec::new();
    for batch in &look.first {
        for row in text_rows(batch)? {
            let names = look.schema.fields().iter().map(|f| f.name().clone());
            first.push(Value::Object(names.zip(row.into_iter().map(Value::from)).collect()));
        }
    }
    let rejects: Vec<Value> = look
        .rejects
        .iter()
        .map(|w| {
            json!({
                "file": w.file, "line": w.reject.line, "column": w.reject.column.as_deref(), "reason": w.reject.reason.code(), "message": w.reject.message,
                "raw": String::from_utf8_lossy(&w.reject.raw), "at": w.at.as_ref().map(|r| [r.start, r.end]),
            })
        })
        .collect();
    Ok(json!({
        "from": look.from, "format": look.def.name, "options": look.sniffed.options, "confidence": look.sniffed.confidence,
        "found_out": look.sniffed.notes, "others": look.others.iter().map(|(name, sure)| json!({ "format": name, "confidence": sure })).collect::<Vec<_>>(),
        "files_found": look.found, "more_files": look.more, "notes": look.notes, "files": files, "columns": columns,
        "almost": look.schema.fields().iter().zip(&look.almost).filter_map(|(f, a)| a.to_json(f.name())).collect::<Vec<_>>(),
        "offered": look.offered().filter_map(|(column, compact, _)| compact.to_json(column)).collect::<Vec<_>>(),
        "constants": schema_to_json(&look.constants), "rows": rows, "rejected": rejected, "first_rows": first, "rejects": rejects,
        "differences": look.differences().iter().map(super::differences::Difference::to_json).collect::<Vec<_>>(), "yaml": look.yaml(dir)?,
    }))
}
