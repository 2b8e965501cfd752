//! What a capture `{name:type}` takes: the shape of its text, and the text as a canonical value.

use arrow_schema::DataType;
use sluis_core::columns::{parse_type, type_name};

use super::time::TimePattern;

/// The kind of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Plain(DataType),
    Time(TimePattern),
}

impl Kind {
    /// Reads what stands behind the colon; empty = text.
    pub fn parse(spec: &str) -> Result<Kind, String> {
        let spec = spec.trim();
        if spec.is_empty() {
            return Ok(Kind::Plain(DataType::Utf8));
        }
        if spec.contains('%') && !spec.contains('(') {
            return TimePattern::parse(spec).map(Kind::Time);
        }
        let (t, pattern) = parse_type(spec)?;
        match t {
            DataType::Binary => Err("a part of a name is text, not binary: write `string`".into()),
            DataType::Date32 => TimePattern::of_kind(pattern.as_deref().unwrap_or("%Y-%m-%d"), &t).map(Kind::Time),
            DataType::Timestamp(..) => TimePattern::of_kind(pattern.as_deref().unwrap_or("%Y-%m-%dT%H:%M:%S"), &t).map(Kind::Time),
            t => Ok(Kind::Plain(t)),
        }
    }

    pub fn data_type(&self) -> DataType {
        match self {
            Kind::Plain(t) => t.clone(),
            Kind::Time(p) => p.kind().data_type(),
        }
    }

    /// What its text looks like: a regular expression without groups.
    pub fn regex(&self) -> &str {
        match self {
            Kind::Plain(DataType::Boolean) => "[A-Za-z0-9]+",
            Kind::Plain(DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64) => "[+-]?[0-9]+",
            Kind::Plain(DataType::Float32 | DataType::Float64) => r"[+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?",
            Kind::Plain(DataType::Decimal128(..)) => r"[+-]?[0-9]+(?:\.[0-9]+)?",
            Kind::Plain(_) => TEXT,
            Kind::Time(p) => &p.regex,
        }
    }

    pub fn is_text(&self) -> bool {
        *self == Kind::Plain(DataType::Utf8)
    }

    /// The canonical text of the value; `None`: it is none of this type.
    pub fn value(&self, text: &str) -> Option<String> {
        match self {
            Kind::Time(p) => p.value(text),
            Kind::Plain(t) => match t {
                DataType::Boolean => match text.to_ascii_lowercase().as_str() {
                    "true" | "t" | "yes" | "y" | "1" => Some("true".into()),
                    "false" | "f" | "no" | "n" | "0" => Some("false".into()),
                    _ => None,
                },
                DataType::Int8 => text.parse::<i8>().ok().map(|n| n.to_string()),
                DataType::Int16 => text.parse::<i16>().ok().map(|n| n.to_string()),
                DataType::Int32 => text.parse::<i32>().ok().map(|n| n.to_string()),
                DataType::Int64 => text.parse::<i64>().ok().map(|n| n.to_string()),
                DataType::Float32 => text.parse::<f32>().ok().filter(|n| n.is_finite()).map(|n| n.to_string()),
                DataType::Float64 => text.parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| n.to_string()),
                DataType::Decimal128(precision, scale) => decimal(text, *precision, *scale),
                _ => Some(text.to_owned()),
            },
        }
    }

    /// As a person would write it.
    pub fn name(&self) -> String {
        type_name(&self.data_type())
    }
}

/// A text capture: at least one character of a name, and as few as the rest of the pattern allows.
pub(super) const TEXT: &str = "[^/]+?";

/// The number without needless zeros, if it fits without loss.
fn decimal(text: &str, precision: u8, scale: i8) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let scale = usize::try_from(scale).ok()?;
    if whole.len() > usize::from(precision) - scale || fraction.len() > scale {
        return None;
    }
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_canonical_or_refused() {
        for (spec, text, value) in [
            ("", "a b", Some("a b")),
            ("int", "007", Some("7")),
            ("int", "-3", Some("-3")),
            ("int", "12x", None),
            ("int", "9999999999", None),
            ("bigint", "9999999999", Some("9999999999")),
            ("tinyint", "200", None),
            ("bool", "Yes", Some("true")),
            ("bool", "2", None),
            ("double", "1.50", Some("1.5")),
            ("decimal(5,2)", "012.30", Some("12.3")),
            ("decimal(5,2)", "12.345", None),
            ("decimal(5,2)", "1234.5", None),
            ("decimal(5,2)", "-0.05", Some("-0.05")),
            ("date", "2024-02-29", Some("2024-02-29")),
            ("date", "2023-02-29", None),
            ("date(%d%m%Y)", "29022024", Some("2024-02-29")),
            ("timestamp(%Y%m%d)", "20240229", Some("2024-02-29T00:00:00Z")),
            ("timestamptz(%Y%m%d%H%M)", "202402291230", Some("2024-02-29T12:30:00Z")),
        ] {
            assert_eq!(Kind::parse(spec).unwrap().value(text).as_deref(), value, "{spec} {text}");
        }
        for bad in ["binary", "integr", "date(%H)", "date(%Y%m%d%H)", "timestamp(%s)", "decimal(99)"] {
            assert!(Kind::parse(bad).is_err(), "{bad}");
        }
    }
}
