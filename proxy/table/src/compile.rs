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

use std::sync::Arc;

use crate::check::Report;
use crate::compiled::{Route, Service, Table};
use crate::lookup::Index;
use crate::map::Map;
use crate::snapshot::Snapshot;

pub(crate) use finder::Finder;
pub(crate) use slots::Slots;

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
    let (services, service_places) = services::services(&snapshot, report, previous, &mut slots);
    let (routes, route_places) = routes(&snapshot, report, &services, previous, &mut slots);
    slots.settle(&routes, &services);
    let index = Index::build(&snapshot, &routes, &route_places, entry_points, previous);
    Table { version: snapshot.version, snapshot, routes, services, index, slots, service_places }
}

/// Routes that serve and their places in `snapshot.routers`.
fn routes(
    snapshot: &Snapshot,
    report: &Report,
    services: &[Arc<Service>],
    previous: Option<&Table>,
    slots: &mut Slots,
) -> (Vec<Arc<Route>>, Vec<u32>) {
    let by_name: Map<&str, &Arc<Service>> = services.iter().map(|s| (&*s.name, s)).collect();
    let before: &[Arc<Route>] = previous.map_or(&[], |table| &table.routes);
    let mut finder = Finder::new(before, |route| &*route.name);
    let mut routes = Vec::with_capacity(snapshot.routers.len());
    let mut places = Vec::with_capacity(snapshot.routers.len());
    for (place, router) in snapshot.routers.iter().enumerate() {
        let Some(rule) = report.rules.get(place).and_then(Option::as_ref) else { continue };
        let Some(service) = by_name.get(&*router.service) else { continue };
        let priority = if router.priority == 0 { rule.default_priority() } else { router.priority };
        let known = finder.find(&router.name).map(|at| &before[at]);
        // The same text is the same rule, even if it was parsed anew.
        let rule = known.map(|route| &route.rule).filter(|known| known.text() == rule.text()).unwrap_or(rule);
        let route = match known {
            Some(route)
                if route.priority == priority
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
            }),
        };
        routes.push(route);
        places.push(u32::try_from(place).unwrap_or(u32::MAX));
    }
    (routes, places)
}

#[cfg(test)]
mod tests;
