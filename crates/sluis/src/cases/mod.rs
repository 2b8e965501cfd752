//! Pipelines' own tests: files that are given, a clock that stands still, rows and rejects that are expected; run by the very engine,
//! offline, with targets in memory.
//!
//! | room | what |
//! |---|---|
//! | `case` | a test as it is written: `tests/NAME.yaml`, or a folder with `test.yaml`, `given/` and `expected/` |
//! | `expect` | expected rows: CSV, JSON or a text table |
//! | `capture` | a target that keeps what is committed |
//! | `play` | the pipeline over the given files |
//! | `compare` | expected and actual rows, and their differences |

mod capture;
mod case;
mod compare;
mod expect;
mod play;

pub use case::{Case, find, schema};
pub use compare::Difference;

use sluis_config::{Pipeline, Project};
use sluis_core::Result;

use crate::session::Session;

/// What came of a test.
pub struct Verdict {
    pub name: String,
    pub pipeline: String,
    /// Empty: it passed.
    pub differences: Vec<Difference>,
}

/// Plays a test and compares.
///
/// # Errors
/// What keeps it from being played: files that are not there, expectations that cannot be read.
pub async fn judge(session: &Session, project: &Project, pipeline: &Pipeline, case: &Case) -> Result<Verdict> {
    let mut expected = Vec::new();
    for (target, text) in &case.expect {
        expected.push((target.clone(), expect::read(text).await.map_err(|e| e.context("expected", target).context("test", &case.name))?));
    }
    let played = play::play(session, project, pipeline, case).await.map_err(|e| e.context("test", &case.name))?;
    let differences = compare::all(&played, &expected, case.error.as_deref());
    Ok(Verdict { name: case.name.clone(), pipeline: pipeline.name.to_string(), differences })
}
