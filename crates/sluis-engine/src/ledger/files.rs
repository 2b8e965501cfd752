//! The history of file versions: kept with `planned` and `staged`, in their transactions; looked up by `discover`.
//!
//! Guarantees: a lookup costs one search of a B-tree whose rows lie in the order of listings, whatever the number of known files; memory is
//! that of the answer.
//!
//! A row says which epoch took the newest version of a path. Whether it landed follows from how far that lane is; only what did not land as
//! planned is marked. So staging an epoch touches no row of a file that was read well.

use std::collections::{HashMap, HashSet};

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};
use sluis_core::{Epoch, FileVersion, KnownFile, Outcome, PipelineName, Planned, Staged};

use super::failure::{Fault, Step};
use super::records::{Head, read_time, stored_time};

/// The newest version was gone when it was to be read.
pub const CHANGED: i64 = 1;
/// It was damaged as a whole: one reject, no rows.
pub const CORRUPT: i64 = 2;
/// An older version landed rows.
pub const EARLIER_LANDED: i64 = 4;
/// Rows of this or an earlier version may stand among others' (`KnownFile::mixed`).
pub const MIXED: i64 = 8;

/// A path cut after its last `/`.
pub fn cut(path: &str) -> (&str, &str) {
    path.split_at(path.rfind('/').map_or(0, |i| i + 1))
}

/// Ids of folders; remembers the last one, as paths come sorted.
struct Dirs<'c> {
    connection: &'c Connection,
    pipeline: i64,
    last: Option<(String, Option<i64>)>,
}

impl<'c> Dirs<'c> {
    fn new(connection: &'c Connection, pipeline: i64) -> Self {
        Self { connection, pipeline, last: None }
    }

    fn find(&mut self, dir: &str) -> Step<Option<i64>> {
        if let Some((path, id)) = &self.last
            && path == dir
        {
            return Ok(*id);
        }
        let mut statement = self.connection.prepare_cached("select id from dir where pipeline = ?1 and path = ?2")?;
        let id = statement.query_row(params![self.pipeline, dir], |r| r.get(0)).optional()?;
        self.last = Some((dir.to_owned(), id));
        Ok(id)
    }

    fn find_or_add(&mut self, dir: &str) -> Step<i64> {
        if let Some(id) = self.find(dir)? {
            return Ok(id);
        }
        let id = self.connection.prepare_cached("insert into dir (pipeline, path) values (?1, ?2)")?.insert(params![self.pipeline, dir])?;
        self.last = Some((dir.to_owned(), Some(id)));
        Ok(id)
    }
}

/// Keeps what `planned` takes.
pub fn plan(c: &Connection, head: &Head, planned: &Planned) -> Step<()> {
    let mut dirs = Dirs::new(c, head.pipeline);
    let mut find = c.prepare_cached("select lane, epoch, flags from file where dir = ?1 and name = ?2")?;
    let mut add =
        c.prepare_cached("insert into file (dir, name, lane, epoch, flags, size, modified, etag) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    let mut renew =
        c.prepare_cached("update file set lane = ?3, epoch = ?4, flags = ?5, size = ?6, modified = ?7, etag = ?8 where dir = ?1 and name = ?2")?;
    let mut keep = c.prepare_cached(
        "insert into earlier (dir, name, n, lane, epoch)
         values (?1, ?2, 1 + coalesce((select max(n) from earlier where dir = ?1 and name = ?2), 0), ?3, ?4)",
    )?;
    let epoch = planned.epoch.0 as i64;
    for (version, apart) in planned.splits.iter().filter_map(|s| Some((s.file.as_ref()?, s.apart))) {
        let mixed = if apart { 0 } else { MIXED };
        let (dir, name) = cut(&version.path);
        let dir = dirs.find_or_add(dir)?;
        let before: Option<(i64, i64, i64)> = find.query_row(params![dir, name], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).optional()?;
        let flags = match before {
            None => mixed,
            // Several splits of one file.
            Some((lane, at, _)) if (lane, at) == (head.id, epoch) => continue,
            Some((lane, at, flags)) => {
                keep.execute(params![dir, name, lane, at])?;
                let landed = if flags & (CHANGED | CORRUPT) == 0 { EARLIER_LANDED } else { flags & EARLIER_LANDED };
                landed | mixed | if landed == 0 { 0 } else { flags & MIXED }
            }
        };
        let statement = if before.is_none() { &mut add } else { &mut renew };
        let modified = version.modified.map(stored_time);
        let etag = version.etag.as_deref().map(stored_etag);
        statement.execute(params![dir, name, head.id, epoch, flags, version.size as i64, modified, etag])?;
    }
    Ok(())
}

/// Most storages' etags are 32 hexadecimal digits: half the bytes, and with ten million files a tenth of the ledger.
fn stored_etag(etag: &str) -> Value {
    let digits = etag.len() == 32 && etag.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match u128::from_str_radix(etag, 16) {
        Ok(number) if digits => Value::Blob(number.to_be_bytes().to_vec()),
        _ => Value::Text(etag.to_owned()),
    }
}

fn read_etag(value: ValueRef<'_>) -> Step<Option<String>> {
    let wrong = || Fault::Damaged("an etag is neither text nor 16 bytes".into());
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Text(text) => Ok(Some(std::str::from_utf8(text).map_err(|_| wrong())?.to_owned())),
        ValueRef::Blob(bytes) => Ok(Some(format!("{:032x}", u128::from_be_bytes(bytes.try_into().map_err(|_| wrong())?)))),
        _ => Err(wrong()),
    }
}

/// Marks what was not read as planned.
pub fn stage(c: &Connection, head: &Head, planned: &Planned, staged: &Staged) -> Step<()> {
    for (path, flags) in exceptions(planned, staged) {
        let (dir, name) = cut(path);
        let mark = "update file set flags = flags | ?5
            where dir = (select id from dir where pipeline = ?1 and path = ?2) and name = ?3 and lane = ?4 and epoch = ?6";
        c.prepare_cached(mark)?.execute(params![head.pipeline, dir, name, head.id, flags, staged.epoch.0 as i64])?;
    }
    Ok(())
}

/// Paths that did not land as planned, with their flags.
pub fn exceptions<'a>(planned: &'a Planned, staged: &Staged) -> HashMap<&'a str, i64> {
    let mut out = HashMap::new();
    let mut read = HashSet::new();
    for (split, report) in planned.splits.iter().zip(&staged.splits) {
        let Some(version) = &split.file else { continue };
        match report.outcome {
            Outcome::Read => drop(read.insert(version.path.as_str())),
            Outcome::Changed(_) => *out.entry(version.path.as_str()).or_default() |= CHANGED,
            Outcome::Corrupt(_) => *out.entry(version.path.as_str()).or_default() |= CORRUPT,
        }
    }
    // A file of several splits of which some were read: it is to be read again, and rows of it landed.
    for (path, flags) in &mut out {
        if read.contains(path) {
            *flags |= EARLIER_LANDED;
        }
    }
    out
}

/// What is known of lanes when a row of `file` is to be understood.
pub struct Lanes(HashMap<i64, LaneFate>);

struct LaneFate {
    name: String,
    staged: u64,
    /// `(after, through)` of each rewind.
    rewinds: Vec<(u64, u64)>,
}

impl Lanes {
    pub fn of(c: &Connection, pipeline: i64) -> Step<Lanes> {
        let mut lanes = HashMap::new();
        let mut statement = c.prepare_cached("select id, name, staged from lane where pipeline = ?1")?;
        let mut rows = statement.query([pipeline])?;
        while let Some(row) = rows.next()? {
            let fate = LaneFate { name: row.get(1)?, staged: row.get::<_, i64>(2)? as u64, rewinds: Vec::new() };
            lanes.insert(row.get(0)?, fate);
        }
        let mut statement = c.prepare_cached("select r.lane, r.after, r.through from rewind r join lane l on l.id = r.lane where l.pipeline = ?1")?;
        let mut rows = statement.query([pipeline])?;
        while let Some(row) = rows.next()? {
            if let Some(lane) = lanes.get_mut(&row.get(0)?) {
                lane.rewinds.push((row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as u64));
            }
        }
        Ok(Lanes(lanes))
    }

    pub fn name(&self, lane: i64) -> &str {
        self.0.get(&lane).map_or("", |l| &l.name)
    }

    pub fn rewound(&self, lane: i64, epoch: Epoch) -> bool {
        self.0.get(&lane).is_some_and(|l| l.rewinds.iter().any(|(after, through)| *after < epoch.0 && epoch.0 <= *through))
    }

    fn known(&self, path: &str, row: &Row<'_>, again: Option<&str>) -> Step<KnownFile> {
        let lane: i64 = row.get(0)?;
        let epoch = Epoch(row.get::<_, i64>(1)? as u64);
        let flags: i64 = row.get(2)?;
        let fate = self.0.get(&lane);
        let rewound = self.rewound(lane, epoch);
        let taken = flags & CHANGED == 0;
        let read = flags & (CHANGED | CORRUPT) == 0 && fate.is_some_and(|l| epoch.0 <= l.staged);
        let name = fate.map_or("", |l| l.name.as_str());
        let again = taken && (rewound || again.is_some_and(|own| own != name));
        Ok(KnownFile {
            version: FileVersion {
                path: path.to_owned(),
                size: row.get::<_, i64>(3)? as u64,
                modified: read_time(row.get_ref(4)?)?,
                etag: read_etag(row.get_ref(5)?)?,
            },
            lane: name.to_owned(),
            epoch,
            landed: taken && !again,
            landed_before: read || flags & EARLIER_LANDED != 0,
            again,
            mixed: flags & MIXED != 0,
            corrupt: flags & CORRUPT != 0,
        })
    }
}

pub fn pipeline_id(c: &Connection, pipeline: &PipelineName) -> Step<Option<i64>> {
    let mut statement = c.prepare_cached("select id from pipeline where name = ?1")?;
    Ok(statement.query_row([pipeline.as_str()], |r| r.get(0)).optional()?)
}

/// The newest known version of each path. `again`: what other lanes took counts as asked for once more.
pub fn lookup(c: &Connection, pipeline: &PipelineName, paths: &[String], again: Option<&str>) -> Step<Vec<Option<KnownFile>>> {
    let Some(pipeline) = pipeline_id(c, pipeline)? else { return Ok(vec![None; paths.len()]) };
    let lanes = Lanes::of(c, pipeline)?;
    let mut dirs = Dirs::new(c, pipeline);
    let mut find = c.prepare_cached("select lane, epoch, flags, size, modified, etag from file where dir = ?1 and name = ?2")?;
    let mut out = Vec::with_capacity(paths.len());
    for path in paths {
        let (dir, name) = cut(path);
        let known = match dirs.find(dir)? {
            None => None,
            Some(dir) => {
                let mut rows = find.query(params![dir, name])?;
                rows.next()?.map(|row| lanes.known(path, row, again)).transpose()?
            }
        };
        out.push(known);
    }
    Ok(out)
}

/// Whether no lane of the pipeline has committed anything.
pub fn is_first_run(c: &Connection, pipeline: &PipelineName) -> Step<bool> {
    let mut statement = c.prepare_cached("select 1 from lane l join pipeline p on p.id = l.pipeline where p.name = ?1 and l.committed > 0")?;
    Ok(!statement.exists([pipeline.as_str()])?)
}
