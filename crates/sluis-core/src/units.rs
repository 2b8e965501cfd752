//! Durations and sizes with their units, as they are written in configuration: `10s`, `1h 30m`, `256MiB`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration as people write it: `500ms`, `10s`, `5m`, `2h`, `1d`, or several: `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// A number of bytes as people write it: `512`, `64KiB`, `256MiB`, `1GiB`, `10MB` (decimal).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromStr for HumanDuration {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a duration: write a number and a unit, as in `500ms`, `10s`, `5m`, `2h`, `1d` or `1h 30m`");
        let mut rest = text.trim();
        let mut total = 0_f64;
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
            let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = rest[digits..].trim_start();
            let unit_len = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
            total += number
                * match &rest[..unit_len] {
                    "ms" => 0.001,
                    "s" | "sec" | "second" | "seconds" => 1.0,
                    "m" | "min" | "minute" | "minutes" => 60.0,
                    "h" | "hour" | "hours" => 3600.0,
                    "d" | "day" | "days" => 86_400.0,
                    _ => return Err(wrong()),
                };
            rest = rest[unit_len..].trim_start();
        }
        Duration::try_from_secs_f64(total).map(HumanDuration).map_err(|_| wrong())
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, millis) = (self.0.as_secs(), self.0.subsec_millis());
        if secs == 0 {
            return write!(f, "{millis}ms");
        }
        let parts = [(secs / 86_400, "d"), (secs / 3600 % 24, "h"), (secs / 60 % 60, "m"), (secs % 60, "s")];
        let mut first = true;
        for (n, unit) in parts.into_iter().filter(|(n, _)| *n > 0) {
            write!(f, "{}{n}{unit}", if first { "" } else { " " })?;
            first = false;
        }
        if millis > 0 { write!(f, " {millis}ms") } else { Ok(()) }
    }
}

impl FromStr for ByteSize {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a size: write a number and a unit, as in `512`, `64KiB`, `256MiB`, `1GiB` or `10MB`");
        let t = text.trim();
        let digits = t.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(t.len());
        let number: f64 = t[..digits].parse().map_err(|_| wrong())?;
        let unit = match t[digits..].trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "k" | "kib" => 1024.0,
            "kb" => 1e3,
            "m" | "mib" => 1_048_576.0,
            "mb" => 1e6,
            "g" | "gib" => 1_073_741_824.0,
            "gb" => 1e9,
            "t" | "tib" => 1_099_511_627_776.0,
            "tb" => 1e12,
            _ => return Err(wrong()),
        };
        let bytes = number * unit;
        if bytes.is_finite() && bytes < 1.8e19 { Ok(ByteSize(bytes as u64)) } else { Err(wrong()) }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut n = self.0 as f64;
        let mut unit = 0;
        while n >= 1024.0 && unit + 1 < UNITS.len() {
            n /= 1024.0;
            unit += 1;
        }
        if n.fract() < 0.05 || unit == 0 { write!(f, "{n:.0} {}", UNITS[unit]) } else { write!(f, "{n:.1} {}", UNITS[unit]) }
    }
}

macro_rules! text_form {
    ($t:ident, $format:literal, $pattern:literal, $doc:literal) => {
        impl Serialize for $t {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $t {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(untagged)]
                enum Form {
                    Text(String),
                    Number(u64),
                }
                let text = match Form::deserialize(d)? {
                    Form::Text(t) => t,
                    Form::Number(n) => n.to_string(),
                };
                text.parse().map_err(serde::de::Error::custom)
            }
        }
        /// In JSON Schema: `type: [string, integer]` with `format`; the configuration's validator checks formats by name.
        impl JsonSchema for $t {
            fn schema_name() -> Cow<'static, str> {
                stringify!($t).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": ["string", "integer"], "format": $format, "pattern": $pattern, "description": $doc })
            }
        }
    };
}
text_form!(
    HumanDuration,
    "sluis-duration",
    r"^\s*([0-9.]+\s*(ms|s|m|h|d|sec|seconds?|min|minutes?|hours?|days?)\s*)+$",
    "A duration: 500ms, 10s, 5m, 2h, 1d."
);
text_form!(ByteSize, "sluis-size", r"^\s*[0-9.]+\s*([kKmMgGtT]?(i?[bB])?)?\s*$", "A size: 512, 64KiB, 256MiB, 1GiB.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_written() {
        for (text, millis) in [("500ms", 500), ("10s", 10_000), ("1h 30m", 5_400_000), ("1.5s", 1500), ("2d", 172_800_000)] {
            assert_eq!(text.parse::<HumanDuration>().unwrap().0.as_millis(), millis, "{text}");
        }
        for text in ["", "10", "s", "5x", "-1s", "1e99d"] {
            assert!(text.parse::<HumanDuration>().is_err(), "{text}");
        }
        assert_eq!("90m".parse::<HumanDuration>().unwrap().to_string(), "1h 30m");
    }

    #[test]
    fn sizes_read_as_written() {
        for (text, bytes) in [("512", 512), ("64KiB", 65_536), ("1 MiB", 1 << 20), ("10MB", 10_000_000), ("1.5GiB", 1_610_612_736)] {
            assert_eq!(text.parse::<ByteSize>().unwrap().0, bytes, "{text}");
        }
        for text in ["", "MiB", "5x", "-1"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        assert_eq!(ByteSize(1_610_612_736).to_string(), "1.5 GiB");
    }
}
