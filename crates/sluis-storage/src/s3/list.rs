//! Listing: page after page, in the order of keys.

use std::sync::Arc;

use reqwest::Method;
use sluis_core::Result;

use super::client::{Call, Client};
use super::xml;
use crate::Entry;

/// Pages of a listing.
pub(super) struct Lister {
    pub client: Arc<Client>,
    /// Only keys that start so.
    pub prefix: String,
    /// Only what is directly below the prefix.
    pub delimited: bool,
    pub start_after: Option<String>,
    pub token: Option<String>,
    /// Length of the root's prefix, to be cut off.
    pub below: usize,
    pub done: bool,
}

impl Lister {
    /// The next page: files and folder names; `None` after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<(Vec<Entry>, Vec<String>)>> {
        if self.done {
            return Ok(None);
        }
        let mut call = Call::new(Method::GET, "").query("list-type", "2").query("encoding-type", "url");
        if !self.prefix.is_empty() {
            call = call.query("prefix", self.prefix.clone());
        }
        if self.delimited {
            call = call.query("delimiter", "/");
        }
        call = match (&self.token, &self.start_after) {
            (Some(token), _) => call.query("continuation-token", token.clone()),
            (None, Some(after)) => call.query("start-after", after.clone()),
            (None, None) => call,
        };
        let answer = self.client.call("list", &call).await?;
        if answer.status != 200 {
            return Err(self.client.refused("list", &self.prefix, &answer));
        }
        let page: xml::Page = xml::parse("a listing", &answer.body)?;
        self.token = page.next_continuation_token.filter(|_| page.is_truncated);
        self.done = self.token.is_none();
        let encoding = page.encoding_type.as_deref();
        let (mut files, mut folders) = (Vec::with_capacity(page.contents.len()), Vec::new());
        for object in page.contents {
            let key = xml::decoded(object.key, encoding)?;
            // `folder/` objects are what consoles make of an empty folder.
            if !key.ends_with('/') {
                let path = key[self.below..].to_owned();
                files.push(Entry { path, size: object.size, modified: object.last_modified, etag: object.etag.as_deref().map(xml::etag) });
            }
        }
        for prefix in page.common_prefixes {
            let prefix = xml::decoded(prefix.prefix, encoding)?;
            folders.push(prefix[self.prefix.len()..].trim_end_matches('/').to_owned());
        }
        Ok(Some((files, folders)))
    }
}
