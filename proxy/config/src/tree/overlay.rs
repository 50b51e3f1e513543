//! Flags and environment variables to tree, and one tree over another.
//!
//! A path such as `entrypoints.web.address` becomes nested mappings; list elements (`domains[0].main`) become
//! mappings with the keys `[0]`, `[1]`, …, which the decoder reads as lists. Keys are matched without case.

use super::{Entry, MAX_DEPTH, Node, Scalar, Value};
use crate::problem::{Problem, Span};

/// A tree of settings that go over those of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    root: Node,
}

impl Default for Overlay {
    fn default() -> Overlay {
        Overlay { root: Node::empty(Span::whole("")) }
    }
}

impl Overlay {
    /// Sets the value at `path`. Where it is set already, the values become a list (of which settings that
    /// hold one value take the last).
    ///
    /// Errors: an empty part in the path, or more than [`MAX_DEPTH`] parts.
    pub fn set(&mut self, path: &str, value: &str, span: Span) -> Result<(), Problem> {
        let mut keys = Vec::new();
        for part in path.split('.') {
            let (name, index) = match part.find('[') {
                Some(at) => part.split_at(at),
                None => (part, ""),
            };
            keys.push(name);
            if !index.is_empty() {
                keys.push(index);
            }
        }
        if keys.iter().any(|key| key.is_empty()) {
            let problem = Problem::new(span, "a part of the name is empty");
            return Err(problem.expected("a name such as entryPoints.web.address"));
        }
        if keys.len() > MAX_DEPTH {
            return Err(Problem::new(span, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let scalar = Value::Scalar(Scalar { text: value.to_string(), verbatim: None });
        insert(&mut self.root, &keys, Node { span, value: scalar });
        Ok(())
    }

    /// Puts another overlay over this one.
    pub fn put_over(self, top: Overlay) -> Overlay {
        Overlay { root: put_over(self.root, top.root) }
    }

    /// `base` with the settings of this overlay over its own.
    pub fn over(&self, base: Node) -> Node {
        put_over(base, self.root.clone())
    }
}

fn insert(node: &mut Node, keys: &[&str], leaf: Node) {
    let Some((key, rest)) = keys.split_first() else {
        set(node, leaf);
        return;
    };
    if !matches!(node.value, Value::Map(_)) {
        node.value = Value::Map(Vec::new());
    }
    let Value::Map(entries) = &mut node.value else { return };
    let found = entries.iter().position(|entry| entry.key.eq_ignore_ascii_case(key));
    let index = found.unwrap_or_else(|| {
        let value = Node { span: leaf.span.clone(), value: Value::Null };
        entries.push(Entry { key: key.to_string(), span: leaf.span.clone(), value });
        entries.len() - 1
    });
    insert(&mut entries[index].value, rest, leaf);
}

fn set(node: &mut Node, leaf: Node) {
    match &mut node.value {
        // `--ping=true` beside `--ping.entryPoint=web`.
        Value::Map(_) if is_true(&leaf) => {}
        Value::List(items) => items.push(leaf),
        Value::Scalar(_) => {
            let span = leaf.span.clone();
            let first = std::mem::replace(node, Node { span, value: Value::Null });
            node.value = Value::List(vec![first, leaf]);
        }
        _ => *node = leaf,
    }
}

fn put_over(base: Node, top: Node) -> Node {
    match (base.value, top.value) {
        (Value::Map(mut entries), Value::Map(over)) => {
            for new in over {
                match entries.iter().position(|entry| entry.key.eq_ignore_ascii_case(&new.key)) {
                    Some(at) => {
                        let old = entries.remove(at);
                        let value = put_over(old.value, new.value);
                        entries.insert(at, Entry { value, ..old });
                    }
                    None => entries.push(new),
                }
            }
            Node { span: base.span, value: Value::Map(entries) }
        }
        (Value::Map(entries), Value::Scalar(scalar)) if scalar.text.eq_ignore_ascii_case("true") => {
            Node { span: base.span, value: Value::Map(entries) }
        }
        (_, value) => Node { span: top.span, value },
    }
}

fn is_true(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(scalar) if scalar.text.eq_ignore_ascii_case("true"))
}
