//! Parts of a pipeline that are right by themselves and do not go together.
//!
//! Deliberately not here: what a part finds in its own settings. No network, no data.

use arrow_schema::DataType;
use serde_json::Value;
use sluis_config::{Diagnostic, Pipeline, Target};

use crate::statements::known_columns;

/// Every such mistake.
pub fn problems(pipeline: &Pipeline) -> Vec<Diagnostic> {
    let raw = pipeline.targets.iter().filter(|t| writes_raw(t)).filter_map(|t| not_one_column(pipeline, t));
    let rejects = pipeline.rejects.iter().filter(|t| writes_raw(t)).map(|t| {
        let d = Diagnostic::error("raw-rejects", "rejects have several columns (file, line, reason …): `raw` cannot write them");
        d.at(&t.span).help("choose another format, as in `format: parquet`").docs("docs/reference/pipeline.md#rejects")
    });
    raw.chain(rejects).collect()
}

fn writes_raw(target: &Target) -> bool {
    let format = &target.config["format"];
    format.as_str() == Some("raw") || format.get("raw").is_some()
}

/// `raw` writes the bytes of one column; decoded rows have more unless a `select` takes one.
fn not_one_column(pipeline: &Pipeline, target: &Target) -> Option<Diagnostic> {
    let format = pipeline.format.as_ref()?;
    if format.def.name == "raw" || !pipeline.selects.is_empty() {
        return None;
    }
    let (columns, complete) = known_columns(pipeline);
    let kept =
        |name: &str| !target.config["partition_by"].as_array().into_iter().flatten().filter_map(Value::as_str).any(|p| p == name) && name != "_file";
    let mut content = columns.fields().iter().filter(|f| kept(f.name()));
    if let (true, Some(only), None) = (complete, content.next(), content.next())
        && matches!(only.data_type(), DataType::Utf8 | DataType::Binary)
    {
        return None;
    }
    let message =
        format!("`{}` writes files with `raw`, the bytes of one column, but rows of `{}` have columns of their own", target.name, format.def.name);
    let help = "to keep the files as they are, make a pipeline of its own with `raw: {}` under `from`; or take one column of text with `select`";
    let d = Diagnostic::error("raw-and-decoded", message).at(&target.span).label("takes one column").also(&format.span, "decodes rows");
    Some(d.help(help).docs("docs/reference/target-files.md#format"))
}

#[cfg(test)]
mod tests {
    fn codes(from: &str, rest: &str) -> Vec<&'static str> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.yaml");
        std::fs::write(&file, format!("from:\n  files: {{ url: in/ }}\n  {from}\n{rest}\n")).unwrap();
        let loaded = sluis_config::load_project(&file, &sluis_connectors::registry(), &sluis_config::Options::default());
        assert!(loaded.is_valid(), "{}", sluis_config::render(&loaded.diagnostics, false));
        super::problems(&loaded.pipelines[0]).iter().map(|d| d.code).collect()
    }

    #[test]
    fn raw_files_take_one_column() {
        const RAW: &str = "into: { files: { url: out/, format: raw } }";
        assert_eq!(codes("raw: {}", RAW), [""; 0]);
        assert_eq!(codes("csv: {}", RAW), ["raw-and-decoded"]);
        assert_eq!(
            codes("csv: {}", "into:\n  - files: { url: out/, format: { raw: { extension: x } } }\n  - table: { name: t }"),
            ["raw-and-decoded"]
        );
        assert_eq!(codes("json: {}", &format!("select: select body from input\n{RAW}")), [""; 0]);
        assert_eq!(codes("csv: { header: 0, columns: { line: string } }", RAW), [""; 0]);
        assert_eq!(codes("csv: { header: 0, columns: { line: int } }", RAW), ["raw-and-decoded"]);
        assert_eq!(codes("raw: {}", "into: { table: { name: t } }\nrejects: { files: { url: bad/, format: raw } }"), ["raw-rejects"]);
    }
}
