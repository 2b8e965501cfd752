//! What format files have: by what each format finds in their beginnings, and by their names.
//!
//! Deliberately not here: how a format looks (its `sniff`). Pure.

use std::collections::BTreeMap;

use serde_json::json;
use sluis_core::registry::{FileHead, Sniffed};
use sluis_core::{Error, ErrorKind, FormatDef, Registry, Result};

/// A format, the options it found, and what else the files could be.
pub struct Kind {
    pub def: &'static FormatDef,
    pub sniffed: Sniffed,
    pub others: Vec<(&'static str, f64)>,
}

/// How much a name that fits counts beside what is in the file.
const NAME: f64 = 0.15;
/// How sure a name alone makes.
const NAME_ALONE: f64 = 0.3;
/// What is less sure than this, and not what the name says, is a guess.
const LEAST: f64 = 0.25;
/// How sure it makes of a format that does not look into files.
const UNSEEN: f64 = 0.6;

/// The format that fits best, or the one `given`.
///
/// # Errors
/// `ErrorKind::Config`: there is no such format. `ErrorKind::Data`: nothing fits.
pub fn choose(registry: &Registry, heads: &[FileHead], given: Option<&str>) -> Result<Kind> {
    let readers = || registry.formats.iter().copied().filter(|d| d.reader.is_some());
    let names = || readers().map(|d| d.name).collect::<Vec<_>>().join(", ");
    let sniff = |def: &'static FormatDef| def.sniff.and_then(|sniff| sniff(heads));
    if let Some(given) = given {
        let def = readers().find(|d| d.name == given);
        let def = def.ok_or_else(|| Error::config(format!("there is no format `{given}`")).hint(format!("one of {}", names())))?;
        let sniffed = sniff(def).unwrap_or_else(|| Sniffed { options: json!({}), confidence: 0.0, notes: vec![said(def)] });
        return Ok(Kind { def, sniffed, others: Vec::new() });
    }
    let named = heads.iter().find_map(|h| by_name(&h.path));
    let mut found: Vec<(f64, &'static FormatDef, Sniffed)> = readers()
        .filter_map(|def| {
            let by_name = || Sniffed { options: json!({}), confidence: UNSEEN, notes: vec!["known by the files' names".to_owned()] };
            let fits = |found: &Sniffed| found.confidence >= LEAST || named == Some(def.name);
            let sniffed = sniff(def).filter(fits).or_else(|| (def.sniff.is_none() && named == Some(def.name)).then(by_name))?;
            Some((sniffed.confidence + if named == Some(def.name) { NAME } else { 0.0 }, def, sniffed))
        })
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut found = found.into_iter();
    let best = match found.next() {
        Some((_, def, sniffed)) => Some((def, sniffed)),
        None => readers().find(|d| named == Some(d.name)).map(|def| {
            let note = "known by the files' names; what is in them does not tell".to_owned();
            (def, Sniffed { options: json!({}), confidence: NAME_ALONE, notes: vec![note] })
        }),
    };
    let Some((def, sniffed)) = best else {
        return Err(
            Error::new(ErrorKind::Data, "what format these files have cannot be told").hint(format!("say it with --format: one of {}", names()))
        );
    };
    Ok(Kind { def, sniffed, others: found.map(|(_, def, sniffed)| (def.name, sniffed.confidence)).collect() })
}

fn said(def: &FormatDef) -> String {
    format!("`{}` was said; what is in the files does not show it", def.name)
}

/// Endings that say how a file is packed.
const PACKED: [&str; 12] = ["gz", "gzip", "zst", "zstd", "bz2", "xz", "lz4", "sz", "snappy", "zip", "tar", "tgz"];

/// A name's ending without those of packing, in lower case; empty if it has none.
pub fn ending(path: &str) -> String {
    let mut name = path.rsplit('/').next().unwrap_or(path).trim_start_matches('.').to_ascii_lowercase();
    while let Some((stem, end)) = name.rsplit_once('.') {
        if !PACKED.contains(&end) {
            return end.to_owned();
        }
        name.truncate(stem.len());
    }
    String::new()
}

fn by_name(path: &str) -> Option<&'static str> {
    Some(match ending(path).as_str() {
        "csv" | "tsv" | "tab" | "psv" => "csv",
        "json" | "jsonl" | "ndjson" => "json",
        "parquet" | "parq" | "pq" => "parquet",
        "avro" => "avro",
        "orc" => "orc",
        _ => return None,
    })
}

/// The files of the ending that most have, and how many have each ending; `None` as the latter if all have the same.
pub fn most_alike<T>(files: Vec<T>, path: impl Fn(&T) -> &str) -> (Vec<T>, Option<BTreeMap<String, usize>>) {
    let mut endings: BTreeMap<String, usize> = BTreeMap::new();
    files.iter().for_each(|f| *endings.entry(ending(path(f))).or_default() += 1);
    if endings.len() < 2 {
        return (files, None);
    }
    let most = endings.iter().max_by_key(|(_, n)| **n).map(|(e, _)| e.clone()).unwrap_or_default();
    (files.into_iter().filter(|f| ending(path(f)) == most).collect(), Some(endings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_told_from_packing() {
        for (path, is) in [("a/b.csv", "csv"), ("a.d/b", ""), ("b.CSV.gz", "csv"), ("b.json.tar.xz", "json"), ("b.gz", ""), (".csv", "")] {
            assert_eq!(ending(path), is, "{path}");
        }
    }

    #[test]
    fn the_ending_that_most_files_have_is_looked_at() {
        let (files, endings) = most_alike(vec!["a.csv", "b.cdr", "c.cdr.gz"], |f| f);
        assert_eq!((files, endings.unwrap().len()), (vec!["b.cdr", "c.cdr.gz"], 2));
        assert!(most_alike(vec!["a.csv", "b.csv"], |f| f).1.is_none());
    }

    #[test]
    fn a_name_decides_where_nothing_else_does_and_nothing_is_guessed() {
        let registry = sluis_connectors::registry();
        let head = |path: &str| FileHead { path: path.into(), bytes: (&b"\x01\x02\x03\x00"[..]).into(), whole: true };
        assert_eq!(choose(&registry, &[head("x.parquet")], None).unwrap().def.name, "parquet");
        let e = choose(&registry, &[head("x.bin")], None).err().unwrap();
        assert!(e.hint_text().unwrap().contains("--format"), "{e}");
        assert_eq!(choose(&registry, &[head("x.bin")], Some("raw")).unwrap().def.name, "raw");
        assert_eq!(choose(&registry, &[head("x.bin")], Some("xlsx")).err().unwrap().kind(), ErrorKind::Config);
    }
}
