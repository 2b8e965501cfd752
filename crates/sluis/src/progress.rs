//! How a run shows itself on standard error: bars on a terminal, else one line per change of an epoch's state.
//!
//! Deliberately not here: what is shown at the end (`cli/run.rs`).

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use sluis_core::secret::redact;
use sluis_core::{Clock, LaneId, Receipt, RowCounts};
use sluis_engine::{Event, Observer, Silent};

use crate::print;
use crate::session::Session;

/// What shows a run: nothing with `--quiet`, bars on a terminal, lines elsewhere.
pub fn observer(session: &Session) -> Arc<dyn Observer> {
    if session.quiet {
        Arc::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Arc::new(Bars { multi: MultiProgress::new(), lanes: Mutex::default() })
    } else {
        Arc::new(Lines { clock: session.clock.clone() })
    }
}

/// `main` is not worth a word.
fn lane_name(lane: &LaneId) -> String {
    if lane.lane == "main" { lane.pipeline.to_string() } else { lane.to_string() }
}

/// `1,200 rows read, 1,187 written, 13 rejected`; what is zero and not expected is left out.
pub fn rows_text(rows: &RowCounts) -> String {
    let mut text =
        format!("{} read, {} written, {} rejected", print::counted(rows.read, "row"), print::count(rows.written), print::count(rows.rejected));
    if rows.filtered > 0 {
        text.push_str(&format!(", {} filtered", print::count(rows.filtered)));
    }
    if rows.added > 0 {
        text.push_str(&format!(", {} added by select", print::count(rows.added)));
    }
    text
}

/// Columns of tables that changed their types with a commit: `; column …`.
fn retyped(receipts: &[Receipt]) -> String {
    let mut text = String::new();
    for receipt in receipts {
        for change in receipt.detail["retyped"].as_array().into_iter().flatten() {
            let said = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (column, table, from, to) = (said(&change["column"]), said(&receipt.detail["table"]), said(&change["from"]), said(&change["to"]));
            text.push_str(&format!("; column `{column}` of table `{table}` is {to} now, it was {from}"));
        }
    }
    text
}

/// What an event is to a person, if anything; and whether it is a warning.
fn sentence(event: &Event) -> Option<(bool, String)> {
    let plain = |text: String| Some((false, text));
    let warning = |text: String| Some((true, text));
    match event {
        Event::Recovering { epoch, step } => plain(format!("epoch {epoch}: an earlier run left it unfinished; going on with {step}")),
        Event::Note(text) => plain(text.clone()),
        Event::Planned { epoch, files, bytes } => {
            plain(format!("epoch {epoch} planned: {}, {}", print::counted(*files, "file"), print::bytes(*bytes)))
        }
        Event::Warned { epoch, check, rows } => {
            warning(format!("epoch {epoch}: {} failed the check `{check}` and stayed", print::counted(*rows, "row")))
        }
        Event::Staged { epoch, rows } => plain(format!("epoch {epoch} staged: {}", rows_text(rows))),
        Event::Committed { epoch, receipts, .. } => {
            let again = if receipts.iter().any(|r| r.already) { " (parts of it were visible already)" } else { "" };
            plain(format!("epoch {epoch} committed{again}{}", retyped(receipts)))
        }
        Event::Retrying { epoch, error, attempt, of, pause_ms } => {
            let at = epoch.map_or(String::new(), |e| format!("epoch {e}: "));
            warning(format!("{at}{error}; trying again in {} ms (try {attempt} of {of})", print::count(*pause_ms)))
        }
        Event::Problem(text) => warning(text.clone()),
        _ => None,
    }
}

/// A line per change.
struct Lines {
    clock: Arc<dyn Clock>,
}

impl Observer for Lines {
    fn event(&self, lane: &LaneId, event: Event) {
        if let Some((warning, text)) = sentence(&event) {
            let at = self.clock.now().format("%Y-%m-%dT%H:%M:%SZ");
            print::err(&format!("{at} {} {}: {text}\n", if warning { "WARN" } else { "INFO" }, lane_name(lane)));
        }
    }
}

/// A bar per lane.
struct Bars {
    multi: MultiProgress,
    lanes: Mutex<HashMap<LaneId, Bar>>,
}

struct Bar {
    bar: ProgressBar,
    files: u64,
    of: u64,
    rows: u64,
}

impl Bars {
    fn lanes(&self) -> MutexGuard<'_, HashMap<LaneId, Bar>> {
        self.lanes.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn begin(&self, lane: &LaneId, epoch: u64, files: u64, bytes: u64) {
        let style = ProgressStyle::with_template("{prefix:.bold} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec} ETA {eta} {msg}");
        let bar = self.multi.add(ProgressBar::new(bytes));
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(format!("{} epoch {epoch}", lane_name(lane)));
        bar.enable_steady_tick(Duration::from_millis(200));
        if let Some(old) = self.lanes().insert(lane.clone(), Bar { bar, files: 0, of: files, rows: 0 }) {
            old.bar.finish_and_clear();
        }
    }
}

impl Observer for Bars {
    fn event(&self, lane: &LaneId, event: Event) {
        match &event {
            Event::Planned { epoch, files, bytes } => self.begin(lane, epoch.0, *files, *bytes),
            Event::Read { files, bytes, rows, .. } => {
                if let Some(at) = self.lanes().get_mut(lane) {
                    at.files += files;
                    at.rows += rows;
                    at.bar.inc(*bytes);
                    at.bar.set_message(format!("{} of {} files, {} rows", print::count(at.files), print::count(at.of), print::count(at.rows)));
                }
            }
            Event::Reread { files, bytes, rows, .. } => {
                if let Some(at) = self.lanes().get_mut(lane) {
                    at.files = at.files.saturating_sub(*files);
                    at.rows = at.rows.saturating_sub(*rows);
                    at.bar.set_position(at.bar.position().saturating_sub(*bytes));
                }
            }
            Event::Staged { .. } => {
                if let Some(at) = self.lanes().get(lane) {
                    at.bar.set_message(format!("{} rows, committing", print::count(at.rows)));
                }
            }
            Event::Committed { epoch, files, bytes, rows, receipts, .. } => {
                if let Some(at) = self.lanes().remove(lane) {
                    at.bar.finish_and_clear();
                }
                let (files, rows, changes) = (print::counted(*files, "file"), rows_text(rows), retyped(receipts));
                let line = format!("{} epoch {epoch}: {files}, {}; {rows}{changes}", lane_name(lane), HumanBytes(*bytes));
                let _ = self.multi.println(redact(&line));
            }
            other => {
                if let Some((warning, text)) = sentence(other) {
                    let line = format!("{}{}: {text}", if warning { "warning: " } else { "" }, lane_name(lane));
                    let _ = self.multi.println(redact(&line));
                }
            }
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.lanes().values().for_each(|at| at.bar.finish_and_clear());
    }
}
