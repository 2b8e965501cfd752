//! The files of a place as a stream, with no look into folders that cannot hold a match.
//!
//! Memory: where a pattern may match at any depth, what the storage's listing takes; else the names of one folder per level.

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sluis_core::{Error, ErrorKind, Result};
use sluis_storage::Entry;

use super::place::Place;

/// A listing.
pub struct Listing {
    pub entries: BoxStream<'static, Result<Entry>>,
    /// Whether paths come in byte order.
    pub sorted: bool,
}

/// Lists a place; only paths after `after`, if the listing is sorted.
///
/// # Errors
/// `ErrorKind::NotFound`: the URL names nothing. Later errors come in the stream.
pub async fn list(place: &Place, after: Option<&str>) -> Result<Listing> {
    let mut folder = String::new();
    if !place.named.is_empty() {
        if let Some(entry) = place.storage.head(&place.named).await.map_err(|e| located(e, place))? {
            return Ok(Listing { entries: stream::iter([Ok(entry)]).boxed(), sorted: true });
        }
        if !folder_exists(place).await? {
            return Err(nothing(place));
        }
        folder = place.named.clone();
    }
    let walk = place.pattern.walk();
    folder = join(&folder, &walk.folder);
    let shown = place.clone();
    let (entries, sorted) = match &walk.levels {
        None => (place.storage.list(&folder, after), place.storage.sorted()),
        Some(levels) => (by_levels(place, folder, levels.len(), after), true),
    };
    let after = after.map(str::to_owned).filter(|_| sorted);
    let entries = entries.try_filter(move |entry| {
        // Storages may ignore where to start.
        std::future::ready(after.as_deref().is_none_or(|after| entry.path.as_str() > after))
    });
    Ok(Listing { entries: entries.map_err(move |e| located(e, &shown)).boxed(), sorted })
}

/// Whether there is anything below the path that a URL names, which is no file.
async fn folder_exists(place: &Place) -> Result<bool> {
    match place.storage.list_folder(&place.named).await {
        Ok((files, folders)) => Ok(!files.is_empty() || !folders.is_empty()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(located(e, place)),
    }
}

fn nothing(place: &Place) -> Error {
    Error::not_found(format!("there is no file and no folder {}", place.storage.address(&place.named)))
        .hint("correct `url`; a folder that exists and is empty is fine")
}

/// Adds to an error of a listing whose it is and what can be done.
fn located(e: Error, place: &Place) -> Error {
    let e = e.context("url", &place.url);
    match e.kind() {
        ErrorKind::NotFound => e.hint("create the folder or correct `url`; a folder that exists and is empty is fine"),
        ErrorKind::Permission => e.hint("give the user that runs sluis the right to list and read these files"),
        _ => e,
    }
}

/// Folder by folder, in byte order of the whole path: all files are at one depth, so sorting each folder with its `/` is enough.
fn by_levels(place: &Place, folder: String, depth: usize, after: Option<&str>) -> BoxStream<'static, Result<Entry>> {
    let place = place.clone();
    let after = after.map(str::to_owned);
    // Folders still to be looked into, the next one last.
    let todo = vec![(folder, 0)];
    stream::try_unfold((place, todo, after), move |(place, mut todo, after)| async move {
        let Some((folder, level)) = todo.pop() else { return Ok::<_, Error>(None) };
        let (mut files, folders) = place.storage.list_folder(&folder).await?;
        if level == depth {
            files.sort_by(|a, b| a.path.cmp(&b.path));
        } else {
            files.clear();
            let levels = place.pattern.walk().levels.as_deref().unwrap_or_default();
            let mut below: Vec<String> = folders.into_iter().filter(|name| levels[level].is_match(name)).collect();
            below.sort_by_cached_key(|name| format!("{name}/"));
            let below = below.into_iter().map(|name| join(&folder, &name)).filter(|path| may_hold_later(path, after.as_deref()));
            let at = todo.len();
            todo.extend(below.map(|path| (path, level + 1)));
            todo[at..].reverse();
        }
        Ok(Some((stream::iter(files.into_iter().map(Ok)), (place, todo, after))))
    })
    .try_flatten()
    .boxed()
}

/// Whether a path after `after` can be in a folder.
fn may_hold_later(folder: &str, after: Option<&str>) -> bool {
    let below = format!("{folder}/");
    after.is_none_or(|after| below.as_str() > after || after.starts_with(&below))
}

fn join(folder: &str, name: &str) -> String {
    match (folder.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (_, true) => folder.to_owned(),
        _ => format!("{folder}/{name}"),
    }
}
