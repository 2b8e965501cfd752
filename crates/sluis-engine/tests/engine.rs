//! The engine over fakes whose every step can fail: a source in memory, a target in memory, transforms written by hand; the real ledger,
//! the real CSV reader.
//!
//! Deliberately not here: schedules of several crashes and two workers (the simulator has them), real connectors.

#[path = "engine/changing.rs"]
mod changing;
#[path = "engine/crashing.rs"]
mod crashing;
#[path = "engine/failing.rs"]
mod failing;
#[path = "engine/fakes.rs"]
mod fakes;
#[path = "engine/landing.rs"]
mod landing;
#[path = "engine/transforming.rs"]
mod transforming;
