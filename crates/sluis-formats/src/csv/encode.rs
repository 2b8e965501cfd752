//! Batches to CSV.
//!
//! Deliberately not here: reading. Guarantees: what is written reads back as the same rows: a null and an empty text are told apart, and a
//! text that looks like null, holds a delimiter, a quote, a line end or blanks at its ends is quoted.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use sluis_core::{Encoder, EncoderFactory, Error, Result};

use super::config::{CsvWrite, Quoting, delimiter, quote};
use crate::cell::Cells;
use crate::compress::{Compression, Compressor};

/// Bytes of plain text that are compressed at once.
const CHUNK: usize = 128 * 1024;

/// Makes CSV encoders.
pub struct CsvFactory {
    style: Arc<Style>,
    header: bool,
    compression: Compression,
}

struct Style {
    delimiter: Vec<u8>,
    quote: Option<u8>,
    always: bool,
    null: Vec<u8>,
    /// For each byte: does it make quotes needed?
    special: [bool; 256],
}

impl CsvFactory {
    /// Checks the options.
    pub fn new(c: &CsvWrite) -> Result<Self> {
        let wrong = |key: &str, e: String| Error::config(format!("csv: {key}: {e}"));
        let delimiter = delimiter(&c.delimiter).map_err(|e| wrong("delimiter", e))?;
        let quote = quote(&c.quote).map_err(|e| wrong("quote", e))?;
        if delimiter.is_empty() {
            return Err(wrong("delimiter", "it is empty: write one or more characters, as in `;` or `tab`".into()));
        }
        if quote.is_some_and(|q| delimiter.contains(&q)) {
            return Err(wrong("quote", "it must differ from the delimiter".into()));
        }
        let mut special = [false; 256];
        special[usize::from(delimiter[0])] = true;
        [b'\n', b'\r'].into_iter().chain(quote).for_each(|b| special[usize::from(b)] = true);
        let style = Style { delimiter, quote, always: c.quoting == Quoting::All, null: c.null.clone().into_bytes(), special };
        Ok(Self { style: Arc::new(style), header: c.header, compression: c.compression })
    }
}

impl EncoderFactory for CsvFactory {
    fn name(&self) -> &'static str {
        "csv"
    }
    fn extension(&self) -> String {
        format!("csv{}", Compressor::ending(self.compression))
    }
    fn encoder(&self, schema: &SchemaRef) -> Result<Box<dyn Encoder>> {
        let mut text = Vec::new();
        if self.header {
            for (i, field) in schema.fields().iter().enumerate() {
                if i > 0 {
                    text.extend_from_slice(&self.style.delimiter);
                }
                self.style.put(field.name().as_bytes(), &mut text)?;
            }
            text.push(b'\n');
        }
        Ok(Box::new(CsvEncoder { style: self.style.clone(), text, compressor: Compressor::new(self.compression)? }))
    }
}

struct CsvEncoder {
    style: Arc<Style>,
    text: Vec<u8>,
    compressor: Compressor,
}

impl Encoder for CsvEncoder {
    fn write(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let columns = batch.columns().iter().map(Cells::new).collect::<Result<Vec<_>>>()?;
        let style = self.style.clone();
        let mut cell = Vec::new();
        for row in 0..batch.num_rows() {
            for (i, column) in columns.iter().enumerate() {
                if i > 0 {
                    self.text.extend_from_slice(&style.delimiter);
                }
                if column.is_null(row) {
                    self.text.extend_from_slice(&style.null);
                } else if let Some(bytes) = column.bytes(row) {
                    style.put(bytes, &mut self.text)?;
                } else if column.is_plain() && !style.always && style.null.is_empty() && style.delimiter != b"." && style.delimiter != b"-" {
                    // Numbers and times hold nothing that needs quotes.
                    column.text(row, &mut self.text);
                } else {
                    cell.clear();
                    column.text(row, &mut cell);
                    style.put(&cell, &mut self.text)?;
                }
            }
            // One empty column would be a blank line, which readers may skip.
            let blank = columns.len() == 1 && matches!(self.text.last(), None | Some(b'\n'));
            if let Some(q) = style.quote.filter(|_| blank) {
                self.text.extend_from_slice(&[q, q]);
            }
            self.text.push(b'\n');
            if self.text.len() >= CHUNK {
                self.compressor.write(&self.text, out)?;
                self.text.clear();
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, out: &mut Vec<u8>) -> Result<()> {
        self.compressor.write(&self.text, out)?;
        self.compressor.finish(out)
    }

    fn buffered_bytes(&self) -> usize {
        self.text.len()
    }
}

impl Style {
    /// A field that is not null.
    fn put(&self, raw: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let hidden = raw.iter().any(|b| self.special[usize::from(*b)]);
        let edges = matches!(raw.first(), Some(b' ' | b'\t')) || matches!(raw.last(), Some(b' ' | b'\t'));
        if !self.always && !hidden && !edges && raw != self.null {
            out.extend_from_slice(raw);
            return Ok(());
        }
        let Some(q) = self.quote else {
            if hidden {
                let mut text = String::new();
                crate::values::push_excerpt(&mut text, raw);
                return Err(Error::config(format!("csv: `{text}` cannot be written without quotes"))
                    .hint("set `quote:` to a character, or choose a delimiter that does not occur"));
            }
            out.extend_from_slice(raw);
            return Ok(());
        };
        out.push(q);
        let mut rest = raw;
        while let Some(n) = memchr::memchr(q, rest) {
            out.extend_from_slice(&rest[..=n]);
            out.push(q);
            rest = &rest[n + 1..];
        }
        out.extend_from_slice(rest);
        out.push(q);
        Ok(())
    }
}
