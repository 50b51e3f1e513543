//! One access record per exchange.

use std::net::SocketAddr;
use std::time::Duration;

use crate::meter::Method;

/// The phases of a request; their names are the same in code, access log and manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reading and checking the request.
    Http1,
    /// Finding the router.
    Lookup,
    /// Choosing the server.
    Pick,
    /// Connecting to it.
    Connect,
    /// Exchanging messages with it.
    Forward,
}

impl Phase {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Http1 => "http1",
            Phase::Lookup => "lookup",
            Phase::Pick => "pick",
            Phase::Connect => "connect",
            Phase::Forward => "forward",
        }
    }
}

/// Why the proxy itself answered, or gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where it happened.
    pub phase: Phase,
    /// What happened, a stable slug such as `connect-refused`.
    pub reason: &'static str,
    /// What the client gets; 499 means that it had left.
    pub status: u16,
}

impl Failure {
    /// Puts the three together.
    pub const fn new(phase: Phase, reason: &'static str, status: u16) -> Failure {
        Failure { phase, reason, status }
    }
}

/// Request text kept for the record. Only filled when the sink asks for it.
#[derive(Debug, Default)]
pub struct Text {
    /// Method as sent.
    pub method: String,
    /// Target as sent.
    pub target: String,
    /// `HTTP/1.0` or `HTTP/1.1`.
    pub protocol: &'static str,
    /// `Host` as sent.
    pub host: String,
    /// `Referer` as sent.
    pub referer: String,
    /// `User-Agent` as sent.
    pub user_agent: String,
}

/// What one exchange was.
#[derive(Debug)]
pub struct Record<'a> {
    /// Wall-clock start, since the Unix epoch.
    pub start: Duration,
    /// From the first byte of the head to the end of the answer.
    pub duration: Duration,
    /// Waiting for and reading from the server.
    pub origin_duration: Duration,
    /// Entry point.
    pub entry_point: &'a str,
    /// The connection's peer.
    pub peer: SocketAddr,
    /// Request text, if the sink wants it.
    pub text: Option<&'a Text>,
    /// Method.
    pub method: Method,
    /// Status that the client got.
    pub status: u16,
    /// Status of the server, 0 if none.
    pub origin_status: u16,
    /// Request body bytes read.
    pub request_bytes: u64,
    /// Response body bytes sent.
    pub response_bytes: u64,
    /// Router, if one matched.
    pub router: Option<&'a str>,
    /// Service, if a router matched.
    pub service: Option<&'a str>,
    /// Server URL, if one was chosen.
    pub server: Option<&'a str>,
    /// Times that the request was sent again.
    pub retries: u32,
    /// Why the proxy answered by itself or gave up.
    pub failure: Option<Failure>,
}

/// Where records go. Called on the worker: it must not block.
pub trait Sink {
    /// Whether [`Record::text`] is to be filled.
    fn wants_text(&self) -> bool;
    /// Takes one record.
    fn record(&self, record: &Record<'_>);
    /// A TLS handshake failed before there was any exchange; `reason` is a stable slug.
    fn handshake_failed(&self, _reason: &'static str) {}
}
