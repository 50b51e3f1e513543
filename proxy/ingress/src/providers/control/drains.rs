//! When a server that drains has nothing in flight any more. Time is an argument.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use pancake_table::snapshot::{ServiceKind, Snapshot};

use crate::limits::{DRAIN_LOOK_PERIOD, MAX_WATCHED_DRAINS};

/// Servers that take no new requests, and what is known of their old ones.
#[derive(Default)]
pub(super) struct Drains {
    /// Since when nothing was in flight, at each look.
    watched: HashMap<String, Option<Instant>>,
    /// Confirmed on this stream, and still in the snapshot.
    confirmed: HashSet<String>,
    /// Named by the last snapshot.
    known: HashSet<String>,
}

impl Drains {
    /// A snapshot serves: what drains in it, or is gone since the last one, is watched.
    pub(super) fn follow(&mut self, snapshot: &Snapshot) {
        let (active, draining) = identities(snapshot);
        let gone =
            self.known.iter().filter(|id| !active.contains(&***id) && !draining.contains(&***id)).cloned();
        let newly: Vec<String> = gone.chain(draining.iter().map(|id| (*id).to_owned())).collect();
        self.watched.retain(|id, _| !active.contains(&**id));
        self.confirmed.retain(|id| draining.contains(&**id));
        for id in newly {
            if !self.confirmed.contains(&id) && self.watched.len() < MAX_WATCHED_DRAINS {
                self.watched.entry(id).or_insert(None);
            }
        }
        self.known = active.into_iter().chain(draining).map(str::to_owned).collect();
    }

    /// A new stream: the other end may not know what was confirmed.
    pub(super) fn start_over(&mut self) {
        for id in self.confirmed.drain() {
            self.watched.entry(id).or_insert(None);
        }
    }

    /// Whether there is anything to look at.
    pub(super) fn is_idle(&self) -> bool {
        self.watched.is_empty()
    }

    /// Those with nothing in flight at this look and at one at least [`DRAIN_LOOK_PERIOD`] ago.
    pub(super) fn look(&mut self, now: Instant, in_flight: impl Fn(&str) -> u64) -> Vec<String> {
        let mut drained = Vec::new();
        for (id, since) in &mut self.watched {
            if in_flight(id) > 0 {
                *since = None;
            } else if now.duration_since(*since.get_or_insert(now)) >= DRAIN_LOOK_PERIOD {
                drained.push(id.clone());
            }
        }
        for id in &drained {
            self.watched.remove(id);
            if self.known.contains(id) {
                self.confirmed.insert(id.clone());
            }
        }
        drained
    }
}

/// Identities that take requests, and those that only drain.
fn identities(snapshot: &Snapshot) -> (HashSet<&str>, HashSet<&str>) {
    let (mut active, mut draining) = (HashSet::new(), HashSet::new());
    for service in &snapshot.services {
        let ServiceKind::LoadBalancer(balancer) = &service.kind;
        for server in &balancer.servers {
            if server.draining { &mut draining } else { &mut active }.insert(server.id());
        }
    }
    draining.retain(|id| !active.contains(id));
    (active, draining)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pancake_table::snapshot::{LoadBalancer, Server, Service};

    use super::*;

    fn of(servers: &[(&str, bool)]) -> Snapshot {
        let servers = servers.iter().map(|(id, draining)| Server {
            id: (*id).to_owned(),
            draining: *draining,
            ..Server::new("http://127.0.0.1:1")
        });
        let kind =
            ServiceKind::LoadBalancer(LoadBalancer { servers: servers.collect(), ..LoadBalancer::default() });
        Snapshot { services: vec![Service { name: "s@pancake".into(), kind }], ..Snapshot::default() }
    }

    const STEP: Duration = DRAIN_LOOK_PERIOD;

    #[test]
    fn two_idle_looks_confirm_once() {
        let mut drains = Drains::default();
        let now = Instant::now();
        drains.follow(&of(&[("a", false), ("b", true)]));
        assert!(drains.look(now, |_| 0).is_empty());
        assert!(drains.look(now + STEP / 2, |_| 0).is_empty());
        assert_eq!(drains.look(now + STEP, |_| 0), ["b"]);
        drains.follow(&of(&[("a", false), ("b", true)]));
        assert!(drains.is_idle());
        drains.start_over();
        assert!(!drains.is_idle());
    }

    #[test]
    fn a_request_in_flight_starts_the_wait_again() {
        let mut drains = Drains::default();
        let now = Instant::now();
        drains.follow(&of(&[("b", true)]));
        assert!(drains.look(now, |_| 0).is_empty());
        assert!(drains.look(now + STEP, |_| 1).is_empty());
        assert!(drains.look(now + STEP * 2, |_| 0).is_empty());
        assert_eq!(drains.look(now + STEP * 3, |_| 0), ["b"]);
    }

    #[test]
    fn what_is_gone_is_confirmed_and_what_comes_back_is_not() {
        let mut drains = Drains::default();
        let now = Instant::now();
        drains.follow(&of(&[("a", false), ("b", false)]));
        drains.follow(&of(&[]));
        drains.follow(&of(&[("b", false)]));
        drains.look(now, |_| 0);
        assert_eq!(drains.look(now + STEP, |_| 0), ["a"]);
        assert!(drains.is_idle());
    }

    #[test]
    fn one_active_use_of_an_identity_keeps_it() {
        let mut drains = Drains::default();
        drains.follow(&of(&[("a", true), ("a", false)]));
        assert!(drains.is_idle());
    }
}
