//! The very binary, as a user runs it: in a folder, with arguments, to its end; or shot on the way.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// The binary under test.
#[derive(Debug, Clone)]
pub struct Sluis {
    program: PathBuf,
}

/// What a run came to.
#[derive(Debug)]
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    what: String,
}

impl Sluis {
    /// `env!("CARGO_BIN_EXE_sluis")`.
    pub fn new(program: &str) -> Sluis {
        Sluis { program: program.into() }
    }

    fn command(&self, folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(folder).args(args).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            // What the developer has set must not reach the test.
            if name.to_string_lossy().starts_with("SLUIS_") || name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command.envs(env.iter().copied());
        command
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn run(&self, folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Ran {
        let out = self.command(folder, args, env).output().unwrap_or_else(|e| panic!("{}: {e}", self.program.display()));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { status: out.status, stdout: text(&out.stdout), stderr: text(&out.stderr), what: format!("sluis {} {env:?}", args.join(" ")) }
    }

    /// Starts it; its output goes nowhere.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(&self, folder: &Path, args: &[&str]) -> Child {
        let mut command = self.command(folder, args, &[]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap_or_else(|e| panic!("{}: {e}", self.program.display()))
    }
}

impl Ran {
    /// Standard output of a run that ended well.
    ///
    /// # Panics
    /// If it did not.
    pub fn good(self) -> String {
        assert!(self.status.success(), "{}: {}\n{}{}", self.what, self.status, self.stdout, self.stderr);
        self.stdout
    }

    /// Whether the armed crash point fired.
    ///
    /// # Panics
    /// If the process ended in any other way than dying there or ending well.
    pub fn fired(&self, point: &str) -> bool {
        let said = self.stderr.contains(&format!("crash point {point} fired"));
        assert_eq!(said, self.status.code().is_none(), "{}: {}\n{}", self.what, self.status, self.stderr);
        assert!(said || self.status.success(), "{}: {}\n{}{}", self.what, self.status, self.stdout, self.stderr);
        said
    }
}

/// Copies what is in a folder over another one.
///
/// # Panics
/// If something cannot be copied.
pub fn copy_over(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_over(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
}

/// Every file below a folder, sorted; none if there is no such folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
