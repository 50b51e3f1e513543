//! Why a request goes where it goes, in plain words: for `pancake explain URL` and the admin API. Allocates: not for
//! requests.

/// Why a rule does not match.
mod why;

use serde::Serialize;

use crate::compiled::{Route, Server, Service, Table};
use crate::limits::MAX_EXPLAINED;
use crate::lookup::{EntryPointId, Request};

/// The way of a request through the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Version of the table.
    pub version: u64,
    /// Name of the entry point; empty if there is none with this number.
    pub entry_point: String,
    /// Whether the request comes over TLS: routers with `tls` take such requests only, the others only the others.
    pub secure: bool,
    /// What rules see of the request.
    pub request: SeenRequest,
    /// Routers of this entry point with `tls` or, for a request without TLS, without.
    pub routers: usize,
    /// How many of them are not asked, because the index knows that they demand another host or path.
    pub ruled_out: usize,
    /// Routers that are asked, in the order of priority, up to the first that matches; at most [`MAX_EXPLAINED`],
    /// and the one that matches.
    pub candidates: Vec<Candidate>,
    /// Where the request goes; none: it is answered 404.
    pub chosen: Option<Chosen>,
    /// The outcome in a sentence.
    pub outcome: String,
}

/// What rules see of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeenRequest {
    /// As sent.
    pub method: String,
    /// Without port, lower case.
    pub host: String,
    /// The routing path.
    pub path: String,
    /// Without `?`.
    pub query: String,
    /// The connection's peer.
    pub client_ip: String,
}

/// A router that is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// Qualified name.
    pub router: String,
    /// As configured.
    pub rule: String,
    /// Higher is asked first.
    pub priority: i64,
    /// Whether the rule matches.
    pub matched: bool,
    /// The parts of the rule that fail, each with its reason.
    pub failed: Vec<Failure>,
}

/// A part of a rule that fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The part as written.
    pub part: String,
    /// Where it starts in the rule, in bytes.
    pub offset: usize,
    /// Why it fails.
    pub why: String,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chosen {
    /// Qualified name.
    pub router: String,
    /// Qualified name.
    pub service: String,
    /// In the order of the configuration.
    pub servers: Vec<ServerState>,
    /// How many of them may take the request; with none it is answered 503.
    pub usable: usize,
}

/// A server as the table sees it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerState {
    /// As configured.
    pub url: String,
    /// Stable identity of the instance behind it.
    pub id: String,
    /// Share of the requests.
    pub weight: u32,
    /// Whether it takes no new requests.
    pub draining: bool,
    /// The verdict of the health check; true without one.
    pub up: bool,
    /// Where connections go; none while its name is not resolved.
    pub address: Option<String>,
    /// `up`, `down`, `draining` or `weight 0`.
    pub state: &'static str,
}

impl ServerState {
    /// The state of `server` now.
    pub fn of(server: &Server) -> ServerState {
        let up = server.live.is_up();
        ServerState {
            url: server.url.to_string(),
            id: server.id.to_string(),
            weight: server.weight,
            draining: server.draining,
            up,
            address: server.live.address.load().as_ref().map(ToString::to_string),
            state: match (server.draining, up, server.weight) {
                (true, ..) => "draining",
                (_, false, _) => "down",
                (_, _, 0) => "weight 0",
                _ => "up",
            },
        }
    }
}

impl Chosen {
    fn of(route: &Route) -> Chosen {
        let service: &Service = &route.service;
        Chosen {
            router: route.name.to_string(),
            service: service.name.to_string(),
            servers: service.servers.iter().map(|server| ServerState::of(server)).collect(),
            usable: service.servers.iter().filter(|server| server.is_usable()).count(),
        }
    }
}

impl Table {
    /// Why [`Table::route`] answers as it does. `secure`: the request comes over TLS.
    pub fn explain(&self, entry_point: EntryPointId, secure: bool, request: &impl Request) -> Explanation {
        let name = self.index.names().nth(usize::from(entry_point.0)).unwrap_or_default().to_owned();
        let arranged = self.index.http(entry_point, secure);
        let routers = arranged.map_or(0, |arranged| arranged.len());
        let asked =
            arranged.map(|arranged| arranged.candidates(request).collect::<Vec<_>>()).unwrap_or_default();
        let chosen = self.route(entry_point, secure, request);
        let mut candidates = Vec::new();
        for route in &asked {
            let matched = chosen.is_some_and(|chosen| std::ptr::eq(&**chosen, &***route));
            if matched || candidates.len() < MAX_EXPLAINED {
                candidates.push(candidate(route, matched, request));
            }
            if matched {
                break;
            }
        }
        let chosen = chosen.map(|route| Chosen::of(route));
        Explanation {
            version: self.version,
            outcome: outcome(&name, secure, arranged.is_some(), chosen.as_ref()),
            entry_point: name,
            secure,
            request: SeenRequest {
                method: request.method().to_owned(),
                host: request.host().to_owned(),
                path: request.path().to_owned(),
                query: request.query().to_owned(),
                client_ip: request.client_ip().to_string(),
            },
            routers,
            ruled_out: routers - asked.len(),
            candidates,
            chosen,
        }
    }
}

fn candidate(route: &Route, matched: bool, request: &impl Request) -> Candidate {
    Candidate {
        router: route.name.to_string(),
        rule: route.rule.text().to_owned(),
        priority: route.priority,
        matched,
        failed: if matched { Vec::new() } else { why::failures(&route.rule, request) },
    }
}

fn outcome(entry_point: &str, secure: bool, known: bool, chosen: Option<&Chosen>) -> String {
    match chosen {
        None if !known => "there is no entry point with this number".into(),
        None => {
            let with = if secure { " with tls" } else { "" };
            format!("no router{with} of entry point {entry_point:?} matches: answered 404")
        }
        Some(Chosen { router, service, servers, .. }) if servers.is_empty() => {
            format!("router {router:?}, service {service:?}, which has no servers: answered 503")
        }
        Some(Chosen { router, service, servers, usable: 0 }) => {
            format!(
                "router {router:?}, service {service:?}, none of its {} servers is usable: answered 503",
                servers.len()
            )
        }
        Some(Chosen { router, service, servers, usable }) => {
            format!(
                "router {router:?}, service {service:?}, one of {usable} usable servers of {}",
                servers.len()
            )
        }
    }
}

#[cfg(test)]
mod tests;
