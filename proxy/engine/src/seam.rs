//! The seam between sessions and engines.
//!
//! Contract, checked by the conformance suite on every engine:
//!
//! - A stream has at most one `recv` and one `send` outstanding at a time.
//! - Dropping a pending `recv` loses no bytes: the next `recv` yields them.
//! - Dropping a pending `send` leaves the stream good for nothing but being dropped.
//! - Dropping a stream closes it; bytes that a finished `send` accepted are still delivered (no `SO_LINGER`).
//! - A deadline (`until`) that passes ends the call with [`io::ErrorKind::TimedOut`]; [`Time::NEVER`] never passes.
//!   Deadlines are coarse: an engine may be late by up to [`TIMER_GRAIN`], never early.
//! - An idle stream holds no receive buffer.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use crate::buf::{Buf, Part, Parts};

/// The resolution of deadlines and sleeps.
pub const TIMER_GRAIN: Duration = Duration::from_millis(16);

/// Receives of one stream that may succeed at once, one after the other, before other tasks get their turn.
pub const RECV_RUN: u8 = 8;

/// A point on the engine's monotonic clock, in nanoseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// A deadline that never passes.
    pub const NEVER: Time = Time(u64::MAX);

    /// This time plus `d`; saturates at [`Time::NEVER`].
    pub fn after(self, d: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The duration since `earlier`, zero if `earlier` is later.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// How much a `recv` hopes to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// A message head or a small body: small buffers, the receive stays armed between calls.
    Some,
    /// The middle of a large body: large buffers, one receive per call, so that the peer feels the backpressure.
    Bulk,
}

/// The deadline of a splice, which every byte that moves pushes off. The two directions of a tunnel may share one: then
/// the tunnel ends when both have stood still.
#[derive(Debug)]
pub struct Idle {
    after: Option<Duration>,
    until: Cell<Time>,
}

impl Idle {
    /// Passes when nothing has moved for `after`, counted from `now` at first.
    pub fn new(now: Time, after: Duration) -> Idle {
        Idle { after: Some(after), until: Cell::new(now.after(after)) }
    }

    /// Passes at `until`, whatever moves.
    pub fn fixed(until: Time) -> Idle {
        Idle { after: None, until: Cell::new(until) }
    }

    /// When it passes, as things are now.
    pub fn until(&self) -> Time {
        self.until.get()
    }

    /// Something moved.
    pub fn moved(&self, now: Time) {
        if let Some(after) = self.after {
            self.until.set(now.after(after));
        }
    }
}

/// How a listener is opened.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// `SO_REUSEPORT`: every worker opens the same address. Not for paths.
    pub reuse_port: bool,
    /// The accept queue length asked of the kernel.
    pub backlog: i32,
}

impl Default for ListenOptions {
    fn default() -> Self {
        ListenOptions { reuse_port: true, backlog: 4096 }
    }
}

/// Datagrams that one receive yields at most, and that one send hands to the kernel at a time (those sent as one count as
/// one).
pub const DATAGRAM_BATCH: usize = 16;
/// The largest datagram over IPv4, in bytes.
pub const MAX_DATAGRAM_BYTES: usize = 65_507;

/// How a UDP socket is opened.
#[derive(Clone, Debug)]
pub struct UdpOptions {
    /// `SO_REUSEPORT`: every worker opens the same address, and the kernel spreads the peers over them.
    pub reuse_port: bool,
    /// Tells of each datagram the local address that it came to, so that the answer can come from there
    /// (`IP_PKTINFO`): needed where the socket is bound to an unspecified address of a host with several.
    pub tell_local: bool,
    /// Bytes of the receive buffer asked of the kernel; none: its default.
    pub receive_buffer: Option<usize>,
    /// Sends no datagram in fragments: one that is longer than a frame of the way out is refused, or lost on the way. For
    /// QUIC, which finds out what fits (RFC 9000 section 14).
    pub never_fragment: bool,
    /// With `reuse_port`, for QUIC: of this many sockets at the address, the one whose place in the order of binding is
    /// the first byte of the destination connection id modulo their number gets the datagram (RFC 9000 section 5.1: ids
    /// can steer). While there are fewer the peers are spread as ever.
    pub steer_by_connection_id: Option<NonZeroU32>,
}

impl Default for UdpOptions {
    fn default() -> Self {
        UdpOptions {
            reuse_port: true,
            tell_local: false,
            receive_buffer: None,
            never_fragment: false,
            steer_by_connection_id: None,
        }
    }
}

/// A received datagram. It is whole: there is room for the largest.
#[derive(Debug)]
pub struct Datagram {
    /// What it carries; may be empty.
    pub bytes: Buf,
    /// Who sent it.
    pub peer: SocketAddr,
    /// The address that it came to, with [`UdpOptions::tell_local`].
    pub local: Option<IpAddr>,
}

/// A datagram to send.
#[derive(Debug)]
pub struct Outgoing {
    /// What it carries; at most [`MAX_DATAGRAM_BYTES`].
    pub bytes: Part,
    /// To whom; none on a connected socket.
    pub to: Option<SocketAddr>,
    /// From which address of the host; none: the kernel chooses.
    pub from: Option<IpAddr>,
}

/// A UDP socket. Datagrams may be lost, doubled or overtake each other.
pub trait Datagrams: 'static {
    /// Waits for datagrams and appends them to `into`: at least one, at most [`DATAGRAM_BATCH`]. Dropped, it has taken
    /// nothing: what it takes it yields in the same poll. An error may be about a datagram sent earlier
    /// ([`io::ErrorKind::ConnectionRefused`] on a connected socket): the socket goes on. At most one at a time.
    fn recv(&self, into: &mut Vec<Datagram>, until: Time) -> impl Future<Output = io::Result<()>>;

    /// Sends datagrams, in order, and returns how many the kernel took: at least one of a batch that has one, or the
    /// error that the first met. Tries at once; waits only when the socket is full. Neighbours to one destination and of
    /// one size (the last may be shorter) go out as one where the kernel can cut it (`UDP_SEGMENT`). Dropped, it has sent
    /// nothing. At most one at a time.
    fn send(&self, batch: &[Outgoing], until: Time) -> impl Future<Output = io::Result<usize>>;

    /// From now on receives only from `peer`, and sends there what says no other destination: for the server's side of
    /// a session.
    fn connect(&self, peer: SocketAddr) -> io::Result<()>;

    /// The bound address, with the real port.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A handle on one worker's engine. Cheap to clone, bound to its thread.
pub trait Engine: Clone + 'static {
    /// A connected stream.
    type Stream: Stream;
    /// A listening socket.
    type Listener: Listener<Stream = Self::Stream>;
    /// A UDP socket.
    type Datagrams: Datagrams;
    /// A future that ends at a given time.
    type Sleep: Future<Output = ()> + Unpin;

    /// The engine's name as configuration and logs spell it: `ring`, `epoll` or `sim`.
    const NAME: &'static str;

    /// The monotonic time of the current turn of the event loop.
    fn now(&self) -> Time;

    /// The wall-clock time since the Unix epoch, of the current turn of the event loop.
    fn unix_time(&self) -> Duration;

    /// 64 random bits; seeded on `sim`. Not for secrets.
    fn random(&self) -> u64;

    /// Ends at or up to [`TIMER_GRAIN`] after `at`.
    fn sleep_until(&self, at: Time) -> Self::Sleep;

    /// Starts a task on this worker. It is dropped, at an await, when the engine stops.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);

    /// Polls every task once, so that each sees a flag that changed (drain).
    fn wake_all(&self);

    /// Opens a listening TCP socket.
    fn listen(&self, addr: SocketAddr, options: &ListenOptions) -> io::Result<Self::Listener>;

    /// Opens a TCP connection (`TCP_NODELAY` set). A refused connection is [`io::ErrorKind::ConnectionRefused`].
    fn connect(&self, to: SocketAddr, until: Time) -> impl Future<Output = io::Result<Self::Stream>>;

    /// Opens a UDP socket. An IPv6 one serves IPv4 too.
    fn bind_udp(&self, addr: SocketAddr, options: &UdpOptions) -> io::Result<Self::Datagrams>;

    /// Opens a listening Unix stream socket, which makes a file at `path`; a file that is there already is
    /// [`io::ErrorKind::AddrInUse`], a path that is empty, abstract or too long [`io::ErrorKind::InvalidInput`]. The file stays when the listener drops: whoever made its directory removes it. Its
    /// `local_addr` is unspecified, as with the streams. On `sim` the paths are names of the host, and no files are made.
    fn listen_unix(&self, path: &Path, options: &ListenOptions) -> io::Result<Self::Listener>;

    /// Opens a connection to a Unix stream socket. Without a file [`io::ErrorKind::NotFound`], with one at which nobody
    /// listens [`io::ErrorKind::ConnectionRefused`]. Both addresses of the stream are unspecified
    /// ([`Ipv4Addr::UNSPECIFIED`](std::net::Ipv4Addr::UNSPECIFIED), port 0), at the accepting end too.
    fn connect_unix(&self, path: &Path, until: Time) -> impl Future<Output = io::Result<Self::Stream>>;
}

/// A listening socket.
pub trait Listener: 'static {
    /// What it yields.
    type Stream;

    /// The next connection (`TCP_NODELAY` set). Errors concern this accept only (for example `EMFILE`);
    /// the caller backs off and calls again.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>>;

    /// The bound address, with the real port.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A connected byte stream.
pub trait Stream: 'static {
    /// Receives some bytes. An empty buffer is the end of the stream (the peer half-closed).
    fn recv(&self, want: Want, until: Time) -> impl Future<Output = io::Result<Buf>>;

    /// Whether the stream is open and has nothing to read, as far as the kernel has told or can be asked. From then on
    /// the engine keeps watch, as a pending `recv` would. Not to be called while a `recv` is outstanding.
    fn is_quiet(&self) -> bool;

    /// Sends all the parts in order, or fails. Tries at once; waits only when the socket is full.
    fn send(&self, parts: Parts, until: Time) -> impl Future<Output = io::Result<()>>;

    /// Moves what comes from this stream to `to`, until the end of this stream or `limit` bytes (`u64::MAX`: no limit),
    /// without a copy to user space where the engine can. Returns how many bytes `to` took; `moved` counts them as they
    /// go, so that it is right after an error too. At the end the other direction goes on: shutting `to` down is the
    /// caller's.
    ///
    /// It is the `recv` of this stream and the `send` of `to`: neither may be outstanding. Bytes that the engine had
    /// received already go first. When `idle` passes it fails with [`io::ErrorKind::TimedOut`]. Failed or dropped before
    /// its end, it may have taken bytes that `to` never got: as after a dropped `send`, `to` is good for nothing but being
    /// dropped, and so is the rest of this stream.
    fn splice(
        &self,
        to: &Self,
        limit: u64,
        idle: &Idle,
        moved: &Cell<u64>,
    ) -> impl Future<Output = io::Result<u64>>;

    /// Sends what the socket takes at once of `bytes` and says how much that was; [`io::ErrorKind::WouldBlock`] if it is
    /// full. For a last word on drop (`close_notify`). Not to be called while a `send` is outstanding or was given up:
    /// the bytes would land in the middle of its.
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize>;

    /// How long a silent peer is left alone before it is asked whether it is still there, and how often from then on,
    /// in whole seconds; `None`: it is never asked. Every stream starts with 15 s. A Unix socket has no need of it:
    /// nothing happens.
    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()>;

    /// Half-closes: the peer sees the end after the bytes sent so far.
    fn shutdown(&self) -> io::Result<()>;

    /// Makes the drop of this stream send a reset instead of an orderly close.
    fn reset_on_drop(&self);

    /// The peer's address.
    fn peer_addr(&self) -> SocketAddr;

    /// The local address.
    fn local_addr(&self) -> SocketAddr;
}
