//! Whatever the text, the loader answers: no panic, and what it says can be shown.

use proptest::prelude::*;
use sluis_config::{Options, render};

use crate::{load, project};

const WORDS: &[&str] = &[
    "from",
    "files",
    "csv",
    "into",
    "table",
    "rejects",
    "check",
    "select",
    "when",
    "alert",
    "email",
    "on",
    "limits",
    "settings",
    "vars",
    "x",
    "${x}",
    "${env:X}",
    "${",
    "$${",
    "url",
    "in/",
    "name",
    "that",
    "as",
    ":",
    ": ",
    "\n",
    "\n  ",
    "\n    ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"",
    "'",
    "|",
    ">",
    "|\n  ",
    "&a",
    "*a",
    "<<: *a",
    "!x",
    "---\n",
    "\t",
    "#",
    "1",
    "-1",
    "1.5",
    "true",
    "null",
    "~",
    "é",
    "\u{1F600}",
    "\u{0}",
    "\r\n",
    "\u{feff}",
    "? ",
    "every 1s",
    "5 3 * * *",
    "rejects > 1%",
    "decimal(1,2)",
    "%",
    "@",
];

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,60}",
        prop::collection::vec(prop::sample::select(WORDS), 0..40).prop_map(|w| w.concat()),
        // A good pipeline with something put in somewhere.
        (0..160_usize, prop::sample::select(WORDS)).prop_map(|(at, word)| {
            let good = "vars: { x: 1 }\nfrom:\n  files: { url: in/ }\n  csv: { columns: { a: bigint } }\ncheck: [a > 1]\nselect: |\n  select ${x}\n  from input\ninto:\n  table: { name: t }\nwhen: live\n";
            let at = at.min(good.len());
            format!("{}{word}{}", &good[..at], &good[at..])
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_text_makes_it_panic(pipeline in texts(), project_file in texts(), color: bool) {
        let dir = project(&[("sluis.yaml", project_file.as_str()), ("pipelines/p.yaml", pipeline.as_str())]);
        let options = Options { env: Some("x".into()), vars: vec![("x".into(), "y".into())] };
        for options in [options, Options::default()] {
            let loaded = load(dir.path(), &options);
            let shown = render(&loaded.diagnostics, color);
            prop_assert!(loaded.diagnostics.is_empty() || !shown.is_empty());
            prop_assert!(serde_json::to_string(&loaded.diagnostics).is_ok());
            // A pipeline that was made can be shown.
            for p in &loaded.pipelines {
                prop_assert!(p.to_json().is_object());
            }
        }
    }
}
