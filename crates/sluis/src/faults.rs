//! Rejected rows for people: how many there are of a kind, in which files, and examples with a caret under the fault.
//!
//! They are read twice, first to count and then for the examples, so that memory does not grow with them.
//! Deliberately not here: where they are kept (`rejected`), where in a row the fault is (`sluis_formats::locate`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use sluis_core::{RejectReason, Result};
use sluis_engine::SqliteLedger;
use sluis_formats::locate::{Fault, csv_names, locate};

use crate::assemble::Parts;
use crate::excerpt::{WIDTH, excerpt};
use crate::print;
use crate::rejected::{Filter, Rejected, read};
use crate::replay;
use crate::session::{Session, shown};

/// What rejects have in common: reason and column.
type Kind = (String, Option<String>);

/// Line numbers kept of a file's rejects of a kind; one more says that there are more.
const LINES: usize = 5;
/// Kinds shown, at most.
const KINDS: usize = 100;

/// The rejects of a pipeline that `filter` takes, as text; `examples` of each kind.
///
/// # Errors
/// Those of reading them.
pub async fn text(session: &Session, parts: &Parts, ledger: Option<&SqliteLedger>, filter: &Filter, examples: usize) -> Result<String> {
    let name = parts.pipeline.name.as_str();
    let mut counts = Counts::default();
    read(session, parts, filter, &mut |row| {
        counts.add(&row);
        Ok(())
    })
    .await?;
    if counts.0.is_empty() {
        return Ok(format!("{name}: no rejected rows\n"));
    }
    let mut wanted = counts.wanted(examples);
    read(session, parts, filter, &mut |row| {
        if let Some(found) = wanted.get_mut(&(row.reason.clone(), row.column.clone())).and_then(|files| files.get_mut(&row.file)) {
            found.offer(row);
        }
        Ok(())
    })
    .await?;
    let mut names = Names { parts, ledger, of: HashMap::new() };
    let mut out = counts.title(name);
    for (kind, files) in counts.in_order().into_iter().take(KINDS) {
        out.push_str(&kind_text(kind, &files, wanted.get(kind), &mut names).await);
    }
    if counts.0.len() > KINDS {
        out.push_str(&format!("\n  and {}: --reason and --column show them\n", print::counted((counts.0.len() - KINDS) as u64, "other kind")));
    }
    out.push_str(&format!("\n  after the pipeline or the data is corrected: sluis rejects replay {name}\n"));
    Ok(out)
}

/// Rows of a kind in a file.
#[derive(Default)]
struct InFile {
    rows: u64,
    /// The first few, in order.
    lines: Vec<u64>,
}

#[derive(Default)]
struct Counts(BTreeMap<Kind, BTreeMap<String, InFile>>);

impl Counts {
    fn add(&mut self, row: &Rejected) {
        let file = self.0.entry((row.reason.clone(), row.column.clone())).or_default().entry(row.file.clone()).or_default();
        file.rows += 1;
        let at = file.lines.partition_point(|line| *line <= row.line);
        file.lines.insert(at, row.line);
        file.lines.truncate(LINES + 1);
    }

    fn title(&self, pipeline: &str) -> String {
        let files: BTreeSet<&String> = self.0.values().flat_map(BTreeMap::keys).collect();
        let rows = self.0.values().flat_map(BTreeMap::values).map(|f| f.rows).sum();
        format!("{pipeline}: {} in {}\n", print::counted(rows, "rejected row"), print::counted(files.len() as u64, "file"))
    }

    /// Kinds, and their files, with most rows first.
    fn in_order(&self) -> Vec<(&Kind, Vec<(&String, &InFile)>)> {
        let most_first = |files: &mut Vec<(&String, &InFile)>| files.sort_by_key(|(_, f)| std::cmp::Reverse(f.rows));
        let mut out: Vec<_> = self
            .0
            .iter()
            .map(|(kind, files)| {
                let mut files: Vec<_> = files.iter().collect();
                most_first(&mut files);
                (kind, files)
            })
            .collect();
        out.sort_by_key(|(_, files)| std::cmp::Reverse(files.iter().map(|(_, f)| f.rows).sum::<u64>()));
        out
    }

    /// Where the examples are to come from: one of each file, those with most rows first, then seconds and so on.
    fn wanted(&self, examples: usize) -> BTreeMap<Kind, BTreeMap<String, Examples>> {
        let share = |files: &[(&String, &InFile)]| {
            let mut given: BTreeMap<String, Examples> = BTreeMap::new();
            let mut left = examples;
            for round in 1.. {
                let more: Vec<_> = files.iter().filter(|(_, f)| f.rows >= round).take(left).collect();
                if more.is_empty() {
                    break;
                }
                left -= more.len();
                more.into_iter().for_each(|(name, _)| given.entry((*name).clone()).or_default().most += 1);
            }
            given
        };
        self.in_order().into_iter().take(KINDS).map(|(kind, files)| (kind.clone(), share(&files))).collect()
    }
}

/// The first rows, by line.
#[derive(Default)]
struct Examples {
    most: usize,
    rows: Vec<Rejected>,
}

impl Examples {
    fn offer(&mut self, row: Rejected) {
        let at = self.rows.partition_point(|have| have.line <= row.line);
        if at < self.most {
            self.rows.insert(at, row);
            self.rows.truncate(self.most);
        }
    }
}

async fn kind_text(kind: &Kind, files: &[(&String, &InFile)], examples: Option<&BTreeMap<String, Examples>>, names: &mut Names<'_>) -> String {
    let (reason, column) = kind;
    let column = column.as_ref().map_or(String::new(), |c| format!(" in `{c}`"));
    let rows = |files: &[(&String, &InFile)]| files.iter().map(|(_, f)| f.rows).sum::<u64>();
    let mut out = format!("\n  {reason}{column}: {}\n", print::counted(rows(files), "row"));
    if let Some(reason) = RejectReason::of(reason) {
        out.push_str(&format!("  = docs: {}\n", reason.docs()));
    }
    let none = BTreeMap::new();
    let examples = examples.unwrap_or(&none);
    let (told, others): (Vec<_>, Vec<_>) = files.iter().partition(|(name, _)| examples.contains_key(*name));
    let all_others = told.is_empty();
    for (name, file) in told {
        let rows = examples.get(name).map(|e| e.rows.as_slice()).unwrap_or_default();
        if file.rows > rows.len() as u64 {
            out.push_str(&format!("    {}: {}{}\n", shown(Path::new(name)), print::counted(file.rows, "row"), lines_text(&file.lines)));
        }
        for row in rows {
            out.push_str(&example(row, names).await);
        }
    }
    if !others.is_empty() {
        let (and, file) = if all_others { ("", "file") } else { ("and ", "other file") };
        let rows = print::counted(rows(&others), "row");
        out.push_str(&format!("    {and}{rows} in {}\n", print::counted(others.len() as u64, file)));
    }
    out
}

fn lines_text(lines: &[u64]) -> String {
    if lines.iter().all(|line| *line == 0) {
        return String::new();
    }
    let more = if lines.len() > LINES { ", …" } else { "" };
    format!(", lines {}{more}", lines.iter().take(LINES).map(u64::to_string).collect::<Vec<_>>().join(", "))
}

async fn example(row: &Rejected, names: &mut Names<'_>) -> String {
    let at = names.locate(row).await;
    told(&row.file, row.line, &row.message, &row.raw, at)
}

/// Where it is, what is wrong, the line, and a caret under the fault.
pub fn told(file: &str, line: u64, message: &str, raw: &[u8], at: Option<std::ops::Range<usize>>) -> String {
    let excerpt = excerpt(raw, at, WIDTH);
    let file = shown(Path::new(file));
    let place = if line == 0 { file } else { format!("{file}:{}", line + excerpt.line) };
    let mut out = format!("    {place}: {}\n", print::short(message, 300));
    if !raw.is_empty() {
        out.push_str(&format!("      | {}\n", excerpt.text));
        if !excerpt.mark.is_empty() {
            out.push_str(&format!("      | {}\n", excerpt.mark));
        }
    }
    out
}

/// The columns of the files that rejects are from, read when they are needed.
struct Names<'a> {
    parts: &'a Parts,
    ledger: Option<&'a SqliteLedger>,
    of: HashMap<(String, u64), Option<Vec<String>>>,
}

impl Names<'_> {
    /// By what the row and the pipeline say; by the header of its file only if that does not tell.
    async fn locate(&mut self, row: &Rejected) -> Option<std::ops::Range<usize>> {
        let format = self.parts.pipeline.format.as_ref()?;
        let reason = RejectReason::of(&row.reason)?;
        let fault = Fault { reason, column: row.column.as_deref(), message: &row.message };
        let plain = locate(format.def.name, &format.config, &row.raw, fault, None);
        let named = matches!(reason, RejectReason::BadValue | RejectReason::MissingValue | RejectReason::ContractViolated);
        if plain.is_some() || !named || format.def.name != "csv" || row.column.is_none() {
            return plain;
        }
        let names = self.names(row).await?;
        locate(format.def.name, &format.config, &row.raw, fault, Some(&names))
    }

    async fn names(&mut self, row: &Rejected) -> Option<Vec<String>> {
        let key = (row.file.clone(), row.epoch);
        if let Some(known) = self.of.get(&key) {
            return known.clone();
        }
        let names = match (self.ledger, &self.parts.pipeline.format) {
            (Some(ledger), Some(format)) => {
                replay::header(self.parts, ledger, &row.file, &row.lane, row.epoch).await.ok().and_then(|head| csv_names(&format.config, &head))
            }
            _ => None,
        };
        self.of.insert(key, names.clone());
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(reason: &str, file: &str, line: u64) -> Rejected {
        Rejected { reason: reason.into(), file: file.into(), line, ..Rejected::default() }
    }

    #[test]
    fn kinds_and_files_come_with_most_rows_first_and_examples_are_spread_over_files() {
        let mut counts = Counts::default();
        let rows = [("a", "x", 9), ("b", "x", 1), ("b", "y", 7), ("b", "y", 3), ("b", "z", 1)];
        rows.iter().for_each(|(reason, file, line)| counts.add(&row(reason, file, *line)));
        let order: Vec<_> = counts.in_order().iter().map(|(k, f)| (k.0.as_str(), f.iter().map(|(n, _)| n.as_str()).collect::<String>())).collect();
        assert_eq!(order, [("b", "yxz".into()), ("a", "x".into())]);
        assert_eq!(counts.0[&("b".into(), None)]["y"].lines, [3, 7]);
        let share = |examples| {
            let wanted = counts.wanted(examples);
            wanted[&("b".to_owned(), None)].iter().map(|(file, e)| format!("{file}{}", e.most)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!((share(0), share(2), share(4), share(9)), (String::new(), "x1 y1".into(), "x1 y2 z1".into(), "x1 y2 z1".into()));
    }

    #[test]
    fn the_examples_are_the_first_lines() {
        let mut examples = Examples { most: 2, rows: Vec::new() };
        [5, 3, 9, 1].into_iter().for_each(|line| examples.offer(row("a", "x", line)));
        assert_eq!(examples.rows.iter().map(|r| r.line).collect::<Vec<_>>(), [1, 3]);
    }
}
