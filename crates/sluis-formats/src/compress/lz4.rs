//! The lz4 frame format, frame by frame: linked and independent blocks, all checksums, frames to be skipped, and the legacy format, which
//! ends where the file does.
//!
//! Deliberately not here: dictionaries. Memory: two blocks, of at most 8 MiB.

use std::hash::Hasher;

use bytes::{Buf, Bytes};
use lz4_flex::block::decompress_into_with_dict;
use twox_hash::XxHash32;

use super::codec::{Block, Codec, Damage, Gather, Step};

const MAGIC: u32 = 0x184d_2204;
const LEGACY: u32 = 0x184c_2102;
const SKIPPED: std::ops::RangeInclusive<u32> = 0x184d_2a50..=0x184d_2a5f;
/// How far back a linked block may refer.
const WINDOW: usize = 64 << 10;
const LEGACY_BLOCK: usize = 8 << 20;

#[derive(Default)]
pub struct Lz4 {
    at: At,
    gather: Gather,
    frame: Frame,
    block: Block,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum At {
    #[default]
    Magic,
    /// The first two bytes of the header.
    Flags,
    Header([u8; 2]),
    SkipLength,
    Skip(u32),
    /// A block's length, or the end.
    Length,
    Block {
        length: usize,
        plain: bool,
    },
    /// The checksum of the content, behind the last block.
    Checksum,
}

/// What the header says, and what has come so far.
#[derive(Default)]
struct Frame {
    legacy: bool,
    linked: bool,
    block_checksums: bool,
    checksum: Option<XxHash32>,
    size: Option<u64>,
    most: usize,
    came: u64,
    /// The end of what came, for linked blocks.
    window: Vec<u8>,
}

impl Codec for Lz4 {
    fn begin(&mut self) -> Result<(), Damage> {
        // A legacy frame is only over when something else begins: its blocks go on.
        if self.at != At::Length {
            (self.at, self.frame) = (At::Magic, Frame::default());
        }
        Ok(())
    }

    fn step(&mut self, input: &mut Bytes) -> Result<Step, Damage> {
        loop {
            let piece = self.block.piece();
            if !piece.is_empty() {
                return Ok(Step::plain(piece));
            }
            // Where the file may end: between the blocks of a legacy frame.
            if self.at == At::Length && self.frame.legacy && input.is_empty() && self.gather.is_empty() {
                return Ok(Step::ended());
            }
            if let At::Skip(left) = self.at {
                let taken = (left as usize).min(input.len());
                input.advance(taken);
                self.at = At::Skip(left - taken as u32);
                if left as usize == taken {
                    return Ok(self.end());
                }
                return Ok(Step::default());
            }
            let Some(unit) = self.gather.take(input, self.unit()) else { return Ok(Step::default()) };
            if self.unit_came(&unit)? {
                return Ok(self.end());
            }
        }
    }
}

impl Lz4 {
    fn end(&mut self) -> Step {
        self.at = At::Magic;
        Step::ended()
    }

    /// Bytes of the next unit.
    fn unit(&self) -> usize {
        match self.at {
            At::Magic | At::Length | At::Checksum | At::SkipLength => 4,
            At::Flags => 2,
            At::Header([flags, _]) => 1 + usize::from(flags & 8 != 0) * 8 + usize::from(flags & 1 != 0) * 4,
            At::Block { length, .. } => length + usize::from(self.frame.block_checksums) * 4,
            At::Skip(_) => 0,
        }
    }

    /// Whether the frame ends with it.
    fn unit_came(&mut self, unit: &Bytes) -> Result<bool, Damage> {
        let number = || u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]]);
        match self.at {
            At::Magic => self.begins(number())?,
            At::Flags => self.at = At::Header([unit[0], unit[1]]),
            At::Header(flags) => self.header(flags, unit)?,
            At::SkipLength if number() == 0 => return Ok(true),
            At::SkipLength => self.at = At::Skip(number()),
            At::Length => return self.length(number()),
            At::Block { length, plain } => {
                self.decode(unit, length, plain)?;
                self.at = At::Length;
            }
            At::Checksum => {
                if self.frame.checksum.as_ref().is_some_and(|sum| sum.finish() as u32 != number()) {
                    return Err(Damage::of("the checksum is another one"));
                }
                return Ok(true);
            }
            At::Skip(_) => {}
        }
        Ok(false)
    }

    fn begins(&mut self, magic: u32) -> Result<(), Damage> {
        match magic {
            MAGIC => self.at = At::Flags,
            LEGACY => {
                self.frame = Frame { legacy: true, most: LEGACY_BLOCK, ..Frame::default() };
                self.at = At::Length;
            }
            m if SKIPPED.contains(&m) => self.at = At::SkipLength,
            _ => return Err(Damage::of("this is not how an lz4 frame begins")),
        }
        Ok(())
    }

    fn header(&mut self, [flags, sizes]: [u8; 2], rest: &Bytes) -> Result<(), Damage> {
        let (fields, sum) = rest.split_at(rest.len() - 1);
        let mut hash = XxHash32::with_seed(0);
        hash.write(&[flags, sizes]);
        hash.write(fields);
        if (hash.finish() >> 8) as u8 != sum[0] {
            return Err(Damage::of("the header's checksum is another one"));
        }
        if flags >> 6 != 1 || flags & 2 != 0 {
            return Err(Damage::of("a version of lz4 frames that is not known"));
        }
        if flags & 1 != 0 {
            return Err(Damage::of("it needs a dictionary"));
        }
        let most = match sizes >> 4 & 7 {
            n @ 4..=7 => 1 << (8 + 2 * n),
            _ => return Err(Damage::of("a size of blocks that is not known")),
        };
        self.frame = Frame {
            linked: flags & 0x20 == 0,
            block_checksums: flags & 0x10 != 0,
            checksum: (flags & 4 != 0).then(|| XxHash32::with_seed(0)),
            size: (flags & 8 != 0).then(|| fields.iter().take(8).rev().fold(0, |n, b| n << 8 | u64::from(*b))),
            most,
            ..Frame::default()
        };
        self.at = At::Length;
        Ok(())
    }

    fn length(&mut self, number: u32) -> Result<bool, Damage> {
        let frame = &self.frame;
        if frame.legacy {
            if number == MAGIC || number == LEGACY || SKIPPED.contains(&number) {
                self.begins(number)?;
                return Ok(false);
            }
            let length = number as usize;
            if length == 0 || length > LEGACY_BLOCK + LEGACY_BLOCK / 255 + 16 {
                return Err(Damage::of("a block is too long"));
            }
            self.at = At::Block { length, plain: false };
            return Ok(false);
        }
        if number == 0 {
            if frame.size.is_some_and(|size| size != frame.came) {
                return Err(Damage::of("the content is not as long as the header says"));
            }
            if frame.checksum.is_none() {
                return Ok(true);
            }
            self.at = At::Checksum;
            return Ok(false);
        }
        let length = (number & 0x7fff_ffff) as usize;
        if length > frame.most {
            return Err(Damage::of("a block is too long"));
        }
        self.at = At::Block { length, plain: number >> 31 == 1 };
        Ok(false)
    }

    fn decode(&mut self, unit: &Bytes, length: usize, plain: bool) -> Result<(), Damage> {
        let (data, sum) = unit.split_at(length);
        let frame = &mut self.frame;
        if frame.block_checksums {
            let mut hash = XxHash32::with_seed(0);
            hash.write(data);
            if hash.finish() as u32 != u32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]]) {
                return Err(Damage::of("the checksum of a block is another one"));
            }
        }
        let out = self.block.fill(if plain { length } else { frame.most }, |out| {
            if plain {
                out.copy_from_slice(data);
                return Ok(length);
            }
            decompress_into_with_dict(data, out, &frame.window)
                .map_err(|e| Damage { what: "a block is damaged", source: Some(std::io::Error::other(e.to_string())) })
        })?;
        frame.came += out.len() as u64;
        if let Some(sum) = &mut frame.checksum {
            sum.write(out);
        }
        if frame.linked {
            let keep = WINDOW.saturating_sub(out.len()).min(frame.window.len());
            frame.window.drain(..frame.window.len() - keep);
            frame.window.extend_from_slice(&out[out.len().saturating_sub(WINDOW)..]);
        }
        Ok(())
    }
}
