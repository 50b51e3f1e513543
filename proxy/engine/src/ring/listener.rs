//! Accepting: armed once, completes per connection.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use io_uring::{opcode, types};

use super::stream::RingStream;
use super::turn::{Core, kind};
use crate::seam::{Listener, Time};
use crate::socket;
use crate::worker::Waits;

/// Connections that wait in the engine for a call of `accept`; more wait in the kernel.
const ACCEPTED_MAX: usize = 64;

/// The state of a listening socket.
pub(super) struct Acceptor {
    fd: OwnedFd,
    armed: bool,
    cancelling: bool,
    accepted: VecDeque<OwnedFd>,
    error: Option<i32>,
    waits: Waits,
}

/// A listening socket of the `ring` engine.
pub struct RingListener {
    core: Rc<Core>,
    key: u64,
}

impl RingListener {
    pub(super) fn new(core: Rc<Core>, fd: OwnedFd) -> RingListener {
        let key = core.acceptors.borrow_mut().insert(Acceptor {
            fd,
            armed: false,
            cancelling: false,
            accepted: VecDeque::new(),
            error: None,
            waits: Waits::default(),
        });
        RingListener { core, key }
    }

    fn poll_accept(&self, cx: &Context<'_>) -> Poll<io::Result<RingStream>> {
        let mut acceptors = self.core.acceptors.borrow_mut();
        let acceptor = acceptors.held(self.key);
        while let Some(fd) = acceptor.accepted.pop_front() {
            // Without a peer the connection is gone already: nobody's business.
            if let Ok(peer) = socket::peer_addr(fd.as_fd()) {
                return Poll::Ready(Ok(RingStream::new(self.core.clone(), fd, peer)));
            }
        }
        if let Some(error) = acceptor.error.take() {
            return Poll::Ready(Err(io::Error::from_raw_os_error(error)));
        }
        if !acceptor.armed {
            acceptor.armed = true;
            let accept =
                opcode::AcceptMulti::new(types::Fd(acceptor.fd.as_raw_fd())).flags(libc::SOCK_CLOEXEC);
            // SAFETY: points at nothing.
            unsafe { self.core.start(accept.build(), kind::ACCEPT | self.key) };
        }
        acceptor.waits.wait_recv(&self.core.worker, self.key, cx, Time::NEVER);
        Poll::Pending
    }
}

impl Core {
    /// A connection, or the end of the accepting.
    pub(super) fn accepted(&self, key: u64, result: i32, more: bool) {
        let fd = socket::owned(result);
        let mut acceptors = self.acceptors.borrow_mut();
        // Without its listener a connection is dropped.
        let Some(acceptor) = acceptors.get(key) else { return };
        if !more {
            (acceptor.armed, acceptor.cancelling) = (false, false);
        }
        match fd {
            Some(fd) => {
                acceptor.accepted.push_back(fd);
                if acceptor.accepted.len() > ACCEPTED_MAX && more && !acceptor.cancelling {
                    acceptor.cancelling = true;
                    self.cancel(kind::ACCEPT | key);
                }
            }
            // Ours, or a peer that gave up while it waited: the next call arms again.
            None if matches!(
                -result,
                libc::ECANCELED | libc::ECONNABORTED | libc::EPROTO | libc::EINTR | libc::EAGAIN
            ) => {}
            None => acceptor.error = Some(-result),
        }
        acceptor.waits.wake_recv();
    }
}

impl Listener for RingListener {
    type Stream = RingStream;

    fn accept(&self) -> impl Future<Output = io::Result<RingStream>> {
        poll_fn(|cx| self.poll_accept(cx))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        socket::bound_addr(self.core.acceptors.borrow_mut().held(self.key).fd.as_fd())
    }
}

impl Drop for RingListener {
    fn drop(&mut self) {
        let acceptor = self.core.acceptors.borrow_mut().remove(self.key);
        if acceptor.armed && !acceptor.cancelling {
            self.core.cancel(kind::ACCEPT | self.key);
        }
        self.core.close(acceptor.fd.into_raw_fd());
    }
}
