//! `sluis sql`: queries over tables.

use futures::TryStreamExt;
use sluis_core::ErrorKind;

use super::*;
use crate::query;

fn lake() -> Tables {
    Tables::default()
        .with("telecom.cdrs", vec![calls(), calls()])
        .with("a.b.c.deep", vec![batch(vec![("x", ints(&[Some(1)]))])])
        .with("plain", vec![batch(vec![("id", ints(&[Some(1), Some(2)])), ("name", text(&["one", "two"]))])])
}

async fn of(sql: &str) -> Result<String> {
    let result = query(sql, Arc::new(lake()), 100).await?;
    let batches: Vec<RecordBatch> = result.stream.try_collect().await?;
    assert!(batches.iter().all(|b| b.schema() == result.schema));
    Ok(if batches.is_empty() { table(&[RecordBatch::new_empty(result.schema)]) } else { table(&batches) })
}

#[tokio::test]
async fn selects_over_tables() {
    assert_eq!(of("select count(*) from telecom.cdrs").await.unwrap(), "count(*)\n8");
    assert_eq!(
        of("SELECT CallId, sum(Rate) AS total FROM Telecom.CDRS GROUP BY callid HAVING total > 2 ORDER BY Total DESC").await.unwrap(),
        "CallId|total\n4|8.0\n3|4.0"
    );
    assert_eq!(of("select x from a.b.c.deep").await.unwrap(), "x\n1");
    assert_eq!(
        of("select cdrs.callid, plain.name from telecom.cdrs join plain on plain.id = telecom.cdrs.callid where plain.id = 2 limit 1").await.unwrap(),
        "CallId|name\n2|two"
    );
    assert_eq!(of("select id, rank() over (order by id desc) r from plain order by id").await.unwrap(), "id|r\n1|2\n2|1");
    assert_eq!(of("select 1 + 1 as two").await.unwrap(), "two\n2");
    assert_eq!(of("select id from plain where false").await.unwrap(), "id");
    assert_eq!(of("with recursive n as (select 1 as i union all select i + 1 as i from n where i < 3) select i from n").await.unwrap(), "i\n1\n2\n3");
    assert_eq!(of("select name from plain union select 'three' as name order by name").await.unwrap(), "name\none\nthree\ntwo");
    assert_eq!(of("select now() > timestamp '2020-01-01' as later, random() < 1 as r").await.unwrap(), "later|r\ntrue|true");
}

#[tokio::test]
async fn only_used_columns_are_read() {
    let lake = lake();
    let result = query("select name from plain where id > 1", Arc::new(lake.clone()), 100).await.unwrap();
    let _: Vec<RecordBatch> = result.stream.try_collect().await.unwrap();
    assert_eq!(*lake.0[2].columns.lock().unwrap(), [Some(vec!["id".to_owned(), "name".to_owned()])]);
    let result = query("select count(*) from plain", Arc::new(lake.clone()), 100).await.unwrap();
    let _: Vec<RecordBatch> = result.stream.try_collect().await.unwrap();
    assert_eq!(lake.0[2].columns.lock().unwrap()[1], Some(vec!["id".to_owned()]));
}

#[tokio::test]
async fn listing() {
    assert_eq!(of("show tables").await.unwrap(), "table\na.b.c.deep\nplain\ntelecom.cdrs");
    assert_eq!(of("describe PLAIN;").await.unwrap(), "column|type|nullable\nid|bigint|true\nname|string|true");
    assert!(of("desc telecom.cdrs").await.unwrap().contains("cost|decimal(10,4)|true"));
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let e = of("select * from telecom.cdr").await.unwrap_err();
    assert_eq!(
        (e.kind(), e.message(), e.hint_text()),
        (ErrorKind::NotFound, "there is no table `telecom.cdr`", Some("did you mean `telecom.cdrs`?"))
    );
    let e = of("describe plane").await.unwrap_err();
    assert_eq!((e.kind(), e.hint_text()), (ErrorKind::NotFound, Some("did you mean `plain`?")));
    let e = of("select nam from plain").await.unwrap_err();
    assert_eq!((e.kind(), e.message(), e.hint_text()), (ErrorKind::Config, "unknown column `nam`", Some("did you mean `name`?")));
    for sql in [
        "drop table plain",
        "select 1; select 2",
        "selec 1",
        "insert into plain values (1)",
        "explain select 1",
        "copy plain to 'x'",
        "select * from 'x.csv'",
    ] {
        assert_eq!(of(sql).await.unwrap_err().kind(), ErrorKind::Config, "{sql}");
    }
    let e = of("select 1 / (id - 1) as x from plain").await.unwrap_err();
    assert_eq!((e.kind(), e.message()), (ErrorKind::Data, "the query cannot be computed: division by zero"));
}

#[tokio::test]
async fn batches_are_cut() {
    let result = query("select a.callid from telecom.cdrs a, telecom.cdrs b, telecom.cdrs c", Arc::new(lake()), 100).await.unwrap();
    let batches: Vec<RecordBatch> = result.stream.try_collect().await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 512);
    assert!(batches.iter().all(|b| b.num_rows() <= 100));
}
