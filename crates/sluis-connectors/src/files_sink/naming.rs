//! Which name the next file of a source gets: the names of its earlier version first, then numbers nobody had.
//!
//! Deliberately not here: where the earlier names are kept ([`super::index`]).

use std::collections::{HashMap, HashSet};

use super::index::Entry;

/// The names one source file's rows may take in this attempt.
#[derive(Debug, Default)]
pub struct Names {
    /// Files of the version that landed before.
    before: HashSet<String>,
    /// Name of each number below the first fresh one, without its folder.
    known: Vec<String>,
    /// By folder, the number to look at next.
    at: HashMap<String, usize>,
    /// The first number that nobody had.
    pub next: u64,
}

impl Names {
    /// `name`: the file's name (below its folder) for a number.
    pub fn new(before: Option<Entry>, name: impl Fn(u64) -> String) -> Self {
        let Some(before) = before else { return Self::default() };
        Self { known: (0..before.next).map(name).collect(), before: before.files.into_iter().collect(), at: HashMap::new(), next: before.next }
    }

    /// The next target in `folder`, and whether a file of the earlier version is there.
    pub fn next(&mut self, folder: &str, name: impl Fn(u64) -> String) -> (String, bool) {
        let at = self.at.entry(folder.to_owned()).or_default();
        while let Some(known) = self.known.get(*at) {
            *at += 1;
            let target = below(folder, known);
            if self.before.contains(&target) {
                return (target, true);
            }
        }
        let target = below(folder, &name(self.next));
        self.next += 1;
        (target, false)
    }
}

/// `folder/name`.
pub fn below(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_names_are_taken_again_in_their_folder_and_numbers_given_up_are_not() {
        let name = |n: u64| format!("s-{n}.csv");
        let before = Entry {
            source: "s".into(),
            lane: "main".into(),
            epoch: 1,
            files: vec!["d=1/s-0.csv".into(), "d=2/s-3.csv".into(), "d=1/s-2.csv".into()],
            removed: vec![],
            next: 5,
        };
        let mut names = Names::new(Some(before), name);
        assert_eq!(names.next("d=1", name), ("d=1/s-0.csv".into(), true));
        assert_eq!(names.next("d=2", name), ("d=2/s-3.csv".into(), true));
        assert_eq!(names.next("d=1", name), ("d=1/s-2.csv".into(), true));
        assert_eq!(names.next("d=1", name), ("d=1/s-5.csv".into(), false));
        assert_eq!(names.next("d=3", name), ("d=3/s-6.csv".into(), false));
        assert_eq!(names.next, 7);
        let mut fresh = Names::new(None, name);
        assert_eq!(fresh.next("", name), ("s-0.csv".into(), false));
    }
}
