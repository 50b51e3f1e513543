//! HTTP/1.1 sessions (RFC 9110, RFC 9112).
//!
//! One session serves one client connection: requests one after the other, each an exchange with a server. What
//! this module does not do: parse bytes (that is `pancake-wire`), find routes (`pancake-table`).

/// The request up, the answer down.
mod attempt;
/// To a server, or to another.
mod connect;
/// One request and its answer.
mod exchange;
/// Calls of gRPC.
mod grpc;
/// Bytes received and not yet used.
pub(crate) mod input;
/// What is known of an exchange; its access record when it ends.
mod ledger;
/// The request head as the server gets it.
mod outgoing;
/// Moving a body from one side to the other.
mod pump;
/// Answers that the proxy makes itself.
mod reply;
/// Reading a request head and deciding what to do with it.
mod request;
/// The server's answer, head and body.
mod response;
/// After 101: bytes both ways.
mod tunnel;

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;

use pancake_engine::{Engine, Stream, Time, Want};
use pancake_wire::h1::head::{RequestHead, ResponseHead};

use crate::accept::yield_now;
use crate::front::Secured;
use crate::limits::{LINGER_BYTES, LINGER_TIME};
use crate::settings::EntryPoint;
use crate::stream::Conn;
use crate::worker::Worker;
pub(crate) use input::Input;
pub(crate) use pump::Inbound;

/// Memory reused by all sessions of a worker, borrowed only between awaits.
#[derive(Default)]
pub(crate) struct Scratch {
    request: RequestHead,
    response: ResponseHead,
    host: String,
    path: String,
    forwarded_path: Vec<u8>,
    date: reply::Date,
}

/// The client's side of a session.
pub(crate) struct Client<S> {
    stream: S,
    input: Input,
    entry: Rc<EntryPoint>,
    /// Who it is, as far as is known: the connection's peer, or whom a trusted PROXY header names.
    peer: SocketAddr,
    /// Its address as text, for headers and records.
    peer_ip: Box<str>,
    opened: Time,
    /// When the first byte of the current request came.
    asked: Time,
    /// Requests read so far.
    requests: u64,
    /// None: it came without TLS.
    secured: Option<Secured>,
    /// What the client really speaks, if this is only how the exchange sees it.
    protocol: Option<&'static str>,
}

/// What an answer over TLS says of HTTP/3, as a whole line (RFC 7838). Who came by it need not be told.
fn alt_svc<'a>(entry: &'a EntryPoint, secured: Option<&Secured>, protocol: Option<&str>) -> Option<&'a str> {
    let line = entry.alt_svc.as_deref()?;
    (secured.is_some() && protocol != Some("HTTP/3.0")).then_some(line)
}

/// A client connection that speaks HTTP/1.
pub(crate) struct Arrival<S> {
    pub(crate) stream: S,
    /// What it has said already.
    pub(crate) input: Input,
    pub(crate) entry: Rc<EntryPoint>,
    /// Who it is, as far as is known.
    pub(crate) peer: SocketAddr,
    pub(crate) opened: Time,
    /// None: it came without TLS.
    pub(crate) secured: Option<Secured>,
    /// What the client really speaks, if this is only how the exchange sees it.
    pub(crate) protocol: Option<&'static str>,
}

/// What to do with the client's connection after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another request may follow.
    Keep,
    /// Nothing more to say or hear.
    Close,
    /// The answer must arrive although the client may still be sending.
    Linger,
    /// The answer is incomplete and the client must notice.
    Reset,
}

/// Serves one client connection until it ends. Not an `async fn`: that would hold its arguments beside what becomes of
/// them for as long as the connection lives.
pub(crate) fn serve<E: Engine>(worker: Rc<Worker<E>>, arrival: Arrival<Conn<E>>) -> impl Future<Output = ()> {
    let Arrival { stream, input, entry, peer, opened, secured, protocol } = arrival;
    let peer_ip = peer.ip().to_canonical().to_string().into();
    let mut client =
        Client { stream, input, entry, peer, peer_ip, opened, asked: opened, requests: 0, secured, protocol };
    async move {
        while let Some(job) = exchange::next_request(&worker, &mut client).await {
            let next;
            (client, next) = worker.exchanges.start(exchange::run(worker.clone(), client, job)).await;
            match next {
                // A client that pipelines without pause must not keep the others waiting.
                Next::Keep if !client.input.is_empty() => yield_now().await,
                Next::Keep => {}
                Next::Close => return,
                Next::Reset => return client.stream.reset_on_drop(),
                Next::Linger => return linger(&worker.engine, &client.stream).await,
            }
        }
    }
}

/// Half-closes and reads away what the client still sends, so that no reset overtakes the answer
/// (RFC 9112 section 9.6).
async fn linger<E: Engine>(engine: &E, stream: &Conn<E>) {
    if stream.shutdown().is_err() {
        return;
    }
    let until = engine.now().after(LINGER_TIME);
    let mut left = LINGER_BYTES;
    while let Ok(bytes) = stream.recv(Want::Some, until).await {
        if bytes.is_empty() || bytes.len() > left {
            return;
        }
        left -= bytes.len();
    }
}
