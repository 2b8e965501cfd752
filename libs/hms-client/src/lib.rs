//! A client of the Hive Metastore, for 2.3 to 4.x; tried against 4.0.1 (calls and fields of the others are by their interface definitions).
//!
//! [`Client`] has the calls that programs need which load tables: databases, tables, partitions in bulk, locks with heartbeats, events, column
//! statistics. Structs keep fields that this crate does not know ([`Table::rest`]), so reading, changing and writing back loses nothing.
//!
//! Calls that only read, or may be done twice, are repeated at another address when a connection breaks. Others are not: their error is
//! [`Kind::Unknown`] then. Where a call has other names in other versions, the one that all have is tried first.
//!
//! ```no_run
//! # async fn example() -> hms_client::Result<()> {
//! use hms_client::{Client, Column, Table};
//!
//! let client = Client::builder("thrift://meta1:9083,thrift://meta2:9083")?.user("loader", &["etl"]).build();
//! let columns = vec![Column::new("id", "bigint"), Column::new("amount", "decimal(12,2)")];
//! let table = Table::external_parquet("sales", "rides", columns, vec![Column::new("day", "string")], "hdfs://ns1/data/rides");
//! client.create_table(&table).await?;
//! let day = table.partition(&["2026-01-31"], "hdfs://ns1/data/rides/day=2026-01-31");
//! client.add_partitions("sales", "rides", &[day], true).await?;
//! # Ok(()) }
//! ```
//!
//! Deliberately not here: reading or writing of data files, transactions of ACID tables, HTTP transport.

#![forbid(unsafe_code)]

mod client;
mod connection;
mod error;
mod events;
mod fields;
mod locks;
mod partitions;
mod statistics;
mod tables;
pub mod tls;
mod types;
mod wire;

pub use client::{Builder, Client};
pub use connection::Login;
pub use error::{Error, Kind, Result};
pub use events::Insert;
pub use locks::{Lock, LockKind, LockOn, LockState};
pub use statistics::{Bounds, ColumnStatistics, StatisticsOf, Values};
pub use tables::Context;
pub use types::{Column, Database, Event, Partition, SerDe, SortColumn, Storage, Table};
pub use wire::{Struct, Type, Value};
