//! Secrets are resolved late, and never shown.

use sluis_config::{Options, render};
use sluis_core::secret::redact;

use crate::{good, load, project};

const PROJECT: &str = "connections:\n  raw: { s3: { endpoint: '${env:CARGO_PKG_NAME_NOT_SET}', secret_key: '${file:key}', access_key: 'x-${cmd:printf made-by-cmd}' } }\n";
const USES: &str =
    "vars: { where: '${file:where}' }\nfrom: { files: { url: 's3://${where}/in', connection: raw }, csv: }\ninto: { table: { name: t } }\n";

#[test]
fn references_stay_until_they_are_resolved() {
    let project_text = PROJECT.replace("CARGO_PKG_NAME_NOT_SET", "CARGO_MANIFEST_DIR");
    let dir = project(&[("sluis.yaml", &project_text), ("key", "sesame-open\n"), ("where", "hidden-bucket\n"), ("pipelines/p.yaml", USES)]);
    let loaded = good(dir.path(), &Options::default());
    let project = loaded.project.unwrap();
    let p = &loaded.pipelines[0];
    assert_eq!(project.connections["raw"]["s3"]["secret_key"], "${file:key}");
    assert_eq!(p.source.config["url"], "s3://${file:where}/in");
    let shown = p.to_json().to_string();
    assert!(shown.contains("${file:where}") && !shown.contains("hidden-bucket"));

    let resolved = project.resolve().unwrap();
    assert_eq!(resolved.connections["raw"]["s3"]["secret_key"], "sesame-open");
    assert_eq!(resolved.connections["raw"]["s3"]["access_key"], "x-made-by-cmd");
    let p = p.resolve(&project.dir).unwrap();
    assert_eq!(p.source.config["url"], "s3://hidden-bucket/in");
    assert_eq!(redact(&format!("{} {}", p.source.config["url"], resolved.connections["raw"])).matches("***").count(), 4);
}

#[test]
fn what_cannot_be_resolved_says_which_reference_in_which_file() {
    let dir = project(&[("sluis.yaml", PROJECT), ("pipelines/p.yaml", USES)]);
    let loaded = good(dir.path(), &Options::default());
    let e = loaded.project.as_ref().unwrap().resolve().err().unwrap().to_string();
    assert!(
        e.contains("`CARGO_PKG_NAME_NOT_SET` is not set")
            && e.contains("key: s3.endpoint")
            && e.contains("part: connections.raw")
            && e.contains("sluis.yaml"),
        "{e}"
    );
    let e = loaded.pipelines[0].resolve(dir.path()).err().unwrap().to_string();
    assert!(e.contains("secret: ${file:where}") && e.contains("part: from.files") && e.contains("p.yaml"), "{e}");
}

#[test]
fn a_secret_is_a_text_and_has_its_places() {
    let text = "from: { files: { url: in, recursive: '${env:X}', settle: '${env:S}', match: '{x${env:Y}' }, csv: }\ninto: { table: { name: t } }\n\
                select: select '${env:PW}' from input\nname: ${env:N}\n";
    let dir = project(&[("p.yaml", text)]);
    let said: Vec<(&str, String)> = load(dir.path(), &Options::default())
        .diagnostics
        .iter()
        .map(|d| (d.code, d.span.as_ref().map(|s| s.text().to_owned()).unwrap_or_default()))
        .collect();
    let text = |s: &str| s.to_owned();
    assert!(said.contains(&("wrong-type", text("'${env:X}'"))), "{said:?}");
    assert!(said.contains(&("secret-here", text("${env:PW}"))), "{said:?}");
    assert!(said.contains(&("secret-here", text("${env:N}"))), "{said:?}");
    assert!(!said.iter().any(|(_, at)| at.contains("env:S") || at.contains("env:Y")), "what is not known is not judged: {said:?}");
}

#[test]
fn a_password_in_the_file_is_not_shown_with_its_line() {
    let dir = project(&[
        ("sluis.yaml", "connections:\n  raw: { s3: { secret_key: hunter2-in-plain, regoin: eu } }\n"),
        ("pipelines/p.yaml", crate::PIPELINE),
    ]);
    let loaded = load(dir.path(), &Options::default());
    let all = render(&loaded.diagnostics, false) + &serde_json::to_string(&loaded.diagnostics).unwrap();
    assert!(all.contains("regoin") && !all.contains("hunter2-in-plain"), "{all}");
}
