//! Laying one tree over another: environments over a project, a project's defaults under a pipeline.
//!
//! Mappings are merged key by key; anything else of the upper one replaces. Every value keeps the place where it stands.

use super::{Entry, Kind, Node};

/// How two mappings at a path are brought together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Key by key.
    Keys,
    /// Their keys name kinds, of which there is one (`s3:`): another kind replaces, the same kind is merged.
    Kind,
    /// The upper one replaces.
    Replace,
}

/// `over` laid over `under`. `rule` says how for the mappings at a path of keys.
pub(crate) fn merge(under: &Node, over: &Node, rule: &dyn Fn(&[&str]) -> Merge) -> Node {
    fn walk<'a>(under: &'a Node, over: &'a Node, path: &mut Vec<&'a str>, rule: &dyn Fn(&[&str]) -> Merge) -> Node {
        let (Kind::Map(below), Kind::Map(above)) = (&under.kind, &over.kind) else { return over.clone() };
        let another = || !above.is_empty() && above.iter().all(|e| below.iter().all(|b| b.key != e.key));
        match rule(path) {
            Merge::Replace => return over.clone(),
            Merge::Kind if another() => return over.clone(),
            Merge::Keys | Merge::Kind => {}
        }
        let mut entries: Vec<Entry> = below.clone();
        for entry in above {
            let Some(have) = below.iter().position(|e| e.key == entry.key) else {
                entries.push(entry.clone());
                continue;
            };
            path.push(&entry.key);
            let value = walk(&below[have].value, &entry.value, path, rule);
            path.pop();
            entries[have] = Entry { key: entry.key.clone(), key_span: entry.key_span.clone(), value };
        }
        Node { kind: Kind::Map(entries), span: over.span.clone() }
    }
    walk(under, over, &mut Vec::new(), rule)
}
