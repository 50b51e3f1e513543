use std::fmt::Write;

use pancake_api::control as api;

use crate::harness::{Backend, Control, checked, servers, settings, web};

#[tokio::test]
async fn a_service_whose_instances_all_fail_keeps_them_and_raises_an_alarm() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    let mut proxy = control.proxy("p1").await;
    let (a, b) = (Backend::start().await, Backend::start().await);
    control.register(checked("a", a.port)).await;
    control.register(checked("b", b.port)).await;
    proxy.until("both are in", |s| servers(s, "web@pancake").len() == 2).await;
    a.set_healthy(false);
    proxy.until("a is out", |s| servers(s, "web@pancake").len() == 1).await;
    b.set_healthy(false);
    let status = control.until_status("an alarm", |s| !s.alarms.is_empty()).await;
    assert_eq!(status.alarms[0].subject, "service web");
    assert!(status.alarms[0].message.contains("stay in rotation"), "{}", status.alarms[0].message);
    control.register(web("other", 9003)).await;
    // The new instance has no check: with it the service has a live one, and the failing one goes.
    let snapshot =
        proxy.until("b is out", |s| servers(s, "web@pancake") == [("other".to_owned(), false)]).await;
    assert!(!snapshot.allow_empty);
    control.until_status("no alarm", |s| s.alarms.is_empty()).await;
    control.stop().await;
}

#[tokio::test]
async fn the_last_instance_leaves_when_it_is_deregistered() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    let mut proxy = control.proxy("p1").await;
    control.register(web("a", 9001)).await;
    proxy.until("it is in", |s| servers(s, "web@pancake").len() == 1).await;
    control.client.deregister(api::DeregisterRequest { instance_id: "a".into() }).await.unwrap();
    let snapshot = proxy.until("it is out", |s| servers(s, "web@pancake").is_empty()).await;
    assert!(snapshot.allow_empty && snapshot.routers.is_empty());
    assert_eq!(control.status().await.held, "");
    control.stop().await;
}

fn file(services: usize) -> String {
    (0..services).fold("services:\n".to_owned(), |mut text, i| {
        writeln!(text, "  s{i}: {{rule: 'Host(`s{i}.localhost`)', instances: ['127.0.0.1:{}']}}", 9000 + i)
            .unwrap();
        text
    })
}

#[tokio::test]
async fn a_collapse_is_held_back_until_a_person_releases_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("services.yml");
    std::fs::write(&path, file(20)).unwrap();
    let mut settings = settings(directory.path());
    settings.services = Some(path.clone());
    let mut control = Control::start(settings).await;
    let mut proxy = control.proxy("p1").await;
    let before = proxy.until("all are in", |s| s.routers.len() == 20).await;
    std::fs::write(&path, file(3)).unwrap();
    let status = control.until_status("it is held", |s| !s.held.is_empty()).await;
    assert!(status.held.contains("17 of 20"), "{}", status.held);
    assert!(status.alarms.iter().any(|a| a.subject == "snapshot"));
    assert_eq!(status.published_version, before.version);
    let released = control.client.release_hold(api::ReleaseHoldRequest {}).await.unwrap().into_inner();
    assert!(released.released);
    proxy.until("it is out", |s| s.routers.len() == 3).await;
    let status = control.until_status("nothing is held", |s| s.held.is_empty()).await;
    assert!(status.alarms.is_empty(), "{:?}", status.alarms);
    let again = control.client.release_hold(api::ReleaseHoldRequest {}).await.unwrap().into_inner();
    assert!(!again.released);
    control.stop().await;
}
