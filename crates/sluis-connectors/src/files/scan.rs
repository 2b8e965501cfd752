//! One pass over the listings: from what is there to the candidates for an epoch.
//!
//! Streams: a chunk of the listing at a time is filtered, looked up in the history and judged; only candidates are kept, and of those
//! only the first ones. Moves no state but what this process has seen of unsettled files.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::stream::{StreamExt, TryStreamExt};
use sluis_core::{Error, ErrorKind, FileHistory, FileVersion, KnownFile, LaneShard, Result};
use sluis_storage::Entry;

use super::candidates::{Candidate, Candidates};
use super::config::Start;
use super::content::Hash;
use super::judge::{Verdict, hash, judge, overwritten, passed_over};
use super::manifest::{self, Listed};
use super::notes::{Kind, Notes};
use super::pattern::{Matched, moment};
use super::place::Place;
use super::settle::Settled;
use super::source::FilesSource;
use super::{content, hidden, near, walk};

/// Entries that are looked up at once.
const CHUNK: usize = 4096;
/// Folders whose `_SUCCESS`-like marker is remembered within a pass.
const FOLDERS: usize = 10_000;

/// Where a pass may start: behind this path of this place.
pub type After = Option<(usize, String)>;

/// A pass, and what it is about.
pub struct Scan<'a> {
    pub source: &'a FilesSource,
    pub shard: LaneShard,
    pub history: &'a dyn FileHistory,
    pub now: DateTime<Utc>,
    /// `start: new`, first run: only files that were there by then.
    pub baseline: Option<DateTime<Utc>>,
    pub notes: Notes,
    /// Markers that serve many files, and whether they are there.
    pub markers: HashMap<String, bool>,
}

impl Scan<'_> {
    /// Passes over all places, from `after` on, into `found`.
    pub async fn run(&mut self, after: &After, found: &mut Candidates) -> Result<()> {
        let source = self.source;
        let first = after.as_ref().map_or(0, |(place, _)| *place);
        for (i, place) in source.places.iter().enumerate().skip(first) {
            if source.settings.manifest.is_some() {
                self.listed(i, place, found).await?;
            } else {
                let after = after.as_ref().filter(|(at, _)| *at == i).map(|(_, path)| path.as_str());
                self.place(i, place, after, found).await?;
            }
            // Whatever comes later sorts after what is held.
            if found.full() {
                found.overflow |= i + 1 < source.places.len();
                return Ok(());
            }
        }
        Ok(())
    }

    async fn place(&mut self, i: usize, place: &Place, after: Option<&str>, found: &mut Candidates) -> Result<()> {
        let listing = match walk::list(place, after).await {
            // A single file that was archived or deleted after its commit.
            Err(e) if e.kind() == ErrorKind::NotFound && !place.named.is_empty() && self.source.removes() => return Ok(()),
            listing => listing?,
        };
        let mut chunks = listing.entries.try_chunks(CHUNK);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|e| e.1)?;
            for candidate in self.chunk(i, place, chunk, None).await? {
                found.offer(candidate);
            }
            if listing.sorted && found.full() {
                // Not sure, but the next call will know.
                found.overflow = true;
                return Ok(());
            }
        }
        Ok(())
    }

    /// The files that the manifest lists, instead of those of a listing.
    async fn listed(&mut self, i: usize, place: &Place, found: &mut Candidates) -> Result<()> {
        let Some((storage, path)) = self.source.manifest_of(place) else { return Ok(()) };
        let Some(listed) = manifest::read(storage.as_ref(), &path).await? else {
            self.notes.add(Kind::NotListed, || storage.address(&path));
            return Ok(());
        };
        let base = if place.named.is_empty() { String::new() } else { format!("{}/", place.named) };
        let mut wanted: HashMap<String, Listed> = HashMap::new();
        for l in listed {
            let own = l.path.contains("://") || l.path.starts_with('/');
            let path = if own { place.path_of(&l.path).map(str::to_owned) } else { Some(format!("{base}{}", l.path.trim_start_matches("./"))) };
            match path {
                Some(path) => drop(wanted.insert(path, l)),
                None if self.source.places.iter().any(|p| p.path_of(&l.path).is_some()) => {}
                None => self.notes.add(Kind::NoMatch, || l.path.clone()),
            }
        }
        let mut paths: Vec<&String> = wanted.keys().collect();
        paths.sort();
        for chunk in paths.chunks(CHUNK) {
            let there = heads(place, chunk.iter().map(|path| (*path).clone()).collect()).await?;
            let mut entries = Vec::new();
            for (path, entry) in chunk.iter().zip(there) {
                match entry {
                    None => self.notes.add(Kind::NotListed, || place.storage.address(path)),
                    Some(e) if wanted[*path].size.is_some_and(|size| size != e.size) => {
                        self.notes.add(Kind::NotAsListed, || format!("{} ({} bytes)", place.storage.address(path), e.size));
                    }
                    Some(e) => entries.push(e),
                }
            }
            for candidate in self.chunk(i, place, entries, Some(&wanted)).await? {
                found.offer(candidate);
            }
        }
        Ok(())
    }

    /// Looks again at files that an earlier pass found: what is still there and still not taken, until `most` of them are found.
    /// The rest is returned untouched.
    pub async fn again(&mut self, queue: Vec<Candidate>, most: usize) -> Result<(Vec<Candidate>, Vec<Candidate>)> {
        let mut fresh = Vec::new();
        let mut queue = queue.into_iter();
        while fresh.len() < most {
            let some: Vec<Candidate> = queue.by_ref().take(CHUNK.min(most - fresh.len())).collect();
            if some.is_empty() {
                break;
            }
            let addresses: Vec<String> = some.iter().map(|c| c.version.path.clone()).collect();
            let known = self.lookup(&addresses).await?;
            let taken = |k: &Option<KnownFile>, c: &Candidate| k.as_ref().is_some_and(|k| k.landed && super::judge::same(&k.version, &c.version));
            let left: Vec<Candidate> = some.into_iter().zip(&known).filter(|(c, k)| !taken(k, c)).map(|(c, _)| c).collect();
            for (i, place) in self.source.places.iter().enumerate() {
                let there = heads(place, left.iter().filter(|c| c.place == i).map(|c| c.path.clone()).collect()).await?;
                fresh.extend(self.chunk(i, place, there.into_iter().flatten().collect(), None).await?);
            }
        }
        Ok((fresh, queue.collect()))
    }

    /// Filters and judges some entries.
    async fn chunk(&mut self, i: usize, place: &Place, entries: Vec<Entry>, listed: Option<&HashMap<String, Listed>>) -> Result<Vec<Candidate>> {
        let mut files: Vec<(String, FileVersion, Option<DateTime<Utc>>)> = Vec::new();
        for entry in entries {
            let version = place.version(&entry);
            if let Some(date) = self.asked_for(place, &entry, &version, listed.is_some()) {
                files.push((entry.path, version, date));
            }
        }
        files.sort_by(|a, b| a.1.path.cmp(&b.1.path));
        let addresses: Vec<String> = files.iter().map(|(_, version, _)| version.path.clone()).collect();
        let known = self.lookup(&addresses).await?;
        let mut out = Vec::new();
        for ((path, version, date), known) in files.into_iter().zip(known) {
            let backfill = self.source.selected.is_some();
            let verdict = match judge(known.as_ref(), &version, self.source.settings.on_overwrite, backfill) {
                Verdict::Known => {
                    self.source.watch().forget(&version.path);
                    self.source.due(known.as_ref(), &version);
                    continue;
                }
                verdict => verdict,
            };
            if known.is_none() && self.too_old(&version, date) || !self.complete(place, &path, &version).await? {
                continue;
            }
            let Some(replaces) = self.take(place, &path, &version, known.as_ref(), verdict).await? else { continue };
            let md5 = listed.and_then(|l| l.get(&path)?.md5.clone());
            out.push(Candidate { place: i, path, version, replaces, md5 });
        }
        Ok(out)
    }

    async fn lookup(&self, addresses: &[String]) -> Result<Vec<Option<KnownFile>>> {
        if addresses.is_empty() {
            return Ok(Vec::new());
        }
        let known = self.history.lookup(addresses).await?;
        assert_eq!(known.len(), addresses.len(), "the history answers for each path");
        Ok(known)
    }

    /// Whether the configuration asks for a file: `None` = no; else the moment its name says, for `start`.
    fn asked_for(&mut self, place: &Place, entry: &Entry, version: &FileVersion, listed: bool) -> Option<Option<DateTime<Utc>>> {
        let settings = &self.source.settings;
        let path = place.relative(&entry.path);
        // A file that the URL or a manifest names is meant, however it is called.
        let named = listed || entry.path == place.named;
        let passed_over = hidden::ours(path)
            || (!settings.hidden && !named && hidden::hidden(path, place.pattern.name_prefix()))
            || settings.marker.as_ref().is_some_and(|m| m.is_marker(path))
            || self.source.in_archive(&version.path)
            || !self.shard.holds(&version.path);
        if passed_over {
            return None;
        }
        match place.pattern.matches(path) {
            Matched::No => {
                if listed {
                    self.notes.add(Kind::NoMatch, || version.path.clone());
                }
                None
            }
            Matched::Wrong { capture, text, wanted } => {
                self.notes.add(Kind::WrongValue, || format!("{} (`{text}` for {capture} is no {wanted})", version.path));
                None
            }
            Matched::Yes(values) => {
                let date = place.pattern.date_capture().and_then(|name| moment(values.get(name)?));
                self.source.selected.as_ref().is_none_or(|s| s.holds(path, version, date)).then_some(date)
            }
        }
    }

    /// `start`: whether a file that is not known is from before.
    fn too_old(&self, version: &FileVersion, date: Option<DateTime<Utc>>) -> bool {
        if let Some(baseline) = self.baseline {
            // Of the first run's files only those that were there when it began; later ones are new.
            return version.modified.is_some_and(|at| at > baseline);
        }
        match self.source.settings.start {
            Start::From(start) if self.source.selected.is_none() => date.or(version.modified).is_some_and(|at| at < start),
            Start::All | Start::New | Start::From(_) => false,
        }
    }

    /// Whether nobody is writing the file any more: settled, and its marker is there.
    async fn complete(&mut self, place: &Place, path: &str, version: &FileVersion) -> Result<bool> {
        let settings = &self.source.settings;
        let about = || version.path.clone();
        match self.source.watch().settled(version, self.now, settings.settle) {
            Settled::Yes => {}
            Settled::No => {
                self.notes.add(Kind::Settling, about);
                return Ok(false);
            }
            Settled::NoRoom => {
                self.notes.add(Kind::TooMany, about);
                return Ok(false);
            }
            Settled::Future => self.notes.add(Kind::FromTheFuture, about),
            Settled::Unknown => self.notes.add(Kind::NoModified, about),
        }
        let Some(marker) = &settings.marker else { return Ok(true) };
        let relative = place.relative(path);
        let marker = format!("{}{}", &path[..path.len() - relative.len()], marker.of(relative));
        let address = place.storage.address(&marker);
        let there = match self.markers.get(&address) {
            Some(there) => *there,
            None => {
                let there = place.storage.head(&marker).await?.is_some();
                if self.markers.len() < FOLDERS {
                    self.markers.insert(address.clone(), there);
                }
                there
            }
        };
        if !there {
            self.notes.add(Kind::NoMarker, || format!("{} ({address})", version.path));
        }
        Ok(there)
    }

    /// Whether to take a file that is new or overwritten: `Some(replaces)`.
    async fn take(&mut self, place: &Place, path: &str, version: &FileVersion, known: Option<&KnownFile>, verdict: Verdict) -> Result<Option<bool>> {
        let verdict = match (verdict, known) {
            (Verdict::Compare, Some(known)) if self.touched(place, path, version, &known.version).await? => Verdict::Known,
            (Verdict::Compare, _) => overwritten(self.source.settings.on_overwrite),
            (verdict, _) => verdict,
        };
        match verdict {
            Verdict::Take { replaces: true } if known.is_some_and(cannot_leave) => Err(mixed(version)),
            Verdict::Take { replaces } => Ok(Some(replaces)),
            Verdict::Ignore => {
                self.notes.add(Kind::Overwritten, || version.path.clone());
                Ok(None)
            }
            Verdict::Conflict => Err(conflict(version, known)),
            Verdict::Known | Verdict::Compare => {
                self.source.due(known, version);
                Ok(None)
            }
        }
    }

    /// Whether a file with a new time still has the content that landed.
    async fn touched(&self, place: &Place, path: &str, now: &FileVersion, kept: &FileVersion) -> Result<bool> {
        let Some(landed) = hash(kept) else { return Ok(false) };
        let by = Hash::of(landed).unwrap_or(Hash::Xxh64);
        let have = match self.source.compared(now).filter(|have| have.starts_with(by.prefix())) {
            Some(have) => have,
            None => {
                let Some(have) = content::hash(place.storage.as_ref(), path, now, by).await? else { return Ok(false) };
                self.source.remember(now, &have);
                have
            }
        };
        Ok(have == landed)
    }
}

/// What is there of each path, in their order.
async fn heads(place: &Place, paths: Vec<String>) -> Result<Vec<Option<Entry>>> {
    let storage = place.storage.clone();
    let head = move |path: String| {
        let storage = storage.clone();
        async move { storage.head(&path).await }.boxed()
    };
    near::each(near::is_near(&place.storage), paths, head).await
}

/// Whether rows of a file that landed may stand where a new version cannot take their place.
fn cannot_leave(known: &KnownFile) -> bool {
    known.mixed && known.version.size > 0 && !passed_over(&known.version)
}

fn mixed(version: &FileVersion) -> Error {
    let message = format!("{} is there in a new version, and its earlier rows landed before `on_overwrite: replace` was set", version.path);
    Error::new(ErrorKind::Conflict, format!("{message}: they stand among other files' rows and cannot be taken away")).hint(
        "put back the `on_overwrite` that was there; or give the pipeline another `name` and its targets other places, so that all files land anew \
         and each can be replaced from then on",
    )
}

fn conflict(version: &FileVersion, known: Option<&KnownFile>) -> Error {
    let shown = |v: &FileVersion| {
        let time = v.modified.map(|at| format!(", modified {}", at.to_rfc3339())).unwrap_or_default();
        let etag = v.etag.as_ref().map(|etag| format!(", etag {etag}")).unwrap_or_default();
        format!("{} bytes{time}{etag}", v.size)
    };
    let mut e = Error::new(ErrorKind::Conflict, format!("{} landed before and is there in a new version", version.path));
    if let Some(known) = known {
        e = e.context("landed", format!("{} in epoch {} of lane {}", shown(&known.version), known.epoch, known.lane));
    }
    e.context("now", shown(version)).hint(
        "say what is meant with `on_overwrite`: `replace` (its old rows leave), `append` (its rows come in addition) or `ignore`; or give the new file a name of its own",
    )
}
