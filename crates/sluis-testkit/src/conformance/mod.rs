//! One suite per trait, for every implementation of it.

pub mod decoder;
pub mod ledger;
pub mod sink;
pub mod source;
