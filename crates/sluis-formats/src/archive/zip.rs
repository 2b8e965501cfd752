//! Zip: the directory at the archive's end, and members by what it says.
//!
//! Members come in the directory's order; each can be read on its own. Zip64, data descriptors (the directory has the lengths), and bytes in
//! front of the archive are fine. Methods: stored, deflate, bzip2, zstd, xz. Refused: encrypted members, other methods, archives in several
//! parts, members that overlap (which is how a few kilobytes become petabytes). Links and folders are passed over.
//! Memory: the directory is held, of at most [`DIRECTORY`] bytes.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use sluis_core::{Member, Members, RawFile, Result, Unpacking};

use super::member::{Packing, Place, Stretch};
use super::window::Windows;
use super::{Choose, damaged, member_version, not_nested, of_file, refused, tidy_name};
use crate::compress::Compression;

/// The longest directory that is read: some 700,000 members.
pub const DIRECTORY: u64 = 64 << 20;
/// Bytes of the record at the end, without its comment.
const END: usize = 22;
/// Bytes of a header in front of a member, without name and extra fields.
const LOCAL: u64 = 30;

/// An open zip.
pub struct Zip {
    windows: Arc<Windows>,
    unpacking: Arc<Unpacking>,
    wanted: VecDeque<(Entry, std::collections::BTreeMap<String, String>)>,
}

/// A file of the directory.
#[derive(Debug, Clone)]
struct Entry {
    name: String,
    local: Local,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    link: bool,
}

/// A header in front of a member's bytes: where it stands, and what it must say.
#[derive(Debug, Clone)]
pub struct Local {
    at: u64,
    packed: u64,
    name: Bytes,
    method: u16,
}

impl Local {
    /// Where the bytes behind it are.
    ///
    /// # Errors
    /// `ErrorKind::CorruptInput`: it is no header, or of another member.
    pub async fn data(&self, windows: &Windows) -> Result<Range<u64>> {
        let rest = windows.size().saturating_sub(self.at);
        let head = windows.get(self.at..self.at + rest.min(LOCAL + self.name.len() as u64)).await?;
        let whole = head.len() as u64 == LOCAL + self.name.len() as u64 && head.starts_with(b"PK\x03\x04");
        if !whole {
            return Err(damaged(format!("no header stands at byte {}, where the archive's directory says", self.at)));
        }
        let (name, extra) = (number16(&head, 26), number16(&head, 28));
        if head[LOCAL as usize..] != self.name[..] || usize::from(name) != self.name.len() || number16(&head, 8) != self.method {
            return Err(damaged(format!("the header at byte {} contradicts the archive's directory", self.at)));
        }
        let start = self.at + LOCAL + u64::from(name) + u64::from(extra);
        let end = start.checked_add(self.packed).filter(|end| *end <= windows.size());
        end.map(|end| start..end).ok_or_else(|| damaged("its bytes go beyond the archive's end"))
    }
}

impl Zip {
    /// Reads the directory. A file of no bytes is an archive of no members.
    ///
    /// # Errors
    /// `ErrorKind::CorruptInput`: there is none, or it is damaged. Those of reading.
    pub async fn open(file: Arc<dyn RawFile>, choose: Choose) -> Result<Self> {
        let unpacking = file.unpacking();
        let windows = Arc::new(Windows::new(file));
        let mut wanted = VecDeque::new();
        if windows.size() > 0 {
            let directory = Directory::find(&windows).await?;
            let bytes = windows.get(directory.range.clone()).await?;
            for entry in directory.entries(bytes)? {
                if entry.link || entry.name.is_empty() || entry.name.ends_with('/') {
                    continue;
                }
                if let Some(constants) = choose(&entry.name) {
                    wanted.push_back((entry, constants));
                }
            }
        }
        Ok(Self { windows, unpacking, wanted })
    }
}

#[async_trait]
impl Members for Zip {
    fn count(&self) -> Option<usize> {
        Some(self.wanted.len())
    }

    async fn next(&mut self) -> Result<Option<Member>> {
        let Some((entry, constants)) = self.wanted.pop_front() else { return Ok(None) };
        let packing = not_nested(&entry.name).and_then(|()| entry.packing());
        let packing = packing.map_err(|e| of_file(e, &self.windows.file.version().path))?;
        let version = member_version(self.windows.file.version(), &entry.name, entry.size);
        let stretch = Stretch {
            version,
            windows: self.windows.clone(),
            place: Place::Behind(entry.local),
            packing,
            crc: Some(entry.crc),
            unpacking: self.unpacking.clone(),
            spool: Default::default(),
        };
        Ok(Some(Member { file: Arc::new(stretch), constants, stored: entry.packed, alone: false }))
    }

    async fn verify(&self) -> Result<()> {
        self.windows.file.verify().await
    }
}

impl Entry {
    fn packing(&self) -> Result<Packing> {
        let name = &self.name;
        if self.flags & 1 != 0 || self.method == 99 {
            return Err(refused(format!("its member {name} is encrypted")));
        }
        match self.method {
            0 if self.packed == self.size => Ok(Packing::Stored),
            // Nothing, packed or not.
            _ if self.packed == 0 && self.size == 0 => Ok(Packing::Stored),
            0 => Err(damaged(format!("its member {name} is stored, and yet of another length than its bytes"))),
            8 => Ok(Packing::Deflate),
            12 => Ok(Packing::Other(Compression::Bzip2)),
            93 | 20 => Ok(Packing::Other(Compression::Zstd)),
            95 => Ok(Packing::Other(Compression::Xz)),
            n => Err(refused(format!(
                "its member {name} is compressed by method {n}; what can be read are stored, deflate, bzip2, zstd and xz (0, 8, 12, 93, 95)"
            ))),
        }
    }
}

/// Where the directory is.
struct Directory {
    range: Range<u64>,
    /// The number of entries, as far as the record can say it: modulo `modulo`.
    entries: u64,
    modulo: u64,
    /// What is to be added to every position: bytes that stand in front of the archive.
    shift: u64,
}

impl Directory {
    async fn find(windows: &Windows) -> Result<Directory> {
        let size = windows.size();
        let tail_at = size.saturating_sub((END + 0xffff) as u64);
        let tail = windows.get(tail_at..size).await?;
        let fits = |at: &usize| tail[*at..].starts_with(b"PK\x05\x06") && at + END + usize::from(number16(&tail, at + 20)) <= tail.len();
        let last = tail.len().checked_sub(END);
        let Some(at) = last.and_then(|last| (0..=last).rev().find(fits)) else {
            return Err(damaged("it is no zip archive, or one that is cut off: there is no directory at its end"));
        };
        let record_at = tail_at + at as u64;
        let record = &tail[at..];
        let (disk, of_directory, here) = (number16(record, 4), number16(record, 6), number16(record, 8));
        let mut directory = Told {
            entries: u64::from(number16(record, 10)),
            length: u64::from(number32(record, 12)),
            start: u64::from(number32(record, 16)),
            ends: record_at,
            modulo: 1 << 16,
        };
        let parts = disk != of_directory || u64::from(here) != directory.entries;
        let large = directory.entries == 0xffff || directory.length == 0xffff_ffff || directory.start == 0xffff_ffff;
        match zip64(windows, record_at).await? {
            Some(told) if large || directory.length == told.length => directory = told,
            _ if parts => return Err(refused("it is a part of an archive in several files")),
            _ => {}
        }
        directory.checked()
    }

    /// All files of the directory, in its order.
    fn entries(&self, mut bytes: Bytes) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut count = 0_u64;
        while !bytes.is_empty() {
            count += 1;
            entries.push(self.entry(&mut bytes)?);
        }
        if count % self.modulo != self.entries % self.modulo {
            return Err(damaged(format!("its directory has {count} entries, and says {}", self.entries)));
        }
        // Headers may have extra fields of their own: the least that a member takes.
        let mut taken: Vec<(u64, u64)> =
            entries.iter().map(|e| (e.local.at, e.local.at.saturating_add(LOCAL + e.local.name.len() as u64).saturating_add(e.packed))).collect();
        taken.sort_unstable();
        let mut before = 0;
        for (start, end) in taken {
            if start < before || end > self.range.start {
                return Err(damaged("members overlap each other or the directory, as in an archive made to do harm"));
            }
            before = end;
        }
        Ok(entries)
    }

    fn entry(&self, bytes: &mut Bytes) -> Result<Entry> {
        let bad = || damaged("its directory is damaged");
        if bytes.len() < 46 || !bytes.starts_with(b"PK\x01\x02") {
            return Err(bad());
        }
        let head = bytes.split_to(46);
        let (name, extra, comment) = (number16(&head, 28), number16(&head, 30), number16(&head, 32));
        if bytes.len() < usize::from(name) + usize::from(extra) + usize::from(comment) {
            return Err(bad());
        }
        let raw_name = bytes.split_to(name.into());
        let extra = bytes.split_to(extra.into());
        bytes.advance(comment.into());
        let flags = number16(&head, 8);
        let (mut packed, mut size, mut at) = (u64::from(number32(&head, 20)), u64::from(number32(&head, 24)), u64::from(number32(&head, 42)));
        if let Some(mut wide) = field(&extra, 1) {
            for value in [&mut size, &mut packed, &mut at] {
                if *value == 0xffff_ffff {
                    *value = wide.try_get_u64_le().map_err(|_| bad())?;
                }
            }
        }
        let unix = number16(&head, 4) >> 8 == 3;
        let method = number16(&head, 10);
        Ok(Entry {
            name: tidy_name(&name_text(&raw_name, flags & 0x800 != 0)),
            local: Local { at: at.checked_add(self.shift).ok_or_else(bad)?, packed, name: raw_name, method },
            flags,
            method,
            crc: number32(&head, 16),
            packed,
            size,
            link: unix && number32(&head, 38) >> 28 == 0xA,
        })
    }
}

/// What a record at the end says of the directory.
struct Told {
    entries: u64,
    length: u64,
    start: u64,
    /// Where that record begins, which is where the directory ends.
    ends: u64,
    modulo: u64,
}

impl Told {
    fn checked(self) -> Result<Directory> {
        let Told { entries, length, start, ends, modulo } = self;
        let from = ends.checked_sub(length);
        let shift = from.and_then(|from| from.checked_sub(start));
        let (Some(from), Some(shift)) = (from, shift) else {
            return Err(damaged("it is cut off: its directory says that it begins before the file does"));
        };
        if length > DIRECTORY {
            return Err(damaged(format!("its directory has {length} bytes: more than the {DIRECTORY} that are read")));
        }
        Ok(Directory { range: from..ends, entries, modulo, shift })
    }
}

/// The record for large archives, which a locator just before the usual one points to.
async fn zip64(windows: &Windows, record_at: u64) -> Result<Option<Told>> {
    let Some(locator_at) = record_at.checked_sub(20) else { return Ok(None) };
    let locator = windows.get(locator_at..record_at).await?;
    if !locator.starts_with(b"PK\x06\x07") {
        return Ok(None);
    }
    let said = number64(&locator, 8);
    // Bytes in front of the archive shift it: then it stands right before its locator.
    for at in [Some(said), locator_at.checked_sub(56)].into_iter().flatten().filter(|at| at.checked_add(56).is_some_and(|end| end <= locator_at)) {
        let record = windows.get(at..at + 56).await?;
        if record.starts_with(b"PK\x06\x06") {
            let (length, start) = (number64(&record, 40), number64(&record, 48));
            return Ok(Some(Told { entries: number64(&record, 32), length, start, ends: at, modulo: u64::MAX }));
        }
    }
    Err(damaged("its directory is damaged"))
}

/// An extra field by its number.
fn field(extra: &Bytes, wanted: u16) -> Option<Bytes> {
    let mut rest = extra.clone();
    while rest.len() >= 4 {
        let (id, length) = (rest.get_u16_le(), usize::from(rest.get_u16_le()));
        if rest.len() < length {
            return None;
        }
        let value = rest.split_to(length);
        if id == wanted {
            return Some(value);
        }
    }
    None
}

/// The upper half of code page 437, in which names are that are not marked as UTF-8.
const CP437: &str =
    "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

fn name_text(raw: &[u8], utf8: bool) -> String {
    match std::str::from_utf8(raw) {
        // Many tools write UTF-8 without saying so, and no name in another code page looks like it.
        Ok(name) => name.to_owned(),
        Err(_) if utf8 => String::from_utf8_lossy(raw).into_owned(),
        Err(_) => {
            raw.iter().map(|b| if *b < 0x80 { char::from(*b) } else { CP437.chars().nth(usize::from(*b - 0x80)).unwrap_or('\u{fffd}') }).collect()
        }
    }
}

fn number16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn number32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn number64(bytes: &[u8], at: usize) -> u64 {
    u64::from(number32(bytes, at)) | u64::from(number32(bytes, at + 4)) << 32
}
