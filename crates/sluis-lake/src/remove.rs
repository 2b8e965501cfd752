//! Files that leave the table with a commit: those of replaced partitions, and those with the rows of replaced source files.
//!
//! Deliberately not here: rows that leave a file that stays (`upsert`). Guarantees: manifests that lose nothing are kept as they are.

use std::collections::HashSet;
use std::sync::Arc;

use iceberg::spec::{DataFile, ManifestFile, Operation, Struct};
use sluis_core::{Error, ErrorKind, Result};

use crate::commit::{Names, ancestors};
use crate::facts::Facts;
use crate::lake::Version;
use crate::manifest::{self, Item, Made};
use crate::table::Table;
use crate::work::broken;

type Test = Arc<dyn Fn(&DataFile, i32) -> bool + Send + Sync>;

/// Says which data files leave, given one and the id of its partition spec.
#[derive(Clone, Default)]
pub struct Gone(Option<Test>);

impl Gone {
    pub fn nothing() -> Gone {
        Gone(None)
    }
    pub fn if_so(test: impl Fn(&DataFile, i32) -> bool + Send + Sync + 'static) -> Gone {
        Gone(Some(Arc::new(test)))
    }
    /// Whether a data file leaves.
    pub fn says(&self, file: &DataFile, spec: i32) -> bool {
        self.0.as_ref().is_some_and(|test| test(file, spec))
    }
    /// What either says.
    pub fn or(self, other: Gone) -> Gone {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Gone::if_so(move |file, spec| a(file, spec) || b(file, spec)),
            (a, b) => Gone(a.or(b)),
        }
    }
}

/// What left.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
}

/// The manifests after files left.
pub struct Outcome {
    pub manifests: Vec<ManifestFile>,
    pub removed: Removed,
}

/// `mode: replace`: the partitions that new files fall in.
pub async fn partitions(table: &Table, version: &Version, files: &[Facts]) -> Result<Gone> {
    if files.is_empty() {
        return Ok(Gone::nothing());
    }
    let metadata = &version.metadata;
    let other = |m: &ManifestFile| manifest::live_files(m) > 0 && files.iter().any(|f| f.spec != m.partition_spec_id);
    let unpartitioned = metadata.default_partition_spec().is_unpartitioned();
    if !unpartitioned && manifest::current(&table.lake, version).await?.iter().any(other) {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("table `{}` has rows by an older partitioning; partitions cannot be replaced", table.name()),
        )
        .hint("let an engine rewrite the table's data files by the current partitioning, or write to a new table"));
    }
    if unpartitioned {
        return Ok(Gone::if_so(|_, _| true));
    }
    let mut new: HashSet<Struct> = HashSet::new();
    for f in files {
        let spec = metadata.partition_spec_by_id(f.spec).ok_or_else(|| Error::internal("a staged file's partition spec is gone"))?;
        new.insert(f.partition(spec, metadata.current_schema())?);
    }
    Ok(Gone::if_so(move |file, _| new.contains(file.partition())))
}

/// `on_overwrite: replace`: the files whose rows are of these source files.
pub fn origins(table: &Table, version: &Version, replaced: &[String]) -> Result<Gone> {
    if replaced.is_empty() {
        return Ok(Gone::nothing());
    }
    if ancestors(&version.metadata).any(|s| s.summary().operation == Operation::Replace) {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("table `{}` was compacted by another engine; which of its rows came from a source file cannot be told any more", table.name()),
        )
        .hint("use `mode: upsert` with a key for tables that others compact, or `on_overwrite: append`; a table whose files are replaced must not be compacted"));
    }
    let marks: HashSet<String> = replaced.iter().map(|path| table.origin(path)).collect();
    Ok(Gone::if_so(move |file, _| mark(file.file_path()).is_some_and(|m| marks.contains(m))))
}

/// The mark of the source file in a data file's name.
pub fn mark(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?.strip_suffix(".parquet")?;
    name.rsplit('-').next().filter(|m| m.len() == 33 && m.starts_with('o'))
}

/// Takes the files out of the manifests they are in.
pub async fn apply(
    table: &Table,
    version: &Version,
    manifests: &[ManifestFile],
    gone: &Gone,
    snapshot: i64,
    names: &mut Names,
    made: &mut Vec<Made>,
) -> Result<Outcome> {
    let mut outcome = Outcome { manifests: Vec::with_capacity(manifests.len()), removed: Removed::default() };
    let Some(gone) = &gone.0 else {
        outcome.manifests.extend_from_slice(manifests);
        return Ok(outcome);
    };
    for m in manifests {
        if manifest::live_files(m) == 0 {
            // Only tells what left with an earlier snapshot.
            continue;
        }
        let entries = manifest::entries(&table.lake, &version.metadata, m).await?;
        let leaves = |e: &manifest::Entry| e.live() && gone(&e.file, m.partition_spec_id);
        if !entries.iter().any(leaves) {
            outcome.manifests.push(m.clone());
            continue;
        }
        let mut items = Vec::with_capacity(entries.len());
        for e in entries.into_iter().filter(manifest::Entry::live) {
            if leaves(&e) {
                outcome.removed.files += 1;
                outcome.removed.rows += e.file.record_count();
                outcome.removed.bytes += e.file.file_size_in_bytes();
                items.push(Item::Deleted(e));
            } else {
                items.push(Item::Existing(e));
            }
        }
        let spec = version.metadata.partition_spec_by_id(m.partition_spec_id);
        let spec = spec.ok_or_else(|| broken("a manifest's partition spec is gone")(iceberg::Error::new(iceberg::ErrorKind::DataInvalid, "spec")))?;
        let (file, manifest) = manifest::make(names.next(), snapshot, version.metadata.current_schema(), spec, items).await?;
        made.push(file);
        outcome.manifests.push(manifest);
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_in_names() {
        let mark_text = format!("o{:032x}", 7);
        assert_eq!(mark(&format!("s3://b/t/data/p/main/table/000000/0000000001-abc-00000-00001-{mark_text}.parquet")), Some(mark_text.as_str()));
        assert_eq!(mark("data/0000000001-abc-00000-00001.parquet"), None);
        assert_eq!(mark("00001-0-deadbeef.parquet"), None);
    }
}
