//! The schema of a sample of JSON files.
//!
//! Deliberately not here: decoding. Guarantees: a file without rows changes nothing; a known type stays wherever it holds the values seen;
//! values of types that do not go together become text (JSON text where they are nested).

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use sluis_core::columns::widen;

use super::config::{JsonReading, Nested};
use super::parse::{Bad, DEPTH, Parser, unescape};
use crate::values::Kind;
use crate::values::guess::Guess;

/// What the values of a column or field have been so far.
#[derive(Default)]
pub struct Seen {
    /// Numbers, and texts, by what they look like.
    number: Option<Guess>,
    text: bool,
    boolean: bool,
    fields: Option<Fields>,
    items: Option<Box<Seen>>,
    /// The known type of a top column, and whether it holds everything so far.
    known: Option<Kind>,
    unfit: bool,
}

#[derive(Default)]
struct Fields {
    order: Vec<(String, Seen)>,
    by_name: HashMap<Vec<u8>, usize>,
}

impl Fields {
    fn get(&mut self, name: &[u8], known: impl FnOnce(&str) -> Option<Kind>) -> &mut Seen {
        let i = *self.by_name.entry(name.to_vec()).or_insert_with(|| {
            let text = String::from_utf8_lossy(name).into_owned();
            let seen = Seen { known: known(&text), ..Seen::default() };
            self.order.push((text, seen));
            self.order.len() - 1
        });
        &mut self.order[i].1
    }
}

/// Gathers documents.
pub struct Inference<'a> {
    json: &'a JsonReading,
    known: Option<&'a SchemaRef>,
    fields: Fields,
}

impl<'a> Inference<'a> {
    pub fn new(json: &'a JsonReading, known: Option<&'a SchemaRef>) -> Self {
        Self { json, known, fields: Fields::default() }
    }

    /// Looks at a document; what is no row is passed over.
    pub fn document(&mut self, raw: &[u8]) {
        if raw.trim_ascii().is_empty() || std::str::from_utf8(raw).is_err() {
            return;
        }
        // Checked as a whole first, so that half a document leaves no trace.
        let mut check = Parser::new(raw);
        if check.peek() != Some(b'{') || check.skip().is_err() || check.end().is_err() {
            return;
        }
        let (json, known) = (self.json, self.known);
        let kind = |name: &str| known.and_then(|k| k.field_with_name(name).ok()).map(|f| json.reading.kind(name, f.data_type()));
        // It has been checked: nothing can go wrong.
        let _ = match json.nested {
            Nested::Flatten => flat(json, &mut self.fields, &mut Parser::new(raw), &mut Vec::new(), &kind, 0),
            Nested::Keep | Nested::Text => object(&mut self.fields, &mut Parser::new(raw), &kind),
        };
    }

    /// The schema: declared columns, known ones, new ones.
    pub fn schema(self) -> SchemaRef {
        let json = self.json;
        let mut fields: Vec<Field> = json.declared.fields().iter().map(|f| f.as_ref().clone()).collect();
        let mut seen: HashMap<String, DataType> = HashMap::new();
        let mut order = Vec::new();
        // What held nothing but nulls, where objects are flattened: an object that was never there.
        let separator = String::from_utf8_lossy(&json.separator);
        let is_prefix = |name: &str| self.fields.order.iter().any(|(n, _)| n.strip_prefix(name).is_some_and(|rest| rest.starts_with(&*separator)));
        let gone: Vec<bool> =
            self.fields.order.iter().map(|(n, s)| json.nested == Nested::Flatten && s.data_type().is_none() && is_prefix(n)).collect();
        for ((name, column), _) in self.fields.order.into_iter().zip(gone).filter(|(_, gone)| !gone) {
            let fits = column.known.is_some() && !column.unfit;
            let known = self.known.and_then(|k| k.field_with_name(&name).ok()).map(|f| f.data_type().clone());
            let new = column.data_type().map(|t| if json.nested == Nested::Text && t.is_nested() { DataType::Utf8 } else { t });
            let data_type = match (new, known) {
                (_, Some(known)) if fits => known,
                (Some(new), Some(known)) => widen(&known, &new),
                (None, Some(known)) => known,
                (new, None) => new.unwrap_or(DataType::Utf8),
            };
            order.push(name.clone());
            seen.insert(name, if json.reading.all_text { DataType::Utf8 } else { data_type });
        }
        let mut add = |field: Field| {
            if !fields.iter().any(|f| f.name() == field.name()) {
                fields.push(field);
            }
        };
        for field in self.known.iter().flat_map(|k| k.fields()) {
            let data_type = seen.get(field.name()).unwrap_or(field.data_type()).clone();
            add(Field::new(field.name(), data_type, true));
        }
        for name in order {
            let data_type = seen.remove(&name).unwrap_or(DataType::Utf8);
            add(Field::new(name, data_type, true));
        }
        Arc::new(Schema::new(fields))
    }
}

/// The narrowest type that holds what `have` holds, and this value, which is not of it.
pub fn fitting(have: &DataType, raw: &[u8]) -> DataType {
    let mut seen = Seen::default();
    if seen.value(&mut Parser::new(raw)).is_err() {
        return have.clone();
    }
    match (have, seen.data_type()) {
        (_, None) => have.clone(),
        (DataType::Float32 | DataType::Float64, Some(DataType::Int64 | DataType::Decimal128(..))) => DataType::Utf8,
        // A text may be of a type by what it says; if so, the column holds it.
        (_, Some(new)) => widen(have, &new),
    }
}

fn object(fields: &mut Fields, parser: &mut Parser<'_>, known: &dyn Fn(&str) -> Option<Kind>) -> Result<(), Bad> {
    parser.expect(b'{', "`{`")?;
    if parser.closes(b'}') {
        return Ok(());
    }
    loop {
        let key = parser.key()?;
        let mut name = Vec::new();
        unescape(key, &mut name).ok_or_else(|| parser.wrong("escape"))?;
        fields.get(&name, known).value(parser)?;
        if !parser.more(b'}')? {
            return Ok(());
        }
    }
}

/// The fields of an object, those of objects within it by their long names.
fn flat(
    json: &JsonReading,
    fields: &mut Fields,
    parser: &mut Parser<'_>,
    prefix: &mut Vec<u8>,
    known: &dyn Fn(&str) -> Option<Kind>,
    depth: usize,
) -> Result<(), Bad> {
    parser.expect(b'{', "`{`")?;
    if depth > DEPTH || parser.closes(b'}') {
        return Ok(());
    }
    loop {
        let key = parser.key()?;
        let length = prefix.len();
        unescape(key, prefix).ok_or_else(|| parser.wrong("escape"))?;
        if parser.peek() == Some(b'{') && json.flattens(prefix) {
            prefix.extend_from_slice(&json.separator);
            flat(json, fields, parser, prefix, known, depth + 1)?;
        } else {
            fields.get(prefix, known).value(parser)?;
        }
        prefix.truncate(length);
        if !parser.more(b'}')? {
            return Ok(());
        }
    }
}

impl Seen {
    fn value(&mut self, parser: &mut Parser<'_>) -> Result<(), Bad> {
        match parser.peek() {
            Some(b'{') => {
                self.unfit |= self.known.as_ref().is_some_and(|k| !matches!(k, Kind::Text | Kind::Binary));
                object(self.fields.get_or_insert_default(), parser, &|_| None)
            }
            Some(b'[') => {
                self.unfit |= self.known.as_ref().is_some_and(|k| !matches!(k, Kind::Text | Kind::Binary));
                parser.expect(b'[', "`[`")?;
                let items = self.items.get_or_insert_default();
                if parser.closes(b']') {
                    return Ok(());
                }
                loop {
                    items.value(parser)?;
                    if !parser.more(b']')? {
                        return Ok(());
                    }
                }
            }
            Some(b'"') => {
                let mut text = Vec::new();
                unescape(parser.text()?, &mut text).ok_or_else(|| parser.wrong("escape"))?;
                self.text = true;
                self.unfit |= self.known.as_ref().is_some_and(|k| !text.is_empty() && !k.holds(&text, b'.'));
                Ok(())
            }
            _ => {
                let word = parser.word()?;
                if word == b"null" {
                    return Ok(());
                }
                self.unfit |= self.known.as_ref().is_some_and(|k| !k.holds(word, b'.'));
                match word {
                    b"true" | b"false" => self.boolean = true,
                    b"NaN" | b"Infinity" | b"-Infinity" => self.number.get_or_insert_default().observe(b"0.5", b'.'),
                    number => self.number.get_or_insert_default().observe(number, b'.'),
                }
                Ok(())
            }
        }
    }

    /// `None`: nothing but nulls.
    fn data_type(&self) -> Option<DataType> {
        let kinds = [self.number.is_some(), self.text, self.boolean, self.fields.is_some(), self.items.is_some()];
        match kinds.iter().filter(|k| **k).count() {
            0 => return None,
            1 => {}
            _ => return Some(DataType::Utf8),
        }
        Some(if let Some(guess) = self.number {
            guess.data_type().unwrap_or(DataType::Float64)
        } else if self.boolean {
            DataType::Boolean
        } else if let Some(items) = &self.items {
            DataType::List(Arc::new(Field::new("item", items.data_type().unwrap_or(DataType::Utf8), true)))
        } else if let Some(fields) = self.fields.as_ref().filter(|f| !f.order.is_empty()) {
            DataType::Struct(fields.order.iter().map(|(n, s)| Field::new(n, s.data_type().unwrap_or(DataType::Utf8), true)).collect())
        } else {
            // Texts, and objects that never had a field, which no table can hold.
            DataType::Utf8
        })
    }
}
