//! The simulator: the commit protocol under every schedule of faults.
//!
//! | room | what |
//! |---|---|
//! | [`choices`] | schedules: every one of a bounded search, random ones beyond, replay of a failing one |
//! | [`model`] | the protocol with model targets for each row of the design's table, and some that are wrong |
//! | [`process`] | a process whose every external effect is a step that may fail, be torn, or be its last |
//! | [`world`] | what outlives processes, the real engine on the real ledger in it, the oracle |
//! | [`drive`] | crashes, lost answers, errors, zombies over a world |
//! | [`source`], [`lines`], [`storage`], [`ledger`], [`sink`], [`clock`] | what processes touch, with faults |
//!
//! Deterministic: one thread runs at any time, nothing waits for real time, there is no tokio. A failing schedule is printed as text and
//! replays with [`choices::Choices::written`]. Deliberately not here: connectors (their tests bring them as [`world::Target`]s).

pub mod choices;
pub mod clock;
pub mod drive;
pub mod ledger;
pub mod lines;
pub mod model;
pub mod process;
pub mod sink;
pub mod source;
pub mod storage;
pub mod world;
