//! The decoder against a naive model, whatever the dialect and wherever the bytes are cut.

use proptest::prelude::*;
use sluis_core::RejectReason;

use crate::cell::Cells;
use crate::csv::config::{CsvRead, Header, Ragged, Reading};
use crate::csv::decode::decode_block;
use crate::csv::dialect::{Dialect, Newline, Terminator};
use crate::csv::frame::Framer;
use crate::csv::layout::Layout;

/// What a record comes to: its fields (`None` = null), or the reason why it is rejected; with line and raw bytes.
type Item = (Result<Vec<Option<String>>, RejectReason>, u64, Vec<u8>);

/// One byte after another, by the definition in `scan.rs`, text columns only.
struct Model<'a> {
    bytes: &'a [u8],
    d: &'a Dialect,
}

impl Model<'_> {
    fn delimiter_at(&self, at: usize) -> bool {
        !self.d.delimiter.is_empty() && self.bytes[at..].starts_with(&self.d.delimiter)
    }
    /// Whether a CR that ends the file ends its last line.
    fn returns(&self) -> bool {
        !matches!(self.d.newline, Newline::Text(_))
    }
    fn line_end_at(&self, at: usize) -> Option<usize> {
        if let Newline::Text(t) = &self.d.newline {
            return self.bytes[at..].starts_with(t.text()).then(|| at + t.text().len());
        }
        match (self.bytes[at], self.d.newline) {
            (b'\n', _) => Some(at + 1),
            (b'\r', Newline::Any) if self.bytes.get(at + 1) == Some(&b'\n') => Some(at + 2),
            (b'\r', Newline::Any) => Some(at + 1),
            (b'\r', Newline::Lf) if self.bytes.get(at + 1) == Some(&b'\n') => Some(at + 2),
            _ => None,
        }
    }
    /// End of the first line from `at` on, and the start of the next.
    fn line(&self, at: usize) -> (usize, usize) {
        (at..self.bytes.len()).find_map(|i| self.line_end_at(i).map(|next| (i, next))).unwrap_or_else(|| {
            let n = self.bytes.len();
            (n - usize::from(n > at && self.bytes[n - 1] == b'\r' && self.returns()), n)
        })
    }
    /// The record at `start`: fields (text, whether quoted) and its end and the next one's start, or where a bad quote opens.
    fn record(&self, start: usize) -> Result<(Vec<(Vec<u8>, bool)>, usize, usize), usize> {
        let (b, d) = (self.bytes, self.d);
        let mut fields = Vec::new();
        let mut at = start;
        // End of the last escaped byte outside of quotes.
        let mut literal = 0;
        loop {
            let mut quoted_at = at;
            while d.trim && quoted_at < b.len() && matches!(b[quoted_at], b' ' | b'\t') && !self.delimiter_at(quoted_at) {
                quoted_at += 1;
            }
            let mut text = Vec::new();
            let quoted = quoted_at < b.len() && Some(b[quoted_at]) == d.quote;
            if quoted {
                let q = b[quoted_at];
                at = quoted_at + 1;
                loop {
                    match b.get(at) {
                        None => return Err(quoted_at),
                        Some(x) if Some(*x) == d.escape => {
                            text.push(*b.get(at + 1).unwrap_or(x));
                            at += 2;
                        }
                        Some(x) if *x == q && b.get(at + 1) == Some(&q) => {
                            text.push(q);
                            at += 2;
                        }
                        Some(x) if *x == q => break,
                        Some(x) => {
                            text.push(*x);
                            at += 1;
                        }
                    }
                }
                at += 1;
                while at < b.len() && matches!(b[at], b' ' | b'\t') && !self.delimiter_at(at) {
                    at += 1;
                }
                let lone_cr_at_the_end = at + 1 == b.len() && b[at] == b'\r' && self.returns();
                if at < b.len() && !self.delimiter_at(at) && self.line_end_at(at).is_none() && !lone_cr_at_the_end {
                    return Err(quoted_at);
                }
                if lone_cr_at_the_end {
                    fields.push((text, true));
                    return Ok((fields, at, b.len()));
                }
            } else {
                // What escapes protect from being trimmed.
                let mut kept = (usize::MAX, 0);
                while at < b.len() && !self.delimiter_at(at) && self.line_end_at(at).is_none() {
                    if Some(b[at]) == d.escape {
                        text.push(*b.get(at + 1).unwrap_or(&b[at]));
                        kept = (kept.0.min(text.len() - 1), text.len());
                        at += 1;
                        literal = at + 1;
                    } else {
                        text.push(b[at]);
                    }
                    at += 1;
                }
                at = at.min(b.len());
                if at == b.len() && text.last() == Some(&b'\r') && literal < at && self.returns() {
                    text.pop();
                }
                if d.trim {
                    while text.len() > kept.1 && matches!(text.last(), Some(b' ' | b'\t')) {
                        text.pop();
                    }
                    let blanks = text.iter().take(kept.0).take_while(|b| matches!(b, b' ' | b'\t')).count();
                    text.drain(..blanks);
                }
            }
            fields.push((text, quoted));
            if at >= b.len() {
                let end = b.len() - usize::from(b.len() > start && b[b.len() - 1] == b'\r' && literal < b.len() && self.returns());
                return Ok((fields, end, b.len()));
            }
            match self.line_end_at(at) {
                Some(next) if !self.delimiter_at(at) => return Ok((fields, at, next)),
                _ => at += d.delimiter.len(),
            }
        }
    }
    fn items(&self, width: usize, footer: usize) -> Vec<Item> {
        let (mut out, mut at, mut line) = (Vec::new(), 0, 1);
        while at < self.bytes.len() {
            let (item, end, next) = if self.d.is_comment(&self.bytes[at..]) {
                (None, at, self.line(at).1)
            } else {
                match self.record(at) {
                    Err(quote) => {
                        let (end, next) = self.line(quote);
                        (Some(Err(RejectReason::BadQuote)), end, next)
                    }
                    Ok((f, end, next)) if f.len() == 1 && f[0] == (vec![], false) && width > 1 => (None, end, next),
                    Ok((fields, end, next)) => {
                        let item = match fields.len().cmp(&width) {
                            std::cmp::Ordering::Less => Err(RejectReason::TooFewFields),
                            std::cmp::Ordering::Greater => Err(RejectReason::TooManyFields),
                            std::cmp::Ordering::Equal if std::str::from_utf8(&self.bytes[at..end]).is_err() => Err(RejectReason::BadEncoding),
                            std::cmp::Ordering::Equal => {
                                Ok(fields.into_iter().map(|(t, quoted)| (quoted || !t.is_empty()).then(|| String::from_utf8(t).unwrap())).collect())
                            }
                        };
                        (Some(item), end, next)
                    }
                }
            };
            if let Some(item) = item {
                let limit = self.d.max_row;
                let item = if end - at > limit { Err(RejectReason::TooLong) } else { item };
                out.push((item, line, self.bytes[at..end].to_vec()));
            }
            line += self.d.count_lines(&self.bytes[at..next]);
            at = next;
        }
        out.truncate(out.len().saturating_sub(footer));
        out
    }
}

/// The real thing, over given pieces and a given size of blocks.
fn real(bytes: &[u8], dialect: &Dialect, width: usize, footer: usize, cuts: &[usize], target: usize) -> Vec<Item> {
    really(bytes, dialect, Ragged::Reject, width, footer, cuts, target)
}

fn really(bytes: &[u8], dialect: &Dialect, ragged: Ragged, width: usize, footer: usize, cuts: &[usize], target: usize) -> Vec<Item> {
    let config = CsvRead { header: Header(0), names: (0..width).map(|i| format!("c{i}")).collect(), ..CsvRead::default() };
    let mut reading = Reading::new(&config).unwrap();
    reading.dialect = dialect.clone();
    reading.ragged = ragged;
    let mut framer = Framer::new(dialect.clone(), Some(dialect.newline), target, 0, 0, footer);
    let mut blocks = Vec::new();
    let mut at = 0;
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        let cut = cut.clamp(at, bytes.len());
        framer.push(&bytes[at..cut]);
        at = cut;
        while let Some(block) = framer.next_block() {
            blocks.push(block);
        }
    }
    framer.end();
    while let Some(block) = framer.next_block() {
        blocks.push(block);
    }
    let mut layout = Layout::new(&reading, framer.dialect().clone(), &reading.names, &arrow_schema::Schema::empty(), true);
    layout.learn(bytes, true);
    let mut out: Vec<Item> = Vec::new();
    for block in blocks {
        let d = decode_block(&layout, block).unwrap();
        let cells: Vec<Cells> = d.batch.columns().iter().map(|c| Cells::new(c).unwrap()).collect();
        let origins = d.origins.unwrap();
        let (block, ranges) = origins.raw.unwrap();
        let surplus = d.surplus;
        let rows = (0..d.batch.num_rows()).map(|r| {
            let fields = cells.iter().map(|c| (!c.is_null(r)).then(|| String::from_utf8(c.bytes(r).unwrap().to_vec()).unwrap()));
            let fields = fields.chain(surplus.iter().filter(|s| s.row == r).map(|s| Some(s.members.clone())));
            (Ok(fields.collect()), origins.lines[r], block[ranges[r].0 as usize..ranges[r].1 as usize].to_vec())
        });
        let mut items: Vec<Item> = rows.chain(d.rejects.into_iter().map(|r| (Err(r.reason), r.line, r.raw.to_vec()))).collect();
        items.sort_by_key(|i| i.1);
        assert!(out.last().is_none_or(|l| items.first().is_none_or(|f| l.1 <= f.1)), "blocks are in order");
        out.extend(items);
    }
    out
}

fn dialects() -> impl Strategy<Value = Dialect> {
    let delimiter = prop_oneof![8 => Just(&b","[..]), 2 => Just(&b"||"[..]), 2 => Just(&b"\t"[..]), 1 => Just(&b""[..])];
    let text = |t: &[u8]| Newline::Text(Terminator::new(t).unwrap());
    let newline = prop_oneof![4 => Just(Newline::Lf), 4 => Just(Newline::Any), 1 => Just(text(b"\r\n")), 1 => Just(text(b"\r")), 1 => Just(text(b"x")), 1 => Just(text(b"aa")), 1 => Just(text(b"aba"))];
    (
        delimiter,
        prop::option::weighted(0.85, Just(b'"')),
        prop::option::weighted(0.25, Just(b'\\')),
        prop::option::weighted(0.2, Just(b"#".to_vec())),
        any::<bool>(),
        newline,
    )
        .prop_map(|(delimiter, quote, escape, comment, trim, newline)| Dialect {
            delimiter: delimiter.to_vec(),
            quote,
            // The configuration refuses an escape beside a line end that overlaps itself.
            escape: escape.filter(|_| !matches!(newline, Newline::Text(t) if t.overlaps())),
            comment,
            trim,
            newline,
            lenient: false,
            max_row: 1 << 20,
        })
}

/// Text that is full of what matters.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        6 => Just(&b"a"[..]), 6 => Just(&b","[..]), 3 => Just(&b"|"[..]), 3 => Just(&b"\""[..]), 2 => Just(&b"\"\""[..]), 4 => Just(&b"\n"[..]),
        2 => Just(&b"\r\n"[..]), 1 => Just(&b"\r"[..]), 1 => Just(&b"\\"[..]), 1 => Just(&b" "[..]), 1 => Just(&b"\t"[..]), 1 => Just(&b"#"[..]),
        1 => Just("é".as_bytes()), 1 => Just(&b"\xff"[..]), 1 => Just(&b"\0"[..]), 2 => Just(&b",\"b\nc\","[..]), 1 => Just(&b"x,y\nx,y\nx,y\n"[..]),
        1 => Just(&b"0123456789012345678901234567890123456789012345678901234567890123456789"[..]),
    ];
    prop::collection::vec(token, 0..60).prop_map(|t| t.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 1000 } else { 6000 }))]
    #[test]
    fn any_split_of_the_bytes_gives_the_models_rows(
        bytes in texts(), dialect in dialects(), width in 1_usize..4, footer in prop_oneof![3 => Just(0_usize), 1 => 1_usize..3],
        mut cuts in prop::collection::vec(0_usize..400, 0..6), target in prop_oneof![1_usize..64, Just(1 << 20)],
    ) {
        // A footer of a file with one column counts lines that are not blank: another matter than rows.
        let footer = if width == 1 { 0 } else { footer };
        cuts.sort_unstable();
        let want = Model { bytes: &bytes, d: &dialect }.items(width, footer);
        let got = real(&bytes, &dialect, width, footer, &cuts, target);
        prop_assert_eq!(got, want);
    }

    #[test]
    fn what_is_put_right_does_not_depend_on_the_split_and_good_rows_stay(
        bytes in texts(), dialect in dialects(), width in 1_usize..5, max_row in prop_oneof![4 => Just(1_usize << 20), 1 => 20_usize..60],
        ragged in prop_oneof![Just(Ragged::Reject), Just(Ragged::Pad), Just(Ragged::Rescue), Just(Ragged::Repair)],
        mut cuts in prop::collection::vec(0_usize..400, 0..6), target in prop_oneof![1_usize..64, Just(1 << 20)],
    ) {
        cuts.sort_unstable();
        let dialect = Dialect { lenient: true, max_row, ..dialect };
        let whole = really(&bytes, &dialect, ragged, width, 0, &[], 1 << 20);
        prop_assert_eq!(&whole, &really(&bytes, &dialect, ragged, width, 0, &cuts, target));
        let strict = real(&bytes, &Dialect { lenient: false, ..dialect.clone() }, width, 0, &[], 1 << 20);
        prop_assert_eq!(whole.len(), strict.len(), "each record is a row or a reject, whatever the policy");
        for (told, by_the_rules) in whole.iter().zip(&strict) {
            prop_assert_eq!(told.1, by_the_rules.1);
            if by_the_rules.0.is_ok() {
                prop_assert_eq!(told, by_the_rules);
            }
        }
    }

    #[test]
    fn rows_that_are_too_long_do_not_depend_on_the_split(
        bytes in texts(), dialect in dialects(), max_row in 1_usize..40, cuts in prop::collection::vec(0_usize..400, 0..6), target in 1_usize..64,
    ) {
        let dialect = Dialect { max_row, ..dialect };
        let mut cuts = cuts;
        cuts.sort_unstable();
        let whole = real(&bytes, &dialect, 2, 0, &[], 1 << 20);
        let split = real(&bytes, &dialect, 2, 0, &cuts, target);
        prop_assert_eq!(&whole, &split);
        let by_byte: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(&whole, &real(&bytes, &dialect, 2, 0, &by_byte, target));
    }
}
