//! UDP routers and services: Traefik's `udp` section.

use super::tcp::WeightedService;

/// The `udp` section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Udp {
    /// Which entry point goes where.
    pub routers: Vec<UdpRouter>,
    /// Where sessions can go.
    pub services: Vec<UdpService>,
}

impl Udp {
    /// Whether nothing is configured.
    pub fn is_empty(&self) -> bool {
        self.routers.is_empty() && self.services.is_empty()
    }
}

/// `udp.routers.NAME`: all of an entry point goes to a service; the first router by name has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UdpRouter {
    /// Qualified name.
    pub name: String,
    /// Entry points by name; empty means every UDP entry point.
    pub entry_points: Vec<String>,
    /// Qualified name.
    pub service: String,
}

/// `udp.services.NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpService {
    /// Qualified name.
    pub name: String,
    /// What it does with a session.
    pub kind: UdpServiceKind,
}

/// What a UDP service does with a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UdpServiceKind {
    /// Round robin over servers, `host:port` each.
    LoadBalancer(Vec<String>),
    /// Spreads sessions over services by weight.
    Weighted(Vec<WeightedService>),
}
