//! The compiled path gives what DataFusion's own execution of the same statement gives.

use futures::TryStreamExt;
use proptest::prelude::*;

use super::*;
use crate::query;

const STATEMENTS: &[&str] = &[
    "select * from input",
    "select a, b, a + b as s from input where a > b",
    "select upper(s) as u, length(s) as l, s || '-' || coalesce(cast(a as string), '?') as j from input where s is not null and a <> 0",
    "select case when a > 5 then 'big' when a is null then null else s end as c, a in (1, 2, 3) as i from input",
    "select * from (select a * 2 as d, s from input where b < 50) q where d > 4 or s like 'x%'",
    "select i.a, i.s, t.name from input i left join names t on i.a = t.id",
    "select i.a, i.b, t.name from input i join names t on i.a = t.id and i.b > t.low",
    "select a, b from input where a in (select id from names where low < 20)",
    "select a, b from input where a not in (select id from names)",
    "select a, b from input i where not exists (select 1 from names t where t.id = i.a and t.low <= i.b)",
    "select a, (select max(name) from names t where t.id = input.a) as n from input",
    "select unnest([a, b, a + b]) as v, s from input where a is not null",
    "select nullif(a, b) as n, greatest(a, b) as g, substr(s, 2, 3) as t from input where not (a = b)",
];

fn names() -> RecordBatch {
    batch(vec![
        ("id", ints(&[Some(1), Some(2), Some(2), Some(5), Some(7)])),
        ("name", text(&["one", "two", "zwei", "five", "∅"])),
        ("low", ints(&[Some(10), Some(0), Some(40), Some(25), None])),
    ])
}

fn row() -> impl Strategy<Value = (Option<i64>, Option<i64>, Option<String>)> {
    (proptest::option::weighted(0.9, 0..10i64), proptest::option::weighted(0.9, 0..100i64), proptest::option::weighted(0.8, "[xyéa]{0,6}"))
}

fn rows(rows: &[(Option<i64>, Option<i64>, Option<String>)]) -> RecordBatch {
    let texts: StringArray = rows.iter().map(|r| r.2.clone()).collect();
    batch(vec![
        ("a", ints(&rows.iter().map(|r| r.0).collect::<Vec<_>>())),
        ("b", ints(&rows.iter().map(|r| r.1).collect::<Vec<_>>())),
        ("s", Arc::new(texts)),
    ])
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().skip(1).collect();
    lines.sort_unstable();
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn compiled_is_executed(all in prop::collection::vec(row(), 1..60), cut in 1usize..20) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let whole = rows(&all);
        for sql in STATEMENTS {
            let tables = Tables::default().with("names", vec![names()]);
            let spec = spec(&[], &[("output", sql)], false, &tables);
            runtime.block_on(async {
                assert!(plan(spec.clone(), &whole.schema()).await.unwrap().row_wise());
                let pieces: Vec<RecordBatch> = (0..all.len()).step_by(cut).map(|i| whole.slice(i, cut.min(all.len() - i))).collect();
                let compiled = run(spec.clone(), pieces).await.unwrap();
                // Pieces or not, the rows and their order are the same.
                assert_eq!(run(spec, vec![whole.clone()]).await.unwrap(), compiled, "{sql}");
                let lake = tables.with("input", vec![whole.clone()]);
                let result = query(sql, Arc::new(lake), 1000).await.unwrap();
                let executed: Vec<RecordBatch> = result.stream.try_collect().await.unwrap();
                assert_eq!(sorted(&compiled), sorted(&table(&executed)), "{sql}");
            });
        }
    }
}
