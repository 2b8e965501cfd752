//! Where a message ends, found as its bytes come in: the binary protocol does not say how long a message is.

use super::Type;
use crate::{Error, Result};

/// How much a scan keeps of where it is.
const DEEPEST: usize = 256;

/// A scan of one message from its head to its end. Feed it the same growing bytes; it goes on where it stopped.
#[derive(Debug)]
pub(crate) struct Scan {
    at: usize,
    expects: Vec<Expect>,
}

#[derive(Debug, Clone, Copy)]
enum Expect {
    /// The head: version and kind, the name, the number.
    Head,
    Field,
    One(Type),
    Many {
        of: Type,
        left: u32,
    },
    Pairs {
        key: Type,
        value: Type,
        left: u32,
    },
}

impl Scan {
    pub(crate) fn new() -> Scan {
        Scan { at: 0, expects: vec![Expect::Field, Expect::Head] }
    }

    /// Where the message ends, if `bytes` have all of it.
    pub(crate) fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        while let Some(expect) = self.expects.pop() {
            if self.expects.len() > DEEPEST {
                return Err(Error::protocol("values lie too deep in each other"));
            }
            let rest = bytes.get(self.at..).unwrap_or_default();
            let Some(taken) = self.next(expect, rest)? else {
                self.expects.push(expect);
                return Ok(None);
            };
            self.at += taken;
        }
        Ok(Some(self.at))
    }

    /// How many bytes of `rest` are behind, after pushing what comes next; `None` if there are too few.
    fn next(&mut self, expect: Expect, rest: &[u8]) -> Result<Option<usize>> {
        let byte = |at: usize| rest.get(at).copied();
        let word = |at: usize| Some(u32::from_be_bytes(*rest.get(at..)?.first_chunk()?));
        // As many bytes as a length says, which lies at `at`.
        let counted = |at: usize| {
            let end = word(at)? as usize + at + 4;
            (rest.len() >= end).then_some(end)
        };
        let fixed = |size: usize| (rest.len() >= size).then_some(size);
        Ok(match expect {
            Expect::Head => {
                if rest.first_chunk::<2>().is_some_and(|version| *version != [0x80, 1]) {
                    return Err(Error::protocol(format!("the answer begins with {}, and not as Thrift's binary protocol does", shown(rest))));
                }
                counted(4).and_then(|end| fixed(end + 4))
            }
            Expect::Field => match byte(0) {
                Some(0) => Some(1),
                Some(kind) if rest.len() >= 3 => {
                    self.expects.push(Expect::Field);
                    self.expects.push(Expect::One(Type::of(kind)?));
                    Some(3)
                }
                _ => None,
            },
            Expect::One(kind) => match kind {
                Type::Bool | Type::I8 => fixed(1),
                Type::I16 => fixed(2),
                Type::I32 => fixed(4),
                Type::I64 | Type::Double => fixed(8),
                Type::Bytes => counted(0),
                Type::Struct => {
                    self.expects.push(Expect::Field);
                    Some(0)
                }
                Type::List | Type::Set => match (byte(0), word(1)) {
                    (_, Some(0)) => Some(5),
                    (Some(of), Some(left)) => {
                        self.expects.push(Expect::Many { of: Type::of(of)?, left });
                        Some(5)
                    }
                    _ => None,
                },
                Type::Map => match (byte(0), byte(1), word(2)) {
                    (_, _, Some(0)) => Some(6),
                    (Some(key), Some(value), Some(left)) => {
                        self.expects.push(Expect::Pairs { key: Type::of(key)?, value: Type::of(value)?, left });
                        Some(6)
                    }
                    _ => None,
                },
            },
            Expect::Many { of, left } => {
                if left > 1 {
                    self.expects.push(Expect::Many { of, left: left - 1 });
                }
                self.expects.push(Expect::One(of));
                Some(0)
            }
            Expect::Pairs { key, value, left } => {
                if left > 1 {
                    self.expects.push(Expect::Pairs { key, value, left: left - 1 });
                }
                self.expects.push(Expect::One(value));
                self.expects.push(Expect::One(key));
                Some(0)
            }
        })
    }
}

/// The first bytes for a person.
fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(16)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::value::tests::structure;
    use super::*;

    fn head() -> Vec<u8> {
        b"\x80\x01\0\x02\0\0\0\x04name\0\0\0\x07".to_vec()
    }

    proptest! {
        #[test]
        fn the_end_is_found_at_the_last_byte(all in structure(), steps in prop::collection::vec(1_usize..9, 1..200)) {
            let mut bytes = head();
            all.write(&mut bytes);
            let mut scan = Scan::new();
            let mut have = 0;
            let mut steps = steps.into_iter().cycle();
            loop {
                have = (have + steps.next().unwrap()).min(bytes.len());
                match scan.end(&bytes[..have]).unwrap() {
                    Some(end) => break prop_assert_eq!(end, bytes.len()),
                    None => prop_assert!(have < bytes.len()),
                }
            }
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Scan::new().end(&bytes);
            let mut with_head = head();
            with_head.extend(bytes);
            let _ = Scan::new().end(&with_head);
        }
    }

    #[test]
    fn what_is_no_metastore_is_seen_at_its_first_bytes() {
        let error = Scan::new().end(b"HTTP/1.1 400").unwrap_err();
        assert!(error.to_string().contains("HTTP/1.1 400"), "{error}");
    }
}
