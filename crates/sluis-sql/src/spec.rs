//! What a pipeline says about its rows, and what is wrong with it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use sluis_core::TableResolver;

/// What happens to a row for which a check's condition is false.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFail {
    /// The row goes to the rejects.
    #[default]
    Reject,
    /// The row stays and is counted.
    Warn,
    /// The epoch fails.
    Fail,
}

/// A condition that every row should meet. A condition that is null is met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRule {
    /// Unique among the checks.
    pub name: String,
    /// An SQL expression over the columns of `input`: true, false or null.
    pub that: String,
    pub on_fail: OnFail,
}

/// One `select` of a pipeline. It reads `input`, an earlier step or look-up tables; the last step's rows are the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Unique among the steps, and never `input`.
    pub name: String,
    pub sql: String,
}

/// The checks and the select of a pipeline.
#[derive(Clone)]
pub struct TransformSpec {
    /// In the order in which they are tried.
    pub checks: Vec<CheckRule>,
    /// Empty: the rows go on as they are.
    pub steps: Vec<Step>,
    /// `scope: epoch`: the select may look across the rows of an epoch.
    pub across_rows: bool,
    /// Finds look-up tables.
    pub tables: Arc<dyn TableResolver>,
    /// Rows per batch to aim for where batches are made anew.
    pub batch_rows: usize,
}

impl TransformSpec {
    /// The SQL text of a part.
    pub fn sql(&self, part: Part) -> &str {
        match part {
            Part::Check(i) => &self.checks[i].that,
            Part::Step(i) => &self.steps[i].sql,
        }
    }
    /// `check` or `select`, and the name.
    pub(crate) fn part_name(&self, part: Part) -> (&'static str, &str) {
        match part {
            Part::Check(i) => ("check", &self.checks[i].name),
            Part::Step(i) => ("select", &self.steps[i].name),
        }
    }
}

impl fmt::Debug for TransformSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransformSpec")
            .field("checks", &self.checks)
            .field("steps", &self.steps)
            .field("across_rows", &self.across_rows)
            .finish_non_exhaustive()
    }
}

/// Which SQL text of a [`TransformSpec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The condition of the check with this index.
    Check(usize),
    /// The statement of the step with this index.
    Step(usize),
}

/// Something wrong with an SQL text of a [`TransformSpec`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlProblem {
    pub part: Part,
    /// Bytes in that SQL text; `None`: the whole of it.
    pub range: Option<Range<usize>>,
    /// One sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}
