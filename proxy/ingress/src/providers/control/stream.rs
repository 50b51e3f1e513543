//! One stream, from hello to its end.

use std::time::Instant;

use bytes::Bytes;
use pancake_table::check;
use pancake_table::proto::proxy_message::Message;
use pancake_table::proto::{Ack, Drained, Hello, Nack, ProxyMessage};
use pancake_table::snapshot::Snapshot;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::Streaming;
use tonic::transport::{Channel, Endpoint};

use super::Parts;
use super::codec::RoutingCodec;
use super::drains::Drains;
use super::incoming::{self, Incoming};
use crate::change::{Outcome, Problem, Provider, Severity, Update};
use crate::limits::{
    CONTROL_CONNECT_TIMEOUT, CONTROL_KEEP_ALIVE_PERIOD, CONTROL_KEEP_ALIVE_TIMEOUT, CONTROL_SEND_QUEUE,
    CONTROL_WINDOW_BYTES, DRAIN_LOOK_PERIOD, MAX_CONTROL_MESSAGE_BYTES, MAX_NACK_PROBLEMS,
};

const METHOD: &str = "/pancake.routing.v1.Routing/Stream";

/// What outlives a stream.
pub(super) struct Session {
    parts: Parts,
    drains: Drains,
    followed: Option<u64>,
}

impl Session {
    pub(super) fn new(parts: Parts) -> Session {
        Session { parts, drains: Drains::default(), followed: None }
    }

    /// Opens a stream and follows it; returns why it ended.
    pub(super) async fn run(&mut self) -> String {
        match self.follow().await {
            Ok(()) => "the control plane ended the stream".into(),
            Err(reason) => reason,
        }
    }

    async fn follow(&mut self) -> Result<(), String> {
        let (outgoing, messages) = mpsc::channel(CONTROL_SEND_QUEUE);
        send(&outgoing, Message::Hello(self.hello())).await?;
        let mut incoming = self.open(messages).await?;
        self.parts.status.connected();
        self.drains.start_over();
        self.follow_drains();
        let mut looks = tokio::time::interval(DRAIN_LOOK_PERIOD);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = incoming.message() => match message.map_err(|status| told(&status))? {
                    Some(bytes) => self.take(bytes, &outgoing).await?,
                    None => return Ok(()),
                },
                _ = looks.tick(), if !self.drains.is_idle() => {
                    let meters = &self.parts.meters;
                    for server_id in self.drains.look(Instant::now(), |id| meters.in_flight(id)) {
                        send(&outgoing, Message::Drained(Drained { server_id })).await?;
                    }
                }
            }
        }
    }

    async fn open(&self, messages: mpsc::Receiver<ProxyMessage>) -> Result<Streaming<Bytes>, String> {
        let channel = endpoint(&self.parts.endpoint)?.connect().await.map_err(|error| chain(&error))?;
        let mut client: Grpc<Channel> =
            Grpc::new(channel).max_decoding_message_size(MAX_CONTROL_MESSAGE_BYTES);
        client.ready().await.map_err(|error| chain(&error))?;
        let path = http::uri::PathAndQuery::from_static(METHOD);
        let request = tonic::Request::new(ReceiverStream::new(messages));
        let answer = client.streaming(request, path, RoutingCodec);
        let answer = tokio::time::timeout(CONTROL_CONNECT_TIMEOUT, answer).await;
        let answer = answer.map_err(|_| format!("no answer within {CONTROL_CONNECT_TIMEOUT:?}"))?;
        Ok(answer.map_err(|status| told(&status))?.into_inner())
    }

    fn hello(&self) -> Hello {
        Hello {
            proxy_id: self.parts.proxy_id.clone(),
            program_version: env!("CARGO_PKG_VERSION").into(),
            serving_version: self.serving().version,
            entry_points: self.parts.entry_points.clone(),
        }
    }

    fn serving(&self) -> std::sync::Arc<Snapshot> {
        self.parts.view.load().provider(Provider::Pancake).snapshot.clone()
    }

    /// # Errors
    /// If the bytes are no message: then the two ends do not understand each other.
    async fn take(&mut self, bytes: Bytes, outgoing: &mpsc::Sender<ProxyMessage>) -> Result<(), String> {
        let read = self.parts.changes.prepare(move || incoming::read(bytes)).await;
        let incoming = match read.ok_or("the table thread is gone")? {
            Ok(incoming) => incoming,
            Err(reason) => {
                let reason = format!("the control plane sent what is no message: {reason}");
                self.parts.changes.fail(Provider::Pancake, vec![of_provider(reason.clone())]).await;
                return Err(reason);
            }
        };
        let Incoming { nonce, version, allow_empty, snapshot } = incoming;
        let problems = match snapshot {
            Err(problems) => self.refuse(problems.iter().map(of_check).collect()).await,
            Ok(_) if version < self.serving().version => {
                let serving = self.serving().version;
                self.refuse(vec![of_provider(format!(
                    "version {version} is older than {serving}, which serves"
                ))])
                .await
            }
            Ok(snapshot) => {
                let update = Update::from_control(snapshot, allow_empty);
                match self.parts.changes.submit(Provider::Pancake, update).await {
                    Outcome::Applied | Outcome::Unchanged => Vec::new(),
                    Outcome::Refused(problems) => problems,
                }
            }
        };
        if problems.is_empty() {
            self.follow_drains();
            send(outgoing, Message::Ack(Ack { version, nonce })).await
        } else {
            let problems = problems.iter().take(MAX_NACK_PROBLEMS).map(to_wire).collect();
            send(outgoing, Message::Nack(Nack { version, nonce, problems })).await
        }
    }

    /// Makes a refusal visible that the table thread did not see.
    async fn refuse(&self, problems: Vec<Problem>) -> Vec<Problem> {
        match self.parts.changes.fail(Provider::Pancake, problems.clone()).await {
            Outcome::Refused(problems) => problems,
            Outcome::Applied | Outcome::Unchanged => problems,
        }
    }

    fn follow_drains(&mut self) {
        let version = *self.parts.changed.borrow_and_update();
        if self.followed != Some(version) {
            self.followed = Some(version);
            let serving = self.serving();
            self.drains.follow(&serving);
        }
    }
}

/// How a control plane is connected to.
pub(crate) fn endpoint(address: &str) -> Result<Endpoint, String> {
    Ok(Endpoint::from_shared(address.to_owned())
        .map_err(|error| error.to_string())?
        .connect_timeout(CONTROL_CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(CONTROL_KEEP_ALIVE_PERIOD)
        .keep_alive_timeout(CONTROL_KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(CONTROL_WINDOW_BYTES)
        .initial_connection_window_size(CONTROL_WINDOW_BYTES))
}

/// Waits while the control plane does not read.
async fn send(outgoing: &mpsc::Sender<ProxyMessage>, message: Message) -> Result<(), String> {
    let sent = outgoing.send(ProxyMessage { message: Some(message) }).await;
    sent.map_err(|_| "the stream is closed".to_owned())
}

pub(crate) fn told(status: &tonic::Status) -> String {
    match status.message() {
        "" => format!("{:?}", status.code()),
        message => format!("{:?}: {message}", status.code()),
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = error.to_string();
        // Some errors say their cause themselves.
        if !text.contains(&why) {
            text = format!("{text}: {why}");
        }
        cause = error.source();
    }
    text
}

fn of_provider(reason: String) -> Problem {
    Problem::of_provider(Provider::Pancake, reason)
}

fn of_check(problem: &check::Problem) -> Problem {
    Problem {
        object: problem.object.clone(),
        field: problem.field.clone(),
        severity: Severity::Error,
        ..of_provider(problem.message.clone())
    }
}

fn to_wire(problem: &Problem) -> pancake_table::proto::Problem {
    pancake_table::proto::Problem {
        object: if problem.object.is_empty() { "snapshot".into() } else { problem.object.clone() },
        field: problem.field.clone(),
        message: problem.message.clone(),
    }
}
