//! SQL that looks across rows: one epoch, spooled.

use sluis_core::ErrorKind;

use super::*;
use crate::epoch::Spool;

fn epoch(sql: &str) -> TransformSpec {
    spec(&[], &[("output", sql)], true, &Tables::default())
}

#[tokio::test]
async fn all_rows_of_a_run_are_seen() {
    let two = vec![calls(), calls().slice(0, 2)];
    assert_eq!(
        run(epoch("select callid, count(*) as n, sum(rate) s from input group by callid order by callid desc"), two.clone()).await.unwrap(),
        "CallId|n|s\n4|1|4.0\n3|1|2.0\n2|2|2.0\n1|2|1.0"
    );
    assert_eq!(run(epoch("select distinct msisdn from input where callid < 3"), two.clone()).await.unwrap(), "msisdn\n3247\n3248");
    assert_eq!(
        run(epoch("select callid, row_number() over (partition by callid) as n from input where callid = 1"), two.clone()).await.unwrap(),
        "CallId|n\n1|1\n1|2"
    );
    assert_eq!(
        run(epoch("select a.callid from input a join input b on a.callid = b.callid + 1 order by 1"), vec![calls()]).await.unwrap(),
        "CallId\n2\n3\n4"
    );
    assert_eq!(run(epoch("select callid from input where rate > (select avg(rate) from input)"), vec![calls()]).await.unwrap(), "CallId\n3\n4");
    assert_eq!(run(epoch("select callid from input where callid < 3 union all select 9 as callid"), vec![calls()]).await.unwrap(), "CallId\n1\n2\n9");
    assert_eq!(run(epoch("select callid from input limit 2"), two).await.unwrap(), "CallId\n1\n2");
}

#[tokio::test]
async fn a_plan_across_rows_says_so() {
    let transform = transform(epoch("select count(*) as n from input")).unwrap();
    assert!(transform.across_rows() && !transform.may_reject());
    let plan = transform.plan(&calls().schema()).await.unwrap();
    assert!(!plan.row_wise() && !plan.keeps_rows());
    let mut run = plan.start().unwrap();
    assert!(run.push(calls()).await.unwrap().batches.is_empty());
    assert_eq!(table(&run.finish().await.unwrap()), "n\n4");
    // No rows is an answer too.
    assert_eq!(table(&plan.start().unwrap().finish().await.unwrap()), "n\n0");
}

#[tokio::test]
async fn a_select_by_row_stays_by_row_in_scope_epoch() {
    let plan = plan(epoch("select callid from input where rate > 1"), &calls().schema()).await.unwrap();
    assert!(plan.row_wise());
}

#[tokio::test]
async fn checks_come_first() {
    let spec = spec(
        &[("pos", "seconds >= 0", OnFail::Reject)],
        &[("a", "select callid, rate from input"), ("b", "select max(callid) as m, count(*) as n from a")],
        true,
        &Tables::default(),
    );
    let plan = plan(spec, &calls().schema()).await.unwrap();
    let mut run = plan.start().unwrap();
    assert_eq!(run.push(calls()).await.unwrap().failures.len(), 1);
    assert_eq!(table(&run.finish().await.unwrap()), "m|n\n4|3");
}

#[tokio::test]
async fn errors_are_plain() {
    let e = run(epoch("select sum(100 / seconds) as s from input"), vec![calls()]).await.unwrap_err();
    assert_eq!((e.kind(), e.message()), (ErrorKind::Data, "select `output` cannot be computed: division by zero"));
    let big = batch(vec![("n", ints(&[Some(i64::MAX)]))]);
    let e = run(epoch("select n + 1 as m from input order by 1"), vec![big]).await.unwrap_err();
    assert!(e.message().contains("out of range"), "{}", e.message());
}

#[tokio::test]
async fn rows_beyond_the_memory_are_spooled() {
    use crate::epoch::Across;
    use crate::output::Output;
    use crate::planner::{Catalog, optimize};
    let rows: Vec<RecordBatch> =
        (0..50i64).map(|b| batch(vec![("n", ints(&(0..1000).map(|i| Some(b * 1000 + i)).collect::<Vec<_>>())), ("t", text(&["x"; 1000]))])).collect();
    let schema = rows[0].schema();
    let catalog = Catalog::input(&schema);
    let mut statement =
        crate::text::Text::new("select count(*) as c, sum(a.n) as s, min(b.n) as m from input a join input b on a.n = b.n").statement().unwrap();
    let datafusion::sql::sqlparser::ast::Statement::Query(query) = &mut statement else { panic!("a query") };
    let plan = optimize(catalog.plan(*query.clone()).unwrap(), false).unwrap();
    for limit in [0, 40_000, 1 << 30] {
        let across = Across { output: Output::of(&plan), plan: plan.clone(), input: Arc::clone(&schema), step: "s".into(), in_memory: limit };
        let mut spool = Spool::new(Arc::clone(&schema), limit);
        rows.iter().for_each(|b| spool.push(b.clone()).unwrap());
        assert_eq!(table(&across.run(spool).await.unwrap()), format!("c|s|m\n50000|{}|0", 49_999i64 * 25_000), "{limit}");
    }
}
