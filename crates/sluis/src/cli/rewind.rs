//! `rewind PIPELINE --to-epoch N`.

use std::sync::Arc;

use clap::Args;
use sluis_config::Pipeline;
use sluis_core::{Epoch, Error, LaneId};
use sluis_engine::{Engine, Silent, Stop};

use crate::drive::{Guard, main_lane};
use crate::exit::{End, Exit};
use crate::print;
use crate::session::{Session, runtime};

const EXAMPLES: &str = "\
Examples:
  sluis rewind call_records --to-epoch 12
  sluis rewind call_records --to-epoch 0 --yes

The files of all epochs after it count as new, and the next run lands them again. Rows that landed stay where they are until then: a \
pipeline with `on_overwrite: replace`, or whose tables replace or upsert, takes their place; any other would have them twice, and is \
asked for --yes.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Rewind {
    /// The pipeline: its name, or its file.
    pipeline: String,
    /// The last epoch whose files stay landed; 0: none does.
    #[arg(long, value_name = "N")]
    to_epoch: u64,
    /// The lane, where there are several.
    #[arg(long, default_value = "main")]
    lane: String,
    /// Even though rows will be there twice.
    #[arg(long)]
    yes: bool,
}

impl Rewind {
    pub fn run(self, session: &Session) -> End {
        let (project, pipeline) = session.pipeline(&self.pipeline)?;
        if !self.yes && !takes_rows_back(&pipeline) {
            let message = format!("after a rewind the rows of `{}` would be in its targets twice", pipeline.name);
            return Err(Error::config(message)
                .hint("give --yes if that is meant; or set `on_overwrite: replace`, or `mode: upsert` on its tables, first")
                .into());
        }
        let ledger = Arc::new(session.ledger(&project)?);
        let lane = LaneId::new(pipeline.name.as_str(), &self.lane);
        let engine = Engine { ledger: ledger.clone(), clock: session.clock.clone(), observer: Arc::new(Silent) };
        let rewound = runtime()?.block_on(async {
            let mut lanes = vec![lane.clone()];
            if lane != main_lane(&pipeline.name) {
                lanes.push(main_lane(&pipeline.name));
            }
            let guard = Guard::take(&engine, &lanes, &Stop::default()).await?;
            let lease = guard.leases().await.into_iter().find(|l| l.lane == lane).ok_or_else(|| Error::internal("the lane's lease is gone"))?;
            let rewound = ledger.rewind(&lease, Epoch(self.to_epoch));
            guard.release().await;
            rewound
        })?;
        if session.json {
            print::json(&serde_json::to_value(&rewound).unwrap_or_default());
        } else {
            let (epochs, files) = (print::counted(rewound.epochs, "epoch"), print::counted(rewound.files, "file"));
            print::line(&format!("{}: {epochs} rewound; {files} will be read again by the next run", pipeline.name));
        }
        Ok(Exit::Done)
    }
}

/// Whether rows that are landed again take the place of the earlier ones, in every target.
pub fn takes_rows_back(pipeline: &Pipeline) -> bool {
    pipeline.replaces_files() || pipeline.targets.iter().all(|t| matches!(t.config["mode"].as_str(), Some("upsert" | "replace")))
}
