//! Each reason of a reject has a page, and what the page shows is what happens: its input through its pipeline gives that reason, and
//! `rejects show` prints what stands there. `SLUIS_BLESS=1` writes what is printed anew.

use std::path::{Path, PathBuf};
use std::process::Command;

use sluis_core::RejectReason;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The first block that is marked so: where it begins and ends in the page.
fn block(page: &str, mark: &str) -> Option<std::ops::Range<usize>> {
    let start = page.find(&format!("```{mark}\n"))? + mark.len() + 4;
    Some(start..start + page[start..].find("```")?)
}

fn run(dir: &Path, program: &str, words: &[&str]) -> String {
    let out = Command::new(program).current_dir(dir).args(words).env_remove("SLUIS_LOG").output().unwrap();
    assert!(out.status.success(), "{program} {words:?}: {out:?}");
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn every_reason_has_a_page_whose_example_gives_it() {
    for reason in RejectReason::ALL {
        let path = root().join(reason.docs());
        let page = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let head = format!("# `{}`\n\n{}\n", reason.code(), reason.meaning());
        assert!(page.starts_with(&head), "{}: it begins with the code and its meaning", path.display());
        let [input, pipeline, shown] = ["sh", "yaml", "text"].map(|m| block(&page, m).unwrap_or_else(|| panic!("{}: no `{m}`", path.display())));
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), "sh", &["-ec", &page[input]]);
        std::fs::write(dir.path().join("p.yaml"), &page[pipeline]).unwrap();
        run(dir.path(), env!("CARGO_BIN_EXE_sluis"), &["run", "p.yaml", "--quiet"]);
        let rows = run(dir.path(), env!("CARGO_BIN_EXE_sluis"), &["rejects", "show", "p.yaml", "--json"]);
        assert!(!rows.is_empty() && rows.lines().all(|l| l.contains(&format!("\"reason\":\"{}\"", reason.code()))), "{}: {rows}", path.display());
        let said = run(dir.path(), env!("CARGO_BIN_EXE_sluis"), &["rejects", "show", "p.yaml"]);
        assert!(said.contains(&format!("= docs: {}", reason.docs())), "{said}");
        if std::env::var_os("SLUIS_BLESS").is_some() {
            let mut page = page.clone();
            page.replace_range(shown, &said);
            std::fs::write(&path, page).unwrap();
        } else {
            assert_eq!(&page[shown], said, "{}", path.display());
        }
    }
}

#[test]
fn every_link_of_the_pages_leads_to_a_heading() {
    for reason in RejectReason::ALL {
        let path = root().join(reason.docs());
        let page = std::fs::read_to_string(&path).unwrap();
        let links: Vec<&str> = page.split("](").skip(1).filter_map(|l| l.split(')').next()).collect();
        assert!(!links.is_empty(), "{}", path.display());
        for link in links {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = path.parent().unwrap().join(file);
            let text = std::fs::read_to_string(&target).unwrap_or_else(|e| panic!("{}: {link}: {e}", path.display()));
            let there =
                heading.is_empty() || text.lines().any(|l| l.starts_with('#') && l.trim_start_matches('#').trim().trim_matches('`') == heading);
            assert!(there, "{}: {link}", path.display());
        }
    }
}
