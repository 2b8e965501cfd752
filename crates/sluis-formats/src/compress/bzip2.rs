//! Bzip2, stream by stream. A stream needs at most 4 MB.

use bytes::{Buf, Bytes};
use bzip2::{Decompress, Status};

use super::PIECE;
use super::codec::{Codec, Damage, Step};

pub struct Bzip2(Decompress);

impl Default for Bzip2 {
    fn default() -> Self {
        Self(Decompress::new(false))
    }
}

impl Codec for Bzip2 {
    fn begin(&mut self) -> Result<(), Damage> {
        if self.0.total_in() > 0 {
            self.0 = Decompress::new(false);
        }
        Ok(())
    }

    fn step(&mut self, input: &mut Bytes) -> Result<Step, Damage> {
        let mut out = Vec::with_capacity(PIECE);
        let before = self.0.total_in();
        let status = self.0.decompress_vec(input, &mut out);
        input.advance((self.0.total_in() - before) as usize);
        let status = status.map_err(std::io::Error::from)?;
        Ok(Step { plain: out.into(), ended: status == Status::StreamEnd })
    }

    fn padded(&self) -> bool {
        true
    }
}
