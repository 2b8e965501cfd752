//! Filling the spool: rejected rows to files, each with its original's header; those of an archive's
//! members to an archive of the same members.
//!
//! Guarantee: the same rejects give the same files, byte for byte and with the same modification time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Map, Value};
use sluis_core::reject::{RAW_LIMIT, RejectReason};
use sluis_core::{Error, LedgerStore, Result};
use sluis_engine::SqliteLedger;
use sluis_formats::archive::{self, Archive};

use super::above::{Above, Origin, above, ending};
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
    let origin = [Origin::of(parts, ledger, file)?];
    let mut found = above(parts, ledger, &Places::of(parts), &origin, (lane, epoch)).await?;
    Ok(found.remove(origin[0].name()).unwrap_or_default().lines)
}

/// A row and its line.
type Row = (u64, Vec<u8>);

/// What becomes one spool file.
struct Group {
    /// The file its rows stood in, and the epoch that read it.
    file: String,
    kind: Option<Archive>,
    lane: String,
    epoch: u64,
    /// By member; of a file that is no archive, under no name.
    rows: BTreeMap<String, Vec<Row>>,
}

impl Group {
    fn origins(&self) -> Vec<Origin> {
        let member = |name: &String| self.kind.map(|kind| (kind, name.clone()));
        self.rows.keys().map(|name| Origin { file: self.file.clone(), member: member(name) }).collect()
    }

    /// The spool file's bytes; `path` is its name.
    fn packed(mut self, path: &Path, above: &BTreeMap<String, Above>, parts: &Parts) -> Result<Vec<u8>> {
        let ending = ending(parts)?;
        let mut members = Vec::with_capacity(self.rows.len());
        for (name, rows) in &mut self.rows {
            rows.sort();
            let lines = above.get(name).map(|a| a.lines.clone()).unwrap_or_default();
            members.push((name.clone(), content(lines, rows, parts, &ending)));
        }
        match self.kind {
            Some(kind) => archive::write::write(kind, &path.display().to_string(), &members),
            None => Ok(members.pop().map(|(_, bytes)| bytes).unwrap_or_default()),
        }
    }
}

pub async fn fill(session: &Session, parts: &Parts, ledger: &SqliteLedger, filter: &Filter, places: &Places) -> Result<Spooled> {
    let mut out = Spooled::default();
    let mut groups: BTreeMap<PathBuf, Group> = BTreeMap::new();
    let mut origins: BTreeMap<String, Origin> = BTreeMap::new();
    let take = &mut |row: Rejected| {
        if row.reason == RejectReason::CorruptFile.code() || row.raw.is_empty() || row.raw.len() >= RAW_LIMIT {
            out.without_text += 1;
            return Ok(());
        }
        let origin = match origins.get(&row.file) {
            Some(origin) => origin.clone(),
            None => origins.entry(row.file.clone()).or_insert(Origin::of(parts, ledger, &row.file)?).clone(),
        };
        let name = origin.name().to_owned();
        let path = places.spool(&format!("{}-{}-{}", row.lane, row.epoch, row.reason), &origin.file);
        let kind = origin.member.map(|(kind, _)| kind);
        let group = groups.entry(path).or_insert_with(|| Group { file: origin.file, kind, lane: row.lane, epoch: row.epoch, rows: BTreeMap::new() });
        group.rows.entry(name).or_default().push((row.line, row.raw));
        Ok(())
    };
    rejected::read(session, parts, filter, take).await?;
    let paths: Vec<String> = groups.keys().map(|p| p.display().to_string()).collect();
    let known = ledger.history(&parts.pipeline.name).lookup(&paths).await?;
    for ((path, group), known) in groups.into_iter().zip(known) {
        let rows = group.rows.values().map(|rows| rows.len() as u64).sum::<u64>();
        if known.is_some_and(|k| k.landed || k.landed_before) {
            out.before += rows;
            continue;
        }
        let above = match above(parts, ledger, places, &group.origins(), (&group.lane, group.epoch)).await {
            Ok(above) => above,
            Err(e) => {
                out.headless.entry(group.file).or_insert((0, e)).0 += rows;
                continue;
            }
        };
        let dialects: Map<String, Value> = above.iter().filter_map(|(name, a)| Some((name.clone(), a.dialect.clone()?))).collect();
        if !dialects.is_empty() {
            // Before the file: who finds that needs these.
            write(&places.dialects_of(&path)?, Value::Object(dialects).to_string().as_bytes())?;
        }
        write(&path, &group.packed(&path, &above, parts)?)?;
        out.files += 1;
        out.rows += rows;
    }
    Ok(out)
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

#[cfg(test)]
mod tests {
    use super::*;

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
