//! `init [DIR]`: a new project, for sample data or for files that are there.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use sluis_config::Project;
use sluis_core::{Error, Result};

use crate::cli::demo::write;
use crate::cli::peek::Which;
use crate::exit::{End, Exit};
use crate::peek::{Look, look, yaml};
use crate::print;
use crate::session::{Session, runtime, shown};

const EXAMPLES: &str = "\
Examples:
  sluis init
  sluis init landing && sluis run --project landing
  sluis init landing --from data/orders/
  sluis init landing --from s3://raw-cdrs/2024/ --match \"*_{day:%Y%m%d}.cdr\"

--from looks at files as `sluis peek` does, and writes what it finds as a pipeline that runs as it stands: options of the format, types of the
columns, a table named after the files. The files stay where they are.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Init {
    /// The project's folder; it is made if it is not there.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Files to make the first pipeline for: a file, a folder, or a pattern, as for `sluis peek`.
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    #[command(flatten)]
    which: Which,
}

/// Path below the project, and text.
const FILES: [(&str, &str); 5] = [
    ("sluis.yaml", PROJECT),
    ("pipelines/orders.yaml", PIPELINE),
    ("data/orders/orders_2024-01-31.csv", DATA),
    ("tests/orders/bad_rows.yaml", TEST),
    (".gitignore", ".sluis/\n"),
];

const PROJECT: &str = "\
# A project: what its pipelines share. Every key is optional; `sluis schema project` lists them all.
# name: landing

# Addresses and credentials under names. Secrets are references: ${env:NAME}, ${file:PATH}, ${cmd:COMMAND}.
# connections:
#   raw: { s3: { region: eu-west-1, access_key: \"${env:RAW_KEY}\", secret_key: \"${env:RAW_SECRET}\" } }

# What differs where it is run with `--env prod`.
# environments:
#   prod: { state_dir: /var/lib/sluis }
";

const PIPELINE: &str = "\
description: Orders of the day

from:
  files:
    url: data/orders/                            # a folder, s3://bucket/prefix/, https://…
    match: \"orders_{day:%Y-%m-%d}.csv\"           # captures become columns
    # settle: 1m                                 # take files that nobody has touched for a minute
    # on_overwrite: replace                      # fail (default) | replace | append | ignore
  csv:
    columns: { order_id: bigint, amount: \"decimal(10,2)\" }      # the others are found out

check:                                           # rows that fail go to the rejects, with file, line and text
  - { name: positive, that: \"amount > 0\" }

select: \"select *, amount * 0.21 as tax from input\"

into:
  table: { name: shop.orders, partition_by: [day] }      # an Iceberg table in .sluis/lake
  # files: { url: out/orders/, format: parquet }

fail_if: \"rejects > 50%\"
";

const DATA: &str = "order_id,customer,amount\n1,Ada,12.50\n2,Bob,7.00\n3,Eve,abc\n";

const TEST: &str = "\
description: What is no amount is rejected
given:
  orders_2024-01-31.csv: |
    order_id,customer,amount
    1,Ada,12.50
    2,Bob,-1
    3,Eve,abc
expect:
  table: |
    order_id,customer,amount,day,tax
    1,Ada,12.50,2024-01-31,2.625
  rejects: |
    line,column,reason
    3,positive,check_failed
    4,amount,bad_value
";

impl Init {
    pub fn run(self, session: &Session) -> End {
        let dir = std::path::absolute(&self.dir).map_err(|e| Error::io("find", self.dir.display(), e))?;
        let cd = if self.dir == Path::new(".") { String::new() } else { format!("  cd {}\n", self.dir.display()) };
        let Some(url) = self.from else {
            make(session, &dir, &FILES.map(|(path, text)| (path.to_owned(), text.to_owned())))?;
            if !session.quiet {
                print::out(&format!("\nNext:\n{cd}  sluis check\n  sluis test\n  sluis run\n  sluis sql \"select * from shop.orders\"\n"));
            }
            return Ok(Exit::Done);
        };
        // Connections are those of the project that the new one stands in, if any: it has a file of its own from now on.
        let around = session.project()?;
        let runtime = runtime()?;
        let found = runtime.block_on(look(session, &around, &self.which.ask(url, 0)))?;
        runtime.shutdown_background();
        let name = name_of(&found);
        let files = [
            ("sluis.yaml".to_owned(), project_for(&found, &around)),
            (format!("pipelines/{name}.yaml"), pipeline_for(&found, &name, &dir)?),
            (".gitignore".to_owned(), ".sluis/\n".to_owned()),
        ];
        make(session, &dir, &files)?;
        if !session.quiet {
            let (rows, rejected) = found.rows();
            if rejected > 0 {
                let rejected = print::count(rejected);
                print::line(&format!("\n{rejected} of {} looked at would be rejected: `sluis peek` shows them", print::counted(rows, "row")));
            }
            print::out(&format!("\nNext:\n{cd}  sluis check\n  sluis run\n  sluis sql \"select * from {name} limit 10\"\n"));
        }
        Ok(Exit::Done)
    }
}

/// Writes a project's files, all or none.
fn make(session: &Session, dir: &Path, files: &[(String, String)]) -> Result<()> {
    let others = ["sluis.yml"].map(str::to_owned);
    let taken = files.iter().map(|(path, _)| path).chain(&others).map(|p| dir.join(p)).find(|p| p.exists() && !p.ends_with(".gitignore"));
    if let Some(there) = taken {
        let e = Error::config(format!("{} is there already", shown(&there)));
        return Err(e.hint("`sluis init DIR` makes a project in a new folder; nothing was written"));
    }
    for (path, text) in files {
        if write(&dir.join(path), text.as_bytes())? && !session.quiet {
            print::line(&format!("made {}", shown(&dir.join(path))));
        }
    }
    Ok(())
}

/// A name for pipeline and table: what the files' names have in common before their first digits, else their folder's.
fn name_of(found: &Look) -> String {
    let plain = |text: &str| {
        let mut out = String::new();
        for c in text.to_lowercase().chars() {
            match c {
                'a'..='z' | '0'..='9' => out.push(c),
                _ if out.ends_with('_') || out.is_empty() => {}
                _ => out.push('_'),
            }
        }
        out.trim_matches('_').trim_start_matches(|c: char| c.is_ascii_digit() || c == '_').to_owned()
    };
    let words = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let stem = name.split('.').next().unwrap_or_default().to_owned();
        plain(stem.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default())
    };
    let names: Vec<String> = found.files.iter().map(|f| words(&f.path)).collect();
    let folder = || found.files.first().and_then(|f| f.path.rsplit('/').nth(1)).map(plain).unwrap_or_default();
    let same = names.first().filter(|first| names.iter().all(|n| n == *first)).cloned().unwrap_or_default();
    [same, folder(), "files".to_owned()].into_iter().find(|n| !n.is_empty()).unwrap_or_default()
}

/// `sluis.yaml`: with the connection that the files need, as it stands in the project around.
fn project_for(found: &Look, around: &Project) -> String {
    let connection = found.from["connection"].as_str().and_then(|name| Some((name, around.connections.get(name)?)));
    match connection {
        None => PROJECT.to_owned(),
        Some((name, value)) => {
            let head = PROJECT.split("\n# Addresses").next().unwrap_or_default();
            format!("{head}\nconnections:\n  {}: {}\n", yaml::key(name), yaml::flow_with_references(value))
        }
    }
}

fn pipeline_for(found: &Look, name: &str, dir: &Path) -> Result<String> {
    let (rows, rejected) = found.rows();
    let mut out =
        format!("# Made by `sluis init --from`, from {} of {}.\n", print::counted(rows, "row"), print::counted(found.files.len() as u64, "file"));
    let differences = found.differences().iter().map(|d| d.text(&found.schema)).collect::<Vec<_>>();
    for note in found.sniffed.notes.iter().chain(&found.almost_texts()).chain(&differences) {
        let _ = writeln!(out, "# {}", one_line(note));
    }
    if rejected > 0 {
        let _ = writeln!(out, "# {} of these rows would be rejected: `sluis rejects show {name}` after a run.", print::count(rejected));
    }
    let from = found.yaml(dir)?;
    out.push_str(
        "\n# Where rows come from, and how the files are written. Types that stand here are kept; a column that is left out is found out.\n",
    );
    out.push_str(&from);
    let columns: Vec<&str> = found.schema.fields().iter().map(|f| f.name().as_str()).collect();
    let first = columns.first().copied().unwrap_or("column");
    let quoted = format!("\\\"{}\\\"", first.replace(['"', '\\', '\n', '\r', '$'], "_"));
    let _ = write!(
        out,
        "
# More of `files:`: settle: 1m (leave uploads alone), on_overwrite: replace (a new version takes the old one's place),
# match: \"x_{{day:%Y%m%d}}.csv\" (parts of names become columns), metadata: [file, line].

# Rows for which this does not hold are rejected, with file, line and text.
# check:
#   - {{ name: is_there, that: \"{quoted} is not null\" }}

# Rows can be changed with SQL on their way.
# select: \"select * from input\"

# An Iceberg table in .sluis/lake.
into:
  table: {{ name: {name} }}

# The run fails, and nothing lands, if more rows are bad.
# fail_if: \"rejects > 5%\"

# Without it the pipeline runs when `sluis run` is called.
# when: \"5 3 * * *\"
"
    );
    Ok(out)
}

fn one_line(text: &str) -> String {
    print::short(text, 140)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_pipeline_of_sample_data_has_no_mistakes_when_its_comments_are_taken_away() {
        let text = super::PIPELINE.replace("    # settle", "    settle").replace("    # on_overwrite", "    on_overwrite");
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("p.yaml"), text).unwrap();
        let loaded = sluis_config::load_project(&dir.path().join("p.yaml"), &sluis_connectors::registry(), &sluis_config::Options::default());
        assert!(loaded.is_valid(), "{}", sluis_config::render(&loaded.diagnostics, false));
    }
}
