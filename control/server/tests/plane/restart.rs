use pancake_api::control as api;

use crate::harness::{Backend, Control, checked, servers, settings, web};

#[tokio::test]
async fn a_restart_keeps_everything_and_takes_nothing_out() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    let mut proxy = control.proxy("p1").await;
    let backend = Backend::start().await;
    control.register(checked("checked", backend.port)).await;
    control.register(web("plain", 9001)).await;
    control.register(api::RegisterRequest { ttl_ms: 60_000, ..web("beats", 9002) }).await;
    let drain = api::DrainRequest { instance_id: "plain".into(), wait: false, cancel: false };
    control.client.drain(drain).await.unwrap();
    let router = api::Router {
        name: "extra".into(),
        rule: "PathPrefix(`/x`)".into(),
        service: "web".into(),
        ..Default::default()
    };
    control.client.put_router(api::PutRouterRequest { router: Some(router) }).await.unwrap();
    let expected = [("beats".to_owned(), false), ("checked".to_owned(), false), ("plain".to_owned(), true)];
    let before = proxy
        .until("all is published", |s| servers(s, "web@pancake") == expected && s.routers.len() == 2)
        .await;
    let incarnation = control.instance("plain").await.unwrap().incarnation;
    control.stop().await;

    let mut control = Control::start(settings(directory.path())).await;
    let mut proxy = control.proxy_serving("p1", before.version, &["web"]).await;
    // It may confirm what it serves before it is sent anything.
    proxy.drained("plain").await;
    let after = proxy.next().await;
    assert!(after.version > before.version);
    assert_eq!((&after.services, &after.routers), (&before.services, &before.routers));
    let plain = control.instance("plain").await.unwrap();
    assert_eq!(plain.state(), api::InstanceState::Draining);
    assert!(plain.incarnation > incarnation);
    // The drain goes on where it was.
    let drain = api::DrainRequest { instance_id: "plain".into(), wait: true, cancel: false };
    let mut progress = control.client.drain(drain).await.unwrap().into_inner();
    let mut drained = false;
    while let Some(seen) = progress.message().await.unwrap() {
        drained = seen.drained;
    }
    assert!(drained);
    control.stop().await;
}

#[tokio::test]
async fn a_drain_waits_for_proxies_of_before_the_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    let mut proxy = control.proxy("p1").await;
    control.register(web("a", 9001)).await;
    proxy.until("it is in", |s| servers(s, "web@pancake").len() == 1).await;
    control.stop().await;
    let mut slow = settings(directory.path());
    slow.proxy_grace = std::time::Duration::from_secs(3600);
    let mut control = Control::start(slow).await;
    let drain = api::DrainRequest { instance_id: "a".into(), wait: true, cancel: false };
    let mut progress = control.client.drain(drain).await.unwrap().into_inner();
    loop {
        let seen = progress.message().await.unwrap().unwrap();
        assert!(!seen.drained, "{}", seen.message);
        if seen.message.contains("is away") {
            break;
        }
    }
    control.stop().await;
}

#[tokio::test]
async fn a_lost_store_does_not_leave_proxies_behind() {
    let directory = tempfile::tempdir().unwrap();
    let control = Control::start(settings(directory.path())).await;
    let mut proxy = control.proxy_serving("p1", 500, &["web"]).await;
    let snapshot = proxy.until("a later version", |s| s.version > 500).await;
    // Nothing is known, but that is no reason to empty the proxy.
    assert!(!snapshot.allow_empty);
    control.stop().await;
}

#[tokio::test]
async fn a_data_directory_serves_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let control = Control::start(settings(directory.path())).await;
    let second = pancake_control::boot::start(settings(directory.path())).await;
    let error = second.err().expect("refused").to_string();
    assert!(error.contains("in use by another process"), "{error}");
    let mut taken = settings(&directory.path().join("other"));
    taken.listen = control.running.address;
    let error = pancake_control::boot::start(taken).await.err().expect("refused").to_string();
    assert!(error.contains("--listen"), "{error}");
    control.stop().await;
}
