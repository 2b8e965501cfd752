//! DataFusion's errors in plain words.

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use sluis_core::{Error, ErrorKind};

/// The cause in one line, without prefixes of layers, types as pipelines write them.
pub(crate) fn text(e: &DataFusionError) -> String {
    let raw = match e {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => return text(inner),
        DataFusionError::Shared(inner) => return text(inner),
        DataFusionError::Collection(all) => return all.first().map(text).unwrap_or_default(),
        DataFusionError::ArrowError(e, _) => return arrow_text(e),
        DataFusionError::External(e) => match e.downcast_ref::<DataFusionError>() {
            Some(inner) => return text(inner),
            None => e.downcast_ref::<Error>().map_or_else(|| e.to_string(), |e| e.message().to_owned()),
        },
        DataFusionError::SchemaError(e, _) => match e.as_ref() {
            SchemaError::FieldNotFound { field, .. } => format!("unknown column `{}`", field.name),
            SchemaError::AmbiguousReference { field } => format!("`{}` is in several tables", field.name),
            SchemaError::DuplicateUnqualifiedField { name } | SchemaError::DuplicateQualifiedField { name, .. } => {
                format!("two columns are called `{name}`")
            }
        },
        DataFusionError::NotImplemented(t) if t.contains("InSubquery") || t.contains("Exists(") => {
            return "a subquery with IN or EXISTS can be used in WHERE, not in the select list (a LEFT JOIN can be)".into();
        }
        DataFusionError::NotImplemented(t) => format!("not supported: {t}"),
        DataFusionError::Plan(t)
        | DataFusionError::Configuration(t)
        | DataFusionError::Execution(t)
        | DataFusionError::Internal(t)
        | DataFusionError::ResourcesExhausted(t) => t.clone(),
        other => other.to_string(),
    };
    readable(&raw)
}

fn arrow_text(e: &ArrowError) -> String {
    match e {
        ArrowError::DivideByZero => "division by zero".into(),
        ArrowError::ArithmeticOverflow(t) => {
            format!("the result is out of range ({})", readable(t.strip_prefix("Overflow happened on: ").unwrap_or(t)))
        }
        ArrowError::ExternalError(e) => e.downcast_ref::<DataFusionError>().map_or_else(|| e.to_string(), text),
        ArrowError::CastError(t) | ArrowError::ComputeError(t) | ArrowError::InvalidArgumentError(t) | ArrowError::ParseError(t) => readable(t),
        other => readable(&other.to_string()),
    }
}

/// First line only; Arrow's type names become those of pipelines; the first letter is small.
fn readable(raw: &str) -> String {
    let line = raw.lines().find(|l| !l.trim().is_empty()).unwrap_or_default().trim();
    if line.to_lowercase().contains("projections require unique expression names") {
        return "two columns of the select list have the same name: give one another with `as`".into();
    }
    // The planner's trials of each form of a function say nothing to its user.
    if let Some((before, _)) = line.split_once("' failed to match any signature")
        && let Some((_, name)) = before.rsplit_once("Function '")
    {
        return format!("`{name}` does not take arguments of these types");
    }
    let line = ["Error during planning: ", "Internal error: ", "Arrow error: ", "Execution error: ", "External error: "]
        .iter()
        .fold(line, |l, p| l.strip_prefix(p).unwrap_or(l));
    let mut out = String::with_capacity(line.len());
    let mut word = String::new();
    for c in line.chars().chain(['\0']) {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        out.push_str(type_word(&word));
        word.clear();
        if c != '\0' {
            out.push(c);
        }
    }
    let out = out.trim_end_matches(['.', ' ']);
    let mut chars = out.chars();
    let second_is_small = out.chars().nth(1).is_none_or(|c| !c.is_uppercase());
    match chars.next() {
        Some(c) if second_is_small => c.to_lowercase().chain(chars).collect(),
        _ => out.to_owned(),
    }
}

fn type_word(word: &str) -> &str {
    match word {
        "Utf8" | "LargeUtf8" | "Utf8View" => "string",
        "Binary" | "LargeBinary" | "BinaryView" => "binary",
        "Int8" => "tinyint",
        "Int16" => "smallint",
        "Int32" => "int",
        "Int64" => "bigint",
        "Float32" => "float",
        "Float64" => "double",
        "Boolean" => "bool",
        "Date32" => "date",
        "Decimal128" => "decimal",
        other => other,
    }
}

/// An error of ours that travelled through DataFusion.
pub(crate) fn ours(e: DataFusionError) -> Result<Error, DataFusionError> {
    match e {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(error) => Ok(*error),
            Err(inner) => match inner.downcast::<DataFusionError>() {
                Ok(inner) => ours(*inner),
                Err(inner) => Err(DataFusionError::External(inner)),
            },
        },
        DataFusionError::Context(t, inner) => ours(*inner).map_err(|e| DataFusionError::Context(t, Box::new(e))),
        DataFusionError::Diagnostic(d, inner) => ours(*inner).map_err(|e| DataFusionError::Diagnostic(d, Box::new(e))),
        DataFusionError::ArrowError(e, t) => match *e {
            ArrowError::ExternalError(inner) => ours(DataFusionError::External(inner)),
            other => Err(DataFusionError::ArrowError(Box::new(other), t)),
        },
        DataFusionError::Shared(inner) => {
            let mut at: Option<&(dyn std::error::Error + 'static)> = Some(inner.as_ref());
            while let Some(e) = at {
                if let Some(error) = e.downcast_ref::<Error>() {
                    return Ok(copy(error));
                }
                at = e.source();
            }
            Err(DataFusionError::Shared(inner))
        }
        other => Err(other),
    }
}

/// The same error once more: kind, retry, message, contexts, hint, and the causes as text.
pub(crate) fn copy(e: &Error) -> Error {
    let mut out = Error::new(e.kind(), e.message()).retry(e.retry_policy());
    for (k, v) in e.contexts() {
        out = out.context(k, v);
    }
    if let Some(hint) = e.hint_text() {
        out = out.hint(hint);
    }
    match e.causes() {
        causes if causes.is_empty() => out,
        causes => out.source(causes.join(": ")),
    }
}

/// An error while rows are computed: what the data does not allow, or what the machine does not have.
pub(crate) fn run_error(e: DataFusionError, what: impl FnOnce(&str) -> String) -> Error {
    let e = match ours(e) {
        Ok(error) => return error,
        Err(e) => e,
    };
    let root = e.find_root();
    match root {
        DataFusionError::ResourcesExhausted(_) => {
            Error::new(ErrorKind::Capacity, what("it needs more memory or temporary disk space than it may use"))
                .hint("take fewer rows per epoch, select fewer columns before the aggregate or sort, or free space in the temporary folder")
        }
        DataFusionError::IoError(io) => Error::new(ErrorKind::Capacity, what(&format!("a temporary file failed: {io}")))
            .hint("free space in the temporary folder, or set TMPDIR to another"),
        DataFusionError::Internal(t) => Error::internal(what(&readable(t))),
        other => Error::new(ErrorKind::Data, what(&text(other))).hint(DATA_HINT),
    }
}

/// What to do about values that cannot be computed with.
pub(crate) const DATA_HINT: &str = "use `try_cast` or `nullif` where the value may not fit, or a `check` that rejects such rows first";
