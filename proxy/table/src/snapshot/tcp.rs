//! TCP routers and services: Traefik's `tcp` section.

use std::time::Duration;

use super::tls::{RouterTls, ServersTls};

/// The `tcp` section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Which connection goes where.
    pub routers: Vec<TcpRouter>,
    /// Where connections can go.
    pub services: Vec<TcpService>,
    /// How connections to servers are made; `default` need not be listed.
    pub servers_transports: Vec<TcpServersTransport>,
}

impl Tcp {
    /// Whether nothing is configured.
    pub fn is_empty(&self) -> bool {
        self.routers.is_empty() && self.services.is_empty() && self.servers_transports.is_empty()
    }
}

/// `tcp.routers.NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpRouter {
    /// Qualified name.
    pub name: String,
    /// Entry points by name; empty means every default entry point.
    pub entry_points: Vec<String>,
    /// `HostSNI`, `HostSNIRegexp`, `ClientIP`, `ALPN`, with `&& || ! ()`.
    pub rule: String,
    /// Higher wins; 0 means the length of the rule in bytes.
    pub priority: i64,
    /// Qualified names, applied in order.
    pub middlewares: Vec<String>,
    /// Qualified name.
    pub service: String,
    /// None: takes connections without TLS. Otherwise those with TLS, ended here or passed through.
    pub tls: Option<RouterTls>,
}

/// `tcp.services.NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpService {
    /// Qualified name.
    pub name: String,
    /// What it does with a connection.
    pub kind: TcpServiceKind,
}

/// What a TCP service does with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpServiceKind {
    /// Spreads connections over servers.
    LoadBalancer(TcpLoadBalancer),
    /// Spreads connections over services by weight.
    Weighted(Vec<WeightedService>),
}

/// A part of a weighted service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WeightedService {
    /// Qualified name.
    pub name: String,
    /// Share of the connections; 0 takes none. Default 1.
    pub weight: u32,
}

/// Round robin over servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpLoadBalancer {
    /// May be empty: every connection is then closed.
    pub servers: Vec<TcpServer>,
    /// Qualified name; none means the default transport.
    pub servers_transport: Option<String>,
    /// Active check; without one every server counts as up.
    pub health_check: Option<TcpHealthCheck>,
    /// `proxyProtocol.version`: a PROXY header of this version (1 or 2) comes first. Traefik's older place for it;
    /// [`TcpServersTransport::proxy_protocol`] goes first.
    pub proxy_protocol: Option<u8>,
}

/// One address of a TCP service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TcpServer {
    /// `host:port`, or `unix:/path` of a stream socket.
    pub address: String,
    /// TLS is spoken to it.
    pub tls: bool,
    /// Share of the connections; ours, Traefik has none. Default 1.
    pub weight: u32,
    /// Takes no new connections.
    pub draining: bool,
    /// Stable identity of the instance behind it; empty means the address.
    pub id: String,
}

impl TcpServer {
    /// A server with weight 1, without TLS.
    pub fn new(address: impl Into<String>) -> TcpServer {
        TcpServer { address: address.into(), tls: false, weight: 1, draining: false, id: String::new() }
    }

    /// The identity under which its drain is confirmed.
    pub fn id(&self) -> &str {
        if self.id.is_empty() { &self.address } else { &self.id }
    }
}

/// `healthCheck` of a TCP service: connect, perhaps send, perhaps expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpHealthCheck {
    /// None means the server's port.
    pub port: Option<u16>,
    /// Sent after connecting.
    pub send: Option<String>,
    /// What the answer must be; without it a connection is enough.
    pub expect: Option<String>,
    /// Between checks of a server that is up. Default 30 s.
    pub interval: Duration,
    /// Between checks of a server that is down. Default: `interval`.
    pub unhealthy_interval: Duration,
    /// Default 5 s.
    pub timeout: Duration,
}

impl Default for TcpHealthCheck {
    fn default() -> Self {
        TcpHealthCheck {
            port: None,
            send: None,
            expect: None,
            interval: Duration::from_secs(30),
            unhealthy_interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
        }
    }
}

/// `tcp.serversTransports.NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TcpServersTransport {
    /// Qualified name.
    pub name: String,
    /// Default 30 s; zero means none.
    pub dial_timeout: Duration,
    /// `dialKeepAlive`: TCP keep-alive probes; default 15 s, zero means the system's, none means off.
    pub dial_keep_alive: Option<Duration>,
    /// `terminationDelay`: how long the other direction may go on after one has ended. Default 100 ms; zero means no
    /// limit.
    pub termination_delay: Duration,
    /// `proxyProtocol.version`: a PROXY header of this version (1 or 2) comes first.
    pub proxy_protocol: Option<u8>,
    /// How TLS is spoken to servers with `tls`.
    pub tls: ServersTls,
}

impl Default for TcpServersTransport {
    fn default() -> Self {
        TcpServersTransport {
            name: "default".into(),
            dial_timeout: Duration::from_secs(30),
            dial_keep_alive: Some(Duration::from_secs(15)),
            termination_delay: Duration::from_millis(100),
            proxy_protocol: None,
            tls: ServersTls::default(),
        }
    }
}
