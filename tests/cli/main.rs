//! The very binary, as people meet it: whole sessions compared with what they printed before (`sessions`), bad input (`bad_input`), signals
//! and two processes at once (`processes`), rejects tried again (`replays`), files looked at (`peeking`),
//! files that change (`contracts`), development clusters (`clusters`).
//!
//! `SLUIS_BLESS=1 cargo test -p sluis --test cli` writes the sessions anew.

mod bad_input;
mod clusters;
mod contracts;
mod peeking;
mod processes;
mod replays;
mod sandbox;
mod sessions;
