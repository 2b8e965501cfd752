//! The example projects of `examples/`, inside the binary, as one project.
//!
//! Their folders do not overlap, so that they fit into one. A test says that nothing of them is missing here.

macro_rules! examples {
    ($($example:literal => [$($path:literal),* $(,)?]),* $(,)?) => {
        &[$($(($path, include_bytes!(concat!("../../../examples/", $example, "/", $path)) as &[u8])),*),*]
    };
}

/// Path below the project, and bytes.
pub const FILES: &[(&str, &[u8])] = examples![
    "call_records" => [
        "data/call_records/MobileVikings_20240129_001.cdr",
        "data/call_records/MobileVikings_20240129_002.cdr",
        "data/call_records/MobileVikings_20240130_001.cdr",
        "data/call_records/MobileVikings_20240130_002.cdr",
        "data/call_records/MobileVikings_20240131_001.cdr",
        "data/call_records/MobileVikings_20240131_002.cdr",
        "data/cells/cells.csv",
        "pipelines/call_records.yaml",
        "tests/call_records/bad_rows.yaml",
    ],
    "telemetry" => [
        "data/telemetry/adbreakstelemetryitem20240128.csv",
        "data/telemetry/adbreakstelemetryitem20240129.csv",
        "data/telemetry/adbreakstelemetryitem20240130.csv",
        "data/telemetry/adbreakstelemetryitem20240131.csv",
        "data/telemetry/adcallstelemetryitem20240128.csv",
        "data/telemetry/adcallstelemetryitem20240129.csv",
        "data/telemetry/adcallstelemetryitem20240130.csv",
        "data/telemetry/adcallstelemetryitem20240131.csv",
        "data/telemetry/concurrencytelemetryitem20240128.csv",
        "data/telemetry/concurrencytelemetryitem20240129.csv",
        "data/telemetry/concurrencytelemetryitem20240130.csv",
        "data/telemetry/concurrencytelemetryitem20240131.csv",
        "pipelines/ad_breaks.yaml",
        "pipelines/ad_calls.yaml",
        "pipelines/concurrency.yaml",
        "tests/ad_breaks/two_days.yaml",
        "tests/ad_calls/unknown_device.yaml",
        "tests/concurrency/a_day/expected/files.csv",
        "tests/concurrency/a_day/expected/table.csv",
        "tests/concurrency/a_day/given/concurrencytelemetryitem20240131.csv",
        "tests/concurrency/a_day/test.yaml",
    ],
    "prices" => [
        "data/prices/prices_2024-01-26.csv",
        "data/prices/prices_2024-01-27.csv",
        "data/prices/prices_2024-01-28.csv",
        "data/prices/prices_2024-01-29.csv",
        "data/prices/prices_2024-01-30.csv",
        "data/prices/prices_2024-01-31.csv",
        "pipelines/prices.yaml",
        "tests/prices/new_columns.yaml",
    ],
];

/// `sluis.yaml` of the demo.
pub const PROJECT: &str = "# What `sluis demo` made: the projects of the examples in one.
name: demo
description: Sample data to play with
";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    fn below(dir: &Path, out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { below(&path, out) } else { out.push(path) }
        }
    }

    #[test]
    fn every_file_of_the_examples_is_here_once() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let mut there = BTreeSet::new();
        for example in ["call_records", "telemetry", "prices"] {
            for part in ["pipelines", "data", "tests"] {
                let mut files = Vec::new();
                below(&root.join(example).join(part), &mut files);
                for file in files {
                    let path = file.strip_prefix(root.join(example)).unwrap().display().to_string();
                    assert!(there.insert(path.clone()), "{path} is in two examples");
                }
            }
        }
        let here: BTreeSet<String> = super::FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(here, there);
        assert_eq!(here.len(), super::FILES.len());
    }
}
