use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::check::check;
use crate::compile::{EntryPointSpec, compile};
use crate::snapshot::{LoadBalancer, Router, Service, ServiceKind, Snapshot};

const WEB: EntryPointId = EntryPointId(0);

fn table(routers: Vec<Router>) -> Table {
    let kind = ServiceKind::LoadBalancer(LoadBalancer::default());
    let services = vec![Service { name: "s@f".into(), kind }];
    let snapshot = Snapshot { version: 1, routers, services, ..Snapshot::default() };
    let report = check(&snapshot, &["web".into()]);
    assert!(!report.has_errors(), "{:?}", report.problems());
    compile(Arc::new(snapshot), &report, &[EntryPointSpec::new("web")], None)
}

fn router(name: &str, rule: &str, priority: i64) -> Router {
    Router { name: name.into(), rule: rule.into(), priority, service: "s@f".into(), ..Router::default() }
}

fn name(route: Option<&Arc<Route>>) -> Option<&str> {
    route.map(|route| &*route.name)
}

fn routed<'a>(table: &'a Table, host: &str, target: &str) -> Option<&'a str> {
    name(table.route(WEB, false, &OwnedRequest::get(host, target)))
}

/// What [`Table::route`] must answer, by asking every rule.
fn naive<'a>(table: &'a Table, request: &OwnedRequest) -> Option<&'a str> {
    let mut routes: Vec<&Arc<Route>> = table.routes.iter().collect();
    routes.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.name.cmp(&b.name)));
    name(routes.into_iter().find(|route| route.rule.matches(request)))
}

#[test]
fn the_longest_rule_wins_unless_priorities_say_otherwise() {
    let table = table(vec![
        router("host@f", "Host(`a`)", 0),
        router("path@f", "Host(`a`) && PathPrefix(`/x`)", 0),
        router("wild@f", "Host(`*.b.example`)", 0),
        router("any@f", "PathPrefix(`/`)", -1),
        router("first@f", "Path(`/first`)", 1_000),
    ]);
    assert_eq!(routed(&table, "a", "/"), Some("host@f"));
    assert_eq!(routed(&table, "a", "/xy"), Some("path@f"));
    assert_eq!(routed(&table, "q.b.example", "/"), Some("wild@f"));
    assert_eq!(routed(&table, "b.example", "/"), Some("any@f"));
    assert_eq!(routed(&table, "a", "/first"), Some("first@f"));
    assert_eq!(name(table.route(EntryPointId(1), false, &OwnedRequest::get("a", "/"))), None);
}

#[test]
fn routes_of_the_same_priority_are_tried_by_name() {
    let table = table(vec![
        router("z@f", "PathPrefix(`/`)", 5),
        router("b@f", "Host(`a`)", 5),
        router("c@f", "Host(`*`)", 5),
    ]);
    assert_eq!(routed(&table, "a", "/"), Some("b@f"));
    assert_eq!(routed(&table, "q", "/"), Some("c@f"));
}

#[test]
fn requests_over_tls_go_to_routers_with_tls_only() {
    let tls = Some(crate::snapshot::tls::RouterTls::default());
    let table = table(vec![
        router("plain@f", "Host(`a`)", 0),
        Router { tls: tls.clone(), ..router("secure@f", "Host(`a`)", 0) },
        Router { tls, ..router("rest@f", "PathPrefix(`/`)", 1) },
    ]);
    let routed = |secure, host| name(table.route(WEB, secure, &OwnedRequest::get(host, "/")));
    assert_eq!([routed(false, "a"), routed(true, "a")], [Some("plain@f"), Some("secure@f")]);
    assert_eq!([routed(false, "b"), routed(true, "b")], [None, Some("rest@f")]);
    let explanation = table.explain(WEB, true, &OwnedRequest::get("b", "/"));
    assert_eq!((explanation.routers, explanation.secure), (2, true));
    assert!(table.routes[1].tls.is_some() && table.routes[0].tls.is_none());
}

#[test]
fn many_paths_on_one_host_are_all_found() {
    let mut routers: Vec<Router> = (0..500)
        .flat_map(|i| {
            let prefix = format!("/{}{i}", "p".repeat(i % 80));
            [
                router(&format!("prefix{i}@f"), &format!("Host(`a`) && PathPrefix(`{prefix}/`)"), 0),
                router(&format!("exact{i}@f"), &format!("Host(`a`) && Path(`{prefix}/exactly-this`)"), 0),
            ]
        })
        .collect();
    routers.push(router("rest@f", "Host(`a`)", 0));
    let table = table(routers);
    for i in 0..500 {
        let prefix = format!("/{}{i}", "p".repeat(i % 80));
        assert_eq!(routed(&table, "a", &format!("{prefix}/x")), Some(&*format!("prefix{i}@f")));
        assert_eq!(routed(&table, "a", &format!("{prefix}/exactly-this")), Some(&*format!("exact{i}@f")));
    }
    assert_eq!(routed(&table, "a", "/ä"), Some("rest@f"));
    assert_eq!(routed(&table, "b", "/p1/"), None);
}

#[test]
fn a_rule_with_very_many_hosts_matches_those_only() {
    let hosts: Vec<String> = (0..600).map(|i| format!("Host(`h{i}`)")).collect();
    let table = table(vec![router("many@f", &hosts.join("||"), 0), router("rest@f", "PathPrefix(`/`)", 0)]);
    assert_eq!(routed(&table, "h599", "/"), Some("many@f"));
    assert_eq!(routed(&table, "h600", "/"), Some("rest@f"));
}

fn matcher() -> impl Strategy<Value = String> {
    let host = select(vec!["a.x", "b.x", "c.y", "*.x", "*.y", "*", "A.X.", "*q"]);
    let path = select(vec!["/", "/a", "/a/b", "/ab", "/ä", "/a/"]);
    prop_oneof![
        4 => host.prop_map(|host| format!("Host(`{host}`)")),
        2 => path.clone().prop_map(|path| format!("PathPrefix(`{path}`)")),
        2 => path.prop_map(|path| format!("Path(`{path}`)")),
        1 => select(vec!["Query(`q`)", "Query(`q`, `1`)", "Method(`get`)", "Header(`h`, `1`)", "HostRegexp(`^a`)",
            "PathRegexp(`b$`)", "ClientIP(`127.0.0.0/8`)", "HeaderRegexp(`h`, `[12]`)", "QueryRegexp(`q`, `1`)"])
            .prop_map(String::from),
    ]
}

fn rule() -> impl Strategy<Value = String> {
    matcher().prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} && {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

fn request() -> impl Strategy<Value = OwnedRequest> {
    let host = select(vec!["a.x", "b.x", "c.y", "d.y", "x", "q.a.x", "", ".x"]);
    let target = select(vec!["/", "/a", "/a/b", "/a/", "/abc", "/ä", "/äb", "/a?q", "/a/b?q=1", "/?x=2&q=1"]);
    (host, target, any::<bool>(), any::<bool>()).prop_map(|(host, target, header, local)| {
        let mut request = OwnedRequest::get(host, target);
        if header {
            request.headers = vec![("H".into(), b"1".to_vec())];
        }
        if !local {
            request.client_ip = IpAddr::from([10, 0, 0, 1]);
        }
        request
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn finds_what_a_scan_of_all_rules_finds(
        rules in proptest::collection::vec((rule(), -2i64..3), 0..80),
        requests in proptest::collection::vec(request(), 1..20),
    ) {
        let routers = rules.iter().enumerate().map(|(i, (rule, priority))| router(&format!("r{i}@f"), rule, *priority));
        let table = table(routers.collect());
        for request in &requests {
            let expected = naive(&table, request);
            prop_assert_eq!(name(table.route(WEB, false, request)), expected, "{:?}", request);
            let explanation = table.explain(WEB, false, request);
            prop_assert_eq!(explanation.chosen.as_ref().map(|chosen| &*chosen.router), expected);
            for candidate in &explanation.candidates {
                prop_assert_eq!(candidate.matched, candidate.failed.is_empty(), "{:?}", candidate);
                prop_assert_eq!(candidate.matched, Some(&*candidate.router) == expected);
            }
        }
    }
}
