//! `cargo xtask tidy`: the rules of the project that no compiler knows. Each says the file, what is wrong, and what the rule is.
//!
//! Deliberately not here: format (rustfmt), lints (clippy), licences ([`crate::deny`]).

mod crates;
mod features;
mod sources;
mod text;

use crate::files;

/// Checks everything; `fix` writes the pinned features anew first.
///
/// # Errors
/// Every finding, one a line.
pub fn run(fix: bool) -> Result<(), String> {
    let all = files::all()?;
    let metadata = files::metadata()?;
    let mut findings = Vec::new();
    sources::check(&all, &mut findings);
    text::check(&all, &mut findings);
    crates::check(&all, &metadata, &mut findings);
    features::check(fix, &mut findings)?;
    if findings.is_empty() {
        println!("tidy: {} files, nothing to say", all.len());
        return Ok(());
    }
    findings.sort();
    findings.dedup();
    Err(format!("{}\ntidy: {} findings", findings.join("\n"), findings.len()))
}
