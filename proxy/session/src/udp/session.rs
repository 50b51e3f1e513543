//! One client of a UDP entry point and its server.
//!
//! Until the server has answered, a session is fresh: if the server refuses (the kernel tells of an ICMP answer), the
//! next one is asked, and gets the first datagram too. Later a refusal ends the session, and the client's next datagram
//! begins another. What this module does not do: find the session of a datagram.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use pancake_engine::{Buf, Datagram, Datagrams, Engine, Outgoing, Part, Time, UdpOptions};
use pancake_table::compiled::{Slot, UdpRoute};

use super::{Pair, Port, Sent, pick, send_now};
use crate::limits::{MAX_UDP_ATTEMPTS, MAX_UDP_ERRORS, MAX_UDP_KEPT_BYTES, UDP_RESEND_TIME};
use crate::meter::{UdpDrop, UdpMeter};
use crate::worker::SessionGuard;

/// A session. Its table entry and its task hold it.
pub(super) struct Session<E: Engine> {
    pub(super) pair: Pair,
    route: Arc<UdpRoute>,
    /// When a datagram moved last.
    last: Cell<Time>,
    leg: RefCell<Rc<Leg<E>>>,
    fresh: RefCell<Option<Fresh>>,
    _guard: SessionGuard<E>,
}

/// The way to one server.
struct Leg<E: Engine> {
    socket: E::Datagrams,
    server: SocketAddr,
    /// The session is elsewhere now, or at its end.
    over: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl<E: Engine> Leg<E> {
    fn end(&self) {
        self.over.set(true);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// None: it is over.
    async fn recv(&self, into: &mut Vec<Datagram>, until: Time) -> Option<io::Result<()>> {
        let mut recv = pin!(self.socket.recv(into, until));
        poll_fn(|cx| {
            if self.over.get() {
                return Poll::Ready(None);
            }
            let received = recv.as_mut().poll(cx);
            if received.is_pending() && self.waiting.borrow().is_none() {
                self.waiting.replace(Some(cx.waker().clone()));
            }
            received.map(Some)
        })
        .await
    }
}

/// What is known until the server has answered.
struct Fresh {
    tried: Vec<Slot>,
    opened: Time,
    first: Option<Vec<u8>>,
}

/// From clients to servers, and back: places in [`UdpMeter`].
const UP: usize = 0;
const DOWN: usize = 1;

impl UdpMeter {
    fn count(&self, way: usize, sent: &Sent) {
        self.datagrams[way].add(sent.datagrams);
        self.bytes[way].add(sent.bytes);
        self.dropped[UdpDrop::Send as usize].add(sent.dropped);
    }
}

impl<E: Engine> Session<E> {
    /// Chooses a server and starts to listen for its answers.
    pub(super) fn open(
        port: &Rc<Port<E>>,
        pair: Pair,
        route: Arc<UdpRoute>,
        guard: SessionGuard<E>,
    ) -> Result<Rc<Session<E>>, UdpDrop> {
        let now = port.worker.engine.now();
        let mut fresh = Fresh { tried: Vec::new(), opened: now, first: None };
        let leg = dial(port, &route, &mut fresh)?;
        let session = Rc::new(Session {
            pair,
            route,
            last: Cell::new(now),
            leg: RefCell::new(leg),
            fresh: RefCell::new(Some(fresh)),
            _guard: guard,
        });
        session.listen(port);
        Ok(session)
    }

    /// Sends what the client sent.
    pub(super) fn forward(self: &Rc<Self>, port: &Rc<Port<E>>, batch: &[Outgoing]) {
        self.last.set(port.worker.engine.now());
        let meter = &port.worker.meter.udp;
        let mut at = 0;
        loop {
            let leg = self.leg.borrow().clone();
            let sent = send_now(&leg.socket, &batch[at..]);
            meter.count(UP, &sent);
            match sent.refused_at {
                Some(done) if self.refused(port, &leg) => at += done,
                Some(done) => {
                    return meter.dropped[UdpDrop::Server as usize].add((batch.len() - at - done) as u64);
                }
                None => break,
            }
        }
        // Kept after it was sent: an earlier refusal must not send it twice.
        if let Some(fresh) = &mut *self.fresh.borrow_mut()
            && fresh.first.is_none()
            && let Some(first) = batch.first()
        {
            let kept = &first.bytes[..];
            fresh.first = Some(if kept.len() <= MAX_UDP_KEPT_BYTES { kept.to_vec() } else { Vec::new() });
        }
    }

    /// The server at the end of `leg` is not there: moves a fresh session to the next one and says whether there is a
    /// server now. Without, the session is over.
    fn refused(self: &Rc<Self>, port: &Rc<Port<E>>, leg: &Leg<E>) -> bool {
        leg.end();
        let now = port.worker.engine.now();
        let next = match &mut *self.fresh.borrow_mut() {
            Some(fresh) => dial(port, &self.route, fresh).map(|next| {
                // What was sent long ago has arrived, wherever the server went since.
                let lost = now.since(fresh.opened) <= UDP_RESEND_TIME;
                (next, fresh.first.clone().filter(|first| lost && !first.is_empty()))
            }),
            None => Err(UdpDrop::Server),
        };
        let Ok((next, first)) = next else {
            port.close(self);
            return false;
        };
        port.worker.meter.udp.moved.add(1);
        if let Some(first) = first {
            let again = Outgoing { bytes: Part::In(Buf::from_vec(first)), to: None, from: None };
            port.worker.meter.udp.count(UP, &send_now(&next.socket, &[again]));
        }
        self.leg.replace(next);
        self.listen(port);
        true
    }

    /// Starts the task that passes on what comes on the leg of now.
    fn listen(self: &Rc<Self>, port: &Rc<Port<E>>) {
        let leg = self.leg.borrow().clone();
        port.worker.engine.spawn(answers(port.clone(), self.clone(), leg));
    }
}

/// A socket that is connected to the next server.
fn dial<E: Engine>(port: &Port<E>, route: &UdpRoute, fresh: &mut Fresh) -> Result<Rc<Leg<E>>, UdpDrop> {
    let worker = &port.worker;
    while fresh.tried.len() < MAX_UDP_ATTEMPTS {
        let picked = pick(&worker.udp_turns, &route.service, &fresh.tried, worker.seed);
        let (server, address) = picked.ok_or(UdpDrop::Server)?;
        fresh.tried.push(server.slot);
        let any = match address {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        let options = UdpOptions { reuse_port: false, ..UdpOptions::default() };
        // No descriptor or no port is free: another server would not help.
        let socket =
            worker.engine.bind_udp(SocketAddr::new(any, 0), &options).map_err(|_| UdpDrop::Session)?;
        if socket.connect(address).is_ok() {
            let (over, waiting) = (Cell::new(false), RefCell::default());
            return Ok(Rc::new(Leg { socket, server: address, over, waiting }));
        }
    }
    Err(UdpDrop::Server)
}

/// Passes on what the server at the end of `leg` says, until the session is silent, over, or elsewhere.
async fn answers<E: Engine>(port: Rc<Port<E>>, session: Rc<Session<E>>, leg: Rc<Leg<E>>) {
    let engine = port.worker.engine.clone();
    let (mut received, mut batch) = (Vec::new(), Vec::new());
    let mut errors = 0;
    while let Some(arrived) = leg.recv(&mut received, session.last.get().after(port.timeout)).await {
        match arrived.map_err(|error| error.kind()) {
            Ok(()) => {
                errors = 0;
                session.pass_on(&port, &leg, &mut received, &mut batch);
            }
            Err(io::ErrorKind::TimedOut) => {
                if engine.now() >= session.last.get().after(port.timeout) {
                    return port.close(&session);
                }
            }
            Err(io::ErrorKind::ConnectionRefused) => {
                session.refused(&port, &leg);
            }
            // Told of the way there (no route, a host that is down): the next datagram may have more luck.
            Err(_) if errors < MAX_UDP_ERRORS => errors += 1,
            Err(_) => return port.close(&session),
        }
    }
}

impl<E: Engine> Session<E> {
    fn pass_on(&self, port: &Port<E>, leg: &Leg<E>, received: &mut Vec<Datagram>, batch: &mut Vec<Outgoing>) {
        let meter = &port.worker.meter.udp;
        let (client, local) = self.pair;
        for Datagram { bytes, peer, .. } in received.drain(..) {
            // Between the opening of the socket and its connecting anybody could send to it.
            if (peer.ip(), peer.port()) != (leg.server.ip().to_canonical(), leg.server.port()) {
                meter.dropped[UdpDrop::Stranger as usize].add(1);
                continue;
            }
            batch.push(Outgoing { bytes: Part::In(bytes), to: Some(client), from: local });
        }
        if batch.is_empty() {
            return;
        }
        self.fresh.take();
        self.last.set(port.worker.engine.now());
        let mut at = 0;
        loop {
            let sent = send_now(&port.socket, &batch[at..]);
            meter.count(DOWN, &sent);
            // The socket of an entry point is connected to nobody; what it is told of is another client's end.
            match sent.refused_at {
                Some(done) => at += done + 1,
                None => break,
            }
            if at >= batch.len() {
                break;
            }
        }
        batch.clear();
    }
}
