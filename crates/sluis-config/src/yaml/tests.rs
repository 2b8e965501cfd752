//! Trees of small texts: types, places, limits.

use serde_json::json;

use super::*;
use crate::diagnostic::Diagnostic;
use crate::span::SourceFile;

fn read(text: &str) -> (Option<Node>, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let node = parse(&SourceFile::new("x.yaml", "x.yaml", text), &mut diagnostics);
    (node, diagnostics)
}

fn good(text: &str) -> Node {
    let (node, diagnostics) = read(text);
    assert_eq!(diagnostics, [], "{text}");
    node.unwrap()
}

fn codes(text: &str) -> Vec<&'static str> {
    read(text).1.iter().map(|d| d.code).collect()
}

#[test]
fn scalars_have_the_types_of_yaml_1_2() {
    let node = good(
        "a: 1\nb: -2.5\nc: 'x'\nd: yes\ne:\nf: ~\ng: True\nh: 2024-01-31\ni: 1.10\nj: 0x1f\nk: .5\nl: 1h\nm: .inf\nn: 5 3 * * *\no: '1'\np: !!str 1\nq: 1e3\n",
    );
    assert_eq!(
        node.to_value(),
        json!({"a": 1, "b": -2.5, "c": "x", "d": "yes", "e": null, "f": null, "g": true, "h": "2024-01-31", "i": 1.1, "j": 31, "k": 0.5,
               "l": "1h", "m": ".inf", "n": "5 3 * * *", "o": "1", "p": "1", "q": 1000.0})
    );
    assert_eq!(node.get("i").unwrap().scalar(), Some("1.10"));
}

#[test]
fn every_value_knows_its_place() {
    let text = "# é is two bytes\nfrom:\n  files: { url: é/in, list: [a, 'b c'] }\nsql: |\n  select\n    x\nlast: 1 # comment\n";
    let node = good(text);
    let at = |path: &[&str]| node.descend(&path.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).0.span.text().to_owned();
    assert_eq!(at(&["from", "files"]), "{ url: é/in, list: [a, 'b c'] }");
    assert_eq!(at(&["from", "files", "url"]), "é/in");
    assert_eq!(at(&["from", "files", "list"]), "[a, 'b c']");
    assert_eq!(at(&["from", "files", "list", "1"]), "'b c'");
    assert_eq!(at(&["from"]), "files: { url: é/in, list: [a, 'b c'] }");
    assert!(at(&["sql"]).ends_with("select\n    x"));
    assert_eq!(at(&["last"]), "1");
    assert_eq!(node.entry("last").unwrap().key_span.text(), "last");
}

#[test]
fn places_inside_a_text_are_found_in_every_style() {
    for text in [
        "a: select bad from input",
        "a: 'it''s the bad column'",
        "a: \"a \\\"quoted\\\" name, then bad\"",
        "a: |\n    select x,\n      bad as y\n    from input\n",
        "a: |-\n  é bad\n",
        "a: >\n    select x,\n    then\n    bad as y\n",
        "a: select x,\n   bad as y\nb: 1",
        "a: \"select x,\n   bad as y\"\nb: 1",
        "a: { b: 1 }\na2: bad",
    ] {
        let node = good(text);
        let mut seen = 0;
        node.texts(&mut |t| {
            if let Some(n) = t.value.find("bad") {
                assert_eq!(t.place.inside(n..n + 3).text(), "bad", "{text}: {:?}", t.place);
                assert!(!t.place.inside(n + 3..n + 1000).text().contains("bad"));
                seen += 1;
            }
        });
        assert_eq!(seen, 1, "{text}");
    }
}

#[test]
fn aliases_and_merge_keys_work_and_are_bounded() {
    let node = good("base: &b { x: 1, y: 2 }\nc: { <<: *b, y: 3 }\nd: *b\ne: { <<: [*b, { z: 4 }] }");
    assert_eq!(node.get("c").unwrap().to_value(), json!({"y": 3, "x": 1}));
    assert_eq!(node.get("d").unwrap().to_value(), json!({"x": 1, "y": 2}));
    assert_eq!(node.get("e").unwrap().to_value(), json!({"x": 1, "y": 2, "z": 4}));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..20 {
        let list = vec![format!("*a{}", i - 1); 9].join(", ");
        bomb.push_str(&format!("a{i}: &a{i} [{list}]\n"));
    }
    assert_eq!(codes(&bomb), ["too-large"]);
    assert_eq!(codes(&"- ".repeat(1000)), ["too-deep"]);
    assert_eq!(codes(&format!("a: {}", "[".repeat(200))), ["too-deep"]);
    assert_eq!(codes("a: &a [*a]").len(), 1);
    assert_eq!(codes("a: { <<: 1 }"), ["yaml-merge"]);
}

#[test]
fn what_is_wrong_with_the_text_is_said() {
    for (text, code) in [
        ("a: 1\na: 2", "duplicate-key"),
        ("a:\n\tb: 1", "yaml-tab"),
        ("a: 1\n---\nb: 2", "several-documents"),
        ("a: [1, 2", "yaml-syntax"),
        ("a: \"x", "yaml-syntax"),
        ("a: *\n", "yaml-syntax"),
        ("a: @x", "yaml-syntax"),
        ("a: b: c", "yaml-syntax"),
        ("a: 1\n b: 2", "yaml-syntax"),
        ("a: { url: ${b}/c }", "yaml-syntax"),
        ("{¡", "yaml-syntax"),
        ("a: !mine 1", "yaml-tag"),
        ("{a: 1}: 2", "wrong-key"),
    ] {
        assert_eq!(codes(text), [code], "{text}");
    }
    let help = |text: &str| read(text).1[0].help.clone().unwrap_or_default();
    assert!(help("when: * * * * *").contains("needs quotes: `\"* * * * *\"`"), "{}", help("when: * * * * *"));
    assert!(help("match: {day}_x.csv").contains("starts with `{` needs quotes"), "{}", help("match: {day}_x.csv"));
    assert!(help("a: { url: ${b}/c }").contains("as in `{ url: \""), "{}", help("a: { url: ${b}/c }"));
    assert!(help("that: a: b").contains("needs quotes"));
}

#[test]
fn an_empty_document_is_a_null() {
    for text in ["", "# only a comment\n", "---\n", "\u{feff}"] {
        assert!(good(text).is_null(), "{text:?}");
    }
    assert_eq!(good("a: 1\r\nb: 2\r\n").entry("b").unwrap().value.span.text(), "2");
}

#[test]
fn overlays_replace_scalars_and_lists_and_merge_mappings() {
    let under = good("connections: { lake: { s3: { region: a, endpoint: e } } }\nlist: [1]\nvars: { x: 1, y: 2 }");
    let over = good("connections: { lake: { s3: { region: b } } }\nlist: [2]\nvars: { y: 3 }");
    let kinds = |path: &[&str]| if path.len() == 2 && path[0] == "connections" { Merge::Kind } else { Merge::Keys };
    let merged = merge(&under, &over, &kinds);
    assert_eq!(merged.to_value(), json!({"connections": {"lake": {"s3": {"region": "b", "endpoint": "e"}}}, "list": [2], "vars": {"x": 1, "y": 3}}));
    let http = good("connections: { lake: { http: {} } }");
    assert_eq!(merge(&under, &http, &kinds).get("connections").unwrap().to_value(), json!({"lake": {"http": {}}}));
    let replace = |path: &[&str]| if path == ["vars"] { Merge::Replace } else { Merge::Keys };
    assert_eq!(merge(&under, &over, &replace).get("vars").unwrap().to_value(), json!({"y": 3}));
}
