//! "Did you mean": the nearest of some names, and lists of names for people.
//!
//! Deliberately not here: what the names are of.

/// The name that was probably meant, if one is near enough.
pub(crate) fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |s: &str| s.to_lowercase().replace('-', "_");
    let written = plain(written);
    names
        .into_iter()
        .map(|name| (distance(&written, &plain(name)), name))
        .min_by_key(|(d, _)| *d)
        .filter(|(d, name)| *d <= slips(name.chars().count().min(written.chars().count())))
        .map(|(_, name)| name)
}

/// How many slips a word of this length may have and still be meant.
fn slips(length: usize) -> usize {
    match length {
        0..=2 => 0,
        3..=5 => 1,
        6..=9 => 2,
        _ => 3,
    }
}

/// Very long texts are nobody's typing error, and comparing them costs their product.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 100 || b.len() > 100 { usize::from(a != b) * 100 } else { strsim::damerau_levenshtein(a, b) }
}

/// `` `a`, `b`, `c` ``; cut after some.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 20;
    let names: Vec<&str> = names.into_iter().collect();
    let mut text = names.iter().take(MOST).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        text.push_str(&format!(" and {} more", names.len() - MOST));
    }
    text
}

/// "did you mean `x`?", else `otherwise` with the list; nothing if there are no names.
pub(crate) fn help<'a>(written: &str, names: impl IntoIterator<Item = &'a str>, otherwise: &str) -> Option<String> {
    let names: Vec<&str> = names.into_iter().collect();
    match nearest(written, names.iter().copied()) {
        _ if names.is_empty() => None,
        Some(near) => Some(format!("did you mean `{near}`?")),
        None => Some(format!("{otherwise} {}", list(names))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_seen_and_strangers_are_not() {
        let names = ["delimiter", "lake", "header", "on_overwrite", "url"];
        for (written, meant) in [
            ("delimeter", Some("delimiter")),
            ("Header", Some("header")),
            ("on-overwrite", Some("on_overwrite")),
            ("ulr", Some("url")),
            ("name", None),
            ("x", None),
            ("footer", None),
        ] {
            assert_eq!(nearest(written, names), meant, "{written}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), names), None);
        assert_eq!(help("zzz", [], "there is"), None);
        assert_eq!(help("zzz", ["a", "b"], "there is").as_deref(), Some("there is `a`, `b`"));
    }
}
