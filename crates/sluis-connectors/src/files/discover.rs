//! From candidates to an epoch's splits, and on from where the last epoch's ended.
//!
//! A backlog of a hundred million files is not listed anew for every epoch: where listings are sorted, the next pass starts behind the
//! last file taken; else the candidates found beyond an epoch's limits are kept (a bounded number) and looked at again before they
//! are used. That is memory of this process about what it saw, never state: "caught up" is only ever said after a pass over everything,
//! and what was returned but not recorded by the engine is returned again.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures::FutureExt;
use sluis_core::{Checkpoint, Discovery, EpochLimits, Error, ErrorKind, FileHistory, FileVersion, LaneShard, PartitionId, Position, Result, Split};
use sluis_storage::StorageRef;

use super::candidates::{Candidate, Candidates, fitting};
use super::config::{Identity, Metadata, OnOverwrite, Start};
use super::content::Hash;
use super::judge::same;
use super::notes::{Kind, Notes};
use super::pattern::Matched;
use super::scan::{After, Scan};
use super::source::FilesSource;
use super::{content, judge, near};

/// The partition of all files of a lane.
const FILES: &str = "files";
/// The partition that keeps how far the first run of `start: new` is: `1 <instant>` while it goes on, `2 <instant>` after it.
const START: &str = "start";
/// Candidates kept beyond an epoch's limits where listings are not sorted.
pub const CARRIED: usize = 50_000;
/// How long they are worth keeping.
const CARRIED_FOR: TimeDelta = TimeDelta::minutes(10);
/// Passes that one call makes at most, while all that they find vanishes.
const PASSES: usize = 10;

/// What this process remembers of its last pass, per shard.
#[derive(Debug)]
pub struct Progress {
    /// Where that pass began.
    from: After,
    /// The last file it gave, if listings are sorted.
    last: After,
    /// The first file it gave: once that is known, the epoch was recorded.
    first: FileVersion,
    /// All that it found, if listings are not sorted.
    pub(super) queue: Vec<Candidate>,
    at: DateTime<Utc>,
}

/// What one look gave: candidates in order; `from`: where it began; `rest`: more, not looked at again.
struct Look {
    found: Vec<Candidate>,
    rest: Vec<Candidate>,
    from: After,
    overflow: bool,
    at: DateTime<Utc>,
}

/// `start: new`: which part of its first run this is.
enum Phase {
    Normal,
    Baseline(DateTime<Utc>),
}

impl FilesSource {
    pub(super) async fn find(&self, from: &Checkpoint, limits: &EpochLimits, shard: LaneShard, history: &dyn FileHistory) -> Result<Discovery> {
        let phase = self.phase(from, history).await?;
        let baseline = match phase {
            Phase::Baseline(at) => Some(at),
            Phase::Normal => None,
        };
        let mut scan = Scan { source: self, shard, history, now: self.clock.now(), baseline, notes: Notes::default(), markers: Default::default() };
        let sorted = self.sorted();
        let mut before = self.progress().remove(&(shard.index, shard.of));
        let mut tries = 0;
        loop {
            let mut look = match self.carried(&mut scan, before.take(), limits).await? {
                Ok(look) => look,
                Err(after) => self.pass(&mut scan, after, limits).await?,
            };
            let taken = self.select(&mut scan, &mut look.found, limits).await?;
            let Some((first, last)) = taken.first().zip(taken.last()) else {
                // Only a pass over everything says that there is nothing. If all that it found vanished, there may still be more.
                tries += 1;
                if (look.from.is_some() || look.overflow) && tries < PASSES {
                    continue;
                }
                return Ok(splits(self, from, vec![], &phase, false, scan.notes.lines()));
            };
            let more = look.overflow || look.from.is_some() || look.found.len() > taken.len() || !look.rest.is_empty();
            if more {
                let last = sorted.then(|| (last.place, last.path.clone()));
                let first = first.version.clone();
                let keep = !sorted && self.settings.manifest.is_none();
                let queue = if keep { look.found.into_iter().chain(look.rest).collect() } else { vec![] };
                let progress = Progress { from: look.from, last, first, queue, at: look.at };
                self.progress().insert((shard.index, shard.of), progress);
            }
            return Ok(splits(self, from, taken, &phase, more, scan.notes.lines()));
        }
    }

    async fn phase(&self, from: &Checkpoint, history: &dyn FileHistory) -> Result<Phase> {
        if self.settings.start != Start::New || self.selected.is_some() {
            return Ok(Phase::Normal);
        }
        Ok(match from.position(&PartitionId(START.into())) {
            Position::Text(text) => match text.strip_prefix("1 ").and_then(|at| DateTime::parse_from_rfc3339(at).ok()) {
                Some(at) => Phase::Baseline(at.to_utc()),
                None => Phase::Normal,
            },
            _ if from.position(&PartitionId(FILES.into())) == Position::Beginning && history.is_first_run().await? => {
                Phase::Baseline(self.clock.now())
            }
            _ => Phase::Normal,
        })
    }

    /// Goes on with what the last pass found; or says where the next one has to start.
    async fn carried(&self, scan: &mut Scan<'_>, before: Option<Progress>, limits: &EpochLimits) -> Result<Result<Look, After>> {
        let Some(before) = before else { return Ok(Err(None)) };
        if before.last.is_some() {
            let known = scan.history.lookup(std::slice::from_ref(&before.first.path)).await?;
            let recorded = known.first().is_some_and(|k| k.as_ref().is_some_and(|k| same(&k.version, &before.first)));
            return Ok(Err(if recorded { before.last } else { before.from }));
        }
        let age = scan.now.signed_duration_since(before.at);
        if age > CARRIED_FOR || age < TimeDelta::zero() {
            return Ok(Err(None));
        }
        let (found, rest) = scan.again(before.queue, most(limits)).await?;
        if found.is_empty() && rest.is_empty() {
            return Ok(Err(None));
        }
        // What is new since then is only seen by the next pass.
        Ok(Ok(Look { found, rest, from: None, overflow: true, at: before.at }))
    }

    /// A pass over the listings.
    async fn pass(&self, scan: &mut Scan<'_>, after: After, limits: &EpochLimits) -> Result<Look> {
        let mut found = Candidates::new(if self.sorted() { most(limits) } else { most(limits).max(CARRIED) });
        scan.run(&after, &mut found).await?;
        let overflow = found.overflow;
        Ok(Look { found: found.into_sorted(), rest: vec![], from: after, overflow, at: scan.now })
    }

    /// The first candidates that fit an epoch, with their content hashes; those that are gone meanwhile leave `found`.
    async fn select(&self, scan: &mut Scan<'_>, found: &mut Vec<Candidate>, limits: &EpochLimits) -> Result<Vec<Candidate>> {
        loop {
            let fit = fitting(found, limits);
            let hashed = self.hashed(found[..fit].to_vec()).await?;
            for (c, _) in found.iter().zip(&hashed).filter(|(_, hashed)| hashed.is_none()) {
                scan.notes.add(if c.md5.is_some() { Kind::NotAsListed } else { Kind::Vanished }, || c.version.path.clone());
            }
            let mut gone = hashed.iter().map(Option::is_none);
            found.retain(|_| !gone.next().unwrap_or(false));
            let taken: Vec<Candidate> = hashed.into_iter().flatten().collect();
            if !taken.is_empty() || found.is_empty() {
                return Ok(taken);
            }
        }
    }

    /// With their content hashes where they get one; `None` for what is gone, or not what the manifest says.
    async fn hashed(&self, candidates: Vec<Candidate>) -> Result<Vec<Option<Candidate>>> {
        let near = candidates.iter().all(|c| near::is_near(&self.places[c.place].storage));
        let asked = candidates.into_iter().map(|c| (self.places[c.place].storage.clone(), c)).collect();
        let identity = self.settings.identity;
        near::each(near, asked, move |(storage, c)| hashed(storage, c, identity).boxed()).await
    }

    fn sorted(&self) -> bool {
        self.settings.manifest.is_none() && self.places.iter().all(|p| p.storage.sorted() || p.pattern.walk().levels.is_some())
    }

    /// A candidate's columns.
    fn constants(&self, c: &Candidate) -> std::collections::BTreeMap<String, String> {
        let mut values = match self.places[c.place].matches(&c.path) {
            Matched::Yes(values) => values,
            // It matched when it was found.
            Matched::No | Matched::Wrong { .. } => Default::default(),
        };
        for wanted in &self.settings.metadata {
            match (wanted, c.version.modified) {
                (Metadata::File, _) => drop(values.insert("_file".into(), c.version.path.clone())),
                (Metadata::Modified, Some(at)) => drop(values.insert("_modified".into(), at.to_rfc3339_opts(SecondsFormat::AutoSi, true))),
                (Metadata::Modified, None) | (Metadata::Line | Metadata::Loaded, _) => {}
            }
        }
        values
    }
}

async fn hashed(storage: StorageRef, mut c: Candidate, identity: Identity) -> Result<Option<Candidate>> {
    let keep = content::wanted(&c.version, identity);
    if !keep && c.md5.is_none() {
        return Ok(Some(c));
    }
    if let Some(listed) = &c.md5 {
        let hash = content::hash(storage.as_ref(), &c.path, &c.version, Hash::Md5).await?;
        if hash.as_deref().and_then(|hash| hash.strip_prefix(Hash::Md5.prefix())) != Some(listed) {
            return Ok(None);
        }
    }
    if keep {
        let Some(hash) = content::hash(storage.as_ref(), &c.path, &c.version, Hash::Xxh64).await? else { return Ok(None) };
        c.version.etag = Some(hash);
    }
    Ok(Some(c))
}

/// Candidates to look for, for an epoch: one more than fit, so that `more` is known.
fn most(limits: &EpochLimits) -> usize {
    usize::try_from(limits.files).unwrap_or(usize::MAX).clamp(1, 10_000_000) + 1
}

fn splits(source: &FilesSource, from: &Checkpoint, taken: Vec<Candidate>, phase: &Phase, more: bool, notes: Vec<String>) -> Discovery {
    let files = PartitionId(FILES.into());
    let mut at = from.position(&files);
    let mut n = at.number().unwrap_or(0);
    let mut to = from.clone();
    let mut splits: Vec<Split> = Vec::with_capacity(taken.len() + 1);
    for c in taken {
        n += 1;
        let next = Position::Number(n);
        splits.push(Split {
            partition: files.clone(),
            from: std::mem::replace(&mut at, next.clone()),
            to: Some(next),
            constants: source.constants(&c),
            file: Some(if matches!(phase, Phase::Baseline(_)) { judge::pass_over(c.version) } else { c.version }),
            replaces: c.replaces,
            apart: source.settings.on_overwrite == OnOverwrite::Replace,
            detail: serde_json::Value::Null,
        });
    }
    if !splits.is_empty() {
        to.set(files, at);
    }
    let mut more = more;
    if let Phase::Baseline(instant) = phase {
        let start = PartitionId(START.into());
        let instant = instant.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        if more {
            to.set(start, Position::Text(format!("1 {instant}")));
        } else {
            let done = Position::Text(format!("2 {instant}"));
            let from = from.position(&start);
            splits.push(Split {
                partition: start.clone(),
                from,
                to: Some(done.clone()),
                file: None,
                constants: Default::default(),
                replaces: false,
                apart: false,
                detail: serde_json::Value::Null,
            });
            to.set(start, done);
            // What came since the instant is looked for after it.
            more = true;
        }
    }
    assert!(from.at_or_before(&to), "a checkpoint only goes forward");
    Discovery { splits, to, more, notes }
}

/// A file of the plan that is no longer in any URL of the configuration.
pub fn elsewhere(address: &str) -> Error {
    Error::new(ErrorKind::SourceChanged, format!("{address} is not below any `url` of this pipeline any more"))
        .hint("the URL was changed after this epoch was planned; put the old URL back (in addition) to land this file")
}
