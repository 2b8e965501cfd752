//! Done markers: the file whose existence says that another one is complete.

use regex::Regex;

/// A template such as `{path}.done` or `_SUCCESS`.
#[derive(Debug, Clone)]
pub struct Marker {
    template: String,
    /// Every path that is a marker.
    is_marker: Regex,
}

const PLACEHOLDERS: [(&str, &str); 3] = [("path", ".+"), ("name", "[^/]+"), ("stem", "[^/]+")];

impl Marker {
    /// Reads a template.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn parse(text: &str) -> Result<Marker, String> {
        let mut body = String::from(if text.contains("{path}") { r"(?s)\A" } else { r"(?s)\A(?:.*/)?" });
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            body.push_str(&regex::escape(&rest[..open]));
            let close = rest[open..].find('}').map(|n| open + n).ok_or_else(|| format!("`{text}`: a `{{` is never closed"))?;
            let name = &rest[open + 1..close];
            let Some((_, shape)) = PLACEHOLDERS.iter().find(|(known, _)| *known == name) else {
                return Err(format!("`{{{name}}}` is unknown here: one of {{path}}, {{name}}, {{stem}}"));
            };
            body.push_str(shape);
            rest = &rest[close + 1..];
        }
        body.push_str(&regex::escape(rest));
        body.push_str(r"\z");
        if text.is_empty() || text.starts_with('/') || text.ends_with('/') || text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(format!("`{text}` is no path below the folder"));
        }
        if text.contains("{path}") && (text.contains("{name}") || text.contains("{stem}")) {
            return Err(format!("`{text}`: `{{path}}` holds the name already"));
        }
        if matches!(text, "{path}" | "{name}") {
            return Err(format!("`{text}` is the file itself, not a marker"));
        }
        let is_marker = Regex::new(&body).map_err(|e| format!("`{text}`: {e}"))?;
        Ok(Marker { template: text.to_owned(), is_marker })
    }

    /// The marker of a file; both are paths below the URL's folder.
    pub fn of(&self, path: &str) -> String {
        let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| if stem.is_empty() { name } else { stem });
        if self.template.contains("{path}") {
            return self.template.replace("{path}", path);
        }
        let mut marker = String::new();
        let mut rest = self.template.as_str();
        while let Some(open) = rest.find('{') {
            marker.push_str(&rest[..open]);
            marker.push_str(if rest[open..].starts_with("{name}") { name } else { stem });
            rest = &rest[open + "{name}".len()..];
        }
        marker.push_str(rest);
        if folder.is_empty() { marker } else { format!("{folder}/{marker}") }
    }

    /// Whether a path is a marker of some file: then it is no data.
    pub fn is_marker(&self, path: &str) -> bool {
        self.is_marker.is_match(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_of_files() {
        for (template, path, marker) in [
            ("{path}.done", "a/b.csv", "a/b.csv.done"),
            ("{path}.done", "b.csv", "b.csv.done"),
            ("_SUCCESS", "a/b.csv", "a/_SUCCESS"),
            ("_SUCCESS", "b.csv", "_SUCCESS"),
            ("{stem}.ok", "a/b.csv.gz", "a/b.csv.ok"),
            ("{stem}.ok", "a/b", "a/b.ok"),
            ("ready/{name}", "a/b.csv", "a/ready/b.csv"),
            ("ready/{path}", "a/b.csv", "ready/a/b.csv"),
            ("{name}.{stem}", "a/{name}.x", "a/{name}.x.{name}"),
        ] {
            let m = Marker::parse(template).unwrap();
            assert_eq!(m.of(path), marker, "{template}");
            assert!(m.is_marker(marker), "{template}");
            assert!(template.ends_with("{stem}") || !m.is_marker("a/data.csv"), "{template}");
        }
        for bad in ["", "{path}", "{name}", "{x}", "{path", "{path}.{stem}", "/a", "a/", "../a"] {
            assert!(Marker::parse(bad).is_err(), "{bad}");
        }
    }
}
