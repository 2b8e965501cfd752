//! Real services for tests: found where `cargo xtask services` puts them, started on free ports, gone with the test process.
//!
//! Never skipped: a missing binary is a panic that says which command builds it.

mod cluster;
mod minio;

pub use cluster::{Running, service};
pub use minio::MinIo;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The program `name` as `cargo xtask services` installs it.
///
/// # Panics
/// If it is not there.
pub fn binary(name: &str) -> PathBuf {
    installed(&format!("bin/{name}"))
}

/// The Python that has the readers of `tests/readers/requirements.txt`.
///
/// # Panics
/// If it is not there.
pub fn python() -> PathBuf {
    installed("venv/bin/python")
}

fn installed(below: &str) -> PathBuf {
    let path = target().join("services").join(below);
    assert!(path.is_file(), "{} is not there: run `cargo xtask services` once (it builds the services that tests need)", path.display());
    path
}

/// Where cargo builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target")), PathBuf::from)
}

/// A port that nobody listens on at this moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// A program that is killed with this value, and also when the test process ends in whatever way: a shell waits at the other end of a
/// pipe that only this process holds, kills the program when the pipe closes, and removes its folder.
struct Service {
    shell: Child,
}

impl Service {
    fn start(command: &mut Command, folder: &std::path::Path) -> Service {
        const GUARD: &str =
            r#"folder="$1"; shift; "$@" >"$folder/log" 2>&1 & p=$!; cat >/dev/null; kill -9 $p 2>/dev/null; wait $p 2>/dev/null; rm -rf "$folder""#;
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(GUARD).arg("guard").arg(folder).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(key, value),
                None => shell.env_remove(key),
            };
        }
        let shell = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh");
        Service { shell }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// One HTTP/1.1 exchange on a connection of its own: status and body. Small bodies only.
fn http(address: &str, head: &str, body: &[u8]) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}
