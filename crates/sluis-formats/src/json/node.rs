//! JSON values into columns: what a builder (`tree.rs`) takes from the parser.
//!
//! Deliberately not here: documents, rejects. Guarantees: taking a value, well or badly, makes a node longer by exactly one.

use std::collections::HashMap;

use sluis_core::columns::type_name;

use super::parse::{Bad, Parser, Text, unescape};
use crate::grow::Values;
use crate::tree::{Node, Shape};
use crate::values::{Kind, numbers, time};

impl Node {
    /// Takes the parser's next value.
    pub fn take(&mut self, parser: &mut Parser<'_>) -> Result<(), Bad> {
        let (valid, result) = match &mut self.shape {
            Shape::Scalar(kind, values) => match scalar(kind, values, parser) {
                Ok(valid) => (valid, Ok(())),
                Err(e) => {
                    values.push_default();
                    (false, Err(e))
                }
            },
            Shape::Struct(_, children, index) => {
                let length = self.length;
                let result = fields(children, index, length, parser);
                children.iter_mut().for_each(|c| c.pad(length + 1));
                (matches!(result, Ok(true)), result.map(|_| ()))
            }
            Shape::Map(keys, values, offsets) => {
                let result = entries(keys, values, parser);
                values.pad(keys.count());
                offsets.push(keys.count() as i32);
                (matches!(result, Ok(true)), result.map(|_| ()))
            }
            Shape::List(_, item, offsets) => {
                let result = items(item, parser);
                offsets.push(item.count() as i32);
                (matches!(result, Ok(true)), result.map(|_| ()))
            }
        };
        self.appended(valid);
        result
    }
}

/// Reads an object into its fields; `Ok(false)` for null. What the object lacks is left to the caller to pad.
fn fields(children: &mut [Node], index: &HashMap<Vec<u8>, usize>, length: usize, parser: &mut Parser<'_>) -> Result<bool, Bad> {
    if parser.peek() != Some(b'{') {
        return null_or(parser, "an object");
    }
    parser.expect(b'{', "`{`")?;
    if parser.closes(b'}') {
        return Ok(true);
    }
    let mut unescaped = Vec::new();
    loop {
        let key = parser.key()?;
        let name = name_of(key, &mut unescaped, parser)?;
        let Some(&i) = index.get(name) else {
            // A field that is null says nothing that could be lost.
            if parser.skip()? == b"null" {
                if parser.more(b'}')? {
                    continue;
                }
                return Ok(true);
            }
            return Err(Bad::Unexpected(vec![String::from_utf8_lossy(name).into_owned()]));
        };
        if children[i].count() > length {
            return Err(parser.wrong(&format!("`{}` is there twice", String::from_utf8_lossy(name))));
        }
        children[i].take(parser).map_err(|e| within(e, name))?;
        if !parser.more(b'}')? {
            return Ok(true);
        }
    }
}

/// Puts a name in front of the path of a mistake.
pub fn within(e: Bad, name: &[u8]) -> Bad {
    let name = String::from_utf8_lossy(name).into_owned();
    match e {
        Bad::Value(mut path, message) => {
            path.push(name);
            Bad::Value(path, message)
        }
        Bad::Unexpected(mut path) => {
            path.push(name);
            Bad::Unexpected(path)
        }
        syntax => syntax,
    }
}

/// A key's name, through `scratch` if it has escapes.
pub fn name_of<'b>(key: Text<'b>, scratch: &'b mut Vec<u8>, parser: &Parser<'_>) -> Result<&'b [u8], Bad> {
    if !key.escaped {
        return Ok(key.raw);
    }
    scratch.clear();
    unescape(key, scratch).ok_or_else(|| parser.wrong("an escape in a name is wrong"))?;
    Ok(scratch)
}

/// Reads a list's items; `Ok(false)` for null.
fn items(item: &mut Node, parser: &mut Parser<'_>) -> Result<bool, Bad> {
    if parser.peek() != Some(b'[') {
        return null_or(parser, "a list");
    }
    parser.expect(b'[', "`[`")?;
    if parser.closes(b']') {
        return Ok(true);
    }
    loop {
        item.take(parser)?;
        if !parser.more(b']')? {
            return Ok(true);
        }
    }
}

/// Reads an object as a map; `Ok(false)` for null. Where keys and values are not as many, values lack.
fn entries(keys: &mut Node, values: &mut Node, parser: &mut Parser<'_>) -> Result<bool, Bad> {
    if parser.peek() != Some(b'{') {
        return null_or(parser, "an object");
    }
    parser.expect(b'{', "`{`")?;
    if parser.closes(b'}') {
        return Ok(true);
    }
    let mut unescaped = Vec::new();
    loop {
        let key = parser.key()?;
        let name = name_of(key, &mut unescaped, parser)?;
        let Shape::Scalar(kind, of_keys) = &mut keys.shape else { return Err(parser.wrong("the keys of a map are no nested values")) };
        let known = push(kind, of_keys, name);
        if known.is_none() {
            of_keys.push_default();
        }
        keys.appended(true);
        if known.is_none() {
            return Err(Bad::Value(vec![], kind_complaint(keys, name)));
        }
        values.take(parser).map_err(|e| within(e, name))?;
        if !parser.more(b'}')? {
            return Ok(true);
        }
    }
}

fn kind_complaint(keys: &Node, name: &[u8]) -> String {
    match &keys.shape {
        Shape::Scalar(kind, _) => kind.complaint(name),
        _ => "a key of a map is nested".into(),
    }
}

/// Null, or a value that is not what it should be.
fn null_or(parser: &mut Parser<'_>, wanted: &str) -> Result<bool, Bad> {
    let raw = parser.skip()?;
    if raw == b"null" { Ok(false) } else { Err(Bad::Value(Vec::new(), format!("{} is not {wanted}", shown(raw)))) }
}

fn shown(raw: &[u8]) -> String {
    let mut text = String::from("`");
    crate::values::push_excerpt(&mut text, raw);
    text.push('`');
    text
}

/// Reads a value that is not nested; `Ok(false)` for null (a default has been pushed). After an error nothing has been pushed.
fn scalar(kind: &Kind, values: &mut Values, parser: &mut Parser<'_>) -> Result<bool, Bad> {
    match parser.peek() {
        Some(b'"') => {
            let text = parser.text()?;
            if let Values::Bytes(offsets, bytes) = values {
                if text.escaped {
                    let before = bytes.len();
                    if unescape(text, bytes).is_none() {
                        bytes.truncate(before);
                        return Err(parser.wrong("an escape in a text is wrong"));
                    }
                } else {
                    bytes.extend_from_slice(text.raw);
                }
                offsets.push(bytes.len() as i32);
                return Ok(true);
            }
            let mut plain = Vec::new();
            let raw = if text.escaped {
                unescape(text, &mut plain).ok_or_else(|| parser.wrong("an escape in a text is wrong"))?;
                &plain
            } else {
                text.raw
            };
            if raw.is_empty() {
                values.push_default();
                return Ok(false);
            }
            push(kind, values, raw).ok_or_else(|| Bad::Value(Vec::new(), kind.complaint(raw)))?;
            Ok(true)
        }
        Some(b'{' | b'[') => {
            let raw = parser.skip()?;
            let Values::Bytes(offsets, bytes) = values else {
                return Err(Bad::Value(Vec::new(), format!("{} is no {}", shown(raw), type_name(&kind.data_type()))));
            };
            bytes.extend_from_slice(raw);
            offsets.push(bytes.len() as i32);
            Ok(true)
        }
        _ => {
            let word = parser.word()?;
            if word == b"null" {
                values.push_default();
                return Ok(false);
            }
            push(kind, values, word).ok_or_else(|| Bad::Value(Vec::new(), kind.complaint(word)))?;
            Ok(true)
        }
    }
}

/// Parses and appends; `None` (and nothing appended) if it is no value of the kind.
#[inline]
fn push(kind: &Kind, values: &mut Values, raw: &[u8]) -> Option<()> {
    match (values, kind) {
        (Values::Bool(v), Kind::Bool(words)) => v.append(words.parse(raw)?),
        (Values::I8(v), _) => v.push(i8::try_from(whole(raw)?).ok()?),
        (Values::I16(v), _) => v.push(i16::try_from(whole(raw)?).ok()?),
        (Values::I32(v), Kind::Date(None)) => v.push(time::date(raw)?),
        (Values::I32(v), Kind::Date(Some(p))) => v.push(p.date(raw)?),
        (Values::I32(v), _) => v.push(i32::try_from(whole(raw)?).ok()?),
        (Values::I64(v), Kind::Timestamp(None, _)) => v.push(time::timestamp(raw)?.0),
        (Values::I64(v), Kind::Timestamp(Some(p), _)) => v.push(p.timestamp(raw)?.0),
        (Values::I64(v), _) => v.push(whole(raw)?),
        (Values::F32(v), _) => v.push(numbers::float32(raw, b'.')?),
        (Values::F64(v), _) => v.push(numbers::float64(raw, b'.')?),
        (Values::Decimal(v), Kind::Decimal(p, s)) => v.push(numbers::decimal(raw, *p, *s, b'.')?),
        (Values::Bytes(offsets, bytes), _) => {
            bytes.extend_from_slice(raw);
            offsets.push(bytes.len() as i32);
        }
        (Values::Bool(_) | Values::Decimal(_), _) => return None,
    }
    Some(())
}

/// A whole number, also as JSON writes some: `1.0`, `1e3`.
#[inline]
fn whole(raw: &[u8]) -> Option<i64> {
    numbers::int64(raw).or_else(|| i64::try_from(numbers::decimal(raw, 38, 0, b'.')?).ok())
}
