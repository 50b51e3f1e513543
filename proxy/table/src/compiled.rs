//! A snapshot compiled for look-up: the data that sessions read.
//!
//! Identity: [`crate::compiled::Slot`]s are small numbers that stay with an object (by name and content) from table to table, so
//! that workers keep their own state (pools, round-robin position, counters) in plain vectors and a swap costs a
//! worker nothing. A slot number is used again only with a higher generation.

/// TCP routes, services, servers.
mod tcp;
/// UDP routes, services, servers.
mod udp;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::check::Report;
use crate::compile::{EntryPointSpec, Slots, Transports, compile};
use crate::limits::MAX_SERVER_ADDRESSES;
use crate::lookup::{Index, Routed};
use crate::rule::Rule;
use crate::snapshot::middlewares::MiddlewareKind;
use crate::snapshot::tls::{RouterTls, ServersTls};
use crate::snapshot::{HealthCheck, Snapshot};

pub use crate::server_url::Scheme;
pub use tcp::{
    KeepAlive, TcpLoadBalancer, TcpRoute, TcpServer, TcpService, TcpServiceKind, TcpTransport, WeightedTcp,
};
pub use udp::{UdpRoute, UdpServer, UdpService, UdpServiceKind, WeightedUdp};

/// A number that stays with an object from table to table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Dense index for vectors.
    pub index: u32,
    /// Grows when the index is used again for another object.
    pub generation: u32,
}

/// An immutable routing table.
#[derive(Debug)]
pub struct Table {
    /// Version of the snapshot that it was made from.
    pub version: u64,
    /// What it was made from.
    pub snapshot: Arc<Snapshot>,
    /// Routers that serve, in the order of the snapshot.
    pub routes: Vec<Arc<Route>>,
    /// Services that can be built, whether a router names them or not, in the order of the snapshot.
    pub services: Vec<Arc<Service>>,
    /// TCP routers that serve, in the order of the snapshot.
    pub tcp_routes: Vec<Arc<TcpRoute>>,
    /// TCP services that can be built, in the order of the snapshot.
    pub tcp_services: Vec<Arc<TcpService>>,
    /// UDP routers that serve, in the order of the snapshot.
    pub udp_routes: Vec<Arc<UdpRoute>>,
    /// UDP services that can be built, in the order of the snapshot.
    pub udp_services: Vec<Arc<UdpService>>,
    /// Entry points and rules to routes.
    pub(crate) index: Arc<Index>,
    /// Slot numbers in use, for the next compile.
    pub(crate) slots: Slots,
    /// Places in `snapshot.services` of `services`, for the next compile.
    pub(crate) service_places: Vec<u32>,
    /// For the next compile.
    pub(crate) transports: Transports<Transport>,
    /// For the next compile.
    pub(crate) tcp_transports: Transports<TcpTransport>,
    /// Places in `snapshot.tcp.services` of `tcp_services`, for the next compile.
    pub(crate) tcp_service_places: Vec<u32>,
    /// Places in `snapshot.udp.services` of `udp_services`, for the next compile.
    pub(crate) udp_service_places: Vec<u32>,
}

impl Table {
    /// A table that routes nothing, version 0.
    pub fn empty(entry_points: &[EntryPointSpec]) -> Table {
        compile(Arc::default(), &Report::default(), entry_points, None)
    }

    /// How long vectors by [`Slot::index`] must be.
    pub fn slot_counts(&self) -> SlotCounts {
        self.slots.counts()
    }

    /// The service with this qualified name. Takes time by the number of services: not for requests.
    pub fn service(&self, name: &str) -> Option<&Arc<Service>> {
        self.services.iter().find(|service| &*service.name == name)
    }

    /// Host, port and live state of every server whose host is a name: what is to be resolved.
    pub fn named_servers(&self) -> impl Iterator<Item = (&Arc<str>, u16, &Arc<ServerLive>)> {
        let http = self.services.iter().flat_map(|service| &service.servers);
        let http = http.filter(|server| server.unix.is_none()).map(|s| (&s.host, s.port, &s.live));
        let tcp = self.tcp_services.iter().flat_map(|service| service.servers());
        let tcp = tcp.filter(|server| server.unix.is_none()).map(|s| (&s.host, s.port, &s.live));
        let udp = self.udp_services.iter().flat_map(|service| service.servers());
        let udp = udp.map(|s| (&s.host, s.port, &s.live));
        http.chain(tcp).chain(udp).filter(|(host, ..)| host.parse::<IpAddr>().is_err())
    }
}

/// One more than the highest [`Slot::index`] of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCounts {
    /// Of [`Route::slot`].
    pub routes: usize,
    /// Of [`Service::slot`].
    pub services: usize,
    /// Of [`Service::name_slot`].
    pub service_names: usize,
    /// Of [`Server::slot`].
    pub servers: usize,
    /// Of [`TcpRoute::slot`].
    pub tcp_routes: usize,
    /// Of [`TcpService::slot`].
    pub tcp_services: usize,
    /// Of [`TcpService::name_slot`].
    pub tcp_service_names: usize,
    /// Of [`TcpServer::slot`].
    pub tcp_servers: usize,
    /// Of [`UdpRoute::slot`].
    pub udp_routes: usize,
    /// Of [`UdpService::slot`].
    pub udp_services: usize,
    /// Of [`UdpService::name_slot`].
    pub udp_service_names: usize,
    /// Of [`UdpServer::slot`].
    pub udp_servers: usize,
}

/// A router that serves.
#[derive(Debug)]
pub struct Route {
    /// Qualified name.
    pub name: Arc<str>,
    /// Identity by name.
    pub slot: Slot,
    /// Where its requests go.
    pub service: Arc<Service>,
    /// Which requests it takes.
    pub rule: Arc<Rule>,
    /// Higher wins; the length of the rule if the router sets none.
    pub priority: i64,
    /// None: takes requests that come without TLS, and no others.
    pub tls: Option<Arc<RouterTls>>,
    /// What its requests go through, in order.
    pub middlewares: Box<[MiddlewareKind]>,
}

impl Routed for Route {
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

/// A service with its servers.
#[derive(Debug)]
pub struct Service {
    /// Qualified name.
    pub name: Arc<str>,
    /// Identity by name and content; see [`Service::name_slot`] for what must outlive a change of content.
    pub slot: Slot,
    /// Identity by name alone (counters).
    pub name_slot: Slot,
    /// In the order of the snapshot, draining ones included.
    pub servers: Vec<Arc<Server>>,
    /// Whether the server sees the client's `Host`.
    pub pass_host_header: bool,
    /// Active check, if configured.
    pub health_check: Option<HealthCheck>,
}

/// One address of a service.
#[derive(Debug)]
pub struct Server {
    /// Identity by service name, URL, id and transport. Draining or another weight does not change it.
    pub slot: Slot,
    /// The URL as configured.
    pub url: Arc<str>,
    /// Identity under which its drain is confirmed.
    pub id: Arc<str>,
    /// What is spoken to it.
    pub scheme: Scheme,
    /// Path of its Unix stream socket. Then host and authority are `localhost`, the port means nothing, and
    /// [`ServerLive::address`] stays empty.
    pub unix: Option<Arc<str>>,
    /// `host:port` as the server's own `Host` header would carry it (no `:80`, of `https` no `:443`).
    pub authority: Arc<str>,
    /// Host name or address literal, without brackets.
    pub host: Arc<str>,
    /// Port; 80 or, of `https`, 443 if the URL names none.
    pub port: u16,
    /// Put before the request's path; empty unless `preservePath`. No trailing slash.
    pub path_prefix: Arc<str>,
    /// Share of the requests.
    pub weight: u32,
    /// Takes no new requests.
    pub draining: bool,
    /// How connections to it are made.
    pub transport: Arc<Transport>,
    /// State that changes while the table serves; shared by every table that has this server.
    pub live: Arc<ServerLive>,
}

/// What changes about a server while a table serves. Written by the service thread, read by workers.
#[derive(Debug)]
pub struct ServerLive {
    up: AtomicBool,
    /// Where to connect first; none until a host name is resolved, and always for a Unix socket. A literal address is
    /// there from the start. Of a name with several addresses it is the one that answered last.
    pub address: ArcSwapOption<SocketAddr>,
    /// All addresses of a host name, best first; none for a literal address, which has no need of it. At most
    /// [`crate::limits::MAX_SERVER_ADDRESSES`].
    pub addresses: ArcSwapOption<Vec<SocketAddr>>,
}

impl ServerLive {
    /// Up, at `address`.
    pub fn new(address: Option<SocketAddr>) -> ServerLive {
        let address = ArcSwapOption::new(address.map(Arc::new));
        ServerLive { up: AtomicBool::new(true), address, addresses: ArcSwapOption::empty() }
    }

    /// Up, where this one is.
    pub(crate) fn fresh(&self) -> ServerLive {
        let live = ServerLive::new(None);
        live.address.store(self.address.load_full());
        live.addresses.store(self.addresses.load_full());
        live
    }

    /// Takes over what a host name resolves to, best first. The address in use stays while it is among them.
    pub fn resolved(&self, mut found: Vec<SocketAddr>) {
        found.truncate(MAX_SERVER_ADDRESSES);
        let current = self.address.load().as_deref().copied();
        let keeps = current.is_some_and(|current| found.contains(&current));
        let first = found.first().copied();
        if self.addresses.load().as_deref() != Some(&found) {
            self.addresses.store(Some(Arc::new(found)));
        }
        if !keeps {
            self.address.store(first.map(Arc::new));
        }
    }

    /// `now` answered where `was` did not: it is tried first from now on, unless others were found meanwhile.
    pub fn prefer(&self, was: SocketAddr, now: SocketAddr) {
        let current = self.address.load();
        if current.as_deref() == Some(&was) {
            self.address.compare_and_swap(&*current, Some(Arc::new(now)));
        }
    }

    /// Whether the server is still at this address, as far as is known.
    pub fn is_at(&self, address: SocketAddr) -> bool {
        self.addresses.load().as_ref().is_none_or(|all| all.contains(&address))
    }

    /// The verdict of the health check; true without one.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Sets the verdict; returns what it was.
    pub fn set_up(&self, up: bool) -> bool {
        self.up.swap(up, Ordering::Relaxed)
    }
}

/// How connections to servers are made and kept. `None` means no limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transport {
    /// Idle connections kept per server and process.
    pub max_idle_conns_per_host: u32,
    /// Connect deadline.
    pub dial_timeout: Option<Duration>,
    /// From the request sent to the response head received.
    pub response_header_timeout: Option<Duration>,
    /// An idle connection is closed after this.
    pub idle_conn_timeout: Option<Duration>,
    /// HTTP/1.1 to `https://` servers even if they offer HTTP/2.
    pub disable_http2: bool,
    /// An HTTP/2 connection that is silent for this long is asked with a PING.
    pub read_idle_timeout: Option<Duration>,
    /// How long the answer to that PING may take.
    pub ping_timeout: Option<Duration>,
    /// How TLS is spoken to `https://` servers.
    pub tls: Arc<ServersTls>,
}

impl Server {
    /// Whether new requests may go to it: up, not draining, of some weight. Whether its address is known is for
    /// who connects to see.
    pub fn is_usable(&self) -> bool {
        !self.draining && self.weight > 0 && self.live.is_up()
    }
}
