//! TOML text to tree.

use std::ops::Range;
use std::sync::Arc;

use ::toml::Spanned;
use ::toml::de::{DeTable, DeValue};

use super::{Entry, MAX_DEPTH, MAX_NODES, Node, Scalar, Value};
use crate::problem::{Problem, Span};

/// Bytes between two counts of characters.
const BLOCK: usize = 1024;
/// Most syntax errors that are reported.
const MAX_ERRORS: usize = 100;

/// Reads one document; all syntax errors at once.
pub(super) fn parse(source: &Arc<str>, text: &str) -> Result<Node, Vec<Problem>> {
    let (line_starts, chars_before) = (line_starts(text), chars_before(text));
    let mut reader = Reader { source: source.clone(), text, line_starts, chars_before, nodes: 0 };
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |error: &::toml::de::Error| {
            let at = error.span().unwrap_or(0..0);
            Problem::new(reader.place(at.start), error.message().replace('\n', ", "))
        };
        let mut problems: Vec<Problem> = errors.iter().take(MAX_ERRORS).map(problem).collect();
        problems.sort_by(|a, b| a.span.cmp(&b.span));
        return Err(problems);
    }
    reader.table(root.get_ref(), Span::new(source, 1, 1), 1).map_err(|problem| vec![problem])
}

struct Reader<'t> {
    source: Arc<str>,
    text: &'t str,
    line_starts: Vec<usize>,
    /// How many characters start before each block of [`BLOCK`] bytes.
    chars_before: Vec<usize>,
    nodes: usize,
}

impl Reader<'_> {
    fn place(&self, byte: usize) -> Span {
        let line = self.line_starts.partition_point(|start| *start <= byte).max(1);
        let column = self.chars(byte) - self.chars(self.line_starts[line - 1]) + 1;
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Span::new(&self.source, narrow(line), narrow(column))
    }

    /// How many characters start before `byte`; takes no longer in a long line.
    fn chars(&self, byte: usize) -> usize {
        let byte = byte.min(self.text.len());
        let block = byte / BLOCK;
        self.chars_before[block] + count_chars(&self.text.as_bytes()[block * BLOCK..byte])
    }

    fn table(&mut self, table: &DeTable<'_>, span: Span, depth: usize) -> Result<Node, Problem> {
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table.iter() {
            let span = self.place(key.span().start);
            let value = self.value(value, depth)?;
            entries.push(Entry { key: key.get_ref().to_string(), span, value });
        }
        Ok(Node { span, value: Value::Map(entries) })
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, depth: usize) -> Result<Node, Problem> {
        let at = value.span();
        let span = self.place(at.start);
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Problem::new(span, format!("more than {MAX_NODES} values")));
        }
        let text = match value.get_ref() {
            DeValue::Table(table) => {
                self.depth(depth, &span)?;
                return self.table(table, span, depth + 1);
            }
            DeValue::Array(items) => {
                self.depth(depth, &span)?;
                let items = items.iter().map(|item| self.value(item, depth + 1));
                return Ok(Node { span, value: Value::List(items.collect::<Result<_, _>>()?) });
            }
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => {
                let parsed = i128::from_str_radix(number.as_str(), number.radix());
                parsed.map_or_else(|_| number.to_string(), |number| number.to_string())
            }
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(boolean) => boolean.to_string(),
            DeValue::Datetime(time) => time.to_string(),
        };
        let verbatim = self.verbatim(&text, at);
        Ok(Node { span, value: Value::Scalar(Scalar { text, verbatim }) })
    }

    fn depth(&self, depth: usize, span: &Span) -> Result<(), Problem> {
        match depth >= MAX_DEPTH {
            true => Err(Problem::new(span.clone(), format!("nested deeper than {MAX_DEPTH} levels"))),
            false => Ok(()),
        }
    }

    fn verbatim(&self, text: &str, at: Range<usize>) -> Option<u8> {
        let written = self.text.get(at)?;
        (0u8..4).find(|quotes| {
            let quotes = usize::from(*quotes);
            written.len() == text.len() + 2 * quotes && written.get(quotes..quotes + text.len()) == Some(text)
        })
    }
}

fn chars_before(text: &str) -> Vec<usize> {
    let mut before = 0;
    let blocks = text.as_bytes().chunks(BLOCK).map(|block| {
        before += count_chars(block);
        before
    });
    std::iter::once(0).chain(blocks).collect()
}

/// Bytes that start a character.
fn count_chars(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| (**byte as i8) >= -0x40).count()
}

fn line_starts(text: &str) -> Vec<usize> {
    let after_newline = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(after_newline).collect()
}
