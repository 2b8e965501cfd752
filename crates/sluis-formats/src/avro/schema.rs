//! Avro schemas: what a file says of its values, and the column types they become.
//!
//! Deliberately not here: values. Guarantees: a schema that refers to itself, or that unites types no column can hold, still has a plan: its
//! values become text (JSON where they are nested). A schema of more than 100,000 types is damage, however few bytes it has.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use serde_json::{Map, Value};
use sluis_core::columns::map_of;

/// Types in a schema, at most, every use of a named one counted.
const LIMIT: usize = 100_000;
/// The column of files whose top is no record.
const VALUE: &str = "value";

/// How to read a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    Null,
    Bool,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    Enum(Arc<Vec<String>>),
    Date,
    /// Time of day: whether in microseconds (else milliseconds).
    Time(bool),
    /// A moment, or a local time; nanoseconds, or how many microseconds a unit has.
    Timestamp {
        unit: Unit,
        zone: bool,
    },
    /// With at most 38 digits.
    Decimal {
        precision: u8,
        scale: u8,
        fixed: Option<usize>,
    },
    /// The sixteen bytes of a UUID.
    Uuid,
    /// Months, days, milliseconds.
    Duration,
    List(Arc<Plan>),
    Map(Arc<Plan>),
    Record(Arc<Vec<(String, Plan)>>),
    /// A value or null, and which branch is null.
    Nullable(Arc<Plan>, i64),
    /// Any of several types: read as the widest of numbers, or as text.
    Union(Arc<Vec<Plan>>, UnionType),
    /// A named type within itself.
    Recursive(Arc<str>),
}

/// What the values of a union become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnionType {
    Long,
    Double,
    Text,
}

/// The unit of a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Millis,
    Micros,
    Nanos,
}

/// A file's schema.
#[derive(Debug)]
pub struct Parsed {
    /// The columns.
    pub columns: Arc<Vec<(String, Plan)>>,
    /// How many types it has.
    pub size: usize,
    /// Named types, for values that hold themselves.
    pub named: HashMap<Arc<str>, Plan>,
}

impl Parsed {
    /// Parses a schema.
    ///
    /// # Errors
    /// A sentence.
    pub fn new(json: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(json).map_err(|e| format!("its schema is no JSON: {e}"))?;
        let mut parser = Parser { named: HashMap::new(), open: Vec::new() };
        let (plan, size) = parser.parse(&value, "")?;
        let named = parser.named.into_iter().map(|(name, (plan, _))| (name, plan)).collect();
        let columns = match plan {
            Plan::Record(fields) => fields,
            other => Arc::new(vec![(VALUE.to_owned(), other)]),
        };
        Ok(Self { columns, size, named })
    }

    /// The columns as Arrow has them.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(|(name, plan)| Field::new(name, plan.data_type(), true)).collect::<Vec<_>>()))
    }
}

impl Plan {
    /// The type of the column.
    pub fn data_type(&self) -> DataType {
        match self {
            Plan::Bool => DataType::Boolean,
            Plan::Int => DataType::Int32,
            Plan::Long => DataType::Int64,
            Plan::Float => DataType::Float32,
            Plan::Double => DataType::Float64,
            Plan::Bytes | Plan::Fixed(_) => DataType::Binary,
            Plan::Date => DataType::Date32,
            Plan::Timestamp { zone, .. } => DataType::Timestamp(TimeUnit::Microsecond, zone.then(|| "UTC".into())),
            Plan::Decimal { precision, scale, .. } => DataType::Decimal128(*precision, *scale as i8),
            Plan::List(item) => DataType::List(item_field(item.data_type())),
            Plan::Map(value) => map_of(DataType::Utf8, value.data_type()),
            Plan::Record(fields) if !fields.is_empty() => {
                DataType::Struct(fields.iter().map(|(name, plan)| Field::new(name, plan.data_type(), true)).collect())
            }
            Plan::Nullable(inner, _) => inner.data_type(),
            Plan::Union(_, UnionType::Long) => DataType::Int64,
            Plan::Union(_, UnionType::Double) => DataType::Float64,
            // A record without fields is no column's type; nor are times of day and durations.
            Plan::Null | Plan::Text | Plan::Enum(_) | Plan::Time(_) | Plan::Uuid | Plan::Duration => DataType::Utf8,
            Plan::Record(_) | Plan::Union(_, UnionType::Text) | Plan::Recursive(_) => DataType::Utf8,
        }
    }
}

fn item_field(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("item", data_type, true))
}

struct Parser {
    /// Plans of named types, and how many types each has.
    named: HashMap<Arc<str>, (Plan, usize)>,
    /// Names being defined.
    open: Vec<Arc<str>>,
}

type Sized = (Plan, usize);

impl Parser {
    fn parse(&mut self, value: &Value, namespace: &str) -> Result<Sized, String> {
        let (plan, size) = match value {
            Value::String(name) => self.by_name(name, namespace)?,
            Value::Array(branches) => self.union(branches, namespace)?,
            Value::Object(map) => self.object(map, namespace)?,
            other => return Err(format!("`{}` is no type in its schema", shown(other))),
        };
        if size > LIMIT { Err(format!("its schema has more than {LIMIT} types")) } else { Ok((plan, size)) }
    }

    fn by_name(&self, name: &str, namespace: &str) -> Result<Sized, String> {
        let plain = match name {
            "null" => Plan::Null,
            "boolean" => Plan::Bool,
            "int" => Plan::Int,
            "long" => Plan::Long,
            "float" => Plan::Float,
            "double" => Plan::Double,
            "bytes" => Plan::Bytes,
            "string" => Plan::Text,
            _ => {
                let full = full_name(name, namespace);
                for name in [full.as_str(), name] {
                    if let Some(found) = self.named.get(name) {
                        return Ok(found.clone());
                    }
                    if let Some(open) = self.open.iter().find(|n| n.as_ref() == name) {
                        return Ok((Plan::Recursive(open.clone()), 1));
                    }
                }
                return Err(format!("its schema names the type `{name}` and does not define it"));
            }
        };
        Ok((plain, 1))
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Result<Sized, String> {
        let mut plans = Vec::with_capacity(branches.len());
        let mut size = 1_usize;
        for branch in branches {
            let (plan, more) = self.parse(branch, namespace)?;
            size = size.saturating_add(more);
            plans.push(plan);
        }
        let null = plans.iter().position(|p| *p == Plan::Null);
        let plan = match (plans.len(), null) {
            (0, _) => return Err("a union in its schema has no types".into()),
            (2, Some(null)) => Plan::Nullable(Arc::new(plans.swap_remove(1 - null)), null as i64),
            _ => {
                let all = |test: fn(&Plan) -> bool| plans.iter().all(|p| *p == Plan::Null || test(p));
                let kind = if all(|_| false) {
                    UnionType::Text
                } else if all(|p| matches!(p, Plan::Int | Plan::Long)) {
                    UnionType::Long
                } else if all(|p| matches!(p, Plan::Float | Plan::Double | Plan::Int)) {
                    UnionType::Double
                } else {
                    UnionType::Text
                };
                Plan::Union(Arc::new(plans), kind)
            }
        };
        Ok((plan, size))
    }

    fn object(&mut self, map: &Map<String, Value>, namespace: &str) -> Result<Sized, String> {
        let kind = match map.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            // `{"type": {"type": "array", …}}`, `{"type": ["null", …]}`
            Some(nested @ (Value::Object(_) | Value::Array(_))) => return self.parse(nested, namespace),
            _ => return Err(format!("`{}` in its schema has no type", shown(&Value::Object(map.clone())))),
        };
        let child = |key: &str| map.get(key).ok_or_else(|| format!("a type `{kind}` in its schema has no `{key}`"));
        match kind {
            "record" | "error" => self.record(map, namespace),
            "enum" => {
                let symbols = child("symbols")?.as_array().into_iter().flatten().map(|s| s.as_str().map(str::to_owned));
                let symbols = symbols.collect::<Option<Vec<_>>>().ok_or("an enum in its schema has symbols that are no texts")?;
                let size = 1 + symbols.len() / 16;
                self.define(map, namespace, (Plan::Enum(Arc::new(symbols)), size))
            }
            "fixed" => {
                let size = child("size")?.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= 1 << 30);
                let size = size.ok_or("a fixed type in its schema has no sensible size")?;
                self.define(map, namespace, (fixed(map, size), 1))
            }
            "array" => {
                let (item, size) = self.parse(child("items")?, namespace)?;
                Ok((Plan::List(Arc::new(item)), size.saturating_add(1)))
            }
            "map" => {
                let (value, size) = self.parse(child("values")?, namespace)?;
                Ok((Plan::Map(Arc::new(value)), size.saturating_add(2)))
            }
            name => {
                let (plan, size) = self.by_name(name, namespace)?;
                Ok((logical(map, plan), size))
            }
        }
    }

    fn record(&mut self, map: &Map<String, Value>, namespace: &str) -> Result<Sized, String> {
        let name = own_name(map, namespace)?;
        let inner = name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        self.open.push(name.clone());
        let mut fields: Vec<(String, Plan)> = Vec::new();
        let mut size = 1_usize;
        for field in map.get("fields").and_then(Value::as_array).ok_or_else(|| format!("the record `{name}` in its schema has no fields"))? {
            let of_field = field.get("name").and_then(Value::as_str).zip(field.get("type"));
            let (field_name, kind) = of_field.ok_or_else(|| format!("a field of `{name}` in its schema has no name or no type"))?;
            if fields.iter().any(|(have, _)| have == field_name) {
                return Err(format!("the record `{name}` in its schema has two fields `{field_name}`"));
            }
            // A logical type beside the field's type, where some writers put it.
            let (plan, more) = match (kind, field.as_object()) {
                (Value::String(_), Some(field)) if field.contains_key("logicalType") => self.object(field, &inner)?,
                _ => self.parse(kind, &inner)?,
            };
            size = size.saturating_add(more);
            if size > LIMIT {
                return Err(format!("its schema has more than {LIMIT} types"));
            }
            fields.push((field_name.to_owned(), plan));
        }
        self.open.pop();
        let plan = Plan::Record(Arc::new(fields));
        self.named.insert(name, (plan.clone(), size));
        Ok((plan, size))
    }

    fn define(&mut self, map: &Map<String, Value>, namespace: &str, made: Sized) -> Result<Sized, String> {
        self.named.insert(own_name(map, namespace)?, made.clone());
        Ok(made)
    }
}

fn own_name(map: &Map<String, Value>, namespace: &str) -> Result<Arc<str>, String> {
    let name = map.get("name").and_then(Value::as_str).ok_or("a named type in its schema has no name")?;
    let namespace = map.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
    Ok(full_name(name, namespace).into())
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

fn logical_name(map: &Map<String, Value>) -> &str {
    map.get("logicalType").and_then(Value::as_str).unwrap_or_default()
}

/// A logical type that does not fit its type is ignored, as the specification asks.
fn logical(map: &Map<String, Value>, plain: Plan) -> Plan {
    let stamp = |unit, zone| Plan::Timestamp { unit, zone };
    match (logical_name(map), plain) {
        ("date", Plan::Int) => Plan::Date,
        ("time-millis", Plan::Int) => Plan::Time(false),
        ("time-micros", Plan::Long) => Plan::Time(true),
        ("timestamp-millis", Plan::Long) => stamp(Unit::Millis, true),
        ("timestamp-micros", Plan::Long) => stamp(Unit::Micros, true),
        ("timestamp-nanos", Plan::Long) => stamp(Unit::Nanos, true),
        ("local-timestamp-millis", Plan::Long) => stamp(Unit::Millis, false),
        ("local-timestamp-micros", Plan::Long) => stamp(Unit::Micros, false),
        ("local-timestamp-nanos", Plan::Long) => stamp(Unit::Nanos, false),
        ("decimal", Plan::Bytes) => decimal(map, None).unwrap_or(Plan::Bytes),
        (_, plain) => plain,
    }
}

fn fixed(map: &Map<String, Value>, size: usize) -> Plan {
    match logical_name(map) {
        "decimal" => decimal(map, Some(size)).unwrap_or(Plan::Fixed(size)),
        "uuid" if size == 16 => Plan::Uuid,
        "duration" if size == 12 => Plan::Duration,
        _ => Plan::Fixed(size),
    }
}

/// A decimal that a column can hold; others stay bytes.
fn decimal(map: &Map<String, Value>, fixed: Option<usize>) -> Option<Plan> {
    let precision = map.get("precision")?.as_u64().filter(|p| (1..=38).contains(p))?;
    let scale = map.get("scale").map_or(Some(0), Value::as_u64).filter(|s| *s <= precision)?;
    Some(Plan::Decimal { precision: precision as u8, scale: scale as u8, fixed })
}

fn shown(value: &Value) -> String {
    let mut out = String::new();
    crate::values::push_excerpt(&mut out, value.to_string().as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluis_core::columns::type_name;

    fn types(json: &str) -> Result<String, String> {
        let parsed = Parsed::new(json.as_bytes())?;
        Ok(parsed.schema().fields().iter().map(|f| format!("{} {}", f.name(), type_name(f.data_type()))).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn every_type_has_a_column() {
        let json = r#"{"type":"record","name":"r","namespace":"n","fields":[
            {"name":"a","type":["null","long"]}, {"name":"b","type":{"type":"int","logicalType":"date"}},
            {"name":"c","type":{"type":"fixed","name":"f","size":9,"logicalType":"decimal","precision":20,"scale":4}},
            {"name":"d","type":["f","null"]}, {"name":"e","type":{"type":"array","items":{"type":"map","values":"string"}}},
            {"name":"g","type":{"type":"enum","name":"x.E","symbols":["A"]}}, {"name":"h","type":["int","null","long"]},
            {"name":"i","type":["int","string"]}, {"name":"j","type":{"type":"record","name":"empty","fields":[]}},
            {"name":"k","type":"long","logicalType":"timestamp-millis"}, {"name":"l","type":{"type":"long","logicalType":"local-timestamp-nanos"}},
            {"name":"m","type":{"type":"bytes","logicalType":"decimal","precision":50}}, {"name":"n","type":"x.E"},
            {"name":"o","type":["null",{"type":"record","name":"p","fields":[{"name":"next","type":["null","p"]},{"name":"v","type":"float"}]}]}]}"#;
        assert_eq!(
            types(json).unwrap(),
            "a bigint, b date, c decimal(20,4), d decimal(20,4), e list<map<string, string>>, g string, h bigint, \
             i string, j string, k timestamptz, l timestamp, m binary, n string, o struct<next: string, v: float>"
        );
        assert_eq!(types("\"double\"").unwrap(), "value double");
    }

    #[test]
    fn what_is_no_schema_is_said() {
        let record = |fields: &str| format!(r#"{{"type":"record","name":"r","fields":[{fields}]}}"#);
        for bad in [
            "",
            "[]",
            "1",
            "{}",
            "\"nobody\"",
            &record(r#"{"name":"a"}"#),
            &record(r#"{"name":"a","type":"int"},{"name":"a","type":"int"}"#),
            r#"{"type":"fixed","name":"f","size":-1}"#,
            r#"{"type":"enum","name":"e","symbols":[1]}"#,
        ] {
            assert!(types(bad).is_err(), "{bad}");
        }
        // Each record has the one before twice: a few lines of schema, a million types.
        let mut fields = r#"{"name":"a0","type":{"type":"record","name":"r0","fields":[]}}"#.to_owned();
        for i in 1..40 {
            let below = i - 1;
            fields += &format!(
                r#",{{"name":"a{i}","type":{{"type":"record","name":"r{i}","fields":[{{"name":"x","type":"r{below}"}},{{"name":"y","type":"r{below}"}}]}}}}"#
            );
        }
        assert!(types(&record(&fields)).unwrap_err().contains("types"));
    }
}
