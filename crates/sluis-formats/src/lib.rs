//! Formats: bytes of files to Arrow batches and back.
//!
//! | room | what |
//! |---|---|
//! | [`avro`], [`csv`], [`fixed`], [`json`], `orc`, [`parquet`], [`raw`] | one format each: `mod.rs` (definition, reader), `config.rs`, decoder, `encode.rs` |
//! | [`text`], [`compress`] | a file as pieces of UTF-8 text |
//! | [`archive`] | the files within a file: zip, tar |
//! | [`ordered`] | blocks decoded side by side, delivered in order |
//! | [`values`], [`cell`], [`cast`], [`misfit`] | text to typed values, values to text, casts that lose nothing, values that do not fit |
//! | [`locate`] | where in a rejected row the fault is |
//! | [`grow`], [`tree`], [`pinned`] | columns in the making, nested or not; batches cast to the pinned types |
//! | [`def`] | what definitions share: [`writer_from_value`] and schemas |
//!
//! Deliberately not here: where files are, which are read, what becomes of rejects.
//! Guarantees of every reader: file order, bounded memory, no panic on any bytes, every record is a row or one reject.

pub mod archive;
pub mod avro;
pub mod cast;
pub mod cell;
pub mod compress;
pub mod csv;
pub mod def;
pub mod fixed;
pub mod grow;
pub mod json;
pub mod locate;
pub mod memory;
pub mod misfit;
#[cfg(feature = "orc")]
pub mod orc;
pub mod ordered;
pub mod parquet;
pub mod pinned;
pub mod raw;
mod sample;
pub mod text;
pub mod tree;
pub mod values;

pub use avro::AVRO;
pub use cast::cast_column;
pub use csv::CSV;
pub use def::{validate_writer, writer_from_value, writer_schema};
pub use fixed::FIXED;
pub use json::JSON;
pub use memory::memory_file;
#[cfg(feature = "orc")]
pub use orc::ORC;
pub use parquet::PARQUET;
pub use raw::RAW;

use sluis_core::FormatDef;

#[cfg(test)]
mod bombs;
#[cfg(test)]
mod conforms;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod read_back;
#[cfg(test)]
mod told;

/// Every format of this build.
pub fn all() -> Vec<&'static FormatDef> {
    vec![
        &AVRO,
        &CSV,
        &FIXED,
        &JSON,
        #[cfg(feature = "orc")]
        &ORC,
        &PARQUET,
        &RAW,
    ]
}
