use pancake_api::control as api;
use tonic::Code;

use crate::harness::{Backend, Control, checked, servers, settings, web};

#[tokio::test]
async fn a_registration_becomes_a_route_to_a_server() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    let mut proxy = control.proxy("p1").await;
    let made = control.register(web("", 9001)).await;
    assert_eq!((made.instance_id.as_str(), made.created), ("web-127.0.0.1-9001", true));
    assert_eq!(made.state(), api::InstanceState::Alive);
    let snapshot = proxy.until("the server is there", |s| !servers(s, "web@pancake").is_empty()).await;
    assert_eq!(servers(&snapshot, "web@pancake"), [("web-127.0.0.1-9001".to_owned(), false)]);
    let router = &snapshot.routers[0];
    assert_eq!((router.name.as_str(), router.service.as_str()), ("web@pancake", "web@pancake"));
    let version = snapshot.version;
    control
        .until_status("the proxy has taken it", |s| s.proxies.iter().any(|p| p.serving_version == version))
        .await;
    assert!(!control.register(web("", 9001)).await.created);
    control.stop().await;
}

#[tokio::test]
async fn an_instance_that_fails_its_checks_leaves_and_returns() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    let mut proxy = control.proxy("p1").await;
    let (a, b) = (Backend::start().await, Backend::start().await);
    control.register(checked("a", a.port)).await;
    control.register(checked("b", b.port)).await;
    proxy.until("both are in", |s| servers(s, "web@pancake").len() == 2).await;
    a.set_healthy(false);
    let snapshot = proxy.until("a is out", |s| servers(s, "web@pancake").len() == 1).await;
    assert_eq!(servers(&snapshot, "web@pancake"), [("b".to_owned(), false)]);
    let instance = control.until_state("a", api::InstanceState::Unhealthy).await;
    let check = instance.check.unwrap();
    assert!(!check.ok && check.output.contains("503"), "{}", check.output);
    assert!(instance.reason.contains("/health"), "{}", instance.reason);
    a.set_healthy(true);
    proxy.until("a is back", |s| servers(s, "web@pancake").len() == 2).await;
    control.stop().await;
}

#[tokio::test]
async fn an_instance_without_heartbeat_leaves_and_returns_with_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    let mut proxy = control.proxy("p1").await;
    control.register(web("stays", 9001)).await;
    control.register(api::RegisterRequest { ttl_ms: 1000, ..web("beats", 9002) }).await;
    proxy.until("both are in", |s| servers(s, "web@pancake").len() == 2).await;
    proxy.until("one is out", |s| servers(s, "web@pancake").len() == 1).await;
    let silent = control.until_state("beats", api::InstanceState::Unknown).await;
    assert!(silent.reason.contains("no heartbeat"), "{}", silent.reason);
    let renew = api::RenewRequest { instance_id: "beats".into() };
    let renewed = control.client.renew(renew).await.unwrap().into_inner();
    assert_eq!((renewed.state(), renewed.ttl_ms), (api::InstanceState::Alive, 1000));
    proxy.until("it is back", |s| servers(s, "web@pancake").len() == 2).await;
    control.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_every_reason() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    let rule = |rule: &str| api::Router { rule: rule.into(), ..Default::default() };
    let cases = [
        (api::RegisterRequest { service: "a b".into(), ..web("", 1) }, "service name"),
        (api::RegisterRequest { port: 70_000, ..web("", 1) }, "70000"),
        (api::RegisterRequest { port: 0, ..web("", 1) }, "port is 0"),
        (api::RegisterRequest { address: "http://x".into(), ..web("", 1) }, "address"),
        (api::RegisterRequest { ttl_ms: 5, ..web("", 1) }, "ttl"),
        (api::RegisterRequest { routers: vec![rule("Hots(`x`)")], ..web("", 1) }, "rule"),
        (api::RegisterRequest { routers: vec![rule("Host(`x`) &&")], ..web("", 1) }, "rule"),
        (api::RegisterRequest { check: Some(api::Check::default()), ..web("", 1) }, "check"),
        (api::RegisterRequest { mode: api::ProxyMode::Tcp.into(), ..web("", 1) }, "tcp"),
    ];
    for (request, expected) in cases {
        let refused = control.client.register(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{expected}");
        assert!(refused.message().contains(expected), "{expected}: {}", refused.message());
    }
    let middlewares = vec!["auth".to_owned(), "gzip".to_owned()];
    let router = api::Router { name: "r".into(), service: "web".into(), middlewares, ..rule("Host(`x`)") };
    let refused =
        control.client.put_router(api::PutRouterRequest { router: Some(router) }).await.unwrap_err();
    assert_eq!(refused.message().lines().count(), 2, "{}", refused.message());
    let unknown = api::DeregisterRequest { instance_id: "nobody".into() };
    assert_eq!(control.client.deregister(unknown).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(control.status().await.alarms, []);
    control.stop().await;
}

#[tokio::test]
async fn routers_by_name_win_and_say_who_is_shadowed() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    let mut proxy = control.proxy("p1").await;
    control.register(web("a", 9001)).await;
    let router = api::Router {
        name: "web".into(),
        rule: "PathPrefix(`/`)".into(),
        service: "web".into(),
        ..Default::default()
    };
    control.client.put_router(api::PutRouterRequest { router: Some(router) }).await.unwrap();
    proxy.until("the new rule", |s| s.routers.iter().any(|r| r.rule == "PathPrefix(`/`)")).await;
    let routes = control.client.list_routes(api::ListRoutesRequest {}).await.unwrap().into_inner().routes;
    let seen: Vec<_> = routes.iter().map(|r| (r.origin.as_str(), r.published)).collect();
    assert_eq!(seen, [("api", true), ("register", false)]);
    assert!(routes[1].problems[0].contains("origin `api`"), "{:?}", routes[1].problems);
    control.client.delete_router(api::DeleteRouterRequest { name: "web".into() }).await.unwrap();
    proxy.until("the old rule", |s| s.routers.iter().any(|r| r.rule == "Host(`web.localhost`)")).await;
    let refused = control.client.delete_router(api::DeleteRouterRequest { name: "web".into() }).await;
    assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition);
    control.stop().await;
}

#[tokio::test]
async fn an_explanation_names_the_router_and_why_others_fail() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    control.register(web("a", 9001)).await;
    // At once: who asks after a change sees it.
    let ask = |url: &str| api::ExplainRequest { url: url.into(), ..Default::default() };
    let told = control.client.explain(ask("http://web.localhost/x?y=1")).await.unwrap().into_inner();
    let chosen = told.chosen.unwrap();
    assert_eq!((chosen.router.as_str(), chosen.usable), ("web@pancake", 1));
    assert_eq!(chosen.servers[0].url, "http://127.0.0.1:9001");
    let told = control.client.explain(ask("http://other.localhost/")).await.unwrap().into_inner();
    assert!(told.chosen.is_none() && told.outcome.contains("404"), "{}", told.outcome);
    assert!(control.client.explain(ask("http://[")).await.is_err());
    control.stop().await;
}

#[tokio::test]
async fn a_watcher_sees_changes_in_order() {
    use api::event::Kind;
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    control.register(web("a", 9001)).await;
    let watch = api::WatchRequest { initial: true, service: String::new() };
    let mut events = control.client.watch(watch).await.unwrap().into_inner();
    let first = events.message().await.unwrap().unwrap();
    assert!(matches!(&first.kind, Some(Kind::Instance(i)) if i.instance.as_ref().unwrap().id == "a"));
    control.client.deregister(api::DeregisterRequest { instance_id: "a".into() }).await.unwrap();
    let mut last = 0;
    loop {
        let event = events.message().await.unwrap().unwrap();
        assert!(event.sequence > last, "the order of events");
        last = event.sequence;
        let Some(Kind::Instance(changed)) = event.kind else { continue };
        let instance = changed.instance.unwrap();
        if instance.state() == api::InstanceState::Tombstone {
            assert_eq!(changed.previous, Some(api::InstanceState::Alive.into()));
            break;
        }
    }
    control.stop().await;
}
