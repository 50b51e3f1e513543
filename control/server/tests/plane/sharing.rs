use std::time::Duration;

use pancake_api::certificates::certificates_client::CertificatesClient;
use pancake_control::settings::SharingSettings;
use pancake_control::token::Token;
use pancake_table::certificates as wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Streaming};

use crate::harness::{Control, channel, settings};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

async fn start(directory: &std::path::Path) -> (Control, CertificatesClient<Channel>) {
    let mut settings = settings(directory);
    settings.sharing = Some(SharingSettings {
        token: Token::of(TOKEN).unwrap(),
        allow_plaintext: false,
        ticket_key_period: Duration::from_secs(1),
    });
    let control = Control::start(settings).await;
    let client = CertificatesClient::new(channel(&control.running).await);
    (control, client)
}

fn with_token<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    request
}

struct Follower {
    say: mpsc::Sender<wire::FollowRequest>,
    updates: Streaming<wire::Update>,
}

impl Follower {
    async fn start(client: &mut CertificatesClient<Channel>, name: &str) -> Follower {
        let (say, messages) = mpsc::channel(4);
        let hello = wire::follow_request::Message::Hello(wire::Hello { proxy_id: name.into() });
        say.send(wire::FollowRequest { message: Some(hello) }).await.unwrap();
        let updates = client.follow(with_token(ReceiverStream::new(messages))).await.unwrap().into_inner();
        Follower { say, updates }
    }

    async fn next(&mut self) -> wire::Update {
        let update = tokio::time::timeout(Duration::from_secs(20), self.updates.message()).await;
        update.expect("an update in time").unwrap().expect("the stream is open")
    }

    async fn ack(&self, revision: u64) {
        let ack = wire::follow_request::Message::Ack(wire::Ack { revision, refused: vec![] });
        self.say.send(wire::FollowRequest { message: Some(ack) }).await.unwrap();
    }
}

fn ask(holder: &str) -> wire::LeaseRequest {
    wire::LeaseRequest { resolver: "le".into(), holder: holder.into(), token: 0 }
}

#[tokio::test]
async fn keys_are_for_those_who_know_the_token() {
    let directory = tempfile::tempdir().unwrap();
    let (control, mut client) = start(directory.path()).await;
    assert_eq!(client.lease(ask("a")).await.unwrap_err().code(), Code::Unauthenticated);
    let mut wrong = Request::new(ask("a"));
    wrong.metadata_mut().insert("authorization", "Bearer 0123456789abcdef".parse().unwrap());
    assert_eq!(client.lease(wrong).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(client.lease(with_token(ask("a"))).await.unwrap().into_inner().token, 1);
    control.stop().await;

    let control = Control::start(settings(directory.path())).await;
    let mut client = CertificatesClient::new(channel(&control.running).await);
    let refused = client.lease(with_token(ask("a"))).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("--sharing-token-file"), "{refused}");
    control.stop().await;
}

#[tokio::test]
async fn an_answer_has_spread_when_every_follower_has_acknowledged_it() {
    let directory = tempfile::tempdir().unwrap();
    let (control, mut client) = start(directory.path()).await;
    let mut follower = Follower::start(&mut client, "p1").await;
    let first = follower.next().await;
    assert_eq!(first.ticket_keys.unwrap().keys.len(), 2);
    follower.ack(first.revision).await;
    let token = client.lease(with_token(ask("a"))).await.unwrap().into_inner().token;
    let http = wire::Http { token: "t".into(), key_authorization: "t.x".into() };
    let answer = Some(wire::Answer { kind: Some(wire::answer::Kind::Http(http)) });
    let publish = wire::PublishRequest { resolver: "le".into(), token, answer };
    let revision = client.publish(with_token(publish)).await.unwrap().into_inner().revision;
    let mut other = client.clone();
    let spread = tokio::spawn(async move {
        other.spread(with_token(wire::SpreadRequest { revision })).await.unwrap().into_inner().missing
    });
    loop {
        let update = follower.next().await;
        assert!(!spread.is_finished());
        follower.ack(update.revision).await;
        if update.answers.is_some_and(|all| all.answers.len() == 1) {
            break;
        }
    }
    assert!(spread.await.unwrap().is_empty());
    drop((follower, client));
    control.stop().await;
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart_and_lease_numbers_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let (control, mut client) = start(directory.path()).await;
    let token = client.lease(with_token(ask("a"))).await.unwrap().into_inner().token;
    let put = wire::PutRequest {
        resolver: Some(wire::Resolver { name: "le".into(), version: 0, document: b"{}".to_vec() }),
        token,
        summaries: vec![wire::Summary { domains: vec!["a".into()], not_after: 7, last_error: String::new() }],
    };
    assert_eq!(client.put(with_token(put.clone())).await.unwrap().into_inner().version, 1);
    assert_eq!(client.put(with_token(put)).await.unwrap_err().code(), Code::FailedPrecondition);
    let release = wire::ReleaseRequest { resolver: "le".into(), token };
    client.release(with_token(release)).await.unwrap();
    drop(client);
    control.stop().await;

    let (mut control, mut client) = start(directory.path()).await;
    let given = client.lease(with_token(ask("b"))).await.unwrap().into_inner();
    let resolver = given.resolver.unwrap();
    assert_eq!((given.token, resolver.version, &*resolver.document), (2, 1, &b"{}"[..]));
    let shown =
        control.client.list_certificates(pancake_api::control::ListCertificatesRequest {}).await.unwrap();
    let shown = shown.into_inner();
    assert_eq!((shown.resolvers[0].orders.as_str(), shown.resolvers[0].certificates[0].not_after), ("b", 7));
    drop(client);
    control.stop().await;
}

#[tokio::test]
async fn ticket_keys_rotate_and_followers_are_told_before_a_key_encrypts() {
    let directory = tempfile::tempdir().unwrap();
    let (control, mut client) = start(directory.path()).await;
    let mut follower = Follower::start(&mut client, "p1").await;
    let mut before = Vec::new();
    // Each period is a second, and each update is waited for.
    loop {
        let update = follower.next().await;
        follower.ack(update.revision).await;
        let now = update.ticket_keys.unwrap().keys;
        if before.len() >= 2 {
            assert!(now.len() > before.len() && before.iter().all(|key| now.contains(key)));
            break;
        }
        before = now;
    }
    drop((follower, client));
    control.stop().await;
}
