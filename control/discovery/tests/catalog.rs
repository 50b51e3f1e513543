//! The catalog: replicas agree with the owner whatever the network does to the order of its news.

use std::collections::BTreeMap;
use std::time::Duration;

use pancake_discovery::catalog::{Catalog, Refusal, TOMBSTONE_LIFESPAN};
use pancake_discovery::digest::{digest, newer_than};
use pancake_model::instance::{Instance, Node, Origin, ProxyMode, Record};
use pancake_model::name::{InstanceId, NodeId, ServiceName};
use pancake_model::state::State;
use proptest::prelude::*;

const T0: Duration = Duration::ZERO;

fn node(id: &str, incarnation: u64) -> Node {
    Node { id: NodeId::new(id).unwrap(), address: "127.0.0.1:7700".into(), incarnation }
}

fn instance(owner: &str, id: u8, port: u16) -> Instance {
    Instance {
        id: InstanceId::new(format!("i{id}")).unwrap(),
        service: ServiceName::new("web").unwrap(),
        node: NodeId::new(owner).unwrap(),
        address: "127.0.0.1".into(),
        port,
        mode: ProxyMode::Http,
        weight: 1,
        labels: BTreeMap::new(),
        check: None,
        ttl: None,
        origin: Origin::Api,
    }
}

/// What an owner can do to one of three instances.
#[derive(Clone, Debug)]
enum Act {
    Announce(u8, u16),
    State(u8, State),
    Restart,
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0u8..3, 1u16..4).prop_map(|(i, p)| Act::Announce(i, p)),
        6 => (0u8..3, 0u8..5).prop_map(|(i, s)| Act::State(i, State::from_code(s).unwrap())),
        1 => Just(Act::Restart),
    ]
}

/// Plays the acts; returns the owner at the end and every record it ever wrote.
fn history(acts: &[Act]) -> (Catalog, Vec<Record>) {
    let mut owner = Catalog::new(node("a", 1));
    let mut written = Vec::new();
    for act in acts {
        let change = match act {
            Act::Announce(i, port) => owner.announce(instance("a", *i, *port), State::Alive, T0).unwrap(),
            Act::State(i, state) => owner.set_state(&format!("i{i}"), *state, "", T0),
            Act::Restart => {
                // The store brings back what lived; the rest is told as gone.
                let mut next = Catalog::new(node("a", owner.local().incarnation + 1));
                for record in owner.records() {
                    let back = next.announce(record.instance.clone(), State::Alive, T0).unwrap().unwrap();
                    written.push(back.record);
                    let id = record.instance.id.as_str();
                    written.extend(next.set_state(id, record.state, "", T0).map(|c| c.record));
                }
                owner = next;
                None
            }
        };
        written.extend(change.map(|c| c.record));
    }
    (owner, written)
}

fn states(catalog: &Catalog) -> BTreeMap<String, (State, u16)> {
    catalog.records().map(|r| (r.instance.id.to_string(), (r.state, r.instance.port))).collect()
}

proptest! {
    #[test]
    fn a_replica_agrees_with_the_owner_in_any_order_and_with_repeats(
        acts in prop::collection::vec(any_act(), 0..30),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let (owner, written) = history(&acts);
        let mut replica = Catalog::new(node("b", 1));
        if !written.is_empty() {
            for index in &order {
                let _ = replica.merge(index.get(&written).clone(), T0);
            }
        }
        for record in written.iter().rev() {
            let _ = replica.merge(record.clone(), T0);
        }
        prop_assert_eq!(states(&replica), states(&owner));
    }

    #[test]
    fn anti_entropy_makes_two_replicas_equal(
        acts in prop::collection::vec(any_act(), 0..30),
        split in any::<prop::sample::Index>(),
        lost in prop::collection::vec(any::<bool>(), 30),
    ) {
        let (_, written) = history(&acts);
        let mut a = Catalog::new(node("b", 1));
        let mut b = Catalog::new(node("c", 1));
        let at = if written.is_empty() { 0 } else { split.index(written.len()) };
        for (i, record) in written.iter().enumerate() {
            let _ = a.merge(record.clone(), T0);
            if i < at && !lost[i % lost.len()] {
                let _ = b.merge(record.clone(), T0);
            }
        }
        for _ in 0..2 {
            for record in newer_than(&a, &digest(&b)) {
                let _ = b.merge(record, T0);
            }
        }
        prop_assert_eq!(states(&a), states(&b));
        prop_assert_eq!(digest(&a), digest(&b));
        prop_assert!(newer_than(&a, &digest(&b)).is_empty());
    }

    #[test]
    fn an_older_incarnation_never_comes_back(acts in prop::collection::vec(any_act(), 0..30)) {
        let (owner, written) = history(&acts);
        let mut replica = Catalog::new(node("b", 1));
        for record in &written {
            let _ = replica.merge(record.clone(), T0);
        }
        let now = owner.local().incarnation;
        for record in written.iter().filter(|r| r.stamp.incarnation < now) {
            let incarnation = replica.nodes().find(|n| n.id.as_str() == "a").map(|n| n.incarnation);
            if incarnation == Some(now) {
                prop_assert_eq!(replica.merge(record.clone(), T0), Err(Refusal::Stale));
            }
        }
    }
}

#[test]
fn draining_survives_an_announcement_and_ends_with_the_life() {
    let mut owner = Catalog::new(node("a", 1));
    owner.announce(instance("a", 0, 1), State::Alive, T0).unwrap().unwrap();
    owner.set_state("i0", State::Draining, "asked", T0).unwrap();
    assert_eq!(owner.set_state("i0", State::Alive, "", T0), None);
    let change = owner.announce(instance("a", 0, 2), State::Unknown, T0).unwrap().unwrap();
    assert_eq!(change.record.state, State::Draining);
    let drained = change.record;

    owner.set_state("i0", State::Tombstone, "", T0).unwrap();
    let again = owner.announce(instance("a", 0, 2), State::Alive, T0).unwrap().unwrap().record;
    assert_eq!(again.state, State::Alive);

    // A replica that heard of the drain and not of the tombstone follows into the new life.
    let mut replica = Catalog::new(node("b", 1));
    replica.merge(drained, T0).unwrap();
    let change = replica.merge(again, T0).unwrap().unwrap();
    assert_eq!((change.previous, change.record.state), (Some(State::Draining), State::Alive));
}

#[test]
fn a_replica_that_missed_the_end_of_a_drain_follows_what_comes_after() {
    let mut owner = Catalog::new(node("a", 1));
    let mut replica = Catalog::new(node("b", 1));
    owner.announce(instance("a", 0, 1), State::Alive, T0).unwrap();
    let drained = owner.set_state("i0", State::Draining, "", T0).unwrap().record;
    replica.merge(drained, T0).unwrap();
    owner.set_state("i0", State::Unhealthy, "", T0).unwrap();
    let alive = owner.set_state("i0", State::Alive, "", T0).unwrap().record;
    assert_eq!(replica.merge(alive, T0).unwrap().unwrap().record.state, State::Alive);
}

#[test]
fn a_new_label_does_not_take_an_instance_out() {
    let mut owner = Catalog::new(node("a", 1));
    owner.announce(instance("a", 0, 1), State::Alive, T0).unwrap();
    let labelled = Instance { labels: [("k".into(), "v".into())].into(), ..instance("a", 0, 1) };
    let change = owner.announce(labelled.clone(), State::Unknown, T0).unwrap().unwrap();
    assert_eq!(change.record.state, State::Alive);
    assert_eq!(owner.announce(labelled, State::Unknown, T0), Ok(None));
    let moved = owner.announce(instance("a", 0, 2), State::Unknown, T0).unwrap().unwrap();
    assert_eq!(moved.record.state, State::Unknown);
}

#[test]
fn a_tombstone_is_kept_and_then_forgotten() {
    let mut owner = Catalog::new(node("a", 1));
    owner.announce(instance("a", 0, 1), State::Alive, T0).unwrap();
    let late = Duration::from_secs(5);
    owner.set_state("i0", State::Tombstone, "", late).unwrap();
    assert_eq!(owner.set_state("i0", State::Unhealthy, "", late), None, "a tombstone stays one");
    assert_eq!(owner.purge(TOMBSTONE_LIFESPAN), 0);
    assert_eq!(owner.records().count(), 1);
    assert_eq!(owner.purge(late + TOMBSTONE_LIFESPAN), 1);
    assert_eq!(owner.records().count(), 0);
}

#[test]
fn nobody_else_writes_the_records_of_a_node() {
    let mut owner = Catalog::new(node("a", 1));
    let record = owner.announce(instance("a", 0, 1), State::Alive, T0).unwrap().unwrap().record;
    assert_eq!(owner.merge(record, T0), Err(Refusal::Own));
}
