//! One header of a tar: 512 bytes of ustar, GNU's or the oldest kind; and the records of pax.
//!
//! Deliberately not here: reading, what follows a header. Pure.

use sluis_core::Result;

use super::{damaged, refused};

/// Bytes of a header, and what everything is rounded up to.
pub const BLOCK: usize = 512;

/// What stands behind a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    /// Folders, links, devices, and what only some program knows.
    Other,
    /// The next header's name (GNU).
    LongName,
    /// Records about the next header (pax).
    Records,
    /// Records about all that follow, or the target of a link: of no matter here.
    Ignored,
}

/// A header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub name: Vec<u8>,
    pub size: u64,
    pub kind: Kind,
}

/// Reads a header; `None`: a block of zeros, which is the end.
///
/// # Errors
/// `ErrorKind::CorruptInput`: no header, or that of a sparse file.
pub fn header(block: &[u8; BLOCK]) -> Result<Option<Header>> {
    if block.iter().all(|b| *b == 0) {
        return Ok(None);
    }
    let sum = |signed: bool| -> i64 {
        let one = |b: u8| if signed { i64::from(b as i8) } else { i64::from(b) };
        block.iter().enumerate().map(|(i, b)| one(if (148..156).contains(&i) { b' ' } else { *b })).sum()
    };
    let said = number(&block[148..156]).and_then(|n| i64::try_from(n).ok());
    // Old programs added signed bytes.
    if said.is_none_or(|said| said != sum(false) && said != sum(true)) {
        return Err(damaged("it is no tar archive, or a damaged one: the checksum of a header is another one"));
    }
    let size = number(&block[124..136]).ok_or_else(|| damaged("the length in a header of the tar archive is no number"))?;
    let mut name = text(&block[..100]).to_vec();
    let prefix = text(&block[345..500]);
    if block[257..263] == *b"ustar\0" && !prefix.is_empty() {
        name = [prefix, b"/", &name[..]].concat();
    }
    let kind = match block[156] {
        b'0' | 0 | b'7' if name.ends_with(b"/") => Kind::Other,
        b'0' | 0 | b'7' => Kind::File,
        b'L' => Kind::LongName,
        b'x' | b'X' => Kind::Records,
        b'g' | b'K' => Kind::Ignored,
        b'S' => return Err(sparse(&name)),
        _ => Kind::Other,
    };
    // A link may say how long the file is that it points to: its bytes stand there, not here.
    let size = if matches!(block[156], b'1'..=b'6') { 0 } else { size };
    Ok(Some(Header { name, size, kind }))
}

/// The error for a sparse file: a map of where its bytes go stands with it.
pub fn sparse(name: &[u8]) -> sluis_core::Error {
    refused(format!("its member {} is a sparse file, which is not read", String::from_utf8_lossy(name)))
}

/// What pax records say of the next header.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Records {
    pub path: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub sparse: bool,
}

/// Reads pax records: `<length> <key>=<value>\n`, one after the other.
///
/// # Errors
/// `ErrorKind::CorruptInput`.
pub fn records(mut bytes: &[u8]) -> Result<Records> {
    let bad = || damaged("a header of the tar archive has damaged records");
    let mut out = Records::default();
    while !bytes.is_empty() && bytes[0] != 0 {
        let blank = bytes.iter().take(20).position(|b| *b == b' ').ok_or_else(bad)?;
        let length = decimal(&bytes[..blank]).and_then(|n| usize::try_from(n).ok()).ok_or_else(bad)?;
        if length <= blank + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
            return Err(bad());
        }
        let record = &bytes[blank + 1..length - 1];
        bytes = &bytes[length..];
        let at = record.iter().position(|b| *b == b'=').ok_or_else(bad)?;
        let (key, value) = (&record[..at], &record[at + 1..]);
        match key {
            b"path" => out.path = Some(value.to_vec()),
            b"size" => out.size = Some(decimal(value).ok_or_else(bad)?),
            key if key.starts_with(b"GNU.sparse.") => out.sparse = true,
            _ => {}
        }
    }
    Ok(out)
}

/// A field up to its zero.
fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|b| *b == 0).unwrap_or(field.len())]
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

/// Octal digits, or (first bit set) a number of 256 to a byte.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        // Negative ones begin with 0xff.
        let (first, rest) = (field[0] & 0x7f, &field[1..]);
        return rest.iter().try_fold(u64::from(first), |n, b| (n >> 56 == 0).then_some(n << 8 | u64::from(*b)));
    }
    let digits = text(field).trim_ascii();
    digits.iter().try_fold(0_u64, |n, b| (matches!(b, b'0'..=b'7') && n >> 61 == 0).then(|| n << 3 | u64::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_records() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   12 \0\0"), Some(0o12));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]), Some(256));
        assert_eq!(number(&[0xff; 12]), None);
        assert_eq!(number(b"9"), None);
        let read = records(b"12 path=a/b\n11 size=42\n20 comment=anything\n").unwrap();
        assert_eq!(read, Records { path: Some(b"a/b".to_vec()), size: Some(42), sparse: false });
        for bad in [&b"99 path=a\n"[..], b"x path=a\n", b"10 path=ab", b"5 abc\n", b"11 size=-2\n", b"0 \n"] {
            assert!(records(bad).is_err(), "{bad:?}");
        }
        assert!(records(b"22 GNU.sparse.major=1\n").unwrap().sparse);
    }
}
