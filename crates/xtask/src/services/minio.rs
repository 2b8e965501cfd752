//! MinIO, built by Go from its pinned module.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{cache, folder};
use crate::process;

const MODULE: &str = "github.com/minio/minio";
const VERSION: &str = "v0.0.0-20260212201848-7aac2a2c5b7c";
/// It takes about 7 CPU minutes; loaded machines need patience.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// Puts the pinned MinIO at `target/services/bin/minio`.
///
/// # Errors
/// If there is no Go, or the build fails.
pub fn install() -> Result<(), String> {
    let program = folder("bin")?.join("minio");
    if is_pinned(&program) {
        println!("services: minio is there");
        keep(&program);
        return Ok(());
    }
    let kept = kept();
    if let Some(kept) = kept.as_deref().filter(|k| is_pinned(k)) {
        copy(kept, &program)?;
        println!("services: minio taken from {}", kept.display());
        return Ok(());
    }
    if !process::on_path("go") {
        return Err(format!("no Go: please install Go 1.26 or newer (the S3 server of the tests is built by `go install {MODULE}@{VERSION}`)"));
    }
    println!("services: minio is being built by Go (about 7 CPU minutes, once per user)");
    let begun = Instant::now();
    let log = process::scratch("logs")?.join("minio.log");
    // Politely: the Rust build runs beside it.
    let mut build = if process::on_path("nice") { Command::new("nice") } else { Command::new("go") };
    if process::on_path("nice") {
        build.args(["-n", "5", "go"]);
    }
    build.arg("install").arg(format!("{MODULE}@{VERSION}")).env("GOBIN", folder("bin")?).env("GOFLAGS", "-trimpath").env("CGO_ENABLED", "0");
    match process::logged(&mut build, &log, LIMIT)? {
        Some(status) if status.success() => {}
        Some(_) => return Err(format!("minio cannot be built: {}\n(whole log: {})", process::tail(&log, 5), log.display())),
        None => return Err(format!("minio was not built within {} minutes; run `cargo xtask services` again", LIMIT.as_secs() / 60)),
    }
    if !is_pinned(&program) {
        return Err(format!("{} is not the pinned version {VERSION}", program.display()));
    }
    println!("services: minio built in {} s", begun.elapsed().as_secs());
    keep(&program);
    Ok(())
}

/// Where the built program is kept for the next clone.
fn kept() -> Option<PathBuf> {
    cache().map(|c| c.join(format!("minio-{VERSION}")).join("minio"))
}

/// The cache only saves time: if it cannot be written, nothing is lost.
fn keep(program: &Path) {
    if let Some(kept) = kept().filter(|k| !k.is_file()) {
        let _ = copy(program, &kept);
    }
}

/// Copies under another name first, so that nobody ever meets half a program.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let part = to.with_extension(format!("part{}", std::process::id()));
    let copied =
        to.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::copy(from, &part)).and_then(|_| std::fs::rename(&part, to));
    copied.map_err(|e| format!("cannot copy {} to {}: {e}", from.display(), to.display()))
}

/// Whether the program says that it was built from the pinned module. Without Go nobody can ask; then the name must do.
fn is_pinned(program: &Path) -> bool {
    if !program.is_file() {
        return false;
    }
    match process::output(Command::new("go").args(["version", "-m"]).arg(program)) {
        Ok(said) => said.lines().any(|l| l.split_whitespace().collect::<Vec<_>>().starts_with(&["mod", MODULE, VERSION])),
        Err(_) => !process::on_path("go"),
    }
}
