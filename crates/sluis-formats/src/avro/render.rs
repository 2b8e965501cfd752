//! A value as text: for types that no column has, and for the bytes of rejected rows.
//!
//! Deliberately not here: columns. Guarantees: JSON where a value is nested; the values of a row are counted as elsewhere.

use super::cursor::{Cursor, Lost};
use super::decode::{Context, DEPTH, big_endian, boolean, micros};
use super::schema::Plan;
use crate::cell::{hex, json_text};
use crate::values::format;

/// Appends a value's text. `json`: as a JSON value; else texts stand bare.
pub fn render(plan: &Plan, cursor: &mut Cursor<'_>, context: &mut Context<'_>, json: bool, depth: usize, out: &mut Vec<u8>) -> Result<(), Lost> {
    if depth > DEPTH {
        return Err("values are nested too deeply");
    }
    context.count(1)?;
    let quote = |out: &mut Vec<u8>| {
        if json {
            out.push(b'"');
        }
    };
    match plan {
        Plan::Null => out.extend_from_slice(b"null"),
        Plan::Bool => out.extend_from_slice(if boolean(cursor)? { b"true" } else { b"false" }),
        Plan::Int => format::int(cursor.int()?.into(), out),
        Plan::Long => format::int(cursor.long()?, out),
        Plan::Float => {
            let v = f32::from_le_bytes(cursor.array()?);
            if json && !v.is_finite() { out.extend_from_slice(b"null") } else { format::float32(v, out) }
        }
        Plan::Double => {
            let v = f64::from_le_bytes(cursor.array()?);
            if json && !v.is_finite() { out.extend_from_slice(b"null") } else { format::float64(v, out) }
        }
        Plan::Bytes | Plan::Fixed(_) => {
            let raw = if let Plan::Fixed(n) = plan { cursor.take(*n)? } else { cursor.bytes()? };
            quote(out);
            hex(raw, out);
            quote(out);
        }
        Plan::Text => text(cursor.bytes()?, json, out),
        Plan::Enum(symbols) => {
            let symbol = usize::try_from(cursor.long()?).ok().and_then(|n| symbols.get(n)).ok_or("an enum has no such symbol")?;
            text(symbol.as_bytes(), json, out);
        }
        Plan::Date => {
            quote(out);
            format::date(cursor.int()?, out);
            quote(out);
        }
        Plan::Time(in_micros) => {
            let raw = if *in_micros { cursor.long()? } else { i64::from(cursor.int()?) * 1000 };
            quote(out);
            if (0..crate::values::time::DAY).contains(&raw) {
                format::time(raw, out)
            } else {
                format::int(raw, out)
            }
            quote(out);
        }
        Plan::Timestamp { unit, zone } => {
            let raw = cursor.long()?;
            quote(out);
            match micros(raw, *unit) {
                Some(micros) => {
                    format::timestamp(micros, if json { b'T' } else { b' ' }, out);
                    out.extend_from_slice(if *zone { b"Z" } else { b"" });
                }
                None => format::int(raw, out),
            }
            quote(out);
        }
        Plan::Decimal { scale, fixed, .. } => {
            let raw = if let Some(n) = fixed { cursor.take(*n)? } else { cursor.bytes()? };
            match big_endian(raw) {
                Some(value) => format::decimal(value, *scale as i8, out),
                None => {
                    quote(out);
                    hex(raw, out);
                    quote(out);
                }
            }
        }
        Plan::Uuid => {
            let raw: [u8; 16] = cursor.array()?;
            quote(out);
            for (n, part) in [&raw[..4], &raw[4..6], &raw[6..8], &raw[8..10], &raw[10..]].into_iter().enumerate() {
                if n > 0 {
                    out.push(b'-');
                }
                hex(part, out);
            }
            quote(out);
        }
        Plan::Duration => {
            let part = |cursor: &mut Cursor<'_>| Ok::<_, Lost>(u32::from_le_bytes(cursor.array()?));
            let (months, days, millis) = (part(cursor)?, part(cursor)?, part(cursor)?);
            quote(out);
            out.extend_from_slice(format!("P{months}M{days}DT{}.{:03}S", millis / 1000, millis % 1000).as_bytes());
            quote(out);
        }
        Plan::List(_) | Plan::Map(_) | Plan::Record(_) => nested(plan, cursor, context, depth, out)?,
        Plan::Nullable(inner, null) => {
            let branch = cursor.long()?;
            if branch == *null {
                out.extend_from_slice(b"null");
            } else if branch == 1 - null {
                render(inner, cursor, context, json, depth + 1, out)?;
            } else {
                return Err("a union has no such branch");
            }
        }
        Plan::Union(branches, _) => {
            let branch = usize::try_from(cursor.long()?).ok().and_then(|n| branches.get(n)).ok_or("a union has no such branch")?;
            render(branch, cursor, context, json, depth + 1, out)?;
        }
        Plan::Recursive(name) => {
            let schema = &context.header.schema;
            let plan = schema.named.get(name).ok_or("a type that is not defined")?;
            render(plan, cursor, context, json, depth + 1, out)?;
        }
    }
    Ok(())
}

/// An object or a list, as JSON.
fn nested(plan: &Plan, cursor: &mut Cursor<'_>, context: &mut Context<'_>, depth: usize, out: &mut Vec<u8>) -> Result<(), Lost> {
    let mut first = true;
    let mut comma = |out: &mut Vec<u8>| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
    };
    match plan {
        Plan::List(item) => {
            out.push(b'[');
            cursor.blocks(|cursor| {
                comma(out);
                render(item, cursor, context, true, depth + 1, out)
            })?;
            out.push(b']');
        }
        Plan::Map(value) => {
            out.push(b'{');
            cursor.blocks(|cursor| {
                comma(out);
                text(cursor.bytes()?, true, out);
                out.push(b':');
                render(value, cursor, context, true, depth + 1, out)
            })?;
            out.push(b'}');
        }
        Plan::Record(fields) => {
            out.push(b'{');
            for (name, plan) in fields.iter() {
                comma(out);
                json_text(name, out);
                out.push(b':');
                render(plan, cursor, context, true, depth + 1, out)?;
            }
            out.push(b'}');
        }
        _ => {}
    }
    Ok(())
}

/// Text; in JSON what is no UTF-8 is replaced.
fn text(raw: &[u8], json: bool, out: &mut Vec<u8>) {
    if json { json_text(&String::from_utf8_lossy(raw), out) } else { out.extend_from_slice(raw) }
}
