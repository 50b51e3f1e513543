use std::time::Duration;

use pancake_table::check::{Problem as CheckProblem, check};
use pancake_table::snapshot::middlewares::MiddlewareKind;
use pancake_table::snapshot::{HealthCheck, HealthMode, LoadBalancer, Server, ServiceKind};

use super::*;
use crate::tree::Format;

/// `tcp`, `udp` and `tls`.
mod layers;

fn yaml<'t>(name: &'t str, text: &'t str) -> File<'t> {
    File { name, text, format: Format::Yaml }
}

fn load(text: &str) -> Loaded {
    read(&[yaml("web.yml", text)])
}

fn printed(loaded: &Loaded) -> Vec<String> {
    loaded.problems.iter().map(Problem::to_string).collect()
}

fn router_names(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.routers.iter().map(|router| router.name.as_str()).collect()
}

const WHOLE: &str = "
http:
  routers:
    web:
      entryPoints: [web, websecure]
      rule: Host(`example.org`) && PathPrefix(`/api`)
      ruleSyntax: v3
      priority: -5
      service: api
      observability: {accessLogs: true}
    other: {rule: 'Path(`/`)', service: stats@pancake}
  services:
    api:
      loadBalancer:
        servers:
          - url: http://127.0.0.1:8001
          - {url: 'http://127.0.0.1:8002/base', weight: 3, preservePath: true}
        strategy: wrr
        passHostHeader: false
        serversTransport: slow
        responseForwarding: {flushInterval: 100ms}
        healthCheck:
          {scheme: http, mode: grpc, path: /health, method: HEAD, status: 204, port: 9000, interval: 10s,
           unhealthyInterval: 1s, timeout: 2s, hostname: h, followRedirects: false, headers: {X-A: b}}
  serversTransports:
    slow:
      maxIdleConnsPerHost: 5
      disableHTTP2: true
      forwardingTimeouts: {dialTimeout: 1s, responseHeaderTimeout: 2s, idleConnTimeout: 3s, readIdleTimeout: 5s, pingTimeout: 4s}
";

#[test]
fn reads_every_supported_key() {
    let loaded = load(WHOLE);
    assert!(loaded.is_usable());
    assert!(loaded.problems.iter().all(|problem| problem.scope == Scope::Note), "{:?}", printed(&loaded));
    let web = &loaded.snapshot.routers[1];
    assert_eq!(router_names(&loaded.snapshot), ["other@file", "web@file"]);
    assert_eq!(web.entry_points, ["web", "websecure"]);
    assert_eq!(web.rule, "Host(`example.org`) && PathPrefix(`/api`)");
    assert_eq!((web.priority, web.service.as_str()), (-5, "api@file"));
    assert_eq!(loaded.snapshot.routers[0].service, "stats@pancake");
    let ServiceKind::LoadBalancer(balancer) = &loaded.snapshot.services[0].kind;
    let expected = LoadBalancer {
        servers: vec![
            Server::new("http://127.0.0.1:8001"),
            Server { weight: 3, preserve_path: true, ..Server::new("http://127.0.0.1:8002/base") },
        ],
        pass_host_header: false,
        health_check: Some(HealthCheck {
            mode: HealthMode::Grpc,
            path: "/health".into(),
            scheme: Some("http".into()),
            method: "HEAD".into(),
            status: Some(204),
            port: Some(9000),
            interval: Duration::from_secs(10),
            unhealthy_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            hostname: Some("h".into()),
            follow_redirects: false,
            headers: [("X-A".to_string(), "b".to_string())].into(),
        }),
        servers_transport: Some("slow@file".into()),
    };
    assert_eq!(balancer, &expected);
    let transport = ServersTransport {
        name: "slow@file".into(),
        max_idle_conns_per_host: 5,
        dial_timeout: Duration::from_secs(1),
        response_header_timeout: Duration::from_secs(2),
        idle_conn_timeout: Duration::from_secs(3),
        disable_http2: true,
        read_idle_timeout: Duration::from_secs(5),
        ping_timeout: Duration::from_secs(4),
        ..ServersTransport::default()
    };
    assert_eq!(loaded.snapshot.servers_transports, [transport]);
}

#[test]
fn toml_says_the_same() {
    let text = r#"
[http.routers.web]
  rule = "Host(`a`)"
  service = "api"
[[http.services.api.loadBalancer.servers]]
  url = "http://127.0.0.1:1"
[[http.services.api.loadBalancer.servers]]
  url = "http://127.0.0.1:2"
  weight = 2
"#;
    let loaded = read(&[File { name: "web.toml", text, format: Format::Toml }]);
    assert_eq!(printed(&loaded), Vec::<String>::new());
    let yaml = load(
        "http:\n  routers: {web: {rule: 'Host(`a`)', service: api}}\n  services: {api: {loadBalancer: {servers: [{url: 'http://127.0.0.1:1'}, {url: 'http://127.0.0.1:2', weight: 2}]}}}\n",
    );
    assert_eq!(loaded.snapshot, yaml.snapshot);
}

#[test]
fn faulty_objects_are_left_out_and_the_rest_serves() {
    let loaded = load(
        "
http:
  routers:
    good: {rule: 'Host(`a`)', service: ok}
    secure: {rule: 'Host(`b`)', service: ok, parentRefs: [good]}
    typo: {rul: 'Host(`c`)', service: ok}
    behind: {rule: 'Host(`d`)', service: sticky}
    lost: {rule: 'Host(`e`)', service: okk}
    old: {rule: 'HostHeader(`f`)', ruleSyntax: v2, service: ok}
  services:
    ok: {loadBalancer: {servers: [{url: 'http://127.0.0.1:1'}]}}
    sticky: {loadBalancer: {sticky: {cookie: {}}, servers: [{url: 'http://127.0.0.1:1', weight: -1}]}}
    transported: {loadBalancer: {serversTransport: mtls, servers: [{urll: 'http://127.0.0.1:1'}]}}
    shadow: {mirroring: {service: ok}}
    empty: {}
  serversTransports:
    mtls: {spiffe: {}}
tls: {certificates: [{certFile: a, keyFile: b}, {certFile: a}]}
",
    );
    assert_eq!(
        printed(&loaded),
        [
            "web.yml:5:46: router secure@file: not supported yet: http.routers.secure.parentRefs",
            "web.yml:6:11: router typo@file: http.routers.typo.rule is missing; expected a rule such as Host(`example.org`)",
            "web.yml:6:12: router typo@file: unknown key \"rul\" in http.routers.typo; did you mean \"rule\"?",
            "web.yml:7:42: router behind@file: the service \"sticky@file\" is left out, see web.yml:12:5",
            "web.yml:8:40: router lost@file: the service \"okk@file\" does not exist; did you mean \"ok\"?",
            "web.yml:9:48: router old@file: not supported yet: ruleSyntax \"v2\"; expected v3",
            "web.yml:12:29: service sticky@file: not supported yet: http.services.sticky.loadBalancer.sticky",
            "web.yml:12:97: service sticky@file: weight cannot be \"-1\"; expected a whole number; 0 takes no requests",
            "web.yml:13:52: service transported@file: the servers transport \"mtls@file\" is left out, see web.yml:17:5",
            "web.yml:13:68: service transported@file: http.services.transported.loadBalancer.servers[0].url is missing; expected a URL such as http://127.0.0.1:8000",
            "web.yml:13:69: service transported@file: unknown key \"urll\" in http.services.transported.loadBalancer.servers[0]; did you mean \"url\"?",
            "web.yml:14:14: service shadow@file: not supported yet: http.services.shadow.mirroring",
            "web.yml:15:12: service empty@file: http.services.empty.loadBalancer is missing; expected a loadBalancer with servers",
            "web.yml:17:12: serversTransport mtls@file: not supported yet: http.serversTransports.mtls.spiffe",
            "web.yml:18:49: certificate tls.certificates[1]@file: tls.certificates[1].keyFile is missing; expected a PEM file, or its text",
        ]
    );
    assert!(loaded.is_usable());
    assert_eq!(router_names(&loaded.snapshot), ["good@file"]);
    assert_eq!(
        router_names(&loaded.left_out),
        ["behind@file", "lost@file", "old@file", "secure@file", "typo@file"]
    );
    assert_eq!(loaded.snapshot.services.len(), 1);
    assert!(loaded.snapshot.servers_transports.is_empty());
    assert_eq!((loaded.snapshot.tls.certificates.len(), loaded.left_out.tls.certificates.len()), (1, 1));
}

#[test]
fn a_router_with_a_middleware_is_left_out_with_the_reason() {
    let loaded = load(
        "
http:
  routers:
    a: {rule: 'Host(`a`)', service: x@pancake, middlewares: [auth, limti, gate@docker]}
    b: {rule: 'Host(`b`)', service: x@pancake, middlewares: [odd]}
    c: {rule: 'Host(`b`)', service: x@pancake, middlewares: [gate@docker]}
  middlewares:
    auth: {basicAuth: {users: [a]}}
    limit: {rateLimit: {average: 1}}
    odd: {basicAuht: {}}
",
    );
    assert_eq!(
        printed(&loaded),
        [
            "web.yml:4:62: router a@file: not supported yet: the middleware \"auth@file\" is a basicAuth",
            "web.yml:4:68: router a@file: the middleware \"limti@file\" does not exist; did you mean \"limit\"?",
            "web.yml:5:62: router b@file: the middleware \"odd@file\" is left out, see web.yml:10:5",
            "web.yml:8:12: middleware auth@file: not supported yet: the middleware basicAuth",
            "web.yml:9:13: middleware limit@file: not supported yet: the middleware rateLimit",
            "web.yml:10:11: middleware odd@file: unknown key \"basicAuht\" in http.middlewares.odd; did you mean \"basicAuth\"?",
        ]
    );
    // What another provider has is judged by `pancake_table::check`.
    assert_eq!(router_names(&loaded.snapshot), ["c@file"]);
}

#[test]
fn grpc_web_is_read_and_a_second_kind_beside_it_is_not() {
    let loaded = load(
        "
http:
  routers:
    a: {rule: 'Host(`a`)', service: x@pancake, middlewares: [web]}
    b: {rule: 'Host(`b`)', service: x@pancake, middlewares: [both]}
  middlewares:
    web: {grpcWeb: {allowOrigins: ['https://a.example', '*']}}
    both: {grpcWeb: {}, basicAuth: {users: [a]}}
",
    );
    assert_eq!(
        printed(&loaded),
        [
            "web.yml:5:62: router b@file: not supported yet: the middleware \"both@file\" is a basicAuth",
            "web.yml:8:25: middleware both@file: not supported yet: the middleware basicAuth",
        ]
    );
    assert_eq!(router_names(&loaded.snapshot), ["a@file"]);
    let [middleware] = &*loaded.snapshot.middlewares else { panic!("{:?}", loaded.snapshot.middlewares) };
    assert_eq!(middleware.name, "web@file");
    let MiddlewareKind::GrpcWeb(grpc_web) = &middleware.kind;
    assert_eq!(grpc_web.allow_origins, ["https://a.example", "*"]);
}

#[test]
fn what_spoils_the_input_leaves_nothing() {
    for (text, expected) in [
        ("htpp: {}\n", "web.yml:1:1: unknown key \"htpp\"; did you mean \"http\"?"),
        ("http: {router: {}}\n", "web.yml:1:8: unknown key \"router\" in http; did you mean \"routers\"?"),
        (
            "http:\n  # {{ env \"X\" }}\n",
            "web.yml:2:5: not supported yet: Go templates (`{{ … }}`); expected plain YAML or TOML",
        ),
        ("http: [a]\n", "web.yml:1:7: http is not a mapping; expected keys with values"),
        (
            "http: {routers: [a]}\n",
            "web.yml:1:17: http.routers is not a mapping; expected names with settings",
        ),
    ] {
        let good = yaml("good.yml", WHOLE);
        let loaded = read(&[good, yaml("web.yml", text)]);
        let serious = loaded.problems.iter().filter(|problem| problem.scope != Scope::Note);
        assert_eq!(serious.map(Problem::to_string).collect::<Vec<_>>(), [expected], "{text}");
        assert!(!loaded.is_usable(), "{text}");
        assert_eq!(loaded.snapshot, Snapshot::default());
    }
    assert!(load("").is_usable() && load("http: {}\n").is_usable());
}

#[test]
fn files_are_merged_and_duplicates_name_both_places() {
    let a =
        "http:\n  routers: {r: {rule: 'Host(`a`)', service: s}}\n  services: {same: {loadBalancer: {}}}\n";
    let b = "http:\n  routers: {r: {rule: 'Host(`b`)', service: s}, q: {rule: 'Host(`q`)', service: s}}\n";
    let c = "http:\n  services: {s: {loadBalancer: {}}, same: {loadBalancer: {}}}\n";
    let loaded = read(&[yaml("a.yml", a), yaml("b.yml", b), yaml("c.yml", c)]);
    assert_eq!(
        printed(&loaded),
        [
            "b.yml:2:13: router r@file: the router \"r\" is there twice, first at a.yml:2:13",
            "c.yml:2:37: the service \"same\" is there twice, first at a.yml:3:14",
        ]
    );
    assert!(loaded.is_usable());
    assert_eq!(router_names(&loaded.snapshot), ["q@file"]);
    assert_eq!(loaded.snapshot.services.len(), 2);
}

#[test]
fn problems_that_the_check_finds_have_a_place() {
    let loaded = load(
        "
http:
  routers:
    a: {rule: 'Host(`a`) && Bogus(`b`)', service: s, entryPoints: [nowhere]}
    b: {rule: 'Host(`b`)', service: gone@pancake}
  services:
    s:
      loadBalancer:
        servers: [{url: 'http://127.0.0.1:1'}, {url: 'gopher://127.0.0.1'}]
",
    );
    assert_eq!(printed(&loaded), Vec::<String>::new());
    let report = check(&loaded.snapshot, &["web".to_string()]);
    let places: Vec<String> =
        report.problems().iter().map(|problem| loaded.sources.locate(problem).span.to_string()).collect();
    assert!(places.contains(&"web.yml:9:54".to_string()), "the second url: {places:?}");
    assert!(places.contains(&"web.yml:4:29".to_string()), "Bogus inside of the rule: {places:?}");
    assert!(places.contains(&"web.yml:4:67".to_string()), "the entry points: {places:?}");
    assert!(places.contains(&"web.yml:5:37".to_string()), "the service: {places:?}");
    let elsewhere = CheckProblem::error("router x@pancake", "rule", "empty");
    assert_eq!(
        loaded.sources.locate(&elsewhere).to_string(),
        "provider pancake: router x@pancake: rule: empty"
    );
}

/// Every key of Traefik's dynamic reference is read, refused by name, or noted; none is unknown.
#[test]
fn no_key_of_the_reference_is_unknown() {
    for (name, text, format) in [
        ("dynamic.yml", include_str!("../../../samples/dynamic.yml"), Format::Yaml),
        ("dynamic.toml", include_str!("../../../samples/dynamic.toml"), Format::Toml),
    ] {
        let loaded = read(&[File { name, text, format }]);
        let other: Vec<_> = printed(&loaded)
            .into_iter()
            .filter(|text| !text.contains("not supported yet: ") && !text.contains("has no effect"))
            .filter(|text| !text.contains("is left out, see "))
            .collect();
        assert!(other.is_empty(), "{other:#?}");
        assert!(loaded.is_usable());
        let kinds = loaded.problems.iter().filter(|p| p.message.contains("yet: the middleware")).count();
        assert!(kinds >= 26, "{kinds}");
    }
}

proptest::proptest! {
    #[test]
    fn never_panics(text in "(http|routers|services|a|rule|: |\\n|  |\\{|\\}|\\[|\\]|, |x|- |loadBalancer|servers|url){0,40}") {
        let loaded = load(&text);
        for problem in loaded.problems {
            let _ = problem.to_string();
        }
    }
}

/// One byte of the sample changed, taken out or doubled.
fn mutated(text: &str, at: usize, how: u8) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = at % chars.len();
    match how {
        0 => {
            chars.remove(at);
        }
        1 => chars.insert(at, chars[at]),
        2 => chars.truncate(at),
        other => chars[at] = char::from(other),
    }
    chars.into_iter().collect()
}

proptest::proptest! {
    #[test]
    fn never_panics_on_a_damaged_file(at in 0usize..100_000, how in 0u8..128, toml: bool) {
        let (name, text, format) = match toml {
            true => ("d.toml", include_str!("../../../samples/dynamic.toml"), Format::Toml),
            false => ("d.yml", include_str!("../../../samples/dynamic.yml"), Format::Yaml),
        };
        let text = mutated(text, at, how);
        let loaded = read(&[File { name, text: &text, format }]);
        for problem in &loaded.problems {
            proptest::prop_assert!(problem.span.line as usize <= text.lines().count() + 1);
        }
    }
}
