//! Markers of uploads that were begun, and their removal together with the uploads that nobody will complete.

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream::{self, StreamExt, TryStreamExt};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use sluis_core::{Error, ErrorKind, Result};

use super::client::{Call, Client};
use super::{HIDDEN, S3Storage, upload, xml};
use crate::{StagedFile, Staging, Storage};

/// What a marker's name ends with.
pub(super) const MARKER: &str = ".upload";
/// What a small staged object's name ends with.
pub(super) const STAGED: &str = ".staged";
/// Markers worked on at once.
const AT_ONCE: usize = 8;

/// What a marker holds.
#[derive(Serialize, Deserialize)]
struct Marker {
    /// The key that the upload is of.
    key: String,
}

pub(super) async fn mark(client: &Client, marker: &str, key: &str) -> Result<()> {
    let body = serde_json::to_vec(&Marker { key: key.to_owned() }).map_err(|e| Error::internal("a marker cannot be written").source(e))?;
    let answer = client.call("write", &Call::new(Method::PUT, marker).body(body)).await?;
    if answer.status == 200 { Ok(()) } else { Err(client.refused("write", marker, &answer)) }
}

pub(super) async fn delete(client: &Client, key: &str) -> Result<()> {
    let answer = client.call("delete", &Call::new(Method::DELETE, key)).await?;
    let bucket_missing = || xml::error(&answer.body).is_some_and(|e| e.code == "NoSuchBucket");
    match answer.status {
        200 | 204 => Ok(()),
        404 if !bucket_missing() => Ok(()),
        _ => Err(client.refused("delete", key, &answer)),
    }
}

pub(super) async fn abort(client: &Client, key: &str, id: &str) -> Result<()> {
    let answer = client.call("abort the upload of", &Call::new(Method::DELETE, key).query("uploadId", id)).await?;
    if matches!(answer.status, 200 | 204) || upload::no_such_upload(&answer) {
        Ok(())
    } else {
        Err(client.refused("abort the upload of", key, &answer))
    }
}

/// Ids of the open uploads of exactly this key. (MinIO lists by whole keys only, others by prefix.)
async fn open(client: &Client, key: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut after: Option<(String, String)> = None;
    loop {
        let mut call = Call::new(Method::GET, "").query("uploads", "").query("prefix", key).query("encoding-type", "url");
        if let Some((key, id)) = &after {
            call = call.query("key-marker", key.clone()).query("upload-id-marker", id.clone());
        }
        let answer = client.call("list the uploads of", &call).await?;
        if answer.status != 200 {
            let error = client.refused("list the uploads of", key, &answer);
            let forbidden = error.kind() == ErrorKind::Permission;
            return Err(if forbidden { error.context("permission", "s3:ListBucketMultipartUploads") } else { error });
        }
        let page: xml::Uploads = xml::parse("a listing of uploads", &answer.body)?;
        let encoding = page.encoding_type.as_deref();
        let mut beyond = false;
        for upload in page.upload {
            let listed = xml::decoded(upload.key, encoding)?;
            beyond |= listed.as_str() > key;
            if listed == key {
                found.push(upload.upload_id);
            }
        }
        after = match (page.is_truncated && !beyond, page.next_key_marker, page.next_upload_id_marker) {
            (true, Some(key), id) => Some((xml::decoded(key, encoding)?, id.unwrap_or_default())),
            _ => return Ok(found),
        };
    }
}

/// Aborts what was begun under the scope and is not kept, removes hidden objects that are not kept, and markers whose uploads are gone.
/// Counts the uploads and objects.
pub(super) async fn sweep(storage: &S3Storage, scope_prefix: &str, keep: &[StagedFile]) -> Result<u64> {
    let kept: Vec<(String, &str)> = keep
        .iter()
        .filter_map(|f| match &f.staging {
            Staging::Multipart { upload, .. } => Some(storage.key(&f.target).map(|key| (key, upload.as_str()))),
            Staging::Hidden { .. } => None,
        })
        .collect::<Result<_>>()?;
    let hidden: HashSet<&str> = keep
        .iter()
        .filter_map(|f| match &f.staging {
            Staging::Hidden { path } => Some(path.as_str()),
            Staging::Multipart { .. } => None,
        })
        .collect();
    let folder = format!("{HIDDEN}/{}", scope_prefix.trim_matches('/'));
    let small = AtomicU64::new(0);
    let found = storage.list(&folder, None).try_filter(|entry| {
        std::future::ready(entry.path.ends_with(MARKER) || (entry.path.ends_with(STAGED) && !hidden.contains(entry.path.as_str())))
    });
    let keys = found.map(|found| async {
        let path = found?.path;
        if path.ends_with(MARKER) {
            return key_of(storage, path).await;
        }
        delete(&storage.client, &storage.key(&path)?).await?;
        small.fetch_add(1, Ordering::Relaxed);
        Ok(None)
    });
    // Several attempts may have begun uploads of one key.
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut keys = pin!(keys.buffer_unordered(AT_ONCE));
    while let Some(found) = keys.try_next().await? {
        if let Some((key, marker)) = found {
            by_key.entry(key).or_default().push(marker);
        }
    }
    stream::iter(by_key)
        .map(|(key, markers)| {
            let kept: Vec<&str> = kept.iter().filter(|(k, _)| *k == key).map(|(_, id)| *id).collect();
            async move { one(&storage.client, &key, &markers, &kept).await }
        })
        .buffer_unordered(AT_ONCE)
        .try_fold(small.load(Ordering::Relaxed), |sum, n| std::future::ready(Ok(sum + n)))
        .await
}

/// The key that a marker is about, and the marker's own key; `None` if the marker is gone.
async fn key_of(storage: &S3Storage, marker: String) -> Result<Option<(String, String)>> {
    let body = match crate::read_all(storage, &marker, None).await {
        Ok(body) => body,
        // Another sweep was faster.
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    match serde_json::from_slice(&body) {
        Ok(Marker { key }) => Ok(Some((key, storage.key(&marker)?))),
        Err(e) => Err(Error::new(ErrorKind::Conflict, format!("{} is not what sluis writes there", storage.address(&marker)))
            .hint("the folder `_sluis` belongs to sluis; remove the foreign object")
            .source(e)),
    }
}

async fn one(client: &Client, key: &str, markers: &[String], kept: &[&str]) -> Result<u64> {
    let (keep, lost): (Vec<_>, Vec<_>) = open(client, key).await?.into_iter().partition(|id| kept.contains(&id.as_str()));
    stream::iter(&lost).map(Ok).try_for_each_concurrent(AT_ONCE, |id| abort(client, key, id)).await?;
    if keep.is_empty() {
        stream::iter(markers).map(Ok).try_for_each_concurrent(AT_ONCE, |marker| delete(client, marker)).await?;
    }
    Ok(lost.len() as u64)
}
