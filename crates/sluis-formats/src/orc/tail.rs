//! The end of an ORC file, looked at before the library does: what its claims would do to us.
//!
//! Deliberately not here: columns. Guarantees: types are a tree of bounded depth, stripes are inside the file, and the footer is unpacked
//! within a limit.

use orc_rust::proto::{CompressionKind, Footer, PostScript};
use prost::Message;
use sluis_core::Result;

use super::contradiction;
use super::streams::{Packing, unpack};
use crate::parquet::window::Windows;

/// Bytes of the footer, and of the metadata, at most, unpacked.
const FOOTER: usize = 64 << 20;
/// How deep types may be nested.
const DEPTH: usize = 64;
/// How many types there may be.
const TYPES: usize = 100_000;

/// What a file's end says of its streams.
#[derive(Debug, Clone, Copy)]
pub struct Tail {
    /// `None`: streams are not compressed.
    pub packing: Option<Packing>,
}

impl Tail {
    /// Reads and checks the end of a file.
    ///
    /// # Errors
    /// `CorruptInput`, or what the storage says.
    pub fn read(windows: &Windows) -> Result<Self> {
        let length = windows.length();
        let script_length = windows.bytes(length - 1, 1)?.first().copied().map_or(0, u64::from);
        let script_at = (length - 1).checked_sub(script_length).ok_or_else(|| contradiction("it is shorter than its postscript"))?;
        let script = PostScript::decode(windows.bytes(script_at, script_length)?).map_err(|e| contradiction("it has no postscript").source(e))?;
        if script.magic.as_deref() != Some("ORC") {
            return Err(contradiction("it does not end as an ORC file does"));
        }
        let (footer_length, metadata_length) = (script.footer_length(), script.metadata_length());
        let footer_at = script_at.checked_sub(footer_length);
        let metadata_at = footer_at.and_then(|at| at.checked_sub(metadata_length));
        let (Some(footer_at), Some(metadata_at)) = (footer_at, metadata_at) else { return Err(contradiction("its footer is longer than the file")) };
        let packing = Packing::of(script.compression(), script.compression_block_size())?;
        let packed = windows.bytes(footer_at, footer_length)?;
        let plain = match packing {
            Some(packing) => unpack(&packed, packing, FOOTER)?,
            None => packed.to_vec(),
        };
        let footer = Footer::decode(plain.as_slice()).map_err(|e| contradiction("its footer cannot be decoded").source(e))?;
        check_types(&footer)?;
        // The library unpacks the metadata too.
        if let Some(packing) = packing {
            unpack(&windows.bytes(metadata_at, metadata_length)?, packing, FOOTER)?;
        }
        let mut rows = 0_u64;
        for stripe in &footer.stripes {
            let parts = [stripe.index_length(), stripe.data_length(), stripe.footer_length()];
            let end = parts.iter().try_fold(stripe.offset(), |at, part| at.checked_add(*part)).filter(|end| *end <= length);
            if end.is_none() {
                return Err(contradiction("a stripe ends behind the file"));
            }
            rows = rows.saturating_add(stripe.number_of_rows());
        }
        if rows != footer.number_of_rows() {
            return Err(contradiction(format!("its stripes have {rows} rows and its footer says {}", footer.number_of_rows())));
        }
        Ok(Self { packing })
    }
}

/// Types are listed parent before child, and each is the child of one.
pub fn check_types(footer: &Footer) -> Result<()> {
    let types = &footer.types;
    if types.len() > TYPES {
        return Err(contradiction(format!("it has more than {TYPES} types")));
    }
    let mut depth = vec![0_usize; types.len()];
    for (parent, of) in types.iter().enumerate() {
        for &child in &of.subtypes {
            let child = child as usize;
            if child <= parent || child >= types.len() || depth[child] > 0 {
                return Err(contradiction("its types are no tree"));
            }
            depth[child] = depth[parent] + 1;
            if depth[child] > DEPTH {
                return Err(contradiction(format!("its types are nested deeper than {DEPTH}")));
            }
        }
    }
    Ok(())
}

impl Packing {
    fn of(kind: CompressionKind, block: u64) -> Result<Option<Packing>> {
        Ok(Some(match kind {
            CompressionKind::None => return Ok(None),
            CompressionKind::Zlib => Packing::Zlib,
            CompressionKind::Snappy => Packing::Snappy,
            CompressionKind::Zstd => Packing::Zstd,
            CompressionKind::Lz4 => Packing::Lz4(usize::try_from(block).unwrap_or(usize::MAX)),
            CompressionKind::Lzo => return Err(contradiction("it is compressed with LZO, which is not read")),
        }))
    }
}
