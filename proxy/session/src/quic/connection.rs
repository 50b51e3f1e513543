//! A connection: what `quinn-proto` says of it, its timer, its streams.
//!
//! One task drives it; the tasks of its streams read and write through it and wake that one when something is to be sent.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use pancake_engine::{Engine, Time};
use pancake_wire::h3::Code;
use quinn_proto::{
    ConnectionError, ConnectionEvent, ConnectionHandle, Dir, Event, ReadError, ReadableError, StreamEvent,
    StreamId, VarInt, WriteError,
};

use super::crypto::Greeting;
use super::endpoint::Endpoint;
use crate::limits::{QUIC_SEGMENTS, QUIC_TRANSMIT_RUN};

/// Why a stream cannot be read or written any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The peer gave it up.
    ByPeer,
    /// The connection is gone.
    Gone,
}

/// Who waits for a stream.
#[derive(Default)]
struct Waiting {
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Inner {
    quic: quinn_proto::Connection,
    driver: Option<Waker>,
    waiting: HashMap<StreamId, Waiting>,
    /// Streams that wait for the end of the handshake.
    for_handshake: Vec<Waker>,
    peer: SocketAddr,
}

/// A connection of a client.
pub(crate) struct Connection<E: Engine> {
    pub(crate) endpoint: Rc<Endpoint<E>>,
    handle: ConnectionHandle,
    inner: RefCell<Inner>,
    connected: Cell<bool>,
    lost: Cell<bool>,
}

/// The timer of a connection: woken early rather than set anew each time it moves on.
pub(crate) struct Timer<E: Engine>(Option<(Time, E::Sleep)>);

impl<E: Engine> Default for Timer<E> {
    fn default() -> Timer<E> {
        Timer(None)
    }
}

impl<E: Engine> Timer<E> {
    /// Wakes at `at` or before; whether that time has come.
    pub(crate) fn poll(&mut self, engine: &E, at: Time, cx: &mut Context<'_>) -> bool {
        if at == Time::NEVER {
            return false;
        }
        loop {
            if engine.now() >= at {
                return true;
            }
            let (set, sleep) = match &mut self.0 {
                Some((set, sleep)) if *set <= at => (*set, sleep),
                slot => {
                    let (set, sleep) = slot.insert((at, engine.sleep_until(at)));
                    (*set, sleep)
                }
            };
            if Pin::new(sleep).poll(cx).is_pending() {
                return false;
            }
            self.0 = None;
            if set == at {
                return true;
            }
        }
    }
}

impl<E: Engine> Connection<E> {
    pub(super) fn new(
        endpoint: Rc<Endpoint<E>>,
        handle: ConnectionHandle,
        quic: quinn_proto::Connection,
    ) -> Rc<Connection<E>> {
        let peer = quic.remote_address();
        let (driver, waiting, for_handshake) = (None, HashMap::new(), Vec::new());
        let inner = RefCell::new(Inner { quic, driver, waiting, for_handshake, peer });
        let (connected, lost) = (Cell::new(false), Cell::new(false));
        Rc::new(Connection { endpoint, handle, inner, connected, lost })
    }

    /// A datagram came for it.
    pub(super) fn take(&self, event: ConnectionEvent) {
        let inner = &mut *self.inner.borrow_mut();
        inner.quic.handle_event(event);
        inner.wake_driver();
    }

    /// Does what is due: timer, events. What it carries is looked after next, then [`Connection::poll_send`].
    pub(crate) fn poll_events(&self, timer: &mut Timer<E>, cx: &mut Context<'_>) {
        let inner = &mut *self.inner.borrow_mut();
        inner.driver = Some(cx.waker().clone());
        let engine = &self.endpoint.worker.engine;
        while let Some(at) = inner.quic.poll_timeout() {
            if !timer.poll(engine, self.endpoint.clock.time(at), cx) {
                break;
            }
            // The engine's clock is as fine as the deadline was: none is left behind.
            inner.quic.handle_timeout(self.endpoint.now().max(at));
        }
        self.exchange(inner);
        while let Some(event) = inner.quic.poll() {
            match event {
                Event::Connected => self.made(inner),
                Event::ConnectionLost { reason } => self.lose(inner, &reason),
                Event::Stream(event) => inner.stream(event),
                Event::HandshakeDataReady | Event::DatagramReceived | Event::DatagramsUnblocked => {}
            }
        }
        let peer = inner.quic.remote_address();
        if std::mem::replace(&mut inner.peer, peer) != peer {
            self.endpoint.worker.meter.quic_migrations.add(1);
        }
    }

    /// Sends what is to be sent; whether the connection is over.
    pub(crate) fn poll_send(&self, timer: &mut Timer<E>, cx: &mut Context<'_>) -> bool {
        let inner = &mut *self.inner.borrow_mut();
        let now = self.endpoint.now();
        let mut run = 0;
        while self.endpoint.has_room(cx) {
            if run == QUIC_TRANSMIT_RUN {
                // The others have their turn.
                cx.waker().wake_by_ref();
                break;
            }
            run += 1;
            let mut bytes = Vec::new();
            let Some(transmit) = inner.quic.poll_transmit(now, QUIC_SEGMENTS, &mut bytes) else { break };
            self.endpoint.put(&transmit, bytes);
        }
        self.exchange(inner);
        if inner.quic.is_drained() {
            self.endpoint.forget(self.handle);
            return true;
        }
        if let Some(at) = inner.quic.poll_timeout()
            && timer.poll(&self.endpoint.worker.engine, self.endpoint.clock.time(at), cx)
        {
            cx.waker().wake_by_ref();
        }
        false
    }

    /// Ids and tokens, to and from the endpoint.
    fn exchange(&self, inner: &mut Inner) {
        while let Some(event) = inner.quic.poll_endpoint_events() {
            if let Some(answer) = self.endpoint.tell(self.handle, event) {
                inner.quic.handle_event(answer);
            }
        }
    }

    fn made(&self, inner: &mut Inner) {
        self.connected.set(true);
        self.endpoint.opened();
        let meter = &self.endpoint.worker.meter;
        meter.quic_handshakes.add(1);
        meter.tls_handshakes.add(1);
        inner.for_handshake.drain(..).for_each(Waker::wake);
    }

    fn lose(&self, inner: &mut Inner, why: &ConnectionError) {
        if self.lost.replace(true) {
            return;
        }
        if !self.connected.get() {
            self.endpoint.opened();
            self.endpoint.failed(why);
        }
        inner.wake_all();
    }

    /// Ends the connection, and tells the peer why.
    pub(crate) fn close(&self, code: Code) {
        let inner = &mut *self.inner.borrow_mut();
        if inner.quic.is_closed() {
            return;
        }
        let code = VarInt::from_u64(code.0).unwrap_or(VarInt::MAX);
        inner.quic.close(self.endpoint.now(), code, Bytes::new());
        self.lose(inner, &ConnectionError::LocallyClosed);
        inner.wake_driver();
    }

    /// Whether the handshake is over.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.get()
    }

    /// Whether the connection is over, but for what is said about it.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.get()
    }

    /// Ready when the handshake is over, or the connection.
    pub(crate) fn poll_connected(&self, cx: &Context<'_>) -> Poll<()> {
        if self.connected.get() || self.lost.get() {
            return Poll::Ready(());
        }
        self.inner.borrow_mut().for_handshake.push(cx.waker().clone());
        Poll::Pending
    }

    /// Whether early data was accepted and may be there (RFC 9001 section 4.6).
    pub(crate) fn has_early_data(&self) -> bool {
        !self.connected.get() && self.inner.borrow().quic.has_0rtt()
    }

    /// The name that the client asked for.
    pub(crate) fn sni(&self) -> Box<str> {
        let greeting = self.inner.borrow().quic.crypto_session().handshake_data();
        greeting
            .and_then(|any| any.downcast::<Greeting>().ok())
            .map(|greeting| greeting.sni)
            .unwrap_or_default()
    }

    /// Where the client is now, and which address it knows.
    pub(crate) fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let inner = self.inner.borrow();
        (inner.quic.remote_address(), self.endpoint.local(inner.quic.local_ip()))
    }

    /// A stream that the peer opened.
    pub(crate) fn accept(&self, dir: Dir) -> Option<StreamId> {
        self.inner.borrow_mut().quic.streams().accept(dir)
    }

    /// Streams of which something was not sent, or is not known to have arrived.
    pub(crate) fn sending(&self) -> usize {
        self.inner.borrow_mut().quic.streams().send_streams()
    }

    /// A new stream to send on, if the peer allows one.
    pub(crate) fn open_uni(&self) -> Option<StreamId> {
        self.inner.borrow_mut().quic.streams().open(Dir::Uni)
    }

    /// The next bytes of a stream; none at its end, after which it is not to be read.
    pub(crate) fn poll_read(&self, id: StreamId, cx: &Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        let inner = &mut *self.inner.borrow_mut();
        if self.lost.get() {
            return Poll::Ready(Err(Broken::Gone));
        }
        let mut stream = inner.quic.recv_stream(id);
        let mut chunks = match stream.read(true) {
            Ok(chunks) => chunks,
            Err(ReadableError::ClosedStream | ReadableError::IllegalOrderedRead) => {
                return Poll::Ready(Err(Broken::ByPeer));
            }
        };
        let read = match chunks.next(usize::MAX) {
            Ok(chunk) => Poll::Ready(Ok(chunk.map(|chunk| chunk.bytes))),
            Err(ReadError::Reset(_)) => Poll::Ready(Err(Broken::ByPeer)),
            Err(ReadError::Blocked) => Poll::Pending,
        };
        if chunks.finalize().should_transmit() {
            inner.wake_driver();
        }
        if read.is_pending() {
            inner.waiting.entry(id).or_default().reader = Some(cx.waker().clone());
        }
        read
    }

    /// Writes as much as the windows allow; what was written is taken out of `bytes`. Ready when all is.
    pub(crate) fn poll_write(
        &self,
        id: StreamId,
        bytes: &mut [Bytes],
        cx: &Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        let inner = &mut *self.inner.borrow_mut();
        if self.lost.get() {
            return Poll::Ready(Err(Broken::Gone));
        }
        while bytes.iter().any(|one| !one.is_empty()) {
            match inner.quic.send_stream(id).write_chunks(bytes) {
                Ok(_) => inner.wake_driver(),
                Err(WriteError::Blocked) => {
                    inner.waiting.entry(id).or_default().writer = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => {
                    return Poll::Ready(Err(Broken::ByPeer));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the peer wants no more of what is sent on a stream, or the connection is gone.
    pub(crate) fn poll_stopped(&self, id: StreamId, cx: &Context<'_>) -> Poll<Broken> {
        let inner = &mut *self.inner.borrow_mut();
        if self.lost.get() {
            return Poll::Ready(Broken::Gone);
        }
        match inner.quic.send_stream(id).stopped() {
            Ok(None) => {
                inner.waiting.entry(id).or_default().reader = Some(cx.waker().clone());
                Poll::Pending
            }
            Ok(Some(_)) | Err(_) => Poll::Ready(Broken::ByPeer),
        }
    }

    /// Ends what is sent on a stream.
    pub(crate) fn finish(&self, id: StreamId) {
        let inner = &mut *self.inner.borrow_mut();
        // It fails only for a stream that the peer stopped.
        let _ = inner.quic.send_stream(id).finish();
        inner.wake_driver();
    }

    /// Gives up what is sent on a stream.
    pub(crate) fn reset(&self, id: StreamId, code: Code) {
        let inner = &mut *self.inner.borrow_mut();
        let _ = inner.quic.send_stream(id).reset(VarInt::from_u64(code.0).unwrap_or(VarInt::MAX));
        inner.wake_driver();
    }

    /// Wants no more of what comes on a stream.
    pub(crate) fn stop(&self, id: StreamId, code: Code) {
        let inner = &mut *self.inner.borrow_mut();
        let _ = inner.quic.recv_stream(id).stop(VarInt::from_u64(code.0).unwrap_or(VarInt::MAX));
        inner.wake_driver();
    }

    /// Nobody waits for this stream any more.
    pub(crate) fn forget(&self, id: StreamId) {
        self.inner.borrow_mut().waiting.remove(&id);
    }

    /// The driving task is to look again.
    pub(crate) fn wake(&self) {
        self.inner.borrow_mut().wake_driver();
    }
}

impl Inner {
    fn wake_driver(&mut self) {
        if let Some(driver) = &self.driver {
            driver.wake_by_ref();
        }
    }

    fn wake_all(&mut self) {
        for waiting in self.waiting.values_mut() {
            waiting.reader.take().into_iter().chain(waiting.writer.take()).for_each(Waker::wake);
        }
        self.for_handshake.drain(..).for_each(Waker::wake);
    }

    fn stream(&mut self, event: StreamEvent) {
        let (id, reads, writes) = match event {
            StreamEvent::Readable { id } => (id, true, false),
            StreamEvent::Writable { id } => (id, false, true),
            StreamEvent::Stopped { id, .. } => (id, true, true),
            StreamEvent::Opened { .. } | StreamEvent::Available { .. } | StreamEvent::Finished { .. } => {
                return;
            }
        };
        if let Some(waiting) = self.waiting.get_mut(&id) {
            let reader = if reads { waiting.reader.take() } else { None };
            let writer = if writes { waiting.writer.take() } else { None };
            reader.into_iter().chain(writer).for_each(Waker::wake);
        }
    }
}
