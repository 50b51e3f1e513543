//! Snapshot to table; unchanged objects keep their identity.
//!
//! What did not change is taken from the previous table as it is (the same `Arc`), so that a compile costs little
//! more than a comparison and workers keep their state.

/// Objects of the previous table by key.
mod finder;
/// Services and their servers.
mod services;
/// Numbers of objects.
mod slots;
/// TCP routes, services and their servers.
mod tcp;
/// Transports by name.
mod transports;
/// UDP routes, services and their servers.
mod udp;

use std::sync::Arc;

use crate::check::Report;
use crate::compiled::{Route, Service, Table};
use crate::lookup::{Index, Ranked, Routes};
use crate::map::Map;
use crate::snapshot::Snapshot;
use crate::snapshot::middlewares::MiddlewareKind;
use crate::snapshot::tls::RouterTls;

pub(crate) use finder::Finder;
pub(crate) use slots::Slots;
pub(crate) use transports::Transports;

/// An entry point of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPointSpec {
    /// Its name.
    pub name: String,
    /// Whether routers that name no entry point are served here (Traefik's `asDefault`). If no entry point says so,
    /// all do.
    pub default: bool,
}

impl EntryPointSpec {
    /// An entry point that is not marked as default.
    pub fn new(name: impl Into<String>) -> EntryPointSpec {
        EntryPointSpec { name: name.into(), default: false }
    }
}

/// Makes the table that workers look routes up in.
///
/// `report` is what [`crate::check::check`] said about this very `snapshot`: routers and services with errors are
/// left out. `entry_points` are numbered by their place ([`crate::lookup::EntryPointId`]); those beyond
/// [`crate::limits::MAX_ENTRY_POINTS`] are not served. `previous` is the table that serves now.
pub fn compile(
    snapshot: Arc<Snapshot>,
    report: &Report,
    entry_points: &[EntryPointSpec],
    previous: Option<&Table>,
) -> Table {
    let mut slots = previous.map(|table| table.slots.clone()).unwrap_or_default();
    let transports = services::transports(&snapshot, previous);
    let (services, service_places) = services::services(&snapshot, report, &transports, previous, &mut slots);
    let (routes, route_places) = routes(&snapshot, report, &services, previous, &mut slots);
    slots.settle_http(&routes, &services);
    let tcp_transports = tcp::transports(&snapshot, previous);
    let (tcp_services, tcp_service_places) =
        tcp::services(&snapshot, report, &tcp_transports, previous, &mut slots);
    let (tcp_routes, tcp_route_places) = tcp::routes(&snapshot, report, &tcp_services, previous, &mut slots);
    slots.settle_tcp(&tcp_routes, &tcp_services);
    let (udp_services, udp_service_places) = udp::services(&snapshot, report, previous, &mut slots);
    let (udp_routes, udp_route_places) = udp::routes(&snapshot, report, &udp_services, previous, &mut slots);
    slots.settle_udp(&udp_routes, &udp_services);
    let http_names = |place: u32| &*snapshot.routers[place as usize].entry_points;
    let tcp_names = |place: u32| &*snapshot.tcp.routers[place as usize].entry_points;
    let udp_names = |place: u32| &*snapshot.udp.routers[place as usize].entry_points;
    let mut by_name: Vec<_> = udp_routes.iter().zip(udp_route_places.into_iter().map(udp_names)).collect();
    by_name.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    let arranged = Routes {
        http: Ranked::new(routes.iter().zip(route_places.into_iter().map(http_names))),
        tcp: Ranked::new(tcp_routes.iter().zip(tcp_route_places.into_iter().map(tcp_names))),
        udp: by_name,
    };
    let index = Index::build(&arranged, entry_points, previous);
    Table {
        version: snapshot.version,
        routes,
        services,
        tcp_routes,
        tcp_services,
        udp_routes,
        udp_services,
        index,
        slots,
        service_places,
        transports,
        tcp_transports,
        tcp_service_places,
        udp_service_places,
        snapshot,
    }
}

/// What a router says about TLS, the same object as before if it says the same.
fn router_tls(spec: Option<&RouterTls>, before: Option<&Arc<RouterTls>>) -> Option<Arc<RouterTls>> {
    let spec = spec?;
    before.filter(|before| ***before == *spec).cloned().or_else(|| Some(Arc::new(spec.clone())))
}

/// Routes that serve and their places in `snapshot.routers`.
fn routes(
    snapshot: &Snapshot,
    report: &Report,
    services: &[Arc<Service>],
    previous: Option<&Table>,
    slots: &mut Slots,
) -> (Vec<Arc<Route>>, Vec<u32>) {
    // Of several with the same name the first counts, as `check` says.
    let middlewares: Map<&str, &MiddlewareKind> =
        snapshot.middlewares.iter().rev().map(|middleware| (&*middleware.name, &middleware.kind)).collect();
    let by_name: Map<&str, &Arc<Service>> = services.iter().map(|s| (&*s.name, s)).collect();
    let before: &[Arc<Route>] = previous.map_or(&[], |table| &table.routes);
    let mut finder = Finder::new(before, |route| &*route.name);
    let mut routes = Vec::with_capacity(snapshot.routers.len());
    let mut places = Vec::with_capacity(snapshot.routers.len());
    for (place, router) in snapshot.routers.iter().enumerate() {
        let Some(rule) = report.rules.get(place).and_then(Option::as_ref) else { continue };
        let Some(service) = by_name.get(&*router.service) else { continue };
        let through = || router.middlewares.iter().filter_map(|name| middlewares.get(&**name).copied());
        let priority = if router.priority == 0 { rule.default_priority() } else { router.priority };
        let known = finder.find(&router.name).map(|at| &before[at]);
        // The same text is the same rule, even if it was parsed anew.
        let rule = known.map(|route| &route.rule).filter(|known| known.text() == rule.text()).unwrap_or(rule);
        let route = match known {
            Some(route)
                if route.priority == priority
                    && route.tls.as_deref() == router.tls.as_ref()
                    && route.middlewares.iter().eq(through())
                    && Arc::ptr_eq(&route.service, service)
                    && Arc::ptr_eq(&route.rule, rule) =>
            {
                route.clone()
            }
            _ => Arc::new(Route {
                name: known.map_or_else(|| router.name.as_str().into(), |route| route.name.clone()),
                slot: known.map_or_else(|| slots.routes.take(), |route| route.slot),
                service: (*service).clone(),
                rule: rule.clone(),
                priority,
                tls: router_tls(router.tls.as_ref(), known.and_then(|route| route.tls.as_ref())),
                middlewares: through().cloned().collect(),
            }),
        };
        routes.push(route);
        places.push(u32::try_from(place).unwrap_or(u32::MAX));
    }
    (routes, places)
}

#[cfg(test)]
mod l4_tests;
#[cfg(test)]
mod tests;
