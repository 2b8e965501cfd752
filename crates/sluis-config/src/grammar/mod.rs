//! Small languages inside configuration texts: budgets, alert conditions, crontab lines, triggers.
//!
//! Deliberately not here: YAML, and acting on any of them.

mod budget;
mod cron;
mod trigger;

pub use budget::{AlertOn, Budget};
pub use cron::Cron;
pub use trigger::Trigger;
