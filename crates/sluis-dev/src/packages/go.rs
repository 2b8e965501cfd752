//! A program by Go: one module at one version, built here; its checksum is compared with what Go wrote into the program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sluis_core::{Error, ErrorKind, Result};

use super::Fetch;
use crate::{home, run};

pub fn fetch(fetch: &Fetch<'_>) -> Result<()> {
    let (Some(module), Some(sum)) = (&fetch.package.go, &fetch.package.sum) else {
        return Err(Error::internal("a Go package without module or sum"));
    };
    let program = fetch.draft.join(fetch.name);
    // It takes minutes to build, and `cargo xtask services` keeps what it built.
    if let Some(kept) = kept(fetch.name, module).filter(|k| is_pinned(k, sum)) {
        std::fs::copy(&kept, &program).map_err(|e| Error::io("copy", kept.display(), e))?;
        return Ok(());
    }
    let go = run::needed("go", &[], "install Go 1.26 or newer")?;
    let mut command = Command::new(go);
    command.arg("install").arg(module).env("GOBIN", fetch.draft).env("GOFLAGS", "-trimpath").env("CGO_ENABLED", "0");
    fetch.client(command)?;
    if is_pinned(&program, sum) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::CorruptInput, "what Go built is not what is pinned")
        .context("module", module)
        .context("wanted", sum)
        .hint("a mirror serves something else under this version"))
}

fn kept(name: &str, module: &str) -> Option<PathBuf> {
    let version = module.split_once('@')?.1;
    Some(home::cache()?.join(format!("{name}-{version}")).join(name)).filter(|p| p.is_file())
}

/// Whether the program says that it was built from the module with this checksum. Without Go nobody can ask, and nothing is trusted.
fn is_pinned(program: &Path, sum: &str) -> bool {
    let mut command = Command::new("go");
    command.args(["version", "-m"]).arg(program);
    let said = run::Run { command, stdin: "", limit: Duration::from_secs(60) }.finish().map(|e| e.output).unwrap_or_default();
    String::from_utf8_lossy(&said).lines().any(|l| {
        let words: Vec<&str> = l.split_whitespace().collect();
        words.first() == Some(&"mod") && words.last() == Some(&sum)
    })
}
