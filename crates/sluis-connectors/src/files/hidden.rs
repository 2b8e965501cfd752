//! Which names are hidden or temporary: files that are not meant to be read, or not yet.

/// Endings of files that are being written.
const TEMPORARY: [&str; 8] = [".tmp", ".temp", ".part", ".partial", ".crdownload", ".filepart", ".swp", "~"];

/// The folder in which staged files stand: never data, whatever the configuration says.
const OURS: &str = "_sluis";

/// Whether a path below the URL's folder is passed over. `prefix`: what the pattern's names start with; if that is itself `.` or `_`,
/// such names were asked for.
pub fn hidden(path: &str, prefix: &str) -> bool {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    let starts = |part: &str| part.starts_with(['.', '_']);
    let asked = starts(prefix) && name.starts_with(prefix);
    (starts(name) && !asked) || temporary(name) || (!folders.is_empty() && folders.split('/').any(starts))
}

/// Whether it is one of our own staged files.
pub fn ours(path: &str) -> bool {
    path.split('/').any(|part| part == OURS)
}

fn temporary(name: &str) -> bool {
    // By bytes: names may be cut anywhere, endings are ASCII.
    TEMPORARY.iter().any(|end| name.len() >= end.len() && name.as_bytes()[name.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_and_temporary_names() {
        for path in [
            ".a",
            "_SUCCESS",
            "x/_SUCCESS",
            "_x/a.csv",
            "a/.git/b",
            "a.tmp",
            "a.csv.TMP",
            "a.part",
            "x/a.partial",
            "a.crdownload",
            "a.filepart",
            "a.csv~",
        ] {
            assert!(hidden(path, ""), "{path}");
        }
        for path in ["a.csv", "a_b/c.d", "part", "tmp", "a.parts", "ä", "x/a.csv"] {
            assert!(!hidden(path, ""), "{path}");
        }
        assert!(!hidden("_report_1.csv", "_report_") && hidden("_other.csv", "_report_") && hidden("_x/_report_1.csv", "_report_"));
        assert!(ours("_sluis/p/main/1/a.staged") && ours("a/_sluis/x") && !ours("a/_sluisx/x"));
    }
}
