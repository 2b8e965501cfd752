//! The number of rows that a footer says, held against the rows that were read.
//!
//! Deliberately not here: where the footer begins (`frame.rs`). Guarantees: a file whose footer says another number, or that has none, ends
//! with an error behind its last row, never silently.

use std::sync::{Arc, OnceLock};

use futures::stream::{BoxStream, StreamExt};
use sluis_core::{Decoded, Error, ErrorKind, Result};

use super::column::unquoted;
use super::frame::Framer;

/// Where the one who reads the footer and the one who counts the rows meet.
#[derive(Debug, Clone)]
pub struct Told {
    /// Index of the field in the last footer row.
    field: usize,
    /// What it says; `None` if there is no such field.
    says: Arc<OnceLock<Option<String>>>,
}

impl Told {
    pub fn new(field: usize) -> Self {
        Self { field, says: Arc::default() }
    }

    /// Reads the footer of a file that has ended.
    pub fn hear(&self, framer: &Framer) {
        let field = framer.footer().and_then(|row| row.get(self.field).cloned());
        let text = field.map(|raw| String::from_utf8_lossy(unquoted(raw.trim_ascii(), framer.dialect()).trim_ascii()).into_owned());
        let _ = self.says.set(text);
    }

    /// The same rows, and an error behind them if the footer says that there are others.
    pub fn check(self, rows: BoxStream<'static, Result<Decoded>>, path: String) -> BoxStream<'static, Result<Decoded>> {
        let state = (rows, 0_u64, Some(self), path);
        futures::stream::unfold(state, |(mut rows, seen, told, path)| async move {
            match rows.next().await {
                Some(Ok(d)) => {
                    let seen = seen + d.batch.num_rows() as u64 + d.rejects.len() as u64;
                    Some((Ok(d), (rows, seen, told, path)))
                }
                // What went wrong has been said.
                Some(Err(e)) => Some((Err(e), (rows, seen, None, path))),
                None => {
                    let problem = told?.problem(seen, &path)?;
                    Some((Err(problem), (rows, seen, None, path)))
                }
            }
        })
        .boxed()
    }

    fn problem(&self, seen: u64, path: &str) -> Option<Error> {
        let Some(says) = self.says.get().cloned().flatten() else { return Some(missing(path)) };
        if says.parse() == Ok(seen) {
            return None;
        }
        let message =
            format!("the footer says `{}` rows, the file has {seen}", sluis_core::secret::redact(&says.chars().take(40).collect::<String>()));
        Some(damaged(message, path))
    }
}

/// The error for a file that ends without the footer that is to be checked.
pub fn missing(path: &str) -> Error {
    damaged("the file ends without a footer that says how many rows it has".into(), path)
}

fn damaged(message: String, path: &str) -> Error {
    Error::new(ErrorKind::CorruptInput, message)
        .context("file", path)
        .hint("has all of the file arrived? `footer_count` is the field of the footer that has the number of rows")
}
