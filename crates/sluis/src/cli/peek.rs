//! `peek URL`: files of which nothing is known, looked at.

use clap::Args;

use crate::exit::{End, Exit};
use crate::peek::{Ask, look, report};
use crate::print;
use crate::session::{Session, runtime};

const EXAMPLES: &str = "\
Examples:
  sluis peek orders.csv
  sluis peek in/ --match \"prices_{day:%Y%m%d}.csv\" --rows 20
  sluis peek s3://raw-cdrs/2024/ --connection raw --files 50
  sluis peek https://data.example.org/prices.csv.gz --json

It shows the format and its options, and how sure that is; the columns with their types; the first rows; the rows that a run would reject,
with a caret under the fault; how files differ; and the `from:` to paste into a pipeline. No more than the first MiB of each file is looked
at, 64 MiB in all. Nothing is written, no state moves, and no project is needed; connections are those of the project if there is one.
A format that is not recognised, or taken for another, is said with --format.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Peek {
    /// A file, a folder, or a pattern such as `in/2024-*/*.csv`: a path (from this folder), s3://bucket/prefix/, https://host/path.
    url: String,
    #[command(flatten)]
    which: Which,
    /// Rows to show, and rejected rows.
    #[arg(long, value_name = "N", default_value_t = 10)]
    rows: usize,
}

/// What of a place is looked at.
#[derive(Args)]
pub struct Which {
    /// Only files whose names match, as `match:` of a pipeline; captures become columns.
    #[arg(long = "match", value_name = "PATTERN")]
    pattern: Option<String>,
    /// The connection of the project to use. Default: the one whose `for` fits.
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// Hidden and temporary files too.
    #[arg(long)]
    hidden: bool,
    /// Files to look at, at most: from the first to the last.
    #[arg(long, value_name = "N", default_value_t = 10)]
    files: usize,
    /// The format. Default: found out.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

impl Which {
    /// At an address, showing so many rows.
    pub fn ask(self, url: String, rows: usize) -> Ask {
        Ask { url, pattern: self.pattern, connection: self.connection, hidden: self.hidden, files: self.files, rows, format: self.format }
    }
}

impl Peek {
    pub fn run(self, session: &Session) -> End {
        let project = session.project()?;
        let ask = self.which.ask(self.url, self.rows);
        let runtime = runtime()?;
        let found = runtime.block_on(look(session, &project, &ask))?;
        runtime.shutdown_background();
        if session.json {
            print::json(&report::json(&found, &project.dir)?);
        } else {
            print::out(&report::text(&found, &project.dir)?);
        }
        Ok(Exit::Done)
    }
}
