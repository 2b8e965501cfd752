//! What a person should know of a discovery: one line per kind of thing, with a few examples, however many files it is about.

use std::collections::BTreeMap;

/// Examples that are named per kind.
const EXAMPLES: usize = 3;

/// Why a file was passed over, or taken in spite of something. In the order in which they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Overwritten,
    WrongValue,
    Settling,
    FromTheFuture,
    NoModified,
    NoMarker,
    NotListed,
    NotAsListed,
    NoMatch,
    Vanished,
    TooMany,
}

impl Kind {
    fn sentence(self) -> &'static str {
        match self {
            Kind::Overwritten => "passed over: a file that landed before is there in a new version (on_overwrite: ignore)",
            Kind::WrongValue => "passed over: a part of the name does not parse",
            Kind::Settling => "waiting: modified too short a time ago (settle)",
            Kind::FromTheFuture => "taken although `settle` cannot tell: modified more than a day in the future",
            Kind::NoModified => "taken although `settle` cannot tell: the storage gives no modification time",
            Kind::NoMarker => "waiting: the done marker is not there",
            Kind::NotListed => "waiting: listed in the manifest but not there",
            Kind::NotAsListed => "waiting: not as the manifest lists it",
            Kind::NoMatch => "passed over: listed in the manifest but does not match",
            Kind::Vanished => "passed over: changed or vanished during the listing",
            Kind::TooMany => "waiting: too many files are settling at once",
        }
    }
}

/// Notes of one discovery.
#[derive(Debug, Default)]
pub struct Notes(BTreeMap<Kind, (u64, Vec<String>)>);

impl Notes {
    pub fn add(&mut self, kind: Kind, about: impl FnOnce() -> String) {
        let (count, examples) = self.0.entry(kind).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(about());
        }
    }

    pub fn lines(&self) -> Vec<String> {
        let line = |(kind, (count, examples)): (&Kind, &(u64, Vec<String>))| {
            let more = count - examples.len() as u64;
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            format!("{count} {} {}: {}{more}", if *count == 1 { "file" } else { "files" }, kind.sentence(), examples.join(", "))
        };
        self.0.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_files_make_one_line() {
        let mut notes = Notes::default();
        for i in 0..5 {
            notes.add(Kind::Settling, || format!("f{i}"));
        }
        notes.add(Kind::Overwritten, || "x".into());
        let lines = notes.lines();
        assert_eq!(lines[0], "1 file passed over: a file that landed before is there in a new version (on_overwrite: ignore): x");
        assert_eq!(lines[1], "5 files waiting: modified too short a time ago (settle): f0, f1, f2, and 2 more");
    }
}
