//! Python packages by pip, with hashes, into a folder for `PYTHONPATH` (a virtual environment could not be renamed when it is whole).

use std::process::Command;

use sluis_core::{Error, Result};

use super::Fetch;
use crate::{catalog, run};

pub fn fetch(fetch: &Fetch<'_>) -> Result<()> {
    let name = fetch.package.pip.as_deref().unwrap_or_default();
    let python = run::needed("python3", &[], "install Python 3.11 or newer with pip (Debian: `apt-get install python3-pip`)")?;
    let requirements = fetch.draft.join("requirements.txt");
    std::fs::write(&requirements, catalog::text(fetch.service, name)?).map_err(|e| Error::io("write", requirements.display(), e))?;
    let mut command = Command::new(python);
    command.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--only-binary", ":all:", "--require-hashes"]);
    command.arg("--target").arg(fetch.draft).arg("-r").arg(&requirements);
    fetch.client(command)
}
