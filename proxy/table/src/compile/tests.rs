use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::check::{check, check_after};
use crate::compiled::Scheme;
use crate::lookup::{EntryPointId, OwnedRequest};
use crate::snapshot::middlewares::{GrpcWeb, Middleware};
use crate::snapshot::tls::Pem;
use crate::snapshot::{HealthCheck, LoadBalancer, Router, Server, ServersTransport, ServiceKind};

fn spec(name: &str, servers: Vec<Server>) -> crate::snapshot::Service {
    let balancer = LoadBalancer { servers, ..LoadBalancer::default() };
    crate::snapshot::Service { name: name.into(), kind: ServiceKind::LoadBalancer(balancer) }
}

fn balancer(service: &mut crate::snapshot::Service) -> &mut LoadBalancer {
    let ServiceKind::LoadBalancer(balancer) = &mut service.kind;
    balancer
}

fn router(name: &str, host: &str, service: &str) -> Router {
    let rule = format!("Host(`{host}`)");
    Router { name: name.into(), rule, service: service.into(), ..Router::default() }
}

fn two() -> Snapshot {
    Snapshot {
        version: 1,
        routers: vec![router("a@f", "a", "a@f"), router("b@f", "b", "b@f")],
        services: vec![
            spec("a@f", vec![Server::new("http://10.0.0.1:81"), Server::new("http://10.0.0.2")]),
            spec("b@f", vec![Server::new("http://b.internal:8080")]),
        ],
        ..Snapshot::default()
    }
}

fn web() -> Vec<EntryPointSpec> {
    vec![EntryPointSpec::new("web")]
}

fn table(snapshot: &Snapshot, previous: Option<&Table>) -> Table {
    let report = check_after(snapshot, &["web".into()], previous);
    compile(Arc::new(snapshot.clone()), &report, &web(), previous)
}

fn routed<'a>(table: &'a Table, host: &str) -> Option<&'a Arc<Route>> {
    table.route(EntryPointId(0), false, &OwnedRequest::get(host, "/"))
}

#[test]
fn unchanged_objects_are_the_same_objects() {
    let first = table(&two(), None);
    let mut changed = two();
    changed.version = 2;
    changed.routers[1].priority = 7;
    let second = table(&changed, Some(&first));
    assert_eq!(second.version, 2);
    assert!(Arc::ptr_eq(&first.services[0], &second.services[0]));
    assert!(Arc::ptr_eq(&first.routes[0], &second.routes[0]));
    assert!(!Arc::ptr_eq(&first.routes[1], &second.routes[1]));
    assert_eq!(first.routes[1].slot, second.routes[1].slot);
    assert!(Arc::ptr_eq(&first.routes[1].rule, &second.routes[1].rule));
    assert_eq!(second.routes[1].priority, 7);
    assert_eq!(second.slot_counts(), first.slot_counts());
}

#[test]
fn a_route_whose_middleware_changed_is_another_object_in_the_same_slot() {
    let mut snapshot = two();
    let kind = |origin: &str| MiddlewareKind::GrpcWeb(GrpcWeb { allow_origins: vec![origin.into()] });
    snapshot.middlewares = vec![Middleware { name: "m@f".into(), kind: kind("https://a") }];
    snapshot.routers[0].middlewares = vec!["m@f".into()];
    let first = table(&snapshot, None);
    assert_eq!(*first.routes[0].middlewares, [kind("https://a")]);
    snapshot.middlewares[0].kind = kind("*");
    let second = table(&snapshot, Some(&first));
    assert_eq!(*second.routes[0].middlewares, [kind("*")]);
    assert_eq!(first.routes[0].slot, second.routes[0].slot);
    assert!(Arc::ptr_eq(&first.routes[1], &second.routes[1]));
}

#[test]
fn a_changed_service_keeps_its_name_and_its_servers_keep_their_state() {
    let first = table(&two(), None);
    let mut changed = two();
    let servers = &mut balancer(&mut changed.services[0]).servers;
    servers[0].draining = true;
    servers.insert(0, Server::new("http://10.0.0.3"));
    let second = table(&changed, Some(&first));
    let (before, after) = (&first.services[0], &second.services[0]);
    assert_ne!(before.slot, after.slot);
    assert_eq!(before.name_slot, after.name_slot);
    assert_eq!(after.servers[1].slot, before.servers[0].slot);
    assert!(Arc::ptr_eq(&after.servers[1].live, &before.servers[0].live));
    assert!(after.servers[1].draining && !after.servers[1].is_usable());
    assert!(Arc::ptr_eq(&after.servers[2].live, &before.servers[1].live));
    assert!(first.services.iter().all(|s| s.servers.iter().all(|s| s.slot != after.servers[0].slot)));
    assert!(Arc::ptr_eq(&routed(&second, "a").unwrap().service, after));
}

#[test]
fn another_transport_makes_other_servers() {
    let mut snapshot = two();
    let slow = ServersTransport { name: "slow@f".into(), ..ServersTransport::default() };
    snapshot.servers_transports = vec![slow];
    balancer(&mut snapshot.services[0]).servers_transport = Some("slow@f".into());
    // The same values under another name are the same transport.
    let first = table(&two(), None);
    let second = table(&snapshot, Some(&first));
    assert_eq!(second.services[0].servers[0].slot, first.services[0].servers[0].slot);
    snapshot.servers_transports[0].dial_timeout = Duration::ZERO;
    let third = table(&snapshot, Some(&second));
    assert_ne!(third.services[0].slot, second.services[0].slot);
    assert_ne!(third.services[0].servers[0].slot, second.services[0].servers[0].slot);
    assert_eq!(third.services[0].servers[0].transport.dial_timeout, None);
    assert!(Arc::ptr_eq(&third.services[1], &first.services[1]));
}

#[test]
fn another_authority_makes_other_servers_and_the_same_one_does_not() {
    let mut snapshot = two();
    let mut secure = ServersTransport { name: "tls@f".into(), ..ServersTransport::default() };
    secure.tls.root_cas = vec![Pem::inline("one")];
    snapshot.servers_transports = vec![secure];
    balancer(&mut snapshot.services[0]).servers_transport = Some("tls@f".into());
    let first = table(&snapshot, None);
    let second = table(&snapshot.clone(), Some(&first));
    assert!(Arc::ptr_eq(&first.services[0], &second.services[0]));
    snapshot.servers_transports[0].tls.root_cas = vec![Pem::inline("two")];
    let third = table(&snapshot, Some(&second));
    assert_ne!(third.services[0].servers[0].slot, second.services[0].servers[0].slot);
    assert!(Arc::ptr_eq(&third.services[1], &first.services[1]));
}

#[test]
fn a_transport_named_default_is_what_services_use_that_name_none() {
    let quick = ServersTransport { dial_timeout: Duration::from_secs(1), ..ServersTransport::default() };
    let table = table(&Snapshot { servers_transports: vec![quick], ..two() }, None);
    assert_eq!(table.services[0].servers[0].transport.dial_timeout, Some(Duration::from_secs(1)));
}

#[test]
fn numbers_are_used_again_with_a_higher_generation_only() {
    let mut seen = std::collections::HashMap::new();
    let mut last = table(&two(), None);
    for round in 0..50u32 {
        let mut next = two();
        let server = Server::new(format!("http://10.1.0.{}", round % 200));
        next.services.push(spec(&format!("s{round}@f"), vec![server]));
        next.routers.push(router(&format!("r{round}@f"), "c", &format!("s{round}@f")));
        last = table(&next, Some(&last));
        let (route, service) = (&last.routes[2], &last.services[2]);
        for (kind, slot) in
            [route.slot, service.slot, service.name_slot, service.servers[0].slot].into_iter().enumerate()
        {
            let generation = seen.insert((kind, slot.index), slot.generation);
            assert!(generation.is_none_or(|before| before < slot.generation), "{kind} {slot:?}");
        }
        let counts = last.slot_counts();
        assert!(
            counts.routes <= 4 && counts.services <= 4 && counts.service_names <= 4 && counts.servers <= 5
        );
    }
}

#[test]
fn addresses_and_authorities_are_as_in_the_url() {
    let mut snapshot = two();
    let servers = &mut balancer(&mut snapshot.services[0]).servers;
    servers.push(Server { preserve_path: true, ..Server::new("http://[::1]:8080/base/") });
    servers.push(Server { id: "i-1".into(), ..Server::new("http://[::2]/base") });
    servers.push(Server::new("https://c.internal"));
    servers.push(Server::new("https://c.internal:80"));
    servers.push(Server::new("h2c://c.internal"));
    servers.push(Server::new("unix:/run/c.sock"));
    let table = table(&snapshot, None);
    let servers = &table.services[0].servers;
    let seen: Vec<_> =
        servers.iter().map(|s| (&*s.authority, &*s.host, s.port, &*s.path_prefix, &*s.id)).collect();
    assert_eq!(
        seen,
        [
            ("10.0.0.1:81", "10.0.0.1", 81, "", "http://10.0.0.1:81"),
            ("10.0.0.2", "10.0.0.2", 80, "", "http://10.0.0.2"),
            ("[::1]:8080", "::1", 8080, "/base", "http://[::1]:8080/base/"),
            ("[::2]", "::2", 80, "", "i-1"),
            ("c.internal", "c.internal", 443, "", "https://c.internal"),
            ("c.internal:80", "c.internal", 80, "", "https://c.internal:80"),
            ("c.internal", "c.internal", 80, "", "h2c://c.internal"),
            ("localhost", "localhost", 80, "", "unix:/run/c.sock"),
        ]
    );
    assert_eq!(servers[4].scheme, Scheme::Https);
    assert_eq!(servers[6].scheme, Scheme::H2c);
    assert_eq!(servers[7].unix.as_deref(), Some("/run/c.sock"));
    let address = servers[0].live.address.load().as_deref().copied();
    assert_eq!(address, Some(SocketAddr::from(([10, 0, 0, 1], 81))));
    assert!(table.services[1].servers[0].live.address.load().is_none());
}

#[test]
fn a_verdict_does_not_outlive_its_health_check() {
    let mut checked = two();
    balancer(&mut checked.services[0]).health_check = Some(HealthCheck::default());
    let first = table(&checked, None);
    first.services[0].servers[0].live.set_up(false);
    balancer(&mut checked.services[0]).health_check =
        Some(HealthCheck { path: "/x".into(), ..HealthCheck::default() });
    let second = table(&checked, Some(&first));
    assert!(!second.services[0].servers[0].live.is_up());
    let third = table(&two(), Some(&second));
    let server = &third.services[0].servers[0];
    assert!(server.live.is_up() && server.live.address.load().is_some());
    assert_eq!(server.slot, first.services[0].servers[0].slot);
}

#[test]
fn the_same_server_twice_is_two_servers() {
    let mut snapshot = two();
    let servers = &mut balancer(&mut snapshot.services[0]).servers;
    servers.push(servers[0].clone());
    let first = table(&snapshot, None);
    let slots = |table: &Table| table.services[0].servers.iter().map(|s| s.slot).collect::<Vec<_>>();
    assert_ne!(slots(&first)[0], slots(&first)[2]);
    balancer(&mut snapshot.services[0]).pass_host_header = false;
    let second = table(&snapshot, Some(&first));
    assert_eq!(slots(&first), slots(&second));
}

#[test]
fn routers_without_entry_points_are_on_the_default_ones() {
    let snapshot = Snapshot {
        routers: vec![
            router("all@f", "a", "a@f"),
            Router { entry_points: vec!["admin".into()], ..router("admin@f", "b", "a@f") },
        ],
        ..two()
    };
    let names = ["web".to_owned(), "admin".to_owned()];
    let report = check(&snapshot, &names);
    let on = |entry_points: &[EntryPointSpec]| {
        let table = compile(Arc::new(snapshot.clone()), &report, entry_points, None);
        let hit = |entry: u16, host| {
            table.route(EntryPointId(entry), false, &OwnedRequest::get(host, "/")).is_some()
        };
        assert_eq!(table.entry_point("admin"), Some(EntryPointId(1)));
        assert_eq!(table.entry_point("nope"), None);
        assert!(!hit(2, "a"));
        [hit(0, "a"), hit(1, "a"), hit(0, "b"), hit(1, "b")]
    };
    let mut specs = [EntryPointSpec::new("web"), EntryPointSpec::new("admin")];
    assert_eq!(on(&specs), [true, true, false, true]);
    specs[0].default = true;
    assert_eq!(on(&specs), [true, false, false, true]);
}

#[test]
fn what_has_errors_is_not_in_the_table() {
    let mut snapshot = two();
    snapshot.routers[0].rule = "(".into();
    snapshot.services.insert(0, spec("bad@f", vec![Server::new("https://")]));
    let first = table(&snapshot, None);
    assert_eq!(first.routes.iter().map(|r| &*r.name).collect::<Vec<_>>(), ["b@f"]);
    assert_eq!(first.services.len(), 2);
    assert!(routed(&first, "a").is_none() && routed(&first, "b").is_some());
    let second = table(&two(), Some(&first));
    assert!(routed(&second, "a").is_some() && first.service("bad@f").is_none());
    assert!(Arc::ptr_eq(second.service("b@f").unwrap(), first.service("b@f").unwrap()));
}

#[test]
fn an_empty_table_routes_nothing() {
    let table = Table::empty(&web());
    assert_eq!(table.version, 0);
    assert!(routed(&table, "a").is_none());
}
