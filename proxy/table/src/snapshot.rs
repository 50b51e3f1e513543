//! The plain data that providers produce: one complete routing configuration.
//!
//! Names are qualified as in Traefik: `web@file`, `api@pancake`. Field meanings and defaults are Traefik 3's.

use std::collections::BTreeMap;
use std::time::Duration;

/// Middlewares.
pub mod middlewares;
/// TCP routers and services.
pub mod tcp;
/// Certificates and how TLS is spoken.
pub mod tls;
/// UDP routers and services.
pub mod udp;

use middlewares::Middleware;
use tcp::Tcp;
use tls::{RouterTls, ServersTls, Tls};
use udp::Udp;

/// One complete routing configuration of one provider, or of all of them merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Grows with each change of its provider.
    pub version: u64,
    /// Which request goes where.
    pub routers: Vec<Router>,
    /// What happens to requests on the way.
    pub middlewares: Vec<Middleware>,
    /// Where requests can go.
    pub services: Vec<Service>,
    /// How connections to servers are made; `default` need not be listed.
    pub servers_transports: Vec<ServersTransport>,
    /// Certificates, options, stores.
    pub tls: Tls,
    /// What is forwarded byte by byte.
    pub tcp: Tcp,
    /// What is forwarded datagram by datagram.
    pub udp: Udp,
}

impl Snapshot {
    /// Whether two differ in nothing but their version.
    pub fn same_content(&self, other: &Snapshot) -> bool {
        // All fields by name, so that a new one cannot be forgotten.
        let Snapshot { version: _, routers, middlewares, services, servers_transports, tls, tcp, udp } = self;
        *routers == other.routers
            && *middlewares == other.middlewares
            && *services == other.services
            && *servers_transports == other.servers_transports
            && *tls == other.tls
            && *tcp == other.tcp
            && *udp == other.udp
    }

    /// Whether there is nothing that takes requests, connections or datagrams, and no TLS section.
    pub fn is_empty(&self) -> bool {
        self.routers.is_empty()
            && self.services.is_empty()
            && self.tls.is_empty()
            && self.tcp.is_empty()
            && self.udp.is_empty()
    }
}

/// Rule, middlewares, service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Router {
    /// Qualified name.
    pub name: String,
    /// Entry points by name; empty means every default entry point.
    pub entry_points: Vec<String>,
    /// The rule, in Traefik 3 syntax (see [`crate::rule`]).
    pub rule: String,
    /// Higher wins; 0 means the length of the rule in bytes.
    pub priority: i64,
    /// Qualified names, applied in order.
    pub middlewares: Vec<String>,
    /// Qualified name.
    pub service: String,
    /// None: takes requests that come without TLS, and no others.
    pub tls: Option<RouterTls>,
}

/// A named target of routers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Qualified name.
    pub name: String,
    /// What it does with a request.
    pub kind: ServiceKind,
}

/// What a service does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// Spreads requests over servers.
    LoadBalancer(LoadBalancer),
}

/// Weighted round robin over servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancer {
    /// May be empty: every request is then answered 503.
    pub servers: Vec<Server>,
    /// Whether the server sees the client's `Host` (default true) or its own.
    pub pass_host_header: bool,
    /// Active health check; without one every server counts as up.
    pub health_check: Option<HealthCheck>,
    /// Qualified name; none means the default transport.
    pub servers_transport: Option<String>,
}

impl Default for LoadBalancer {
    fn default() -> Self {
        LoadBalancer {
            servers: Vec::new(),
            pass_host_header: true,
            health_check: None,
            servers_transport: None,
        }
    }
}

/// One address of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// `http://host:port[/path]`, `https://…`, `h2c://…` (HTTP/2 without TLS), or `unix:/path` of a stream socket.
    pub url: String,
    /// Share of the requests; 0 takes none.
    pub weight: u32,
    /// Whether the path of `url` is put before the request's path.
    pub preserve_path: bool,
    /// Takes no new requests; the ones in flight go on.
    pub draining: bool,
    /// Stable identity of the instance behind it; empty means the URL.
    pub id: String,
}

impl Server {
    /// A server with weight 1.
    pub fn new(url: impl Into<String>) -> Server {
        Server { url: url.into(), weight: 1, preserve_path: false, draining: false, id: String::new() }
    }

    /// The identity under which its drain is confirmed.
    pub fn id(&self) -> &str {
        if self.id.is_empty() { &self.url } else { &self.id }
    }
}

/// How the servers of a service are asked whether they are well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HealthMode {
    /// A request of its own, answered with an expected status.
    #[default]
    Http,
    /// `grpc.health.v1.Health/Check`, answered `SERVING`.
    Grpc,
}

/// Active health check of every server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Default `http`.
    pub mode: HealthMode,
    /// Path (and query) asked for.
    pub path: String,
    /// `http` or `https`; none means the server's.
    pub scheme: Option<String>,
    /// Default `GET`.
    pub method: String,
    /// Expected status; none means any 2xx or 3xx.
    pub status: Option<u16>,
    /// None means the server's port.
    pub port: Option<u16>,
    /// Between checks of a server that is up. Default 30 s.
    pub interval: Duration,
    /// Between checks of a server that is down. Default: `interval`.
    pub unhealthy_interval: Duration,
    /// Default 5 s.
    pub timeout: Duration,
    /// `Host` header; none means the server's host.
    pub hostname: Option<String>,
    /// Default true.
    pub follow_redirects: bool,
    /// Sent with the check.
    pub headers: BTreeMap<String, String>,
}

impl Default for HealthCheck {
    fn default() -> Self {
        HealthCheck {
            mode: HealthMode::Http,
            path: String::new(),
            scheme: None,
            method: "GET".into(),
            status: None,
            port: None,
            interval: Duration::from_secs(30),
            unhealthy_interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            hostname: None,
            follow_redirects: true,
            headers: BTreeMap::new(),
        }
    }
}

/// How connections to servers are made and kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServersTransport {
    /// Qualified name.
    pub name: String,
    /// Idle connections kept per server and process; the workers share it evenly. Default 200.
    pub max_idle_conns_per_host: u32,
    /// `forwardingTimeouts.dialTimeout`, default 30 s; zero means none.
    pub dial_timeout: Duration,
    /// `forwardingTimeouts.responseHeaderTimeout`, default zero: none.
    pub response_header_timeout: Duration,
    /// `forwardingTimeouts.idleConnTimeout`, default 90 s; zero means none.
    pub idle_conn_timeout: Duration,
    /// `disableHTTP2`: HTTP/1.1 to `https://` servers even if they offer HTTP/2.
    pub disable_http2: bool,
    /// `forwardingTimeouts.readIdleTimeout`: an HTTP/2 connection that is silent for this long is asked with a PING;
    /// default zero: never.
    pub read_idle_timeout: Duration,
    /// `forwardingTimeouts.pingTimeout`: how long the answer to that PING may take. Default 15 s.
    pub ping_timeout: Duration,
    /// How TLS is spoken to `https://` servers.
    pub tls: ServersTls,
}

impl Default for ServersTransport {
    fn default() -> Self {
        ServersTransport {
            name: "default".into(),
            max_idle_conns_per_host: 200,
            dial_timeout: Duration::from_secs(30),
            response_header_timeout: Duration::ZERO,
            idle_conn_timeout: Duration::from_secs(90),
            disable_http2: false,
            read_idle_timeout: Duration::ZERO,
            ping_timeout: Duration::from_secs(15),
            tls: ServersTls::default(),
        }
    }
}
