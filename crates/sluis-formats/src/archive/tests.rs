//! Archives that other programs wrote, and archives that nobody should.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use proptest::prelude::*;
use sluis_core::{ErrorKind, Member, Members, Opened, Result};

use super::*;
use crate::compress::{Compression, Compressor};
use crate::memory::memory_file_in_pieces;

fn all() -> Choose {
    Arc::new(|name| (!name.ends_with(".skip")).then(|| BTreeMap::from([("name".to_owned(), name.to_owned())])))
}

async fn open_bytes(name: &str, bytes: impl Into<bytes::Bytes>) -> Result<Box<dyn Members>> {
    let kind = Archive::by_name(name).expect("the name of an archive");
    open(memory_file_in_pieces(name, bytes, 1000), kind, all()).await
}

async fn content(member: &Member) -> Result<Vec<u8>> {
    let pieces: Vec<bytes::Bytes> = member.file.stream().await?.try_collect().await?;
    assert!(pieces.iter().all(|p| !p.is_empty()));
    member.file.verify().await?;
    Ok(pieces.concat())
}

/// Names and contents, as far as the archive can be read.
async fn read_all(name: &str, bytes: impl Into<bytes::Bytes>) -> Result<Vec<(String, Vec<u8>)>> {
    let mut members = open_bytes(name, bytes).await?;
    let mut out = Vec::new();
    while let Some(member) = members.next().await? {
        let path = &member.file.version().path;
        let short = path.strip_prefix(&format!("{name}/")).expect("the archive's name, then the member's");
        assert_eq!(member.constants["name"], short);
        let bytes = content(&member).await?;
        assert_eq!(bytes.len() as u64, member.file.version().size);
        out.push((short.to_owned(), bytes));
    }
    assert!(members.next().await?.is_none());
    members.verify().await?;
    Ok(out)
}

fn corrupt(result: Result<Vec<(String, Vec<u8>)>>, says: &str) {
    let e = result.expect_err(says);
    assert!(e.kind() == ErrorKind::CorruptInput && e.message().contains(says), "`{says}`: {e}");
    assert!(e.contexts().iter().any(|(k, _)| *k == "file") && e.hint_text().is_some(), "{e}");
}

fn python_files() -> Vec<(String, Vec<u8>)> {
    let long = format!("dir/{}.csv", "long".repeat(40));
    let file = |name: &str, text: String| (name.to_owned(), text.into_bytes());
    vec![
        file("a.csv", "id,name\n1,é\n".into()),
        file("dir/ü.csv", "id,name\n2,b\n".repeat(50)),
        file("empty.csv", String::new()),
        file(&long, "id\n3\n".into()),
    ]
}

fn unpack(packed: &[u8], kind: Compression) -> Vec<u8> {
    let mut d = crate::compress::Decompressor::new(kind).unwrap();
    d.push(packed.to_vec().into());
    let mut out = Vec::new();
    while let Some(piece) = d.next_piece().unwrap() {
        out.extend_from_slice(&piece);
    }
    d.finish().unwrap();
    out
}

fn pack(plain: &[u8], kind: Compression) -> Vec<u8> {
    let (mut c, mut out) = (Compressor::new(kind).unwrap(), Vec::new());
    c.write(plain, &mut out).unwrap();
    c.finish(&mut out).unwrap();
    out
}

#[tokio::test]
async fn archives_of_other_programs_are_read() {
    assert_eq!(read_all("p.zip", &include_bytes!("fixtures/python.zip")[..]).await.unwrap(), python_files());
    assert_eq!(read_all("s.zip", &include_bytes!("fixtures/streamed.zip")[..]).await.unwrap(), python_files());
    assert_eq!(read_all("g.tar.bz2", &include_bytes!("fixtures/gnu.tar.bz2")[..]).await.unwrap(), python_files());
    assert_eq!(read_all("g.tbz", &include_bytes!("fixtures/gnu.tar.bz2")[..]).await.unwrap(), python_files());
    let pax = include_bytes!("fixtures/pax.tar.xz");
    assert_eq!(read_all("p.tar.xz", &pax[..]).await.unwrap(), python_files());
    assert_eq!(read_all("p.TXZ", &pax[..]).await.unwrap(), python_files());
    assert_eq!(read_all("p.tar", unpack(pax, Compression::Xz)).await.unwrap(), python_files());
    assert_eq!(read_all("g.tar", unpack(include_bytes!("fixtures/gnu.tar.bz2"), Compression::Bzip2)).await.unwrap(), python_files());
    let mut ustar = python_files();
    ustar[3].0 = format!("dir/{}/{}.csv", "d".repeat(90), "f".repeat(50));
    assert_eq!(read_all("u.tar.xz", &include_bytes!("fixtures/ustar.tar.xz")[..]).await.unwrap(), ustar);
    for kind in [Compression::Gzip, Compression::Zstd, Compression::Lz4, Compression::Snappy] {
        let packed = pack(&unpack(pax, Compression::Xz), kind);
        assert_eq!(read_all("any.tar", packed).await.unwrap(), python_files(), "{kind:?}, by its bytes");
    }
}

#[tokio::test]
async fn an_archive_of_no_bytes_or_no_members_has_none() {
    for name in ["a.zip", "a.tar", "a.tar.gz"] {
        assert!(read_all(name, &b""[..]).await.unwrap().is_empty(), "{name}");
    }
    assert!(read_all("a.zip", [&b"PK\x05\x06"[..], &[0; 18]].concat()).await.unwrap().is_empty());
    assert!(read_all("a.tar", vec![0; 1024]).await.unwrap().is_empty());
    assert!(read_all("a.tgz", pack(&[0; 10240], Compression::Gzip)).await.unwrap().is_empty());
}

#[test]
fn archives_are_known_by_their_names() {
    for name in ["a.zip", "A.ZIP", "x.tar", "x.tar.gz", "x.TGZ", "x.tar.zst", "x.tar.bz2", "x.tar.xz", "x.txz", "x.tar.lz4", "ü.tar.lzma"] {
        assert!(Archive::by_name(name).is_some(), "{name}");
    }
    for name in ["zip", "a.csv", "a.csv.gz", "a.gz", "tar", "a.tar.csv", "", "ü", "a.zipx", "star.gz"] {
        assert_eq!(Archive::by_name(name), None, "{name}");
    }
}

/// A zip, entry by entry, with whatever lies a test wants.
#[derive(Default)]
struct ZipMaker {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    entries: u16,
}

#[derive(Clone)]
struct Lie {
    method: u16,
    flags: u16,
    crc: Option<u32>,
    size: Option<u32>,
    packed: Option<u32>,
    at: Option<u32>,
    local_name: Option<&'static str>,
}

const HONEST: Lie = Lie { method: 0, flags: 0x800, crc: None, size: None, packed: None, at: None, local_name: None };

fn deflated(plain: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    e.write_all(plain).unwrap();
    e.finish().unwrap()
}

impl ZipMaker {
    fn add(&mut self, name: &str, plain: &[u8], lie: Lie) -> &mut Self {
        let packed = match lie.method {
            8 => deflated(plain),
            12 => pack(plain, Compression::Bzip2),
            93 => pack(plain, Compression::Zstd),
            95 => pack(plain, Compression::Xz),
            _ => plain.to_vec(),
        };
        let at = self.bytes.len() as u32;
        let crc = lie.crc.unwrap_or_else(|| crc32fast::hash(plain));
        let both = |packed: u32| {
            let mut out = Vec::new();
            out.extend(lie.flags.to_le_bytes());
            out.extend(lie.method.to_le_bytes());
            out.extend([0; 4]);
            out.extend(crc.to_le_bytes());
            out.extend(packed.to_le_bytes());
            out.extend(lie.size.unwrap_or(plain.len() as u32).to_le_bytes());
            out
        };
        let local_name = lie.local_name.unwrap_or(name);
        self.bytes.extend(b"PK\x03\x04\x14\0");
        self.bytes.extend(both(packed.len() as u32));
        self.bytes.extend([(local_name.len() as u16).to_le_bytes(), [0, 0]].concat());
        self.bytes.extend(local_name.as_bytes());
        self.bytes.extend(&packed);
        self.directory.extend(b"PK\x01\x02\x14\x03\x14\0");
        self.directory.extend(both(lie.packed.unwrap_or(packed.len() as u32)));
        self.directory.extend((name.len() as u16).to_le_bytes());
        self.directory.extend([0; 12]);
        self.directory.extend(lie.at.unwrap_or(at).to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.entries += 1;
        self
    }

    fn done(&self) -> Vec<u8> {
        let mut out = [&self.bytes[..], &self.directory].concat();
        out.extend(b"PK\x05\x06\0\0\0\0");
        out.extend([self.entries.to_le_bytes(), self.entries.to_le_bytes()].concat());
        out.extend((self.directory.len() as u32).to_le_bytes());
        out.extend((self.bytes.len() as u32).to_le_bytes());
        out.extend([0, 0]);
        out
    }
}

fn zip_of(name: &str, plain: &[u8], lie: Lie) -> Vec<u8> {
    ZipMaker::default().add(name, plain, lie).done()
}

#[tokio::test]
async fn zip_members_by_every_method_at_any_place_and_side_by_side() {
    let text: Vec<u8> = (0..200_000).flat_map(|i| format!("{i},{}\n", i % 97).into_bytes()).collect();
    let mut maker = ZipMaker::default();
    for method in [0, 8, 12, 93, 95] {
        maker.add(&format!("m{method}.csv"), &text, Lie { method, ..HONEST });
    }
    let zip = maker.add("no.skip", b"", Lie { method: 98, ..HONEST }).done();
    // Bytes in front of the archive, as in one that unpacks itself.
    for bytes in [zip.clone(), [&b"#!/bin/sh\nexit\n"[..], &zip].concat(), [&zip[..], b"\0\0\0"].concat()] {
        let mut members = open_bytes("/in/a.zip", bytes).await.unwrap();
        assert_eq!(members.count(), Some(5));
        let mut open = Vec::new();
        while let Some(member) = members.next().await.unwrap() {
            assert!(!member.alone);
            open.push(member);
        }
        // Last to first, and each at random places too.
        for member in open.iter().rev() {
            assert!(content(member).await.unwrap() == text && content(member).await.unwrap() == text);
            let range = 1_000_000..1_300_000;
            assert_eq!(member.file.range(range.clone()).await.unwrap()[..], text[range.start as usize..range.end as usize]);
            assert!(member.file.range(5..u64::MAX).await.is_err());
        }
        members.verify().await.unwrap();
    }
    let sample = Opened::Members(open_bytes("/in/a.zip", zip.clone()).await.unwrap()).sample(2).await.unwrap();
    let names: Vec<&str> = sample.iter().map(|f| f.version().path.as_str()).collect();
    assert_eq!(names, ["/in/a.zip/m0.csv", "/in/a.zip/m12.csv"], "spread over them");
    assert_eq!(Opened::Members(open_bytes("/in/a.zip", zip).await.unwrap()).sample(50).await.unwrap().len(), 5);
}

#[tokio::test]
async fn what_a_zip_lies_about_is_found() {
    let text = "id\n1\n2\n".repeat(1000);
    let one = |lie: Lie| zip_of("a.csv", text.as_bytes(), lie);
    let method = 8;
    corrupt(read_all("a.zip", one(Lie { crc: Some(1), ..HONEST })).await, "checksum");
    corrupt(read_all("a.zip", one(Lie { method, crc: Some(1), ..HONEST })).await, "checksum");
    corrupt(read_all("a.zip", one(Lie { method, size: Some(6999), ..HONEST })).await, "longer than");
    corrupt(read_all("a.zip", one(Lie { method, size: Some(7001), ..HONEST })).await, "has 7000 bytes");
    corrupt(read_all("a.zip", one(Lie { size: Some(6999), ..HONEST })).await, "stored");
    corrupt(read_all("a.zip", one(Lie { method, packed: Some(5), ..HONEST })).await, "ends in the middle");
    corrupt(read_all("a.zip", one(Lie { packed: Some(70_000), ..HONEST })).await, "overlap");
    corrupt(read_all("a.zip", one(Lie { at: Some(3), ..HONEST })).await, "overlap");
    corrupt(read_all("a.zip", one(Lie { at: Some(3), packed: Some(1), size: Some(1), ..HONEST })).await, "no header");
    corrupt(read_all("a.zip", one(Lie { local_name: Some("b.csv"), ..HONEST })).await, "contradicts");
    corrupt(read_all("a.zip", one(Lie { flags: 1, ..HONEST })).await, "encrypted");
    corrupt(read_all("a.zip", one(Lie { method: 99, ..HONEST })).await, "encrypted");
    corrupt(read_all("a.zip", one(Lie { method: 9, ..HONEST })).await, "method 9");
    corrupt(read_all("a.zip", zip_of("deep/b.zip", b"PK", HONEST)).await, "archives within archives");
    corrupt(read_all("a.zip", text.clone()).await, "no zip archive");
    let mut parts = one(HONEST);
    let at = parts.len() - 18;
    parts[at] = 1;
    corrupt(read_all("a.zip", parts).await, "several files");
    let mut count = one(HONEST);
    let at = count.len() - 14;
    (count[at], count[at + 2]) = (7, 7);
    corrupt(read_all("a.zip", count).await, "1 entries, and says 7");
    let mut large = one(HONEST);
    let at = large.len() - 10;
    large[at..at + 4].fill(0xf0);
    corrupt(read_all("a.zip", large).await, "begins before the file does");
}

#[tokio::test]
async fn bombs_of_zip_are_stopped() {
    // Members that share their bytes: each names the first one's.
    let mut maker = ZipMaker::default();
    maker.add("0.csv", &vec![b'0'; 1 << 20], Lie { method: 8, ..HONEST });
    for i in 1..100 {
        let (bytes, packed) = (maker.bytes.len(), deflated(&vec![b'0'; 1 << 20]).len() as u32);
        maker.add(&format!("{i}.csv"), b"", Lie { method: 8, at: Some(0), packed: Some(packed), size: Some(1 << 20), ..HONEST });
        maker.bytes.truncate(bytes);
    }
    corrupt(read_all("a.zip", maker.done()).await, "overlap");
    // Members that are honest one by one, and too much together.
    let mut maker = ZipMaker::default();
    for i in 0..30 {
        maker.add(&format!("{i}.csv"), &vec![b'0'; 8 << 20], Lie { method: 93, ..HONEST });
    }
    corrupt(read_all("a.zip", maker.done()).await, "`max_ratio`");
    // A member that is compressed itself is counted with the others.
    let inner = pack(&vec![b'0'; 150 << 20], Compression::Xz);
    let mut members = open_bytes("a.zip", zip_of("a.csv.xz", &inner, HONEST)).await.unwrap();
    let member = members.next().await.unwrap().unwrap();
    let mut text = crate::compress::unpack::Unpacked::open(member.file, Compression::Auto).await.unwrap();
    let e = loop {
        match text.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a bomb was read to its end"),
            Err(e) => break e,
        }
    };
    assert!(e.message().contains("`max_ratio`"), "{e}");
}

#[tokio::test]
async fn names_in_old_code_pages_and_with_strange_slashes() {
    let mut maker = ZipMaker::default();
    maker.add("/dir\\sub\\a.csv", b"1", HONEST).add("./b.csv", b"2", HONEST).add("dir/", b"", HONEST);
    let names: Vec<String> = read_all("a.zip", maker.done()).await.unwrap().into_iter().map(|(n, _)| n).collect();
    assert_eq!(names, ["dir/sub/a.csv", "b.csv"]);
    let mut zip = zip_of("xx.csv", b"1", Lie { flags: 0, ..HONEST });
    for at in [30, 31 + 6 + 46 - 6 + 1 + 5] {
        assert_eq!(&zip[at..at + 2], b"xx");
        zip[at..at + 2].copy_from_slice(&[0x81, 0xe1]);
    }
    assert_eq!(read_all("a.zip", zip).await.unwrap()[0].0, "üß.csv");
}

/// A tar header for these.
fn tar_header(name: &str, size: &[u8; 12], kind: u8) -> Vec<u8> {
    let mut h = vec![0; 512];
    h[..name.len()].copy_from_slice(name.as_bytes());
    h[124..136].copy_from_slice(size);
    h[156] = kind;
    h[257..265].copy_from_slice(b"ustar\x0000");
    h[148..156].fill(b' ');
    let sum: u32 = h.iter().map(|b| u32::from(*b)).sum();
    h[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    h
}

fn octal(size: usize) -> [u8; 12] {
    format!("{size:011o}\0").into_bytes().try_into().unwrap()
}

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, bytes) in files {
        out.extend(tar_header(name, &octal(bytes.len()), b'0'));
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

#[tokio::test]
async fn a_tar_that_is_cut_off_or_lies_is_damaged_plain_and_compressed() {
    let whole = tar_of(&[("a.csv", b"id\n1\n"), ("b.csv", &[b'x'; 1500])]);
    assert_eq!(read_all("a.tar", whole.clone()).await.unwrap().len(), 2);
    for cut in [1, 511, 512, 513, 1000, 1024, 1500, 2000, 3000, whole.len() - 1024] {
        corrupt(read_all("a.tar", whole[..cut].to_vec()).await, "");
        corrupt(read_all("a.tgz", pack(&whole[..cut], Compression::Gzip)).await, "cut off");
    }
    // One block of zeros is what some programs write.
    assert_eq!(read_all("a.tar", whole[..whole.len() - 512].to_vec()).await.unwrap().len(), 2);
    let packed = pack(&whole, Compression::Gzip);
    for cut in [1, 4, 8, packed.len() / 2] {
        corrupt(read_all("a.tgz", packed[..packed.len() - cut].to_vec()).await, "cut off");
    }
    let lying = |size: [u8; 12], kind: u8| [tar_header("a.csv", &size, kind), vec![b'1'; 512], vec![0; 1024]].concat();
    let mut endless = [0xff; 12];
    endless[0] = 0x80;
    endless[1..4].fill(0);
    for (size, kind, says) in [
        (octal(1 << 30), b'0', "cut off"),
        (octal(1 << 30), b'L', "a name or record"),
        (octal(1 << 30), b'x', "a name or record"),
        (octal(1 << 30), b'Z', "cut off"),
        (endless, b'0', "to"),
        ([0xff; 12], b'0', "no number"),
        (*b"99999999999\0", b'0', "no number"),
        (octal(512), b'S', "sparse"),
        (octal(512), b'x', "records"),
        (octal(100), b'0', ""),
    ] {
        let bytes = lying(size, kind);
        if says.is_empty() {
            assert_eq!(read_all("a.tar", bytes).await.unwrap()[0].1, [b'1'; 100]);
            continue;
        }
        corrupt(read_all("a.tar", bytes.clone()).await, if kind == b'0' && says == "to" { "" } else { says });
        corrupt(read_all("a.tar.zst", pack(&bytes, Compression::Zstd)).await, if says == "to" { "" } else { says });
    }
    let mut changed = whole.clone();
    changed[5] ^= 1;
    corrupt(read_all("a.tar", changed).await, "checksum");
    corrupt(read_all("a.tar", b"id,name\n1,a\n".repeat(100)).await, "no tar archive");
    corrupt(read_all("a.tar", [&whole[..whole.len() - 512], &whole].concat()).await, "goes on behind its end");
    corrupt(read_all("a.tar", tar_of(&[("b.tar.gz", b"x")])).await, "archives within archives");
}

#[tokio::test]
async fn pax_says_more_than_the_header_and_links_have_no_bytes() {
    let records = |text: &str| [tar_header("pax", &octal(text.len()), b'x'), text.as_bytes().to_vec(), vec![0; 512 - text.len()]].concat();
    let file = |size: usize| [tar_header("short.csv", &octal(size), b'0'), b"12345".to_vec(), vec![0; 507]].concat();
    let end = vec![0; 1024];
    let tar = [records("20 path=long/é.csv\n"), file(5), file(3), tar_header("hard", &octal(5000), b'1'), end.clone()].concat();
    assert_eq!(read_all("a.tar", tar).await.unwrap(), [("long/é.csv".to_owned(), b"12345".to_vec()), ("short.csv".to_owned(), b"123".to_vec())]);
    let tar = [records("9 size=5\n"), file(0), end.clone()].concat();
    assert_eq!(read_all("a.tar", tar.clone()).await.unwrap()[0].1, b"12345");
    assert_eq!(read_all("a.tgz", pack(&tar, Compression::Gzip)).await.unwrap()[0].1, b"12345");
    corrupt(read_all("a.tar", [records("22 GNU.sparse.major=1\n"), file(5), end].concat()).await, "sparse");
}

#[tokio::test]
async fn a_large_member_of_a_compressed_tar_flows_and_can_be_read_again() {
    let large: Vec<u8> = (0..2_000_000_u32).flat_map(|i| i.to_le_bytes()).collect();
    let tar = tar_of(&[("a.csv", b"1"), ("large.bin", &large), ("c.csv", b"2"), ("d.skip", &large), ("e.csv", b"3")]);
    let packed = pack(&tar, Compression::Zstd);
    let mut members = open_bytes("a.tar.zst", packed.clone()).await.unwrap();
    let a = members.next().await.unwrap().unwrap();
    let flowing = members.next().await.unwrap().unwrap();
    assert!(!a.alone && flowing.alone && members.count().is_none());
    assert_eq!(content(&a).await.unwrap(), b"1", "what is held is read whenever");
    // The next one waits for it.
    {
        let next = members.next();
        futures::pin_mut!(next);
        assert!(futures::poll!(&mut next).is_pending());
        let mut stream = flowing.file.stream().await.unwrap();
        assert!(stream.next().await.unwrap().is_ok() && futures::poll!(&mut next).is_pending());
        drop(stream);
        let c = next.await.unwrap().unwrap();
        assert_eq!((c.file.version().path.as_str(), content(&c).await.unwrap()), ("a.tar.zst/c.csv", b"2".to_vec()));
    }
    assert!(content(&flowing).await.unwrap() == large, "again, from the archive's beginning");
    let range = 4_000_000..4_000_100;
    assert_eq!(flowing.file.range(range.clone()).await.unwrap()[..], large[range.start as usize..range.end as usize]);
    assert_eq!(content(&members.next().await.unwrap().unwrap()).await.unwrap(), b"3");
    let sample = Opened::Members(open_bytes("a.tar.zst", packed.clone()).await.unwrap()).sample(3).await.unwrap();
    assert_eq!(sample.len(), 2, "a member that flows is the last of a sample");
    drop(sample);
    // One that nobody reads is passed over when it is dropped.
    let mut members = open_bytes("a.tar.zst", packed).await.unwrap();
    let mut names = Vec::new();
    while let Some(member) = members.next().await.unwrap() {
        names.push(member.constants["name"].clone());
    }
    assert_eq!(names, ["a.csv", "large.bin", "c.csv", "e.csv"]);
}

#[tokio::test]
async fn every_early_end_of_a_zip_is_found() {
    let whole = include_bytes!("fixtures/streamed.zip");
    for cut in 1..whole.len() {
        corrupt(read_all("a.zip", whole[..cut].to_vec()).await, "");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is done to an archive: the same members, or an error; never a panic.
    #[test]
    fn changed_bytes_give_an_error_or_members(
        which in 0..4_usize,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let pax = unpack(include_bytes!("fixtures/pax.tar.xz"), Compression::Xz);
        let (name, mut bytes) = match which {
            0 => ("a.zip", include_bytes!("fixtures/python.zip").to_vec()),
            1 => ("a.zip", include_bytes!("fixtures/streamed.zip").to_vec()),
            2 => ("a.tar", pax),
            _ => ("a.tgz", pack(&pax, Compression::Gzip)),
        };
        for (at, value) in changes {
            let i = at.index(bytes.len());
            bytes[i] = value;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        if let Err(e) = runtime.block_on(read_all(name, bytes)) {
            prop_assert_eq!(e.kind(), ErrorKind::CorruptInput);
        }
    }
}

#[tokio::test]
async fn what_is_written_is_read_back() {
    let mut files = python_files();
    files.push((format!("d/{}", "é".repeat(99)), vec![0; 1500]));
    for name in ["a.zip", "a.tar", "a.tgz", "a.tar.zst", "a.TXZ", "a.tar.bz2"] {
        let bytes = write::write(Archive::by_name(name).unwrap(), name, &files).unwrap();
        assert_eq!(read_all(name, bytes).await.unwrap(), files, "{name}");
        let none = write::write(Archive::by_name(name).unwrap(), name, &[]).unwrap();
        assert!(read_all(name, none).await.unwrap().is_empty(), "{name}");
    }
    let many: Vec<_> = (0..70_000).map(|n| (n.to_string(), Vec::new())).collect();
    assert_eq!(write::write(Archive::Zip, "a.zip", &many).unwrap_err().kind(), ErrorKind::Data);
}
