//! What tests of several crates share: the simulator of the commit protocol, conformance suites, real services.
//!
//! Deliberately not here: tests themselves, and anything that the program needs.

pub mod binary;
pub mod conformance;
pub mod services;
pub mod simulator;
