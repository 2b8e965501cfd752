//! Every codec against the same facts.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use sluis_core::{ErrorKind, Result, UnpackLimits, Unpacking};

use super::*;

const ALL: [Compression; 6] = [Compression::Gzip, Compression::Bzip2, Compression::Zstd, Compression::Xz, Compression::Lz4, Compression::Snappy];

fn pack(kind: Compression, plain: &[u8]) -> Vec<u8> {
    let (mut c, mut out) = (Compressor::new(kind).unwrap(), Vec::new());
    for piece in plain.chunks(100_000) {
        c.write(piece, &mut out).unwrap();
    }
    c.finish(&mut out).unwrap();
    out
}

fn drain(d: &mut Decompressor, packed: &[u8], step: usize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for piece in packed.chunks(step) {
        d.push(Bytes::copy_from_slice(piece));
        while let Some(plain) = d.next_piece()? {
            assert!(!plain.is_empty() && plain.len() <= PIECE);
            out.extend_from_slice(&plain);
        }
        assert_eq!(d.pending(), 0, "all input is taken");
    }
    d.finish()?;
    assert_eq!(d.consumed(), packed.len() as u64);
    Ok(out)
}

fn unpack(kind: Compression, packed: &[u8], step: usize) -> Result<Vec<u8>> {
    drain(&mut Decompressor::new(kind)?, packed, step)
}

fn text() -> Vec<u8> {
    (0..200_000).flat_map(|i| format!("{},", i * 7919 % 1009).into_bytes()).collect()
}

/// As Hadoop's `SnappyCodec` writes: blocks of what was written at once, in chunks of its buffer.
fn hadoop(plain: &[u8], block: usize, chunk: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for block in plain.chunks(block) {
        out.extend((block.len() as u32).to_be_bytes());
        for chunk in block.chunks(chunk) {
            let packed = snap::raw::Encoder::new().compress_vec(chunk).unwrap();
            out.extend((packed.len() as u32).to_be_bytes());
            out.extend(packed);
        }
    }
    out
}

#[test]
fn several_members_and_frames_come_out_as_one() {
    let plain = text();
    for kind in ALL {
        let mut packed = pack(kind, &plain);
        packed.extend(pack(kind, b""));
        packed.extend(pack(kind, &plain));
        for step in [7, 1000, usize::MAX] {
            assert!(unpack(kind, &packed, step).unwrap() == [plain.clone(), plain.clone()].concat(), "{kind:?} by {step}");
        }
        let small = pack(kind, &plain[..3000]);
        assert!(unpack(kind, &[small.clone(), small].concat(), 1).unwrap() == plain[..3000].repeat(2), "{kind:?} byte by byte");
        assert_eq!(unpack(kind, &pack(kind, b""), 1).unwrap(), b"", "{kind:?} of nothing");
        assert_eq!(unpack(kind, b"", 1).unwrap(), b"", "{kind:?}: nothing at all");
    }
}

#[test]
fn every_early_end_is_found() {
    // Snappy has no end: cut between chunks it is whole.
    for kind in ALL.into_iter().filter(|k| *k != Compression::Snappy) {
        let packed = pack(kind, &text()[..2000]);
        for cut in 1..packed.len() {
            let e = unpack(kind, &packed[..cut], 64).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::CorruptInput, "{kind:?} cut at {cut}");
        }
    }
    for packed in [pack(Compression::Snappy, &text()[..200_000]), hadoop(&text()[..200_000], 100_000, 60_000)] {
        for cut in (1..packed.len()).step_by(97) {
            match unpack(Compression::Snappy, &packed[..cut], 64) {
                Ok(plain) => assert!(text().starts_with(&plain), "cut at {cut}"),
                Err(e) => assert_eq!(e.kind(), ErrorKind::CorruptInput, "cut at {cut}"),
            }
        }
        assert!(unpack(Compression::Snappy, &packed[..packed.len() - 1], 4096).unwrap_err().message().contains("cut off"));
    }
}

#[test]
fn damage_is_found_with_its_position() {
    for kind in ALL {
        let mut packed = pack(kind, &text());
        let middle = packed.len() / 2;
        packed[middle..middle + 200].fill(0xAA);
        let e = unpack(kind, &packed, 4096).unwrap_err();
        assert!(e.kind() == ErrorKind::CorruptInput && e.message().contains("byte "), "{kind:?}: {e}");
        let mut packed = pack(kind, b"abc");
        packed.extend_from_slice(b"garbage that is long enough for any header");
        let e = unpack(kind, &packed, 4096).unwrap_err();
        assert!(e.kind() == ErrorKind::CorruptInput && e.message().contains("byte "), "{kind:?}: {e}");
        let e = unpack(kind, b"id,name\n1,a text that is not compressed at all\n2,b\n", 4096).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::CorruptInput, "{kind:?}");
    }
}

#[test]
fn zeros_after_the_last_member_are_padding() {
    for kind in [Compression::Gzip, Compression::Bzip2, Compression::Xz] {
        let mut packed = pack(kind, b"abc");
        packed.extend([0; 1000]);
        assert_eq!(unpack(kind, &packed, 10).unwrap(), b"abc");
        packed.extend(pack(kind, b"def"));
        assert_eq!(unpack(kind, &packed, 10).unwrap(), b"abcdef");
        packed.extend([0, 0, 1]);
        assert!(unpack(kind, &packed, 10).is_err());
    }
}

#[test]
fn a_bomb_comes_in_pieces_and_ends_at_the_limits() {
    let zeros = vec![0; 120 << 20];
    for kind in ALL {
        let packed = pack(kind, &zeros);
        assert_eq!(unpack(kind, &packed, usize::MAX).unwrap().len(), zeros.len());
        for (limits, key) in
            [(UnpackLimits { ratio: 10, ..UnpackLimits::default() }, "`max_ratio`"), (UnpackLimits { ratio: 5000, bytes: 1 << 20 }, "`max_unpacked`")]
        {
            let unpacking = Arc::new(Unpacking::new(limits, packed.len() as u64));
            let e = drain(&mut Decompressor::new(kind).unwrap().within(unpacking), &packed, usize::MAX).unwrap_err();
            assert!(e.kind() == ErrorKind::CorruptInput && e.message().contains(key), "{kind:?}: {e}");
        }
    }
    for kind in [Compression::Bzip2, Compression::Zstd, Compression::Xz] {
        let packed = pack(kind, &zeros);
        let unpacking = Arc::new(Unpacking::new(UnpackLimits::default(), packed.len() as u64));
        let e = drain(&mut Decompressor::new(kind).unwrap().within(unpacking), &packed, usize::MAX).unwrap_err();
        assert!(e.message().contains("1000 times"), "{kind:?}, by default: {e}");
    }
}

#[test]
fn a_dictionary_that_would_fill_memory_is_refused() {
    // The header of a `.lzma` file: properties, size of the dictionary, length unknown.
    let mut packed = vec![0x5d];
    packed.extend((1_u32 << 30).to_le_bytes());
    packed.extend([0xff; 8]);
    packed.extend([0; 64]);
    assert!(unpack(Compression::Xz, &packed, 4096).unwrap_err().message().contains("dictionary"));
}

#[test]
fn lzma_files_are_read() {
    let options = liblzma::stream::LzmaOptions::new_preset(6).unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), liblzma::stream::Stream::new_lzma_encoder(&options).unwrap());
    std::io::Write::write_all(&mut encoder, &text()).unwrap();
    let packed = encoder.finish().unwrap();
    for step in [13, usize::MAX] {
        assert!(unpack(Compression::Xz, &packed, step).unwrap() == text());
    }
    assert!(unpack(Compression::Xz, &packed[..packed.len() - 10], 99).is_err());
}

#[test]
fn hadoop_blocks_are_told_from_frames() {
    let plain = text();
    for (block, chunk) in [(usize::MAX, 256 << 10), (100_000, 65_536), (10, 4)] {
        let plain = &plain[..if block < 100 { 1000 } else { plain.len() }];
        let packed = hadoop(plain, block.min(plain.len()), chunk);
        for step in [1, 1000, usize::MAX] {
            if packed.len() / step < 100_000 {
                assert!(unpack(Compression::Snappy, &packed, step).unwrap() == plain, "{block} {chunk} {step}");
            }
        }
    }
    let mut wrong = hadoop(b"hello hello hello", 100, 100);
    wrong[3] = 5;
    assert!(unpack(Compression::Snappy, &wrong, 100).unwrap_err().message().contains("Hadoop"));
    assert!(unpack(Compression::Snappy, &snap::raw::Encoder::new().compress_vec(b"no lengths").unwrap(), 100).is_err());
}

#[test]
fn lz4_frames_of_every_kind_are_read() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let plain = text();
    for mode in [BlockMode::Independent, BlockMode::Linked] {
        for size in [BlockSize::Max64KB, BlockSize::Max4MB] {
            for sums in [false, true] {
                let info = FrameInfo::new().block_mode(mode).block_size(size).block_checksums(sums).content_checksum(sums);
                let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                std::io::Write::write_all(&mut encoder, &plain).unwrap();
                let mut packed = encoder.finish().unwrap();
                // A frame to be skipped, and an empty one.
                packed.extend([0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3, 0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
                for step in [5, usize::MAX] {
                    assert!(unpack(Compression::Lz4, &packed, step).unwrap() == plain, "{mode:?} {size:?} {sums} {step}");
                }
            }
        }
    }
    let block = lz4_flex::block::compress(&plain);
    let legacy = [&[2, 0x21, 0x4c, 0x18][..], &(block.len() as u32).to_le_bytes(), &block].concat();
    assert!(unpack(Compression::Lz4, &legacy, 99).unwrap() == plain);
    assert!(unpack(Compression::Lz4, &[&legacy[..], &pack(Compression::Lz4, b"more")].concat(), 99).unwrap() == [&plain[..], b"more"].concat());
    assert!(unpack(Compression::Lz4, &legacy[..legacy.len() - 3], 99).is_err());
}

#[test]
fn deflate_without_a_header_is_one_member() {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, &text()).unwrap();
    let packed = encoder.finish().unwrap();
    assert!(drain(&mut Decompressor::deflate(), &packed, 77).unwrap() == text());
    assert!(drain(&mut Decompressor::deflate(), &packed[..packed.len() - 2], 77).is_err());
    assert!(drain(&mut Decompressor::deflate(), &[packed, vec![0]].concat(), usize::MAX).is_err());
    assert!(Decompressor::deflate().finish().is_err(), "an end without a beginning");
}

#[test]
fn kinds_are_found_by_bytes_then_by_name() {
    use Compression::{Auto, Bzip2, Gzip, Lz4, None, Snappy, Xz, Zstd};
    for kind in ALL {
        for plain in [&b""[..], b"id,name\n1,a\n"] {
            let packed = pack(kind, plain);
            if !packed.is_empty() {
                assert_eq!(Auto.detect("a.csv", &packed[..packed.len().min(HEAD)]), kind, "{kind:?}");
            }
            assert_eq!(None.detect("a.csv.gz", &packed), None);
        }
        assert_eq!(Auto.detect(&format!("a.csv{}", Compressor::ending(kind).to_uppercase()), b"text"), kind);
    }
    for (name, kind) in [("a.lzma", Xz), ("a.snappy", Snappy), ("a.bz", Bzip2), ("a.gzip", Gzip), ("a.zstd", Zstd), ("a.lz4", Lz4), ("bz2", None)] {
        assert_eq!(Auto.detect(name, b"text"), kind, "{name}");
    }
    assert_eq!(Auto.detect("a.csv.gz", b""), None);
    assert_eq!(Auto.detect("ü.csv", b"BZh9 is a name\n"), None);
    assert_eq!(Gzip.detect("a.csv", b"text"), Gzip);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Any split of the bytes gives the same, whole or cut or damaged.
    #[test]
    fn pieces_do_not_matter(
        kind in proptest::sample::select(ALL.to_vec()),
        runs in proptest::collection::vec((any::<u8>(), 1_usize..5000), 0..40),
        steps in proptest::collection::vec(1_usize..2000, 1..8),
        change in proptest::option::of((any::<proptest::sample::Index>(), 1_u8..)),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let plain: Vec<u8> = runs.iter().enumerate().flat_map(|(i, (b, n))| (0..*n).map(move |j| if i % 3 == 0 { ((j * j) >> 3) as u8 } else { *b })).collect();
        let mut packed = pack(kind, &plain);
        if let (Some((at, x)), false) = (change, packed.is_empty()) {
            let i = at.index(packed.len());
            packed[i] ^= x;
        }
        if let (Some(at), false) = (cut, packed.is_empty()) {
            packed.truncate(at.index(packed.len()));
        }
        let whole = unpack(kind, &packed, usize::MAX);
        let mut d = Decompressor::new(kind).unwrap();
        let (mut out, mut rest, mut failed) = (Vec::new(), &packed[..], false);
        'all: for step in steps.iter().cycle() {
            let (now, later) = rest.split_at((*step).min(rest.len()));
            d.push(Bytes::copy_from_slice(now));
            loop {
                match d.next_piece() {
                    Ok(Some(plain)) => out.extend_from_slice(&plain),
                    Ok(None) => break,
                    Err(e) => { prop_assert_eq!(e.kind(), ErrorKind::CorruptInput); failed = true; break 'all; }
                }
            }
            rest = later;
            if rest.is_empty() { break; }
        }
        failed = failed || d.finish().is_err();
        prop_assert_eq!(failed, whole.is_err());
        if let Ok(whole) = whole {
            prop_assert!(whole == out);
            if change.is_none() && cut.is_none() {
                prop_assert!(whole == plain);
            }
        }
    }
}

#[test]
fn files_of_other_programs_are_read() {
    let text: Vec<u8> = (0..300).flat_map(|i| format!("{i},row {i}\n").into_bytes()).collect();
    for (name, packed) in [
        ("a.xz", &include_bytes!("../archive/fixtures/text.xz")[..]),
        ("a.lzma", include_bytes!("../archive/fixtures/text.lzma")),
        ("a.bz2", include_bytes!("../archive/fixtures/text.bz2")),
    ] {
        let kind = Compression::Auto.detect(name, &packed[..HEAD]);
        for step in [1, 10_000] {
            assert!(unpack(kind, packed, step).unwrap() == text, "{name}");
        }
    }
}
