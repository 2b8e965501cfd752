//! Containers of every kind, as they should be and as they should not.

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use serde_json::json;
use sluis_core::columns::type_name;
use sluis_core::registry::FileHead;
use sluis_core::{Decoded, ErrorKind, RejectReason};

use super::encode::put_long;
use super::*;
use crate::cell::Cells;
use crate::memory::memory_file_in_pieces;

const MARK: [u8; 16] = [7; 16];

/// A file as it is told, true or not.
fn file(schema: &str, codec: &str, blocks: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    put_long(2, &mut out);
    for (key, value) in [("avro.codec", codec), ("avro.schema", schema)] {
        out.extend(text(key));
        out.extend(text(value));
    }
    put_long(0, &mut out);
    out.extend(MARK);
    for (rows, bytes) in blocks {
        put_long(*rows, &mut out);
        put_long(bytes.len() as i64, &mut out);
        out.extend(bytes);
        out.extend(MARK);
    }
    out
}

fn long(v: i64) -> Vec<u8> {
    let mut out = Vec::new();
    put_long(v, &mut out);
    out
}

fn text(t: &str) -> Vec<u8> {
    [long(t.len() as i64), t.as_bytes().to_vec()].concat()
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"r","fields":[{fields}]}}"#)
}

#[derive(Debug, Default)]
struct Told {
    columns: String,
    rows: Vec<String>,
    rejects: Vec<sluis_core::Reject>,
    error: Option<Error>,
    most: usize,
}

async fn tell_with(config: serde_json::Value, bytes: Vec<u8>) -> Told {
    let reader = (AVRO.reader.unwrap())(&config).unwrap();
    let file = memory_file_in_pieces("/in/f.avro", bytes, 1000);
    let schema = reader.infer(std::slice::from_ref(&file), None).await.unwrap();
    let columns = schema.fields().iter().map(|f| format!("{} {}", f.name(), type_name(f.data_type()))).collect::<Vec<_>>().join(", ");
    let mut told = Told { columns, ..Told::default() };
    let mut items =
        reader.read(file, &ReadOptions { schema, batch_rows: 1000, threads: 2, keep_origins: true, misfits: Default::default() }).await.unwrap();
    while let Some(item) = items.next().await {
        match item {
            Ok(d) => {
                told.most = told.most.max(d.batch.get_array_memory_size());
                if told.rows.len() < 10_000 {
                    told.rows.extend(lines(&d));
                }
                told.rejects.extend(d.rejects);
            }
            Err(e) => told.error = Some(e),
        }
    }
    told
}

async fn tell(bytes: Vec<u8>) -> Told {
    tell_with(json!({}), bytes).await
}

fn lines(d: &Decoded) -> Vec<String> {
    let cells: Vec<Cells> = d.batch.columns().iter().map(|c| Cells::new(c).unwrap()).collect();
    let value = |c: &Cells, row: usize| {
        let mut out = Vec::new();
        if c.is_null(row) {
            out.push(b'~')
        } else {
            c.text(row, &mut out)
        }
        String::from_utf8_lossy(&out).into_owned()
    };
    (0..d.batch.num_rows()).map(|row| cells.iter().map(|c| value(c, row)).collect::<Vec<_>>().join("|")).collect()
}

#[tokio::test]
async fn every_type_is_read() {
    let schema = record(
        r#"{"name":"b","type":"boolean"},{"name":"i","type":"int"},{"name":"f","type":"float"},{"name":"d","type":"double"},
        {"name":"day","type":{"type":"int","logicalType":"date"}},
        {"name":"tm","type":{"type":"int","logicalType":"time-millis"}},{"name":"tu","type":{"type":"long","logicalType":"time-micros"}},
        {"name":"sm","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"su","type":{"type":"long","logicalType":"timestamp-micros"}},
        {"name":"sn","type":{"type":"long","logicalType":"timestamp-nanos"}},{"name":"lm","type":{"type":"long","logicalType":"local-timestamp-millis"}},
        {"name":"u","type":{"type":"fixed","name":"u","size":16,"logicalType":"uuid"}},
        {"name":"du","type":{"type":"fixed","name":"du","size":12,"logicalType":"duration"}},
        {"name":"m","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":2}},
        {"name":"mf","type":{"type":"fixed","name":"mf","size":5,"logicalType":"decimal","precision":9,"scale":3}},
        {"name":"e","type":{"type":"enum","name":"e","symbols":["A","B"]}},{"name":"x","type":"bytes"},
        {"name":"l","type":{"type":"array","items":["null","int"]}},{"name":"map","type":{"type":"map","values":"long"}},
        {"name":"n","type":["string","null"]},{"name":"ul","type":["null","int","long"]},{"name":"ut","type":["int","string",{"type":"array","items":"int"}]},
        {"name":"rec","type":["null",{"type":"record","name":"p","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","p"]}]}]},
        {"name":"z","type":"null"}"#,
    );
    let i128_max = 10_i128.pow(38) - 1;
    let row = [
        vec![1],
        long(-7),
        1.5_f32.to_le_bytes().to_vec(),
        (-0.25_f64).to_le_bytes().to_vec(),
        long(19_782),
        long(3_723_004),
        long(86_399_999_999),
        long(1_709_210_096_123),
        long(-1),
        long(1_709_210_096_123_456_789),
        long(0),
        (0..16).collect(),
        [1_u32.to_le_bytes(), 2_u32.to_le_bytes(), 3004_u32.to_le_bytes()].concat(),
        [long(16), i128_max.to_be_bytes().to_vec()].concat(),
        vec![0xff, 0xff, 0xff, 0xff, 0x85],
        long(1),
        [long(2), vec![0, 255]].concat(),
        // A block with its size, then one without.
        [long(-2), long(3), long(1), long(5), long(0), long(1), long(1), long(6), long(0)].concat(),
        [long(1), text("k"), long(9), long(0)].concat(),
        long(1),
        [long(2), long(1 << 40)].concat(),
        [long(2), long(2), long(1), long(2), long(0)].concat(),
        [long(1), long(1), long(1), long(2), long(0)].concat(),
        vec![],
    ]
    .concat();
    let second = [
        vec![0],
        long(7),
        vec![0; 12],
        long(-1),
        long(0),
        long(0),
        long(0),
        long(0),
        long(0),
        long(0),
        vec![0; 28],
        long(0),
        vec![0; 5],
        long(0),
        long(0),
        long(0),
        long(0),
        [long(0), text("té|xt")].concat(),
        long(0),
        [long(1), text("a \"b\"")].concat(),
        long(0),
    ]
    .concat();
    let told = tell(file(&schema, "null", &[(2, [row, second].concat())])).await;
    assert!(told.error.is_none() && told.rejects.is_empty(), "{told:?}");
    assert_eq!(
        told.rows[0],
        "true|-7|1.5|-0.25|2024-02-29|01:02:03.004|23:59:59.999999|2024-02-29 12:34:56.123Z|1969-12-31 23:59:59.999999Z|2024-02-29 12:34:56.123456Z\
         |1970-01-01 00:00:00|00010203-0405-0607-0809-0a0b0c0d0e0f|P1M2DT3.004S|999999999999999999999999999999999999.99|-0.123|B|\u{0}\u{fffd}\
         |[5,null,6]|{\"k\":9}|~|1099511627776|[1,2]|{\"v\":1,\"next\":\"{\\\"v\\\":2,\\\"next\\\":null}\"}|~"
    );
    assert!(told.rows[1].ends_with("|0.000|A||[]|{}|té|xt|~|a \"b\"|~|~"), "{}", told.rows[1]);
}

#[tokio::test]
async fn values_that_no_column_holds_reject_their_row() {
    let schema = record(
        r#"{"name":"id","type":"int"},{"name":"s","type":"string"},{"name":"m","type":{"type":"bytes","logicalType":"decimal","precision":3,"scale":1}},
        {"name":"t","type":{"type":"long","logicalType":"timestamp-millis"}}"#,
    );
    let row = |id: i64, s: &[u8], m: &[u8], t: i64| [long(id), long(s.len() as i64), s.to_vec(), long(m.len() as i64), m.to_vec(), long(t)].concat();
    let rows =
        [row(1, b"a", &[1], 0), row(2, b"\xff", &[1], 0), row(3, b"c", &[0x27, 0x10], 0), row(4, b"d", &[1], i64::MAX), row(5, b"e", &[0xff], 1)];
    let told = tell(file(&schema, "null", &[(5, rows.concat())])).await;
    assert_eq!(told.rows, ["1|a|0.1|1970-01-01 00:00:00Z", "5|e|-0.1|1970-01-01 00:00:00.001Z"], "{told:?}");
    let said: Vec<_> = told.rejects.iter().map(|r| (r.line, r.reason, r.column.as_deref().unwrap())).collect();
    assert_eq!(said, [(2, RejectReason::BadEncoding, "s"), (3, RejectReason::BadValue, "m"), (4, RejectReason::BadValue, "t")]);
    assert_eq!(std::str::from_utf8(&told.rejects[1].raw).unwrap(), r#"{"id":3,"s":"c","m":1000.0,"t":"1970-01-01T00:00:00Z"}"#);
}

#[tokio::test]
async fn claims_that_are_not_true_are_damage() {
    let one = record(r#"{"name":"a","type":["null","string"]}"#);
    let row = [long(1), text("abc")].concat();
    let whole = file(&one, "null", &[(1, row.clone()), (1, row.clone())]);
    assert_eq!(tell(whole.clone()).await.rows, ["abc", "abc"]);
    let nulls = record(r#"{"name":"a","type":"null"}"#);
    let list = record(r#"{"name":"a","type":{"type":"array","items":"null"}}"#);
    let bomb = zstd::encode_all(&vec![0; 300 << 20][..], 1).unwrap();
    let snappy = [vec![0xff, 0xff, 0xff, 0xff, 0x0f], vec![0; 20]].concat();
    let mut wrong_mark = whole.clone();
    *wrong_mark.last_mut().unwrap() = 8;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("rows that are not there", file(&one, "null", &[(2, row.clone())])),
        ("bytes behind the rows", file(&one, "null", &[(1, [row.clone(), vec![0]].concat())])),
        ("a count below zero", file(&one, "null", &[(-1, row.clone())])),
        ("rows without end", file(&nulls, "null", &[(i64::MAX, vec![])])),
        ("items without end", file(&list, "null", &[(1, [long(i64::MAX), long(0)].concat())])),
        ("a list of less than nothing", file(&list, "null", &[(1, [long(i64::MIN), long(0)].concat())])),
        ("a text longer than all", file(&one, "null", &[(1, [long(1), long(1 << 40)].concat())])),
        ("no such branch", file(&one, "null", &[(1, long(5))])),
        ("a bomb", file(&one, "zstandard", &[(1, bomb)])),
        ("a size of four gigabytes", file(&one, "snappy", &[(1, snappy)])),
        ("no checksum", file(&one, "snappy", &[(1, vec![0, 0])])),
        ("no deflate", file(&one, "deflate", &[(1, vec![0xff; 10])])),
        ("another codec", file(&one, "lzma", &[(1, row.clone())])),
        ("no schema", file("", "null", &[(1, row.clone())])),
        ("another mark", wrong_mark),
        ("no Avro", b"PAR1".to_vec()),
        ("half a magic", b"Ob".to_vec()),
        ("a cut", whole[..whole.len() - 3].to_vec()),
        ("a cut in the sizes", [whole.clone(), vec![0x80]].concat()),
        ("a block of an exabyte", [file(&one, "null", &[]), long(1), long(1 << 60)].concat()),
    ];
    for (what, bytes) in cases {
        let told = tell(bytes).await;
        let e = told.error.unwrap_or_else(|| panic!("{what}: {:?}", told.rows));
        assert_eq!(e.kind(), ErrorKind::CorruptInput, "{what}: {e}");
        assert!(e.to_string().contains("/in/f.avro"), "{what}: {e}");
    }
}

#[tokio::test]
async fn a_few_bytes_never_become_a_large_batch() {
    let many: Vec<String> = (0..1000).map(|i| format!(r#"{{"name":"f{i}","type":"double"}}"#)).collect();
    let schema = record(&format!(r#"{{"name":"a","type":["null",{{"type":"record","name":"wide","fields":[{}]}}]}}"#, many.join(",")));
    // Each byte is a null of a thousand columns.
    let told = tell(file(&schema, "null", &[(100_000, vec![0; 100_000])])).await;
    assert!(told.error.is_none() && told.rows.len() >= 10_000, "{:?}", told.error);
    assert!(told.most < 64 << 20, "{}", told.most);
}

#[tokio::test]
async fn values_within_themselves_end_at_a_depth() {
    let schema = record(r#"{"name":"next","type":["null","r"]}"#);
    let deep = |n: usize| [vec![2; n], vec![0]].concat();
    assert_eq!(tell(file(&schema, "null", &[(1, deep(3))])).await.rows, [r#"{"next":{"next":{"next":null}}}"#]);
    assert_eq!(tell(file(&schema, "null", &[(1, deep(100_000))])).await.error.unwrap().kind(), ErrorKind::CorruptInput);
}

#[tokio::test]
async fn blocks_are_written_as_configured() {
    let ids: arrow_array::ArrayRef = Arc::new(arrow_array::Int64Array::from_iter((0..50_000).map(|i| (i % 5 > 0).then_some(i))));
    let schema = Arc::new(Schema::new(vec![Field::new("id", ids.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(schema.clone(), vec![ids]).unwrap();
    let mut sizes = Vec::new();
    for codec in ["null", "deflate", "snappy", "zstd"] {
        let factory = crate::writer_from_value(&json!({ "avro": { "codec": codec, "block_size": "4KiB", "namespace": "a.b" } })).unwrap();
        let mut encoder = factory.encoder(&schema).unwrap();
        let mut out = Vec::new();
        encoder.write(&batch, &mut out).unwrap();
        assert!(encoder.buffered_bytes() < 5000);
        encoder.finish(&mut out).unwrap();
        sizes.push(out.len());
        let told = tell(out).await;
        assert_eq!((told.columns.as_str(), told.rows[6].as_str(), told.rows[5].as_str()), ("id bigint", "6", "~"), "{codec}");
    }
    assert!(sizes[1..].iter().all(|s| *s < sizes[0]), "{sizes:?}");
}

#[test]
fn names_that_avro_forbids_are_said() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a b", arrow_schema::DataType::Int32, true)]));
    let e = crate::writer_from_value(&json!("avro")).unwrap().encoder(&schema).err().unwrap();
    assert!(e.message().contains("`a b`") && e.kind() == ErrorKind::Config, "{e}");
    for wrong in [json!({ "record": "1a" }), json!({ "namespace": "a..b" }), json!({ "block_size": "1" })] {
        assert!(crate::writer_from_value(&json!({ "avro": wrong })).is_err());
    }
}

#[test]
fn files_are_known_by_their_first_bytes() {
    let head = |bytes: &'static [u8]| FileHead { path: "/a".into(), bytes: bytes::Bytes::from_static(bytes), whole: false };
    let sniff = AVRO.sniff.unwrap();
    assert!(sniff(&[head(b"Obj\x01abc"), head(b"")]).is_some_and(|s| s.confidence == 1.0));
    assert!(sniff(&[head(b"Obj\x01abc"), head(b"a,b")]).is_none());
    assert!(sniff(&[head(b"")]).is_none() && sniff(&[]).is_none());
}

#[tokio::test]
async fn codecs_that_are_only_read_are_read() {
    use std::io::Write;
    let bzip2 = |plain: &[u8]| {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
        encoder.write_all(plain).and_then(|()| encoder.finish()).unwrap()
    };
    let xz = |plain: &[u8]| {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
        encoder.write_all(plain).and_then(|()| encoder.finish()).unwrap()
    };
    let schema = record(r#"{"name":"a","type":"string"}"#);
    let rows = [text("abc"), text("é")].concat();
    let long = text(&"0".repeat(1 << 20));
    for (codec, packed) in [("bzip2", &bzip2 as &dyn Fn(&[u8]) -> Vec<u8>), ("xz", &xz as &dyn Fn(&[u8]) -> Vec<u8>)] {
        let told = tell(file(&schema, codec, &[(2, packed(&rows)), (1, packed(&text("c")))])).await;
        assert_eq!((told.rows, told.error.map(|e| e.to_string())), (vec!["abc".to_owned(), "é".into(), "c".into()], None), "{codec}");
        let cut = packed(&rows);
        for bytes in [cut[..cut.len() / 2].to_vec(), rows.clone(), Vec::new()] {
            let e = tell(file(&schema, codec, &[(2, bytes)])).await.error.unwrap();
            assert_eq!(e.kind(), ErrorKind::CorruptInput, "{codec}: {e}");
        }
        let e = tell_with(json!({ "max_block": "64KiB" }), file(&schema, codec, &[(1, packed(&long))])).await.error.unwrap();
        assert!(e.message().contains("`max_block`"), "{codec}: {e}");
        assert!((AVRO.writer.unwrap())(&json!({ "codec": codec })).is_err(), "few readers have {codec}");
    }
}
