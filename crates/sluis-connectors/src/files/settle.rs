//! Settling: whether a file has been left alone long enough to be complete.
//!
//! By its modification time, which works from one run to the next without memory. A file whose time lies a little in the future (clocks
//! differ) also counts once this process has seen it unchanged for that long. A time more than a day ahead says nothing about an
//! upload (it was set by a copy tool, which does that last, or by hand), nor does a missing one: those are taken, and noted.
//! Clocks that go backwards make files wait, never lose them.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sluis_core::FileVersion;

/// Files that are watched at once; the memory that takes.
const WATCHED: usize = 100_000;

/// What settling says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Yes,
    No,
    /// Taken: its time lies too far in the future to say anything.
    Future,
    /// Taken: it has no time.
    Unknown,
    /// Not watched for want of room; it settles by its time.
    NoRoom,
}

/// What this process has seen of files that are not settled.
#[derive(Debug, Default)]
pub struct Watch {
    seen: HashMap<String, (String, DateTime<Utc>)>,
}

impl Watch {
    /// Judges a file, and remembers it if it is not settled.
    pub fn settled(&mut self, version: &FileVersion, now: DateTime<Utc>, settle: Duration) -> Settled {
        let Ok(settle) = TimeDelta::from_std(settle) else { return Settled::No };
        if settle <= TimeDelta::zero() {
            return Settled::Yes;
        }
        let Some(modified) = version.modified else { return Settled::Unknown };
        let age = now.signed_duration_since(modified);
        if age >= settle {
            self.seen.remove(&version.path);
            return Settled::Yes;
        }
        if age < TimeDelta::days(-1) {
            return Settled::Future;
        }
        let tag = version.tag();
        if self.seen.len() >= WATCHED && !self.seen.contains_key(&version.path) {
            // Files that vanished before they settled.
            self.seen.retain(|_, (_, since)| now.signed_duration_since(*since) < settle + TimeDelta::days(1));
            if self.seen.len() >= WATCHED {
                return Settled::NoRoom;
            }
        }
        let (seen, since) = self.seen.entry(version.path.clone()).or_insert_with(|| (tag.clone(), now));
        // A change, or a clock that went backwards, starts the wait anew.
        if *seen != tag || *since > now {
            (*seen, *since) = (tag, now);
        }
        if now.signed_duration_since(*since) >= settle { Settled::Yes } else { Settled::No }
    }

    /// Forgets a file that has landed.
    pub fn forget(&mut self, address: &str) {
        if !self.seen.is_empty() {
            self.seen.remove(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(second: Option<i64>, size: u64) -> FileVersion {
        FileVersion { path: "/f".into(), size, modified: second.and_then(|s| DateTime::from_timestamp(s, 0)), etag: None }
    }
    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn by_modification_time() {
        let mut w = Watch::default();
        assert_eq!(w.settled(&version(Some(1000), 1), at(1000), Duration::ZERO), Settled::Yes);
        assert_eq!(w.settled(&version(Some(1000), 1), at(1059), MINUTE), Settled::No);
        assert_eq!(w.settled(&version(Some(1000), 1), at(1060), MINUTE), Settled::Yes);
        assert!(w.seen.is_empty());
        assert_eq!(w.settled(&version(None, 1), at(1060), MINUTE), Settled::Unknown);
        assert_eq!(w.settled(&version(Some(1000 + 86_401), 1), at(1000), MINUTE), Settled::Future);
    }

    #[test]
    fn a_time_a_little_ahead_does_not_starve_a_file() {
        let mut w = Watch::default();
        let ahead = version(Some(5000), 1);
        assert_eq!(w.settled(&ahead, at(1000), MINUTE), Settled::No);
        assert_eq!(w.settled(&ahead, at(1059), MINUTE), Settled::No);
        assert_eq!(w.settled(&ahead, at(1060), MINUTE), Settled::Yes);
    }

    #[test]
    fn growth_and_clocks_that_go_backwards_start_the_wait_anew() {
        let mut w = Watch::default();
        assert_eq!(w.settled(&version(Some(5000), 1), at(1000), MINUTE), Settled::No);
        assert_eq!(w.settled(&version(Some(5000), 2), at(1060), MINUTE), Settled::No, "it grew");
        assert_eq!(w.settled(&version(Some(5000), 2), at(500), MINUTE), Settled::No, "the clock went backwards");
        assert_eq!(w.settled(&version(Some(5000), 2), at(559), MINUTE), Settled::No);
        assert_eq!(w.settled(&version(Some(5000), 2), at(560), MINUTE), Settled::Yes);
        w.forget("/f");
        assert!(w.seen.is_empty());
    }
}
