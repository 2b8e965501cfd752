//! Columns in the making, nested or not: a tree of builders that takes values one at a time.
//!
//! Deliberately not here: where values come from (`json/node.rs`, `avro/decode.rs`). Guarantees: every append makes a node longer by exactly
//! one, and all its children keep step, so that a bad row can be taken out afterwards.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, ListArray, MapArray, StructArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use sluis_core::columns::{map_of, map_parts};
use sluis_core::{Error, Result};

use crate::grow::Values;
use crate::values::Kind;

/// One column, or one field of a nested one.
pub struct Node {
    pub(crate) shape: Shape,
    pub(crate) nulls: NullBufferBuilder,
    pub(crate) length: usize,
    /// Builders in it, itself included: what a null costs.
    pub(crate) size: usize,
}

/// What a node is made of.
pub(crate) enum Shape {
    Scalar(Kind, Values),
    Struct(Fields, Vec<Node>, HashMap<Vec<u8>, usize>),
    List(FieldRef, Box<Node>, Vec<i32>),
    /// Keys, values, offsets.
    Map(Box<Node>, Box<Node>, Vec<i32>),
}

impl Node {
    /// A node for an Arrow type; `scalar` says what a type that is not nested is parsed as.
    pub fn new(data_type: &DataType, scalar: &dyn Fn(&DataType) -> Kind) -> Self {
        let shape = match data_type {
            DataType::Struct(fields) => {
                let children = fields.iter().map(|f| Node::new(f.data_type(), scalar)).collect();
                let index = fields.iter().enumerate().map(|(i, f)| (f.name().clone().into_bytes(), i)).collect();
                Shape::Struct(fields.clone(), children, index)
            }
            DataType::List(item) => Shape::List(item.clone(), Box::new(Node::new(item.data_type(), scalar)), vec![0]),
            DataType::Map(entries, _) => {
                let parts = map_parts(data_type).unwrap_or((entries.data_type(), entries.data_type()));
                Shape::Map(Box::new(Node::new(parts.0, scalar)), Box::new(Node::new(parts.1, scalar)), vec![0])
            }
            other => {
                let kind = scalar(other);
                let values = Values::new(&kind, 0);
                Shape::Scalar(kind, values)
            }
        };
        let size = match &shape {
            Shape::Scalar(..) => 1,
            Shape::Struct(_, children, _) => 1 + children.iter().map(|c| c.size).sum::<usize>(),
            Shape::List(..) | Shape::Map(..) => 1,
        };
        Self { shape, nulls: NullBufferBuilder::new(0), length: 0, size }
    }

    /// Values taken so far.
    pub fn count(&self) -> usize {
        self.length
    }

    /// Appends a null.
    pub fn push_null(&mut self) {
        match &mut self.shape {
            Shape::Scalar(_, values) => values.push_default(),
            Shape::Struct(_, children, _) => children.iter_mut().for_each(Node::push_null),
            Shape::List(_, item, offsets) => offsets.push(item.count() as i32),
            Shape::Map(keys, _, offsets) => offsets.push(keys.count() as i32),
        }
        self.nulls.append_null();
        self.length += 1;
    }

    /// Appends nulls until there are `length` values.
    pub fn pad(&mut self, length: usize) {
        while self.length < length {
            self.push_null();
        }
    }

    /// Makes room count for a value that has just been appended.
    #[inline(always)]
    pub(crate) fn appended(&mut self, valid: bool) {
        self.nulls.append(valid);
        self.length += 1;
    }

    /// The type of the array it makes.
    pub fn data_type(&self) -> DataType {
        match &self.shape {
            Shape::Scalar(kind, _) => kind.data_type(),
            Shape::Struct(fields, children, _) => {
                DataType::Struct(fields.iter().zip(children).map(|(f, c)| Field::new(f.name(), c.data_type(), true)).collect())
            }
            Shape::List(item, node, _) => DataType::List(Arc::new(Field::new(item.name(), node.data_type(), true))),
            Shape::Map(keys, values, _) => map_of(keys.data_type(), values.data_type()),
        }
    }

    /// The array.
    ///
    /// # Errors
    /// Only for bugs.
    pub fn finish(self) -> Result<ArrayRef> {
        let unfit = |e: arrow_schema::ArrowError| Error::internal("a nested column does not fit its type").source(e);
        let data_type = self.data_type();
        let mut nulls = self.nulls;
        let nulls = nulls.finish();
        Ok(match (self.shape, data_type) {
            (Shape::Scalar(kind, values), _) => values.finish(&kind, nulls)?,
            (Shape::Struct(_, children, _), DataType::Struct(fields)) => {
                let arrays = children.into_iter().map(Node::finish).collect::<Result<Vec<_>>>()?;
                Arc::new(StructArray::try_new_with_length(fields, arrays, nulls, self.length).map_err(unfit)?)
            }
            (Shape::List(_, item, offsets), DataType::List(field)) => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                Arc::new(ListArray::try_new(field, offsets, item.finish()?, nulls).map_err(unfit)?)
            }
            (Shape::Map(keys, values, offsets), DataType::Map(field, sorted)) => {
                let DataType::Struct(parts) = field.data_type() else { return Err(Error::internal("a map's entries are no structs")) };
                let length = keys.count();
                let entries = StructArray::try_new_with_length(parts.clone(), vec![keys.finish()?, values.finish()?], None, length).map_err(unfit)?;
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                Arc::new(MapArray::try_new(field, offsets, entries, nulls, sorted).map_err(unfit)?)
            }
            _ => return Err(Error::internal("a column has another type than its builder")),
        })
    }
}
