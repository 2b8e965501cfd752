//! The container: header, blocks, marks between them; and blocks unpacked.
//!
//! Deliberately not here: rows. Guarantees: never more is held than a block of the allowed size and a piece of input, whatever sizes and
//! counts the file claims; a block is given only when the mark behind it is the file's.

use std::io::Read;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sluis_core::{Error, ErrorKind, Result};

use super::config::Codec;
use super::cursor::Cursor;
use super::schema::Parsed;
use crate::compress::MEMORY;

/// What an Avro file begins with.
pub const MAGIC: &[u8] = b"Obj\x01";
/// Bytes of the header, at most.
const HEADER: usize = 16 << 20;
/// Rows of a block that may take no bytes at all.
const FREE_ROWS: u64 = 1 << 20;

/// What a file says of itself.
#[derive(Debug)]
pub struct Header {
    pub schema: Parsed,
    pub codec: Codec,
    mark: [u8; 16],
}

/// A block as stored.
#[derive(Debug, Clone)]
pub struct Block {
    pub rows: u64,
    pub bytes: Bytes,
    /// Where it stands in the file.
    pub at: u64,
}

/// Damage at a place of the file.
pub fn damaged(at: u64, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::CorruptInput, format!("the Avro file is damaged: {what} (byte {at})"))
        .hint("send the file again, or set `on_corrupt: reject` to go on without it")
}

/// Cuts a file's bytes into blocks.
pub struct Container {
    buffer: BytesMut,
    /// Position in the file of the buffer's first byte.
    at: u64,
    ended: bool,
    /// Look again when the buffer is this long.
    again: usize,
    header: Option<Arc<Header>>,
    max_block: usize,
}

impl Container {
    pub fn new(max_block: usize) -> Self {
        Self { buffer: BytesMut::new(), at: 0, ended: false, again: 0, header: None, max_block }
    }

    /// Takes more of the file.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The file has ended.
    pub fn end(&mut self) {
        self.ended = true;
        self.again = 0;
    }

    /// The header; `None`: more bytes are needed, or there is no file at all.
    ///
    /// # Errors
    /// `CorruptInput`.
    pub fn header(&mut self) -> Result<Option<Arc<Header>>> {
        if self.header.is_none() && self.buffer.len() >= self.again && !(self.ended && self.buffer.is_empty()) {
            let start = &self.buffer[..self.buffer.len().min(MAGIC.len())];
            if !MAGIC.starts_with(start) {
                return Err(damaged(0, "it does not begin as an Avro object container does"));
            }
            match parse_header(&self.buffer)? {
                Some((header, length)) => {
                    self.header = Some(Arc::new(header));
                    self.advance(length);
                }
                None if self.ended => return Err(damaged(self.buffer.len() as u64, "it ends within its header")),
                None if self.buffer.len() > HEADER => return Err(damaged(0, format!("its header is longer than {HEADER} bytes"))),
                None => self.again = self.buffer.len() * 2,
            }
        }
        Ok(self.header.clone())
    }

    /// The next block; `None`: more bytes are needed, or all are used up.
    ///
    /// # Errors
    /// `CorruptInput`.
    pub fn next_block(&mut self) -> Result<Option<Block>> {
        let Some(header) = self.header()? else { return Ok(None) };
        if self.buffer.len() < self.again || self.buffer.is_empty() {
            return Ok(None);
        }
        let mut cursor = Cursor::new(&self.buffer);
        let (rows, size) = match (cursor.long(), cursor.long()) {
            (Ok(rows), Ok(size)) => (rows, size),
            // Two numbers take twenty bytes at most.
            _ if self.buffer.len() < 20 && !self.ended => return Ok(None),
            _ => return Err(damaged(self.at, if self.buffer.len() < 20 { "it ends within a block" } else { "a block has no sizes" })),
        };
        let limit = self.max_block;
        let Some(size) = usize::try_from(size).ok().filter(|n| *n <= limit) else {
            return Err(damaged(self.at, format!("a block claims {size} bytes, and {limit} are allowed (`max_block`)")));
        };
        let Ok(rows) = u64::try_from(rows) else { return Err(damaged(self.at, format!("a block claims {rows} rows"))) };
        let start = cursor.at();
        let whole = start + size + header.mark.len();
        if self.buffer.len() < whole {
            if self.ended {
                return Err(damaged(self.at, "it ends within a block"));
            }
            self.again = whole;
            return Ok(None);
        }
        if self.buffer[start + size..whole] != header.mark {
            return Err(damaged(self.at, "the mark behind a block is not the file's"));
        }
        let at = self.at + start as u64;
        let bytes = self.buffer.split_to(whole).freeze().slice(start..start + size);
        self.at += whole as u64;
        self.again = 0;
        Ok(Some(Block { rows, bytes, at }))
    }

    fn advance(&mut self, length: usize) {
        let _ = self.buffer.split_to(length);
        self.at += length as u64;
        self.again = 0;
    }
}

/// The header and its length; `None`: it is not whole.
fn parse_header(bytes: &[u8]) -> Result<Option<(Header, usize)>> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else { return Ok(None) };
    let mut cursor = Cursor::new(rest);
    let (mut schema, mut codec) = (None, Codec::Null);
    let mut entries = || {
        cursor.blocks(|cursor| {
            let key = cursor.bytes()?;
            let value = cursor.bytes()?;
            match key {
                b"avro.schema" => schema = Some(value),
                b"avro.codec" => match Codec::named(value) {
                    Some(known) => codec = known,
                    None => return Err("a codec that no reader knows"),
                },
                _ => {}
            }
            Ok(())
        })
    };
    match entries() {
        Ok(()) => {}
        // Whatever lacks bytes may still come.
        Err(super::cursor::ENDS) => return Ok(None),
        Err(what) => return Err(damaged(4, what)),
    }
    let Ok(mark) = cursor.take(16) else { return Ok(None) };
    let schema = Parsed::new(schema.ok_or_else(|| damaged(4, "its header has no schema"))?).map_err(|e| damaged(4, e))?;
    let mark = mark.try_into().map_err(|_| damaged(4, "its header has no mark"))?;
    Ok(Some((Header { schema, codec, mark }, MAGIC.len() + cursor.at())))
}

/// The plain bytes of a block; `max` is their limit.
///
/// # Errors
/// `CorruptInput`.
pub fn unpack(block: &Block, codec: Codec, max: usize) -> Result<Bytes> {
    let wrong = |what: String| damaged(block.at, what);
    let packed = &block.bytes;
    let plain: Bytes = match codec {
        Codec::Null => packed.clone(),
        Codec::Deflate => read_limited(flate2::read::DeflateDecoder::new(packed.as_ref()), max).map_err(wrong)?,
        Codec::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(packed.as_ref()).map_err(|e| wrong(e.to_string()))?;
            read_limited(decoder, max).map_err(wrong)?
        }
        Codec::Bzip2 => read_limited(bzip2::read::BzDecoder::new(packed.as_ref()), max).map_err(wrong)?,
        Codec::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(MEMORY, 0).map_err(|e| wrong(e.to_string()))?;
            read_limited(liblzma::read::XzDecoder::new_stream(packed.as_ref(), stream), max).map_err(wrong)?
        }
        Codec::Snappy => snappy(packed, max).map_err(wrong)?,
    };
    if block.rows > FREE_ROWS.max(plain.len() as u64) {
        return Err(wrong(format!("a block claims {} rows in {} bytes", block.rows, plain.len())));
    }
    Ok(plain)
}

fn read_limited(decoder: impl Read, max: usize) -> Result<Bytes, String> {
    let mut plain = Vec::new();
    decoder.take(max as u64 + 1).read_to_end(&mut plain).map_err(|e| format!("a block cannot be unpacked: {e}"))?;
    if plain.len() > max { Err(too_large(max)) } else { Ok(plain.into()) }
}

fn too_large(max: usize) -> String {
    format!("a block unpacks to more than {max} bytes (`max_block`)")
}

/// Snappy's bytes and, behind them, the checksum of the plain ones.
fn snappy(packed: &[u8], max: usize) -> Result<Bytes, String> {
    let (packed, sum) = packed.split_last_chunk::<4>().ok_or("a block lacks its checksum")?;
    let wrong = |e: snap::Error| format!("a block cannot be unpacked: {e}");
    if snap::raw::decompress_len(packed).map_err(wrong)? > max {
        return Err(too_large(max));
    }
    let plain = snap::raw::Decoder::new().decompress_vec(packed).map_err(wrong)?;
    if crc32fast::hash(&plain) != u32::from_be_bytes(*sum) { Err("the checksum of a block is wrong".into()) } else { Ok(plain.into()) }
}
