//! Names and folders: the template of `name`, Hive's way to write partition values in paths.
//!
//! Deliberately not here: disk, batches. Guarantees: a valid template gives every file of an epoch a name of its own, and gives the
//! same name for the same lane, epoch and number; what stands in a value cannot lead to another folder.

use std::fmt::Write;

use md5::{Digest, Md5};

/// Hive's name for the partition of rows without a value.
pub const NO_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

/// Writes `text` as Hive writes it in a path: control characters and `" # % ' * / : = ? \ { [ ] ^` as `%XX`.
pub fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\u{1}'..='\u{1f}' | '\0' | '\u{7f}' | '"' | '#' | '%' | '\'' | '*' | '/' | ':' | '=' | '?' | '\\' | '{' | '[' | ']' | '^' => {
                let _ = write!(out, "%{:02X}", c as u32);
            }
            c => out.push(c),
        }
    }
}

/// `column=value`, with Hive's name for no value (and for an empty text, as Hive does).
pub fn folder(column: &str, value: Option<&str>) -> String {
    let mut out = String::new();
    escape(column, &mut out);
    out.push('=');
    match value {
        None | Some("") => out.push_str(NO_VALUE),
        Some(value) => escape(value, &mut out),
    }
    out
}

/// A stable hash of a source's path: 20 hexadecimal digits.
pub fn source_hash(path: &str) -> String {
    Md5::digest(path.as_bytes()).iter().take(10).fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The last part of a path or address.
fn file_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

/// What a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Pipeline,
    Lane,
    Sink,
    Epoch,
    Number,
    Uuid,
    Source,
    Name,
    Stem,
    Ext,
}

impl Part {
    const ALL: [(&'static str, Part); 10] = [
        ("pipeline", Part::Pipeline),
        ("lane", Part::Lane),
        ("sink", Part::Sink),
        ("epoch", Part::Epoch),
        ("n", Part::Number),
        ("uuid", Part::Uuid),
        ("source", Part::Source),
        ("name", Part::Name),
        ("stem", Part::Stem),
        ("ext", Part::Ext),
    ];
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Part(Part),
}

/// A file name with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

/// What fills a template for one file.
#[derive(Debug, Clone, Copy)]
pub struct Fill<'a> {
    pub pipeline: &'a str,
    pub lane: &'a str,
    pub sink: &'a str,
    pub epoch: u64,
    pub task: u32,
    pub number: u64,
    /// The source file, where each output is of one.
    pub origin: Option<&'a str>,
    pub ext: &'a str,
}

impl Template {
    /// Parses `{pipeline}-{epoch}-{n}.{ext}`; a sentence about what is wrong.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            if !rest[open..].starts_with('{') {
                return Err(format!("`{text}`: a `}}` without its `{{`"));
            }
            let Some(close) = rest[open..].find('}') else { return Err(format!("`{text}`: a `{{` without its `}}`")) };
            let name = &rest[open + 1..open + close];
            let Some((_, part)) = Part::ALL.iter().find(|(n, _)| *n == name) else {
                let known: Vec<String> = Part::ALL.iter().map(|(n, _)| format!("{{{n}}}")).collect();
                return Err(format!("`{{{name}}}` is not a placeholder: one of {}", known.join(" ")));
            };
            if open > 0 {
                pieces.push(Piece::Text(rest[..open].to_owned()));
            }
            pieces.push(Piece::Part(*part));
            rest = &rest[open + close + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        let template = Template(pieces);
        let sample = template.render(&Fill { pipeline: "p", lane: "l", sink: "s", epoch: 1, task: 0, number: 0, origin: Some("x"), ext: "e" });
        if sample.split('/').any(str::is_empty) {
            return Err(format!("`{text}` names no file below the target's folder"));
        }
        if let Some(part) = sample.split('/').find(|p| p.starts_with(['.', '_'])) {
            return Err(format!("`{text}`: readers pass over names that start with `{}`", &part[..1]));
        }
        Ok(template)
    }

    pub fn has(&self, part: Part) -> bool {
        self.0.contains(&Piece::Part(part))
    }

    /// The name. Numbers are padded, so that the order of names is the order of epochs. Without `{lane}`, epochs of lanes other
    /// than `main` carry their lane's name, so that two lanes never meet.
    pub fn render(&self, fill: &Fill<'_>) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            let part = match piece {
                Piece::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Piece::Part(part) => *part,
            };
            match part {
                Part::Pipeline => escape(fill.pipeline, &mut out),
                Part::Lane => escape(fill.lane, &mut out),
                Part::Sink => escape(fill.sink, &mut out),
                Part::Epoch => {
                    if fill.lane != "main" && !self.has(Part::Lane) {
                        escape(fill.lane, &mut out);
                        out.push('-');
                    }
                    let _ = write!(out, "{:06}", fill.epoch);
                }
                Part::Number => {
                    if fill.task > 0 {
                        let _ = write!(out, "t{}-", fill.task);
                    }
                    let _ = write!(out, "{:03}", fill.number);
                }
                Part::Uuid => {
                    let _ = write!(out, "{}", uuid::Uuid::new_v4().simple());
                }
                Part::Source => match fill.origin {
                    Some(origin) => out.push_str(&source_hash(origin)),
                    // Rows of no one file, in a pipeline that replaces files: they are named by their epoch.
                    None => {
                        escape(fill.lane, &mut out);
                        let _ = write!(out, "-{:06}", fill.epoch);
                    }
                },
                Part::Name => escape(file_name(fill.origin.unwrap_or("rows")), &mut out),
                Part::Stem => {
                    let name = file_name(fill.origin.unwrap_or("rows"));
                    escape(name.rsplit_once('.').map_or(name, |(stem, _)| if stem.is_empty() { name } else { stem }), &mut out);
                }
                Part::Ext => out.push_str(fill.ext),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill() -> Fill<'static> {
        Fill { pipeline: "cdrs", lane: "main", sink: "files", epoch: 7, task: 0, number: 2, origin: Some("s3://b/in/a.b.csv"), ext: "csv.gz" }
    }

    #[test]
    fn folders_are_escaped_as_hive_escapes_them() {
        assert_eq!(folder("day", Some("2024-01-01")), "day=2024-01-01");
        assert_eq!(folder("t", Some("2024-01-01 10:00:00")), "t=2024-01-01 10%3A00%3A00");
        assert_eq!(folder("a=b", Some("x/../y%\n")), "a%3Db=x%2F..%2Fy%25%0A");
        assert_eq!(folder("n", None), "n=__HIVE_DEFAULT_PARTITION__");
        assert_eq!(folder("n", Some("")), "n=__HIVE_DEFAULT_PARTITION__");
        assert_eq!(folder("ü", Some("é{}")), "ü=é%7B}");
    }

    #[test]
    fn templates_are_filled() {
        let name = |text: &str, fill: &Fill<'_>| Template::parse(text).unwrap().render(fill);
        assert_eq!(name("{pipeline}-{lane}-{epoch}-{n}.{ext}", &fill()), "cdrs-main-000007-002.csv.gz");
        assert_eq!(name("{epoch}/{n}", &Fill { lane: "back/fill", task: 3, ..fill() }), "back%2Ffill-000007/t3-002");
        assert_eq!(name("{stem}+{name}", &fill()), "a.b+a.b.csv");
        assert_eq!(name("{source}", &fill()).len(), 20);
        assert_ne!(name("{source}", &fill()), name("{source}", &Fill { origin: Some("s3://b/in/a.c.csv"), ..fill() }));
        assert_ne!(name("{uuid}", &fill()), name("{uuid}", &fill()));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in ["", "/{n}", "{n}/", "a//{n}", "{m}", "{n", "n}", "_{n}", "x/.{n}", "../{n}", "./{n}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}
