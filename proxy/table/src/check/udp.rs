//! UDP services and routers.

use super::routers::{check_entry_points, check_service};
use super::weighted::{self, Node};
use super::{Report, Subject};
use crate::limits::MAX_SERVERS_PER_SERVICE;
use crate::map::{Map, Set, map_with_room};
use crate::server_url;
use crate::snapshot::Snapshot;
use crate::snapshot::tcp::WeightedService;
use crate::snapshot::udp::{UdpRouter, UdpServiceKind};

/// Services by name, and whether they can be built. Fills `report.udp_services`.
pub(super) fn services<'a>(snapshot: &'a Snapshot, report: &mut Report) -> Map<&'a str, bool> {
    let mut nodes = Vec::with_capacity(snapshot.udp.services.len());
    for service in &snapshot.udp.services {
        let of = Subject::new("udp service", &service.name);
        let before = report.errors;
        let parts: &[WeightedService] = match &service.kind {
            UdpServiceKind::Weighted(parts) => parts,
            UdpServiceKind::LoadBalancer(addresses) => {
                check_addresses(of, addresses, report);
                &[]
            }
        };
        nodes.push(Node { of, parts, faulty: report.errors > before });
    }
    let buildable = weighted::buildable(nodes, report);
    report.udp_services = buildable.order;
    buildable.names
}

fn check_addresses(of: Subject<'_>, addresses: &[String], report: &mut Report) {
    let found = addresses.len();
    if found > MAX_SERVERS_PER_SERVICE {
        let message = format!("{found} servers, at most {MAX_SERVERS_PER_SERVICE} are allowed");
        of.error("loadBalancer.servers", message, report);
        return;
    }
    for (place, address) in addresses.iter().enumerate() {
        if let Err(error) = server_url::parse_udp(address) {
            of.error(format!("loadBalancer.servers[{place}].address"), error.to_string(), report);
        }
    }
}

/// Fills `report.udp_routers`.
pub(super) fn routers(
    snapshot: &Snapshot,
    entry_points: &Set<&str>,
    services: &Map<&str, bool>,
    report: &mut Report,
) {
    let routers = &snapshot.udp.routers;
    let mut names = map_with_room(routers.len());
    report.udp_routers = Vec::with_capacity(routers.len());
    for router in routers {
        let before = report.errors;
        let of = Subject::new("udp router", &router.name);
        of.check_name(names.insert(&*router.name, ()).is_some(), report);
        check_entry_points(of, &router.entry_points, entry_points, report);
        check_service(of, &router.service, services, report);
        report.udp_routers.push(report.errors == before);
    }
    let serving = routers.iter().zip(&report.udp_routers).filter(|(_, serves)| **serves);
    let mut serving: Vec<&UdpRouter> = serving.map(|(router, _)| router).collect();
    serving.sort_by(|a, b| a.name.cmp(&b.name));
    warn_of_others(&serving, report);
}

/// An entry point has one router: the first by name.
fn warn_of_others(serving: &[&UdpRouter], report: &mut Report) {
    let mut first: Map<&str, &str> = Map::default();
    let mut everywhere: Option<&str> = None;
    for router in serving {
        let of = Subject::new("udp router", &router.name);
        let mut note = |place: &str, other: &str| {
            let message = format!("the router {other:?} comes before it {place} and takes everything there");
            of.warning("entryPoints", message, report);
        };
        if router.entry_points.is_empty() {
            match everywhere {
                Some(other) => note("on every entry point", other),
                None => everywhere = Some(&router.name),
            }
        }
        for name in &router.entry_points {
            match everywhere.or(first.get(&**name).copied()) {
                Some(other) => note(&format!("on entry point {name:?}"), other),
                None => drop(first.insert(name, &router.name)),
            }
        }
    }
}
