//! Values that are not of their column's type, told instead of rejected: the same of every format that reads text, however it is cut.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::Array;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use futures::StreamExt;
use serde_json::{Value, json};
use sluis_core::columns::{parse_type, type_name};
use sluis_core::{FileFormat, Misfits, ReadOptions};

use crate::cell::Cells;
use crate::memory::memory_file_in_pieces;

fn schema(columns: &[(&str, &str)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(n, t)| Field::new(*n, parse_type(t).unwrap().0, true)).collect::<Vec<_>>()))
}

/// What came of a file: rows as text, misfits as `row/column/text/type`, rejects as `line/column`.
#[derive(Debug, PartialEq)]
struct Told {
    rows: Vec<String>,
    misfits: Vec<String>,
    rejects: Vec<String>,
}

async fn read(format: &Arc<dyn FileFormat>, text: &[u8], piece: usize, schema: &SchemaRef, misfits: Misfits) -> Told {
    let options = ReadOptions { schema: schema.clone(), batch_rows: 3, threads: 2, keep_origins: true, misfits };
    let mut told = Told { rows: vec![], misfits: vec![], rejects: vec![] };
    let mut batches = format.read(memory_file_in_pieces("/f", text.to_vec(), piece), &options).await.unwrap();
    while let Some(decoded) = batches.next().await {
        let decoded = decoded.unwrap();
        let (batch, before) = (&decoded.batch, told.rows.len());
        for m in &decoded.misfits {
            assert!(batch.column(m.column).is_null(m.row) || misfits_exact(&options), "null stands in its place");
            let name = batch.schema_ref().field(m.column).name();
            told.misfits.push(format!("{}/{name}/{}/{}", before + m.row, m.text, type_name(&m.fits)));
        }
        let cells: Vec<Cells> = batch.columns().iter().map(|c| Cells::new(c).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let mut line = Vec::new();
            for cell in &cells {
                line.push(b'|');
                if !cell.is_null(row) {
                    cell.text(row, &mut line);
                }
            }
            told.rows.push(String::from_utf8(line).unwrap());
        }
        told.rejects.extend(decoded.rejects.iter().map(|r| format!("{}/{}", r.line, r.column.as_deref().unwrap_or("-"))));
    }
    told
}

fn misfits_exact(options: &ReadOptions) -> bool {
    options.misfits.exact()
}

fn csv(config: Value) -> Arc<dyn FileFormat> {
    (crate::CSV.reader.unwrap())(&config).unwrap()
}

fn json_lines() -> Arc<dyn FileFormat> {
    (crate::JSON.reader.unwrap())(&json!({})).unwrap()
}

fn tell(columns: &[&str], exact: bool) -> Misfits {
    Misfits::Tell { columns: Arc::new(columns.iter().map(|c| (*c).to_owned()).collect::<BTreeSet<_>>()), exact }
}

#[tokio::test]
async fn told_values_are_null_and_their_rows_stay() {
    let schema = schema(&[("id", "int"), ("n", "bigint"), ("d", "date")]);
    let text = b"id,n,d\n1,1,2024-01-01\n2,\"a \"\"b\"\"\",\n3,2.5,soon\nx,y,2024-01-02\n5,,\n6,NULL,2024-01-03 10:00:00\n";
    let csv = csv(json!({ "nulls": ["", "NULL"] }));
    let whole = read(&csv, text, 4096, &schema, tell(&["n", "d"], false)).await;
    assert_eq!(whole.rows, ["|1|1|2024-01-01", "|2||", "|3||", "|5||", "|6||"]);
    assert_eq!(whole.misfits, ["1/n/a \"b\"/string", "2/n/2.5/double", "2/d/soon/string", "4/d/2024-01-03 10:00:00/timestamp"]);
    assert_eq!(whole.rejects, ["5/id"], "a column that is not told rejects its rows, and what else was in them is not told");
    let cut = read(&csv, text, 1, &schema, tell(&["n", "d"], false)).await;
    assert_eq!(cut, whole);
}

#[tokio::test]
async fn told_values_of_json_may_be_nested() {
    let inner = DataType::Struct(vec![Field::new("a", DataType::Int64, true)].into());
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("o", inner, true)]));
    let text = br#"{"n":1,"o":{"a":1}}
{"n":"x \"y\"","o":{"a":2,"b":"t"}}
{"n":2.5,"o":[1]}
{"n":[3] ,"o":{"a":"z"}}
{"n":4,"o":{"a":4}} trailing
{"n":5}
"#;
    let whole = read(&json_lines(), text, 4096, &schema, tell(&["n", "o"], false)).await;
    assert_eq!(whole.rows, ["|1|{\"a\":1}", "||", "||", "||", "|5|"]);
    assert_eq!(
        whole.misfits,
        [
            "1/n/x \"y\"/string",
            "1/o/{\"a\":2,\"b\":\"t\"}/struct<a: bigint, b: string>",
            "2/n/2.5/double",
            "2/o/[1]/string",
            "3/n/[3]/string",
            "3/o/{\"a\":\"z\"}/struct<a: string>"
        ]
    );
    assert_eq!(whole.rejects, ["5/-"]);
    assert_eq!(read(&json_lines(), text, 1, &schema, tell(&["n", "o"], false)).await, whole);
}

#[tokio::test]
async fn whole_numbers_that_a_double_rounds_are_told_only_where_asked() {
    let schema = schema(&[("x", "double")]);
    let lines = ["x", "1", "9007199254740993", "0.30000000000000004", "9007199254740992"].join("\n");
    let documents = "{\"x\":1}\n{\"x\":9007199254740993}\n{\"x\":0.30000000000000004}\n{\"x\":9007199254740992}\n";
    for (format, text) in [(csv(json!({})), lines.as_bytes()), (json_lines(), documents.as_bytes())] {
        assert_eq!(read(&format, text, 4096, &schema, tell(&["x"], true)).await.misfits, ["1/x/9007199254740993/string"]);
        assert!(read(&format, text, 4096, &schema, tell(&["x"], false)).await.misfits.is_empty());
    }
}

#[tokio::test]
async fn typed_files_tell_the_values_that_a_narrower_type_cannot_hold() {
    let doubles: arrow_array::ArrayRef = Arc::new(arrow_array::Float64Array::from(vec![Some(1.0), Some(2.5), None, Some(4.5)]));
    let ids: arrow_array::ArrayRef = Arc::new(arrow_array::Int64Array::from(vec![1, 2, 3, 1 << 40]));
    let batch = arrow_array::RecordBatch::try_from_iter([("id", ids), ("n", doubles)]).unwrap();
    let mut encoder = crate::writer_from_value(&"parquet".into()).unwrap().encoder(&batch.schema()).unwrap();
    let mut bytes = Vec::new();
    encoder.write(&batch, &mut bytes).unwrap();
    encoder.finish(&mut bytes).unwrap();
    let parquet = (crate::PARQUET.reader.unwrap())(&json!({})).unwrap();
    let told = read(&parquet, &bytes, 4096, &schema(&[("id", "int"), ("n", "bigint")]), tell(&["n"], false)).await;
    assert_eq!(told.rows, ["|1|1", "|2|", "|3|"]);
    assert_eq!((told.misfits, told.rejects), (vec!["1/n/2.5/double".to_owned()], vec!["4/id".to_owned()]));
}
