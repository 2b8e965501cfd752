//! `test`: the pipelines' own tests.

use clap::Args;
use serde_json::json;
use sluis_config::{Pipeline, has_errors, render};
use sluis_core::Error;

use crate::cases::{Case, Verdict, find, judge};
use crate::exit::{End, Exit, Failure};
use crate::print;
use crate::session::{Asked, Session, runtime};

const EXAMPLES: &str = "\
Examples:
  sluis test
  sluis test call_records
  sluis test call_records/bad_rows --json

A test is `tests/PIPELINE/NAME.yaml`:

  now: 2024-02-01T06:00:00Z                   what the clock shows
  given:                                      the source's files, by their path below its URL
    calls_20240131.csv: |
      id,seconds
      1,60
      2,x
  expect:
    rows: |                                   what the first target gets; or a target's name
      id,seconds
      1,60
    rejects: |                                any of: file, line, column, reason, message, raw
      line,column,reason
      3,seconds,bad_value

Rows are written as CSV, JSON or a text table. Instead of text, `{ file: PATH }` names a file beside the test; or the test is a folder with \
`test.yaml`, `given/` and `expected/rows.csv`. `tables:` gives look-up tables, `error:` what a run must fail with. Rejects that are not \
expected fail a test; `fail_if` counts only where there is an `error:`. Nothing is contacted and no secret is looked up. Exit code 1 if a test fails.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Test {
    /// Only tests with this in their name, or of the pipeline of this name.
    #[arg(value_name = "TEXT")]
    which: Option<String>,
}

impl Test {
    pub fn run(self, session: &Session) -> End {
        let asked = session.load(None)?;
        let (mut cases, diagnostics) = find(&asked.project.dir)?;
        print::err(&render(&diagnostics, session.color));
        if has_errors(&diagnostics) {
            return Err(Failure::Said(Exit::Config));
        }
        if let Some(which) = &self.which {
            cases.retain(|c| c.name.contains(which.as_str()) || c.pipeline.as_ref() == Some(which));
        }
        if cases.is_empty() {
            return Err(Error::config("there is no such test")
                .hint("tests are files in `tests/`, or folders with a `test.yaml`; `sluis test --help` shows one")
                .into());
        }
        let runtime = runtime()?;
        let mut failed = 0;
        for case in &cases {
            let pipeline = pipeline_of(&asked, case)?;
            let verdict = runtime.block_on(judge(session, &asked.project, pipeline, case))?;
            failed += u64::from(!verdict.differences.is_empty());
            tell(session, &verdict);
        }
        if !session.json && !session.quiet {
            let all = print::counted(cases.len() as u64, "test");
            print::line(&if failed == 0 { format!("{all} passed") } else { format!("{failed} of {all} failed") });
        }
        Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
    }
}

fn pipeline_of<'a>(asked: &'a Asked, case: &Case) -> sluis_core::Result<&'a Pipeline> {
    let named = case.pipeline.as_ref().and_then(|name| asked.pipelines.iter().find(|p| p.name.as_str() == name));
    match (named, &asked.pipelines[..]) {
        (Some(pipeline), _) => Ok(pipeline),
        (None, [only]) => Ok(only),
        _ => {
            let names: Vec<&str> = asked.pipelines.iter().map(|p| p.name.as_str()).collect();
            Err(Error::config("it is not said which pipeline this is a test of")
                .context("test", &case.name)
                .hint(format!("give it a `pipeline:`, or put it into a folder of the pipeline's name; the pipelines are: {}", names.join(", "))))
        }
    }
}

fn tell(session: &Session, verdict: &Verdict) {
    let ok = verdict.differences.is_empty();
    if session.json {
        let differences: Vec<_> = verdict.differences.iter().map(|d| json!({ "of": d.of, "message": d.message, "lines": d.lines })).collect();
        print::json(&json!({ "test": verdict.name, "pipeline": verdict.pipeline, "ok": ok, "differences": differences }));
        return;
    }
    if !(ok && session.quiet) {
        print::line(&format!("{} {}", if ok { "ok  " } else { "FAIL" }, verdict.name));
    }
    for difference in &verdict.differences {
        print::line(&format!("  {}: {}", difference.of, difference.message));
        difference.lines.iter().for_each(|l| print::line(&format!("    {l}")));
    }
}
