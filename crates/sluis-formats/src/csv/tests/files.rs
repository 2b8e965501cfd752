//! Whole files against what the CSV section of the expectations asks for, point by point.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::StreamExt;
use serde_json::{Value, json};
use sluis_core::columns::type_name;
use sluis_core::{ErrorKind, FileFormat, RawFile, ReadOptions, Reject, Surplus};

use crate::cell::Cells;
use crate::csv::CSV;
use crate::csv::dialect::Dialect;
use crate::csv::frame::Framer;
use crate::memory::{memory_file, memory_file_in_pieces};

fn csv(config: Value) -> Arc<dyn FileFormat> {
    (CSV.reader.unwrap())(&config).unwrap()
}

struct Read {
    schema: SchemaRef,
    /// Rows as text, fields joined by `|`, nulls as `∅`.
    rows: Vec<String>,
    rejects: Vec<Reject>,
    /// Its rows are those of the file.
    surplus: Vec<Surplus>,
    batches: Vec<RecordBatch>,
    error: Option<sluis_core::Error>,
}

async fn read_file(format: &dyn FileFormat, file: Arc<dyn RawFile>, schema: Option<SchemaRef>) -> Read {
    let schema = match schema {
        Some(s) => s,
        None => format.infer(std::slice::from_ref(&file), None).await.unwrap(),
    };
    let options = ReadOptions { schema: schema.clone(), batch_rows: 8192, threads: 2, keep_origins: false, misfits: Default::default() };
    let mut stream = format.read(file, &options).await.unwrap();
    let mut out = Read { schema, rows: Vec::new(), rejects: Vec::new(), surplus: Vec::new(), batches: Vec::new(), error: None };
    while let Some(item) = stream.next().await {
        match item {
            Ok(d) => {
                let before = out.rows.len();
                let cells: Vec<Cells> = d.batch.columns().iter().map(|c| Cells::new(c).unwrap()).collect();
                for r in 0..d.batch.num_rows() {
                    let fields = cells.iter().map(|c| {
                        let mut text = Vec::new();
                        if c.is_null(r) {
                            text.extend("∅".as_bytes())
                        } else {
                            c.text(r, &mut text)
                        }
                        String::from_utf8(text).unwrap()
                    });
                    out.rows.push(fields.collect::<Vec<_>>().join("|"));
                }
                out.rejects.extend(d.rejects);
                out.surplus.extend(d.surplus.into_iter().map(|s| Surplus { row: before + s.row, ..s }));
                out.batches.push(d.batch);
            }
            Err(e) => out.error = Some(e),
        }
    }
    out
}

async fn read(config: Value, text: impl AsRef<[u8]>) -> Read {
    read_file(&*csv(config), memory_file("/data/f.csv", text.as_ref().to_vec()), None).await
}

fn types(schema: &SchemaRef) -> String {
    schema.fields().iter().map(|f| format!("{} {}", f.name(), type_name(f.data_type()))).collect::<Vec<_>>().join(", ")
}

fn reasons(read: &Read) -> Vec<(u64, &'static str, Option<&str>)> {
    read.rejects.iter().map(|r| (r.line, r.reason.code(), r.column.as_deref())).collect()
}

#[tokio::test]
async fn every_type_is_read_exactly() {
    let config = json!({ "columns": {
        "b": "bool", "i8": "tinyint", "i16": "smallint", "i32": "int", "i64": "bigint", "f": "float", "d": "double", "m": "decimal(38,10)",
        "s": "string", "x": "binary", "day": "date", "at": "timestamp", "atz": "timestamptz", "p": "timestamp(%Y%m%d%H%M%S)", "q": "date(%d/%m/%Y)" } });
    let text = "b,i8,i16,i32,i64,f,d,m,s,x,day,at,atz,p,q\n\
        true,-128,32767,-2147483648,9223372036854775807,1.5,0.1,1234567890123456789012345678.0123456789,007,ab,2024-02-29,2024-02-29 01:02:03.5,2024-02-29T01:02:03+01:00,20240229010203,29/02/2024\n\
        ,,,,,,,,,,,,,,\n\
        \"f\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1970-01-01\",\"1970-01-01\",\"1970-01-01\",\"19700101000000\",\"01/01/1970\"\n";
    let r = read(config, text).await;
    assert_eq!(r.rejects, []);
    assert_eq!(
        r.rows,
        [
            "true|-128|32767|-2147483648|9223372036854775807|1.5|0.1|1234567890123456789012345678.0123456789|007|ab|2024-02-29|2024-02-29 01:02:03.5|2024-02-29 00:02:03Z|2024-02-29 01:02:03|2024-02-29",
            "∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅",
            "false|1|1|1|1|1.0|1.0|1.0000000000|1|1|1970-01-01|1970-01-01 00:00:00|1970-01-01 00:00:00Z|1970-01-01 00:00:00|1970-01-01",
        ]
    );
}

#[tokio::test]
async fn bad_values_reject_their_row_with_line_column_reason_and_bytes() {
    let r = read(
        json!({ "columns": { "id": "int", "n": "string", "d": "date" } }),
        "id,n,d\n1,\"a\nb\",2024-01-01\nx,b,2024-01-01\n2,c,2024-13-01\n99999999999,d,zzz\n3,e,\n4\n5,a,,\n6,\"a\"b,\n",
    )
    .await;
    assert_eq!(r.rows, ["1|a\nb|2024-01-01", "3|e|∅"]);
    assert_eq!(
        reasons(&r),
        [
            (4, "bad_value", Some("id")),
            (5, "bad_value", Some("d")),
            (6, "bad_value", Some("id")),
            (8, "too_few_fields", Some("n")),
            (9, "too_many_fields", None),
            (10, "bad_quote", None),
        ]
    );
    assert_eq!(r.rejects[0].raw.as_ref(), b"x,b,2024-01-01");
    assert_eq!(r.rejects[0].message, "`x` is no int");
    assert_eq!(r.rejects[1].message, "`2024-13-01` is no date");
    assert!(r.rejects[2].message.contains("out of range"));
    assert!(r.rejects[5].message.contains("line 10"));
}

#[tokio::test]
async fn preamble_header_rows_footer_comments_and_mixed_line_ends() {
    let config = json!({ "skip": 2, "header": 2, "footer": 1, "comment": "#", "delimiter": "|", "columns": "string" });
    let text = "\u{feff}made by \"us\nat noon\n#c\nA|A\na|b\r\n1|2\n#\"x|\n\n3|4\r\nT|2|x\n\n";
    for piece in [1, 3, 1000] {
        let r = read_file(&*csv(config.clone()), memory_file_in_pieces("/f.csv", text.as_bytes().to_vec(), piece), None).await;
        assert_eq!((types(&r.schema).as_str(), r.rows, r.rejects), ("a string, b string", vec!["1|2".to_owned(), "3|4".to_owned()], vec![]));
    }
    let r = read(json!({ "header": 0, "columns": { "id": "int", "t": "string" } }), "1,a\r2,b\r3,\"c\rd\"\r").await;
    assert_eq!(r.rows, ["1|a", "2|b", "3|c\rd"]);
    let r = read(json!({ "newline": "any" }), "id,t\n1,a\r2,b\r\n3,c").await;
    assert_eq!(r.rows, ["1|a", "2|b", "3|c"]);
}

#[tokio::test]
async fn a_header_that_is_a_record_about_the_file_names_nothing() {
    let config = json!({ "delimiter": "|", "header": 1, "footer": 1, "columns": { "id": "bigint", "who": "string", "cost": "decimal(6,2)" } });
    for header in ["HDR|20240101|2", "HDR", ""] {
        for first in ["7|x|1.5\n", "7|x\n7|x|1.5\n"] {
            let text = if header.is_empty() { format!("\nid|who|cost\n{first}TRL|1\n") } else { format!("{header}\n{first}TRL|1\n") };
            let r = read(config.clone(), &text).await;
            assert_eq!(types(&r.schema), "id bigint, who string, cost decimal(6,2)", "{header} {first}");
            assert_eq!((r.rows.len(), r.rejects.len()), (1, usize::from(first.len() > 8)), "{header} {first}");
        }
    }
    let r = read(config.clone(), "H|1|2|3|4\n7|x|1.5\nTRL|1\n").await;
    assert_eq!((types(&r.schema).as_str(), r.rows.len()), ("id bigint, who string, cost decimal(6,2)", 1));
    // Titles of all the columns are names that nobody uses.
    let r = read(json!({ "columns": { "a": "int", "b": "string" } }), "The first,The second\n1,x\n").await;
    assert_eq!(types(&r.schema), "a int, b string");
    // A file that lacks the only declared column has names nevertheless.
    let r = read(json!({ "columns": { "cost": "decimal(6,2)" } }), "id,name\n1,x\n").await;
    assert_eq!(types(&r.schema), "cost decimal(6,2), id bigint, name string");
    let r = read(json!({ "columns": { "call_id": "bigint", "b": "string" } }), "Call_ID, B ,c\n1,x,y\n").await;
    assert_eq!(types(&r.schema), "call_id bigint, b string, c string");
    let r = read(json!({ "columns": { "a": "int" } }), "a,A\n1,x\n").await;
    assert_eq!(types(&r.schema), "a int, A string", "both are there");
}

#[tokio::test]
async fn names_are_matched_whatever_the_header_is_like() {
    let r = read(json!({ "columns": { "a": "string" } }), "a,b,a,,b\n1,2,3,4,5\n").await;
    assert_eq!(types(&r.schema), "a string, b bigint, a_2 bigint, c4 bigint, b_2 bigint");
    assert_eq!(r.rows, ["1|2|3|4|5"]);
    let r = read(json!({ "header": false, "names": ["x", "y"], "columns": { "y": "int" } }), "1,2\n").await;
    assert_eq!((types(&r.schema).as_str(), r.rows[0].as_str()), ("y int, x bigint", "1|2"));
    let r = read(json!({ "header": 0 }), "1,b\n").await;
    assert_eq!(types(&r.schema), "c1 bigint, c2 string");
    let r = read(json!({ "names": ["x"] }), "\"a \"\"q\"\"\",b\n1,2\n").await;
    assert_eq!(types(&r.schema), "x bigint, b bigint");
    let r = read(json!({}), "\"a \"\"q\"\"\",b\n1,2\n").await;
    assert_eq!(types(&r.schema), "a \"q\" bigint, b bigint");
    let r = read(json!({ "columns": { "gone": "int" } }), "a\n1\n").await;
    assert_eq!((types(&r.schema).as_str(), r.rows[0].as_str()), ("gone int, a bigint", "1"), "a declared column that the file lacks is not made up");
}

#[tokio::test]
async fn null_markers_blanks_and_decimal_comma() {
    let r =
        read(json!({ "nulls": ["", "NA", "-"], "columns": { "a": "string", "b": "int" } }), "a,b\n,\nNA,NA\n\"NA\",\"NA\"\n\"\",-\n x , 7 \n").await;
    assert_eq!(r.rows, ["∅|∅", "∅|∅", "NA|∅", "|∅", " x |7"]);
    let r = read(json!({ "nulls": ["NA"], "columns": { "a": "string", "b": "int" } }), "a,b\n,\n").await;
    assert_eq!(r.rows, ["|∅"], "an empty text stays one where empty is no marker");
    let r = read(json!({ "trim": true }), "a , b\n x , \"y \" \n").await;
    assert_eq!((types(&r.schema).as_str(), r.rows[0].as_str()), ("a string, b string", "x|y "));
    let r = read(json!({ "delimiter": ";", "decimal": ",", "columns": { "m": "decimal(10,2)", "d": "double" } }), "m;d;e\n1,5;-2,25;3,5\n").await;
    assert_eq!((types(&r.schema).as_str(), r.rows[0].as_str()), ("m decimal(10,2), d double, e double", "1.50|-2.25|3.5"));
}

#[tokio::test]
async fn ragged_rows_by_policy() {
    let r = read(json!({ "ragged": "pad", "columns": "string", "nulls": [] }), "a,b,c\n1\n1,2,3,\n1,2,3,4\n1,2,3,,,\n").await;
    assert_eq!(r.rows, ["1|∅|∅", "1|2|3", "1|2|3"]);
    assert_eq!(reasons(&r), [(4, "too_many_fields", None)]);
}

#[tokio::test]
async fn what_a_row_keeps_beyond_its_columns_is_bounded() {
    let beyond = |fields: usize, text: &str| format!("a\n1{}\n2\n3,{text}\n", ",x".repeat(fields));
    for (text, rows, kept) in [
        (beyond(10_000, "y"), vec!["1", "2", "3"], vec![(0, 10_000), (2, 1)]),
        (beyond(10_001, "y"), vec!["2", "3"], vec![(1, 1)]),
        (beyond(1, &"y".repeat(1 << 20)), vec!["1", "2", "3"], vec![(0, 1), (2, 1)]),
        (beyond(1, &"y".repeat((1 << 20) + 1)), vec!["1", "2"], vec![(0, 1)]),
    ] {
        let r = read(json!({ "ragged": "rescue" }), &text).await;
        assert_eq!((r.rows.iter().map(String::as_str).collect::<Vec<_>>(), r.rejects.len()), (rows.clone(), 3 - rows.len()));
        assert_eq!(r.surplus.iter().map(|s| (s.row, s.fields)).collect::<Vec<_>>(), kept);
        assert!(r.rejects.iter().all(|r| r.message.ends_with("and more than a row may keep")));
    }
}

#[tokio::test]
async fn one_stray_quote_costs_one_line() {
    let mut text = String::from("id,t\n1,\"never closed\n");
    for i in 2..50_000 {
        text.push_str(&format!("{i},x\n"));
    }
    let r = read(json!({}), &text).await;
    assert_eq!((r.rows.len(), reasons(&r)), (49_998, vec![(2, "bad_quote", None)]));
    let text = "id,t\n1,\"never closed\n2,b\n3,\"c\"\n4,d\n";
    let r = read(json!({}), text).await;
    assert_eq!(r.rows, ["2|b", "3|c", "4|d"]);
}

#[tokio::test]
async fn a_line_without_end_is_bounded() {
    let limit = 64 * 1024;
    for quote in ["", "\""] {
        let text = format!("id,t\n1,a\n2,{quote}{}\n3,c\n", "x".repeat(3 << 20));
        let r = read(json!({ "max_row": limit }), &text).await;
        assert_eq!(r.rows, ["1|a", "3|c"], "{quote}");
        assert_eq!(reasons(&r), [(3, "too_long", None)]);
        assert_eq!(r.rejects[0].raw.len(), sluis_core::reject::RAW_LIMIT);
    }
    // Without end at all, and never more than the limit in memory.
    let mut framer = Framer::new(Dialect { max_row: limit, ..Dialect::default() }, None, 1 << 20, 0, 0, 0);
    for _ in 0..2000 {
        framer.push(&[b'x'; 4096]);
        while let Some(b) = framer.next_block() {
            assert!(b.bytes.is_empty());
        }
    }
    framer.end();
    let mut rejects = 0;
    while let Some(b) = framer.next_block() {
        rejects += b.rejects.len();
    }
    assert_eq!(rejects, 1);
}

#[tokio::test]
async fn bytes_that_are_no_text_reject_their_row_only() {
    let r = read(json!({ "columns": "string" }), b"a,b\n1,ok\n2,\xff\xfe\n3,nul\0nul\n").await;
    assert_eq!(r.rows, ["1|ok", "3|nul\0nul"]);
    assert_eq!(reasons(&r), [(3, "bad_encoding", Some("b"))]);
    assert!(r.rejects[0].message.contains("\\xff\\xfe"));
    let r = read(json!({ "encoding": "latin1" }), b"a\nd\xe9j\xe0\n").await;
    assert_eq!(r.rows, ["déjà"]);
}

#[tokio::test]
async fn compressed_files_and_damage() {
    let plain = b"a,b\n1,x\n2,y\n".as_slice();
    let gzip = |bytes: &[u8]| {
        let mut c = crate::compress::Compressor::new(crate::compress::Compression::Gzip).unwrap();
        let mut out = Vec::new();
        c.write(bytes, &mut out).unwrap();
        c.finish(&mut out).unwrap();
        out
    };
    let two = [gzip(&plain[..6]), gzip(&plain[6..])].concat();
    assert_eq!(read(json!({}), &two).await.rows, ["1|x", "2|y"]);
    let mut text = b"a,b\n".to_vec();
    (0..200_000).for_each(|i| text.extend(format!("{i},x{}\n", i * 7).into_bytes()));
    let whole = gzip(&text);
    let r = read_file(&*csv(json!({})), memory_file("/data/cut.csv.gz", whole[..whole.len() / 2].to_vec()), None).await;
    let e = r.error.unwrap();
    assert_eq!(e.kind(), ErrorKind::CorruptInput);
    assert!(e.to_string().contains("/data/cut.csv.gz") && e.message().contains(&(whole.len() / 2).to_string()), "{e}");
    let r = read_file(&*csv(json!({})), memory_file("/data/no.csv.gz", b"plain text".to_vec()), None).await;
    assert_eq!(r.error.unwrap().kind(), ErrorKind::CorruptInput);
}

#[tokio::test]
async fn files_without_rows_change_no_types() {
    let format = csv(json!({ "columns": { "d": "int" } }));
    let empty = memory_file("/e.csv", "");
    let only_header = memory_file("/h.csv", "a,z\n");
    let some = memory_file("/s.csv", "a,b\n1,\n");
    let more = memory_file("/m.csv", "b,a\n2024-01-01,2.5\n");
    let schema = format.infer(&[empty.clone(), only_header.clone(), some.clone()], None).await.unwrap();
    assert_eq!(types(&schema), "d int, a bigint, b string");
    let schema = format.infer(&[some, more.clone(), only_header.clone()], None).await.unwrap();
    assert_eq!(types(&schema), "d int, a double, b date", "a column without values takes the type of another file's");
    let known = Arc::new(arrow_schema::Schema::new(vec![arrow_schema::Field::new("a", arrow_schema::DataType::Utf8, true)]));
    assert_eq!(types(&format.infer(&[more], Some(&known)).await.unwrap()), "d int, a string, b date", "a known type that holds the values stays");
    assert_eq!(types(&format.infer(&[empty.clone(), only_header.clone()], Some(&known)).await.unwrap()), "d int, a string");
    for file in [empty, only_header] {
        let r = read_file(&*format, file, Some(known.clone())).await;
        assert!(r.rows.is_empty() && r.rejects.is_empty() && r.error.is_none());
    }
}

#[tokio::test]
async fn a_known_type_gives_way_to_what_it_cannot_hold() {
    let known: SchemaRef = Arc::new(arrow_schema::Schema::new(vec![
        arrow_schema::Field::new("a", arrow_schema::DataType::Int32, true),
        arrow_schema::Field::new("b", arrow_schema::DataType::Int32, true),
    ]));
    let file = memory_file("/f.csv", "a,b\n1,5000000000\n");
    assert_eq!(types(&csv(json!({})).infer(&[file], Some(&known)).await.unwrap()), "a int, b bigint");
}

#[tokio::test]
async fn ten_thousand_columns() {
    let header: Vec<String> = (0..10_000).map(|i| format!("col{i}")).collect();
    let row: Vec<String> = (0..10_000).map(|i| i.to_string()).collect();
    let text = format!("{}\n{}\n{}\n", header.join(","), row.join(","), row.join(","));
    let r = read(json!({}), text).await;
    assert_eq!((r.rows.len(), r.batches[0].num_columns(), r.rejects.len()), (2, 10_000, 0));
}

#[tokio::test]
async fn columns_beyond_the_schema_are_text() {
    let schema: SchemaRef = Arc::new(arrow_schema::Schema::new(vec![arrow_schema::Field::new("a", arrow_schema::DataType::Int32, true)]));
    let r = read_file(&*csv(json!({})), memory_file("/f.csv", "b,a\n1,2\n"), Some(schema)).await;
    assert_eq!(types(&r.batches[0].schema()), "b string, a int");
}

#[tokio::test]
async fn threads_and_pieces_change_nothing() {
    let mut text = String::from("id,name,amount\n");
    for i in 0..200_000 {
        let amount = if i % 1000 == 7 { "bad".to_owned() } else { format!("{}.{:02}", i % 977, i % 100) };
        text.push_str(&format!("{i},\"n\n{i}\",{amount}\n"));
    }
    let format = csv(json!({ "columns": { "id": "bigint", "name": "string", "amount": "decimal(10,2)" } }));
    let schema = format.infer(&[], None).await.unwrap();
    let mut seen: Option<(Vec<String>, Vec<Reject>)> = None;
    for (threads, piece) in [(1, 1 << 20), (3, 70_001), (8, 1 << 22)] {
        let file = memory_file_in_pieces("/f.csv", text.clone(), piece);
        let options = ReadOptions { schema: schema.clone(), batch_rows: 8192, threads, keep_origins: true, misfits: Default::default() };
        let mut stream = format.read(file, &options).await.unwrap();
        let (mut rows, mut rejects) = (Vec::new(), Vec::new());
        while let Some(d) = stream.next().await {
            let d = d.unwrap();
            let origins = d.origins.unwrap();
            assert_eq!(origins.lines.len(), d.batch.num_rows());
            let (block, ranges) = origins.raw.unwrap();
            rows.extend(
                origins.lines.iter().zip(ranges).map(|(l, (s, e))| format!("{l}:{}", std::str::from_utf8(&block[s as usize..e as usize]).unwrap())),
            );
            rejects.extend(d.rejects);
        }
        assert_eq!((rows.len(), rejects.len()), (199_800, 200));
        assert_eq!(rows[0], "2:0,\"n\n0\",0.00");
        assert_eq!(rejects[0].line, 16);
        match &seen {
            None => seen = Some((rows, rejects)),
            Some(first) => assert!(*first == (rows, rejects)),
        }
    }
}

#[test]
fn mistakes_in_the_configuration_are_all_found() {
    let problems = (CSV.validate)(
        &json!({ "delimiter": "a\nb", "quote": "ab", "encoding": "klingon", "decimal": "x", "columns": { "a": "integr", "b": "timestamp(%Q)" } }),
    );
    let at: Vec<String> = problems.iter().map(|p| p.at.join(".")).collect();
    assert_eq!(at, ["delimiter", "quote", "encoding", "decimal", "columns.a", "columns.b"]);
    assert!((CSV.reader.unwrap())(&json!({ "delimeter": ";" })).err().unwrap().message().contains("delimeter"));
    assert!((CSV.validate)(&json!({ "quoting": "all", "header": true })).is_empty(), "keys of writing are no mistakes");
    assert!((CSV.validate)(&json!({ "newline": "xx", "escape": "\\" }))[0].message.contains("begins as it ends"));
    assert!((CSV.validate)(&json!({ "newline": "xy", "escape": "\\" })).is_empty());
    let declared = (CSV.declared_columns)(&json!({ "columns": { "a": "int" } })).unwrap();
    assert_eq!(types(&declared), "a int");
    assert!((CSV.declared_columns)(&json!({})).is_none());
}

#[tokio::test]
async fn what_is_written_reads_back() {
    let config =
        json!({ "columns": { "i": "int", "s": "string", "m": "decimal(12,3)", "t": "timestamptz", "d": "date", "f": "double", "b": "bool" } });
    let text = "i,s,m,t,d,f,b\n1,plain,-1.500,2024-01-01T00:00:00.25Z,2024-02-29,0.1,true\n,\"\",,,,,\n3,\"a \"\"q\"\", \nb; \",0.001,1960-01-01T00:00:00Z,1900-01-01,1e300,false\n4,,1,,,,\n";
    let first = read(config.clone(), text).await;
    for options in [
        json!("csv"),
        json!({ "csv": { "delimiter": ";", "quoting": "all", "null": "NULL", "compression": "gzip" } }),
        json!({ "csv": { "delimiter": "||", "compression": "zstd" } }),
    ] {
        let factory = crate::writer_from_value(&options).unwrap();
        let mut encoder = factory.encoder(&first.batches[0].schema()).unwrap();
        let mut out = Vec::new();
        first.batches.iter().for_each(|b| encoder.write(b, &mut out).unwrap());
        encoder.finish(&mut out).unwrap();
        let mut back = config.clone();
        if let Some(d) = options.get("csv") {
            back["delimiter"] = d["delimiter"].clone();
            back["nulls"] = json!([d.get("null").cloned().unwrap_or_else(|| "".into())]);
        }
        let again = read_file(&*csv(back), memory_file(format!("/f.{}", factory.extension()), out), None).await;
        assert_eq!(again.rows, first.rows, "{options}");
    }
}
