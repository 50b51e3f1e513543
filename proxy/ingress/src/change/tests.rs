use pancake_config::traefik::dynamic;
use pancake_config::tree::{File, Format};
use pancake_table::snapshot::{LoadBalancer, Router, Server, Service, ServiceKind};

use super::*;

pub(crate) fn entry_points() -> Vec<EntryPointSpec> {
    vec![EntryPointSpec { name: "web".into(), default: true }]
}

pub(crate) fn empty_table() -> Table {
    Table::empty(&entry_points())
}

pub(crate) fn owner() -> Owner {
    Owner::new(entry_points(), ServersTransport::default(), Secure::new().unwrap())
}

/// Routers `r0` to `rN`, each with a service of its own, of this provider.
pub(crate) fn snapshot(provider: Provider, objects: usize) -> Snapshot {
    let name = |kind: &str, n: usize| format!("{kind}{n}@{}", provider.name());
    Snapshot {
        version: 0,
        routers: (0..objects)
            .map(|n| Router {
                name: name("r", n),
                rule: format!("Host(`h{n}.test`)"),
                service: name("s", n),
                ..Router::default()
            })
            .collect(),
        services: (0..objects)
            .map(|n| Service {
                name: name("s", n),
                kind: ServiceKind::LoadBalancer(LoadBalancer {
                    servers: vec![Server::new(format!("http://127.0.0.1:{}", 10_000 + n))],
                    ..LoadBalancer::default()
                }),
            })
            .collect(),
        ..Snapshot::default()
    }
}

fn control(objects: usize, allow_empty: bool) -> Update {
    Update::from_control(snapshot(Provider::Pancake, objects), allow_empty)
}

fn file(text: &str) -> Update {
    Update::from_files(dynamic::read(&[File { name: "d.yml", text, format: Format::Yaml }]))
}

const TWO_ROUTERS: &str = "http:
  routers:
    good: {rule: 'Host(`a.test`)', service: s}
    bad: {rule: 'Host(`b.test`', service: s}
  services:
    s: {loadBalancer: {servers: [{url: 'http://127.0.0.1:1'}]}}
";

#[test]
fn a_faulty_router_of_a_file_is_left_out_and_the_rest_serves() {
    let mut owner = owner();
    assert_eq!(owner.submit(Provider::File, file(TWO_ROUTERS)), Outcome::Applied);
    let view = owner.view().load_full();
    let routes: Vec<_> = view.table.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(routes, ["good@file"]);
    let problems: Vec<_> = view.problems().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("d.yml:4:"), "{problems:?}");
    assert!(problems[0].contains("router bad@file"), "{problems:?}");
}

#[test]
fn a_control_plane_with_one_faulty_router_is_refused_whole() {
    let mut owner = owner();
    assert_eq!(owner.submit(Provider::Pancake, control(3, false)), Outcome::Applied);
    let mut bad = control(4, false);
    bad.snapshot.routers[3].rule = "Host(".into();
    bad.snapshot.routers[2].service = "nowhere@pancake".into();
    let Outcome::Refused(problems) = owner.submit(Provider::Pancake, bad) else { panic!("not refused") };
    assert_eq!(problems.len(), 2, "{problems:?}");
    let view = owner.view().load_full();
    assert_eq!(view.table.routes.len(), 3);
    assert_eq!((view.reloads, view.failures, view.last_failed), (1, 1, true));
    assert_eq!(view.provider(Provider::Pancake).state, ProviderState::Refused);
}

#[test]
fn a_broken_file_does_not_refuse_the_control_plane() {
    let mut owner = owner();
    owner.submit(Provider::File, file(TWO_ROUTERS));
    assert_eq!(owner.submit(Provider::Pancake, control(2, false)), Outcome::Applied);
    assert_eq!(owner.view().load().table.routes.len(), 3);
}

#[test]
fn what_becomes_empty_needs_a_mark() {
    let mut owner = owner();
    owner.submit(Provider::Pancake, control(20, false));
    for left in [0, 4] {
        let outcome = owner.submit(Provider::Pancake, control(left, false));
        assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    }
    assert_eq!(owner.view().load().table.routes.len(), 20);
    assert_eq!(owner.submit(Provider::Pancake, control(0, true)), Outcome::Applied);
    assert_eq!(owner.view().load().table.routes.len(), 0);
}

#[test]
fn an_empty_file_keeps_what_serves() {
    let mut owner = owner();
    owner.submit(Provider::File, file(TWO_ROUTERS));
    assert!(matches!(owner.submit(Provider::File, file("")), Outcome::Refused(_)));
    assert_eq!(owner.view().load().table.routes.len(), 1);
}

#[test]
fn the_same_again_is_no_reload() {
    let mut owner = owner();
    let table = owner.table();
    owner.submit(Provider::Pancake, control(3, false));
    let before = table.load_full();
    let mut again = control(3, false);
    again.snapshot.version = 9;
    assert_eq!(owner.submit(Provider::Pancake, again), Outcome::Unchanged);
    assert!(Arc::ptr_eq(&before, &table.load_full()));
    assert_eq!(owner.view().load().provider(Provider::Pancake).snapshot.version, 9);
}

#[test]
fn a_router_of_one_provider_may_use_a_service_of_another() {
    let mut owner = owner();
    owner.submit(Provider::Pancake, control(1, false));
    let text = "http: {routers: {a: {rule: 'Host(`a.test`)', service: s0@pancake}}}";
    assert_eq!(owner.submit(Provider::File, file(text)), Outcome::Applied);
    assert_eq!(owner.view().load().table.routes.len(), 2);
}

#[test]
fn a_table_is_freed_only_when_no_worker_holds_it() {
    let mut owner = owner();
    owner.submit(Provider::Pancake, control(1, false));
    let worker = owner.table().load_full();
    owner.submit(Provider::Pancake, control(2, false));
    owner.retire();
    assert_eq!((owner.retired.len(), Arc::strong_count(&worker)), (1, 2));
    drop(worker);
    owner.retire();
    assert_eq!(owner.retired.len(), 0);
}

#[test]
fn what_cannot_be_read_leaves_what_serves() {
    let mut owner = owner();
    owner.submit(Provider::File, file(TWO_ROUTERS));
    owner.fail(Provider::File, vec![Problem::of_provider(Provider::File, "gone")]);
    let view = owner.view().load_full();
    assert_eq!(view.table.routes.len(), 1);
    assert_eq!(view.problems().count(), 2);
    assert_eq!(owner.submit(Provider::File, file(TWO_ROUTERS)), Outcome::Unchanged);
    assert_eq!(owner.view().load().problems().count(), 1);
}
