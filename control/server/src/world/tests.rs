use std::collections::BTreeMap;
use std::time::Duration;

use pancake_discovery::health::schedule::{Outcome, Report, Target};
use pancake_model::check::Check;
use pancake_model::instance::{Instance, Origin, ProxyMode};
use pancake_model::name::NodeId;
use pancake_model::state::State;

use super::*;
use crate::settings::{FORGET_DRAINED, FORGET_SILENT};

fn at(seconds: u64) -> At {
    At { mono: Duration::from_secs(seconds), unix_ms: seconds * 1000 }
}

fn world() -> World {
    let node = Node { id: NodeId::new("n").unwrap(), address: String::new(), incarnation: 1 };
    World::restore(node, Contents::default(), Arc::new(Published::nothing()), at(0))
}

fn registration(id: &str, check: Option<Check>, ttl: Option<Duration>) -> Registration {
    let instance = Instance {
        id: InstanceId::new(id).unwrap(),
        service: ServiceName::new("web").unwrap(),
        node: NodeId::new("n").unwrap(),
        address: "127.0.0.1".into(),
        port: 80,
        mode: ProxyMode::Http,
        weight: 1,
        labels: BTreeMap::new(),
        check,
        ttl,
        origin: Origin::Api,
    };
    Registration { instance, routers: vec![], registered: Default::default() }
}

fn report(world: &World, id: &str, verdict: State) -> Report {
    let target: Target = world.targets().into_iter().find(|t| t.id.as_str() == id).unwrap();
    let ok = verdict == State::Alive;
    Report { target, verdict, outcome: Outcome { ok, output: "out".into(), took: Duration::ZERO }, streak: 1 }
}

fn state(world: &World, id: &str) -> State {
    world.catalog.own(id).unwrap().state
}

#[test]
fn a_check_moves_an_instance_between_states_but_not_out_of_a_drain() {
    let mut world = world();
    world.register(registration("a", Some(Check::default()), None), at(0)).unwrap();
    assert_eq!(state(&world, "a"), State::Unknown);
    assert!(world.checked(report(&world, "a", State::Alive), at(1)));
    assert_eq!(state(&world, "a"), State::Alive);
    assert!(!world.checked(report(&world, "a", State::Alive), at(2)), "nothing new");
    world.checked(report(&world, "a", State::Unhealthy), at(3));
    assert_eq!(state(&world, "a"), State::Unhealthy);
    world.drain("a", at(4));
    for verdict in [State::Alive, State::Unhealthy] {
        world.checked(report(&world, "a", verdict), at(5));
        assert_eq!(state(&world, "a"), State::Draining);
    }
    world.undrain("a", at(6));
    assert_eq!(state(&world, "a"), State::Unhealthy, "as its last check says");
}

#[test]
fn a_heartbeat_that_is_overdue_beats_a_good_check() {
    let mut world = world();
    let ttl = Some(Duration::from_secs(5));
    world.register(registration("a", Some(Check::default()), ttl), at(0)).unwrap();
    world.checked(report(&world, "a", State::Alive), at(1));
    assert!(!world.sweep(at(4)).1);
    assert!(world.sweep(at(5)).1);
    assert_eq!(state(&world, "a"), State::Unknown);
    world.checked(report(&world, "a", State::Alive), at(6));
    assert_eq!(state(&world, "a"), State::Unknown);
    assert_eq!(world.renew("a", at(7)).unwrap().0, State::Alive);
    let forget = world.sweep(at(12)).0;
    assert!(forget.is_empty());
    let forget = world.sweep(At { mono: Duration::from_secs(12) + FORGET_SILENT, unix_ms: 0 }).0;
    assert_eq!(forget.len(), 1);
}

#[test]
fn what_is_drained_long_ago_is_forgotten() {
    let mut world = world();
    world.register(registration("a", None, None), at(0)).unwrap();
    world.drain("a", at(10));
    let id = InstanceId::new("a").unwrap();
    let later = At { mono: Duration::from_secs(10) + FORGET_DRAINED, unix_ms: 0 };
    assert!(world.sweep(later).0.is_empty(), "it is not drained yet");
    world.drained(&id, at(20));
    assert_eq!(world.sweep(later).0.len(), 1);
}

#[test]
fn a_report_about_an_old_address_changes_nothing() {
    let mut world = world();
    world.register(registration("a", Some(Check::default()), None), at(0)).unwrap();
    let old = report(&world, "a", State::Alive);
    let mut moved = registration("a", Some(Check::default()), None);
    moved.instance.port = 81;
    world.register(moved, at(1)).unwrap();
    assert!(!world.checked(old, at(2)));
    assert_eq!(state(&world, "a"), State::Unknown);
}

#[test]
fn another_service_cannot_take_an_id() {
    let mut world = world();
    world.register(registration("a", None, None), at(0)).unwrap();
    let mut other = registration("a", None, None);
    other.instance.service = ServiceName::new("other").unwrap();
    assert!(matches!(world.plan_register(&other), Err(OpError::Precondition(_))));
}

#[test]
fn an_alarm_is_told_once_and_when_it_is_over() {
    let mut world = world();
    world.set_alarm("x", Some("bad".into()), at(1));
    world.set_alarm("x", Some("bad".into()), at(2));
    world.set_alarm("x", Some("worse".into()), at(3));
    assert_eq!(world.alarms()["x"].since_unix_ms, 1000, "it began with the first");
    world.set_alarm("x", None, at(4));
    world.set_alarm("x", None, at(5));
    let told = world.take_events();
    assert_eq!(told.len(), 3);
    assert!(matches!(told[2], Event::Alarm { cleared: true, .. }));
}
