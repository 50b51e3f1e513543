//! Routes of each entry point, arranged for look-up.

use std::sync::Arc;

use super::buckets::Buckets;
use super::{EntryPointId, Request};
use crate::compile::EntryPointSpec;
use crate::compiled::{Route, Table};
use crate::limits::MAX_ENTRY_POINTS;
use crate::snapshot::Snapshot;

/// Routes of each entry point.
#[derive(Debug)]
pub(crate) struct Index {
    entry_points: Vec<EntryPoint>,
}

#[derive(Debug)]
struct EntryPoint {
    name: Box<str>,
    routes: Arc<Arranged>,
}

/// Routes of an entry point. Entry points with the same routes share it.
#[derive(Debug)]
pub(crate) struct Arranged {
    /// By rank: higher priority first, then by name.
    order: Vec<Arc<Route>>,
    /// Their rules. Shared with the previous table if these did not change.
    buckets: Arc<Buckets>,
}

impl Index {
    /// Arranges `routes`, which stand at `places` of the snapshot.
    pub(crate) fn build(
        snapshot: &Snapshot,
        routes: &[Arc<Route>],
        places: &[u32],
        entry_points: &[EntryPointSpec],
        previous: Option<&Table>,
    ) -> Arc<Index> {
        let entry_points = &entry_points[..entry_points.len().min(MAX_ENTRY_POINTS)];
        let ranked = rank(routes);
        let none_is_default = !entry_points.iter().any(|e| e.default);
        let before = previous.map_or(&[][..], |table| &table.index.entry_points);
        let mut built: Vec<EntryPoint> = Vec::with_capacity(entry_points.len());
        for spec in entry_points {
            let default = spec.default || none_is_default;
            let order: Vec<&Arc<Route>> = ranked
                .iter()
                .filter(|at| {
                    let names = &snapshot.routers[places[**at as usize] as usize].entry_points;
                    if names.is_empty() { default } else { names.contains(&spec.name) }
                })
                .map(|at| &routes[*at as usize])
                .collect();
            let known = || built.iter().chain(before).map(|entry_point| &entry_point.routes);
            let routes = match known().find(|arranged| arranged.has_order(&order)) {
                Some(same) => same.clone(),
                None => {
                    let same_rules = known().find(|arranged| arranged.has_rules(&order));
                    let buckets = match same_rules {
                        Some(arranged) => arranged.buckets.clone(),
                        None => Arc::new(Buckets::new(order.iter().map(|route| &route.rule))),
                    };
                    Arc::new(Arranged { order: order.into_iter().cloned().collect(), buckets })
                }
            };
            built.push(EntryPoint { name: spec.name.as_str().into(), routes });
        }
        Arc::new(Index { entry_points: built })
    }

    #[inline]
    pub(crate) fn entry_point(&self, id: EntryPointId) -> Option<&Arranged> {
        self.entry_points.get(usize::from(id.0)).map(|entry_point| &*entry_point.routes)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entry_points.iter().map(|entry_point| &*entry_point.name)
    }
}

/// Places in `routes` by rank.
fn rank(routes: &[Arc<Route>]) -> Vec<u32> {
    let mut ranked: Vec<(i64, &str, u32)> =
        (0..).zip(routes).map(|(at, route)| (route.priority, &*route.name, at)).collect();
    ranked.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    ranked.into_iter().map(|(_, _, at)| at).collect()
}

impl Arranged {
    fn has_order(&self, order: &[&Arc<Route>]) -> bool {
        self.order.len() == order.len() && self.order.iter().zip(order).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    fn has_rules(&self, order: &[&Arc<Route>]) -> bool {
        let same = |(a, b): (&Arc<Route>, &&Arc<Route>)| Arc::ptr_eq(&a.rule, &b.rule);
        self.order.len() == order.len() && self.order.iter().zip(order).all(same)
    }

    /// The route with the lowest rank that matches.
    #[inline]
    pub(crate) fn route(&self, request: &impl Request) -> Option<&Arc<Route>> {
        self.order.get(self.buckets.first_match(request)?)
    }

    /// Routes that the buckets do not rule out, by rank.
    pub(crate) fn candidates(&self, request: &impl Request) -> impl Iterator<Item = &Arc<Route>> {
        self.buckets.candidates(request).into_iter().map(|rank| &self.order[rank as usize])
    }

    /// How many routes there are.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }
}
