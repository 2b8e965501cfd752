//! Expected and actual rows, compared: as sets, by the columns that are named, values by their meaning.
//!
//! Deliberately not here: printing with colours.

use std::collections::BTreeMap;

use arrow_schema::DataType;

use super::expect::Rows;
use super::play::{Got, Played};

/// Something that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The target, `rejects`, or `run`.
    pub of: String,
    /// A sentence.
    pub message: String,
    /// `- expected`, `+ actual`, `~ what differs`, one line each.
    pub lines: Vec<String>,
}

/// How many differing rows are shown.
const SHOWN: usize = 20;

/// Everything that is not as expected.
pub fn all(played: &Played, expected: &[(String, Rows)], error: Option<&str>) -> Vec<Difference> {
    let say = |of: &str, message: String| Difference { of: of.to_owned(), message, lines: Vec::new() };
    match (&played.error, error) {
        (None, Some(text)) => return vec![say("run", format!("it should have failed with `{text}`, and did not"))],
        (Some(e), Some(text)) if format!("{e:?}").contains(text) => {}
        (Some(e), text) => {
            let hint = e.hint_text().map_or(String::new(), |h| format!("; hint: {h}"));
            let wanted = text.map_or(String::new(), |t| format!("; `{t}` was expected"));
            return vec![say(
                "run",
                format!("it failed: {e}{}{hint}{wanted}", e.causes().iter().map(|c| format!("; caused by: {c}")).collect::<String>()),
            )];
        }
        (None, None) => {}
    }
    let mut out = Vec::new();
    for (target, rows) in expected {
        let got = if target == "rows" { played.targets.first() } else { played.targets.iter().find(|g| g.target == *target) };
        match got {
            Some(got) => out.extend(differences(got, rows)),
            None => {
                let names: Vec<&str> = played.targets.iter().map(|g| g.target.as_str()).collect();
                out.push(say(target, format!("there is no such target; there are: {}", names.join(", "))));
            }
        }
    }
    let rejects = played.targets.iter().find(|g| g.target == "rejects" && !expected.iter().any(|(t, _)| t == "rejects"));
    if let Some(rejects) = rejects.filter(|r| !r.rows.rows.is_empty()) {
        let wanted = ["file", "line", "column", "reason", "message", "raw"].map(String::from).to_vec();
        out.extend(differences(rejects, &Rows { columns: wanted, rows: Vec::new() }));
    }
    out
}

fn differences(got: &Got, expected: &Rows) -> Option<Difference> {
    let of = got.target.clone();
    let have = &got.rows.columns;
    let some_columns = of == "rejects";
    if expected.columns.is_empty() && expected.rows.is_empty() && got.rows.rows.is_empty() {
        return None;
    }
    if let Some(missing) = expected.columns.iter().find(|c| !have.contains(c)).filter(|_| !have.is_empty()) {
        return Some(Difference { of, message: format!("there is no column `{missing}`; the columns are: {}", have.join(", ")), lines: Vec::new() });
    }
    if let Some(more) = have.iter().find(|c| !some_columns && !expected.columns.is_empty() && !expected.columns.contains(c)) {
        return Some(Difference { of, message: format!("there is a column that is not expected: `{more}`"), lines: Vec::new() });
    }
    let columns = if expected.columns.is_empty() { have.clone() } else { expected.columns.clone() };
    let index: Vec<Option<usize>> = columns.iter().map(|c| have.iter().position(|h| h == c)).collect();
    let meaning = |row: &[Option<String>]| -> Vec<String> {
        row.iter()
            .zip(&index)
            .map(|(v, i)| v.as_deref().map_or("\0".into(), |v| i.map_or_else(|| v.to_owned(), |i| canonical(v, &got.types[i]))))
            .collect()
    };
    let actual: Vec<Vec<Option<String>>> = got.rows.rows.iter().map(|r| index.iter().map(|i| i.and_then(|i| r[i].clone())).collect()).collect();
    let mut open: BTreeMap<Vec<String>, Vec<usize>> = BTreeMap::new();
    for (n, row) in actual.iter().enumerate().rev() {
        open.entry(meaning(row)).or_default().push(n);
    }
    let missing: Vec<&Vec<Option<String>>> = expected.rows.iter().filter(|row| open.get_mut(&meaning(row)).and_then(Vec::pop).is_none()).collect();
    let mut extra: Vec<usize> = open.into_values().flatten().collect();
    extra.sort_unstable();
    if missing.is_empty() && extra.is_empty() {
        return None;
    }
    let same = expected.rows.len() - missing.len();
    let message = format!("{} expected, {} there; {same} are as expected", rows_word(expected.rows.len()), actual.len());
    let lines = lines(&columns, &missing, extra.iter().map(|n| &actual[*n]).collect(), &meaning);
    Some(Difference { of, message, lines })
}

fn rows_word(n: usize) -> String {
    if n == 1 { "1 row".into() } else { format!("{n} rows") }
}

/// The rows that differ; one that is there instead of another stands below it.
fn lines(
    columns: &[String],
    missing: &[&Vec<Option<String>>],
    mut extra: Vec<&Vec<Option<String>>>,
    meaning: &dyn Fn(&[Option<String>]) -> Vec<String>,
) -> Vec<String> {
    let text = |row: &[Option<String>]| {
        row.iter().map(|v| v.as_deref().map_or_else(|| "null".to_owned(), |v| crate::print::short(v, 60))).collect::<Vec<_>>().join(" | ")
    };
    let mut out = vec![format!("  {}", columns.join(" | "))];
    let total = missing.len() + extra.len();
    for row in missing {
        out.push(format!("- {}", text(row)));
        let of = meaning(row);
        let alike = |other: &Vec<Option<String>>| meaning(other).iter().zip(&of).filter(|(a, b)| a == b).count();
        let nearest = extra.iter().enumerate().max_by_key(|(n, other)| (alike(other), usize::MAX - n)).map(|(n, _)| n);
        if let Some(n) = nearest.filter(|n| alike(extra[*n]) * 2 >= columns.len().max(2)) {
            let other = extra.remove(n);
            out.push(format!("+ {}", text(other)));
            let differ: Vec<String> =
                columns.iter().zip(of.iter().zip(meaning(other))).filter(|(_, (a, b))| **a != *b).map(|(c, _)| c.clone()).collect();
            out.push(format!("~ differs in: {}", differ.join(", ")));
        }
    }
    out.extend(extra.iter().map(|row| format!("+ {}", text(row))));
    if out.len() > SHOWN * 3 {
        out.truncate(SHOWN * 3);
        out.push(format!("  … {total} rows differ in all"));
    }
    out
}

/// A value's text such that equal values have equal texts.
fn canonical(text: &str, t: &DataType) -> String {
    match t {
        t if t.is_numeric() => number(text),
        DataType::Timestamp(..) => {
            let plain = text.trim().replacen('T', " ", 1);
            let plain = plain.trim_end_matches('Z').trim_end_matches("+00:00");
            let plain = if plain.contains('.') { plain.trim_end_matches('0').trim_end_matches('.') } else { plain };
            if plain.len() == 10 { format!("{plain} 00:00:00") } else { plain.to_owned() }
        }
        DataType::Boolean => text.trim().to_lowercase(),
        _ => text.to_owned(),
    }
}

fn number(text: &str) -> String {
    let t = text.trim();
    if t.contains(['e', 'E']) {
        return t.parse::<f64>().map_or_else(|_| t.to_owned(), |f| number(&format!("{f}")));
    }
    let (sign, digits) = t.strip_prefix('-').map_or(("", t.trim_start_matches('+')), |d| ("-", d));
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return t.to_owned();
    }
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    let digits = digits.trim_start_matches('0');
    let digits = if digits.is_empty() || digits.starts_with('.') { format!("0{digits}") } else { digits.to_owned() };
    if digits == "0" { digits } else { format!("{sign}{digits}") }
}

#[cfg(test)]
mod tests {
    use arrow_schema::TimeUnit;

    use super::*;

    fn rows(columns: &[&str], cells: &[&[&str]]) -> Rows {
        let cell = |c: &&str| (!c.is_empty()).then(|| (*c).to_owned());
        Rows { columns: columns.iter().map(|c| (*c).to_owned()).collect(), rows: cells.iter().map(|r| r.iter().map(cell).collect()).collect() }
    }
    fn got(target: &str, rows: Rows, types: Vec<DataType>) -> Got {
        Got { target: target.into(), rows, types }
    }

    #[test]
    fn values_are_compared_by_their_meaning() {
        for (a, b) in [("1.50", "1.5"), ("007", "7"), ("-0.0", "0"), ("1e3", "1000"), (".5", "0.50")] {
            assert_eq!(number(a), number(b), "{a} {b}");
        }
        assert_ne!(number("1.5"), number("-1.5"));
        let t = DataType::Timestamp(TimeUnit::Microsecond, None);
        for (a, b) in [
            ("2024-01-31T12:00:00Z", "2024-01-31 12:00:00"),
            ("2024-01-31", "2024-01-31 00:00:00"),
            ("2024-01-31 12:00:00.500", "2024-01-31 12:00:00.5"),
        ] {
            assert_eq!(canonical(a, &t), canonical(b, &t));
        }
        assert_ne!(canonical("1.50", &DataType::Utf8), canonical("1.5", &DataType::Utf8));
    }

    #[test]
    fn order_does_not_matter_and_counts_do() {
        let types = || vec![DataType::Int64, DataType::Utf8];
        let have = got("table", rows(&["a", "b"], &[&["1", "x"], &["2", "y"], &["2", "y"]]), types());
        assert_eq!(differences(&have, &rows(&["b", "a"], &[&["y", "02"], &["x", "1"], &["y", "2"]])), None);
        let d = differences(&have, &rows(&["a", "b"], &[&["1", "z"], &["2", "y"]])).unwrap();
        assert_eq!(d.message, "2 rows expected, 3 there; 1 are as expected");
        assert_eq!(d.lines, ["  a | b", "- 1 | z", "+ 1 | x", "~ differs in: b", "+ 2 | y"]);
    }

    #[test]
    fn columns_must_be_named_but_for_rejects() {
        let have = |target| got(target, rows(&["a", "b"], &[&["1", "x"]]), vec![DataType::Int64, DataType::Utf8]);
        assert!(differences(&have("table"), &rows(&["a"], &[&["1"]])).unwrap().message.contains("`b`"));
        assert_eq!(differences(&have("rejects"), &rows(&["a"], &[&["1"]])), None);
        assert!(differences(&have("table"), &rows(&["a", "c"], &[&["1", "x"]])).unwrap().message.contains("`c`"));
    }
}
