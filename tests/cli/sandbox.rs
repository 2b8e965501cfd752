//! A folder of its own for each test, and commands run in it; what differs from run to run is blotted out.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use regex::Regex;

/// A folder, removed at the end.
pub struct Sandbox {
    _dir: tempfile::TempDir,
    pub root: PathBuf,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
}

impl Said {
    /// Both streams, for searching.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
    /// Asserts the code and that each of these is said.
    #[track_caller]
    pub fn expect(&self, code: i32, says: &[&str]) -> &Said {
        assert_eq!(self.code, Some(code), "{self:?}");
        for text in says {
            assert!(self.all().contains(text), "`{text}` is not said: {self:?}");
        }
        assert!(!self.all().contains("panicked") && !self.all().contains("a bug in sluis"), "{self:?}");
        self
    }
}

/// The binary under test.
pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_sluis")
}

impl Sandbox {
    pub fn new() -> Sandbox {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        Sandbox { _dir: dir, root }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub fn file(&self, path: &str, text: impl AsRef<[u8]>) -> &Sandbox {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// A command whose `sluis` is the binary under test, whatever the caller's environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let bin = Path::new(binary()).parent().unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        command.current_dir(&self.root).env("PATH", path).env("COLUMNS", "110").env_remove("SLUIS_LOG").stdin(Stdio::null());
        command
    }

    /// Runs a line of shell.
    pub fn sh(&self, line: &str) -> Said {
        said(self.command("sh").args(["-c", line]).output().unwrap())
    }

    /// Runs sluis with words separated by blanks.
    pub fn sluis(&self, words: &str) -> Said {
        said(self.command(binary()).args(words.split_whitespace()).output().unwrap())
    }

    /// A text without what differs from run to run.
    pub fn blot(&self, text: &str) -> String {
        let text = text.replace(&self.root.display().to_string(), "DIR");
        let rules = [
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z (INFO|WARN)", "TIME $2"),
            (r"20[2-9][5-9]-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "TIME"),
            (r"20[2-9][5-9]\d{4}T\d{6}(-\d+)?", "TIMESTAMP"),
            (r" *\b\d+\.\d+ s\b", " N s"),
            (r"\([0-9.]+ (B|KiB|MiB)/s\)", "(RATE)"),
            (r#""bytes":(\d+),"seconds":[0-9.]+"#, r#""bytes":$1,"seconds":N"#),
            (r"\bpid \d+", "pid N"),
            (r"on \d+ threads?", "on N threads"),
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
        ];
        rules.iter().fold(text, |text, (pattern, with)| Regex::new(pattern).unwrap().replace_all(&text, *with).into_owned())
    }
}

pub fn said(output: Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { stdout: text(output.stdout), stderr: text(output.stderr), code: output.status.code() }
}
