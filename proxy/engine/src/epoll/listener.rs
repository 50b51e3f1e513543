//! Accepting.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use super::stream::EpollStream;
use super::turn::Core;
use crate::seam::{Listener, Time};
use crate::socket;

/// A listening socket of the `epoll` engine.
pub struct EpollListener {
    core: Rc<Core>,
    token: u64,
}

impl EpollListener {
    pub(super) fn new(core: Rc<Core>, fd: OwnedFd) -> io::Result<EpollListener> {
        let token = core.register(fd)?;
        Ok(EpollListener { core, token })
    }

    fn poll_accept(&self, cx: &Context<'_>) -> Poll<io::Result<EpollStream>> {
        loop {
            let accepted = {
                let mut sources = self.core.sources.borrow_mut();
                let source = sources.held(self.token);
                if !source.readable {
                    source.waits.wait_recv(&self.core.worker, self.token, cx, Time::NEVER);
                    return Poll::Pending;
                }
                let accepted = socket::accept(source.fd.as_fd());
                if accepted.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock) {
                    source.readable = false;
                    continue;
                }
                accepted
            };
            match accepted {
                Ok((fd, peer)) => return Poll::Ready(EpollStream::accepted(self.core.clone(), fd, peer)),
                // The peer gave up while it waited in the queue: nobody's business.
                Err(e)
                    if matches!(e.raw_os_error(), Some(libc::ECONNABORTED | libc::EPROTO | libc::EINTR)) => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl Listener for EpollListener {
    type Stream = EpollStream;

    fn accept(&self) -> impl Future<Output = io::Result<EpollStream>> {
        poll_fn(|cx| self.poll_accept(cx))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        socket::bound_addr(self.core.sources.borrow_mut().held(self.token).fd.as_fd())
    }
}

impl Drop for EpollListener {
    fn drop(&mut self) {
        self.core.close(self.token);
    }
}
