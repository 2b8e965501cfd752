//! The one list of everything this build can talk to: help, schema, docs and `check` iterate it.

use sluis_core::Registry;

/// Sources, targets, formats and kinds of connection of this build.
pub fn registry() -> Registry {
    Registry {
        sources: vec![&crate::files::SOURCE],
        sinks: vec![&crate::files_sink::FILES],
        formats: sluis_formats::all(),
        connections: vec![sluis_storage::connection::S3_CONNECTION, sluis_storage::connection::HTTP_CONNECTION],
        lake: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_schema_is_an_object() {
        let all = registry();
        let mut names: Vec<(&str, &str)> = Vec::new();
        for source in &all.sources {
            names.push(("source", source.name));
            assert!((source.schema)().as_object().is_some_and(|o| o.contains_key("properties")), "{}", source.name);
        }
        names.extend(all.sinks.iter().map(|d| ("sink", d.name)));
        names.extend(all.formats.iter().map(|d| ("format", d.name)));
        names.extend(all.connections.iter().map(|d| ("connection", d.name)));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(all.source("files").is_some_and(|files| files.needs_format));
    }
}
