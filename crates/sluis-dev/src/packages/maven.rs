//! Jars by Maven: a generated project whose dependencies are copied to a folder; every file checked against the lock.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use sluis_core::{Error, ErrorKind, Result};

use super::{Fetch, sha256};
use crate::description::Artifact;
use crate::{catalog, run};

/// The plugin's version decides what is fetched for Maven itself.
const GOAL: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
/// If set: a folder of service folders, where locks are written instead of checked. For who changes the pins.
const WRITE_LOCK: &str = "SLUIS_DEV_LOCK";

pub fn fetch(fetch: &Fetch<'_>) -> Result<()> {
    let mvn = run::needed("mvn", &[], "install Maven (Debian: `apt-get install maven`)")?;
    let project = fetch.draft.join("pom.xml");
    std::fs::write(&project, pom(&fetch.package.maven)?).map_err(|e| Error::io("write", project.display(), e))?;
    let mut command = Command::new(mvn);
    command.args(["-B", "-ntp", "-f"]).arg(&project).arg(GOAL).arg("-DincludeScope=runtime");
    command.arg(format!("-DoutputDirectory={}", fetch.draft.display()));
    fetch.client(command)?;
    std::fs::remove_file(&project).map_err(|e| Error::io("remove", project.display(), e))?;
    check(fetch)?;
    for (archive, to) in &fetch.package.unpack {
        unpack(&fetch.draft.join(archive), &fetch.draft.join(to))?;
    }
    fetch.package.remove.iter().try_for_each(|folder| super::remove(&fetch.draft.join(folder)))?;
    fetch.package.executable.iter().try_for_each(|pattern| make_executable(fetch.draft, pattern))
}

/// The generated project.
fn pom(artifacts: &[Artifact]) -> Result<String> {
    let mut out = String::from(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n<groupId>sluis</groupId>\
         <artifactId>package</artifactId><version>1</version><packaging>pom</packaging>\n<dependencies>\n",
    );
    for artifact in artifacts {
        let (parts, exclude) = artifact.parts();
        let [group, name, version, more @ ..] = parts.as_slice() else {
            return Err(Error::internal(format!("`{}` is no Maven coordinate", parts.join(":"))));
        };
        out += &format!("<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version>");
        for (tag, value) in ["type", "classifier"].iter().zip(more) {
            out += &format!("<{tag}>{value}</{tag}>");
        }
        if !exclude.is_empty() {
            out += "<exclusions>";
            for one in exclude {
                let (group, name) = one.split_once(':').unwrap_or((one, "*"));
                out += &format!("<exclusion><groupId>{group}</groupId><artifactId>{name}</artifactId></exclusion>");
            }
            out += "</exclusions>";
        }
        out += "</dependency>\n";
    }
    Ok(out + "</dependencies>\n</project>\n")
}

/// Compares what came with the lock: the same files, the same bytes.
fn check(fetch: &Fetch<'_>) -> Result<()> {
    let mut have = BTreeMap::new();
    for entry in std::fs::read_dir(fetch.draft).map_err(|e| Error::io("list", fetch.draft.display(), e))?.flatten() {
        have.insert(entry.file_name().to_string_lossy().into_owned(), sha256(&entry.path())?);
    }
    if let Some(folder) = std::env::var_os(WRITE_LOCK) {
        let path = Path::new(&folder).join(fetch.service).join(format!("{}.lock", fetch.name));
        let text: String = have.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
        return std::fs::write(&path, text).map_err(|e| Error::io("write", path.display(), e));
    }
    compare(&have, catalog::text(fetch.service, &format!("{}.lock", fetch.name))?)
}

fn compare(have: &BTreeMap<String, String>, lock: &str) -> Result<()> {
    let wanted: BTreeMap<&str, &str> = lock.lines().filter_map(|l| l.split_once("  ")).map(|(sum, name)| (name, sum)).collect();
    let mut wrong = Vec::new();
    for (name, sum) in &wanted {
        match have.get(*name) {
            None => wrong.push(format!("{name} did not come")),
            Some(is) if is != sum => wrong.push(format!("{name} has another checksum: {is}, not {sum}")),
            Some(_) => {}
        }
    }
    wrong.extend(have.keys().filter(|n| !wanted.contains_key(n.as_str())).map(|n| format!("{n} came and is not in the lock")));
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::CorruptInput, "what Maven brought is not what is pinned")
        .source(wrong.join("\n"))
        .hint("a jar in your local Maven repository is damaged, or a mirror serves something else: remove it there (~/.m2) and run it again"))
}

/// With the programs at hand: `tar` for tar archives; `unzip`, else `jar`, else Python for zips.
fn unpack(archive: &Path, to: &Path) -> Result<()> {
    super::home::folder(to)?;
    let name = archive.to_string_lossy().into_owned();
    let tries: Vec<Vec<&str>> = if name.ends_with(".tar.gz") {
        vec![vec!["tar", "-xzf", &name]]
    } else {
        vec![vec!["unzip", "-q", "-o", &name], vec!["jar", "xf", &name], vec!["python3", "-m", "zipfile", "-e", &name, "."]]
    };
    let argv = tries.iter().find(|t| run::program(t[0], &[]).is_some());
    let Some(argv) = argv else {
        return Err(Error::not_found("nothing here can unpack a zip archive").hint("install unzip (Debian: `apt-get install unzip`)"));
    };
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).current_dir(to);
    let ended = run::Run { command, stdin: "", limit: super::LIMIT }.finish().map_err(|e| Error::io("run", argv[0], e))?;
    if !ended.status.is_some_and(|s| s.success()) {
        let said = String::from_utf8_lossy(&ended.output).into_owned();
        return Err(Error::new(ErrorKind::Unavailable, "an archive cannot be unpacked").context("file", name).source(said));
    }
    std::fs::remove_file(archive).map_err(|e| Error::io("remove", archive.display(), e))
}

/// `bin/*` or a single file, below `folder`.
fn make_executable(folder: &Path, pattern: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let (below, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let below = folder.join(below);
    let files: Vec<_> = if name == "*" {
        std::fs::read_dir(&below).map_err(|e| Error::io("list", below.display(), e))?.flatten().map(|e| e.path()).collect()
    } else {
        vec![below.join(name)]
    };
    for file in files {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).map_err(|e| Error::io("make executable", file.display(), e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_types_classifiers_and_exclusions() {
        let plain = Artifact::Plain("g:a:1:tar.gz:bin".into());
        let without = Artifact::Without(crate::description::Without { artifact: "g:b:2".into(), exclude: vec!["org.x:*".into(), "*:*".into()] });
        let text = pom(&[plain, without]).expect("a project");
        assert!(
            text.contains("<artifactId>a</artifactId><version>1</version><type>tar.gz</type><classifier>bin</classifier></dependency>"),
            "{text}"
        );
        assert!(text.contains("<exclusion><groupId>org.x</groupId><artifactId>*</artifactId></exclusion>"), "{text}");
        assert!(pom(&[Artifact::Plain("g:a".into())]).is_err());
    }

    #[test]
    fn missing_changed_and_strange_files_are_all_named() {
        let have = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("c".to_owned(), "3".to_owned())]);
        let error = compare(&have, "0  a\n2  b\n").expect_err("an error").causes().join("\n");
        assert_eq!(error, "a has another checksum: 1, not 0\nb did not come\nc came and is not in the lock");
        assert!(compare(&have, "1  a\n3  c\n").is_ok());
    }
}
