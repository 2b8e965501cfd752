//! Reads a record that breaks the rules: of all the ways to read it, the one with the fewest oddities that fits the columns.
//!
//! The search is over where fields begin. Each way from one beginning to the next has a cost: a quote that is text, a delimiter that is
//! missing or there twice, a value unlike those its column has in the file's first rows. Deliberately not here: what a good record is
//! (`scan.rs`), and any knowledge of which file it is. Guarantees: pure; the same record, dialect and habits give the same reading; work is
//! bounded, and a record that would need more is not read.

use std::collections::BTreeMap;

use super::column::unquoted;
use super::dialect::Dialect;
use super::scan::{Sink, scan};

/// What may be put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A quote may be text.
    pub quotes: bool,
    /// Fields may be missing at the end, and empty ones there may be too many.
    pub pad: bool,
    /// A delimiter may be missing, or be one too many, or another one.
    pub repair: bool,
}

/// A field that is not there.
pub const ABSENT: (usize, usize) = (usize::MAX, usize::MAX);

/// Steps of a search, at most.
const STEPS: usize = 1 << 16;
/// Delimiters put right in one record, at most.
const MOST_REPAIRS: u8 = 2;
/// Rows that habits are learned from, at most.
const LEARNED: usize = 256;

const STRAY: u32 = 4;
const LITERAL: u32 = 8;
const TRAILING: u32 = 8;
const OTHER: u32 = 8;
const SURPLUS: u32 = 10;
const PARTED: u32 = 10;
const JOINED: u32 = 11;
const PADDED: u32 = 12;
const CUT: u32 = 13;
/// What a record may cost in which delimiters are put right: its values must be like those of its columns.
const DEAREST_REPAIR: u32 = 30;

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Number,
    Time,
    Text,
}

fn shape(value: &[u8]) -> Shape {
    let count = |wanted: &[u8]| value.iter().filter(|b| wanted.contains(b)).count();
    let digits = value.iter().filter(|b| b.is_ascii_digit()).count();
    let marks = count(b"-/:");
    if digits == 0 {
        return Shape::Text;
    }
    if digits + count(b".,+-%") == value.len() && marks < 2 {
        return Shape::Number;
    }
    if digits >= 3 && marks >= 1 && digits + marks + count(b". TZ+") == value.len() { Shape::Time } else { Shape::Text }
}

/// Whether a value is made like a number, a date or a time, rather than like text.
pub fn is_number_or_time(value: &[u8]) -> bool {
    shape(value) != Shape::Text
}

/// What the values of a column usually are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Habit {
    rows: u32,
    empty: u32,
    /// Numbers, times, texts.
    shapes: [u32; 3],
    /// Shortest and longest, where there are any.
    lengths: Option<(usize, usize)>,
}

impl Habit {
    fn observe(&mut self, value: &[u8]) {
        self.rows += 1;
        if value.is_empty() {
            self.empty += 1;
            return;
        }
        self.shapes[shape(value) as usize] += 1;
        let (short, long) = self.lengths.unwrap_or((value.len(), value.len()));
        self.lengths = Some((short.min(value.len()), long.max(value.len())));
    }

    /// The shape of nine in ten values or more.
    fn usual(&self) -> Option<Shape> {
        let total: u32 = self.shapes.iter().sum();
        let most = |n: usize| total >= 3 && self.shapes[n] * 10 >= total * 9;
        [Shape::Number, Shape::Time, Shape::Text].into_iter().find(|s| most(*s as usize))
    }

    /// The length of all values, if it is one.
    fn length(&self) -> Option<usize> {
        self.lengths.filter(|(short, long)| short == long && self.rows >= 8).map(|(n, _)| n)
    }

    /// How odd a value would be here.
    fn misfit(&self, value: &[u8]) -> u32 {
        if self.rows == 0 {
            return 0;
        }
        if value.is_empty() {
            return if self.empty * 50 >= self.rows { 0 } else { 4 };
        }
        let length = if self.length().is_some_and(|n| n != value.len()) { 3 } else { 0 };
        length
            + match self.usual() {
                Some(usual) if usual == shape(value) => 0,
                Some(Shape::Text) => 2,
                Some(_) => 6,
                None if self.empty == self.rows => 3,
                None => 0,
            }
    }
}

/// Learns the habits of columns from the beginning of a file's data. `whole`: it is all of it.
pub fn learn(head: &[u8], whole: bool, dialect: &Dialect, width: usize) -> Vec<Habit> {
    let mut learner = Learner { head, dialect, habits: vec![Habit::default(); width], fields: Vec::with_capacity(width), rows: 0 };
    scan(head, 0, dialect, whole, &mut learner);
    learner.habits
}

struct Learner<'a> {
    head: &'a [u8],
    dialect: &'a Dialect,
    habits: Vec<Habit>,
    fields: Vec<(usize, usize)>,
    rows: usize,
}

impl Sink for Learner<'_> {
    fn field(&mut self, start: usize, end: usize) {
        self.fields.push((start, end));
    }
    fn record(&mut self, _: usize, _: usize, _: u64) -> bool {
        if self.fields.len() == self.habits.len() {
            self.rows += 1;
            for ((start, end), habit) in self.fields.iter().zip(&mut self.habits) {
                habit.observe(unquoted(self.head[*start..*end].trim_ascii(), self.dialect).trim_ascii());
            }
        }
        self.fields.clear();
        self.rows < LEARNED
    }
    fn bad_quote(&mut self, _: usize, _: usize, _: u64, _: u64) -> bool {
        self.fields.clear();
        true
    }
}

/// Where the fields of `line` are, quotes included; [`ABSENT`] for those it lacks. `width`: how many there must be. `None`: no way to read
/// it is good enough.
pub fn read(line: &[u8], dialect: &Dialect, width: Option<usize>, rules: Rules, habits: &[Habit]) -> Option<Vec<(usize, usize)>> {
    let own = Search::run(line, dialect, width, rules, habits);
    let poor = own.as_ref().is_none_or(|(cost, _)| *cost >= 2 * PADDED);
    if !rules.repair || !poor || width.is_none_or(|w| w < 3) {
        return own.map(|(_, fields)| fields);
    }
    let strict = Rules { pad: false, repair: false, ..rules };
    let others = [",", ";", "\t", "|", " "].iter().filter(|d| d.as_bytes() != dialect.delimiter.as_slice()).filter_map(|delimiter| {
        let other = Dialect { delimiter: delimiter.as_bytes().to_vec(), ..dialect.clone() };
        let (cost, fields) = Search::run(line, &other, width, strict, habits)?;
        (cost + OTHER <= DEAREST_REPAIR).then_some((cost + OTHER, fields))
    });
    // The file's own delimiter wins a tie.
    own.into_iter().chain(others).min_by_key(|(cost, _)| *cost).map(|(_, fields)| fields)
}

/// A way to the beginning of a field.
struct Node {
    at: usize,
    fields: usize,
    repairs: u8,
    cost: u32,
    /// The field before it, if one was taken on the way here.
    field: Option<(usize, usize)>,
    from: usize,
}

/// Beginning of a field (behind the end: `usize::MAX`), fields before it, delimiters put right.
type Key = (usize, usize, u8);

struct Search<'a> {
    line: &'a [u8],
    dialect: &'a Dialect,
    width: Option<usize>,
    rules: Rules,
    habits: &'a [Habit],
    nodes: Vec<Node>,
    /// The best way to each beginning that has not been left yet.
    open: BTreeMap<Key, usize>,
    steps: usize,
}

const END: usize = usize::MAX;

impl<'a> Search<'a> {
    fn run(line: &'a [u8], dialect: &'a Dialect, width: Option<usize>, rules: Rules, habits: &'a [Habit]) -> Option<(u32, Vec<(usize, usize)>)> {
        let mut search = Search { line, dialect, width, rules, habits, nodes: Vec::new(), open: BTreeMap::new(), steps: 0 };
        search.nodes.push(Node { at: 0, fields: 0, repairs: 0, cost: 0, field: None, from: usize::MAX });
        search.open.insert((0, 0, 0), 0);
        let mut best: Option<(u32, usize)> = None;
        while let Some(((at, ..), node)) = search.open.pop_first() {
            if at == END {
                let Some(cost) = search.arrived(node) else { continue };
                if best.is_none_or(|(least, _)| cost < least) {
                    best = Some((cost, node));
                }
                continue;
            }
            search.leave(node);
            if search.steps > STEPS {
                return None;
            }
        }
        let (cost, node) = best?;
        Some((cost, search.fields(node)))
    }

    /// What the way costs if it may end here.
    fn arrived(&self, node: usize) -> Option<u32> {
        let node = &self.nodes[node];
        if node.repairs > 0 && node.cost > DEAREST_REPAIR {
            return None;
        }
        let Some(width) = self.width else { return Some(node.cost) };
        let missing = width.checked_sub(node.fields)?;
        if missing > 0 && !self.rules.pad {
            return None;
        }
        let nulls: u32 = (node.fields..width).map(|k| self.habits.get(k).map_or(0, |h| h.misfit(b""))).sum();
        Some(node.cost + PADDED.saturating_mul(missing as u32).saturating_add(nulls))
    }

    fn fields(&self, mut node: usize) -> Vec<(usize, usize)> {
        let mut fields = Vec::new();
        while let Some(n) = self.nodes.get(node) {
            fields.extend(n.field);
            node = n.from;
        }
        fields.reverse();
        fields.resize(self.width.unwrap_or(fields.len()), ABSENT);
        fields
    }

    /// Goes on to `at` over a field.
    fn take(&mut self, from: usize, field: (usize, usize), at: usize, cost: u32, repairs: u8) {
        let k = self.nodes[from].fields;
        if self.width.is_some_and(|w| k >= w) {
            return;
        }
        let misfit = self.habits.get(k).map_or(0, |h| h.misfit(self.value(field)));
        self.go(from, Some(field), at, cost + misfit, repairs);
    }

    /// What a field is judged by: its text without quotes, be they around it or astray.
    fn value(&self, (start, end): (usize, usize)) -> &'a [u8] {
        let mut value = unquoted(self.line[start..end].trim_ascii(), self.dialect).trim_ascii();
        if let Some(q) = self.dialect.quote {
            value = value.strip_prefix(&[q]).unwrap_or(value);
            value = value.strip_suffix(&[q]).unwrap_or(value);
        }
        value
    }

    fn go(&mut self, from: usize, field: Option<(usize, usize)>, at: usize, cost: u32, repairs: u8) {
        self.steps += 1;
        let before = &self.nodes[from];
        let node = Node {
            at,
            fields: before.fields + usize::from(field.is_some()),
            repairs: before.repairs + repairs,
            cost: before.cost + cost,
            field,
            from,
        };
        if node.repairs > MOST_REPAIRS {
            return;
        }
        let key = (node.at, node.fields, node.repairs);
        if self.open.get(&key).is_none_or(|known| node.cost < self.nodes[*known].cost) {
            self.open.insert(key, self.nodes.len());
            self.nodes.push(node);
        }
    }

    /// All the ways on from a beginning.
    fn leave(&mut self, node: usize) {
        let at = self.nodes[node].at;
        let blanks = if self.dialect.trim { self.line[at..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count() } else { 0 };
        let first = self.line.get(at + blanks).copied();
        let quote = self.dialect.quote.filter(|q| Some(*q) == first);
        if let Some(q) = quote {
            self.quoted(node, at + blanks, q);
        }
        if quote.is_none() || self.rules.quotes {
            self.plain(node, at, if quote.is_some() { LITERAL } else { 0 });
        }
        let empty = self.delimiter_at(at) || at == self.line.len();
        if empty && self.rules.repair {
            self.go(node, None, self.behind(at), SURPLUS, 1);
        }
        if empty && self.rules.pad && self.nothing_but_delimiters(at) {
            self.go(node, None, self.behind(at), TRAILING, 0);
        }
    }

    /// An unquoted field.
    fn plain(&mut self, node: usize, at: usize, cost: u32) {
        let end = self.field_end(at);
        // A quote that closes nothing is odd.
        let ends = end > at + 1 && Some(self.line[end - 1]) == self.dialect.quote;
        let cost = cost + if ends { STRAY } else { 0 };
        self.take(node, (at, end), self.behind(end), cost, 0);
        if !self.rules.repair {
            return;
        }
        if let Some(q) = self.dialect.quote {
            for n in memchr::memchr_iter(q, &self.line[at..end]).filter(|n| *n > 0) {
                self.take(node, (at, at + n), at + n, cost + PARTED, 1);
            }
        }
        let behind = self.behind(end);
        if cost == 0 && end < self.line.len() && matches!(self.line.get(behind), Some(b' ')) {
            let end = self.field_end(behind);
            self.take(node, (at, end), self.behind(end), JOINED, 1);
        }
        if cost == 0 && self.nodes[node].repairs < MOST_REPAIRS && end - at <= 256 {
            self.cut(node, at, end);
        }
    }

    /// Two unquoted fields that run into each other, where the values of their columns tell them apart.
    fn cut(&mut self, node: usize, at: usize, end: usize) {
        let k = self.nodes[node].fields;
        let (Some(left), Some(right)) = (self.habits.get(k), self.habits.get(k + 1)) else { return };
        let told = |h: &Habit| matches!(h.usual(), Some(Shape::Number | Shape::Time)) || h.length().is_some();
        if !told(left) && !told(right) {
            return;
        }
        let kind = |b: u8| if b.is_ascii_digit() { 0 } else { 1 + u8::from(b.is_ascii_punctuation() || b == b' ') };
        let places: Vec<usize> = (at + 1..end)
            .filter(|n| self.line[*n] & 0xC0 != 0x80)
            .filter(|n| {
                let lengths = left.length() == Some(n - at) || right.length() == Some(end - n);
                lengths || kind(self.line[n - 1]) != kind(self.line[*n])
            })
            .filter(|n| left.misfit(&self.line[at..*n]) == 0 && right.misfit(&self.line[*n..end]) == 0)
            .collect();
        for n in places {
            self.take(node, (at, n), n, CUT, 1);
        }
    }

    /// A field that begins with a quote at `at`.
    fn quoted(&mut self, node: usize, at: usize, quote: u8) {
        let mut strays = 0;
        let mut from = at + 1;
        while let Some(n) = self.next_special(from, quote) {
            self.steps += 1 + (n - from) / 64;
            if self.line[n] != quote {
                from = n + 2;
                continue;
            }
            let (closes, doubled) = (self.closes(n + 1), self.line.get(n + 1) == Some(&quote));
            if let Some(next) = closes {
                self.take(node, (at, n + 1), next, strays * STRAY, 0);
                // The text may go on all the same: `"a "b", c"`.
                strays += 2;
            } else if doubled {
                if self.rules.repair {
                    self.take(node, (at, n + 1), n + 1, PARTED + strays * STRAY, 1);
                }
                if let Some(next) = self.closes(n + 2).filter(|_| self.rules.quotes) {
                    self.take(node, (at, n + 2), next, (strays + 1) * STRAY, 0);
                }
                from = n + 2;
                continue;
            } else {
                if self.rules.repair {
                    let blanks = self.line[n + 1..].iter().take_while(|b| **b == b' ').count();
                    self.take(node, (at, n + 1), n + 1 + blanks, PARTED + strays * STRAY, 1);
                }
                strays += 1;
            }
            if !self.rules.quotes || strays > 8 {
                return;
            }
            from = n + 1;
        }
    }

    fn next_special(&self, from: usize, quote: u8) -> Option<usize> {
        let rest = self.line.get(from..)?;
        match self.dialect.escape {
            Some(escape) => memchr::memchr2(quote, escape, rest),
            None => memchr::memchr(quote, rest),
        }
        .map(|n| from + n)
    }

    /// Where the next field begins if a quote right before `at` closes one.
    fn closes(&self, mut at: usize) -> Option<usize> {
        loop {
            if at == self.line.len() || self.delimiter_at(at) {
                return Some(self.behind(at));
            }
            if !matches!(self.line.get(at), Some(b' ' | b'\t')) {
                return None;
            }
            at += 1;
        }
    }

    fn delimiter_at(&self, at: usize) -> bool {
        !self.dialect.delimiter.is_empty() && self.line.get(at..).is_some_and(|rest| rest.starts_with(&self.dialect.delimiter))
    }

    /// Where the next field begins behind a field that ends at `end`.
    fn behind(&self, end: usize) -> usize {
        if end < self.line.len() { end + self.dialect.delimiter.len() } else { END }
    }

    /// The first delimiter from `at` on that is not escaped, or the end.
    fn field_end(&mut self, mut at: usize) -> usize {
        let begun = at;
        while at < self.line.len() && !self.delimiter_at(at) {
            at += if Some(self.line[at]) == self.dialect.escape { 2 } else { 1 };
        }
        let end = at.min(self.line.len());
        self.steps += (end - begun) / 64;
        end
    }

    fn nothing_but_delimiters(&self, mut at: usize) -> bool {
        while self.delimiter_at(at) {
            at += self.dialect.delimiter.len();
        }
        at == self.line.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTES: Rules = Rules { quotes: true, pad: false, repair: false };
    const ALL: Rules = Rules { quotes: true, pad: true, repair: true };

    fn told(line: &str, width: usize, rules: Rules, habits: &[Habit]) -> Option<String> {
        let fields = read(line.as_bytes(), &Dialect::default(), Some(width), rules, habits)?;
        Some(fields.into_iter().map(|f| if f == ABSENT { "~" } else { &line[f.0..f.1] }).collect::<Vec<_>>().join("|"))
    }

    fn habits(rows: &str, width: usize) -> Vec<Habit> {
        learn(rows.as_bytes(), true, &Dialect::default(), width)
    }

    #[test]
    fn quotes_that_cannot_be_quotes_are_text() {
        for (line, width, want) in [
            (r#"1,""x",2"#, 3, r#"1|""x"|2"#),
            (r#"1,""a, b",2"#, 3, r#"1|""a, b"|2"#),
            (r#"1,"12.5,2"#, 3, r#"1|"12.5|2"#),
            (r#""1,"a",2"#, 3, r#""1|"a"|2"#),
            (r#"1,""",2"#, 3, r#"1|"""|2"#),
            (r#"1,",2"#, 3, r#"1|"|2"#),
            (r#"1,"say "hi" now",2"#, 3, r#"1|"say "hi" now"|2"#),
            (r#"1,"a "b", c",2"#, 3, r#"1|"a "b", c"|2"#),
            (r#"1,"a""#, 2, r#"1|"a""#),
            (r#"1,2,"x"#, 3, r#"1|2|"x"#),
        ] {
            assert_eq!(told(line, width, QUOTES, &[]).as_deref(), Some(want), "{line}");
        }
        assert_eq!(told(r#"1,"x"#, 3, QUOTES, &[]), None, "too few fields are not a matter of quotes");
        assert_eq!(told(r#"1,""a",2,3"#, 3, QUOTES, &[]), None);
    }

    #[test]
    fn delimiters_too_few_and_too_many() {
        let rows = "1,2024-01-01,10:00,anna,x\n2,2024-01-02,11:30,bob,\n3,2024-01-03,09:15,carl,y\n";
        let habits = habits(&rows.repeat(4), 5);
        for (line, want) in [
            ("4,2024-01-04,,08:00,dan,z", "4|2024-01-04|08:00|dan|z"),
            (",4,2024-01-04,08:00,dan,z", "4|2024-01-04|08:00|dan|z"),
            ("4,2024-01-04,08:00,dan,,z", "4|2024-01-04|08:00|dan|z"),
            ("4,2024-01-04,08:00,dan,z,", "4|2024-01-04|08:00|dan|z"),
            ("4,2024-01-0408:00,dan,z", "4|2024-01-04|08:00|dan|z"),
            ("4,2024-01-04,08:00dan,z", "4|2024-01-04|08:00|dan|z"),
            ("4,\"2024-01-04\"\"08:00\",dan,z", "4|\"2024-01-04\"|\"08:00\"|dan|z"),
            ("4,\"2024-01-04\"08:00,dan,z", "4|\"2024-01-04\"|08:00|dan|z"),
            ("4,2024-01-04,08:00,dan\"z\"", "4|2024-01-04|08:00|dan|\"z\""),
            ("4,2024-01-04,08:00,dan", "4|2024-01-04|08:00|dan|~"),
            ("4 2024-01-04 08:00 \"dan k\" z", "4|2024-01-04|08:00|\"dan k\"|z"),
            ("4;2024-01-04;08:00;dan;", "4|2024-01-04|08:00|dan|"),
            ("4,2024-01-04,08:00,Smith, Dan,z", "4|2024-01-04|08:00|Smith, Dan|z"),
        ] {
            assert_eq!(told(line, 5, ALL, &habits).as_deref(), Some(want), "{line}");
        }
        assert_eq!(told("4,2024-01-04,08:00,dan,z,more,and,more", 5, ALL, &habits), None);
    }

    #[test]
    fn work_is_bounded() {
        let wide = "a\"b,".repeat(200_000);
        assert_eq!(told(&wide, 9, ALL, &[]), None);
        let quotes = format!("\"{}", "\" ".repeat(100_000));
        let _ = told(&quotes, 3, ALL, &habits("1,2,3\n", 3));
    }
}
