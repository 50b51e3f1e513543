use pancake_api::routing::routing_client::RoutingClient;
use pancake_table::proto;
use proto::proxy_message::Message;
use tonic::Code;

use crate::harness::{Control, channel, servers, settings, web};

#[tokio::test]
async fn a_refusal_is_shown_with_its_reasons_until_a_later_version_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    let mut proxy = control.proxy("p1").await;
    let first = proxy.next().await;
    control.register(web("a", 9001)).await;
    let refused = proxy.refuse("cannot be served here").await;
    let status = control.until_status("the refusal", |s| s.proxies[0].nacked_version == refused).await;
    assert_eq!(status.proxies[0].serving_version, first.version);
    let reasons = &status.proxies[0].nack_reasons;
    assert_eq!(reasons, &["router web@pancake: rule: cannot be served here"]);
    control.register(web("b", 9002)).await;
    proxy.until("the next one", |s| servers(s, "web@pancake").len() == 2).await;
    control.until_status("no refusal", |s| s.proxies[0].nacked_version == 0).await;
    control.stop().await;
}

#[tokio::test]
async fn a_slow_proxy_skips_to_the_newest() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    let mut proxy = control.proxy("p1").await;
    proxy.acks = false;
    let first = proxy.stream.message().await.unwrap().unwrap();
    for i in 0..5 {
        control.register(web(&format!("i{i}"), 9001 + i)).await;
        control.until_status("published", |s| s.servers == u32::from(i) + 1).await;
    }
    let ack = proto::Ack { version: first.snapshot.unwrap().version, nonce: first.nonce };
    proxy.say(Message::Ack(ack)).await;
    assert_eq!(servers(&proxy.next().await, "web@pancake").len(), 5, "what lies between is skipped");
    control.stop().await;
}

#[tokio::test]
async fn a_proxy_gets_no_routers_for_entry_points_that_it_lacks() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    let mut web_only = control.proxy("p1").await;
    let mut both = control.proxy_serving("p2", 0, &["web", "admin"]).await;
    let mut request = web("a", 9001);
    request.routers[0].entry_points = vec!["admin".into()];
    control.register(request).await;
    let there = |s: &proto::Snapshot| !servers(s, "web@pancake").is_empty();
    assert_eq!(both.until("the server is there", there).await.routers.len(), 1);
    assert_eq!(web_only.until("the server is there", there).await.routers.len(), 0);
    control.stop().await;
}

#[tokio::test]
async fn a_stream_must_begin_with_a_good_hello() {
    let directory = tempfile::tempdir().unwrap();
    let control = Control::start(settings(directory.path())).await;
    let ack = Message::Ack(proto::Ack::default());
    let bad_hello = Message::Hello(proto::Hello::default());
    for first in [ack, bad_hello] {
        let mut client = RoutingClient::new(channel(&control.running).await);
        let messages = tokio_stream::once(proto::ProxyMessage { message: Some(first) });
        let mut stream = client.stream(messages).await.unwrap().into_inner();
        assert_eq!(stream.message().await.unwrap_err().code(), Code::InvalidArgument);
    }
    control.stop().await;
}

#[tokio::test]
async fn a_proxy_that_connects_again_ends_its_old_stream() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::start(settings(directory.path())).await;
    let mut old = control.proxy("p1").await;
    old.next().await;
    let mut new = control.proxy("p1").await;
    new.next().await;
    old.drained("x").await;
    assert_eq!(old.stream.message().await.unwrap_err().code(), Code::Aborted);
    let status = control.status().await;
    assert_eq!((status.proxies.len(), status.proxies[0].connected), (1, true));
    control.stop().await;
}

#[tokio::test]
async fn a_stop_tells_the_proxies() {
    let directory = tempfile::tempdir().unwrap();
    let control = Control::start(settings(directory.path())).await;
    let mut proxy = control.proxy("p1").await;
    proxy.next().await;
    control.stop().await;
    assert_eq!(proxy.stream.message().await.unwrap_err().code(), Code::Unavailable);
}
