//! Seeded whole-proxy simulation: clients and backends that speak HTTP/1.1, the real sessions between them, all on
//! the engine `sim`.
//!
//! In: a seed. Out: what broke, if anything ([`run::Report`]). The seed decides the weather of the network, how the
//! backends behave, what the clients ask and when they give up; [`plan`] has both sides agree on every exchange
//! without talking about it, so that each can check what it gets to the byte.
//!
//! The actors have an HTTP reader and writer of their own ([`message`]): a mistake in `pancake-wire` is not made
//! twice. In some runs a second proxy stands before the backends, and HTTP/2 is spoken between the two. HTTP/3 has a
//! world of its own ([`http3`]). What this does not do: TLS over TCP, other peers that speak HTTP/2, the control plane, real
//! sockets.

/// The backends.
pub mod backend;
/// The clients.
pub mod client;
/// Clients that mean no good.
pub mod hog;
/// HTTP/3: the proxy's endpoint, and clients that speak to it over lossy datagrams.
pub mod http3;
/// What was seen, and what must hold of it.
pub mod journal;
/// Reading and writing messages, strictly.
pub mod message;
/// What is asked and answered in one exchange: a function of seed and number.
pub mod plan;
/// The proxy between them, from its parts.
pub mod proxy;
/// One run from its seed to its report.
pub mod run;
/// Everything that one seed decides about a run as a whole.
pub mod scenario;
