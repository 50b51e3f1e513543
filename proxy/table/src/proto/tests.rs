use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use prost::Message;

use super::generated as pb;
use crate::check::check;
use crate::limits::{MAX_NAME_BYTES, MAX_PROBLEMS, MAX_RULE_BYTES};
use crate::snapshot::middlewares::{GrpcWeb, Middleware, MiddlewareKind};
use crate::snapshot::tcp::{
    Tcp, TcpHealthCheck, TcpLoadBalancer, TcpRouter, TcpServer, TcpServersTransport, TcpService,
    TcpServiceKind, WeightedService,
};
use crate::snapshot::tls::{
    Certificate, ClientAuth, ClientAuthMode, Domain, GeneratedCertificate, Pem, RouterTls, ServersTls, Store,
    Tls, TlsOptions, TlsVersion,
};
use crate::snapshot::udp::{Udp, UdpRouter, UdpService, UdpServiceKind};
use crate::snapshot::{
    HealthCheck, HealthMode, LoadBalancer, Router, Server, ServersTransport, Service, ServiceKind, Snapshot,
};

fn round_trip(snapshot: &Snapshot) -> Snapshot {
    let bytes = pb::Snapshot::from(snapshot).encode_to_vec();
    Snapshot::try_from(pb::Snapshot::decode(&*bytes).unwrap()).unwrap()
}

fn full() -> Snapshot {
    let check = HealthCheck {
        mode: HealthMode::Http,
        path: "/h".into(),
        scheme: Some("http".into()),
        method: "HEAD".into(),
        status: Some(204),
        port: Some(81),
        interval: Duration::from_millis(1_500),
        unhealthy_interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        hostname: Some("h".into()),
        follow_redirects: false,
        headers: BTreeMap::from([("a".into(), "b".into())]),
    };
    let server =
        Server { weight: 0, preserve_path: true, draining: true, id: "i".into(), ..Server::new("http://a") };
    let balancer = LoadBalancer {
        servers: vec![server, Server::new("http://b")],
        pass_host_header: false,
        health_check: Some(check),
        servers_transport: Some("t@f".into()),
    };
    let transport = ServersTransport {
        name: "t@f".into(),
        max_idle_conns_per_host: 0,
        dial_timeout: Duration::ZERO,
        response_header_timeout: Duration::from_secs(3),
        idle_conn_timeout: Duration::ZERO,
        disable_http2: true,
        read_idle_timeout: Duration::from_secs(4),
        ping_timeout: Duration::ZERO,
        tls: servers_tls(),
    };
    Snapshot {
        version: 9,
        routers: vec![Router {
            name: "r@f".into(),
            entry_points: vec!["web".into()],
            rule: "Host(`a`)".into(),
            priority: -3,
            middlewares: vec!["m@f".into()],
            service: "s@f".into(),
            tls: Some(router_tls()),
        }],
        middlewares: vec![Middleware {
            name: "m@f".into(),
            kind: MiddlewareKind::GrpcWeb(GrpcWeb { allow_origins: vec!["*".into()] }),
        }],
        services: vec![
            Service { name: "s@f".into(), kind: ServiceKind::LoadBalancer(balancer) },
            Service { name: "d@f".into(), kind: ServiceKind::LoadBalancer(LoadBalancer::default()) },
        ],
        servers_transports: vec![transport, ServersTransport::default()],
        tls: tls(),
        tcp: tcp(),
        udp: udp(),
    }
}

fn pem(what: &str) -> Pem {
    Pem::inline(format!("-----BEGIN {what}-----\nAA==\n-----END {what}-----\n"))
}

fn certificate(name: &str) -> Certificate {
    let (cert, key) = (pem("CERTIFICATE"), pem("PRIVATE KEY"));
    Certificate { name: name.into(), cert, key, ocsp: vec![0x30, 0x00] }
}

fn domain() -> Domain {
    Domain { main: "a.x".into(), sans: vec!["*.a.x".into()] }
}

fn router_tls() -> RouterTls {
    RouterTls {
        options: Some("o@f".into()),
        cert_resolver: Some("le".into()),
        domains: vec![domain()],
        passthrough: true,
    }
}

fn servers_tls() -> ServersTls {
    ServersTls {
        server_name: Some("b.x".into()),
        insecure_skip_verify: true,
        root_cas: vec![pem("CERTIFICATE")],
        certificates: vec![certificate("")],
        cipher_suites: vec!["TLS_X".into()],
        min_version: Some(TlsVersion::Tls13),
        max_version: None,
        peer_cert_uri: Some("spiffe://x".into()),
    }
}

fn tls() -> Tls {
    let auth = ClientAuth {
        authorities: vec![pem("CERTIFICATE")],
        mode: ClientAuthMode::RequireAndVerify,
        crls: vec![pem("X509 CRL")],
    };
    let options = TlsOptions {
        name: "o@f".into(),
        min_version: TlsVersion::Tls13,
        cipher_suites: vec!["TLS_X".into()],
        curves: vec!["X25519".into()],
        alpn: vec![],
        sni_strict: true,
        client_auth: Some(auth),
        disable_session_tickets: true,
        ..TlsOptions::default()
    };
    let generated = GeneratedCertificate { resolver: "le".into(), domain: domain() };
    let stores = vec![
        Store { default_certificate: Some(certificate("d")), ..Store::default() },
        Store { name: "default".into(), default_certificate: None, default_generated: Some(generated) },
    ];
    Tls { certificates: vec![certificate("c@f")], options: vec![options, TlsOptions::default()], stores }
}

fn parts() -> Vec<WeightedService> {
    vec![WeightedService { name: "s@f".into(), weight: 0 }, WeightedService { name: "s@f".into(), weight: 3 }]
}

fn tcp() -> Tcp {
    let check = TcpHealthCheck {
        port: Some(81),
        send: Some("PING\r\n".into()),
        expect: Some(String::new()),
        interval: Duration::from_secs(1),
        unhealthy_interval: Duration::from_secs(2),
        timeout: Duration::from_millis(3),
    };
    let server =
        TcpServer { tls: true, weight: 0, draining: true, id: "i".into(), ..TcpServer::new("db:5432") };
    let balancer = TcpLoadBalancer {
        servers: vec![server, TcpServer::new("unix:/run/db.sock")],
        servers_transport: Some("t@f".into()),
        health_check: Some(check),
        proxy_protocol: Some(2),
    };
    let transport = TcpServersTransport {
        name: "t@f".into(),
        dial_timeout: Duration::ZERO,
        dial_keep_alive: None,
        termination_delay: Duration::ZERO,
        proxy_protocol: Some(1),
        tls: servers_tls(),
    };
    let system =
        TcpServersTransport { dial_keep_alive: Some(Duration::ZERO), ..TcpServersTransport::default() };
    Tcp {
        routers: vec![TcpRouter {
            name: "r@f".into(),
            entry_points: vec!["web".into()],
            rule: "HostSNI(`a`)".into(),
            priority: -3,
            middlewares: vec!["m@f".into()],
            service: "s@f".into(),
            tls: Some(router_tls()),
        }],
        services: vec![
            TcpService { name: "s@f".into(), kind: TcpServiceKind::LoadBalancer(balancer) },
            TcpService { name: "w@f".into(), kind: TcpServiceKind::Weighted(parts()) },
        ],
        servers_transports: vec![transport, system, TcpServersTransport::default()],
    }
}

fn udp() -> Udp {
    Udp {
        routers: vec![UdpRouter {
            name: "r@f".into(),
            entry_points: vec!["dns".into()],
            service: "s@f".into(),
        }],
        services: vec![
            UdpService { name: "s@f".into(), kind: UdpServiceKind::LoadBalancer(vec!["a:53".into()]) },
            UdpService { name: "w@f".into(), kind: UdpServiceKind::Weighted(parts()) },
        ],
    }
}

#[test]
fn a_path_is_refused_where_a_text_is_expected() {
    let mut snapshot = full();
    snapshot.tls.certificates[0].cert = Pem::file("/etc/cert.pem");
    snapshot.tls.certificates[0].key = Pem::inline("/etc/key.pem");
    snapshot.tcp.servers_transports[0].tls.root_cas = vec![Pem::file("/etc/ca.pem")];
    let problems = Snapshot::try_from(pb::Snapshot::from(&snapshot)).unwrap_err();
    let found: Vec<String> = problems.iter().map(|p| format!("{}: {}", p.object, p.field)).collect();
    let expected = [
        "tls certificate c@f: certFile",
        "tls certificate c@f: keyFile",
        "tcp serversTransport t@f: rootCAs",
    ];
    assert_eq!(found, expected);
    assert!(
        problems.iter().all(|p| p.message.contains("contents, not paths") && !p.message.contains("/etc"))
    );
}

#[test]
fn what_this_version_does_not_know_is_refused() {
    let mut message = pb::Snapshot::from(&full());
    let tls = message.tls.as_mut().unwrap();
    tls.options[0].min_version = 99;
    tls.options[0].client_auth.as_mut().unwrap().mode = 99;
    let tcp = message.tcp.as_mut().unwrap();
    tcp.services[1].kind = None;
    tcp.servers_transports[0].proxy_protocol = 256;
    message.udp.as_mut().unwrap().services[0].kind = None;
    let problems = Snapshot::try_from(message).unwrap_err();
    let fields: Vec<&str> = problems.iter().map(|p| &*p.field).collect();
    assert_eq!(fields, ["minVersion", "clientAuth.clientAuthType", "", "proxyProtocol.version", ""]);
}

#[test]
fn a_million_certificates_and_tcp_servers_are_refused_at_once() {
    let tls = pb::Tls { certificates: vec![pb::Certificate::default(); 1_000_000], ..pb::Tls::default() };
    let balancer = pb::TcpLoadBalancer {
        servers: vec![pb::TcpServer::default(); 1_000_000],
        ..pb::TcpLoadBalancer::default()
    };
    let kind = Some(pb::tcp_service::Kind::LoadBalancer(balancer));
    let services = vec![pb::TcpService { name: "s".into(), kind }];
    let tcp = pb::Tcp { services, ..pb::Tcp::default() };
    let message = pb::Snapshot { tls: Some(tls), tcp: Some(tcp), ..pb::Snapshot::default() };
    assert_eq!(Snapshot::try_from(message).unwrap_err().len(), 2);
}

#[test]
fn nothing_is_lost_on_the_way() {
    assert_eq!(round_trip(&full()), full());
    assert_eq!(round_trip(&Snapshot::default()), Snapshot::default());
}

#[test]
fn a_short_timeout_does_not_become_none() {
    let mut snapshot = full();
    snapshot.servers_transports[0].dial_timeout = Duration::from_micros(10);
    assert_eq!(round_trip(&snapshot).servers_transports[0].dial_timeout, Duration::from_millis(1));
}

#[test]
fn what_is_unset_has_the_documented_default() {
    let balancer = pb::LoadBalancer {
        servers: vec![pb::Server { url: "http://a".into(), ..pb::Server::default() }],
        health_check: Some(pb::HealthCheck {
            path: "/h".into(),
            interval_ms: 1_000,
            ..pb::HealthCheck::default()
        }),
        ..pb::LoadBalancer::default()
    };
    let message = pb::Snapshot {
        services: vec![pb::Service {
            name: "s".into(),
            kind: Some(pb::service::Kind::LoadBalancer(balancer)),
        }],
        servers_transports: vec![pb::ServersTransport { name: "default".into(), ..Default::default() }],
        ..pb::Snapshot::default()
    };
    let snapshot = Snapshot::try_from(message).unwrap();
    let expected = HealthCheck {
        path: "/h".into(),
        interval: Duration::from_secs(1),
        unhealthy_interval: Duration::from_secs(1),
        ..HealthCheck::default()
    };
    let ServiceKind::LoadBalancer(balancer) = &snapshot.services[0].kind;
    assert_eq!(balancer.servers, [Server::new("http://a")]);
    assert!(balancer.pass_host_header);
    assert_eq!(balancer.health_check.as_ref(), Some(&expected));
    assert_eq!(snapshot.servers_transports, [ServersTransport::default()]);
}

#[test]
fn names_everything_that_is_too_large() {
    let mut message = pb::Snapshot::from(&full());
    message.routers[0].rule = "x".repeat(MAX_RULE_BYTES + 1);
    message.routers[0].name = "ä".repeat(MAX_NAME_BYTES);
    message.services[1].kind = None;
    let Some(pb::service::Kind::LoadBalancer(balancer)) = &mut message.services[0].kind else { panic!() };
    balancer.health_check.as_mut().unwrap().port = 65_536;
    let problems = Snapshot::try_from(message).unwrap_err();
    let fields: Vec<&str> = problems.iter().map(|p| &*p.field).collect();
    assert_eq!(fields, ["name", "rule", "loadBalancer.healthCheck.port", ""]);
    assert!(problems.iter().all(|p| p.object.len() <= MAX_NAME_BYTES + 64));
}

#[test]
fn a_million_routers_are_refused_at_once() {
    let message = pb::Snapshot { routers: vec![pb::Router::default(); 1_000_000], ..pb::Snapshot::default() };
    let bytes = message.encode_to_vec();
    let started = Instant::now();
    let problems = Snapshot::try_from(pb::Snapshot::decode(&*bytes).unwrap()).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("1000000 routers, at most 200000"));
}

#[test]
fn the_list_of_problems_is_bounded() {
    let service = pb::Service { name: "s".into(), kind: None };
    let message = pb::Snapshot { services: vec![service; 10_000], ..pb::Snapshot::default() };
    assert_eq!(Snapshot::try_from(message).unwrap_err().len(), MAX_PROBLEMS);
}

#[test]
fn huge_lengths_are_refused_before_memory_is_taken() {
    // Field 2 (routers), length 2^63; and a router whose name claims 2^40 bytes.
    for bytes in [&b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f"[..], b"\x12\x07\x0a\x80\x80\x80\x80\x80\x20"] {
        assert!(pb::Snapshot::decode(bytes).is_err());
    }
}

#[test]
fn the_descriptor_names_the_service() {
    let descriptor = super::FILE_DESCRIPTOR_SET;
    assert!(descriptor.windows(18).any(|w| w == b"pancake.routing.v1"));
    assert!(descriptor.windows(7).any(|w| w == b"Routing"));
}

proptest! {
    #[test]
    fn random_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        if let Ok(message) = pb::Snapshot::decode(&*bytes)
            && let Ok(snapshot) = Snapshot::try_from(message)
        {
            check(&snapshot, &["web".into()]);
        }
    }

    #[test]
    fn spoiled_messages_are_read_or_refused(spoil in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut: prop::sample::Index) {
        let mut bytes = pb::Snapshot::from(&full()).encode_to_vec();
        for (at, byte) in spoil {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() * 2));
        if let Ok(message) = pb::Snapshot::decode(&*bytes)
            && let Ok(snapshot) = Snapshot::try_from(message)
        {
            check(&snapshot, &["web".into()]);
            prop_assert_eq!(&round_trip(&snapshot), &snapshot);
        }
    }
}
