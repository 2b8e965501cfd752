//! Compressing what an encoder writes, piece by piece.
//!
//! Deliberately not here: levels to choose. Memory per file: xz 32 MiB, bzip2 8 MiB, the others less.

use std::io::Write;

use sluis_core::{Error, Result};

use super::Compression;

/// How hard xz works: a third of the memory of its default, files a few per cent longer.
const XZ_LEVEL: u32 = 3;

/// Compresses what an encoder writes.
pub enum Compressor {
    None,
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Bzip2(bzip2::write::BzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Xz(Box<liblzma::write::XzEncoder<Vec<u8>>>),
    Lz4(Box<lz4_flex::frame::FrameEncoder<Vec<u8>>>),
    Snappy(Box<snap::write::FrameEncoder<Vec<u8>>>),
}

impl Compressor {
    /// One for `kind`; `Auto` means none.
    pub fn new(kind: Compression) -> Result<Self> {
        Ok(match kind {
            Compression::Auto | Compression::None => Compressor::None,
            Compression::Gzip => Compressor::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6))),
            Compression::Bzip2 => Compressor::Bzip2(bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best())),
            Compression::Zstd => Compressor::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 3).map_err(not_made)?),
            Compression::Xz => Compressor::Xz(Box::new(liblzma::write::XzEncoder::new(Vec::new(), XZ_LEVEL))),
            Compression::Lz4 => {
                let info = lz4_flex::frame::FrameInfo::new().content_checksum(true).block_size(lz4_flex::frame::BlockSize::Max256KB);
                Compressor::Lz4(Box::new(lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new())))
            }
            Compression::Snappy => Compressor::Snappy(Box::new(snap::write::FrameEncoder::new(Vec::new()))),
        })
    }

    /// The ending of a file's name: empty, `.gz`, `.bz2`, `.zst`, `.xz`, `.lz4`, `.sz`.
    pub fn ending(kind: Compression) -> &'static str {
        match kind {
            Compression::Auto | Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Bzip2 => ".bz2",
            Compression::Zstd => ".zst",
            Compression::Xz => ".xz",
            Compression::Lz4 => ".lz4",
            Compression::Snappy => ".sz",
        }
    }

    /// Compresses `plain`; what is ready goes to `out`.
    pub fn write(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let (written, ready) = match self {
            Compressor::None => {
                out.extend_from_slice(plain);
                return Ok(());
            }
            Compressor::Gzip(e) => (e.write_all(plain), e.get_mut()),
            Compressor::Bzip2(e) => (e.write_all(plain), e.get_mut()),
            Compressor::Zstd(e) => (e.write_all(plain), e.get_mut()),
            Compressor::Xz(e) => (e.write_all(plain), e.get_mut()),
            Compressor::Lz4(e) => (e.write_all(plain), e.get_mut()),
            Compressor::Snappy(e) => (e.write_all(plain), e.get_mut()),
        };
        written.map_err(not_made)?;
        out.append(ready);
        Ok(())
    }

    /// Writes the end.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<()> {
        let mut rest = match self {
            Compressor::None => return Ok(()),
            Compressor::Gzip(e) => e.finish().map_err(not_made)?,
            Compressor::Bzip2(e) => e.finish().map_err(not_made)?,
            Compressor::Zstd(e) => e.finish().map_err(not_made)?,
            Compressor::Xz(e) => e.finish().map_err(not_made)?,
            Compressor::Lz4(e) => e.finish().map_err(|e| Error::internal("compressing failed").source(e))?,
            Compressor::Snappy(e) => e.into_inner().map_err(|e| not_made(std::io::Error::other(e.to_string())))?,
        };
        out.append(&mut rest);
        Ok(())
    }
}

fn not_made(e: std::io::Error) -> Error {
    Error::internal("compressing failed").source(e)
}
