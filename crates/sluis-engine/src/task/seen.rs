//! What a task saw of its files' columns, for the history of drift: in how many files each was, which was the first with it, without it;
//! and which values the contract discarded or rescued.
//!
//! Deliberately not here: comparing with what was known before (`drift`). Guarantee: what tasks saw, joined in their order, is what one task
//! for all their files would have seen, but for the files of values beyond [`MOST`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sluis_core::ValueCounts;

/// Files and columns whose values are counted one by one; those of others are counted together by column.
const MOST: usize = 1000;

/// One column over a row of files. Files without rows say nothing. `first_…` are splits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    pub with: u64,
    pub without: u64,
    pub first_with: Option<usize>,
    pub first_without: Option<usize>,
    /// Files without it after the first with it.
    pub gone: u64,
    pub first_gone: Option<usize>,
}

impl Presence {
    /// One file.
    fn of(split: usize, present: bool) -> Self {
        match present {
            true => Self { with: 1, first_with: Some(split), ..Self::default() },
            false => Self { without: 1, first_without: Some(split), ..Self::default() },
        }
    }

    /// Files that all lack it.
    fn lacking(files: u64, first: Option<usize>) -> Self {
        Self { without: files, first_without: first, ..Self::default() }
    }

    /// And then these.
    fn then(self, next: Self) -> Self {
        let (gone, first_gone) = match self.with {
            0 => (next.gone, next.first_gone),
            _ => (self.gone + next.without, self.first_gone.or(next.first_without)),
        };
        Self {
            with: self.with + next.with,
            without: self.without + next.without,
            first_with: self.first_with.or(next.first_with),
            first_without: self.first_without.or(next.first_without),
            gone,
            first_gone,
        }
    }

    fn at(self, offset: usize) -> Self {
        let moved = |split: Option<usize>| split.map(|s| s + offset);
        Self { first_with: moved(self.first_with), first_without: moved(self.first_without), first_gone: moved(self.first_gone), ..self }
    }
}

/// Values of one column, of one file or (`None`) of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenValues {
    pub split: Option<usize>,
    pub column: String,
    pub values: ValueCounts,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Files with rows, and the first of them.
    pub files: u64,
    pub first: Option<usize>,
    /// By name, in the order of the columns.
    pub columns: Vec<(String, Presence)>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub values: Vec<SeenValues>,
}

impl Seen {
    /// And then what the next task saw, whose first split is number `offset` of all.
    pub fn then(&mut self, next: &Seen, offset: usize) {
        let by_name: BTreeMap<&str, Presence> = next.columns.iter().map(|(n, p)| (n.as_str(), p.at(offset))).collect();
        let first = next.first.map(|s| s + offset);
        let lacking = Presence::lacking(next.files, first);
        for (name, presence) in &mut self.columns {
            *presence = presence.then(by_name.get(name.as_str()).copied().unwrap_or(lacking));
        }
        let before = Presence::lacking(self.files, self.first);
        let have: std::collections::BTreeSet<String> = self.columns.iter().map(|(n, _)| n.clone()).collect();
        let new = next.columns.iter().filter(|(n, _)| !have.contains(n));
        self.columns.extend(new.map(|(n, p)| (n.clone(), before.then(p.at(offset)))));
        self.files += next.files;
        self.first = self.first.or(first);
        self.values.extend(next.values.iter().map(|v| SeenValues { split: v.split.map(|s| s + offset), ..v.clone() }));
    }
}

/// Sees the files of a task one after the other.
#[derive(Default)]
pub struct Watch {
    files: u64,
    first: Option<usize>,
    columns: Vec<Presence>,
    /// The columns of the file at hand, and whether it has had rows.
    present: Vec<bool>,
    rows: bool,
    values: BTreeMap<(Option<usize>, String), ValueCounts>,
}

impl Watch {
    /// A batch with rows came, with these columns (numbers of [`super::columns::Columns::of_files`]). `again`: as the batch before in the file.
    pub fn batch(&mut self, present: &[usize], again: bool) {
        if self.rows && again {
            return;
        }
        self.rows = true;
        if let Some(last) = present.last().filter(|last| **last >= self.present.len()) {
            self.present.resize(last + 1, false);
        }
        present.iter().for_each(|i| self.present[*i] = true);
    }

    /// A file ended: its rows count if `read`.
    pub fn end(&mut self, split: usize, read: bool) {
        if std::mem::take(&mut self.rows) && read {
            let before = Presence::lacking(self.files, self.first);
            self.columns.resize(self.present.len().max(self.columns.len()), before);
            for (i, column) in self.columns.iter_mut().enumerate() {
                *column = column.then(Presence::of(split, self.present.get(i) == Some(&true)));
            }
            self.files += 1;
            self.first.get_or_insert(split);
        }
        self.present.fill(false);
    }

    /// Values were discarded or rescued.
    pub fn values(&mut self, split: usize, column: &str, values: ValueCounts) {
        let one = (Some(split), column.to_owned());
        let key = if self.values.len() < MOST || self.values.contains_key(&one) { one } else { (None, one.1) };
        let counts = self.values.entry(key).or_default();
        *counts = counts.plus(&values);
    }

    /// All of it; `names` are those of the columns.
    pub fn seen<'a>(self, names: impl Iterator<Item = &'a str>) -> Seen {
        let lacking = Presence::lacking(self.files, self.first);
        let columns = names.enumerate().map(|(i, n)| (n.to_owned(), self.columns.get(i).copied().unwrap_or(lacking))).collect();
        let values = self.values.into_iter().map(|((split, column), values)| SeenValues { split, column, values }).collect();
        Seen { files: self.files, first: self.first, columns, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files by their columns, in tasks of so many.
    fn seen(files: &[&[usize]], per_task: usize) -> Seen {
        let mut all = Seen::default();
        for (n, task) in files.chunks(per_task).enumerate() {
            let mut watch = Watch::default();
            for (split, columns) in task.iter().enumerate() {
                if !columns.is_empty() {
                    watch.batch(columns, false);
                }
                watch.end(split, true);
            }
            all.then(&watch.seen(["a", "b", "c"].into_iter()), n * per_task);
        }
        all
    }

    #[test]
    fn however_files_are_cut_into_tasks_the_same_is_seen() {
        let files: [&[usize]; 6] = [&[0], &[], &[0, 1], &[1], &[0, 1, 2], &[0]];
        let one = seen(&files, 6);
        assert_eq!((one.files, one.first), (5, Some(0)));
        let b = Presence { with: 3, without: 2, first_with: Some(2), first_without: Some(0), gone: 1, first_gone: Some(5) };
        assert_eq!(one.columns[1], ("b".into(), b));
        for per_task in 1..6 {
            assert_eq!(seen(&files, per_task), one, "{per_task} files a task");
        }
    }

    #[test]
    fn values_beyond_some_files_are_counted_together() {
        let mut watch = Watch::default();
        for split in 0..MOST + 10 {
            watch.values(split, "a", ValueCounts { discarded: 2, rescued: 0 });
        }
        watch.values(0, "a", ValueCounts { discarded: 1, rescued: 0 });
        let values = watch.seen(std::iter::empty()).values;
        assert_eq!(values.len(), MOST + 1);
        assert_eq!(values[0].values.discarded, 20);
        assert_eq!(values.iter().map(|v| v.values.discarded).sum::<u64>(), 2 * (MOST as u64 + 10) + 1);
    }
}
