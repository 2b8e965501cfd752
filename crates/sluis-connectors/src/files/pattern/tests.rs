//! Tables of patterns, and captures that come back as they were put in.

use proptest::prelude::*;

use super::*;

fn values(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
    match Pattern::of_match(pattern, true).unwrap_or_else(|e| panic!("{pattern}: {e:?}")).matches(path) {
        Matched::Yes(values) => Some(values.into_iter().collect()),
        _ => None,
    }
}

#[test]
fn what_matches_and_what_does_not() {
    for (pattern, yes, no) in [
        ("*.csv", vec!["a.csv", ".csv", "x/y/a.csv", "ä ö.csv"], vec!["a.csv.gz", "acsv", "a.csv/b"]),
        ("a?c", vec!["abc", "aäc", "d/abc"], vec!["ac", "a/c", "abbc"]),
        ("x[0-9a]", vec!["x1", "xa"], vec!["xb", "x", "x11"]),
        ("x[!0-9]", vec!["xb", "x]"], vec!["x1", "x/"]),
        ("x[^0-9]y", vec!["xby"], vec!["x/y", "x1y"]),
        ("x[]a]", vec!["x]", "xa"], vec!["xb"]),
        ("x[a-]", vec!["x-", "xa"], vec!["xb"]),
        ("x[&&~]", vec!["x&", "x~"], vec!["xb"]),
        ("{a,b}.csv", vec!["a.csv", "b.csv"], vec!["c.csv", "{a,b}.csv"]),
        ("x{,-old}.{csv,t?t,j*}", vec!["x.csv", "x-old.txt", "x.jsonl"], vec!["x-.csv", "x.tt"]),
        ("{a,{b,c}d}", vec!["a", "bd", "cd"], vec!["b", "ad"]),
        ("in/*.csv", vec!["in/a.csv"], vec!["a.csv", "in/b/a.csv", "x/in/a.csv"]),
        ("**/a.csv", vec!["a.csv", "x/a.csv", "x/y/a.csv"], vec!["xa.csv", "x/ba.csv"]),
        ("in/**/a.csv", vec!["in/a.csv", "in/x/y/a.csv"], vec!["a.csv", "inx/a.csv"]),
        ("in/**", vec!["in/a", "in/x/y"], vec!["in", "inx/a"]),
        ("**", vec!["a", "a/b/c"], vec![]),
        ("a/**/b/*", vec!["a/b/c", "a/x/b/c", "a/b/b/c"], vec!["a/x/c", "a/b"]),
        (r"\*\{x\}\[1\]\\", vec!["*{x}[1]\\"], vec!["a{x}[1]\\"]),
        ("a.b+c(d)", vec!["a.b+c(d)"], vec!["axb+c(d)", "a.bbc(d)"]),
        ("line\nfeed*", vec!["line\nfeed\nmore"], vec!["line feed"]),
    ] {
        for path in yes {
            assert!(values(pattern, path).is_some(), "{pattern} should match {path:?}");
        }
        for path in no {
            assert!(values(pattern, path).is_none(), "{pattern} should not match {path:?}");
        }
    }
}

#[test]
fn captures_become_values() {
    for (pattern, path, expected) in [
        ("MobileVikings_{day:%Y%m%d}_{seq:int}.cdr", "in/MobileVikings_20240131_0042.cdr", "day=2024-01-31 seq=42"),
        ("{kind}_{rest}.csv", "a_b_c.csv", "kind=a rest=b_c"),
        ("{station}_{day:%Y%m%d}.csv", "north_sea_20240131.csv", "day=2024-01-31 station=north_sea"),
        ("{a}_{seq:int}.csv", "x_y_7.csv", "a=x_y seq=7"),
        ("{day:%Y%m%d}{seq:int}", "20240131007", "day=2024-01-31 seq=7"),
        ("{country}/{year:int}/*.csv", "be/2024/x.csv", "country=be year=2024"),
        ("{day:%Y/%m/%d}/*.csv", "2024/01/31/x.csv", "day=2024-01-31"),
        ("**/{name:string}.csv", "a/b/c.csv", "name=c"),
        ("day={day:date}/part-{n:bigint}.{ext}", "day=2024-01-31/part-00000000001.parquet", "day=2024-01-31 ext=parquet n=1"),
        ("v{v:decimal(10,2)}.csv", "v01.50.csv", "v=1.5"),
        ("{at:timestamp(%Y%m%d-%H%M)}.csv", "20240131-2359.csv", "at=2024-01-31T23:59:00Z"),
        ("{at:%Y%m%dT%H%M%z}.csv", "20240131T0159+0200.csv", "at=2024-01-30T23:59:00Z"),
    ] {
        let got = values(pattern, path).unwrap_or_else(|| panic!("{pattern} should match {path}"));
        let got: Vec<String> = got.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(got.join(" "), expected, "{pattern} {path}");
    }
}

#[test]
fn a_value_that_does_not_parse_is_told_apart_from_no_match() {
    let p = Pattern::of_match("x_{seq:int}.csv", true).unwrap();
    for text in ["12x", "99999999999", ""] {
        let got = p.matches(&format!("x_{text}.csv"));
        if text.is_empty() {
            assert_eq!(got, Matched::No);
        } else {
            assert_eq!(got, Matched::Wrong { capture: "seq".into(), text: text.into(), wanted: "int".into() });
        }
    }
    assert_eq!(p.matches("y_1.csv"), Matched::No);
    let p = Pattern::of_match("{day:%Y%m%d}.csv", true).unwrap();
    assert!(matches!(p.matches("20241341.csv"), Matched::Wrong { .. }));
    assert_eq!(p.matches("20241341.txt"), Matched::No);
}

#[test]
fn mistakes_are_said_with_their_place() {
    for (pattern, at, says) in [
        ("", 1, "empty"),
        ("/a", 1, "leading"),
        ("a//b", 3, "nothing between"),
        ("a/", 3, "ends with"),
        ("a/../b", 3, "`..`"),
        ("a**", 2, "stands alone"),
        ("x/**b/c", 3, "stands alone"),
        ("***", 1, "stands alone"),
        ("a[b", 2, "never closed"),
        ("a[z-a]", 2, "backwards"),
        ("a[b/c]", 4, "no `/`"),
        ("a{b,c", 2, "never closed"),
        ("a{b:int", 2, "never closed"),
        ("a{b", 2, "never closed"),
        ("a}b", 2, "closes nothing"),
        ("a{1}", 2, "start with a letter"),
        ("a{}", 2, "start with a letter"),
        ("{a,b/c}", 5, "no `/`"),
        ("{a,{b}}", 4, "within alternatives"),
        ("{a}_{a}", 5, "two captures"),
        ("x_{seq:itn}", 8, "unknown type"),
        ("x_{day:%Q}", 8, "%Q"),
        ("x_{day:%m%d}", 8, "names no year"),
        ("ä\\", 2, "needs the character"),
    ] {
        let e = Pattern::new(pattern).expect_err(pattern);
        assert!(e.message.contains(says), "{pattern}: {}", e.message);
        assert_eq!(e.at, at, "{pattern}: {}", e.message);
    }
}

#[test]
fn columns_have_the_captures_types_in_order() {
    let p = Pattern::of_match("{b}_{day:%Y%m%d}_{n:int}_{at:%Y%m%d%H}_{v:decimal(10,2)}.csv", true).unwrap();
    let columns: Vec<String> = p.columns().iter().map(|f| format!("{}:{}", f.name(), sluis_core::columns::type_name(f.data_type()))).collect();
    assert_eq!(columns.join(" "), "b:string day:date n:int at:timestamp v:decimal(10,2)");
    assert_eq!(p.date_capture(), Some("day"));
}

#[test]
fn only_folders_that_can_hold_a_match_are_looked_into() {
    let walk = |pattern: &str, recursive| {
        let p = Pattern::of_match(pattern, recursive).unwrap();
        (p.walk().folder.clone(), p.walk().levels.as_ref().map(Vec::len))
    };
    assert_eq!(walk("*.csv", true), (String::new(), None));
    assert_eq!(walk("*.csv", false), (String::new(), Some(0)));
    assert_eq!(walk("a/b/*.csv", true), ("a/b".into(), Some(0)));
    assert_eq!(walk("a/b*/{c}/*.csv", true), ("a".into(), Some(2)));
    assert_eq!(walk("a/b*/**/*.csv", true), ("a".into(), None));
    assert_eq!(walk("{day:%Y/%m/%d}/*.csv", true), (String::new(), None));
    let p = Pattern::new("a/{day:%Y%m%d}/*.csv").unwrap();
    let levels = p.walk().levels.as_ref().unwrap();
    assert!(levels[0].is_match("20240101") && !levels[0].is_match("archive"));
    assert_eq!(Pattern::new("a/_x*.csv").unwrap().name_prefix(), "_x");
}

proptest! {
    /// What is put into a name comes out of it.
    #[test]
    fn captures_round_trip(day in 0i64..40_000, seq in any::<i32>(), word in "[a-z][a-z0-9-]{0,8}", cents in 0u32..1_000_000) {
        let p = Pattern::of_match("in/{word}_{day:%Y%m%d}_{seq:int}_{v:decimal(10,2)}.csv", true).unwrap();
        let day = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + chrono::Duration::days(day);
        let name = format!("in/{word}_{}_{seq}_{}.{:02}.csv", day.format("%Y%m%d"), cents / 100, cents % 100);
        let Matched::Yes(values) = p.matches(&name) else { panic!("{name}") };
        prop_assert_eq!(&values["word"], &word);
        prop_assert_eq!(&values["day"], &day.to_string());
        prop_assert_eq!(&values["seq"], &seq.to_string());
        prop_assert_eq!(values["v"].parse::<f64>().unwrap(), f64::from(cents) / 100.0);
    }

    /// No text makes it panic, and an escaped name is its own pattern.
    #[test]
    fn any_text_is_a_pattern_or_a_mistake(text in "[a-z*?\\[\\]{},:/%Y!^\\\\-]{0,20}", name in "[ -.0-~äß]{1,12}") {
        let _ = Pattern::of_match(&text, true).map(|p| p.matches(&text));
        let escaped: String = name.chars().flat_map(|c| if c.is_alphanumeric() { vec![c] } else { vec!['\\', c] }).collect();
        if name != "." && name != ".." {
            prop_assert_eq!(Pattern::new(&escaped).unwrap().matches(&name), Matched::Yes(BTreeMap::new()), "{}", escaped);
        }
    }
}
