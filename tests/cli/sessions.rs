//! `sessions/*.txt`: what is typed, and what was printed. `#@ file: PATH` writes a file; `$ LINE` is a line of shell; below it stand its
//! standard output, its standard error with `! ` before each line, and its exit code if that is not 0.

use std::path::{Path, PathBuf};

use crate::sandbox::Sandbox;

fn played(text: &str) -> String {
    let sandbox = Sandbox::new();
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(path) = line.strip_prefix("#@ file: ") {
            out.push_str(&format!("{line}\n"));
            let mut body = String::new();
            while let Some(next) = lines.next_if(|l| !l.starts_with("#@ ") && !l.starts_with("$ ")) {
                body.push_str(&format!("{next}\n"));
            }
            sandbox.file(path, &body);
            out.push_str(&body);
        } else if let Some(command) = line.strip_prefix("$ ") {
            let said = sandbox.sh(command);
            out.push_str(&format!("$ {command}\n{}", trimmed(&said.stdout)));
            for line in trimmed(&said.stderr).lines() {
                out.push_str(format!("! {line}").trim_end());
                out.push('\n');
            }
            match said.code {
                Some(0) => {}
                Some(code) => out.push_str(&format!("[exit {code}]\n")),
                None => out.push_str("[killed]\n"),
            }
        }
    }
    sandbox.blot(&out)
}

/// No blanks at the ends of lines: editors take them away. What would be taken for a command has a `\` before it.
fn trimmed(text: &str) -> String {
    let mark = |l: &str| if l.starts_with("$ ") || l.starts_with("#@ ") { "\\" } else { "" };
    text.lines().map(|l| format!("{}{}\n", mark(l), l.trim_end())).collect()
}

fn play(path: &Path) -> Result<(), String> {
    let expected = std::fs::read_to_string(path).unwrap();
    let got = played(&expected);
    if std::env::var_os("SLUIS_BLESS").is_some() {
        std::fs::write(path, got).unwrap();
        return Ok(());
    }
    if got == expected { Ok(()) } else { Err(format!("{} is now:\n{}", path.display(), differing(&expected, &got))) }
}

/// From the first line that differs.
fn differing(expected: &str, got: &str) -> String {
    let same = expected.lines().zip(got.lines()).take_while(|(a, b)| a == b).count();
    let part = |text: &str| text.lines().skip(same.saturating_sub(3)).take(25).map(|l| format!("  {l}\n")).collect::<String>();
    format!("expected:\n{}got:\n{}", part(expected), part(got))
}

#[test]
fn sessions_print_what_they_printed() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cli/sessions");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "txt")).collect();
    paths.sort();
    assert!(paths.len() >= 9, "sessions are missing");
    let wrong: Vec<String> = paths.iter().filter_map(|p| play(p).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
