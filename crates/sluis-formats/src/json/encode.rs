//! Batches to JSON: lines, or one array.
//!
//! Deliberately not here: cells (`cell.rs`). Guarantees: numbers are written exactly; bytes as hexadecimal text; times in ISO 8601; numbers
//! that JSON does not have (NaN, infinities) as null.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use sluis_core::{Encoder, EncoderFactory, Error, Result};

use super::config::JsonWrite;
use crate::cell::{Cells, json_fields, json_text};
use crate::compress::Compressor;

/// Bytes of plain text that are compressed at once.
const CHUNK: usize = 128 * 1024;

/// Makes JSON encoders.
pub struct JsonFactory(JsonWrite);

impl JsonFactory {
    /// Checks the options.
    pub fn new(config: JsonWrite) -> Result<Self> {
        if config.pretty && config.lines {
            return Err(Error::config("json: `pretty` needs `lines: false`: a document over several lines is no line"));
        }
        Ok(Self(config))
    }
}

impl EncoderFactory for JsonFactory {
    fn name(&self) -> &'static str {
        "json"
    }
    fn extension(&self) -> String {
        format!("{}{}", if self.0.lines { "jsonl" } else { "json" }, Compressor::ending(self.0.compression))
    }
    fn encoder(&self, schema: &SchemaRef) -> Result<Box<dyn Encoder>> {
        let names = schema.fields().iter().map(|f| {
            let mut name = Vec::new();
            json_text(f.name(), &mut name);
            name.push(b':');
            name
        });
        let names = names.collect();
        let text = if self.0.lines { Vec::new() } else { vec![b'['] };
        Ok(Box::new(JsonEncoder { config: self.0.clone(), names, text, any: false, compressor: Compressor::new(self.0.compression)? }))
    }
}

struct JsonEncoder {
    config: JsonWrite,
    names: Vec<Vec<u8>>,
    text: Vec<u8>,
    /// A document has been written.
    any: bool,
    compressor: Compressor,
}

impl Encoder for JsonEncoder {
    fn write(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let fields: Vec<(Vec<u8>, Cells)> =
            self.names.iter().zip(batch.columns()).map(|(n, c)| Ok((n.clone(), Cells::new(c)?))).collect::<Result<_>>()?;
        let mut document = Vec::new();
        for row in 0..batch.num_rows() {
            if !self.config.lines {
                self.text.extend_from_slice(match (self.any, self.config.pretty) {
                    (true, true) => b",\n  ",
                    (true, false) => b",\n",
                    (false, true) => b"\n  ",
                    (false, false) => b"\n",
                });
            }
            self.any = true;
            if self.config.pretty {
                document.clear();
                document.push(b'{');
                json_fields(&fields, row, self.config.nulls, &mut document);
                document.push(b'}');
                indent(&document, 1, &mut self.text);
            } else {
                self.text.push(b'{');
                json_fields(&fields, row, self.config.nulls, &mut self.text);
                self.text.push(b'}');
            }
            if self.config.lines {
                self.text.push(b'\n');
            }
            if self.text.len() >= CHUNK {
                self.compressor.write(&self.text, out)?;
                self.text.clear();
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, out: &mut Vec<u8>) -> Result<()> {
        if !self.config.lines {
            self.text.extend_from_slice(if self.any { b"\n]\n" } else { b"]\n" });
        }
        self.compressor.write(&self.text, out)?;
        self.compressor.finish(out)
    }

    fn buffered_bytes(&self) -> usize {
        self.text.len()
    }
}

/// Compact JSON with line ends and two blanks per level. Numbers and texts pass through as they are.
fn indent(compact: &[u8], level: usize, out: &mut Vec<u8>) {
    let (mut level, mut in_text, mut escaped) = (level, false, false);
    let new_line = |level: usize, out: &mut Vec<u8>| {
        out.push(b'\n');
        out.resize(out.len() + level * 2, b' ');
    };
    for (i, &b) in compact.iter().enumerate() {
        if in_text {
            out.push(b);
            in_text = escaped || b != b'"';
            escaped = !escaped && b == b'\\';
            continue;
        }
        match b {
            b'{' | b'[' => {
                out.push(b);
                if !matches!(compact.get(i + 1), Some(b'}' | b']')) {
                    level += 1;
                    new_line(level, out);
                }
            }
            b'}' | b']' => {
                if !matches!(compact[i - 1], b'{' | b'[') {
                    level -= 1;
                    new_line(level, out);
                }
                out.push(b);
            }
            b',' => {
                out.push(b);
                new_line(level, out);
            }
            b':' => out.extend_from_slice(b": "),
            _ => {
                in_text = b == b'"';
                out.push(b);
            }
        }
    }
}
