//! Prints the reference of everything this build can talk to, as JSON: pages by name, and the two JSON Schemas. `cargo xtask docs` writes
//! them to `docs/reference/`.

use serde_json::{Map, Value};

fn main() {
    let registry = sluis_connectors::registry();
    let mut pages: Map<String, Value> =
        sluis_config::reference_markdown(&registry).into_iter().map(|(name, text)| (name, Value::from(text))).collect();
    for (name, schema) in [("pipeline", sluis_config::json_schema(&registry)), ("project", sluis_config::project_schema(&registry))] {
        pages.insert(format!("{name}.schema.json"), format!("{schema:#}\n").into());
    }
    println!("{}", Value::from(pages));
}
