//! TCP and UDP objects from table to table.

use super::*;
use crate::check::{check, check_after};
use crate::compiled::{KeepAlive, TcpServiceKind as Compiled, UdpServiceKind as CompiledUdp};
use crate::snapshot::tcp::{
    Tcp, TcpHealthCheck, TcpLoadBalancer, TcpRouter, TcpServer, TcpServersTransport, TcpService,
    TcpServiceKind, WeightedService,
};
use crate::snapshot::udp::{Udp, UdpRouter, UdpService, UdpServiceKind};

fn balanced(name: &str, addresses: &[&str]) -> TcpService {
    let servers = addresses.iter().map(|address| TcpServer::new(*address)).collect();
    let kind = TcpServiceKind::LoadBalancer(TcpLoadBalancer { servers, ..TcpLoadBalancer::default() });
    TcpService { name: name.into(), kind }
}

fn parts(names: &[&str]) -> Vec<WeightedService> {
    names.iter().map(|name| WeightedService { name: (*name).into(), weight: 1 }).collect()
}

fn balancer(service: &mut TcpService) -> &mut TcpLoadBalancer {
    match &mut service.kind {
        TcpServiceKind::LoadBalancer(balancer) => balancer,
        TcpServiceKind::Weighted(_) => panic!("a weighted service has no servers"),
    }
}

fn all() -> Snapshot {
    let router = |name: &str, rule: &str, service: &str| TcpRouter {
        name: name.into(),
        rule: rule.into(),
        service: service.into(),
        tls: Some(RouterTls::default()),
        ..TcpRouter::default()
    };
    let tcp = Tcp {
        routers: vec![router("a@f", "HostSNI(`a`)", "both@f"), router("b@f", "HostSNI(`b`)", "two@f")],
        services: vec![
            TcpService { name: "both@f".into(), kind: TcpServiceKind::Weighted(parts(&["one@f", "two@f"])) },
            balanced("one@f", &["10.0.0.1:1", "db.internal:2", "unix:/run/x.sock"]),
            balanced("two@f", &["10.0.0.2:1"]),
        ],
        ..Tcp::default()
    };
    let servers = vec!["10.0.0.1:53".into(), "dns.internal:53".into()];
    let udp = Udp {
        routers: vec![UdpRouter { name: "u@f".into(), service: "w@f".into(), ..UdpRouter::default() }],
        services: vec![
            UdpService { name: "w@f".into(), kind: UdpServiceKind::Weighted(parts(&["u@f"])) },
            UdpService { name: "u@f".into(), kind: UdpServiceKind::LoadBalancer(servers) },
        ],
    };
    Snapshot { version: 1, tcp, udp, ..Snapshot::default() }
}

fn table(snapshot: &Snapshot, previous: Option<&Table>) -> Table {
    let report = check_after(snapshot, &["web".into()], previous);
    assert!(!report.has_errors(), "{:?}", report.problems());
    compile(Arc::new(snapshot.clone()), &report, &[EntryPointSpec::new("web")], previous)
}

#[test]
fn unchanged_objects_are_the_same_objects() {
    let first = table(&all(), None);
    let second = table(&all(), Some(&first));
    assert!(first.tcp_routes.iter().zip(&second.tcp_routes).all(|(a, b)| Arc::ptr_eq(a, b)));
    assert!(first.tcp_services.iter().zip(&second.tcp_services).all(|(a, b)| Arc::ptr_eq(a, b)));
    assert!(first.udp_routes.iter().zip(&second.udp_routes).all(|(a, b)| Arc::ptr_eq(a, b)));
    assert!(first.udp_services.iter().zip(&second.udp_services).all(|(a, b)| Arc::ptr_eq(a, b)));
    assert_eq!(first.slot_counts(), second.slot_counts());
    let counts = first.slot_counts();
    assert_eq!((counts.tcp_routes, counts.tcp_services, counts.tcp_servers), (2, 3, 4));
    assert_eq!((counts.udp_routes, counts.udp_services, counts.udp_servers), (1, 2, 2));
}

#[test]
fn a_changed_part_changes_the_whole_and_keeps_its_slot() {
    let first = table(&all(), None);
    let mut changed = all();
    balancer(&mut changed.tcp.services[1]).servers[0].draining = true;
    let UdpServiceKind::LoadBalancer(servers) = &mut changed.udp.services[1].kind else { panic!() };
    servers.remove(0);
    let second = table(&changed, Some(&first));
    let names: Vec<&str> = second.tcp_services.iter().map(|service| &*service.name).collect();
    assert_eq!(names, ["both@f", "one@f", "two@f"]);
    let Compiled::Weighted(of_both) = &second.tcp_services[0].kind else { panic!() };
    assert!(Arc::ptr_eq(&of_both[0].service, &second.tcp_services[1]));
    assert!(Arc::ptr_eq(&of_both[1].service, &first.tcp_services[2]));
    assert!(Arc::ptr_eq(&second.tcp_routes[0].service, &second.tcp_services[0]));
    assert_eq!(first.tcp_services[0].slot, second.tcp_services[0].slot);
    assert_ne!(first.tcp_services[1].slot, second.tcp_services[1].slot);
    assert_eq!(first.tcp_services[1].name_slot, second.tcp_services[1].name_slot);
    let (before, after) = (&first.tcp_services[1].servers()[0], &second.tcp_services[1].servers()[0]);
    assert!(before.slot == after.slot && Arc::ptr_eq(&before.live, &after.live) && !after.is_usable());
    let CompiledUdp::Weighted(of_w) = &second.udp_services[0].kind else { panic!() };
    let kept = &of_w[0].service.servers()[0];
    assert!(Arc::ptr_eq(kept, &first.udp_services[1].servers()[1]));
}

#[test]
fn names_are_to_be_resolved_and_nothing_else() {
    let table = table(&all(), None);
    let named: Vec<_> = table.named_servers().map(|(host, port, _)| (&**host, port)).collect();
    assert_eq!(named, [("db.internal", 2), ("dns.internal", 53)]);
    let servers = table.tcp_services[1].servers();
    assert_eq!(servers[0].live.address.load().as_deref(), Some(&([10, 0, 0, 1], 1).into()));
    assert_eq!(servers[2].unix.as_deref(), Some("/run/x.sock"));
}

#[test]
fn the_proxy_protocol_of_a_service_counts_where_its_transport_says_nothing() {
    let mut snapshot = all();
    let transport = TcpServersTransport {
        name: "t@f".into(),
        proxy_protocol: Some(1),
        dial_keep_alive: None,
        ..TcpServersTransport::default()
    };
    snapshot.tcp.servers_transports = vec![transport];
    let one = balancer(&mut snapshot.tcp.services[1]);
    one.proxy_protocol = Some(2);
    one.servers_transport = Some("t@f".into());
    balancer(&mut snapshot.tcp.services[2]).proxy_protocol = Some(2);
    let first = table(&snapshot, None);
    let transport = |at: usize| &first.tcp_services[at].servers()[0].transport;
    assert_eq!((transport(1).proxy_protocol, transport(1).keep_alive), (Some(1), KeepAlive::Off));
    assert_eq!(transport(2).proxy_protocol, Some(2));
    let second = table(&snapshot, Some(&first));
    assert!(Arc::ptr_eq(&first.tcp_services[2], &second.tcp_services[2]));
}

#[test]
fn a_verdict_does_not_outlive_its_health_check() {
    let mut checked = all();
    balancer(&mut checked.tcp.services[1]).health_check = Some(TcpHealthCheck::default());
    let first = table(&checked, None);
    first.tcp_services[1].servers()[0].live.set_up(false);
    let second = table(&all(), Some(&first));
    assert!(second.tcp_services[1].servers()[0].live.is_up());
}

#[test]
fn other_options_of_a_router_are_another_route_with_the_same_slot() {
    let first = table(&all(), None);
    let mut changed = all();
    changed.tcp.routers[0].tls = Some(RouterTls { passthrough: true, ..RouterTls::default() });
    let second = table(&changed, Some(&first));
    assert_eq!(first.tcp_routes[0].slot, second.tcp_routes[0].slot);
    assert!(second.tcp_routes[0].tls.as_ref().is_some_and(|tls| tls.passthrough));
    assert!(Arc::ptr_eq(&first.tcp_routes[1], &second.tcp_routes[1]));
}

#[test]
fn what_has_errors_is_not_in_the_table() {
    let mut snapshot = all();
    balancer(&mut snapshot.tcp.services[1]).servers[0].address = "nowhere".into();
    let report = check(&snapshot, &["web".into()]);
    let table = compile(Arc::new(snapshot), &report, &[EntryPointSpec::new("web")], None);
    assert_eq!(table.tcp_services.iter().map(|s| &*s.name).collect::<Vec<_>>(), ["two@f"]);
    assert_eq!(table.tcp_routes.iter().map(|r| &*r.name).collect::<Vec<_>>(), ["b@f"]);
}
