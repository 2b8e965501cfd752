//! The JSON reader and encoder: documents however they are laid out, nested values, bad documents, types.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use futures::StreamExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use sluis_core::columns::type_name;
use sluis_core::{ErrorKind, FileFormat, RawFile, ReadOptions, Reject};

use super::*;
use crate::cell::{Cells, json_fields, json_text};
use crate::memory::{memory_file, memory_file_in_pieces};

fn format(config: Value) -> Arc<dyn FileFormat> {
    (JSON.reader.unwrap())(&config).unwrap()
}

struct Read {
    schema: SchemaRef,
    /// Rows as JSON without nulls.
    rows: Vec<String>,
    rejects: Vec<Reject>,
    batches: Vec<RecordBatch>,
    error: Option<sluis_core::Error>,
}

async fn read_file(format: &dyn FileFormat, file: Arc<dyn RawFile>, schema: Option<SchemaRef>) -> Read {
    let schema = match schema {
        Some(s) => s,
        None => format.infer(std::slice::from_ref(&file), None).await.unwrap(),
    };
    let options = ReadOptions { schema: schema.clone(), batch_rows: 8192, threads: 2, keep_origins: true, misfits: Default::default() };
    let mut stream = format.read(file, &options).await.unwrap();
    let mut out = Read { schema, rows: Vec::new(), rejects: Vec::new(), batches: Vec::new(), error: None };
    while let Some(item) = stream.next().await {
        match item {
            Ok(d) => {
                assert_eq!(d.origins.as_ref().unwrap().lines.len(), d.batch.num_rows());
                let cells: Vec<_> = d
                    .batch
                    .schema_ref()
                    .fields()
                    .iter()
                    .zip(d.batch.columns())
                    .map(|(f, c)| {
                        let mut name = Vec::new();
                        json_text(f.name(), &mut name);
                        name.push(b':');
                        (name, Cells::new(c).unwrap())
                    })
                    .collect();
                for row in 0..d.batch.num_rows() {
                    let mut text = vec![b'{'];
                    json_fields(&cells, row, false, &mut text);
                    text.push(b'}');
                    out.rows.push(String::from_utf8(text).unwrap());
                }
                out.rejects.extend(d.rejects);
                out.batches.push(d.batch);
            }
            Err(e) => out.error = Some(e),
        }
    }
    out
}

async fn read(config: Value, text: impl AsRef<[u8]>) -> Read {
    read_file(&*format(config), memory_file("/data/f.json", text.as_ref().to_vec()), None).await
}

fn types(schema: &SchemaRef) -> String {
    schema.fields().iter().map(|f| format!("{} {}", f.name(), type_name(f.data_type()))).collect::<Vec<_>>().join(", ")
}

fn reasons(read: &Read) -> Vec<(u64, &'static str, Option<&str>)> {
    read.rejects.iter().map(|r| (r.line, r.reason.code(), r.column.as_deref())).collect()
}

#[tokio::test]
async fn documents_in_every_layout() {
    let want = [r#"{"a":1,"b":{"c":["x","y"],"d":true}}"#, r#"{"a":2}"#, r#"{"b":{"c":[]}}"#];
    let pretty = "[\n  {\n    \"a\": 1, \"b\": { \"c\": [\"x\", \"y\"], \"d\": true }\n  },\n  {\"a\":2,\"b\":null},\n{\"b\":{\"c\":[]}}\n]\n";
    let in_a_row = "{\n\"a\": 1,\n \"b\": {\"c\":[\"x\",\"y\"],\"d\":true}}\n{\"a\":2}\n{\"b\":{\"c\":[]}}";
    let lines = "\n{\"a\":1,\"b\":{\"c\":[\"x\",\"y\"],\"d\":true}}\r\n\n{\"a\":2}\n{\"b\":{\"c\":[]}}";
    for text in [pretty, in_a_row, lines] {
        for piece in [1, 5, 1000] {
            let r = read_file(&*format(json!({})), memory_file_in_pieces("/f.json", text.as_bytes().to_vec(), piece), None).await;
            assert_eq!(r.rows, want, "{text} by {piece}: {:?}", r.rejects);
            assert_eq!(types(&r.schema), "a bigint, b struct<c: list<string>, d: bool>");
            assert!(r.rejects.is_empty() && r.error.is_none());
        }
    }
}

#[tokio::test]
async fn bad_documents_are_rejected_one_by_one() {
    let text = "{\"a\":1,\"s\":{\"x\":1}}\n{\"a\":\n[1]\n{\"a\":\"x\"}\n{\"a\":2,\"a\":3}\n{\"a\":3}x\n{\"a\":1e400}\n{\"a\":4,\"s\":{\"x\":1,\"y\":{\"z\":0}}}\n{\"a\":5,\"s\":{\"y\":null}}\n\"\n{\"a\":01}\n{\"a\":\"\\ud800\"}\n{\"a\":6,\"s\":{\"x\":{}}}\n";
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int32, true),
        Field::new("s", DataType::Struct(vec![Field::new("x", DataType::Int64, true)].into()), true),
    ]));
    let r = read_file(&*format(json!({})), memory_file("/f.json", text), Some(schema)).await;
    assert_eq!(r.rows, [r#"{"a":1,"s":{"x":1}}"#, r#"{"a":5,"s":{}}"#]);
    assert_eq!(
        reasons(&r),
        [
            (2, "bad_syntax", None),
            (3, "bad_syntax", None),
            (4, "bad_value", Some("a")),
            (5, "bad_syntax", None),
            (6, "bad_syntax", None),
            (7, "bad_value", Some("a")),
            (8, "contract_violated", Some("s.y")),
            (10, "bad_syntax", None),
            (11, "bad_syntax", None),
            (12, "bad_syntax", None),
            (13, "bad_value", Some("s.x")),
        ]
    );
    assert_eq!(r.rejects[2].raw.as_ref(), b"{\"a\":\"x\"}");
    assert_eq!(r.rejects[2].message, "`x` is no int");
}

#[tokio::test]
async fn keys_beyond_the_schema_are_text_columns() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, true)]));
    let r = read_file(
        &*format(json!({})),
        memory_file("/f.json", "{\"a\":1}\n{\"new\":{\"x\": [1, 2]},\"a\":2}\n{\"new\":\"t\"}\n{\"new\":1.50}\n"),
        Some(schema),
    )
    .await;
    assert_eq!(types(&r.batches[0].schema()), "a int, new string");
    assert_eq!(r.rows, [r#"{"a":1}"#, r#"{"a":2,"new":"{\"x\": [1, 2]}"}"#, r#"{"new":"t"}"#, r#"{"new":"1.50"}"#]);
}

#[tokio::test]
async fn types_are_inferred_and_declared() {
    let text = "{\"i\":1,\"f\":1,\"m\":1,\"s\":\"2024-01-01\",\"n\":null,\"l\":[],\"big\":12345678901234567890,\"o\":{}}\n{\"i\":-2,\"f\":1.5,\"m\":\"x\",\"l\":[{\"a\":1},{\"b\":\"\\u00e9\\n\"}],\"e\":\"\\ud83d\\ude00\"}\n";
    let r = read(json!({}), text).await;
    assert_eq!(
        types(&r.schema),
        "i bigint, f double, m string, s string, n string, l list<struct<a: bigint, b: string>>, big decimal(38,0), o string, e string"
    );
    assert_eq!(r.rows[1], r#"{"i":-2,"f":1.5,"m":"x","l":[{"a":1},{"b":"é\n"}],"e":"😀"}"#);
    let r = read(
        json!({ "columns": { "t": "timestamp(%d/%m/%Y)", "m": "decimal(20,2)", "i": "int", "x": "string" } }),
        "{\"t\":\"29/02/2024\",\"m\":12345678901234567.25,\"i\":1.0,\"x\":[1]}\n{\"m\":\"0.5\",\"i\":\"7\",\"t\":\"\"}\n",
    )
    .await;
    assert_eq!(r.rows, [r#"{"t":"2024-02-29T00:00:00","m":12345678901234567.25,"i":1,"x":"[1]"}"#, r#"{"m":0.50,"i":7}"#]);
    let known: SchemaRef = Arc::new(Schema::new(vec![Field::new("i", DataType::Float64, true), Field::new("z", DataType::Date32, true)]));
    let schema = format(json!({})).infer(&[memory_file("/f", "{\"i\":1}\n"), memory_file("/e", "")], Some(&known)).await.unwrap();
    assert_eq!(types(&schema), "i double, z date");
    let schema = format(json!({ "columns": "string" })).infer(&[memory_file("/f", "{\"i\":1,\"o\":{\"a\":1}}\n")], None).await.unwrap();
    assert_eq!(types(&schema), "i string, o string");
}

#[tokio::test]
async fn an_array_that_is_cut_off_is_a_damaged_file() {
    let r = read(json!({}), "[{\"a\":1},{\"a\":2},").await;
    let e = r.error.unwrap();
    assert_eq!(e.kind(), ErrorKind::CorruptInput);
    assert!(e.to_string().contains("/data/f.json"), "{e}");
    assert_eq!(read(json!({}), "").await.rows.len(), 0);
    assert_eq!(read(json!({}), "[]").await.rows.len(), 0);
}

#[tokio::test]
async fn nesting_without_end_is_bounded() {
    let deep = format!("{{\"a\":1}}\n{{\"b\":{}}}\n{{\"a\":2}}\n", "[".repeat(100_000));
    let r = read(json!({}), &deep).await;
    assert_eq!((r.rows.len(), r.rejects.len()), (2, 1));
    assert!(r.rejects[0].message.contains("nested too deeply"));
}

#[tokio::test]
async fn what_is_written_reads_back() {
    let text = "{\"a\":1,\"s\":\"q\\\"\\\\\\u0001\",\"n\":{\"l\":[1,null,3],\"t\":null},\"d\":0.1}\n{\"a\":null,\"s\":null,\"n\":null,\"d\":1e300}\n{\"a\":-5}\n";
    let first = read(json!({}), text).await;
    for options in [
        json!("json"),
        json!({ "json": { "nulls": false, "compression": "gzip" } }),
        json!({ "json": { "lines": false } }),
        json!({ "json": { "lines": false, "pretty": true } }),
    ] {
        let factory = crate::writer_from_value(&options).unwrap();
        let mut encoder = factory.encoder(&first.batches[0].schema()).unwrap();
        let mut out = Vec::new();
        first.batches.iter().for_each(|b| encoder.write(b, &mut out).unwrap());
        encoder.finish(&mut out).unwrap();
        let again = read_file(&*format(json!({})), memory_file(format!("/f.{}", factory.extension()), out), None).await;
        assert_eq!(again.rows, first.rows, "{options}");
    }
    let empty = crate::writer_from_value(&json!({ "json": { "lines": false } })).unwrap();
    let mut out = Vec::new();
    empty.encoder(&first.schema).unwrap().finish(&mut out).unwrap();
    assert_eq!(out, b"[]\n");
    assert!(crate::writer_from_value(&json!({ "json": { "pretty": true } })).is_err());
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(|f: f64| json!(f)),
        "[a-zé\"\\\\\n\u{1}]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..3).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// As text columns, every value comes out as serde_json sees it, whatever the layout and the pieces.
    #[test]
    fn values_agree_with_serde(rows in prop::collection::vec(prop::collection::btree_map("[abc]", values(), 0..4), 0..6), piece in 1_usize..50, layout in 0..3) {
        let documents: Vec<Value> = rows.into_iter().map(|m| Value::Object(m.into_iter().collect())).collect();
        let text = match layout {
            0 => documents.iter().map(|d| format!("{d}\n")).collect::<String>(),
            1 => serde_json::to_string_pretty(&documents).unwrap(),
            _ => documents.iter().map(|d| serde_json::to_string_pretty(d).unwrap()).collect::<Vec<_>>().join("\n"),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let config = json!({ "columns": "string", "lines": (layout == 0) });
        let r = runtime.block_on(read_file(&*format(config), memory_file_in_pieces("/f.json", text.into_bytes(), piece), None));
        prop_assert!(r.rejects.is_empty() && r.error.is_none(), "{:?} {:?}", r.rejects, r.error);
        let got: Vec<Value> = r.rows.iter().map(|t| {
            let Value::Object(row) = serde_json::from_str::<Value>(t).unwrap() else { panic!("a row is an object") };
            row.into_iter().map(|(k, v)| (k, v.as_str().unwrap().to_owned())).collect::<std::collections::BTreeMap<_, _>>()
        }).map(|m| json!(m)).collect();
        let want: Vec<Value> = documents.iter().map(|d| {
            let row = d.as_object().unwrap().iter().filter(|(_, v)| !v.is_null());
            json!(row.map(|(k, v)| (k.clone(), v.as_str().map_or_else(|| v.to_string(), str::to_owned))).collect::<std::collections::BTreeMap<_, _>>())
        }).collect();
        // Nested values keep their own layout: compared as values.
        prop_assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().zip(&want) {
            let normal = |v: &Value| v.as_object().unwrap().iter().map(|(k, v)| {
                let text = v.as_str().unwrap();
                let nested = text.starts_with(['{', '[']);
                (k.clone(), if nested { serde_json::from_str(text).unwrap_or_else(|_| v.clone()) } else { v.clone() })
            }).collect::<serde_json::Map<_, _>>();
            prop_assert_eq!(normal(g), normal(w));
        }
    }

    /// No bytes make it panic, and every line is a row or a reject.
    #[test]
    fn any_bytes_are_survived(lines in prop::collection::vec("[\\{\\}\\[\\],:\"\\\\ab01.e+ntru\u{e9} -]{0,20}", 0..8), cut in 0_usize..100) {
        let mut bytes = lines.join("\n").into_bytes();
        bytes.truncate(cut);
        let lines = bytes.split(|b| *b == b'\n').filter(|l| !l.trim_ascii().is_empty()).count();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let r = runtime.block_on(read_file(&*format(json!({ "lines": true })), memory_file("/f.json", bytes.clone()), None));
        prop_assert_eq!(r.rows.len() + r.rejects.len(), lines);
        runtime.block_on(read_file(&*format(json!({ "lines": false })), memory_file("/f.json", bytes), None));
    }
}

async fn read_text(config: Value, text: &str, piece: usize) -> Read {
    read_file(format(config).as_ref(), memory_file_in_pieces("/in/f.json", text.as_bytes().to_vec(), piece), None).await
}

#[tokio::test]
async fn records_are_read_inside_a_document() {
    let items = (0..500).map(|i| format!("{{\"id\": {i},\n\"name\": \"n {i}\"}}")).collect::<Vec<_>>().join(",\n");
    let text = format!("{{\"status\": {{\"items\": [1]}},\n\"data\": {{\"items\": [\n{items}\n]}}, \"more\": [{{}}]}}");
    for piece in [1, 13, 100_000] {
        let read = read_text(json!({ "path": "data.items" }), &text, piece).await;
        assert_eq!((types(&read.schema).as_str(), read.rows.len(), read.rejects.len()), ("id bigint, name string", 500, 0));
        assert_eq!(read.rows[499], r#"{"id":499,"name":"n 499"}"#);
    }
    let read = read_text(json!({ "path": "data.itmes" }), &text, 1000).await;
    assert_eq!((read.rows.len(), read.rejects.len()), (0, 1), "a path that leads nowhere is said");
    assert!(read.rejects[0].message.contains("data.itmes"), "{:?}", read.rejects);
    let read = read_text(json!({ "path": "data.items" }), &text[..text.len() - 20], 1000).await;
    assert_eq!(read.error.unwrap().kind(), ErrorKind::CorruptInput);
    let read =
        read_text(json!({ "path": "a", "max_row": "1KiB" }), &format!("{{\"a\":[{{\"x\":1}},\n{{\"x\":\"{}\"}},3]}}", "y".repeat(5000)), 100).await;
    assert_eq!(read.rows, [r#"{"x":1}"#]);
    assert_eq!(read.rejects.iter().map(|r| (r.line, r.reason.code())).collect::<Vec<_>>(), [(2, "too_long"), (2, "bad_syntax")]);
}

#[tokio::test]
async fn objects_are_kept_flattened_or_text() {
    let text = "{\"id\":1,\"place\":{\"city\":\"Gent\",\"at\":{\"x\":1.5}},\"tags\":[{\"t\":1}]}\n{\"id\":2,\"place\":null,\"tags\":[]}\n{\"place\":{\"at\":{\"x\":2,\"new\":\"y\"}},\"id\":3}\n";
    let kept = read_text(json!({}), text, 10).await;
    assert_eq!(types(&kept.schema), "id bigint, place struct<city: string, at: struct<x: double, new: string>>, tags list<struct<t: bigint>>");
    let flat = read_text(json!({ "nested": "flatten" }), text, 10).await;
    assert_eq!(types(&flat.schema), "id bigint, place_city string, place_at_x double, tags list<struct<t: bigint>>, place_at_new string");
    assert_eq!(flat.rows[0], r#"{"id":1,"place_city":"Gent","place_at_x":1.5,"tags":[{"t":1}]}"#);
    assert_eq!(flat.rows[1], r#"{"id":2,"tags":[]}"#);
    assert_eq!(flat.rows[2], r#"{"id":3,"place_at_x":2.0,"place_at_new":"y"}"#);
    let dotted =
        read_text(json!({ "nested": "flatten", "separator": ".", "columns": { "place.at": "string", "place.city": "string" } }), text, 10).await;
    assert_eq!(dotted.rows[0], r#"{"id":1,"place.city":"Gent","place.at":"{\"x\":1.5}","tags":[{"t":1}]}"#);
    let plain = read_text(json!({ "nested": "text" }), text, 10).await;
    assert_eq!(types(&plain.schema), "id bigint, place string, tags string");
    assert_eq!(plain.rows[0], r#"{"id":1,"place":"{\"city\":\"Gent\",\"at\":{\"x\":1.5}}","tags":"[{\"t\":1}]"}"#);
    let twice = read_text(json!({ "nested": "flatten" }), "{\"a_b\":1,\"a\":{\"b\":2}}\n", 10).await;
    assert_eq!((twice.rows.len(), twice.rejects[0].reason.code()), (0, "bad_syntax"), "two values for one column");
}

#[tokio::test]
async fn nested_columns_can_be_declared() {
    let columns = json!({ "scores": "map<string, decimal(10,2)>", "who": "struct<name: string, born: date>", "n": "list<int>", "id": "bigint" });
    let text = "{\"id\":1,\"scores\":{\"a\":1.5,\"b \\\"c\\\"\":null},\"who\":{\"name\":\"A\",\"born\":\"2024-02-29\"},\"n\":[1,null]}\n{\"id\":2,\"scores\":{}}\n{\"id\":3,\"scores\":{\"a\":\"x\"}}\n{\"id\":4,\"scores\":[1]}\n";
    let read = read_text(json!({ "columns": columns }), text, 10).await;
    assert_eq!(types(&read.schema), "scores map<string, decimal(10,2)>, who struct<name: string, born: date>, n list<int>, id bigint");
    assert_eq!(read.rows[0], r#"{"id":1,"scores":{"a":1.50,"b \"c\"":null},"who":{"name":"A","born":"2024-02-29"},"n":[1,null]}"#);
    assert_eq!(read.rows[1], r#"{"id":2,"scores":{}}"#);
    let said: Vec<_> = read.rejects.iter().map(|r| (r.line, r.reason.code(), r.column.as_deref().unwrap().to_owned())).collect();
    assert_eq!(said, [(3, "bad_value", "scores.a".to_owned()), (4, "bad_value", "scores".to_owned())]);
    let problems = (JSON.validate)(&json!({ "columns": { "a": "list<" }, "path": "a..b", "separator": "" }));
    assert_eq!(problems.iter().map(|p| p.at.join(".")).collect::<Vec<_>>(), ["path", "separator", "columns.a"]);
}
