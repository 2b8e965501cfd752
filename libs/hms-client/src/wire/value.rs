//! Values of the binary protocol, read from and written to bytes.

use crate::{Error, Result};

/// How deep values may lie in each other.
const DEEPEST: usize = 64;

/// The type of a value, by its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "Thrift's own names")]
pub enum Type {
    Bool = 2,
    I8 = 3,
    Double = 4,
    I16 = 6,
    I32 = 8,
    I64 = 10,
    Bytes = 11,
    Struct = 12,
    Map = 13,
    Set = 14,
    List = 15,
}

impl Type {
    pub(crate) fn of(number: u8) -> Result<Type> {
        Ok(match number {
            2 => Type::Bool,
            3 => Type::I8,
            4 => Type::Double,
            6 => Type::I16,
            8 => Type::I32,
            10 => Type::I64,
            11 => Type::Bytes,
            12 => Type::Struct,
            13 => Type::Map,
            14 => Type::Set,
            15 => Type::List,
            other => return Err(Error::protocol(format!("the type {other}, which Thrift does not have"))),
        })
    }
}

/// A value with its type.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "Thrift's own names")]
pub enum Value {
    Bool(bool),
    I8(i8),
    Double(f64),
    I16(i16),
    I32(i32),
    I64(i64),
    /// `string` and `binary`.
    Bytes(Vec<u8>),
    Struct(Struct),
    Map(Type, Type, Vec<(Value, Value)>),
    Set(Type, Vec<Value>),
    List(Type, Vec<Value>),
}

/// Fields in the order in which they came, by their ids.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Struct(pub Vec<(i16, Value)>);

impl Struct {
    /// Takes a field out.
    pub fn take(&mut self, id: i16) -> Option<Value> {
        let at = self.0.iter().position(|(i, _)| *i == id)?;
        Some(self.0.remove(at).1)
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, id: i16, value: impl Into<Value>) -> Struct {
        self.0.push((id, value.into()));
        self
    }

    /// Adds a field if it is there.
    #[must_use]
    pub fn with_some(self, id: i16, value: Option<impl Into<Value>>) -> Struct {
        match value {
            Some(value) => self.with(id, value),
            None => self,
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for (id, value) in &self.0 {
            out.push(value.kind() as u8);
            out.extend(id.to_be_bytes());
            value.write(out);
        }
        out.push(0);
    }

    /// Reads a struct that is all of `bytes`.
    pub(crate) fn read_all(bytes: &[u8]) -> Result<Struct> {
        let mut reader = Reader { rest: bytes };
        let found = reader.structure(0)?;
        if !reader.rest.is_empty() {
            return Err(Error::protocol(format!("{} bytes after the end of the answer", reader.rest.len())));
        }
        Ok(found)
    }
}

impl Value {
    /// The type.
    pub fn kind(&self) -> Type {
        match self {
            Value::Bool(_) => Type::Bool,
            Value::I8(_) => Type::I8,
            Value::Double(_) => Type::Double,
            Value::I16(_) => Type::I16,
            Value::I32(_) => Type::I32,
            Value::I64(_) => Type::I64,
            Value::Bytes(_) => Type::Bytes,
            Value::Struct(_) => Type::Struct,
            Value::Map(..) => Type::Map,
            Value::Set(..) => Type::Set,
            Value::List(..) => Type::List,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Bool(v) => out.push(u8::from(*v)),
            Value::I8(v) => out.extend(v.to_be_bytes()),
            Value::Double(v) => out.extend(v.to_be_bytes()),
            Value::I16(v) => out.extend(v.to_be_bytes()),
            Value::I32(v) => out.extend(v.to_be_bytes()),
            Value::I64(v) => out.extend(v.to_be_bytes()),
            Value::Bytes(v) => {
                out.extend((v.len() as u32).to_be_bytes());
                out.extend(v);
            }
            Value::Struct(v) => v.write(out),
            Value::Map(key, value, all) => {
                out.extend([*key as u8, *value as u8]);
                out.extend((all.len() as u32).to_be_bytes());
                for (key, value) in all {
                    key.write(out);
                    value.write(out);
                }
            }
            Value::Set(of, all) | Value::List(of, all) => {
                out.push(*of as u8);
                out.extend((all.len() as u32).to_be_bytes());
                for value in all {
                    value.write(out);
                }
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Bytes(text.as_bytes().to_vec())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i16> for Value {
    fn from(value: i16) -> Value {
        Value::I16(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Value {
        Value::I32(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::I64(value)
    }
}

impl From<Struct> for Value {
    fn from(value: Struct) -> Value {
        Value::Struct(value)
    }
}

impl<S: AsRef<str>> From<&[S]> for Value {
    fn from(all: &[S]) -> Value {
        Value::List(Type::Bytes, all.iter().map(|s| s.as_ref().into()).collect())
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| Error::protocol("the answer ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| Error::protocol("the answer ends too early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8> {
        self.array().map(|[b]| b)
    }

    /// A count of values of at least one byte each.
    fn count(&mut self) -> Result<usize> {
        let count = u32::from_be_bytes(self.array()?) as usize;
        if count > self.rest.len() {
            return Err(Error::protocol(format!("{count} values in {} bytes", self.rest.len())));
        }
        Ok(count)
    }

    fn structure(&mut self, depth: usize) -> Result<Struct> {
        let mut fields = Vec::new();
        loop {
            let kind = self.byte()?;
            if kind == 0 {
                return Ok(Struct(fields));
            }
            let id = i16::from_be_bytes(self.array()?);
            fields.push((id, self.value(Type::of(kind)?, depth + 1)?));
        }
    }

    fn value(&mut self, kind: Type, depth: usize) -> Result<Value> {
        if depth > DEEPEST {
            return Err(Error::protocol(format!("values lie more than {DEEPEST} deep in each other")));
        }
        Ok(match kind {
            Type::Bool => Value::Bool(self.byte()? != 0),
            Type::I8 => Value::I8(self.byte()?.cast_signed()),
            Type::Double => Value::Double(f64::from_be_bytes(self.array()?)),
            Type::I16 => Value::I16(i16::from_be_bytes(self.array()?)),
            Type::I32 => Value::I32(i32::from_be_bytes(self.array()?)),
            Type::I64 => Value::I64(i64::from_be_bytes(self.array()?)),
            Type::Bytes => {
                let length = u32::from_be_bytes(self.array()?) as usize;
                Value::Bytes(self.bytes(length)?.to_vec())
            }
            Type::Struct => Value::Struct(self.structure(depth)?),
            Type::Map => {
                let (key, value) = (self.byte()?, self.byte()?);
                let count = self.count()?;
                // An empty map may come without types.
                if count == 0 {
                    return Ok(Value::Map(Type::of(key).unwrap_or(Type::Bytes), Type::of(value).unwrap_or(Type::Bytes), Vec::new()));
                }
                let (key, value) = (Type::of(key)?, Type::of(value)?);
                let all = (0..count).map(|_| Ok((self.value(key, depth + 1)?, self.value(value, depth + 1)?))).collect::<Result<_>>()?;
                Value::Map(key, value, all)
            }
            Type::Set => {
                let (of, all) = self.values(depth)?;
                Value::Set(of, all)
            }
            Type::List => {
                let (of, all) = self.values(depth)?;
                Value::List(of, all)
            }
        })
    }

    fn values(&mut self, depth: usize) -> Result<(Type, Vec<Value>)> {
        let of = self.byte()?;
        let count = self.count()?;
        if count == 0 {
            return Ok((Type::of(of).unwrap_or(Type::Bytes), Vec::new()));
        }
        let of = Type::of(of)?;
        Ok((of, (0..count).map(|_| self.value(of, depth + 1)).collect::<Result<_>>()?))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(kind: Type) -> BoxedStrategy<Value> {
        match kind {
            Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            Type::I8 => any::<i8>().prop_map(Value::I8).boxed(),
            Type::Double => (-1e9..1e9_f64).prop_map(Value::Double).boxed(),
            Type::I16 => any::<i16>().prop_map(Value::I16).boxed(),
            Type::I32 => any::<i32>().prop_map(Value::I32).boxed(),
            Type::I64 => any::<i64>().prop_map(Value::I64).boxed(),
            Type::Bytes => prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Bytes).boxed(),
            Type::Struct => Just(Value::Struct(Struct::default().with(1, "x"))).boxed(),
            Type::Map => {
                let pair = (value(Type::Bytes), value(Type::I32));
                prop::collection::vec(pair, 0..4).prop_map(|all| Value::Map(Type::Bytes, Type::I32, all)).boxed()
            }
            Type::Set => prop::collection::vec(value(Type::I64), 0..4).prop_map(|all| Value::Set(Type::I64, all)).boxed(),
            Type::List => prop::collection::vec(value(Type::Map), 0..4).prop_map(|all| Value::List(Type::Map, all)).boxed(),
        }
    }

    pub(crate) fn structure() -> impl Strategy<Value = Struct> {
        let kinds = [2, 3, 4, 6, 8, 10, 11, 12, 13, 14, 15].map(|n| value(Type::of(n).unwrap()));
        prop::collection::vec((any::<i16>(), prop::strategy::Union::new(kinds)), 0..8).prop_map(Struct)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(all in structure()) {
            let mut bytes = Vec::new();
            all.write(&mut bytes);
            prop_assert_eq!(Struct::read_all(&bytes).unwrap(), all);
            for end in 0..bytes.len() {
                prop_assert!(Struct::read_all(&bytes[..end]).is_err());
            }
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Struct::read_all(&bytes);
        }

        #[test]
        fn damage_is_an_error_or_another_value(all in structure(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let mut bytes = Vec::new();
            all.write(&mut bytes);
            let at = at.index(bytes.len());
            bytes[at] = to;
            let _ = Struct::read_all(&bytes);
        }
    }

    #[test]
    fn depth_and_counts_are_bounded() {
        let mut deep = [Type::Struct as u8, 0, 1].repeat(100_000);
        deep.extend(vec![0; 100_001]);
        assert!(Struct::read_all(&deep).is_err());
        // Four billion values in no bytes.
        assert!(Struct::read_all(&[15, 0, 1, 2, 0xff, 0xff, 0xff, 0xff, 0]).is_err());
    }
}
