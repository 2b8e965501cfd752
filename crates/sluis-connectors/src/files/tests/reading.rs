//! Opening what was planned, and probing.

use futures::TryStreamExt;
use serde_json::json;
use sluis_core::{ErrorKind, Opened, RawFile, Source};

use super::*;

async fn open(lane: &Lane, split: &Split) -> Arc<dyn RawFile> {
    match lane.source.open(split).await.unwrap() {
        Opened::File(file) => file,
        Opened::Members(_) | Opened::Rows(_) => panic!("a file was expected"),
    }
}

async fn text(file: &Arc<dyn RawFile>) -> Result<String> {
    let chunks: Vec<bytes::Bytes> = file.stream().await?.try_collect().await?;
    Ok(String::from_utf8(chunks.concat()).unwrap())
}

#[tokio::test]
async fn the_planned_version_is_read_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    write(base, "in/a.csv", "one", OLD);
    let lane = Lane::local(base, json!({ "url": "in" }));
    let splits = lane.discover().await.unwrap().splits;
    assert!(splits[0].file.as_ref().unwrap().etag.as_ref().unwrap().starts_with("xxh64:"), "small local files are known by content too");
    let file = open(&lane, &splits[0]).await;
    assert_eq!(text(&file).await.unwrap(), "one");
    assert_eq!(&file.range(1..3).await.unwrap()[..], b"ne");
    assert_eq!(file.version(), splits[0].file.as_ref().unwrap());
    file.verify().await.unwrap();
    write(base, "in/a.csv", "three", "2024-02-02T00:00:00Z");
    for e in [file.verify().await.unwrap_err(), text(&file).await.unwrap_err(), file.range(0..1).await.unwrap_err()] {
        assert_eq!(e.kind(), ErrorKind::SourceChanged, "{e}");
        assert!(e.to_string().contains("a.csv"), "{e}");
    }
    std::fs::remove_file(base.join("in/a.csv")).unwrap();
    for e in [file.verify().await.unwrap_err(), text(&file).await.unwrap_err(), file.range(0..1).await.unwrap_err()] {
        assert_eq!(e.kind(), ErrorKind::SourceChanged, "{e}");
    }
}

#[tokio::test]
async fn what_is_passed_over_has_no_rows() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    write(base, "in/a.csv", "one", OLD);
    let lane = Lane::local(base, json!({ "url": "in", "start": "new" }));
    let splits = lane.discover().await.unwrap().splits;
    let file = open(&lane, &splits[0]).await;
    assert_eq!((text(&file).await.unwrap().as_str(), file.version().size), ("", 0));
    assert!(file.range(0..3).await.unwrap().is_empty() && file.verify().await.is_ok());
    assert!(matches!(lane.source.open(&splits[1]).await.unwrap(), Opened::Rows(_)));
}

#[tokio::test]
async fn a_split_of_an_old_url_counts_as_changed() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    write(base, "in/a.csv", "one", OLD);
    std::fs::create_dir(base.join("other")).unwrap();
    let splits = Lane::local(base, json!({ "url": "in" })).discover().await.unwrap().splits;
    let e = Lane::local(base, json!({ "url": "other" })).source.open(&splits[0]).await.err().unwrap();
    assert_eq!(e.kind(), ErrorKind::SourceChanged);
}

#[tokio::test]
async fn a_single_file_is_read_under_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    write(base, "in/_x_7.csv", "one", OLD);
    let lane = Lane::local(base, json!({ "url": "in/_x_7.csv", "match": "_x_{n:int}.csv" }));
    let d = lane.discover().await.unwrap();
    assert_eq!(d.splits[0].constants["n"], "7");
    assert_eq!(text(&open(&lane, &d.splits[0]).await).await.unwrap(), "one");
}

#[tokio::test]
async fn probing_lists_and_reads_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    write(base, "in/a.csv", "one", OLD);
    let lane = Lane::local(base, json!({ "url": ["in/*.csv", "in/*.txt"], "after_commit": { "archive": "done" } }));
    let lines = lane.source.probe().await.unwrap();
    assert!(lines[0].contains("can be listed and read (a.csv)"), "{lines:?}");
    assert!(lines[1].contains("none of its 1 files matches"), "{lines:?}");
    assert!(lines[2].contains("done") && !base.join("done").exists(), "{lines:?}");
}
