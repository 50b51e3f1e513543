//! Checks of TCP, UDP and TLS objects.

use super::*;
use crate::limits::{MAX_SERVICE_DEPTH, MAX_TLS_LIST};
use crate::snapshot::tcp::{Tcp, TcpLoadBalancer, TcpRouter, TcpServer, TcpService, WeightedService};
use crate::snapshot::tls::{
    Certificate, ClientAuth, ClientAuthMode, Domain, Pem, RouterTls, ServersTls, Store, Tls, TlsOptions,
    TlsVersion,
};
use crate::snapshot::udp::{Udp, UdpRouter, UdpService};
use crate::snapshot::{LoadBalancer, Router, ServersTransport, Service};

/// `object: field` of every problem.
fn fields(snapshot: &Snapshot) -> Vec<String> {
    let report = check(snapshot, &["web".into()]);
    report.problems().iter().map(|p| format!("{}: {}", p.object, p.field)).collect()
}

fn balanced(name: &str, address: &str) -> TcpService {
    let servers = vec![TcpServer::new(address)];
    let kind = TcpServiceKind::LoadBalancer(TcpLoadBalancer { servers, ..TcpLoadBalancer::default() });
    TcpService { name: name.into(), kind }
}

fn weighted(name: &str, parts: &[&str]) -> TcpService {
    let parts = parts.iter().map(|name| WeightedService { name: (*name).into(), weight: 1 }).collect();
    TcpService { name: name.into(), kind: TcpServiceKind::Weighted(parts) }
}

fn router(rule: &str, service: &str, tls: Option<RouterTls>) -> TcpRouter {
    TcpRouter { name: "r@f".into(), rule: rule.into(), service: service.into(), tls, ..TcpRouter::default() }
}

fn tcp(routers: Vec<TcpRouter>, services: Vec<TcpService>) -> Snapshot {
    Snapshot { tcp: Tcp { routers, services, ..Tcp::default() }, ..Snapshot::default() }
}

#[test]
fn services_that_lead_back_to_themselves_are_errors() {
    let services = vec![
        weighted("a@f", &["b@f", "good@f"]),
        weighted("b@f", &["a@f"]),
        weighted("behind@f", &["a@f"]),
        weighted("self@f", &["self@f"]),
        balanced("good@f", "10.0.0.1:1"),
        weighted("sound@f", &["good@f", "good@f"]),
    ];
    let snapshot = tcp(vec![router("HostSNI(`*`)", "sound@f", None)], services);
    let expected = ["a@f", "b@f", "behind@f", "self@f"];
    assert_eq!(fields(&snapshot), expected.map(|name| format!("tcp service {name}: weighted.services")));
    let report = check(&snapshot, &["web".into()]);
    assert!(report.tcp_router_serves(0));
    assert_eq!(report.tcp_services, [4, 5]);
}

#[test]
fn services_with_faulty_parts_are_faulty() {
    let services = vec![
        weighted("a@f", &["b@f"]),
        weighted("b@f", &["bad@f"]),
        balanced("bad@f", "nowhere"),
        weighted("c@f", &["nothing@f"]),
    ];
    let found = fields(&tcp(vec![router("HostSNI(`*`)", "a@f", None)], services));
    let expected = [
        "tcp service bad@f: loadBalancer.servers[0].address",
        "tcp service c@f: weighted.services[0].name",
        "tcp service b@f: weighted.services[0].name",
        "tcp service a@f: weighted.services[0].name",
        "tcp router r@f: service",
    ];
    assert_eq!(found, expected);
}

#[test]
fn services_inside_each_other_are_bounded() {
    let mut services = vec![balanced("s0@f", "10.0.0.1:1")];
    for depth in 1..200_000 {
        services.push(weighted(&format!("s{depth}@f"), &[&format!("s{}@f", depth - 1)]));
    }
    let report = check(&tcp(vec![], services), &["web".into()]);
    assert_eq!(report.tcp_services.len(), MAX_SERVICE_DEPTH + 1);
    assert!(report.problems()[0].message.contains("weighted services inside each other"));
}

#[test]
fn a_plain_router_cannot_ask_for_a_name() {
    let services = || vec![balanced("s@f", "10.0.0.1:1")];
    let plain = |rule: &str| fields(&tcp(vec![router(rule, "s@f", None)], services()));
    assert!(plain("HostSNI(`*`) && !ClientIP(`10.0.0.1`)").is_empty());
    for rule in ["HostSNI(`a`)", "!HostSNI(`*.a`)", "HostSNI(`*`) || HostSNIRegexp(`a`)"] {
        assert_eq!(plain(rule), ["tcp router r@f: rule"], "{rule}");
        let tls = Some(RouterTls::default());
        assert!(fields(&tcp(vec![router(rule, "s@f", tls)], services())).is_empty());
    }
    let report = check(&tcp(vec![router("ALPN(`h2`)", "s@f", None)], services()), &["web".into()]);
    assert!(!report.has_errors() && report.problems().len() == 1);
}

#[test]
fn http_and_tcp_rules_are_not_mixed_up() {
    let report =
        check(&tcp(vec![router("Path(`/`)", "s@f", None)], vec![balanced("s@f", "a:1")]), &["web".into()]);
    let text = report.problems()[0].to_string();
    assert_eq!(text, "tcp router r@f: rule at byte 0: there is no matcher `Path`: it is for HTTP routers");
}

fn http(tls: RouterTls) -> Snapshot {
    let kind = ServiceKind::LoadBalancer(LoadBalancer::default());
    let router = Router {
        name: "r@f".into(),
        rule: "Host(`a`)".into(),
        service: "s@f".into(),
        tls: Some(tls),
        ..Router::default()
    };
    Snapshot {
        routers: vec![router],
        services: vec![Service { name: "s@f".into(), kind }],
        ..Snapshot::default()
    }
}

#[test]
fn a_router_with_options_that_are_not_sound_does_not_serve() {
    let strict = || RouterTls { options: Some("strict@f".into()), ..RouterTls::default() };
    let mut snapshot = http(strict());
    assert_eq!(fields(&snapshot), ["router r@f: tls.options"]);
    let auth = ClientAuth { authorities: vec![], mode: ClientAuthMode::RequireAndVerify, crls: vec![] };
    let options = TlsOptions { name: "strict@f".into(), client_auth: Some(auth), ..TlsOptions::default() };
    snapshot.tls.options = vec![options];
    assert_eq!(fields(&snapshot), ["tls options strict@f: clientAuth.caFiles", "router r@f: tls.options"]);
    assert!(!check(&snapshot, &["web".into()]).router_serves(0));
    snapshot.tls.options[0].client_auth = None;
    assert!(fields(&snapshot).is_empty());
}

#[test]
fn different_options_for_one_host_are_a_warning_where_they_meet() {
    let mut snapshot = http(RouterTls::default());
    snapshot.tls.options = vec![TlsOptions { name: "strict@f".into(), ..TlsOptions::default() }];
    let tls = Some(RouterTls { options: Some("strict@f".into()), ..RouterTls::default() });
    let other = Router { name: "r2@f".into(), tls, ..snapshot.routers[0].clone() };
    snapshot.routers.push(other);
    let names = ["web".to_owned(), "other".to_owned()];
    let report = check(&snapshot, &names);
    assert!(!report.has_errors());
    let [problem] = report.problems() else { panic!("{:?}", report.problems()) };
    assert_eq!((&*problem.object, &*problem.field), ("router r2@f", "tls.options"));
    snapshot.routers[0].entry_points = vec!["web".into()];
    snapshot.routers[1].entry_points = vec!["other".into()];
    assert_eq!(check(&snapshot, &names).problems(), []);
}

#[test]
fn says_what_is_wrong_with_tls() {
    let pem = || Pem::inline("-----BEGIN CERTIFICATE-----");
    let options = TlsOptions {
        name: "o@f".into(),
        min_version: TlsVersion::Tls13,
        max_version: TlsVersion::Tls12,
        cipher_suites: vec![String::new()],
        alpn: vec!["h2".into(); MAX_TLS_LIST + 1],
        ..TlsOptions::default()
    };
    let certificate = Certificate { name: "c@f".into(), cert: pem(), ..Certificate::default() };
    let store = Store {
        name: "default".into(),
        default_certificate: Some(certificate.clone()),
        default_generated: None,
    };
    let servers = ServersTls {
        server_name: Some("a b".into()),
        root_cas: vec![Pem::default()],
        certificates: vec![certificate.clone()],
        peer_cert_uri: Some("a b".into()),
        ..ServersTls::default()
    };
    let transport = ServersTransport { name: "t@f".into(), tls: servers, ..ServersTransport::default() };
    let tls = Tls { certificates: vec![certificate], options: vec![options], stores: vec![store] };
    let snapshot = Snapshot { tls, servers_transports: vec![transport], ..Snapshot::default() };
    let expected = [
        "serversTransport t@f: serverName",
        "serversTransport t@f: rootCAs",
        "serversTransport t@f: certificates[0].keyFile",
        "serversTransport t@f: peerCertURI",
        "tls certificate c@f: keyFile",
        "tls options o@f: minVersion",
        "tls options o@f: cipherSuites[0]",
        "tls options o@f: alpnProtocols",
        "tls store default: defaultCertificate.keyFile",
    ];
    assert_eq!(fields(&snapshot), expected);
}

#[test]
fn domains_are_host_names() {
    let domains = vec![
        Domain { main: "*.a.x".into(), sans: vec!["a.x".into()] },
        Domain { main: "a/b".into(), sans: vec!["c.x".into(), String::new()] },
    ];
    let found = fields(&http(RouterTls { domains, ..RouterTls::default() }));
    assert_eq!(found, ["router r@f: tls.domains[1].main", "router r@f: tls.domains[1].sans[1]"]);
}

#[test]
fn udp_objects_are_checked_like_others() {
    let services = vec![
        UdpService {
            name: "s@f".into(),
            kind: UdpServiceKind::LoadBalancer(vec!["a:53".into(), "b".into()]),
        },
        UdpService { name: "w@f".into(), kind: UdpServiceKind::Weighted(vec![]) },
    ];
    let router = |name: &str, service: &str| UdpRouter {
        name: name.into(),
        entry_points: vec!["nope".into()],
        service: service.into(),
    };
    let udp = Udp { routers: vec![router("a@f", "s@f"), router("b@f", "")], services };
    let found = fields(&Snapshot { udp, ..Snapshot::default() });
    let expected = [
        "udp service s@f: loadBalancer.servers[1].address",
        "udp router a@f: entryPoints",
        "udp router a@f: entryPoints",
        "udp router a@f: service",
        "udp router b@f: entryPoints",
        "udp router b@f: entryPoints",
        "udp router b@f: service",
    ];
    assert_eq!(found, expected);
}
