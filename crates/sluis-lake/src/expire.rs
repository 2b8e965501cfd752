//! Old snapshots leave, so that metadata stay small over thousands of epochs: when there are twice as many as are kept, the older half goes.
//!
//! Kept are the last [`KEEP`], or as many as the table property `history.expire.min-snapshots-to-keep` says. Nothing goes where the table
//! has branches or tags, or `gc.enabled` is false. Deliberately not here: rows that are in the table. Guarantees: a file is removed only
//! when no snapshot that is kept lists it; a failure leaves files behind, never a snapshot without its files.

use std::collections::HashSet;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use iceberg::spec::{ManifestFile, ManifestStatus, SnapshotRef, TableMetadata};
use sluis_core::Result;

use crate::commit::ancestors;
use crate::lake::{Lake, Version};
use crate::manifest;

/// Snapshots kept.
pub const KEEP: usize = 100;
const AT_ONCE: usize = 8;

/// The snapshots that leave with the next commit.
pub fn choose(metadata: &TableMetadata) -> Vec<SnapshotRef> {
    let property = |key: &str| metadata.properties().get(key);
    let keep = property("history.expire.min-snapshots-to-keep").and_then(|n| n.parse::<usize>().ok()).unwrap_or(KEEP).max(1);
    if metadata.snapshots().len() < 2 * keep || property("gc.enabled").is_some_and(|v| v == "false") || has_other_refs(metadata) {
        return Vec::new();
    }
    let kept: HashSet<i64> = ancestors(metadata).take(keep).map(|s| s.snapshot_id()).collect();
    metadata.snapshots().filter(|s| !kept.contains(&s.snapshot_id())).cloned().collect()
}

/// Whether there is a branch or tag besides `main`. Only the written form tells.
fn has_other_refs(metadata: &TableMetadata) -> bool {
    let written = serde_json::to_value(metadata).unwrap_or_default();
    written["refs"].as_object().is_none_or(|refs| refs.keys().any(|name| name != "main"))
}

/// Removes what only `expired` snapshots list: first the data files that left the table with them, then their manifests and manifest lists,
/// which tell of the data. Says whether all is gone; what is not, a sweep finds.
pub async fn forget(lake: &Lake, before: &TableMetadata, next: &Version, expired: &[SnapshotRef]) -> bool {
    if expired.is_empty() {
        return true;
    }
    match unlisted(lake, before, next, expired).await {
        Ok(gone) => remove_all(lake, &gone.data).await && remove_all(lake, &gone.metadata).await,
        Err(e) => {
            tracing::warn!(table = %next.name, error = %e, "files of old snapshots could not be found; a later sweep looks for them");
            false
        }
    }
}

async fn remove_all(lake: &Lake, locations: &[String]) -> bool {
    let mut removals: Vec<BoxFuture<'_, bool>> = Vec::with_capacity(locations.len());
    for location in locations {
        removals.push(remove(lake, location).boxed());
    }
    stream::iter(removals).buffer_unordered(AT_ONCE).all(std::future::ready).await
}

/// Removes a file that nothing names any more; whether it is gone. A failure is only logged.
pub(crate) async fn remove(lake: &Lake, location: &str) -> bool {
    let removed = match lake.path(location) {
        Ok(path) => lake.storage().delete(&path).await,
        Err(e) => Err(e),
    };
    if let Err(e) = &removed {
        tracing::warn!(file = location, error = %e, "a file that the table no longer names could not be removed; a later sweep tries again");
    }
    removed.is_ok()
}

/// What nothing names any more.
#[derive(Default)]
struct Unlisted {
    data: Vec<String>,
    metadata: Vec<String>,
}

async fn unlisted(lake: &Lake, before: &TableMetadata, next: &Version, expired: &[SnapshotRef]) -> Result<Unlisted> {
    // The history that is kept is one line: what its oldest snapshot does not list, none of them lists.
    let Some(oldest) = ancestors(&next.metadata).last() else { return Ok(Unlisted::default()) };
    let kept = manifest::of_snapshot(lake, &next.metadata, oldest).await?;
    let kept: HashSet<String> = kept.into_iter().map(|m| m.manifest_path).collect();
    let line: HashSet<i64> = ancestors(before).map(|s| s.snapshot_id()).collect();
    let mut reads: Vec<BoxFuture<'_, Result<Vec<ManifestFile>>>> = Vec::with_capacity(expired.len());
    for snapshot in expired {
        reads.push(manifest::of_snapshot(lake, before, snapshot).boxed());
    }
    let mut lists = stream::iter(reads).buffered(AT_ONCE).zip(stream::iter(expired));
    let mut gone = Unlisted::default();
    let mut seen: HashSet<String> = HashSet::new();
    while let Some((manifests, snapshot)) = lists.next().await {
        gone.metadata.push(snapshot.manifest_list().to_owned());
        for m in manifests? {
            let deletes = m.added_snapshot_id == snapshot.snapshot_id() && m.has_deleted_files() && line.contains(&snapshot.snapshot_id());
            if deletes {
                gone.data.extend(left_with(lake, before, &m).await?);
            }
            if !kept.contains(&m.manifest_path) && seen.insert(m.manifest_path.clone()) {
                gone.metadata.push(m.manifest_path);
            }
        }
    }
    Ok(gone)
}

async fn left_with(lake: &Lake, metadata: &TableMetadata, m: &ManifestFile) -> Result<Vec<String>> {
    let entries = manifest::entries(lake, metadata, m).await?;
    let left = entries.into_iter().filter(|e| e.status == ManifestStatus::Deleted && e.snapshot == m.added_snapshot_id);
    Ok(left.map(|e| e.file.file_path().to_owned()).collect())
}
