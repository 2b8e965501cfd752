//! What happened in the metastore, and telling it what happened outside.

use crate::client::Repeat;
use crate::fields::Field;
use crate::wire::{Struct, Value};
use crate::{Client, Error, Event, Result};

/// Files that were written into a table or a partition by somebody else than Hive.
#[derive(Debug, Clone, Default)]
pub struct Insert {
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// The partition's values; none for a table without partitions.
    pub partition: Vec<String>,
    /// Whether the files replace those that were there.
    pub replace: bool,
    /// URLs of files.
    pub files: Vec<String>,
}

impl Client {
    /// The number of the last event. 0 where no listener writes them down (`DbNotificationListener`).
    ///
    /// # Errors
    /// As every call.
    pub async fn current_event(&self) -> Result<i64> {
        let mut answer: Struct = self.get("get_current_notificationEventId", Struct::default(), &[], Repeat::Safe).await?;
        match answer.take(1) {
            Some(Value::I64(id)) => Ok(id),
            _ => Err(Error::protocol("the answer to get_current_notificationEventId has no number")),
        }
    }

    /// Events after one's number, in order, up to `most`.
    ///
    /// # Errors
    /// [`crate::Kind::Meta`] or [`crate::Kind::Internal`] if this user may not read them (`hive.metastore.event.db.notification.api.auth`), and as every call.
    pub async fn events_after(&self, last: i64, most: i32) -> Result<Vec<Event>> {
        let request = Struct::default().with(1, Struct::default().with(1, last).with(2, most));
        let mut answer: Struct = self.get("get_next_notification", request, &[], Repeat::Safe).await?;
        Ok(answer.take(1).map(Vec::<Event>::of).transpose()?.flatten().unwrap_or_default())
    }

    /// Tells that files were inserted, so that whoever follows the events (Impala) reads them.
    ///
    /// # Errors
    /// If the table or partition is not there, and as every call.
    pub async fn fire_insert(&self, insert: &Insert) -> Result<()> {
        // One checksum a file, though empty: 3.1's listener reads as many as there are files.
        let checksums = vec![String::new(); insert.files.len()];
        let data = Struct::default().with(1, insert.replace).with(2, insert.files.as_slice()).with(3, checksums.as_slice());
        let request =
            Struct::default().with(1, true).with(2, Struct::default().with(1, data)).with(3, insert.database.as_str()).with(4, insert.table.as_str());
        let values = (!insert.partition.is_empty()).then_some(insert.partition.as_slice());
        let request = Struct::default().with(1, request.with_some(5, values));
        // Once more does no harm: who follows the events reads the files once more.
        self.call("fire_listener_event", request, &[], Repeat::Safe).await.map(drop)
    }
}
