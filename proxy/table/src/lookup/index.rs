//! Routes of each entry point, arranged for look-up.

use std::sync::Arc;

use super::buckets::Buckets;
use super::{EntryPointId, Request, TlsHosts};
use crate::compile::EntryPointSpec;
use crate::compiled::{Route, Table, TcpRoute, UdpRoute};
use crate::limits::MAX_ENTRY_POINTS;
use crate::rule::Rule;
use crate::snapshot::tls::RouterTls;

/// A route that is found by its rule.
pub(crate) trait Routed {
    fn name(&self) -> &str;
    fn priority(&self) -> i64;
    fn rule(&self) -> &Arc<Rule>;
    fn tls(&self) -> Option<&Arc<RouterTls>>;
}

/// Routes with what their routers say about entry points.
pub(crate) struct Routes<'a> {
    pub(crate) http: Ranked<'a, Route>,
    pub(crate) tcp: Ranked<'a, TcpRoute>,
    /// In the order of names, with the entry points of their routers.
    pub(crate) udp: Vec<(&'a Arc<UdpRoute>, &'a [String])>,
}

/// Routes by rank: higher priority first, then by name.
pub(crate) struct Ranked<'a, R> {
    routes: Vec<(&'a Arc<R>, &'a [String])>,
}

/// Routes of each entry point.
#[derive(Debug)]
pub(crate) struct Index {
    entry_points: Vec<EntryPoint>,
}

#[derive(Debug)]
struct EntryPoint {
    name: Box<str>,
    /// Without TLS, with TLS.
    http: [Arc<Arranged<Route>>; 2],
    /// Without TLS, with TLS.
    tcp: [Arc<Arranged<TcpRoute>>; 2],
    udp: Option<Arc<UdpRoute>>,
}

/// Routes of an entry point, with TLS or without. Those that are the same are shared.
#[derive(Debug)]
pub(crate) struct Arranged<R> {
    /// By rank: higher priority first, then by name.
    order: Vec<Arc<R>>,
    /// Their rules. Shared with the previous table if these did not change.
    buckets: Arc<Buckets>,
    /// Hosts of those whose TLS ends here.
    tls_hosts: TlsHosts,
}

impl Index {
    /// Arranges `routes`.
    pub(crate) fn build(
        routes: &Routes<'_>,
        entry_points: &[EntryPointSpec],
        previous: Option<&Table>,
    ) -> Arc<Index> {
        let entry_points = &entry_points[..entry_points.len().min(MAX_ENTRY_POINTS)];
        let none_is_default = !entry_points.iter().any(|e| e.default);
        let before = previous.map_or(&[][..], |table| &table.index.entry_points);
        let mut built: Vec<EntryPoint> = Vec::with_capacity(entry_points.len());
        for spec in entry_points {
            let default = spec.default || none_is_default;
            let known = || built.iter().chain(before);
            let http = [false, true].map(|secure| {
                routes.http.arrange(spec, default, secure, || known().flat_map(|entry| &entry.http))
            });
            let tcp = [false, true].map(|secure| {
                routes.tcp.arrange(spec, default, secure, || known().flat_map(|entry| &entry.tcp))
            });
            let udp = routes.udp.iter().find(|(_, names)| names.is_empty() || names.contains(&spec.name));
            let udp = udp.map(|(route, _)| (*route).clone());
            built.push(EntryPoint { name: spec.name.as_str().into(), http, tcp, udp });
        }
        Arc::new(Index { entry_points: built })
    }

    #[inline]
    pub(crate) fn http(&self, id: EntryPointId, secure: bool) -> Option<&Arranged<Route>> {
        self.entry_points.get(usize::from(id.0)).map(|entry_point| &*entry_point.http[usize::from(secure)])
    }

    #[inline]
    pub(crate) fn tcp(&self, id: EntryPointId, secure: bool) -> Option<&Arranged<TcpRoute>> {
        self.entry_points.get(usize::from(id.0)).map(|entry_point| &*entry_point.tcp[usize::from(secure)])
    }

    pub(crate) fn udp(&self, id: EntryPointId) -> Option<&Arc<UdpRoute>> {
        self.entry_points.get(usize::from(id.0))?.udp.as_ref()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entry_points.iter().map(|entry_point| &*entry_point.name)
    }
}

impl<'a, R: Routed> Ranked<'a, R> {
    /// Ranks routes, which come with the entry points of their routers.
    pub(crate) fn new(routes: impl Iterator<Item = (&'a Arc<R>, &'a [String])>) -> Ranked<'a, R> {
        let mut routes: Vec<_> = routes.collect();
        routes.sort_by(|(a, _), (b, _)| b.priority().cmp(&a.priority()).then_with(|| a.name().cmp(b.name())));
        Ranked { routes }
    }

    /// Those of an entry point, with TLS or without; one of `known` if that is the same.
    fn arrange<'k, I>(
        &self,
        spec: &EntryPointSpec,
        default: bool,
        secure: bool,
        known: impl Fn() -> I,
    ) -> Arc<Arranged<R>>
    where
        R: 'k,
        I: Iterator<Item = &'k Arc<Arranged<R>>>,
    {
        let here = |names: &[String]| if names.is_empty() { default } else { names.contains(&spec.name) };
        let order: Vec<&Arc<R>> = self
            .routes
            .iter()
            .filter(|(route, names)| route.tls().is_some() == secure && here(names))
            .map(|(route, _)| *route)
            .collect();
        if let Some(same) = known().find(|arranged| arranged.has_order(&order)) {
            return same.clone();
        }
        let same_rules = known().find(|arranged| arranged.has_rules(&order));
        let buckets = match same_rules {
            Some(arranged) => arranged.buckets.clone(),
            None => Arc::new(Buckets::new(order.iter().map(|route| route.rule()))),
        };
        let mut tls_hosts = TlsHosts::default();
        for route in &order {
            if let Some(tls) = route.tls().filter(|tls| !tls.passthrough) {
                tls_hosts.add(&route.rule().hosts(), tls);
            }
        }
        Arc::new(Arranged { order: order.into_iter().cloned().collect(), buckets, tls_hosts })
    }
}

impl<R: Routed> Arranged<R> {
    fn has_order(&self, order: &[&Arc<R>]) -> bool {
        self.order.len() == order.len() && self.order.iter().zip(order).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    fn has_rules(&self, order: &[&Arc<R>]) -> bool {
        let same = |(a, b): (&Arc<R>, &&Arc<R>)| Arc::ptr_eq(a.rule(), b.rule());
        self.order.len() == order.len() && self.order.iter().zip(order).all(same)
    }

    /// The route with the lowest rank that matches.
    #[inline]
    pub(crate) fn route(&self, request: &impl Request) -> Option<&Arc<R>> {
        self.order.get(self.buckets.first_match(request)?)
    }

    /// Routes that the buckets do not rule out, by rank.
    pub(crate) fn candidates(&self, request: &impl Request) -> impl Iterator<Item = &Arc<R>> {
        self.buckets.candidates(request).into_iter().map(|rank| &self.order[rank as usize])
    }

    /// How many routes there are.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Hosts of those whose TLS ends here.
    pub(crate) fn tls_hosts(&self) -> &TlsHosts {
        &self.tls_hosts
    }
}
