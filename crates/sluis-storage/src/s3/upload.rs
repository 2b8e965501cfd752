//! Writing an object in parts: some parts on their way at once, the size of parts growing with the object.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use md5::{Digest, Md5};
use reqwest::Method;
use sluis_core::{Error, ErrorKind, Result};
use tokio::task::JoinSet;

use super::client::{Call, Client};
use super::xml;
use crate::web::Answer;

/// The size of the first parts; servers want 5 MiB at least, of all but the last.
pub(super) const PART: usize = 8 << 20;
/// So many parts of one size, then the size doubles: 10,000 parts, the most there may be, make 2.5 TB.
const PARTS_OF_A_SIZE: usize = 1000;
const LARGEST_PART: usize = 512 << 20;
/// Parts on their way at once; fewer once they are large, so that a writer stays within some 100 MB.
const AT_ONCE: usize = 3;
/// In an object's metadata: what it was staged as. Copies keep it.
pub(super) const STAGED_AS: &str = "x-amz-meta-sluis-staged";
/// How long a server may take to join or copy, beyond the usual timeout.
pub(super) const JOINING: Duration = Duration::from_secs(300);

fn part_size(number: usize) -> usize {
    PART.checked_shl((number / PARTS_OF_A_SIZE) as u32).unwrap_or(LARGEST_PART).min(LARGEST_PART)
}

/// An upload that was begun, with its parts.
pub(super) struct Upload {
    client: Arc<Client>,
    key: String,
    pub id: String,
    sent: usize,
    etags: Vec<String>,
    on_the_way: JoinSet<Result<(usize, String)>>,
    /// Whether etags are MD5 sums here (not so with some kinds of encryption); known from the first part.
    md5: bool,
}

impl Upload {
    /// Begins one; `staged_as`: what the object is to say of itself.
    pub(super) async fn begin(client: Arc<Client>, key: String, staged_as: Option<&str>) -> Result<Upload> {
        let mut call = Call::new(Method::POST, &key).query("uploads", "");
        if let Some(name) = staged_as {
            call = call.header(STAGED_AS, name);
        }
        let answer = client.call("start the upload of", &call).await?;
        if answer.status != 200 {
            return Err(client.refused("start the upload of", &key, &answer));
        }
        let begun: xml::Begun = xml::parse("starting an upload", &answer.body)?;
        Ok(Upload { client, key, id: begun.upload_id, sent: 0, etags: Vec::new(), on_the_way: JoinSet::new(), md5: true })
    }

    /// Sends a part; waits only if too many are on their way.
    pub(super) async fn send(&mut self, bytes: Bytes) -> Result<()> {
        let most = if bytes.len() > 4 * PART { 1 } else { AT_ONCE };
        while self.on_the_way.len() >= most {
            self.arrived().await?;
        }
        let number = self.sent;
        self.sent += 1;
        if number == 0 {
            // Waited for: says what etags are here, and whether we may write at all, before more is sent.
            let sum = hex(&Md5::digest(&bytes));
            let (_, etag) = send(self.client.clone(), self.key.clone(), self.id.clone(), 0, bytes).await?;
            self.md5 = etag == sum;
            self.etags.push(etag);
            return Ok(());
        }
        self.etags.push(String::new());
        self.on_the_way.spawn(send(self.client.clone(), self.key.clone(), self.id.clone(), number, bytes));
        Ok(())
    }

    async fn arrived(&mut self) -> Result<()> {
        match self.on_the_way.join_next().await {
            Some(Ok(done)) => {
                let (number, etag) = done?;
                self.etags[number] = etag;
                Ok(())
            }
            Some(Err(e)) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            Some(Err(_)) => Err(Error::new(ErrorKind::Interrupted, "the program is stopping")),
            None => Ok(()),
        }
    }

    /// All parts are there: their etags, and the etag that the object will have, where that can be known.
    pub(super) async fn settle(&mut self) -> Result<(Vec<String>, Option<String>)> {
        if self.sent == 0 {
            // An upload of no parts cannot be completed; one empty part makes an empty object.
            self.send(Bytes::new()).await?;
        }
        while !self.on_the_way.is_empty() {
            self.arrived().await?;
        }
        let etags = std::mem::take(&mut self.etags);
        let whole = if self.md5 { joined(&etags) } else { None };
        Ok((etags, whole))
    }
}

async fn send(client: Arc<Client>, key: String, id: String, number: usize, bytes: Bytes) -> Result<(usize, String)> {
    let call = Call::new(Method::PUT, &key).query("partNumber", (number + 1).to_string()).query("uploadId", id).body(bytes);
    let answer = client.call("upload a part of", &call).await?;
    match (answer.status, answer.header("etag")) {
        (200, Some(etag)) => Ok((number, xml::etag(etag))),
        _ if no_such_upload(&answer) => Err(gone(&client, &key)),
        _ => Err(client.refused("upload a part of", &key, &answer)),
    }
}

fn gone(client: &Client, key: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("the upload of s3://{}/{key} was aborted by someone else", client.bucket))
        .hint("another run swept it, or a lifecycle rule of the bucket aborts uploads too soon")
}

pub(super) fn no_such_upload(answer: &Answer) -> bool {
    answer.status == 404 && xml::error(&answer.body).is_some_and(|e| e.code == "NoSuchUpload")
}

/// Joins the parts. `new`: only where there is no object of that name (412 if there is).
pub(super) async fn complete(client: &Client, key: &str, id: &str, parts: &[String], new: bool) -> Result<Answer> {
    let mut call = Call::new(Method::POST, key).query("uploadId", id).body(xml::complete(parts)).patience(JOINING);
    if new {
        call = call.header("if-none-match", "*");
    }
    client.call("complete the upload of", &call).await
}

/// The etag of an object of parts: the MD5 sum of the parts' sums, and how many there are. `None` if they are no MD5 sums.
fn joined(parts: &[String]) -> Option<String> {
    let mut sum = Md5::new();
    for part in parts {
        sum.update(unhex(part)?);
    }
    Some(format!("{}-{}", hex(&sum.finalize()), parts.len()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let mut out = [0; 16];
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    for (i, b) in out.iter_mut().enumerate() {
        *b = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(out)
}

/// Gathers what is written into parts.
pub(super) struct Gather {
    pieces: Vec<Bytes>,
    length: usize,
    parts: usize,
    pub total: u64,
}

impl Gather {
    pub(super) fn new() -> Gather {
        Gather { pieces: Vec::new(), length: 0, parts: 0, total: 0 }
    }

    /// Parts that are full now, each of the size that is its turn.
    pub(super) fn push(&mut self, mut bytes: Bytes) -> Vec<Bytes> {
        self.total += bytes.len() as u64;
        let mut full = Vec::new();
        while self.length + bytes.len() >= part_size(self.parts) {
            let piece = bytes.split_to(part_size(self.parts) - self.length);
            self.length += piece.len();
            self.pieces.push(piece);
            full.push(self.rest());
            self.parts += 1;
        }
        if !bytes.is_empty() {
            self.length += bytes.len();
            self.pieces.push(bytes);
        }
        full
    }

    /// What is left.
    pub(super) fn rest(&mut self) -> Bytes {
        let length = std::mem::take(&mut self.length);
        let mut pieces = std::mem::take(&mut self.pieces);
        if pieces.len() == 1 {
            return pieces.swap_remove(0);
        }
        let mut whole = BytesMut::with_capacity(length);
        for piece in pieces {
            whole.extend_from_slice(&piece);
        }
        whole.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_full_and_grow() {
        let mut g = Gather::new();
        let mut sizes = Vec::new();
        for n in [5 << 20, 2 << 20, 17 << 20, 1, 8 << 20] {
            sizes.extend(g.push(Bytes::from(vec![7; n])).iter().map(Bytes::len));
        }
        assert_eq!(sizes, [PART; 4]);
        assert_eq!((g.rest().len(), g.rest().len(), g.total), (1, 0, (32 << 20) + 1));
        assert_eq!([0, 999, 1000, 5999, 6000, 9999].map(part_size), [PART, PART, 2 * PART, 32 * PART, LARGEST_PART, LARGEST_PART]);
    }

    #[test]
    fn the_etag_of_an_object_of_parts() {
        // The parts `a` and `b`: known sums.
        let parts = ["0cc175b9c0f1b6a831c399e269772661".to_owned(), "92eb5ffee6ae2fec3ad71c777531578f".to_owned()];
        let mut sum = Md5::new();
        sum.update(Md5::digest(b"a"));
        sum.update(Md5::digest(b"b"));
        assert_eq!(joined(&parts).unwrap(), format!("{}-2", hex(&sum.finalize())));
        assert_eq!(joined(&["not-an-md5".to_owned()]), None);
    }
}
