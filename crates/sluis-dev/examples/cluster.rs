//! The least that brings a cluster up: `cargo run -p sluis-dev --example cluster -- up s3 kafka:3`.
//!
//! It links no engine, so `cargo xtask` uses it to fetch packages before the program itself is built.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use sluis_core::{Error, Result};
use sluis_dev::{Cluster, Event, Home, Tell, Up};

struct Lines(Instant);

impl Tell for Lines {
    fn tell(&self, service: &str, event: Event) {
        eprintln!("{:7.2} {service}: {event:?}", self.0.elapsed().as_secs_f64());
    }
}

fn run(words: &[String]) -> Result<()> {
    let home = Home::of_user()?;
    // A name, or a folder.
    let asked = std::env::var("CLUSTER").unwrap_or_else(|_| "default".into());
    let cluster = if asked.contains('/') { Cluster::at(&home, Path::new(&asked)) } else { Cluster::named(&home, &asked) }?;
    let lines = Lines(Instant::now());
    match words {
        [word, services @ ..] if word == "up" => {
            let brought = cluster.up(&Up { services: services.to_vec(), secure: std::env::var_os("SECURE").is_some(), ..Up::default() }, &lines)?;
            brought.failed.into_iter().next().map_or(Ok(()), |(service, e)| Err(e.context("service", service)))
        }
        [word] if word == "down" => cluster.down(&lines).map(|_| ()),
        [word] if word == "status" => cluster.status().map(|status| println!("{status:#?}")),
        [word] if word == "env" => cluster.client().map(|client| println!("{client:#?}")),
        [word, service, fault] if word == "fault" => cluster.fault(service, fault, &lines),
        [word] if word == "reset" => cluster.reset(&lines),
        [word, services @ ..] if word == "fetch" => sluis_dev::fetch(&home, services, &lines),
        _ => Err(Error::config("cluster up SERVICE… | down | status | env | fault SERVICE FAULT | reset | fetch SERVICE…")),
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            for cause in e.causes() {
                eprintln!("caused by: {cause}");
            }
            if let Some(hint) = e.hint_text() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}
