//! One tree of mappings, sequences and scalars with positions, whatever the text was.
//!
//! Scalars stay text: Traefik decodes by the type of the setting, not by the type in the file, so `"80"` and
//! `80` are the same. What the tree does not know: which keys exist and what they mean.

use std::sync::Arc;

use crate::problem::{Problem, Span};

/// Flags and environment variables to tree, and one tree over another.
pub mod overlay;
/// TOML text to tree.
mod toml;
/// YAML text to tree.
mod yaml;

/// Largest file that is read, in bytes.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Deepest nesting of mappings and sequences.
pub const MAX_DEPTH: usize = 64;
/// Most nodes of one tree, copies made by YAML aliases included.
pub const MAX_NODES: usize = 2_000_000;

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where the value starts.
    pub span: Span,
    /// The value.
    pub value: Value,
}

/// A mapping, a sequence, a scalar or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A key without a value.
    Null,
    /// Text, number or boolean.
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the text (TOML: by key). No key is there twice.
    Map(Vec<Entry>),
}

/// A value that is one piece of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// The text, unquoted and unescaped.
    pub text: String,
    /// If the source holds the text as it is, on one line: how many characters (a quote) stand before it.
    pub verbatim: Option<u8>,
}

/// A key of a mapping and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As written.
    pub key: String,
    /// Where the key starts.
    pub span: Span,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// A mapping without entries.
    pub fn empty(span: Span) -> Node {
        Node { span, value: Value::Map(Vec::new()) }
    }

    /// The place of the byte at `offset` of a scalar's text; the start of the value where the source does not
    /// hold the text as it is.
    pub fn place_in_text(&self, offset: usize) -> Span {
        let mut span = self.span.clone();
        if let Value::Scalar(Scalar { text, verbatim: Some(before) }) = &self.value
            && span.line > 0
            && let Some(head) = text.get(..offset)
        {
            let chars = u32::try_from(head.chars().count()).unwrap_or(u32::MAX);
            span.column = span.column.saturating_add(u32::from(*before)).saturating_add(chars);
        }
        span
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// YAML 1.2, one document, with anchors and merge keys.
    Yaml,
    /// TOML 1.
    Toml,
}

impl Format {
    /// By the end of the file's name: `.yml`, `.yaml`, `.toml`; none for other names.
    pub fn of(name: &str) -> Option<Format> {
        match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
            "yml" | "yaml" => Some(Format::Yaml),
            "toml" => Some(Format::Toml),
            _ => None,
        }
    }
}

/// A file as the caller has read it.
#[derive(Clone, Copy, Debug)]
pub struct File<'t> {
    /// As problems show it.
    pub name: &'t str,
    /// All of it.
    pub text: &'t str,
    /// How it is written.
    pub format: Format,
}

/// Reads a file. An empty text is an empty mapping.
///
/// Errors: syntax, a key that is there twice, or a text over [`MAX_BYTES`], [`MAX_DEPTH`] or [`MAX_NODES`].
pub fn parse(file: File<'_>) -> Result<Node, Vec<Problem>> {
    let File { name, text, format } = file;
    let source: Arc<str> = name.into();
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes, the limit is {MAX_BYTES}", text.len());
        return Err(vec![Problem::new(Span::whole(source), message)]);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root = match format {
        Format::Yaml => yaml::parse(&source, text)?,
        Format::Toml => toml::parse(&source, text)?,
    };
    match root.value {
        Value::Map(_) => Ok(root),
        Value::Null => Ok(Node::empty(root.span)),
        _ => Err(vec![Problem::new(root.span, "the file is not a mapping").expected("keys such as `http:`")]),
    }
}

/// Whether `node` is one text.
pub(crate) fn is_scalar(node: &Node) -> bool {
    matches!(node.value, Value::Scalar(_))
}

/// A place to quote user text in a message: printable, and not longer than a line.
pub fn quote(text: &str) -> String {
    const MAX_CHARS: usize = 80;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Problems for keys that are there twice. `entries` stay as they are.
fn duplicates(entries: &[Entry], problems: &mut Vec<Problem>) {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by(|a, b| entries[*a].key.cmp(&entries[*b].key).then(a.cmp(b)));
    for pair in order.windows(2) {
        let (first, second) = (&entries[pair[0]], &entries[pair[1]]);
        if first.key == second.key {
            let message = format!("the key {} is there twice, first at {}", quote(&second.key), first.span);
            problems.push(Problem::new(second.span.clone(), message));
        }
    }
}

#[cfg(test)]
mod tests;
