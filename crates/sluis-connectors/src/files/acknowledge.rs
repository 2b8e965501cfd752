//! What becomes of files once their rows are committed: kept, archived, deleted.
//!
//! Only of the very version that landed: one that changed since is a new file, and one that was damaged landed nowhere else. Repeatable: what is gone is done. What a crash left undone,
//! or what was too young (`delay`), is found again by the next discovery, as a file that has landed and is still there, and is
//! handled by the next call, which may come without any splits. Nothing is kept for that: a listing and the ledger say it all.
//!
//! The discovery is only ever made between epochs, when all that the ledger knows of this lane's files is committed.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};
use sluis_core::registry::BuildContext;
use sluis_core::{Error, ErrorKind, FileVersion, Result, Split, crash};
use sluis_storage::{IfExists, Storage, StorageRef};

use super::config::Afterwards;
use super::judge::{passed_over, same};
use super::place::{Place, is_local};
use super::source::FilesSource;

/// Files handled at once.
const AT_ONCE: usize = 16;
/// The hidden scope that copies to another storage are staged under.
const SCOPE: &str = "archive";

/// The folder that files go to.
#[derive(Debug, Clone)]
pub struct Archive {
    pub storage: StorageRef,
    /// Per place: a storage that holds both folders, and where they are in it; `None`: files are copied over.
    pub shared: Vec<Option<Shared>>,
}

/// One storage for the source and its archive, so that a move is one step.
#[derive(Debug, Clone)]
pub struct Shared {
    pub storage: StorageRef,
    /// Folders with a trailing `/`, or empty.
    pub from: String,
    pub to: String,
}

impl Archive {
    /// Opens the folder; contacts nobody.
    ///
    /// # Errors
    /// As [`sluis_storage::url::open`].
    pub fn open(to: &str, places: &[Place], connection: Option<&str>, context: &BuildContext) -> Result<Archive> {
        let open =
            |url: &str| sluis_storage::url::open_folder(url, &context.connections, connection.filter(|_| !is_local(url)), &context.project_dir);
        let storage = open(to)?;
        let mut shared = Vec::new();
        for place in places {
            shared.push(match common(place.storage.root(), storage.root()) {
                Some(root) => {
                    let below = |full: &str| full.get(root.len()..).map(|p| if p.is_empty() { String::new() } else { format!("{p}/") });
                    let (from, to) = (below(place.storage.root()), below(storage.root()));
                    let both = open(&root)?;
                    from.zip(to).map(|(from, to)| Shared { storage: both, from, to })
                }
                None => None,
            });
        }
        Ok(Archive { storage, shared })
    }

    pub fn root(&self) -> &str {
        self.storage.root()
    }

    async fn keep(&self, i: usize, place: &Place, path: &str, version: &FileVersion) -> Result<()> {
        let target = self.free_name(place.relative(path), version).await?;
        match &self.shared[i] {
            Some(shared) => {
                let (from, to) = (format!("{}{path}", shared.from), format!("{}{target}", shared.to));
                match shared.storage.rename(&from, &to).await {
                    // Someone else took it away between the look and the move.
                    Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
                    moved => moved,
                }
            }
            None => {
                copy(place.storage.as_ref(), path, version, self.storage.as_ref(), &target).await?;
                place.storage.delete(path).await
            }
        }
    }

    /// The path in the archive: as below the URL; with the modification time, then a number, if that is taken.
    async fn free_name(&self, path: &str, version: &FileVersion) -> Result<String> {
        let split = path.rfind('/').map_or(0, |slash| slash + 1);
        let dot = path[split..].find('.').filter(|at| *at > 0).map_or(path.len(), |at| split + at);
        let time = version.modified.map(|at| at.format("%Y%m%dT%H%M%S%3f").to_string()).unwrap_or_else(|| "again".into());
        let mut target = path.to_owned();
        for n in 1_u32.. {
            if self.storage.head(&target).await?.is_none() {
                break;
            }
            let number = if n == 1 { String::new() } else { format!("-{n}") };
            target = format!("{}.{time}{number}{}", &path[..dot], &path[dot..]);
        }
        Ok(target)
    }
}

/// The longest common folder of two roots, with a trailing `/`; `None` if they are different places.
fn common(a: &str, b: &str) -> Option<String> {
    let parts = |root: &str| -> Vec<String> { root.split('/').map(str::to_owned).collect() };
    let (a, b) = (parts(a), parts(b));
    let same: Vec<String> = a.iter().zip(&b).take_while(|(x, y)| x == y).map(|(x, _)| x.clone()).collect();
    // `scheme:`, an empty part, the bucket; or the empty part before a path's first slash.
    let least = if a.first().is_some_and(|first| first.ends_with(':')) { 3 } else { 1 };
    (same.len() >= least).then(|| format!("{}/", same.join("/")))
}

/// Copies a version into another storage: staged, then published in one step.
async fn copy(from: &dyn Storage, path: &str, version: &FileVersion, to: &dyn Storage, target: &str) -> Result<()> {
    let name = format!("{:016x}", target.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)));
    let scope = format!("{SCOPE}/{name}");
    // What an attempt that was killed left.
    to.sweep(&scope, &[]).await?;
    let mut writer = to.stage(target, &scope, &name).await?;
    let mut bytes = from.read(path, Some(version)).await?;
    while let Some(chunk) = bytes.next().await {
        writer.write(chunk?).await?;
    }
    let staged = writer.finish().await?;
    to.publish(&staged, IfExists::Fail).await?;
    to.sweep(&scope, &[]).await.map(drop)
}

impl FilesSource {
    /// After the commit of `splits`, and for what earlier discoveries found to be due.
    pub(super) async fn after_commit(&self, splits: &[Split]) -> Result<()> {
        crash::point("acknowledge.before")?;
        if self.removes() {
            let mut work: BTreeMap<String, FileVersion> = self.take_due();
            let landed = splits.iter().filter_map(|s| s.file.as_ref()).filter(|v| !passed_over(v));
            work.extend(landed.map(|v| (v.path.clone(), v.clone())));
            let mut done = stream::iter(work.into_values().map(|v| self.leave(v))).buffer_unordered(AT_ONCE);
            let mut first_error: Option<Error> = None;
            let mut passed = false;
            while let Some(result) = done.next().await {
                if let Err(e) = result {
                    first_error.get_or_insert(e);
                }
                if !std::mem::replace(&mut passed, true) {
                    crash::point("acknowledge.mid")?;
                }
            }
            if let Some(e) = first_error {
                return Err(e);
            }
        }
        crash::point("acknowledge.after")
    }

    /// Archives or deletes a file, if it is old enough and still the version that landed.
    async fn leave(&self, version: FileVersion) -> Result<()> {
        let Some((place, path)) = self.locate(&version.path) else { return Ok(()) };
        if !self.old_enough(&version, self.clock.now()) {
            return Ok(());
        }
        let done = async {
            let Some(entry) = place.storage.head(path).await? else { return Ok(()) };
            if !same(&version, &place.version(&entry)) {
                return Ok(());
            }
            match (&self.settings.afterwards, &self.archive) {
                (Afterwards::Delete { .. }, _) => place.storage.delete(path).await,
                (Afterwards::Archive { .. }, Some(archive)) => {
                    let i = self.places.iter().position(|p| std::sync::Arc::ptr_eq(p, place)).unwrap_or(0);
                    match archive.keep(i, place, path, &place.version(&entry)).await {
                        // Rewritten meanwhile: a new file.
                        Err(e) if e.kind() == ErrorKind::SourceChanged => Ok(()),
                        kept => kept,
                    }
                }
                (Afterwards::Archive { .. } | Afterwards::Keep, _) => Ok(()),
            }
        };
        done.await.map_err(|e: Error| {
            e.context("file", &version.path)
                .hint("its rows are committed; the file is archived or deleted at the end of a later run, when this is mended")
        })
    }
}
