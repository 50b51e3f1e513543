//! One seam, several engines.
//!
//! A session is written once against [`seam`] and runs on `ring` (io_uring), on `epoll` where io_uring is
//! refused, and on `sim` (a seeded virtual network and clock). All `unsafe` of the proxy lives in this crate.
//!
//! What this crate does not do: protocols, routing, TLS, logging.

/// Receive buffers owned by the engine, send buffers owned by nobody for long.
pub mod buf;
/// Whether io_uring works here.
pub mod choose;
/// The clocks, read once per turn.
mod clock;
/// The contract of the seam as behaviours that every engine must show.
pub mod conformance;
/// UDP sockets of the kernel engines.
pub mod datagrams;
/// Readiness, then a system call.
pub mod epoll;
/// The single-threaded executor under every engine.
pub mod exec;
/// How much of the heap each thread has taken.
pub mod heap;
/// The limits of one worker's engine.
pub mod options;
/// io_uring.
pub mod ring;
/// What sessions need of an engine, and nothing more.
pub mod seam;
/// The engine `sim`: a seeded virtual network and clock.
pub mod sim;
/// Receive slots of the `epoll` engine.
mod slots;
/// System calls on sockets.
mod socket;
/// From socket to socket through a pipe.
mod splice;
/// Which of several UDP sockets gets a datagram of QUIC.
mod steer;
/// Values by key with a generation.
mod table;
/// Unix stream sockets.
mod unix;
/// Timers, O(1).
pub mod wheel;
/// What the kernel engines share on one thread.
mod worker;

pub use buf::{Buf, OutBuf, Part, Parts};
pub use options::Options;
pub use seam::{
    Datagram, Datagrams, Engine, Idle, ListenOptions, Listener, Outgoing, Stream, Time, UdpOptions, Want,
};
