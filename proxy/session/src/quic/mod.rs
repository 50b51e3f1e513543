//! QUIC (RFC 9000) by `quinn-proto`, over the datagrams of an engine.
//!
//! One [`endpoint`] per worker and entry point. It knows the connections by their ids; each of them is driven by a task of
//! its own, which is also the task of what it carries. Time is the engine's. What this module does not do: HTTP.

/// The engine's time as `quinn-proto` takes it.
mod clock;
/// What endpoints and connections are set up with.
mod config;
/// Connections: events, timers, streams.
pub(crate) mod connection;
/// TLS by the name that a client asks for.
mod crypto;
/// Datagrams to connections and back.
pub mod endpoint;
/// Connection ids that lead to the worker.
mod ids;
/// A stream of both directions.
pub(crate) mod stream;

pub use config::Secrets;
pub use endpoint::{Place, serve, socket_options};
