//! Objects and fields to places, for problems that are found later.
//!
//! Keeps the trees of the files that a snapshot came from; a problem of `pancake_table::check` names an object
//! (`router web@file`) and a field (`rule`, `loadBalancer.servers[0].url`), which are looked up in them.

use std::collections::HashMap;

use pancake_table::check;

use super::dynamic::PROVIDER;
use crate::problem::{Problem, Scope, Span};
use crate::tree::{Entry, Node, Value};

/// Sections of named objects and what these are called.
const KINDS: [(&str, &str, &str); 12] = [
    ("http", "routers", "router"),
    ("http", "services", "service"),
    ("http", "serversTransports", "serversTransport"),
    ("http", "middlewares", "middleware"),
    ("tcp", "routers", "tcp router"),
    ("tcp", "services", "tcp service"),
    ("tcp", "serversTransports", "tcp serversTransport"),
    ("tcp", "middlewares", "tcp middleware"),
    ("udp", "routers", "udp router"),
    ("udp", "services", "udp service"),
    ("tls", "options", "tls options"),
    ("tls", "stores", "tls store"),
];

/// Where each object and field of the provider `file` stands.
#[derive(Debug, Default)]
pub struct SourceMap {
    files: Vec<Node>,
    /// Object to where it is.
    objects: HashMap<String, Place>,
}

/// File, section in it, place in the section.
#[derive(Clone, Copy, Debug)]
struct Place {
    file: usize,
    section: (&'static str, &'static str),
    index: usize,
}

impl SourceMap {
    /// Of the files with these trees. Where an object is there twice, the first counts.
    pub fn new(files: Vec<Node>) -> SourceMap {
        let mut objects = HashMap::new();
        let mut certificates = 0;
        for (file, root) in files.iter().enumerate() {
            for (top, section, kind) in KINDS {
                for (index, entry) in entries(section_of(root, (top, section))).iter().enumerate() {
                    let place = Place { file, section: (top, section), index };
                    let object = match (top, entry.key.as_str()) {
                        ("tls", "default") => format!("{kind} default"),
                        (_, key) => format!("{kind} {key}@{PROVIDER}"),
                    };
                    objects.entry(object).or_insert(place);
                }
            }
            let section = ("tls", "certificates");
            for (index, _) in items(section_of(root, section)).iter().enumerate() {
                let object = format!("certificate tls.certificates[{certificates}]@{PROVIDER}");
                objects.insert(object, Place { file, section, index });
                certificates += 1;
            }
        }
        SourceMap { files, objects }
    }

    /// Where `field` of `object` stands, `offset` bytes into its text; the nearest thing around it that is
    /// there. None if the object is from another provider.
    pub fn place(&self, object: &str, field: &str, offset: Option<usize>) -> Option<Span> {
        let Place { file, section, index } = *self.find(object)?;
        let section = section_of(self.files.get(file)?, section);
        let (mut span, mut at) = match entries(section).get(index) {
            Some(entry) => (&entry.span, &entry.value),
            None => items(section).get(index).map(|item| (&item.span, item))?,
        };
        for step in field.split(['.', '[']).map(|step| step.trim_end_matches(']')) {
            match child(at, step) {
                Some((key, value)) => (span, at) = (key, value),
                None => return Some(span.clone()),
            }
        }
        Some(offset.map_or_else(|| at.span.clone(), |offset| at.place_in_text(offset)))
    }

    /// A router that was made of another for an entry point (`websecure-shop@file`) is where that one is.
    fn find(&self, object: &str) -> Option<&Place> {
        let origin = || {
            let mut name = object.strip_prefix("router ")?;
            while let Some((_, rest)) = name.split_once('-') {
                name = rest;
                if let Some(place) = self.objects.get(&format!("router {name}")) {
                    return Some(place);
                }
            }
            None
        };
        self.objects.get(object).or_else(origin)
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

fn section_of<'n>(root: &'n Node, (top, section): (&str, &str)) -> Option<&'n Value> {
    let (_, top) = child(root, top)?;
    child(top, section).map(|(_, node)| &node.value)
}

fn entries(section: Option<&Value>) -> &[Entry] {
    match section {
        Some(Value::Map(entries)) => entries,
        _ => &[],
    }
}

fn items(section: Option<&Value>) -> &[Node] {
    match section {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

/// The value under a key or an index, and where it is named.
pub(super) fn child<'n>(node: &'n Node, step: &str) -> Option<(&'n Span, &'n Node)> {
    match &node.value {
        Value::Map(entries) => {
            let entry = entries.iter().find(|entry| entry.key.eq_ignore_ascii_case(step))?;
            Some((&entry.span, &entry.value))
        }
        Value::List(items) => items.get(step.parse::<usize>().ok()?).map(|item| (&item.span, item)),
        _ => None,
    }
}
