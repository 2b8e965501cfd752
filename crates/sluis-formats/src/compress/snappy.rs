//! Snappy: the framing format (chunks with checksums), and the blocks that Hadoop's `SnappyCodec` writes, told apart by the first byte:
//! a frame begins with 0xff, which in Hadoop's format would be a block of four gigabytes.
//!
//! Neither has an end: a file cut between two chunks (or blocks) is whole. Deliberately not here: a block of snappy alone, without lengths.

use std::io::Read;

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use snap::read::FrameDecoder;

use super::codec::{Block, Codec, Damage, Gather, Step};

/// The longest chunk of Hadoop's that is read, compressed and plain: its writers make them of 256 KiB.
const CHUNK: usize = 16 << 20;
/// The most that a chunk of a frame unpacks to.
const FRAME_CHUNK: usize = 64 << 10;

#[derive(Default)]
pub struct Snappy {
    gather: Gather,
    at: At,
    block: Block,
    /// Holds checksums and tables; fed whole chunks only.
    frames: Option<Box<FrameDecoder<Reader<Bytes>>>>,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum At {
    /// Nothing has come.
    #[default]
    Start,
    /// The head of a frame's chunk: kind and length.
    Head,
    Chunk([u8; 4]),
    /// A chunk that means nothing.
    Skip(usize),
    /// The length of a block of Hadoop's.
    Length,
    /// The length of a chunk in a block of which so many bytes are to come.
    Part(usize),
    Packed {
        length: usize,
        left: usize,
    },
}

impl Codec for Snappy {
    fn begin(&mut self) -> Result<(), Damage> {
        Ok(())
    }

    fn step(&mut self, input: &mut Bytes) -> Result<Step, Damage> {
        loop {
            let piece = self.block.piece();
            if !piece.is_empty() {
                return Ok(Step::plain(piece));
            }
            if input.is_empty() {
                let between = matches!(self.at, At::Start | At::Head | At::Length) && self.gather.is_empty();
                return Ok(if between { Step::ended() } else { Step::default() });
            }
            match self.at {
                At::Start => self.at = if input[0] == 0xff { At::Head } else { At::Length },
                At::Skip(left) => {
                    let taken = left.min(input.len());
                    input.advance(taken);
                    self.at = if taken == left { At::Head } else { At::Skip(left - taken) };
                }
                _ => {
                    let Some(unit) = self.gather.take(input, self.unit()) else { continue };
                    self.unit_came(unit)?;
                }
            }
        }
    }
}

impl Snappy {
    fn unit(&self) -> usize {
        match self.at {
            At::Chunk([_, a, b, c]) => u32::from_le_bytes([a, b, c, 0]) as usize,
            At::Packed { length, .. } => length,
            _ => 4,
        }
    }

    fn unit_came(&mut self, unit: Bytes) -> Result<(), Damage> {
        let number = || u32::from_be_bytes([unit[0], unit[1], unit[2], unit[3]]) as usize;
        match self.at {
            At::Start | At::Skip(_) => {}
            At::Head => {
                let head = [unit[0], unit[1], unit[2], unit[3]];
                self.at = At::Chunk(head);
                let length = self.unit();
                // What means nothing may be longer than what is held.
                self.at = match head[0] {
                    0x80..=0xfe if length == 0 => At::Head,
                    0x80..=0xfe => At::Skip(length),
                    0xff if length == 6 => At::Chunk(head),
                    0 | 1 if (4..=FRAME_CHUNK + FRAME_CHUNK / 6 + 36).contains(&length) => At::Chunk(head),
                    _ => return Err(Damage::of("a chunk that is not known")),
                };
            }
            At::Chunk(head) => {
                self.frame(head, &unit)?;
                self.at = At::Head;
            }
            At::Length => self.at = if number() == 0 { At::Length } else { At::Part(number()) },
            At::Part(left) => {
                if number() == 0 || number() > CHUNK {
                    return Err(Damage::of("neither snappy's framing format nor Hadoop's"));
                }
                self.at = At::Packed { length: number(), left };
            }
            At::Packed { left, .. } => {
                let bad = |e: snap::Error| Damage { what: "a block is damaged", source: Some(e.into()) };
                let length = snap::raw::decompress_len(&unit).map_err(bad)?;
                if length > left.min(CHUNK) || length == 0 {
                    return Err(Damage::of("neither snappy's framing format nor Hadoop's"));
                }
                let length = self.block.fill(length, |out| snap::raw::Decoder::new().decompress(&unit, out).map_err(bad))?.len();
                self.at = if left == length { At::Length } else { At::Part(left - length) };
            }
        }
        Ok(())
    }

    /// A chunk of a frame, whole.
    fn frame(&mut self, head: [u8; 4], body: &Bytes) -> Result<(), Damage> {
        let decoder = self.frames.get_or_insert_with(|| Box::new(FrameDecoder::new(Bytes::new().reader())));
        let chunk: Bytes = [&head[..], body].concat().into();
        *decoder.get_mut() = chunk.reader();
        self.block.fill(FRAME_CHUNK, |out| decoder.read(out))?;
        Ok(())
    }
}
