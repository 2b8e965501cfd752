//! Rows as an aligned table, for people.
//!
//! Deliberately not here: rows for programs (`sluis_formats`). Everything added is held, to know the widths.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use sluis_core::{Error, Result};
use sluis_formats::cell::Cells;

use crate::print;

/// A table that grows.
pub struct Drawn {
    table: Table,
    schema: SchemaRef,
    /// Characters of a cell, at most; then it stands on one line, too.
    cut: Option<usize>,
}

impl Drawn {
    pub fn new(schema: &SchemaRef, cut: Option<usize>) -> Drawn {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
        let shown = |name: &str| cut.map_or_else(|| name.to_owned(), |most| print::short(name, most));
        table.set_header(schema.fields().iter().map(|f| shown(f.name())));
        Drawn { table, schema: schema.clone(), cut }
    }

    /// Adds rows; the batch has the table's columns.
    ///
    /// # Errors
    /// A type that pipelines cannot hold.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let cut = self.cut;
        for row in text_rows(batch)? {
            let cell = |text: Option<String>| {
                let text = text.unwrap_or_default();
                cut.map_or_else(|| text.clone(), |most| print::short(&text, most))
            };
            self.table.add_row(row.into_iter().map(cell));
        }
        Ok(())
    }

    /// The table, without a line end at its end.
    pub fn text(mut self) -> String {
        for (i, field) in self.schema.fields().iter().enumerate() {
            if let Some(column) = self.table.column_mut(i).filter(|_| field.data_type().is_numeric()) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self.table.to_string()
    }
}

/// A batch's rows as text; `None` is null.
///
/// # Errors
/// A type that pipelines cannot hold.
pub fn text_rows(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>> {
    let columns = batch.columns().iter().map(Cells::new).collect::<Result<Vec<_>, Error>>()?;
    let text = |cells: &Cells, row: usize| {
        (!cells.is_null(row)).then(|| {
            let mut out = Vec::new();
            cells.text(row, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        })
    };
    Ok((0..batch.num_rows()).map(|row| columns.iter().map(|c| text(c, row)).collect()).collect())
}
