//! What a connection does, on any engine.
//!
//! The walk of a request, in the words that code, access log and manual share:
//! `accept -> http1 -> lookup -> pick -> connect -> forward -> record`.
//!
//! In: streams of a `pancake_engine::Engine`, a table, settings. Out: bytes to both sides, one
//! [`record::Record`] per exchange, counters. What this crate does not do: system calls, threads, files, locks
//! that another thread can hold.

/// Listener to sessions.
pub mod accept;
/// Answers to http-01 challenges.
pub mod acme_tokens;
/// Who may come in.
pub mod admission;
/// What a fresh connection speaks.
mod front;
/// Connecting to a server that has several addresses.
mod happy;
/// HTTP/1.1 sessions.
pub mod http1;
/// HTTP/2 sessions.
mod http2;
/// HTTP/3 sessions.
mod http3;
/// Every limit of the data path, by name.
pub mod limits;
/// Counters that a worker writes and the service thread reads.
pub mod meter;
/// What happens to requests on the way.
mod middleware;
/// What happens when memory runs short.
pub mod pressure;
/// QUIC.
pub mod quic;
/// One access record per exchange.
pub mod record;
/// What an entry point is told by the static configuration.
pub mod settings;
/// Boxes for large futures that live for one exchange, used again.
mod spares;
/// A connection as sessions see it.
mod stream;
/// TCP sessions.
mod tcp;
/// TLS.
mod tls;
/// UDP sessions.
pub mod udp;
/// Connections to servers, and who gets the next request.
pub mod upstream;
/// What the sessions of one worker share.
pub mod worker;

pub use worker::Worker;
