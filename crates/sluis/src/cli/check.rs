//! `check`: every mistake at once; guarantees; with `--connect`, whether everything can be reached.

use clap::Args;
use serde_json::{Value, json};
use sluis_config::{Pipeline, Project, has_errors, render};
use sluis_core::{Error, Guarantee, Result};

use crate::assemble::{Parts, rejects_target};
use crate::exit::{End, Exit, error_json, error_text};
use crate::print;
use crate::session::{Session, runtime, shown};

const EXAMPLES: &str = "\
Examples:
  sluis check
  sluis check pipelines/cdrs.yaml
  sluis check --connect --env prod
  sluis check --json

Without --connect nothing is contacted and no secret is looked up.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Check {
    /// A pipeline's file or name, or a folder. Default: the whole project.
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// Tries every source, target and look-up table, and (for a whole project) every connection, used or not; says what is missing.
    #[arg(long)]
    connect: bool,
}

/// What a target promises, in a word and a sentence.
fn promise(guarantee: &Guarantee) -> (&'static str, &str) {
    match guarantee {
        Guarantee::ExactlyOnce(why) => ("exactly once", why),
        Guarantee::OncePerKey(why) => ("once per key", why),
        Guarantee::AtLeastOnce(why) => ("at least once", why),
    }
}

/// A line for each; what was said already is referred to.
pub fn promise_lines(all: impl Iterator<Item = (String, Guarantee)>) -> Vec<String> {
    let mut said: Vec<(Guarantee, String)> = Vec::new();
    let line = |(name, guarantee): (String, Guarantee)| {
        let (word, why) = promise(&guarantee);
        let why = match said.iter().find(|(g, _)| *g == guarantee) {
            Some((_, of)) => format!("as `{of}`"),
            None => why.split_whitespace().collect::<Vec<_>>().join(" "),
        };
        let line = format!("{name}: {word}: {why}");
        said.push((guarantee, name));
        line
    };
    all.map(line).collect()
}

impl Check {
    pub fn run(self, session: &Session) -> End {
        let mut loaded = session.look(self.path.as_deref());
        for pipeline in &loaded.pipelines {
            loaded.diagnostics.extend(crate::statements::problems(pipeline));
            loaded.diagnostics.extend(crate::pairs::problems(pipeline));
        }
        let bad = has_errors(&loaded.diagnostics);
        let mut said = json!({ "valid": !bad, "diagnostics": loaded.diagnostics });
        let mut exit = if bad { Exit::Config } else { Exit::Done };
        if let Some(project) = loaded.project.as_ref().filter(|_| !bad) {
            said["pipelines"] = loaded.pipelines.iter().map(|p| pipeline_json(session, project, p)).collect();
            if !session.json && !session.quiet {
                loaded.pipelines.iter().for_each(|p| print::out(&guarantees(session, project, p)));
            }
            print_diagnostics(session, &loaded.diagnostics);
            if self.connect {
                let whole = self.path.is_none();
                let probes = probe_all(session, project, &loaded.pipelines, whole)?;
                exit = probes.iter().fold(exit, |exit, p| p.result.as_ref().err().map_or(exit, |e| exit.worse(Exit::of(e))));
                said["connections"] = probes.iter().map(Probe::to_json).collect();
                if !session.json {
                    probes.iter().for_each(|p| p.tell(session));
                }
            }
        } else {
            print_diagnostics(session, &loaded.diagnostics);
        }
        if session.json {
            print::json(&said);
        } else if exit == Exit::Done && !session.quiet {
            print::line(&format!("{}: no mistakes found", print::counted(loaded.pipelines.len() as u64, "pipeline")));
        }
        Ok(exit)
    }
}

fn print_diagnostics(session: &Session, diagnostics: &[sluis_config::Diagnostic]) {
    if !session.json {
        print::err(&render(diagnostics, session.color));
    }
}

/// Each target and the rejects: the name, and what it promises.
fn promises(session: &Session, project: &Project, pipeline: &Pipeline) -> Vec<(String, &'static str, Guarantee)> {
    let rejects = rejects_target(session, project, pipeline);
    let all = pipeline.targets.iter().chain(std::iter::once(&rejects));
    all.map(|t| (t.name.to_string(), t.def.name, (t.def.guarantee)(&t.config))).collect()
}

fn guarantees(session: &Session, project: &Project, pipeline: &Pipeline) -> String {
    let mut out = format!("{} ({})\n", pipeline.name, shown(&pipeline.file));
    let kind = |name: &str, kind: &str| if name == kind { name.to_owned() } else { format!("{name} ({kind})") };
    let all = promises(session, project, pipeline).into_iter().map(|(name, k, guarantee)| (kind(&name, k), guarantee));
    promise_lines(all).iter().for_each(|l| out.push_str(&format!("  {l}\n")));
    out
}

fn pipeline_json(session: &Session, project: &Project, pipeline: &Pipeline) -> Value {
    let targets: Vec<Value> = promises(session, project, pipeline)
        .into_iter()
        .map(|(name, kind, guarantee)| {
            let (word, why) = promise(&guarantee);
            json!({ "name": name, "kind": kind, "guarantee": word.replace(' ', "_"), "why": why.split_whitespace().collect::<Vec<_>>().join(" ") })
        })
        .collect();
    json!({ "name": pipeline.name, "file": shown(&pipeline.file), "targets": targets })
}

/// One thing that was tried.
struct Probe {
    pipeline: String,
    part: String,
    result: Result<Vec<String>>,
}

impl Probe {
    fn to_json(&self) -> Value {
        let mut v = json!({ "pipeline": self.pipeline, "part": self.part, "ok": self.result.is_ok() });
        match &self.result {
            Ok(lines) => v["found"] = lines.iter().map(|l| sluis_core::secret::redact(l)).collect(),
            Err(e) => v["error"] = error_json(e),
        }
        v
    }
    fn tell(&self, session: &Session) {
        match &self.result {
            Ok(_) if session.quiet => {}
            Ok(lines) if lines.is_empty() => print::line(&format!("ok       {} {}", self.pipeline, self.part)),
            Ok(lines) => lines.iter().for_each(|l| print::line(&format!("ok       {} {}: {l}", self.pipeline, self.part))),
            Err(e) => {
                print::line(&format!("missing  {} {}: {}", self.pipeline, self.part, e.message()));
                print::err(&error_text(e, session.color));
            }
        }
    }
}

/// `whole`: the project's connections too, used or not.
fn probe_all(session: &Session, project: &Project, pipelines: &[Pipeline], whole: bool) -> Result<Vec<Probe>> {
    runtime()?.block_on(async {
        let mut probes = Vec::new();
        for (name, value) in project.connections.iter().filter(|_| whole) {
            probes.push(Probe { pipeline: "connections".into(), part: name.clone(), result: probe_connection(session, project, name, value).await });
        }
        for pipeline in pipelines {
            let name = pipeline.name.to_string();
            match Parts::resolve(session, project, pipeline) {
                Ok(parts) => probe(session, &parts, &mut probes).await,
                Err(e) => probes.push(Probe { pipeline: name, part: "secrets".into(), result: Err(e) }),
            }
        }
        Ok(probes)
    })
}

/// Lists and reads at each URL that the connection is for.
async fn probe_connection(session: &Session, project: &Project, name: &str, value: &Value) -> Result<Vec<String>> {
    let value = sluis_config::resolve(value, &project.dir)?;
    let urls: Vec<String> = value
        .as_object()
        .into_iter()
        .flatten()
        .flat_map(|(_, settings)| settings["for"].as_array().into_iter().flatten().filter_map(Value::as_str))
        .map(|prefix| format!("{}/", prefix.trim_end_matches('/')))
        .collect();
    if urls.is_empty() {
        return Ok(vec!["not tried: it has no `for`, and without a URL there is nothing to ask for; pipelines that use it try it".into()]);
    }
    let def = session.registry().source("files").ok_or_else(|| Error::internal("this build reads no files"))?;
    let context = sluis_core::BuildContext {
        pipeline: sluis_core::PipelineName::new("check"),
        project_dir: project.dir.clone(),
        state_dir: project.state_dir.clone(),
        connections: std::sync::Arc::new(serde_json::Map::from_iter([(name.to_owned(), value)])),
        lake: json!({}),
        clock: session.clock.clone(),
        replaces_files: false,
        retypes: false,
        selection: None,
    };
    (def.build)(&context, &json!({ "url": urls, "connection": name }))?.probe().await
}

async fn probe(session: &Session, parts: &Parts, probes: &mut Vec<Probe>) {
    let pipeline = parts.pipeline.name.to_string();
    let mut add = |part: String, result: Result<Vec<String>, Error>| probes.push(Probe { pipeline: pipeline.clone(), part, result });
    let source = async { parts.source()?.probe().await };
    add(format!("from {}", parts.pipeline.source.def.name), source.await);
    for table in &parts.pipeline.tables {
        let source = async { (table.source.def.build)(&parts.context, &table.source.config)?.probe().await };
        add(format!("table {}", table.name), source.await);
    }
    for target in &parts.pipeline.targets {
        let sink = async { (target.def.build)(&parts.context, &target.name, &target.config)?.probe().await };
        add(format!("into {}", target.name), sink.await);
    }
    let rejects = async { parts.rejects(session)?.probe().await };
    add("rejects".into(), rejects.await);
}
