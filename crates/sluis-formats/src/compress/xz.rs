//! Xz, stream by stream, and `.lzma` (which has no check of its own, and ends where its data say). A dictionary that needs more than
//! [`super::MEMORY`] is refused: a few bytes could ask for four gigabytes.

use bytes::{Buf, Bytes};
use liblzma::stream::{Action, Error, Status, Stream};

use super::codec::{Codec, Damage, Step};
use super::{MEMORY, PIECE};

/// The first byte of a `.lzma` file as everybody writes it.
const LZMA: u8 = 0x5d;

#[derive(Default)]
pub struct Xz(Option<Stream>);

impl Codec for Xz {
    fn begin(&mut self) -> Result<(), Damage> {
        self.0 = None;
        Ok(())
    }

    fn step(&mut self, input: &mut Bytes) -> Result<Step, Damage> {
        let stream = match &mut self.0 {
            Some(stream) => stream,
            None => {
                let Some(first) = input.first() else { return Ok(Step::default()) };
                let stream = if *first == LZMA { Stream::new_lzma_decoder(MEMORY) } else { Stream::new_stream_decoder(MEMORY, 0) };
                self.0.insert(stream.map_err(damage)?)
            }
        };
        let mut out = Vec::with_capacity(PIECE);
        let before = stream.total_in();
        let status = stream.process_vec(input, &mut out, Action::Run);
        input.advance((stream.total_in() - before) as usize);
        let status = status.map_err(damage)?;
        Ok(Step { plain: out.into(), ended: matches!(status, Status::StreamEnd) })
    }

    fn padded(&self) -> bool {
        true
    }
}

fn damage(e: Error) -> Damage {
    let what = match e {
        Error::MemLimit => "its dictionary needs more than 256MiB; xz -9 and less do not",
        Error::Format => "this is not how an xz stream begins",
        _ => "",
    };
    Damage { what, source: Some(e.into()) }
}
