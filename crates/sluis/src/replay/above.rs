//! What stood above rejected rows in their files: the first lines, and the dialect that was found there.
//!
//! Deliberately not here: the rows. Guarantee: the file's own version is asked, so that the answer is that of the run that rejected the rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use sluis_core::{Error, FileVersion, Opened, PartitionId, Position, RawFile, Result, Split};
use sluis_engine::SqliteLedger;
use sluis_formats::archive::{self, Archive};
use sluis_formats::compress::Compression;
use sluis_formats::csv;
use sluis_formats::csv::config::{CsvRead, NewlineChoice, Reading};
use sluis_formats::csv::dialect::{Dialect, Newline};
use sluis_formats::text::TextSource;

use super::place::Places;
use crate::assemble::Parts;

/// Where a rejected row stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// A file of the source, or of the spool.
    pub file: String,
    /// The archive that it is, and the member of it.
    pub member: Option<(Archive, String)>,
}

impl Origin {
    /// From the name that rejects have: of a member it is that of its archive, `/`, and its own.
    ///
    /// # Errors
    /// Those of the ledger.
    pub fn of(parts: &Parts, ledger: &SqliteLedger, name: &str) -> Result<Origin> {
        let kind = |path: &str| match parts.pipeline.source.config["archive"].as_str() {
            Some("none") => None,
            Some("zip") => Some(Archive::Zip),
            Some("tar") => Some(Archive::Tar),
            _ => Archive::by_name(path),
        };
        for (at, _) in name.match_indices('/') {
            let (file, member) = (&name[..at], &name[at + 1..]);
            if let Some(kind) = kind(file).filter(|_| !file.is_empty())
                && ledger.why(file)?.iter().any(|s| s.pipeline == parts.pipeline.name && s.path == file)
            {
                return Ok(Origin { file: file.to_owned(), member: Some((kind, member.to_owned())) });
            }
        }
        Ok(Origin { file: name.to_owned(), member: None })
    }

    /// The member's name; empty for a file that is none.
    pub fn name(&self) -> &str {
        self.member.as_ref().map_or("", |(_, name)| name)
    }
}

/// What stood above the rows of one file or member.
#[derive(Debug, Clone, Default)]
pub struct Above {
    /// What is skipped, and the header; each line with [`ending`].
    pub lines: Vec<u8>,
    /// `delimiter`, `quote` and `escape` that `delimiter: auto` found.
    pub dialect: Option<Value>,
}

/// What must be known of files.
struct Need {
    reading: Reading,
    lines: usize,
    ending: Vec<u8>,
}

impl Need {
    /// `None`: nothing.
    fn of(parts: &Parts) -> Result<Option<Need>> {
        let Some(format) = parts.pipeline.format.as_ref().filter(|f| f.def.name == "csv") else { return Ok(None) };
        let config = sluis_formats::def::config_of::<CsvRead>("csv", &format.config)?;
        let reading = Reading::new(&config).map_err(|_| Error::internal("the format of a checked pipeline has mistakes"))?;
        let lines = usize::try_from(reading.skip).unwrap_or(usize::MAX).saturating_add(reading.header);
        Ok((lines > 0 || reading.sniffed).then_some(Need { reading, lines, ending: ending(parts)? }))
    }

    /// `known`: the dialect, if it was found before.
    async fn of_text(&self, mut text: TextSource, known: Option<Value>) -> Result<Above> {
        let (mut buffer, dialect) = match known {
            None if self.reading.sniffed => {
                let (dialect, head, _) = csv::found(&self.reading, &mut text).await?;
                (head.to_vec(), Some(written(&dialect)))
            }
            known => (Vec::new(), known),
        };
        let lines = loop {
            if let Some(found) = cut(&buffer, self.lines, false, &self.ending) {
                break found;
            }
            match text.next().await? {
                Some(piece) => buffer.extend_from_slice(&piece),
                None => break cut(&buffer, self.lines, true, &self.ending).unwrap_or(buffer),
            }
        };
        Ok(Above { lines, dialect })
    }
}

/// What stood above the rows of a file, or of these members of it, as `lane` and `epoch` read it.
///
/// # Errors
/// The file, or a member, is not there any more, or not as it was; those of reading.
pub async fn above(
    parts: &Parts,
    ledger: &SqliteLedger,
    places: &Places,
    origins: &[Origin],
    (lane, epoch): (&str, u64),
) -> Result<BTreeMap<String, Above>> {
    let Some(need) = Need::of(parts)? else { return Ok(origins.iter().map(|o| (o.name().to_owned(), Above::default())).collect()) };
    let mut out = BTreeMap::new();
    let Some(first) = origins.first() else { return Ok(out) };
    let file = &first.file;
    let spooled = places.original(file).is_some();
    let dialects = if spooled { places.dialects(file)? } else { Value::Null };
    let known = |name: &str| dialects.get(name).cloned();
    let text = |file: Arc<dyn RawFile>| async {
        match spooled {
            true => TextSource::open(file, Compression::None, sluis_formats::text::encoding("utf-8").map_err(Error::internal)?).await,
            false => TextSource::open(file, need.reading.compression, need.reading.encoding).await,
        }
    };
    let opened = if spooled { in_spool(first).await? } else { original(parts, ledger, file, lane, epoch).await? };
    let mut members = match opened {
        Opened::File(file) => {
            out.insert(String::new(), need.of_text(text(file).await?, known("")).await?);
            return Ok(out);
        }
        Opened::Members(members) => members,
        Opened::Rows(_) => return Err(Error::internal("a file opened as rows")),
    };
    while let Some(member) = members.next().await? {
        let path = &member.file.version().path;
        let name = path.strip_prefix(file.as_str()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(path).to_owned();
        if origins.iter().any(|o| o.name() == name) {
            let above = need.of_text(text(member.file).await?, known(&name)).await?;
            out.insert(name, above);
        }
    }
    match origins.iter().find(|o| !out.contains_key(o.name())) {
        Some(lost) => Err(Error::not_found(format!("the archive has no member {} any more", lost.name())).context("file", file)),
        None => Ok(out),
    }
}

/// A file of the spool.
async fn in_spool(origin: &Origin) -> Result<Opened> {
    let bytes = std::fs::read(&origin.file).map_err(|e| Error::io("read the header in", &origin.file, e))?;
    let file = sluis_formats::memory_file(&origin.file, bytes);
    Ok(match origin.member {
        None => Opened::File(file),
        Some((kind, _)) => Opened::Members(archive::open(file, kind, Arc::new(|_| Some(BTreeMap::new()))).await?),
    })
}

/// The file as it was when it was read.
async fn original(parts: &Parts, ledger: &SqliteLedger, file: &str, lane: &str, epoch: u64) -> Result<Opened> {
    let stories = ledger.why(file)?;
    let chapters = stories.into_iter().filter(|s| s.pipeline == parts.pipeline.name && s.path == file).flat_map(|s| s.versions);
    let version: Option<FileVersion> = chapters.filter(|c| c.lane == lane && c.epoch.0 == epoch).map(|c| c.version).next_back();
    let version = version.ok_or_else(|| Error::not_found("the ledger does not know the file").context("file", file))?;
    let split = Split {
        partition: PartitionId("files".into()),
        from: Position::Beginning,
        to: None,
        file: Some(version),
        constants: BTreeMap::new(),
        replaces: false,
        apart: false,
        detail: Value::Null,
    };
    parts.source()?.open(&split).await
}

/// A dialect as the format's keys write it.
fn written(dialect: &Dialect) -> Value {
    let byte = |b: Option<u8>| b.map_or_else(|| "none".to_owned(), |b| char::from(b).to_string());
    let delimiter = match dialect.delimiter.as_slice() {
        b"" => "none".to_owned(),
        b"\t" => "tab".to_owned(),
        text => String::from_utf8_lossy(text).into_owned(),
    };
    json!({ "delimiter": delimiter, "quote": byte(dialect.quote), "escape": byte(dialect.escape) })
}

/// What ends lines in the spool: the text that `newline` names, else `\n`.
///
/// # Errors
/// Those of the format's configuration.
pub fn ending(parts: &Parts) -> Result<Vec<u8>> {
    let Some(format) = parts.pipeline.format.as_ref().filter(|f| f.def.name == "csv") else { return Ok(b"\n".to_vec()) };
    let config = sluis_formats::def::config_of::<CsvRead>("csv", &format.config)?;
    Ok(match config.newline {
        NewlineChoice::Is(Newline::Text(text)) => text.text().to_vec(),
        NewlineChoice::Is(Newline::Lf | Newline::Any) | NewlineChoice::Auto => b"\n".to_vec(),
    })
}

/// The first lines, each with `ending` (where that is `\n`, any of LF, CR LF and CR ends them). `None`: there are not so many yet.
fn cut(text: &[u8], lines: usize, ended: bool, ending: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    for _ in 0..lines {
        let found = if ending == b"\n" {
            match rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
                // Whether a `\n` follows is not known.
                Some(at) if rest[at] == b'\r' && at + 1 == rest.len() && !ended => return None,
                Some(at) => Some((at, at + if rest[at..].starts_with(b"\r\n") { 2 } else { 1 })),
                None => None,
            }
        } else {
            rest.windows(ending.len()).position(|bytes| bytes == ending).map(|at| (at, at + ending.len()))
        };
        let (line, next) = match found {
            Some((at, next)) => (&rest[..at], next),
            None if ended => (rest, rest.len()),
            None => return None,
        };
        out.extend_from_slice(line);
        out.extend_from_slice(ending);
        rest = &rest[next..];
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_cut_at_any_line_end() {
        assert_eq!(cut(b"a,b\r\n1,2\r\n", 1, false, b"\n").unwrap(), b"a,b\n");
        assert_eq!(cut(b"x\ra,b\r1,2", 2, false, b"\n").unwrap(), b"x\na,b\n");
        assert_eq!((cut(b"a,b", 1, false, b"\n"), cut(b"a,b\r", 1, false, b"\n")), (None, None));
        assert_eq!(cut(b"a,b", 1, true, b"\n").unwrap(), b"a,b\n");
        assert_eq!(cut(b"a\nb||1\n||", 1, false, b"||").unwrap(), b"a\nb||");
    }

    #[test]
    fn a_dialect_is_written_as_it_is_read() {
        for (delimiter, quote, escape) in [(";", Some(b'"'), None), ("\t", None, Some(b'\\')), ("", Some(b'\''), None), ("||", None, None)] {
            let dialect = Dialect { delimiter: delimiter.as_bytes().to_vec(), quote, escape, ..Dialect::default() };
            let config = sluis_formats::def::config_of::<CsvRead>("csv", &written(&dialect)).unwrap();
            let read = Reading::new(&config).unwrap().dialect;
            assert_eq!((read.delimiter, read.quote, read.escape), (dialect.delimiter, dialect.quote, dialect.escape));
        }
    }
}
