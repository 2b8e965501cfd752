//! Writing: staged files, their publication, one-step puts, and the removal of leftovers.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sluis_core::{Error, ErrorKind, Result};

use super::durable::{in_folder, make_folder, rename_new, same_content, sync_folder};
use super::{absent, blocking, failed};
use crate::{IfExists, Published, StagedFile, StagedWriter, Staging};

/// Bytes gathered before a blocking call writes them.
const GATHER: usize = 1 << 20;
/// Folder for the temporary files of `put`, in the hidden one.
const PUTS: &str = ".put";
/// A temporary file this old belongs to nobody any more, whichever machine made it.
const STALE: Duration = Duration::from_secs(3600);

/// Writes one file, staged or at its final place.
pub(super) struct Writer {
    full: PathBuf,
    target: String,
    path: String,
    state: State,
    pending: Vec<Bytes>,
    pending_len: usize,
    written: u64,
}

enum State {
    /// Nothing was written yet, the file is not there.
    Fresh,
    Open(File),
    Broken,
}

impl Writer {
    pub(super) fn new(full: PathBuf, target: String, path: String) -> Self {
        Self { full, target, path, state: State::Fresh, pending: Vec::new(), pending_len: 0, written: 0 }
    }

    async fn flush(&mut self, last: bool) -> Result<()> {
        let state = std::mem::replace(&mut self.state, State::Broken);
        let (full, pending) = (self.full.clone(), std::mem::take(&mut self.pending));
        self.pending_len = 0;
        let file = blocking(move || write_out(state, &full, &pending, last)).await?;
        self.state = State::Open(file);
        Ok(())
    }
}

fn write_out(state: State, full: &Path, pending: &[Bytes], last: bool) -> Result<File> {
    let folder = full.parent().unwrap_or(full);
    let mut file = match state {
        State::Open(file) => file,
        State::Fresh => in_folder(folder, || File::create(full)).map_err(|e| failed("write", full, e))?,
        State::Broken => return Err(Error::internal(format!("{} was written to after a failure", full.display()))),
    };
    let mut write = || -> io::Result<()> {
        for bytes in pending {
            file.write_all(bytes)?;
        }
        if last {
            file.sync_all()?;
            sync_folder(folder)?;
        }
        Ok(())
    };
    write().map_err(|e| failed("write", full, e))?;
    Ok(file)
}

#[async_trait]
impl StagedWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.written += bytes.len() as u64;
        self.pending_len += bytes.len();
        self.pending.push(bytes);
        if self.pending_len >= GATHER { self.flush(false).await } else { Ok(()) }
    }

    async fn finish(mut self: Box<Self>) -> Result<StagedFile> {
        self.flush(true).await?;
        Ok(StagedFile { target: self.target, size: self.written, staging: Staging::Hidden { path: self.path } })
    }
}

/// Moves a staged file to its target. Every state that a crash can leave behind is one of: staged only, both names, target only.
pub(super) fn publish(hidden: &Path, target: &Path, size: u64, if_exists: IfExists) -> Result<Published> {
    let staged = match fs::metadata(hidden) {
        Ok(meta) => Some(meta.len()),
        Err(e) if absent(&e) => None,
        Err(e) => return Err(failed("look at", hidden, e)),
    };
    let Some(staged) = staged else { return published_before(hidden, target, size) };
    if staged != size {
        return Err(Error::new(ErrorKind::Conflict, format!("{} has {staged} bytes where {size} were staged", hidden.display()))
            .hint("somebody changed a staged file; the epoch cannot be committed from it"));
    }
    let folder = target.parent().unwrap_or(target);
    let moved = in_folder(folder, || match if_exists {
        IfExists::Replace => fs::rename(hidden, target),
        IfExists::Fail => rename_new(hidden, target),
    });
    match moved {
        Ok(()) => sync_folder(folder).map(|()| Published::Now).map_err(|e| failed("sync the folder", folder, e)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            if !same_content(hidden, target).map_err(|e| failed("compare", target, e))? {
                return Err(taken(target).source(e));
            }
            // Both names: a crash between link and unlink, or the same content by another way.
            remove(hidden)?;
            sync_folder(folder).map_err(|e| failed("sync the folder", folder, e))?;
            Ok(Published::Before)
        }
        // Another worker that commits the same epoch published it since we looked.
        Err(e) if absent(&e) && fs::symlink_metadata(hidden).is_err_and(|e| absent(&e)) => published_before(hidden, target, size),
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => Err(failed("publish", target, e).hint(
            "the target's folder is on another file system than the root it belongs to; give that folder as the root (url) of a target of its own",
        )),
        Err(e) => Err(failed("publish", target, e)),
    }
}

fn published_before(hidden: &Path, target: &Path, size: u64) -> Result<Published> {
    match fs::metadata(target) {
        Ok(meta) if meta.len() == size => {
            // The crash may have come between the rename and the sync of its folder.
            let folder = target.parent().unwrap_or(target);
            sync_folder(folder).map_err(|e| failed("sync the folder", folder, e))?;
            Ok(Published::Before)
        }
        Ok(meta) => Err(Error::new(
            ErrorKind::Conflict,
            format!("{} has {} bytes; what was staged for it had {size} and is gone", target.display(), meta.len()),
        )
        .hint("the target was changed by someone else")),
        Err(e) if absent(&e) => {
            Err(Error::new(ErrorKind::Conflict, format!("{} is gone, and its target {} is not there", hidden.display(), target.display()))
                .hint("somebody removed a staged file, or the published one"))
        }
        Err(e) => Err(failed("look at", target, e)),
    }
}

fn taken(target: &Path) -> Error {
    Error::new(ErrorKind::Conflict, format!("{} exists and holds something else", target.display()))
        .hint("the target was changed by someone else; move that file away, or choose another name for the output")
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(e) if absent(&e) => Ok(()),
        Err(e) => Err(failed("delete", path, e)),
    }
}

/// Removes the files below `folder` except `keep`, then folders left empty up to and including `hidden`.
pub(super) fn sweep(hidden: &Path, folder: &Path, keep: &[PathBuf]) -> Result<u64> {
    let removed = clear(folder, keep)?;
    clear_puts(&hidden.join(PUTS))?;
    let mut at = Some(folder);
    while let Some(folder) = at.filter(|f| f.starts_with(hidden)) {
        // Fails where it is not empty, or gone: both are as they should be.
        let _ = fs::remove_dir(folder);
        at = folder.parent();
    }
    Ok(removed)
}

fn clear(folder: &Path, keep: &[PathBuf]) -> Result<u64> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if absent(&e) => return Ok(0),
        Err(e) => return Err(failed("sweep the folder", folder, e)),
    };
    let mut removed = 0;
    for found in entries {
        let found = found.map_err(|e| failed("sweep the folder", folder, e))?;
        let path = found.path();
        if found.file_type().map_err(|e| failed("look at", &path, e))?.is_dir() {
            removed += clear(&path, keep)?;
            let _ = fs::remove_dir(&path);
        } else if !keep.contains(&path) {
            remove(&path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Temporary files of puts that will never be finished: their process is dead, or they are very old.
fn clear_puts(puts: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(puts) else { return Ok(()) };
    for found in entries.flatten() {
        let old = || found.metadata().and_then(|m| m.modified()).ok().and_then(|at| at.elapsed().ok()).is_some_and(|age| age > STALE);
        if found.file_name().to_str().is_some_and(orphaned) || old() {
            remove(&found.path())?;
        }
    }
    let _ = fs::remove_dir(puts);
    Ok(())
}

/// `<host>,<pid>,<n>.tmp` of this machine, and no such process. Where processes cannot be looked up, only age counts.
fn orphaned(name: &str) -> bool {
    let mut parts = name.split(',');
    let (Some(host), Some(pid)) = (parts.next(), parts.next()) else { return false };
    host == this_host() && pid.parse::<u32>().is_ok() && Path::new("/proc/self").exists() && !Path::new("/proc").join(pid).exists()
}

fn this_host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().replace([',', '/'], "-")
}

/// Writes a file beside nobody's eyes and gives it its name in one step.
pub(super) fn put(hidden: &Path, target: &Path, bytes: &[u8], if_exists: IfExists) -> Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let puts = hidden.join(PUTS);
    let temporary = puts.join(format!("{},{},{}.tmp", this_host(), std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let done = put_by(&temporary, target, bytes, if_exists);
    if done.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    let _ = fs::remove_dir(&puts);
    let _ = fs::remove_dir(hidden);
    done
}

fn put_by(temporary: &Path, target: &Path, bytes: &[u8], if_exists: IfExists) -> Result<()> {
    let folder = target.parent().unwrap_or(target);
    // The hidden folder need not be durable, only what is renamed out of it.
    let puts = temporary.parent().unwrap_or(temporary);
    let mut file = open_in(puts, temporary).map_err(|e| failed("write", target, e))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| failed("write", target, e))?;
    drop(file);
    let moved = in_folder(folder, || match if_exists {
        IfExists::Replace => fs::rename(temporary, target),
        IfExists::Fail => rename_new(temporary, target),
    });
    match moved {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            if !same_content(temporary, target).map_err(|e| failed("compare", target, e))? {
                return Err(taken(target).source(e));
            }
            remove(temporary)?;
        }
        moved => moved.map_err(|e| failed("write", target, e))?,
    }
    sync_folder(folder).map_err(|e| failed("sync the folder", folder, e))
}

fn open_in(folder: &Path, file: &Path) -> io::Result<File> {
    let mut left = 20;
    loop {
        match OpenOptions::new().write(true).create_new(true).open(file) {
            // Another put may remove the empty folder in between.
            Err(e) if e.kind() == io::ErrorKind::NotFound && left > 0 => left -= 1,
            done => return done,
        }
        match fs::create_dir_all(folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && left > 0 => {}
            made => made?,
        }
    }
}

/// Moves a file; across file systems by copy, sync, rename and delete.
pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().unwrap_or(to);
    match fs::symlink_metadata(from) {
        Ok(_) => {}
        Err(e) if absent(&e) && fs::metadata(to).is_ok_and(|meta| meta.is_file()) => return Ok(()),
        Err(e) => return Err(failed("move", from, e)),
    }
    make_folder(folder).map_err(|e| failed("make the folder", folder, e))?;
    match fs::rename(from, to) {
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => copy_over(from, to)?,
        moved => moved.map_err(|e| failed("move", from, e))?,
    }
    sync_folder(folder).map_err(|e| failed("sync the folder", folder, e))?;
    let left = from.parent().unwrap_or(from);
    if left == folder { Ok(()) } else { sync_folder(left).map_err(|e| failed("sync the folder", left, e)) }
}

fn copy_over(from: &Path, to: &Path) -> Result<()> {
    let mut temporary = to.as_os_str().to_owned();
    temporary.push(".sluis.tmp");
    let temporary = PathBuf::from(temporary);
    fs::copy(from, &temporary)
        .and_then(|_| File::open(&temporary)?.sync_all())
        .and_then(|()| fs::rename(&temporary, to))
        .map_err(|e| failed("copy", from, e))?;
    remove(from)
}
