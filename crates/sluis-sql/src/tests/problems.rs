//! What is wrong with a statement, and where it says so.

use std::ops::Range;

use super::*;
use crate::{Part, against, syntax};

/// The problems of one select: the text underlined, message, hint.
fn of(sql: &str, across: bool) -> Vec<(String, String, String)> {
    let spec = spec(&[], &[("output", sql)], across, &Tables::default());
    let mut all = syntax(&spec);
    if all.is_empty() {
        all = against(&spec, &calls().schema(), true);
    }
    let cut = |r: Option<Range<usize>>| r.map_or(String::new(), |r| sql[r].to_owned());
    all.into_iter().map(|p| (cut(p.range), p.message, p.hint.unwrap_or_default())).collect()
}

fn one(sql: &str) -> (String, String, String) {
    let mut all = of(sql, false);
    assert_eq!(all.len(), 1, "{sql}: {all:?}");
    all.remove(0)
}

#[test]
fn looks_across_rows_are_refused_and_allowed() {
    for (sql, underlined, what) in [
        ("select count(*) as n from input", "count", "the aggregate `count`"),
        ("select seconds, sum(rate) as s from input group by seconds", "sum", "the aggregate `sum`"),
        ("select seconds from input group by seconds", "group", "GROUP BY"),
        ("select distinct seconds from input", "distinct", "DISTINCT"),
        ("select seconds from input order by 1", "order", "ORDER BY"),
        ("select seconds from input limit 3", "limit", "LIMIT"),
        ("select seconds from input offset 3", "offset", "LIMIT"),
        ("select row_number() over (order by callid) as n from input", "row_number", "the window function `row_number`"),
        ("select sum(rate) over (partition by msisdn) as n from input", "sum", "the window function `sum`"),
        ("select rate from input union all select rate from input", "union", "UNION"),
        ("select rate from input except select 1.0 as rate", "except", "EXCEPT"),
        ("select a.rate from input a join input b on a.callid = b.callid", "input b on a.callid = b.callid", "a join of `input` with itself"),
        ("select rate from input where rate > (select avg(r.rate) from input r)", "", "a subquery over `input`"),
    ] {
        let all = of(sql, false);
        let hit = all.iter().find(|p| p.1.starts_with(what)).unwrap_or_else(|| panic!("{sql}: {all:?}"));
        if !underlined.is_empty() {
            assert_eq!(hit.0, underlined, "{sql}");
        }
        assert!(hit.2.contains("scope: epoch"), "{sql}: {}", hit.2);
        assert_eq!(of(sql, true), [], "{sql}");
    }
    for sql in [
        "select i.rate from input i full join t on i.callid = t.id",
        "select i.rate from input i right join t on i.callid = t.id",
        "select i.rate from t left join input i on i.callid = t.id",
    ] {
        assert!(one(sql).2.contains("scope: epoch"), "{sql}");
    }
    assert_eq!(
        of("select i.rate from input i left join (select id, max(x) as m from t group by id order by 1 limit 5) t on i.callid = t.id", false),
        []
    );
}

#[test]
fn only_select() {
    for sql in [
        "create table t (a int)",
        "insert into input values (1)",
        "delete from input",
        "set a = 1",
        "copy input to 'x.csv'",
        "explain select * from input",
        "drop table input",
        "select * into t from input",
    ] {
        assert!(!of(sql, true).is_empty(), "{sql}");
    }
    assert_eq!(one("drop table input").0, "drop");
    assert_eq!(one("select 1 as a from input; select 2 as b from input").1, "2 statements where one is expected");
    assert_eq!(of("select rate from input;", false), []);
    for sql in ["select * from 'x.csv'", "select * from read_csv('x')", "select * from \"s3://b/x.parquet\"", "select * from generate_series(1, 3)"] {
        assert!(!of(sql, true).is_empty(), "{sql}");
    }
}

#[test]
fn functions_that_differ_between_runs_are_refused() {
    for (sql, name, hint) in [
        ("select now() as t from input", "now", "_loaded"),
        ("select current_timestamp as t from input", "current_timestamp", "_loaded"),
        ("select current_date as t from input", "current_date", "_loaded"),
        ("select current_time as t from input", "current_time", "_loaded"),
        ("select random() as t from input", "random", "md5"),
        ("select uuid() as t from input", "uuid", "md5"),
    ] {
        let p = one(sql);
        assert_eq!(p.0, name);
        assert!(p.1.contains("another result in every run") && p.2.contains(hint), "{sql}: {p:?}");
        assert_eq!(of(sql, true).len(), 1);
    }
    assert_eq!(
        one("select lenght(msisdn) as l from input"),
        ("lenght".into(), "there is no function `lenght`".into(), "did you mean `length`?".into())
    );
}

#[test]
fn unknown_and_ambiguous_names() {
    assert_eq!(one("select secnds from input"), ("secnds".into(), "unknown column `secnds`".into(), "did you mean `seconds`?".into()));
    assert_eq!(one("select input.secnds from input").0, "secnds");
    assert_eq!(one("select i.seconds from input").1, "there is no table or column `i` here");
    assert_eq!(one("select \"callid\" from input").2, "the column is called \"CallId\"; names in double quotes match exactly");
    assert_eq!(one("select msisdn from input where msisdn = \"x\"").2, "text is written in single quotes");
    assert_eq!(one("select * exclude (secons) from input").0, "secons");
    assert_eq!(one("select t.* from input").1, "there is no `t` in this FROM");
    let sql = "select secnds, rte,\n  é as x, upper(msisd) as u\nfrom input where calid > 1";
    let all = of(sql, false);
    assert_eq!(all.iter().map(|p| p.0.as_str()).collect::<std::collections::BTreeSet<_>>(), ["calid", "msisd", "rte", "secnds", "é"].into());
    let twice = batch(vec![("Id", ints(&[])), ("ID", ints(&[]))]);
    let spec = select("select id from input");
    let all = against(&spec, &twice.schema(), true);
    assert_eq!(all[0].message, "`id` may be \"Id\" or \"ID\"");
    assert!(against(&select("select ID, \"Id\" from input"), &twice.schema(), true).is_empty());
}

#[test]
fn all_parts_at_once() {
    let checks = [
        ("a", "secs > 0", OnFail::Reject),
        ("b", "seconds >", OnFail::Reject),
        ("c", "seconds + 1", OnFail::Reject),
        ("d", "sum(seconds) > 1", OnFail::Warn),
        ("e", "seconds > 1 seconds", OnFail::Warn),
    ];
    let steps = [("one", "select rat from input"), ("two", "select * from one where x > 1"), ("three", "selec 1")];
    let spec = spec(&checks, &steps, false, &Tables::default());
    let early = syntax(&spec);
    assert_eq!(early.iter().map(|p| p.part).collect::<Vec<_>>(), [Part::Check(1), Part::Check(3), Part::Check(4), Part::Step(2)], "{early:?}");
    assert_eq!(early[0].range, Some(9..9));
    assert_eq!(early[2].range, Some(12..19));
    let late = against(&spec, &calls().schema(), true);
    assert_eq!(late.iter().map(|p| p.part).collect::<Vec<_>>(), [Part::Check(0), Part::Check(2), Part::Step(0)], "{late:?}");
    assert_eq!(late[1].message, "a condition is true or false, and this is bigint");
    assert_eq!((late[2].range.clone(), late[2].hint.as_deref()), (Some(7..10), Some("did you mean `rate`?")));
}

#[test]
fn types_that_do_not_fit_are_underlined() {
    let sql = "select callid, upper(msisdn) as u, profile + 1 as p, round(tags) as t from input where rate > 0";
    let all = of(sql, false);
    assert_eq!(all.iter().map(|p| p.0.as_str()).collect::<Vec<_>>(), ["profile + 1", "round(tags)"], "{all:?}");
    assert!(all.iter().all(|p| !p.1.contains("Error") && !p.1.contains('\n')), "{all:?}");
    assert_eq!(one("select rate, rate from input").1, "two columns are called `rate`");
    assert_eq!(one("select callid as rate, rate from input").1, "two columns are called `rate`");
}

#[test]
fn what_is_not_known_is_trusted() {
    let known = batch(vec![("a", ints(&[]))]).schema();
    let spec = spec(
        &[("c", "b > 1", OnFail::Reject)],
        &[("one", "select *, x + 1 as y from input"), ("two", "select z, a, y from one")],
        false,
        &Tables::default(),
    );
    assert_eq!(against(&spec, &known, false), []);
    assert_eq!(against(&spec, &known, true).iter().map(|p| p.part).collect::<Vec<_>>(), [Part::Check(0), Part::Step(0)]);
    // What is known is still checked.
    assert_eq!(against(&select("select a.b from input"), &known, false)[0].message, "there is no field `b` in a bigint");
    assert_eq!(against(&select("select a + [1] as u from input"), &known, false)[0].range, Some(7..14));
    // Look-up tables need no network.
    assert_eq!(against(&select("select c.name, i.a from input i join crm.customers c on i.a = c.id"), &known, true), []);
    assert_eq!(
        against(&select("select c.name, i.q from input i join crm.customers c on i.a = c.id"), &known, true)[0].message,
        "unknown column `q` of `i`"
    );
}

#[test]
fn steps_that_do_not_hang_together() {
    let of =
        |steps: &[(&str, &str)]| syntax(&spec(&[], steps, false, &Tables::default())).into_iter().map(|p| (p.part, p.message)).collect::<Vec<_>>();
    assert_eq!(of(&[("a", "select * from b"), ("b", "select * from a")])[0], (Part::Step(0), "step `b` comes after this one".into()));
    assert_eq!(of(&[("a", "select * from a")])[0], (Part::Step(0), "step `a` reads itself".into()));
    assert_eq!(of(&[("a", "select * from input"), ("b", "select 1 as x from input")]), [(Part::Step(0), "no later step reads `a`".into())]);
    assert_eq!(of(&[("a", "select 1 as x")]), [(Part::Step(0), "this reads nothing of `input`".into())]);
    assert_eq!(of(&[("a", "select x from other")]), [(Part::Step(0), "this reads nothing of `input`".into())]);
}

#[test]
fn syntax_errors_have_a_place() {
    assert_eq!(one("selec * from input").0, "selec");
    let p = one("select seconds frm input where");
    assert_eq!((p.0.as_str(), p.1.contains("found")), ("input", true), "{p:?}");
    assert_eq!(one("select 'abc from input").0, "'");
    assert_eq!(one("").1, "there is no SQL here");
    let deep = format!("select {}1{} as x from input", "(".repeat(5000), ")".repeat(5000));
    assert!(one(&deep).1.contains("too deep"));
}

#[tokio::test]
async fn errors_of_a_pipeline_carry_the_sql() {
    let e = transform(select("select count(*) as n from input")).err().unwrap();
    assert_eq!(e.kind(), sluis_core::ErrorKind::Config);
    assert!(e.contexts().contains(&("select", "output".into())) && e.contexts().iter().any(|c| c.0 == "sql"));
    let e = plan(select("select secnds from input"), &calls().schema()).await.err().unwrap();
    assert_eq!((e.kind(), e.message(), e.hint_text()), (sluis_core::ErrorKind::Config, "unknown column `secnds`", Some("did you mean `seconds`?")));
    let e = plan(select("select i.rate from input i join custmers c on c.id = i.callid"), &calls().schema()).await.err().unwrap();
    assert_eq!(e.message(), "there is no table `custmers`");
}
