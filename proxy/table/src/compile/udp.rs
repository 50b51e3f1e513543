//! UDP routes, services and their servers.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Finder, Slots};
use crate::check::Report;
use crate::compiled::{ServerLive, Table, UdpRoute, UdpServer, UdpService, UdpServiceKind, WeightedUdp};
use crate::map::Map;
use crate::server_url;
use crate::snapshot::{Snapshot, udp};

/// Services that can be built and their places in `snapshot.udp.services`, in the order of the snapshot.
pub(super) fn services(
    snapshot: &Snapshot,
    report: &Report,
    previous: Option<&Table>,
    slots: &mut Slots,
) -> (Vec<Arc<UdpService>>, Vec<u32>) {
    let before: &[Arc<UdpService>] = previous.map_or(&[], |table| &table.udp_services);
    let mut finder = Finder::new(before, |service| &*service.name);
    let mut by_name: Map<&str, Arc<UdpService>> = Map::default();
    let mut built = Vec::with_capacity(report.udp_services.len());
    // Parts come before the services that they are parts of.
    for place in report.udp_services.iter().copied() {
        let spec = &snapshot.udp.services[place as usize];
        let known = previous.zip(finder.find(&spec.name)).map(|(table, at)| {
            let was = &table.snapshot.udp.services[table.udp_service_places[at] as usize];
            (&table.udp_services[at], was == spec)
        });
        let service = service(spec, &by_name, known, slots);
        by_name.insert(&spec.name, service.clone());
        built.push((place, service));
    }
    built.sort_unstable_by_key(|(place, _)| *place);
    built.into_iter().map(|(place, service)| (service, place)).unzip()
}

/// `known`: the service of this name before, and whether the snapshot said the same about it.
fn service(
    spec: &udp::UdpService,
    by_name: &Map<&str, Arc<UdpService>>,
    known: Option<(&Arc<UdpService>, bool)>,
    slots: &mut Slots,
) -> Arc<UdpService> {
    let before = known.map(|(service, _)| service);
    let unchanged = known.filter(|(_, same)| *same).map(|(service, _)| service);
    let kind = match &spec.kind {
        udp::UdpServiceKind::LoadBalancer(addresses) => match unchanged {
            Some(service) => return service.clone(),
            None => UdpServiceKind::LoadBalancer(servers(addresses, before, slots)),
        },
        udp::UdpServiceKind::Weighted(parts) => {
            let parts = parts.iter().filter_map(|part| {
                Some(WeightedUdp { service: by_name.get(&*part.name)?.clone(), weight: part.weight })
            });
            UdpServiceKind::Weighted(parts.collect())
        }
    };
    if let (Some(service), UdpServiceKind::Weighted(parts)) = (unchanged, &kind)
        && let UdpServiceKind::Weighted(had) = &service.kind
        && had.len() == parts.len()
        && had.iter().zip(parts).all(|(a, b)| Arc::ptr_eq(&a.service, &b.service))
    {
        return service.clone();
    }
    Arc::new(UdpService {
        name: before.map_or_else(|| spec.name.as_str().into(), |service| service.name.clone()),
        slot: unchanged.map_or_else(|| slots.udp_services.take(), |service| service.slot),
        name_slot: before.map_or_else(|| slots.udp_service_names.take(), |service| service.name_slot),
        kind,
    })
}

/// Each server that was there may go on once.
fn servers(addresses: &[String], before: Option<&Arc<UdpService>>, slots: &mut Slots) -> Vec<Arc<UdpServer>> {
    let mut known: Map<&str, Vec<&Arc<UdpServer>>> = Map::default();
    for server in before.into_iter().flat_map(|service| service.servers()).rev() {
        known.entry(&server.address).or_default().push(server);
    }
    let server = |address: &String| {
        if let Some(server) = known.get_mut(&**address).and_then(Vec::pop) {
            return Some(server.clone());
        }
        let parsed = server_url::parse_udp(address).ok()?;
        let to = parsed.address.map(|ip| SocketAddr::new(ip, parsed.port));
        Some(Arc::new(UdpServer {
            slot: slots.udp_servers.take(),
            address: address.as_str().into(),
            host: parsed.host.into(),
            port: parsed.port,
            live: Arc::new(ServerLive::new(to)),
        }))
    };
    addresses.iter().filter_map(server).collect()
}

/// Routes that serve and their places in `snapshot.udp.routers`.
pub(super) fn routes(
    snapshot: &Snapshot,
    report: &Report,
    services: &[Arc<UdpService>],
    previous: Option<&Table>,
    slots: &mut Slots,
) -> (Vec<Arc<UdpRoute>>, Vec<u32>) {
    let by_name: Map<&str, &Arc<UdpService>> = services.iter().map(|s| (&*s.name, s)).collect();
    let before: &[Arc<UdpRoute>] = previous.map_or(&[], |table| &table.udp_routes);
    let mut finder = Finder::new(before, |route| &*route.name);
    let mut routes = Vec::with_capacity(snapshot.udp.routers.len());
    for (place, router) in (0..).zip(&snapshot.udp.routers) {
        if !report.udp_router_serves(place as usize) {
            continue;
        }
        let Some(service) = by_name.get(&*router.service) else { continue };
        let known = finder.find(&router.name).map(|at| &before[at]);
        let route = match known {
            Some(route) if Arc::ptr_eq(&route.service, service) => route.clone(),
            _ => Arc::new(UdpRoute {
                name: known.map_or_else(|| router.name.as_str().into(), |route| route.name.clone()),
                slot: known.map_or_else(|| slots.udp_routes.take(), |route| route.slot),
                service: (*service).clone(),
            }),
        };
        routes.push((route, place));
    }
    routes.into_iter().unzip()
}
