//! Archives: files within a file, by name, each a [`RawFile`] of its own.
//!
//! | room | what |
//! |---|---|
//! | [`window`] | an archive's bytes, fetched in windows that neighbours share |
//! | [`zip`] | zip: its directory, read from the end; members in any order, side by side |
//! | [`tar`] | tar: header by header; plain ones in windows, compressed ones as a stream |
//! | [`tar_header`] | one header of a tar |
//! | [`member`] | a member as a file: decompressed, checked, and at random places |
//! | [`mod@write`] | small archives written |
//!
//! Deliberately not here: which members are wanted ([`Choose`]), formats, nested archives (they are refused).
//! Guarantees: bounded memory; a truncated archive, a lying header and a wrong checksum are `ErrorKind::CorruptInput`; no name is ever used
//! as a path of this machine; what members unpack to, together, is within the archive's own [`sluis_core::Unpacking`].

pub mod member;
pub mod tar;
pub mod tar_header;
#[cfg(test)]
mod tests;
pub mod window;
pub mod write;
pub mod zip;

use std::collections::BTreeMap;
use std::sync::Arc;

use sluis_core::{Error, ErrorKind, FileVersion, Members, RawFile, Result};

use crate::compress::Compression;

/// How an archive is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archive {
    Zip,
    /// Compressed or not.
    Tar,
}

/// Endings of names of compressed tars, beside `.tar.gz` and its like.
const SHORT: [(&str, Compression); 8] = [
    (".tgz", Compression::Gzip),
    (".taz", Compression::Gzip),
    (".tbz", Compression::Bzip2),
    (".tbz2", Compression::Bzip2),
    (".tzst", Compression::Zstd),
    (".txz", Compression::Xz),
    (".tlz", Compression::Xz),
    (".tlz4", Compression::Lz4),
];

impl Archive {
    /// What a name promises.
    pub fn by_name(path: &str) -> Option<Archive> {
        let ends = |ending: &str| path.len() >= ending.len() && path.as_bytes()[path.len() - ending.len()..].eq_ignore_ascii_case(ending.as_bytes());
        if ends(".zip") {
            return Some(Archive::Zip);
        }
        let packed = Compression::by_name(path).is_some();
        let stem = if packed { path.rsplit_once('.').map_or(path, |(stem, _)| stem) } else { path };
        let tar = stem.len() >= 4 && stem.as_bytes()[stem.len() - 4..].eq_ignore_ascii_case(b".tar");
        (tar || SHORT.iter().any(|(ending, _)| ends(ending))).then_some(Archive::Tar)
    }
}

/// How a tar is compressed, by its first bytes and its name.
fn tar_compression(path: &str, head: &[u8]) -> Compression {
    let short = SHORT
        .iter()
        .find(|(ending, _)| path.len() >= ending.len() && path.as_bytes()[path.len() - ending.len()..].eq_ignore_ascii_case(ending.as_bytes()));
    match Compression::Auto.detect(path, head) {
        Compression::None if !head.is_empty() => short.map_or(Compression::None, |(_, kind)| *kind),
        found => found,
    }
}

/// Which members are wanted, by their names; and what their rows get as constants.
pub type Choose = Arc<dyn Fn(&str) -> Option<BTreeMap<String, String>> + Send + Sync>;

/// Opens the archive.
///
/// # Errors
/// `ErrorKind::CorruptInput`: it is none, or damaged. Those of reading.
pub async fn open(file: Arc<dyn RawFile>, kind: Archive, choose: Choose) -> Result<Box<dyn Members>> {
    let opened = match kind {
        Archive::Zip => zip::Zip::open(file.clone(), choose).await.map(|z| Box::new(z) as Box<dyn Members>),
        Archive::Tar => tar::Tar::open(file.clone(), choose).await.map(|t| Box::new(t) as Box<dyn Members>),
    };
    opened.map_err(|e| of_file(e, &file.version().path))
}

/// Damage, and what to do about it.
fn damaged(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::CorruptInput, message).hint("send the file again, or set `on_corrupt: reject` to go on without it")
}

/// What is whole, but cannot be read.
fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::CorruptInput, message).hint("leave that member out with `members`, or make the archive anew without it")
}

fn of_file(e: Error, path: &str) -> Error {
    if e.contexts().iter().any(|(k, _)| *k == "file") { e } else { e.context("file", path) }
}

/// A member that is an archive itself: refused, so that no archive opens into more and more.
fn not_nested(name: &str) -> Result<()> {
    match Archive::by_name(name) {
        None => Ok(()),
        Some(_) => Err(refused(format!("its member {name} is an archive itself, and archives within archives are not opened"))),
    }
}

/// A member's name as everybody means it: `/` between folders, none in front.
fn tidy_name(name: &str) -> String {
    let name = name.replace('\\', "/");
    let mut name = name.as_str();
    while let Some(rest) = name.strip_prefix("./").or_else(|| name.strip_prefix('/')) {
        name = rest;
    }
    name.to_owned()
}

/// The version of a member: it is pinned by its archive's.
fn member_version(archive: &FileVersion, name: &str, size: u64) -> FileVersion {
    FileVersion { path: format!("{}/{name}", archive.path), size, modified: archive.modified, etag: archive.etag.clone() }
}
