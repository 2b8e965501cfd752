//! `sql "SELECT …"`: the lake's tables, asked.

use std::sync::Arc;

use clap::Args;
use futures::StreamExt;
use sluis_core::{EncoderFactory, Result, TableResolver};

use crate::drawn::Drawn;
use crate::exit::{End, Exit};
use crate::print;
use crate::session::{Session, runtime};
use crate::tables::LazyLake;

const EXAMPLES: &str = "\
Examples:
  sluis sql                                                      the tables there are
  sluis sql \"select count(*) from telecom.call_records\"
  sluis sql --csv \"select * from telecom.call_records\" > all.csv
  sluis sql --json \"select call_day, sum(cost) as cost from telecom.call_records group by 1 order by 1\"

--json writes an object per line.";

/// Rows of an aligned table, at most: all of them are held to know the widths.
const MOST: usize = 10_000;
const BATCH_ROWS: usize = 8192;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Sql {
    /// The statement. Default: lists the tables.
    #[arg(value_name = "SELECT …")]
    statement: Option<String>,
    /// Writes CSV.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

impl Sql {
    pub fn run(self, session: &Session) -> End {
        let project = session.project()?.resolve()?;
        let lake: Arc<dyn TableResolver> = Arc::new(LazyLake::new(&project));
        let form = if session.json {
            Form::Lines(sluis_formats::writer_from_value(&serde_json::json!("json"))?)
        } else if self.csv {
            Form::Lines(sluis_formats::writer_from_value(&serde_json::json!("csv"))?)
        } else {
            Form::Table
        };
        runtime()?.block_on(async {
            match &self.statement {
                Some(sql) => ask(sql, lake, form).await,
                None => list(session, lake).await,
            }
        })?;
        Ok(Exit::Done)
    }
}

enum Form {
    Table,
    Lines(Arc<dyn EncoderFactory>),
}

async fn list(session: &Session, lake: Arc<dyn TableResolver>) -> Result<()> {
    let names: Vec<String> = lake.names().await?.iter().map(|n| n.join(".")).collect();
    if session.json {
        print::json(&serde_json::json!(names));
    } else if names.is_empty() {
        print::line("the lake has no tables yet; `into: table` makes them");
    } else {
        names.iter().for_each(|n| print::line(n));
    }
    Ok(())
}

async fn ask(sql: &str, lake: Arc<dyn TableResolver>, form: Form) -> Result<()> {
    match form {
        Form::Lines(factory) => {
            let mut result = sluis_sql::query(sql, lake, BATCH_ROWS).await?;
            let mut encoder = factory.encoder(&result.schema)?;
            let mut out = Vec::new();
            while let Some(batch) = result.stream.next().await {
                encoder.write(&batch?, &mut out)?;
                print::rows(&out);
                out.clear();
            }
            encoder.finish(&mut out)?;
            print::rows(&out);
        }
        Form::Table => {
            let (text, more) = table(sql, lake, MOST).await?;
            print::out(&text);
            if more {
                print::line(&format!("the first {} rows are shown; --csv and --json write all", print::count(MOST as u64)));
            }
        }
    }
    Ok(())
}

/// The result as an aligned table of at most `most` rows with a line that counts them, and whether there are more.
///
/// # Errors
/// Those of the query.
pub async fn table(sql: &str, lake: Arc<dyn TableResolver>, most: usize) -> Result<(String, bool)> {
    let mut result = sluis_sql::query(sql, lake, BATCH_ROWS).await?;
    let mut table = Drawn::new(&result.schema, None);
    let (mut rows, mut more) = (0, false);
    while let Some(batch) = result.stream.next().await {
        let batch = batch?;
        let take = batch.num_rows().min(most - rows);
        more |= take < batch.num_rows();
        table.add(&batch.slice(0, take))?;
        rows += take;
        if more {
            break;
        }
    }
    Ok((format!("{}\n({})\n", table.text(), print::counted(rows as u64, "row")), more))
}
