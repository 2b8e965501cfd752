//! Puts every file of `services/` into the library: a service is a folder, and adding one needs no line of code.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("services");
    println!("cargo::rerun-if-changed=services");
    let mut table = String::from("&[\n");
    for service in sorted(&root)? {
        println!("cargo::rerun-if-changed={}", service.display());
        for file in sorted(&service)? {
            let _ = writeln!(table, "    ({:?}, {:?}, include_bytes!({:?})),", name(&service), name(&file), file);
        }
    }
    table.push(']');
    std::fs::write(PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("services.rs"), table)
}

fn sorted(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
