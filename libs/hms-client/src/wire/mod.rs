//! Thrift's binary protocol as far as a metastore speaks it: values as they are on the wire, so that fields this crate does not know live on.

mod message;
mod scan;
mod value;

#[cfg(test)]
pub(crate) use value::tests;

pub(crate) use message::{Reply, call, class, reply};
pub(crate) use scan::Scan;
pub use value::{Struct, Type, Value};
