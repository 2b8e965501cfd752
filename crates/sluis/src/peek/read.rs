//! Reading the beginning of a file as a run would: rows, and what would be rejected.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use futures::StreamExt;
use sluis_core::columns::align;
use sluis_core::{Decoded, Error, ErrorKind, FileFormat, RawFile, ReadOptions, Result};
use sluis_formats::locate::{Fault, locate};

use super::beginning::Beginning;
use super::{Look, Looked, WouldBe};

/// Rows of a batch, about; of one file, at most.
const BATCH_ROWS: usize = 8192;
const MOST_ROWS: u64 = 1_000_000;
/// Bytes of rows decoded from one file, about, however small it is as stored.
const MOST_BYTES: usize = 64 << 20;

/// Reads a file until its beginning is used up. `own`: the columns that it has by itself.
///
/// # Errors
/// Those that are not the file's.
pub async fn read(look: &mut Look, format: &Arc<dyn FileFormat>, file: Arc<Beginning>, own: Option<SchemaRef>, show: usize) -> Result<()> {
    let (head, size) = (file.head(), file.version().size);
    let mut looked = Looked {
        path: head.path.clone(),
        size: size.max(head.bytes.len() as u64),
        seen: head.bytes.len() as u64,
        whole: head.whole,
        schema: own,
        names: Vec::new(),
        rows: 0,
        rejected: 0,
        damage: None,
    };
    let options = ReadOptions { schema: look.schema.clone(), batch_rows: BATCH_ROWS, threads: 1, keep_origins: false, misfits: Default::default() };
    let mut rows = format.read(file.clone(), &options).await?;
    let mut bytes = 0;
    while let Some(decoded) = rows.next().await {
        match decoded {
            Ok(decoded) => {
                bytes += decoded.batch.get_array_memory_size();
                take(look, &mut looked, decoded, show)?;
            }
            Err(e) if matches!(e.kind(), ErrorKind::CorruptInput | ErrorKind::SourceChanged | ErrorKind::Data) => {
                looked.damage = Some(std::iter::once(e.message().to_owned()).chain(e.causes()).collect::<Vec<_>>().join(": "));
                break;
            }
            Err(e) => return Err(e),
        }
        if file.is_passed() || looked.rows + looked.rejected >= MOST_ROWS || bytes >= MOST_BYTES {
            looked.whole = false;
            break;
        }
    }
    look.files.push(looked);
    Ok(())
}

fn take(look: &mut Look, looked: &mut Looked, decoded: Decoded, show: usize) -> Result<()> {
    let batch = &decoded.batch;
    for field in batch.schema_ref().fields() {
        if !looked.names.contains(field.name()) {
            looked.names.push(field.name().clone());
        }
    }
    for reject in decoded.rejects {
        if look.rejects.len() < show {
            let fault = Fault { reason: reject.reason, column: reject.column.as_deref(), message: &reject.message };
            let at = locate(look.def.name, &look.sniffed.options, &reject.raw, fault, Some(&looked.names));
            look.rejects.push(WouldBe { file: looked.path.clone(), reject, at });
        }
        looked.rejected += 1;
    }
    looked.rows += batch.num_rows() as u64;
    for (i, field) in look.schema.fields().iter().enumerate() {
        look.nulls[i] += batch.column_by_name(field.name()).map_or(batch.num_rows(), |c| c.logical_null_count()) as u64;
    }
    let point = if look.sniffed.options["decimal"].as_str() == Some(",") { b',' } else { b'.' };
    let texts = look.schema.fields().iter().zip(&mut look.almost).filter(|(f, _)| *f.data_type() == arrow_schema::DataType::Utf8);
    texts.for_each(|(field, almost)| almost.observe(batch, field.name(), point));
    look.schema.fields().iter().zip(&mut look.compact).for_each(|(field, compact)| compact.observe(batch, field.name()));
    let shown: usize = look.first.iter().map(RecordBatch::num_rows).sum();
    let more = show.saturating_sub(shown).min(batch.num_rows());
    if more > 0 {
        // A column that the sample did not show is one that the first epoch would add; it is not among the first rows' columns.
        let known: Vec<usize> = (0..batch.num_columns()).filter(|i| look.schema.index_of(batch.schema_ref().field(*i).name()).is_ok()).collect();
        let first = batch.slice(0, more).project(&known).map_err(|e| Error::internal("columns cannot be chosen").source(e))?;
        look.first.push(align(&first, &look.schema, sluis_formats::cast_column)?);
    }
    Ok(())
}
