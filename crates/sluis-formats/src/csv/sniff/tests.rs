//! Files as people send them, and the options that reading them needs.

use bytes::Bytes;
use serde_json::{Value, json};
use sluis_core::{FileHead, Sniffed};

use super::sniff;

fn heads(files: &[&[u8]]) -> Vec<FileHead> {
    files.iter().enumerate().map(|(n, bytes)| FileHead { path: format!("/f{n}.csv"), bytes: Bytes::copy_from_slice(bytes), whole: true }).collect()
}

fn one(text: impl AsRef<[u8]>) -> Sniffed {
    sniff(&heads(&[text.as_ref()])).unwrap()
}

fn options(text: impl AsRef<[u8]>) -> Value {
    one(text).options
}

/// Rows of an id, a name, a date and a price, with the delimiter.
fn table(delimiter: &str, rows: usize) -> String {
    let header = ["id", "name", "day", "price"].join(delimiter);
    let rows =
        (0..rows).map(|i| [format!("{i}"), format!("name {i}"), format!("2024-01-{:02}", i % 28 + 1), format!("{}.5", i * 3)].join(delimiter) + "\n");
    format!("{header}\n{}", rows.collect::<String>())
}

#[test]
fn delimiters_are_found() {
    for (delimiter, named) in
        [(";", ";"), ("\t", "tab"), ("|", "|"), ("||", "||"), ("|~|", "|~|"), ("~", "~"), ("^", "^"), ("\u{1f}", "\\x1f"), ("§", "§")]
    {
        assert_eq!(options(table(delimiter, 20)), json!({ "delimiter": named }), "{delimiter}");
    }
    assert_eq!(options(table(",", 20)), json!({}), "the defaults are no options");
    assert!(one(table(";", 20)).confidence > 0.7, "{:?}", one(table(";", 20)));
    // Commas and semicolons within values do not mislead.
    assert_eq!(options("id;text\n1;a, b, c\n2;d, e, f\n3;g, h, i\n"), json!({ "delimiter": ";" }));
    assert_eq!(options("a,b\n\"1;2\",x;y\n\"3;4\",z;w\n"), json!({}));
    assert_eq!(options("at,level,text\n10:00:01,1,a b\n10:00:02,2,c d\n10:00:03,3,e f\n"), json!({}));
}

#[test]
fn quotes_and_escapes_are_found() {
    assert_eq!(options("id,t,n\n1,'a, b',2\n2,'c, d',3\n3,'it''s',4\n"), json!({ "quote": "'" }));
    assert_eq!(options("id,t,n\n1,\"a \\\"b\\\", c\",2\n2,\"d\",3\n3,\"e \\\" f\",4\n"), json!({ "escape": "\\" }));
    assert_eq!(options("id,t,n\n1,\"a \"\"b\"\", c\",2\n2,\"d\ne\",3\n"), json!({}));
}

#[test]
fn what_stands_around_the_table_is_found() {
    let body = table(",", 12);
    assert_eq!(options(format!("Report of May\nby Anna, in a hurry\n\n{body}")), json!({ "skip": 3 }));
    assert_eq!(options(format!("# made by x\n# at noon, may 5\n{body}")), json!({ "comment": "#" }));
    assert_eq!(options(format!("{body}TOTAL,12\n")), json!({ "footer": 1, "footer_count": 2 }));
    assert_eq!(options(format!("{body}TRL\n")), json!({ "footer": 1 }));
    let lines: Vec<&str> = body.lines().collect();
    assert_eq!(options(lines[1..].join("\n")), json!({ "header": 0 }));
    assert_eq!(options(format!("HDR,20240101\n{}\n", lines[1..].join("\n"))), json!({ "skip": 1, "header": 0 }));
    assert_eq!(options(format!("{}\n,,(day),(EUR)\n{}\n", lines[0], lines[1..].join("\n"))), json!({ "header": 2 }));
    assert_eq!(options(format!("PREAMBLE,,,\n,,,\n{body}")), json!({ "skip": 2 }));
    let head = FileHead { path: "/f.csv".into(), bytes: Bytes::from(format!("{body}TOTAL,12\n")), whole: false };
    assert_eq!(sniff(&[head]).unwrap().options, json!({}), "the end was not seen");
}

#[test]
fn values_tell_of_nulls_decimals_and_blanks() {
    assert_eq!(options("id;a;b\n1;1,5;NA\n2;2,25;7\n3;NA;8\n"), json!({ "delimiter": ";", "nulls": ["", "NA"], "decimal": "," }));
    assert_eq!(options("id, name, day\n1, x, 2024-01-01\n2, \"y, z\", 2024-01-02\n"), json!({ "trim": true }));
}

#[test]
fn encodings_are_found() {
    let text = "id;ville\n1;Orléans\n2;Besançon\n3;Saint-Étienne\n4;Nîmes\n";
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(options(&utf16), json!({ "delimiter": ";", "encoding": "utf-16le" }));
    let (latin, _, _) = encoding_rs::WINDOWS_1252.encode(text);
    assert_eq!(options(&latin), json!({ "delimiter": ";", "encoding": "windows-1252" }));
    let marked = one(format!("\u{feff}{text}"));
    assert_eq!(marked.options, json!({ "delimiter": ";" }));
    assert!(marked.notes.iter().any(|n| n.contains("byte order mark")), "{:?}", marked.notes);
}

#[test]
fn several_files_are_judged_together() {
    let (comma, semicolon) = (table(",", 9), table(";", 9));
    assert_eq!(sniff(&heads(&[semicolon.as_bytes(), semicolon.as_bytes(), b""])).unwrap().options, json!({ "delimiter": ";" }));
    let mixed = sniff(&heads(&[comma.as_bytes(), semicolon.as_bytes()])).unwrap();
    assert_eq!(mixed.options, json!({ "delimiter": "auto" }));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, semicolon.as_bytes()).unwrap();
    assert_eq!(options(gzip.finish().unwrap()), json!({ "delimiter": ";" }));
}

#[test]
fn what_is_no_table_is_none() {
    for bytes in [
        &b"{\"a\": 1}\n{\"a\": 2}\n"[..],
        b"[{\"a\": 1}]",
        b"<?xml version=\"1.0\"?><a/>",
        b"PAR1\x00\x00",
        b"Obj\x01\x04",
        b"",
        b"\x00\x01\x02\x03\x04\x05\x06\x07",
    ] {
        assert!(sniff(&heads(&[bytes])).is_none(), "{bytes:?}");
    }
    let lines = one("one\ntwo\nthree\n");
    assert_eq!(lines.options, json!({}));
    assert!(lines.confidence < 0.5);
}
