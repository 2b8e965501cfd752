//! `sluis`: lands files in tables and files, exactly once.
//!
//! | room | what |
//! |---|---|
//! | `cli/` | a file per command |
//! | `session`, `exit`, `print`, `progress` | flags and project; exit codes and errors; output; progress |
//! | `assemble`, `statements`, `pairs`, `tables` | a configured pipeline to a job of the engine: parts, SQL, parts that do not fit, tables to look things up in |
//! | `drive`, `process` | a pipeline's run: lanes, leases, signals |
//! | `unfinished` | open epochs of backfills and replays |
//! | `rejected`, `faults`, `replay` | rejected rows: read back; for people; tried again |
//! | `drawn`, `excerpt` | rows as an aligned table; a line with a caret |
//! | `peek/` | files of which nothing is known, looked at |
//! | `cases/` | pipelines' own tests |
//! | `allocator` | how freed memory is kept |
//! | `sample` | the example projects, inside the binary |
//!
//! Deliberately not here: what the engine, the connectors and SQL do.

mod allocator;
mod assemble;
mod cases;
mod cli;
mod clock;
mod drawn;
mod drive;
mod excerpt;
mod exit;
mod faults;
mod pairs;
mod peek;
mod print;
mod process;
mod progress;
mod rejected;
mod replay;
mod sample;
mod session;
mod statements;
mod tables;
mod unfinished;
mod url_parts;

fn main() -> std::process::ExitCode {
    allocator::keep_freed_memory();
    cli::main()
}
