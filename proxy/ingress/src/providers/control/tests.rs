//! The stream against a control plane that says exactly what a test wants, byte by byte.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use pancake_session::meter::{Opened, ServerMeter};
use pancake_table::proto::proxy_message::Message as Said;
use pancake_table::proto::{self as pb, ProxyMessage};
use pancake_table::snapshot::{ServiceKind, Snapshot};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::change::tests::{owner, snapshot};
use crate::change::{Provider, ProviderState};

/// One end of a stream as the control plane has it.
struct Stream {
    say: UnboundedSender<Bytes>,
    heard: UnboundedReceiver<ProxyMessage>,
}

impl Stream {
    fn send(&self, nonce: u64, version: u64, objects: usize) {
        self.send_snapshot(nonce, pb::Snapshot { version, ..(&snapshot(Provider::Pancake, objects)).into() });
    }

    fn send_snapshot(&self, nonce: u64, snapshot: pb::Snapshot) {
        self.send_bytes(&pb::ControlMessage { nonce, snapshot: Some(snapshot) }.encode_to_vec());
    }

    /// One gRPC message: not compressed, length, bytes.
    fn send_bytes(&self, message: &[u8]) {
        let mut frame = vec![0];
        frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(message);
        self.say.send(frame.into()).unwrap();
    }

    async fn hear(&mut self) -> Said {
        let heard = tokio::time::timeout(Duration::from_secs(20), self.heard.recv()).await;
        heard.expect("an answer in time").expect("the stream lives").message.unwrap()
    }

    async fn hello(&mut self) -> pb::Hello {
        match self.hear().await {
            Said::Hello(hello) => hello,
            other => panic!("{other:?}"),
        }
    }

    async fn ack(&mut self) -> (u64, u64) {
        match self.hear().await {
            Said::Ack(ack) => (ack.nonce, ack.version),
            other => panic!("{other:?}"),
        }
    }

    async fn nack(&mut self) -> pb::Nack {
        match self.hear().await {
            Said::Nack(nack) => nack,
            other => panic!("{other:?}"),
        }
    }
}

/// A control plane, and a proxy that follows it.
struct Rig {
    streams: Rc<RefCell<VecDeque<Stream>>>,
    view: Arc<ArcSwap<View>>,
    status: Arc<Status>,
    opened: UnboundedSender<Opened>,
}

impl Rig {
    async fn start() -> Rig {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let streams = Rc::new(RefCell::new(VecDeque::new()));
        spawn_local(accept(listener, streams.clone()));
        let owner = owner();
        let (opened, receiver) = unbounded_channel();
        let (view, changed) = (owner.view(), owner.changed());
        let status = Arc::new(Status::new(endpoint.clone()));
        spawn_local(run(Parts {
            endpoint,
            proxy_id: "proxy-1".into(),
            entry_points: vec!["web".into()],
            changes: Handle::spawn(owner).unwrap().0,
            view: view.clone(),
            meters: Arc::new(Meters::new(vec![], receiver)),
            status: status.clone(),
            changed,
        }));
        Rig { streams, view, status, opened }
    }

    async fn stream(&self) -> Stream {
        let taken = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                if let Some(stream) = self.streams.borrow_mut().pop_front() {
                    return stream;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        taken.await.expect("a stream in time")
    }

    fn routes(&self) -> usize {
        self.view.load().table.routes.len()
    }
}

async fn accept(listener: TcpListener, streams: Rc<RefCell<VecDeque<Stream>>>) {
    while let Ok((socket, _)) = listener.accept().await {
        let streams = streams.clone();
        spawn_local(async move {
            let Ok(mut connection) = h2::server::handshake(socket).await else { return };
            while let Some(Ok((request, respond))) = connection.accept().await {
                assert_eq!(request.uri().path(), "/pancake.routing.v1.Routing/Stream");
                let (say, says) = unbounded_channel();
                let (hear, heard) = unbounded_channel();
                spawn_local(read(request.into_body(), hear));
                spawn_local(write(respond, says));
                streams.borrow_mut().push_back(Stream { say, heard });
            }
        });
    }
}

async fn read(mut body: h2::RecvStream, hear: UnboundedSender<ProxyMessage>) {
    let mut buffer = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        buffer.extend_from_slice(&data);
        while buffer.len() >= 5 {
            let length = u32::from_be_bytes(buffer[1..5].try_into().unwrap()) as usize;
            if buffer.len() < 5 + length {
                break;
            }
            let message = ProxyMessage::decode(&buffer[5..5 + length]).unwrap();
            buffer.drain(..5 + length);
            if hear.send(message).is_err() {
                return;
            }
        }
    }
}

/// Ends the stream in good order when the test drops its end.
async fn write(mut respond: h2::server::SendResponse<Bytes>, mut says: UnboundedReceiver<Bytes>) {
    let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut body = respond.send_response(head, false).unwrap();
    while let Some(mut bytes) = says.recv().await {
        while !bytes.is_empty() {
            body.reserve_capacity(bytes.len());
            match std::future::poll_fn(|cx| body.poll_capacity(cx)).await {
                Some(Ok(room)) if body.send_data(bytes.split_to(room.min(bytes.len())), false).is_ok() => {}
                _ => return,
            }
        }
    }
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let _ = body.send_trailers(trailers);
}

fn local<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test)
}

#[test]
fn a_snapshot_is_acked_by_nonce_and_serves() {
    local(async {
        let rig = Rig::start().await;
        let mut stream = rig.stream().await;
        let hello = stream.hello().await;
        assert_eq!(
            (&*hello.proxy_id, hello.serving_version, &*hello.entry_points),
            ("proxy-1", 0, &["web".into()][..])
        );
        stream.send(41, 5, 3);
        assert_eq!(stream.ack().await, (41, 5));
        assert_eq!(rig.routes(), 3);
        assert!(rig.status.is_connected());
    });
}

#[test]
fn a_faulty_snapshot_is_nacked_with_every_reason_and_the_last_good_one_serves() {
    local(async {
        let rig = Rig::start().await;
        let mut stream = rig.stream().await;
        stream.hello().await;
        stream.send(1, 1, 3);
        stream.ack().await;
        let mut bad = snapshot(Provider::Pancake, 3);
        bad.routers[0].rule = "Host(".into();
        bad.routers[1].service = "nowhere@pancake".into();
        stream.send_snapshot(2, pb::Snapshot { version: 2, ..(&bad).into() });
        let nack = stream.nack().await;
        assert_eq!((nack.nonce, nack.version, nack.problems.len()), (2, 2, 2), "{nack:?}");
        assert_eq!(rig.routes(), 3);
        stream.send(3, 3, 4);
        assert_eq!(stream.ack().await, (3, 3));
        assert_eq!(rig.routes(), 4);
    });
}

#[test]
fn hostile_messages_leave_what_serves() {
    local(async {
        let rig = Rig::start().await;
        let mut stream = rig.stream().await;
        stream.hello().await;
        stream.send(1, 1, 3);
        stream.ack().await;
        let routers = vec![pb::Router::default(); 1_000_000];
        stream.send_snapshot(2, pb::Snapshot { version: 2, routers, ..pb::Snapshot::default() });
        let nack = stream.nack().await;
        assert!(nack.problems[0].message.contains("1000000 routers"), "{nack:?}");
        // No message at all, a length of 1 GiB, a compressed message: each ends the stream, and the next one begins.
        let frames: [&[u8]; 3] = [&[0, 0, 0, 0, 2, 0xff, 0xff], &[0, 0x40, 0, 0, 0], &[1, 0, 0, 0, 1, 0]];
        for frame in frames {
            stream.say.send(Bytes::copy_from_slice(frame)).unwrap();
            stream = rig.stream().await;
            assert_eq!(stream.hello().await.serving_version, 1);
            assert_eq!(rig.routes(), 3);
        }
        assert!(rig.status.failures() >= 3);
        stream.send(9, 2, 4);
        assert_eq!(stream.ack().await, (9, 2));
    });
}

#[test]
fn older_and_collapsing_snapshots_are_refused() {
    local(async {
        let rig = Rig::start().await;
        let mut stream = rig.stream().await;
        stream.hello().await;
        stream.send(1, 7, 12);
        stream.ack().await;
        stream.send(2, 6, 12);
        assert!(stream.nack().await.problems[0].message.contains("older than 7"));
        stream.send(3, 8, 0);
        assert!(stream.nack().await.problems[0].message.contains("allow_empty"));
        assert_eq!(rig.view.load().provider(Provider::Pancake).state, ProviderState::Refused);
        stream.send_snapshot(4, pb::Snapshot { version: 9, allow_empty: true, ..pb::Snapshot::default() });
        assert_eq!(stream.ack().await, (4, 9));
        assert_eq!(rig.routes(), 0);
    });
}

#[test]
fn the_stream_comes_back_and_says_what_serves() {
    local(async {
        let rig = Rig::start().await;
        let mut stream = rig.stream().await;
        stream.hello().await;
        stream.send(1, 5, 2);
        stream.ack().await;
        drop(stream);
        let mut stream = rig.stream().await;
        assert_eq!(stream.hello().await.serving_version, 5);
        assert_eq!(rig.routes(), 2);
        stream.send(1, 5, 2);
        assert_eq!(stream.ack().await, (1, 5));
        assert_eq!(rig.view.load().reloads, 1);
    });
}

#[test]
fn a_drain_is_confirmed_when_nothing_is_in_flight() {
    local(async {
        let rig = Rig::start().await;
        let mut stream = rig.stream().await;
        stream.hello().await;
        let mut draining: Snapshot = snapshot(Provider::Pancake, 2);
        for (n, service) in draining.services.iter_mut().enumerate() {
            let ServiceKind::LoadBalancer(balancer) = &mut service.kind;
            balancer.servers[0].id = format!("instance-{n}");
            balancer.servers[0].draining = n == 1;
        }
        let meter = Arc::new(ServerMeter::default());
        meter.in_flight.add(1);
        let server = Opened::Server { id: "instance-1".into(), url: "".into(), meter: meter.clone() };
        rig.opened.send(server).unwrap();
        stream.send_snapshot(1, pb::Snapshot { version: 1, ..(&draining).into() });
        stream.ack().await;
        let early = tokio::time::timeout(Duration::from_millis(350), stream.heard.recv()).await;
        assert!(early.is_err(), "{early:?}");
        meter.in_flight.sub(1);
        assert!(matches!(stream.hear().await, Said::Drained(drained) if drained.server_id == "instance-1"));
        drop(stream);
        let mut stream = rig.stream().await;
        stream.hello().await;
        assert!(matches!(stream.hear().await, Said::Drained(drained) if drained.server_id == "instance-1"));
    });
}
