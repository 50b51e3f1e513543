//! A stream of both directions, which the peer opened.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use pancake_engine::Engine;
use pancake_wire::h3::Code;
use quinn_proto::StreamId;

use super::connection::{Broken, Connection};

/// A stream. What of it has not come to its end when this drops is given up.
pub(crate) struct Bidi<E: Engine> {
    pub(crate) connection: Rc<Connection<E>>,
    id: StreamId,
    /// All was received, or will not be.
    received: Cell<bool>,
    /// All was sent, or will not be.
    sent: Cell<bool>,
    /// What the peer is told of an answer that is not whole.
    excuse: Cell<Code>,
}

impl<E: Engine> Bidi<E> {
    pub(crate) fn new(connection: Rc<Connection<E>>, id: StreamId) -> Bidi<E> {
        let excuse = Cell::new(Code::REQUEST_CANCELLED);
        Bidi { connection, id, received: Cell::new(false), sent: Cell::new(false), excuse }
    }

    /// The next bytes; none at the end.
    pub(crate) fn poll_read(&self, cx: &Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        if self.received.get() {
            return Poll::Ready(Ok(None));
        }
        let read = self.connection.poll_read(self.id, cx);
        if matches!(read, Poll::Ready(Ok(None) | Err(_))) {
            self.received.set(true);
        }
        read
    }

    /// See [`Connection::poll_write`].
    pub(crate) fn poll_write(&self, bytes: &mut [Bytes], cx: &Context<'_>) -> Poll<Result<(), Broken>> {
        self.connection.poll_write(self.id, bytes, cx)
    }

    /// Ready when the peer wants no more.
    pub(crate) fn poll_stopped(&self, cx: &Context<'_>) -> Poll<Broken> {
        self.connection.poll_stopped(self.id, cx)
    }

    /// All was sent.
    pub(crate) fn finish(&self) {
        if !self.sent.replace(true) {
            self.connection.finish(self.id);
        }
    }

    /// Whether all was sent, or will not be.
    pub(crate) fn is_sent(&self) -> bool {
        self.sent.get()
    }

    /// From now on an answer that is not whole is given up with this code.
    pub(crate) fn excuse(&self, code: Code) {
        self.excuse.set(code);
    }

    /// Gives up both directions.
    pub(crate) fn refuse(&self, code: Code) {
        if !self.received.replace(true) {
            self.connection.stop(self.id, code);
        }
        if !self.sent.replace(true) {
            self.connection.reset(self.id, code);
        }
    }
}

impl<E: Engine> Drop for Bidi<E> {
    fn drop(&mut self) {
        if !self.received.get() {
            // RFC 9114 section 4.1: an answer may be whole before the request is.
            self.connection.stop(self.id, Code::NO_ERROR);
        }
        if !self.sent.get() {
            self.connection.reset(self.id, self.excuse.get());
        }
        self.connection.forget(self.id);
    }
}
