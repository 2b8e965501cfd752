//! Listing: a walk in a thread of its own that feeds a bounded channel, so that 100 million files take no more memory than 100.
//!
//! Names come in the folder's own order, unsorted: sorting would hold whole folders. What vanishes during the walk is passed over.

use std::fs::{self, FileType, Metadata, ReadDir};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use futures::stream::{self, BoxStream, StreamExt};
use sluis_core::{Error, ErrorKind, Result};
use tokio::sync::mpsc;

use super::{absent, entry, failed};
use crate::Entry;

/// Entries handed over at once, at most; times [`DEPTH`] is what a listing holds in memory.
const BATCH: usize = 512;
const DEPTH: usize = 4;

/// Walks `root/prefix` as the stream is read.
pub(super) fn stream(root: PathBuf, prefix: String) -> BoxStream<'static, Result<Entry>> {
    let (to, mut from) = mpsc::channel::<Result<Vec<Entry>>>(DEPTH);
    let thread = std::thread::Builder::new().name("sluis-list".into()).spawn(move || {
        let mut out = Out { to, batch: Vec::new(), limit: 16 };
        let ended = walk(&root, &prefix, &mut out);
        out.flush();
        if let Err(e) = ended {
            // The reader may be gone; then nobody wants to know.
            let _ = out.to.blocking_send(Err(e));
        }
    });
    if let Err(e) = thread {
        return stream::iter([Err(Error::io("start a thread for", "a listing", e))]).boxed();
    }
    stream::poll_fn(move |cx| from.poll_recv(cx))
        .flat_map(|batch| match batch {
            Ok(entries) => stream::iter(entries.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(e) => stream::iter(vec![Err(e)]),
        })
        .boxed()
}

struct Out {
    to: mpsc::Sender<Result<Vec<Entry>>>,
    batch: Vec<Entry>,
    /// Grows from small to [`BATCH`], so that the first entries arrive at once.
    limit: usize,
}

impl Out {
    /// False once nobody reads any more.
    fn push(&mut self, entry: Entry) -> bool {
        self.batch.push(entry);
        self.batch.len() < self.limit || self.flush()
    }
    fn flush(&mut self) -> bool {
        self.limit = (self.limit * 2).min(BATCH);
        let batch = std::mem::take(&mut self.batch);
        batch.is_empty() || self.to.blocking_send(Ok(batch)).is_ok()
    }
}

/// A folder being read, with its identity so that a link back into it is seen.
struct Level {
    entries: ReadDir,
    folder: PathBuf,
    /// Relative to the root, with a trailing `/` unless empty.
    relative: String,
    id: (u64, u64),
}

impl Level {
    /// `None`: it is not there (any more), or it is one of `above`.
    fn open(folder: PathBuf, relative: String, above: &[Level]) -> Result<Option<Level>> {
        let opened = fs::metadata(&folder).and_then(|meta| Ok((fs::read_dir(&folder)?, (meta.dev(), meta.ino()))));
        match opened {
            Ok((_, id)) if above.iter().any(|level| level.id == id) => Ok(None),
            Ok((entries, id)) => Ok(Some(Level { entries, folder, relative, id })),
            Err(e) if absent(&e) => Ok(None),
            Err(e) => Err(failed("list the folder", &folder, e)),
        }
    }
}

fn walk(root: &Path, prefix: &str, out: &mut Out) -> Result<()> {
    let mut levels: Vec<Level> = Vec::new();
    match Level::open(root.join(prefix), if prefix.is_empty() { String::new() } else { format!("{prefix}/") }, &levels)? {
        Some(level) => levels.push(level),
        None => return must_exist(root),
    }
    while let Some(level) = levels.last_mut() {
        let Some(found) = level.entries.next() else {
            levels.pop();
            continue;
        };
        let found = found.map_err(|e| failed("list the folder", &level.folder, e))?;
        let relative = format!("{}{}", level.relative, name(&found, &level.folder)?);
        match look(&found)? {
            Found::File(meta) => {
                if !out.push(entry(relative, &meta)) {
                    return Ok(());
                }
            }
            Found::Folder => {
                if let Some(level) = Level::open(found.path(), format!("{relative}/"), &levels)? {
                    levels.push(level);
                }
            }
            Found::Other => {}
        }
    }
    Ok(())
}

/// A root that does not exist is a mistake (a typing error in a URL); a folder below it may simply not be there yet.
fn must_exist(root: &Path) -> Result<()> {
    match fs::metadata(root) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(Error::not_found(format!("{} is not a folder", root.display()))),
        Err(e) if absent(&e) => Err(Error::not_found(format!("the folder {} does not exist", root.display()))),
        Err(e) => Err(failed("look at", root, e)),
    }
}

enum Found {
    File(Metadata),
    Folder,
    /// Pipes, sockets, devices, dead links, and what vanished.
    Other,
}

fn look(found: &fs::DirEntry) -> Result<Found> {
    let seen = || -> io::Result<Found> {
        let kind: FileType = found.file_type()?;
        let meta = if kind.is_symlink() {
            fs::metadata(found.path())?
        } else if kind.is_file() {
            found.metadata()?
        } else {
            return Ok(if kind.is_dir() { Found::Folder } else { Found::Other });
        };
        Ok(if meta.is_file() {
            Found::File(meta)
        } else if meta.is_dir() {
            Found::Folder
        } else {
            Found::Other
        })
    };
    match seen() {
        Ok(found) => Ok(found),
        // A link that leads round in a circle by itself is as good as a dead one.
        Err(e) if absent(&e) || e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => Ok(Found::Other),
        Err(e) => Err(failed("look at", &found.path(), e)),
    }
}

fn name(found: &fs::DirEntry, folder: &Path) -> Result<String> {
    found.file_name().into_string().map_err(|name| {
        Error::new(ErrorKind::Config, format!("the name of a file in {} is not valid UTF-8: {}", folder.display(), name.display()))
            .hint("rename the file; every path is kept as text in the ledger, so a name that is no text cannot be told apart from others")
    })
}

/// What is directly in a folder: files and folder names, each sorted.
pub(super) fn folder(root: &Path, folder: &Path, prefix: &str) -> Result<(Vec<Entry>, Vec<String>)> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if absent(&e) => return must_exist(root).map(|()| (files, folders)),
        Err(e) => return Err(failed("list the folder", folder, e)),
    };
    for found in entries {
        let found = found.map_err(|e| failed("list the folder", folder, e))?;
        let name = name(&found, folder)?;
        match look(&found)? {
            Found::File(meta) => files.push(entry(if prefix.is_empty() { name } else { format!("{prefix}/{name}") }, &meta)),
            Found::Folder => folders.push(name),
            Found::Other => {}
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    folders.sort();
    Ok((files, folders))
}
