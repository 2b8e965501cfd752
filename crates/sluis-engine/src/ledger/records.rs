//! Records: conditional create, the invariants it enforces, the view that `decide` works on, and how a record is stored.
//!
//! Guarantees: a record is written once per `(lane, epoch, kind)`; only by the lane's current generation; only if it goes on where the lane
//! stands (I1: an epoch starts where the one before ended; I3: one epoch at a time, planned, then staged, then committed). What would break
//! that is `ErrorKind::Internal`; stored records that do are `ErrorKind::Ledger`.

use std::io::Read;

use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use sluis_core::{Checkpoint, Committed, Created, Epoch, Error, LaneId, LaneView, Outcome, PipelineName, Planned, Record, Result, RowCounts, Staged};

use super::failure::{Fault, Step};
use super::{files, lease};

/// The column `kind`.
pub const PLANNED: i64 = 1;
pub const STAGED: i64 = 2;
pub const COMMITTED: i64 = 3;

/// How a record is packed: level 3 takes a tenth of a millisecond for the splits of 100 files and leaves an eighth of their JSON.
const LEVEL: i32 = 3;

/// How far a lane is.
pub struct Head {
    pub id: i64,
    pub pipeline: i64,
    pub planned: Epoch,
    pub staged: Epoch,
    pub committed: Epoch,
    pub reached: Checkpoint,
}

pub fn head(c: &Connection, lane: &LaneId) -> Step<Option<Head>> {
    let mut statement = c.prepare_cached(
        "select l.id, l.pipeline, l.planned, l.staged, l.committed, l.reached
         from lane l join pipeline p on p.id = l.pipeline where p.name = ?1 and l.name = ?2",
    )?;
    let mut rows = statement.query(params![lane.pipeline.as_str(), lane.lane])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let epoch = |i| -> Step<Epoch> { Ok(Epoch(row.get::<_, i64>(i)? as u64)) };
    Ok(Some(Head {
        id: row.get(0)?,
        pipeline: row.get(1)?,
        planned: epoch(2)?,
        staged: epoch(3)?,
        committed: epoch(4)?,
        reached: checkpoint(row.get_ref(5)?)?,
    }))
}

/// A checkpoint as the columns `reached` and `reaching` hold it.
pub fn checkpoint(value: ValueRef<'_>) -> Step<Checkpoint> {
    let text = value.as_str().map_err(|e| Fault::Damaged(format!("a lane's checkpoint is no text: {e}")))?;
    serde_json::from_str(text).map_err(|e| Fault::Damaged(format!("a lane's checkpoint cannot be read: {e}")))
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::internal("a record cannot be written as JSON").source(e))
}

/// Packs JSON: zstd with a checksum, so that bytes that rot on the disk are noticed.
pub fn pack(json: &[u8]) -> Result<Vec<u8>> {
    let packed = || -> std::io::Result<Vec<u8>> {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
        compressor.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true))?;
        compressor.compress(json)
    };
    packed().map_err(|e| Error::internal("a record cannot be packed").source(e))
}

pub fn unpack<T: serde::de::DeserializeOwned>(packed: &[u8]) -> Step<T> {
    let mut json = Vec::with_capacity(packed.len().saturating_mul(8));
    let decoder = zstd::stream::read::Decoder::with_buffer(packed);
    decoder.and_then(|mut d| d.read_to_end(&mut json)).map_err(|e| Fault::Damaged(format!("a record cannot be unpacked: {e}")))?;
    serde_json::from_slice(&json).map_err(|e| Fault::Damaged(format!("a record cannot be read: {e}")))
}

/// A moment as the columns hold it: nanoseconds since 1970, or RFC 3339 where 64 bits do not reach.
pub fn stored_time(at: DateTime<Utc>) -> Value {
    match at.timestamp_nanos_opt() {
        Some(nanos) if DateTime::from_timestamp_nanos(nanos) == at => Value::Integer(nanos),
        _ => Value::Text(at.to_rfc3339_opts(SecondsFormat::Nanos, true)),
    }
}

pub fn read_time(value: ValueRef<'_>) -> Step<Option<DateTime<Utc>>> {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(nanos) => Ok(Some(DateTime::from_timestamp_nanos(nanos))),
        ValueRef::Text(text) => std::str::from_utf8(text)
            .ok()
            .and_then(|t| t.parse().ok())
            .map(Some)
            .ok_or_else(|| Fault::Damaged(format!("`{}` is no moment", String::from_utf8_lossy(text)))),
        other => Err(Fault::Damaged(format!("a moment is stored as {}", other.data_type()))),
    }
}

fn kind(record: &Record) -> i64 {
    match record {
        Record::Planned(_) => PLANNED,
        Record::Staged(_) => STAGED,
        Record::Committed(_) => COMMITTED,
    }
}

/// A stored record, its schema put back.
pub fn load(c: &Connection, lane: i64, epoch: Epoch, kind: i64) -> Step<Option<Record>> {
    let mut statement = c.prepare_cached("select body, schema from record where lane = ?1 and epoch = ?2 and kind = ?3")?;
    let mut rows = statement.query(params![lane, epoch.0 as i64, kind])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let body = row.get_ref(0)?.as_blob().map_err(|e| Fault::Damaged(format!("a record is no blob: {e}")))?;
    let mut record: Record = unpack(body)?;
    if record.epoch() != epoch || self::kind(&record) != kind {
        return Err(Fault::Damaged(format!("in the place of a record of epoch {epoch} is `{}` of epoch {}", record.kind(), record.epoch())));
    }
    if let (Record::Staged(staged), Some(id)) = (&mut record, row.get::<_, Option<i64>>(1)?) {
        staged.schema = Some(schema(c, id)?);
    }
    Ok(Some(record))
}

pub fn load_planned(c: &Connection, lane: i64, epoch: Epoch) -> Step<Option<Planned>> {
    Ok(load(c, lane, epoch, PLANNED)?.and_then(|r| if let Record::Planned(p) = r { Some(p) } else { None }))
}

pub fn load_staged(c: &Connection, lane: i64, epoch: Epoch) -> Step<Option<Staged>> {
    Ok(load(c, lane, epoch, STAGED)?.and_then(|r| if let Record::Staged(s) = r { Some(s) } else { None }))
}

pub fn load_committed(c: &Connection, lane: i64, epoch: Epoch) -> Step<Option<Committed>> {
    Ok(load(c, lane, epoch, COMMITTED)?.and_then(|r| if let Record::Committed(r) = r { Some(r) } else { None }))
}

/// Only `replaced` of a staged record: an epoch may have many splits.
pub fn replaced(c: &Connection, lane: i64, epoch: Epoch) -> Step<Option<Vec<String>>> {
    #[derive(serde::Deserialize)]
    struct Replaced {
        #[serde(default)]
        replaced: Vec<String>,
    }
    let mut statement = c.prepare_cached("select body from record where lane = ?1 and epoch = ?2 and kind = 2")?;
    let body: Option<Vec<u8>> = statement.query_row(params![lane, epoch.0 as i64], |r| r.get(0)).optional()?;
    Ok(body.map(|b| unpack::<Replaced>(&b)).transpose()?.map(|r| r.replaced))
}

pub fn schema(c: &Connection, id: i64) -> Step<serde_json::Value> {
    let mut statement = c.prepare_cached("select body from schema where id = ?1")?;
    let body: Option<Vec<u8>> = statement.query_row([id], |r| r.get(0)).optional()?;
    unpack(&body.ok_or_else(|| Fault::Damaged(format!("schema {id} is missing")))?)
}

pub fn last_schema(c: &Connection, pipeline: &PipelineName) -> Step<Option<serde_json::Value>> {
    let id: Option<Option<i64>> = c.query_row("select schema from pipeline where name = ?1", [pipeline.as_str()], |r| r.get(0)).optional()?;
    id.flatten().map(|id| schema(c, id)).transpose()
}

/// The records of the lane's last committed epoch.
pub fn last_committed(c: &Connection, lane: &LaneId) -> Step<Option<(Planned, Staged)>> {
    let Some(head) = head(c, lane)?.filter(|h| h.committed.0 > 0) else { return Ok(None) };
    match (load_planned(c, head.id, head.committed)?, load_staged(c, head.id, head.committed)?) {
        (Some(planned), Some(staged)) => Ok(Some((planned, staged))),
        _ => Err(Fault::Damaged(format!("lane {lane}, epoch {}: it is committed, and its records are missing", head.committed))),
    }
}

/// What `decide` needs of a lane. What it would panic about is told as damage.
pub fn view(c: &Connection, lane: &LaneId) -> Step<LaneView> {
    let Some(head) = head(c, lane)? else { return Ok(LaneView::default()) };
    let open = head.committed.next();
    let (planned, staged) = (load_planned(c, head.id, open)?, load_staged(c, head.id, open)?);
    let damaged = |why: &str| Err(Fault::Damaged(format!("lane {lane}, epoch {open}: {why}")));
    if planned.is_some() != (head.planned == open) || staged.is_some() != (head.staged == open) {
        return damaged("its records and the lane's head do not agree");
    }
    if planned.as_ref().is_some_and(|planned| planned.from != head.reached) {
        return damaged("it does not start where the epoch before ended (I1)");
    }
    if let Some(staged) = &staged {
        let fits = planned.as_ref().is_some_and(|p| p.from == staged.from && p.splits.len() == staged.splits.len());
        if !fits {
            return damaged("`staged` does not fit `planned` (I1)");
        }
    }
    let committed = (head.committed.0 > 0).then_some((head.committed, head.reached));
    Ok(LaneView { committed, planned, staged })
}

/// Writes `record` unless one of its kind is there.
pub fn create(c: &Connection, lane: &LaneId, mut record: Record) -> Step<Created> {
    lease::check(c, lane, record.generation())?;
    let Some(head) = head(c, lane)? else { return Err(Fault::Damaged(format!("lane {lane} has a lease and no row"))) };
    if let Some(winner) = load(c, head.id, record.epoch(), kind(&record))? {
        return Ok(Created::Lost(Box::new(winner)));
    }
    let (epoch, name) = (record.epoch(), record.kind());
    let broken = |invariant: &str, why: String| -> Fault {
        Error::internal(format!("{invariant}: {why}")).context("lane", lane).context("epoch", epoch).context("record", name).into()
    };
    if record.epoch() != head.committed.next() {
        return Err(broken("I3", format!("the lane has committed epoch {}, so the next one is {}", head.committed, head.committed.next())));
    }
    // A schema is kept once, beside the records.
    let schema = if let Record::Staged(staged) = &mut record { staged.schema.take() } else { None };
    match &record {
        Record::Planned(planned) => plan(c, &head, planned, &record, &broken),
        Record::Staged(staged) => stage(c, &head, staged, schema, &record, &broken),
        Record::Committed(committed) => commit(c, &head, committed, &record, &broken),
    }?;
    Ok(Created::Won)
}

type Broken<'a> = &'a dyn Fn(&str, String) -> Fault;

fn plan(c: &Connection, head: &Head, planned: &Planned, record: &Record, broken: Broken<'_>) -> Step<()> {
    if planned.from != head.reached {
        return Err(broken("I1", format!("it starts at {:?}; the epoch before ended at {:?}", planned.from, head.reached)));
    }
    if !planned.from.at_or_before(&planned.to) {
        return Err(broken("I1", format!("it would go back, from {:?} to {:?}", planned.from, planned.to)));
    }
    let versions = || planned.splits.iter().filter_map(|s| s.file.as_ref());
    let sums = Sums { files: versions().count() as u64, bytes: versions().map(|v| v.size).sum(), rows: RowCounts::default() };
    insert(c, head.id, record, planned.at, &sums, None)?;
    files::plan(c, head, planned)?;
    c.prepare_cached("update lane set planned = ?2 where id = ?1")?.execute(params![head.id, planned.epoch.0 as i64])?;
    Ok(())
}

fn stage(c: &Connection, head: &Head, staged: &Staged, schema: Option<serde_json::Value>, record: &Record, broken: Broken<'_>) -> Step<()> {
    let Some(planned) = load_planned(c, head.id, staged.epoch)? else { return Err(broken("I1", "it is staged and was never planned".into())) };
    if staged.from != planned.from {
        return Err(broken("I1", format!("it starts at {:?} and was planned from {:?}", staged.from, planned.from)));
    }
    if !staged.from.at_or_before(&staged.to) {
        return Err(broken("I1", format!("it would go back, from {:?} to {:?}", staged.from, staged.to)));
    }
    if staged.splits.len() != planned.splits.len() {
        return Err(broken("I1", format!("{} splits were planned, {} are reported", planned.splits.len(), staged.splits.len())));
    }
    if let Some((split, report)) = planned.splits.iter().zip(&staged.splits).find(|(_, report)| !report.rows.balanced()) {
        return Err(broken("accounting", format!("the rows of {} do not add up: {:?}", split.name(), report.rows)));
    }
    let sums = sums_of(&planned, staged);
    let schema = schema.map(|schema| keep_schema(c, head.pipeline, &schema)).transpose()?;
    insert(c, head.id, record, staged.at, &sums, schema)?;
    files::stage(c, head, &planned, staged)?;
    let to = serde_json::to_string(&staged.to).map_err(|e| Error::internal("a checkpoint has no JSON").source(e))?;
    c.prepare_cached("update lane set staged = ?2, reaching = ?3 where id = ?1")?.execute(params![head.id, staged.epoch.0 as i64, to])?;
    Ok(())
}

fn commit(c: &Connection, head: &Head, committed: &Committed, record: &Record, broken: Broken<'_>) -> Step<()> {
    if head.staged != committed.epoch {
        return Err(broken("I3", "it is committed and was never staged".into()));
    }
    insert(c, head.id, record, committed.at, &Sums::default(), None)?;
    let totals = "update lane set committed = ?2, committed_at = ?3, reached = reaching, reaching = null,
            files = lane.files + s.files, bytes = lane.bytes + s.bytes, rows_read = lane.rows_read + s.rows_read,
            rows_written = lane.rows_written + s.rows_written, rows_rejected = lane.rows_rejected + s.rows_rejected,
            rows_filtered = lane.rows_filtered + s.rows_filtered, rows_added = lane.rows_added + s.rows_added
        from record s where lane.id = ?1 and s.lane = ?1 and s.epoch = ?2 and s.kind = 2";
    let changed = c.prepare_cached(totals)?.execute(params![head.id, committed.epoch.0 as i64, stored_time(committed.at)])?;
    if changed != 1 {
        return Err(Fault::Damaged(format!("epoch {} is staged and its record is missing", committed.epoch)));
    }
    Ok(())
}

/// What a record comes to, kept beside it for questions.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub files: u64,
    pub bytes: u64,
    pub rows: RowCounts,
}

impl Sums {
    /// From columns `at..at + 7`: files, bytes, and rows read, written, rejected, filtered, added.
    pub fn from_row(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Sums> {
        let n = |i: usize| row.get::<_, i64>(at + i).map(|n| n as u64);
        Ok(Sums { files: n(0)?, bytes: n(1)?, rows: RowCounts { read: n(2)?, written: n(3)?, rejected: n(4)?, filtered: n(5)?, added: n(6)? } })
    }
}

/// What a staged epoch comes to: files that were read or found damaged, bytes and rows of all splits.
pub fn sums_of(planned: &Planned, staged: &Staged) -> Sums {
    let landed = planned.splits.iter().zip(&staged.splits).filter(|(s, r)| s.file.is_some() && !matches!(r.outcome, Outcome::Changed(_)));
    Sums { files: landed.count() as u64, bytes: staged.bytes(), rows: staged.rows() }
}

fn insert(c: &Connection, lane: i64, record: &Record, at: DateTime<Utc>, sums: &Sums, schema: Option<i64>) -> Step<()> {
    let mut statement: CachedStatement<'_> = c.prepare_cached(
        "insert into record (lane, epoch, kind, generation, at, files, bytes, rows_read, rows_written, rows_rejected, rows_filtered, rows_added,
            schema, body) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    let n = |n: u64| n as i64;
    let Sums { files, bytes, rows } = sums;
    statement.execute(params![
        lane,
        n(record.epoch().0),
        kind(record),
        n(record.generation().0),
        stored_time(at),
        n(*files),
        n(*bytes),
        n(rows.read),
        n(rows.written),
        n(rows.rejected),
        n(rows.filtered),
        n(rows.added),
        schema,
        pack(&to_json(record)?)?
    ])?;
    Ok(())
}

/// The id under which a pipeline's schema stands; a schema is stored again only when it has changed.
fn keep_schema(c: &Connection, pipeline: i64, now: &serde_json::Value) -> Step<i64> {
    let last: Option<i64> = c.prepare_cached("select schema from pipeline where id = ?1")?.query_row([pipeline], |r| r.get(0))?;
    if let Some(last) = last {
        // Compared as text: the order of an object's keys is kept, too.
        if to_json(&schema(c, last)?)? == to_json(now)? {
            return Ok(last);
        }
    }
    c.execute("insert into schema (pipeline, body) values (?1, ?2)", params![pipeline, pack(&to_json(now)?)?])?;
    let id = c.last_insert_rowid();
    c.execute("update pipeline set schema = ?2 where id = ?1", params![pipeline, id])?;
    Ok(id)
}
