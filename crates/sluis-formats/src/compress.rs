//! Compressed bytes to plain bytes and back: gzip (all members of a file) and zstd (all frames).
//!
//! Deliberately not here: archives with names inside (zip, tar), Parquet's own page compression.
//! Guarantees: bounded memory whatever the ratio (pieces of [`PIECE`] bytes); damage and early ends are found and said with the position.

use std::io::Write;

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sluis_core::{Error, ErrorKind, Result};
use zstd::stream::raw::{Decoder as ZstdDecoder, Operation};

/// Bytes of a decompressed piece, at most.
pub const PIECE: usize = 256 * 1024;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// By the file's first bytes, and by its name (`.gz`, `.zst`). The default.
    #[default]
    Auto,
    /// Not compressed, whatever the name says.
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// What a file is, by its name and its first bytes (at least four, or all there are).
    pub fn detect(self, path: &str, head: &[u8]) -> Compression {
        let ends = |ending: &str| path.len() >= ending.len() && path[path.len() - ending.len()..].eq_ignore_ascii_case(ending);
        match self {
            Compression::Auto if head.is_empty() => Compression::None,
            Compression::Auto if head.starts_with(&[0x1f, 0x8b, 0x08]) => Compression::Gzip,
            Compression::Auto if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) => Compression::Zstd,
            // The name promises what the bytes do not keep: the decoder will say so.
            Compression::Auto if ends(".gz") || ends(".gzip") => Compression::Gzip,
            Compression::Auto if ends(".zst") || ends(".zstd") => Compression::Zstd,
            Compression::Auto => Compression::None,
            given if head.is_empty() && given != Compression::None => Compression::None,
            given => given,
        }
    }
}

/// Takes compressed bytes, gives plain ones.
pub struct Decompressor {
    state: State,
    input: Bytes,
    /// Compressed bytes taken so far.
    consumed: u64,
    /// The last piece was full: the decoder may hold more.
    more: bool,
}

enum State {
    Plain,
    /// Between members; whether one has been read. The inflater of the next member is made when its first byte comes.
    GzipStart {
        any: bool,
    },
    GzipMember(Box<Decompress>),
    /// Zeros after the last member, as tapes and block devices leave them.
    GzipPadding,
    Zstd {
        decoder: Box<ZstdDecoder<'static>>,
        /// At the end of a frame (or at the start of the file).
        whole: bool,
    },
}

impl Decompressor {
    /// One for `kind`, which must have been detected.
    pub fn new(kind: Compression) -> Result<Self> {
        let state = match kind {
            Compression::Auto | Compression::None => State::Plain,
            Compression::Gzip => State::GzipStart { any: false },
            Compression::Zstd => {
                let decoder = ZstdDecoder::new().map_err(|e| Error::internal("the zstd decoder cannot be made").source(e))?;
                State::Zstd { decoder: Box::new(decoder), whole: true }
            }
        };
        Ok(Self { state, input: Bytes::new(), consumed: 0, more: false })
    }

    /// Whether it does any work.
    pub fn is_plain(&self) -> bool {
        matches!(self.state, State::Plain)
    }

    /// Compressed bytes that wait to be worked on.
    pub fn pending(&self) -> usize {
        self.input.len()
    }

    /// Gives it the next compressed bytes; what came before must have been drained by [`Decompressor::next_piece`].
    pub fn push(&mut self, input: Bytes) {
        assert!(self.input.is_empty(), "the decompressor has not been drained");
        self.input = input;
    }

    /// The next plain bytes, or `None` when more input is needed.
    ///
    /// # Errors
    /// `ErrorKind::CorruptInput` with the position.
    pub fn next_piece(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.input.is_empty() && !self.more {
                return Ok(None);
            }
            match &mut self.state {
                State::Plain => return Ok(Some(std::mem::take(&mut self.input))),
                State::GzipStart { any } => {
                    if *any && self.input.first() == Some(&0) {
                        self.state = State::GzipPadding;
                    } else {
                        self.state = State::GzipMember(Box::new(Decompress::new_gzip(15)));
                    }
                }
                State::GzipPadding => {
                    if self.input.iter().any(|b| *b != 0) {
                        return Err(self.damaged("bytes that are no gzip member follow the last one", None));
                    }
                    self.consumed += self.input.len() as u64;
                    self.input.clear();
                }
                State::GzipMember(inflater) => {
                    let mut out = Vec::with_capacity(PIECE);
                    let (before_in, before_out) = (inflater.total_in(), inflater.total_out());
                    let status = inflater.decompress_vec(&self.input, &mut out, FlushDecompress::None);
                    let taken = (inflater.total_in() - before_in) as usize;
                    let made = (inflater.total_out() - before_out) as usize;
                    self.input.advance(taken);
                    self.consumed += taken as u64;
                    self.more = made == PIECE;
                    match status {
                        Ok(Status::StreamEnd) => {
                            self.more = false;
                            self.state = State::GzipStart { any: true };
                        }
                        Ok(Status::Ok | Status::BufError) if taken == 0 && made == 0 => {
                            self.more = false;
                            if !self.input.is_empty() {
                                return Err(self.damaged("the gzip data is damaged", None));
                            }
                        }
                        Ok(_) => {}
                        Err(e) => return Err(self.damaged("the gzip data is damaged", Some(e.into()))),
                    }
                    if !out.is_empty() {
                        return Ok(Some(out.into()));
                    }
                }
                State::Zstd { decoder, whole } => {
                    let mut out = vec![0; PIECE];
                    let step = match decoder.run_on_buffers(&self.input, &mut out) {
                        Ok(step) => step,
                        Err(e) => return Err(self.damaged("the zstd data is damaged", Some(e))),
                    };
                    self.input.advance(step.bytes_read);
                    self.consumed += step.bytes_read as u64;
                    // A call that moved nothing says nothing about the frame.
                    if step.bytes_read + step.bytes_written > 0 {
                        *whole = step.remaining == 0;
                    }
                    self.more = step.bytes_written == PIECE && step.remaining != 0;
                    if step.bytes_written > 0 {
                        out.truncate(step.bytes_written);
                        return Ok(Some(out.into()));
                    }
                    if step.bytes_read == 0 {
                        if !self.input.is_empty() {
                            return Err(self.damaged("the zstd data is damaged", None));
                        }
                        self.more = false;
                    }
                }
            }
        }
    }

    /// Says whether the end of the input is the end of the data.
    ///
    /// # Errors
    /// `ErrorKind::CorruptInput`: the file ends in the middle.
    pub fn finish(&self) -> Result<()> {
        match &self.state {
            State::Plain | State::GzipStart { .. } | State::GzipPadding | State::Zstd { whole: true, .. } => Ok(()),
            State::GzipMember(_) => Err(self.truncated("gzip")),
            State::Zstd { whole: false, .. } => Err(self.truncated("zstd")),
        }
    }

    fn truncated(&self, name: &str) -> Error {
        let message = format!("the {name} data ends in the middle: the file is cut off after {} bytes", self.consumed);
        Error::new(ErrorKind::CorruptInput, message)
            .hint("the upload may have been interrupted: send the file again, or set `on_corrupt: reject` to go on without it")
    }

    fn damaged(&self, what: &str, source: Option<std::io::Error>) -> Error {
        let e = Error::new(ErrorKind::CorruptInput, format!("{what} at byte {}", self.consumed))
            .hint("send the file again, or set `on_corrupt: reject` to go on without it");
        match source {
            Some(s) => e.source(s),
            None => e,
        }
    }
}

/// Compresses what an encoder writes.
pub enum Compressor {
    None,
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Compressor {
    /// One for `kind`; `Auto` means none.
    pub fn new(kind: Compression) -> Result<Self> {
        Ok(match kind {
            Compression::Auto | Compression::None => Compressor::None,
            Compression::Gzip => Compressor::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6))),
            Compression::Zstd => Compressor::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 3).map_err(not_made)?),
        })
    }

    /// The ending of a file's name: empty, `.gz`, `.zst`.
    pub fn ending(kind: Compression) -> &'static str {
        match kind {
            Compression::Auto | Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        }
    }

    /// Compresses `plain`; what is ready goes to `out`.
    pub fn write(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<()> {
        match self {
            Compressor::None => out.extend_from_slice(plain),
            Compressor::Gzip(e) => {
                e.write_all(plain).map_err(not_made)?;
                out.append(e.get_mut());
            }
            Compressor::Zstd(e) => {
                e.write_all(plain).map_err(not_made)?;
                out.append(e.get_mut());
            }
        }
        Ok(())
    }

    /// Writes the end.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Compressor::None => {}
            Compressor::Gzip(e) => out.append(&mut e.finish().map_err(not_made)?),
            Compressor::Zstd(e) => out.append(&mut e.finish().map_err(not_made)?),
        }
        Ok(())
    }
}

fn not_made(e: std::io::Error) -> Error {
    Error::internal("compressing failed").source(e)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(kind: Compression, plain: &[u8]) -> Vec<u8> {
        let (mut c, mut out) = (Compressor::new(kind).unwrap(), Vec::new());
        c.write(plain, &mut out).unwrap();
        c.finish(&mut out).unwrap();
        out
    }

    fn unpack(kind: Compression, packed: &[u8], step: usize) -> Result<Vec<u8>> {
        let mut d = Decompressor::new(kind)?;
        let mut out = Vec::new();
        for piece in packed.chunks(step) {
            d.push(Bytes::copy_from_slice(piece));
            while let Some(plain) = d.next_piece()? {
                assert!(plain.len() <= PIECE);
                out.extend_from_slice(&plain);
            }
        }
        d.finish()?;
        Ok(out)
    }

    fn text() -> Vec<u8> {
        (0..200_000).flat_map(|i| format!("{},", i * 7919 % 1009).into_bytes()).collect()
    }

    #[test]
    fn several_members_and_frames_come_out_as_one() {
        let plain = text();
        for kind in [Compression::Gzip, Compression::Zstd] {
            let mut packed = pack(kind, &plain);
            packed.extend(pack(kind, b""));
            packed.extend(pack(kind, &plain));
            for step in [1, 7, 1000, usize::MAX] {
                if step == 1 && packed.len() > 2_000_000 {
                    continue;
                }
                assert!(unpack(kind, &packed, step).unwrap() == [plain.clone(), plain.clone()].concat(), "{kind:?} by {step}");
            }
        }
    }

    #[test]
    fn every_early_end_is_found() {
        for kind in [Compression::Gzip, Compression::Zstd] {
            let packed = pack(kind, &text()[..2000]);
            for cut in 1..packed.len() {
                let e = unpack(kind, &packed[..cut], 64).unwrap_err();
                assert_eq!(e.kind(), ErrorKind::CorruptInput, "{kind:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn damage_is_found_with_its_position() {
        for kind in [Compression::Gzip, Compression::Zstd] {
            let mut packed = pack(kind, &text());
            let middle = packed.len() / 2;
            packed[middle..middle + 200].fill(0xAA);
            let e = unpack(kind, &packed, 4096).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::CorruptInput);
        }
        let mut packed = pack(Compression::Gzip, b"abc");
        packed.extend_from_slice(b"garbage");
        assert!(unpack(Compression::Gzip, &packed, 4096).unwrap_err().message().contains("byte "));
    }

    #[test]
    fn zeros_after_the_last_member_are_padding() {
        let mut packed = pack(Compression::Gzip, b"abc");
        packed.extend([0; 1000]);
        assert_eq!(unpack(Compression::Gzip, &packed, 10).unwrap(), b"abc");
    }

    #[test]
    fn a_bomb_comes_in_pieces() {
        let packed = pack(Compression::Gzip, &vec![0; 50 << 20]);
        assert_eq!(unpack(Compression::Gzip, &packed, usize::MAX).unwrap().len(), 50 << 20);
        let packed = pack(Compression::Zstd, &vec![0; 50 << 20]);
        assert_eq!(unpack(Compression::Zstd, &packed, usize::MAX).unwrap().len(), 50 << 20);
    }

    #[test]
    fn kinds_are_found_by_bytes_then_by_name() {
        use Compression::{Auto, Gzip, None, Zstd};
        assert_eq!(Auto.detect("a.csv", &[0x1f, 0x8b, 8, 0]), Gzip);
        assert_eq!(Auto.detect("a.csv.GZ", b"text"), Gzip);
        assert_eq!(Auto.detect("a.csv.zst", &[0x28, 0xb5, 0x2f, 0xfd]), Zstd);
        assert_eq!(Auto.detect("a.csv.gz", b""), None);
        assert_eq!(None.detect("a.csv.gz", &[0x1f, 0x8b, 8, 0]), None);
        assert_eq!(Auto.detect("a.csv", b"a,b"), None);
    }
}
