//! Numbers of objects.
//!
//! A number that this table gives up is given out again, one generation higher, from the next table on; so vectors
//! by number are at most as long as two successive tables have objects.

use std::sync::Arc;

use crate::compiled::{Route, Service, Slot, SlotCounts, TcpRoute, TcpService, UdpRoute, UdpService};

/// Numbers in use, by kind of object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    pub(super) routes: Space,
    pub(super) services: Space,
    pub(super) service_names: Space,
    pub(super) servers: Space,
    pub(super) tcp_routes: Space,
    pub(super) tcp_services: Space,
    pub(super) tcp_service_names: Space,
    pub(super) tcp_servers: Space,
    pub(super) udp_routes: Space,
    pub(super) udp_services: Space,
    pub(super) udp_service_names: Space,
    pub(super) udp_servers: Space,
}

/// Numbers of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Space {
    /// By index: the generation that was last given out.
    generations: Vec<u32>,
    /// Indexes that may be given out, highest first.
    free: Vec<u32>,
}

impl Space {
    /// A number that nobody has.
    pub(super) fn take(&mut self) -> Slot {
        if let Some(index) = self.free.pop() {
            let generation = &mut self.generations[index as usize];
            *generation = generation.wrapping_add(1);
            return Slot { index, generation: *generation };
        }
        let index = u32::try_from(self.generations.len()).unwrap_or(u32::MAX);
        self.generations.push(0);
        Slot { index, generation: 0 }
    }

    /// Everything but `used` may be given out next time.
    fn settle(&mut self, used: impl Iterator<Item = Slot>) {
        let mut in_use = vec![false; self.generations.len()];
        for slot in used {
            in_use[slot.index as usize] = true;
        }
        self.free.clear();
        self.free.extend((0..).zip(in_use).filter(|(_, used)| !used).map(|(index, _)| index));
        self.free.reverse();
    }
}

impl Slots {
    /// Frees what the new table does not have of HTTP.
    pub(super) fn settle_http(&mut self, routes: &[Arc<Route>], services: &[Arc<Service>]) {
        self.routes.settle(routes.iter().map(|route| route.slot));
        self.services.settle(services.iter().map(|service| service.slot));
        self.service_names.settle(services.iter().map(|service| service.name_slot));
        self.servers.settle(services.iter().flat_map(|service| &service.servers).map(|server| server.slot));
    }

    /// Frees what the new table does not have of TCP.
    pub(super) fn settle_tcp(&mut self, routes: &[Arc<TcpRoute>], services: &[Arc<TcpService>]) {
        self.tcp_routes.settle(routes.iter().map(|route| route.slot));
        self.tcp_services.settle(services.iter().map(|service| service.slot));
        self.tcp_service_names.settle(services.iter().map(|service| service.name_slot));
        let servers = services.iter().flat_map(|service| service.servers());
        self.tcp_servers.settle(servers.map(|server| server.slot));
    }

    /// Frees what the new table does not have of UDP.
    pub(super) fn settle_udp(&mut self, routes: &[Arc<UdpRoute>], services: &[Arc<UdpService>]) {
        self.udp_routes.settle(routes.iter().map(|route| route.slot));
        self.udp_services.settle(services.iter().map(|service| service.slot));
        self.udp_service_names.settle(services.iter().map(|service| service.name_slot));
        let servers = services.iter().flat_map(|service| service.servers());
        self.udp_servers.settle(servers.map(|server| server.slot));
    }

    pub(crate) fn counts(&self) -> SlotCounts {
        SlotCounts {
            routes: self.routes.generations.len(),
            services: self.services.generations.len(),
            service_names: self.service_names.generations.len(),
            servers: self.servers.generations.len(),
            tcp_routes: self.tcp_routes.generations.len(),
            tcp_services: self.tcp_services.generations.len(),
            tcp_service_names: self.tcp_service_names.generations.len(),
            tcp_servers: self.tcp_servers.generations.len(),
            udp_routes: self.udp_routes.generations.len(),
            udp_services: self.udp_services.generations.len(),
            udp_service_names: self.udp_service_names.generations.len(),
            udp_servers: self.udp_servers.generations.len(),
        }
    }
}
