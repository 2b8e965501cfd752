//! Named crash points: every external effect has one before and one after it; tests die at each.
//!
//! A point is a call of [`point`]. In production it does nothing. The binary arms one from the environment variable
//! `SLUIS_CRASH_AT=name` or `name:n` (the n-th time it is passed) and the process dies there as by SIGKILL, after
//! saying so on standard error. The simulator installs a hook on its thread that returns an error instead.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// All points, in the order in which a plain epoch passes them. A test asserts that this list and the code agree.
pub const POINTS: &[&str] = &[
    "plan.before_record",
    "plan.after_record",
    "task.after_open",
    "task.mid_write",
    "task.after_close",
    "stage.before_record",
    "stage.after_record",
    "commit.before_sink",
    "sink.before_publish",
    "sink.mid_publish",
    "sink.after_publish",
    "commit.after_sink",
    "commit.before_record",
    "commit.after_record",
    "acknowledge.before",
    "acknowledge.mid",
    "acknowledge.after",
    "sweep.before",
    "sweep.after",
];

/// Points that only some epochs pass.
pub const RARE_POINTS: &[&str] = &["sink.mid_rewrite"];

type Hook = Box<dyn FnMut(&'static str) -> bool>;
thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}
static ARMED: OnceLock<(String, u64)> = OnceLock::new();
static PASSED: AtomicU64 = AtomicU64::new(0);

/// Arms a point for this process: `name` or `name:n`.
///
/// # Errors
/// A name that is neither in [`POINTS`] nor in [`RARE_POINTS`].
pub fn arm(spec: &str) -> Result<()> {
    let (name, n) = spec.rsplit_once(':').and_then(|(name, n)| Some((name, n.parse().ok()?))).unwrap_or((spec, 1));
    if !POINTS.contains(&name) && !RARE_POINTS.contains(&name) {
        return Err(Error::config(format!("unknown crash point `{name}`")).hint(format!("one of: {}", POINTS.join(", "))));
    }
    let _ = ARMED.set((name.to_owned(), n));
    Ok(())
}

/// Installs the simulator's hook on this thread: it answers whether the process dies at the point. Returns the old one.
pub fn set_hook(hook: Option<Hook>) -> Option<Hook> {
    HOOK.with(|h| std::mem::replace(&mut *h.borrow_mut(), hook))
}

/// A place where the process may die. Costs one atomic load when nothing is armed.
///
/// # Errors
/// `ErrorKind::Crash`, in the simulator only.
pub fn point(name: &'static str) -> Result<()> {
    if let Some((armed, n)) = ARMED.get()
        && armed == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *n
    {
        eprintln!("crash point {name} fired");
        std::process::abort();
    }
    let dies = HOOK.with(|h| h.borrow_mut().as_mut().is_some_and(|hook| hook(name)));
    if dies { Err(Error::new(ErrorKind::Crash, format!("simulated crash at {name}"))) } else { Ok(()) }
}
