//! How a pipeline's files changed: which file brought which column or type, and when; which values were discarded or rescued.
//!
//! It stands in the `staged` records. Of epochs that did not record it (an older sluis wrote them) their schemas tell, without files.
//! Deliberately not here: finding it out (`pin`), printing. Guarantee: one record's body is in memory at a time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluis_core::columns::{schema_from_json, type_name};
use sluis_core::{Change, Drift, Epoch, FileVersion, LaneId, PipelineName, Result};

use super::SqliteLedger;
use super::failure::{Fault, Step};
use super::records::{self, read_time};

/// One difference, and where it stands in the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchemaEntry {
    pub at: DateTime<Utc>,
    pub lane: LaneId,
    pub epoch: Epoch,
    /// The file that brought it; `None`: it is of no one file, or was not recorded.
    pub file: Option<FileVersion>,
    pub column: String,
    #[serde(flatten)]
    pub change: SchemaChange,
}

/// What the difference is: as it was recorded, or the end of one that went on over epochs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum SchemaChange {
    Recorded(Change),
    /// All files have the column again. Says `"change": "back"`.
    Back {
        change: &'static str,
    },
}

/// What is read of a `staged` record.
#[derive(Deserialize)]
struct Body {
    drift: Option<Vec<Drift>>,
}

impl SqliteLedger {
    /// How the files of a pipeline changed, oldest first, at most the newest `limit` entries. A column that files lack over several epochs is
    /// one entry, at its first.
    ///
    /// # Errors
    /// `ErrorKind::Ledger`.
    pub fn schema_history(&self, pipeline: &PipelineName, limit: usize) -> Result<Vec<SchemaEntry>> {
        self.file.read(|c| history(c, pipeline, limit))
    }
}

fn history(c: &Connection, pipeline: &PipelineName, limit: usize) -> Step<Vec<SchemaEntry>> {
    let mut statement = c.prepare_cached(
        "select l.name, r.epoch, r.at, r.schema, r.body from record r join lane l on l.id = r.lane join pipeline p on p.id = l.pipeline
         where p.name = ?1 and r.kind = ?2 order by r.id",
    )?;
    let mut rows = statement.query(params![pipeline.as_str(), records::STAGED])?;
    let mut all: std::collections::VecDeque<SchemaEntry> = std::collections::VecDeque::new();
    let mut missing: BTreeSet<String> = BTreeSet::new();
    let mut last: Option<i64> = None;
    while let Some(row) = rows.next()? {
        let lane = LaneId { pipeline: pipeline.clone(), lane: row.get(0)? };
        let epoch = Epoch(row.get::<_, i64>(1)? as u64);
        let at = read_time(row.get_ref(2)?)?.ok_or_else(|| Fault::Damaged("a record has no time".into()))?;
        let schema: Option<i64> = row.get(3)?;
        let body = row.get_ref(4)?.as_blob().map_err(|e| Fault::Damaged(format!("a record is no blob: {e}")))?;
        let Body { drift } = records::unpack(body)?;
        let drift = match drift {
            Some(drift) => drift,
            None if schema != last && schema.is_some() => between(c, last, schema)?,
            None => Vec::new(),
        };
        last = schema.or(last);
        let entry = |file, column, change| SchemaEntry { at, lane: lane.clone(), epoch, file, column, change };
        let lacking: BTreeSet<String> = drift.iter().filter(|d| matches!(d.change, Change::Missing { .. })).map(|d| d.column.clone()).collect();
        let back = missing.difference(&lacking).map(|column| entry(None, column.clone(), SchemaChange::Back { change: "back" }));
        let new = drift.into_iter().filter(|d| !(matches!(d.change, Change::Missing { .. }) && missing.contains(&d.column)));
        all.extend(back.chain(new.map(|d| entry(d.file, d.column, SchemaChange::Recorded(d.change)))));
        missing = lacking;
        while all.len() > limit {
            all.pop_front();
        }
    }
    Ok(all.into())
}

/// What a later schema has beyond an earlier one.
fn between(c: &Connection, before: Option<i64>, now: Option<i64>) -> Step<Vec<Drift>> {
    let types = |id: Option<i64>| -> Step<Vec<(String, String)>> {
        let Some(id) = id else { return Ok(Vec::new()) };
        let json: Value = records::schema(c, id)?;
        // What an older program wrote and this one cannot read says nothing.
        let schema = schema_from_json(&json).ok();
        Ok(schema.iter().flat_map(|s| s.fields()).map(|f| (f.name().clone(), type_name(f.data_type()))).collect())
    };
    let before: BTreeMap<String, String> = types(before)?.into_iter().collect();
    let drift = |(column, data_type): (String, String)| {
        let change = match before.get(&column) {
            None => Change::Added { data_type },
            Some(from) if *from != data_type => Change::Retyped { from: from.clone(), to: data_type },
            Some(_) => return None,
        };
        Some(Drift { file: None, column, change })
    };
    Ok(types(now)?.into_iter().filter_map(drift).collect())
}
