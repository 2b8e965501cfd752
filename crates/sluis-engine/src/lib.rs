//! The engine: drives a lane through epochs, exactly once.
//!
//! | room | what |
//! |---|---|
//! | [`run`] | the loop: lease, `decide`, one room per step |
//! | `plan`, `execute`, `commit` | the three steps of an epoch |
//! | `pin` | the schema of an epoch, as the contract allows, and how it came about |
//! | `accounting` | proves that every row is somewhere, once |
//! | `lease`, `halt`, `retry` | keeping the lane; when to stop; how long to wait |
//! | [`executor`], [`task`] | tasks: plain data in, plain data out; reading, transforming, staging |
//! | [`job`] | a pipeline, built |
//! | [`events`] | what happens, for progress bars and logs |
//! | [`ledger`] | the durable log on SQLite |
//!
//! Deliberately not here: connectors, formats, SQL (traits of `sluis-core`), configuration, printing.

mod accounting;
mod commit;
pub mod events;
mod execute;
pub mod executor;
mod halt;
pub mod job;
mod lease;
pub mod ledger;
mod pin;
mod plan;
mod retry;
pub mod run;
pub mod task;

pub use events::{Event, Observer, Silent};
pub use job::{BudgetCheck, Job, JobSettings, Lane};
pub use ledger::SqliteLedger;
pub use run::{Columns, Engine, Explanation, Outcome, RunOptions, Stop, Summary};
