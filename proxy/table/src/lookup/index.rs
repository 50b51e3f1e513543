//! Rules of an entry point, arranged.
//!
//! Routes are numbered by rank (priority, then name); the route with the lowest rank that matches wins. Each bucket
//! is a list in the order of rank, so that a scan ends at the first match, and at the rank of a match found before.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{EntryPointId, Request};
use crate::compile::EntryPointSpec;
use crate::compiled::{Route, Table};
use crate::limits::MAX_ENTRY_POINTS;
use crate::rule::{HostKey, PathKey, Rule};
use crate::snapshot::Snapshot;

/// A bucket with more rules than this arranges them by path.
const MAX_SCANNED: usize = 32;
/// Lengths of path prefixes that one bucket arranges; rules with other lengths are scanned.
const MAX_PREFIX_LENGTHS: usize = 64;

/// Rules of each entry point, arranged for look-up.
#[derive(Debug)]
pub(crate) struct Index {
    entry_points: Vec<EntryPoint>,
}

/// Rules of one entry point.
#[derive(Debug)]
pub(crate) struct EntryPoint {
    name: Box<str>,
    routes: Arc<Arranged>,
}

/// Routes of an entry point. Entry points with the same routes share it.
#[derive(Debug, Default)]
pub(crate) struct Arranged {
    /// By rank.
    order: Vec<Arc<Route>>,
    by_host: HashMap<Box<str>, Bucket>,
    by_parent: HashMap<Box<str>, Bucket>,
    any_host: Bucket,
}

/// Rules to ask, in the order of rank.
#[derive(Debug, Default)]
struct Bucket {
    /// Most buckets have one rule: it stands here without a further hop.
    first: Option<Candidate>,
    more: Vec<Candidate>,
    paths: Option<Box<Paths>>,
}

/// Rules by a path or the start of one.
type ByPath = HashMap<Box<str>, Vec<Candidate>>;

/// Rules of a bucket by path.
#[derive(Debug, Default)]
struct Paths {
    exact: ByPath,
    /// By length of the prefix.
    prefixes: Vec<(usize, ByPath)>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    rank: u32,
    /// Who gets to this bucket matches.
    decided: bool,
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
            let before = previous.map_or(&[][..], |table| &table.index.entry_points);
            let same = before.iter().chain(&built).find(|e| e.routes.has_order(&order));
            let routes = match same {
                Some(same) => same.routes.clone(),
                None => Arc::new(Arranged::new(order.into_iter().cloned().collect())),
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

/// Places in `routes` by rank: higher priority first, then by name.
fn rank(routes: &[Arc<Route>]) -> Vec<u32> {
    let mut ranked: Vec<u32> = (0..).take(routes.len()).collect();
    ranked.sort_by(|a, b| {
        let (a, b) = (&routes[*a as usize], &routes[*b as usize]);
        b.priority.cmp(&a.priority).then_with(|| a.name.cmp(&b.name))
    });
    ranked
}

impl Arranged {
    fn new(order: Vec<Arc<Route>>) -> Arranged {
        let mut arranged = Arranged { by_host: HashMap::with_capacity(order.len()), ..Arranged::default() };
        for (rank, route) in (0..).zip(&order) {
            let decided = route.rule.is_decided_by_host();
            let candidate = Candidate { rank, decided };
            match route.rule.host_keys() {
                None => arranged.any_host.add(candidate),
                Some(keys) => {
                    for key in keys {
                        match key {
                            HostKey::Exact(host) => bucket(&mut arranged.by_host, host).add(candidate),
                            HostKey::Wildcard(parent) => {
                                bucket(&mut arranged.by_parent, parent).add(candidate)
                            }
                        }
                    }
                }
            }
        }
        let buckets = arranged.by_host.values_mut().chain(arranged.by_parent.values_mut());
        for bucket in buckets.chain([&mut arranged.any_host]) {
            bucket.arrange_by_path(&order);
        }
        arranged.order = order;
        arranged
    }

    fn has_order(&self, order: &[&Arc<Route>]) -> bool {
        self.order.len() == order.len() && self.order.iter().zip(order).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// The route with the lowest rank that matches.
    #[inline]
    pub(crate) fn route(&self, request: &impl Request) -> Option<&Arc<Route>> {
        let mut best = u32::MAX;
        self.each_list(request, &mut |candidates| {
            for candidate in candidates {
                if candidate.rank >= best {
                    break;
                }
                if candidate.decided || self.order[candidate.rank as usize].rule.matches(request) {
                    best = candidate.rank;
                    break;
                }
            }
        });
        self.order.get(best as usize)
    }

    /// Routes that the index does not rule out, by rank.
    pub(crate) fn candidates(&self, request: &impl Request) -> Vec<&Arc<Route>> {
        let mut ranks = BTreeSet::new();
        self.each_list(request, &mut |candidates| ranks.extend(candidates.iter().map(|c| c.rank)));
        ranks.into_iter().map(|rank| &self.order[rank as usize]).collect()
    }

    /// How many routes there are.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Calls `visit` with the lists of candidates for `request`; a route may stand in several.
    #[inline]
    fn each_list(&self, request: &impl Request, visit: &mut impl FnMut(&[Candidate])) {
        let host = request.host();
        if let Some(bucket) = self.by_host.get(host) {
            bucket.each_list(request.path(), visit);
        }
        if !self.by_parent.is_empty()
            && let Some((_, parent)) = host.split_once('.')
            && let Some(bucket) = self.by_parent.get(parent)
        {
            bucket.each_list(request.path(), visit);
        }
        self.any_host.each_list(request.path(), visit);
    }
}

fn bucket<'m>(map: &'m mut HashMap<Box<str>, Bucket>, key: &str) -> &'m mut Bucket {
    map.entry(key.into()).or_default()
}

impl Bucket {
    /// Candidates are added in the order of rank.
    fn add(&mut self, candidate: Candidate) {
        match self.first {
            None => self.first = Some(candidate),
            Some(_) => self.more.push(candidate),
        }
    }

    fn arrange_by_path(&mut self, order: &[Arc<Route>]) {
        if self.more.len() < MAX_SCANNED {
            return;
        }
        let all = self.first.take().into_iter().chain(std::mem::take(&mut self.more));
        let mut paths = Paths::default();
        for candidate in all {
            let rule: &Rule = &order[candidate.rank as usize].rule;
            match rule.path_keys().filter(|keys| paths.has_room(keys)) {
                Some(keys) => keys.into_iter().for_each(|key| paths.add(key, candidate)),
                None => self.add(candidate),
            }
        }
        paths.prefixes.sort_by_key(|(length, _)| *length);
        self.paths = Some(Box::new(paths));
    }

    #[inline]
    fn each_list(&self, path: &str, visit: &mut impl FnMut(&[Candidate])) {
        visit(self.first.as_slice());
        if !self.more.is_empty() {
            visit(&self.more);
        }
        let Some(paths) = &self.paths else { return };
        if let Some(candidates) = paths.exact.get(path) {
            visit(candidates);
        }
        for (length, map) in &paths.prefixes {
            match path.get(..*length) {
                Some(prefix) => {
                    if let Some(candidates) = map.get(prefix) {
                        visit(candidates);
                    }
                }
                None if *length > path.len() => break,
                // A prefix ends between characters, this length does not.
                None => {}
            }
        }
    }
}

impl Paths {
    fn has_room(&self, keys: &[PathKey<'_>]) -> bool {
        keys.iter().all(|key| match key {
            PathKey::Exact(_) => true,
            PathKey::Prefix(prefix) => {
                self.prefixes.len() + keys.len() <= MAX_PREFIX_LENGTHS
                    || self.prefixes.iter().any(|(length, _)| *length == prefix.len())
            }
        })
    }

    fn add(&mut self, key: PathKey<'_>, candidate: Candidate) {
        let list = match key {
            PathKey::Exact(path) => self.exact.entry(path.into()).or_default(),
            PathKey::Prefix(prefix) => {
                let place = self.prefixes.iter().position(|(length, _)| *length == prefix.len());
                let place = place.unwrap_or_else(|| {
                    self.prefixes.push((prefix.len(), HashMap::new()));
                    self.prefixes.len() - 1
                });
                self.prefixes[place].1.entry(prefix.into()).or_default()
            }
        };
        list.push(candidate);
    }
}
