//! `pancake.certificates.v1.Certificates`: what proxies share. Rules are `crate::sharing`'s; here are calls and streams.
//!
//! Who calls must know the token, and be on this machine unless keys over plaintext were allowed: there is no TLS here yet.

use std::pin::Pin;
use std::sync::Arc;

use pancake_api::certificates::certificates_server::Certificates;
use pancake_store::Write;
use pancake_table::certificates as wire;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wire::follow_request::Message;

use super::routing::Peer;
use crate::plane::{Plane, stopped};
use crate::settings::{ANSWER_TIMEOUT, HELLO_TIMEOUT, SPREAD_TIMEOUT};
use crate::sharing::leases::{Grant, LEASE};

/// The service.
pub struct CertificatesService {
    plane: Arc<Plane>,
    stop: watch::Receiver<bool>,
}

impl CertificatesService {
    /// Streams end when `stop` is set.
    pub fn new(plane: Arc<Plane>, stop: watch::Receiver<bool>) -> CertificatesService {
        CertificatesService { plane, stop }
    }

    /// Whether this caller may see keys.
    fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let Some(settings) = &self.plane.settings().sharing else {
            return Err(Status::failed_precondition(
                "certificates are not shared here; start pancake-control with --sharing-token-file",
            ));
        };
        let near =
            request.extensions().get::<Peer>().is_some_and(|peer| peer.0.ip().to_canonical().is_loopback());
        if !near && !settings.allow_plaintext {
            return Err(Status::permission_denied(
                "keys do not travel in plaintext to other machines; if the network is trusted, \
                 start pancake-control with --sharing-allow-plaintext",
            ));
        }
        let given = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if !settings.token.is_in(given.unwrap_or_default()) {
            return Err(Status::unauthenticated("the token is not the one of --sharing-token-file"));
        }
        Ok(())
    }
}

type Answer<T> = Result<Response<T>, Status>;
type Updates = Pin<Box<dyn Stream<Item = Result<wire::Update, Status>> + Send>>;

#[tonic::async_trait]
impl Certificates for CertificatesService {
    type FollowStream = Updates;

    async fn follow(&self, request: Request<Streaming<wire::FollowRequest>>) -> Answer<Updates> {
        self.admit(&request)?;
        let incoming = request.into_inner();
        let (sender, receiver) = mpsc::channel(1);
        let (plane, stop) = (self.plane.clone(), self.stop.clone());
        tokio::spawn(async move {
            if let Err(status) = serve(plane, stop, incoming, &sender).await {
                // The proxy may be gone.
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn lease(&self, request: Request<wire::LeaseRequest>) -> Answer<wire::LeaseResponse> {
        self.admit(&request)?;
        let asked = request.into_inner();
        let resolver = asked.resolver.clone();
        let plan = asked.clone();
        let grant = self.plane.commit_sharing(
            move |sharing, at| sharing.plan_lease(&plan, at.mono).map(|(grant, writes)| (writes, grant)),
            move |sharing, grant, at| {
                if let Grant::Yours { token, new } = grant {
                    sharing.lease(&asked, token, at.mono);
                    if new {
                        tracing::info!(resolver = asked.resolver, holder = asked.holder, token, "may order");
                    }
                }
                grant
            },
        );
        let (token, holder) = match grant.await? {
            Grant::Yours { token, .. } => (token, String::new()),
            Grant::Held(holder) => (0, holder),
        };
        Ok(Response::new(wire::LeaseResponse {
            token,
            lease_ms: u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX),
            holder,
            resolver: Some(self.plane.read(|world| world.sharing.resolver(&resolver))),
        }))
    }

    async fn release(&self, request: Request<wire::ReleaseRequest>) -> Answer<wire::ReleaseResponse> {
        self.admit(&request)?;
        let wire::ReleaseRequest { resolver, token } = request.into_inner();
        let plan = resolver.clone();
        self.plane
            .commit_sharing(
                move |sharing, _| Ok((sharing.plan_release(&plan, token), ())),
                move |sharing, (), at| sharing.release(&resolver, token, at.mono),
            )
            .await?;
        Ok(Response::new(wire::ReleaseResponse {}))
    }

    async fn put(&self, request: Request<wire::PutRequest>) -> Answer<wire::PutResponse> {
        self.admit(&request)?;
        let put = request.into_inner();
        let name = put.resolver.as_ref().map(|resolver| resolver.name.clone()).unwrap_or_default();
        let of = name.clone();
        let version = self.plane.commit_sharing(
            move |sharing, at| {
                let stored = sharing.plan_put(&put, at.mono, at.unix_ms)?;
                Ok((vec![Write::PutShared(of, Box::new(stored.clone()))], stored))
            },
            move |sharing, stored, _| sharing.put(&name, stored),
        );
        Ok(Response::new(wire::PutResponse { version: version.await? }))
    }

    async fn publish(&self, request: Request<wire::PublishRequest>) -> Answer<wire::PublishResponse> {
        self.admit(&request)?;
        let asked = request.into_inner();
        let revision = self.plane.share(|sharing, at| sharing.publish(asked, at.mono))?;
        Ok(Response::new(wire::PublishResponse { revision }))
    }

    async fn withdraw(&self, request: Request<wire::WithdrawRequest>) -> Answer<wire::WithdrawResponse> {
        self.admit(&request)?;
        self.plane.share(|sharing, _| sharing.withdraw(request.get_ref()));
        Ok(Response::new(wire::WithdrawResponse {}))
    }

    async fn spread(&self, request: Request<wire::SpreadRequest>) -> Answer<wire::SpreadResponse> {
        self.admit(&request)?;
        let revision = request.into_inner().revision;
        let end = Instant::now() + SPREAD_TIMEOUT;
        let mut changes = self.plane.sharing();
        loop {
            let behind = self.plane.read(|world| world.sharing.followers.behind(revision));
            let over = behind.is_empty() || !matches!(timeout_at(end, changes.changed()).await, Ok(Ok(())));
            if over {
                let mut missing = behind;
                missing.extend(self.plane.read(|world| world.sharing.followers.refusing()));
                return Ok(Response::new(wire::SpreadResponse { missing }));
            }
        }
    }
}

async fn serve(
    plane: Arc<Plane>,
    stop: watch::Receiver<bool>,
    mut incoming: Streaming<wire::FollowRequest>,
    sender: &mpsc::Sender<Result<wire::Update, Status>>,
) -> Result<(), Status> {
    let first = timeout(HELLO_TIMEOUT, incoming.message()).await;
    let first =
        first.map_err(|_| Status::deadline_exceeded(format!("no hello within {HELLO_TIMEOUT:?}")))??;
    let Some(Message::Hello(hello)) = first.and_then(|m| m.message) else {
        return Err(Status::invalid_argument("the first message must be a hello"));
    };
    let proxy = hello.proxy_id;
    let connection = plane.share(|sharing, _| sharing.followers.hello(&proxy))?;
    tracing::info!(proxy, "shares certificates");
    let mut stream = Follow { plane: plane.clone(), proxy: proxy.clone(), connection, sent: 0, until: None };
    let ended = stream.run(stop, &mut incoming, sender).await;
    plane.share(|sharing, _| sharing.followers.gone(&proxy, connection));
    tracing::info!(proxy, "shares certificates no more");
    ended
}

/// The stream of one proxy.
struct Follow {
    plane: Arc<Plane>,
    proxy: String,
    connection: u64,
    sent: u64,
    /// Until when an acknowledgement is waited for; none: none is due.
    until: Option<Instant>,
}

impl Follow {
    async fn run(
        &mut self,
        mut stop: watch::Receiver<bool>,
        incoming: &mut Streaming<wire::FollowRequest>,
        sender: &mpsc::Sender<Result<wire::Update, Status>>,
    ) -> Result<(), Status> {
        let mut changes = self.plane.sharing();
        changes.mark_changed();
        loop {
            let patience = self.until;
            tokio::select! {
                message = incoming.message() => match message? {
                    Some(message) => {
                        self.take(message)?;
                        // What changed while it was busy.
                        changes.mark_changed();
                    }
                    None => return Ok(()),
                },
                changed = changes.changed(), if self.until.is_none() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.send(sender).await?;
                }
                () = tokio::time::sleep_until(patience.unwrap_or_else(Instant::now)), if patience.is_some() => {
                    return Err(Status::deadline_exceeded(format!("no acknowledgement within {ANSWER_TIMEOUT:?}")));
                }
                () = sender.closed() => return Ok(()),
                () = stopped(&mut stop) => return Err(Status::unavailable("the control plane stops")),
            }
        }
    }

    async fn send(&mut self, sender: &mpsc::Sender<Result<wire::Update, Status>>) -> Result<(), Status> {
        let Some(update) = self.plane.read(|world| world.sharing.update(self.sent)) else { return Ok(()) };
        self.sent = update.revision;
        timeout(ANSWER_TIMEOUT, sender.send(Ok(update)))
            .await
            .map_err(|_| Status::deadline_exceeded("the proxy does not read"))?
            .map_err(|_| Status::cancelled("the proxy is gone"))?;
        self.until = Some(Instant::now() + ANSWER_TIMEOUT);
        Ok(())
    }

    fn take(&mut self, message: wire::FollowRequest) -> Result<(), Status> {
        match message.message {
            Some(Message::Ack(ack)) => {
                if ack.revision > self.sent {
                    return Err(Status::invalid_argument("it acknowledges what was not sent"));
                }
                if ack.revision == self.sent {
                    self.until = None;
                }
                let current = self.plane.share(|sharing, _| {
                    sharing.followers.acknowledge(&self.proxy, self.connection, ack.revision, &ack.refused)
                });
                if !ack.refused.is_empty() {
                    tracing::error!(proxy = self.proxy, "refused: {}", ack.refused.join("; "));
                }
                match current {
                    true => Ok(()),
                    false => {
                        Err(Status::aborted(format!("{} connected again; this stream is over", self.proxy)))
                    }
                }
            }
            Some(Message::Hello(_)) => Err(Status::invalid_argument("a second hello")),
            // From a newer proxy; what it means cannot be guessed.
            None => Ok(()),
        }
    }
}
