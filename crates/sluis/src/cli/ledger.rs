//! `ledger why FILE`, `ledger fsck`.

use clap::{Args, Subcommand};
use sluis_engine::ledger::inspect::{FileChapter, FileStory, FsckReport};

use crate::exit::{End, Exit};
use crate::print;
use crate::progress::rows_text;
use crate::session::{Session, shown};

const WHY: &str = "\
Examples:
  sluis ledger why MobileVikings_20240131_001.cdr
  sluis ledger why s3://mv-cdrs/cdrs/MobileVikings_20240131_001.cdr --json";

const FSCK: &str = "\
Examples:
  sluis ledger fsck
  sluis ledger fsck --project /srv/landing --json

Exit code 1 if something is wrong.";

#[derive(Args)]
pub struct Ledger {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Tells the whole story of a file: every version, in which epoch, and what became of its rows.
    #[command(after_help = WHY)]
    Why {
        /// Its address, or the end of it.
        file: String,
    },
    /// Checks the ledger's file and every invariant over all its records.
    #[command(after_help = FSCK)]
    Fsck,
}

impl Ledger {
    pub fn run(self, session: &Session) -> End {
        let project = session.project()?;
        let ledger = session.existing_ledger(&project)?;
        match self.what {
            What::Why { file } => {
                let mut stories = ledger.as_ref().map_or_else(|| Ok(Vec::new()), |ledger| ledger.why(&file))?;
                // A path from here is as good as the address that the ledger keeps.
                if let (true, Some(ledger), Ok(path)) = (stories.is_empty(), &ledger, std::path::absolute(&file)) {
                    stories = ledger.why(&path.display().to_string())?;
                }
                if session.json {
                    stories.iter().for_each(|s| print::json(&serde_json::to_value(s).unwrap_or_default()));
                } else if stories.is_empty() {
                    print::line(&format!("the ledger knows no file `{file}`: no run has taken it"));
                    print::line("`sluis explain` shows what the next run would read; `settle`, `match`, `start` and hidden names leave files out");
                } else {
                    stories.iter().for_each(|s| print::out(&story(s)));
                }
                Ok(Exit::Done)
            }
            What::Fsck => {
                let Some(ledger) = ledger else {
                    print::line(&format!("there is no ledger at {} yet: nothing has run", shown(&project.ledger_path)));
                    return Ok(Exit::Done);
                };
                let report = ledger.fsck()?;
                tell(session, &report);
                Ok(if report.problems.is_empty() { Exit::Done } else { Exit::Failed })
            }
        }
    }
}

fn tell(session: &Session, report: &FsckReport) {
    if session.json {
        print::json(&serde_json::to_value(report).unwrap_or_default());
        return;
    }
    for problem in &report.problems {
        print::line(&format!("problem: {problem}"));
    }
    let looked = format!(
        "{}, {}, {}",
        print::counted(report.lanes, "lane"),
        print::counted(report.epochs, "epoch"),
        print::counted(report.files, "file version")
    );
    match report.problems.len() as u64 {
        0 => print::line(&format!("{looked}: everything is consistent")),
        n => print::line(&format!("{looked}: {}", print::counted(n, "problem"))),
    }
}

fn story(story: &FileStory) -> String {
    let mut out = format!("{} in `{}`\n", story.path, story.pipeline);
    for c in &story.versions {
        out.push_str(&chapter(c));
    }
    out
}

fn chapter(c: &FileChapter) -> String {
    let modified = c.version.modified.map_or(String::new(), |at| format!(", modified {}", print::time(at)));
    let mut out = format!("  version {} ({}{modified})\n", c.version.tag(), print::bytes(c.version.size));
    out.push_str(&format!("    {} planned in epoch {} of lane `{}`\n", print::time(c.planned_at), c.epoch, c.lane));
    if let Some(at) = c.staged_at {
        out.push_str(&format!("    {} read: {}\n", print::time(at), rows_text(&c.rows)));
    }
    if let Some(at) = c.committed_at {
        let replaced = if c.replaces { "; the earlier version's rows left with it" } else { "" };
        out.push_str(&format!("    {} committed{replaced}\n", print::time(at)));
    }
    out.push_str(&format!("    now: {}\n", c.fate));
    out
}
