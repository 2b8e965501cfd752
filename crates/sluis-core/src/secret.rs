//! Secrets print as `***`: by type where we hold one, and by a filter over everything that is printed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::RwLock;

static KNOWN: RwLock<BTreeSet<String>> = RwLock::new(BTreeSet::new());

/// A secret's value. Debug and Display print `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value and registers it, so that [`redact`] hides it wherever it might surface.
    pub fn new(value: impl Into<String>) -> Self {
        let value = value.into();
        register(&value);
        Self(value)
    }
    /// The value. Only for handing it to the system it is for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Makes [`redact`] hide `value`, also in its percent-encoded form. Values under four characters are not hidden: they would blank out ordinary text.
pub fn register(value: &str) {
    if value.len() < 4 {
        return;
    }
    let encoded: String = value
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect();
    let mut known = KNOWN.write().unwrap_or_else(|e| e.into_inner());
    known.insert(value.to_owned());
    known.insert(encoded);
}

/// `text` with every registered secret replaced by `***`.
pub fn redact(text: &str) -> String {
    let known = KNOWN.read().unwrap_or_else(|e| e.into_inner());
    let mut out = text.to_owned();
    // Longest first, so that a secret that contains another is hidden whole.
    let mut values: Vec<&String> = known.iter().filter(|v| text.contains(v.as_str())).collect();
    values.sort_by_key(|v| std::cmp::Reverse(v.len()));
    for value in values {
        out = out.replace(value.as_str(), "***");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_as_they_are_and_encoded() {
        let s = Secret::new("p@ss/w?rd");
        assert_eq!(format!("{s} {s:?}"), "*** ***");
        assert_eq!(redact("http://u:p@ss/w?rd@h http://u:p%40ss%2Fw%3Frd@h"), "http://u:***@h http://u:***@h");
    }
}
