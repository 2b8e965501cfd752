//! Small things of the whole crate: errors of the iceberg crate, a stable hash.

use sluis_core::{Error, ErrorKind};

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
