//! Archives: which files are some, which of their members are taken, and what columns those add.
//!
//! Deliberately not here: how archives are built (`sluis-formats`, room `archive`).

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use sluis_core::{FileVersion, Split};
use sluis_formats::archive::{Archive, Choose};

use super::config::{Metadata, Settings};
use super::hidden::hidden;
use super::pattern::{Matched, Pattern};

/// What a file is opened as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveChoice {
    /// By its name.
    #[default]
    Auto,
    /// Every file as it is.
    None,
    /// Every file as a zip.
    Zip,
    /// Every file as a tar, compressed or not.
    Tar,
}

impl ArchiveChoice {
    /// The archive that a file is, if it is one.
    pub fn of(self, path: &str) -> Option<Archive> {
        match self {
            ArchiveChoice::Auto => Archive::by_name(path),
            ArchiveChoice::None => None,
            ArchiveChoice::Zip => Some(Archive::Zip),
            ArchiveChoice::Tar => Some(Archive::Tar),
        }
    }
}

/// What is asked about each member of a split's archive.
pub fn chooser(settings: &Settings, split: &Split, version: &FileVersion) -> Choose {
    let (constants, archive) = (split.constants.clone(), version.path.clone());
    let (pattern, all) = (settings.members.clone(), settings.hidden);
    let named = settings.metadata.contains(&Metadata::File);
    Arc::new(move |name| {
        let captures = taken(name, pattern.as_ref(), all, &archive)?;
        let mut constants = constants.clone();
        constants.extend(captures);
        if named {
            constants.insert("_file".into(), format!("{archive}/{name}"));
        }
        Some(constants)
    })
}

/// Whether a member is taken, and what its name captures.
fn taken(name: &str, pattern: Option<&Pattern>, all: bool, archive: &str) -> Option<BTreeMap<String, String>> {
    // What macOS puts beside the files, whatever is asked for.
    if name.starts_with("__MACOSX/") || (!all && hidden(name, pattern.map_or("", Pattern::name_prefix))) {
        return None;
    }
    match pattern.map(|p| p.matches(name)) {
        None => Some(BTreeMap::new()),
        Some(Matched::Yes(captures)) => Some(captures),
        Some(Matched::No) => None,
        Some(Matched::Wrong { capture, text, wanted }) => {
            tracing::warn!(archive, member = name, "passed over: `{text}` is no {wanted}, which `{{{capture}}}` in `members` asks for");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_chosen_as_files_are() {
        let take = |name: &str, pattern: Option<&str>, all| {
            let pattern = pattern.map(|p| Pattern::of_match(p, true).unwrap());
            taken(name, pattern.as_ref(), all, "a.zip").map(|c| c.into_values().collect::<Vec<_>>().join(","))
        };
        for name in ["a.csv", "x/y/a.csv"] {
            assert_eq!(take(name, None, false).as_deref(), Some(""), "{name}");
        }
        for name in [".a", "_x/a.csv", "x/a.tmp", "__MACOSX/._a.csv", "../a.csv"] {
            assert_eq!(take(name, None, false), None, "{name}");
        }
        assert!(take(".a", None, true).is_some() && take("__MACOSX/._a.csv", None, true).is_none());
        assert_eq!(take("x/r_20240102.csv", Some("r_{day:%Y%m%d}.csv"), false).as_deref(), Some("2024-01-02"));
        assert_eq!(take("x/r_today.csv", Some("r_{day:%Y%m%d}.csv"), false), None);
        assert_eq!(take("x/r.csv", Some("y/*.csv"), false), None);
        assert!(take("_r.csv", Some("_*.csv"), false).is_some());
    }
}
