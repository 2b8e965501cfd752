//! Splits opened and decoded ahead, delivered in their order, each verified at its end.
//!
//! Small files are taken in bundles, so that a thousand of them cost what reading them costs. Of each file so much is held as fits
//! [`HOLD`]: a file that ends within it is delivered only when it is known to be whole and unchanged. A larger one is passed on as
//! it comes; if it turns out to be damaged or changed then, the attempt begins again without it. Members of an archive are one split's
//! parts: its rows come in their order, whole or not at all.
//! Deliberately not here: what becomes of rows. Guarantees: order; memory bounded by [`HOLD`] per file in flight.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt};
use sluis_core::{
    Decoded, Error, ErrorKind, FileFormat, FileVersion, Member, Members, Opened, Outcome, RawFile, ReadOptions, Result, Source, Split, Unpacking,
};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::apart::{begin, begin_blocking};
use super::columns::{self, Constants};
use super::{Fault, Lesson};

/// Bytes of decoded rows held per file until it is known to be good.
const HOLD: usize = 2 << 20;
/// A bundle holds files up to this many bytes together …
const BUNDLE_BYTES: u64 = 512 << 10;
/// … and at most so many.
const BUNDLE_FILES: usize = 32;
/// Files from here on count for several: their decoders work ahead.
const LARGE: u64 = 4 << 20;

/// What comes of splits, in order: `Begin`, any number of `Rows`, `End`.
pub enum Piece {
    /// The split was opened. Its constants, and whether its rows come as the source has them (without a format).
    Begin {
        split: usize,
        constants: Constants,
        plain: bool,
    },
    /// What comes now is of this member of the split.
    Member(Origin),
    Rows(Decoded),
    End {
        split: usize,
        outcome: Outcome,
        bytes: u64,
    },
}

/// A file that rows stood in: its name, and what they get as constants.
pub struct Origin {
    pub name: Arc<str>,
    pub constants: Constants,
}

/// A part of a split's rows.
enum Part {
    Member(Origin),
    Rows(Decoded),
}

/// All that reading needs to know.
pub struct Reading {
    pub source: Arc<dyn Source>,
    pub format: Option<Arc<dyn FileFormat>>,
    pub splits: Arc<Vec<Split>>,
    pub options: ReadOptions,
    pub constant_columns: SchemaRef,
    pub planned_at: DateTime<Utc>,
    /// A file damaged as a whole becomes a reject.
    pub reject_corrupt: bool,
    /// Bytes that came from the source so far, for progress.
    pub meter: Arc<AtomicU64>,
}

/// Delivers pieces.
pub struct Reader {
    reading: Arc<Reading>,
    bundles: BoxStream<'static, Result<Bundle>>,
    /// The rest of the bundle in hand.
    fetched: VecDeque<Fetched>,
    held: Option<OwnedSemaphorePermit>,
    current: Option<Current>,
}

/// Splits fetched together, and the right to hold them in memory.
type Bundle = (Vec<Fetched>, OwnedSemaphorePermit);

/// A split, as far as it was read ahead.
struct Fetched {
    split: usize,
    opened: Option<(Constants, bool)>,
    rows: VecDeque<Part>,
    bytes: u64,
    then: Then,
}

enum Then {
    Ended(Outcome),
    Failed(Error),
    GoesOn(Parts),
}

/// The parts of a split that are to come.
struct Parts {
    parts: BoxStream<'static, Result<Part>>,
    /// What is to be verified behind the last of them, if they do not do it themselves.
    file: Option<Arc<dyn RawFile>>,
    /// The split has no file: what was read is what its rows take.
    measured: bool,
}

impl Parts {
    /// The next part; `None` when all came and what they are of is still what was opened. It may be asked again if the future is dropped.
    async fn next(&mut self) -> Result<Option<Part>> {
        if let Some(part) = self.parts.next().await {
            return part.map(Some);
        }
        self.parts = stream::empty().boxed();
        if let Some(file) = &self.file {
            file.verify().await?;
        }
        Ok(None)
    }

    /// What a part adds to the bytes read.
    fn measure(&self, part: &Part) -> u64 {
        match part {
            Part::Rows(rows) if self.measured => rows.batch.get_array_memory_size() as u64,
            _ => 0,
        }
    }
}

/// The split being delivered.
struct Current {
    split: usize,
    rows: VecDeque<Part>,
    bytes: u64,
    then: Then,
}

impl Reader {
    /// Reads all splits but those whose end is known.
    pub fn new(reading: Arc<Reading>, ends: &std::collections::BTreeMap<usize, Outcome>) -> Self {
        let threads = reading.options.threads;
        let permits = (2 * threads).max(4) as u32;
        let semaphore = Arc::new(Semaphore::new(permits as usize));
        let ends = Arc::new(ends.clone());
        let shared = reading.clone();
        let bundles = stream::iter(bundles(&reading.splits))
            // In order, so that the next one to be delivered never waits for one behind it.
            .then(move |bundle| {
                let (semaphore, weight) = (semaphore.clone(), if bundle.large { permits / 2 } else { 1 });
                async move { (bundle, semaphore.acquire_many_owned(weight).await) }
            })
            .map(move |(bundle, permit)| {
                let (reading, ends) = (shared.clone(), ends.clone());
                let Group { splits, near, .. } = bundle;
                let fetching = async move {
                    let permit = permit.map_err(|e| Error::internal("the reading was closed").source(e))?;
                    let at_once = match (near, reading.options.threads) {
                        (true, 1) => 2,
                        // One after the other, on the thread that was taken for them.
                        (true, _) => 1,
                        (false, _) => BUNDLE_FILES,
                    };
                    let known = |split: usize| ends.get(&split).cloned();
                    let fetching = splits.map(|split| fetch(&reading, split, known(split))).collect::<Vec<_>>();
                    Ok((stream::iter(fetching).buffered(at_once).collect().await, permit))
                };
                if near && threads > 1 { begin_blocking(fetching) } else { begin(threads > 1, fetching) }
            })
            .buffered(permits as usize)
            .boxed();
        Self { reading, bundles, fetched: VecDeque::new(), held: None, current: None }
    }

    /// The next piece; `None` after the last. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Piece>, Fault> {
        loop {
            if self.current.is_some() {
                return self.go_on().await.map(Some);
            }
            if let Some(Fetched { split, opened, rows, bytes, then }) = self.fetched.pop_front() {
                let rows = if matches!(then, Then::Ended(Outcome::Changed(_) | Outcome::Corrupt(_))) { VecDeque::new() } else { rows };
                self.current = Some(Current { split, rows, bytes, then });
                if let Some((constants, plain)) = opened {
                    return Ok(Some(Piece::Begin { split, constants, plain }));
                }
                continue;
            }
            self.held = None;
            match self.bundles.next().await {
                None => return Ok(None),
                Some(bundle) => {
                    let (fetched, permit) = bundle?;
                    (self.fetched, self.held) = (fetched.into(), Some(permit));
                }
            }
        }
    }

    async fn go_on(&mut self) -> Result<Piece, Fault> {
        let Some(current) = &mut self.current else { return Err(Error::internal("no split is being read").into()) };
        if let Some(part) = current.rows.pop_front() {
            return Ok(part.piece());
        }
        if let Then::GoesOn(parts) = &mut current.then {
            let ended = match parts.next().await {
                Ok(Some(part)) => {
                    current.bytes += parts.measure(&part);
                    return Ok(part.piece());
                }
                Ok(None) => Ok(()),
                Err(e) => Err(e),
            };
            match ended {
                Ok(()) => current.then = Then::Ended(Outcome::Read),
                Err(e) => match self.reading.ending(e) {
                    // Rows of it are with the writers: they cannot be taken back.
                    Ok(outcome) => return Err(Fault::Again(Lesson::Ended(current.split, outcome))),
                    Err(e) => return Err(e.context("file", self.reading.splits[current.split].name()).into()),
                },
            }
        }
        let Some(Current { split, bytes, then, .. }) = self.current.take() else { return Err(Error::internal("no split is being read").into()) };
        match then {
            Then::Ended(outcome) => Ok(Piece::End { split, bytes: if outcome == Outcome::Read { bytes } else { 0 }, outcome }),
            Then::Failed(e) => Err(e.into()),
            Then::GoesOn(..) => Err(Error::internal("a split goes on after its end").into()),
        }
    }
}

impl Part {
    fn piece(self) -> Piece {
        match self {
            Part::Member(origin) => Piece::Member(origin),
            Part::Rows(rows) => Piece::Rows(rows),
        }
    }

    /// Bytes it holds in memory.
    fn size(&self) -> usize {
        match self {
            Part::Member(origin) => origin.name.len() + 64 * origin.constants.len(),
            Part::Rows(d) => d.batch.get_array_memory_size() + d.rejects.iter().map(|r| r.raw.len() + r.message.len()).sum::<usize>(),
        }
    }
}

impl Reading {
    fn format(&self) -> Result<&Arc<dyn FileFormat>> {
        self.format.as_ref().ok_or_else(|| {
            Error::config("the source has files and the pipeline has no format")
                .hint("name one below `from`: csv, json, avro, parquet, fixed, orc or raw")
        })
    }

    /// How a split ends by an error; the error itself if the epoch fails by it.
    fn ending(&self, e: Error) -> Result<Outcome> {
        match e.kind() {
            ErrorKind::SourceChanged => Ok(Outcome::Changed(e.message().to_owned())),
            ErrorKind::CorruptInput if self.reject_corrupt => Ok(Outcome::Corrupt(e.message().to_owned())),
            _ => Err(e),
        }
    }
}

struct Group {
    splits: Range<usize>,
    large: bool,
    /// Small files of this machine: they wait for a thread, where others wait for the network.
    near: bool,
}

/// Neighbours read together.
fn bundles(splits: &[Split]) -> Vec<Group> {
    let size = |i: usize| splits[i].file.as_ref().map_or(LARGE, |f| f.size);
    let mut out = Vec::new();
    let mut start = 0;
    while start < splits.len() {
        let (mut end, mut bytes) = (start + 1, size(start));
        while end < splits.len() && end - start < BUNDLE_FILES && bytes + size(end) <= BUNDLE_BYTES {
            bytes += size(end);
            end += 1;
        }
        let near = bytes <= BUNDLE_BYTES && splits[start..end].iter().all(|s| s.file.as_ref().is_some_and(|f| !f.path.contains("://")));
        out.push(Group { splits: start..end, large: bytes >= LARGE, near });
        start = end;
    }
    out
}

/// Opens a split and reads it as far as it may be held.
async fn fetch(reading: &Arc<Reading>, split: usize, known: Option<Outcome>) -> Fetched {
    let planned = &reading.splits[split];
    let bytes = planned.file.as_ref().map_or(0, |f| f.size);
    let mut fetched = Fetched { split, opened: None, rows: VecDeque::new(), bytes, then: Then::Ended(Outcome::Read) };
    if let Some(outcome) = known {
        fetched.then = Then::Ended(outcome);
        return fetched;
    }
    if let Err(e) = ahead(reading, planned, &mut fetched).await {
        fetched.then = match reading.ending(e) {
            Ok(outcome) => Then::Ended(outcome),
            Err(e) if e.contexts().iter().any(|(key, _)| *key == "file") => Then::Failed(e),
            Err(e) => Then::Failed(e.context("file", planned.name())),
        };
    }
    fetched
}

async fn ahead(reading: &Arc<Reading>, planned: &Split, fetched: &mut Fetched) -> Result<()> {
    let constants = columns::constants(&reading.constant_columns, &planned.constants, planned.name(), reading.planned_at)?;
    let mut parts = match reading.source.open(planned).await? {
        Opened::File(file) => {
            let file: Arc<dyn RawFile> = Arc::new(Metered { file, meter: reading.meter.clone() });
            let rows = reading.format()?.read(file.clone(), &reading.options).await?;
            Parts { parts: rows.map(|d| d.map(Part::Rows)).boxed(), file: Some(file), measured: false }
        }
        Opened::Members(members) => {
            let large = planned.file.as_ref().is_some_and(|f| f.size >= LARGE);
            Parts { parts: members_in_order(reading.clone(), members, large), file: None, measured: false }
        }
        Opened::Rows(rows) => {
            let rows = rows
                .map(|r| r.map(|(batch, rejects)| Part::Rows(Decoded { batch, origins: None, rejects, misfits: Vec::new(), surplus: Vec::new() })));
            Parts { parts: rows.boxed(), file: None, measured: true }
        }
    };
    fetched.opened = Some((constants, parts.measured));
    if hold(&mut parts, &mut fetched.rows, &mut fetched.bytes).await? {
        fetched.then = Then::GoesOn(parts);
    }
    Ok(())
}

/// Takes parts until they end or are as many as may be held; whether more are to come.
async fn hold(parts: &mut Parts, into: &mut VecDeque<Part>, bytes: &mut u64) -> Result<bool> {
    let mut held = 0;
    while held < HOLD {
        let Some(part) = parts.next().await? else { return Ok(false) };
        *bytes += parts.measure(&part);
        held += part.size();
        into.push_back(part);
    }
    Ok(true)
}

/// The members of an archive, in their order. Those of a large one are decoded side by side.
fn members_in_order(reading: Arc<Reading>, members: Box<dyn Members>, large: bool) -> BoxStream<'static, Result<Part>> {
    let threads = if large { reading.options.threads } else { 1 };
    let members = Arc::new(Mutex::new(members));
    let next = stream::unfold(Some(members.clone()), |members| async {
        let members = members?;
        let next = members.lock().await.next().await;
        match next {
            Ok(None) => None,
            Ok(Some(member)) => Some((Ok(member), Some(members))),
            Err(e) => Some((Err(e), None)),
        }
    });
    let read = next.map(move |member| {
        let reading = reading.clone();
        begin(threads > 1, async move { Ok::<_, Error>(read_member(&reading, member?).await) })
    });
    let parts = read.buffered(threads).flat_map(|member| match member {
        Ok((held, rest)) => stream::iter(held).map(Ok).chain(rest).boxed(),
        Err(e) => stream::once(std::future::ready(Err(e))).boxed(),
    });
    let verified = stream::once(async move { members.lock().await.verify().await }).filter_map(|r| std::future::ready(r.err().map(Err)));
    parts.chain(verified).boxed()
}

/// A member, as far as it may be held, and the rest of it.
async fn read_member(reading: &Arc<Reading>, member: Member) -> (VecDeque<Part>, BoxStream<'static, Result<Part>>) {
    let name: Arc<str> = Arc::from(member.file.version().path.as_str());
    let mut held = VecDeque::new();
    let rest = match begin_member(reading, member, &name, &mut held).await {
        Ok(None) => stream::empty().boxed(),
        Ok(Some(parts)) => stream::unfold(Some(parts), |parts| async {
            let mut parts = parts?;
            match parts.next().await {
                Ok(None) => None,
                Ok(Some(part)) => Some((Ok(part), Some(parts))),
                Err(e) => Some((Err(e), None)),
            }
        })
        .boxed(),
        Err(e) => stream::once(std::future::ready(Err(e))).boxed(),
    };
    // Said of the member here, where its name is known: the split's name is the archive's.
    let rest = rest.map(move |part| part.map_err(|e| in_member(e, &name)));
    (held, rest.boxed())
}

async fn begin_member(reading: &Arc<Reading>, member: Member, name: &Arc<str>, held: &mut VecDeque<Part>) -> Result<Option<Parts>> {
    let Member { file, constants, stored, .. } = member;
    let constants = columns::constants(&reading.constant_columns, &constants, name, reading.planned_at)?;
    held.push_back(Part::Member(Origin { name: name.clone(), constants }));
    let rows = reading.format()?.read(file, &reading.options).await?;
    reading.meter.fetch_add(stored, Ordering::Relaxed);
    let mut parts = Parts { parts: rows.map(|d| d.map(Part::Rows)).boxed(), file: None, measured: false };
    Ok(hold(&mut parts, held, &mut 0).await?.then_some(parts))
}

/// A damaged member, by its name: what becomes of the archive is told by the message alone.
fn in_member(e: Error, name: &str) -> Error {
    if e.kind() != ErrorKind::CorruptInput {
        return e;
    }
    let short = name.rsplit('/').next().unwrap_or(name);
    let told = Error::new(ErrorKind::CorruptInput, format!("its member {short}: {}", e.message())).context("file", name);
    match e.hint_text() {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

/// A file whose bytes are counted as they come.
struct Metered {
    file: Arc<dyn RawFile>,
    meter: Arc<AtomicU64>,
}

#[async_trait]
impl RawFile for Metered {
    fn version(&self) -> &FileVersion {
        self.file.version()
    }
    async fn stream(&self) -> Result<BoxStream<'static, Result<Bytes>>> {
        let meter = self.meter.clone();
        let count = move |piece: &Result<Bytes>| {
            if let Ok(bytes) = piece {
                meter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
        };
        Ok(self.file.stream().await?.inspect(count).boxed())
    }
    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        let bytes = self.file.range(range).await?;
        self.meter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }
    async fn verify(&self) -> Result<()> {
        self.file.verify().await
    }
    fn unpacking(&self) -> Arc<Unpacking> {
        self.file.unpacking()
    }
}
