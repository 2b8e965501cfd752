//! Selects, row by row.

use sluis_core::ErrorKind;

use super::*;

async fn of(sql: &str) -> String {
    run(select(sql), vec![calls()]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"))
}

async fn fails(sql: &str) -> Error {
    run(select(sql), vec![calls()]).await.unwrap_err()
}

#[tokio::test]
async fn names_match_whatever_their_case() {
    assert_eq!(of("select CALLID, Input.MsIsDn from INPUT where callid < 3").await, "CallId|msisdn\n1|3247\n2|3248");
    assert_eq!(of("select \"CallId\" as Id, x.SECONDS from input as X where X.callid = 1").await, "Id|seconds\n1|60");
    assert_eq!(of("select * exclude (CALLID, profile, tags, rate, cost) from input where callid = 3").await, "msisdn|seconds\n∅|0");
}

#[tokio::test]
async fn expressions_are_named_by_their_text() {
    assert_eq!(
        of("select seconds * 2, upper(profile.name), cast(callid as string) as s from input where callid = 1").await,
        "seconds * 2|upper(profile.name)|s\n120|ANN|1"
    );
}

#[tokio::test]
async fn nested_values() {
    assert_eq!(
        of("select profile.name, Profile.Phones[1].number as first, input.profile.phones[2].NUMBER from input").await,
        "Name|first|Number\nAnn|111|112\nBob|∅|∅\nCis|333|∅\n∅|∅|∅"
    );
    let shaped =
        of("select {id: callid, who: profile.name} as o, [callid, 0] as l, named_struct('a', msisdn) as n from input where callid = 1").await;
    assert_eq!(shaped, "o|l|n\n{id: 1, who: Ann}|[1, 0]|{a: 3247}");
    assert_eq!(of("select callid, unnest(tags) as tag from input").await, "CallId|tag\n1|1\n1|2\n2|3\n4|4\n4|5\n4|6");
    assert_eq!(of("select array_to_string(tags, ',') as t, array_length(tags) as n from input where callid = 4").await, "t|n\n4,5,6|3");
    let e = fails("select profile.nam from input").await;
    assert_eq!((e.message(), e.hint_text()), ("unknown field `nam`", Some("did you mean `Name`?")));
}

#[tokio::test]
async fn steps_see_earlier_ones() {
    let steps = [
        ("clean", "select callid as id, seconds, rate from input where seconds > -100"),
        ("shaped", "select id, seconds * 2 as s from Clean where rate < 4"),
        ("out", "select s, ID from shaped where S > 0"),
    ];
    let spec = spec(&[], &steps, false, &Tables::default());
    assert_eq!(run(spec, vec![calls()]).await.unwrap(), "s|id\n120|1");
}

#[tokio::test]
async fn subqueries_and_ctes_over_one_row() {
    assert_eq!(
        of("with a as (select callid as i, rate from input), b as (select i + 1 as j from a where rate < 2) select J from b where j > 2").await,
        "j\n3"
    );
    assert_eq!(of("select q.i from (select callid as i from input where rate > 1) q where i = 4").await, "i\n4");
}

#[tokio::test]
async fn case_and_functions() {
    let sql = "select callid, case when seconds is null then 'none' when seconds = 0 then 'zero' else cast(100 / seconds as string) end as r, coalesce(msisdn, '-') m, regexp_replace(msisdn, '^32', '0') x from input";
    assert_eq!(of(sql).await, "CallId|r|m|x\n1|1|3247|047\n2|-20|3248|048\n3|zero|-|∅\n4|none|3250|050");
}

#[tokio::test]
async fn types_are_those_that_targets_take() {
    let sql = "select msisdn, cast(callid as varchar) a, arrow_cast(msisdn, 'Utf8View') b, arrow_cast(msisdn, 'Dictionary(Int32, Utf8)') c, null as n, array_length(tags) l, \
               to_timestamp(seconds) t, cost, cost * 2 as d, 'x' as k, md5(msisdn) h from input";
    let p = plan(select(sql), &calls().schema()).await.unwrap();
    let types: Vec<String> = p
        .output_schema()
        .fields()
        .iter()
        .map(|f| format!("{} {}{}", f.name(), f.data_type(), if f.is_nullable() { "" } else { " required" }))
        .collect();
    assert_eq!(
        types,
        [
            "msisdn Utf8",
            "a Utf8",
            "b Utf8",
            "c Utf8",
            "n Utf8",
            "l Int64",
            "t Timestamp(µs)",
            "cost Decimal128(10, 4)",
            "d Decimal128(31, 4)",
            "k Utf8",
            "h Utf8"
        ]
    );
    assert!(p.keeps_rows());
    let done = push(&p, calls()).await.unwrap();
    assert_eq!(done.batches[0].schema(), p.output_schema());
}

#[tokio::test]
async fn a_required_column_stays_required() {
    let schema = Arc::new(arrow_schema::Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let p = plan(select("select id, id + 1 as next from input where id > 0"), &schema).await.unwrap();
    assert_eq!(p.output_schema().fields().iter().map(|f| f.is_nullable()).collect::<Vec<_>>(), [false, true]);
    assert!(!p.keeps_rows() && p.row_wise());
}

#[tokio::test]
async fn values_that_cannot_be_computed_name_step_and_row() {
    let steps = [("first", "select callid, 100 / seconds as r from input where callid <> 9"), ("second", "select r + 1 as s from first")];
    let e = run(spec(&[], &steps, false, &Tables::default()), vec![calls()]).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Data);
    assert_eq!(e.message(), "select `first` cannot be computed in row 3 of the batch (CallId = 3, seconds = 0): division by zero");
    assert!(e.hint_text().unwrap().contains("nullif"));
    let e = fails("select cast(profile.name as int) as n from input").await;
    assert!(e.message().contains("row 1") && e.message().contains("'Ann' to value of int type"), "{}", e.message());
    let big = batch(vec![("n", ints(&[Some(1), Some(i64::MAX)]))]);
    let e = run(select("select n + 1 as m from input"), vec![big]).await.unwrap_err();
    assert_eq!(
        e.message(),
        "select `output` cannot be computed in row 2 of the batch (n = 9223372036854775807): the result is out of range (9223372036854775807 + 1)"
    );
    assert_eq!(of("select try_cast(profile.name as int) as n, 100 / nullif(seconds, 0) as r from input where callid = 3").await, "n|r\n∅|∅");
}

#[tokio::test]
async fn a_condition_that_is_never_true_gives_no_rows() {
    assert_eq!(of("select callid from input where 1 = 2").await, "");
    assert_eq!(of("select callid from input where false").await, "");
}

#[tokio::test]
async fn rows_of_a_push_are_its_own_and_in_order() {
    let p = plan(select("select callid from input where callid <> 2"), &calls().schema()).await.unwrap();
    let (mut a, mut b) = (p.start().unwrap(), p.start().unwrap());
    let (x, y) = (a.push(calls()).await.unwrap(), b.push(calls().slice(2, 2)).await.unwrap());
    assert_eq!((table(&x.batches), table(&y.batches)), ("CallId\n1\n3\n4".into(), "CallId\n3\n4".into()));
    assert!(a.finish().await.unwrap().is_empty() && b.finish().await.unwrap().is_empty());
}

#[tokio::test]
async fn checks_come_before_the_select() {
    let spec = spec(&[("ok", "seconds <> 0", OnFail::Reject)], &[("output", "select 100 / seconds as r from input")], false, &Tables::default());
    let p = plan(spec, &calls().schema()).await.unwrap();
    let done = push(&p, calls()).await.unwrap();
    assert_eq!(table(&done.batches), "r\n1\n-20\n∅");
    assert_eq!(done.failures.len(), 1);
}

#[tokio::test]
async fn counting_columns_by_hand_is_not_needed() {
    assert_eq!(of("select * exclude (profile, tags) replace (rate * 2 as RATE) from input where callid = 1").await.lines().count(), 2);
    assert_eq!(
        of("select i.* exclude (profile, tags, cost, rate), 'x' as site from input i where CALLID = 2").await,
        "CallId|msisdn|seconds|site\n2|3248|-5|x"
    );
}

#[tokio::test]
async fn long_chains_and_deep_nesting_fit_the_stack() {
    let chain: Vec<String> = (0..1000).map(|i| format!("callid = {i} and rate <> {i}")).collect();
    assert_eq!(of(&format!("select callid from input where {}", chain.join(" or "))).await.lines().count(), 4);
    let sum = vec!["rate"; 1000].join(" + ");
    assert_eq!(of(&format!("select {sum} as s from input where callid = 2")).await, "s\n1000.0");
    let nested = format!("{}rate{}", "abs(".repeat(25), ")".repeat(25));
    assert_eq!(of(&format!("select {nested} as s from input where callid = 2")).await, "s\n1.0");
}
