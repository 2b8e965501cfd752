//! Questions people ask of the ledger: where lanes stand, what epochs did, the whole story of a file, whether all invariants hold; and `rewind`.
//!
//! Guarantees: `lanes` reads one row a lane, `epochs` only the epochs it shows, `why` only the epochs that touched the file. None of them waits
//! for a running pipeline.
//!
//! Deliberately not here: printing, and times of day as people write them.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, params};
use serde::Serialize;
use sluis_core::{Epoch, Error, ErrorKind, FileVersion, Generation, LaneId, Lease, LeaseHolder, Outcome, PipelineName, Receipt, Result, RowCounts};

use super::failure::{Fault, Step};
use super::files::{self, Lanes};
use super::records::{self, Sums, read_time, stored_time};
use super::{SqliteLedger, fsck, lease};

/// Where a lane stands.
#[derive(Debug, Clone, Serialize)]
pub struct LaneStatus {
    pub lane: LaneId,
    pub last_committed: Option<(Epoch, DateTime<Utc>)>,
    /// The epoch after it, if begun: `planned` or `staged`.
    pub open: Option<(Epoch, &'static str)>,
    pub holder: Option<Holder>,
    /// Committed epochs, and what they landed in all.
    pub epochs: u64,
    pub files: u64,
    pub bytes: u64,
    pub rows: RowCounts,
}

/// Who has a lane.
#[derive(Debug, Clone, Serialize)]
pub struct Holder {
    pub who: LeaseHolder,
    pub generation: Generation,
    pub until: DateTime<Utc>,
    /// False: expired, or its process on this host is gone.
    pub alive: bool,
}

/// One epoch, as history shows it.
#[derive(Debug, Clone, Serialize)]
pub struct EpochEntry {
    pub lane: LaneId,
    pub epoch: Epoch,
    pub generation: Generation,
    pub planned_at: DateTime<Utc>,
    pub staged_at: Option<DateTime<Utc>>,
    pub committed_at: Option<DateTime<Utc>>,
    pub files: u64,
    pub bytes: u64,
    pub rows: RowCounts,
    /// Source paths whose earlier rows left.
    pub replaced: Vec<String>,
    pub receipts: Vec<Receipt>,
    /// The schema that was decoded, if it is another than that of the epoch before: `columns::schema_to_json`.
    pub schema: Option<serde_json::Value>,
}

/// The whole story of one path in one pipeline, oldest first.
#[derive(Debug, Clone, Serialize)]
pub struct FileStory {
    pub pipeline: PipelineName,
    pub path: String,
    pub versions: Vec<FileChapter>,
}

/// One version of a file in one epoch.
#[derive(Debug, Clone, Serialize)]
pub struct FileChapter {
    pub version: FileVersion,
    pub lane: String,
    pub epoch: Epoch,
    pub planned_at: DateTime<Utc>,
    pub staged_at: Option<DateTime<Utc>>,
    pub committed_at: Option<DateTime<Utc>>,
    /// `planned`, `landed`, `changed: …`, `corrupt: …`, `rewound`.
    pub fate: String,
    pub rows: RowCounts,
    /// Whether an earlier version's rows left with it.
    pub replaces: bool,
}

/// What `fsck` found. Empty problems = every invariant holds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FsckReport {
    pub lanes: u64,
    pub epochs: u64,
    pub files: u64,
    /// One sentence each, naming lane, epoch and invariant.
    pub problems: Vec<String>,
}

/// What a rewind gave back.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Rewound {
    pub epochs: u64,
    pub files: u64,
}

impl SqliteLedger {
    /// Every lane, or those of a pipeline, by name.
    ///
    /// # Errors
    /// `ErrorKind::Ledger`.
    pub fn lanes(&self, pipeline: Option<&PipelineName>) -> Result<Vec<LaneStatus>> {
        let now = self.clock.now();
        self.file.read(|c| lanes(c, pipeline, now))
    }

    /// The newest `limit` epochs of a pipeline, newest first (in the order in which they were planned, over all its lanes).
    ///
    /// # Errors
    /// `ErrorKind::Ledger`.
    pub fn epochs(&self, pipeline: &PipelineName, limit: usize) -> Result<Vec<EpochEntry>> {
        self.file.read(|c| epochs(c, pipeline, limit))
    }

    /// Stories of every path that is `file` or ends in `/file`, in all pipelines.
    ///
    /// # Errors
    /// `ErrorKind::Ledger`.
    pub fn why(&self, file: &str) -> Result<Vec<FileStory>> {
        self.file.read(|c| why(c, file))
    }

    /// Checks SQLite's own integrity and every invariant (I1, I3, generations, accounting) over all records.
    ///
    /// # Errors
    /// `ErrorKind::Ledger` if it cannot even be read.
    pub fn fsck(&self) -> Result<FsckReport> {
        self.file.read(fsck::check)
    }

    /// Makes the files of all epochs after `to` count as new again (epoch numbers and checkpoints go on: I1). Their rows stay where they
    /// landed unless the pipeline replaces or upserts; a file that is read again with `on_overwrite: replace` replaces them.
    /// Refused while an epoch is open. What an earlier rewind gave back already is not counted again.
    ///
    /// # Errors
    /// `ErrorKind::Lease` if the lease is not the lane's; `ErrorKind::Conflict` if an epoch is open.
    pub fn rewind(&self, lease: &Lease, to: Epoch) -> Result<Rewound> {
        let now = self.clock.now();
        self.file.write(|c| rewind(c, lease, to, now))
    }
}

fn lanes(c: &Connection, pipeline: Option<&PipelineName>, now: DateTime<Utc>) -> Step<Vec<LaneStatus>> {
    let mut statement = c.prepare_cached(
        "select p.name, l.name, l.planned, l.staged, l.committed, l.committed_at, l.generation, l.holder, l.granted, l.until,
            l.files, l.bytes, l.rows_read, l.rows_written, l.rows_rejected, l.rows_filtered, l.rows_added
         from lane l join pipeline p on p.id = l.pipeline where ?1 is null or p.name = ?1 order by p.name, l.name",
    )?;
    let mut rows = statement.query([pipeline.map(PipelineName::as_str)])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let (planned, staged, committed) = (epoch(row, 2)?, epoch(row, 3)?, epoch(row, 4)?);
        let held = lease::Held::from_row(row, 6)?;
        let alive = held.alive(now);
        let holder = match (held.holder, held.until) {
            (Some(who), Some(until)) => Some(Holder { who, generation: held.generation, until, alive }),
            _ => None,
        };
        let sums = Sums::from_row(row, 10)?;
        out.push(LaneStatus {
            lane: LaneId::new(row.get::<_, String>(0)?, row.get::<_, String>(1)?),
            last_committed: read_time(row.get_ref(5)?)?.map(|at| (committed, at)),
            open: (planned > committed).then_some((planned, if staged == planned { "staged" } else { "planned" })),
            holder,
            epochs: committed.0,
            files: sums.files,
            bytes: sums.bytes,
            rows: sums.rows,
        });
    }
    Ok(out)
}

fn epoch(row: &Row<'_>, at: usize) -> rusqlite::Result<Epoch> {
    Ok(Epoch(row.get::<_, i64>(at)? as u64))
}

fn epochs(c: &Connection, pipeline: &PipelineName, limit: usize) -> Step<Vec<EpochEntry>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut lanes = c.prepare_cached("select l.id, l.name from lane l join pipeline p on p.id = l.pipeline where p.name = ?1")?;
    let lanes: Vec<(i64, String)> = lanes.query_map([pipeline.as_str()], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    // The newest of each lane by the index; of them all the newest by the order of writing, which no clock can turn round.
    let mut newest: Vec<(i64, i64, String, Epoch)> = Vec::new();
    let mut statement = c.prepare_cached("select id, epoch from record where lane = ?1 and kind = 1 order by epoch desc limit ?2")?;
    for (lane, name) in lanes {
        let mut rows = statement.query(params![lane, limit])?;
        while let Some(row) = rows.next()? {
            newest.push((row.get(0)?, lane, name.clone(), epoch(row, 1)?));
        }
    }
    newest.sort_by_key(|(id, ..)| std::cmp::Reverse(*id));
    newest.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    newest.into_iter().map(|(_, lane, name, epoch)| entry(c, LaneId { pipeline: pipeline.clone(), lane: name }, lane, epoch)).collect()
}

/// What one record says without its body.
struct Brief {
    generation: Generation,
    at: DateTime<Utc>,
    sums: Sums,
    schema: Option<i64>,
}

fn brief(c: &Connection, lane: i64, epoch: Epoch, kind: i64) -> Step<Option<Brief>> {
    let mut statement = c.prepare_cached(
        "select generation, at, files, bytes, rows_read, rows_written, rows_rejected, rows_filtered, rows_added, schema
         from record where lane = ?1 and epoch = ?2 and kind = ?3",
    )?;
    let mut rows = statement.query(params![lane, epoch.0 as i64, kind])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let at = read_time(row.get_ref(1)?)?.ok_or_else(|| Fault::Damaged("a record has no time".into()))?;
    Ok(Some(Brief { generation: Generation(row.get::<_, i64>(0)? as u64), at, sums: Sums::from_row(row, 2)?, schema: row.get(9)? }))
}

fn entry(c: &Connection, lane: LaneId, id: i64, epoch: Epoch) -> Step<EpochEntry> {
    let missing = |kind| Fault::Damaged(format!("lane {lane}, epoch {epoch}: its `{kind}` is missing"));
    let planned = brief(c, id, epoch, records::PLANNED)?.ok_or_else(|| missing("planned"))?;
    let staged = brief(c, id, epoch, records::STAGED)?;
    let (mut replaced, mut schema) = (Vec::new(), None);
    if let Some(staged) = &staged {
        replaced = records::replaced(c, id, epoch)?.ok_or_else(|| missing("staged"))?;
        let before = brief(c, id, Epoch(epoch.0 - 1), records::STAGED)?.and_then(|b| b.schema);
        if staged.schema.is_some() && staged.schema != before {
            let before = before.map(|id| records::schema(c, id)).transpose()?;
            schema = staged.schema.map(|id| records::schema(c, id)).transpose()?.filter(|now| Some(now) != before.as_ref());
        }
    }
    let committed = records::load_committed(c, id, epoch)?;
    Ok(EpochEntry {
        generation: committed.as_ref().map_or(staged.as_ref().map_or(planned.generation, |s| s.generation), |r| r.generation),
        planned_at: planned.at,
        staged_at: staged.as_ref().map(|s| s.at),
        committed_at: committed.as_ref().map(|r| r.at),
        files: staged.as_ref().map_or(planned.sums.files, |s| s.sums.files),
        bytes: staged.as_ref().map_or(planned.sums.bytes, |s| s.sums.bytes),
        rows: staged.as_ref().map_or(RowCounts::default(), |s| s.sums.rows),
        replaced,
        receipts: committed.map_or_else(Vec::new, |r| r.receipts),
        schema,
        lane,
        epoch,
    })
}

fn why(c: &Connection, file: &str) -> Step<Vec<FileStory>> {
    let (folder, name) = files::cut(file);
    // One search a folder, not one look at every file: `cross join` fixes the order.
    let mut statement = c.prepare_cached(
        "select p.id, p.name, d.id, d.path, f.lane, f.epoch from dir d
         cross join file f on f.dir = d.id and f.name = ?2 cross join pipeline p on p.id = d.pipeline
         where ?1 = '' or d.path = ?1 or substr(d.path, -length(?1) - 1) = '/' || ?1 order by p.name, d.path",
    )?;
    let mut rows = statement.query(params![folder, name])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let (pipeline, dir): (i64, i64) = (row.get(0)?, row.get(2)?);
        let path = format!("{}{name}", row.get::<_, String>(3)?);
        let lanes = Lanes::of(c, pipeline)?;
        let mut earlier = c.prepare_cached("select lane, epoch from earlier where dir = ?1 and name = ?2 order by n")?;
        let mut taken: Vec<(i64, Epoch)> =
            earlier.query_map(params![dir, name], |r| Ok((r.get(0)?, epoch(r, 1)?)))?.collect::<rusqlite::Result<_>>()?;
        taken.push((row.get(4)?, epoch(row, 5)?));
        let mut versions = Vec::new();
        for (lane, epoch) in taken {
            versions.push(chapter(c, &lanes, lane, epoch, &path)?);
        }
        out.push(FileStory { pipeline: PipelineName::new(row.get::<_, String>(1)?), path, versions });
    }
    Ok(out)
}

/// What one epoch did to one file; over all its splits.
fn chapter(c: &Connection, lanes: &Lanes, lane: i64, epoch: Epoch, path: &str) -> Step<FileChapter> {
    let missing = || Fault::Damaged(format!("the history says that epoch {epoch} took {path}; its `planned` does not"));
    let planned = records::load_planned(c, lane, epoch)?.ok_or_else(missing)?;
    let staged = records::load_staged(c, lane, epoch)?;
    let committed = brief(c, lane, epoch, records::COMMITTED)?;
    let mut version: Option<FileVersion> = None;
    let (mut replaces, mut rows, mut unread) = (false, RowCounts::default(), None);
    for (i, split) in planned.splits.iter().enumerate() {
        let Some(file) = split.file.as_ref().filter(|f| f.path == path) else { continue };
        version.get_or_insert_with(|| file.clone());
        replaces |= split.replaces;
        if let Some(report) = staged.as_ref().and_then(|s| s.splits.get(i)) {
            rows = rows.plus(&report.rows);
            match &report.outcome {
                Outcome::Read => {}
                Outcome::Changed(why) => unread = Some(format!("changed: {why}")),
                Outcome::Corrupt(why) => unread = Some(format!("corrupt: {why}")),
            }
        }
    }
    let fate = match (unread, &staged) {
        (Some(why), _) => why,
        (None, None) => "planned".into(),
        (None, Some(_)) if lanes.rewound(lane, epoch) => "rewound".into(),
        (None, Some(_)) => "landed".into(),
    };
    Ok(FileChapter {
        version: version.ok_or_else(missing)?,
        lane: lanes.name(lane).to_owned(),
        epoch,
        planned_at: planned.at,
        staged_at: staged.map(|s| s.at),
        committed_at: committed.map(|r| r.at),
        fate,
        rows,
        replaces,
    })
}

fn rewind(c: &Connection, lease: &Lease, to: Epoch, now: DateTime<Utc>) -> Step<Rewound> {
    lease::check(c, &lease.lane, lease.generation)?;
    let Some(head) = records::head(c, &lease.lane)? else { return Err(Fault::Damaged(format!("lane {} has a lease and no row", lease.lane))) };
    if head.planned > head.committed {
        let error = Error::new(ErrorKind::Conflict, format!("epoch {} of lane {} is begun and not committed", head.planned, lease.lane));
        return Err(error.hint(format!("finish it first: `sluis run {}`", lease.lane.pipeline)).into());
    }
    let mut count = c.prepare_cached(
        "select count(*), coalesce(sum(s.files), 0) from record s where s.lane = ?1 and s.kind = 2 and s.epoch > ?2
         and not exists (select 1 from rewind r where r.lane = ?1 and r.after < s.epoch and s.epoch <= r.through)",
    )?;
    let after = i64::try_from(to.0).unwrap_or(i64::MAX);
    let (epochs, files): (i64, i64) = count.query_row(params![head.id, after], |r| Ok((r.get(0)?, r.get(1)?)))?;
    if epochs > 0 {
        c.execute(
            "insert into rewind (lane, after, through, at) values (?1, ?2, ?3, ?4)",
            params![head.id, after, head.committed.0 as i64, stored_time(now)],
        )?;
    }
    Ok(Rewound { epochs: epochs as u64, files: files as u64 })
}
