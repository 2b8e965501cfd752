//! Rules for every text file: links that lead somewhere, no paths or hosts of somebody's machine, no secrets.

use std::collections::BTreeSet;

use crate::files::Text;
use crate::process;

/// What must not stand in a tracked file. In pieces, so that this file does not have them.
const FOREIGN: [&str; 12] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/home/", "user"),
    concat!("bash", "_jobs"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("proxy.golang", ".org"),
    concat!("py", "pi.org"),
    concat!("pythonhosted", ".org"),
    concat!("registry.npm", "js"),
    concat!("repo1.maven", ".org"),
    concat!("deb.debian", ".org"),
];

pub fn check(all: &[Text], findings: &mut Vec<String>) {
    for file in all.iter().filter(|f| f.path != "Cargo.lock") {
        for (number, line) in file.text.lines().enumerate() {
            for word in FOREIGN.iter().filter(|w| line.contains(**w)) {
                findings.push(format!("{}:{}: `{word}` is of a machine or a network, not of the project", file.path, number + 1));
            }
        }
        if file.path.ends_with(".md") {
            links(file, all, findings);
        } else if file.path.ends_with(".rs") && file.path.starts_with("crates/") && !file.path.contains("/xtask/") {
            mentions(file, all, findings);
        }
    }
}

/// Pages that the program sends people to: `docs/….md#heading` in its texts.
fn mentions(file: &Text, all: &[Text], findings: &mut Vec<String>) {
    for (number, line) in file.text.lines().enumerate() {
        for rest in line.split("docs/").skip(1) {
            let whole: String = rest.chars().take_while(|c| c.is_alphanumeric() || "-_./#".contains(*c)).collect();
            let (path, fragment) = whole.split_once('#').unwrap_or((&whole, ""));
            if !path.ends_with(".md") {
                continue;
            }
            match all.iter().find(|f| f.path == format!("docs/{path}")) {
                None => findings.push(format!("{}:{}: there is no page docs/{path}", file.path, number + 1)),
                Some(page) if !fragment.is_empty() && !anchors(&page.text).contains(fragment) => {
                    findings.push(format!("{}:{}: docs/{path} has no heading `#{fragment}`", file.path, number + 1));
                }
                Some(_) => {}
            }
        }
    }
}

/// Relative links lead to files, fragments to headings.
fn links(file: &Text, all: &[Text], findings: &mut Vec<String>) {
    for (number, line) in outside_code(&file.text) {
        for rest in line.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default().split(' ').next().unwrap_or_default();
            if target.contains("://") || target.starts_with("mailto:") || target.is_empty() {
                continue;
            }
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            let Some(full) = join(&file.path, path) else {
                findings.push(format!("{}:{number}: the link `{target}` leaves the project", file.path));
                continue;
            };
            let Some(there) = all.iter().find(|f| f.path == full) else {
                if !process::root().join(&full).exists() {
                    findings.push(format!("{}:{number}: the link `{target}` leads nowhere", file.path));
                }
                continue;
            };
            if !fragment.is_empty() && full.ends_with(".md") && !anchors(&there.text).contains(fragment) {
                findings.push(format!("{}:{number}: {full} has no heading `#{fragment}`", file.path));
            }
        }
    }
}

/// Lines that are not in a fenced block, without what stands in back-ticks; with their numbers from 1.
fn outside_code(text: &str) -> Vec<(usize, String)> {
    let mut inside = false;
    let mut out = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            // Between an even and an odd back-tick is code; a link's text may be code, so the marks go and the brackets stay.
            let kept: Vec<&str> = line.split('`').collect();
            let kept: String = kept.iter().enumerate().map(|(i, s)| if i % 2 == 0 { (*s).to_owned() } else { s.replace("](", "") }).collect();
            out.push((number + 1, kept));
        }
    }
    out
}

/// `to` as seen from the file `from`; `None`: above the project.
fn join(from: &str, to: &str) -> Option<String> {
    if to.is_empty() {
        return Some(from.to_owned());
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in to.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Fragments of the headings, as code forges make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for (_, line) in outside_code(text) {
        let Some(heading) = line.strip_prefix('#').map(|l| l.trim_start_matches('#').trim()) else { continue };
        let slug: String = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_' || *c == ' ').collect();
        out.insert(slug.replace(' ', "-"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str, text: &str) -> Text {
        Text { path: path.into(), text: text.into() }
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let all = [text("a/b.md", "[x](c.md#two-words) [y](../z.md) `[n](o)`\n```\n[m](q)\n```\n[w](c.md#no)"), text("a/c.md", "# Two `words`\n")];
        let mut findings = Vec::new();
        links(&all[0], &all, &mut findings);
        assert_eq!(findings, ["a/b.md:1: the link `../z.md` leads nowhere", "a/b.md:5: a/c.md has no heading `#no`"]);
    }

    #[test]
    fn links_may_not_leave_the_project() {
        assert_eq!(join("a/b.md", "../c/./d.md").as_deref(), Some("c/d.md"));
        assert_eq!(join("b.md", "../c.md"), None);
        assert_eq!(join("b.md", "").as_deref(), Some("b.md"));
    }
}
