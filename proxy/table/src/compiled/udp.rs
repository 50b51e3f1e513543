//! UDP routes, services, servers: what sessions that forward datagrams read.

use std::sync::Arc;

use super::{ServerLive, Slot};

/// A UDP router that serves.
#[derive(Debug)]
pub struct UdpRoute {
    /// Qualified name.
    pub name: Arc<str>,
    /// Identity by name.
    pub slot: Slot,
    /// Where its sessions go.
    pub service: Arc<UdpService>,
}

/// A UDP service.
#[derive(Debug)]
pub struct UdpService {
    /// Qualified name.
    pub name: Arc<str>,
    /// Identity by name and content; the content of the parts of a weighted service does not count.
    pub slot: Slot,
    /// Identity by name alone (counters).
    pub name_slot: Slot,
    /// What it does with a session.
    pub kind: UdpServiceKind,
}

/// What a UDP service does with a session.
#[derive(Debug)]
pub enum UdpServiceKind {
    /// Spreads sessions over servers, in the order of the snapshot.
    LoadBalancer(Vec<Arc<UdpServer>>),
    /// Spreads sessions over services; at most [`crate::limits::MAX_SERVICE_DEPTH`] of these inside each other, never in
    /// a circle.
    Weighted(Vec<WeightedUdp>),
}

/// A part of a weighted UDP service.
#[derive(Debug)]
pub struct WeightedUdp {
    /// Where its share goes.
    pub service: Arc<UdpService>,
    /// Share of the sessions; 0 takes none.
    pub weight: u32,
}

impl UdpService {
    /// Servers of its own; a weighted service has none.
    pub fn servers(&self) -> &[Arc<UdpServer>] {
        match &self.kind {
            UdpServiceKind::LoadBalancer(servers) => servers,
            UdpServiceKind::Weighted(_) => &[],
        }
    }
}

/// One address of a UDP service.
#[derive(Debug)]
pub struct UdpServer {
    /// Identity by service name and address.
    pub slot: Slot,
    /// As configured.
    pub address: Arc<str>,
    /// Host name or address literal, without brackets.
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
    /// State that changes while the table serves; always up.
    pub live: Arc<ServerLive>,
}
