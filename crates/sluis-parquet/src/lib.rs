//! Parquet is written here, for files and for tables: an encoder that works on several columns at once.
//!
//! Deliberately not here: reading, the format itself (the crate `parquet`), where bytes go.

mod encode;
mod repeats;

pub use encode::{FileEncoder, Layout};
