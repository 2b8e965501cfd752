//! The suite that every file format must pass, for reading ([`FileFormat`]) and, if it has one, writing ([`EncoderFactory`]).
//!
//! Each function takes a format and a file and panics with what does not hold.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use sluis_core::columns::type_name;
use sluis_core::{Decoded, EncoderFactory, Error, ErrorKind, FileFormat, FileVersion, RawFile, ReadOptions, Reject, Result};

/// A format and a file of it with good rows and, perhaps, bad ones.
pub struct Case {
    pub format: Arc<dyn FileFormat>,
    pub file: Vec<u8>,
    /// Rows that decode, and records that do not.
    pub good: u64,
    pub bad: u64,
    /// Whether records are lines of text: then a reject carries its bytes, and numbers of lines are exact.
    pub lines: bool,
}

/// A file in memory that comes in pieces, and may turn out to have changed.
struct Pieces {
    version: FileVersion,
    bytes: Bytes,
    piece: usize,
    changed: bool,
}

impl Pieces {
    fn of(bytes: &[u8], piece: usize, changed: bool) -> Arc<dyn RawFile> {
        let bytes = Bytes::copy_from_slice(bytes);
        let version = FileVersion { path: "/in/file".into(), size: bytes.len() as u64, modified: None, etag: None };
        Arc::new(Pieces { version, bytes, piece, changed })
    }
}

#[async_trait]
impl RawFile for Pieces {
    fn version(&self) -> &FileVersion {
        &self.version
    }
    async fn stream(&self) -> Result<BoxStream<'static, Result<Bytes>>> {
        let (bytes, piece) = (self.bytes.clone(), self.piece);
        Ok(stream::iter((0..bytes.len()).step_by(piece).map(move |at| Ok(bytes.slice(at..bytes.len().min(at + piece))))).boxed())
    }
    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end || range.end > self.bytes.len() as u64 {
            return Err(Error::new(ErrorKind::CorruptInput, "bytes behind the end were asked for"));
        }
        Ok(self.bytes.slice(range.start as usize..range.end as usize))
    }
    async fn verify(&self) -> Result<()> {
        if self.changed { Err(Error::new(ErrorKind::SourceChanged, "the file changed while it was read")) } else { Ok(()) }
    }
}

/// All of a file.
struct Read {
    rows: Vec<RecordBatch>,
    lines: Vec<u64>,
    rejects: Vec<Reject>,
    error: Option<Error>,
}

impl Read {
    fn count(&self) -> u64 {
        self.rows.iter().map(|b| b.num_rows() as u64).sum()
    }
    fn text(&self) -> Vec<String> {
        let columns = self.rows.iter().find(|b| b.num_rows() > 0).map(|b| b.schema());
        let Some(columns) = columns else { return vec![] };
        columns.fields().iter().map(|f| self.column(f.name())).collect()
    }
    /// A column's values as one text: equal columns give equal texts, however they were cut into batches.
    fn column(&self, name: &str) -> String {
        let part = |b: &RecordBatch| b.column_by_name(name).map(|c| (0..c.len()).map(|i| value(c, i)).collect::<Vec<_>>().join("\n"));
        let parts: Vec<String> = self.rows.iter().filter(|b| b.num_rows() > 0).filter_map(part).collect();
        format!("{name}:{}", parts.join("\n"))
    }
}

fn value(column: &ArrayRef, row: usize) -> String {
    format!("{:?}", column.slice(row, 1)).split_once('[').map_or_else(String::new, |(_, v)| v.split_whitespace().collect::<String>())
}

fn options(schema: &SchemaRef) -> ReadOptions {
    ReadOptions { schema: schema.clone(), batch_rows: 8192, threads: 1, keep_origins: true, misfits: Default::default() }
}

async fn read(format: &dyn FileFormat, file: Arc<dyn RawFile>, options: &ReadOptions) -> Read {
    let mut out = Read { rows: vec![], lines: vec![], rejects: vec![], error: None };
    let mut items = match format.read(file, options).await {
        Ok(items) => items,
        Err(e) => return Read { error: Some(e), ..out },
    };
    while let Some(item) = items.next().await {
        match item {
            Ok(Decoded { batch, origins, rejects, misfits, surplus }) => {
                assert!(misfits.is_empty(), "nothing is told that was not asked for");
                assert!(surplus.iter().all(|s| s.row < batch.num_rows()), "what is beyond the columns is of a row");
                assert!(surplus.is_empty() || format.rescues(), "nothing is beyond the columns where nothing is kept");
                assert!(out.error.is_none(), "an error ends the stream");
                if options.keep_origins {
                    let origins = origins.expect("origins were asked for");
                    assert_eq!(origins.lines.len(), batch.num_rows(), "a line per row");
                    if let Some((bytes, places)) = &origins.raw {
                        assert_eq!(places.len(), batch.num_rows(), "a place per row");
                        assert!(places.iter().all(|(a, b)| a <= b && *b as usize <= bytes.len()), "places are in the block");
                    }
                    out.lines.extend(origins.lines);
                }
                out.rows.push(batch);
                out.rejects.extend(rejects);
            }
            Err(e) => out.error = Some(e),
        }
    }
    out
}

async fn schema(case: &Case) -> SchemaRef {
    case.format.infer(&[Pieces::of(&case.file, 1 << 20, false)], None).await.expect("infer")
}

/// Runs everything that any reader promises.
///
/// # Panics
/// Where the format breaks a promise.
pub async fn all(case: &Case) {
    every_record_is_a_row_or_a_reject(case).await;
    how_it_is_read_changes_nothing(case).await;
    inferring_is_steady(case).await;
    a_pinned_schema_is_kept(case).await;
    an_empty_file_has_no_rows(case).await;
    a_file_that_changed_is_not_taken_for_read(case).await;
    a_cut_file_is_no_panic(case).await;
    damaged_bytes_are_no_panic(case).await;
}

pub async fn every_record_is_a_row_or_a_reject(case: &Case) {
    let schema = schema(case).await;
    let all = read(case.format.as_ref(), Pieces::of(&case.file, 1 << 20, false), &options(&schema)).await;
    assert!(all.error.is_none(), "{:?}", all.error);
    assert_eq!((all.count(), all.rejects.len() as u64), (case.good, case.bad));
    assert!(all.lines.windows(2).all(|w| w[0] < w[1]), "rows come in the file's order");
    for reject in &all.rejects {
        assert!(!reject.message.is_empty());
        assert!(!case.lines || (reject.line > 0 && !reject.raw.is_empty()), "{reject:?}");
        assert!(!case.lines || !all.lines.contains(&reject.line), "a record is a row or a reject: {reject:?}");
    }
    for batch in &all.rows {
        for field in batch.schema().fields() {
            if let Ok(pinned) = schema.field_with_name(field.name()) {
                assert_eq!(type_name(field.data_type()), type_name(pinned.data_type()), "column {}", field.name());
            }
        }
    }
}

pub async fn how_it_is_read_changes_nothing(case: &Case) {
    let schema = schema(case).await;
    let whole = read(case.format.as_ref(), Pieces::of(&case.file, 1 << 20, false), &options(&schema)).await;
    for piece in [1, 7, 4096] {
        for (batch_rows, threads, keep_origins) in [(1, 1, true), (3, 4, true), (8192, 2, false)] {
            let options = ReadOptions { batch_rows, threads, keep_origins, ..options(&schema) };
            let all = read(case.format.as_ref(), Pieces::of(&case.file, piece, false), &options).await;
            let how = format!("pieces of {piece}, {batch_rows} rows, {threads} threads");
            assert!(all.error.is_none(), "{how}: {:?}", all.error);
            if case.format.name() != "raw" {
                assert_eq!(all.text(), whole.text(), "{how}");
                assert_eq!(all.rejects, whole.rejects, "{how}");
            }
            assert!(!keep_origins || case.format.name() == "raw" || all.lines == whole.lines, "{how}");
        }
    }
}

pub async fn inferring_is_steady(case: &Case) {
    let once = schema(case).await;
    let file = || Pieces::of(&case.file, 4096, false);
    let twice = case.format.infer(&[file()], Some(&once)).await.expect("infer");
    assert_eq!(once, twice, "what is known stays");
    let several = case.format.infer(&[file(), file()], None).await.expect("infer");
    assert_eq!(once, several, "a file like the first adds nothing");
    let empty = Pieces::of(b"", 1, false);
    let with_empty = case.format.infer(&[empty.clone(), file()], None).await.expect("infer");
    assert_eq!(once, with_empty, "an empty file changes nothing");
    assert_eq!(case.format.infer(&[empty], Some(&once)).await.expect("infer"), once);
    assert_eq!(case.format.infer(&[], Some(&once)).await.expect("infer"), once, "no sample, no change");
}

pub async fn a_pinned_schema_is_kept(case: &Case) {
    let schema = schema(case).await;
    // A column that the file does not have is not made up; one that the pinned schema does not have comes as text, or as the file has it.
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(arrow_schema::Field::new("nowhere", DataType::Int64, true)));
    let pinned: SchemaRef = Arc::new(Schema::new(fields));
    let all = read(case.format.as_ref(), Pieces::of(&case.file, 4096, false), &options(&pinned)).await;
    assert!(all.error.is_none(), "{:?}", all.error);
    assert_eq!((all.count(), all.rejects.len() as u64), (case.good, case.bad));
    for batch in &all.rows {
        if let Some(made_up) = batch.column_by_name("nowhere") {
            assert_eq!(made_up.null_count(), made_up.len(), "a column that the file lacks holds nothing");
        }
    }
}

pub async fn an_empty_file_has_no_rows(case: &Case) {
    let schema = schema(case).await;
    let all = read(case.format.as_ref(), Pieces::of(b"", 1, false), &options(&schema)).await;
    assert!(all.error.is_none(), "{:?}", all.error);
    assert_eq!((all.count(), all.rejects.len()), (0, 0));
}

pub async fn a_file_that_changed_is_not_taken_for_read(case: &Case) {
    let schema = schema(case).await;
    let all = read(case.format.as_ref(), Pieces::of(&case.file, 4096, true), &options(&schema)).await;
    let error = all.error.expect("the change is said");
    assert_eq!(error.kind(), ErrorKind::SourceChanged, "{error:?}");
}

pub async fn a_cut_file_is_no_panic(case: &Case) {
    let schema = schema(case).await;
    let step = (case.file.len() / 97).max(1);
    for end in (0..case.file.len()).step_by(step) {
        let all = read(case.format.as_ref(), Pieces::of(&case.file[..end], 64, false), &options(&schema)).await;
        let most = if case.format.name() == "raw" { case.file.len() as u64 } else { case.good };
        assert!(all.error.is_some() || all.count() <= most, "cut at {end}: rows that were not there");
        let _ = case.format.infer(&[Pieces::of(&case.file[..end], 64, false)], None).await;
    }
}

pub async fn damaged_bytes_are_no_panic(case: &Case) {
    let schema = schema(case).await;
    // A fixed sequence: a failure is the same every time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..300 {
        let mut bytes = case.file.clone();
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 33) as usize % bytes.len();
            bytes[at] = (state >> 24) as u8;
        }
        let file = || Pieces::of(&bytes, 1 << 20, false);
        read(case.format.as_ref(), file(), &options(&schema)).await;
        let _ = case.format.infer(&[file()], None).await;
    }
}

/// What a writer promises with the reader of its format: what is written reads back, however it is cut, in bounded memory.
///
/// # Panics
/// Where it does not.
pub async fn round_trip(writer: &dyn EncoderFactory, reader: &dyn FileFormat, batch: &RecordBatch) {
    let encode = |step: usize| {
        let mut encoder = writer.encoder(&batch.schema()).expect("an encoder");
        let mut out = Vec::new();
        for at in (0..batch.num_rows()).step_by(step) {
            encoder.write(&batch.slice(at, step.min(batch.num_rows() - at)), &mut out).expect("write");
        }
        encoder.finish(&mut out).expect("finish");
        out
    };
    let schema = batch.schema();
    let expected = Read { rows: vec![batch.clone()], lines: vec![], rejects: vec![], error: None };
    for step in [1, 7, batch.num_rows().max(1)] {
        let bytes = encode(step);
        let all = read(reader, Pieces::of(&bytes, 4096, false), &options(&schema)).await;
        assert!(all.error.is_none() && all.rejects.is_empty(), "{:?} {:?}", all.error, all.rejects.first());
        assert_eq!(all.count(), batch.num_rows() as u64);
        for field in schema.fields() {
            assert_eq!(all.column(field.name()), expected.column(field.name()), "written {step} rows at a time");
        }
    }
    let nothing = {
        let encoder = writer.encoder(&schema).expect("an encoder");
        let mut out = Vec::new();
        encoder.finish(&mut out).expect("finish");
        out
    };
    let all = read(reader, Pieces::of(&nothing, 64, false), &options(&schema)).await;
    assert!(all.error.is_none() && all.rejects.is_empty() && all.count() == 0, "a file without rows is one");
}
