//! Connecting, receiving, sending.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::turn::Core;
use crate::buf::{Buf, Parts, Pool};
use crate::seam::{Idle, RECV_RUN, Stream, Time, Want};
use crate::slots::Slots;
use crate::socket::{self, Mode};
use crate::splice::{self, Ends, Pipes, Source};
use crate::unix;
use crate::worker::Worker;

/// A connected stream of the `epoll` engine.
pub struct EpollStream {
    core: Rc<Core>,
    token: u64,
    fd: RawFd,
    peer: SocketAddr,
    /// Asked of the kernel once.
    local: Cell<Option<SocketAddr>>,
}

impl EpollStream {
    pub(super) fn accepted(core: Rc<Core>, fd: OwnedFd, peer: SocketAddr) -> io::Result<EpollStream> {
        let stream = Self::register(core, fd, peer)?;
        // A client usually speaks first and at once: trying costs less than waiting.
        let mut sources = stream.core.sources.borrow_mut();
        let source = sources.held(stream.token);
        (source.readable, source.writable) = (true, true);
        drop(sources);
        Ok(stream)
    }

    pub(super) async fn connect(core: Rc<Core>, to: SocketAddr, until: Time) -> io::Result<EpollStream> {
        let fd = socket::for_connect(to, Mode::NonBlocking)?;
        // Registered after the attempt began: an idle socket would report a hang-up.
        let connected = socket::connect(fd.as_fd(), to)?;
        let stream = Self::register(core, fd, to)?;
        if connected {
            stream.core.sources.borrow_mut().held(stream.token).writable = true;
            return Ok(stream);
        }
        poll_fn(|cx| stream.poll_connected(cx, until)).await?;
        Ok(stream)
    }

    pub(super) async fn connect_unix(core: Rc<Core>, path: &Path, until: Time) -> io::Result<EpollStream> {
        let fd = unix::connect(&core.worker, path, Mode::NonBlocking, until).await?;
        let stream = Self::register(core, fd, socket::UNKNOWN)?;
        stream.core.sources.borrow_mut().held(stream.token).writable = true;
        Ok(stream)
    }

    fn register(core: Rc<Core>, fd: OwnedFd, peer: SocketAddr) -> io::Result<EpollStream> {
        let raw = fd.as_raw_fd();
        let token = core.register(fd)?;
        Ok(EpollStream { core, token, fd: raw, peer, local: Cell::new(None) })
    }

    fn poll_connected(&self, cx: &Context<'_>, until: Time) -> Poll<io::Result<()>> {
        let mut sources = self.core.sources.borrow_mut();
        let source = sources.held(self.token);
        if source.writable {
            return Poll::Ready(socket::take_error(source.fd.as_fd()));
        }
        if self.core.worker.clock.now() >= until {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        source.waits.wait_send(&self.core.worker, self.token, cx, until);
        Poll::Pending
    }

    fn poll_recv(&self, cx: &Context<'_>, want: Want, until: Time) -> Poll<io::Result<Buf>> {
        let mut sources = self.core.sources.borrow_mut();
        let source = sources.held(self.token);
        if source.readable {
            source.run += 1;
            if source.run > RECV_RUN {
                source.run = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let slots = match want {
                Want::Some => &self.core.small,
                Want::Bulk => &self.core.bulk,
            };
            if let Some(id) = slots.take() {
                let room = slots.pool.slot_bytes();
                // SAFETY: the slot is free: nobody reads it, and it has `room` bytes.
                match unsafe { socket::recv(self.fd, slots.pool.slot_ptr(id), room) } {
                    Ok(n) if n > 0 => {
                        // A short read emptied the queue; what comes later makes a new event.
                        source.readable = n == room || source.ended;
                        return Poll::Ready(Ok(slots.pool.adopt(id, n)));
                    }
                    end_or_error => {
                        slots.put_back(id);
                        match end_or_error {
                            Ok(_) => return Poll::Ready(Ok(Buf::empty())),
                            Err(e) if e.kind() == io::ErrorKind::WouldBlock => source.readable = false,
                            Err(e) => return Poll::Ready(Err(e)),
                        }
                    }
                }
            } else if !std::mem::replace(&mut source.waits_for_slot, true) {
                slots.wait(self.token);
            }
        }
        if self.core.worker.clock.now() >= until {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        source.run = 0;
        source.waits.wait_recv(&self.core.worker, self.token, cx, until);
        Poll::Pending
    }

    /// `sent` counts the bytes that the kernel took so far.
    fn poll_send(
        &self,
        cx: &Context<'_>,
        parts: &mut Parts,
        bytes: usize,
        sent: &mut usize,
        until: Time,
    ) -> Poll<io::Result<()>> {
        let mut sources = self.core.sources.borrow_mut();
        let source = sources.held(self.token);
        while *sent < bytes {
            if source.writable {
                match socket::send(self.fd, parts, *sent) {
                    Ok(n) => *sent += n,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => source.writable = false,
                    Err(e) => return Poll::Ready(Err(e)),
                }
                continue;
            }
            if self.core.worker.clock.now() >= until {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            parts.relieve();
            source.waits.wait_send(&self.core.worker, self.token, cx, until);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl Ends for EpollStream {
    const MODE: Mode = Mode::NonBlocking;

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
        self.core.small.pool.clone()
    }

    fn take_small(&self) -> Option<u32> {
        self.core.small.take()
    }

    fn poll_source(&self, _most: u64, cx: &Context<'_>, until: Time) -> Poll<io::Result<Source>> {
        let mut sources = self.core.sources.borrow_mut();
        let source = sources.held(self.token);
        if source.readable && !source.waits_for_slot {
            return Poll::Ready(Ok(Source::Socket));
        }
        if self.core.worker.clock.now() >= until {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        source.run = 0;
        source.waits.wait_recv(&self.core.worker, self.token, cx, until);
        Poll::Pending
    }

    fn source_was_empty(&self) {
        self.core.sources.borrow_mut().held(self.token).readable = false;
    }

    /// The kernel says it again to whoever asks again.
    fn source_ended(&self, _error: Option<i32>) {}

    fn source_found_no_slot(&self) {
        let mut sources = self.core.sources.borrow_mut();
        if !std::mem::replace(&mut sources.held(self.token).waits_for_slot, true) {
            self.core.bulk.wait(self.token);
        }
    }

    type Room<'a> = ();

    fn poll_sink(&self, _room: &mut (), cx: &Context<'_>, until: Time) -> Poll<io::Result<()>> {
        let mut sources = self.core.sources.borrow_mut();
        let source = sources.held(self.token);
        if source.writable {
            return Poll::Ready(Ok(()));
        }
        if self.core.worker.clock.now() >= until {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        source.waits.wait_send(&self.core.worker, self.token, cx, until);
        Poll::Pending
    }

    fn sink_was_full(&self, _room: &mut ()) {
        self.core.sources.borrow_mut().held(self.token).writable = false;
    }
}

impl Stream for EpollStream {
    fn recv(&self, want: Want, until: Time) -> impl Future<Output = io::Result<Buf>> {
        poll_fn(move |cx| self.poll_recv(cx, want, until))
    }

    fn is_quiet(&self) -> bool {
        let mut sources = self.core.sources.borrow_mut();
        let source = sources.held(self.token);
        source.readable = source.readable && !socket::is_silent(self.fd);
        !source.readable
    }

    fn send(&self, mut parts: Parts, until: Time) -> impl Future<Output = io::Result<()>> {
        let (bytes, mut sent) = (parts.bytes(), 0);
        poll_fn(move |cx| self.poll_send(cx, &mut parts, bytes, &mut sent, until))
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
        socket::set_keepalive(self.core.sources.borrow_mut().held(self.token).fd.as_fd(), after)
    }

    fn shutdown(&self) -> io::Result<()> {
        socket::shutdown(self.core.sources.borrow_mut().held(self.token).fd.as_fd())
    }

    fn reset_on_drop(&self) {
        socket::reset_on_close(self.core.sources.borrow_mut().held(self.token).fd.as_fd());
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    fn local_addr(&self) -> SocketAddr {
        self.local.get().unwrap_or_else(|| {
            let local = socket::local_addr(self.core.sources.borrow_mut().held(self.token).fd.as_fd());
            self.local.set(Some(local));
            local
        })
    }
}

impl Drop for EpollStream {
    fn drop(&mut self) {
        self.core.close(self.token);
    }
}
