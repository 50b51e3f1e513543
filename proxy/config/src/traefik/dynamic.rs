//! Routers, services and transports: Traefik's dynamic configuration in files.
//!
//! All files of a provider are read as one. A problem with an object leaves out that object (and what needs it);
//! a syntax error, or a key that is unknown at the top, spoils all: the caller then keeps what it has. Rules, URLs
//! and references to other providers are not judged here: `pancake_table::check` does, and
//! `super::source_map` finds the places for it.

use std::collections::BTreeMap;

use pancake_table::snapshot::{Router, ServersTransport, Service, Snapshot};

use super::source_map::SourceMap;
use crate::decode::{Fields, Sink};
use crate::problem::{Problem, Scope, Span};
use crate::tree::{self, File, Node, quote};

/// `http.middlewares`: known by name, not built.
mod middlewares;
/// What an object names must be there.
mod references;
/// `http.routers`.
mod routers;
/// `http.services`.
mod services;
/// `http.serversTransports`.
mod transports;

pub(crate) use transports::transport;

/// What files say.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What can serve, each list by name; `version` is 0. Empty if the input is not usable.
    pub snapshot: Snapshot,
    /// What was left out, as far as it could be read.
    pub left_out: Snapshot,
    /// Every problem, by place. Notes are among them.
    pub problems: Vec<Problem>,
    /// Where each object and field stands.
    pub sources: SourceMap,
}

impl Loaded {
    /// Whether the snapshot may replace the last one: no problem spoils the whole input.
    pub fn is_usable(&self) -> bool {
        self.problems.iter().all(|problem| problem.scope != Scope::Input)
    }
}

/// The provider that qualifies names in files.
pub const PROVIDER: &str = "file";

/// Reads the files as one configuration.
pub fn read(files: &[File<'_>]) -> Loaded {
    let mut problems = Vec::new();
    let mut roots = Vec::new();
    for file in files {
        if let Some(problem) = template(file) {
            problems.push(problem);
            continue;
        }
        match tree::parse(*file) {
            Ok(root) => roots.push(root),
            Err(more) => problems.extend(more),
        }
    }
    let sink = Sink::default();
    let mut objects = Objects::default();
    for root in &roots {
        sink.section(root, "", |fields| document(fields, &mut objects));
    }
    references::resolve(&mut objects, &sink);
    problems.extend(sink.into_problems());
    let mut loaded = Loaded { problems, ..Loaded::default() };
    if loaded.is_usable() {
        (loaded.snapshot, loaded.left_out) = objects.into_snapshots();
    }
    loaded.sources = SourceMap::new(roots);
    loaded
}

/// Traefik runs files through a template engine first.
fn template(file: &File<'_>) -> Option<Problem> {
    let (before, _) = file.text.split_once("{{")?;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.matches('\n').count() + 1;
    let column = before[line_start..].chars().count() + 1;
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let span = Span::new(&file.name.into(), narrow(line), narrow(column));
    Some(Problem::not_supported(span, "Go templates (`{{ … }}`)").expected("plain YAML or TOML"))
}

/// All objects of all files by qualified name.
#[derive(Default)]
struct Objects {
    routers: Kind<Router>,
    services: Kind<Service>,
    transports: Kind<ServersTransport>,
    middlewares: Kind<middlewares::Middleware>,
}

type Kind<T> = BTreeMap<String, Object<T>>;

/// An object with its place.
struct Object<T> {
    value: T,
    span: Span,
    node: Node,
    sound: bool,
}

impl Objects {
    fn into_snapshots(self) -> (Snapshot, Snapshot) {
        let (mut good, mut left_out) = (Snapshot::default(), Snapshot::default());
        for object in self.routers.into_values() {
            if object.sound { &mut good } else { &mut left_out }.routers.push(object.value);
        }
        for object in self.services.into_values() {
            if object.sound { &mut good } else { &mut left_out }.services.push(object.value);
        }
        for object in self.transports.into_values() {
            if object.sound { &mut good } else { &mut left_out }.servers_transports.push(object.value);
        }
        (good, left_out)
    }
}

fn document(root: &Fields<'_, '_>, objects: &mut Objects) {
    for section in ["tcp", "udp", "tls"] {
        root.sink().scoped(Scope::Object(format!("section {section}")), || root.not_supported(&[section]));
    }
    root.section("http", |http| {
        collect(http, "serversTransports", "serversTransport", &mut objects.transports, transports::read);
        collect(http, "services", "service", &mut objects.services, services::read);
        collect(http, "middlewares", "middleware", &mut objects.middlewares, middlewares::read);
        collect(http, "routers", "router", &mut objects.routers, routers::read);
        http.sink().scoped(Scope::Object("section http.models".into()), || http.not_supported(&["models"]));
    });
}

/// Reads the objects under `key`; two of one name are left out both, unless they are equal.
fn collect<'n, T: PartialEq>(
    http: &Fields<'n, '_>,
    key: &'static str,
    kind: &str,
    objects: &mut Kind<T>,
    read: impl Fn(String, &Fields<'n, '_>) -> T,
) {
    for entry in http.names(key) {
        let sink = http.sink();
        let name = format!("{}@{PROVIDER}", entry.key);
        let path = format!("http.{key}.{}", entry.key);
        let scope = Scope::Object(format!("{kind} {name}"));
        let (value, sound) = sink.scoped(scope.clone(), || {
            if entry.key.is_empty() || entry.key.contains('@') {
                let message = format!("{} is no name for a {kind}", quote(&entry.key));
                sink.push(Problem::new(entry.span.clone(), message).expected("a name without @"));
            }
            sink.section(&entry.value, &path, |fields| read(name.clone(), fields))
        });
        let object = Object { value, span: entry.span.clone(), node: entry.value.clone(), sound };
        match objects.get_mut(&name) {
            None => {
                objects.insert(name, object);
            }
            Some(first) => {
                let same = first.value == object.value;
                let message =
                    format!("the {kind} {} is there twice, first at {}", quote(&entry.key), first.span);
                let scope = if same { Scope::Note } else { scope };
                sink.push(Problem::new(object.span, message).scope(scope));
                first.sound &= same && object.sound;
            }
        }
    }
}

/// `name` with the provider of files, unless it names one.
fn qualified(name: &str) -> String {
    if name.contains('@') { name.to_string() } else { format!("{name}@{PROVIDER}") }
}

#[cfg(test)]
mod tests;
