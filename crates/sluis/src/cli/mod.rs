//! The command line: one file per command, each with its arguments, its help and what it does.
//!
//! Deliberately not here: what commands share; that is in the rooms beside this folder.

mod backfill;
mod check;
mod completions;
mod connectors;
mod demo;
mod dev;
mod explain;
mod history;
mod init;
mod ledger;
mod peek;
mod rejects;
mod rewind;
mod run;
mod schema;
mod sql;
mod status;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::exit::{End, Failure, error_text};
use crate::print::{self, Color};
use crate::session::Session;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed, or interrupted
  2  bad configuration or usage
  3  error budget exceeded (`fail_if`)
  4  another process is at work on it
Where several pipelines end differently, the first of 2, 1, 3, 4 counts. A second Ctrl-C ends the process at once, with 130.

Begin with `sluis demo`, or with `sluis peek` at files of your own.";

/// Lands files in tables and files, exactly once.
#[derive(Parser)]
#[command(name = "sluis", version, about, after_help = EXIT_CODES, max_term_width = 110, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Global {
    /// The project's folder. Default: the nearest one from here up that has a `sluis.yaml`, else this folder.
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    project: Option<PathBuf>,
    /// The environment of `sluis.yaml` to lay over it.
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    env: Option<String>,
    /// Sets a variable: `${NAME}` in the files. Can be repeated.
    #[arg(long = "var", global = true, value_name = "NAME=VALUE", value_parser = variable, help_heading = "Global options")]
    vars: Vec<(String, String)>,
    /// Writes JSON to standard output, for scripts.
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    /// When to colour.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", help_heading = "Global options")]
    color: Color,
    /// No progress and no summary: only errors.
    #[arg(short, long, global = true, help_heading = "Global options")]
    quiet: bool,
    /// More of the log on standard error: -v info, -vv debug, -vvv trace.
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Global options")]
    verbose: u8,
    /// What of the log to show, as in `warn`, `info,sluis_engine=debug`. Default: `warn`, or what SLUIS_LOG says.
    #[arg(long, global = true, value_name = "FILTER", help_heading = "Global options")]
    log: Option<String>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    text.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).ok_or_else(|| "write it as NAME=VALUE".into())
}

#[derive(Subcommand)]
enum Command {
    /// Makes a new project: a first pipeline with comments, for sample data or (`--from`) for files of yours.
    Init(init::Init),
    /// Lands sample data in a new project, shows what happened, and leaves it to play with.
    Demo(demo::Demo),
    /// Brings up a real development cluster on this machine: HDFS, Hive, Kudu, Kafka, S3 and more.
    #[command(subcommand_required = true)]
    Dev(dev::Dev),
    /// Looks at files of which nothing is known: format, columns, first rows, and the YAML to begin with.
    Peek(peek::Peek),
    /// Finds every mistake in pipelines and project, and says what each pipeline guarantees.
    Check(check::Check),
    /// Shows what a run would read, how, and what its targets guarantee and why. Changes nothing.
    Explain(explain::Explain),
    /// Runs pipelines until they are caught up.
    Run(run::Run),
    /// Runs the pipelines' own tests, offline.
    Test(test::Test),
    /// Shows where each pipeline stands.
    Status(status::Status),
    /// Shows what a pipeline's epochs did.
    History(history::History),
    /// Asks the ledger: the story of a file, whether all is consistent.
    Ledger(ledger::Ledger),
    /// Shows rows that could not land, and tries them again.
    Rejects(rejects::Rejects),
    /// Lands files of a span of time, beside what the pipeline is at.
    Backfill(backfill::Backfill),
    /// Makes files that landed after an epoch count as new again.
    Rewind(rewind::Rewind),
    /// Asks the tables of the project's lake with SQL.
    Sql(sql::Sql),
    /// Lists sources, targets, formats and connections.
    Connectors(connectors::Connectors),
    /// Prints the JSON Schema of pipeline or project files, for editors.
    Schema(schema::Schema),
    /// Prints the completion script of a shell.
    Completions(completions::Completions),
}

/// The whole process.
pub fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let color = global.color.on_stderr();
    report_panics();
    match start(global, color).and_then(|session| dispatch(&session, command)) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(Failure::Said(exit)) => ExitCode::from(exit.code()),
        Err(Failure::Error(error)) => {
            print::err(&error_text(&error, color));
            ExitCode::from(crate::exit::Exit::of(&error).code())
        }
    }
}

fn start(global: Global, color: bool) -> Result<Session, Failure> {
    if let Ok(spec) = std::env::var("SLUIS_CRASH_AT") {
        sluis_core::crash::arm(&spec)?;
    }
    log(&global, color)?;
    let options = sluis_config::Options { env: global.env, vars: global.vars };
    Ok(Session::new(global.project, options, global.json, global.quiet, color, crate::clock::clock()?))
}

/// Log lines go to standard error, redacted.
fn log(global: &Global, color: bool) -> Result<(), Failure> {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "info",
        (_, 2) => "debug",
        _ => "trace",
    };
    let asked = global.log.clone().or_else(|| std::env::var("SLUIS_LOG").ok().filter(|s| !s.is_empty() && global.verbose == 0));
    let filter = tracing_subscriber::EnvFilter::try_new(asked.as_deref().unwrap_or(level)).map_err(|e| {
        sluis_core::Error::config("the log filter cannot be read").source(e).hint("as in `--log warn` or `--log info,sluis_engine=debug`")
    })?;
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(color).with_target(false).with_writer(|| Redacted).init();
    Ok(())
}

/// Standard error, redacted.
struct Redacted;

impl std::io::Write for Redacted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        print::err(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A panic is a bug of ours, and said as such; one of another's decoder over damaged bytes is caught, and is an error of the file.
fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        if sluis_core::panics::expected() {
            return;
        }
        let what = info.payload().downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| info.payload().downcast_ref::<String>().cloned());
        let at = info.location().map_or(String::new(), |l| format!(" ({}:{})", l.file(), l.line()));
        let what = what.unwrap_or_else(|| "no message".into());
        print::err(&format!(
            "error: a bug in sluis: {what}{at}\nhint: nothing that was committed is lost, and the next run goes on; please report the command and this text\n"
        ));
    }));
}

fn dispatch(session: &Session, command: Command) -> End {
    match command {
        Command::Init(args) => args.run(session),
        Command::Demo(args) => args.run(session),
        Command::Dev(args) => args.run(session),
        Command::Peek(args) => args.run(session),
        Command::Check(args) => args.run(session),
        Command::Explain(args) => args.run(session),
        Command::Run(args) => args.run(session),
        Command::Test(args) => args.run(session),
        Command::Status(args) => args.run(session),
        Command::History(args) => args.run(session),
        Command::Ledger(args) => args.run(session),
        Command::Rejects(args) => args.run(session),
        Command::Backfill(args) => args.run(session),
        Command::Rewind(args) => args.run(session),
        Command::Sql(args) => args.run(session),
        Command::Connectors(args) => args.run(session),
        Command::Schema(args) => args.run(session),
        Command::Completions(args) => args.run(session),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_every_command_has_examples() {
        let mut command = super::Cli::command();
        command.build();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            let leaves: Vec<_> = if sub.has_subcommands() { sub.get_subcommands().collect() } else { vec![sub] };
            for leaf in leaves {
                let help = leaf.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Examples:\n  sluis "), "{}", leaf.get_name());
            }
        }
    }
}
