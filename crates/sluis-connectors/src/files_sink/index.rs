//! Which files a source file's rows are in: one small entry per commit that changed them, below `_sluis/.sources/`.
//!
//! Entries are written once and never changed: a worker that was paused and wakes up late can only write what is there already, or an
//! entry that newer ones supersede. Numbers that were given up are never given out again, so that nobody deletes a name that is in use.
//! Deliberately not here: which files are written; the order of a commit's steps.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sluis_core::{CommitKey, Error, ErrorKind, Result};
use sluis_storage::{IfExists, Storage, read_all};

use super::layout::source_hash;

/// What one commit left of a source file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The source's path: for people, and against a hash that two paths share.
    pub source: String,
    /// Whose commit: lane and epoch.
    pub lane: String,
    pub epoch: u64,
    /// The files that hold its rows from then on.
    pub files: Vec<String>,
    /// The files that this commit takes away.
    pub removed: Vec<String>,
    /// The first number that no file of this source has had.
    pub next: u64,
}

/// The entries of one source file.
pub struct Sources<'a> {
    pub storage: &'a dyn Storage,
    pub pipeline: &'a str,
    pub sink: &'a str,
}

impl Sources<'_> {
    fn folder(&self, source: &str) -> String {
        let hash = source_hash(source);
        format!("_sluis/.sources/{}/{}/{}/{}", self.pipeline, self.sink, &hash[..2], &hash[2..])
    }

    /// The newest entry and its number; with `of`, the newest one before that commit, if that commit has one.
    async fn find(&self, source: &str, of: Option<&CommitKey>) -> Result<(u64, Option<Entry>, Option<Entry>)> {
        let folder = self.folder(source);
        let (files, _) = listed(self.storage, &folder).await?;
        let Some(last) = files.iter().filter_map(|f| number_of(&f.path)).max() else { return Ok((0, None, None)) };
        let entry = self.read(&folder, last, source).await?;
        if of.is_some_and(|key| key.lane.lane == entry.lane && key.epoch.0 == entry.epoch) {
            return Ok((last, None, Some(entry)));
        }
        Ok((last, Some(entry), None))
    }

    async fn read(&self, folder: &str, number: u64, source: &str) -> Result<Entry> {
        let path = format!("{folder}/{number:012}.json");
        let bytes = read_all(self.storage, &path, None).await?;
        let entry: Entry = serde_json::from_slice(&bytes).map_err(|e| {
            Error::new(ErrorKind::Conflict, format!("{} is not what sluis writes there", self.storage.address(&path)))
                .hint("the folder `_sluis` belongs to sluis; restore it, or move it away together with the files it tells about")
                .source(e)
        })?;
        if entry.source != source {
            return Err(Error::internal(format!("`{source}` and `{}` share a hash", entry.source)));
        }
        Ok(entry)
    }

    /// Where a source's rows are now.
    ///
    /// # Errors
    /// Those of the storage; `ErrorKind::Conflict` for an entry that somebody changed.
    pub async fn current(&self, source: &str) -> Result<Option<Entry>> {
        let (_, newest, _) = self.find(source, None).await?;
        Ok(newest)
    }

    /// Notes that the commit `key` leaves `files` of `source` (`next`: beyond their numbers). Repeatable: the same commit finds its own entry.
    ///
    /// # Errors
    /// As [`Sources::current`].
    pub async fn note(&self, key: &CommitKey, source: &str, files: &[String], next: u64) -> Result<Entry> {
        let (last, before, mine) = self.find(source, Some(key)).await?;
        if let Some(mine) = mine {
            return Ok(mine);
        }
        let before = before.unwrap_or(Entry { source: String::new(), lane: String::new(), epoch: 0, files: vec![], removed: vec![], next: 0 });
        if before.lane == key.lane.lane && before.epoch > key.epoch.0 {
            return Err(Error::new(
                ErrorKind::Lease,
                format!("epoch {} of {} was committed by another while this one was paused", key.epoch, key.lane),
            ));
        }
        let entry = Entry {
            source: source.to_owned(),
            lane: key.lane.lane.clone(),
            epoch: key.epoch.0,
            removed: before.files.iter().filter(|f| !files.contains(f)).cloned().collect(),
            files: files.to_vec(),
            next: next.max(before.next),
        };
        let bytes = serde_json::to_vec(&entry).map_err(|e| Error::internal("an entry cannot be written").source(e))?;
        self.storage.put(&format!("{}/{:012}.json", self.folder(source), last + 1), Bytes::from(bytes), IfExists::Fail).await?;
        Ok(entry)
    }

    /// Removes the entries that a newer one made useless.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn tidy(&self, source: &str) -> Result<()> {
        let (files, _) = listed(self.storage, &self.folder(source)).await?;
        let last = files.iter().filter_map(|f| number_of(&f.path)).max();
        for old in files.iter().filter(|f| number_of(&f.path).is_some_and(|n| Some(n) < last)) {
            self.storage.delete(&old.path).await?;
        }
        Ok(())
    }
}

/// What is directly in a folder; nothing where there is no folder yet, nor perhaps the target's own.
pub async fn listed(storage: &dyn Storage, folder: &str) -> Result<(Vec<sluis_storage::Entry>, Vec<String>)> {
    match storage.list_folder(folder).await {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Default::default()),
        listed => listed,
    }
}

fn number_of(path: &str) -> Option<u64> {
    path.rsplit('/').next()?.strip_suffix(".json")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use sluis_core::{Epoch, LaneId, SinkName};
    use sluis_storage::memory::MemoryStorage;

    use super::*;

    fn key(epoch: u64) -> CommitKey {
        CommitKey { lane: LaneId::new("p", "main"), sink: SinkName::new("files"), epoch: Epoch(epoch) }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn a_commit_finds_its_own_entry_and_numbers_are_not_given_out_again() {
        block_on(async {
            let storage = MemoryStorage::default();
            let s = Sources { storage: &storage, pipeline: "p", sink: "files" };
            assert_eq!(s.current("in/a").await.unwrap(), None);
            let one = s.note(&key(1), "in/a", &names(&["x", "y"]), 2).await.unwrap();
            assert_eq!((one.removed.len(), one.next), (0, 2));
            let two = s.note(&key(4), "in/a", &names(&["y"]), 2).await.unwrap();
            assert_eq!((two.removed.as_slice(), two.next), (&names(&["x"])[..], 2));
            assert_eq!(s.note(&key(4), "in/a", &names(&["y"]), 2).await.unwrap(), two, "again");
            s.tidy("in/a").await.unwrap();
            assert_eq!(storage.paths().len(), 1);
            assert_eq!(s.note(&key(4), "in/a", &names(&["y"]), 2).await.unwrap(), two, "and after tidying");
            let none = s.note(&key(5), "in/a", &[], 0).await.unwrap();
            assert_eq!((none.removed.as_slice(), none.next), (&names(&["y"])[..], 2));
            assert_eq!(s.note(&key(4), "in/a", &names(&["y"]), 2).await.unwrap_err().kind(), ErrorKind::Lease, "a worker that slept");
            assert_eq!(s.current("in/a").await.unwrap(), Some(none));
        });
    }
}
