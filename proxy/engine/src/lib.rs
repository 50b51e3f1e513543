//! One seam, several engines.
//!
//! A session is written once against [`seam`] and runs on `ring` (io_uring), on `epoll` where io_uring is
//! refused, and on `sim` (a seeded virtual network and clock). All `unsafe` of the proxy lives in this crate.
//!
//! What this crate does not do: protocols, routing, TLS, logging.

/// What sessions need of an engine, and nothing more.
pub mod seam;
/// Receive buffers owned by the engine, send buffers owned by nobody for long.
pub mod buf;
/// The single-threaded executor under every engine.
pub mod exec;

pub use buf::{Buf, OutBuf, Part, Parts};
pub use seam::{Engine, ListenOptions, Listener, Stream, Time, Want};
