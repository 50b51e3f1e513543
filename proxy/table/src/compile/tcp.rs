//! TCP routes, services and their servers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Finder, Slots, Transports, router_tls};
use crate::check::Report;
use crate::compiled::{
    KeepAlive, ServerLive, Table, TcpLoadBalancer, TcpRoute, TcpServer, TcpService, TcpServiceKind,
    TcpTransport, WeightedTcp,
};
use crate::map::Map;
use crate::server_url;
use crate::snapshot::tcp::{self, TcpServersTransport};
use crate::snapshot::{Snapshot, tcp::WeightedService};

/// Transports of TCP services.
pub(super) fn transports(snapshot: &Snapshot, previous: Option<&Table>) -> Transports<TcpTransport> {
    let specs = snapshot.tcp.servers_transports.iter().map(|spec| (&*spec.name, transport(spec)));
    let default = || transport(&TcpServersTransport::default());
    Transports::new(specs, default, previous.map(|table| &table.tcp_transports))
}

fn transport(spec: &TcpServersTransport) -> TcpTransport {
    let limit = |duration: Duration| (!duration.is_zero()).then_some(duration);
    TcpTransport {
        dial_timeout: limit(spec.dial_timeout),
        keep_alive: match spec.dial_keep_alive {
            None => KeepAlive::Off,
            Some(Duration::ZERO) => KeepAlive::System,
            Some(period) => KeepAlive::Every(period),
        },
        termination_delay: limit(spec.termination_delay),
        proxy_protocol: spec.proxy_protocol,
        tls: Arc::new(spec.tls.clone()),
    }
}

/// Services that can be built and their places in `snapshot.tcp.services`, in the order of the snapshot.
pub(super) fn services(
    snapshot: &Snapshot,
    report: &Report,
    transports: &Transports<TcpTransport>,
    previous: Option<&Table>,
    slots: &mut Slots,
) -> (Vec<Arc<TcpService>>, Vec<u32>) {
    let before: &[Arc<TcpService>] = previous.map_or(&[], |table| &table.tcp_services);
    let mut finder = Finder::new(before, |service| &*service.name);
    let mut by_name: Map<&str, Arc<TcpService>> = Map::default();
    let mut built = Vec::with_capacity(report.tcp_services.len());
    // Parts come before the services that they are parts of.
    for place in report.tcp_services.iter().copied() {
        let spec = &snapshot.tcp.services[place as usize];
        let known = previous.zip(finder.find(&spec.name)).map(|(table, at)| {
            let was = &table.snapshot.tcp.services[table.tcp_service_places[at] as usize];
            (&table.tcp_services[at], was == spec)
        });
        let service = match &spec.kind {
            tcp::TcpServiceKind::LoadBalancer(balancer) => {
                let transport = transport_of(balancer, transports);
                let same = |service: &TcpService| {
                    service.servers().first().is_none_or(|server| server.transport == transport)
                };
                match known {
                    Some((service, true)) if same(service) => service.clone(),
                    _ => load_balancer(spec, balancer, &transport, known.map(|(service, _)| service), slots),
                }
            }
            tcp::TcpServiceKind::Weighted(parts) => weighted(spec, parts, &by_name, known, slots),
        };
        by_name.insert(&spec.name, service.clone());
        built.push((place, service));
    }
    built.sort_unstable_by_key(|(place, _)| *place);
    built.into_iter().map(|(place, service)| (service, place)).unzip()
}

/// `proxyProtocol` of the service counts where the transport says nothing.
fn transport_of(balancer: &tcp::TcpLoadBalancer, all: &Transports<TcpTransport>) -> Arc<TcpTransport> {
    let named = all.named(balancer.servers_transport.as_deref());
    match (named.proxy_protocol, balancer.proxy_protocol) {
        (None, Some(version)) => {
            Arc::new(TcpTransport { proxy_protocol: Some(version), ..TcpTransport::clone(named) })
        }
        _ => named.clone(),
    }
}

fn load_balancer(
    spec: &tcp::TcpService,
    balancer: &tcp::TcpLoadBalancer,
    transport: &Arc<TcpTransport>,
    before: Option<&Arc<TcpService>>,
    slots: &mut Slots,
) -> Arc<TcpService> {
    let mut known: Map<_, Vec<&TcpServer>> = Map::default();
    for server in before.into_iter().flat_map(|service| service.servers()).rev() {
        if server.transport == *transport {
            known.entry((&*server.address, &*server.id, server.tls)).or_default().push(server);
        }
    }
    // A verdict does not outlive the check that could revise it.
    let keep_verdicts = balancer.health_check.is_some();
    let servers = balancer.servers.iter().filter_map(|spec| {
        let was = known.get_mut(&(spec.address.as_str(), spec.id(), spec.tls)).and_then(Vec::pop);
        server(spec, transport, was, keep_verdicts, slots).map(Arc::new)
    });
    let servers = servers.collect();
    let kind = TcpServiceKind::LoadBalancer(TcpLoadBalancer {
        servers,
        health_check: balancer.health_check.clone(),
    });
    Arc::new(TcpService {
        name: before.map_or_else(|| spec.name.as_str().into(), |service| service.name.clone()),
        slot: slots.tcp_services.take(),
        name_slot: before.map_or_else(|| slots.tcp_service_names.take(), |service| service.name_slot),
        kind,
    })
}

/// None if the address is none, which `check` has refused.
fn server(
    spec: &tcp::TcpServer,
    transport: &Arc<TcpTransport>,
    was: Option<&TcpServer>,
    keep_verdict: bool,
    slots: &mut Slots,
) -> Option<TcpServer> {
    let parsed = server_url::parse_tcp(&spec.address).ok()?;
    let live = match was {
        Some(was) if keep_verdict || was.live.is_up() => was.live.clone(),
        Some(was) => Arc::new(was.live.fresh()),
        None => Arc::new(ServerLive::new(parsed.address.map(|ip| SocketAddr::new(ip, parsed.port)))),
    };
    let address: Arc<str> = was.map_or_else(|| spec.address.as_str().into(), |was| was.address.clone());
    Some(TcpServer {
        slot: was.map_or_else(|| slots.tcp_servers.take(), |was| was.slot),
        id: match was {
            Some(was) => was.id.clone(),
            None if spec.id.is_empty() => address.clone(),
            None => spec.id.as_str().into(),
        },
        address,
        unix: parsed.unix.map(Into::into),
        host: parsed.host.into(),
        port: parsed.port,
        tls: spec.tls,
        weight: spec.weight,
        draining: spec.draining,
        transport: transport.clone(),
        live,
    })
}

fn weighted(
    spec: &tcp::TcpService,
    parts: &[WeightedService],
    by_name: &Map<&str, Arc<TcpService>>,
    known: Option<(&Arc<TcpService>, bool)>,
    slots: &mut Slots,
) -> Arc<TcpService> {
    let parts: Vec<WeightedTcp> = parts
        .iter()
        .filter_map(|part| {
            let service = by_name.get(&*part.name)?.clone();
            Some(WeightedTcp { service, weight: part.weight })
        })
        .collect();
    if let Some((service, true)) = known
        && let TcpServiceKind::Weighted(before) = &service.kind
        && before.len() == parts.len()
        && before.iter().zip(&parts).all(|(a, b)| Arc::ptr_eq(&a.service, &b.service))
    {
        return service.clone();
    }
    let before = known.map(|(service, _)| service);
    Arc::new(TcpService {
        name: before.map_or_else(|| spec.name.as_str().into(), |service| service.name.clone()),
        slot: match known {
            Some((service, true)) => service.slot,
            _ => slots.tcp_services.take(),
        },
        name_slot: before.map_or_else(|| slots.tcp_service_names.take(), |service| service.name_slot),
        kind: TcpServiceKind::Weighted(parts),
    })
}

/// Routes that serve and their places in `snapshot.tcp.routers`.
pub(super) fn routes(
    snapshot: &Snapshot,
    report: &Report,
    services: &[Arc<TcpService>],
    previous: Option<&Table>,
    slots: &mut Slots,
) -> (Vec<Arc<TcpRoute>>, Vec<u32>) {
    let by_name: Map<&str, &Arc<TcpService>> = services.iter().map(|s| (&*s.name, s)).collect();
    let before: &[Arc<TcpRoute>] = previous.map_or(&[], |table| &table.tcp_routes);
    let mut finder = Finder::new(before, |route| &*route.name);
    let mut routes = Vec::with_capacity(snapshot.tcp.routers.len());
    for (place, router) in (0..).zip(&snapshot.tcp.routers) {
        let Some(rule) = report.tcp_rules.get(place as usize).and_then(Option::as_ref) else { continue };
        let Some(service) = by_name.get(&*router.service) else { continue };
        let priority = if router.priority == 0 { rule.default_tcp_priority() } else { router.priority };
        let known = finder.find(&router.name).map(|at| &before[at]);
        // The same text is the same rule, even if it was parsed anew.
        let rule = known.map(|route| &route.rule).filter(|known| known.text() == rule.text()).unwrap_or(rule);
        let route = match known {
            Some(route)
                if route.priority == priority
                    && route.tls.as_deref() == router.tls.as_ref()
                    && Arc::ptr_eq(&route.service, service)
                    && Arc::ptr_eq(&route.rule, rule) =>
            {
                route.clone()
            }
            _ => Arc::new(TcpRoute {
                name: known.map_or_else(|| router.name.as_str().into(), |route| route.name.clone()),
                slot: known.map_or_else(|| slots.tcp_routes.take(), |route| route.slot),
                service: (*service).clone(),
                rule: rule.clone(),
                priority,
                tls: router_tls(router.tls.as_ref(), known.and_then(|route| route.tls.as_ref())),
                is_catch_all: rule.is_catch_all(),
            }),
        };
        routes.push((route, place));
    }
    routes.into_iter().unzip()
}
