//! One suite per trait, for every implementation of it.

pub mod ledger;
