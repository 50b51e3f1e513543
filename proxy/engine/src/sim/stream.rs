//! A stream of the virtual network.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::net::{Key, Side};
use super::{Sim, Sleep};
use crate::buf::{Buf, Parts};
use crate::seam::{Engine, Idle, Stream, Time, Want};

/// Bytes that a splice takes from its source at a time.
const SPLICE_BYTES: usize = 64 * 1024;

/// One end of a virtual connection.
///
/// It checks the caller's side of the contract: a second `recv` or `send` at a time, and a `send` after one that was
/// given up, panic.
#[derive(Debug)]
pub struct SimStream {
    sim: Sim,
    conn: Key,
    side: Side,
    local: SocketAddr,
    peer: SocketAddr,
    hard: Cell<bool>,
    receiving: Cell<bool>,
    sending: Cell<Sending>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sending {
    No,
    Now,
    GivenUp,
}

/// Marks a call as outstanding, and as given up if it is dropped before its end.
struct Outstanding<'a, T: Copy> {
    cell: &'a Cell<T>,
    after: T,
}

impl<T: Copy> Drop for Outstanding<'_, T> {
    fn drop(&mut self) {
        self.cell.set(self.after);
    }
}

impl SimStream {
    pub(super) fn new(sim: Sim, conn: Key, side: Side) -> SimStream {
        let (local, peer) = {
            let world = sim.world();
            let ends = &world.conns[&conn].ends;
            (ends[side].addr, ends[1 - side].addr)
        };
        SimStream {
            sim,
            conn,
            side,
            local,
            peer,
            hard: Cell::new(false),
            receiving: Cell::new(false),
            sending: Cell::new(Sending::No),
        }
    }

    fn poll_recv(&self, want: Want, cx: &mut Context<'_>) -> Poll<io::Result<Buf>> {
        let mut world = self.sim.world();
        let host = world.conns[&self.conn].ends[self.side].host;
        let pool = world.hosts[host].slots(want).pool.clone();
        let n = match world.readable(self.conn, self.side, pool.slot_bytes()) {
            Some(Ok(0)) => return Poll::Ready(Ok(Buf::empty())),
            Some(Ok(n)) => n,
            Some(Err(e)) => return Poll::Ready(Err(e)),
            None => {
                if let Some(conn) = world.conns.get_mut(&self.conn) {
                    conn.ends[self.side].receiving = Some(cx.waker().clone());
                }
                return Poll::Pending;
            }
        };
        let Some(slot) = pool.pop_returned() else {
            world.hosts[host].slots(want).waiting.push(cx.waker().clone());
            return Poll::Pending;
        };
        let mut to = pool.slot_ptr(slot);
        world.read(self.conn, self.side, n, |bytes| {
            // SAFETY: the slot came from the pool's free list, so no window on it exists, and the pieces are `n`
            // bytes together, which `readable` limited to the size of a slot.
            unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
                to = to.add(bytes.len());
            }
        });
        Poll::Ready(Ok(pool.adopt(slot, n)))
    }

    fn poll_splice(
        &self,
        to: &SimStream,
        (left, carried): (&mut u64, &mut Vec<u8>),
        idle: &Idle,
        moved: &Cell<u64>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut world = self.sim.world();
        loop {
            if carried.is_empty() {
                if *left == 0 {
                    return Poll::Ready(Ok(()));
                }
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(SPLICE_BYTES);
                match world.readable(self.conn, self.side, most) {
                    Some(Ok(0)) => return Poll::Ready(Ok(())),
                    Some(Ok(n)) => {
                        world.read(self.conn, self.side, n, |bytes| carried.extend_from_slice(bytes));
                        *left -= n as u64;
                    }
                    Some(Err(e)) => return Poll::Ready(Err(e)),
                    None => {
                        if let Some(conn) = world.conns.get_mut(&self.conn) {
                            conn.ends[self.side].receiving = Some(cx.waker().clone());
                        }
                        return Poll::Pending;
                    }
                }
            }
            match world.write(to.conn, to.side, carried)? {
                0 => {
                    if let Some(conn) = world.conns.get_mut(&to.conn) {
                        conn.ends[to.side].sending = Some(cx.waker().clone());
                    }
                    return Poll::Pending;
                }
                n => {
                    carried.drain(..n);
                    moved.set(moved.get() + n as u64);
                    idle.moved(world.clock.now);
                }
            }
        }
    }

    fn poll_send(&self, parts: &mut Parts, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut world = self.sim.world();
        loop {
            let Some(taken) = parts.iter().next().map(|piece| world.write(self.conn, self.side, piece))
            else {
                return Poll::Ready(Ok(()));
            };
            match taken {
                Err(e) => return Poll::Ready(Err(e)),
                Ok(0) => {
                    if let Some(conn) = world.conns.get_mut(&self.conn) {
                        conn.ends[self.side].sending = Some(cx.waker().clone());
                    }
                    parts.relieve();
                    return Poll::Pending;
                }
                Ok(n) => parts.advance(n),
            }
        }
    }
}

/// Polls a call first and its deadline after it.
pub(super) fn or_deadline<T>(
    call: Poll<io::Result<T>>,
    deadline: &mut Sleep,
    cx: &mut Context<'_>,
) -> Poll<io::Result<T>> {
    if call.is_pending() && Pin::new(deadline).poll(cx).is_ready() {
        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
    }
    call
}

impl Stream for SimStream {
    async fn recv(&self, want: Want, until: Time) -> io::Result<Buf> {
        assert!(!self.receiving.replace(true), "a second recv on a stream");
        let _outstanding = Outstanding { cell: &self.receiving, after: false };
        let mut deadline = Sleep::new(self.sim.clone(), until);
        poll_fn(|cx| or_deadline(self.poll_recv(want, cx), &mut deadline, cx)).await
    }

    fn is_quiet(&self) -> bool {
        self.sim.world().readable(self.conn, self.side, 1).is_none()
    }

    async fn send(&self, mut parts: Parts, until: Time) -> io::Result<()> {
        assert_eq!(
            self.sending.replace(Sending::Now),
            Sending::No,
            "a send beside another or after one given up"
        );
        let mut outstanding = Outstanding { cell: &self.sending, after: Sending::GivenUp };
        let mut deadline = Sleep::new(self.sim.clone(), until);
        poll_fn(|cx| or_deadline(self.poll_send(&mut parts, cx), &mut deadline, cx)).await?;
        outstanding.after = Sending::No;
        Ok(())
    }

    /// By copying. What it has taken and not passed on is lost with it, as with a pipe.
    async fn splice(&self, to: &Self, limit: u64, idle: &Idle, moved: &Cell<u64>) -> io::Result<u64> {
        assert!(!self.receiving.replace(true), "a splice beside a recv");
        let _receiving = Outstanding { cell: &self.receiving, after: false };
        assert_eq!(
            to.sending.replace(Sending::Now),
            Sending::No,
            "a splice beside a send or after one given up"
        );
        let mut sending = Outstanding { cell: &to.sending, after: Sending::GivenUp };
        let before = moved.get();
        let (mut left, mut carried) = (limit, Vec::new());
        let mut deadline = Sleep::new(self.sim.clone(), idle.until());
        poll_fn(|cx| {
            let call = self.poll_splice(to, (&mut left, &mut carried), idle, moved, cx);
            if call.is_pending() && Pin::new(&mut deadline).poll(cx).is_ready() {
                if self.sim.now() >= idle.until() {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                // Something moved meanwhile: the deadline is a later one.
                deadline = Sleep::new(self.sim.clone(), idle.until());
                cx.waker().wake_by_ref();
            }
            call
        })
        .await?;
        sending.after = Sending::No;
        Ok(moved.get() - before)
    }

    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        assert_eq!(self.sending.get(), Sending::No, "a try_send beside a send or after one given up");
        match self.sim.world().write(self.conn, self.side, bytes)? {
            0 if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }

    /// Hosts of a run do not vanish: there is nobody to ask.
    fn set_keepalive(&self, _after: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn shutdown(&self) -> io::Result<()> {
        let mut world = self.sim.world();
        if world.conns[&self.conn].ends[self.side].dead {
            return Err(io::ErrorKind::NotConnected.into());
        }
        world.finish(self.conn, self.side);
        Ok(())
    }

    fn reset_on_drop(&self) {
        self.hard.set(true);
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.sim.world().close(self.conn, self.side, self.hard.get());
    }
}
