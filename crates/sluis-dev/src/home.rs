//! Where everything lies: one folder per user, packages and clusters in it.
//!
//! `$SLUIS_DEV_HOME`, else `sluis/dev` in the user's cache folder. Deliberately not here: what lies there.

use std::path::{Path, PathBuf};

use sluis_core::{Error, Result};

/// The user's folder for packages and clusters.
#[derive(Debug, Clone)]
pub struct Home {
    folder: PathBuf,
}

impl Home {
    /// The one that the environment names.
    ///
    /// # Errors
    /// If neither `SLUIS_DEV_HOME` nor a home folder is set.
    pub fn of_user() -> Result<Home> {
        if let Some(folder) = std::env::var_os("SLUIS_DEV_HOME").filter(|f| !f.is_empty()) {
            return Home::at(Path::new(&folder));
        }
        match cache() {
            Some(cache) => Home::at(&cache.join("dev")),
            None => Err(Error::config("there is no home folder to keep development clusters in").hint("set SLUIS_DEV_HOME to a folder")),
        }
    }

    /// A folder of your choice; made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn at(folder: &Path) -> Result<Home> {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("make the folder", folder.display(), e))?;
        // The real path: it marks processes, and must be the same however it is reached.
        let folder = folder.canonicalize().map_err(|e| Error::io("find", folder.display(), e))?;
        Ok(Home { folder })
    }

    /// Where packages lie.
    pub fn packages(&self) -> PathBuf {
        self.folder.join("packages")
    }

    /// Where the clusters lie.
    pub fn clusters(&self) -> PathBuf {
        self.folder.join("clusters")
    }
}

/// `$XDG_CACHE_HOME/sluis` or `~/.cache/sluis`.
pub fn cache() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    Some(set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?.join("sluis"))
}

/// Writes a file whole or not at all.
///
/// # Errors
/// If it cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let draft = path.with_file_name(format!(".{}.tmp", path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()));
    std::fs::write(&draft, bytes).and_then(|()| std::fs::rename(&draft, path)).map_err(|e| Error::io("write", path.display(), e))
}

/// Makes a folder and those above it.
///
/// # Errors
/// If it cannot be made.
pub fn folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|e| Error::io("make the folder", path.display(), e))
}
