//! Metadata that nothing names any more: of commits that lost a race or died before their swap, of creations and widenings that did, and of
//! snapshots that expired under a process that died before it had removed their files; with the data files that left the table with those.
//!
//! Deliberately not here: data files that were staged and not committed (`sweep`). Guarantees: what a snapshot that is kept names, and what a
//! commit can still come to name, is never removed: an id says lane and epoch, a table property the last epoch of each lane, and a try of an
//! epoch that is over finds its key and loses. What other programs wrote, or wrote into a table that had this name before, stays.

use std::collections::{HashMap, HashSet};

use iceberg::spec::{Manifest, ManifestStatus, SnapshotRef, TableMetadata};
use sluis_core::{ErrorKind, Result};
use sluis_storage::read_all;
use uuid::Uuid;

use crate::commit::{PROPERTY, ancestors};
use crate::ids::{Owner, id_in, said};
use crate::lake::Version;
use crate::manifest;
use crate::table::{Table, deletes_old_metadata, number};

/// Removes all of it.
pub async fn sweep(table: &Table, version: &Version) -> Result<()> {
    let metadata = &version.metadata;
    let (owners, log) = (Owners::of(table, metadata), Log::of(version));
    let kept: HashSet<Uuid> = metadata.snapshots().filter_map(|s| id_in(s.manifest_list())).collect();
    let (files, _) = table.lake.storage().list_folder(&table.lake.path(&format!("{}/metadata", metadata.location()))?).await?;
    let (mut gone, mut manifests) = (Vec::new(), Vec::new());
    for path in files.into_iter().map(|entry| entry.path) {
        let Some(id) = id_in(&path) else { continue };
        if path.ends_with(".metadata.json") {
            let past = log.as_ref().is_some_and(|log| log.is_past(&path));
            if past && (owners.commit_as(&id) || (owners.prepare_as(&id) && !of_another_table(table, version, &path).await?)) {
                gone.push(path);
            }
        } else if owners.say_over(&id) && !kept.contains(&id) {
            if name(&path).starts_with("snap-") { gone.push(path) } else { manifests.push(path) }
        }
    }
    let manifests = unnamed(table, version, manifests).await?;
    // The data first: only the manifests tell of them.
    let mut data = HashSet::new();
    for path in &manifests {
        data.extend(left_with(table, path).await?);
    }
    if gone.iter().any(|path| name(path).starts_with("snap-")) {
        // An expiry may have been cut off: manifests that are still named tell, too, what left with snapshots that are gone.
        data.extend(left_before(table, version).await?);
    }
    let data = unlisted(table, version, data).await?;
    for path in data.iter().chain(&manifests).chain(&gone) {
        tracing::debug!(file = path, "swept");
        table.lake.storage().delete(path).await?;
    }
    Ok(())
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Who commits to the table, and how far each is.
struct Owners {
    last: HashMap<Owner, u64>,
    preparing: Owner,
}

impl Owners {
    fn of(table: &Table, metadata: &TableMetadata) -> Owners {
        let counted = metadata.properties().iter().filter(|(key, _)| key.starts_with(PROPERTY));
        let last = counted.filter_map(|(key, epoch)| Some((Owner::counted_by(key, metadata.uuid()), epoch.parse().ok()?))).collect();
        Owners { last, preparing: Owner::preparing(table) }
    }

    /// Whether a commit to this table made it.
    fn commit_as(&self, id: &Uuid) -> bool {
        said(id).is_some_and(|(owner, _)| self.last.contains_key(&owner))
    }

    /// Whether this target made it when it created or widened this table, or one that had its name before.
    fn prepare_as(&self, id: &Uuid) -> bool {
        said(id).is_some_and(|(owner, _)| owner == self.preparing)
    }

    /// Whether it is of an epoch of this table that was committed.
    fn say_over(&self, id: &Uuid) -> bool {
        said(id).is_some_and(|(owner, epoch)| self.last.get(&owner).is_some_and(|last| u64::from(epoch) <= *last))
    }
}

/// Which metadata files can be the table's, now or later.
struct Log {
    named: HashSet<String>,
    oldest: u64,
    current: u64,
}

impl Log {
    fn of(version: &Version) -> Option<Log> {
        let current = number(&version.location)?;
        let log = version.metadata.metadata_log();
        // Those before the log may be kept on purpose.
        let oldest = if deletes_old_metadata(&version.metadata) { 0 } else { log.first().map_or(Some(0), |l| number(&l.metadata_file))? };
        let named = log.iter().map(|l| l.metadata_file.as_str()).chain([version.location.as_str()]).map(|l| name(l).to_owned()).collect();
        Some(Log { named, oldest, current })
    }

    /// Whether a metadata file is out of use for good. A swap takes the number after that of the pointer it replaces, and a pointer never
    /// comes back: whoever wrote a file with the current number or a smaller one has lost, or will when it swaps.
    fn is_past(&self, path: &str) -> bool {
        let open = number(path).is_some_and(|n| n >= self.oldest && n <= self.current);
        open && !self.named.contains(name(path))
    }
}

/// Whether metadata are of a table that had this name before, and has rows.
async fn of_another_table(table: &Table, version: &Version, path: &str) -> Result<bool> {
    let bytes = read_all(table.lake.storage().as_ref(), path, None).await?;
    // Torn ones are nobody's.
    let metadata = serde_json::from_slice::<TableMetadata>(&bytes).ok();
    Ok(metadata.is_some_and(|m| m.uuid() != version.metadata.uuid() && m.current_snapshot().is_some()))
}

/// Those manifests that no snapshot names. They were made by commits whose snapshots are not kept.
async fn unnamed(table: &Table, version: &Version, mut manifests: Vec<String>) -> Result<Vec<String>> {
    if manifests.is_empty() {
        return Ok(manifests);
    }
    let current = manifest::current(&table.lake, version).await?;
    let named: HashSet<&str> = current.iter().map(|m| name(&m.manifest_path)).collect();
    manifests.retain(|path| !named.contains(name(path)));
    // The history is one line: what its oldest snapshot does not name and a later one did not bring, none of them names.
    let line: HashSet<i64> = ancestors(&version.metadata).map(|s| s.snapshot_id()).collect();
    let oldest = ancestors(&version.metadata).last();
    let beside = version.metadata.snapshots().filter(|s| !line.contains(&s.snapshot_id()));
    for snapshot in oldest.into_iter().chain(beside) {
        if manifests.is_empty() {
            break;
        }
        let named = manifest::of_snapshot(&table.lake, &version.metadata, snapshot).await?;
        let named: HashSet<&str> = named.iter().map(|m| name(&m.manifest_path)).collect();
        manifests.retain(|path| !named.contains(name(path)));
    }
    Ok(manifests)
}

/// The data files (their addresses) that a manifest says have left. A torn one, or one that another sweep removed, says nothing.
async fn left_with(table: &Table, path: &str) -> Result<Vec<String>> {
    let bytes = match read_all(table.lake.storage().as_ref(), path, None).await {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        bytes => bytes?,
    };
    let Ok((entries, _)) = Manifest::parse_avro(&bytes).map(Manifest::into_parts) else { return Ok(Vec::new()) };
    let left = entries.iter().filter(|e| e.status() == ManifestStatus::Deleted);
    Ok(left.map(|e| e.data_file().file_path().to_owned()).collect())
}

/// The data files that left with snapshots that are not kept, as far as manifests of the kept ones tell.
async fn left_before(table: &Table, version: &Version) -> Result<Vec<String>> {
    let metadata = &version.metadata;
    let (mut read, mut left): (HashSet<String>, Vec<String>) = Default::default();
    for snapshot in metadata.snapshots() {
        for m in manifest::of_snapshot(&table.lake, metadata, snapshot).await? {
            let gone = m.has_deleted_files() && metadata.snapshot_by_id(m.added_snapshot_id).is_none();
            if gone && read.insert(m.manifest_path.clone()) {
                left.extend(left_with(table, &table.lake.path(&m.manifest_path)?).await?);
            }
        }
    }
    Ok(left)
}

/// The paths of those data files of the lake that no snapshot lists. (A commit that lost had files leave that the table still has.)
async fn unlisted(table: &Table, version: &Version, mut data: HashSet<String>) -> Result<Vec<String>> {
    let mut read: HashSet<String> = HashSet::new();
    let snapshots: Vec<&SnapshotRef> = version.metadata.snapshots().collect();
    for snapshot in snapshots {
        if data.is_empty() {
            break;
        }
        for m in manifest::of_snapshot(&table.lake, &version.metadata, snapshot).await? {
            if read.insert(m.manifest_path.clone()) {
                for e in manifest::entries(&table.lake, &version.metadata, &m).await?.into_iter().filter(manifest::Entry::live) {
                    data.remove(e.file.file_path());
                }
            }
        }
    }
    // What lies elsewhere is not the lake's.
    Ok(data.iter().filter_map(|location| table.lake.path(location).ok()).collect())
}
