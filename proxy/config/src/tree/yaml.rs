//! YAML text to tree.
//!
//! Aliases are copied in, within the limit of nodes; merge keys (`<<`) give way to keys that are written out.
//! Tags are not looked at, except that `!!str` keeps `null` from meaning nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span as YamlSpan, Tag};

use super::{Entry, MAX_DEPTH, MAX_NODES, Node, Scalar, Value, duplicates};
use crate::problem::{Problem, Span};

/// Reads one document.
pub(super) fn parse(source: &Arc<str>, text: &str) -> Result<Node, Vec<Problem>> {
    let mut builder = Builder {
        source: source.clone(),
        frames: Vec::new(),
        root: None,
        anchors: HashMap::new(),
        nodes: 0,
        problems: Vec::new(),
    };
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => Err(Problem::new(builder.place(*error.marker()), error.info().to_string())),
        };
        if let Err(problem) = step {
            builder.problems.push(problem);
            return Err(builder.problems);
        }
    }
    match builder.problems.is_empty() {
        true => Ok(builder.root.unwrap_or_else(|| Node::empty(Span::new(source, 1, 1)))),
        false => Err(builder.problems),
    }
}

struct Builder {
    source: Arc<str>,
    frames: Vec<Frame>,
    root: Option<Node>,
    /// Finished anchored nodes, with their size and depth.
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    problems: Vec<Problem>,
}

struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

/// A collection that is not finished.
struct Frame {
    span: Span,
    anchor: usize,
    nodes_before: usize,
    /// Levels of nesting below this collection, so far.
    depth: usize,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, merges: Vec<Node>, key: Option<Key> },
}

struct Key {
    text: String,
    span: Span,
    merge: bool,
}

impl Builder {
    fn place(&self, marker: Marker) -> Span {
        let line = u32::try_from(marker.line()).unwrap_or(u32::MAX);
        let column = u32::try_from(marker.col() + 1).unwrap_or(u32::MAX);
        Span::new(&self.source, line, column)
    }

    fn take(&mut self, event: Event<'_>, at: YamlSpan) -> Result<(), Problem> {
        let span = self.place(at.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, &span)?;
                if self.wants_key() {
                    let merge = text == "<<" && style == ScalarStyle::Plain;
                    return self.set_key(Key { text: text.into_owned(), span, merge });
                }
                let value = scalar(text.into_owned(), style, tag.as_deref(), at);
                self.finish(Node { span, value }, anchor, 1, 0)
            }
            Event::SequenceStart(anchor, _) => self.open(span, anchor, Items::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                self.open(span, anchor, Items::Map { entries: Vec::new(), merges: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(Problem::new(span, "a second document starts here")
                    .expected("one YAML document in a file"))
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, nodes: usize, span: &Span) -> Result<(), Problem> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} values, copies made by aliases included");
            return Err(Problem::new(span.clone(), message));
        }
        Ok(())
    }

    fn wants_key(&self) -> bool {
        matches!(self.frames.last(), Some(Frame { items: Items::Map { key: None, .. }, .. }))
    }

    fn set_key(&mut self, new: Key) -> Result<(), Problem> {
        if let Some(Frame { items: Items::Map { key, .. }, .. }) = self.frames.last_mut() {
            *key = Some(new);
        }
        Ok(())
    }

    fn open(&mut self, span: Span, anchor: usize, items: Items) -> Result<(), Problem> {
        if self.wants_key() {
            return Err(Problem::new(span, "a key is a mapping or a sequence").expected("a word as key"));
        }
        if self.frames.len() >= MAX_DEPTH {
            return Err(Problem::new(span, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.count(1, &span)?;
        self.frames.push(Frame { span, anchor, nodes_before: self.nodes - 1, depth: 0, items });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let value = match frame.items {
            Items::List(items) => Value::List(items),
            Items::Map { mut entries, merges, .. } => {
                duplicates(&entries, &mut self.problems);
                if !merges.is_empty() {
                    let mut known = entries.iter().map(|entry| entry.key.clone()).collect();
                    merges.into_iter().try_for_each(|merge| merge_into(&mut entries, &mut known, merge))?;
                }
                Value::Map(entries)
            }
        };
        let nodes = self.nodes - frame.nodes_before;
        self.finish(Node { span: frame.span, value }, frame.anchor, nodes, frame.depth + 1)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Problem> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(Problem::new(span, "an alias inside of its own anchor"));
        };
        let (nodes, depth) = (anchored.nodes, anchored.depth);
        if self.frames.len() + depth > MAX_DEPTH {
            return Err(Problem::new(span, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.count(nodes, &span)?;
        let node = self.anchors[&anchor].node.clone();
        if self.wants_key() {
            let Value::Scalar(Scalar { text, .. }) = node.value else {
                return Err(Problem::new(span, "a key is a mapping or a sequence").expected("a word as key"));
            };
            return self.set_key(Key { text, span, merge: false });
        }
        self.finish(node, 0, nodes, depth)
    }

    /// Puts a finished node where it belongs. An anchor of 0 is none.
    fn finish(&mut self, node: Node, anchor: usize, nodes: usize, depth: usize) -> Result<(), Problem> {
        if anchor != 0 {
            self.count(nodes, &node.span)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, depth });
        }
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.depth = frame.depth.max(depth);
        match &mut frame.items {
            Items::List(items) => items.push(node),
            Items::Map { entries, merges, key } => match key.take() {
                Some(Key { merge: true, .. }) => merges.push(node),
                Some(Key { text, span, .. }) => entries.push(Entry { key: text, span, value: node }),
                None => return Err(Problem::new(node.span, "a value without a key")),
            },
        }
        Ok(())
    }
}

/// Adds the entries of a merged mapping (or of several) that are not `known` yet.
fn merge_into(entries: &mut Vec<Entry>, known: &mut HashSet<String>, merge: Node) -> Result<(), Problem> {
    let not_a_mapping =
        |span| Problem::new(span, "merged is not a mapping").expected("an alias of a mapping");
    match merge.value {
        Value::Map(merged) => {
            entries.extend(merged.into_iter().filter(|entry| known.insert(entry.key.clone())));
            Ok(())
        }
        Value::List(items) => items.into_iter().try_for_each(|item| match item.value {
            Value::Map(_) => merge_into(entries, known, item),
            _ => Err(not_a_mapping(item.span)),
        }),
        _ => Err(not_a_mapping(merge.span)),
    }
}

fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>, at: YamlSpan) -> Value {
    let plain = style == ScalarStyle::Plain;
    let is_string = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    if plain && !is_string && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    let quotes = match style {
        ScalarStyle::Plain => Some(0),
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Some(1),
        ScalarStyle::Literal | ScalarStyle::Folded => None,
    };
    let chars = at.end.index().saturating_sub(at.start.index());
    let verbatim = quotes.filter(|quotes| {
        at.start.line() == at.end.line() && chars == text.chars().count() + 2 * usize::from(*quotes)
    });
    Value::Scalar(Scalar { text, verbatim })
}
