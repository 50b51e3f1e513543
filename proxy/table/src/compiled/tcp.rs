//! TCP routes, services, servers: what sessions that forward bytes read.

use std::sync::Arc;
use std::time::Duration;

use super::{ServerLive, Slot};
use crate::lookup::Routed;
use crate::rule::Rule;
use crate::snapshot::tcp::TcpHealthCheck;
use crate::snapshot::tls::{RouterTls, ServersTls};

/// A TCP router that serves.
#[derive(Debug)]
pub struct TcpRoute {
    /// Qualified name.
    pub name: Arc<str>,
    /// Identity by name.
    pub slot: Slot,
    /// Where its connections go.
    pub service: Arc<TcpService>,
    /// Which connections it takes.
    pub rule: Arc<Rule>,
    /// Higher wins; the length of the rule if the router sets none, -1 for a catch-all.
    pub priority: i64,
    /// None: takes connections without TLS, and no others. Otherwise those with TLS, ended here or passed through.
    pub tls: Option<Arc<RouterTls>>,
    /// Whether the rule is ``HostSNI(`*`)`` and nothing else: HTTP routers with `tls` go before it.
    pub is_catch_all: bool,
}

impl Routed for TcpRoute {
    fn name(&self) -> &str {
        &self.name
    }

    fn priority(&self) -> i64 {
        self.priority
    }

    fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    fn tls(&self) -> Option<&Arc<RouterTls>> {
        self.tls.as_ref()
    }
}

/// A TCP service.
#[derive(Debug)]
pub struct TcpService {
    /// Qualified name.
    pub name: Arc<str>,
    /// Identity by name and content: a position in the turn stays right while this is the same. The content of the
    /// parts of a weighted service does not count.
    pub slot: Slot,
    /// Identity by name alone (counters).
    pub name_slot: Slot,
    /// What it does with a connection.
    pub kind: TcpServiceKind,
}

/// What a TCP service does with a connection.
#[derive(Debug)]
pub enum TcpServiceKind {
    /// Spreads connections over servers.
    LoadBalancer(TcpLoadBalancer),
    /// Spreads connections over services; at most [`crate::limits::MAX_SERVICE_DEPTH`] of these inside each other,
    /// never in a circle.
    Weighted(Vec<WeightedTcp>),
}

/// A part of a weighted TCP service.
#[derive(Debug)]
pub struct WeightedTcp {
    /// Where its share goes.
    pub service: Arc<TcpService>,
    /// Share of the connections; 0 takes none.
    pub weight: u32,
}

/// Servers of a TCP service.
#[derive(Debug)]
pub struct TcpLoadBalancer {
    /// In the order of the snapshot, draining ones included.
    pub servers: Vec<Arc<TcpServer>>,
    /// Active check, if configured.
    pub health_check: Option<TcpHealthCheck>,
}

impl TcpService {
    /// Servers of its own; a weighted service has none.
    pub fn servers(&self) -> &[Arc<TcpServer>] {
        match &self.kind {
            TcpServiceKind::LoadBalancer(balancer) => &balancer.servers,
            TcpServiceKind::Weighted(_) => &[],
        }
    }
}

/// One address of a TCP service.
#[derive(Debug)]
pub struct TcpServer {
    /// Identity by service name, address, id, `tls` and transport. Draining or another weight does not change it.
    pub slot: Slot,
    /// As configured.
    pub address: Arc<str>,
    /// Identity under which its drain is confirmed.
    pub id: Arc<str>,
    /// Path of its Unix stream socket. Then the host is `localhost`, the port means nothing, and
    /// [`ServerLive::address`] stays empty.
    pub unix: Option<Arc<str>>,
    /// Host name or address literal, without brackets.
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
    /// TLS is spoken to it.
    pub tls: bool,
    /// Share of the connections.
    pub weight: u32,
    /// Takes no new connections.
    pub draining: bool,
    /// How connections to it are made.
    pub transport: Arc<TcpTransport>,
    /// State that changes while the table serves; shared by every table that has this server.
    pub live: Arc<ServerLive>,
}

impl TcpServer {
    /// Whether new connections may go to it: up, not draining, of some weight.
    pub fn is_usable(&self) -> bool {
        !self.draining && self.weight > 0 && self.live.is_up()
    }
}

/// TCP keep-alive probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeepAlive {
    /// None are sent.
    Off,
    /// As the system does.
    System,
    /// This long after the last byte, and between two.
    Every(Duration),
}

/// How connections to TCP servers are made. `None` means no limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TcpTransport {
    /// Connect deadline.
    pub dial_timeout: Option<Duration>,
    /// Keep-alive probes.
    pub keep_alive: KeepAlive,
    /// How long the other direction may go on after one has ended.
    pub termination_delay: Option<Duration>,
    /// A PROXY header of this version (1 or 2) comes first.
    pub proxy_protocol: Option<u8>,
    /// How TLS is spoken to servers with `tls`.
    pub tls: Arc<ServersTls>,
}
