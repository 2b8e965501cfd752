//! Node packages by `npm ci`: exactly what `package-lock.json` says, checksums included.

use std::process::Command;

use sluis_core::{Error, Result};

use super::Fetch;
use crate::{catalog, run};

pub fn fetch(fetch: &Fetch<'_>) -> Result<()> {
    let npm = run::needed("npm", &[], "install Node and npm (Debian: `apt-get install nodejs npm`)")?;
    for name in ["package.json", "package-lock.json"] {
        let path = fetch.draft.join(name);
        std::fs::write(&path, catalog::text(fetch.service, name)?).map_err(|e| Error::io("write", path.display(), e))?;
    }
    let mut command = Command::new(npm);
    command.args(["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(fetch.draft);
    fetch.client(command)
}
