//! Reading: small files whole in one blocking call, large ones by a thread that stays a few chunks ahead of its reader.
//!
//! The version that was asked for is compared when the file is opened and again when its last byte was read.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use sluis_core::{Error, ErrorKind, FileVersion, Result};
use tokio::sync::mpsc;

use super::{absent, failed, modified, open_file};

/// Up to this size a file is read whole; larger ones come in chunks of this size.
const CHUNK: u64 = 1 << 20;
/// Chunks read ahead.
const AHEAD: usize = 3;

pub(super) enum Opened {
    Whole(Bytes),
    Large(Large),
}

pub(super) struct Large {
    file: File,
    full: PathBuf,
    expect: Option<FileVersion>,
}

pub(super) fn open(full: PathBuf, expect: Option<FileVersion>) -> Result<Opened> {
    let (file, size) = open_version(&full, expect.as_ref())?;
    if size > CHUNK {
        return Ok(Opened::Large(Large { file, full, expect }));
    }
    let mut bytes = whole(&file, size as usize).map_err(|e| failed("read", &full, e))?;
    check(&file, &full, expect.as_ref(), Some(bytes.len() as u64))?;
    if expect.is_none() && bytes.len() > size as usize {
        // Any version will do, and this one grew, or tells no size: all that is there.
        bytes.clear();
        (&file).read_to_end(&mut bytes).map_err(|e| failed("read", &full, e))?;
    }
    Ok(Opened::Whole(bytes.into()))
}

/// All bytes of a file that had `size` of them a moment ago: asks for one more, which shows growth; shorter if it was cut.
fn whole(file: &File, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size + 1];
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], read as u64) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        if read == size {
            break;
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}

fn open_version(full: &Path, expect: Option<&FileVersion>) -> Result<(File, u64)> {
    let (file, meta) = match open_file(full) {
        Ok(opened) => opened,
        Err(e) if absent(&e) && expect.is_some() => return Err(changed(full, "vanished").source(e)),
        Err(e) => return Err(failed("read", full, e)),
    };
    if expect.is_some_and(|expect| !same(&meta, expect)) {
        return Err(changed(full, "changed"));
    }
    Ok((file, meta.len()))
}

fn same(meta: &std::fs::Metadata, expect: &FileVersion) -> bool {
    meta.len() == expect.size && (expect.modified.is_none() || modified(meta) == expect.modified)
}

/// After the last byte: still the version that was opened? A file replaced by another one (a rename) is none of our concern,
/// we hold the one that was asked for.
fn check(file: &File, full: &Path, expect: Option<&FileVersion>, read: Option<u64>) -> Result<()> {
    let Some(expect) = expect else { return Ok(()) };
    let meta = file.metadata().map_err(|e| failed("look at", full, e))?;
    if same(&meta, expect) && read.is_none_or(|n| n == expect.size) { Ok(()) } else { Err(changed(full, "changed while it was read")) }
}

fn changed(full: &Path, how: &str) -> Error {
    Error::new(ErrorKind::SourceChanged, format!("{} {how}", full.display()))
}

impl Large {
    /// Starts the reading thread. It ends with the file, an error, or when the stream is dropped.
    pub(super) fn stream(self) -> Result<BoxStream<'static, Result<Bytes>>> {
        let (to, mut from) = mpsc::channel(AHEAD);
        std::thread::Builder::new()
            .name("sluis-read".into())
            .spawn(move || self.run(&to))
            .map_err(|e| Error::io("start a thread for", "reading a file", e))?;
        Ok(stream::poll_fn(move |cx| from.poll_recv(cx)).boxed())
    }

    fn run(mut self, to: &mpsc::Sender<Result<Bytes>>) {
        let mut total = 0;
        loop {
            let mut chunk = Vec::with_capacity(CHUNK as usize);
            let next = match (&mut self.file).take(CHUNK).read_to_end(&mut chunk) {
                Err(e) => Err(failed("read", &self.full, e)),
                Ok(0) => match check(&self.file, &self.full, self.expect.as_ref(), Some(total)) {
                    Ok(()) => return,
                    Err(e) => Err(e),
                },
                Ok(n) => {
                    total += n as u64;
                    Ok(chunk.into())
                }
            };
            let ends = next.is_err();
            if to.blocking_send(next).is_err() || ends {
                return;
            }
        }
    }
}

pub(super) fn range(full: PathBuf, range: Range<u64>, expect: Option<FileVersion>) -> Result<Bytes> {
    let (file, size) = open_version(&full, expect.as_ref())?;
    if range.start > range.end || range.end > size {
        return Err(Error::new(ErrorKind::CorruptInput, format!("{} has {size} bytes; {}..{} is not in it", full.display(), range.start, range.end)));
    }
    let mut bytes = vec![0; (range.end - range.start) as usize];
    match file.read_exact_at(&mut bytes, range.start) {
        Ok(()) => {}
        // It was longer a moment ago.
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(changed(&full, "was cut while it was read").source(e)),
        Err(e) => return Err(failed("read", &full, e)),
    }
    check(&file, &full, expect.as_ref(), None)?;
    Ok(bytes.into())
}
