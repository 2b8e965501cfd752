//! Blocks to batches: rows of binary values into columns.
//!
//! Deliberately not here: the container, pinned types (`pinned.rs`). Guarantees: bytes that are no row end the file as damage; a row whose
//! value no column can hold (text that is no UTF-8, a decimal of too many digits, a moment out of range) is rejected with its row as JSON,
//! and no other; what is held is bounded by four million values and one row of [`ROW_CELLS`] values.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use arrow_select::filter::filter_record_batch;
use sluis_core::reject::RAW_LIMIT;
use sluis_core::{Decoded, Error, ErrorKind, ReadOptions, Reject, RejectReason, Result, Unpacking};

use super::config::Codec;
use super::container::{Block, Header, damaged, unpack};
use super::cursor::{Cursor, Lost};
use super::render::render;
use super::schema::{Plan, UnionType, Unit};
use crate::grow::Values;
use crate::pinned::fit;
use crate::tree::{Node, Shape};
use crate::values::{BoolWords, Kind};

/// Values and bytes of a batch, about.
const BATCH_CELLS: usize = 4 << 20;
const BATCH_BYTES: usize = 32 << 20;
/// Values of one row, at most, counted with those of a null that has fields.
pub const ROW_CELLS: usize = 16 << 20;
/// How deep values may be nested.
pub const DEPTH: usize = 256;

/// Blocks that follow one another.
pub struct Piece {
    pub header: Arc<Header>,
    pub blocks: Vec<Block>,
    /// Rows of the file before them.
    pub before: u64,
}

/// What blocks may unpack to: each, and all together.
pub struct Limits {
    pub max_block: usize,
    pub unpacking: Arc<Unpacking>,
}

/// Decodes a piece into `to`, batch by batch, until it ends or nobody listens.
///
/// # Errors
/// `CorruptInput` with the place.
pub fn decode(piece: Piece, limits: &Limits, options: &ReadOptions, to: &mut dyn FnMut(Decoded) -> bool) -> Result<()> {
    let header = &piece.header;
    let mut rows = Rows::new(header, options, piece.before);
    for block in &piece.blocks {
        let plain = unpack(block, header.codec, limits.max_block)?;
        if header.codec != Codec::Null {
            limits.unpacking.take(plain.len() as u64, 0)?;
        }
        let mut cursor = Cursor::new(&plain);
        for n in 0..block.rows {
            rows.take(&mut cursor, &plain).map_err(|what| damaged(block.at, format!("row {} of its block: {what}", n + 1)))?;
            if rows.is_full() && !to(rows.batch()?) {
                return Ok(());
            }
        }
        if cursor.at() < plain.len() {
            return Err(damaged(block.at, format!("{} bytes follow the last row of a block", plain.len() - cursor.at())));
        }
    }
    if rows.count > 0 {
        to(rows.batch()?);
    }
    Ok(())
}

/// Rows in the making.
struct Rows<'a> {
    header: &'a Header,
    options: &'a ReadOptions,
    schema: SchemaRef,
    nodes: Vec<Node>,
    count: usize,
    cells: usize,
    /// Bytes read for them.
    bytes: usize,
    /// Rows of the file so far.
    before: u64,
    /// Rows of the batch that are bad.
    bad: Vec<usize>,
    rejects: Vec<Reject>,
}

/// What a row has cost, and what is wrong with it.
pub struct Context<'a> {
    pub header: &'a Header,
    pub cells: usize,
    bad: Option<(RejectReason, String)>,
}

impl<'a> Context<'a> {
    fn new(header: &'a Header) -> Self {
        Self { header, cells: 0, bad: None }
    }

    /// Counts values; too many are damage.
    #[inline(always)]
    pub fn count(&mut self, cells: usize) -> Result<(), Lost> {
        self.cells += cells;
        if self.cells > ROW_CELLS { Err("it has more than 16 million values") } else { Ok(()) }
    }

    #[cold]
    fn complain(&mut self, reason: RejectReason, message: impl FnOnce() -> String) {
        self.bad.get_or_insert_with(|| (reason, message()));
    }
}

impl<'a> Rows<'a> {
    fn new(header: &'a Header, options: &'a ReadOptions, before: u64) -> Self {
        let schema = header.schema.schema();
        Self { header, options, nodes: nodes(&schema), schema, count: 0, cells: 0, bytes: 0, before, bad: Vec::new(), rejects: Vec::new() }
    }

    /// Takes a row.
    fn take(&mut self, cursor: &mut Cursor<'_>, block: &[u8]) -> Result<(), Lost> {
        let start = cursor.at();
        let mut context = Context::new(self.header);
        context.count(1)?;
        for ((name, plan), node) in self.header.schema.columns.iter().zip(&mut self.nodes) {
            let clean = context.bad.is_none();
            take(plan, node, cursor, &mut context, 0)?;
            if clean && let Some((reason, message)) = &context.bad {
                self.bad.push(self.count);
                let line = self.before + self.count as u64 + 1;
                self.rejects.push(Reject {
                    reason: *reason,
                    line,
                    column: Some(name.as_str().into()),
                    message: message.clone(),
                    raw: Default::default(),
                });
            }
        }
        if context.bad.is_some()
            && let Some(reject) = self.rejects.last_mut()
        {
            let mut raw = Vec::new();
            let plan = Plan::Record(self.header.schema.columns.clone());
            // It has been read once: nothing can go wrong but its size.
            let _ = render(&plan, &mut Cursor::new(&block[start..cursor.at()]), &mut Context::new(self.header), true, 0, &mut raw);
            raw.truncate(RAW_LIMIT);
            reject.raw = raw.into();
        }
        self.count += 1;
        self.cells += context.cells;
        self.bytes += cursor.at() - start;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.count >= self.options.batch_rows.max(1) || self.cells >= BATCH_CELLS || self.bytes >= BATCH_BYTES
    }

    /// What has been taken, as a batch of the pinned types.
    fn batch(&mut self) -> Result<Decoded> {
        let nodes = std::mem::replace(&mut self.nodes, nodes(&self.schema));
        let arrays = nodes.into_iter().map(Node::finish).collect::<Result<Vec<_>>>()?;
        let with_rows = RecordBatchOptions::new().with_row_count(Some(self.count));
        let mut batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &with_rows)
            .map_err(|e| Error::internal("decoded columns do not fit their schema").source(e))?;
        let mut lines: Vec<u64> = (1..=self.count as u64).map(|n| self.before + n).collect();
        if !self.bad.is_empty() {
            let mut keep = vec![true; self.count];
            self.bad.iter().for_each(|row| keep[*row] = false);
            let mut kept = keep.iter();
            lines.retain(|_| kept.next() == Some(&true));
            batch =
                filter_record_batch(&batch, &BooleanArray::from(keep)).map_err(|e| Error::internal("rejected rows cannot be taken out").source(e))?;
        }
        self.before += self.count as u64;
        (self.count, self.cells, self.bytes) = (0, 0, 0);
        self.bad.clear();
        fit(&batch, lines, std::mem::take(&mut self.rejects), self.options)
    }
}

fn nodes(schema: &SchemaRef) -> Vec<Node> {
    let kind = |t: &arrow_schema::DataType| Kind::of(t, None, &BoolWords::default()).unwrap_or(Kind::Text);
    schema.fields().iter().map(|f| Node::new(f.data_type(), &kind)).collect()
}

/// Reads a value into its column.
fn take(plan: &Plan, node: &mut Node, cursor: &mut Cursor<'_>, context: &mut Context<'_>, depth: usize) -> Result<(), Lost> {
    if depth > DEPTH {
        return Err("values are nested too deeply");
    }
    context.count(1)?;
    match (plan, &mut node.shape) {
        (Plan::Nullable(inner, null), _) => {
            let branch = cursor.long()?;
            if branch == *null {
                context.count(node.size)?;
                node.push_null();
                return Ok(());
            }
            return if branch == 1 - null { take(inner, node, cursor, context, depth + 1) } else { Err("a union has no such branch") };
        }
        (Plan::Null, _) => {
            node.push_null();
            return Ok(());
        }
        (Plan::Record(fields), Shape::Struct(_, children, _)) => {
            for ((_, plan), child) in fields.iter().zip(children) {
                take(plan, child, cursor, context, depth + 1)?;
            }
        }
        (Plan::List(item), Shape::List(_, child, offsets)) => {
            cursor.blocks(|cursor| take(item, child, cursor, context, depth + 1))?;
            offsets.push(child.length as i32);
        }
        (Plan::Map(value), Shape::Map(keys, values, offsets)) => {
            cursor.blocks(|cursor| entry(value, keys, values, cursor, context, depth + 1))?;
            offsets.push(keys.length as i32);
        }
        (_, Shape::Scalar(kind, values)) => {
            if !scalar(plan, kind, values, cursor, context, depth)? {
                values.push_default();
                node.appended(false);
                return Ok(());
            }
        }
        (Plan::Record(_) | Plan::List(_) | Plan::Map(_), _) | (_, Shape::Struct(..) | Shape::List(..) | Shape::Map(..)) => {
            unreachable!("columns are made for their plans")
        }
    }
    node.appended(true);
    Ok(())
}

/// A key and its value.
fn entry(value: &Plan, keys: &mut Node, values: &mut Node, cursor: &mut Cursor<'_>, context: &mut Context<'_>, depth: usize) -> Result<(), Lost> {
    take(&Plan::Text, keys, cursor, context, depth)?;
    if keys.nulls.as_slice().is_some() && context.bad.is_some() {
        // A key that is no text: its row is rejected, and a map's keys are never null.
        keys.nulls = arrow_buffer::NullBufferBuilder::new(0);
        keys.nulls.append_n_non_nulls(keys.length);
    }
    take(value, values, cursor, context, depth)
}

/// Reads a value that is not nested. `false`: it is null, or no value of its column (then the context knows why); nothing has been appended.
#[inline(always)]
fn scalar(plan: &Plan, kind: &Kind, values: &mut Values, cursor: &mut Cursor<'_>, context: &mut Context<'_>, depth: usize) -> Result<bool, Lost> {
    match (plan, values) {
        (Plan::Bool, Values::Bool(v)) => v.append(boolean(cursor)?),
        (Plan::Int | Plan::Date, Values::I32(v)) => v.push(cursor.int()?),
        (Plan::Long, Values::I64(v)) => v.push(cursor.long()?),
        (Plan::Float, Values::F32(v)) => v.push(f32::from_le_bytes(cursor.array()?)),
        (Plan::Double, Values::F64(v)) => v.push(f64::from_le_bytes(cursor.array()?)),
        (Plan::Text, Values::Bytes(offsets, bytes)) => {
            let raw = cursor.bytes()?;
            if std::str::from_utf8(raw).is_err() {
                context.complain(RejectReason::BadEncoding, || excerpt(raw, "is no UTF-8"));
                return Ok(false);
            }
            bytes.extend_from_slice(raw);
            offsets.push(bytes.len() as i32);
        }
        (Plan::Bytes, Values::Bytes(offsets, bytes)) => {
            bytes.extend_from_slice(cursor.bytes()?);
            offsets.push(bytes.len() as i32);
        }
        (Plan::Fixed(n), Values::Bytes(offsets, bytes)) => {
            bytes.extend_from_slice(cursor.take(*n)?);
            offsets.push(bytes.len() as i32);
        }
        (Plan::Timestamp { unit, .. }, Values::I64(v)) => {
            let raw = cursor.long()?;
            match micros(raw, *unit) {
                Some(micros) => v.push(micros),
                None => {
                    context.complain(RejectReason::BadValue, || format!("`{raw}` is a moment beyond the range of timestamps"));
                    return Ok(false);
                }
            }
        }
        (Plan::Decimal { precision, fixed, .. }, Values::Decimal(v)) => {
            let raw = match fixed {
                Some(n) => cursor.take(*n)?,
                None => cursor.bytes()?,
            };
            match big_endian(raw).filter(|v| v.unsigned_abs() < 10_u128.pow(u32::from(*precision))) {
                Some(value) => v.push(value),
                None => {
                    let name = sluis_core::columns::type_name(&kind.data_type());
                    context.complain(RejectReason::BadValue, || format!("a number has more digits than {name} allows"));
                    return Ok(false);
                }
            }
        }
        (Plan::Union(branches, union), values) => return of_union(branches, *union, values, cursor, context, depth),
        // Everything else is text.
        (plan, Values::Bytes(offsets, bytes)) => {
            let start = bytes.len();
            render(plan, cursor, context, false, depth, bytes)?;
            if !text_is_valid(bytes, start, context) {
                return Ok(false);
            }
            offsets.push(bytes.len() as i32);
        }
        _ => unreachable!("columns are made for their plans"),
    }
    Ok(true)
}

/// Reads whichever of several types comes.
fn of_union(
    branches: &[Plan],
    union: UnionType,
    values: &mut Values,
    cursor: &mut Cursor<'_>,
    context: &mut Context<'_>,
    depth: usize,
) -> Result<bool, Lost> {
    let branch = usize::try_from(cursor.long()?).ok().and_then(|n| branches.get(n)).ok_or("a union has no such branch")?;
    if *branch == Plan::Null {
        return Ok(false);
    }
    match (union, values) {
        (UnionType::Long, Values::I64(v)) => v.push(cursor.long()?),
        (UnionType::Double, Values::F64(v)) => v.push(match branch {
            Plan::Int => f64::from(cursor.int()?),
            Plan::Float => f64::from(f32::from_le_bytes(cursor.array()?)),
            _ => f64::from_le_bytes(cursor.array()?),
        }),
        (UnionType::Text, Values::Bytes(offsets, bytes)) => {
            let start = bytes.len();
            render(branch, cursor, context, false, depth + 1, bytes)?;
            if !text_is_valid(bytes, start, context) {
                return Ok(false);
            }
            offsets.push(bytes.len() as i32);
        }
        _ => unreachable!("columns are made for their plans"),
    }
    Ok(true)
}

/// Whether what was rendered is text; if not, it is taken back.
fn text_is_valid(bytes: &mut Vec<u8>, start: usize, context: &mut Context<'_>) -> bool {
    let valid = std::str::from_utf8(&bytes[start..]).is_ok();
    if !valid {
        context.complain(RejectReason::BadEncoding, || excerpt(&bytes[start..], "is no UTF-8"));
        bytes.truncate(start);
    }
    valid
}

/// True or false: one byte.
pub fn boolean(cursor: &mut Cursor<'_>) -> Result<bool, Lost> {
    match cursor.array()? {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err("a boolean is neither 0 nor 1"),
    }
}

/// Microseconds; what is finer is cut.
pub fn micros(raw: i64, unit: Unit) -> Option<i64> {
    match unit {
        Unit::Millis => raw.checked_mul(1000),
        Unit::Micros => Some(raw),
        Unit::Nanos => Some(raw.div_euclid(1000)),
    }
}

/// A number in two's complement, the first byte the highest; `None` if it needs more than 128 bits. No bytes are zero.
pub fn big_endian(raw: &[u8]) -> Option<i128> {
    let negative = raw.first().is_some_and(|b| *b >= 0x80);
    let fill = if negative { 0xff } else { 0 };
    let (surplus, low) = raw.split_at(raw.len().saturating_sub(16));
    if surplus.iter().any(|b| *b != fill) {
        return None;
    }
    let mut bytes = [fill; 16];
    bytes[16 - low.len()..].copy_from_slice(low);
    let value = i128::from_be_bytes(bytes);
    ((value < 0) == negative).then_some(value)
}

fn excerpt(raw: &[u8], what: &str) -> String {
    let mut out = String::from("`");
    crate::values::push_excerpt(&mut out, raw);
    out.push_str("` ");
    out.push_str(what);
    out
}

/// What a panic of the decoder means: a bug.
pub fn panicked(e: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, "the Avro decoder panicked").source(e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_length_are_exact() {
        assert_eq!(big_endian(&[]), Some(0));
        assert_eq!(big_endian(&[0x7f]), Some(127));
        assert_eq!(big_endian(&[0xff, 0x85]), Some(-123));
        assert_eq!(big_endian(&i128::MAX.to_be_bytes()), Some(i128::MAX));
        assert_eq!(big_endian(&[&[0xff; 9][..], &i128::MIN.to_be_bytes()].concat()), Some(i128::MIN));
        assert_eq!(big_endian(&[&[0][..], &i128::MIN.to_be_bytes()].concat()), None, "a bit too many");
        assert_eq!(big_endian(&[1; 17]), None);
    }
}
