//! Files as they really come: what a reader of messy files must do with each, by format configuration and bytes.

use std::io::Write;
use std::sync::Arc;

use arrow_array::RecordBatch;
use futures::StreamExt;
use serde_json::{Value, json};
use sluis_core::columns::type_name;
use sluis_core::{ErrorKind, FileFormat, ReadOptions};

use crate::cell::Cells;
use crate::memory::memory_file_in_pieces;

/// Columns with types; rows as text; rejects as `line reason`; the error's kind.
#[derive(Debug, PartialEq)]
struct Told {
    columns: String,
    rows: Vec<String>,
    rejects: Vec<String>,
    error: Option<ErrorKind>,
}

async fn tell(format: &str, config: Value, name: &str, bytes: &[u8]) -> Told {
    let def = crate::all().into_iter().find(|d| d.name == format).unwrap();
    assert!((def.validate)(&config).is_empty(), "{config}");
    let reader: Arc<dyn FileFormat> = (def.reader.unwrap())(&config).unwrap();
    let file = memory_file_in_pieces(name, bytes.to_vec(), 5);
    let schema = reader.infer(std::slice::from_ref(&file), None).await.unwrap();
    let options = ReadOptions { schema: schema.clone(), batch_rows: 2, threads: 2, keep_origins: true, misfits: Default::default() };
    let mut told = Told { columns: String::new(), rows: vec![], rejects: vec![], error: None };
    told.columns = schema.fields().iter().map(|f| format!("{} {}", f.name(), type_name(f.data_type()))).collect::<Vec<_>>().join(", ");
    let mut items = reader.read(file, &options).await.unwrap();
    while let Some(item) = items.next().await {
        match item {
            Ok(d) => {
                told.rows.extend(text(&d.batch));
                told.rejects.extend(d.rejects.iter().map(|r| format!("{} {}", r.line, r.reason.code())));
            }
            Err(e) => told.error = Some(e.kind()),
        }
    }
    told
}

fn text(batch: &RecordBatch) -> Vec<String> {
    let cells: Vec<Cells> = batch.columns().iter().map(|c| Cells::new(c).unwrap()).collect();
    let value = |c: &Cells, row: usize| {
        let mut out = Vec::new();
        if c.is_null(row) {
            out.push(b'~')
        } else {
            c.text(row, &mut out)
        }
        String::from_utf8(out).unwrap()
    };
    (0..batch.num_rows()).map(|row| cells.iter().map(|c| value(c, row)).collect::<Vec<_>>().join("|")).collect()
}

async fn csv(config: Value, bytes: impl AsRef<[u8]>) -> Told {
    tell("csv", config, "/in/f.csv", bytes.as_ref()).await
}

fn gzip(text: &str) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(text.as_bytes()).unwrap();
    out.finish().unwrap()
}

#[tokio::test]
async fn one_content_in_every_encoding_line_end_and_compression() {
    let text = "id,name\n1,é\n2,\"x\ny\"\n";
    let expected = csv(json!({}), text).await;
    assert_eq!((expected.columns.as_str(), expected.rows.as_slice()), ("id bigint, name string", &["1|é".to_owned(), "2|x\ny".to_owned()][..]));
    let utf16 = |little: bool, text: &str| -> Vec<u8> {
        let unit = |u: u16| if little { u.to_le_bytes() } else { u.to_be_bytes() };
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(unit).collect()
    };
    let two_members = [gzip("id,name\n1,é"), gzip("\n2,\"x\ny\"\n")].concat();
    let two_frames = [zstd::encode_all(&b"id,na"[..], 1).unwrap(), zstd::encode_all("me\n1,é\n2,\"x\ny\"\n".as_bytes(), 1).unwrap()].concat();
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("a byte order mark", format!("\u{feff}{text}").into_bytes()),
        ("UTF-16 little", utf16(true, text)),
        ("UTF-16 big", utf16(false, text)),
        ("no last line end", text.trim_end().as_bytes().to_vec()),
        ("blank lines", b"id,name\n\n1,\xc3\xa9\n2,\"x\ny\"\n\n\n".to_vec()),
        ("gzip", gzip(text)),
        ("gzip of several members", two_members),
        ("zstd", zstd::encode_all(text.as_bytes(), 3).unwrap()),
        ("zstd of several frames", two_frames),
        ("gzip and zeros", [gzip(text), vec![0; 512]].concat()),
    ];
    for (what, bytes) in files {
        assert_eq!(csv(json!({}), bytes).await, expected, "{what}");
    }
    for (what, text) in [("CR LF", "id,name\r\n1,é\r\n2,b\r\n"), ("CR alone", "id,name\r1,é\r2,b\r"), ("CR alone, unfinished", "id,name\r1,é\r2,b")]
    {
        assert_eq!(csv(json!({}), text).await.rows, ["1|é", "2|b"], "{what}");
    }
    assert_eq!(csv(json!({ "encoding": "latin1" }), b"id,name\n1,\xe9\n").await.rows, ["1|é"]);
    assert_eq!(csv(json!({}), b"id,name\n1,\xe9\n2,b\n").await.rejects, ["2 bad_encoding"]);
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_damaged_and_never_shorter() {
    for whole in [gzip(&"id\n1\n".repeat(5000)), zstd::encode_all("id\n1\n".repeat(5000).as_bytes(), 3).unwrap()] {
        for cut in [1, 4, 8, whole.len() / 2] {
            assert_eq!(csv(json!({}), &whole[..whole.len() - cut]).await.error, Some(ErrorKind::CorruptInput), "{cut} bytes are missing");
        }
        let mut changed = whole.clone();
        let middle = changed.len() - 6;
        changed[middle] ^= 0x55;
        assert_eq!(csv(json!({}), &changed).await.error, Some(ErrorKind::CorruptInput));
    }
}

#[tokio::test]
async fn files_without_rows_are_no_errors_and_say_nothing_of_types() {
    for bytes in ["", "\n", "\n\n", "\u{feff}", "id,name\n", "id,name"] {
        let told = csv(json!({}), bytes).await;
        assert_eq!((told.rows.len(), told.rejects.len(), told.error), (0, 0, None), "{bytes:?}");
        assert_eq!(told.columns, "", "{bytes:?}");
    }
    let config = json!({ "header": 1, "footer": 1, "columns": { "id": "int", "s": "string" } });
    for bytes in ["", "HDR|1\n", "HDR|1\nTRL|0\n", "id,s\nTRL|0", "HDR\r\nTRL\r\n"] {
        let told = csv(config.clone(), bytes).await;
        assert_eq!((told.rows.len(), told.rejects.len(), told.error), (0, 0, None), "{bytes:?}");
        assert_eq!(told.columns, "id int, s string", "{bytes:?}");
    }
    for format in ["avro", "json", "parquet", "raw"] {
        let told = tell(format, json!({}), "/in/f", b"").await;
        assert_eq!((told.rows.len(), told.rejects.len(), told.error), (0, 0, None), "{format}");
    }
    assert_eq!(csv(json!({}), gzip("")).await.rows.len(), 0, "an empty file in gzip");
    for text in ["\n", "[]", " [ ] \n"] {
        assert_eq!(tell("json", json!({}), "/in/f", text.as_bytes()).await.rows.len(), 0, "{text}");
    }
}

#[tokio::test]
async fn a_file_of_only_bad_rows_is_all_rejects() {
    let bad: String = (0..200).map(|i| format!("x{i},1\n")).collect();
    let told = csv(json!({ "columns": { "id": "bigint", "n": "int" } }), format!("id,n\n{bad}")).await;
    assert_eq!((told.rows.len(), told.rejects.len(), told.error), (0, 200, None));
    assert_eq!((told.rejects[0].as_str(), told.rejects[199].as_str()), ("2 bad_value", "201 bad_value"));
    let told = tell("json", json!({}), "/in/f", "{\n".repeat(50).as_bytes()).await;
    assert_eq!((told.rows.len(), told.error), (0, None), "{told:?}");
    assert!(!told.rejects.is_empty());
}

#[tokio::test]
async fn numbers_and_times_are_exact_or_rejected() {
    let config = json!({ "columns": {
        "d": "decimal(10,4)", "big": "bigint", "at": "timestamp(%d/%m/%Y %H:%M:%S)", "day": "date(%Y%m%d)", "z": "timestamptz", "code": "string"
    } });
    let head = "d,big,at,day,z,code\n";
    for (row, expected) in [
        (
            "1.5,9007199254740993,31/12/2023 23:59:59,20240229,2024-01-01T00:30:00+01:00,007",
            "1.5000|9007199254740993|2023-12-31 23:59:59|2024-02-29|2023-12-31 23:30:00Z|007",
        ),
        ("-123456.7890,-9223372036854775808,,,,0", "-123456.7890|-9223372036854775808|~|~|~|0"),
    ] {
        let told = csv(config.clone(), format!("{head}{row}\n")).await;
        let plain = |t: &str| t.replace('T', " ");
        assert_eq!(told.rows.iter().map(|r| plain(r)).collect::<Vec<_>>(), [plain(expected)], "{row}: {told:?}");
    }
    for row in [
        "1.00001,1,,,,x",
        "1000000.5,1,,,,x",
        "1,9223372036854775808,,,,x",
        "1,1.5,,,,x",
        "1,1,2023-12-31 00:00:00,,,x",
        "1,1,30/02/2023 00:00:00,,,x",
        "1,1,,20230229,,x",
        "1,1,,,yesterday,x",
    ] {
        let told = csv(config.clone(), format!("{head}{row}\n")).await;
        assert_eq!((told.rows.len(), told.rejects), (0, vec!["2 bad_value".to_owned()]), "{row}");
    }
}

#[tokio::test]
async fn headers_that_repeat_or_are_empty_drop_nothing() {
    let told = csv(json!({}), "a,a,,a\n1,2,3,4\n").await;
    assert_eq!((told.columns.as_str(), told.rows[0].as_str()), ("a bigint, a_2 bigint, c3 bigint, a_3 bigint", "1|2|3|4"));
}

#[tokio::test]
async fn quotes_that_break_cost_their_row_only() {
    let told = csv(json!({}), "id,s\n1,\"a\"b\n2,c\n3,\"never closed\n4,d\n").await;
    assert_eq!(told.rows, ["2|c", "4|d"], "{told:?}");
    assert_eq!(told.rejects, ["2 bad_quote", "4 bad_quote"]);
    let told = csv(json!({}), "id,s\n1,a \"b\" c\n2,\"\"\"\"\n").await;
    assert_eq!(told.rows, ["1|a \"b\" c", "2|\""]);
}

#[tokio::test]
async fn nested_json_keeps_its_shape() {
    let lines = "{\"id\":1,\"p\":{\"phones\":[{\"n\":\"a\"},{\"n\":\"b\"}],\"tags\":[]}}\n{\"id\":2,\"p\":{\"phones\":null},\"new\":12345678901234567890}\n{\"id\":3.5}\n";
    let told = tell("json", json!({}), "/in/f.json", lines.as_bytes()).await;
    assert!(told.columns.starts_with("id double, p struct<phones: list<struct<n: string>>"), "{}", told.columns);
    assert_eq!((told.rows.len(), told.rejects.len()), (3, 0), "{told:?}");
    assert!(told.rows[1].contains("12345678901234567890"), "exact: {told:?}");
    let array = format!("[{}]", lines.trim_end().replace('\n', ","));
    assert_eq!(tell("json", json!({}), "/in/f.json", array.as_bytes()).await.rows, told.rows, "one array is the same rows");
}
