//! Arrays in the making: the values of one column, by physical type, as text decoders append them.
//!
//! Deliberately not here: parsing. Guarantees: `finish` makes the array of the kind's type.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType;
use sluis_core::{Error, Result};

use crate::values::Kind;

/// Values of one column so far.
pub enum Values {
    Bool(BooleanBufferBuilder),
    I8(Vec<i8>),
    I16(Vec<i16>),
    /// Also dates.
    I32(Vec<i32>),
    /// Also timestamps.
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Decimal(Vec<i128>),
    /// Offsets (one more than rows) and bytes: text or binary.
    Bytes(Vec<i32>, Vec<u8>),
}

impl Values {
    /// None yet, with room for about `rows`.
    pub fn new(kind: &Kind, rows: usize) -> Self {
        match kind {
            Kind::Bool(_) => Values::Bool(BooleanBufferBuilder::new(rows)),
            Kind::Int8 => Values::I8(Vec::with_capacity(rows)),
            Kind::Int16 => Values::I16(Vec::with_capacity(rows)),
            Kind::Int32 | Kind::Date(_) => Values::I32(Vec::with_capacity(rows)),
            Kind::Int64 | Kind::Timestamp(..) => Values::I64(Vec::with_capacity(rows)),
            Kind::Float32 => Values::F32(Vec::with_capacity(rows)),
            Kind::Float64 => Values::F64(Vec::with_capacity(rows)),
            Kind::Decimal(..) => Values::Decimal(Vec::with_capacity(rows)),
            Kind::Text | Kind::Binary => {
                let mut offsets = Vec::with_capacity(rows + 1);
                offsets.push(0);
                Values::Bytes(offsets, Vec::new())
            }
        }
    }

    /// Appends what stands where no value is: zero, false, the empty text.
    pub fn push_default(&mut self) {
        match self {
            Values::Bool(v) => v.append(false),
            Values::I8(v) => v.push(0),
            Values::I16(v) => v.push(0),
            Values::I32(v) => v.push(0),
            Values::I64(v) => v.push(0),
            Values::F32(v) => v.push(0.0),
            Values::F64(v) => v.push(0.0),
            Values::Decimal(v) => v.push(0),
            Values::Bytes(offsets, bytes) => offsets.push(bytes.len() as i32),
        }
    }

    /// The array of `kind`'s type.
    ///
    /// # Errors
    /// Text that is not UTF-8: a bug of the decoder.
    pub fn finish(self, kind: &Kind, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let data_type = kind.data_type();
        Ok(match self {
            Values::Bool(mut b) => Arc::new(BooleanArray::new(b.finish(), nulls)),
            Values::I8(v) => primitive::<Int8Type>(v, nulls, data_type),
            Values::I16(v) => primitive::<Int16Type>(v, nulls, data_type),
            Values::I32(v) if data_type == DataType::Date32 => primitive::<Date32Type>(v, nulls, data_type),
            Values::I32(v) => primitive::<Int32Type>(v, nulls, data_type),
            Values::I64(v) if data_type == DataType::Int64 => primitive::<Int64Type>(v, nulls, data_type),
            Values::I64(v) => primitive::<TimestampMicrosecondType>(v, nulls, data_type),
            Values::F32(v) => primitive::<Float32Type>(v, nulls, data_type),
            Values::F64(v) => primitive::<Float64Type>(v, nulls, data_type),
            Values::Decimal(v) => primitive::<Decimal128Type>(v, nulls, data_type),
            Values::Bytes(offsets, bytes) => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                let bytes = Buffer::from(bytes);
                if data_type == DataType::Binary {
                    Arc::new(BinaryArray::new(offsets, bytes, nulls))
                } else {
                    // Valid already, for fields of a valid block end between characters; the second look costs little.
                    Arc::new(StringArray::try_new(offsets, bytes, nulls).map_err(|e| Error::internal("a text column is not UTF-8").source(e))?)
                }
            }
        })
    }
}

fn primitive<T: ArrowPrimitiveType>(values: Vec<T::Native>, nulls: Option<NullBuffer>, data_type: DataType) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls).with_data_type(data_type))
}
