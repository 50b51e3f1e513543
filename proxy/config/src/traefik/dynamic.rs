//! Routers, services and transports: Traefik's dynamic configuration in files.
//!
//! All files of a provider are read as one. A problem with an object leaves out that object (and what needs it);
//! a syntax error, a key that is unknown at the top, or a problem with the TLS options `default` (every router over
//! TLS would be less safe without them) spoils all: the caller then keeps what it has. Rules, URLs, certificates and
//! references to other providers are not judged here: `pancake_table::check` does, and
//! `super::source_map` finds the places for it.

use std::collections::BTreeMap;

use pancake_table::snapshot::tcp::{TcpRouter, TcpServersTransport, TcpService};
use pancake_table::snapshot::tls::{Certificate, Store, TlsOptions};
use pancake_table::snapshot::udp::{UdpRouter, UdpService};
use pancake_table::snapshot::{Router, ServersTransport, Service, Snapshot};

use super::source_map::SourceMap;
use crate::decode::{Fields, Sink, join};
use crate::problem::{Problem, Scope, Span};
use crate::tree::{self, File, Node, quote};

/// `http.middlewares` and `tcp.middlewares`.
mod middlewares;
/// What an object names must be there.
mod references;
/// `http.routers`.
mod routers;
/// `http.services`.
mod services;
/// `tcp`.
mod tcp;
/// `tls`.
mod tls;
/// `http.serversTransports` and `tcp.serversTransports`.
mod transports;
/// `udp`.
mod udp;

pub(crate) use transports::{tcp_transport, transport};

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
    tcp_routers: Kind<TcpRouter>,
    tcp_services: Kind<TcpService>,
    tcp_transports: Kind<TcpServersTransport>,
    tcp_middlewares: Kind<middlewares::Middleware>,
    udp_routers: Kind<UdpRouter>,
    udp_services: Kind<UdpService>,
    certificates: Vec<Object<Certificate>>,
    tls_options: Kind<TlsOptions>,
    tls_stores: Kind<Store>,
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
        let (mut good, mut bad) = (Snapshot::default(), Snapshot::default());
        part(self.routers.into_values(), &mut good.routers, &mut bad.routers);
        let middlewares = self.middlewares.into_values().filter_map(|object| {
            let Object { value, span, node, sound } = object;
            value.built.map(|value| Object { value, span, node, sound })
        });
        part(middlewares, &mut good.middlewares, &mut bad.middlewares);
        part(self.services.into_values(), &mut good.services, &mut bad.services);
        part(self.transports.into_values(), &mut good.servers_transports, &mut bad.servers_transports);
        part(self.tcp_routers.into_values(), &mut good.tcp.routers, &mut bad.tcp.routers);
        part(self.tcp_services.into_values(), &mut good.tcp.services, &mut bad.tcp.services);
        let (good_tcp, bad_tcp) = (&mut good.tcp, &mut bad.tcp);
        part(
            self.tcp_transports.into_values(),
            &mut good_tcp.servers_transports,
            &mut bad_tcp.servers_transports,
        );
        part(self.udp_routers.into_values(), &mut good.udp.routers, &mut bad.udp.routers);
        part(self.udp_services.into_values(), &mut good.udp.services, &mut bad.udp.services);
        part(self.certificates, &mut good.tls.certificates, &mut bad.tls.certificates);
        part(self.tls_options.into_values(), &mut good.tls.options, &mut bad.tls.options);
        part(self.tls_stores.into_values(), &mut good.tls.stores, &mut bad.tls.stores);
        (good, bad)
    }
}

/// What is sound to `good`, the rest to `bad`.
fn part<T>(objects: impl IntoIterator<Item = Object<T>>, good: &mut Vec<T>, bad: &mut Vec<T>) {
    for object in objects {
        if object.sound { &mut *good } else { &mut *bad }.push(object.value);
    }
}

fn document(root: &Fields<'_, '_>, objects: &mut Objects) {
    root.section("http", |http| {
        collect(http, "serversTransports", "serversTransport", &mut objects.transports, transports::read);
        collect(http, "services", "service", &mut objects.services, services::read);
        collect(http, "middlewares", "middleware", &mut objects.middlewares, middlewares::read);
        collect(http, "routers", "router", &mut objects.routers, routers::read);
        http.sink().scoped(Scope::Object("section http.models".into()), || http.not_supported(&["models"]));
    });
    root.section("tcp", |tcp| {
        let transports = &mut objects.tcp_transports;
        collect(tcp, "serversTransports", "tcp serversTransport", transports, transports::read_tcp);
        collect(tcp, "services", "tcp service", &mut objects.tcp_services, tcp::service);
        collect(tcp, "middlewares", "tcp middleware", &mut objects.tcp_middlewares, middlewares::read_tcp);
        collect(tcp, "routers", "tcp router", &mut objects.tcp_routers, tcp::router);
    });
    root.section("udp", |udp| {
        collect(udp, "services", "udp service", &mut objects.udp_services, udp::service);
        collect(udp, "routers", "udp router", &mut objects.udp_routers, udp::router);
    });
    root.section("tls", |section| {
        tls::certificates(section, &mut objects.certificates);
        collect(section, "options", "tls options", &mut objects.tls_options, tls::options);
        collect(section, "stores", "tls store", &mut objects.tls_stores, tls::store);
    });
}

/// TLS options and stores of this name are the same for all providers; it is not qualified.
const DEFAULT: &str = "default";

/// Reads the objects under `key`; two of one name are left out both, unless they are equal.
fn collect<'n, T: PartialEq>(
    section: &Fields<'n, '_>,
    key: &'static str,
    kind: &str,
    objects: &mut Kind<T>,
    read: impl Fn(String, &Fields<'n, '_>) -> T,
) {
    for entry in section.names(key) {
        let sink = section.sink();
        let name = match kind {
            "tls options" | "tls store" => qualified_options(&entry.key),
            _ => format!("{}@{PROVIDER}", entry.key),
        };
        let path = join(&join(section.path(), key), &entry.key);
        let scope = match kind {
            "tls options" if name == DEFAULT => Scope::Input,
            _ => Scope::Object(format!("{kind} {name}")),
        };
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

/// As [`qualified`], but for the name that all providers share.
fn qualified_options(name: &str) -> String {
    if name == DEFAULT { name.to_string() } else { qualified(name) }
}

#[cfg(test)]
mod tests;
