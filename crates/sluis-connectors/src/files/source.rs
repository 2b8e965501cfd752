//! The source: what it is made of, opening a split, probing.
//!
//! Deliberately not here: listing and choosing (`discover`, `scan`), what becomes of files after the commit (`acknowledge`).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;
use sluis_core::registry::BuildContext;
use sluis_core::{
    Checkpoint, Clock, Discovery, EpochLimits, Error, ErrorKind, FileHistory, FileVersion, KnownFile, LaneShard, Opened, Result, Source, Split,
};
use sluis_formats::archive;
use sluis_storage::StorageRef;

use super::acknowledge::Archive;
use super::config::{Afterwards, Settings};
use super::discover::{Progress, elsewhere};
use super::judge::passed_over;
use super::members;
use super::pattern::Matched;
use super::place::Place;
use super::raw::{PassedOver, StoredFile};
use super::selection::Selected;
use super::settle::Watch;
use super::walk;

/// Files that `probe` looks at before it gives up finding one that matches.
const PROBED: usize = 10_000;
/// Files kept to be archived or deleted by the next `acknowledge`; what does not fit is found again by the next listing.
const DUE: usize = 10_000;
/// Content hashes of touched files that are remembered, so that they are not read again by every discovery.
const COMPARED: usize = 100_000;

/// `from: files`.
pub struct FilesSource {
    pub(super) settings: Settings,
    pub(super) places: Vec<Arc<Place>>,
    /// A manifest with an address of its own: else it is looked for below each URL.
    manifest: Option<(StorageRef, String)>,
    pub(super) archive: Option<Archive>,
    /// A backfill: only these files, and `start` is not looked at.
    pub(super) selected: Option<Selected>,
    pub(super) clock: Arc<dyn Clock>,
    watch: Mutex<Watch>,
    progress: Mutex<HashMap<(u32, u32), Progress>>,
    due: Mutex<BTreeMap<String, FileVersion>>,
    compared: Mutex<HashMap<(String, String), String>>,
}

impl FilesSource {
    /// Opens the places of a configuration; contacts nobody.
    ///
    /// # Errors
    /// `ErrorKind::Config`: mistakes in it, or in a connection.
    pub fn build(context: &BuildContext, value: &Value) -> Result<FilesSource> {
        let settings = Settings::parse(value).map_err(|problems| {
            let first = problems.into_iter().next();
            let (message, hint) = first.map_or_else(Default::default, |p| (format!("files: {}: {}", p.at.join("."), p.message), p.hint));
            let e = Error::config(message);
            if let Some(hint) = hint { e.hint(hint) } else { e }
        })?;
        let connection = settings.connection.as_deref();
        let places = settings.urls.iter().map(|url| Place::open(url, connection, context)).collect::<Result<Vec<_>>>()?;
        let own = |m: &&String| m.contains("://") || m.starts_with(['/', '~']);
        let manifest = match settings.manifest.as_ref().filter(own) {
            Some(url) => {
                let connection = connection.filter(|_| !super::place::is_local(url));
                let opened = sluis_storage::url::open(url, &context.connections, connection, &context.project_dir)?;
                Some((opened.storage, opened.path))
            }
            None => None,
        };
        let archive = match &settings.afterwards {
            Afterwards::Archive { to, .. } => Some(Archive::open(to, &places, connection, context)?),
            Afterwards::Keep | Afterwards::Delete { .. } => None,
        };
        let selected = context.selection.as_ref().map(Selected::new).transpose()?;
        Ok(Self { selected, ..Self::new(settings, places, manifest, archive, context.clock.clone()) })
    }

    /// From parts that are open.
    pub(super) fn new(
        settings: Settings,
        places: Vec<Place>,
        manifest: Option<(StorageRef, String)>,
        archive: Option<Archive>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            settings,
            places: places.into_iter().map(Arc::new).collect(),
            manifest,
            archive,
            selected: None,
            clock,
            watch: Mutex::default(),
            progress: Mutex::default(),
            due: Mutex::default(),
            compared: Mutex::default(),
        }
    }

    pub(super) fn watch(&self) -> MutexGuard<'_, Watch> {
        lock(&self.watch)
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, HashMap<(u32, u32), Progress>> {
        lock(&self.progress)
    }

    /// Whether files leave their place after the commit.
    pub(super) fn removes(&self) -> bool {
        self.settings.afterwards != Afterwards::Keep
    }

    /// Whether an address is in the folder that files are archived to.
    pub(super) fn in_archive(&self, address: &str) -> bool {
        self.archive.as_ref().is_some_and(|a| address.strip_prefix(a.root()).is_some_and(|rest| rest.starts_with('/')))
    }

    /// The manifest that goes for a place.
    pub(super) fn manifest_of(&self, place: &Place) -> Option<(StorageRef, String)> {
        let path = self.settings.manifest.as_ref()?;
        Some(self.manifest.clone().unwrap_or_else(|| {
            let below = if place.named.is_empty() { path.clone() } else { format!("{}/{path}", place.named) };
            (place.storage.clone(), below.replace("./", ""))
        }))
    }

    /// A file that is there though it has landed: for the next `acknowledge`, if files are to leave.
    pub(super) fn due(&self, known: Option<&KnownFile>, version: &FileVersion) {
        // What the first run of `start: new` passed over is left alone; a damaged file is the only copy of rows that landed nowhere.
        let landed = known.is_some_and(|k| k.landed && !k.corrupt && !passed_over(&k.version));
        if !self.removes() || !landed || !self.old_enough(version, self.clock.now()) {
            return;
        }
        let mut due = lock(&self.due);
        if due.len() < DUE {
            due.insert(version.path.clone(), version.clone());
        }
    }

    /// What earlier discoveries found to be due, once.
    pub(super) fn take_due(&self) -> BTreeMap<String, FileVersion> {
        std::mem::take(&mut *lock(&self.due))
    }

    /// `delay`: whether a file is old enough to leave. One without a time is.
    pub(super) fn old_enough(&self, version: &FileVersion, now: DateTime<Utc>) -> bool {
        let delay = match &self.settings.afterwards {
            Afterwards::Keep => return false,
            Afterwards::Delete { delay } | Afterwards::Archive { delay, .. } => *delay,
        };
        let age = version.modified.map(|at| now.signed_duration_since(at).to_std().unwrap_or_default());
        delay.is_zero() || age.is_none_or(|age| age >= delay)
    }

    /// The content hash of a touched file, if it was read before.
    pub(super) fn compared(&self, version: &FileVersion) -> Option<String> {
        lock(&self.compared).get(&(version.path.clone(), version.tag())).cloned()
    }

    pub(super) fn remember(&self, version: &FileVersion, hash: &str) {
        let mut compared = lock(&self.compared);
        if compared.len() < COMPARED {
            compared.insert((version.path.clone(), version.tag()), hash.to_owned());
        }
    }

    /// The place that an address is in, and its path there; the innermost if several.
    pub(super) fn locate<'a>(&self, address: &'a str) -> Option<(&Arc<Place>, &'a str)> {
        let found = self.places.iter().filter_map(|place| Some((place, place.path_of(address)?)));
        found.max_by_key(|(place, _)| place.storage.root().len())
    }

    async fn probe_place(&self, place: &Place) -> Result<String> {
        let mut entries = walk::list(place, None).await?.entries.take(PROBED);
        let (mut seen, mut first) = (0_usize, None);
        while let (None, Some(entry)) = (&first, entries.try_next().await?) {
            seen += 1;
            if matches!(place.matches(&entry.path), Matched::Yes(_)) {
                first = Some(entry);
            }
        }
        let root = place.storage.root();
        let Some(entry) = first else {
            return Ok(match seen {
                0 => format!("{root}: can be listed; it is empty"),
                PROBED => format!("{root}: can be listed; none of the first {PROBED} files matches"),
                n => format!("{root}: can be listed; none of its {n} files matches"),
            });
        };
        if entry.size > 0 {
            place.storage.read_range(&entry.path, 0..1, None).await.map_err(|e| e.context("file", place.storage.address(&entry.path)))?;
        }
        Ok(format!("{root}: can be listed and read ({})", entry.path))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

#[async_trait]
impl Source for FilesSource {
    async fn discover(&self, from: &Checkpoint, limits: &EpochLimits, shard: LaneShard, history: &dyn FileHistory) -> Result<Discovery> {
        self.find(from, limits, shard, history).await
    }

    async fn open(&self, split: &Split) -> Result<Opened> {
        // The end of the first run of `start: new`: a split of its own, without rows.
        let Some(version) = &split.file else { return Ok(Opened::Rows(stream::empty().boxed())) };
        if passed_over(version) {
            return Ok(Opened::File(Arc::new(PassedOver::new(version.clone()))));
        }
        let (place, path) = self.locate(&version.path).ok_or_else(|| elsewhere(&version.path))?;
        let file = Arc::new(StoredFile::new(place.clone(), path.to_owned(), version.clone(), self.settings.unpack));
        match self.settings.archive.of(&version.path) {
            None => Ok(Opened::File(file)),
            Some(kind) => Ok(Opened::Members(archive::open(file, kind, members::chooser(&self.settings, split, version)).await?)),
        }
    }

    fn constant_columns(&self) -> SchemaRef {
        self.settings.columns.clone()
    }

    async fn acknowledge(&self, splits: &[Split]) -> Result<()> {
        self.after_commit(splits).await
    }

    async fn probe(&self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for place in &self.places {
            lines.push(match self.probe_place(place).await {
                Err(e) if e.kind() == ErrorKind::NotFound && !place.named.is_empty() && self.removes() => format!("{}: not there now", place.url),
                line => line?,
            });
        }
        if let Some(archive) = &self.archive {
            lines.push(format!("{}: files go there after the commit; whether that is permitted shows at the first one", archive.root()));
        }
        Ok(lines)
    }
}
