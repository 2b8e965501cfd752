//! Leftovers: data files of attempts that did not win, and metadata of commits that did not.
//!
//! Files say by their names whose they are. A process looks at everything since the last complete sweep once (a table property tells where
//! that was), then only at each epoch as it is committed. At the metadata it looks in its first two sweeps of a lane (the first may be of the
//! epoch before the one that an earlier process died in) and after tries that failed. Deliberately not here: old snapshots (`expire`).
//! Guarantees: a file that a snapshot lists, or that `keep` names, is never removed; files of other lanes, targets and later epochs neither.

use std::collections::{BTreeMap, HashSet};

use iceberg::spec::TableMetadata;
use sluis_core::{CommitKey, Committable, Result, crash};
use sluis_storage::read_all;
use uuid::Uuid;

use crate::commit::{ancestors, epoch_in, epoch_of, prepared, property as commit_property};
use crate::facts::Facts;
use crate::lake::Version;
use crate::manifest;
use crate::table::{Mode, NO_LANE, Table, deletes_old_metadata, number};

/// The table property that says up to which epoch a lane has been swept.
pub(crate) fn property(key: &CommitKey) -> String {
    format!("sluis.swept.{}.{}.{}", key.lane.pipeline, key.lane.lane, key.sink)
}

pub async fn sweep(table: &Table, up_to: &CommitKey, keep: &[Committable]) -> Result<()> {
    crash::point("sweep.before")?;
    let lane = &up_to.lane.lane;
    let known = table.swept().get(lane).copied();
    let Some(version) = table.lake.load(table.name()).await? else { return crash::point("sweep.after") };
    let said = || version.metadata.properties().get(&property(up_to)).and_then(|e| e.parse::<u64>().ok()).unwrap_or(0);
    let from = known.unwrap_or_else(said);
    if from < up_to.epoch.0 {
        data(table, &version, up_to, from, keep).await?;
        if known.is_none() || table.unsure().contains(lane) || table.unsure().contains(NO_LANE) {
            metadata(table, &version, up_to, from).await?;
            table.unsure().remove(lane);
            table.unsure().remove(NO_LANE);
        }
        if known.is_none() {
            table.unsure().insert(lane.clone());
        }
        table.swept().insert(lane.clone(), up_to.epoch.0);
    }
    crash::point("sweep.after")
}

/// Data files of epochs after `from`.
async fn data(table: &Table, version: &Version, up_to: &CommitKey, from: u64, keep: &[Committable]) -> Result<()> {
    let keep = keep.iter().map(|c| Ok(Facts::of(c)?.path)).collect::<Result<HashSet<_>>>()?;
    // Where rows are replaced by key, a staged file may have been written again by its commit; it goes with the next epoch.
    let from = if matches!(table.settings.mode, Mode::Upsert { .. }) { from.saturating_sub(1) } else { from };
    let storage = table.lake.storage();
    let mut candidates: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let mut folder = String::new();
    for epoch in from + 1..=up_to.epoch.0 {
        let next = table.data_folder(version, &up_to.lane.lane, epoch);
        if next == folder {
            continue;
        }
        folder = next;
        let (found, _) = storage.list_folder(&table.lake.path(&folder)?).await?;
        for entry in found {
            let name = entry.path.rsplit('/').next().unwrap_or_default();
            let epoch = name.split('-').next().and_then(|e| e.parse::<u64>().ok());
            if let Some(epoch) = epoch.filter(|e| *e > from && *e <= up_to.epoch.0 && !keep.contains(&storage.address(&entry.path))) {
                candidates.entry(epoch).or_default().push(entry.path);
            }
        }
    }
    for (epoch, paths) in candidates {
        let listed = listed(table, version, up_to, epoch).await?;
        for path in paths.into_iter().filter(|p| !listed.contains(&storage.address(p))) {
            tracing::debug!(file = path, "swept");
            storage.delete(&path).await?;
        }
    }
    Ok(())
}

/// The data files that the commit of an epoch added; where its snapshot is not to be found, all that any snapshot lists.
async fn listed(table: &Table, version: &Version, key: &CommitKey, epoch: u64) -> Result<HashSet<String>> {
    let metadata = &version.metadata;
    let property = commit_property(key);
    let mut listed = HashSet::new();
    let own = ancestors(metadata).find(|s| epoch_in(s, &property) == Some(epoch));
    let mut read: HashSet<String> = HashSet::new();
    for snapshot in metadata.snapshots().filter(|s| own.is_none_or(|own| own.snapshot_id() == s.snapshot_id())) {
        for m in manifest::of_snapshot(&table.lake, metadata, snapshot).await? {
            let wanted = own.is_none_or(|own| m.added_snapshot_id == own.snapshot_id());
            if wanted && read.insert(m.manifest_path.clone()) {
                listed.extend(manifest::entries(&table.lake, metadata, &m).await?.into_iter().map(|e| e.file.file_path().to_owned()));
            }
        }
    }
    Ok(listed)
}

/// Metadata files, manifests and lists of commits of this lane that lost a race or died before their swap; metadata files of creations and
/// widenings that did, and those that left the log.
async fn metadata(table: &Table, version: &Version, up_to: &CommitKey, from: u64) -> Result<()> {
    let property = commit_property(up_to);
    let winners: BTreeMap<u32, Uuid> =
        ancestors(&version.metadata).filter_map(|s| Some((epoch_in(s, &property)? as u32, id_in(s.manifest_list())?))).collect();
    let folder = table.lake.path(&format!("{}/metadata", version.metadata.location()))?;
    let (files, _) = table.lake.storage().list_folder(&folder).await?;
    let (log, prepared) = (Log::of(version), prepared(table));
    for entry in files {
        let Some(id) = id_in(&entry.path) else { continue };
        let epoch = epoch_of(&id, up_to);
        if epoch.or_else(|| epoch_of(&id, &prepared)).is_none() {
            continue;
        }
        let lost = epoch.is_some_and(|epoch| {
            let open = u64::from(epoch) > from && u64::from(epoch) <= up_to.epoch.0;
            open && winners.get(&epoch).is_some_and(|winner| *winner != id)
        });
        if lost || (log.as_ref().is_some_and(|l| l.is_past(&entry.path)) && !of_another_table(table, version, &entry.path).await?) {
            tracing::debug!(file = entry.path, "swept");
            table.lake.storage().delete(&entry.path).await?;
        }
    }
    Ok(())
}

/// Which metadata files can be the table's, now or later.
struct Log {
    named: HashSet<String>,
    oldest: u64,
    current: u64,
}

impl Log {
    fn of(version: &Version) -> Option<Log> {
        let file = |location: &str| location.rsplit('/').next().unwrap_or_default().to_owned();
        let current = number(&version.location)?;
        let log = version.metadata.metadata_log();
        // Those before the log may be kept on purpose.
        let oldest = if deletes_old_metadata(&version.metadata) { 0 } else { log.first().map_or(Some(0), |l| number(&l.metadata_file))? };
        let named = log.iter().map(|l| file(&l.metadata_file)).chain([file(&version.location)]).collect();
        Some(Log { named, oldest, current })
    }

    /// Whether a metadata file is out of use for good. A swap takes the number after that of the pointer it replaces, and a pointer never
    /// comes back: whoever wrote a file with the current number or a smaller one has lost, or will when it swaps.
    fn is_past(&self, path: &str) -> bool {
        let open = number(path).is_some_and(|n| n >= self.oldest && n <= self.current);
        open && path.rsplit('/').next().is_some_and(|name| !self.named.contains(name))
    }
}

/// Whether metadata are of a table that had this name before, and has rows.
async fn of_another_table(table: &Table, version: &Version, path: &str) -> Result<bool> {
    let bytes = read_all(table.lake.storage().as_ref(), path, None).await?;
    // Torn ones are nobody's.
    let metadata = serde_json::from_slice::<TableMetadata>(&bytes).ok();
    Ok(metadata.is_some_and(|m| m.uuid() != version.metadata.uuid() && m.current_snapshot().is_some()))
}

/// The id of the try of a commit in the name of one of its files.
fn id_in(path: &str) -> Option<Uuid> {
    let name = path.rsplit('/').next()?;
    let at = |start: usize| name.get(start..start + 36).and_then(|text| Uuid::try_parse(text).ok());
    at(0).or_else(|| at(name.find('-')? + 1)).or_else(|| at(name.len().checked_sub(36 + ".avro".len())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_the_names_of_all_kinds_of_files() {
        let id = Uuid::new_v4();
        for name in [format!("t/metadata/00012-{id}.metadata.json"), format!("{id}-m3.avro"), format!("x/snap-123456-1-{id}.avro")] {
            assert_eq!(id_in(&name), Some(id), "{name}");
        }
        assert_eq!(id_in("metadata/version-hint.text"), None);
    }
}
