//! Tree to values: typed access that collects every problem.
//!
//! A reader asks a `Fields` for each key that it knows, by type; what nobody asked for is reported as unknown
//! when the section ends. Values are text in the tree, so a number in quotes is a number, as in Traefik. A key
//! without a value (`ping:`) counts as absent, as in Traefik. It never stops at the first problem.

use std::cell::RefCell;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use crate::duration;
use crate::problem::{Problem, Scope, Span};
use crate::suggest::nearest;
use crate::tree::{Entry, Node, Value, quote};

/// Most problems of one reading; the rest is counted.
pub const MAX_PROBLEMS: usize = 1000;
/// Most keys that "expected" lists.
const MAX_LISTED: usize = 24;

/// Where problems go.
#[derive(Debug)]
pub struct Sink {
    problems: RefCell<Vec<Problem>>,
    more: RefCell<usize>,
    scope: RefCell<Scope>,
}

impl Default for Sink {
    fn default() -> Sink {
        Sink { problems: RefCell::default(), more: RefCell::default(), scope: RefCell::new(Scope::Input) }
    }
}

impl Sink {
    /// Takes a problem; unless it is a note, it gets the scope of the object that is being read.
    pub fn push(&self, mut problem: Problem) {
        if problem.scope == Scope::Input {
            problem.scope = self.scope.borrow().clone();
        }
        let mut problems = self.problems.borrow_mut();
        match problems.len() < MAX_PROBLEMS {
            true => problems.push(problem),
            false => *self.more.borrow_mut() += 1,
        }
    }

    /// Reads with `scope` as the scope of problems; says whether it went without any (notes do not count).
    pub fn scoped<T>(&self, scope: Scope, read: impl FnOnce() -> T) -> (T, bool) {
        let before = self.count();
        let outer = self.scope.replace(scope);
        let value = read();
        self.scope.replace(outer);
        (value, self.count() == before)
    }

    /// Whether further problems are only counted.
    pub fn is_full(&self) -> bool {
        self.problems.borrow().len() >= MAX_PROBLEMS
    }

    fn count(&self) -> usize {
        let problems = self.problems.borrow();
        problems.iter().filter(|problem| problem.scope != Scope::Note).count() + *self.more.borrow()
    }

    /// All problems, in the order of their places.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by(|a, b| a.span.cmp(&b.span));
        let more = self.more.into_inner();
        if let Some(last) = problems.last().filter(|_| more > 0) {
            let problem = Problem::new(last.span.clone(), format!("and {more} more problems"));
            problems.push(problem);
        }
        problems
    }

    /// Reads the mapping `node`, called `path` in problems, and reports the keys that `read` did not ask for.
    pub fn section<'n, T>(&self, node: &'n Node, path: &str, read: impl FnOnce(&Fields<'n, '_>) -> T) -> T {
        let entries: &[Entry] = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            Value::Scalar(scalar) if is_true(&scalar.text) => &[],
            _ => {
                let message = format!("{path} is not a mapping");
                self.push(Problem::new(node.span.clone(), message).expected("keys with values"));
                &[]
            }
        };
        let fields = Fields { entries, span: &node.span, path, sink: self, known: RefCell::default() };
        let value = read(&fields);
        fields.report_unknown();
        value
    }
}

/// The keys of one section.
pub struct Fields<'n, 's> {
    entries: &'n [Entry],
    span: &'n Span,
    path: &'s str,
    sink: &'s Sink,
    known: RefCell<Vec<&'static str>>,
}

impl<'n, 's> Fields<'n, 's> {
    /// Where the section is.
    pub fn span(&self) -> &'n Span {
        self.span
    }

    /// What the section is called in problems, such as `entryPoints.web`; empty for the whole file.
    pub fn path(&self) -> &'s str {
        self.path
    }

    /// Where problems go.
    pub fn sink(&self) -> &'s Sink {
        self.sink
    }

    /// The value of `key`, unless it is absent or empty.
    pub fn get(&self, key: &'static str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.value).filter(|node| node.value != Value::Null)
    }

    /// The entry of `key`, with or without a value.
    pub fn entry(&self, key: &'static str) -> Option<&'n Entry> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
        let mut found = self.entries.iter().filter(|entry| entry.key.eq_ignore_ascii_case(key));
        let first = found.next()?;
        for again in found {
            let message = format!("the key {} is there twice, first at {}", quote(&again.key), first.span);
            self.sink.push(Problem::new(again.span.clone(), message));
        }
        Some(first)
    }

    /// A text.
    pub fn string(&self, key: &'static str) -> Option<&'n str> {
        self.scalar(key).map(|(text, _)| text)
    }

    /// A text and its node.
    pub fn scalar(&self, key: &'static str) -> Option<(&'n str, &'n Node)> {
        let node = self.get(key)?;
        match scalar(node) {
            Some(text) => Some((text, node)),
            None => {
                let message = format!("{key} is not a single value");
                self.sink.push(Problem::new(node.span.clone(), message).expected("one value"));
                None
            }
        }
    }

    /// A boolean, in the forms that Go accepts.
    pub fn boolean(&self, key: &'static str) -> Option<bool> {
        self.parsed(key, "true or false", |text| match text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
            _ => None,
        })
    }

    /// A duration; see [`duration::parse`].
    pub fn duration(&self, key: &'static str) -> Option<Duration> {
        self.parsed(key, duration::EXPECTED, duration::parse)
    }

    /// A duration over zero.
    pub fn duration_over_zero(&self, key: &'static str) -> Option<Duration> {
        let parse = |text: &str| duration::parse(text).filter(|duration| !duration.is_zero());
        self.parsed(key, "a duration over zero, such as 10s", parse)
    }

    /// A duration, or none if it is negative.
    pub fn signed_duration(&self, key: &'static str) -> Option<Option<Duration>> {
        self.parsed(key, duration::EXPECTED, |text| match text.strip_prefix('-') {
            Some(size) => duration::parse(size).map(|_| None),
            None => duration::parse(text).map(Some),
        })
    }

    /// A number (or another type that parses) for which `holds` is true.
    pub fn number<T: FromStr>(
        &self,
        key: &'static str,
        expected: &str,
        holds: impl Fn(&T) -> bool,
    ) -> Option<T> {
        self.parsed(key, expected, |text| text.trim().parse().ok().filter(&holds))
    }

    /// A text that `parse` accepts.
    pub fn parsed<T>(
        &self,
        key: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let (text, node) = self.scalar(key)?;
        let value = parse(text);
        if value.is_none() {
            self.sink.push(bad_value(key, text, &node.span).expected(expected));
        }
        value
    }

    /// One of several words, compared without case.
    pub fn word<T: Copy>(&self, key: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        let (text, node) = self.scalar(key)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
            return Some(*value);
        }
        let names = || words.iter().map(|(word, _)| *word);
        let problem = bad_value(key, text, &node.span).expected(one_of(names()));
        self.sink.push(problem.suggest(nearest(text, names()).map(quote)));
        None
    }

    /// A list of texts with their places; a single text is split at commas. Empty if absent.
    pub fn list(&self, key: &'static str) -> Vec<(&'n str, &'n Node)> {
        self.list_but(key, |_| false)
    }

    /// As [`Fields::list`], but a text that is `whole` is not split.
    pub fn list_but(&self, key: &'static str, whole: impl Fn(&str) -> bool) -> Vec<(&'n str, &'n Node)> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let mut items = Vec::new();
        for item in elements(node) {
            match &item.value {
                Value::Scalar(scalar) if whole(&scalar.text) => items.push((scalar.text.as_str(), item)),
                Value::Scalar(scalar) => {
                    items.extend(scalar.text.split(',').map(|part| (part.trim(), item)));
                }
                Value::Null => {}
                _ => {
                    let message = format!("an element of {key} is not a single value");
                    self.sink.push(Problem::new(item.span.clone(), message).expected("one value"));
                }
            }
        }
        items.retain(|(text, _)| !text.is_empty());
        items
    }

    /// A list of texts that `T` parses; the ones that do not are reported.
    pub fn parsed_list<T: FromStr>(&self, key: &'static str, expected: &str) -> Vec<T> {
        let mut values = Vec::new();
        for (text, node) in self.list(key) {
            match text.parse() {
                Ok(value) => values.push(value),
                Err(_) => self.sink.push(bad_value(key, text, &node.span).expected(expected)),
            }
        }
        values
    }

    /// A list of mappings.
    pub fn sections<T>(&self, key: &'static str, read: impl Fn(usize, &Fields<'n, '_>) -> T) -> Vec<T> {
        let named = |(index, item): (usize, &'n Node)| {
            let path = format!("{}[{index}]", join(self.path, key));
            self.sink.section(item, &path, |fields| read(index, fields))
        };
        self.mappings(key).into_iter().enumerate().map(named).collect()
    }

    /// The elements of a list of mappings.
    pub fn mappings(&self, key: &'static str) -> Vec<&'n Node> {
        let Some(node) = self.get(key) else { return Vec::new() };
        if matches!(node.value, Value::Scalar(_)) {
            let message = format!("{key} is not a list");
            self.sink.push(Problem::new(node.span.clone(), message).expected("a list of mappings"));
            return Vec::new();
        }
        elements(node)
    }

    /// A section; none if it is absent or `false`. `true` is a section without keys.
    pub fn section<T>(&self, key: &'static str, read: impl FnOnce(&Fields<'n, '_>) -> T) -> Option<T> {
        let node = self.get(key)?;
        if scalar(node).is_some_and(is_false) {
            return None;
        }
        Some(self.sink.section(node, &join(self.path, key), read))
    }

    /// The entries of a section whose keys are names.
    pub fn names(&self, key: &'static str) -> &'n [Entry] {
        let Some(node) = self.get(key) else { return &[] };
        match &node.value {
            Value::Map(entries) => entries,
            _ => {
                let message = format!("{} is not a mapping", join(self.path, key));
                self.sink.push(Problem::new(node.span.clone(), message).expected("names with settings"));
                &[]
            }
        }
    }

    /// Reports `keys` that are there as not supported yet. `false` is always fine: it is how things are.
    pub fn not_supported(&self, keys: &[&'static str]) {
        for key in keys {
            if let Some(entry) = self.entry(key)
                && !scalar(&entry.value).is_some_and(is_false)
                && entry.value.value != Value::Null
            {
                self.sink.push(Problem::not_supported(entry.span.clone(), join(self.path, key)));
            }
        }
    }

    /// Notes that `keys` that are there have no effect.
    pub fn ignored(&self, keys: &[&'static str], why: &str) {
        for key in keys {
            if let Some(node) = self.get(key) {
                let message = format!("{} has no effect: {why}", join(self.path, key));
                self.sink.push(Problem::new(node.span.clone(), message).scope(Scope::Note));
            }
        }
    }

    /// Reports that a key that must be there is not.
    pub fn missing(&self, key: &'static str, expected: impl Display) {
        let message = format!("{} is missing", join(self.path, key));
        self.sink.push(Problem::new(self.span.clone(), message).expected(expected.to_string()));
    }

    fn report_unknown(&self) {
        let known = self.known.borrow();
        for entry in self.entries {
            if known.iter().any(|key| entry.key.eq_ignore_ascii_case(key)) {
                continue;
            }
            let section = if self.path.is_empty() { String::new() } else { format!(" in {}", self.path) };
            let message = format!("unknown key {}{section}", quote(&entry.key));
            let full = self.sink.is_full();
            let suggestion = nearest(&entry.key, known.iter().copied().filter(|_| !full));
            let mut problem = Problem::new(entry.span.clone(), message).suggest(suggestion.map(quote));
            if suggestion.is_none() {
                problem = problem.expected(one_of(known.iter().copied()));
            }
            self.sink.push(problem);
        }
    }
}

/// `section.key`, or `key` at the top.
pub fn join(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_string() } else { format!("{section}.{key}") }
}

/// The problem of a value that does not fit.
pub fn bad_value(key: &str, text: &str, span: &Span) -> Problem {
    Problem::new(span.clone(), format!("{key} cannot be {}", quote(text)))
}

/// One text: a scalar, or the last of a flag that is given several times.
fn scalar(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(scalar) => Some(&scalar.text),
        Value::List(items) if node.span.line == 0 => items.last().and_then(scalar),
        _ => None,
    }
}

/// The elements of a list: a sequence, a mapping of indices (`[0]`, or `0` in an environment variable), or one
/// value.
fn elements(node: &Node) -> Vec<&Node> {
    let index = |key: &str| key.trim_start_matches('[').trim_end_matches(']').parse::<u32>().ok();
    match &node.value {
        Value::List(items) => items.iter().collect(),
        Value::Map(entries) if entries.iter().all(|entry| index(&entry.key).is_some()) => {
            let mut ordered: Vec<&Entry> = entries.iter().collect();
            ordered.sort_by_key(|entry| index(&entry.key));
            ordered.into_iter().map(|entry| &entry.value).collect()
        }
        _ => vec![node],
    }
}

fn one_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    match words.len() {
        0 => "no key".to_string(),
        1 => words[0].to_string(),
        n if n > MAX_LISTED => format!("one of {}, …", words[..MAX_LISTED].join(", ")),
        _ => format!("one of {}", words.join(", ")),
    }
}

fn is_true(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

fn is_false(text: &str) -> bool {
    text.eq_ignore_ascii_case("false")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{File, Format, parse};

    fn read<T>(text: &str, read: impl FnOnce(&Fields<'_, '_>) -> T) -> (T, Vec<String>) {
        let root = parse(File { name: "a.yml", text, format: Format::Yaml }).unwrap();
        let sink = Sink::default();
        let value = sink.section(&root, "", read);
        (value, sink.into_problems().iter().map(Problem::to_string).collect())
    }

    #[test]
    fn reads_by_the_type_of_the_setting() {
        let text = "Port: '80'\nOPEN: \"true\"\nwait: 10\nnames: a, b\nmore: [c, 1]\nmode: WRR\nnothing:\n";
        let ((), problems) = read(text, |fields| {
            assert_eq!(fields.number::<u16>("port", "", |_| true), Some(80));
            assert_eq!(fields.boolean("open"), Some(true));
            assert_eq!(fields.duration("wait"), Some(Duration::from_secs(10)));
            let texts = |key| fields.list(key).into_iter().map(|(text, _)| text).collect::<Vec<_>>();
            assert_eq!(texts("names"), ["a", "b"]);
            assert_eq!(texts("more"), ["c", "1"]);
            assert_eq!(fields.word("mode", &[("wrr", 1), ("p2c", 2)]), Some(1));
            assert_eq!(fields.string("nothing"), None);
            assert_eq!(fields.string("absent"), None);
        });
        assert_eq!(problems, Vec::<String>::new());
    }

    #[test]
    fn collects_every_problem_in_order() {
        let text = "port: many\nmode: wr\nwait: soon\nadress: x\nzebra: 1\nname: [a, {}]\nname2: {a: b}\n";
        let ((), problems) = read(text, |fields| {
            fields.string("address");
            fields.duration("wait");
            fields.number::<u16>("port", "a port", |_| true);
            fields.word("mode", &[("wrr", 1), ("p2c", 2)]);
            fields.list("name");
            fields.string("name2");
        });
        assert_eq!(
            problems,
            [
                "a.yml:1:7: port cannot be \"many\"; expected a port",
                "a.yml:2:7: mode cannot be \"wr\"; expected one of wrr, p2c; did you mean \"wrr\"?",
                "a.yml:3:7: wait cannot be \"soon\"; expected a duration such as 10s, 1m30s or 500ms, or a number of seconds",
                "a.yml:4:1: unknown key \"adress\"; did you mean \"address\"?",
                "a.yml:5:1: unknown key \"zebra\"; expected one of address, wait, port, mode, name, name2",
                "a.yml:6:11: an element of name is not a single value; expected one value",
                "a.yml:7:8: name2 is not a single value; expected one value",
            ]
        );
    }

    #[test]
    fn keys_that_differ_by_case_are_there_twice() {
        let (value, problems) = read("address: a\nADDRESS: b\n", |fields| fields.string("address").is_some());
        assert!(value);
        assert_eq!(problems, ["a.yml:2:1: the key \"ADDRESS\" is there twice, first at a.yml:1:1"]);
    }

    #[test]
    fn the_list_of_problems_is_bounded() {
        let text: String = (0..3000).map(|n| format!("k{n}: 1\n")).collect();
        let ((), problems) = read(&text, |_| ());
        assert_eq!(problems.len(), MAX_PROBLEMS + 1);
        assert!(problems.last().unwrap().ends_with("and 2000 more problems"));
    }
}
