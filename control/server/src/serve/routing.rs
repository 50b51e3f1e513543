//! `pancake.routing.v1.Routing`: one stream per proxy.
//!
//! The proxy says hello, is sent the published snapshot and then each newer one; while it has not answered, the
//! newer ones are skipped up to the last. What it answers goes into `crate::proxies`.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use pancake_api::routing::routing_server::Routing;
use pancake_store::Write;
use pancake_table::proto;
use proto::proxy_message::Message;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::plane::{Plane, stopped};
use crate::proxies::HelloError;
use crate::settings::{ANSWER_TIMEOUT, HELLO_TIMEOUT};

/// A proxy cannot lift the version above this: a number that no control plane reaches is a broken proxy.
const MAX_CREDIBLE_VERSION: u64 = 1 << 62;

/// The address of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The service.
pub struct RoutingService {
    plane: Arc<Plane>,
    stop: watch::Receiver<bool>,
}

impl RoutingService {
    /// Streams end when `stop` is set.
    pub fn new(plane: Arc<Plane>, stop: watch::Receiver<bool>) -> RoutingService {
        RoutingService { plane, stop }
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<proto::ControlMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Routing for RoutingService {
    type StreamStream = Messages;

    async fn stream(
        &self,
        request: Request<Streaming<proto::ProxyMessage>>,
    ) -> Result<Response<Messages>, Status> {
        let peer = request.extensions().get::<Peer>().map_or_else(String::new, |p| p.0.to_string());
        let incoming = request.into_inner();
        let (sender, receiver) = mpsc::channel(1);
        let (plane, stop) = (self.plane.clone(), self.stop.clone());
        // The answer's head goes out at once: a proxy may wait for it before it says hello.
        tokio::spawn(async move {
            if let Err(status) = serve(plane, stop, incoming, peer, &sender).await {
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

async fn serve(
    plane: Arc<Plane>,
    stop: watch::Receiver<bool>,
    mut incoming: Streaming<proto::ProxyMessage>,
    peer: String,
    sender: &mpsc::Sender<Result<proto::ControlMessage, Status>>,
) -> Result<(), Status> {
    let first = timeout(HELLO_TIMEOUT, incoming.message()).await;
    let first =
        first.map_err(|_| Status::deadline_exceeded(format!("no hello within {HELLO_TIMEOUT:?}")))??;
    let Some(Message::Hello(hello)) = first.and_then(|m| m.message) else {
        return Err(Status::invalid_argument("the first message must be a hello"));
    };
    let met = plane.update(|world, at| {
        let met = world.proxies.hello(&hello, peer.clone(), at.mono, at.unix_ms);
        if met.is_ok() {
            world.note_proxy(&hello.proxy_id);
        }
        met
    });
    let (connection, new) = met.map_err(|e| match e {
        HelloError::Invalid(_) => Status::invalid_argument(e.to_string()),
        HelloError::Full => Status::resource_exhausted(e.to_string()),
    })?;
    let proxy = hello.proxy_id.clone();
    tracing::info!(proxy, peer, serving = hello.serving_version, "proxy connected");
    if new && let Err(e) = plane.store(vec![Write::PutProxy(proxy.clone())]).await {
        tracing::error!(proxy, "not remembered: {e}");
    }
    let published = plane.read(|world| world.published().version);
    if hello.serving_version > published && hello.serving_version < MAX_CREDIBLE_VERSION {
        tracing::warn!(
            proxy,
            serving = hello.serving_version,
            published,
            "the proxy serves a later version; ours is lifted above it"
        );
        plane.raise_version_floor(hello.serving_version);
    }
    let entry_points = hello.entry_points;
    let mut stream = ProxyStream {
        plane: plane.clone(),
        proxy: proxy.clone(),
        connection,
        entry_points,
        nonce: 0,
        waiting: None,
    };
    let ended = stream.run(stop, &mut incoming, sender).await;
    let left = plane.update(|world, at| {
        let left = world.proxies.gone(&proxy, connection, at.mono, at.unix_ms);
        if left {
            world.note_proxy(&proxy);
        }
        left
    });
    match &ended {
        Err(status) if left => tracing::info!(proxy, "proxy left: {}", status.message()),
        _ => tracing::info!(proxy, "proxy left"),
    }
    ended
}

struct ProxyStream {
    plane: Arc<Plane>,
    proxy: String,
    connection: u64,
    entry_points: Vec<String>,
    nonce: u64,
    /// The nonce that an answer is due for, and until when it is waited for.
    waiting: Option<(u64, Instant)>,
}

impl ProxyStream {
    async fn run(
        &mut self,
        mut stop: watch::Receiver<bool>,
        incoming: &mut Streaming<proto::ProxyMessage>,
        sender: &mpsc::Sender<Result<proto::ControlMessage, Status>>,
    ) -> Result<(), Status> {
        let mut snapshots = self.plane.snapshots();
        // What is published serves at once; with version 0 nothing is published yet.
        snapshots.mark_changed();
        loop {
            let patience = self.waiting.map(|(_, until)| until);
            tokio::select! {
                message = incoming.message() => match message? {
                    Some(message) => self.take(message)?,
                    None => return Ok(()),
                },
                changed = snapshots.changed(), if self.waiting.is_none() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let published = snapshots.borrow_and_update().clone();
                    if published.version > 0 {
                        self.send(&published, sender).await?;
                    }
                }
                () = tokio::time::sleep_until(patience.unwrap_or_else(Instant::now)), if patience.is_some() => {
                    tracing::warn!(proxy = self.proxy, "no answer to a snapshot within {ANSWER_TIMEOUT:?}");
                    self.waiting = None;
                }
                () = sender.closed() => return Ok(()),
                () = stopped(&mut stop) => return Err(Status::unavailable("the control plane stops")),
            }
        }
    }

    async fn send(
        &mut self,
        published: &crate::publish::Published,
        sender: &mpsc::Sender<Result<proto::ControlMessage, Status>>,
    ) -> Result<(), Status> {
        self.nonce += 1;
        let snapshot = published.for_proxy(&self.entry_points);
        let message = proto::ControlMessage { nonce: self.nonce, snapshot: Some(snapshot) };
        self.plane.update_quietly(|w, _| w.proxies.sent(&self.proxy, self.connection, published.version));
        // Room for one message: a proxy that does not read does not make us keep more.
        timeout(ANSWER_TIMEOUT, sender.send(Ok(message)))
            .await
            .map_err(|_| Status::deadline_exceeded("the proxy does not read"))?
            .map_err(|_| Status::cancelled("the proxy is gone"))?;
        self.waiting = Some((self.nonce, Instant::now() + ANSWER_TIMEOUT));
        Ok(())
    }

    fn take(&mut self, message: proto::ProxyMessage) -> Result<(), Status> {
        if !self.plane.read(|w| w.proxies.is_current(&self.proxy, self.connection)) {
            return Err(Status::aborted(format!("{} connected again; this stream is over", self.proxy)));
        }
        match message.message {
            Some(Message::Ack(ack)) => {
                self.answered(ack.nonce);
                self.change(|proxies, id, connection| proxies.ack(id, connection, ack.version));
                tracing::debug!(proxy = self.proxy, version = ack.version, "acknowledged");
            }
            Some(Message::Nack(nack)) => {
                self.answered(nack.nonce);
                let reasons = self.change(|proxies, id, connection| proxies.nack(id, connection, &nack));
                tracing::warn!(proxy = self.proxy, version = nack.version, "refused: {}", reasons.join("; "));
            }
            Some(Message::Drained(drained)) => {
                let id = drained.server_id;
                if self.change(|proxies, proxy, connection| proxies.drained(proxy, connection, &id)) {
                    tracing::info!(proxy = self.proxy, instance = id, "drained");
                }
            }
            Some(Message::Hello(_)) => return Err(Status::invalid_argument("a second hello")),
            // From a newer proxy; what it means cannot be guessed.
            None => {}
        }
        Ok(())
    }

    fn answered(&mut self, nonce: u64) {
        if self.waiting.is_some_and(|(waiting, _)| nonce >= waiting) {
            self.waiting = None;
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut crate::proxies::Proxies, &str, u64) -> T) -> T {
        self.plane.update_quietly(|world, _| {
            let result = change(&mut world.proxies, &self.proxy, self.connection);
            world.note_proxy(&self.proxy);
            result
        })
    }
}
