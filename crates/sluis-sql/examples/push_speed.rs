//! Prints the cost of planning, of pushes of 100 rows, and rows per second in pushes of 8192: `cargo run --release -p sluis-sql --example push_speed`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use sluis_core::{Result, TableResolver, TableSource};
use sluis_sql::{CheckRule, OnFail, Step, TransformSpec, transform};

/// One table, `names`.
struct Names(RecordBatch);

#[async_trait]
impl TableSource for Names {
    fn schema(&self) -> arrow_schema::SchemaRef {
        self.0.schema()
    }
    async fn scan(&self, columns: Option<&[String]>) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let batch = match columns {
            Some(names) => {
                self.0.project(&names.iter().map(|n| self.0.schema().index_of(n).expect("a column")).collect::<Vec<_>>()).expect("columns")
            }
            None => self.0.clone(),
        };
        Ok(futures::stream::iter([Ok(batch)]).boxed())
    }
}

#[async_trait]
impl TableResolver for Names {
    async fn resolve(&self, path: &[String]) -> Result<Option<Arc<dyn TableSource>>> {
        Ok((path == ["names"]).then(|| Arc::new(Names(self.0.clone())) as Arc<dyn TableSource>))
    }
    async fn names(&self) -> Result<Vec<Vec<String>>> {
        Ok(vec![vec!["names".into()]])
    }
}

fn rows(n: usize) -> RecordBatch {
    let of = |f: fn(usize) -> i64| Arc::new((0..n).map(f).collect::<Int64Array>()) as ArrayRef;
    let text: StringArray = (0..n).map(|i| Some(format!("3247{:06}", i * 7919 % 1_000_000))).collect();
    let cost: Float64Array = (0..n).map(|i| Some(i as f64 * 0.013)).collect();
    let day: StringArray = (0..n).map(|i| Some(format!("2026-03-{:02}", i % 28 + 1))).collect();
    let columns = [
        ("call_id", of(|i| i as i64)),
        ("seconds", of(|i| (i * 31 % 600) as i64)),
        ("msisdn", Arc::new(text)),
        ("cost", Arc::new(cost)),
        ("day", Arc::new(day)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).expect("columns of one length")
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let names = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new((0..50_000).collect::<Int64Array>()) as ArrayRef, true),
        ("name", Arc::new((0..50_000).map(|i| Some(format!("customer {i}"))).collect::<StringArray>()) as ArrayRef, true),
    ])
    .expect("columns of one length");
    let cases: [(&str, &[&str], Option<&str>); 6] = [
        ("three checks", &["seconds >= 0", "msisdn is not null", "cost < 1e9"], None),
        ("select *", &[], Some("select * from input")),
        ("issue's example", &["seconds >= 0"], Some("select *, cast(day as date) as call_day from input")),
        (
            "filter and case",
            &[],
            Some("select call_id, case when seconds > 300 then 'long' else 'short' end as kind, cost * 1.21 as c from input where seconds > 60"),
        ),
        ("text", &[], Some("select upper(msisdn) as m, substr(msisdn, 3) as s, md5(msisdn) as h from input")),
        ("look-up", &[], Some("select i.*, n.name from input i left join names n on n.id = i.call_id")),
    ];
    println!("{:<18} {:>12} {:>14} {:>16}", "", "plan (µs)", "100 rows (µs)", "8192 (rows/s)");
    for (what, checks, sql) in cases {
        let start = Instant::now();
        let spec = TransformSpec {
            checks: checks.iter().map(|that| CheckRule { name: (*that).into(), that: (*that).into(), on_fail: OnFail::Reject }).collect(),
            steps: sql.iter().map(|sql| Step { name: "output".into(), sql: (*sql).into() }).collect(),
            across_rows: false,
            tables: Arc::new(Names(names.clone())),
            batch_rows: 8192,
        };
        let plan = runtime.block_on(transform(spec)?.plan(&rows(1).schema()))?;
        let planned = start.elapsed();
        let mut run = plan.start()?;
        let mut time = |batch: RecordBatch| -> Result<f64> {
            runtime.block_on(async {
                run.push(batch.clone()).await?;
                let (start, mut times) = (Instant::now(), 0u32);
                while start.elapsed() < Duration::from_millis(400) {
                    run.push(batch.clone()).await?;
                    times += 1;
                }
                Ok(start.elapsed().as_secs_f64() / f64::from(times))
            })
        };
        let (small, large) = (time(rows(100))?, time(rows(8192))?);
        println!("{what:<18} {:>12.0} {:>14.1} {:>16.0}", planned.as_secs_f64() * 1e6, small * 1e6, 8192.0 / large);
    }
    Ok(())
}
