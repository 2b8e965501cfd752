//! The bytes of an ORC file for the library: as they are, or with every stream unpacked within limits.
//!
//! A compressed stream is pieces behind headers of three bytes, each packed or as it is. The library gets the same pieces, all of them as
//! they are. Deliberately not here: what streams mean. Guarantees: a piece unpacks to 8 MiB at most, a stripe to [`MOST`].

use std::io::Read;

use bytes::{Buf, Bytes};
use orc_rust::reader::ChunkReader;
use sluis_core::Result;

use super::contradiction;
use super::tail::Tail;
use crate::parquet::window::Windows;

/// Bytes of a piece, at most: what its header can say.
const PIECE: usize = (1 << 23) - 1;
/// Bytes of a stripe's streams, at most, unpacked.
pub const MOST: usize = 512 << 20;

/// How pieces are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Zlib,
    Snappy,
    Zstd,
    /// With the size of a piece.
    Lz4(usize),
}

/// A file for the library.
pub struct Streams {
    windows: Windows,
    /// How to unpack what is read, if it is to be.
    packing: Option<Packing>,
    /// Bytes that may still be unpacked.
    left: std::cell::Cell<usize>,
}

impl Streams {
    /// The bytes as they are.
    pub fn plain(windows: &Windows) -> Self {
        Self { windows: windows.clone(), packing: None, left: std::cell::Cell::new(MOST) }
    }

    /// Every range as a stream.
    pub fn unpacked(windows: &Windows, tail: &Tail) -> Self {
        Self { windows: windows.for_stripe(), packing: tail.packing, left: std::cell::Cell::new(MOST) }
    }
}

impl ChunkReader for Streams {
    type T = bytes::buf::Reader<Bytes>;

    fn len(&self) -> u64 {
        self.windows.length()
    }

    fn get_read(&self, start: u64) -> std::io::Result<Self::T> {
        let rest = self.windows.length().saturating_sub(start);
        Ok(self.windows.bytes(start, rest).map_err(std::io::Error::other)?.reader())
    }

    fn get_bytes(&self, start: u64, length: u64) -> std::io::Result<Bytes> {
        let bytes = self.windows.bytes(start, length).map_err(std::io::Error::other)?;
        let left = self.left.get();
        let plain = match self.packing {
            None => bytes,
            Some(packing) => {
                let count = |bytes| self.windows.unpacking().take(bytes, 0);
                in_pieces(&unpack_counted(&bytes, packing, left, count).map_err(std::io::Error::other)?)
            }
        };
        let rest = left.checked_sub(plain.len()).ok_or_else(|| std::io::Error::other(too_large(MOST)))?;
        self.left.set(rest);
        Ok(plain)
    }
}

/// Plain bytes as a stream of pieces that are not packed.
fn in_pieces(plain: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(plain.len() + 3 * (plain.len() / PIECE + 1));
    for piece in plain.chunks(PIECE) {
        let header = ((piece.len() as u32) << 1 | 1).to_le_bytes();
        out.extend_from_slice(&header[..3]);
        out.extend_from_slice(piece);
    }
    out.into()
}

/// The plain bytes of a stream; `most` is their limit.
///
/// # Errors
/// `CorruptInput`.
pub fn unpack(packed: &[u8], packing: Packing, most: usize) -> Result<Vec<u8>> {
    unpack_counted(packed, packing, most, |_| Ok(()))
}

/// Likewise; `count` hears what each piece unpacked to, and may refuse it.
fn unpack_counted(mut packed: &[u8], packing: Packing, most: usize, count: impl Fn(u64) -> Result<()>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    while !packed.is_empty() {
        let Some((&[a, b, c], rest)) = packed.split_first_chunk::<3>() else { return Err(contradiction("a stream ends within a header")) };
        let header = u32::from_le_bytes([a, b, c, 0]);
        let length = (header >> 1) as usize;
        let Some(piece) = rest.get(..length) else { return Err(contradiction("a piece of a stream is longer than the stream")) };
        if header & 1 == 1 {
            out.extend_from_slice(piece);
        } else {
            let before = out.len();
            unpack_piece(piece, packing, &mut out)?;
            count((out.len() - before) as u64)?;
        }
        if out.len() > most {
            return Err(too_large(most));
        }
        packed = &rest[length..];
    }
    Ok(out)
}

fn too_large(most: usize) -> sluis_core::Error {
    contradiction(format!("a stripe of it unpacks to more than {most} bytes"))
}

fn unpack_piece(piece: &[u8], packing: Packing, out: &mut Vec<u8>) -> Result<()> {
    let failed = |e: &dyn std::fmt::Display| contradiction(format!("a stream cannot be unpacked: {e}"));
    let before = out.len();
    let limit = PIECE as u64 + 1;
    match packing {
        Packing::Zlib => {
            flate2::read::DeflateDecoder::new(piece).take(limit).read_to_end(out).map_err(|e| failed(&e))?;
        }
        Packing::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(piece).map_err(|e| failed(&e))?;
            decoder.take(limit).read_to_end(out).map_err(|e| failed(&e))?;
        }
        Packing::Snappy => {
            let length = snap::raw::decompress_len(piece).map_err(|e| failed(&e))?;
            if length <= PIECE {
                out.resize(before + length, 0);
                snap::raw::Decoder::new().decompress(piece, &mut out[before..]).map_err(|e| failed(&e))?;
            } else {
                return Err(too_large(PIECE));
            }
        }
        Packing::Lz4(size) => {
            let plain = lz4_flex::block::decompress(piece, size.min(PIECE)).map_err(|e| failed(&e))?;
            out.extend_from_slice(&plain);
        }
    }
    if out.len() - before > PIECE { Err(too_large(PIECE)) } else { Ok(()) }
}
