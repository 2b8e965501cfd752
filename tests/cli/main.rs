//! The very binary, as people meet it: whole sessions compared with what they printed before (`sessions`), bad input (`bad_input`), signals
//! and two processes at once (`processes`).
//!
//! `SLUIS_BLESS=1 cargo test -p sluis --test cli` writes the sessions anew.

mod bad_input;
mod processes;
mod sandbox;
mod sessions;
