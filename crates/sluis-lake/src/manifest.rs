//! Manifests and manifest lists, to and from bytes.
//!
//! Deliberately not here: which files are in them. The iceberg crate writes manifests to a `FileIO`; ours is memory, so that all files of a
//! commit are made first and written together.

use std::sync::Arc;

use bytes::Bytes;
use iceberg::io::{FileIO, FileWrite};
use iceberg::spec::{
    DataFile, DataFileBuilder, Literal, Manifest, ManifestContentType, ManifestFile, ManifestList, ManifestListWriter, ManifestStatus,
    ManifestWriterBuilder, PartitionSpecRef, PrimitiveLiteral, PrimitiveType, Schema, Snapshot, Struct, StructType, TableMetadata, Type,
};
use sluis_core::{Error, Result};

use crate::lake::{Lake, Version};
use crate::work::{broken, damaged};

/// An entry of a manifest as it stands in the table.
#[derive(Debug, Clone)]
pub struct Entry {
    pub file: DataFile,
    pub snapshot: i64,
    pub sequence: i64,
    pub status: ManifestStatus,
}

impl Entry {
    pub fn live(&self) -> bool {
        self.status != ManifestStatus::Deleted
    }
}

/// What is written to a manifest.
pub enum Item {
    Added(DataFile),
    Existing(Entry),
    Deleted(Entry),
}

/// A file made in memory, to be written.
pub struct Made {
    pub location: String,
    pub bytes: Bytes,
}

/// The manifests of the current snapshot.
pub async fn current<'a>(lake: &Lake, version: &'a Version) -> Result<&'a [ManifestFile]> {
    if let Some(known) = version.manifests.get() {
        return Ok(known);
    }
    let manifests = match version.metadata.current_snapshot() {
        Some(snapshot) => of_snapshot(lake, &version.metadata, snapshot).await?,
        None => Vec::new(),
    };
    Ok(version.manifests.get_or_init(|| manifests))
}

/// The manifests of a snapshot.
pub async fn of_snapshot(lake: &Lake, metadata: &TableMetadata, snapshot: &Snapshot) -> Result<Vec<ManifestFile>> {
    let location = snapshot.manifest_list();
    let bytes = lake.read(location).await?;
    let list = ManifestList::parse_with_version(&bytes, metadata.format_version()).map_err(damaged(location))?;
    Ok(list.consume_entries().into_iter().collect())
}

/// All entries of a manifest, with what they inherit from the list.
pub async fn entries(lake: &Lake, metadata: &TableMetadata, manifest: &ManifestFile) -> Result<Vec<Entry>> {
    let location = &manifest.manifest_path;
    let bytes = lake.read(location).await?;
    let (parsed, _) = Manifest::parse_avro(&bytes).map_err(damaged(location))?.into_parts();
    let spec = metadata.partition_spec_by_id(manifest.partition_spec_id);
    let partition_type = spec.and_then(|spec| spec.partition_type(metadata.current_schema()).ok());
    let inherit = |e: Arc<iceberg::spec::ManifestEntry>| {
        Ok(Entry {
            status: e.status(),
            snapshot: e.snapshot_id().unwrap_or(manifest.added_snapshot_id),
            sequence: e.sequence_number().unwrap_or(manifest.sequence_number),
            file: promoted(e.data_file(), partition_type.as_ref())?,
        })
    };
    parsed.into_iter().map(inherit).collect()
}

/// A data file whose partition values have the present types, where the columns that they come from were widened.
fn promoted(file: &DataFile, partition_type: Option<&StructType>) -> Result<DataFile> {
    let widened = |value: Option<&Literal>, t: &Type| match (value, t) {
        (Some(Literal::Primitive(PrimitiveLiteral::Int(v))), Type::Primitive(PrimitiveType::Long)) => Some(Literal::long(*v)),
        (value, _) => value.cloned(),
    };
    let Some(t) = partition_type.filter(|t| t.fields().len() == file.partition().fields().len()) else { return Ok(file.clone()) };
    let partition: Struct = file.partition().iter().zip(t.fields()).map(|(v, f)| widened(v, &f.field_type)).collect();
    if partition == *file.partition() {
        return Ok(file.clone());
    }
    DataFileBuilder::default()
        .content(file.content_type())
        .file_path(file.file_path().to_owned())
        .file_format(file.file_format())
        .partition(partition)
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .column_sizes(file.column_sizes().clone())
        .value_counts(file.value_counts().clone())
        .null_value_counts(file.null_value_counts().clone())
        .nan_value_counts(file.nan_value_counts().clone())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(file.upper_bounds().clone())
        .key_metadata(file.key_metadata().map(<[u8]>::to_vec))
        .split_offsets(file.split_offsets().map(<[i64]>::to_vec))
        .build()
        .map_err(|e| Error::internal("a data file lacks a fact").source(e))
}

/// How many live files a manifest has, if it says.
pub fn live_files(manifest: &ManifestFile) -> u64 {
    u64::from(manifest.added_files_count.unwrap_or(1)) + u64::from(manifest.existing_files_count.unwrap_or(1))
}

/// Whether a manifest lists delete files (which we neither write nor read).
pub fn lists_deletes(manifest: &ManifestFile) -> bool {
    manifest.content == ManifestContentType::Deletes && live_files(manifest) > 0
}

/// Makes a manifest of data files of one partition spec.
pub async fn make(location: String, snapshot: i64, schema: &Arc<Schema>, spec: &PartitionSpecRef, items: Vec<Item>) -> Result<(Made, ManifestFile)> {
    let wrong = broken("a manifest cannot be written");
    let memory = FileIO::new_with_memory();
    let output = memory.new_output("memory://manifest").map_err(&wrong)?;
    let input = memory.new_input("memory://manifest").map_err(&wrong)?;
    let mut writer = ManifestWriterBuilder::new(output, Some(snapshot), schema.clone(), spec.as_ref().clone()).build_v2_data();
    for item in items {
        match item {
            Item::Added(file) => writer.add_file(file, -1),
            // The crate does not tell the file's own sequence number; it is the data's, unless a compaction kept that.
            Item::Existing(e) => writer.add_existing_file(e.file, e.snapshot, e.sequence, Some(e.sequence)),
            Item::Deleted(e) => writer.add_delete_file(e.file, e.sequence, Some(e.sequence)),
        }
        .map_err(&wrong)?;
    }
    let mut manifest = writer.write_manifest_file().await.map_err(&wrong)?;
    let bytes = input.read().await.map_err(&wrong)?;
    manifest.manifest_path.clone_from(&location);
    Ok((Made { location, bytes }, manifest))
}

struct Memory(Arc<std::sync::Mutex<Vec<u8>>>);

#[async_trait::async_trait]
impl FileWrite for Memory {
    async fn write(&mut self, bytes: Bytes) -> iceberg::Result<()> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend_from_slice(&bytes);
        Ok(())
    }
    async fn close(&mut self) -> iceberg::Result<()> {
        Ok(())
    }
}

/// Makes a manifest list; also gives the manifests as the list has them (with sequence numbers).
pub async fn make_list(
    location: String,
    snapshot: i64,
    parent: Option<i64>,
    sequence: i64,
    mut manifests: Vec<ManifestFile>,
) -> Result<(Made, Vec<ManifestFile>)> {
    let wrong = broken("a manifest list cannot be written");
    for m in manifests.iter_mut().filter(|m| m.added_snapshot_id == snapshot) {
        m.sequence_number = sequence;
        if m.min_sequence_number < 0 {
            m.min_sequence_number = sequence;
        }
    }
    let held = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut writer = ManifestListWriter::v2(Box::new(Memory(held.clone())), snapshot, parent, sequence);
    writer.add_manifests(manifests.iter().cloned()).map_err(&wrong)?;
    writer.close().await.map_err(&wrong)?;
    let bytes = std::mem::take(&mut *held.lock().map_err(|_| Error::internal("a manifest list was not finished"))?);
    Ok((Made { location, bytes: bytes.into() }, manifests))
}
