//! `connectors`: what this build can talk to.

use clap::Args;
use serde_json::{Value, json};

use crate::exit::{End, Exit};
use crate::print;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  sluis connectors
  sluis connectors --json";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Connectors {}

impl Connectors {
    pub fn run(self, session: &Session) -> End {
        let registry = session.registry();
        let mut parts: Vec<(&str, &str, &str, String)> = Vec::new();
        parts.extend(registry.sources.iter().map(|d| ("source", d.name, d.summary, format!("docs/reference/source-{}.md", d.name))));
        parts.extend(registry.sinks.iter().map(|d| ("target", d.name, d.summary, format!("docs/reference/target-{}.md", d.name))));
        for d in &registry.formats {
            let kind = match (d.reader.is_some(), d.writer.is_some()) {
                (true, false) => "format (read)",
                (false, _) => "format (write)",
                (true, true) => "format",
            };
            parts.push((kind, d.name, d.summary, format!("docs/reference/format-{}.md", d.name)));
        }
        parts.extend(registry.connections.iter().map(|d| ("connection", d.name, d.summary, format!("docs/reference/connection-{}.md", d.name))));
        if session.json {
            let all: Vec<Value> =
                parts.iter().map(|(kind, name, summary, docs)| json!({ "kind": kind, "name": name, "summary": summary, "docs": docs })).collect();
            print::json(&Value::Array(all));
        } else {
            let rows: Vec<Vec<String>> =
                parts.iter().map(|(kind, name, summary, _)| vec![(*kind).to_owned(), (*name).to_owned(), (*summary).to_owned()]).collect();
            print::out(&print::grid(&["KIND", "NAME", "WHAT"], &rows, &[]));
        }
        Ok(Exit::Done)
    }
}
