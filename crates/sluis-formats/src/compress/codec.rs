//! What a codec is: a machine that takes compressed bytes in pieces of any length, and gives plain ones in pieces of at most
//! [`super::PIECE`].
//!
//! Deliberately not here: what stands between members; limits.

use bytes::{Bytes, BytesMut};

use super::PIECE;

/// What is wrong with compressed bytes.
#[derive(Debug, Default)]
pub struct Damage {
    /// A part of a sentence; may be empty.
    pub what: &'static str,
    pub source: Option<std::io::Error>,
}

impl Damage {
    pub fn of(what: &'static str) -> Self {
        Self { what, source: None }
    }
}

impl From<std::io::Error> for Damage {
    fn from(source: std::io::Error) -> Self {
        Self { what: "", source: Some(source) }
    }
}

/// What one step gave.
#[derive(Debug, Default)]
pub struct Step {
    /// Empty: more input is needed (or the member has ended).
    pub plain: Bytes,
    /// The member ends here: the file may.
    pub ended: bool,
}

impl Step {
    pub fn plain(plain: impl Into<Bytes>) -> Self {
        Self { plain: plain.into(), ended: false }
    }
    pub fn ended() -> Self {
        Self { plain: Bytes::new(), ended: true }
    }
}

/// One codec. Members are what can stand alone: a gzip member, a zstd frame, an xz stream.
pub trait Codec: Send {
    /// Before the first byte of each member.
    fn begin(&mut self) -> Result<(), Damage>;
    /// Works on `input`, taking from its front what it can. After a step that gave nothing and did not end the member it has taken all
    /// of it. It is called again with whatever is left (perhaps nothing) while it gives something.
    fn step(&mut self, input: &mut Bytes) -> Result<Step, Damage>;
    /// Whether zeros may follow a member.
    fn padded(&self) -> bool {
        false
    }
    /// Whether there is just one member.
    fn single(&self) -> bool {
        false
    }
}

/// Gathers units of a known length from pieces of any length.
#[derive(Debug, Default)]
pub struct Gather(BytesMut);

impl Gather {
    /// The next `length` bytes, once they have come. Until then it takes all of `input`.
    pub fn take(&mut self, input: &mut Bytes, length: usize) -> Option<Bytes> {
        if self.0.is_empty() && input.len() >= length {
            return Some(input.split_to(length));
        }
        let missing = (length - self.0.len()).min(input.len());
        self.0.extend_from_slice(&input.split_to(missing));
        (self.0.len() == length).then(|| self.0.split().freeze())
    }

    /// Whether it holds a part of a unit.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// A decoded block that is given away in pieces.
#[derive(Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    at: usize,
}

impl Block {
    /// The block's next piece; empty when all was given.
    pub fn piece(&mut self) -> Bytes {
        let end = (self.at + PIECE).min(self.bytes.len());
        let piece = Bytes::copy_from_slice(&self.bytes[self.at..end]);
        self.at = end;
        piece
    }

    /// Room for the next block of up to `most` bytes; `decode` fills it and says how many it has.
    pub fn fill<E>(&mut self, most: usize, decode: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<&[u8], E> {
        debug_assert!(self.at == self.bytes.len(), "the block before has been given away");
        self.at = 0;
        self.bytes.resize(most, 0);
        let length = decode(&mut self.bytes).inspect_err(|_| self.bytes.clear())?;
        self.bytes.truncate(length);
        Ok(&self.bytes)
    }
}
