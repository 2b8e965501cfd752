//! Archives: members as files, their columns, limits.

use std::io::Write;

use futures::TryStreamExt;
use serde_json::json;
use sluis_core::{ErrorKind, Members, Opened, Source};

use super::*;

/// A zip of stored members, as plain as can be.
fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, text) in files {
        let at = out.len() as u32;
        let mut crc = flate2::Crc::new();
        crc.update(text.as_bytes());
        let mut same = vec![0, 0, 0, 0, 0, 0, 0, 0];
        same.extend(crc.sum().to_le_bytes());
        same.extend([(text.len() as u32).to_le_bytes(); 2].concat());
        same.extend((name.len() as u16).to_le_bytes());
        same.extend([0, 0]);
        out.extend(b"PK\x03\x04\x14\0");
        out.extend(&same);
        out.extend(name.as_bytes());
        out.extend(text.as_bytes());
        directory.extend(b"PK\x01\x02\x14\0\x14\0");
        directory.extend(&same);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (length, start, n) = (directory.len() as u32, out.len() as u32, files.len() as u16);
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([n.to_le_bytes(), n.to_le_bytes()].concat());
    out.extend([length.to_le_bytes(), start.to_le_bytes()].concat());
    out.extend([0, 0]);
    out
}

/// A tar of the same.
fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, text) in files {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        for (at, field) in
            [(100, "0000644\0"), (108, "0000000\0"), (116, "0000000\0"), (136, "00000000000\0"), (148, "        "), (257, "ustar\x0000")]
        {
            header[at..at + field.len()].copy_from_slice(field.as_bytes());
        }
        header[124..136].copy_from_slice(format!("{:011o}\0", text.len()).as_bytes());
        header[156] = b'0';
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(header);
        out.extend(text.as_bytes());
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(plain).and_then(|()| gzip.finish()).unwrap()
}

fn put(base: &Path, path: &str, bytes: &[u8]) {
    fs::create_dir_all(base.join(path).parent().unwrap()).unwrap();
    fs::write(base.join(path), bytes).unwrap();
    touch(base, path, OLD);
}

async fn members(lane: &Lane, split: &Split) -> Box<dyn Members> {
    match lane.source.open(split).await.unwrap() {
        Opened::Members(members) => members,
        Opened::File(_) | Opened::Rows(_) => panic!("an archive was expected"),
    }
}

#[tokio::test]
async fn members_are_files_with_columns_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    let bytes = zip(&[
        ("r/day_20240102.csv", "id\n1\n"),
        ("r/day_20240103.csv", "id\n2\n"),
        ("readme.txt", "x"),
        ("r/day_x.csv", ""),
        ("_day_20240104.csv", ""),
    ]);
    put(base, "in/7.zip", &bytes);
    put(base, "in/8.csv", b"id\n3\n");
    let lane = Lane::local(base, json!({ "url": "in", "match": "{n:int}.*", "members": "day_{day:%Y%m%d}.csv", "metadata": ["file", "modified"] }));
    let names: Vec<String> = lane.source.constant_columns().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["n", "day", "_file", "_modified"]);
    let splits = lane.discover().await.unwrap().splits;
    let mut zipped = members(&lane, &splits[0]).await;
    assert_eq!(zipped.count(), Some(2));
    let mut days = Vec::new();
    while let Some(member) = zipped.next().await.unwrap() {
        let address = &splits[0].file.as_ref().unwrap().path;
        assert!(member.file.version().path.starts_with(&format!("{address}/r/day_")));
        assert_eq!(member.constants["_file"], member.file.version().path);
        assert_eq!((member.constants["n"].as_str(), &member.constants["_modified"]), ("7", &splits[0].constants["_modified"]));
        let text: Vec<bytes::Bytes> = member.file.stream().await.unwrap().try_collect().await.unwrap();
        days.push((member.constants["day"].clone(), text.concat()));
    }
    assert_eq!(days, [("2024-01-02".to_owned(), b"id\n1\n".to_vec()), ("2024-01-03".to_owned(), b"id\n2\n".to_vec())]);
    zipped.verify().await.unwrap();
    assert!(matches!(lane.source.open(&splits[1]).await.unwrap(), Opened::File(_)));
    put(base, "in/7.zip", &zip(&[]));
    touch(base, "in/7.zip", "2024-02-02T00:00:00Z");
    assert_eq!(zipped.verify().await.unwrap_err().kind(), ErrorKind::SourceChanged);
    assert_eq!(lane.source.open(&splits[0]).await.err().unwrap().kind(), ErrorKind::SourceChanged);
}

#[tokio::test]
async fn what_files_are_opened_as_can_be_said() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    put(base, "in/a.zip", &zip(&[("a.csv", "id\n")]));
    for (choice, archive) in [("auto", true), ("zip", true), ("none", false)] {
        let lane = Lane::local(base, json!({ "url": "in", "archive": choice }));
        let splits = lane.discover().await.unwrap().splits;
        assert_eq!(matches!(lane.source.open(&splits[0]).await.unwrap(), Opened::Members(_)), archive, "{choice}");
    }
    let lane = Lane::local(base, json!({ "url": "in", "archive": "tar" }));
    let splits = lane.discover().await.unwrap().splits;
    let e = members(&lane, &splits[0]).await.next().await.err().unwrap();
    assert!(e.kind() == ErrorKind::CorruptInput && e.message().contains("tar archive is cut off"), "{e}");
    put(base, "in/a.zip", b"id\n1\n");
    let splits = Lane::local(base, json!({ "url": "in" })).discover().await.unwrap().splits;
    let e = Lane::local(base, json!({ "url": "in" })).source.open(&splits[0]).await.err().unwrap();
    assert!(e.kind() == ErrorKind::CorruptInput && e.to_string().contains("a.zip"), "{e}");
}

#[tokio::test]
async fn limits_of_unpacking_are_those_of_the_source() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    put(base, "in/a.csv.gz", &gzip(&vec![b'0'; 1 << 20]));
    for (config, says) in [(json!({ "url": "in" }), ""), (json!({ "url": "in", "max_unpacked": "1MB" }), "`max_unpacked`")] {
        let lane = Lane::local(base, config);
        let splits = lane.discover().await.unwrap().splits;
        let Opened::File(file) = lane.source.open(&splits[0]).await.unwrap() else { panic!("a file was expected") };
        let mut text = sluis_formats::compress::unpack::Unpacked::open(file, Default::default()).await.unwrap();
        let told = loop {
            match text.next().await {
                Ok(Some(_)) => {}
                Ok(None) => break String::new(),
                Err(e) => break e.to_string(),
            }
        };
        assert!(told.contains(says) && told.is_empty() == says.is_empty(), "{told}");
    }
}

/// Names and contents of all members, as far as they can be read.
async fn all_of(opened: Opened) -> Result<Vec<(String, String)>> {
    let Opened::Members(mut members) = opened else { panic!("an archive was expected") };
    let mut out = Vec::new();
    while let Some(member) = members.next().await? {
        let name = member.file.version().path.rsplit('/').next().unwrap().to_owned();
        let pieces: Vec<bytes::Bytes> = member.file.stream().await?.try_collect().await?;
        out.push((name, String::from_utf8(pieces.concat()).unwrap()));
    }
    members.verify().await?;
    Ok(out)
}

#[tokio::test]
async fn archives_on_s3_are_read_and_truncated_ones_are_damage() {
    let minio = sluis_testkit::services::MinIo::shared();
    let connections: Arc<Map<String, Value>> = Arc::new(Map::from_iter([("here".to_owned(), minio.connection())]));
    let url = format!("s3://{}/in/", minio.bucket("archives"));
    let storage = sluis_storage::url::open_folder(&url, &connections, Some("here"), Path::new("/")).unwrap();
    // More than one window of an archive holds.
    let mut x = 1_u64;
    let number = |_| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{x}\n")
    };
    let large: String = (0..200_000).map(number).collect();
    let files = [("a.csv", "id\n1\n"), ("large.csv", &large), ("empty.csv", ""), ("z.csv", "id\n2\n")];
    let want: Vec<(String, String)> = files.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
    let dir = tempfile::tempdir().unwrap();
    let context = BuildContext { connections: connections.clone(), ..context(dir.path(), TestClock::at(NOW)) };
    let source = FilesSource::build(&context, &json!({ "url": url, "connection": "here", "on_overwrite": "append" })).unwrap();
    let limits = EpochLimits { files: 100, bytes: 1 << 30, rows: u64::MAX };
    for (name, bytes) in [("7.zip", zip(&files)), ("8.tar", tar(&files)), ("9.tar.gz", gzip(&tar(&files)))] {
        for cut in [0, 1, bytes.len() / 2, bytes.len() - 100] {
            let kept = bytes[..bytes.len() - cut].to_vec();
            // The last block of zeros of a tar may be missing: it has ended before.
            if cut == 1 && name == "8.tar" {
                continue;
            }
            storage.put(name, kept.into(), sluis_storage::IfExists::Replace).await.unwrap();
            let splits = source.discover(&Checkpoint::default(), &limits, LaneShard::ALL, &History::default()).await.unwrap().splits;
            let split = splits.iter().find(|s| s.name().ends_with(name)).unwrap();
            let told = match source.open(split).await {
                Ok(opened) => all_of(opened).await,
                Err(e) => Err(e),
            };
            if cut == 0 {
                assert!(told.unwrap() == want, "{name}");
                continue;
            }
            let e = told.expect_err(name);
            assert_eq!(e.kind(), ErrorKind::CorruptInput, "{name} without its last {cut} bytes: {e}");
            assert!(e.contexts().iter().any(|(k, v)| *k == "file" && v.contains(name)), "{e}");
        }
    }
    // A version that is gone while its members are read.
    storage.put("7.zip", zip(&files).into(), sluis_storage::IfExists::Replace).await.unwrap();
    let splits = source.discover(&Checkpoint::default(), &limits, LaneShard::ALL, &History::default()).await.unwrap().splits;
    let opened = source.open(splits.iter().find(|s| s.name().ends_with("7.zip")).unwrap()).await.unwrap();
    storage.put("7.zip", zip(&files[..1]).into(), sluis_storage::IfExists::Replace).await.unwrap();
    assert_eq!(all_of(opened).await.unwrap_err().kind(), ErrorKind::SourceChanged);
}
