//! Secrets, resolved late: `${env:X}`, `${file:X}`, `${cmd:X}` in a configuration's texts become their values, each registered with
//! [`sluis_core::secret`] so that it prints as `***` from then on.
//!
//! Guarantee: no error holds a value. Deliberately not here: when to resolve; nothing in this crate does it by itself.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use sluis_core::{Error, ErrorKind, Result, secret};

use crate::reference::{Piece, SecretKind, pieces};

/// Bytes of a secret, at most.
const LIMIT: u64 = 1 << 20;

/// `value` with every secret's reference replaced by the secret, and `$${` by `${`. Relative paths of `${file:}` start at `project_dir`,
/// commands of `${cmd:}` run there (by `sh -c`); the line end at the end of a file or an output is no part of the secret.
///
/// # Errors
/// `ErrorKind::Config` if a variable of the environment is not set or a command fails; the file's own error for `${file:}`. The message
/// says which reference and at which key.
pub fn resolve(value: &Value, project_dir: &Path) -> Result<Value> {
    resolve_with(value, project_dir, &|name| std::env::var(name).ok())
}

/// [`resolve`], with the environment given.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_with(value: &Value, project_dir: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Value> {
    walk(value, &Place { dir: project_dir, environment }, &mut Vec::new())
}

struct Place<'a> {
    dir: &'a Path,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

fn walk(value: &Value, place: &Place<'_>, path: &mut Vec<String>) -> Result<Value> {
    match value {
        Value::String(text) if text.contains("${") => Ok(Value::String(place.text(text).map_err(|e| e.context("key", path.join(".")))?)),
        Value::Array(items) => {
            let walked = items.iter().enumerate().map(|(i, item)| {
                path.push(i.to_string());
                let out = walk(item, place, path);
                path.pop();
                out
            });
            walked.collect()
        }
        Value::Object(map) => {
            let walked = map.iter().map(|(key, item)| {
                path.push(key.clone());
                let out = walk(item, place, path);
                path.pop();
                Ok((key.clone(), out?))
            });
            Ok(Value::Object(walked.collect::<Result<_>>()?))
        }
        other => Ok(other.clone()),
    }
}

impl Place<'_> {
    fn text(&self, text: &str) -> Result<String> {
        let mut out = String::new();
        for (range, piece) in pieces(text) {
            match piece {
                Piece::Plain(plain) => out.push_str(plain),
                Piece::Escape => out.push_str("${"),
                Piece::Secret(kind, body) => {
                    let value = match kind {
                        SecretKind::Env => self.env(body),
                        SecretKind::File => self.file(body),
                        SecretKind::Cmd => self.cmd(body),
                    };
                    let value = value.map_err(|e| e.context("secret", &text[range]))?;
                    register(&value);
                    out.push_str(&value);
                }
                Piece::Variable(_) | Piece::Wrong(_) => {
                    return Err(Error::config(format!("`{}` is no reference to a secret", &text[range])).hint("a plain `${` is written `$${`"));
                }
            }
        }
        Ok(out)
    }

    fn env(&self, name: &str) -> Result<String> {
        (self.environment)(name).ok_or_else(|| {
            Error::config(format!("the environment variable `{name}` is not set")).hint(format!("set it where sluis runs: `export {name}=…`"))
        })
    }

    fn file(&self, written: &str) -> Result<String> {
        let path = match (written.strip_prefix("~/"), (self.environment)("HOME")) {
            (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
            _ => self.dir.join(written),
        };
        let io = |e| Error::io("read the secret in", path.display(), e);
        let mut bytes = Vec::new();
        std::fs::File::open(&path).map_err(io)?.take(LIMIT + 1).read_to_end(&mut bytes).map_err(io)?;
        text(bytes, &format!("the file {}", path.display()))
    }

    fn cmd(&self, command: &str) -> Result<String> {
        let io = |e| Error::io("run the command", "of a secret", e);
        // Its own words go to the terminal; they are never part of our message, which may be stored.
        let mut process = Command::new("sh");
        process.args(["-c", command]).current_dir(self.dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = process.spawn().map_err(io)?;
        let mut bytes = Vec::new();
        if let Some(out) = child.stdout.take() {
            out.take(LIMIT + 1).read_to_end(&mut bytes).map_err(io)?;
        }
        let status = child.wait().map_err(io)?;
        // A command that writes without end is cut off, and dies of it.
        if !status.success() && bytes.len() as u64 <= LIMIT {
            let e = Error::config(format!("the command of a secret failed: {status}"));
            return Err(e.hint("run the command by itself, in the project's folder, to see why"));
        }
        text(bytes, "the command's output")
    }
}

fn text(bytes: Vec<u8>, what: &str) -> Result<String> {
    if bytes.len() as u64 > LIMIT {
        return Err(Error::new(ErrorKind::Config, format!("{what} is too long for a secret: more than {LIMIT} bytes")));
    }
    // The error would hold the bytes.
    let mut text = String::from_utf8(bytes).map_err(|_| Error::config(format!("{what} is not text in UTF-8")))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// Also line by line: what prints a key of several lines rarely prints it whole.
fn register(value: &str) {
    secret::register(value);
    if value.contains('\n') {
        value.lines().map(str::trim).filter(|line| line.len() >= 8).for_each(secret::register);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn environment(name: &str) -> Option<String> {
        (name == "SET").then(|| "value-of-set".to_owned())
    }

    #[test]
    fn every_kind_is_resolved_and_hidden() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pw"), "from-a-file\n").unwrap();
        std::fs::write(dir.path().join("key"), "first-line-of-key\r\nsecond-line-of-key").unwrap();
        let value =
            json!({"a": "${env:SET}", "b": ["x${file:pw}y", 1], "c": {"d": "${cmd:printf '%s' {c}md-out}"}, "e": "$${env:SET}", "k": "${file:key}"});
        let got = resolve_with(&value, dir.path(), &environment).unwrap();
        assert_eq!(got["a"], "value-of-set");
        assert_eq!(got["b"], json!(["xfrom-a-filey", 1]));
        assert_eq!(got["c"]["d"], "{c}md-out");
        assert_eq!(got["e"], "${env:SET}");
        assert_eq!(secret::redact("value-of-set from-a-file {c}md-out second-line-of-key"), "*** *** *** ***");
    }

    #[test]
    fn errors_name_the_reference_and_the_key_and_no_value() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("bin"), b"hidden-\xff-bytes").unwrap();
        for (text, says) in [
            ("${env:UNSET}", "`UNSET` is not set"),
            ("${file:nope}", "nope"),
            ("${file:bin}", "not text"),
            ("${cmd:echo hidden-output; exit 3}", "exit status: 3"),
            ("${cmd:head -c 2000000 /dev/zero}", "too long"),
        ] {
            let e = resolve_with(&json!({"s3": {"secret_key": text}}), dir.path(), &environment).unwrap_err();
            let all = format!("{e:?}");
            assert!(all.contains(says) && all.contains("key: s3.secret_key") && all.contains(&format!("secret: {text}")), "{all}");
            assert!(!e.message().contains("hidden-"), "{all}");
        }
    }
}
