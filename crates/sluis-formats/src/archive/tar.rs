//! Tar: ustar, pax and GNU's long names, compressed or not.
//!
//! A plain tar is walked from header to header, and each member read on its own. A compressed one is a stream: members of up to [`HELD`]
//! bytes are held, so that they too can be read side by side; a larger one flows, and comes alone. If a format looks at it twice, or at
//! random places, the archive is read anew up to it. Folders, links and devices are passed over; sparse files are refused.
//! Guarantee: an archive without its end (two blocks of zeros, or one and the file's end) is damaged, never shorter.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex as Cell, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt};
use sluis_core::{Error, FileVersion, Member, Members, RawFile, Result, Unpacking};
use tokio::sync::{Mutex, OnceCell, OwnedMutexGuard};

use super::member::{Held, Packing, Place, Stretch};
use super::tar_header::{BLOCK, Header, Kind, Records, header, records, sparse};
use super::window::Windows;
use super::{Choose, damaged, member_version, not_nested, of_file, tar_compression, tidy_name};
use crate::compress::spool::Spool;
use crate::compress::unpack::Unpacked;
use crate::compress::{Compression, HEAD};

/// Members of compressed tars up to this size are held.
pub const HELD: u64 = 4 << 20;
/// The longest name, or list of records.
const LONG: u64 = 1 << 20;

/// An open tar.
pub struct Tar {
    archive: Arc<dyn RawFile>,
    unpacking: Arc<Unpacking>,
    choose: Choose,
    walk: Arc<Mutex<Walk>>,
    /// Members so far, wanted or not.
    number: u64,
    /// Stored bytes that members so far were told to take.
    told: u64,
    ended: bool,
}

/// A tar, from header to header.
struct Walk {
    input: Input,
    /// Bytes of the archive (plain) in front of the next header, or of what is left of a member.
    at: u64,
    /// What is left of the member before the next header, with what fills its last block.
    rest: u64,
}

enum Input {
    Plain(Arc<Windows>),
    Packed {
        unpacked: Box<Unpacked>,
        /// Plain bytes that have come.
        held: Bytes,
        ended: bool,
    },
}

/// A file in the tar.
struct Found {
    name: String,
    size: u64,
}

impl Tar {
    /// Reads the first bytes. A file of no bytes is an archive of no members.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn open(archive: Arc<dyn RawFile>, choose: Choose) -> Result<Self> {
        let unpacking = archive.unpacking();
        let walk = Arc::new(Mutex::new(Walk::open(archive.clone(), &unpacking).await?));
        let ended = archive.version().size == 0;
        Ok(Self { archive, unpacking, choose, walk, number: 0, told: 0, ended })
    }

    async fn find(&mut self) -> Result<Option<Member>> {
        while !self.ended {
            // Waits until a member that flows has been read, or dropped.
            let mut walk = self.walk.clone().lock_owned().await;
            let Some(Found { name, size }) = walk.next().await? else {
                self.ended = true;
                break;
            };
            self.number += 1;
            let Some(constants) = (self.choose)(&name) else { continue };
            not_nested(&name)?;
            return self.member(walk, name, size, constants).await.map(Some);
        }
        Ok(None)
    }

    async fn member(&mut self, mut walk: OwnedMutexGuard<Walk>, name: String, size: u64, constants: BTreeMap<String, String>) -> Result<Member> {
        let version = member_version(self.archive.version(), &name, size);
        let unpacking = self.unpacking.clone();
        if let Input::Plain(windows) = &walk.input {
            let place = Place::At(walk.at..walk.at + size);
            let stretch =
                Stretch { version, windows: windows.clone(), place, packing: Packing::Stored, crc: None, unpacking, spool: OnceCell::new() };
            return Ok(Member { file: Arc::new(stretch), constants, stored: size, alone: false });
        }
        let stored = walk.consumed() - self.told;
        self.told += stored;
        if size <= HELD {
            let bytes = walk.take(size).await?;
            return Ok(Member { file: Arc::new(Held { version, bytes, unpacking }), constants, stored, alone: false });
        }
        let flow = Flow { walk: Some(walk), left: size };
        let (archive, number) = (self.archive.clone(), self.number);
        let flowing = Flowing { version, archive, number, flow: Cell::new(Some(flow)), unpacking, spool: OnceCell::new() };
        Ok(Member { file: Arc::new(flowing), constants, stored, alone: true })
    }
}

#[async_trait]
impl Members for Tar {
    fn count(&self) -> Option<usize> {
        None
    }

    async fn next(&mut self) -> Result<Option<Member>> {
        let found = self.find().await;
        self.ended |= found.is_err();
        found.map_err(|e| of_file(e, &self.archive.version().path))
    }

    async fn verify(&self) -> Result<()> {
        self.archive.verify().await
    }
}

impl Walk {
    async fn open(archive: Arc<dyn RawFile>, unpacking: &Arc<Unpacking>) -> Result<Walk> {
        let size = archive.version().size;
        let windows = Arc::new(Windows::new(archive.clone()));
        let head = windows.get(0..size.min(HEAD as u64)).await?;
        let compression = tar_compression(&archive.version().path, &head);
        let input = if compression == Compression::None {
            Input::Plain(windows)
        } else {
            let unpacked = Unpacked::open_within(archive, compression, unpacking.clone()).await?;
            Input::Packed { unpacked: Box::new(unpacked), held: Bytes::new(), ended: false }
        };
        Ok(Walk { input, at: 0, rest: 0 })
    }

    /// Stored bytes read so far.
    fn consumed(&self) -> u64 {
        match &self.input {
            Input::Plain(_) => self.at,
            Input::Packed { unpacked, .. } => unpacked.consumed(),
        }
    }

    /// The next file; what is left of the one before is passed over.
    async fn next(&mut self) -> Result<Option<Found>> {
        let (mut long, mut about) = (None, Records::default());
        loop {
            self.skip().await?;
            let Some(Header { name, mut size, kind }) = self.header().await? else { return Ok(None) };
            if kind == Kind::File {
                size = about.size.unwrap_or(size);
            }
            // Filled up to a whole block.
            self.rest =
                size.checked_next_multiple_of(BLOCK as u64).ok_or_else(|| damaged("the length in a header of the tar archive is too large"))?;
            match kind {
                Kind::LongName => {
                    let mut text = self.long(size).await?;
                    text.truncate(text.iter().position(|b| *b == 0).unwrap_or(text.len()));
                    long = Some(text);
                }
                Kind::Records => about = records(&self.long(size).await?)?,
                Kind::Ignored => {}
                Kind::Other => (long, about) = (None, Records::default()),
                Kind::File => {
                    let name = about.path.take().or(long.take()).unwrap_or(name);
                    if about.sparse {
                        return Err(sparse(&name));
                    }
                    if let Input::Plain(windows) = &self.input
                        && self.at.checked_add(size).is_none_or(|end| end > windows.size())
                    {
                        return Err(damaged(format!(
                            "the tar archive is cut off: its member {} goes beyond its end",
                            String::from_utf8_lossy(&name)
                        )));
                    }
                    let name = tidy_name(&String::from_utf8_lossy(&name));
                    if name.is_empty() || name.ends_with('/') {
                        (long, about) = (None, Records::default());
                        continue;
                    }
                    return Ok(Some(Found { name, size }));
                }
            }
        }
    }

    /// The next header; `None` at the end.
    async fn header(&mut self) -> Result<Option<Header>> {
        let cut_off = || damaged("the tar archive is cut off: it has no end");
        let block = self.block().await?.ok_or_else(cut_off)?;
        if let Some(header) = header(&block)? {
            return Ok(Some(header));
        }
        // The second block of zeros; some programs write one.
        match self.block().await? {
            Some(block) if header(&block)?.is_some() => Err(damaged("the tar archive goes on behind its end")),
            Some(_) => {
                // A compressed archive is whole only if its last byte is there.
                while !self.more().await?.is_empty() {}
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// The next block; `None` where the file ends.
    async fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let bytes = match &self.input {
            Input::Plain(windows) => windows.get(self.at.min(windows.size())..(self.at + BLOCK as u64).min(windows.size())).await?,
            Input::Packed { .. } => {
                let mut block = BytesMut::new();
                while block.len() < BLOCK {
                    let more = self.pull(BLOCK - block.len()).await?;
                    if more.is_empty() {
                        break;
                    }
                    block.extend_from_slice(&more);
                }
                block.freeze()
            }
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        self.at += bytes.len() as u64;
        bytes.as_ref().try_into().map(Some).map_err(|_| damaged("the tar archive is cut off in a header"))
    }

    /// The text behind a header, which is not long.
    async fn long(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > LONG {
            return Err(damaged(format!("a name or record of {size} bytes in the tar archive")));
        }
        self.take(size).await.map(Vec::from)
    }

    /// The next bytes of the member.
    async fn take(&mut self, size: u64) -> Result<Bytes> {
        let mut all = BytesMut::new();
        while (all.len() as u64) < size {
            let more = self.piece(size - all.len() as u64).await?;
            if more.len() as u64 == size {
                return Ok(more);
            }
            all.extend_from_slice(&more);
        }
        Ok(all.freeze())
    }

    /// Up to `most` bytes of the member.
    async fn piece(&mut self, most: u64) -> Result<Bytes> {
        let bytes = match &self.input {
            Input::Plain(windows) => windows.next(&mut (self.at..self.at.saturating_add(most))).await?,
            Input::Packed { .. } => self.pull(usize::try_from(most).unwrap_or(usize::MAX)).await?,
        };
        if bytes.is_empty() {
            return Err(damaged("the tar archive is cut off in a member"));
        }
        self.at += bytes.len() as u64;
        self.rest -= bytes.len() as u64;
        Ok(bytes)
    }

    /// Passes over the rest of the member.
    async fn skip(&mut self) -> Result<()> {
        if let Input::Plain(_) = &self.input {
            self.at = self.at.checked_add(self.rest).ok_or_else(|| damaged("the length in a header of the tar archive is too large"))?;
            self.rest = 0;
        }
        while self.rest > 0 {
            self.piece(self.rest).await?;
        }
        Ok(())
    }

    /// Up to `most` plain bytes of a compressed archive; empty at its end.
    async fn pull(&mut self, most: usize) -> Result<Bytes> {
        let more = self.more().await?;
        let Input::Packed { held, .. } = &mut self.input else { return Ok(more) };
        let mut more = more;
        let part = more.split_to(most.min(more.len()));
        *held = more;
        Ok(part)
    }

    /// The next plain bytes of a compressed archive, as they come; empty at its end, and for a plain one.
    async fn more(&mut self) -> Result<Bytes> {
        let Input::Packed { unpacked, held, ended } = &mut self.input else { return Ok(Bytes::new()) };
        if !held.is_empty() {
            return Ok(std::mem::take(held));
        }
        if *ended {
            return Ok(Bytes::new());
        }
        let next = unpacked.next().await?;
        *ended = next.is_none();
        Ok(next.unwrap_or_default())
    }
}

/// A member that flows by.
struct Flow {
    /// Nobody else moves on meanwhile. `None` when it has all been read.
    walk: Option<OwnedMutexGuard<Walk>>,
    left: u64,
}

impl Flow {
    fn into_stream(self) -> BoxStream<'static, Result<Bytes>> {
        stream::try_unfold(self, |mut flow| async {
            let Some(walk) = flow.walk.as_mut().filter(|_| flow.left > 0) else { return Ok(None) };
            let piece = walk.piece(flow.left).await?;
            flow.left -= piece.len() as u64;
            if flow.left == 0 {
                flow.walk = None;
            }
            Ok::<_, Error>(Some((piece, flow)))
        })
        .boxed()
    }
}

/// A large member of a compressed tar.
struct Flowing {
    version: FileVersion,
    archive: Arc<dyn RawFile>,
    /// Which file of the tar it is, from 1.
    number: u64,
    /// Until it is first read.
    flow: Cell<Option<Flow>>,
    unpacking: Arc<Unpacking>,
    spool: OnceCell<Arc<Spool>>,
}

impl Flowing {
    /// Goes to the member from the archive's beginning.
    async fn anew(&self) -> Result<Flow> {
        let walk = Walk::open(self.archive.clone(), &self.archive.unpacking()).await?;
        let mut walk = Arc::new(Mutex::new(walk)).lock_owned().await;
        let mut found = None;
        for _ in 0..self.number {
            found = walk.next().await?;
        }
        let left = found.filter(|f| f.size == self.version.size).map(|f| f.size);
        Ok(Flow { left: left.ok_or_else(|| Error::internal("a member of a tar is not where it was"))?, walk: Some(walk) })
    }

    async fn flow(&self) -> Result<BoxStream<'static, Result<Bytes>>> {
        let first = self.flow.lock().unwrap_or_else(PoisonError::into_inner).take();
        let flow = match first {
            Some(flow) => flow,
            None => self.anew().await?,
        };
        let path = self.version.path.clone();
        Ok(flow.into_stream().map(move |piece| piece.map_err(|e| of_file(e, &path))).boxed())
    }
}

#[async_trait]
impl RawFile for Flowing {
    fn version(&self) -> &FileVersion {
        &self.version
    }

    async fn stream(&self) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.flow().await.map_err(|e| of_file(e, &self.version.path))
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        let make = || async { Spool::of(self.stream().await?).await };
        let spool = self.spool.get_or_try_init(make).await?;
        if range.start > range.end || range.end > self.version.size {
            return Err(damaged(format!("bytes {} to {} of a member of {} were asked for", range.start, range.end, self.version.size)));
        }
        spool.get(range).await
    }

    async fn verify(&self) -> Result<()> {
        Ok(())
    }

    fn unpacking(&self) -> Arc<Unpacking> {
        self.unpacking.clone()
    }
}
