//! Proves that every row is somewhere, once: by what was counted on the way, and by what the writers say they hold.
//!
//! Deliberately not here: counting.

use std::collections::BTreeMap;

use sluis_core::{Error, ErrorKind, Result, SinkName, Split, SplitReport};

use crate::task::TaskReport;

/// The reports of all splits in the order of `splits`, if they add up.
///
/// # Errors
/// `ErrorKind::Data`: rows are not accounted for, with the split or the target. Nothing may be committed then.
pub fn prove(splits: &[Split], tasks: &[TaskReport], sinks: &[SinkName], rejects: &SinkName) -> Result<Vec<SplitReport>> {
    let reports: Vec<SplitReport> = tasks.iter().flat_map(|t| t.splits.iter().cloned()).collect();
    if reports.len() != splits.len() {
        return Err(unaccounted(format!("{} splits were planned and {} reported", splits.len(), reports.len())));
    }
    for (split, report) in splits.iter().zip(&reports) {
        if !report.rows.balanced() {
            let r = &report.rows;
            let sum = format!("{} read + {} added, but {} written + {} rejected + {} filtered", r.read, r.added, r.written, r.rejected, r.filtered);
            return Err(unaccounted(format!("rows do not add up: {sum}")).context("file", split.name()));
        }
    }
    let written: u64 = reports.iter().map(|r| r.rows.written).sum();
    let rejected: u64 = reports.iter().map(|r| r.rows.rejected).sum();
    let mut held: BTreeMap<&SinkName, u64> = sinks.iter().map(|name| (name, 0)).collect();
    held.insert(rejects, 0);
    for committable in tasks.iter().flat_map(|t| &t.committables) {
        match held.get_mut(&committable.sink) {
            Some(rows) => *rows += committable.rows,
            None => return Err(Error::internal(format!("something was staged for `{}`, which is no target here", committable.sink))),
        }
    }
    for (sink, rows) in held {
        let given = if sink == rejects { rejected } else { written };
        if rows != given {
            return Err(unaccounted(format!("{given} rows were given to the target and it staged {rows}")).context("target", sink));
        }
    }
    Ok(reports)
}

fn unaccounted(message: String) -> Error {
    Error::new(ErrorKind::Data, message).hint("nothing was committed; this is a bug in sluis or in a connector: please report it with this text")
}
