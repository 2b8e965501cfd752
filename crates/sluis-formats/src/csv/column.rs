//! One column of a block: its values so far, and the loop that parses a stripe of fields into them.
//!
//! Deliberately not here: which rows are bad in the end. Guarantees: one entry per row, good or bad; a bad one holds a default and is
//! marked. No allocation per value.

use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use arrow_buffer::NullBufferBuilder;
use arrow_schema::DataType;
use sluis_core::{Error, Result};

use super::decode::{MISSING, unescape};
use super::dialect::Dialect;
use super::layout::Layout;
use crate::grow::Values;
use crate::values::guess::beyond_double;
use crate::values::{Kind, numbers, time};

/// The fields of one column in a stripe of rows.
pub struct Stripe<'a> {
    pub bytes: &'a [u8],
    pub fields: &'a [(u32, u32)],
    pub width: usize,
    pub column: usize,
    pub rows: usize,
    pub layout: &'a Layout,
}

impl<'a> Stripe<'a> {
    /// The fields' bytes, row by row; a missing field is empty.
    #[inline(always)]
    fn each(&self) -> impl Iterator<Item = &'a [u8]> {
        let bytes = self.bytes;
        self.positions().map(move |(s, e)| bytes.get(s as usize..e as usize).unwrap_or_default())
    }

    /// Whether bad values of the column are told.
    fn told(&self) -> bool {
        self.layout.told.get(self.column) == Some(&true)
    }

    #[inline(always)]
    fn positions(&self) -> impl Iterator<Item = (u32, u32)> + use<'a> {
        self.fields[self.column..].iter().step_by(self.width).copied()
    }
}

/// A column in the making.
pub struct Column {
    kind: Kind,
    values: Values,
    nulls: NullBufferBuilder,
    /// Rows of the current stripe that are null.
    null_rows: Vec<u32>,
    /// Rows of the current stripe whose values are told: they are not of the column's type.
    pub misfits: Vec<u32>,
}

/// Where bad values are noted.
struct Bad<'a> {
    /// 1 + the first column that is bad, per row of the stripe.
    rows: &'a mut [u32],
    told: &'a mut Vec<u32>,
}

/// What a field is when it did not parse at once.
enum Second<T> {
    Value(T),
    Null,
    Bad,
}

impl Column {
    /// An empty column with room for about `rows`.
    pub fn new(kind: &Kind, rows: usize) -> Self {
        Self { kind: kind.clone(), values: Values::new(kind, rows), nulls: NullBufferBuilder::new(rows), null_rows: Vec::new(), misfits: Vec::new() }
    }

    /// Appends a stripe. Rows with a bad value get `bad[row] = 1 + column`, unless another column was first. Answers whether there are any.
    /// Where bad values are told they are null, and their rows are in `misfits`.
    pub fn parse(&mut self, stripe: &Stripe<'_>, bad: &mut [u32]) -> bool {
        let point = stripe.layout.point;
        let nulls = &mut self.null_rows;
        nulls.clear();
        self.misfits.clear();
        let bad = &mut Bad { rows: bad, told: &mut self.misfits };
        let any = match (&mut self.values, &self.kind) {
            (Values::Bool(out), Kind::Bool(words)) => {
                let mut parsed = Vec::with_capacity(stripe.rows);
                let any = fill(&mut parsed, stripe, bad, nulls, |raw| words.parse(raw));
                parsed.into_iter().for_each(|b| out.append(b));
                any
            }
            (Values::I8(out), _) => fill(out, stripe, bad, nulls, |raw| i8::try_from(numbers::int64(raw)?).ok()),
            (Values::I16(out), _) => fill(out, stripe, bad, nulls, |raw| i16::try_from(numbers::int64(raw)?).ok()),
            (Values::I32(out), Kind::Date(None)) => fill(out, stripe, bad, nulls, time::date),
            (Values::I32(out), Kind::Date(Some(p))) => fill(out, stripe, bad, nulls, |raw| p.date(raw)),
            (Values::I32(out), _) => fill(out, stripe, bad, nulls, |raw| i32::try_from(numbers::int64(raw)?).ok()),
            (Values::I64(out), Kind::Timestamp(None, _)) => fill(out, stripe, bad, nulls, |raw| Some(time::timestamp(raw)?.0)),
            (Values::I64(out), Kind::Timestamp(Some(p), _)) => fill(out, stripe, bad, nulls, |raw| Some(p.timestamp(raw)?.0)),
            (Values::I64(out), _) => fill(out, stripe, bad, nulls, numbers::int64),
            (Values::F32(out), _) => fill(out, stripe, bad, nulls, |raw| numbers::float32(raw, point)),
            (Values::F64(out), _) if stripe.layout.exact && stripe.told() => {
                let any = fill(out, stripe, bad, nulls, |raw| numbers::float64(raw, point));
                let beyond = stripe
                    .each()
                    .take(stripe.rows)
                    .enumerate()
                    .filter(|(_, raw)| raw.len() > 15 && beyond_double(unquoted(raw, &stripe.layout.dialect)));
                bad.told.extend(beyond.map(|(row, _)| row as u32));
                any
            }
            (Values::F64(out), _) => fill(out, stripe, bad, nulls, |raw| numbers::float64(raw, point)),
            (Values::Decimal(out), Kind::Decimal(p, s)) => fill(out, stripe, bad, nulls, |raw| numbers::decimal(raw, *p, *s, point)),
            (Values::Bytes(offsets, bytes), _) => {
                texts(offsets, bytes, stripe, nulls);
                false
            }
            (Values::Bool(_) | Values::Decimal(_), _) => unreachable!("values are made for their kind"),
        };
        if self.null_rows.is_empty() {
            self.nulls.append_n_non_nulls(stripe.rows);
        } else if self.null_rows.len() == stripe.rows {
            self.nulls.append_n_nulls(stripe.rows);
        } else {
            let mut done = 0;
            for &row in &self.null_rows {
                self.nulls.append_n_non_nulls(row as usize - done);
                self.nulls.append_null();
                done = row as usize + 1;
            }
            self.nulls.append_n_non_nulls(stripe.rows - done);
        }
        any
    }

    /// The array.
    pub fn finish(mut self) -> Result<ArrayRef> {
        self.values.finish(&self.kind, self.nulls.finish())
    }
}

/// Parses every field of a stripe.
#[inline(always)]
fn fill<T: Copy + Default>(
    out: &mut Vec<T>,
    stripe: &Stripe<'_>,
    bad: &mut Bad<'_>,
    null_rows: &mut Vec<u32>,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> bool {
    let words = stripe.layout.nulls.has_words();
    let mut any = false;
    out.extend(stripe.each().take(stripe.rows).enumerate().map(|(row, raw)| {
        if !(words && stripe.layout.nulls.is_word(raw)) {
            if let Some(v) = parse(raw) {
                return v;
            }
            match if raw.is_empty() { Second::Null } else { second_look(raw, stripe.layout, &parse) } {
                Second::Value(v) => return v,
                Second::Null => {}
                Second::Bad if stripe.told() => bad.told.push(row as u32),
                Second::Bad => {
                    any = true;
                    if bad.rows[row] == 0 {
                        bad.rows[row] = stripe.column as u32 + 1;
                    }
                    return T::default();
                }
            }
        }
        null_rows.push(row as u32);
        T::default()
    }));
    any
}

/// Without quotes and blanks around it, an empty field is null, and a word may be null, or the value.
#[inline(never)]
fn second_look<T>(raw: &[u8], layout: &Layout, parse: &impl Fn(&[u8]) -> Option<T>) -> Second<T> {
    let bare = unquoted(raw, &layout.dialect).trim_ascii();
    if bare.is_empty() || layout.nulls.is_word(bare) {
        Second::Null
    } else if bare.len() < raw.len() {
        parse(bare).map_or(Second::Bad, Second::Value)
    } else {
        Second::Bad
    }
}

/// A quoted field without its quotes; others as they are.
#[inline(always)]
pub fn unquoted<'a>(raw: &'a [u8], dialect: &Dialect) -> &'a [u8] {
    match (dialect.quote, raw) {
        (Some(q), [first, inner @ .., last]) if *first == q && *last == q => inner,
        _ => raw,
    }
}

/// Copies every field of a stripe.
#[inline(always)]
fn texts(offsets: &mut Vec<i32>, out: &mut Vec<u8>, stripe: &Stripe<'_>, null_rows: &mut Vec<u32>) {
    let layout = stripe.layout;
    let dialect = &*layout.dialect;
    let total: usize = stripe.positions().take(stripe.rows).map(|(s, e)| (e - s) as usize).sum();
    out.reserve(total + SHORT);
    let words = layout.nulls.has_words();
    offsets.extend(stripe.positions().take(stripe.rows).enumerate().map(|(row, position)| {
        let raw = stripe.bytes.get(position.0 as usize..position.1 as usize).unwrap_or_default();
        if raw.is_empty() {
            if layout.nulls.empty || position == MISSING {
                null_rows.push(row as u32);
            }
        } else if dialect.quote == Some(raw[0]) {
            let inner = unquoted(raw, dialect);
            unescape(inner, dialect, true, out);
        } else if words && layout.nulls.is_word(raw) {
            null_rows.push(row as u32);
        } else if dialect.escape.is_some() {
            unescape(raw, dialect, false, out);
        } else {
            append(out, stripe.bytes, position.0 as usize, raw);
        }
        out.len() as i32
    }));
}

/// Bytes that are copied at once, whether or not all are wanted.
const SHORT: usize = 32;

/// Appends `raw`, which begins at `start` of `bytes`. Short fields are most of them: a fixed number of bytes is copied, which is one move
/// where a copy of just the right length is a call.
#[inline(always)]
fn append(out: &mut Vec<u8>, bytes: &[u8], start: usize, raw: &[u8]) {
    if raw.len() <= SHORT
        && let Some(chunk) = bytes[start..].first_chunk::<SHORT>()
        && out.capacity() - out.len() >= SHORT
    {
        let length = out.len();
        // SAFETY: there is room for SHORT bytes behind the length, and at least as many as are kept have been written.
        unsafe {
            std::ptr::copy_nonoverlapping(chunk.as_ptr(), out.as_mut_ptr().add(length), SHORT);
            out.set_len(length + raw.len());
        }
    } else {
        out.extend_from_slice(raw);
    }
}

/// Parses text that stands in an array as fields would be; empty text is null but in text columns. Returns the first row that is bad.
pub fn parse_array(array: &StringArray, to: &DataType) -> (Result<ArrayRef>, Option<usize>) {
    use arrow_array::Array;
    let Some(kind) = Kind::of(to, None, &crate::values::BoolWords::default()) else {
        return (Err(Error::internal(format!("text cannot be parsed as {to}"))), None);
    };
    let fields: Vec<(u32, u32)> = (0..array.len())
        .map(|i| if array.is_null(i) { MISSING } else { (array.value_offsets()[i] as u32, array.value_offsets()[i + 1] as u32) })
        .collect();
    let dialect = Dialect { quote: None, ..Dialect::default() };
    let layout = Layout {
        dialect: Arc::new(dialect),
        kinds: vec![kind.clone()],
        schema: Arc::new(arrow_schema::Schema::empty()),
        nulls: super::layout::Nulls::new(&[]),
        ragged: super::config::Ragged::Reject,
        point: b'.',
        keep_origins: false,
        told: Vec::new(),
        exact: false,
        habits: Vec::new(),
        numbered: Default::default(),
    };
    let stripe = Stripe { bytes: array.value_data(), fields: &fields, width: 1, column: 0, rows: fields.len(), layout: &layout };
    let mut bad = vec![0; fields.len()];
    let mut column = Column::new(&kind, fields.len());
    column.parse(&stripe, &mut bad);
    (column.finish(), bad.iter().position(|b| *b > 0))
}
