//! Operations that own memory which the kernel reads: sends that wait, connects.
//!
//! An operation lives in the engine's table until its completion, even when its future is dropped before.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use io_uring::{opcode, squeue, types};
use socket2::SockAddr;

use super::stream::RingStream;
use super::turn::{Core, kind};
use crate::buf::Parts;
use crate::seam::Time;
use crate::socket::{self, Iovecs, Mode, NO_IOVECS};
use crate::worker::{Waits, Worker};

/// Whether a send is tried as a plain system call before it goes through the ring.
const TRY_SEND_FIRST: bool = true;

/// An operation in flight, or completed and not yet looked at.
pub(super) enum Op {
    Send(Box<SendOp>),
    Connect(Box<ConnectOp>),
    Writable(Box<WritableOp>),
}

pub(super) struct SendOp {
    /// The stream that waits; a key of `Core::conns`.
    stream: u64,
    fd: RawFd,
    parts: Parts,
    bytes: usize,
    sent: usize,
    iovecs: Iovecs,
    message: libc::msghdr,
    result: Option<io::Result<()>>,
    /// The future is gone; the completion frees the operation.
    abandoned: bool,
}

pub(super) struct ConnectOp {
    fd: OwnedFd,
    to: SockAddr,
    waits: Waits,
    result: Option<io::Result<()>>,
    abandoned: bool,
}

pub(super) struct WritableOp {
    /// The stream that waits; a key of `Core::conns`.
    stream: u64,
    completed: bool,
    abandoned: bool,
}

impl Op {
    /// A deadline passed. Sends have theirs with their stream.
    pub(super) fn fire(&mut self, worker: &Worker) {
        if let Op::Connect(op) = self {
            op.waits.fire(worker);
        }
    }
}

impl SendOp {
    /// The rest as an operation. The box must stay where it is until the completion.
    fn entry(self: &mut Box<Self>) -> squeue::Entry {
        let used = socket::iovecs(&self.parts, self.sent, &mut self.iovecs);
        // The kernel goes on until all is sent, so that a slow peer costs one completion.
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let fd = types::Fd(self.fd);
        if let [only] = &self.iovecs[..used] {
            let len = u32::try_from(only.iov_len).unwrap_or(u32::MAX);
            return opcode::Send::new(fd, only.iov_base.cast(), len).flags(flags).build();
        }
        self.message.msg_iov = self.iovecs.as_mut_ptr();
        self.message.msg_iovlen = used;
        opcode::SendMsg::new(fd, &self.message).flags(flags as u32).build()
    }
}

impl Core {
    /// An operation completed.
    pub(super) fn op_completed(&self, key: u64, result: i32) {
        let mut ops = self.ops.borrow_mut();
        let abandoned = match ops.held(key) {
            Op::Send(op) => {
                op.sent += usize::try_from(result).unwrap_or(0);
                let again = matches!(-result, libc::EINTR | libc::EAGAIN) || result > 0 && op.sent < op.bytes;
                if again && !op.abandoned {
                    let entry = op.entry();
                    // SAFETY: the operation stays in the table, boxed, until this completes.
                    unsafe { self.start(entry, kind::OP | key) };
                    return;
                }
                op.result = Some(outcome(result));
                if let Some(conn) = self.conns.borrow_mut().get(op.stream) {
                    conn.waits.wake_send();
                }
                op.abandoned
            }
            Op::Connect(op) => {
                op.result = Some(outcome(result));
                op.waits.wake_send();
                op.abandoned
            }
            Op::Writable(op) => {
                op.completed = true;
                if let Some(conn) = self.conns.borrow_mut().get(op.stream) {
                    conn.waits.wake_send();
                }
                op.abandoned
            }
        };
        if abandoned {
            let op = ops.remove(key);
            drop(ops);
            drop(op);
        }
    }

    /// The future of an operation goes away.
    fn abandon(&self, key: u64) {
        let mut ops = self.ops.borrow_mut();
        let (abandoned, completed) = match ops.held(key) {
            Op::Send(op) => (&mut op.abandoned, op.result.is_some()),
            Op::Connect(op) => {
                op.waits.end(&self.worker);
                (&mut op.abandoned, op.result.is_some())
            }
            Op::Writable(op) => (&mut op.abandoned, op.completed),
        };
        if completed {
            let op = ops.remove(key);
            drop(ops);
            drop(op);
        } else {
            *abandoned = true;
            drop(ops);
            self.cancel(kind::OP | key);
        }
    }
}

fn outcome(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

/// The future of a send: tries at once, then waits for the operation that does the rest.
pub(super) struct Sending<'a> {
    stream: &'a RingStream,
    parts: Parts,
    until: Time,
    op: Option<u64>,
}

impl<'a> Sending<'a> {
    pub(super) fn new(stream: &'a RingStream, parts: Parts, until: Time) -> Sending<'a> {
        Sending { stream, parts, until, op: None }
    }

    /// Sends what the socket takes now. Says how much that was.
    fn try_now(&self, bytes: usize) -> io::Result<usize> {
        let mut sent = 0;
        while TRY_SEND_FIRST && sent < bytes {
            match socket::send(self.stream.fd, &self.parts, sent) {
                Ok(n) => sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(sent)
    }

    fn start(&mut self, bytes: usize, sent: usize) -> u64 {
        let core = &self.stream.core;
        self.parts.relieve();
        let mut op = Box::new(SendOp {
            stream: self.stream.key,
            fd: self.stream.fd,
            parts: std::mem::take(&mut self.parts),
            bytes,
            sent,
            iovecs: NO_IOVECS,
            // SAFETY: all zeroes is a valid msghdr: no address, no pieces, no control data.
            message: unsafe { MaybeUninit::zeroed().assume_init() },
            result: None,
            abandoned: false,
        });
        let entry = op.entry();
        let key = core.ops.borrow_mut().insert(Op::Send(op));
        // SAFETY: the operation stays in the table, boxed, until this completes.
        unsafe { core.start(entry, kind::OP | key) };
        key
    }
}

impl Future for Sending<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let core = &this.stream.core;
        let key = match this.op {
            Some(key) => key,
            None => {
                let bytes = this.parts.bytes();
                let sent = this.try_now(bytes)?;
                if sent == bytes {
                    return Poll::Ready(Ok(()));
                }
                let key = this.start(bytes, sent);
                this.op = Some(key);
                key
            }
        };
        if let Op::Send(op) = core.ops.borrow_mut().held(key)
            && let Some(result) = op.result.take()
        {
            // Dropped with the future: see `abandon`.
            op.result = Some(Ok(()));
            return Poll::Ready(result);
        }
        if core.worker.clock.now() >= this.until {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        core.conns.borrow_mut().held(this.stream.key).waits.wait_send(
            &core.worker,
            this.stream.key,
            cx,
            this.until,
        );
        Poll::Pending
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.op {
            self.stream.core.abandon(key);
        }
    }
}

/// A wait until a full socket takes bytes again, or has failed: whoever tries then finds out.
pub(crate) struct Writable<'a> {
    stream: &'a RingStream,
    key: u64,
}

impl<'a> Writable<'a> {
    pub(super) fn new(stream: &'a RingStream) -> Writable<'a> {
        let core = &stream.core;
        let op = WritableOp { stream: stream.key, completed: false, abandoned: false };
        let key = core.ops.borrow_mut().insert(Op::Writable(Box::new(op)));
        let poll = opcode::PollAdd::new(types::Fd(stream.fd), libc::POLLOUT as u32).build();
        // SAFETY: points at nothing.
        unsafe { core.start(poll, kind::OP | key) };
        Writable { stream, key }
    }

    pub(super) fn poll(&self, cx: &Context<'_>, until: Time) -> Poll<io::Result<()>> {
        let core = &self.stream.core;
        if matches!(core.ops.borrow_mut().held(self.key), Op::Writable(op) if op.completed) {
            return Poll::Ready(Ok(()));
        }
        if core.worker.clock.now() >= until {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let key = self.stream.key;
        core.conns.borrow_mut().held(key).waits.wait_send(&core.worker, key, cx, until);
        Poll::Pending
    }
}

impl Drop for Writable<'_> {
    fn drop(&mut self) {
        self.stream.core.abandon(self.key);
    }
}

/// Opens a connection.
pub(super) async fn connect(core: Rc<Core>, to: SocketAddr, until: Time) -> io::Result<RingStream> {
    let op = Box::new(ConnectOp {
        fd: socket::for_connect(to, Mode::Blocking)?,
        to: to.into(),
        waits: Waits::default(),
        result: None,
        abandoned: false,
    });
    let entry =
        opcode::Connect::new(types::Fd(op.fd.as_raw_fd()), op.to.as_ptr().cast(), op.to.len()).build();
    let key = core.ops.borrow_mut().insert(Op::Connect(op));
    // SAFETY: the operation, and with it the address, stays in the table, boxed, until this completes.
    unsafe { core.start(entry, kind::OP | key) };
    let fd = Connecting { core: core.clone(), key: Some(key), until }.await?;
    Ok(RingStream::new(core, fd, to))
}

struct Connecting {
    core: Rc<Core>,
    /// The operation, until it has completed.
    key: Option<u64>,
    until: Time,
}

impl Future for Connecting {
    type Output = io::Result<OwnedFd>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<OwnedFd>> {
        let this = &mut *self;
        let key = this.key.expect("not polled after it ended");
        let mut ops = this.core.ops.borrow_mut();
        let Op::Connect(op) = ops.held(key) else { unreachable!("the key of a connect") };
        if let Some(result) = op.result.take() {
            this.key = None;
            op.waits.end(&this.core.worker);
            let Op::Connect(op) = ops.remove(key) else { unreachable!("the key of a connect") };
            return Poll::Ready(result.map(|()| op.fd));
        }
        if this.core.worker.clock.now() >= this.until {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        op.waits.wait_send(&this.core.worker, kind::OP | key, cx, this.until);
        Poll::Pending
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.core.abandon(key);
        }
    }
}
