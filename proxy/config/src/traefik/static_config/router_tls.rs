//! The `http.tls` of entry points, applied to the routers of a snapshot.
//!
//! As Traefik does: on such an entry point a router without `tls` of its own gets that of the entry point. If it is
//! on other entry points too, it becomes several routers, each with its own name (`websecure-shop@file`).

use std::collections::HashSet;

use pancake_table::snapshot::tls::RouterTls;
use pancake_table::snapshot::{Router, Snapshot};

use super::Settings;

impl Settings {
    /// Gives the routers of `snapshot` the `tls` of their entry points. Routers with `tls` of their own stay as they
    /// are, and so do all if no entry point has `http.tls`.
    pub fn apply_entry_point_tls(&self, snapshot: &mut Snapshot) {
        if self.entry_points.iter().all(|entry_point| entry_point.tls.is_none()) {
            return;
        }
        let defaults: Vec<String> = self.default_entry_points().into_iter().map(str::to_string).collect();
        let named = std::mem::take(&mut snapshot.routers);
        let mut taken: HashSet<String> = named.iter().map(|router| router.name.clone()).collect();
        snapshot.routers = Vec::with_capacity(named.len());
        for mut router in named {
            let on = if router.entry_points.is_empty() { &defaults } else { &router.entry_points };
            let secured = |name: &&String| self.tls_of(name).is_some();
            if router.tls.is_some() || !on.iter().any(|name| secured(&name)) {
                snapshot.routers.push(router);
                continue;
            }
            let (with, without): (Vec<&String>, Vec<&String>) = on.iter().partition(secured);
            let mut copies = Vec::new();
            for entry_point in &with {
                let tls = self.tls_of(entry_point).map(|tls| qualified(tls, &router.name));
                let mut name = router.name.clone();
                while on.len() > 1 && !taken.insert(name.clone()) {
                    name = format!("{entry_point}-{name}");
                }
                copies.push(Router {
                    name,
                    tls,
                    entry_points: vec![(*entry_point).clone()],
                    ..router.clone()
                });
            }
            let rest: Vec<String> = without.into_iter().cloned().collect();
            snapshot.routers.append(&mut copies);
            if !rest.is_empty() {
                router.entry_points = rest;
                snapshot.routers.push(router);
            }
        }
    }

    fn tls_of(&self, entry_point: &str) -> Option<&RouterTls> {
        self.entry_points.iter().find(|other| other.name == entry_point)?.tls.as_ref()
    }
}

/// Options without a provider are those of the router's.
fn qualified(tls: &RouterTls, router: &str) -> RouterTls {
    let mut tls = tls.clone();
    if let (Some(options), Some((_, provider))) = (&mut tls.options, router.rsplit_once('@'))
        && options != "default"
        && !options.contains('@')
    {
        *options = format!("{options}@{provider}");
    }
    tls
}
