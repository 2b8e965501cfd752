//! Ownership of lanes: one holder at a time, numbered by generations, for a time.
//!
//! Guarantees: a generation is given once. What protects the data is the generation (`create` refuses older ones); the time only decides how
//! long others wait. So a clock that jumps may end a lease early, which costs its holder the epoch's work and nothing else; and a clock that
//! went backwards makes others wait one more lease from when they notice, not for as long as it went back.
//!
//! Deliberately not here: renewing in time (the engine).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, params};
use sluis_core::{Error, ErrorKind, Generation, LaneId, Lease, LeaseHolder, Result};

use super::failure::{Fault, Step};
use super::owner;
use super::records::{read_time, stored_time};

/// Clocks of processes that read it at nearly the same time may differ by this much.
const SLACK: TimeDelta = TimeDelta::seconds(1);

/// A lane's ownership as it stands.
pub struct Held {
    pub generation: Generation,
    pub holder: Option<LeaseHolder>,
    pub granted: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
}

impl Held {
    /// From columns `at..at + 4`: generation, holder, granted, until.
    pub fn from_row(row: &rusqlite::Row<'_>, at: usize) -> Step<Held> {
        let holder: Option<String> = row.get(at + 1)?;
        let holder = holder.map(|text| serde_json::from_str(&text)).transpose();
        Ok(Held {
            generation: Generation(row.get::<_, i64>(at)? as u64),
            holder: holder.map_err(|e| Fault::Damaged(format!("the holder of a lane cannot be read: {e}")))?,
            granted: read_time(row.get_ref(at + 2)?)?,
            until: read_time(row.get_ref(at + 3)?)?,
        })
    }

    /// Whether somebody has the lane whose time is not over and whose process is, as far as one can see, still there.
    pub fn alive(&self, now: DateTime<Utc>) -> bool {
        self.holder.as_ref().is_some_and(|holder| self.until.is_some_and(|until| now < until) && !owner::is_gone(holder))
    }
}

fn find(c: &Connection, lane: &LaneId) -> Step<Option<(i64, Held)>> {
    let mut statement = c.prepare_cached(
        "select l.id, l.generation, l.holder, l.granted, l.until from lane l join pipeline p on p.id = l.pipeline where p.name = ?1 and l.name = ?2",
    )?;
    let mut rows = statement.query(params![lane.pipeline.as_str(), lane.lane])?;
    match rows.next()? {
        Some(row) => Ok(Some((row.get(0)?, Held::from_row(row, 1)?))),
        None => Ok(None),
    }
}

fn lasting(ttl: Duration) -> TimeDelta {
    TimeDelta::from_std(ttl).unwrap_or(TimeDelta::days(366)).min(TimeDelta::days(366))
}

/// The inner result is the answer: also a refusal may have written something (see [`SLACK`]).
pub fn acquire(c: &Connection, lane: &LaneId, owner: &LeaseHolder, ttl: Duration, now: DateTime<Utc>) -> Step<Result<Lease>> {
    let (id, held) = match find(c, lane)? {
        Some(found) => found,
        None => {
            c.execute("insert into pipeline (name) values (?1) on conflict do nothing", [lane.pipeline.as_str()])?;
            let add = "insert into lane (pipeline, name) select id, ?2 from pipeline where name = ?1";
            c.execute(add, params![lane.pipeline.as_str(), lane.lane])?;
            (c.last_insert_rowid(), Held { generation: Generation(0), holder: None, granted: None, until: None })
        }
    };
    if let (true, Some(holder), Some(until)) = (held.alive(now), &held.holder, held.until) {
        let length = held.granted.map_or(lasting(ttl), |granted| (until - granted).max(TimeDelta::zero()));
        let mut until = until;
        if until > now + length + SLACK {
            // The clock went back since the lease was given: it counts from now.
            until = now + length;
            c.execute("update lane set granted = ?2, until = ?3 where id = ?1", params![id, stored_time(now), stored_time(until)])?;
        }
        return Ok(Err(refusal(lane, holder, until)));
    }
    let generation = Generation(held.generation.0 + 1);
    let until = now + lasting(ttl);
    let holder = serde_json::to_string(owner).map_err(|e| Error::internal("a lease holder has no JSON").source(e))?;
    c.execute(
        "update lane set generation = ?2, holder = ?3, granted = ?4, until = ?5 where id = ?1",
        params![id, generation.0 as i64, holder, stored_time(now), stored_time(until)],
    )?;
    Ok(Ok(Lease { lane: lane.clone(), generation, until }))
}

fn refusal(lane: &LaneId, holder: &LeaseHolder, until: DateTime<Utc>) -> Error {
    let LeaseHolder { host, pid, user, since, .. } = holder;
    let seconds = chrono::SecondsFormat::Secs;
    let (since, until) = (since.to_rfc3339_opts(seconds, true), until.to_rfc3339_opts(seconds, true));
    Error::new(ErrorKind::Lease, format!("pipeline `{}` is being run by {user} on {host} (process {pid}) since {since}", lane.pipeline))
        .context("lane", lane)
        .context("lease until", &until)
        .hint(format!(
            "wait for it to end. If it hangs, stop process {pid} on {host}: on the same host the lane is free at once, elsewhere when the lease runs out ({until})"
        ))
}

/// Why a lease, or a record of its generation, is not good any more.
pub fn lost(lane: &LaneId, generation: Generation, held: Option<&Held>) -> Error {
    let message = match held {
        Some(Held { generation: now, holder: Some(LeaseHolder { host, pid, user, .. }), .. }) if *now != generation => {
            format!("the lease of pipeline `{}` was lost: {user} on {host} (process {pid}) has taken it over", lane.pipeline)
        }
        Some(held) if held.generation == generation => format!("the lease of pipeline `{}` was given back and is used again", lane.pipeline),
        _ => format!("the lease of pipeline `{}` is not the lane's current one", lane.pipeline),
    };
    let mut error = Error::new(ErrorKind::Lease, message).context("lane", lane).context("generation", generation.0);
    if let Some(held) = held {
        error = error.context("current generation", held.generation.0);
    }
    error.hint("this process was away for longer than its lease (suspended, or a clock that jumped); the other one goes on: nothing is lost")
}

/// Whether `lease` is the lane's current one.
pub fn check(c: &Connection, lane: &LaneId, generation: Generation) -> Step<i64> {
    match find(c, lane)? {
        Some((id, held)) if held.generation == generation && held.holder.is_some() => Ok(id),
        other => Err(lost(lane, generation, other.as_ref().map(|(_, held)| held)).into()),
    }
}

pub fn renew(c: &Connection, lease: &Lease, ttl: Duration, now: DateTime<Utc>) -> Step<Lease> {
    let id = check(c, &lease.lane, lease.generation)?;
    let until = now + lasting(ttl);
    c.execute("update lane set granted = ?2, until = ?3 where id = ?1", params![id, stored_time(now), stored_time(until)])?;
    Ok(Lease { until, ..lease.clone() })
}

pub fn release(c: &Connection, lease: &Lease) -> Step<()> {
    let free = "update lane set holder = null, granted = null, until = null
        where name = ?2 and generation = ?3 and pipeline = (select id from pipeline where name = ?1)";
    c.execute(free, params![lease.lane.pipeline.as_str(), lease.lane.lane, lease.generation.0 as i64])?;
    Ok(())
}
