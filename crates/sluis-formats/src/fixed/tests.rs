//! Lines of fixed width: whole, short, wide characters, mistakes in the configuration.

use serde_json::json;
use sluis_core::columns::type_name;

use super::*;
use crate::cell::Cells;
use crate::memory::memory_file_in_pieces;

#[derive(Debug, PartialEq)]
struct Told {
    columns: String,
    rows: Vec<String>,
    rejects: Vec<String>,
}

async fn tell(config: Value, bytes: &[u8], piece: usize) -> Told {
    assert_eq!(validate(&config), [], "{config}");
    let reader = (FIXED.reader.unwrap())(&config).unwrap();
    let file = memory_file_in_pieces("/in/f.txt", bytes.to_vec(), piece);
    let schema = reader.infer(std::slice::from_ref(&file), None).await.unwrap();
    let columns = schema.fields().iter().map(|f| format!("{} {}", f.name(), type_name(f.data_type()))).collect::<Vec<_>>().join(", ");
    let mut told = Told { columns, rows: vec![], rejects: vec![] };
    let mut items =
        reader.read(file, &ReadOptions { schema, batch_rows: 100, threads: 2, keep_origins: true, misfits: Default::default() }).await.unwrap();
    while let Some(item) = items.next().await {
        let d = item.unwrap();
        let cells: Vec<Cells> = d.batch.columns().iter().map(|c| Cells::new(c).unwrap()).collect();
        for row in 0..d.batch.num_rows() {
            let value = |c: &Cells| {
                let mut out = Vec::new();
                if c.is_null(row) {
                    out.push(b'~')
                } else {
                    c.text(row, &mut out)
                }
                String::from_utf8(out).unwrap()
            };
            told.rows.push(cells.iter().map(value).collect::<Vec<_>>().join("|"));
        }
        told.rejects.extend(d.rejects.iter().map(|r| format!("{} {} {}", r.line, r.reason.code(), r.column.as_deref().unwrap_or("-"))));
    }
    told
}

fn columns() -> Value {
    json!({
        "id": { "width": 4, "type": "int" },
        "name": { "width": 6 },
        "day": { "start": 13, "width": 8, "type": "date(%Y%m%d)" },
        "cost": { "width": 7 },
    })
}

#[tokio::test]
async fn every_column_is_read_at_its_place() {
    let text = "0001Anna  xx20240229   1.50\r\n\n   2Bé    xx20240301  -2.25\n0003      xx              7\n";
    for piece in [1, 7, 1000] {
        let told = tell(json!({ "columns": columns() }), text.as_bytes(), piece).await;
        assert_eq!(told.columns, "id int, name string, day date, cost double");
        assert_eq!(told.rows, ["1|Anna|2024-02-29|1.5", "2|Bé|2024-03-01|-2.25", "3|~|~|7.0"]);
        assert!(told.rejects.is_empty(), "{told:?}");
    }
    // In another encoding a character is one all the same.
    let latin = text.chars().map(|c| c as u32 as u8).collect::<Vec<_>>();
    let told = tell(json!({ "columns": columns(), "encoding": "latin1" }), &latin, 9).await;
    assert_eq!(told.rows[1], "2|Bé|2024-03-01|-2.25");
}

#[tokio::test]
async fn lines_that_end_early_follow_the_policy() {
    let text = "0001Anna  xx20240229   1.50\n0002Ben\n0003Cees  xx20240229   1\nabcdDirk  xx20240229   1.50\n0005\u{fffd}";
    let mut bytes = text.as_bytes().to_vec();
    bytes.truncate(bytes.len() - 3);
    bytes.extend(b"\xff     xx20240229   1.50\n");
    let told = tell(json!({ "columns": columns() }), &bytes, 11).await;
    assert_eq!(told.rows, ["1|Anna|2024-02-29|1.5"]);
    assert_eq!(told.rejects, ["2 too_few_fields name", "3 too_few_fields cost", "4 bad_value id", "5 bad_encoding name"]);
    let told = tell(json!({ "columns": columns(), "ragged": "pad" }), &bytes, 11).await;
    assert_eq!(told.rows, ["1|Anna|2024-02-29|1.5", "2|Ben|~|~", "3|Cees|2024-02-29|1.0"]);
    assert_eq!(told.rejects, ["4 bad_value id", "5 bad_encoding name"]);
}

#[tokio::test]
async fn headers_and_footers_are_no_data() {
    let text = "a preamble\nHDR20240101\n0001Anna  xx20240229   1.50\n0002Ben   xx20240229   2.50and more\nTRL2\n\n";
    let told = tell(json!({ "columns": columns(), "skip": 1, "header": 1, "footer": 1 }), text.as_bytes(), 5).await;
    assert_eq!(told.rows, ["1|Anna|2024-02-29|1.5", "2|Ben|2024-02-29|2.5"]);
    assert!(told.rejects.is_empty(), "{told:?}");
    let rest = json!({ "columns": { "code": { "width": 4 }, "rest": {} }, "trim": false, "header": 2, "footer": 1 });
    let told = tell(rest, text.as_bytes(), 5).await;
    assert_eq!(told.rows[0], "0001|Anna  xx20240229   1.50", "leading zeros are kept where nothing says otherwise");
    assert_eq!(tell(json!({ "columns": columns() }), b"", 1).await.rows.len(), 0);
}

#[test]
fn mistakes_are_all_said() {
    let said = |config: Value| validate(&config).into_iter().map(|p| format!("{}: {}", p.at.join("."), p.message)).collect::<Vec<_>>().join("\n");
    assert!(said(json!({})).contains("needs columns"));
    let wrong = json!({ "columns": { "a": { "width": 0 }, "b": { "start": 0, "width": 2 }, "c": {}, "d": { "width": 2, "type": "integr" } }, "encoding": "none" });
    let all = said(wrong);
    for part in ["columns.a: `width`", "columns.b: `start`", "columns.d: the column before", "columns.d: unknown type", "encoding: "] {
        assert!(all.contains(part), "{part} in\n{all}");
    }
}
