//! `init [DIR]`: a new project.

use std::path::PathBuf;

use clap::Args;
use sluis_core::Error;

use crate::cli::demo::write;
use crate::exit::{End, Exit};
use crate::print;
use crate::session::{Session, shown};

const EXAMPLES: &str = "\
Examples:
  sluis init
  sluis init landing && sluis run --project landing";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Init {
    /// The project's folder; it is made if it is not there.
    #[arg(default_value = ".")]
    dir: PathBuf,
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
        if let Some(there) =
            FILES.iter().map(|(path, _)| dir.join(path)).chain([dir.join("sluis.yml")]).find(|p| p.exists() && !p.ends_with(".gitignore"))
        {
            let e = Error::config(format!("{} is there already", shown(&there)));
            return Err(e.hint("`sluis init DIR` makes a project in a new folder; nothing was written").into());
        }
        for (path, text) in FILES {
            if write(&dir.join(path), text.as_bytes())? && !session.quiet {
                print::line(&format!("made {}", shown(&dir.join(path))));
            }
        }
        if !session.quiet {
            let cd = if self.dir == std::path::Path::new(".") { String::new() } else { format!("  cd {}\n", self.dir.display()) };
            print::out(&format!("\nNext:\n{cd}  sluis check\n  sluis test\n  sluis run\n  sluis sql \"select * from shop.orders\"\n"));
        }
        Ok(Exit::Done)
    }
}
