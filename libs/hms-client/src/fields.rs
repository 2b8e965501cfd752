//! How Rust's types and Thrift's values become each other, and the macro that declares a struct of the metastore once.
//!
//! A declared struct keeps the fields that this crate does not know in `rest`, and writes them back: what a newer metastore has is not lost when an
//! older client changes something else.

use std::collections::BTreeMap;

use crate::wire::{Struct, Type, Value};
use crate::{Error, Result};

/// A type that can be a field.
pub(crate) trait Field: Sized {
    const TYPE: Type;
    /// `None` if the value is of another type.
    fn of(value: Value) -> Result<Option<Self>>;
    fn value(&self) -> Value;
}

macro_rules! plain {
    ($($rust:ty, $kind:ident;)*) => {$(
        impl Field for $rust {
            const TYPE: Type = Type::$kind;
            fn of(value: Value) -> Result<Option<Self>> {
                Ok(match value {
                    Value::$kind(v) => Some(v),
                    _ => None,
                })
            }
            fn value(&self) -> Value {
                Value::$kind(self.clone())
            }
        }
    )*};
}

plain! {
    bool, Bool;
    i16, I16;
    i32, I32;
    i64, I64;
    f64, Double;
    Vec<u8>, Bytes;
    Struct, Struct;
}

impl Field for String {
    const TYPE: Type = Type::Bytes;

    fn of(value: Value) -> Result<Option<Self>> {
        let Value::Bytes(bytes) = value else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|e| Error::protocol(format!("a text that is not UTF-8: {}", e.as_bytes().escape_ascii())))
    }

    fn value(&self) -> Value {
        self.as_str().into()
    }
}

impl<T: Field> Field for Vec<T>
where
    Vec<T>: NotBytes,
{
    const TYPE: Type = Type::List;

    fn of(value: Value) -> Result<Option<Self>> {
        let (Value::List(_, all) | Value::Set(_, all)) = value else { return Ok(None) };
        let mut out = Vec::with_capacity(all.len());
        for one in all {
            match T::of(one)? {
                Some(one) => out.push(one),
                None => return Ok(None),
            }
        }
        Ok(Some(out))
    }

    fn value(&self) -> Value {
        Value::List(T::TYPE, self.iter().map(Field::value).collect())
    }
}

/// Lists that are not [`Type::Bytes`].
pub(crate) trait NotBytes {}
impl NotBytes for Vec<String> {}
impl NotBytes for Vec<i64> {}

impl Field for BTreeMap<String, String> {
    const TYPE: Type = Type::Map;

    fn of(value: Value) -> Result<Option<Self>> {
        let Value::Map(_, _, all) = value else { return Ok(None) };
        let mut out = BTreeMap::new();
        for (key, value) in all {
            match (String::of(key)?, String::of(value)?) {
                (Some(key), Some(value)) => out.insert(key, value),
                _ => return Ok(None),
            };
        }
        Ok(Some(out))
    }

    fn value(&self) -> Value {
        Value::Map(Type::Bytes, Type::Bytes, self.iter().map(|(k, v)| (k.value(), v.value())).collect())
    }
}

/// A field of a declared struct: `T` is its default where it is not there, `Option<T>` is `None`.
pub(crate) trait Member: Sized {
    fn taken(from: &mut Struct, id: i16, name: &str) -> Result<Self>;
    fn put(&self, into: &mut Struct, id: i16);
}

fn taken<T: Field>(from: &mut Struct, id: i16, name: &str) -> Result<Option<T>> {
    let Some(value) = from.take(id) else { return Ok(None) };
    let kind = value.kind();
    match T::of(value).map_err(|e| e.at(name))? {
        Some(found) => Ok(Some(found)),
        None => Err(Error::protocol(format!("{name} (field {id}) is a {kind:?}, where a {:?} is due", T::TYPE))),
    }
}

impl<T: Field> Member for Option<T> {
    fn taken(from: &mut Struct, id: i16, name: &str) -> Result<Self> {
        taken(from, id, name)
    }

    fn put(&self, into: &mut Struct, id: i16) {
        if let Some(value) = self {
            into.0.push((id, value.value()));
        }
    }
}

impl<T: Field + Default> Member for T {
    fn taken(from: &mut Struct, id: i16, name: &str) -> Result<Self> {
        Ok(taken(from, id, name)?.unwrap_or_default())
    }

    fn put(&self, into: &mut Struct, id: i16) {
        into.0.push((id, self.value()));
    }
}

/// Declares structs: `id name: type`, where a type is a [`Field`] or an `Option` of one.
macro_rules! structs {
    ($($(#[$about:meta])* pub struct $name:ident { $($(#[$of:meta])* $id:literal $field:ident: $kind:ty,)* })*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $name {
            $($(#[$of])* pub $field: $kind,)*
            /// Fields that this crate does not know; they are written back as they came.
            pub rest: $crate::Struct,
        }

        impl $crate::fields::Field for $name {
            const TYPE: $crate::Type = $crate::Type::Struct;

            fn of(value: $crate::Value) -> $crate::Result<Option<Self>> {
                #[allow(unused_mut, reason = "a struct may have no field")]
                let $crate::Value::Struct(mut fields) = value else { return Ok(None) };
                Ok(Some($name {
                    $($field: $crate::fields::Member::taken(&mut fields, $id, concat!(stringify!($name), ".", stringify!($field)))?,)*
                    rest: fields,
                }))
            }

            fn value(&self) -> $crate::Value {
                let mut out = $crate::Struct::default();
                $($crate::fields::Member::put(&self.$field, &mut out, $id);)*
                out.0.extend(self.rest.0.iter().cloned());
                $crate::Value::Struct(out)
            }
        }

        impl $crate::fields::NotBytes for Vec<$name> {}
    )*};
}
pub(crate) use structs;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Partition, Table};

    #[test]
    fn fields_of_the_future_come_back() {
        let table = Struct::default().with(1, "rides").with(99, 7_i64).with(4, 5).with(17, "hive");
        let mut read = Table::of(Value::Struct(table)).unwrap().unwrap();
        assert_eq!((read.name.as_str(), read.create_time), ("rides", 5));
        read.owner = Some("ann".into());
        let Value::Struct(mut written) = read.value() else { panic!("a struct") };
        assert_eq!(written.take(99), Some(Value::I64(7)));
        assert_eq!(written.take(3), Some("ann".into()));
        assert_eq!(written.take(10), None, "what was not there is not made up");
    }

    #[test]
    fn a_field_of_another_type_is_said_by_name() {
        let error = Table::of(Value::Struct(Struct::default().with(1, 5))).unwrap_err();
        assert!(error.to_string().starts_with("Table.name (field 1) is a I32, where a Bytes is due"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn no_struct_is_too_strange(fields in crate::wire::tests::structure()) {
            let _ = Table::of(Value::Struct(fields.clone()));
            let _ = Partition::of(Value::Struct(fields));
        }
    }
}
