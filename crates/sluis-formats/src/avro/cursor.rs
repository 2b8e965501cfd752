//! Avro's binary encoding, token by token.
//!
//! Deliberately not here: types. Guarantees: no claim of a length is believed beyond the bytes that are there; nothing is allocated.

/// Why bytes are no value.
pub type Lost = &'static str;

/// The bytes end before the value does.
pub const ENDS: Lost = "a value ends behind its bytes";

/// Reads values from bytes.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    #[inline(always)]
    pub fn at(&self) -> usize {
        self.at
    }

    /// A whole number: zigzag, seven bits a byte, at most ten bytes.
    #[inline(always)]
    pub fn long(&mut self) -> Result<i64, Lost> {
        // Most numbers are one byte.
        match self.bytes.get(self.at) {
            Some(&b) if b < 0x80 => {
                self.at += 1;
                Ok(i64::from(b >> 1) ^ -i64::from(b & 1))
            }
            _ => self.long_number(),
        }
    }

    #[inline]
    fn long_number(&mut self) -> Result<i64, Lost> {
        let mut value = 0_u64;
        for (n, &b) in self.bytes[self.at..].iter().take(10).enumerate() {
            if n == 9 && b > 1 {
                return Err("a number of more than 64 bits");
            }
            value |= u64::from(b & 0x7f) << (7 * n);
            if b < 0x80 {
                self.at += n + 1;
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(ENDS)
    }

    /// A whole number of 32 bits.
    #[inline(always)]
    pub fn int(&mut self) -> Result<i32, Lost> {
        i32::try_from(self.long()?).map_err(|_| "an int of more than 32 bits")
    }

    /// The next `n` bytes.
    #[inline(always)]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Lost> {
        let bytes = self.bytes.get(self.at..).and_then(|rest| rest.get(..n)).ok_or(ENDS)?;
        self.at += n;
        Ok(bytes)
    }

    /// The next `N` bytes.
    #[inline(always)]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Lost> {
        let bytes = *self.bytes[self.at..].first_chunk::<N>().ok_or(ENDS)?;
        self.at += N;
        Ok(bytes)
    }

    /// Bytes behind their length.
    #[inline(always)]
    pub fn bytes(&mut self) -> Result<&'a [u8], Lost> {
        let n = usize::try_from(self.long()?).map_err(|_| "a length below zero")?;
        self.take(n)
    }

    /// The items of an array or a map, block by block. `item` reads one.
    #[inline]
    pub fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Lost>) -> Result<(), Lost> {
        loop {
            let mut count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                count = count.checked_neg().ok_or("a list of more items than there are")?;
                // The block's length in bytes, for who skips it.
                self.long()?;
            }
            for _ in 0..count {
                item(self)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_written() {
        for v in [0, -1, 1, 63, 64, -64, -65, 1 << 40, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            super::super::encode::put_long(v, &mut out);
            assert_eq!(Cursor::new(&out).long(), Ok(v));
            assert_eq!(Cursor::new(&out[..out.len() - 1]).long(), Err(ENDS));
        }
        assert!(Cursor::new(&[0xff; 10]).long().is_err());
        assert!(Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).long().is_ok());
        assert_eq!(Cursor::new(&[1]).bytes(), Err("a length below zero"));
        assert!(Cursor::new(&[0x7e, 1]).bytes().is_err());
    }

    #[test]
    fn a_list_that_claims_much_costs_nothing() {
        let mut out = Vec::new();
        super::super::encode::put_long(i64::MAX, &mut out);
        assert_eq!(Cursor::new(&out).blocks(|c| c.long().map(|_| ())), Err(ENDS));
    }
}
