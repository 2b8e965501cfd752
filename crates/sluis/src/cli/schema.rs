//! `schema [pipeline|project]`.

use clap::{Args, ValueEnum};

use crate::exit::{End, Exit};
use crate::print;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  sluis schema > pipeline.schema.json
  sluis schema project > project.schema.json

In an editor with the YAML language server, the first line of a pipeline's file makes it known:
  # yaml-language-server: $schema=../pipeline.schema.json";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Schema {
    /// Which files it is for.
    #[arg(value_enum, default_value_t)]
    of: Of,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Of {
    /// Files in `pipelines/`.
    #[default]
    Pipeline,
    /// `sluis.yaml`.
    Project,
    /// Files in `tests/`.
    Test,
}

impl Schema {
    pub fn run(self, session: &Session) -> End {
        let schema = match self.of {
            Of::Pipeline => sluis_config::json_schema(session.registry()),
            Of::Project => sluis_config::project_schema(session.registry()),
            Of::Test => crate::cases::schema(),
        };
        print::line(&format!("{schema:#}"));
        Ok(Exit::Done)
    }
}
