//! Filling the spool: rejected rows to files, each with its original's header.
//!
//! Guarantee: the same rejects give the same files, byte for byte and with the same modification time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;
use sluis_core::reject::{RAW_LIMIT, RejectReason};
use sluis_core::{Error, FileVersion, LedgerStore, Opened, PartitionId, Position, RawFile, Result, Split};
use sluis_engine::SqliteLedger;
use sluis_formats::archive::Archive;
use sluis_formats::compress::Compression;
use sluis_formats::csv::config::{CsvRead, NewlineChoice, Reading};
use sluis_formats::csv::dialect::Newline;
use sluis_formats::text::TextSource;

use super::place::Places;
use crate::assemble::Parts;
use crate::rejected::{self, Filter, Rejected};
use crate::session::Session;

/// What came of filling the spool, in rows but for `files`.
#[derive(Debug, Default)]
pub struct Spooled {
    /// Spool files that are to land, and the rows in them.
    pub files: u64,
    pub rows: u64,
    /// Replayed by an earlier command.
    pub before: u64,
    /// Cut, or of a file damaged as a whole: their text is not there.
    pub without_text: u64,
    /// Rows whose file's header is not to be had, and why, by file.
    pub headless: BTreeMap<String, (u64, Error)>,
}

/// The lines that stood above a rejected row in its file.
///
/// # Errors
/// Those of reading the file: it may have gone, or changed.
pub async fn header(parts: &Parts, ledger: &SqliteLedger, file: &str, lane: &str, epoch: u64) -> Result<Vec<u8>> {
    head(parts, ledger, &Places::of(parts), file, lane, epoch).await
}

/// Rows of one spool file.
struct Group {
    /// The file they stood in, and the epoch that read it.
    file: String,
    lane: String,
    epoch: u64,
    rows: Vec<(u64, Vec<u8>)>,
}

pub async fn fill(session: &Session, parts: &Parts, ledger: &SqliteLedger, filter: &Filter, places: &Places) -> Result<Spooled> {
    let mut out = Spooled::default();
    let mut groups: BTreeMap<PathBuf, Group> = BTreeMap::new();
    let take = &mut |row: Rejected| {
        if row.reason == RejectReason::CorruptFile.code() || row.raw.is_empty() || row.raw.len() >= RAW_LIMIT {
            out.without_text += 1;
            return Ok(());
        }
        if is_of_member(parts, &row.file) {
            let e = || Error::config("it is a member of an archive").hint("unpack the archive, correct the file, and land that");
            out.headless.entry(row.file).or_insert_with(|| (0, e())).0 += 1;
            return Ok(());
        }
        let path = places.spool(&format!("{}-{}-{}", row.lane, row.epoch, row.reason), &row.file);
        let group = groups.entry(path).or_insert_with(|| Group { file: row.file, lane: row.lane, epoch: row.epoch, rows: Vec::new() });
        group.rows.push((row.line, row.raw));
        Ok(())
    };
    rejected::read(session, parts, filter, take).await?;
    let paths: Vec<String> = groups.keys().map(|p| p.display().to_string()).collect();
    let known = ledger.history(&parts.pipeline.name).lookup(&paths).await?;
    for ((path, mut group), known) in groups.into_iter().zip(known) {
        let rows = group.rows.len() as u64;
        if known.is_some_and(|k| k.landed || k.landed_before) {
            out.before += rows;
            continue;
        }
        let head = match head(parts, ledger, places, &group.file, &group.lane, group.epoch).await {
            Ok(head) => head,
            Err(e) => {
                out.headless.entry(group.file).or_insert((0, e)).0 += rows;
                continue;
            }
        };
        group.rows.sort();
        write(&path, &content(head, &group.rows, parts, &ending(parts)?))?;
        out.files += 1;
        out.rows += rows;
    }
    Ok(out)
}

/// Whether a row stood in a member of an archive: such a name is not one of the source's files.
fn is_of_member(parts: &Parts, file: &str) -> bool {
    match parts.pipeline.source.config["archive"].as_str() {
        Some("none") => false,
        Some("zip" | "tar") => true,
        _ => file.rsplit_once('/').is_some_and(|(folders, _)| folders.split('/').any(|part| Archive::by_name(part).is_some())),
    }
}

fn content(head: Vec<u8>, rows: &[(u64, Vec<u8>)], parts: &Parts, ending: &[u8]) -> Vec<u8> {
    let json = parts.pipeline.format.as_ref().is_some_and(|f| f.def.name == "json");
    let mut out = head;
    for (_, raw) in rows {
        let start = out.len();
        out.extend_from_slice(raw);
        while ending == b"\n" && matches!(out.last(), Some(b'\n' | b'\r')) && out.len() > start {
            out.pop();
        }
        if json {
            // A line break between JSON tokens means as much as a blank.
            out[start..].iter_mut().filter(|b| matches!(b, b'\n' | b'\r')).for_each(|b| *b = b' ');
        }
        out.extend_from_slice(ending);
    }
    out
}

/// In one step, so that no half of it is ever read; with a time of its own, so that it is the same version when it is made again.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let io = |e| Error::io("write", path.display(), e);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    if std::fs::read(path).is_ok_and(|have| have == bytes) {
        return Ok(());
    }
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let draft = path.with_file_name(format!(".{name}.tmp"));
    std::fs::write(&draft, bytes).map_err(io)?;
    let file = std::fs::File::options().write(true).open(&draft).map_err(io)?;
    file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(946_684_800)).map_err(io)?;
    file.sync_all().map_err(io)?;
    std::fs::rename(&draft, path).map_err(io)
}

/// The lines that stand above the rows in their file: what is skipped, and the header.
async fn head(parts: &Parts, ledger: &SqliteLedger, places: &Places, file: &str, lane: &str, epoch: u64) -> Result<Vec<u8>> {
    let Some(format) = parts.pipeline.format.as_ref().filter(|f| f.def.name == "csv") else { return Ok(Vec::new()) };
    let config = sluis_formats::def::config_of::<CsvRead>("csv", &format.config)?;
    let reading = Reading::new(&config).map_err(|_| Error::internal("the format of a checked pipeline has mistakes"))?;
    let lines = usize::try_from(reading.skip).unwrap_or(usize::MAX).saturating_add(reading.header);
    if lines == 0 {
        return Ok(Vec::new());
    }
    if places.original(file).is_some() {
        let bytes = std::fs::read(file).map_err(|e| Error::io("read the header in", file, e))?;
        let spool = sluis_formats::memory_file(file, bytes);
        let utf8 = sluis_formats::text::encoding("utf-8").map_err(Error::internal)?;
        return first_lines(TextSource::open(spool, Compression::None, utf8).await?, lines, &ending(parts)?).await;
    }
    let original = original(parts, ledger, file, lane, epoch).await?;
    first_lines(TextSource::open(original, reading.compression, reading.encoding).await?, lines, &ending(parts)?).await
}

/// The file as it was when it was read.
async fn original(parts: &Parts, ledger: &SqliteLedger, file: &str, lane: &str, epoch: u64) -> Result<std::sync::Arc<dyn RawFile>> {
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
    match parts.source()?.open(&split).await? {
        Opened::File(file) => Ok(file),
        Opened::Members(_) | Opened::Rows(_) => Err(Error::internal("a file opened as something else")),
    }
}

/// What ends lines in the spool: the text that `newline` names, else `\n`.
fn ending(parts: &Parts) -> Result<Vec<u8>> {
    let Some(format) = parts.pipeline.format.as_ref().filter(|f| f.def.name == "csv") else { return Ok(b"\n".to_vec()) };
    let config = sluis_formats::def::config_of::<CsvRead>("csv", &format.config)?;
    Ok(match config.newline {
        NewlineChoice::Is(Newline::Text(text)) => text.text().to_vec(),
        NewlineChoice::Is(Newline::Lf | Newline::Any) | NewlineChoice::Auto => b"\n".to_vec(),
    })
}

async fn first_lines(mut text: TextSource, lines: usize, ending: &[u8]) -> Result<Vec<u8>> {
    let mut buffer: Vec<u8> = Vec::new();
    loop {
        if let Some(found) = cut(&buffer, lines, false, ending) {
            return Ok(found);
        }
        match text.next().await? {
            Some(piece) => buffer.extend_from_slice(&piece),
            None => return Ok(cut(&buffer, lines, true, ending).unwrap_or(buffer)),
        }
    }
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
    fn a_spool_file_is_the_same_whenever_it_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("g/0/a.csv");
        write(&path, b"a\n1\n").unwrap();
        let time = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::remove_file(&path).unwrap();
        write(&path, b"a\n1\n").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), time);
    }
}
