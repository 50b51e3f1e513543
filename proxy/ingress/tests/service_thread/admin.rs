//! The admin entry point over real sockets.

use std::sync::Arc;
use std::time::Duration;

use pancake_proxy::workers::Life;
use pancake_session::meter::{HttpMeter, Method, Opened, Sample, ServerMeter};

use super::rig::{Rig, eventually};

const ALL: &str = "api: {insecure: true}\nping: {}\nmetrics: {prometheus: {addRoutersLabels: true}}\n";

const DYNAMIC: &str = "http:
  routers:
    a: {rule: 'Host(`a.test`) && PathPrefix(`/x`)', service: s, middlewares: [web]}
    b: {rule: 'Host(`b.test`', service: s}
    c: {rule: 'Path(`/c`)', service: nope, priority: 7}
  middlewares:
    web: {grpcWeb: {allowOrigins: ['*']}}
  services:
    s:
      loadBalancer:
        servers: [{url: 'http://127.0.0.1:1'}, {url: 'http://127.0.0.1:2', weight: 3}]
        healthCheck: {path: /up, interval: 1s}
";

fn with_file() -> (Rig, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dynamic.yml");
    std::fs::write(&path, DYNAMIC).unwrap();
    (Rig::start(&format!("{ALL}providers: {{file: {{filename: '{}'}}}}\n", path.display())), dir)
}

#[test]
fn ping_follows_the_life_of_the_process() {
    let rig = Rig::start(ALL);
    let (head, body) = rig.get("/ping");
    assert!(head.starts_with("http/1.1 200") && body == "OK", "{head}\n{body}");
    rig.life.send_replace(Life::Drain);
    assert!(rig.get("/ping").0.starts_with("http/1.1 503"));
    rig.stop();
}

#[test]
fn only_what_is_asked_for_is_served() {
    let rig = Rig::start("ping: {}\n");
    assert!(rig.get("/ping").0.starts_with("http/1.1 200"));
    for target in ["/api/rawdata", "/metrics", "/"] {
        assert!(rig.get(target).0.starts_with("http/1.1 404"), "{target}");
    }
    rig.stop();
    let rig = Rig::start("");
    assert_eq!(rig.admin, None);
    rig.stop();
}

#[test]
fn raw_data_has_traefiks_shape() {
    let (rig, _dir) = with_file();
    let data = rig.json("/api/rawdata");
    let a = &data["routers"]["a@file"];
    assert_eq!(a["service"], "s");
    assert_eq!(a["status"], "enabled");
    assert_eq!(a["priority"], 34);
    assert_eq!((&a["entryPoints"], &a["using"]), (&["web"].into(), &["web"].into()));
    assert!(a.get("error").is_none(), "{a}");
    for broken in ["b@file", "c@file"] {
        let router = &data["routers"][broken];
        assert_eq!(router["status"], "disabled", "{router}");
        assert_eq!(router["error"].as_array().unwrap().len(), 1, "{router}");
    }
    let service = &data["services"]["s@file"];
    assert_eq!(service["loadBalancer"]["servers"][1]["weight"], 3);
    assert_eq!(service["loadBalancer"]["healthCheck"]["interval"], "1s");
    assert_eq!(service["loadBalancer"]["passHostHeader"], true);
    assert_eq!(service["usedBy"], serde_json::json!(["a@file", "b@file"]));
    let down =
        || rig.json("/api/rawdata")["services"]["s@file"]["serverStatus"]["http://127.0.0.1:1"] == "DOWN";
    eventually("the check fails", down);
    rig.stop();
}

#[test]
fn lists_objects_and_errors_are_traefiks() {
    let (rig, _dir) = with_file();
    let (head, body) = rig.get("/api/http/routers?per_page=2");
    assert!(head.contains("x-next-page: 2"), "{head}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap().as_array().unwrap().len(), 2);
    let router = rig.json("/api/http/routers/c@file");
    assert_eq!((&router["name"], &router["provider"]), (&"c@file".into(), &"file".into()));
    assert_eq!(router["priorityStr"], "7");
    assert_eq!(rig.json("/api/http/routers?status=disabled").as_array().unwrap().len(), 2);
    assert_eq!(rig.json("/api/http/services/s%40file")["type"], "loadbalancer");
    let web = serde_json::json!({
        "grpcWeb": {"allowOrigins": ["*"]}, "status": "enabled", "usedBy": ["a@file"], "name": "web@file",
        "provider": "file", "type": "grpcweb",
    });
    assert_eq!(rig.json("/api/http/middlewares"), serde_json::json!([web]));
    assert_eq!(rig.json("/api/http/middlewares/web@file"), web);
    let (head, body) = rig.get("/api/http/routers/x@y");
    assert!(head.starts_with("http/1.1 404"), "{head}");
    assert_eq!(body, "{\"message\":\"router not found: x@y\"}\n");
    let overview = rig.json("/api/overview");
    assert_eq!(overview["http"]["routers"], serde_json::json!({"total": 3, "warnings": 0, "errors": 2}));
    assert_eq!(overview["http"]["middlewares"]["total"], 1);
    assert_eq!(overview["providers"], serde_json::json!(["File"]));
    assert!(rig.json("/api/version")["Version"].is_string());
    let names: Vec<_> =
        rig.json("/api/entrypoints").as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["traefik", "web"]);
    rig.stop();
}

#[test]
fn explains_where_a_request_goes() {
    let (rig, _dir) = with_file();
    let why = rig.json("/api/pancake/explain?url=http%3A%2F%2FA.test%2Fx%2Fy%3Fq%3D1&header=A:b");
    assert_eq!(why["chosen"]["router"], "a@file", "{why}");
    assert_eq!((&why["entry_point"], &why["request"]["path"]), (&"web".into(), &"/x/y".into()));
    let why = rig.json("/api/pancake/explain?url=a.test/other");
    assert!(why["chosen"].is_null(), "{why}");
    for (query, hint) in [
        ("", "url is missing"),
        ("url=http://a.test/&client=nobody", "client"),
        ("url=http://a.test/&entryPoint=x", "expected one of traefik, web"),
        ("url=http://a.test/&header=x", "not Name:value"),
        ("url=http://a%20b/", "url:"),
    ] {
        let (head, body) = rig.get(&format!("/api/pancake/explain?{query}"));
        assert!(head.starts_with("http/1.1 400") && body.contains(hint), "{query}: {head}\n{body}");
    }
    rig.stop();
}

#[test]
fn status_and_problems_say_what_is_wrong() {
    let (rig, dir) = with_file();
    let problems = rig.json("/api/pancake/problems");
    let listed = problems["problems"].as_array().unwrap();
    assert_eq!(listed.len(), 2, "{problems}");
    let place = format!("{}:4:", dir.path().join("dynamic.yml").display());
    assert!(
        listed.iter().any(|problem| problem["place"].as_str().unwrap().starts_with(&place)),
        "{problems}"
    );
    let status = rig.json("/api/pancake/status");
    assert_eq!((&status["workers"], &status["engine"]["why"]), (&1.into(), &"a test".into()));
    assert_eq!(status["providers"][0]["problems"], 2);
    assert_eq!(status["state"], "serve");
    rig.stop();
}

#[test]
fn metrics_have_traefiks_names_and_labels() {
    let (rig, _dir) = with_file();
    let sample = Sample {
        status: 200,
        method: Method::Get,
        duration: Duration::from_millis(200),
        request_bytes: 3,
        response_bytes: 10,
    };
    rig.meter.entry_points[1].add(&sample);
    rig.meter.open[1].add(2);
    let meter = Arc::new(HttpMeter::default());
    meter.add(&sample);
    rig.opened.send(Opened::Router("a@file".into(), meter.clone())).unwrap();
    rig.opened.send(Opened::Service("s@file".into(), meter)).unwrap();
    let server = Arc::new(ServerMeter::default());
    server.connect_failures.add(4);
    let url: Arc<str> = "http://127.0.0.1:1".into();
    rig.opened.send(Opened::Server { id: url.clone(), url, meter: server }).unwrap();
    let (head, body) = rig.get("/metrics");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    for line in [
        "traefik_config_reloads_total 1",
        "traefik_open_connections{entrypoint=\"web\",protocol=\"TCP\"} 2",
        "traefik_entrypoint_requests_total{code=\"200\",entrypoint=\"web\",method=\"GET\",protocol=\"http\"} 1",
        "traefik_entrypoint_request_duration_seconds_bucket{code=\"200\",entrypoint=\"web\",method=\"GET\",protocol=\"http\",le=\"0.3\"} 1",
        "traefik_entrypoint_request_duration_seconds_count{code=\"200\",entrypoint=\"web\",method=\"GET\",protocol=\"http\"} 1",
        "traefik_router_responses_bytes_total{code=\"200\",method=\"GET\",protocol=\"http\",router=\"a@file\",service=\"s@file\"} 10",
        "traefik_service_requests_bytes_total{code=\"200\",method=\"GET\",protocol=\"http\",service=\"s@file\"} 3",
        "pancake_config_problems{provider=\"file\"} 2",
        "pancake_server_connect_failures_total{server=\"http://127.0.0.1:1\"} 4",
    ] {
        assert!(body.lines().any(|found| found == line), "{line}\nnot in\n{body}");
    }
    for name in [
        "traefik_service_server_up{",
        "traefik_config_last_reload_success ",
        "process_resident_memory_bytes ",
    ] {
        assert!(body.lines().any(|line| line.starts_with(name)), "{name}");
    }
    rig.stop();
}

#[test]
fn refuses_what_it_does_not_serve() {
    let rig = Rig::start(ALL);
    let (head, _) =
        rig.send("POST /api/rawdata HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("http/1.1 405") && head.contains("allow: get, head"), "{head}");
    let (head, body) = rig.send("HEAD /api/version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("http/1.1 200") && body.is_empty(), "{head}\n{body}");
    let long = "x".repeat(64 << 10);
    let (head, _) = rig.get(&format!("/{long}"));
    assert!(head.starts_with("http/1.1 4"), "{head}");
    assert!(rig.get("/ping").0.starts_with("http/1.1 200"));
    rig.stop();
}
