//! Zstandard, frame by frame; frames that are to be skipped are. Windows beyond 128 MiB are refused by the library.

use bytes::{Buf, Bytes};
use sluis_core::{Error, Result};
use zstd::stream::raw::{Decoder, Operation};

use super::PIECE;
use super::codec::{Codec, Damage, Step};

pub struct Zstd {
    decoder: Decoder<'static>,
    /// No byte of the frame has been taken.
    fresh: bool,
}

impl Zstd {
    pub fn new() -> Result<Self> {
        let decoder = Decoder::new().map_err(|e| Error::internal("the zstd decoder cannot be made").source(e))?;
        Ok(Self { decoder, fresh: true })
    }
}

impl Codec for Zstd {
    fn begin(&mut self) -> Result<(), Damage> {
        if !self.fresh {
            self.decoder.reinit()?;
            self.fresh = true;
        }
        Ok(())
    }

    fn step(&mut self, input: &mut Bytes) -> Result<Step, Damage> {
        let mut out = vec![0; PIECE];
        let step = self.decoder.run_on_buffers(input, &mut out)?;
        input.advance(step.bytes_read);
        self.fresh &= step.bytes_read == 0;
        out.truncate(step.bytes_written);
        // A call that moved nothing says nothing about the frame.
        let ended = step.remaining == 0 && step.bytes_read + step.bytes_written > 0;
        Ok(Step { plain: out.into(), ended })
    }
}
