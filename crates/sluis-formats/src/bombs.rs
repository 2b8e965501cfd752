//! A few bytes that would become many: refused by every format, with the file's name and the key that says how much is allowed.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::{Value, json};
use sluis_core::{Error, ErrorKind, FileFormat, FileVersion, RawFile, ReadOptions, Result, UnpackLimits, Unpacking};

use crate::compress::{Compression, Compressor};
use crate::memory::memory_file;

/// A file whose source allows it so many unpacked bytes.
struct Limited(Arc<dyn RawFile>, u64);

#[async_trait]
impl RawFile for Limited {
    fn version(&self) -> &FileVersion {
        self.0.version()
    }
    async fn stream(&self) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.0.stream().await
    }
    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        self.0.range(range).await
    }
    async fn verify(&self) -> Result<()> {
        Ok(())
    }
    fn unpacking(&self) -> Arc<Unpacking> {
        Arc::new(Unpacking::new(UnpackLimits { ratio: 1000, bytes: self.1 }, self.version().size))
    }
}

fn limited(path: &str, bytes: Vec<u8>, most: u64) -> Arc<dyn RawFile> {
    Arc::new(Limited(memory_file(path, bytes), most))
}

/// Rows, and the error that ended them.
async fn read(format: &str, config: Value, file: Arc<dyn RawFile>) -> (usize, Option<Error>) {
    let def = crate::all().into_iter().find(|d| d.name == format).unwrap();
    let reader: Arc<dyn FileFormat> = (def.reader.unwrap())(&config).unwrap();
    let schema = reader.infer(std::slice::from_ref(&file), None).await.unwrap();
    let options = ReadOptions { schema, batch_rows: 100, threads: 2, keep_origins: false, misfits: Default::default() };
    let (mut rows, mut error) = (0, None);
    let mut items = reader.read(file, &options).await.unwrap();
    while let Some(item) = items.next().await {
        match item {
            Ok(d) => rows += d.batch.num_rows(),
            Err(e) => error = Some(e),
        }
    }
    (rows, error)
}

/// Rows of zeros, `each` of them in each.
fn zeros(rows: usize, each: usize) -> RecordBatch {
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|_| "0".repeat(each))));
    RecordBatch::try_from_iter([("zeros", texts)]).unwrap()
}

fn written(format: Value, batch: &RecordBatch) -> Vec<u8> {
    let mut encoder = crate::writer_from_value(&format).unwrap().encoder(&batch.schema()).unwrap();
    let mut bytes = Vec::new();
    encoder.write(batch, &mut bytes).unwrap();
    encoder.finish(&mut bytes).unwrap();
    bytes
}

fn packed(plain: &[u8], kind: Compression) -> Vec<u8> {
    let (mut compressor, mut out) = (Compressor::new(kind).unwrap(), Vec::new());
    compressor.write(plain, &mut out).unwrap();
    compressor.finish(&mut out).unwrap();
    out
}

fn refused(told: (usize, Option<Error>), path: &str, key: &str, what: &str) {
    let e = told.1.unwrap_or_else(|| panic!("{what}: all of it was read"));
    assert_eq!(e.kind(), ErrorKind::CorruptInput, "{what}: {e}");
    assert!(e.message().contains(key), "{what}: {e}");
    assert!(e.contexts().iter().any(|(k, v)| *k == "file" && v == path), "{what}: {e}");
}

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn what_pages_and_blocks_unpack_to_is_counted() {
    let rows = zeros(30, MIB as usize);
    for format in [
        json!({ "parquet": { "compression": "gzip", "dictionary": false } }),
        json!({ "parquet": { "compression": "zstd", "dictionary": false } }),
        json!({ "parquet": { "compression": "snappy", "dictionary": false } }),
        json!({ "avro": { "codec": "deflate" } }),
        json!({ "avro": { "codec": "zstd" } }),
        json!({ "avro": { "codec": "snappy" } }),
    ] {
        let name = format.as_object().and_then(|o| o.keys().next()).unwrap().clone();
        let bytes = written(format.clone(), &rows);
        let told = read(&name, json!({}), limited("/in/f", bytes.clone(), 10 * MIB)).await;
        assert!(told.0 < 30, "{format}");
        refused(told, "/in/f", "`max_unpacked`", &format.to_string());
        assert_eq!(read(&name, json!({}), limited("/in/f", bytes, 100 * MIB)).await.0, 30, "{format}");
    }
}

#[tokio::test]
async fn files_compressed_as_a_whole_are_unpacked_within_the_limits() {
    let rows = zeros(3, MIB as usize);
    for (name, plain) in [
        ("parquet", written(json!({ "parquet": { "compression": "none", "dictionary": false } }), &rows)),
        ("avro", written(json!({ "avro": { "codec": "null" } }), &rows)),
        #[cfg(feature = "orc")]
        ("orc", orc::file(&[orc::piece(false, b"ab")], 1)),
    ] {
        let all = if name == "orc" { 1 } else { 3 };
        for kind in [Compression::Gzip, Compression::Bzip2, Compression::Zstd, Compression::Xz, Compression::Lz4, Compression::Snappy] {
            let path = format!("/in/f.{name}{}", Compressor::ending(kind));
            let bytes = packed(&plain, kind);
            let told = read(name, json!({}), limited(&path, bytes.clone(), 100 * MIB)).await;
            assert_eq!((told.0, told.1.map(|e| e.to_string())), (all, None), "{path}");
            let cut = read(name, json!({}), limited(&path, bytes[..bytes.len() - 3].to_vec(), 100 * MIB)).await;
            assert_eq!(cut.1.map(|e| e.kind()), Some(ErrorKind::CorruptInput), "{path}");
            if all == 3 {
                refused(read(name, json!({}), limited(&path, bytes, MIB)).await, &path, "`max_unpacked`", &path);
            }
        }
        // A name that promises more than its file keeps: some writers name the codec of their blocks so.
        let told = read(name, json!({}), limited(&format!("/in/f.{name}.snappy"), plain, 100 * MIB)).await;
        assert_eq!((told.0, told.1.map(|e| e.to_string())), (all, None), "{name}");
    }
    assert_eq!(read("parquet", json!({}), limited("/in/f.parquet.gz", packed(b"", Compression::Gzip), MIB)).await.0, 0);
}

#[tokio::test]
async fn a_page_that_is_too_large_is_refused_before_it_is_unpacked() {
    let rows = zeros(1, 3 * MIB as usize);
    for codec in ["none", "gzip", "zstd", "snappy", "lz4"] {
        let bytes = written(json!({ "parquet": { "compression": codec, "dictionary": false } }), &rows);
        let told = read("parquet", json!({ "max_page": "1MiB" }), memory_file("/in/f", bytes.clone())).await;
        refused(told, "/in/f", "`max_page`", codec);
        assert_eq!(read("parquet", json!({ "max_page": "4MiB" }), memory_file("/in/f", bytes)).await.0, 1, "{codec}");
    }
}

/// The file with the claim of its first page's unpacked size made another one, of as many bytes.
fn claiming(mut file: Vec<u8>, claim: u32) -> Vec<u8> {
    let varint = |mut v: u32| {
        let mut out = Vec::new();
        while v >= 0x80 {
            out.push(v as u8 | 0x80);
            v >>= 7;
        }
        out.push(v as u8);
        out
    };
    // Behind `PAR1`, the field's mark, a data page's number, and another mark.
    let at = 4 + 3;
    assert_eq!((file[4], file[5], file[6]), (0x15, 0, 0x15), "a header of a data page");
    let length = file[at..].iter().position(|b| *b < 0x80).unwrap() + 1;
    let claim = varint(claim << 1);
    assert_eq!(claim.len(), length);
    file[at..at + length].copy_from_slice(&claim);
    file
}

#[tokio::test]
async fn a_page_that_unpacks_to_more_than_it_claims_is_damage() {
    let rows = zeros(1, 40 * MIB as usize);
    for codec in ["gzip", "zstd", "snappy", "lz4"] {
        let bytes = claiming(written(json!({ "parquet": { "compression": codec, "dictionary": false } }), &rows), 3 * MIB as u32);
        let (rows, e) = read("parquet", json!({ "max_page": "4MiB" }), memory_file("/in/f", bytes)).await;
        let e = e.unwrap();
        assert_eq!((rows, e.kind()), (0, ErrorKind::CorruptInput), "{codec}: {e}");
        assert!(codec != "gzip" || e.message().contains("unpacks to more than the 3145728 bytes that it claims"), "{e}");
    }
}

#[cfg(feature = "orc")]
mod orc {
    use std::io::Write;

    use orc_rust::proto::{ColumnEncoding, Footer, PostScript, Stream, StripeFooter, StripeInformation, Type};
    use prost::Message;

    use super::*;

    /// A piece of a stream, packed or as it is.
    pub fn piece(packed: bool, bytes: &[u8]) -> Vec<u8> {
        let header = ((bytes.len() as u32) << 1 | u32::from(!packed)).to_le_bytes();
        [&header[..3], bytes].concat()
    }

    fn of(message: &impl Message) -> Vec<u8> {
        piece(false, &message.encode_to_vec())
    }

    /// One stripe of one row of one text of two letters, whose data are these pieces, `times` over.
    pub fn file(data: &[Vec<u8>], times: usize) -> Vec<u8> {
        let data = data.concat().repeat(times);
        // One run of a length: as it is, one of them, two.
        let lengths = piece(false, &[0xff, 2]);
        let stream = |kind, bytes: &[u8]| Stream { kind: Some(kind), column: Some(1), length: Some(bytes.len() as u64) };
        let stripe_footer = StripeFooter {
            streams: vec![stream(1, &data), stream(2, &lengths)],
            columns: vec![ColumnEncoding { kind: Some(0), ..Default::default() }; 2],
            writer_timezone: Some("UTC".into()),
            ..Default::default()
        };
        let stripe_footer = of(&stripe_footer);
        let data_length = (data.len() + lengths.len()) as u64;
        let stripe = StripeInformation {
            offset: Some(3),
            index_length: Some(0),
            data_length: Some(data_length),
            footer_length: Some(stripe_footer.len() as u64),
            number_of_rows: Some(1),
            ..Default::default()
        };
        let root = Type { kind: Some(12), subtypes: vec![1], field_names: vec!["text".into()], ..Default::default() };
        let text = Type { kind: Some(7), ..Default::default() };
        let content_length = 3 + data_length + stripe_footer.len() as u64;
        let footer = Footer {
            header_length: Some(3),
            content_length: Some(content_length),
            stripes: vec![stripe],
            types: vec![root, text],
            number_of_rows: Some(1),
            ..Default::default()
        };
        let footer = of(&footer);
        let script = PostScript {
            footer_length: Some(footer.len() as u64),
            compression: Some(1),
            compression_block_size: Some(1 << 23),
            version: vec![0, 12],
            metadata_length: Some(0),
            magic: Some("ORC".into()),
            ..Default::default()
        };
        let script = script.encode_to_vec();
        [b"ORC".to_vec(), data, lengths, stripe_footer, footer, script.clone(), vec![script.len() as u8]].concat()
    }

    #[tokio::test]
    async fn what_a_stripe_unpacks_to_is_counted_as_it_comes() {
        assert_eq!(read("orc", json!({}), memory_file("/in/f", file(&[piece(false, b"ab")], 1))).await.0, 1);
        let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        deflate.write_all(&vec![0; (1 << 23) - 1]).unwrap();
        let bomb = file(&[piece(true, &deflate.finish().unwrap())], 1000);
        assert!(bomb.len() < 10 << 20);
        refused(read("orc", json!({}), limited("/in/f", bomb.clone(), 20 * MIB)).await, "/in/f", "`max_unpacked`", "by the source's limit");
        refused(read("orc", json!({}), memory_file("/in/f", bomb)).await, "/in/f", "unpacks to more than", "by the default limits");
    }
}
