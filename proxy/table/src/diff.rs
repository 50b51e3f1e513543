//! What changed between two snapshots: for logs, for the admin API and for the guard against collapse.

use std::collections::HashMap;

use serde::Serialize;

use crate::limits::MAX_DIFF_NAMES;
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
    /// Services by name.
    pub services: Changes,
    /// Servers by service and identity: `service@provider http://10.0.0.1:80`.
    pub servers: Changes,
    /// Transports by name.
    pub servers_transports: Changes,
}

impl Diff {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.routers.is_empty()
            && self.services.is_empty()
            && self.servers.is_empty()
            && self.servers_transports.is_empty()
    }

    /// Whether routers, services or servers would be gone altogether or nearly so (of at least
    /// [`COLLAPSE_MIN_OBJECTS`], at most one in [`COLLAPSE_DIVISOR`] is left): more likely a fault of the
    /// provider than a wish. A caller keeps what serves unless the change is explicitly marked as meant.
    pub fn collapses(&self) -> bool {
        self.routers.collapses() || self.services.collapses() || self.servers.collapses()
    }
}

/// What changed from `old` to `new`. Of objects with the same name the last counts.
pub fn diff(old: &Snapshot, new: &Snapshot) -> Diff {
    Diff {
        routers: changes(&old.routers, &new.routers, |r| &*r.name, |name| name.to_owned()),
        services: changes(&old.services, &new.services, |s| &*s.name, |name| name.to_owned()),
        servers: changes(
            &servers(old),
            &servers(new),
            |(k, _)| *k,
            |(service, id)| format!("{service} {id}"),
        ),
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

fn changes<'a, T: PartialEq, K: Eq + std::hash::Hash + Copy>(
    old: &'a [T],
    new: &'a [T],
    key: impl Fn(&'a T) -> K,
    name: impl Fn(K) -> String,
) -> Changes {
    let was: HashMap<K, &T> = old.iter().map(|o| (key(o), o)).collect();
    let is: HashMap<K, &T> = new.iter().map(|n| (key(n), n)).collect();
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
