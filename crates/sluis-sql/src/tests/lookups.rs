//! Tables to look things up in.

use super::*;

fn crm() -> Tables {
    Tables::default()
        .with(
            "crm.customers",
            vec![
                batch(vec![("Id", ints(&[Some(1), Some(2)])), ("name", text(&["Ann", "Bob"])), ("city", text(&["Ghent", "Mons"]))]),
                batch(vec![("Id", ints(&[Some(2), None, Some(9)])), ("name", text(&["Bert", "Nil", "Zoe"])), ("city", text(&["Mons", "∅", "Ath"]))]),
            ],
        )
        .with("blocked", vec![batch(vec![("id", ints(&[Some(3), Some(9)]))])])
        .with("blocked_or_not", vec![batch(vec![("id", ints(&[Some(3), None]))])])
        .with("nobody", vec![batch(vec![("id", ints(&[]))])])
}

async fn of(sql: &str) -> String {
    let spec = spec(&[], &[("output", sql)], false, &crm());
    let p = plan(spec.clone(), &calls().schema()).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    assert!(p.row_wise(), "{sql}");
    run(spec, vec![calls()]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"))
}

#[tokio::test]
async fn joins_keep_the_order_of_rows_and_then_of_the_table() {
    assert_eq!(of("select i.callid, c.name from input i join crm.customers c on i.callid = c.id").await, "CallId|name\n1|Ann\n2|Bob\n2|Bert");
    assert_eq!(
        of("select i.callid, Customers.name from CRM.Customers join input i on i.callid = customers.id").await,
        "CallId|name\n1|Ann\n2|Bob\n2|Bert"
    );
    assert_eq!(
        of("select callid, c.name from input left join crm.customers c on callid = c.id").await,
        "CallId|name\n1|Ann\n2|Bob\n2|Bert\n3|∅\n4|∅"
    );
    assert_eq!(
        of("select callid, c.name from crm.customers c right join input on callid = c.id and c.city = 'Mons'").await,
        "CallId|name\n1|∅\n2|Bob\n2|Bert\n3|∅\n4|∅"
    );
    assert_eq!(
        of("select callid, c.name from input left join crm.customers c on callid = c.id and length(c.name) > rate + 2").await,
        "CallId|name\n1|Ann\n2|Bert\n3|∅\n4|∅"
    );
    assert_eq!(
        of("select callid, c.name from input cross join crm.customers c where callid > c.id and c.name <> 'Bert'").await,
        "CallId|name\n2|Ann\n3|Ann\n3|Bob\n4|Ann\n4|Bob"
    );
}

#[tokio::test]
async fn semi_anti_and_scalar_subqueries() {
    assert_eq!(of("select callid from input where callid in (select id from blocked)").await, "CallId\n3");
    assert_eq!(of("select callid from input where callid not in (select id from blocked)").await, "CallId\n1\n2\n4");
    assert_eq!(of("select callid from input where callid not in (select id from blocked_or_not)").await, "");
    assert_eq!(of("select callid from input where callid not in (select id from nobody)").await, "CallId\n1\n2\n3\n4");
    assert_eq!(of("select callid from input i where exists (select 1 from crm.customers c where c.id = i.callid)").await, "CallId\n1\n2");
    assert_eq!(of("select callid from input i where not exists (select 1 from crm.customers c where c.id = i.callid)").await, "CallId\n3\n4");
    assert_eq!(
        of("select callid, (select count(*) from blocked) as n from input where callid > (select min(id) from blocked)").await,
        "CallId|n\n4|2"
    );
    assert_eq!(
        of("select callid, (select max(c.name) from crm.customers c where c.id = i.callid) as who from input i").await,
        "CallId|who\n1|Ann\n2|Bob\n3|∅\n4|∅"
    );
    assert_eq!(of("select callid from input where callid in (select id from blocked) or rate = 0.5").await, "CallId\n1\n3");
    let e = plan(spec(&[], &[("output", "select callid in (select id from blocked) as odd from input")], false, &crm()), &calls().schema())
        .await
        .err()
        .unwrap();
    assert!(e.message().contains("LEFT JOIN"), "{}", e.message());
}

#[tokio::test]
async fn tables_may_be_aggregated_and_joined_with_each_other() {
    let sql = "select i.callid, c.n, b.id as blocked from input i left join (select id, count(*) as n from crm.customers group by id) c on c.id = i.callid left join blocked b on b.id = i.callid";
    assert_eq!(of(sql).await, "CallId|n|blocked\n1|1|∅\n2|2|∅\n3|∅|3\n4|∅|∅");
    assert_eq!(
        of("with z as (select c.name, b.id from crm.customers c join blocked b on b.id = c.id) select callid, name from input, z where callid = 4")
            .await,
        "CallId|name\n4|Zoe"
    );
}

#[tokio::test]
async fn a_table_is_read_once_and_only_its_columns() {
    let tables = crm();
    let spec = spec(
        &[],
        &[("a", "select callid, rate from input"), ("output", "select a.callid, c.name from a left join crm.customers c on a.callid = c.id")],
        false,
        &tables,
    );
    let p = plan(spec, &calls().schema()).await.unwrap();
    assert_eq!(tables.scans(), 0);
    let mut run = p.start().unwrap();
    for _ in 0..3 {
        assert_eq!(run.push(calls()).await.unwrap().batches[0].num_rows(), 5);
    }
    assert_eq!(push(&p, calls()).await.unwrap().batches[0].num_rows(), 5);
    assert_eq!(tables.scans(), 1);
    assert_eq!(*tables.0[0].columns.lock().unwrap(), [Some(vec!["Id".to_owned(), "name".to_owned()])]);
}

#[tokio::test]
async fn using_and_ambiguous_names() {
    let ids = Tables::default().with("t", vec![batch(vec![("CallId", ints(&[Some(2)])), ("x", text(&["two"]))])]);
    let of = |sql: &str| spec(&[], &[("output", sql)], false, &ids);
    assert_eq!(run(of("select callid, x from input join t using (callid)"), vec![calls()]).await.unwrap(), "CallId|x\n2|two");
    let e = plan(of("select callid from input join t on input.callid = t.callid"), &calls().schema()).await.err().unwrap();
    assert_eq!((e.message(), e.hint_text()), ("`callid` is in several tables: `input.CallId`, `t.CallId`", Some("write `input.CallId`")));
    let e = plan(of("select * from input join t on input.callid = t.callid"), &calls().schema()).await.err().unwrap();
    assert_eq!(e.message(), "two columns are called `CallId`");
}

#[tokio::test]
async fn with_scope_epoch_tables_take_part_in_the_whole() {
    let spec = spec(
        &[],
        &[(
            "output",
            "select c.city, count(*) as n from input i right join crm.customers c on c.id = i.callid group by c.city order by n desc, city",
        )],
        true,
        &crm(),
    );
    assert_eq!(run(spec, vec![calls(), calls()]).await.unwrap(), "city|n\nMons|4\nGhent|2\nAth|1\n∅|1");
}

#[tokio::test]
async fn large_joins_come_in_pieces() {
    let many = Tables::default()
        .with("many", vec![batch(vec![("k", ints(&vec![Some(1); 30_000])), ("v", ints(&(0..30_000).map(Some).collect::<Vec<_>>()))])]);
    let spec = spec(&[], &[("output", "select v from input join many on k = callid")], false, &many);
    let p = plan(spec, &calls().schema()).await.unwrap();
    let done = push(&p, calls()).await.unwrap();
    assert_eq!(done.batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 30_000);
    assert!(done.batches.iter().all(|b| b.num_rows() <= 8192));
}
