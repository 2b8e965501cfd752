//! The parser's events to nodes.
//!
//! Guarantees: one document; keys are text and stand once; at most [`DEPTH`] levels and [`NODES`] values, aliases counted as often as used.
//! Deliberately not here: the words for syntax errors (`syntax.rs`), the types of scalars (`scalar.rs`).

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::{Entry, Kind, Node, scalar, syntax};
use crate::diagnostic::Diagnostic;
use crate::span::{SourceFile, Span};

/// Levels of nesting, at most. The tree is walked by recursion.
const DEPTH: usize = 64;
/// Values in one file, at most.
const NODES: usize = 200_000;

/// The tree of a file's one document. `None`, with diagnostics, if it cannot be read to its end; an empty document is a null.
pub(crate) fn parse(file: &Arc<SourceFile>, diagnostics: &mut Vec<Diagnostic>) -> Option<Node> {
    let mut builder = Builder {
        file,
        offsets: Offsets::new(file.text()),
        stack: Vec::new(),
        anchors: HashMap::new(),
        anchored: Vec::new(),
        nodes: 0,
        root: None,
        diagnostics,
    };
    let mut documents = 0;
    for event in Parser::new_from_str(file.text()) {
        let (event, at) = match event {
            Ok(event) => event,
            Err(e) => {
                let at = builder.offsets.byte(e.marker().index());
                builder.diagnostics.push(syntax::diagnostic(file, at, e.info()));
                return None;
            }
        };
        let span = builder.span(at);
        if let Event::DocumentStart(_) = event {
            documents += 1;
            if documents > 1 {
                let d = Diagnostic::error("several-documents", "a file holds one document, and a second one starts here");
                builder.diagnostics.push(d.at(&span).label("second document").help("put each pipeline into a file of its own"));
                return None;
            }
        }
        if let Err(d) = builder.take(event, span) {
            builder.diagnostics.push(*d);
            return None;
        }
    }
    let end = Span::new(file, 0..0);
    Some(builder.root.unwrap_or(Node { kind: Kind::Null, span: end }))
}

/// The parser counts characters, everything else bytes.
struct Offsets(Option<Vec<usize>>, usize);

impl Offsets {
    fn new(text: &str) -> Self {
        Self((!text.is_ascii()).then(|| text.char_indices().map(|(i, _)| i).collect()), text.len())
    }
    fn byte(&self, character: usize) -> usize {
        match &self.0 {
            None => character.min(self.1),
            Some(offsets) => offsets.get(character).copied().unwrap_or(self.1),
        }
    }
}

struct Builder<'a> {
    file: &'a Arc<SourceFile>,
    offsets: Offsets,
    stack: Vec<Frame>,
    anchors: HashMap<usize, (Node, usize)>,
    /// The anchor of each open collection (0 = none).
    anchored: Vec<usize>,
    nodes: usize,
    root: Option<Node>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

enum Frame {
    List { start: Span, items: Vec<Node>, count: usize },
    Map { start: Span, entries: Vec<Entry>, key: Option<Node>, count: usize },
}

type Stop = Box<Diagnostic>;

impl Builder<'_> {
    fn span(&self, at: saphyr_parser::Span) -> Span {
        let (start, end) = (self.offsets.byte(at.start.index()), self.offsets.byte(at.end.index()));
        Span::new(self.file, start..end)
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        match event {
            Event::Scalar(value, style, anchor, tag) => {
                let node = self.scalar(&value, style, tag.as_deref(), span);
                self.keep_anchor(anchor, &node, 1);
                self.add(node, 1)
            }
            Event::SequenceStart(anchor, tag) => {
                self.no_tag(tag.as_deref(), &span);
                self.open(Frame::List { start: span, items: Vec::new(), count: 1 }, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.no_tag(tag.as_deref(), &span);
                self.open(Frame::Map { start: span, entries: Vec::new(), key: None, count: 1 }, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(&span),
            Event::Alias(id) => match self.anchors.get(&id) {
                Some((node, count)) => {
                    let (mut node, count) = (node.clone(), *count);
                    // A scalar is spoken of where it is used; a collection's parts where they are written.
                    if node.entries().is_empty() {
                        node.span = span;
                    }
                    self.add(node, count)
                }
                None => {
                    let d = Diagnostic::error("yaml-syntax", "an alias (`*name`) cannot stand inside what it names");
                    Err(Box::new(d.at(&span)))
                }
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => Ok(()),
        }
    }

    fn scalar(&mut self, value: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Node {
        let text_only = match tag {
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => true,
            Some(_) => {
                self.no_tag(tag, &span);
                true
            }
            None => false,
        };
        scalar::node(self.file, value, style, text_only, span)
    }

    fn no_tag(&mut self, tag: Option<&Tag>, span: &Span) {
        if let Some(tag) = tag.filter(|t| !(t.is_yaml_core_schema() && ["map", "seq"].contains(&t.suffix.as_str()))) {
            let d = Diagnostic::error("yaml-tag", format!("the tag `{tag}` has no meaning here"));
            self.diagnostics.push(d.at(&span.first_line()).help("remove it; a text that starts with `!` needs quotes"));
        }
    }

    fn open(&mut self, frame: Frame, anchor: usize) -> Result<(), Stop> {
        if self.stack.len() >= DEPTH {
            let (Frame::List { start, .. } | Frame::Map { start, .. }) = &frame;
            let d = Diagnostic::error("too-deep", format!("more than {DEPTH} levels of nesting"));
            return Err(Box::new(d.at(start)));
        }
        self.stack.push(frame);
        self.anchored.push(anchor);
        Ok(())
    }

    fn close(&mut self, end: &Span) -> Result<(), Stop> {
        let (Some(frame), Some(anchor)) = (self.stack.pop(), self.anchored.pop()) else { return Ok(()) };
        let whole = |start: &Span, last: Option<&Span>| {
            // A block collection's end event stands at whatever comes next; a flow collection's at its bracket.
            let flow = start.text().starts_with(['[', '{']) && end.text().starts_with([']', '}']);
            match (flow, last) {
                (true, _) => start.to(&Span::new(self.file, end.range().start..end.range().start + 1)),
                (false, Some(last)) => start.to(last),
                (false, None) => start.clone(),
            }
        };
        let (node, count) = match frame {
            Frame::List { start, items, count } => {
                let span = whole(&start, items.last().map(|n| &n.span));
                (Node { kind: Kind::List(items), span }, count)
            }
            Frame::Map { start, entries, count, .. } => {
                let span = whole(&start, entries.last().map(|e| &e.value.span));
                (Node { kind: Kind::Map(self.merge_keys(entries)), span }, count)
            }
        };
        self.keep_anchor(anchor, &node, count);
        self.add(node, count)
    }

    fn keep_anchor(&mut self, anchor: usize, node: &Node, count: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), count));
        }
    }

    fn add(&mut self, node: Node, count: usize) -> Result<(), Stop> {
        self.nodes += count;
        if self.nodes > NODES {
            let d = Diagnostic::error("too-large", format!("more than {NODES} values in one file (a value named by an alias counts each time)"));
            return Err(Box::new(d.at(&node.span.first_line())));
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List { items, count: sum, .. }) => {
                *sum += count;
                items.push(node);
            }
            Some(Frame::Map { key: key @ None, count: sum, .. }) => {
                *sum += count;
                *key = Some(node);
            }
            Some(Frame::Map { entries, key, count: sum, .. }) => {
                *sum += count;
                let Some(key) = key.take() else { return Ok(()) };
                add_entry(entries, &key, node, self.diagnostics);
            }
        }
        Ok(())
    }

    /// `<<: *base`: the keys of `base` that are not there.
    fn merge_keys(&mut self, mut entries: Vec<Entry>) -> Vec<Entry> {
        while let Some(at) = entries.iter().position(|e| e.key == "<<") {
            let merged = entries.remove(at);
            let sources = match merged.value.kind {
                Kind::List(items) => items,
                _ => vec![merged.value],
            };
            for source in sources {
                let Kind::Map(more) = source.kind else {
                    let d = Diagnostic::error("yaml-merge", format!("`<<` takes a mapping, found {}", source.what()));
                    self.diagnostics.push(d.at(&source.span.first_line()).help("write `<<: *name`, with a mapping marked `&name`"));
                    continue;
                };
                for entry in more {
                    if !entries.iter().any(|e| e.key == entry.key) {
                        entries.push(entry);
                    }
                }
            }
        }
        entries
    }
}

fn add_entry(entries: &mut Vec<Entry>, key: &Node, mut value: Node, diagnostics: &mut Vec<Diagnostic>) {
    let Some(name) = key.scalar() else {
        let d = Diagnostic::error("wrong-key", format!("a key is a word or a text, found {}", key.what()));
        diagnostics.push(d.at(&key.span.first_line()).help("a text that starts with `{` or `[` needs quotes"));
        return;
    };
    // An empty value stands nowhere: it is spoken of at its key.
    if value.is_null() && value.span.text().is_empty() {
        value.span = key.span.clone();
    }
    if let Some(first) = entries.iter().find(|e| e.key == name) {
        let d = Diagnostic::error("duplicate-key", format!("the key `{name}` stands here twice"));
        diagnostics.push(d.at(&key.span).label("again").also(&first.key_span, "first here").help("remove one of them"));
        return;
    }
    entries.push(Entry { key: name.to_owned(), key_span: key.span.clone(), value });
}
