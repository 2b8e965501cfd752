//! The few file-system steps that survive a power cut: folders made for good, renames that do not overwrite, synced folder entries.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Syncs a folder's entries. File systems that cannot (some network and FUSE ones) are taken at their word.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        done => done,
    }
}

/// Makes a folder and what is missing above it; every new one is in its parent for good.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    let mut made = Vec::new();
    let done = create(folder, &mut made);
    // All are made before any is synced, and the innermost first: a journal then writes them out together.
    for parent in made.iter().rev().filter_map(|folder| folder.parent()) {
        sync_folder(parent)?;
    }
    done
}

/// Makes the folders and notes which are new, outermost first.
fn create<'a>(folder: &'a Path, made: &mut Vec<&'a Path>) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => {
            made.push(folder);
            Ok(())
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            if fs::metadata(folder)?.is_dir() {
                Ok(())
            } else {
                Err(io::Error::from(io::ErrorKind::NotADirectory))
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            create(folder.parent().ok_or(e)?, made)?;
            create(folder, made)
        }
        Err(e) => Err(e),
    }
}

/// Does `work` in a folder that it makes if need be, also when somebody else's sweep removes the empty folder in between.
pub(super) fn in_folder<T>(folder: &Path, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut left = 20;
    loop {
        match work() {
            Err(e) if e.kind() == io::ErrorKind::NotFound && left > 0 => left -= 1,
            done => return done,
        }
        match make_folder(folder) {
            // Its parent was swept away while we made it: again.
            Err(e) if e.kind() == io::ErrorKind::NotFound && left > 0 => {}
            made => made?,
        }
    }
}

/// How a new name is given without overwriting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exclusive {
    /// One system call (Linux `renameat2`, macOS `renamex_np`).
    Rename,
    /// A second name for the file, then the first one is removed: for file systems that lack the above.
    Link,
    /// Look, then rename: for those that lack links, too. Two writers of one name at the same instant are not kept apart.
    Look,
}

/// Renames; `ErrorKind::AlreadyExists` if there is something at `to`.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rename_new_by(Exclusive::Rename, from, to) {
        Err(e) if lacks(&e) => {}
        done => return done,
    }
    match rename_new_by(Exclusive::Link, from, to) {
        Err(e) if lacks(&e) => rename_new_by(Exclusive::Look, from, to),
        done => done,
    }
}

/// Whether the error says that the file system does not know the operation.
fn lacks(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOTTY | Errno::PERM | Errno::MLINK)
    )
}

pub(super) fn rename_new_by(how: Exclusive, from: &Path, to: &Path) -> io::Result<()> {
    match how {
        Exclusive::Rename => Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?),
        Exclusive::Link => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        Exclusive::Look => match fs::symlink_metadata(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
            Err(e) => Err(e),
        },
    }
}

/// Whether two files hold the same bytes (or are one file with two names).
pub(super) fn same_content(a: &Path, b: &Path) -> io::Result<bool> {
    let (a, b) = (File::open(a)?, File::open(b)?);
    let (am, bm) = (a.metadata()?, b.metadata()?);
    if (am.dev(), am.ino()) == (bm.dev(), bm.ino()) {
        return Ok(true);
    }
    if am.len() != bm.len() || !am.is_file() || !bm.is_file() {
        return Ok(false);
    }
    const PIECE: u64 = 1 << 18;
    let (mut x, mut y) = (Vec::new(), Vec::new());
    loop {
        x.clear();
        y.clear();
        (&a).take(PIECE).read_to_end(&mut x)?;
        (&b).take(PIECE).read_to_end(&mut y)?;
        if x != y {
            return Ok(false);
        }
        if x.is_empty() {
            return Ok(true);
        }
    }
}
