//! Receiving and sending.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use io_uring::{cqueue, opcode, types};

use super::op::{Sending, Writable};
use super::turn::{Core, Queued, kind};
use crate::buf::{Buf, Parts, Pool};
use crate::seam::{Idle, RECV_RUN, Stream, Time, Want};
use crate::slots::Slots;
use crate::socket::{self, Mode};
use crate::splice::{self, Ends, Pipes, Source};
use crate::worker::{Waits, Worker};

/// Buffers that wait in the engine for a call of `recv` before the receive is disarmed.
const QUEUED_MAX: u32 = 4;
const NIL: u32 = u32::MAX;

/// Which receive is in flight.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Armed {
    No,
    /// Multishot, into small slots.
    Small,
    /// A wait for bytes, which are then received by a plain call into a bulk slot. In the middle of a large body
    /// the bytes are usually there already; then there is nothing to wait for, and the slot used last is used again.
    Bulk,
}

/// The state of a stream. Ten thousand idle ones should cost little.
pub(super) struct Conn {
    pub(super) waits: Waits,
    /// The queue of received buffers, in `Core::queued`.
    head: u32,
    tail: u32,
    count: u32,
    /// How the receiving ended: 0 is the end of the stream, the rest are error numbers.
    end: Option<u16>,
    armed: Armed,
    cancelling: bool,
    /// Noted as one that found no slot.
    starving: bool,
    /// Receives since the stream last waited.
    run: u8,
}

/// What an idle stream costs here, beside its handle and one timer.
const _: () = assert!(size_of::<Conn>() <= 80);

impl Conn {
    /// Slots are there again: the receive may be armed.
    pub(super) fn fed(&mut self) {
        self.starving = false;
        self.waits.wake_recv();
    }
}

/// A connected stream of the `ring` engine.
pub struct RingStream {
    pub(super) core: Rc<Core>,
    pub(super) key: u64,
    pub(super) fd: RawFd,
    peer: SocketAddr,
    /// Asked of the kernel once.
    local: Cell<Option<SocketAddr>>,
}

impl RingStream {
    pub(super) fn new(core: Rc<Core>, fd: OwnedFd, peer: SocketAddr) -> RingStream {
        let key = core.conns.borrow_mut().insert(Conn {
            waits: Waits::default(),
            head: NIL,
            tail: NIL,
            count: 0,
            end: None,
            armed: Armed::No,
            cancelling: false,
            starving: false,
            run: 0,
        });
        RingStream { core, key, fd: fd.into_raw_fd(), peer, local: Cell::new(None) }
    }

    fn poll_recv(&self, cx: &Context<'_>, want: Want, until: Time) -> Poll<io::Result<Buf>> {
        let core = &*self.core;
        let mut conns = core.conns.borrow_mut();
        let conn = conns.held(self.key);
        if conn.head != NIL {
            if self.is_over_run(conn, cx) {
                return Poll::Pending;
            }
            if want == Want::Bulk
                && conn.count > 1
                && let Some(id) = core.bulk.take()
            {
                return Poll::Ready(Ok(core.join(conn, id)));
            }
            return Poll::Ready(Ok(core.take_queued(conn)));
        }
        match conn.end {
            Some(0) => return Poll::Ready(Ok(Buf::empty())),
            Some(error) => return Poll::Ready(Err(io::Error::from_raw_os_error(error.into()))),
            None => {}
        }
        if core.worker.clock.now() >= until {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        match (conn.armed, want) {
            (Armed::No, _) if conn.starving => {}
            (Armed::No, Want::Some) => self.arm_small(conn),
            (Armed::No, Want::Bulk) => {
                if self.is_over_run(conn, cx) {
                    return Poll::Pending;
                }
                if let Some(received) = self.recv_bulk(conn) {
                    return Poll::Ready(received);
                }
            }
            // The large slots can only be had once the small ones are out of the way.
            (Armed::Small, Want::Bulk) if !conn.cancelling => {
                conn.cancelling = true;
                core.cancel(kind::RECV_SMALL | self.key);
            }
            _ => {}
        }
        conn.run = 0;
        conn.waits.wait_recv(&core.worker, self.key, cx, until);
        Poll::Pending
    }

    /// Counts a receive that does not wait. After [`RECV_RUN`] in a row other tasks get their turn first.
    fn is_over_run(&self, conn: &mut Conn, cx: &Context<'_>) -> bool {
        conn.run += 1;
        if conn.run <= RECV_RUN {
            return false;
        }
        conn.run = 0;
        cx.waker().wake_by_ref();
        true
    }

    fn arm_small(&self, conn: &mut Conn) {
        conn.armed = Armed::Small;
        let recv = opcode::RecvMulti::new(types::Fd(self.fd), self.core.small.borrow().id).build();
        // SAFETY: points at nothing; the slots that the kernel picks are the group's, which outlives the ring.
        unsafe { self.core.start(recv, kind::RECV_SMALL | self.key) };
    }

    /// Receives into a bulk slot if bytes are there, else waits for them.
    fn recv_bulk(&self, conn: &mut Conn) -> Option<io::Result<Buf>> {
        let core = &*self.core;
        let Some(id) = core.bulk.take() else {
            conn.starving = true;
            core.bulk.wait(self.key);
            return None;
        };
        let room = core.bulk.pool.slot_bytes();
        // SAFETY: the slot is free: nobody reads it, and it has `room` bytes.
        match unsafe { socket::recv(self.fd, core.bulk.pool.slot_ptr(id), room) } {
            Ok(n) if n > 0 => return Some(Ok(core.bulk.pool.adopt(id, n))),
            Ok(_) => conn.end = Some(0),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                core.bulk.put_back(id);
                self.wait_readable(conn);
                return None;
            }
            Err(e) => conn.end = Some(e.raw_os_error().unwrap_or(libc::EIO) as u16),
        }
        core.bulk.put_back(id);
        Some(match conn.end {
            Some(0) | None => Ok(Buf::empty()),
            Some(error) => Err(io::Error::from_raw_os_error(error.into())),
        })
    }

    fn wait_readable(&self, conn: &mut Conn) {
        conn.armed = Armed::Bulk;
        let events = (libc::POLLIN | libc::POLLRDHUP) as u32;
        let wait = opcode::PollAdd::new(types::Fd(self.fd), events).build();
        // SAFETY: points at nothing.
        unsafe { self.core.start(wait, kind::RECV_BULK | self.key) };
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open for as long as the stream lives.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

impl Core {
    /// Bytes in a small slot, or the end of such a receive.
    pub(super) fn received(&self, user_data: u64, result: i32, flags: u32) {
        let key = kind::key(user_data);
        let group = &self.small;
        // A slot is accounted for, and goes back if its stream is gone.
        let slot = cqueue::buffer_select(flags);
        let buf = slot.and_then(|id| group.borrow_mut().received(id, result));
        let mut conns = self.conns.borrow_mut();
        let Some(conn) = conns.get(key) else { return };
        let more = cqueue::more(flags);
        if !more {
            (conn.armed, conn.cancelling) = (Armed::No, false);
        }
        match (buf, -result) {
            (Some(mut buf), _) => {
                // Bytes that nobody waits for must not keep scarce slots.
                let scarce = !conn.waits.waits_to_recv() && buf.relieve();
                self.enqueue(conn, buf);
                let enough = if scarce { 0 } else { QUEUED_MAX };
                if conn.count > enough && more && !conn.cancelling {
                    conn.cancelling = true;
                    self.cancel(user_data);
                }
            }
            (None, libc::ENOBUFS) => {
                let mut group = group.borrow_mut();
                group.was_dry();
                if !std::mem::replace(&mut conn.starving, true) {
                    group.starve(key);
                }
                // Who waits keeps waiting, for a slot.
                return;
            }
            // Ours: who waits arms again, as it likes.
            (None, libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
            (None, error) => conn.end = Some(error as u16),
        }
        conn.waits.wake_recv();
    }

    /// The wait of a bulk receive is over, one way or the other.
    pub(super) fn readable(&self, key: u64) {
        if let Some(conn) = self.conns.borrow_mut().get(key) {
            (conn.armed, conn.cancelling) = (Armed::No, false);
            conn.waits.wake_recv();
        }
    }

    fn take_queued(&self, conn: &mut Conn) -> Buf {
        let Queued { buf, next } = self.queued.borrow_mut().remove(conn.head as usize);
        conn.head = next;
        conn.count -= 1;
        buf
    }

    /// Joins small buffers that came before the receive was disarmed into bulk slot `id`, which is free: one copy costs
    /// less than a send for each.
    fn join(&self, conn: &mut Conn, id: u32) -> Buf {
        let (to, room) = (self.bulk.pool.slot_ptr(id), self.bulk.pool.slot_bytes());
        let mut len = 0;
        while conn.head != NIL && len + self.queued.borrow()[conn.head as usize].buf.len() <= room {
            let buf = self.take_queued(conn);
            // SAFETY: the slot is free, so no window on it exists, and the bytes fit into what is left of it.
            unsafe { std::ptr::copy_nonoverlapping(buf.as_ptr(), to.add(len), buf.len()) };
            len += buf.len();
        }
        self.bulk.pool.adopt(id, len)
    }

    fn enqueue(&self, conn: &mut Conn, buf: Buf) {
        let mut queued = self.queued.borrow_mut();
        let index = queued.insert(Queued { buf, next: NIL }) as u32;
        match conn.head {
            NIL => conn.head = index,
            _ => queued[conn.tail as usize].next = index,
        }
        conn.tail = index;
        conn.count += 1;
    }
}

impl Ends for RingStream {
    const MODE: Mode = Mode::Blocking;

    fn fd(&self) -> RawFd {
        self.fd
    }

    fn worker(&self) -> &Rc<Worker> {
        &self.core.worker
    }

    fn pipes(&self) -> &Pipes {
        &self.core.pipes
    }

    fn bulk(&self) -> &Slots {
        &self.core.bulk
    }

    fn small_pool(&self) -> Rc<Pool> {
        self.core.small.borrow().pool.clone()
    }

    fn take_small(&self) -> Option<u32> {
        self.core.small.borrow_mut().take_free()
    }

    fn poll_source(&self, most: u64, cx: &Context<'_>, until: Time) -> Poll<io::Result<Source>> {
        let core = &*self.core;
        let mut conns = core.conns.borrow_mut();
        let conn = conns.held(self.key);
        if conn.head != NIL {
            if let Some(head) = core.queued.borrow_mut().get_mut(conn.head as usize)
                && head.buf.len() as u64 > most
            {
                return Poll::Ready(Ok(Source::Received(head.buf.split_to(most as usize))));
            }
            return Poll::Ready(Ok(Source::Received(core.take_queued(conn))));
        }
        match conn.end {
            Some(0) => return Poll::Ready(Ok(Source::End)),
            Some(error) => return Poll::Ready(Err(io::Error::from_raw_os_error(error.into()))),
            None => {}
        }
        if core.worker.clock.now() >= until {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if conn.armed == Armed::No && !conn.starving {
            return Poll::Ready(Ok(Source::Socket));
        }
        // What is in flight may still take bytes: they come first.
        if conn.armed == Armed::Small && !conn.cancelling {
            conn.cancelling = true;
            core.cancel(kind::RECV_SMALL | self.key);
        }
        conn.run = 0;
        conn.waits.wait_recv(&core.worker, self.key, cx, until);
        Poll::Pending
    }

    fn source_was_empty(&self) {
        self.wait_readable(self.core.conns.borrow_mut().held(self.key));
    }

    fn source_ended(&self, error: Option<i32>) {
        self.core.conns.borrow_mut().held(self.key).end = Some(error.unwrap_or(0) as u16);
    }

    fn source_found_no_slot(&self) {
        self.core.conns.borrow_mut().held(self.key).starving = true;
        self.core.bulk.wait(self.key);
    }

    type Room<'a> = Option<Writable<'a>>;

    fn poll_sink<'a>(
        &'a self,
        room: &mut Option<Writable<'a>>,
        cx: &Context<'_>,
        until: Time,
    ) -> Poll<io::Result<()>> {
        if let Some(waiting) = room {
            ready!(waiting.poll(cx, until))?;
            *room = None;
        }
        Poll::Ready(Ok(()))
    }

    fn sink_was_full<'a>(&'a self, room: &mut Option<Writable<'a>>) {
        *room = Some(Writable::new(self));
    }
}

impl Stream for RingStream {
    fn recv(&self, want: Want, until: Time) -> impl Future<Output = io::Result<Buf>> {
        poll_fn(move |cx| self.poll_recv(cx, want, until))
    }

    fn is_quiet(&self) -> bool {
        let mut conns = self.core.conns.borrow_mut();
        let conn = conns.held(self.key);
        if conn.head != NIL || conn.end.is_some() {
            return false;
        }
        if conn.armed == Armed::Small && !conn.cancelling {
            return true;
        }
        // Nothing in the ring would tell: the kernel is asked.
        let silent = socket::is_silent(self.fd);
        if silent && conn.armed == Armed::No && !conn.starving {
            self.arm_small(conn);
        }
        silent
    }

    fn send(&self, parts: Parts, until: Time) -> impl Future<Output = io::Result<()>> {
        Sending::new(self, parts, until)
    }

    fn splice(
        &self,
        to: &Self,
        limit: u64,
        idle: &Idle,
        moved: &Cell<u64>,
    ) -> impl Future<Output = io::Result<u64>> {
        splice::run(self, to, limit, idle, moved)
    }

    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        socket::try_send(self.fd, bytes)
    }

    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        socket::set_keepalive(self.as_fd(), after)
    }

    fn shutdown(&self) -> io::Result<()> {
        socket::shutdown(self.as_fd())
    }

    fn reset_on_drop(&self) {
        socket::reset_on_close(self.as_fd());
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    fn local_addr(&self) -> SocketAddr {
        self.local.get().unwrap_or_else(|| {
            let local = socket::local_addr(self.as_fd());
            self.local.set(Some(local));
            local
        })
    }
}

impl Drop for RingStream {
    fn drop(&mut self) {
        let core = &*self.core;
        let mut conn = core.conns.borrow_mut().remove(self.key);
        conn.waits.end(&core.worker);
        while conn.head != NIL {
            // The borrow ends before the buffer drops.
            let Queued { buf, next } = core.queued.borrow_mut().remove(conn.head as usize);
            conn.head = next;
            drop(buf);
        }
        match conn.armed {
            _ if conn.cancelling => {}
            Armed::No => {}
            Armed::Small => core.cancel(kind::RECV_SMALL | self.key),
            Armed::Bulk => core.cancel(kind::RECV_BULK | self.key),
        }
        core.close(self.fd);
    }
}
