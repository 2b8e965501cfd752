//! Checks everything: SQLite's own integrity, each invariant over all records, and that what is kept beside the records follows from them.
//!
//! Guarantees: reads only; memory is that of one epoch's records and of the lanes; goes on after a problem, so that one look shows them all
//! (up to a limit per kind of damage).

use rusqlite::{Connection, params};
use sluis_core::{Checkpoint, Epoch, Generation, Planned, Record, Staged};

use super::failure::{Fault, Step};
use super::files::{self, CHANGED, CORRUPT};
use super::inspect::FsckReport;
use super::records::{self, Sums};

/// After so many problems nothing more is listed.
const ENOUGH: usize = 200;

pub fn check(c: &Connection) -> Step<FsckReport> {
    let mut report = FsckReport::default();
    let mut statement = c.prepare("pragma integrity_check(20)")?;
    let mut rows = statement.query([])?;
    // Damage may stop the check itself: that is a finding, too.
    loop {
        match rows.next() {
            Ok(Some(row)) => {
                let line: String = row.get(0)?;
                if line != "ok" {
                    report.problems.push(format!("SQLite: {line}"));
                }
            }
            Ok(None) => break,
            Err(e) => {
                report.problems.push(format!("SQLite: {e}"));
                break;
            }
        }
    }
    let mut listed = Vec::new();
    let outcome = lanes(c).map(|found| listed = found);
    note(&mut report, "the lanes", outcome);
    let mut taken = 0;
    for lane in &listed {
        report.lanes += 1;
        let outcome = check_lane(c, lane, &mut report, &mut taken);
        note(&mut report, &format!("lane {}", lane.name), outcome);
    }
    let outcome = check_history(c, taken, &mut report);
    note(&mut report, "the file history", outcome);
    if report.problems.len() > ENOUGH {
        let more = report.problems.len() - ENOUGH;
        report.problems.truncate(ENOUGH);
        report.problems.push(format!("and {more} more"));
    }
    Ok(report)
}

/// A part that cannot be read is a problem; the others are looked at all the same.
fn note(report: &mut FsckReport, what: &str, outcome: Step<()>) {
    let why = match outcome {
        Ok(()) => return,
        Err(Fault::Damaged(why)) => why,
        Err(Fault::Sql(e)) => e.to_string(),
        Err(Fault::Told(e)) => e.to_string(),
    };
    report.problems.push(format!("{what}: {why}"));
}

/// A lane's row: what must follow from its records.
struct LaneRow {
    id: i64,
    pipeline: i64,
    name: String,
    generation: Generation,
    planned: Epoch,
    staged: Epoch,
    committed: Epoch,
    reached: Checkpoint,
    totals: Sums,
}

fn lanes(c: &Connection) -> Step<Vec<LaneRow>> {
    let mut statement = c.prepare(
        "select l.id, l.pipeline, coalesce(p.name, '?') || '/' || l.name, l.generation, l.planned, l.staged, l.committed, l.reached,
            l.files, l.bytes, l.rows_read, l.rows_written, l.rows_rejected, l.rows_filtered, l.rows_added
         from lane l left join pipeline p on p.id = l.pipeline order by l.id",
    )?;
    let mut rows = statement.query([])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let n = |i| row.get::<_, i64>(i).map(|n| n as u64);
        out.push(LaneRow {
            id: row.get(0)?,
            pipeline: row.get(1)?,
            name: row.get(2)?,
            generation: Generation(n(3)?),
            planned: Epoch(n(4)?),
            staged: Epoch(n(5)?),
            committed: Epoch(n(6)?),
            reached: records::checkpoint(row.get_ref(7)?)?,
            totals: Sums::from_row(row, 8)?,
        });
    }
    Ok(out)
}

fn check_lane(c: &Connection, lane: &LaneRow, report: &mut FsckReport, taken: &mut u64) -> Step<()> {
    let name = &lane.name;
    let (mut from, mut generation, mut totals) = (Checkpoint::default(), Generation(0), Sums::default());
    if lane.planned < lane.staged || lane.staged < lane.committed || lane.planned.0 > lane.committed.0 + 1 {
        let (p, s, k) = (lane.planned, lane.staged, lane.committed);
        report.problems.push(format!("lane {name}: I3: it says planned {p}, staged {s}, committed {k}; only the next epoch may be open"));
    }
    let newest: i64 = c.prepare_cached("select coalesce(max(epoch), 0) from record where lane = ?1")?.query_row([lane.id], |r| r.get(0))?;
    if newest as u64 != lane.planned.0 {
        report.problems.push(format!("lane {name}: it says that epoch {} is planned; its newest record is of epoch {newest}", lane.planned));
    }
    for e in 1..=lane.planned.0.max(newest as u64) {
        let epoch = Epoch(e);
        let mut found = Vec::new();
        match check_epoch(c, lane, epoch, &from, &mut generation, &mut found, taken) {
            Ok(Some((to, sums))) => {
                from = to;
                if epoch <= lane.committed {
                    totals.files += sums.files;
                    totals.bytes += sums.bytes;
                    totals.rows = totals.rows.plus(&sums.rows);
                }
                if epoch == lane.committed && from != lane.reached {
                    found.push(format!("I1: it ended at {from:?}, and the lane says {:?}", lane.reached));
                }
            }
            Ok(None) => {}
            Err(Fault::Damaged(why)) => found.push(why),
            Err(other) => return Err(other),
        }
        report.epochs += 1;
        report.problems.extend(found.into_iter().map(|why| format!("lane {name}, epoch {epoch}: {why}")));
        if report.problems.len() > ENOUGH {
            return Ok(());
        }
    }
    if generation > lane.generation {
        report.problems.push(format!("lane {name}: a record has generation {}, the lane only {}", generation.0, lane.generation.0));
    }
    if totals != lane.totals {
        report.problems.push(format!("lane {name}: its totals are {:?}; its committed epochs come to {totals:?}", lane.totals));
    }
    Ok(())
}

/// The three records of an epoch. Where it ended and what it came to, if it was staged.
fn check_epoch(
    c: &Connection,
    lane: &LaneRow,
    epoch: Epoch,
    from: &Checkpoint,
    generation: &mut Generation,
    found: &mut Vec<String>,
    taken: &mut u64,
) -> Step<Option<(Checkpoint, Sums)>> {
    let planned = records::load_planned(c, lane.id, epoch)?;
    let staged = records::load_staged(c, lane.id, epoch)?;
    let committed = records::load_committed(c, lane.id, epoch)?;
    for (kind, there, head) in
        [("planned", planned.is_some(), lane.planned), ("staged", staged.is_some(), lane.staged), ("committed", committed.is_some(), lane.committed)]
    {
        if there != (epoch <= head) {
            let is = if there { "is there" } else { "is missing" };
            found.push(format!("I3: its `{kind}` {is}, and the lane says that epoch {head} is the last {kind} one"));
        }
    }
    let records = [planned.clone().map(Record::Planned), staged.clone().map(Record::Staged), committed.map(Record::Committed)];
    for record in records.iter().flatten() {
        if record.generation() < *generation {
            found.push(format!("generations go back from {} to {} with its `{}`", generation.0, record.generation().0, record.kind()));
        }
        *generation = (*generation).max(record.generation());
    }
    let Some(planned) = planned else { return Ok(None) };
    if planned.from != *from {
        found.push(format!("I1: it starts at {:?}; the epoch before ended at {from:?}", planned.from));
    }
    let Some(staged) = staged else {
        check_files(c, lane, &planned, None, found, taken)?;
        return Ok(None);
    };
    if staged.from != planned.from || !staged.from.at_or_before(&staged.to) {
        found.push(format!("I1: `staged` goes from {:?} to {:?}; `planned` starts at {:?}", staged.from, staged.to, planned.from));
    }
    check_files(c, lane, &planned, Some(&staged), found, taken)?;
    Ok(Some((staged.to.clone(), check_accounting(c, lane, &planned, &staged, found)?)))
}

fn check_accounting(c: &Connection, lane: &LaneRow, planned: &Planned, staged: &Staged, found: &mut Vec<String>) -> Step<Sums> {
    if staged.splits.len() != planned.splits.len() {
        found.push(format!("I1: {} splits were planned, {} are reported", planned.splits.len(), staged.splits.len()));
    }
    for (split, report) in planned.splits.iter().zip(&staged.splits) {
        if !report.rows.balanced() {
            found.push(format!("accounting: the rows of {} do not add up: {:?}", split.name(), report.rows));
        }
    }
    let sums = records::sums_of(planned, staged);
    let stored = c
        .prepare_cached(
            "select files, bytes, rows_read, rows_written, rows_rejected, rows_filtered, rows_added from record
             where lane = ?1 and epoch = ?2 and kind = 2",
        )?
        .query_row(params![lane.id, staged.epoch.0 as i64], |r| Sums::from_row(r, 0))?;
    if stored != sums {
        found.push(format!("its sums are kept as {stored:?}; its splits come to {sums:?}"));
    }
    let mut sinks: Vec<(&str, u64)> = Vec::new();
    for committable in &staged.committables {
        match sinks.iter_mut().find(|(name, _)| *name == committable.sink.as_str()) {
            Some((_, rows)) => *rows += committable.rows,
            None => sinks.push((committable.sink.as_str(), committable.rows)),
        }
    }
    for (sink, rows) in sinks {
        let (expected, what) = if sink == "rejects" { (sums.rows.rejected, "rejected") } else { (sums.rows.written, "written") };
        if rows != expected {
            found.push(format!("accounting: target `{sink}` staged {rows} rows, the splits have {expected} {what} ones"));
        }
    }
    Ok(sums)
}

/// The rows of `file` and `earlier` that an epoch's splits must have left. `taken` counts them.
fn check_files(c: &Connection, lane: &LaneRow, planned: &Planned, staged: Option<&Staged>, found: &mut Vec<String>, taken: &mut u64) -> Step<()> {
    let exceptions = staged.map(|s| files::exceptions(planned, s)).unwrap_or_default();
    let mut find = c.prepare_cached(
        "select f.lane, f.epoch, f.flags, f.size, f.dir from dir d join file f on f.dir = d.id
         where d.pipeline = ?1 and d.path = ?2 and f.name = ?3",
    )?;
    let mut older = c.prepare_cached("select 1 from earlier where dir = ?1 and name = ?2 and lane = ?3 and epoch = ?4")?;
    let mut seen = std::collections::HashSet::new();
    for version in planned.splits.iter().filter_map(|s| s.file.as_ref()) {
        if !seen.insert(version.path.as_str()) {
            continue;
        }
        *taken += 1;
        let (dir, name) = files::cut(&version.path);
        let mut rows = find.query(params![lane.pipeline, dir, name])?;
        let Some(row) = rows.next()? else {
            found.push(format!("the file history does not know {}", version.path));
            continue;
        };
        let at: (i64, i64) = (row.get(0)?, row.get(1)?);
        if at != (lane.id, planned.epoch.0 as i64) {
            if !older.exists(params![row.get::<_, i64>(4)?, name, lane.id, planned.epoch.0 as i64])? {
                found.push(format!("the file history does not know that it took {}", version.path));
            }
            continue;
        }
        let flags: i64 = row.get(2)?;
        let expected = exceptions.get(version.path.as_str()).copied().unwrap_or(0);
        if flags & (CHANGED | CORRUPT) != expected & (CHANGED | CORRUPT) || row.get::<_, i64>(3)? as u64 != version.size {
            found.push(format!("the file history tells another fate or size of {}", version.path));
        }
    }
    Ok(())
}

/// Nothing in the history that no epoch took.
fn check_history(c: &Connection, taken: u64, report: &mut FsckReport) -> Step<()> {
    let count = |sql: &str| c.query_row(sql, [], |r| r.get::<_, i64>(0)).map(|n| n as u64);
    report.files = count("select count(*) from file")?;
    let kept = report.files + count("select count(*) from earlier")?;
    // Problems of single files and records are listed already.
    if report.problems.is_empty() && kept != taken {
        report.problems.push(format!("the file history holds {kept} versions; the epochs took {taken}"));
    }
    Ok(())
}
