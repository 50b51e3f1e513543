//! All problems of a snapshot at once.
//!
//! A faulty router or service alone is left out, the rest serves, as in Traefik 3. What a snapshot as a whole is
//! worth (serve the rest, or refuse it) is for the caller to decide: [`crate::check::Report::has_errors`].

/// Middlewares.
mod middlewares;
/// Routers: rule, entry points, middlewares, service.
mod routers;
/// Rules, each text once.
mod rules;
/// Transports, services, their servers and health checks.
mod services;
/// TCP transports, services and routers.
mod tcp;
/// TLS of routers and transports; options, certificates, stores.
mod tls;
/// UDP services and routers.
mod udp;
/// Services made of services.
mod weighted;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::compiled::Table;
use crate::limits::{
    MAX_CERTIFICATES, MAX_MIDDLEWARES, MAX_NAME_BYTES, MAX_PROBLEMS, MAX_ROUTERS, MAX_SERVERS, MAX_SERVICES,
    MAX_TLS_OPTIONS, MAX_TLS_STORES, MAX_TRANSPORTS,
};
use crate::map::{Map, Set};
use crate::rule::Rule;
use crate::snapshot::tcp::TcpServiceKind;
use crate::snapshot::udp::UdpServiceKind;
use crate::snapshot::{ServiceKind, Snapshot};
use routers::Known;

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The object serves, though hardly as meant.
    Warning,
    /// The object is left out.
    Error,
}

/// One thing wrong with a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Which object: `router web@file`, `service api@pancake`, `snapshot`.
    pub object: String,
    /// The field, as the Traefik dynamic configuration names it; may be empty.
    pub field: String,
    /// What is wrong and what was expected.
    pub message: String,
    /// Where in the rule, in bytes from its start.
    pub offset_in_rule: Option<usize>,
    /// Whether the object is left out.
    pub severity: Severity,
}

impl Problem {
    /// An error: the object is left out.
    pub fn error(object: impl Into<String>, field: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem {
            object: object.into(),
            field: field.into(),
            message: message.into(),
            offset_in_rule: None,
            severity: Severity::Error,
        }
    }

    /// A warning: the object serves.
    pub fn warning(
        object: impl Into<String>,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Problem {
        Problem { severity: Severity::Warning, ..Problem::error(object, field, message) }
    }

    /// The same problem, found at `offset` bytes into the rule.
    pub fn at(mut self, offset: usize) -> Problem {
        self.offset_in_rule = Some(offset);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.object)?;
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        if let Some(offset) = self.offset_in_rule {
            write!(f, " at byte {offset}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// What [`check`] found.
#[derive(Debug, Default)]
pub struct Report {
    problems: Vec<Problem>,
    unlisted: usize,
    errors: usize,
    /// By place in the snapshot: the parsed rule of a router that serves.
    pub(crate) rules: Vec<Option<Arc<Rule>>>,
    /// By place in the snapshot: whether the service can be built.
    pub(crate) services: Vec<bool>,
    /// By place in the snapshot: the parsed rule of a TCP router that serves.
    pub(crate) tcp_rules: Vec<Option<Arc<Rule>>>,
    /// Places of TCP services that can be built, parts before what they are parts of.
    pub(crate) tcp_services: Vec<u32>,
    /// By place in the snapshot: whether the UDP router serves.
    pub(crate) udp_routers: Vec<bool>,
    /// Places of UDP services that can be built, parts before what they are parts of.
    pub(crate) udp_services: Vec<u32>,
}

impl Report {
    /// The problems, at most [`MAX_PROBLEMS`], transports, services, TLS and routers in the order of the
    /// snapshot, then the same of TCP, then of UDP.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many problems there are beyond [`Report::problems`].
    pub fn unlisted(&self) -> usize {
        self.unlisted
    }

    /// Whether some object is left out.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Whether the router at this place of the snapshot serves.
    pub fn router_serves(&self, router: usize) -> bool {
        self.rules.get(router).is_some_and(Option::is_some)
    }

    /// Whether the service at this place of the snapshot is built.
    pub fn service_serves(&self, service: usize) -> bool {
        self.services.get(service).copied().unwrap_or(false)
    }

    /// Whether the TCP router at this place of the snapshot serves.
    pub fn tcp_router_serves(&self, router: usize) -> bool {
        self.tcp_rules.get(router).is_some_and(Option::is_some)
    }

    /// Whether the UDP router at this place of the snapshot serves.
    pub fn udp_router_serves(&self, router: usize) -> bool {
        self.udp_routers.get(router).copied().unwrap_or(false)
    }

    /// Names of the routers of `snapshot` (the one that was checked) that are left out.
    pub fn routers_left_out<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a str> {
        snapshot.routers.iter().enumerate().filter(|(i, _)| !self.router_serves(*i)).map(|(_, r)| &*r.name)
    }

    /// Names of the services of `snapshot` (the one that was checked) that are left out.
    pub fn services_left_out<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a str> {
        snapshot.services.iter().enumerate().filter(|(i, _)| !self.service_serves(*i)).map(|(_, s)| &*s.name)
    }

    fn push(&mut self, problem: Problem) {
        self.errors += usize::from(problem.severity == Severity::Error);
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        } else {
            self.unlisted += 1;
        }
    }
}

/// Every problem of `snapshot`. `entry_points` are the names of all entry points of this process.
pub fn check(snapshot: &Snapshot, entry_points: &[String]) -> Report {
    check_after(snapshot, entry_points, None)
}

/// As [`check`], faster: rules that `previous` has already parsed are not parsed again.
pub fn check_after(snapshot: &Snapshot, entry_points: &[String], previous: Option<&Table>) -> Report {
    let mut report = Report::default();
    if !sizes(snapshot, &mut report) {
        return report;
    }
    let entry_points: &Set<&str> = &entry_points.iter().map(|name| &**name).collect();
    let transports = services::transports(snapshot, &mut report);
    let services = &services::services(snapshot, &transports, &mut report);
    let tls_options = &tls::section(snapshot, &mut report);
    let middlewares = &middlewares::middlewares(snapshot, &mut report);
    let known = Known { entry_points, services, tls_options, middlewares };
    let regex_bytes = routers::routers(snapshot, &known, previous, &mut report);
    let transports = tcp::transports(snapshot, &mut report);
    let services = &tcp::services(snapshot, &transports, &mut report);
    // There are no TCP middlewares in the contract yet.
    let middlewares = &Map::default();
    tcp::routers(snapshot, &Known { services, middlewares, ..known }, previous, regex_bytes, &mut report);
    let services = udp::services(snapshot, &mut report);
    udp::routers(snapshot, entry_points, &services, &mut report);
    report
}

/// Servers and parts of all services.
fn count_servers(snapshot: &Snapshot) -> usize {
    let http = snapshot.services.iter().map(|service| match &service.kind {
        ServiceKind::LoadBalancer(balancer) => balancer.servers.len(),
    });
    let tcp = snapshot.tcp.services.iter().map(|service| match &service.kind {
        TcpServiceKind::LoadBalancer(balancer) => balancer.servers.len(),
        TcpServiceKind::Weighted(parts) => parts.len(),
    });
    let udp = snapshot.udp.services.iter().map(|service| match &service.kind {
        UdpServiceKind::LoadBalancer(servers) => servers.len(),
        UdpServiceKind::Weighted(parts) => parts.len(),
    });
    http.chain(tcp).chain(udp).sum()
}

/// Whether the snapshot is small enough to look into; if not, nothing of it serves.
fn sizes(snapshot: &Snapshot, report: &mut Report) -> bool {
    let counts = [
        ("routers", snapshot.routers.len(), MAX_ROUTERS),
        ("middlewares", snapshot.middlewares.len(), MAX_MIDDLEWARES),
        ("services", snapshot.services.len(), MAX_SERVICES),
        ("servers", count_servers(snapshot), MAX_SERVERS),
        ("serversTransports", snapshot.servers_transports.len(), MAX_TRANSPORTS),
        ("tls.certificates", snapshot.tls.certificates.len(), MAX_CERTIFICATES),
        ("tls.options", snapshot.tls.options.len(), MAX_TLS_OPTIONS),
        ("tls.stores", snapshot.tls.stores.len(), MAX_TLS_STORES),
        ("tcp.routers", snapshot.tcp.routers.len(), MAX_ROUTERS),
        ("tcp.services", snapshot.tcp.services.len(), MAX_SERVICES),
        ("tcp.serversTransports", snapshot.tcp.servers_transports.len(), MAX_TRANSPORTS),
        ("udp.routers", snapshot.udp.routers.len(), MAX_ROUTERS),
        ("udp.services", snapshot.udp.services.len(), MAX_SERVICES),
    ];
    for (what, found, limit) in counts {
        if found > limit {
            let message = format!("{found} {what}, at most {limit} are allowed; nothing of it is served");
            report.push(Problem::error("snapshot", what, message));
        }
    }
    report.errors == 0
}

/// The object that problems are about.
#[derive(Clone, Copy)]
struct Subject<'a> {
    kind: &'static str,
    name: &'a str,
}

impl<'a> Subject<'a> {
    fn new(kind: &'static str, name: &'a str) -> Subject<'a> {
        Subject { kind, name }
    }

    fn problem(self, field: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem::error(object(self.kind, self.name), field, message)
    }

    fn odd(self, field: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem::warning(object(self.kind, self.name), field, message)
    }

    fn error(self, field: impl Into<String>, message: impl Into<String>, report: &mut Report) {
        report.push(self.problem(field, message));
    }

    fn warning(self, field: impl Into<String>, message: impl Into<String>, report: &mut Report) {
        report.push(self.odd(field, message));
    }

    /// Whether its name is a name, and nothing before has it (`twice`).
    fn check_name(self, twice: bool, report: &mut Report) -> bool {
        let problem = name_problem(self.name).or_else(|| {
            let kind = self.kind.split(' ').next_back().unwrap_or_default();
            let kind = if kind == "serversTransport" { "transport" } else { kind };
            twice.then(|| format!("there is another {kind} with this name before it"))
        });
        match problem {
            None => true,
            Some(message) => {
                self.error("name", message, report);
                false
            }
        }
    }
}

/// The object of a problem; a name that is itself too long is cut.
pub(crate) fn object(kind: &str, name: &str) -> String {
    format!("{kind} {}", cut(name, MAX_NAME_BYTES))
}

/// At most `limit` bytes of `text`, whole characters.
fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

/// What is wrong with a name.
fn name_problem(name: &str) -> Option<String> {
    if name.is_empty() {
        Some("the name is empty".into())
    } else if name.len() > MAX_NAME_BYTES {
        Some(format!("the name has {} bytes, at most {MAX_NAME_BYTES} are allowed", name.len()))
    } else if name.chars().any(char::is_control) {
        Some("the name has a control character".into())
    } else {
        None
    }
}

#[cfg(test)]
mod l4_tests;
#[cfg(test)]
mod tests;
