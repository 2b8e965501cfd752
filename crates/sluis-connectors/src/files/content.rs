//! Hashes of whole files: to tell a file that was touched from one that was rewritten, and to check what a manifest promises.

use std::hash::Hasher;

use futures::TryStreamExt;
use md5::{Digest, Md5};
use sluis_core::{ErrorKind, FileVersion, Result};
use sluis_storage::Storage;
use twox_hash::XxHash64;

use super::config::Identity;
use super::judge::as_stored;

/// Up to this size contents are compared by default: reading such a file twice costs next to nothing.
const SMALL: u64 = 4 << 20;

/// Whether a version gets a content hash: only where the storage keeps no etag, and by default only local small files.
pub fn wanted(version: &FileVersion, identity: Identity) -> bool {
    version.etag.is_none() && (identity == Identity::Content || (version.size <= SMALL && !version.path.contains("://")))
}

/// How contents are hashed. What is hashed is one path before and after, not files among each other, so 64 bits are plenty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// What a version is known by. Ten times as fast as MD5, which took a sixth of a run over thousands of small files.
    Xxh64,
    /// What manifests promise, as `md5sum` prints it; and what ledgers of version 0.1 know versions by.
    Md5,
}

impl Hash {
    const ALL: [Hash; 2] = [Hash::Xxh64, Hash::Md5];

    /// What a hash made by it begins with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Hash::Xxh64 => "xxh64:",
            Hash::Md5 => "md5:",
        }
    }

    /// How an etag that we made from a file's content was made; `None` for an etag of the storage.
    pub fn of(etag: &str) -> Option<Hash> {
        Hash::ALL.into_iter().find(|hash| etag.starts_with(hash.prefix()))
    }
}

/// The prefix and the hexadecimal digits of a version's hash; `None` if that version is gone.
///
/// # Errors
/// As [`Storage::read`].
pub async fn hash(storage: &dyn Storage, path: &str, version: &FileVersion, by: Hash) -> Result<Option<String>> {
    let digest = match by {
        Hash::Xxh64 => {
            digest(storage, path, version, XxHash64::with_seed(0), |h, chunk| h.write(chunk)).await.map(|h| format!("{:016x}", h.finish()))
        }
        Hash::Md5 => digest(storage, path, version, Md5::new(), |h, chunk| h.update(chunk))
            .await
            .map(|h| format!("{:032x}", u128::from_be_bytes(h.finalize().into()))),
    };
    match digest {
        Ok(hex) => Ok(Some(format!("{}{hex}", by.prefix()))),
        Err(e) if matches!(e.kind(), ErrorKind::SourceChanged | ErrorKind::NotFound) => Ok(None),
        Err(e) => Err(e.context("file", &version.path)),
    }
}

async fn digest<H>(storage: &dyn Storage, path: &str, version: &FileVersion, mut hasher: H, add: impl Fn(&mut H, &[u8])) -> Result<H> {
    if version.size > 0 {
        let mut chunks = storage.read(path, Some(&as_stored(version))).await?;
        while let Some(chunk) = chunks.try_next().await? {
            add(&mut hasher, &chunk);
            // Half a gigabyte a second with MD5: let others have the thread between chunks.
            tokio::task::yield_now().await;
        }
    }
    Ok(hasher)
}
