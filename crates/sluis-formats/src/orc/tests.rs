//! ORC files, whole, damaged and lying.

use arrow_array::RecordBatch;
use serde_json::json;
use sluis_core::columns::type_name;

use super::*;
use crate::memory::memory_file;

/// A file as the library writes it: every column that it can write.
pub(crate) fn written(rows: i64) -> (Vec<u8>, RecordBatch) {
    use arrow_array::{ArrayRef, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray};
    let some = |i: i64| i % 5 != 3;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter((0..rows).map(|i| some(i).then_some(i * 1_000_003 - 7))))),
        ("small", Arc::new(Int32Array::from_iter((0..rows).map(|i| Some(i as i32 % 100))))),
        ("ok", Arc::new(BooleanArray::from_iter((0..rows).map(|i| some(i).then_some(i % 2 == 0))))),
        ("ratio", Arc::new(Float64Array::from_iter((0..rows).map(|i| some(i).then_some(i as f64 / 7.0))))),
        ("text", Arc::new(StringArray::from_iter((0..rows).map(|i| some(i).then(|| format!("é {i}")))))),
        ("bytes", Arc::new(BinaryArray::from_iter((0..rows).map(|i| some(i).then(|| vec![0_u8, 255, i as u8]))))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
    let mut bytes = Vec::new();
    let mut writer = orc_rust::ArrowWriterBuilder::new(&mut bytes, batch.schema()).with_stripe_byte_size(20_000).try_build().unwrap();
    for at in (0..batch.num_rows()).step_by(500) {
        writer.write(&batch.slice(at, 500.min(batch.num_rows() - at))).unwrap();
    }
    writer.close().unwrap();
    (bytes, batch)
}

async fn read(bytes: Vec<u8>, threads: usize) -> (SchemaRef, Vec<Result<Decoded>>) {
    let file = memory_file("/in/f.orc", bytes);
    let schema = Orc.infer(std::slice::from_ref(&file), None).await.unwrap();
    let options = ReadOptions { schema: schema.clone(), batch_rows: 300, threads, keep_origins: true, misfits: Default::default() };
    (schema, Orc.read(file, &options).await.unwrap().collect().await)
}

#[tokio::test]
async fn stripes_are_read_in_order() {
    let (bytes, batch) = written(5000);
    for threads in [1, 3] {
        let (schema, items) = read(bytes.clone(), threads).await;
        let types: Vec<String> = schema.fields().iter().map(|f| format!("{} {}", f.name(), type_name(f.data_type()))).collect();
        assert_eq!(types, ["id bigint", "small int", "ok bool", "ratio double", "text string", "bytes binary"]);
        let items: Vec<Decoded> = items.into_iter().map(Result::unwrap).collect();
        let lines: Vec<u64> = items.iter().flat_map(|d| d.origins.as_ref().unwrap().lines.clone()).collect();
        assert_eq!(lines, (1..=5000).collect::<Vec<_>>());
        let read: Vec<RecordBatch> = items.into_iter().map(|d| d.batch).collect();
        let read = arrow_select::concat::concat_batches(&schema, &read).unwrap();
        batch.columns().iter().zip(read.columns()).for_each(|(a, b)| assert!(a.to_data() == b.to_data()));
    }
}

#[tokio::test]
async fn damage_is_said_and_never_a_panic() {
    let (good, _) = written(3000);
    for bytes in [b"ORC".to_vec(), good[..good.len() / 2].to_vec(), vec![0; 5000], vec![255; 300]] {
        let (schema, items) = read(bytes, 2).await;
        assert!(schema.fields().is_empty());
        let e = items.into_iter().last().unwrap().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::CorruptInput);
        assert!(e.to_string().contains("/in/f.orc"), "{e}");
    }
    let mut x = 1_u64;
    for _ in 0..200 {
        let mut bytes = good.clone();
        for _ in 0..3 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = if x & 1 == 0 { bytes.len() - 1 - (x >> 33) as usize % 600 } else { (x >> 33) as usize % bytes.len() };
            bytes[at] = (x >> 20) as u8;
        }
        let (_, items) = read(bytes, 2).await;
        for e in items.into_iter().filter_map(Result::err) {
            assert_eq!(e.kind(), ErrorKind::CorruptInput, "{e:?}");
        }
    }
}

#[test]
fn pieces_that_lie_are_refused() {
    use super::streams::{Packing, unpack};
    let piece = |original: bool, bytes: &[u8]| {
        let header = ((bytes.len() as u32) << 1 | u32::from(original)).to_le_bytes();
        [&header[..3], bytes].concat()
    };
    let zeros = vec![0; 20 << 20];
    let bomb = zstd::encode_all(zeros.as_slice(), 1).unwrap();
    let kind = |r: Result<Vec<u8>>| r.unwrap_err().kind();
    assert_eq!(
        unpack(&[piece(true, b"abc"), piece(false, &zstd::encode_all(&b"def"[..], 1).unwrap())].concat(), Packing::Zstd, 10).unwrap(),
        b"abcdef"
    );
    assert_eq!(kind(unpack(&piece(false, &bomb), Packing::Zstd, usize::MAX)), ErrorKind::CorruptInput);
    assert_eq!(kind(unpack(&piece(true, b"abc"), Packing::Zlib, 2)), ErrorKind::CorruptInput);
    assert_eq!(kind(unpack(&piece(false, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]), Packing::Snappy, 1 << 20)), ErrorKind::CorruptInput);
    assert_eq!(kind(unpack(&piece(false, &[0xf0, 1, 2]), Packing::Lz4(1 << 30), 1 << 20)), ErrorKind::CorruptInput);
    assert_eq!(kind(unpack(&[9, 9], Packing::Zlib, 100)), ErrorKind::CorruptInput);
    assert_eq!(kind(unpack(&[200, 0, 0, 1], Packing::Zlib, 100)), ErrorKind::CorruptInput);
}

#[test]
fn types_that_are_no_tree_are_refused() {
    use orc_rust::proto::{Footer, Type};
    let of = |subtypes: &[&[u32]]| {
        let types = subtypes.iter().map(|s| Type { subtypes: s.to_vec(), ..Type::default() }).collect();
        super::tail::check_types(&Footer { types, ..Footer::default() }).is_ok()
    };
    assert!(of(&[&[1, 2], &[], &[3], &[]]));
    for bad in [&[&[0][..]][..], &[&[1], &[0]], &[&[1], &[1]], &[&[1, 2], &[2], &[]], &[&[7]]] {
        assert!(!of(bad), "{bad:?}");
    }
    let deep: Vec<Vec<u32>> = (0..200).map(|i| vec![i + 1]).chain([vec![]]).collect();
    assert!(!of(&deep.iter().map(Vec::as_slice).collect::<Vec<_>>()));
}

#[test]
fn nothing_can_be_set() {
    assert!((ORC.reader.unwrap())(&json!({})).is_ok());
    assert_eq!((ORC.reader.unwrap())(&json!({ "x": 1 })).err().unwrap().kind(), ErrorKind::Config);
}
