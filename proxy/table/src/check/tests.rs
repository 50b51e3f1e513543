use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::*;
use crate::snapshot::middlewares::{GrpcWeb, Middleware, MiddlewareKind};
use crate::snapshot::{HealthCheck, LoadBalancer, Router, Server, ServersTransport, Service};

fn service(name: &str, urls: &[&str]) -> Service {
    let servers = urls.iter().map(|url| Server::new(*url)).collect();
    Service {
        name: name.into(),
        kind: ServiceKind::LoadBalancer(LoadBalancer { servers, ..LoadBalancer::default() }),
    }
}

fn router(name: &str, rule: &str, service: &str) -> Router {
    Router { name: name.into(), rule: rule.into(), service: service.into(), ..Router::default() }
}

fn balancer(service: &mut Service) -> &mut LoadBalancer {
    let ServiceKind::LoadBalancer(balancer) = &mut service.kind;
    balancer
}

fn good() -> Snapshot {
    Snapshot {
        version: 1,
        routers: vec![
            router("web@file", "Host(`a`)", "web@file"),
            router("api@file", "Path(`/api`)", "web@file"),
        ],
        services: vec![service("web@file", &["http://10.0.0.1:80"])],
        ..Snapshot::default()
    }
}

fn check_on_web(snapshot: &Snapshot) -> Report {
    check(snapshot, &["web".into(), "websecure".into()])
}

/// `object: field` and message of every problem.
fn problems(snapshot: &Snapshot) -> Vec<(String, String)> {
    let report = check_on_web(snapshot);
    report.problems().iter().map(|p| (format!("{}: {}", p.object, p.field), p.message.clone())).collect()
}

#[test]
fn finds_nothing_wrong_with_a_good_snapshot() {
    let report = check_on_web(&good());
    assert_eq!(report.problems(), []);
    assert!(
        !report.has_errors()
            && report.router_serves(0)
            && report.router_serves(1)
            && report.service_serves(0)
    );
    assert!(!report.router_serves(2) && !report.service_serves(1));
}

#[test]
fn a_faulty_router_alone_is_left_out() {
    let mut snapshot = good();
    snapshot.routers[1].rule = "Host(`a`) && Pth(`/`)".into();
    let report = check_on_web(&snapshot);
    assert_eq!(report.routers_left_out(&snapshot).collect::<Vec<_>>(), ["api@file"]);
    assert_eq!(report.services_left_out(&snapshot).count(), 0);
    let [problem] = report.problems() else { panic!("{:?}", report.problems()) };
    assert_eq!((&*problem.object, &*problem.field), ("router api@file", "rule"));
    assert_eq!(problem.offset_in_rule, Some(13));
    assert!(problem.to_string().starts_with("router api@file: rule at byte 13: there is no matcher `Pth`"));
}

#[test]
fn names_all_problems_at_once() {
    let mut snapshot = good();
    snapshot.routers[0].middlewares = vec!["auth@file".into()];
    snapshot.routers[0].service = "wbe@file".into();
    snapshot.routers[0].priority = i64::MAX;
    snapshot.routers[1].entry_points = vec!["wbe".into()];
    snapshot.routers[1].service = String::new();
    let found = problems(&snapshot);
    let messages: Vec<&str> = found.iter().map(|(_, message)| &**message).collect();
    assert_eq!(
        messages,
        [
            "middleware \"auth@file\" does not exist",
            "the service \"wbe@file\" does not exist",
            "the router priority 9223372036854775807 exceeds the max user-defined priority 9223372036854774807",
            "entryPoint \"wbe\" doesn't exist",
            "no valid entryPoint for this router",
            "the service is missing on the router",
        ]
    );
}

#[test]
fn one_valid_entry_point_is_enough() {
    let mut snapshot = good();
    snapshot.routers[0].entry_points = vec!["nope".into(), "web".into()];
    let report = check_on_web(&snapshot);
    assert!(report.router_serves(0) && !report.has_errors());
    assert_eq!(report.problems()[0].severity, Severity::Warning);
}

#[test]
fn priority_may_be_negative_and_highest_is_kept_for_internal_routers() {
    let mut snapshot = good();
    snapshot.routers[0].priority = -5;
    snapshot.routers[1].priority = i64::MAX - 1_000;
    snapshot
        .routers
        .push(Router { priority: i64::MAX, ..router("ping@internal", "Path(`/ping`)", "web@file") });
    assert!(!check_on_web(&snapshot).has_errors());
    snapshot.routers[1].priority += 1;
    assert!(!check_on_web(&snapshot).router_serves(1));
}

#[test]
fn a_service_with_errors_takes_its_routers_with_it() {
    for url in ["ftp://10.0.0.1", "unix:web.sock", "10.0.0.1:80", "", "http://", "https://:443"] {
        let mut snapshot = good();
        snapshot.services.push(service("bad@file", &["http://10.0.0.1", url]));
        snapshot.routers[0].service = "bad@file".into();
        let report = check_on_web(&snapshot);
        assert!(!report.service_serves(1) && !report.router_serves(0) && report.router_serves(1), "{url}");
        assert_eq!(report.problems()[0].field, "loadBalancer.servers[1].url");
    }
    let mut snapshot = good();
    let all = ["https://10.0.0.1", "h2c://10.0.0.1", "unix:/run/web.sock"];
    *snapshot.services.last_mut().unwrap() = service("web@file", &all);
    assert_eq!(problems(&snapshot), []);
}

#[test]
fn of_objects_with_the_same_name_the_first_serves() {
    let mut snapshot = good();
    snapshot.routers.push(router("web@file", "Host(`b`)", "web@file"));
    snapshot.services.push(service("web@file", &[]));
    let transport = ServersTransport { name: "t@file".into(), ..ServersTransport::default() };
    snapshot.servers_transports = vec![transport.clone(), transport];
    let report = check_on_web(&snapshot);
    assert!(report.router_serves(0) && !report.router_serves(2));
    assert!(report.service_serves(0) && !report.service_serves(1));
    assert_eq!(report.problems().len(), 3);
}

#[test]
fn names_must_be_names() {
    let long = "x".repeat(MAX_NAME_BYTES + 1);
    for name in ["", "a\nb", &long] {
        let mut snapshot = good();
        snapshot.routers[0].name = name.into();
        snapshot.services[0].name = name.into();
        let report = check_on_web(&snapshot);
        assert!(!report.router_serves(0) && !report.service_serves(0), "{name}");
        assert!(report.problems().iter().all(|p| p.object.len() < MAX_NAME_BYTES + 64));
    }
}

#[test]
fn unknown_transports_and_too_much_weight_are_errors() {
    let mut snapshot = good();
    balancer(&mut snapshot.services[0]).servers_transport = Some("t@file".into());
    balancer(&mut snapshot.services[0]).servers[0].weight = u32::MAX;
    let found = problems(&snapshot);
    assert_eq!(found[0].0, "service web@file: loadBalancer.serversTransport");
    assert_eq!(found[1].0, "service web@file: loadBalancer.servers[0].weight");
}

#[test]
fn health_checks_cannot_smuggle_bytes_into_requests() {
    type Spoil = fn(&mut HealthCheck);
    let bad: [(&str, Spoil); 11] = [
        ("path", |c| c.path = "/a b".into()),
        ("path", |c| c.path = "/a\r\nX: y".into()),
        ("path", |c| c.path = "health".into()),
        ("method", |c| c.method = "GET /".into()),
        ("scheme", |c| c.scheme = Some("ftp".into())),
        ("status", |c| c.status = Some(99)),
        ("port", |c| c.port = Some(0)),
        ("interval", |c| c.interval = Duration::ZERO),
        ("hostname", |c| c.hostname = Some("a\r\n".into())),
        ("headers", |c| c.headers = BTreeMap::from([("a b".into(), "c".into())])),
        ("headers", |c| c.headers = BTreeMap::from([("a".into(), "c\r\nd: e".into())])),
    ];
    for (field, spoil) in bad {
        let mut snapshot = good();
        let mut check = HealthCheck { path: "/health?x=1".into(), ..HealthCheck::default() };
        balancer(&mut snapshot.services[0]).health_check = Some(check.clone());
        assert_eq!(problems(&snapshot), []);
        spoil(&mut check);
        balancer(&mut snapshot.services[0]).health_check = Some(check);
        assert_eq!(problems(&snapshot)[0].0, format!("service web@file: loadBalancer.healthCheck.{field}"));
    }
}

#[test]
fn a_million_routers_are_refused_at_once() {
    let snapshot = Snapshot { routers: vec![router("r", "(", "s"); 1_000_000], ..good() };
    let started = Instant::now();
    let report = check_on_web(&snapshot);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(report.has_errors() && !report.router_serves(0) && !report.service_serves(0));
    assert_eq!(report.problems().len(), 1);
}

#[test]
fn the_list_of_problems_is_bounded() {
    let routers = (0..5_000).map(|i| router(&format!("r{i}"), "(", "s")).collect();
    let report = check_on_web(&Snapshot { routers, ..good() });
    assert_eq!(report.problems().len(), MAX_PROBLEMS);
    assert_eq!(report.unlisted(), 10_000 - MAX_PROBLEMS);
}

#[test]
fn costly_regular_expressions_of_many_routers_are_bounded() {
    let rule = |i: usize| format!("PathRegexp(`{i}(((a{{100}}){{100}}){{100}}){{100}}`)");
    let routers = (0..20_000).map(|i| router(&format!("r{i}"), &rule(i), "web@file")).collect();
    let started = Instant::now();
    let report = check_on_web(&Snapshot { routers, ..good() });
    assert!(report.has_errors());
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn a_router_serves_through_sound_middlewares_only() {
    let grpc_web = |name: &str, origins: &[&str]| Middleware {
        name: name.into(),
        kind: MiddlewareKind::GrpcWeb(GrpcWeb {
            allow_origins: origins.iter().map(|o| (*o).to_string()).collect(),
        }),
    };
    let mut snapshot = good();
    snapshot.middlewares =
        vec![grpc_web("web@file", &["*", "https://a.example"]), grpc_web("odd@file", &["https://a example"])];
    snapshot.routers[0].middlewares = vec!["web@file".into()];
    snapshot.routers[1].middlewares = vec!["odd@file".into()];
    let report = check_on_web(&snapshot);
    assert!(report.router_serves(0) && !report.router_serves(1));
    let found = problems(&snapshot);
    let objects: Vec<_> = found.iter().map(|(object, _)| &**object).collect();
    assert_eq!(objects, ["middleware odd@file: grpcWeb.allowOrigins.0", "router api@file: middlewares"]);
}
