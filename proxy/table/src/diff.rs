//! What changed between two snapshots: for logs, for the admin API and for the guard against collapse.

use serde::Serialize;

use crate::limits::MAX_DIFF_NAMES;
use crate::map::Map;
use crate::snapshot::tcp::{TcpServer, TcpServiceKind};
use crate::snapshot::{ServiceKind, Snapshot};

/// Fewer objects than this may all go at once without counting as a collapse, as long as one is left.
pub const COLLAPSE_MIN_OBJECTS: usize = 8;
/// A collapse leaves at most one object in this many.
pub const COLLAPSE_DIVISOR: usize = 4;

/// Objects of one kind that changed. The lists hold at most [`MAX_DIFF_NAMES`] names each, in the order of the
/// snapshots; the counts are exact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// How many there were.
    pub before: usize,
    /// How many there are.
    pub after: usize,
    /// How many are new.
    pub added: usize,
    /// How many are gone.
    pub removed: usize,
    /// How many are there under the same name with other content.
    pub changed: usize,
    /// Names of new ones.
    pub added_names: Vec<String>,
    /// Names of gone ones.
    pub removed_names: Vec<String>,
    /// Names of changed ones.
    pub changed_names: Vec<String>,
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.added + self.removed + self.changed == 0
    }

    fn collapses(&self) -> bool {
        let kept = self.before.saturating_sub(self.removed);
        self.before > 0
            && (self.after == 0
                || self.before >= COLLAPSE_MIN_OBJECTS
                    && kept.max(self.after) <= self.before / COLLAPSE_DIVISOR)
    }
}

/// What changed between two snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Routers by name.
    pub routers: Changes,
    /// Middlewares by name.
    pub middlewares: Changes,
    /// Services by name.
    pub services: Changes,
    /// Servers by service and identity: `service@provider http://10.0.0.1:80`.
    pub servers: Changes,
    /// Transports by name.
    pub servers_transports: Changes,
    /// TCP routers by name.
    pub tcp_routers: Changes,
    /// TCP services by name.
    pub tcp_services: Changes,
    /// TCP servers by service and identity: `service@provider 10.0.0.1:5432`.
    pub tcp_servers: Changes,
    /// TCP transports by name.
    pub tcp_servers_transports: Changes,
    /// UDP routers by name.
    pub udp_routers: Changes,
    /// UDP services by name.
    pub udp_services: Changes,
    /// Certificates by name.
    pub certificates: Changes,
    /// TLS options by name.
    pub tls_options: Changes,
    /// TLS stores by name.
    pub tls_stores: Changes,
}

impl Diff {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        let others = [&self.servers_transports, &self.tcp_servers_transports, &self.middlewares];
        let tls = [&self.certificates, &self.tls_options, &self.tls_stores];
        let guarded = self.guarded();
        let mut all = guarded.iter().map(|(_, changes)| *changes).chain(others).chain(tls);
        all.all(|changes| changes.is_empty())
    }

    /// What takes requests, connections and datagrams, with its name.
    pub fn guarded(&self) -> [(&'static str, &Changes); 8] {
        [
            ("routers", &self.routers),
            ("services", &self.services),
            ("servers", &self.servers),
            ("tcp routers", &self.tcp_routers),
            ("tcp services", &self.tcp_services),
            ("tcp servers", &self.tcp_servers),
            ("udp routers", &self.udp_routers),
            ("udp services", &self.udp_services),
        ]
    }

    /// Whether routers, services or servers of any kind would be gone altogether or nearly so (of at least
    /// [`COLLAPSE_MIN_OBJECTS`], at most one in [`COLLAPSE_DIVISOR`] is left): more likely a fault of the
    /// provider than a wish. A caller keeps what serves unless the change is explicitly marked as meant.
    pub fn collapses(&self) -> bool {
        self.guarded().iter().any(|(_, changes)| changes.collapses())
    }
}

/// What changed from `old` to `new`. Of objects with the same name the last counts.
pub fn diff(old: &Snapshot, new: &Snapshot) -> Diff {
    let (tls, new_tls) = (&old.tls, &new.tls);
    let (tcp, new_tcp) = (&old.tcp, &new.tcp);
    let (udp, new_udp) = (&old.udp, &new.udp);
    let of_service = |(service, id): (&str, &str)| format!("{service} {id}");
    Diff {
        tcp_routers: changes(&tcp.routers, &new_tcp.routers, |r| &*r.name, str::to_owned),
        tcp_services: changes(&tcp.services, &new_tcp.services, |s| &*s.name, str::to_owned),
        tcp_servers: changes(&tcp_servers(old), &tcp_servers(new), |(k, _)| *k, of_service),
        tcp_servers_transports: changes(
            &tcp.servers_transports,
            &new_tcp.servers_transports,
            |t| &*t.name,
            str::to_owned,
        ),
        udp_routers: changes(&udp.routers, &new_udp.routers, |r| &*r.name, str::to_owned),
        udp_services: changes(&udp.services, &new_udp.services, |s| &*s.name, str::to_owned),
        certificates: changes(&tls.certificates, &new_tls.certificates, |c| &*c.name, str::to_owned),
        tls_options: changes(&tls.options, &new_tls.options, |o| &*o.name, str::to_owned),
        tls_stores: changes(&tls.stores, &new_tls.stores, |s| &*s.name, str::to_owned),
        routers: changes(&old.routers, &new.routers, |r| &*r.name, |name| name.to_owned()),
        middlewares: changes(&old.middlewares, &new.middlewares, |m| &*m.name, str::to_owned),
        services: changes(&old.services, &new.services, |s| &*s.name, |name| name.to_owned()),
        servers: changes(&servers(old), &servers(new), |(k, _)| *k, of_service),
        servers_transports: changes(
            &old.servers_transports,
            &new.servers_transports,
            |t| &*t.name,
            |name| name.to_owned(),
        ),
    }
}

type ServerOf<'a> = ((&'a str, &'a str), &'a crate::snapshot::Server);

fn servers(snapshot: &Snapshot) -> Vec<ServerOf<'_>> {
    let mut all = Vec::new();
    for service in &snapshot.services {
        let ServiceKind::LoadBalancer(balancer) = &service.kind;
        all.extend(balancer.servers.iter().map(|s| ((&*service.name, s.id()), s)));
    }
    all
}

fn tcp_servers(snapshot: &Snapshot) -> Vec<((&str, &str), &TcpServer)> {
    let mut all = Vec::new();
    for service in &snapshot.tcp.services {
        if let TcpServiceKind::LoadBalancer(balancer) = &service.kind {
            all.extend(balancer.servers.iter().map(|s| ((&*service.name, s.id()), s)));
        }
    }
    all
}

fn changes<'a, T: PartialEq, K: Eq + std::hash::Hash + Copy>(
    old: &'a [T],
    new: &'a [T],
    key: impl Fn(&'a T) -> K,
    name: impl Fn(K) -> String,
) -> Changes {
    let was: Map<K, &T> = old.iter().map(|o| (key(o), o)).collect();
    let is: Map<K, &T> = new.iter().map(|n| (key(n), n)).collect();
    let mut out = Changes { before: was.len(), after: is.len(), ..Changes::default() };
    let note = |count: &mut usize, names: &mut Vec<String>, k: K| {
        *count += 1;
        if names.len() < MAX_DIFF_NAMES {
            names.push(name(k));
        }
    };
    for object in new {
        let k = key(object);
        if !std::ptr::eq(is[&k], object) {
            continue;
        }
        match was.get(&k) {
            None => note(&mut out.added, &mut out.added_names, k),
            Some(before) if *before != object => note(&mut out.changed, &mut out.changed_names, k),
            Some(_) => {}
        }
    }
    for object in old {
        let k = key(object);
        if std::ptr::eq(was[&k], object) && !is.contains_key(&k) {
            note(&mut out.removed, &mut out.removed_names, k);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{LoadBalancer, Router, Server, Service};

    fn with(routers: usize, servers: usize) -> Snapshot {
        let servers = (0..servers).map(|i| Server::new(format!("http://10.0.0.{i}"))).collect();
        let kind = ServiceKind::LoadBalancer(LoadBalancer { servers, ..LoadBalancer::default() });
        Snapshot {
            version: 1,
            routers: (0..routers).map(|i| Router { name: format!("r{i}"), ..Router::default() }).collect(),
            services: vec![Service { name: "s".into(), kind }],
            ..Snapshot::default()
        }
    }

    #[test]
    fn names_what_was_added_removed_and_changed() {
        let old = with(3, 2);
        let mut new = with(3, 2);
        new.version = 2;
        assert!(diff(&old, &new).is_empty());
        new.routers[0].name = "new".into();
        new.routers[1].priority = 3;
        let ServiceKind::LoadBalancer(balancer) = &mut new.services[0].kind;
        balancer.servers[1].draining = true;
        let diff = diff(&old, &new);
        assert_eq!(diff.routers.added_names, ["new"]);
        assert_eq!(diff.routers.removed_names, ["r0"]);
        assert_eq!(diff.routers.changed_names, ["r1"]);
        assert_eq!(diff.services.changed_names, ["s"]);
        assert_eq!(diff.servers.changed_names, ["s http://10.0.0.1"]);
        assert!(!diff.is_empty() && !diff.collapses());
    }

    #[test]
    fn lists_of_names_are_bounded_and_counts_are_not() {
        let diff = diff(&Snapshot::default(), &with(10_000, 0));
        assert_eq!((diff.routers.added, diff.routers.added_names.len()), (10_000, MAX_DIFF_NAMES));
    }

    #[test]
    fn nothing_left_and_hardly_anything_left_is_a_collapse() {
        for (old, new, collapses) in [
            (with(1, 1), Snapshot::default(), true),
            (with(1, 1), with(0, 1), true),
            (with(1, 1), with(1, 0), true),
            (with(7, 1), with(1, 1), false),
            (with(8, 1), with(2, 1), true),
            (with(8, 1), with(3, 1), false),
            (with(3, 100), with(3, 25), true),
            (with(0, 0), with(0, 0), false),
            (Snapshot::default(), with(5, 5), false),
            (with(5, 5), with(50, 50), false),
        ] {
            assert_eq!(
                diff(&old, &new).collapses(),
                collapses,
                "{} to {}",
                old.routers.len(),
                new.routers.len()
            );
        }
    }

    #[test]
    fn replacing_everything_is_no_collapse() {
        let mut new = with(20, 1);
        new.routers.iter_mut().for_each(|router| router.name.push('x'));
        assert!(!diff(&with(20, 1), &new).collapses());
    }
}
