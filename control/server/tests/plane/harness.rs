//! A control plane in this process, a proxy that only speaks the protocol, and a backend that can fall ill.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pancake_api::control as api;
use pancake_api::control::control_client::ControlClient;
use pancake_api::routing::routing_client::RoutingClient;
use pancake_control::boot::{Running, start};
use pancake_control::settings::Settings;
use pancake_model::name::NodeId;
use pancake_table::proto;
use proto::proxy_message::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

const DEADLINE: Duration = Duration::from_secs(20);

pub fn settings(directory: &Path) -> Settings {
    let node = NodeId::new("test").unwrap();
    let mut settings = Settings::new(node, "127.0.0.1:0".parse().unwrap(), directory.join("data"));
    settings.file_poll = Duration::from_millis(20);
    settings.coalesce = Duration::from_millis(10);
    settings.sweep = Duration::from_millis(20);
    settings.proxy_grace = Duration::from_millis(300);
    settings
}

pub struct Control {
    pub running: Running,
    pub client: ControlClient<Channel>,
}

impl Control {
    pub async fn start(settings: Settings) -> Control {
        let running = start(settings).await.unwrap();
        let channel = channel(&running).await;
        Control { running, client: ControlClient::new(channel) }
    }

    pub async fn stop(self) {
        drop(self.client);
        tokio::time::timeout(DEADLINE, self.running.stop()).await.expect("it stops");
    }

    pub async fn register(&mut self, request: api::RegisterRequest) -> api::RegisterResponse {
        self.client.register(request).await.unwrap().into_inner()
    }

    pub async fn status(&mut self) -> api::Status {
        self.client.get_status(api::GetStatusRequest {}).await.unwrap().into_inner()
    }

    pub async fn instance(&mut self, id: &str) -> Option<api::Instance> {
        let request = api::ListServicesRequest { include_tombstones: true, ..Default::default() };
        let services = self.client.list_services(request).await.unwrap().into_inner().services;
        services.into_iter().flat_map(|s| s.instances).find(|i| i.id == id)
    }

    pub async fn until_state(&mut self, id: &str, state: api::InstanceState) -> api::Instance {
        let client = self.client.clone();
        eventually(&format!("{id} is {state:?}"), || {
            let mut client = client.clone();
            async move {
                let request = api::ListServicesRequest { include_tombstones: true, ..Default::default() };
                let services = client.list_services(request).await.unwrap().into_inner().services;
                let mut instances = services.into_iter().flat_map(|s| s.instances);
                instances.find(|i| i.id == id && i.state() == state)
            }
        })
        .await
    }

    pub async fn until_status(&mut self, what: &str, holds: impl Fn(&api::Status) -> bool) -> api::Status {
        let client = self.client.clone();
        eventually(what, || {
            let mut client = client.clone();
            let holds = &holds;
            async move {
                let status = client.get_status(api::GetStatusRequest {}).await.unwrap().into_inner();
                holds(&status).then_some(status)
            }
        })
        .await
    }

    pub async fn proxy(&self, id: &str) -> Proxy {
        self.proxy_serving(id, 0, &["web"]).await
    }

    pub async fn proxy_serving(&self, id: &str, serving: u64, entry_points: &[&str]) -> Proxy {
        let (sender, receiver) = mpsc::channel(16);
        let hello = proto::Hello {
            proxy_id: id.into(),
            program_version: "test".into(),
            serving_version: serving,
            entry_points: entry_points.iter().map(ToString::to_string).collect(),
        };
        sender.send(proto::ProxyMessage { message: Some(Message::Hello(hello)) }).await.unwrap();
        let mut client = RoutingClient::new(channel(&self.running).await);
        let stream = client.stream(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Proxy { sender, stream, acks: true }
    }
}

pub async fn channel(running: &Running) -> Channel {
    Endpoint::new(format!("http://{}", running.address)).unwrap().connect().await.unwrap()
}

pub struct Proxy {
    sender: mpsc::Sender<proto::ProxyMessage>,
    pub stream: Streaming<proto::ControlMessage>,
    pub acks: bool,
}

impl Proxy {
    pub async fn say(&self, message: Message) {
        self.sender.send(proto::ProxyMessage { message: Some(message) }).await.unwrap();
    }

    pub async fn drained(&self, id: &str) {
        self.say(Message::Drained(proto::Drained { server_id: id.into() })).await;
    }

    /// The next snapshot; acknowledged unless `acks` is off.
    pub async fn next(&mut self) -> proto::Snapshot {
        let received = tokio::time::timeout(DEADLINE, self.stream.message()).await;
        let message = received.expect("a snapshot within the deadline").unwrap().expect("the stream is open");
        let snapshot = message.snapshot.unwrap();
        if self.acks {
            self.say(Message::Ack(proto::Ack { version: snapshot.version, nonce: message.nonce })).await;
        }
        snapshot
    }

    /// Takes snapshots until one is as wanted.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&proto::Snapshot) -> bool) -> proto::Snapshot {
        let started = Instant::now();
        loop {
            let snapshot = self.next().await;
            if holds(&snapshot) {
                return snapshot;
            }
            assert!(started.elapsed() < DEADLINE, "{what}: last was {snapshot:?}");
        }
    }

    /// Nothing newer came by the time that another change made its way through.
    pub async fn refuse(&mut self, message: &str) -> u64 {
        let received = self.stream.message().await.unwrap().unwrap();
        let version = received.snapshot.unwrap().version;
        let problem = proto::Problem {
            object: "router web@pancake".into(),
            field: "rule".into(),
            message: message.into(),
        };
        let nack = proto::Nack { version, nonce: received.nonce, problems: vec![problem] };
        self.say(Message::Nack(nack)).await;
        version
    }
}

/// (id, draining) of the servers of a service.
pub fn servers(snapshot: &proto::Snapshot, service: &str) -> Vec<(String, bool)> {
    let found = snapshot.services.iter().find(|s| s.name == service);
    let Some(proto::service::Kind::LoadBalancer(balancer)) = found.and_then(|s| s.kind.as_ref()) else {
        return Vec::new();
    };
    balancer.servers.iter().map(|s| (s.id.clone(), s.draining)).collect()
}

pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub struct Backend {
    pub port: u16,
    pub healthy: Arc<AtomicBool>,
}

impl Backend {
    pub async fn start() -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let healthy = Arc::new(AtomicBool::new(true));
        let well = healthy.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let well = well.load(Ordering::SeqCst);
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let status = if well { "200 OK" } else { "503 Service Unavailable" };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Backend { port, healthy }
    }

    pub fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::SeqCst);
    }
}

pub fn web(id: &str, port: u16) -> api::RegisterRequest {
    api::RegisterRequest {
        service: "web".into(),
        instance_id: id.into(),
        address: "127.0.0.1".into(),
        port: port.into(),
        routers: vec![api::Router { rule: "Host(`web.localhost`)".into(), ..Default::default() }],
        ..Default::default()
    }
}

pub fn checked(id: &str, port: u16) -> api::RegisterRequest {
    let http = api::HttpCheck { path: "/health".into(), ..Default::default() };
    let check = api::Check {
        kind: Some(api::check::Kind::Http(http)),
        interval_ms: 100,
        timeout_ms: 100,
        rise: 1,
        fall: 2,
    };
    api::RegisterRequest { check: Some(check), ..web(id, port) }
}
