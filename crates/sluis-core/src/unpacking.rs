//! How much a file may unpack to: a guard against a few bytes made to fill disks and days.
//!
//! Deliberately not here: decompressing. The limits never meet honest data by default: they are far beyond what text compresses to.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// Up to so many unpacked bytes the ratio is not looked at: small files of one repeated line are honest.
pub const RATIO_COUNTS_FROM: u64 = 100 << 20;

/// What a source allows its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Unpacked bytes per stored byte, once more than [`RATIO_COUNTS_FROM`] have been unpacked.
    pub ratio: u64,
    /// Unpacked bytes of a file; of an archive, those of all its members together.
    pub bytes: u64,
}

impl Default for UnpackLimits {
    /// 1000 and 1 TiB.
    fn default() -> Self {
        Self { ratio: 1000, bytes: 1 << 40 }
    }
}

/// Counts what one opened file unpacks to. The members of an archive share their archive's.
#[derive(Debug)]
pub struct Unpacking {
    limits: UnpackLimits,
    /// Bytes as stored: as many as are known of.
    stored: AtomicU64,
    given: AtomicU64,
}

impl Unpacking {
    /// For a file that is `stored` bytes long.
    pub fn new(limits: UnpackLimits, stored: u64) -> Self {
        Self { limits, stored: AtomicU64::new(stored), given: AtomicU64::new(0) }
    }

    /// Notes that `bytes` more have been unpacked. `consumed`: stored bytes read so far, for files whose length nobody knew.
    ///
    /// # Errors
    /// `ErrorKind::CorruptInput`: a limit is exceeded. The message is the same whenever that is noticed.
    pub fn take(&self, bytes: u64, consumed: u64) -> Result<()> {
        let given = self.given.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if given > self.limits.bytes {
            let message = format!("it unpacks to more than {} bytes, which is `max_unpacked`", self.limits.bytes);
            return Err(Error::new(ErrorKind::CorruptInput, message).hint("if the file is what it should be, raise `max_unpacked` of the source"));
        }
        let stored = self.stored.fetch_max(consumed, Ordering::Relaxed).max(consumed);
        if given > RATIO_COUNTS_FROM && given > stored.saturating_mul(self.limits.ratio) {
            let message = format!("it unpacks to more than {} times its size, which is `max_ratio`", self.limits.ratio);
            return Err(Error::new(ErrorKind::CorruptInput, message).hint("if the file is what it should be, raise `max_ratio` of the source"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_exact_and_name_their_key() {
        let u = Unpacking::new(UnpackLimits { ratio: 10, bytes: u64::MAX }, 20 << 20);
        u.take(200 << 20, 0).unwrap();
        let e = u.take(1, 0).unwrap_err();
        assert!(e.kind() == ErrorKind::CorruptInput && e.message().contains("`max_ratio`"), "{e}");
        u.take(1, 30 << 20).unwrap();
        let u = Unpacking::new(UnpackLimits { ratio: 2, bytes: 1000 }, 1);
        u.take(1000, 0).unwrap();
        assert!(u.take(1, 0).unwrap_err().message().contains("`max_unpacked`"));
        let u = Unpacking::new(UnpackLimits::default(), 0);
        u.take(RATIO_COUNTS_FROM, 0).unwrap();
        assert!(u.take(1, 0).is_err() && Unpacking::new(UnpackLimits::default(), 1 << 20).take(1 << 29, 0).is_ok());
    }
}
