//! Calls and replies.

use super::{Struct, Value};
use crate::{Error, Kind, Result};

/// A call, ready to send.
pub(crate) fn call(method: &str, number: i32, arguments: &Struct) -> Vec<u8> {
    let mut out = 0x8001_0001_u32.to_be_bytes().to_vec();
    out.extend((method.len() as u32).to_be_bytes());
    out.extend(method.as_bytes());
    out.extend(number.to_be_bytes());
    arguments.write(&mut out);
    out
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    /// The result's struct: field 0, or one of the exceptions that the method declares.
    Result(Struct),
    /// What the server's Thrift says (`TApplicationException`): its kind and text.
    Failed(i32, String),
}

/// Reads the reply to the call `number` of `method`.
pub(crate) fn reply(bytes: &[u8], method: &str, number: i32) -> Result<Reply> {
    let short = || Error::protocol("the answer ends within its head");
    let (version, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    let (name, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(short)?;
    let (theirs, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    let theirs = i32::from_be_bytes(*theirs);
    if name != method.as_bytes() || theirs != number {
        let name = String::from_utf8_lossy(name);
        return Err(Error::protocol(format!("an answer to call {theirs} of {name}, where call {number} of {method} was sent")));
    }
    let mut body = Struct::read_all(rest)?;
    match version {
        [0x80, 1, _, 2] => Ok(Reply::Result(body)),
        [0x80, 1, _, 3] => {
            let text = match body.take(1) {
                Some(Value::Bytes(text)) => String::from_utf8_lossy(&text).into_owned(),
                _ => "no reason given".to_owned(),
            };
            let Some(Value::I32(kind)) = body.take(2) else { return Ok(Reply::Failed(0, text)) };
            Ok(Reply::Failed(kind, text))
        }
        other => Err(Error::protocol(format!("a message of the kind {other:?}, where an answer is due"))),
    }
}

/// The class of a `TApplicationException`.
pub(crate) fn class(kind: i32) -> Kind {
    match kind {
        1 => Kind::UnknownMethod,
        7 => Kind::Protocol,
        _ => Kind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_reply_is_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = reply(&bytes, "x", 1);
        }
    }

    #[test]
    fn a_reply_belongs_to_its_call() {
        let mut bytes = call("ping", 7, &Struct::default().with(0, 5));
        bytes[3] = 2;
        assert_eq!(reply(&bytes, "ping", 7).unwrap(), Reply::Result(Struct::default().with(0, 5)));
        assert!(reply(&bytes, "ping", 8).is_err() && reply(&bytes, "pong", 7).is_err());
        bytes[3] = 1;
        assert!(reply(&bytes, "ping", 7).is_err(), "a call is no reply");
        let mut failed = call("ping", 7, &Struct::default().with(1, "Invalid method name: 'ping'").with(2, 1));
        failed[3] = 3;
        assert_eq!(reply(&failed, "ping", 7).unwrap(), Reply::Failed(1, "Invalid method name: 'ping'".into()));
        assert_eq!(class(1), Kind::UnknownMethod);
    }
}
