use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::check::check;
use crate::compile::{EntryPointSpec, compile};
use crate::snapshot::tcp::{Tcp, TcpLoadBalancer, TcpRouter, TcpService, TcpServiceKind};
use crate::snapshot::tls::{RouterTls, Tls, TlsOptions};
use crate::snapshot::udp::{Udp, UdpRouter, UdpService, UdpServiceKind};
use crate::snapshot::{LoadBalancer, Router, Service, ServiceKind, Snapshot};

const WEB: EntryPointId = EntryPointId(0);

type Offered = std::vec::IntoIter<&'static [u8]>;

fn over_tls(sni: &'static str, alpn: &[&'static str]) -> TcpConnection<'static, Offered> {
    let alpn: Vec<&[u8]> = alpn.iter().map(|name| name.as_bytes()).collect();
    let client_ip = IpAddr::from([127, 0, 0, 1]);
    TcpConnection {
        sni: Some(sni).filter(|name| !name.is_empty()),
        alpn: alpn.into_iter(),
        client_ip,
        secure: true,
    }
}

fn plain(client_ip: [u8; 4]) -> TcpConnection<'static, Offered> {
    TcpConnection { sni: None, alpn: Vec::new().into_iter(), client_ip: client_ip.into(), secure: false }
}

fn tls() -> Option<RouterTls> {
    Some(RouterTls::default())
}

fn with_options(name: &str) -> Option<RouterTls> {
    Some(RouterTls { options: Some(name.into()), ..RouterTls::default() })
}

fn tcp(name: &str, rule: &str, tls: Option<RouterTls>) -> TcpRouter {
    TcpRouter { name: name.into(), rule: rule.into(), service: "s@f".into(), tls, ..TcpRouter::default() }
}

fn http(name: &str, rule: &str, tls: Option<RouterTls>) -> Router {
    Router { name: name.into(), rule: rule.into(), service: "s@f".into(), tls, ..Router::default() }
}

fn snapshot(routers: Vec<Router>, tcp_routers: Vec<TcpRouter>) -> Snapshot {
    let options = |name: &str| TlsOptions { name: name.into(), ..TlsOptions::default() };
    let kind = ServiceKind::LoadBalancer(LoadBalancer::default());
    let tcp_kind = TcpServiceKind::LoadBalancer(TcpLoadBalancer::default());
    Snapshot {
        routers,
        services: vec![Service { name: "s@f".into(), kind }],
        tcp: Tcp {
            routers: tcp_routers,
            services: vec![TcpService { name: "s@f".into(), kind: tcp_kind }],
            ..Tcp::default()
        },
        tls: Tls { options: vec![options("strict@f"), options("old@f")], ..Tls::default() },
        ..Snapshot::default()
    }
}

fn table_of(snapshot: Snapshot) -> Table {
    let report = check(&snapshot, &["web".into()]);
    assert!(!report.has_errors(), "{:?}", report.problems());
    compile(Arc::new(snapshot), &report, &[EntryPointSpec::new("web")], None)
}

fn table(routers: Vec<Router>, tcp_routers: Vec<TcpRouter>) -> Table {
    table_of(snapshot(routers, tcp_routers))
}

fn routed<'t>(table: &'t Table, connection: &TcpConnection<'static, Offered>) -> Option<&'t str> {
    table.tcp_route(WEB, connection).map(|route| &*route.name)
}

#[test]
fn routers_with_tls_take_connections_with_tls_and_no_others() {
    let table = table(
        vec![],
        vec![
            tcp("plain@f", "HostSNI(`*`)", None),
            tcp("any@f", "HostSNI(`*`)", tls()),
            tcp("a@f", "HostSNI(`A.x.`)", tls()),
            tcp("wild@f", "HostSNI(`*.y`)", tls()),
            tcp("alpn@f", "HostSNI(`a.x`) && ALPN(`mqtt`)", tls()),
            tcp("re@f", "HostSNIRegexp(`^[0-9]+\\.z$`)", tls()),
        ],
    );
    for (sni, alpn, found) in [
        ("", &[][..], "any@f"),
        ("a.x", &[], "a@f"),
        ("a.x", &["h2", "mqtt"], "alpn@f"),
        ("b.y", &[], "wild@f"),
        ("c.b.y", &[], "any@f"),
        ("12.z", &[], "re@f"),
    ] {
        assert_eq!(routed(&table, &over_tls(sni, alpn)), Some(found), "{sni}");
    }
    assert_eq!(routed(&table, &plain([10, 0, 0, 1])), Some("plain@f"));
    let catch_alls = table.tcp_routes.iter().filter(|route| route.is_catch_all);
    assert_eq!(catch_alls.map(|route| route.priority).collect::<Vec<_>>(), [-1, -1]);
}

#[test]
fn plain_routers_may_ask_for_the_address_of_the_client() {
    let rule = "HostSNI(`*`) && ClientIP(`10.0.0.0/8`)";
    let table = table(vec![], vec![tcp("near@f", rule, None)]);
    assert_eq!(routed(&table, &plain([10, 1, 1, 1])), Some("near@f"));
    assert_eq!(routed(&table, &plain([11, 1, 1, 1])), None);
}

#[test]
fn a_server_may_speak_first_only_where_no_router_has_tls() {
    let all = || tcp("all@f", "HostSNI(`*`)", None);
    assert!(table(vec![http("h@f", "Host(`a`)", None)], vec![all()]).tcp_needs_no_peek(WEB));
    assert!(!table(vec![http("h@f", "Host(`a`)", tls())], vec![all()]).tcp_needs_no_peek(WEB));
    assert!(!table(vec![], vec![all(), tcp("t@f", "HostSNI(`a`)", tls())]).tcp_needs_no_peek(WEB));
    let none = table(vec![http("h@f", "Host(`a`)", None)], vec![]);
    assert!(!none.tcp_needs_no_peek(WEB) && !none.has_tcp_routes(WEB));
    assert!(!none.tcp_needs_no_peek(EntryPointId(7)));
}

#[test]
fn http_goes_first_for_hosts_that_it_names() {
    let routers = vec![
        http("a@f", "Host(`a.x`) && Path(`/p`) || HostRegexp(`z`)", tls()),
        http("wild@f", "Host(`*.y`)", tls()),
        http("plain@f", "Host(`plain.x`)", None),
        http("not@f", "!Host(`not.x`) && Host(`b.x`)", tls()),
    ];
    let named = table(routers.clone(), vec![]);
    for host in ["a.x", "b.x", "q.y"] {
        assert!(named.serves_tls_host(WEB, host), "{host}");
    }
    for host in ["", "plain.x", "not.x", "y", ".y", "a.q.y", "z"] {
        assert!(!named.serves_tls_host(WEB, host), "{host}");
    }
    assert!(!named.serves_any_tls_host(WEB));
    let any = table(vec![http("any@f", "PathPrefix(`/`)", tls())], vec![]);
    assert!(any.serves_any_tls_host(WEB) && !any.serves_tls_host(WEB, "a.x"));
}

#[test]
fn tls_options_belong_to_hosts() {
    let passed = RouterTls { passthrough: true, ..RouterTls::default() };
    let table = table(
        vec![
            http("a@f", "Host(`a.x`)", with_options("strict@f")),
            http("a2@f", "Host(`a.x`) && Path(`/`)", with_options("strict@f")),
            http("b@f", "Host(`b.x`)", with_options("strict@f")),
            http("b2@f", "Host(`b.x`) && Path(`/`)", tls()),
            http("b3@f", "Host(`b.x`) && Path(`/3`)", with_options("strict@f")),
            http("wild@f", "Host(`*.y`)", with_options("old@f")),
        ],
        vec![
            tcp("a@f", "HostSNI(`a.x`)", with_options("old@f")),
            tcp("t@f", "HostSNI(`t.x`)", with_options("old@f")),
            tcp("p@f", "HostSNI(`p.x`)", Some(passed)),
        ],
    );
    for (host, options) in [
        ("a.x", "strict@f"),
        ("b.x", "default"),
        ("q.y", "old@f"),
        ("t.x", "old@f"),
        ("p.x", "default"),
        ("", "default"),
    ] {
        assert_eq!(table.tls_options(WEB, host), options, "{host}");
    }
    let all: Vec<(String, String)> = table.tls_options_by_host(WEB).into_iter().collect();
    let expected = [("*.y", "old@f"), ("a.x", "strict@f"), ("b.x", "default"), ("t.x", "old@f")];
    assert_eq!(all, expected.map(|(host, options)| (host.to_owned(), options.to_owned())));
}

#[test]
fn an_entry_point_has_the_first_udp_router_by_name() {
    let router = |name: &str, entry_points: &[&str]| UdpRouter {
        name: name.into(),
        entry_points: entry_points.iter().map(|name| (*name).to_owned()).collect(),
        service: "s@f".into(),
    };
    let services = vec![UdpService {
        name: "s@f".into(),
        kind: UdpServiceKind::LoadBalancer(vec!["10.0.0.1:53".into()]),
    }];
    let udp = Udp {
        routers: vec![router("z@f", &[]), router("b@f", &["dns"]), router("c@f", &["dns", "web"])],
        services,
    };
    let snapshot = Snapshot { udp, ..Snapshot::default() };
    let names = ["web".to_owned(), "dns".to_owned()];
    let report = check(&snapshot, &names);
    assert!(!report.has_errors());
    let warned: Vec<&str> = report.problems().iter().map(|problem| &*problem.object).collect();
    assert_eq!(warned, ["udp router c@f"]);
    let specs = names.map(EntryPointSpec::new);
    let table = compile(Arc::new(snapshot), &report, &specs, None);
    let name = |id| table.udp_route(EntryPointId(id)).map(|route| &*route.name);
    assert_eq!([name(0), name(1), name(2)], [Some("c@f"), Some("b@f"), None]);
    assert_eq!(&*table.udp_route(WEB).unwrap().service.servers()[0].host, "10.0.0.1");
}

fn rule() -> impl Strategy<Value = String> {
    let matcher = prop_oneof![
        4 => select(vec!["a.x", "b.x", "*.x", "*", "A.X."]).prop_map(|host| format!("HostSNI(`{host}`)")),
        1 => select(vec!["HostSNIRegexp(`^a`)", "ALPN(`h2`)", "ALPN(`mqtt`)", "ClientIP(`127.0.0.0/8`)"])
            .prop_map(String::from),
    ];
    matcher.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} && {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn finds_what_a_scan_of_all_rules_finds(
        rules in proptest::collection::vec((rule(), -2i64..3), 0..60),
        sni in select(vec!["a.x", "b.x", "c.x", "x", "", "q.a.x"]),
        alpn in select(vec![&[][..], &["h2"], &["http/1.1", "mqtt"]]),
    ) {
        let routers = rules.iter().enumerate().map(|(i, (rule, priority))| TcpRouter {
            priority: *priority,
            ..tcp(&format!("r{i}@f"), rule, tls())
        });
        let table = table(vec![], routers.collect());
        let connection = over_tls(sni, alpn);
        let mut all: Vec<&Arc<TcpRoute>> = table.tcp_routes.iter().collect();
        all.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.name.cmp(&b.name)));
        let expected = all.into_iter().find(|route| route.rule.matches(&connection)).map(|route| &*route.name);
        prop_assert_eq!(routed(&table, &connection), expected);
    }
}
