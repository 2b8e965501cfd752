//! Checks: which rows fail, and what becomes of them.

use sluis_core::ErrorKind;

use super::*;

fn rules(checks: &[(&str, &str, OnFail)]) -> TransformSpec {
    spec(checks, &[], false, &Tables::default())
}

async fn failures(checks: &[(&str, &str, OnFail)]) -> Vec<(usize, String)> {
    let plan = plan(rules(checks), &calls().schema()).await.unwrap();
    let done = push(&plan, calls()).await.unwrap();
    let kept: usize = done.batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(kept + done.failures.len(), 4);
    done.failures.into_iter().map(|f| (f.row, f.message)).collect()
}

#[tokio::test]
async fn false_fails_and_null_passes() {
    let found = failures(&[("non_negative", "seconds >= 0", OnFail::Reject)]).await;
    assert_eq!(found, [(1, "check `non_negative` failed: seconds >= 0 (seconds = -5)".to_owned())]);
}

#[tokio::test]
async fn the_first_failing_check_decides() {
    let found = failures(&[("long", "callid <> 2\n  or seconds > 0", OnFail::Reject), ("b", "seconds >= 0 and callid < 4", OnFail::Reject)]).await;
    let messages: Vec<&str> = found.iter().map(|(_, m)| m.as_str()).collect();
    assert_eq!(
        messages,
        [
            "check `long` failed: callid <> 2 or seconds > 0 (CallId = 2, seconds = -5)",
            "check `b` failed: seconds >= 0 and callid < 4 (CallId = 4, seconds = null)"
        ]
    );
    assert_eq!(found.iter().map(|f| f.0).collect::<Vec<_>>(), [1, 3]);
}

#[tokio::test]
async fn nothing_fails_and_the_batch_is_the_same() {
    let plan = plan(rules(&[("ok", "callid > 0", OnFail::Reject)]), &calls().schema()).await.unwrap();
    assert!(plan.row_wise() && plan.keeps_rows());
    let done = push(&plan, calls()).await.unwrap();
    assert!(done.failures.is_empty());
    assert_eq!(done.batches, [calls()]);
}

#[tokio::test]
async fn warnings_are_counted_and_rows_stay() {
    let checks = [
        ("neg", "seconds >= 0", OnFail::Reject),
        ("named", "msisdn is not null", OnFail::Warn),
        ("id", "callid <> 3", OnFail::Reject),
        ("again", "callid < 3", OnFail::Warn),
    ];
    let transform = transform(rules(&checks)).unwrap();
    assert!(transform.may_reject() && !transform.across_rows());
    let done = push(&transform.plan(&calls().schema()).await.unwrap(), calls()).await.unwrap();
    assert_eq!(done.warnings, [("named".into(), 1), ("again".into(), 1)]);
    assert_eq!(done.failures.iter().map(|f| (f.row, f.check.as_ref())).collect::<Vec<_>>(), [(1, "neg"), (2, "id")]);
    assert_eq!(table(&done.batches).lines().count(), 3);
}

#[tokio::test]
async fn fail_stops_with_the_row() {
    let plan = plan(rules(&[("small", "seconds < 60", OnFail::Fail)]), &calls().schema()).await.unwrap();
    let e = push(&plan, calls()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Data);
    assert_eq!(e.message(), "check `small` failed: seconds < 60 (seconds = 60); row 1 of the batch");
    // A row that an earlier check rejected fails nothing.
    let both = [("first", "seconds < 60", OnFail::Reject), ("small", "seconds < 60", OnFail::Fail)];
    let plan = super::plan(rules(&both), &calls().schema()).await.unwrap();
    assert_eq!(push(&plan, calls()).await.unwrap().failures.len(), 1);
}

#[tokio::test]
async fn rows_that_cannot_be_computed_fail_and_no_others() {
    let found = failures(&[("ratio", "100 / seconds > 1", OnFail::Reject)]).await;
    assert_eq!(
        found,
        [
            (0, "check `ratio` failed: 100 / seconds > 1 (seconds = 60)".to_owned()),
            (1, "check `ratio` failed: 100 / seconds > 1 (seconds = -5)".to_owned()),
            (2, "check `ratio` cannot be computed: 100 / seconds > 1 (seconds = 0): division by zero".to_owned()),
        ]
    );
    // A guard in the condition, or an earlier check, spares the row.
    assert!(failures(&[("guarded", "seconds = 0 or 100 / seconds <> 0", OnFail::Reject)]).await.is_empty());
    let found = failures(&[("zero", "seconds <> 0", OnFail::Reject), ("ratio", "100 / seconds <> 0", OnFail::Reject)]).await;
    assert_eq!(found.len(), 1);
    let found = failures(&[("number", "cast(profile.name as int) > 0", OnFail::Reject)]).await;
    assert_eq!(found.len(), 3);
    assert!(found[0].1.contains("cannot be computed") && found[0].1.contains("Ann"), "{}", found[0].1);
}

#[tokio::test]
async fn overflow_is_not_another_number() {
    let big = batch(vec![("n", ints(&[Some(1), Some(i64::MAX)]))]);
    let plan = plan(rules(&[("next", "n + 1 > n", OnFail::Reject)]), &big.schema()).await.unwrap();
    let done = push(&plan, big).await.unwrap();
    assert_eq!(done.failures.len(), 1);
    assert!(done.failures[0].message.contains("out of range"), "{}", done.failures[0].message);
}

#[tokio::test]
async fn long_values_are_cut() {
    let wide = batch(vec![("s", text(&[&"x".repeat(5000)]))]);
    let plan = plan(rules(&[("short", "length(s) < 10", OnFail::Reject)]), &wide.schema()).await.unwrap();
    let done = push(&plan, wide).await.unwrap();
    assert!(done.failures[0].message.len() < 200, "{}", done.failures[0].message);
}

#[tokio::test]
async fn a_batch_of_no_rows_gives_nothing() {
    let plan = plan(rules(&[("a", "false", OnFail::Fail)]), &calls().schema()).await.unwrap();
    let done = push(&plan, calls().slice(0, 0)).await.unwrap();
    assert!(done.batches.is_empty() && done.failures.is_empty());
}

#[tokio::test]
async fn many_rows_at_fault_are_all_found() {
    let n = 5000;
    let b = batch(vec![("n", ints(&(0..n).map(|i| Some(i % 7)).collect::<Vec<_>>()))]);
    let plan = plan(rules(&[("d", "10 / n < 10", OnFail::Reject)]), &b.schema()).await.unwrap();
    let done = push(&plan, b).await.unwrap();
    // Zeros cannot be computed, ones are false.
    assert_eq!(done.failures.len() as i64, (0..n).filter(|i| i % 7 < 2).count() as i64);
    assert!(done.failures.windows(2).all(|w| w[0].row < w[1].row));
    let computed = done.failures.iter().filter(|f| f.message.contains("cannot be computed")).count();
    assert_eq!(computed, (0..n).filter(|i| i % 7 == 0).count());
}
