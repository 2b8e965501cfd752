//! What type a column of text has, judged by its values; conservative.
//!
//! A number with a leading zero or a plus sign is text (it is a code, and the zero matters), and so is every mixture that one type cannot
//! hold exactly. Deliberately not here: sampling, names. Guarantees: every value that was seen parses as the type that is guessed.

use arrow_schema::{DataType, TimeUnit};
use sluis_core::columns::widen;

use super::numbers::int64;
use super::time::{self, Offset};

/// What the values of a column have been so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Bool,
    /// Within 64 bits; whether one is beyond 2^53, where floating point has gaps.
    Int {
        large: bool,
    },
    /// Up to 38 digits.
    Big,
    Double,
    Date,
    Timestamp,
    TimestampTz,
    Text,
}

/// A guess in the making.
#[derive(Debug, Clone, Copy, Default)]
pub struct Guess(Option<Class>);

impl Guess {
    /// Takes a value that is not null, without quotes.
    pub fn observe(&mut self, raw: &[u8], point: u8) {
        if self.0 == Some(Class::Text) {
            return;
        }
        let new = classify(raw, point);
        self.0 = Some(self.0.map_or(new, |old| join(old, new)));
    }

    /// The type; `None` if no value was seen.
    pub fn data_type(&self) -> Option<DataType> {
        Some(match self.0? {
            Class::Bool => DataType::Boolean,
            Class::Int { .. } => DataType::Int64,
            Class::Big => DataType::Decimal128(38, 0),
            Class::Double => DataType::Float64,
            Class::Date => DataType::Date32,
            Class::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Class::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Class::Text => DataType::Utf8,
        })
    }
}

/// The narrowest type that holds what `have` holds, and this text, which is no value of it.
pub fn fitting(have: &DataType, raw: &[u8], point: u8) -> DataType {
    let mut guess = Guess::default();
    guess.observe(raw.trim_ascii(), point);
    match (have, guess.data_type()) {
        (_, None) => have.clone(),
        // A whole number that floating point has no place for.
        (DataType::Float32 | DataType::Float64, Some(DataType::Int64 | DataType::Decimal128(..))) => DataType::Utf8,
        (_, Some(new)) => widen(have, &new),
    }
}

/// Whether a text is a whole number that a `double` cannot hold exactly.
#[inline]
pub fn beyond_double(raw: &[u8]) -> bool {
    raw.len() > 15 && super::numbers::is_integer(raw) && int64(raw).is_none_or(|v| v.unsigned_abs() > 1 << 53)
}

fn join(a: Class, b: Class) -> Class {
    use Class::{Big, Date, Double, Int, Text, Timestamp};
    match (a, b) {
        (Int { large: x }, Int { large: y }) => Int { large: x || y },
        (a, b) if a == b => a,
        (Int { .. }, Big) | (Big, Int { .. }) => Big,
        (Int { large: false }, Double) | (Double, Int { large: false }) => Double,
        (Date, Timestamp) | (Timestamp, Date) => Timestamp,
        _ => Text,
    }
}

fn classify(raw: &[u8], point: u8) -> Class {
    let Some(&first) = raw.first() else { return Class::Text };
    if first == b'-' || first.is_ascii_digit() || first == point {
        if let Some(class) = number(raw, point) {
            return class;
        }
        if raw.len() >= 10 && time::date(raw).is_some() {
            return Class::Date;
        }
        return match time::timestamp(raw) {
            Some((_, Offset::Absent)) => Class::Timestamp,
            Some((_, Offset::Given(_))) => Class::TimestampTz,
            None => Class::Text,
        };
    }
    if raw.eq_ignore_ascii_case(b"true") || raw.eq_ignore_ascii_case(b"false") { Class::Bool } else { Class::Text }
}

/// `-?(0|[1-9][0-9]*)` with an optional fraction and exponent.
fn number(raw: &[u8], point: u8) -> Option<Class> {
    let digits = raw.strip_prefix(b"-").unwrap_or(raw);
    let whole = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if whole > 1 && digits[0] == b'0' {
        return None;
    }
    let rest = &digits[whole..];
    if rest.is_empty() {
        return if whole == 0 {
            None
        } else {
            match int64(raw) {
                Some(v) => Some(Class::Int { large: v.unsigned_abs() > 1 << 53 }),
                None => (whole <= 38).then_some(Class::Big),
            }
        };
    }
    let (fraction, rest) = match rest.split_first() {
        Some((b, rest)) if *b == point => rest.split_at(rest.iter().take_while(|b| b.is_ascii_digit()).count()),
        _ => (&[][..], rest),
    };
    if whole + fraction.len() == 0 {
        return None;
    }
    // More digits than floating point tells apart: leave the text as it is.
    let significant = digits[..whole].iter().chain(fraction).skip_while(|b| **b == b'0').count();
    if significant > 17 {
        return None;
    }
    let exponent = match rest {
        [] => return Some(Class::Double),
        [b'e' | b'E', b'+' | b'-', digits @ ..] | [b'e' | b'E', digits @ ..] => digits,
        _ => return None,
    };
    let fits = !exponent.is_empty() && exponent.len() <= 3 && exponent.iter().all(u8::is_ascii_digit);
    (fits && super::numbers::float64(raw, point).is_some_and(f64::is_finite)).then_some(Class::Double)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(values: &[&str]) -> String {
        let mut g = Guess::default();
        values.iter().for_each(|v| g.observe(v.as_bytes(), b'.'));
        g.data_type().map_or("nothing".into(), |t| sluis_core::columns::type_name(&t))
    }

    #[test]
    fn types_widen_for_a_text_that_does_not_fit() {
        let t = |name: &str| sluis_core::columns::parse_type(name).unwrap().0;
        for (have, text, want) in [
            ("int", "3000000000", "bigint"),
            ("bigint", "99999999999999999999", "decimal(38,0)"),
            ("bigint", "2.5", "double"),
            ("bigint", "n/a", "string"),
            ("bigint", "007x", "string"),
            ("double", "9007199254740993", "string"),
            ("double", "x", "string"),
            ("date", "2024-02-29 10:00:00", "timestamp"),
            ("date", "29.02.2024", "string"),
            ("bool", "2", "string"),
            ("timestamp", "2024-02-29T10:00:00Z", "string"),
        ] {
            assert_eq!(fitting(&t(have), text.as_bytes(), b'.'), t(want), "{text} in a column of {have}");
        }
        assert!(beyond_double(b"9007199254740993") && beyond_double(b"-99999999999999999999"));
        assert!(!beyond_double(b"9007199254740992") && !beyond_double(b"0.30000000000000004") && !beyond_double(b"123"));
    }

    #[test]
    fn guesses_are_conservative() {
        for (values, want) in [
            (&["1", "-5", "0"][..], "bigint"),
            (&["1", "2.5"], "double"),
            (&["1e3", "-1.5E-2"], "double"),
            (&["007"], "string"),
            (&["1", "+5"], "string"),
            (&["-01.5"], "string"),
            (&["9223372036854775808"], "decimal(38,0)"),
            (&["1", "99999999999999999999"], "decimal(38,0)"),
            (&["9007199254740993", "0.5"], "string"),
            (&["0.5", "99999999999999999999"], "string"),
            (&["3.14159265358979323846"], "string"),
            (&["0.30000000000000004"], "double"),
            (&["true", "FALSE"], "bool"),
            (&["yes"], "string"),
            (&["true", "1"], "string"),
            (&["2024-02-29"], "date"),
            (&["2024-02-30"], "string"),
            (&["2024-02-29", "2024-02-29 10:00"], "timestamp"),
            (&["2024-02-29T10:00:00Z"], "timestamptz"),
            (&["2024-02-29T10:00:00Z", "2024-02-29T10:00:00"], "string"),
            (&["nan"], "string"),
            (&["1."], "double"),
            (&[".5"], "double"),
            (&["."], "string"),
            (&["-"], "string"),
            (&["1e"], "string"),
            (&["1e999"], "string"),
            (&[], "nothing"),
        ] {
            assert_eq!(guess(values), want, "{values:?}");
        }
        assert_eq!(guess(&[&"1".repeat(39)]), "string");
    }
}
