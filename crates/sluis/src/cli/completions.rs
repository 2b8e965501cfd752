//! `completions SHELL`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::exit::{End, Exit};
use crate::print;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  sluis completions bash > /etc/bash_completion.d/sluis
  sluis completions zsh > ~/.zfunc/_sluis";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub fn run(self, _: &Session) -> End {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "sluis", &mut script);
        print::rows(&script);
        Ok(Exit::Done)
    }
}
