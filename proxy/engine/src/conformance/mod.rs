//! The contract of the seam as behaviours that every engine must show.
//!
//! Each behaviour is an async function over any engine; it panics where the engine breaks the contract, and ends in
//! bounded time on one that keeps it. `tests/conformance.rs` runs all of them on all engines.
//!
//! What it does not do: measure speed, or test what one engine alone has (faults of `sim`, `ring`'s probe).

/// Bytes in any split, large and small, in both directions.
pub mod bytes;
/// Listening, accepting, connecting.
pub mod connections;
/// Datagrams.
pub mod datagrams;
/// Half-close, close, reset, calls given up, deadlines.
pub mod endings;
/// Sockets whose addresses are paths.
pub mod paths;
/// Streams that are joined by a splice.
pub mod splices;
/// Timers, tasks and wakes.
pub mod tasks;

use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::buf::{OutBuf, Parts};
use crate::seam::{Engine, ListenOptions, Listener, Stream, Time, Want};

/// How long a call that must end by itself may take before the behaviour fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// Accept errors in a row that are tried again.
const MAX_ACCEPT_ERRORS: usize = 100;

/// An engine whose receive buffers can be counted.
pub trait Subject: Engine {
    /// Receive buffers that sessions hold now.
    fn held_buffers(&self) -> usize;

    /// Pipes that splices hold now; `sim` has none.
    fn held_pipes(&self) -> usize {
        0
    }
}

impl Subject for crate::sim::Sim {
    fn held_buffers(&self) -> usize {
        crate::sim::Sim::held_buffers(self)
    }
}

impl Subject for crate::epoll::Epoll {
    fn held_buffers(&self) -> usize {
        let (small, bulk) = self.slots_held();
        small + bulk
    }

    fn held_pipes(&self) -> usize {
        self.pipes_held()
    }
}

impl Subject for crate::ring::Ring {
    fn held_buffers(&self) -> usize {
        let (small, bulk) = self.slots_held();
        small + bulk
    }

    fn held_pipes(&self) -> usize {
        self.pipes_held()
    }
}

/// A deadline that a working engine never reaches.
fn patience<E: Engine>(engine: &E) -> Time {
    engine.now().after(PATIENCE)
}

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn listen<E: Engine>(engine: &E) -> (E::Listener, SocketAddr) {
    let listener = engine.listen(loopback(), &ListenOptions::default()).expect("listens on loopback");
    let addr = listener.local_addr().expect("has an address");
    assert_ne!(addr.port(), 0, "the real port is known");
    (listener, addr)
}

/// The next connection; an accept that fails is tried again, as the contract asks.
async fn accept<L: Listener>(listener: &L) -> L::Stream {
    for _ in 0..MAX_ACCEPT_ERRORS {
        if let Ok(stream) = listener.accept().await {
            return stream;
        }
    }
    panic!("{MAX_ACCEPT_ERRORS} accepts in a row failed");
}

async fn connect<E: Engine>(engine: &E, to: SocketAddr) -> E::Stream {
    engine.connect(to, patience(engine)).await.expect("connects to a listener")
}

/// A connection: the end that connected and the end that accepted.
async fn pair<E: Engine>(engine: &E) -> (E::Stream, E::Stream) {
    let (listener, addr) = listen(engine);
    join(connect(engine, addr), accept(&listener)).await
}

/// Both results.
async fn join<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut a_done, mut b_done) = (None, None);
    poll_fn(move |cx| {
        if a_done.is_none()
            && let Poll::Ready(value) = a.as_mut().poll(cx)
        {
            a_done = Some(value);
        }
        if b_done.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(cx)
        {
            b_done = Some(value);
        }
        match (a_done.take(), b_done.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (a_done, b_done) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

/// Polls once and gives the call up if it is not done.
async fn poll_once<T>(call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    poll_fn(|cx| match call.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Polls a call until it is done or `until` passes, then gives it up: a cancel in the middle.
async fn give_up_at<E: Engine, T>(engine: &E, until: Time, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut sleep = engine.sleep_until(until);
    poll_fn(|cx| match call.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => std::pin::Pin::new(&mut sleep).poll(cx).map(|()| None),
    })
    .await
}

async fn pause<E: Engine>(engine: &E, millis: u64) {
    engine.sleep_until(engine.now().after(Duration::from_millis(millis))).await;
}

/// Waits until every receive buffer and every pipe is back.
async fn all_returned<E: Subject>(engine: &E) {
    let deadline = patience(engine);
    while engine.held_buffers() + engine.held_pipes() > 0 {
        let held = (engine.held_buffers(), engine.held_pipes());
        assert!(engine.now() < deadline, "{held:?} buffers and pipes were never returned");
        pause(engine, 5).await;
    }
}

/// The byte at `offset` of the test stream `seed`; a shift, a gap or a swap of streams changes it.
fn byte_at(seed: u64, offset: usize) -> u8 {
    let mixed =
        (offset as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed.wrapping_mul(0xd1b5_4a32_d192_ed03);
    (mixed >> 40) as u8
}

/// `len` bytes of the test stream from `offset`.
fn stretch(seed: u64, offset: usize, len: usize) -> OutBuf {
    let mut bytes = OutBuf::new();
    bytes.extend((offset..offset + len).map(|at| byte_at(seed, at)));
    bytes
}

async fn send<E: Engine>(engine: &E, stream: &E::Stream, bytes: impl Into<Parts>) -> io::Result<()> {
    stream.send(bytes.into(), patience(engine)).await
}

/// Receives the test stream until its end and checks every byte. Returns how many there were.
async fn check_until_end<E: Engine>(
    engine: &E,
    stream: &E::Stream,
    seed: u64,
    mut want: impl FnMut() -> Want,
) -> usize {
    let mut offset = 0;
    loop {
        let bytes = stream.recv(want(), patience(engine)).await.expect("receives until the end");
        if bytes.is_empty() {
            return offset;
        }
        check(seed, offset, &bytes);
        offset += bytes.len();
    }
}

fn check(seed: u64, offset: usize, bytes: &[u8]) {
    let wrong = bytes.iter().enumerate().find(|(i, byte)| **byte != byte_at(seed, offset + i));
    assert!(wrong.is_none(), "stream {seed}: wrong byte at {}", offset + wrong.map_or(0, |(i, _)| i));
}

/// Receives exactly `len` bytes of the test stream from `offset`.
async fn check_exactly<E: Engine>(engine: &E, stream: &E::Stream, seed: u64, offset: usize, len: usize) {
    let mut at = offset;
    while at < offset + len {
        let bytes = stream.recv(Want::Some, patience(engine)).await.expect("receives");
        assert!(!bytes.is_empty(), "stream {seed} ended at {at} instead of {}", offset + len);
        assert!(at + bytes.len() <= offset + len, "stream {seed}: more bytes than sent");
        check(seed, at, &bytes);
        at += bytes.len();
    }
}
