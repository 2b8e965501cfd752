//! Gzip, member by member; deflate without a header, as zip archives hold it.

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};

use super::PIECE;
use super::codec::{Codec, Damage, Step};

pub struct Inflate {
    gzip: bool,
    inflater: Decompress,
}

impl Inflate {
    pub fn gzip() -> Self {
        Self { gzip: true, inflater: Decompress::new_gzip(15) }
    }

    pub fn raw() -> Self {
        Self { gzip: false, inflater: Decompress::new(false) }
    }
}

impl Codec for Inflate {
    fn begin(&mut self) -> Result<(), Damage> {
        if self.inflater.total_in() > 0 {
            *self = if self.gzip { Self::gzip() } else { Self::raw() };
        }
        Ok(())
    }

    fn step(&mut self, input: &mut Bytes) -> Result<Step, Damage> {
        let mut out = Vec::with_capacity(PIECE);
        let before = self.inflater.total_in();
        let status = self.inflater.decompress_vec(input, &mut out, FlushDecompress::None);
        input.advance((self.inflater.total_in() - before) as usize);
        let status = status.map_err(std::io::Error::from)?;
        Ok(Step { plain: out.into(), ended: status == Status::StreamEnd })
    }

    fn padded(&self) -> bool {
        self.gzip
    }

    fn single(&self) -> bool {
        !self.gzip
    }
}
