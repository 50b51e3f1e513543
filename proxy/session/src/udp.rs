//! UDP: datagrams of an entry point to servers, and their answers back.
//!
//! A session is a client address (and the local address that it sent to) with a server that was chosen when its first
//! datagram came; it ends when nothing has moved for `udp.timeout`. Each has a socket of its own, connected to its
//! server: that is how answers are told apart, what the server sees as one peer, and how the kernel tells of a server
//! that is not there. The kernel's `SO_REUSEPORT` keeps a client on one worker; only while workers start, or another
//! process shares the port, may a client move to another worker, where its session begins anew. Nothing is queued here:
//! what a socket does not take at once is dropped and counted, as a router does. What this module does not do: read
//! datagrams.

/// One client and its server.
mod session;

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pancake_engine::seam::DATAGRAM_BATCH;
use pancake_engine::{Datagram, Datagrams, Engine, Outgoing, Part, Time, UdpOptions};
use pancake_table::compiled::{Slot, UdpServer, UdpService, UdpServiceKind};

use crate::limits::{ACCEPT_BACKOFF, MAX_UDP_SESSIONS, UDP_RECEIVE_BUFFER_BYTES};
use crate::meter::UdpDrop;
use crate::settings::EntryPoint;
use crate::tcp::Turns;
use crate::worker::Worker;
use session::Session;

/// Who is talked to: the client, and the local address that it talks to where that is not always the same.
type Pair = (SocketAddr, Option<IpAddr>);

/// How the socket of an entry point at `address` is opened.
pub fn options(address: SocketAddr) -> UdpOptions {
    UdpOptions {
        reuse_port: true,
        tell_local: address.ip().is_unspecified(),
        receive_buffer: Some(UDP_RECEIVE_BUFFER_BYTES),
        ..UdpOptions::default()
    }
}

/// An entry point on one worker.
struct Port<E: Engine> {
    worker: Rc<Worker<E>>,
    socket: E::Datagrams,
    entry: Rc<EntryPoint>,
    timeout: Duration,
    sessions: RefCell<HashMap<Pair, Rc<Session<E>>>>,
}

/// Serves an entry point until the worker has drained: then sessions under way go on until they are silent, and there
/// are no new ones.
pub async fn serve<E: Engine>(worker: Rc<Worker<E>>, socket: E::Datagrams, entry: Rc<EntryPoint>) {
    let timeout = entry.udp.unwrap_or_default();
    let port = Rc::new(Port { worker: worker.clone(), socket, entry, timeout, sessions: RefCell::default() });
    let mut received = Vec::with_capacity(DATAGRAM_BATCH);
    let mut batch = Vec::with_capacity(DATAGRAM_BATCH);
    loop {
        let arrived = {
            let mut recv = pin!(port.socket.recv(&mut received, Time::NEVER));
            poll_fn(|cx| match recv.as_mut().poll(cx) {
                Poll::Ready(arrived) => Poll::Ready(Some(arrived)),
                Poll::Pending if worker.is_draining() && port.sessions.borrow().is_empty() => {
                    Poll::Ready(None)
                }
                Poll::Pending => Poll::Pending,
            })
            .await
        };
        match arrived {
            None => return,
            Some(Ok(())) => port.forward(&mut received, &mut batch),
            Some(Err(_)) => {
                worker.meter.accept_failures.add(1);
                worker.engine.sleep_until(worker.engine.now().after(ACCEPT_BACKOFF)).await;
            }
        }
    }
}

impl<E: Engine> Port<E> {
    /// Sends what came to the servers of its sessions: neighbours of one client together.
    fn forward(self: &Rc<Self>, received: &mut Vec<Datagram>, batch: &mut Vec<Outgoing>) {
        let mut of: Option<Pair> = None;
        for Datagram { bytes, peer, local } in received.drain(..) {
            let pair = (peer, local);
            if let Some(before) = of.replace(pair).filter(|before| *before != pair) {
                self.forward_batch(before, batch);
            }
            batch.push(Outgoing { bytes: Part::In(bytes), to: None, from: None });
        }
        if let Some(pair) = of {
            self.forward_batch(pair, batch);
        }
    }

    fn forward_batch(self: &Rc<Self>, pair: Pair, batch: &mut Vec<Outgoing>) {
        let meter = &self.worker.meter.udp;
        let known = self.sessions.borrow().get(&pair).cloned();
        match known.map_or_else(|| self.open(pair), Ok) {
            Ok(session) => session.forward(self, batch),
            Err(why) => meter.dropped[why as usize].add(batch.len() as u64),
        }
        batch.clear();
    }

    /// A session for a client that has none.
    fn open(self: &Rc<Self>, pair: Pair) -> Result<Rc<Session<E>>, UdpDrop> {
        let worker = &self.worker;
        if worker.is_draining() || worker.udp_sessions.get() >= MAX_UDP_SESSIONS {
            return Err(UdpDrop::Session);
        }
        let id = self.entry.id;
        let route = worker.with_table(|table| table.udp_route(id).cloned()).ok_or(UdpDrop::Server)?;
        let mut guard = worker.session(usize::from(id.0)).map_err(|_| UdpDrop::Session)?;
        guard.admit(pair.0.ip()).map_err(|_| UdpDrop::Session)?;
        let session = Session::open(self, pair, route, guard)?;
        worker.meter.udp.sessions.add(1);
        worker.udp_sessions.set(worker.udp_sessions.get() + 1);
        self.sessions.borrow_mut().insert(pair, session.clone());
        Ok(session)
    }

    /// Ends a session, unless that has happened already.
    fn close(&self, session: &Rc<Session<E>>) {
        let mut sessions = self.sessions.borrow_mut();
        if sessions.get(&session.pair).is_none_or(|known| !Rc::ptr_eq(known, session)) {
            return;
        }
        sessions.remove(&session.pair);
        let worker = &self.worker;
        worker.udp_sessions.set(worker.udp_sessions.get() - 1);
        if worker.is_draining() && sessions.is_empty() {
            worker.engine.wake_all();
        }
    }
}

/// The next server of `service` that has an address and is not in `tried`.
fn pick(
    turns: &Turns,
    service: &UdpService,
    tried: &[Slot],
    seed: u64,
) -> Option<(Arc<UdpServer>, SocketAddr)> {
    match &service.kind {
        UdpServiceKind::LoadBalancer(servers) => {
            let usable =
                |i: usize| servers[i].live.address.load().is_some() && !tried.contains(&servers[i].slot);
            let at = turns.turn(service.slot, || vec![1; servers.len()], seed, usable)?;
            let address = servers[at].live.address.load().as_deref().copied();
            Some((servers[at].clone(), address?))
        }
        UdpServiceKind::Weighted(parts) => {
            let mut empty = Vec::new();
            let weights = || parts.iter().map(|part| part.weight).collect();
            // A part without a usable server gives its turn to the next.
            while let Some(at) = turns.turn(service.slot, weights, seed, |i| !empty.contains(&i)) {
                match pick(turns, &parts[at].service, tried, seed) {
                    Some(found) => return Some(found),
                    None => empty.push(at),
                }
            }
            None
        }
    }
}

/// What became of datagrams that were handed to a socket.
#[derive(Default)]
struct Sent {
    datagrams: u64,
    bytes: u64,
    dropped: u64,
    /// How many were done with, one way or the other, when the kernel told of a peer that is not there.
    refused_at: Option<usize>,
}

/// Sends what the socket takes at once; the rest is dropped. Stops where the peer turns out to refuse.
fn send_now<D: Datagrams>(socket: &D, batch: &[Outgoing]) -> Sent {
    let mut sent = Sent::default();
    let mut at = 0;
    while at < batch.len() {
        let polled =
            pin!(socket.send(&batch[at..], Time::NEVER)).poll(&mut Context::from_waker(Waker::noop()));
        match polled {
            Poll::Ready(Ok(count)) => {
                sent.datagrams += count as u64;
                sent.bytes += batch[at..at + count].iter().map(|one| one.bytes.len() as u64).sum::<u64>();
                at += count;
            }
            Poll::Ready(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                sent.refused_at = Some(at);
                return sent;
            }
            // About this one: too long for the way, forbidden by a firewall.
            Poll::Ready(Err(_)) => {
                sent.dropped += 1;
                at += 1;
            }
            Poll::Pending => {
                sent.dropped += (batch.len() - at) as u64;
                return sent;
            }
        }
    }
    sent
}
