//! Compressed bytes to plain bytes and back: gzip, bzip2, zstd, xz (and `.lzma`), lz4, snappy; every member, stream or frame of a file.
//!
//! | room | what |
//! |---|---|
//! | [`codec`] | what a codec is, and the units that codecs of blocks are made of |
//! | `deflate`, `bzip2`, `zstd`, `xz`, `lz4`, `snappy` | one codec each |
//! | [`unpack`] | a file's bytes, decompressed |
//! | [`whole`], [`spool`] | all of them, at random places |
//! | [`mod@write`] | compressing what an encoder writes |
//!
//! Deliberately not here: archives with names inside (`archive`), Parquet's own page compression.
//! Guarantees: bounded memory whatever the ratio (pieces of [`PIECE`] bytes; a member's window is at most [`MEMORY`]); damage and early ends
//! are found and said with the position; what a file may unpack to is limited ([`Unpacking`]).

pub mod codec;
pub mod spool;
pub mod unpack;
pub mod whole;
pub mod write;

mod bzip2;
mod deflate;
mod lz4;
mod snappy;
#[cfg(test)]
mod tests;
mod xz;
mod zstd;

use std::sync::Arc;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sluis_core::{Error, ErrorKind, Result, Unpacking};

use self::codec::{Codec, Damage};
pub use self::write::Compressor;

/// Bytes of a decompressed piece, at most.
pub const PIECE: usize = 256 * 1024;
/// What the window of one member may take (xz; zstd's own limit is half of it).
pub const MEMORY: u64 = 256 << 20;
/// The first bytes of a file that tell how it is compressed.
pub const HEAD: usize = 16;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// By the file's first bytes, and by its name (`.gz`, `.bz2`, `.zst`, `.xz`, `.lzma`, `.lz4`, `.snappy`, `.sz`). The default.
    #[default]
    Auto,
    /// Not compressed, whatever the name says.
    None,
    Gzip,
    Bzip2,
    Zstd,
    /// xz; reading also `.lzma`.
    Xz,
    /// The frame format of the `lz4` program.
    Lz4,
    /// The framing format (`.sz`); reading also the blocks that Hadoop writes (`.snappy`).
    Snappy,
}

/// Endings of names, and what they promise.
const ENDINGS: [(&str, Compression); 12] = [
    (".gz", Compression::Gzip),
    (".gzip", Compression::Gzip),
    (".bz2", Compression::Bzip2),
    (".bzip2", Compression::Bzip2),
    (".bz", Compression::Bzip2),
    (".zst", Compression::Zstd),
    (".zstd", Compression::Zstd),
    (".xz", Compression::Xz),
    (".lzma", Compression::Xz),
    (".lz4", Compression::Lz4),
    (".snappy", Compression::Snappy),
    (".sz", Compression::Snappy),
];

impl Compression {
    /// What a file is, by its name and its first bytes (at least [`HEAD`], or all there are).
    pub fn detect(self, path: &str, head: &[u8]) -> Compression {
        match self {
            Compression::None => Compression::None,
            // Nothing is nothing, however it is compressed.
            _ if head.is_empty() => Compression::None,
            // If the name promises what the bytes do not keep, the decoder will say so.
            Compression::Auto => by_bytes(head).or_else(|| Self::by_name(path)).unwrap_or(Compression::None),
            given => given,
        }
    }

    /// What a name promises.
    pub fn by_name(path: &str) -> Option<Compression> {
        let ends = |ending: &str| path.len() >= ending.len() && path.as_bytes()[path.len() - ending.len()..].eq_ignore_ascii_case(ending.as_bytes());
        ENDINGS.iter().find(|(ending, _)| ends(ending)).map(|(_, kind)| *kind)
    }

    /// Its name for people; empty for none.
    fn name(self) -> &'static str {
        match self {
            Compression::Auto | Compression::None => "",
            Compression::Gzip => "gzip",
            Compression::Bzip2 => "bzip2",
            Compression::Zstd => "zstd",
            Compression::Xz => "xz",
            Compression::Lz4 => "lz4",
            Compression::Snappy => "snappy",
        }
    }
}

fn by_bytes(head: &[u8]) -> Option<Compression> {
    let bzip2 = head.len() >= 10 && head.starts_with(b"BZh") && matches!(&head[4..10], b"\x31\x41\x59\x26\x53\x59" | b"\x17\x72\x45\x38\x50\x90");
    match head {
        [0x1f, 0x8b, 0x08, ..] => Some(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Compression::Zstd),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Compression::Xz),
        [0x04, 0x22, 0x4d, 0x18, ..] => Some(Compression::Lz4),
        [0xff, 6, 0, 0, b's', b'N', b'a', b'P', b'p', b'Y', ..] => Some(Compression::Snappy),
        _ if bzip2 => Some(Compression::Bzip2),
        _ => None,
    }
}

/// Takes compressed bytes, gives plain ones.
pub struct Decompressor {
    kind: &'static str,
    /// `None`: the bytes are plain.
    codec: Option<Box<dyn Codec>>,
    at: At,
    input: Bytes,
    /// Compressed bytes taken so far.
    consumed: u64,
    /// The last step gave something: the codec may hold more.
    more: bool,
    unpacking: Option<Arc<Unpacking>>,
}

/// Where in the file the decompressor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Between members; whether one has been read.
    Between {
        any: bool,
    },
    Member,
    /// Zeros after a member, as tapes and block devices leave them.
    Padding,
    /// Behind the one member there may be.
    End,
}

impl Decompressor {
    /// One for `kind`, which must have been detected.
    pub fn new(kind: Compression) -> Result<Self> {
        let codec: Option<Box<dyn Codec>> = match kind {
            Compression::Auto | Compression::None => None,
            Compression::Gzip => Some(Box::new(deflate::Inflate::gzip())),
            Compression::Bzip2 => Some(Box::new(bzip2::Bzip2::default())),
            Compression::Zstd => Some(Box::new(zstd::Zstd::new()?)),
            Compression::Xz => Some(Box::new(xz::Xz::default())),
            Compression::Lz4 => Some(Box::new(lz4::Lz4::default())),
            Compression::Snappy => Some(Box::new(snappy::Snappy::default())),
        };
        Ok(Self::with(kind.name(), codec))
    }

    /// One for deflate without a header, as zip archives hold it. There is one member.
    pub fn deflate() -> Self {
        Self::with("deflate", Some(Box::new(deflate::Inflate::raw())))
    }

    fn with(kind: &'static str, codec: Option<Box<dyn Codec>>) -> Self {
        Self { kind, codec, at: At::Between { any: false }, input: Bytes::new(), consumed: 0, more: false, unpacking: None }
    }

    /// Counts what comes out, and stops at its limits.
    pub fn within(mut self, unpacking: Arc<Unpacking>) -> Self {
        self.unpacking = Some(unpacking);
        self
    }

    /// Whether it does any work.
    pub fn is_plain(&self) -> bool {
        self.codec.is_none()
    }

    /// Compressed bytes that wait to be worked on.
    pub fn pending(&self) -> usize {
        self.input.len()
    }

    /// Compressed bytes taken so far.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Gives it the next compressed bytes; what came before must have been drained by [`Decompressor::next_piece`].
    pub fn push(&mut self, input: Bytes) {
        assert!(self.input.is_empty(), "the decompressor has not been drained");
        self.input = input;
    }

    /// The next plain bytes, or `None` when more input is needed.
    ///
    /// # Errors
    /// `ErrorKind::CorruptInput` with the position, or with the limit that is exceeded.
    pub fn next_piece(&mut self) -> Result<Option<Bytes>> {
        let Some(codec) = &mut self.codec else {
            self.consumed += self.input.len() as u64;
            return Ok(Some(std::mem::take(&mut self.input)).filter(|plain| !plain.is_empty()));
        };
        while !self.input.is_empty() || self.more {
            match self.at {
                At::Between { any: true } if self.input.first() == Some(&0) && codec.padded() => self.at = At::Padding,
                At::Between { .. } => {
                    codec.begin().map_err(|d| damaged(self.kind, d, self.consumed))?;
                    self.at = At::Member;
                }
                At::Padding => {
                    let zeros = self.input.iter().position(|b| *b != 0).unwrap_or(self.input.len());
                    let _ = self.input.split_to(zeros);
                    self.consumed += zeros as u64;
                    // Another member may follow the padding.
                    if !self.input.is_empty() {
                        self.at = At::Between { any: true };
                    }
                }
                At::End => return Err(damaged(self.kind, Damage::of("other bytes follow its end"), self.consumed)),
                At::Member => {
                    let before = self.input.len();
                    let step = codec.step(&mut self.input);
                    self.consumed += (before - self.input.len()) as u64;
                    let step = step.map_err(|d| damaged(self.kind, d, self.consumed))?;
                    self.more = !step.plain.is_empty() && !step.ended;
                    if step.ended {
                        self.at = if codec.single() { At::End } else { At::Between { any: true } };
                    } else if step.plain.is_empty() && before > 0 && self.input.len() == before {
                        return Err(damaged(self.kind, Damage::of("it goes nowhere"), self.consumed));
                    }
                    if !step.plain.is_empty() {
                        debug_assert!(step.plain.len() <= PIECE);
                        if let Some(unpacking) = &self.unpacking {
                            unpacking.take(step.plain.len() as u64, self.consumed)?;
                        }
                        return Ok(Some(step.plain));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Says whether the end of the input is the end of the data.
    ///
    /// # Errors
    /// `ErrorKind::CorruptInput`: the file ends in the middle.
    pub fn finish(&self) -> Result<()> {
        let started = match (self.at, &self.codec) {
            (At::Member, Some(_)) => true,
            // One member is promised, and none has come.
            (At::Between { any: false }, Some(codec)) => codec.single(),
            _ => false,
        };
        if !started {
            return Ok(());
        }
        let message = format!("the {} data ends in the middle: the file is cut off after {} bytes", self.kind, self.consumed);
        Err(Error::new(ErrorKind::CorruptInput, message)
            .hint("the upload may have been interrupted: send the file again, or set `on_corrupt: reject` to go on without it"))
    }
}

fn damaged(kind: &str, damage: Damage, at: u64) -> Error {
    let message = match damage.what {
        "" => format!("the {kind} data is damaged at byte {at}"),
        what => format!("the {kind} data is damaged at byte {at}: {what}"),
    };
    let e = Error::new(ErrorKind::CorruptInput, message).hint("send the file again, or set `on_corrupt: reject` to go on without it");
    match damage.source {
        Some(s) => e.source(s),
        None => e,
    }
}
