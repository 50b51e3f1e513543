//! Look-up takes no memory: counted by the allocator.

use std::sync::Arc;

use pancake_table::check::check;
use pancake_table::compile::{EntryPointSpec, compile};
use pancake_table::compiled::Table;
use pancake_table::lookup::{EntryPointId, OwnedRequest, TcpConnection};
use pancake_table::snapshot::tcp::{Tcp, TcpLoadBalancer, TcpRouter, TcpService, TcpServiceKind};
use pancake_table::snapshot::tls::RouterTls;
use pancake_table::snapshot::{LoadBalancer, Router, Service, ServiceKind, Snapshot};

fn table(rules: Vec<String>) -> Table {
    let router = |(i, rule): (usize, String)| Router {
        name: format!("r{i}@f"),
        rule,
        service: "s@f".into(),
        ..Router::default()
    };
    let kind = ServiceKind::LoadBalancer(LoadBalancer::default());
    let snapshot = Snapshot {
        routers: rules.into_iter().enumerate().map(router).collect(),
        services: vec![Service { name: "s@f".into(), kind }],
        ..Snapshot::default()
    };
    let report = check(&snapshot, &["web".into()]);
    assert!(!report.has_errors(), "{:?}", report.problems());
    compile(Arc::new(snapshot), &report, &[EntryPointSpec::new("web")], None)
}

#[test]
fn a_look_up_of_a_connection_allocates_nothing() {
    let tls = Some(RouterTls::default());
    let mut rules: Vec<String> = (0..200).map(|i| format!("HostSNI(`h{i}`) || HostSNI(`*.w{i}`)")).collect();
    rules.extend(["HostSNIRegexp(`^r[0-9]+$`)", "HostSNI(`many`) && ALPN(`h2`)"].map(String::from));
    let router = |(i, rule): (usize, &String)| TcpRouter {
        name: format!("r{i}@f"),
        rule: rule.clone(),
        service: "s@f".into(),
        tls: tls.clone(),
        ..TcpRouter::default()
    };
    let kind = TcpServiceKind::LoadBalancer(TcpLoadBalancer::default());
    let tcp = Tcp {
        routers: rules.iter().enumerate().map(router).collect(),
        services: vec![TcpService { name: "s@f".into(), kind }],
        ..Tcp::default()
    };
    let snapshot = Snapshot { tcp, ..Snapshot::default() };
    let report = check(&snapshot, &["web".into()]);
    assert!(!report.has_errors(), "{:?}", report.problems());
    let table = compile(Arc::new(snapshot), &report, &[EntryPointSpec::new("web")], None);
    let offered = [&b"http/1.1"[..], b"h2"];
    for (sni, found) in [("h7", true), ("x.w9", true), ("r12", true), ("many", true), ("", false)] {
        let alpn = offered.iter().copied();
        let client_ip = [127, 0, 0, 1].into();
        let connection = TcpConnection { sni: Some(sni), alpn, client_ip, secure: true };
        let look_up = || {
            table.tls_options(EntryPointId(0), sni);
            table.serves_tls_host(EntryPointId(0), sni);
            table.tcp_route(EntryPointId(0), &connection).is_some()
        };
        assert_eq!(look_up(), found, "{sni}");
        let counted = allocation_counter::measure(|| {
            for _ in 0..100 {
                look_up();
            }
        });
        assert_eq!(counted.count_total, 0, "{sni}");
    }
}

#[test]
fn a_look_up_allocates_nothing() {
    let mut rules: Vec<String> =
        (0..200).map(|i| format!("Host(`h{i}`) && PathPrefix(`/a{}`)", i % 7)).collect();
    rules.extend((0..100).map(|i| format!("Host(`many`) && Path(`/a{i}`)")));
    rules.extend((0..100).map(|i| format!("PathPrefix(`/p{i}/`) && Header(`X-A`, `1`)")));
    rules.extend(
        ["HostRegexp(`^r[0-9]+\\.x$`)", "Host(`*.wild`)", "Query(`a`, `b c`)", "ClientIP(`10.0.0.0/8`)"]
            .map(String::from),
    );
    let table = table(rules);
    for (host, target, found) in [
        ("h77", "/a0/x", true),
        ("h77", "/b", false),
        ("many", "/a42", true),
        ("q", "/p42/x", true),
        ("r12.x", "/", true),
        ("a.wild", "/", true),
        ("q", "/?a=b%20c", true),
        ("q", "/", false),
    ] {
        let mut request = OwnedRequest::get(host, target);
        request.headers.push(("x-a".into(), b"1".to_vec()));
        let look_up = || table.route(EntryPointId(0), false, &request).is_some();
        // A regular expression makes its cache at its first use by a thread.
        assert_eq!(look_up(), found, "{host}{target}");
        let counted = allocation_counter::measure(|| {
            for _ in 0..100 {
                look_up();
            }
        });
        assert_eq!(counted.count_total, 0, "{host}{target}");
    }
}
