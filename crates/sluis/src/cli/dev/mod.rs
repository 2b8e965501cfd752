//! `dev`: a real development cluster on this machine.
//!
//! Deliberately not here: services and what is done with them (`sluis-dev`).

mod shown;

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use sluis_core::Error;
use sluis_dev::{Cluster, FAULTS, Home};

use crate::exit::{End, Exit, error_text};
use crate::print;
use crate::session::Session;

#[derive(Args)]
pub struct Dev {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Brings services up, fetches what they are made of, and waits until they answer.
    #[command(after_help = "\
Examples:
  sluis dev up
  sluis dev up kafka:3 s3
  sluis dev up hdfs:ha --cluster ha
  sluis dev up --fresh

Without names: what the cluster has, else hdfs, metastore, kudu, kafka and s3. `sluis dev services` lists all.
What runs is left alone; what is down or half down is repaired. Everything listens on loopback only. Not for production.")]
    Up(Up),
    /// Ends every process of a cluster; its data stays.
    #[command(after_help = "Examples:\n  sluis dev down\n  sluis dev down --cluster ha")]
    Down(Which),
    /// Shows what runs, whether it answers, where, and how much memory it takes.
    #[command(after_help = "Examples:\n  sluis dev status\n  sluis dev status --json")]
    Status(Which),
    /// Lists the services that can be brought up.
    #[command(after_help = "Examples:\n  sluis dev services")]
    Services,
    /// Shows the logs of a service.
    #[command(after_help = "Examples:\n  sluis dev logs kafka\n  sluis dev logs kudu/master-1 -f")]
    Logs(Logs),
    /// Writes the configuration that clients need and prints what to export.
    #[command(after_help = "Examples:\n  sluis dev env\n  eval \"$(sluis dev env)\"\n  sluis dev env --json")]
    Env(Which),
    /// Opens the shell of a service, or gives it a command.
    #[command(after_help = "Examples:\n  sluis dev shell hdfs -ls /\n  sluis dev shell kudu table list\n  sluis dev shell zookeeper")]
    Shell(Shell),
    /// Does to a service what happens to services.
    #[command(
        after_help = "Examples:\n  sluis dev fault kafka kill\n  sluis dev fault kudu/tserver-1 pause\n  sluis dev fault kudu/tserver-1 resume"
    )]
    Fault(Fault),
    /// Ends everything and takes the data away; downloads stay.
    #[command(after_help = "Examples:\n  sluis dev reset\n  sluis dev reset --cluster ha")]
    Reset(Which),
    /// Fetches the packages of services and starts nothing.
    #[command(after_help = "Examples:\n  sluis dev fetch\n  sluis dev fetch kafka hdfs")]
    Fetch(Fetch),
}

/// Which cluster.
#[derive(Args)]
struct Which {
    /// The cluster's name; clusters stand side by side.
    #[arg(long, default_value = "default", value_name = "NAME")]
    cluster: String,
}

#[derive(Args)]
struct Up {
    /// Services, with a variant after a colon where they have some.
    #[arg(value_name = "SERVICE[:VARIANT]")]
    services: Vec<String>,
    /// Kerberos and TLS on everything. Decided when the cluster is made.
    #[arg(long)]
    secure: bool,
    /// Empties the cluster first.
    #[arg(long)]
    fresh: bool,
    /// Brings everything down if a service fails. Without it the others stay up.
    #[arg(long)]
    stop_on_failure: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(Args)]
struct Logs {
    /// A service, or a process of it.
    #[arg(value_name = "SERVICE[/PROCESS]")]
    service: String,
    /// Goes on with what is written from now on.
    #[arg(short, long)]
    follow: bool,
    /// How many lines of each log.
    #[arg(short = 'n', long, default_value_t = 50, value_name = "N")]
    lines: usize,
    #[command(flatten)]
    which: Which,
}

#[derive(Args)]
struct Shell {
    #[command(flatten)]
    which: Which,
    service: String,
    /// What to give it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

#[derive(Args)]
struct Fault {
    /// A service, or a process of it.
    #[arg(value_name = "SERVICE[/PROCESS]")]
    service: String,
    /// What to do to it.
    #[arg(value_parser = FAULTS.map(|(name, what)| clap::builder::PossibleValue::new(name).help(what)))]
    fault: String,
    #[command(flatten)]
    which: Which,
}

#[derive(Args)]
struct Fetch {
    /// Services; none: all.
    services: Vec<String>,
}

impl Which {
    fn find(&self) -> sluis_core::Result<Cluster> {
        Cluster::named(&Home::of_user()?, &self.cluster)
    }
}

impl Dev {
    pub fn run(self, session: &Session) -> End {
        match self.what {
            What::Up(up) => up.run(session),
            What::Down(which) => {
                let ended = which.find()?.down(&*shown::teller(session))?;
                print::line(&format!("{}: {} ended", which.cluster, print::counted(ended as u64, "process").replace("processs", "processes")));
                Ok(Exit::Done)
            }
            What::Status(which) => status(&which.find()?, session),
            What::Services => services(),
            What::Logs(logs) => logs.run(),
            What::Env(which) => env(&which.find()?, session),
            What::Shell(shell) => shell.run(),
            What::Fault(fault) => {
                fault.which.find()?.fault(&fault.service, &fault.fault, &*shown::teller(session))?;
                Ok(Exit::Done)
            }
            What::Reset(which) => {
                which.find()?.reset(&*shown::teller(session))?;
                print::line(&format!("{}: empty; the downloads are kept", which.cluster));
                Ok(Exit::Done)
            }
            What::Fetch(fetch) => {
                let names = if fetch.services.is_empty() { sluis_dev::names().into_iter().map(str::to_owned).collect() } else { fetch.services };
                sluis_dev::fetch(&Home::of_user()?, &names, &*shown::teller(session))?;
                Ok(Exit::Done)
            }
        }
    }
}

impl Up {
    fn run(self, session: &Session) -> End {
        let cluster = self.which.find()?;
        let up = sluis_dev::Up { services: self.services, secure: self.secure, fresh: self.fresh, stop_on_failure: self.stop_on_failure };
        let teller = shown::teller(session);
        let brought = cluster.up(&up, &*teller)?;
        drop(teller);
        for (service, error) in &brought.failed {
            print::err(&format!("{service}: {}", error_text(error, session.color)));
        }
        let names = brought.ready.iter().map(|(name, _, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        if !brought.failed.is_empty() {
            let rest = match (self.stop_on_failure, names.as_str()) {
                (true, _) => "everything was brought down".to_owned(),
                (false, "") => "nothing is up".to_owned(),
                (false, names) => format!("still up: {names}"),
            };
            print::err(&format!("{} not up; {rest}\n", print::counted(brought.failed.len() as u64, "service")));
            return Ok(Exit::Failed);
        }
        let at_most = print::bytes(brought.budget);
        print::line(&format!("{}: {names} ready in {} (at most {at_most} of memory)", cluster.name(), print::seconds(brought.took)));
        print::line("next: `sluis dev status`, `eval \"$(sluis dev env)\"`, `sluis dev down`");
        Ok(Exit::Done)
    }
}

fn services() -> End {
    let rows: Vec<Vec<String>> = sluis_dev::abouts()?.into_iter().map(|(name, variants, about)| vec![name, variants.join(" "), about]).collect();
    print::out(&print::grid(&["SERVICE", "VARIANTS", "WHAT"], &rows, &[]));
    Ok(Exit::Done)
}

fn status(cluster: &Cluster, session: &Session) -> End {
    let status = cluster.status()?;
    if session.json {
        print::json(&serde_json::to_value(&status).map_err(|e| Error::internal(format!("a status without JSON: {e}")))?);
        return Ok(Exit::Done);
    }
    print::out(&shown::status(&status));
    Ok(Exit::Done)
}

fn env(cluster: &Cluster, session: &Session) -> End {
    let client = cluster.client()?;
    if session.json {
        print::json(&json!({ "folder": client.folder, "exports": client.exports }));
        return Ok(Exit::Done);
    }
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    for (name, value) in &client.exports {
        // Made for this cluster and written down beside it: not a secret.
        print::rows(format!("export {name}={}\n", quoted(value)).as_bytes());
    }
    print::line(&format!("# files for clients: {}", client.folder.display()));
    Ok(Exit::Done)
}

impl Shell {
    fn run(self) -> End {
        use std::os::unix::process::CommandExt as _;
        let mut command = self.which.find()?.shell(&self.service, &self.arguments)?;
        let program = command.get_program().to_string_lossy().into_owned();
        // Comes back only if it fails.
        Err(Error::io("run", program, command.exec()).into())
    }
}

impl Logs {
    fn run(self) -> End {
        let cluster = self.which.find()?;
        let mut at: BTreeMap<PathBuf, u64> = BTreeMap::new();
        let logs = cluster.logs(&self.service)?;
        let several = logs.len() > 1;
        for log in logs {
            let text = String::from_utf8_lossy(&std::fs::read(&log).map_err(|e| Error::io("read", log.display(), e))?).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            if several {
                print::line(&format!("==> {}", log.display()));
            }
            print::out(&lines[lines.len().saturating_sub(self.lines)..].iter().map(|l| format!("{l}\n")).collect::<String>());
            at.insert(log, text.len() as u64);
        }
        if at.is_empty() {
            print::err(&format!("{} has written nothing\n", self.service));
        }
        if !self.follow {
            return Ok(Exit::Done);
        }
        loop {
            for log in cluster.logs(&self.service)? {
                let from = at.entry(log.clone()).or_default();
                *from += more(&log, *from)?;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Writes what a log has after a place; how much that was.
fn more(log: &Path, from: u64) -> sluis_core::Result<u64> {
    let mut file = std::fs::File::open(log).map_err(|e| Error::io("read", log.display(), e))?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from)).and_then(|_| file.read_to_end(&mut bytes)).map_err(|e| Error::io("read", log.display(), e))?;
    print::out(&String::from_utf8_lossy(&bytes));
    // Who reads it is gone, or not; `print` has seen to that.
    let _ = std::io::stdout().flush();
    Ok(bytes.len() as u64)
}
