//! Leftovers: data files of attempts that did not win. (Metadata that nothing names are `stale`'s, and looked for from here.)
//!
//! Files say by their names whose they are. A process looks at everything since the last complete sweep once (a table property tells how far
//! that came), then only at each epoch as it is committed. The property also has a seal over the files that were there: one that comes after
//! its epoch was swept, from a worker that slept, breaks it, and the folder is looked at anew. Metadata are looked at in a lane's first two
//! sweeps by a process (the first may be of the epoch before the one that an earlier process died in), after tries that failed and whenever
//! another folder begins. Deliberately not here: old snapshots (`expire`).
//! Guarantees: a file that a snapshot lists, or that `keep` names, is never removed; files of other lanes, targets and tables and of later
//! epochs neither. What a worker leaves that slept for longer than its folder was the last one stays: it is read by nobody.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use iceberg::spec::ManifestFile;
use sluis_core::{CommitKey, Committable, Result, crash};

use crate::commit::{ancestors, epoch_in, property as commit_property};
use crate::facts::Facts;
use crate::lake::Version;
use crate::retype::Lineage;
use crate::table::{EPOCHS_PER_FOLDER, Mode, NO_LANE, Table};
use crate::work::hash;
use crate::{manifest, stale};

/// The table property that says how far a lane has been swept.
pub(crate) fn property(key: &CommitKey) -> String {
    format!("sluis.swept.{}.{}.{}", key.lane.pipeline, key.lane.lane, key.sink)
}

/// How far a lane has been swept: `57/0123456789abcdef` in the table property.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// The last epoch; 0: none.
    epoch: u64,
    /// Over the names of the data files that were left, up to that epoch, in that epoch's folder.
    seal: Option<u64>,
}

impl Swept {
    fn parse(text: &str) -> Swept {
        let (epoch, seal) = text.split_once('/').unwrap_or((text, ""));
        epoch.parse().map_or_else(|_| Swept::default(), |epoch| Swept { epoch, seal: u64::from_str_radix(seal, 16).ok() })
    }
}

impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.epoch)?;
        self.seal.map_or(Ok(()), |seal| write!(f, "/{seal:016x}"))
    }
}

/// A data file, by its place and name.
struct Found {
    path: String,
    epoch: u64,
}

impl Found {
    fn of(path: String) -> Option<Found> {
        let epoch = path.rsplit('/').next()?.split('-').next()?.parse().ok()?;
        Some(Found { path, epoch })
    }

    fn folder(&self) -> u64 {
        self.epoch / EPOCHS_PER_FOLDER
    }
}

/// Tells whether the same files are there, in whatever order they are listed.
fn seal<'a>(found: impl Iterator<Item = &'a Found>, up_to: u64) -> u64 {
    let sealed = found.filter(|f| f.epoch <= up_to && f.folder() == up_to / EPOCHS_PER_FOLDER);
    sealed.map(|f| hash([f.path.rsplit('/').next().unwrap_or_default()]) as u64).fold(0, u64::wrapping_add)
}

pub async fn sweep(table: &Table, up_to: &CommitKey, keep: &[Committable]) -> Result<()> {
    crash::point("sweep.before")?;
    let lane = &up_to.lane.lane;
    let known = table.swept().get(lane).cloned();
    let Some(version) = table.lake.load(table.name()).await? else { return crash::point("sweep.after") };
    let first = known.is_none();
    let said = || version.metadata.properties().get(&property(up_to)).map(|text| Swept::parse(text)).unwrap_or_default();
    let from = known.unwrap_or_else(said);
    if from.epoch < up_to.epoch.0 {
        let swept = data(table, &version, up_to, &from, keep).await?;
        let another_folder = from.epoch / EPOCHS_PER_FOLDER != swept.epoch / EPOCHS_PER_FOLDER;
        if first || another_folder || table.unsure().contains(lane) || table.unsure().contains(NO_LANE) {
            stale::sweep(table, &version).await?;
            table.unsure().remove(lane);
            table.unsure().remove(NO_LANE);
        }
        if first {
            table.unsure().insert(lane.clone());
        }
        table.swept().insert(lane.clone(), swept);
    }
    crash::point("sweep.after")
}

/// Data files of epochs after `from`, and of earlier ones where a file has come since.
async fn data(table: &Table, version: &Version, up_to: &CommitKey, from: &Swept, keep: &[Committable]) -> Result<Swept> {
    let keep = keep.iter().map(|c| Ok(Facts::of(c)?.path)).collect::<Result<HashSet<_>>>()?;
    let storage = table.lake.storage();
    let mut there: Vec<Found> = Vec::new();
    for folder in folders(table, version, up_to, from).await? {
        let (found, _) = storage.list_folder(&folder).await?;
        there.extend(found.into_iter().filter_map(|entry| Found::of(entry.path)).filter(|f| f.epoch <= up_to.epoch.0));
    }
    let written_again = matches!(table.settings.mode, Mode::Upsert { .. }) || !Lineage::of(&version.metadata).is_empty();
    let after = match seal(there.iter(), from.epoch) {
        seen if from.seal == Some(seen) && written_again => {
            // A staged file may have been written again by its commit; it goes with the next epoch.
            from.epoch.saturating_sub(1)
        }
        seen if from.seal == Some(seen) => from.epoch,
        _ => 0,
    };
    let mut candidates: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for f in there.iter().filter(|f| f.epoch > after && !keep.contains(&storage.address(&f.path))) {
        candidates.entry(f.epoch).or_default().push(&f.path);
    }
    let listed = listed(table, version, up_to, candidates.keys().copied().collect()).await?;
    let mut gone: HashSet<String> = HashSet::new();
    for path in candidates.into_values().flatten().filter(|path| !listed.contains(&storage.address(path))) {
        tracing::debug!(file = path, "swept");
        storage.delete(path).await?;
        gone.insert(path.to_owned());
    }
    let left = there.iter().filter(|f| !gone.contains(&f.path));
    Ok(Swept { epoch: up_to.epoch.0, seal: Some(seal(left, up_to.epoch.0)) })
}

/// The folders with the data files of the epochs from that of `from` on.
async fn folders(table: &Table, version: &Version, up_to: &CommitKey, from: &Swept) -> Result<Vec<String>> {
    let (lane, last) = (&up_to.lane.lane, up_to.epoch.0);
    let first = from.epoch.max(1);
    let folder = |number: u64| table.lake.path(&table.data_folder(version, lane, number * EPOCHS_PER_FOLDER));
    let numbers = first / EPOCHS_PER_FOLDER..=last / EPOCHS_PER_FOLDER;
    if numbers.end() - numbers.start() < 3 {
        return numbers.map(folder).collect();
    }
    // Many epochs, and perhaps few files: a table that was made anew.
    let (_, there) = table.lake.storage().list_folder(&table.lake.path(&table.lane_folder(version, lane))?).await?;
    let name = |path: &str| path.trim_end_matches('/').rsplit('/').next().map(str::to_owned);
    let there: HashSet<String> = there.iter().filter_map(|path| name(path)).collect();
    let all = numbers.map(folder).collect::<Result<Vec<_>>>()?;
    Ok(all.into_iter().filter(|path| name(path).is_some_and(|n| there.contains(&n))).collect())
}

/// The data files that the commits of these epochs added; where a snapshot is not to be found, all that any snapshot lists.
async fn listed(table: &Table, version: &Version, key: &CommitKey, mut epochs: HashSet<u64>) -> Result<HashSet<String>> {
    let metadata = &version.metadata;
    let property = commit_property(key);
    let mut listed = HashSet::new();
    if epochs.is_empty() {
        return Ok(listed);
    }
    let mut own: Vec<_> = ancestors(metadata).filter(|s| epoch_in(s, &property).is_some_and(|e| epochs.remove(&e))).collect();
    let all = !epochs.is_empty();
    if all {
        own = metadata.snapshots().collect();
    }
    let mut read: HashSet<String> = HashSet::new();
    for snapshot in own {
        for m in manifest::of_snapshot(&table.lake, metadata, snapshot).await? {
            let wanted = |m: &ManifestFile| all || m.added_snapshot_id == snapshot.snapshot_id();
            if wanted(&m) && read.insert(m.manifest_path.clone()) {
                listed.extend(manifest::entries(&table.lake, metadata, &m).await?.into_iter().map(|e| e.file.file_path().to_owned()));
            }
        }
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_it_came_is_written_and_read() {
        for swept in [Swept { epoch: 57, seal: Some(7) }, Swept { epoch: 1, seal: Some(u64::MAX) }, Swept { epoch: 3, seal: None }] {
            assert_eq!(Swept::parse(&swept.to_string()), swept);
        }
        assert_eq!(Swept::parse("57"), Swept { epoch: 57, seal: None });
        assert_eq!(Swept::parse("x/y"), Swept::default());
    }

    #[test]
    fn a_seal_is_over_the_files_of_one_folder_up_to_an_epoch() {
        let found = |names: &[&str]| names.iter().map(|n| Found::of(format!("a/{n}")).expect("a name")).collect::<Vec<_>>();
        let (some, more) = (found(&["65-a", "66-b"]), found(&["66-b", "63-x", "65-a", "67-c"]));
        assert_eq!(seal(some.iter(), 66), seal(more.iter(), 66));
        assert_ne!(seal(some.iter(), 67), seal(more.iter(), 67));
        assert_ne!(seal(some.iter(), 65), seal(some.iter(), 66));
        assert!(Found::of("a/b.parquet".into()).is_none());
    }
}
