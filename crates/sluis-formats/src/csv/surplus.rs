//! What a record holds beyond its last column, as JSON (`ragged: rescue`).
//!
//! Deliberately not here: which records have any. Guarantees: pure; a field is named as a column without a name would be at its place
//! (`c4`), unless a column is called so; what one record keeps is bounded.

use std::collections::HashSet;

use arrow_schema::Schema;
use sluis_core::Surplus;

use super::column::unquoted;
use super::decode::unescape;
use super::layout::Layout;
use crate::cell::json_text;

/// Fields that one record may have beyond its columns, at most, and their bytes.
const MOST: usize = 10_000;
const BYTES: usize = 1 << 20;

/// The fields of the record at hand that are beyond its columns.
#[derive(Default)]
pub struct Beyond {
    /// Number of the field in its record, from 0; where it stands in the block.
    fields: Vec<(usize, usize, usize)>,
    bytes: usize,
}

impl Beyond {
    /// Another one.
    #[cold]
    pub fn add(&mut self, number: usize, start: usize, end: usize) {
        self.bytes += end - start;
        if self.fields.len() <= MOST {
            self.fields.push((number, start, end));
        }
    }

    pub fn clear(&mut self) {
        self.fields.clear();
        self.bytes = 0;
    }

    /// Whether they are more than a row may keep.
    pub fn too_much(&self) -> bool {
        self.fields.len() > MOST || self.bytes > BYTES
    }

    /// What is kept of them for a row; `None`: they have no value.
    pub fn kept(&self, row: usize, block: &[u8], layout: &Layout) -> Option<Surplus> {
        let dialect = &*layout.dialect;
        let (mut members, mut fields, mut text) = (Vec::new(), 0, Vec::new());
        for &(number, start, end) in &self.fields {
            let raw = &block[start..end];
            let inner = unquoted(raw, dialect);
            text.clear();
            unescape(inner, dialect, inner.len() < raw.len(), &mut text);
            if text.is_empty() || layout.nulls.is_word(raw) {
                continue;
            }
            members.extend_from_slice(if fields == 0 { b"" } else { b", " });
            json_text(&name(number, layout), &mut members);
            members.extend_from_slice(b": ");
            json_text(&String::from_utf8_lossy(&text), &mut members);
            fields += 1;
        }
        (fields > 0).then(|| Surplus { row, members: String::from_utf8_lossy(&members).into_owned(), fields })
    }
}

fn name(number: usize, layout: &Layout) -> String {
    let plain = format!("c{}", number + 1);
    if !layout.numbered.contains(&number) {
        return plain;
    }
    let free = |name: &String| layout.schema.field_with_name(name).is_err();
    (2_usize..).map(|n| format!("{plain}_{n}")).find(free).unwrap_or(plain)
}

/// The numbers, from 0, of the fields whose own names columns have: those that are called `c1`, `c2` …
pub fn numbered(schema: &Schema) -> HashSet<usize> {
    schema.fields().iter().filter_map(|f| f.name().strip_prefix('c')?.parse::<usize>().ok()?.checked_sub(1)).collect()
}
