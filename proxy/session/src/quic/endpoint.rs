//! Datagrams to connections and back: one endpoint per worker and entry point.
//!
//! Two tasks: one receives and hands out, one sends what connections have put into the outbox.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::BytesMut;
use pancake_engine::{Buf, Datagram, Datagrams, Engine, Outgoing, Part, Time, UdpOptions};
use quinn_proto::{
    AcceptError, ConnectionEvent, ConnectionHandle, DatagramEvent, EndpointEvent, Incoming, Transmit,
};

use super::clock::{Clock, WallClock};
use super::config::{self, Secrets};
use super::connection::Connection;
use super::crypto::Chooser;
use crate::http3;
use crate::limits::{
    ACCEPT_BACKOFF, QUIC_CONNECTIONS, QUIC_HALF_OPEN, QUIC_HALF_OPEN_UNTIL_RETRY, QUIC_OUTBOX_DATAGRAMS,
    QUIC_RECEIVE_BUFFER_BYTES,
};
use crate::settings::EntryPoint;
use crate::worker::Worker;

/// Which of the workers this is, and what they share.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its number, from 0: the order in which they bind their sockets.
    pub number: u8,
    /// How many there are.
    pub workers: u8,
    /// What their keys come from.
    pub secrets: Secrets,
}

/// How the socket of an endpoint is opened.
pub fn socket_options(address: SocketAddr, place: &Place) -> UdpOptions {
    UdpOptions {
        tell_local: address.ip().is_unspecified(),
        receive_buffer: Some(QUIC_RECEIVE_BUFFER_BYTES),
        never_fragment: true,
        steer_by_connection_id: NonZeroU32::new(place.workers.into()).filter(|workers| workers.get() > 1),
        ..UdpOptions::default()
    }
}

/// What is on its way out.
#[derive(Default)]
struct Outbox {
    waiting: VecDeque<Outgoing>,
    sender: Option<Waker>,
    /// Connections that found it full.
    stuck: Vec<Waker>,
}

/// The connections of one entry point on one worker.
pub(crate) struct Endpoint<E: Engine> {
    pub(crate) worker: Rc<Worker<E>>,
    pub(crate) entry: Rc<EntryPoint>,
    pub(super) clock: Clock,
    wall: Arc<WallClock>,
    /// Where it listens.
    local: SocketAddr,
    proto: RefCell<quinn_proto::Endpoint>,
    connections: RefCell<HashMap<ConnectionHandle, Rc<Connection<E>>>>,
    /// Those of them whose handshake is under way.
    half_open: Cell<usize>,
    outbox: RefCell<Outbox>,
}

/// Serves an entry point until the worker drains and the last connection has ended.
pub async fn serve<E: Engine>(
    worker: Rc<Worker<E>>,
    socket: E::Datagrams,
    entry: Rc<EntryPoint>,
    place: Place,
) {
    let Some(endpoint) = Endpoint::new(worker.clone(), &socket, entry, &place) else { return };
    let _ending = Ending(endpoint.clone());
    let socket = Rc::new(socket);
    worker.engine.spawn(send(endpoint.clone(), socket.clone()));
    let mut arena = BytesMut::new();
    let mut batch = Vec::new();
    loop {
        let received = {
            let mut recv = pin!(socket.recv(&mut batch, Time::NEVER));
            poll_fn(|cx| match recv.as_mut().poll(cx) {
                Poll::Ready(received) => Poll::Ready(Some(received)),
                Poll::Pending if endpoint.is_over() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            })
            .await
        };
        match received {
            None => return,
            Some(Ok(())) => {
                endpoint.wall.set(worker.engine.unix_time());
                for datagram in batch.drain(..) {
                    endpoint.receive(&datagram, &mut arena);
                }
            }
            Some(Err(_)) => {
                worker.engine.sleep_until(worker.engine.now().after(ACCEPT_BACKOFF)).await;
            }
        }
    }
}

/// Lets go of the connections, which hold their endpoint, when this drops.
struct Ending<E: Engine>(Rc<Endpoint<E>>);

impl<E: Engine> Drop for Ending<E> {
    fn drop(&mut self) {
        let connections = std::mem::take(&mut *self.0.connections.borrow_mut());
        drop(connections);
    }
}

/// Sends what is in the outbox, until the endpoint is gone.
async fn send<E: Engine>(endpoint: Rc<Endpoint<E>>, socket: Rc<E::Datagrams>) {
    let mut batch = Vec::new();
    loop {
        poll_fn(|cx| endpoint.poll_outbox(cx, &mut batch)).await;
        let mut sent = 0;
        while sent < batch.len() {
            match socket.send(&batch[sent..], Time::NEVER).await {
                Ok(count) => sent += count,
                // This one cannot go (too long for the way, nobody there): as if it were lost on the way.
                Err(_) => sent += 1,
            }
        }
        batch.clear();
    }
}

impl<E: Engine> Endpoint<E> {
    fn new(
        worker: Rc<Worker<E>>,
        socket: &E::Datagrams,
        entry: Rc<EntryPoint>,
        place: &Place,
    ) -> Option<Rc<Endpoint<E>>> {
        let (table, tls) = worker.sources();
        let zero_rtt = entry.http3.as_ref().is_some_and(|http3| http3.zero_rtt);
        let chooser = Chooser::new(table, tls, entry.id, zero_rtt)?;
        let wall = Arc::new(WallClock::default());
        wall.set(worker.engine.unix_time());
        let server = Arc::new(config::server(place, &entry, chooser, wall.clone()));
        let proto = quinn_proto::Endpoint::new(Arc::new(config::endpoint(place)), Some(server), true, None);
        Some(Rc::new(Endpoint {
            local: socket.local_addr().unwrap_or(entry.address),
            worker,
            entry,
            clock: Clock::new(),
            wall,
            proto: RefCell::new(proto),
            connections: RefCell::default(),
            half_open: Cell::new(0),
            outbox: RefCell::default(),
        }))
    }

    fn is_over(&self) -> bool {
        self.worker.is_draining() && self.connections.borrow().is_empty()
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.instant(self.worker.engine.now())
    }

    /// The local address of a connection that came to `ip`.
    pub(super) fn local(&self, ip: Option<IpAddr>) -> SocketAddr {
        SocketAddr::new(ip.unwrap_or(self.local.ip()), self.local.port())
    }

    fn receive(self: &Rc<Self>, datagram: &Datagram, arena: &mut BytesMut) {
        arena.extend_from_slice(&datagram.bytes);
        let bytes = arena.split();
        let mut answer = Vec::new();
        let handled = self.proto.borrow_mut().handle(
            self.now(),
            datagram.peer,
            datagram.local,
            None,
            bytes,
            &mut answer,
        );
        match handled {
            None => {}
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let connection = self.connections.borrow().get(&handle).cloned();
                if let Some(connection) = connection {
                    connection.take(event);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.meet(incoming),
            Some(DatagramEvent::Response(transmit)) => self.answer(&transmit, answer),
        }
    }

    /// A client that is new: lets it in, asks it to show that its address is its own, or refuses it.
    fn meet(self: &Rc<Self>, incoming: Incoming) {
        let meter = &self.worker.meter;
        let mut answer = Vec::new();
        let full = self.half_open.get() >= QUIC_HALF_OPEN
            || self.connections.borrow().len() >= QUIC_CONNECTIONS
            || self.worker.is_draining();
        let must_retry = self.half_open.get() >= QUIC_HALF_OPEN_UNTIL_RETRY;
        if must_retry && !incoming.remote_address_validated() {
            // RFC 9000 section 8.1.2. Nothing is kept of it.
            let retried = self.proto.borrow_mut().retry(incoming, &mut answer);
            match retried {
                Ok(transmit) => {
                    meter.quic_retries.add(1);
                    self.answer(&transmit, answer);
                }
                Err(error) => self.proto.borrow_mut().ignore(error.into_incoming()),
            }
            return;
        }
        let let_in = || {
            let mut session = self.worker.session_over_quic(usize::from(self.entry.id.0)).ok()?;
            session.admit(incoming.remote_address().ip()).ok()?;
            Some(session)
        };
        let Some(session) = (!full).then(let_in).flatten() else {
            meter.quic_refused.add(1);
            let transmit = self.proto.borrow_mut().refuse(incoming, &mut answer);
            return self.answer(&transmit, answer);
        };
        let accepted = self.proto.borrow_mut().accept(incoming, self.now(), &mut answer, None);
        match accepted {
            Ok((handle, quic)) => {
                let connection = Connection::new(self.clone(), handle, quic);
                self.connections.borrow_mut().insert(handle, connection.clone());
                self.half_open.set(self.half_open.get() + 1);
                meter.accepted.add(1);
                self.worker.engine.spawn(http3::serve(session, connection));
            }
            Err(AcceptError { cause, response }) => {
                self.failed(&cause);
                if let Some(transmit) = response {
                    self.answer(&transmit, answer);
                }
            }
        }
    }

    /// The handshake of a connection has ended, well or not.
    pub(super) fn opened(&self) {
        self.half_open.set(self.half_open.get() - 1);
    }

    /// A connection ended before it was made.
    pub(super) fn failed(&self, why: &quinn_proto::ConnectionError) {
        use quinn_proto::ConnectionError;
        let meter = &self.worker.meter;
        meter.quic_failures.add(1);
        let is_tls = |code: quinn_proto::TransportErrorCode| (0x100..0x200).contains(&u64::from(code));
        let reason = match why {
            ConnectionError::TransportError(error) if is_tls(error.code) => "quic-tls",
            ConnectionError::ConnectionClosed(close) if is_tls(close.error_code) => "quic-refused-by-peer",
            ConnectionError::TimedOut | ConnectionError::LocallyClosed => "quic-timeout",
            ConnectionError::TransportError(_) => "quic-malformed",
            _ => "quic-closed",
        };
        if matches!(reason, "quic-tls" | "quic-refused-by-peer") {
            meter.tls_failures.add(1);
        }
        self.worker.sink.handshake_failed(reason);
    }

    /// What a connection tells the endpoint, and what it gets in return.
    pub(super) fn tell(&self, handle: ConnectionHandle, event: EndpointEvent) -> Option<ConnectionEvent> {
        self.proto.borrow_mut().handle_event(handle, event)
    }

    /// A connection has ended, after `quinn-proto` said so.
    pub(super) fn forget(&self, handle: ConnectionHandle) {
        self.connections.borrow_mut().remove(&handle);
        if self.is_over() {
            self.worker.engine.wake_all();
        }
    }

    /// An answer without a connection. When the outbox is full it is lost, as datagrams are.
    fn answer(&self, transmit: &Transmit, bytes: Vec<u8>) {
        if self.outbox.borrow().waiting.len() < QUIC_OUTBOX_DATAGRAMS {
            self.put(transmit, bytes);
        }
    }

    /// Room in the outbox, or a wake when there is.
    pub(super) fn has_room(&self, cx: &Context<'_>) -> bool {
        let outbox = &mut *self.outbox.borrow_mut();
        let has_room = outbox.waiting.len() < QUIC_OUTBOX_DATAGRAMS;
        if !has_room && !outbox.stuck.iter().any(|waker| waker.will_wake(cx.waker())) {
            outbox.stuck.push(cx.waker().clone());
        }
        has_room
    }

    /// Puts datagrams into the outbox; they may be several of one size.
    pub(super) fn put(&self, transmit: &Transmit, mut bytes: Vec<u8>) {
        bytes.truncate(transmit.size);
        let mut rest = Buf::from_vec(bytes);
        let segment = transmit.segment_size.unwrap_or(transmit.size).max(1);
        let outbox = &mut *self.outbox.borrow_mut();
        while !rest.is_empty() {
            let one = rest.split_to(segment.min(rest.len()));
            let (to, from) = (Some(transmit.destination), transmit.src_ip);
            outbox.waiting.push_back(Outgoing { bytes: Part::In(one), to, from });
        }
        if let Some(sender) = outbox.sender.take() {
            sender.wake();
        }
    }

    fn poll_outbox(&self, cx: &Context<'_>, batch: &mut Vec<Outgoing>) -> Poll<()> {
        let outbox = &mut *self.outbox.borrow_mut();
        if outbox.waiting.is_empty() {
            outbox.sender = Some(cx.waker().clone());
            return Poll::Pending;
        }
        batch.extend(outbox.waiting.drain(..));
        outbox.stuck.drain(..).for_each(Waker::wake);
        Poll::Ready(())
    }
}
