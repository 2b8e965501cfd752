//! Golden pipelines: each lands its files four ways with the very binary, and each way lands the same.
//!
//! Plain; killed at every crash point; cut differently, with a restart in the middle; in two lanes. What is expected stands as text in
//! `<name>/expected/`; `SLUIS_BLESS=1` writes it anew from the plain way (read the difference before you commit it). A pipeline's `later/`
//! is copied over its folder when what was there at first has landed.

mod reading;
mod ways;

use ways::Golden;

/// A pipeline and the crash points that it never passes.
macro_rules! golden {
    ($($name:ident misses $misses:expr;)*) => {$(
        mod $name {
            use super::*;

            const GOLDEN: Golden = Golden { name: stringify!($name), misses: &$misses };

            #[test]
            fn plain() {
                GOLDEN.plain();
            }

            #[test]
            fn killed_at_every_crash_point() {
                GOLDEN.killed();
            }

            #[test]
            fn cut_differently_with_a_restart() {
                GOLDEN.cut_differently();
            }

            #[test]
            fn in_two_lanes() {
                GOLDEN.two_lanes();
            }
        }
    )*

    #[test]
    fn every_folder_is_a_test() {
        let mut names: Vec<String> = std::fs::read_dir(ways::folder()).expect("tests/golden").flatten()
            .filter(|e| e.path().is_dir()).map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        let mut tests = vec![$(stringify!($name)),*];
        tests.sort();
        assert_eq!(names, tests);
    }
    };
}

golden! {
    archives misses ["acknowledge.mid"];
    avro_readings misses ["acknowledge.mid"];
    call_records misses ["acknowledge.mid"];
    checks misses ["acknowledge.mid"];
    contracts_discard misses ["sink.mid_publish", "acknowledge.mid"];
    contracts_rescue misses ["acknowledge.mid"];
    drifting misses ["acknowledge.mid"];
    fixed_width misses ["sink.mid_publish", "acknowledge.mid"];
    gzipped misses ["acknowledge.mid"];
    lookups misses ["acknowledge.mid"];
    orc_shipments misses ["acknowledge.mid"];
    overwritten misses ["acknowledge.mid"];
    profiles misses ["acknowledge.mid"];
    ragged_rescue misses ["acknowledge.mid"];
    raw_archive misses ["acknowledge.mid"];
    replace_partitions misses ["acknowledge.mid"];
    telemetry misses ["acknowledge.mid"];
    upsert misses ["acknowledge.mid"];
}
