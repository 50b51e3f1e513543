use pancake_api::control as api;
use tonic::Code;

use crate::harness::{Control, servers, settings, web};

fn drain(id: &str, wait: bool, cancel: bool) -> api::DrainRequest {
    api::DrainRequest { instance_id: id.into(), wait, cancel }
}

#[tokio::test]
async fn a_drain_is_reported_when_every_proxy_confirmed() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    let (mut p1, mut p2) = (control.proxy("p1").await, control.proxy("p2").await);
    control.register(web("a", 9001)).await;
    control.register(web("b", 9002)).await;
    for proxy in [&mut p1, &mut p2] {
        proxy.until("both are in", |s| servers(s, "web@pancake").len() == 2).await;
    }
    let mut progress = control.client.drain(drain("a", true, false)).await.unwrap().into_inner();
    assert!(!progress.message().await.unwrap().unwrap().drained);
    for proxy in [&mut p1, &mut p2] {
        let draining =
            |s: &pancake_table::proto::Snapshot| servers(s, "web@pancake").contains(&("a".to_owned(), true));
        let snapshot = proxy.until("a is draining", draining).await;
        assert!(servers(&snapshot, "web@pancake").contains(&("b".to_owned(), false)));
    }
    p1.drained("a").await;
    loop {
        let seen = progress.message().await.unwrap().unwrap();
        assert!(!seen.drained, "p2 has not confirmed");
        if seen.proxies.iter().any(|p| p.confirmed) {
            let waiting: Vec<_> = seen.proxies.iter().filter(|p| !p.confirmed).collect();
            assert_eq!((waiting.len(), waiting[0].proxy_id.as_str()), (1, "p2"));
            break;
        }
    }
    p2.drained("a").await;
    let mut last = None;
    while let Some(seen) = progress.message().await.unwrap() {
        last = Some(seen);
    }
    assert!(last.unwrap().drained);
    let instance = control.until_state("a", api::InstanceState::Draining).await;
    assert!(instance.drained);
    // It stays complete, whoever comes later, and ends with the instance.
    let _p3 = control.proxy("p3").await;
    let mut again = control.client.drain(drain("a", true, false)).await.unwrap().into_inner();
    assert!(again.message().await.unwrap().unwrap().drained);
    control.client.deregister(api::DeregisterRequest { instance_id: "a".into() }).await.unwrap();
    p1.until("a is gone", |s| servers(s, "web@pancake").len() == 1).await;
    control.stop().await;
}

#[tokio::test]
async fn a_registration_does_not_end_a_drain_and_taking_it_back_does() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    let mut proxy = control.proxy("p1").await;
    control.register(web("a", 9001)).await;
    control.client.drain(drain("a", false, false)).await.unwrap();
    assert_eq!(control.register(web("a", 9001)).await.state(), api::InstanceState::Draining);
    assert_eq!(control.register(web("a", 9009)).await.state(), api::InstanceState::Draining);
    proxy.until("draining", |s| servers(s, "web@pancake") == [("a".to_owned(), true)]).await;
    control.client.drain(drain("a", false, true)).await.unwrap();
    proxy.until("alive again", |s| servers(s, "web@pancake") == [("a".to_owned(), false)]).await;
    let twice = control.client.drain(drain("a", false, true)).await;
    assert_eq!(twice.unwrap_err().code(), Code::FailedPrecondition);
    let unknown = control.client.drain(drain("nobody", false, false)).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    control.stop().await;
}

#[tokio::test]
async fn a_drain_waits_for_a_proxy_that_is_away_but_not_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    let mut proxy = control.proxy("p1").await;
    control.register(web("a", 9001)).await;
    control.register(web("b", 9002)).await;
    proxy.until("both are in", |s| servers(s, "web@pancake").len() == 2).await;
    drop(proxy);
    control.until_status("the proxy is away", |s| s.proxies.iter().all(|p| !p.connected)).await;
    let mut progress = control.client.drain(drain("a", true, false)).await.unwrap().into_inner();
    let first = progress.message().await.unwrap().unwrap();
    assert!(!first.drained, "{}", first.message);
    let mut last = first;
    while let Some(seen) = progress.message().await.unwrap() {
        last = seen;
    }
    assert!(last.drained, "{}", last.message);
    control.stop().await;
}
