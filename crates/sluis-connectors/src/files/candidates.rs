//! The files that may be taken next: the first ones in order, never more than a fixed number, however long the listing.

use std::collections::{BTreeMap, HashSet};

use sluis_core::{EpochLimits, FileVersion};

/// A file version to be taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Which URL it was found under.
    pub place: usize,
    /// Below that storage's root.
    pub path: String,
    pub version: FileVersion,
    pub replaces: bool,
    /// What a manifest says its hash is.
    pub md5: Option<String>,
}

/// The first candidates by URL, then by path.
#[derive(Debug)]
pub struct Candidates {
    most: usize,
    held: BTreeMap<(usize, String), Candidate>,
    /// Addresses held, so that URLs that overlap give a file once.
    addresses: HashSet<String>,
    /// Whether there were more than are held.
    pub overflow: bool,
}

impl Candidates {
    /// At most `most` are held.
    pub fn new(most: usize) -> Self {
        assert!(most > 0);
        Self { most, held: BTreeMap::new(), addresses: HashSet::new(), overflow: false }
    }

    pub fn offer(&mut self, candidate: Candidate) {
        if !self.addresses.insert(candidate.version.path.clone()) {
            return;
        }
        self.held.insert((candidate.place, candidate.path.clone()), candidate);
        if self.held.len() > self.most {
            self.overflow = true;
            if let Some((_, last)) = self.held.pop_last() {
                self.addresses.remove(&last.version.path);
            }
        }
        assert!(self.held.len() <= self.most && self.addresses.len() == self.held.len());
    }

    pub fn full(&self) -> bool {
        self.held.len() >= self.most
    }

    /// All, in order.
    pub fn into_sorted(self) -> Vec<Candidate> {
        self.held.into_values().collect()
    }
}

/// How many of `sorted` fit an epoch: at least one, so that a file larger than the limit does not stop everything.
pub fn fitting(sorted: &[Candidate], limits: &EpochLimits) -> usize {
    let mut bytes = 0_u64;
    let within = |c: &&Candidate| {
        bytes = bytes.saturating_add(c.version.size);
        bytes <= limits.bytes
    };
    let files = usize::try_from(limits.files).unwrap_or(usize::MAX).max(1);
    let fit = sorted.iter().take(files).take_while(within).count();
    fit.max(usize::from(!sorted.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(place: usize, path: &str, size: u64) -> Candidate {
        let version = FileVersion { path: format!("/{path}"), size, modified: None, etag: None };
        Candidate { place, path: path.into(), version, replaces: false, md5: None }
    }

    #[test]
    fn only_the_first_are_held_and_each_address_once() {
        let mut c = Candidates::new(3);
        for path in ["e", "d", "c", "b", "a", "a"] {
            c.offer(candidate(0, path, 1));
        }
        c.offer(candidate(1, "a", 1));
        assert!(c.overflow && c.full());
        let paths: Vec<String> = c.into_sorted().into_iter().map(|c| c.path).collect();
        assert_eq!(paths, ["a", "b", "c"]);
    }

    #[test]
    fn limits_count_files_and_bytes_and_let_one_pass() {
        let all: Vec<Candidate> = ["a", "b", "c"].iter().map(|p| candidate(0, p, 10)).collect();
        let fit = |files, bytes| fitting(&all, &EpochLimits { files, bytes, rows: 0 });
        assert_eq!((fit(2, 100), fit(9, 20), fit(9, 25), fit(9, 1), fit(0, 100)), (2, 2, 2, 1, 1));
        assert_eq!(fitting(&[], &EpochLimits { files: 1, bytes: 1, rows: 1 }), 0);
    }
}
