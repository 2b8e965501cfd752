//! Reading one configuration file.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::span::{SourceFile, Span};

/// Bytes of a configuration file, at most.
const LIMIT: u64 = 8 << 20;

/// The file's text, or what is wrong with it.
pub(crate) fn read(path: &Path, diagnostics: &mut Vec<Diagnostic>) -> Option<Arc<SourceFile>> {
    let shown = shown(path);
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path).and_then(|f| f.take(LIMIT + 1).read_to_end(&mut bytes));
    if let Err(e) = opened {
        let e = sluis_core::Error::io("read", &shown, e);
        let cause = e.causes().into_iter().next().unwrap_or_default();
        let d = Diagnostic::error("cannot-read", format!("{}: {cause}", e.message()));
        diagnostics.push(d.maybe_help(e.hint_text().map(str::to_owned)));
        return None;
    }
    if bytes.len() as u64 > LIMIT {
        diagnostics.push(Diagnostic::error("too-large", format!("{shown} is larger than {} MiB: that is no configuration", LIMIT >> 20)));
        return None;
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some(SourceFile::new(path, shown, &text)),
        Err(e) => {
            let at = e.utf8_error().valid_up_to();
            let file = SourceFile::new(path, &shown, &String::from_utf8_lossy(e.as_bytes()));
            let at = file.text().find('\u{fffd}').unwrap_or(at);
            let d = Diagnostic::error("not-utf8", format!("{shown} is not text in UTF-8")).at(&Span::new(&file, at..at + 3));
            diagnostics.push(d.label("these bytes are not").help("save the file as UTF-8"));
            None
        }
    }
}

/// A path as people see it: relative to the working directory if it is below it.
pub(crate) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let relative = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    relative.filter(|p| !p.as_os_str().is_empty()).as_deref().unwrap_or(path).display().to_string()
}
