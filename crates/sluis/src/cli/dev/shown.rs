//! How `dev` shows itself: a line per service on a terminal, else a line per thing that happens; and the table of `status`.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use sluis_dev::{Event, Silent, Status, Tell};

use crate::print;
use crate::session::Session;

/// What shows a cluster coming up.
pub fn teller(session: &Session) -> Box<dyn Tell> {
    if session.quiet {
        Box::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Box::new(Bars { multi: MultiProgress::new(), bars: Mutex::default() })
    } else {
        Box::new(Lines)
    }
}

/// What an event is to a person; and whether it is one of those that come in numbers.
fn sentence(event: &Event) -> (bool, String) {
    match event {
        Event::Fetching { package, kind } => (false, format!("fetching {package} from {kind}")),
        Event::Fetched { package, took, bytes: 0 } => (false, format!("installed {package} in {}", print::seconds(*took))),
        Event::Fetched { package, took, bytes } => {
            (false, format!("fetched {package} in {} ({} on disk)", print::seconds(*took), print::bytes(*bytes)))
        }
        Event::Waiting { on } => (true, format!("waits for {on}")),
        Event::Step { name } => (true, name.clone()),
        Event::Started { process } => (true, format!("starting {process}")),
        Event::Ready { process, .. } => (true, format!("{process} answers")),
        Event::Up { already: true, .. } => (false, "ready (ran already)".into()),
        Event::Up { took, .. } => (false, format!("ready in {}", print::seconds(*took))),
        // The whole error is said at the end.
        Event::Failed { .. } => (false, "failed".into()),
        Event::Stopped { process, killed: false } => (true, format!("{process} ended")),
        Event::Stopped { process, killed: true } => (false, format!("{process} did not end when asked and was killed")),
        Event::Note(text) => (false, text.clone()),
    }
}

struct Lines;

impl Tell for Lines {
    fn tell(&self, service: &str, event: Event) {
        let (minor, text) = sentence(&event);
        if !minor {
            print::err(&if service.is_empty() { format!("{text}\n") } else { format!("{service}: {text}\n") });
        }
    }
}

struct Bars {
    multi: MultiProgress,
    bars: Mutex<HashMap<String, ProgressBar>>,
}

impl Tell for Bars {
    fn tell(&self, service: &str, event: Event) {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bars.entry(service.to_owned()).or_insert_with(|| {
            let bar = self.multi.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:14} {elapsed:>4} {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(service.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        let (_, text) = sentence(&event);
        match event {
            Event::Up { .. } | Event::Failed { .. } => bar.finish_with_message(text),
            Event::Stopped { killed: true, .. } | Event::Note(_) => {
                // Without a line of its own it would be gone with the next message; who cannot see it has no terminal.
                let _ = self.multi.println(format!("{service}: {text}"));
            }
            _ => bar.set_message(text),
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        for bar in self.bars.lock().unwrap_or_else(PoisonError::into_inner).values() {
            bar.abandon();
        }
    }
}

/// The table.
pub fn status(status: &Status) -> String {
    let mut rows = Vec::new();
    for service in &status.services {
        let name = if service.variant.is_empty() { service.name.clone() } else { format!("{}:{}", service.name, service.variant) };
        let ports = service.ports.iter().map(|(name, port)| format!("{name} {port}")).collect::<Vec<_>>().join(", ");
        let about = if service.stand_in.is_empty() { String::new() } else { format!("STAND-IN: {}", service.stand_in) };
        rows.push(vec![
            name,
            service.state.to_string(),
            String::new(),
            String::new(),
            print::bytes(service.memory),
            [about, ports].join(" ").trim().to_owned(),
        ]);
        for process in &service.processes {
            let pid = process.pid.map_or("-".to_owned(), |p| p.to_string());
            let age = process.pid.map_or("-".to_owned(), |_| print::seconds(Duration::from_secs(process.seconds)).replace(".00", ""));
            rows.push(vec![format!("  {}", process.name), process.state.to_string(), pid, age, print::bytes(process.memory), process.why.clone()]);
        }
    }
    let budget: u64 = status.services.iter().map(|s| s.budget).sum();
    let kind = if status.secure { "secure" } else { "plain" };
    let mut out = format!("cluster {} ({kind}) in {}\n", status.cluster, status.folder);
    out += &print::grid(&["SERVICE", "STATE", "PID", "UP FOR", "MEMORY", "PORTS OF 127.0.0.1"], &rows, &[2, 3, 4]);
    out + &format!("{} of memory in use, at most {}\n", print::bytes(status.memory), print::bytes(budget))
}
