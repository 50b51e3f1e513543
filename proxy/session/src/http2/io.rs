//! What the `h2` crate reads from and writes to, over a connection of the engine.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use pancake_engine::{Buf, Engine, OutBuf, Stream, Time, Want};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http1::Input;
use crate::limits::{H2_READ_BYTES, H2_WRITE_BYTES};
use crate::stream::Conn;

type Pump = Pin<Box<dyn Future<Output = ()>>>;

/// A connection as `h2` wants it. Both directions are pumps, made once: futures of the engine that never end.
pub(super) struct Io<E: Engine> {
    conn: Rc<Conn<E>>,
    /// Bytes that were received before `h2` had its say.
    first: Input,
    received: Rc<RefCell<Option<io::Result<Buf>>>>,
    receives: Pump,
    /// When bytes last came.
    heard: Rc<Cell<Time>>,
    out: OutBuf,
    sending: Rc<Sending>,
    sends: Pump,
}

/// What is between [`Io`] and the pump that sends.
#[derive(Default)]
struct Sending {
    next: RefCell<Option<OutBuf>>,
    busy: Cell<bool>,
    failed: RefCell<Option<io::Error>>,
}

impl<E: Engine> Io<E> {
    /// `send_timeout`: how long the peer may take none of what is sent to it.
    pub(super) fn new(conn: Conn<E>, first: Input, engine: E, send_timeout: Option<Duration>) -> Io<E> {
        let conn = Rc::new(conn);
        let received: Rc<RefCell<Option<io::Result<Buf>>>> = Rc::default();
        let sending: Rc<Sending> = Rc::default();
        let heard = Rc::new(Cell::new(engine.now()));
        Io {
            receives: Box::pin(receive(conn.clone(), received.clone(), engine.clone(), heard.clone())),
            heard,
            sends: Box::pin(send(conn.clone(), sending.clone(), engine, send_timeout)),
            conn,
            first,
            received,
            out: OutBuf::new(),
            sending,
        }
    }

    /// When bytes last came from the peer, also while this belongs to a connection.
    pub(super) fn heard(&self) -> Rc<Cell<Time>> {
        self.heard.clone()
    }
}

async fn receive<E: Engine>(
    conn: Rc<Conn<E>>,
    slot: Rc<RefCell<Option<io::Result<Buf>>>>,
    engine: E,
    heard: Rc<Cell<Time>>,
) {
    // Small frames come in small buffers; who fills them is sending a body.
    let mut want = Want::Some;
    loop {
        let received = conn.recv(want, Time::NEVER).await;
        if received.as_ref().is_ok_and(|bytes| !bytes.is_empty()) {
            heard.set(engine.now());
        }
        let filled = received.as_ref().is_ok_and(|bytes| bytes.len() >= H2_READ_BYTES);
        want = if filled { Want::Bulk } else { Want::Some };
        *slot.borrow_mut() = Some(received);
        poll_fn(|_| if slot.borrow().is_none() { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

async fn send<E: Engine>(conn: Rc<Conn<E>>, sending: Rc<Sending>, engine: E, timeout: Option<Duration>) {
    loop {
        let next = poll_fn(|_| match sending.next.borrow_mut().take() {
            Some(next) => Poll::Ready(next),
            None => Poll::Pending,
        });
        let next = next.await;
        let until = timeout.map_or(Time::NEVER, |limit| engine.now().after(limit));
        if let Err(error) = conn.send(next.into(), until).await {
            *sending.failed.borrow_mut() = Some(error);
        }
        sending.busy.set(false);
    }
}

impl<E: Engine> AsyncRead for Io<E> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.first.is_empty() {
            let n = this.first.bytes().len().min(buf.remaining());
            buf.put_slice(&this.first.bytes()[..n]);
            this.first.consume(n);
            return Poll::Ready(Ok(()));
        }
        for _ in 0..2 {
            let mut slot = this.received.borrow_mut();
            match &mut *slot {
                Some(Ok(bytes)) => {
                    let n = bytes.len().min(buf.remaining());
                    buf.put_slice(&bytes[..n]);
                    bytes.advance(n);
                    // The empty buffer, the end of the stream, stays: it is the answer from now on.
                    if n > 0 && bytes.is_empty() {
                        *slot = None;
                    }
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => return Poll::Ready(Err(io::Error::from(error.kind()))),
                None => {}
            }
            drop(slot);
            let _ = this.receives.as_mut().poll(cx);
        }
        match &*this.received.borrow() {
            // It came with the second look.
            Some(_) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }
}

impl<E: Engine> AsyncWrite for Io<E> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.out.len() >= H2_WRITE_BYTES {
            std::task::ready!(self.as_mut().poll_flush(cx))?;
        }
        let mut written = 0;
        for buf in bufs {
            let n = buf.len().min(H2_WRITE_BYTES.saturating_sub(self.out.len()));
            self.out.extend_from_slice(&buf[..n]);
            written += n;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if let Some(error) = &*this.sending.failed.borrow() {
                return Poll::Ready(Err(io::Error::from(error.kind())));
            }
            if !this.sending.busy.get() {
                if this.out.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                *this.sending.next.borrow_mut() = Some(std::mem::take(&mut this.out));
                this.sending.busy.set(true);
            }
            let _ = this.sends.as_mut().poll(cx);
            if this.sending.busy.get() {
                return Poll::Pending;
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.as_mut().poll_flush(cx))?;
        Poll::Ready(self.conn.shutdown())
    }
}
