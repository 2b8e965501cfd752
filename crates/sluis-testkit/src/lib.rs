//! sluis-testkit
pub mod services;
