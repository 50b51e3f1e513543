//! What is known: node → instances, newest record wins.
//!
//! Pure: time is an argument, as a duration since any fixed point. Each instance has one owner, its node, which
//! alone writes its records and numbers them; everybody else merges them by `Stamp`. Without loss the result does
//! not depend on order or repetition. What it does not do: move records between nodes, or decide what is published.

use std::collections::BTreeMap;
use std::time::Duration;

use pancake_model::instance::{Instance, Node, Record};
use pancake_model::name::{InstanceId, NodeId};
use pancake_model::stamp::Stamp;
use pancake_model::state::State;

/// How long a tombstone is kept. News older than this that is still on its way could bring an instance back within
/// the same incarnation of its node.
pub const TOMBSTONE_LIFESPAN: Duration = Duration::from_secs(3 * 3600);
/// Instances per node, tombstones included.
pub const MAX_INSTANCES: usize = 100_000;
/// Nodes.
pub const MAX_NODES: usize = 10_000;

/// A change that others may want to know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// After it.
    pub record: Record,
    /// State before; none if the instance was not known.
    pub previous: Option<State>,
}

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What is held is as new or newer, or of a later incarnation of the node.
    #[error("older than what is known")]
    Stale,
    /// The local node is the authority on its own instances.
    #[error("a record of the local node from outside")]
    Own,
    /// [`MAX_INSTANCES`] or [`MAX_NODES`] reached.
    #[error("the catalog is full")]
    Full,
}

#[derive(Debug)]
struct Held {
    record: Record,
    since: Duration,
}

#[derive(Debug)]
struct Shelf {
    node: Node,
    instances: BTreeMap<InstanceId, Held>,
}

/// What is known, and the pen of the local node.
#[derive(Debug)]
pub struct Catalog {
    local: NodeId,
    last: Stamp,
    shelves: BTreeMap<NodeId, Shelf>,
}

impl Catalog {
    /// Knows the local node only.
    pub fn new(local: Node) -> Catalog {
        let last = Stamp { incarnation: local.incarnation, sequence: 0 };
        let id = local.id.clone();
        let shelf = Shelf { node: local, instances: BTreeMap::new() };
        Catalog { local: id.clone(), last, shelves: BTreeMap::from([(id, shelf)]) }
    }

    /// The local node.
    pub fn local(&self) -> &Node {
        &self.shelves[&self.local].node
    }

    /// The next stamp of the local node.
    pub fn stamp(&mut self) -> Stamp {
        self.last = self.last.next();
        self.last
    }

    /// Says as the owner that an instance exists. The same content again is no change; other content keeps a drain,
    /// and the state too if what is checked stays the same. After a tombstone a new life begins, in `state`.
    pub fn announce(
        &mut self,
        instance: Instance,
        state: State,
        now: Duration,
    ) -> Result<Option<Change>, Refusal> {
        let held = self.own(instance.id.as_str());
        let previous = held.map(|h| h.state);
        let mut born = None;
        let mut next = state;
        if let Some(held) = held.filter(|h| h.state != State::Tombstone) {
            if held.instance == instance {
                return Ok(None);
            }
            born = Some(held.born);
            let same =
                |a: &Instance, b: &Instance| a.address == b.address && a.port == b.port && a.check == b.check;
            next = if same(&held.instance, &instance) { held.state } else { held.state.after(state) };
            // Nothing but Alive leaves a drain in place; a new address that is still unchecked must too.
            if held.state == State::Draining {
                next = State::Draining;
            }
        } else if held.is_none() && !self.make_room() {
            return Err(Refusal::Full);
        }
        let stamp = self.stamp();
        let record =
            Record { instance, state: next, stamp, born: born.unwrap_or(stamp), reason: String::new() };
        self.hold(record.clone(), now);
        Ok(Some(Change { record, previous }))
    }

    /// Whether the local node can announce one more instance.
    pub fn has_room(&self) -> bool {
        let own = &self.shelves[&self.local].instances;
        own.len() < MAX_INSTANCES || own.values().any(|h| h.record.state == State::Tombstone)
    }

    /// At the limit the oldest tombstone goes.
    fn make_room(&mut self) -> bool {
        let Some(shelf) = self.shelves.get_mut(&self.local) else { return false };
        if shelf.instances.len() < MAX_INSTANCES {
            return true;
        }
        let tombstones = shelf.instances.iter().filter(|(_, h)| h.record.state == State::Tombstone);
        let oldest = tombstones.min_by_key(|(_, h)| h.since).map(|(id, _)| id.clone());
        oldest.is_some_and(|id| shelf.instances.remove(&id).is_some())
    }

    /// Says as the owner how an instance is. Draining survives Alive, and a tombstone survives everything: only
    /// [`Catalog::announce`] begins a new life. None if nothing changed but perhaps the reason.
    pub fn set_state(&mut self, id: &str, state: State, reason: &str, now: Duration) -> Option<Change> {
        let held = self.own(id)?;
        let previous = held.state;
        let next = previous.after(state);
        if previous == State::Tombstone || next != state && next == previous {
            return None;
        }
        if next == previous {
            if held.reason != reason {
                let shelf = self.shelves.get_mut(&self.local)?;
                shelf.instances.get_mut(id)?.record.reason = reason.to_owned();
            }
            return None;
        }
        let mut record = held.clone();
        record.state = next;
        record.reason = reason.to_owned();
        record.stamp = self.stamp();
        // Who missed this record and hears a later Alive must not take the drain for lasting.
        if previous == State::Draining {
            record.born = record.stamp;
        }
        self.hold(record.clone(), now);
        Some(Change { record, previous: Some(previous) })
    }

    /// Takes news of another node's instance.
    pub fn merge(&mut self, incoming: Record, now: Duration) -> Result<Option<Change>, Refusal> {
        let node = &incoming.instance.node;
        if *node == self.local {
            return Err(Refusal::Own);
        }
        if let Some(shelf) = self.shelves.get(node) {
            // A node that started again tells all it has; what an earlier incarnation said is over.
            if incoming.stamp.incarnation < shelf.node.incarnation {
                return Err(Refusal::Stale);
            }
        } else if self.shelves.len() >= MAX_NODES {
            return Err(Refusal::Full);
        }
        let shelf = self.shelves.entry(node.clone()).or_insert_with(|| Shelf {
            node: Node { id: node.clone(), address: String::new(), incarnation: incoming.stamp.incarnation },
            instances: BTreeMap::new(),
        });
        let held = shelf.instances.get(&incoming.instance.id).map(|h| &h.record);
        if held.is_none() && shelf.instances.len() >= MAX_INSTANCES {
            return Err(Refusal::Full);
        }
        let previous = held.map(|h| h.state);
        let mut record = incoming;
        if let Some(held) = held {
            if held.stamp >= record.stamp {
                return Err(Refusal::Stale);
            }
            if held.born == record.born {
                record.state = held.state.after(record.state);
            }
        }
        shelf.node.incarnation = shelf.node.incarnation.max(record.stamp.incarnation);
        let changed = previous != Some(record.state) || held.is_some_and(|h| h.instance != record.instance);
        self.hold(record.clone(), now);
        Ok(changed.then_some(Change { record, previous }))
    }

    /// Forgets tombstones older than [`TOMBSTONE_LIFESPAN`]; returns how many.
    pub fn purge(&mut self, now: Duration) -> usize {
        let mut purged = 0;
        for shelf in self.shelves.values_mut() {
            let before = shelf.instances.len();
            shelf.instances.retain(|_, h| {
                h.record.state != State::Tombstone || now.saturating_sub(h.since) < TOMBSTONE_LIFESPAN
            });
            purged += before - shelf.instances.len();
        }
        purged
    }

    /// Nodes, in the order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.shelves.values().map(|s| &s.node)
    }

    /// Records of all nodes, tombstones included, by node and instance.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.shelves.values().flat_map(|s| s.instances.values().map(|h| &h.record))
    }

    /// Records of one node, tombstones included.
    pub fn records_of(&self, node: &str) -> impl Iterator<Item = &Record> {
        self.shelves.get(node).into_iter().flat_map(|s| s.instances.values().map(|h| &h.record))
    }

    /// The record of an instance of the local node.
    pub fn own(&self, id: &str) -> Option<&Record> {
        self.shelves[&self.local].instances.get(id).map(|h| &h.record)
    }

    /// When the state of an own instance last changed.
    pub fn since(&self, id: &str) -> Option<Duration> {
        self.shelves[&self.local].instances.get(id).map(|h| h.since)
    }

    fn hold(&mut self, record: Record, now: Duration) {
        let Some(shelf) = self.shelves.get_mut(&record.instance.node) else { return };
        let since = match shelf.instances.get(&record.instance.id) {
            Some(held) if held.record.state == record.state => held.since,
            _ => now,
        };
        shelf.instances.insert(record.instance.id.clone(), Held { record, since });
    }
}
