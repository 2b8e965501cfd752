//! Pages looked at before the library unpacks them: what they claim, and what they really hold where the library would not ask.
//!
//! The library allocates what a page's header claims; gzip and LZ4 frames it unpacks to their end whatever was claimed (the other codecs
//! stop at the claim). Deliberately not here: what pages mean. Guarantees: no page unpacks to more than its claim, nor to more than is
//! allowed; what all pages unpack to is counted with the file's own limits.

use std::io::Read;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use parquet::basic::Compression;
use parquet::file::metadata::RowGroupMetaData;
use sluis_core::{Error, ErrorKind, Result, Unpacking};

/// Bytes of a header that hold its two sizes, at most.
pub const SIZES: usize = 18;

/// The pages of a row group.
pub struct Pages {
    /// Bytes of a page, at most, unpacked.
    most: u64,
    columns: Vec<Column>,
}

struct Column {
    range: Range<u64>,
    unasked: Option<Unasked>,
    /// Of the page at hand.
    claim: AtomicU64,
}

/// What the library unpacks without asking how much comes, and how much can come of a byte.
#[derive(Clone, Copy)]
enum Unasked {
    Gzip,
    /// A frame, where blocks are expected.
    Lz4,
}

impl Unasked {
    fn ratio(self) -> u64 {
        match self {
            Unasked::Gzip => 1032,
            Unasked::Lz4 => 255,
        }
    }
}

impl Pages {
    pub fn new(group: &RowGroupMetaData, most: u64) -> Self {
        let column = |c: &parquet::file::metadata::ColumnChunkMetaData| {
            // What is below zero is damage, which the library finds.
            let start = u64::try_from(c.dictionary_page_offset().unwrap_or_else(|| c.data_page_offset())).unwrap_or(0);
            let length = u64::try_from(c.compressed_size()).unwrap_or(0);
            let unasked = match c.compression() {
                Compression::GZIP(_) => Some(Unasked::Gzip),
                Compression::LZ4 => Some(Unasked::Lz4),
                _ => None,
            };
            Column { range: start..start.saturating_add(length), unasked, claim: AtomicU64::new(0) }
        };
        Self { most, columns: group.columns().iter().map(column).collect() }
    }

    fn column(&self, at: u64) -> Option<&Column> {
        self.columns.iter().find(|c| c.range.contains(&at))
    }

    /// A page's header begins at `at` with these bytes.
    ///
    /// # Errors
    /// `CorruptInput`: it claims too much.
    pub fn header(&self, at: u64, bytes: &[u8], unpacking: &Unpacking) -> Result<()> {
        let (claim, _) = sizes(bytes).ok_or_else(|| damaged(format!("no page begins at byte {at}")))?;
        if claim > self.most {
            return Err(too_large(format!("the page at byte {at} claims to unpack to {claim} bytes, and {} are allowed (`max_page`)", self.most)));
        }
        if let Some(column) = self.column(at) {
            column.claim.store(claim, Ordering::Relaxed);
        }
        unpacking.take(claim, 0)
    }

    /// The bytes of a page as stored, behind its header.
    ///
    /// # Errors
    /// `CorruptInput`: they unpack to more than the header says.
    pub fn data(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let Some((column, unasked)) = self.column(at).and_then(|c| Some((c, c.unasked?))) else { return Ok(()) };
        let claim = column.claim.load(Ordering::Relaxed);
        // What cannot become large is left to the library, which looks at the length afterwards.
        if bytes.len() as u64 * unasked.ratio() <= self.most || !goes_beyond(bytes, unasked, claim) {
            return Ok(());
        }
        Err(too_large(format!("the page at byte {at} unpacks to more than the {claim} bytes that it claims")))
    }
}

/// Whether more than `claim` bytes come of these. Damage is the library's to find.
fn goes_beyond(bytes: &[u8], unasked: Unasked, claim: u64) -> bool {
    let (mut gzip, mut lz4);
    let plain: &mut dyn Read = match unasked {
        Unasked::Gzip => {
            gzip = flate2::read::MultiGzDecoder::new(bytes);
            &mut gzip
        }
        Unasked::Lz4 => {
            lz4 = lz4_flex::frame::FrameDecoder::new(bytes);
            &mut lz4
        }
    };
    let (mut buffer, mut given) = (vec![0; 64 * 1024], 0);
    while given <= claim {
        match plain.read(&mut buffer) {
            Ok(0) | Err(_) => return false,
            Ok(n) => given += n as u64,
        }
    }
    true
}

/// Unpacked and stored size of the page with this header: its second and third fields, in Thrift's compact form.
fn sizes(header: &[u8]) -> Option<(u64, u64)> {
    /// The next field is there, and a number of 32 bits.
    const NEXT_INT: u8 = 0x15;
    let mut rest = header;
    let mut field = || {
        let (&NEXT_INT, mut bytes) = rest.split_first()? else { return None };
        let mut value = 0_u64;
        for n in 0..5 {
            let (&b, tail) = bytes.split_first()?;
            bytes = tail;
            value |= u64::from(b & 0x7f) << (7 * n);
            if b < 0x80 {
                rest = bytes;
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    };
    let (_, unpacked, stored) = (field()?, field()?, field()?);
    Some((u64::try_from(unpacked).ok()?, u64::try_from(stored).ok()?))
}

fn damaged(what: String) -> Error {
    Error::new(ErrorKind::CorruptInput, format!("the Parquet file is damaged: {what}"))
        .hint("send the file again, or set `on_corrupt: reject` to go on without it")
}

fn too_large(what: String) -> Error {
    Error::new(ErrorKind::CorruptInput, what)
        .hint("if the file is what it should be, raise `max_page`; else send it again, or set `on_corrupt: reject` to go on without it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_of_a_page_are_read_and_nothing_else_is_taken_for_them() {
        assert_eq!(sizes(&[0x15, 0x00, 0x15, 0x80, 0x01, 0x15, 0x14, 0x2c]), Some((64, 10)));
        assert_eq!(sizes(&[0x15, 0x04, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x15, 0x02]), Some((i32::MAX as u64, 1)));
        for bad in [&[][..], &[0x15], &[0x15, 0, 0x15, 0x01, 0x15, 2], &[0x25, 0, 0x15, 2, 0x15, 2], &[0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(sizes(bad), None, "{bad:?}");
        }
    }
}
