//! Objects and fields to places, for problems that are found later.
//!
//! Keeps the trees of the files that a snapshot came from; a problem of `pancake_table::check` names an object
//! (`router web@file`) and a field (`rule`, `loadBalancer.servers[0].url`), which are looked up in them.

use std::collections::HashMap;

use pancake_table::check;

use super::dynamic::PROVIDER;
use crate::problem::{Problem, Scope, Span};
use crate::tree::{Entry, Node, Value};

/// Sections of `http` and what their objects are called.
const KINDS: [(&str, &str); 4] = [
    ("routers", "router"),
    ("services", "service"),
    ("serversTransports", "serversTransport"),
    ("middlewares", "middleware"),
];

/// Where each object and field of the provider `file` stands.
#[derive(Debug, Default)]
pub struct SourceMap {
    files: Vec<Node>,
    /// Object to file, section and place in the section.
    objects: HashMap<String, (usize, &'static str, usize)>,
}

impl SourceMap {
    /// Of the files with these trees. Where an object is there twice, the first counts.
    pub fn new(files: Vec<Node>) -> SourceMap {
        let mut objects = HashMap::new();
        for (file, root) in files.iter().enumerate() {
            for (section, kind) in KINDS {
                for (place, entry) in section_of(root, section).iter().enumerate() {
                    let object = format!("{kind} {}@{PROVIDER}", entry.key);
                    objects.entry(object).or_insert((file, section, place));
                }
            }
        }
        SourceMap { files, objects }
    }

    /// Where `field` of `object` stands, `offset` bytes into its text; the nearest thing around it that is
    /// there. None if the object is from another provider.
    pub fn place(&self, object: &str, field: &str, offset: Option<usize>) -> Option<Span> {
        let (file, section, place) = self.objects.get(object)?;
        let entry = section_of(self.files.get(*file)?, section).get(*place)?;
        let mut span = &entry.span;
        let mut at = &entry.value;
        for step in field.split(['.', '[']).map(|step| step.trim_end_matches(']')) {
            match child(at, step) {
                Some((key, value)) => (span, at) = (key, value),
                None => return Some(span.clone()),
            }
        }
        Some(offset.map_or_else(|| at.span.clone(), |offset| at.place_in_text(offset)))
    }

    /// The problem with its place; that of an object from another provider gets the name of the provider as
    /// place.
    pub fn locate(&self, problem: &check::Problem) -> Problem {
        let place = self.place(&problem.object, &problem.field, problem.offset_in_rule);
        let span = place.unwrap_or_else(|| {
            let provider = problem.object.rsplit_once('@').map_or("snapshot", |(_, provider)| provider);
            Span::whole(format!("provider {provider}"))
        });
        let field = if problem.field.is_empty() { "" } else { ": " };
        let message = format!("{}{field}{}", problem.field, problem.message);
        let message = match problem.severity {
            check::Severity::Error => message,
            check::Severity::Warning => format!("{}: {message}", problem.object),
        };
        let scope = match problem.severity {
            check::Severity::Error => Scope::Object(problem.object.clone()),
            check::Severity::Warning => Scope::Note,
        };
        Problem::new(span, message).scope(scope)
    }
}

fn section_of<'n>(root: &'n Node, section: &str) -> &'n [Entry] {
    let section = child(root, "http").and_then(|(_, http)| child(http, section));
    match section.map(|(_, node)| &node.value) {
        Some(Value::Map(entries)) => entries,
        _ => &[],
    }
}

/// The value under a key or an index, and where it is named.
fn child<'n>(node: &'n Node, step: &str) -> Option<(&'n Span, &'n Node)> {
    match &node.value {
        Value::Map(entries) => {
            let entry = entries.iter().find(|entry| entry.key.eq_ignore_ascii_case(step))?;
            Some((&entry.span, &entry.value))
        }
        Value::List(items) => items.get(step.parse::<usize>().ok()?).map(|item| (&item.span, item)),
        _ => None,
    }
}
