//! Memory stays bounded whatever a CSV file holds: a line of a gigabyte, quotes that never close, a million rejects. Measured by an
//! allocator that counts; one test, so that nothing else allocates beside it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde_json::{Value, json};
use sluis_core::{Error, FileFormat, FileVersion, RawFile, ReadOptions, Result};
use sluis_formats::CSV;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system allocator's; only sizes are noted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// A file that is a few pieces, some of them many times over; it is never in memory as a whole.
struct Repeated {
    version: FileVersion,
    pieces: Vec<(Bytes, usize)>,
}

#[async_trait]
impl RawFile for Repeated {
    fn version(&self) -> &FileVersion {
        &self.version
    }
    async fn stream(&self) -> Result<BoxStream<'static, Result<Bytes>>> {
        let pieces = self.pieces.clone().into_iter().flat_map(|(piece, times)| std::iter::repeat_n(piece, times)).map(Ok);
        Ok(stream::iter(pieces).boxed())
    }
    async fn range(&self, _: Range<u64>) -> Result<Bytes> {
        Err(Error::internal("CSV files are read from beginning to end"))
    }
    async fn verify(&self) -> Result<()> {
        Ok(())
    }
}

/// What came of a file, and how much memory it took at most beyond what was there before.
#[derive(Debug)]
struct Told {
    rows: usize,
    rejects: usize,
    /// Of the first reject.
    reason: Option<&'static str>,
    peak: usize,
}

async fn read(options: Value, pieces: &[(&[u8], usize)]) -> Told {
    let format: Arc<dyn FileFormat> = CSV.reader.expect("a reader")(&options).expect("valid options");
    let size = pieces.iter().map(|(p, n)| (p.len() * n) as u64).sum();
    let version = FileVersion { path: "/big.csv".into(), size, modified: None, etag: None };
    let pieces = pieces.iter().map(|(p, n)| (Bytes::copy_from_slice(p), *n)).collect();
    let file: Arc<dyn RawFile> = Arc::new(Repeated { version, pieces });
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let schema = format.infer(std::slice::from_ref(&file), None).await.expect("a schema");
    let read = ReadOptions { schema, batch_rows: 8192, threads: 2, keep_origins: false, misfits: Default::default() };
    let mut stream = format.read(file, &read).await.expect("a stream");
    let mut told = Told { rows: 0, rejects: 0, reason: None, peak: 0 };
    while let Some(item) = stream.next().await {
        let d = item.expect("rows");
        told.rows += d.batch.num_rows();
        told.rejects += d.rejects.len();
        told.reason = told.reason.or_else(|| d.rejects.first().map(|r| r.reason.code()));
    }
    told.peak = PEAK.load(Ordering::Relaxed) - before;
    told
}

const MEGABYTE: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded() {
    let x = vec![b'x'; MEGABYTE];
    let limit = 160 * MEGABYTE;
    let head = &b"id,name\n1,a\n2,"[..];
    // A line of a gigabyte: one reject, the rows around it stay.
    for options in [json!({}), json!({ "quotes": "lenient", "ragged": "repair" })] {
        let told = read(options, &[(head, 1), (&x, 1024), (b"\n3,c\n", 1)]).await;
        assert_eq!((told.rows, told.rejects, told.reason), (2, 1, Some("too_long")), "{told:?}");
        assert!(told.peak < limit, "{told:?}");
    }
    // The same behind a quote that never closes, and without any line end.
    let told = read(json!({}), &[(head, 1), (b"\"", 1), (&x, 512)]).await;
    assert_eq!((told.rows, told.rejects, told.reason), (1, 1, Some("too_long")), "{told:?}");
    assert!(told.peak < limit, "{told:?}");
    // A quote that never closes costs its line, not the 25 MB behind it.
    let rows = b"4,dd\n".repeat(200_000);
    let told = read(json!({}), &[(head, 1), (b"\"b\n", 1), (&rows, 25)]).await;
    assert_eq!((told.rows, told.rejects, told.reason), (5_000_001, 1, Some("bad_quote")), "{told:?}");
    assert!(told.peak < limit, "{told:?}");
    // A million rejects pass through; none is kept.
    let bad = b"x,1\n".repeat(100_000);
    let told = read(json!({ "columns": { "id": "bigint" } }), &[(b"id,n\n", 1), (&bad, 10)]).await;
    assert_eq!((told.rows, told.rejects, told.reason), (0, 1_000_000, Some("bad_value")), "{told:?}");
    assert!(told.peak < limit, "{told:?}");
    // Ten thousand columns.
    let names = (0..10_000).map(|i| format!("column_{i}")).collect::<Vec<_>>().join(",") + "\n";
    let row = (0..10_000).map(|i| i.to_string()).collect::<Vec<_>>().join(",") + "\n";
    let told = read(json!({}), &[(names.as_bytes(), 1), (row.as_bytes(), 200)]).await;
    assert_eq!((told.rows, told.rejects), (200, 0), "{told:?}");
    assert!(told.peak < 2 * limit, "{told:?}");
}
