//! Hashes of whole files: to tell a file that was touched from one that was rewritten, and to check what a manifest promises.

use futures::TryStreamExt;
use md5::{Digest, Md5};
use sluis_core::{ErrorKind, FileVersion, Result};
use sluis_storage::Storage;

use super::config::Identity;
use super::judge::{CONTENT, as_stored};

/// Up to this size contents are compared by default: reading such a file twice costs next to nothing.
const SMALL: u64 = 4 << 20;

/// Whether a version gets a content hash: only where the storage keeps no etag, and by default only local small files.
pub fn wanted(version: &FileVersion, identity: Identity) -> bool {
    version.etag.is_none() && (identity == Identity::Content || (version.size <= SMALL && !version.path.contains("://")))
}

/// `md5:<hex>` of a version's bytes, as `md5sum` would print it; `None` if that version is gone.
///
/// # Errors
/// As [`Storage::read`].
pub async fn hash(storage: &dyn Storage, path: &str, version: &FileVersion) -> Result<Option<String>> {
    match digest(storage, path, version).await {
        Ok(hex) => Ok(Some(format!("{CONTENT}{hex}"))),
        Err(e) if matches!(e.kind(), ErrorKind::SourceChanged | ErrorKind::NotFound) => Ok(None),
        Err(e) => Err(e.context("file", &version.path)),
    }
}

async fn digest(storage: &dyn Storage, path: &str, version: &FileVersion) -> Result<String> {
    let mut md5 = Md5::new();
    if version.size > 0 {
        let mut chunks = storage.read(path, Some(&as_stored(version))).await?;
        while let Some(chunk) = chunks.try_next().await? {
            md5.update(&chunk);
            // Half a gigabyte a second: let others have the thread between chunks.
            tokio::task::yield_now().await;
        }
    }
    Ok(md5.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
