//! `demo [DIR]`: sample data, landed in a project to play with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use sluis_core::{Error, TableResolver};

use crate::cli::run::{How, run_all};
use crate::cli::sql::table;
use crate::exit::{End, Exit};
use crate::print;
use crate::sample::{FILES, PROJECT};
use crate::session::{Session, runtime, shown};
use crate::tables::LazyLake;

const EXAMPLES: &str = "\
Examples:
  sluis demo
  sluis demo /tmp/try-sluis

It is safe to run it again: files that are there are left as they are, and what landed does not land twice.";

const QUERY: &str =
    "select call_day, count(*) as calls, sum(seconds) as seconds, sum(cost) as cost from telecom.call_records group by call_day order by call_day";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Demo {
    /// The folder to make.
    #[arg(default_value = "sluis-demo")]
    dir: PathBuf,
}

impl Demo {
    pub fn run(self, session: &Session) -> End {
        let dir = std::path::absolute(&self.dir).map_err(|e| Error::io("find", self.dir.display(), e))?;
        let made = lay_out(&dir)?;
        let shown = shown(&dir);
        let inside = session.at(&dir);
        let asked = inside.load(None)?;
        print::line(&format!(
            "{shown}: {} with {}\n",
            print::counted(asked.pipelines.len() as u64, "pipeline"),
            print::counted(FILES.len() as u64, "sample file")
        ));
        print::line(&format!("$ sluis run --project {shown}"));
        let runs = run_all(&inside, &asked, &How::default())?;
        let exit = runs.iter().fold(Exit::Done, |exit, run| exit.worse(run.exit()));
        if exit != Exit::Done {
            return Ok(exit);
        }
        let rows = runs.iter().fold(sluis_core::RowCounts::default(), |a, r| a.plus(&r.summary.rows));
        if rows.read > 0 {
            print::line(&format!(
                "\nEvery row is accounted for: {} read = {} written + {} rejected + {} filtered.",
                print::count(rows.read),
                print::count(rows.written),
                print::count(rows.rejected),
                print::count(rows.filtered)
            ));
        }
        let lake: Arc<dyn TableResolver> = Arc::new(LazyLake::new(&asked.project));
        let (text, _) = runtime()?.block_on(table(QUERY, lake, 20))?;
        print::line(&format!("\n$ sluis sql --project {shown} \"{QUERY}\"\n{text}"));
        print::out(&next(&shown, made));
        Ok(Exit::Done)
    }
}

/// Writes what is not there. Answers whether anything was written.
fn lay_out(dir: &Path) -> sluis_core::Result<bool> {
    let project = dir.join("sluis.yaml");
    let strange = dir.is_dir() && !project.is_file() && std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    let other = project.is_file() && !std::fs::read_to_string(&project).is_ok_and(|text| text.starts_with("# What `sluis demo` made"));
    if strange || other {
        return Err(
            Error::config(format!("{} is there already, and not made by `sluis demo`", shown(dir))).hint("give another folder: `sluis demo DIR`")
        );
    }
    let mut made = write(&project, PROJECT.as_bytes())?;
    made |= write(&dir.join(".gitignore"), b".sluis/\nout/\n")?;
    for (path, bytes) in FILES {
        made |= write(&dir.join(path), bytes)?;
    }
    Ok(made)
}

/// Writes a file unless it is there.
pub fn write(path: &Path, bytes: &[u8]) -> sluis_core::Result<bool> {
    if path.exists() {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("make the folder", folder.display(), e))?;
    }
    // Complete or not at all: a source may look while the demo is made.
    let draft = path.with_file_name(format!(".{}.tmp", path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()));
    std::fs::write(&draft, bytes).and_then(|()| std::fs::rename(&draft, path)).map_err(|e| Error::io("write", path.display(), e))?;
    Ok(true)
}

fn next(dir: &str, made: bool) -> String {
    let again = if made { "" } else { "  (the demo was here already: what landed before did not land again)\n" };
    format!(
        "{again}What to try next:

  cd {dir}
  sluis rejects show call_records         why rows did not land, with line and text
  sluis run                               nothing new: each version of a file lands once
  cp data/telemetry/adbreakstelemetryitem20240131.csv data/telemetry/adbreakstelemetryitem20240201.csv && sluis run
  sluis ledger why adbreakstelemetryitem20240131.csv
  sluis status; sluis history prices      the columns of the price lists changed from day to day
  sluis sql \"select * from shop.latest order by sku\"
  sluis check; sluis explain; sluis test  what pipelines promise, would do, and are tested for
  $EDITOR pipelines/call_records.yaml     comments say what is what

Other engines read the tables too: PyIceberg and DuckDB with the catalog `.sluis/lake/catalog.db`.
"
    )
}
