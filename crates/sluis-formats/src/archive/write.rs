//! Archives written: small ones, whole in memory, for bytes that are to be read again as the members they were.
//!
//! Deliberately not here: compression of zip members, folders, modes, times: the same members give the same bytes. Reading gives back what
//! was written ([`super::open`]).

use sluis_core::{Error, ErrorKind, Result};

use super::{Archive, tar_compression};
use crate::compress::Compressor;

/// An archive with these members, named as it would be at `path` (a tar is compressed as its name says).
///
/// # Errors
/// `ErrorKind::Data`: more, or larger, members than a zip without extensions has places for.
pub fn write(kind: Archive, path: &str, members: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    match kind {
        Archive::Zip => zip(members),
        Archive::Tar => {
            let (plain, mut out) = (tar(members), Vec::new());
            let mut compressor = Compressor::new(tar_compression(path, &plain))?;
            compressor.write(&plain, &mut out)?;
            compressor.finish(&mut out)?;
            Ok(out)
        }
    }
}

fn zip(members: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let too_much = || Error::new(ErrorKind::Data, "it is more than a zip has places for");
    let short = |n: usize| u16::try_from(n).map(u16::to_le_bytes).map_err(|_| too_much());
    let long = |n: usize| u32::try_from(n).map(u32::to_le_bytes).map_err(|_| too_much());
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let at = long(out.len())?;
        // Version 2.0, names in UTF-8, stored, 1980-01-01.
        let mut same = vec![20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0];
        same.extend(crc32fast::hash(bytes).to_le_bytes());
        same.extend(long(bytes.len())?.repeat(2));
        same.extend(short(name.len())?);
        same.extend([0, 0]);
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&same);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(bytes);
        directory.extend_from_slice(b"PK\x01\x02\x14\0");
        directory.extend_from_slice(&same);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&at);
        directory.extend_from_slice(name.as_bytes());
    }
    let (start, length, count) = (long(out.len())?, long(directory.len())?, short(members.len())?);
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&count.repeat(2));
    out.extend_from_slice(&length);
    out.extend_from_slice(&start);
    out.extend_from_slice(&[0, 0]);
    Ok(out)
}

fn tar(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, bytes) in members {
        if name.len() > 100 {
            entry(b'L', "././@LongLink", &[name.as_bytes(), b"\0"].concat(), &mut out);
        }
        entry(b'0', name, bytes, &mut out);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn entry(kind: u8, name: &str, bytes: &[u8], out: &mut Vec<u8>) {
    let mut header = [0_u8; 512];
    let shown = &name.as_bytes()[..name.len().min(100)];
    header[..shown.len()].copy_from_slice(shown);
    let size = format!("{:011o}\0", bytes.len());
    for (at, field) in
        [(100, "0000644\0"), (108, "0000000\0"), (116, "0000000\0"), (124, &size), (136, "00000000000\0"), (148, "        "), (257, "ustar  \0")]
    {
        header[at..at + field.len()].copy_from_slice(field.as_bytes());
    }
    header[156] = kind;
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(512), 0);
}
