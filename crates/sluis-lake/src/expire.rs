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

/// Removes what only `expired` snapshots list: their manifest lists, manifests, and the data files that left the table with them.
pub async fn forget(lake: &Lake, before: &TableMetadata, next: &Version, expired: &[SnapshotRef]) {
    if expired.is_empty() {
        return;
    }
    let gone = match unlisted(lake, before, next, expired).await {
        Ok(gone) => gone,
        Err(e) => {
            tracing::warn!(table = %next.name, error = %e, "files of old snapshots could not be found; they stay");
            return;
        }
    };
    let mut removals: Vec<BoxFuture<'_, ()>> = Vec::with_capacity(gone.len());
    for location in gone {
        removals.push(remove(lake, location).boxed());
    }
    stream::iter(removals).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

async fn remove(lake: &Lake, location: String) {
    let removed = match lake.path(&location) {
        Ok(path) => lake.storage().delete(&path).await,
        Err(e) => Err(e),
    };
    if let Err(e) = removed {
        tracing::warn!(file = location, error = %e, "a file of an old snapshot could not be removed");
    }
}

async fn unlisted(lake: &Lake, before: &TableMetadata, next: &Version, expired: &[SnapshotRef]) -> Result<Vec<String>> {
    // The history that is kept is one line: what its oldest snapshot does not list, none of them lists.
    let Some(oldest) = ancestors(&next.metadata).last() else { return Ok(Vec::new()) };
    let kept = manifest::of_snapshot(lake, &next.metadata, oldest).await?;
    let kept: HashSet<String> = kept.into_iter().map(|m| m.manifest_path).collect();
    let line: HashSet<i64> = ancestors(before).map(|s| s.snapshot_id()).collect();
    let mut reads: Vec<BoxFuture<'_, Result<Vec<ManifestFile>>>> = Vec::with_capacity(expired.len());
    for snapshot in expired {
        reads.push(manifest::of_snapshot(lake, before, snapshot).boxed());
    }
    let mut lists = stream::iter(reads).buffered(AT_ONCE).zip(stream::iter(expired));
    let mut gone: Vec<String> = Vec::new();
    let mut seen: HashSet<String> = HashSet::new();
    while let Some((manifests, snapshot)) = lists.next().await {
        gone.push(snapshot.manifest_list().to_owned());
        for m in manifests? {
            let deletes = m.added_snapshot_id == snapshot.snapshot_id() && m.has_deleted_files() && line.contains(&snapshot.snapshot_id());
            if deletes {
                gone.extend(left_with(lake, before, &m).await?);
            }
            if !kept.contains(&m.manifest_path) && seen.insert(m.manifest_path.clone()) {
                gone.push(m.manifest_path);
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
