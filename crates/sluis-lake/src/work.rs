//! Small things of the whole crate: work away from the async threads, errors of the iceberg crate, a stable hash.

use sluis_core::{Error, ErrorKind, Result};

/// Runs work away from the async threads; in place where there is no tokio (the simulator) or this thread may block.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if sluis_core::blocking::allowed() {
        return Ok(work());
    }
    match tokio::runtime::Handle::try_current() {
        Err(_) => Ok(work()),
        Ok(handle) => match handle.spawn_blocking(work).await {
            Ok(done) => Ok(done),
            Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            Err(_) => Err(Error::new(ErrorKind::Interrupted, "the program is stopping")),
        },
    }
}

/// An error of the iceberg crate where our own input caused it: a bug.
pub fn broken(what: &'static str) -> impl Fn(iceberg::Error) -> Error {
    move |e| Error::internal(what).source(e)
}

/// An error of the iceberg crate on reading a file of a table.
pub fn damaged(file: &str) -> impl Fn(iceberg::Error) -> Error + '_ {
    move |e| {
        Error::new(ErrorKind::CorruptInput, "a file of the table cannot be read as Iceberg metadata")
            .context("file", file)
            .hint("it was damaged, or written by a newer version of the format; restore it, or point the catalog at an older metadata file")
            .source(e)
    }
}

/// An error of Arrow on columns that were checked before.
pub fn unfit(e: arrow_schema::ArrowError) -> Error {
    Error::internal("columns do not fit").source(e)
}

/// FNV-1a over 128 bits of `parts`, each ended by a byte that no text has: stable for ever, names files.
pub fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let step = |h: u128, b: u8| (h ^ u128::from(b)).wrapping_mul(PRIME);
    parts.into_iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |h, part| step(part.bytes().fold(h, step), 0xff))
}
