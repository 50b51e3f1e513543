//! Datagrams on the virtual network: each takes its own time, so that they overtake each other; some are lost or doubled.
//!
//! A connected socket is told, unless that is lost too, when nobody listens where it sends (ICMP port unreachable).
//! What it does not do: frames and their sizes.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, Waker};

use super::clock::{Event, Sleep};
use super::net::{Key, World};
use super::{Sim, stream};
use crate::buf::Buf;
use crate::seam::{
    DATAGRAM_BATCH, Datagram, Datagrams, MAX_DATAGRAM_BYTES, Outgoing, Time, UdpOptions, Want,
};

/// Datagrams that wait at a socket; more are lost.
const INBOX_MAX: usize = 256;

/// A datagram on its way or at its socket.
#[derive(Clone)]
pub(super) struct Packet {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

pub(super) struct Socket {
    host: usize,
    addr: SocketAddr,
    reuse_port: bool,
    peer: Option<SocketAddr>,
    inbox: VecDeque<Packet>,
    receiving: Option<Waker>,
    /// The peer refuses; told once.
    refused: bool,
}

/// A virtual UDP socket.
#[derive(Debug)]
pub struct SimDatagrams {
    sim: Sim,
    key: Key,
    tell_local: bool,
    receiving: Cell<bool>,
}

pub(super) fn bind(sim: &Sim, mut addr: SocketAddr, options: &UdpOptions) -> io::Result<SimDatagrams> {
    let mut world = sim.world();
    if addr.port() == 0 {
        addr.set_port(world.ephemeral_port(sim.host));
    }
    let taken = world
        .sockets
        .values()
        .any(|s| s.addr == addr && s.host == sim.host && !(s.reuse_port && options.reuse_port));
    if taken {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let key = world.key();
    let socket = Socket {
        host: sim.host,
        addr,
        reuse_port: options.reuse_port,
        peer: None,
        inbox: VecDeque::new(),
        receiving: None,
        refused: false,
    };
    world.sockets.insert(key, socket);
    Ok(SimDatagrams { sim: sim.clone(), key, tell_local: options.tell_local, receiving: Cell::new(false) })
}

impl World {
    /// A datagram reaches its socket, or nobody.
    pub(super) fn deliver_datagram(&mut self, packet: Key) {
        let Some(packet) = self.packets.remove(&packet) else { return };
        let Packet { from, to, .. } = packet;
        let matching = |connected: bool| -> Vec<Key> {
            let at = |s: &Socket| {
                let any = s.addr.ip().is_unspecified() && self.hosts[s.host].ip == to.ip();
                s.addr.port() == to.port() && (s.addr.ip() == to.ip() || any)
            };
            let peer = connected.then_some(from);
            self.sockets.iter().filter(|(_, s)| at(s) && s.peer == peer).map(|(key, _)| *key).collect()
        };
        let mut sockets = matching(true);
        if sockets.is_empty() {
            sockets = matching(false);
        }
        // As with SO_REUSEPORT: one peer always meets the same socket.
        let Some(key) = sockets.get(usize::from(from.port()) % sockets.len().max(1)).copied() else {
            return self.refuse_datagram(from, to);
        };
        if let Some(socket) = self.sockets.get_mut(&key)
            && socket.inbox.len() < INBOX_MAX
        {
            socket.inbox.push_back(packet);
            socket.receiving.take().into_iter().for_each(Waker::wake);
        }
    }

    /// The answer of a host where nobody listens, to a socket that is connected there.
    fn refuse_datagram(&mut self, from: SocketAddr, to: SocketAddr) {
        if self.rng.happens(self.faults.datagram_loss) {
            return;
        }
        let socket = self.sockets.values_mut().find(|s| s.peer == Some(to) && s.addr.port() == from.port());
        if let Some(socket) = socket {
            socket.refused = true;
            socket.receiving.take().into_iter().for_each(Waker::wake);
        }
    }

    fn send_datagram(&mut self, socket: Key, outgoing: &Outgoing) -> io::Result<()> {
        let Some(s) = self.sockets.get(&socket) else { return Err(io::ErrorKind::NotConnected.into()) };
        let to = outgoing.to.or(s.peer).ok_or_else(|| io::Error::from_raw_os_error(libc::EDESTADDRREQ))?;
        if outgoing.bytes.len() > MAX_DATAGRAM_BYTES {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        let own = if s.addr.ip().is_unspecified() { self.hosts[s.host].ip } else { s.addr.ip() };
        let from = SocketAddr::new(outgoing.from.unwrap_or(own), s.addr.port());
        let copies = match (self.rng.happens(self.faults.datagram_loss), self.faults.datagram_double) {
            (true, _) => 0,
            (false, chance) => 1 + usize::from(self.rng.happens(chance)),
        };
        for _ in 0..copies {
            let key = self.key();
            self.packets.insert(key, Packet { from, to, bytes: outgoing.bytes.to_vec() });
            let delay = self.delay();
            self.schedule(delay, Event::Datagram(key));
        }
        Ok(())
    }
}

impl SimDatagrams {
    fn poll_recv(&self, into: &mut Vec<Datagram>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut world = self.sim.world();
        let before = into.len();
        if let Some(socket) = world.sockets.get_mut(&self.key)
            && std::mem::take(&mut socket.refused)
        {
            return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
        }
        while into.len() - before < DATAGRAM_BATCH {
            let Some(socket) = world.sockets.get_mut(&self.key) else { break };
            let Some(packet) = socket.inbox.pop_front() else {
                socket.receiving = Some(cx.waker().clone());
                break;
            };
            match world.slot_for(self.sim.host, &packet.bytes) {
                Some(bytes) => {
                    let local = self.tell_local.then(|| packet.to.ip());
                    into.push(Datagram { bytes, peer: packet.from, local });
                }
                None => {
                    let want = World::want_for(&packet.bytes);
                    world.hosts[self.sim.host].slots(want).waiting.push(cx.waker().clone());
                    if let Some(socket) = world.sockets.get_mut(&self.key) {
                        socket.inbox.push_front(packet);
                    }
                    break;
                }
            }
        }
        if into.len() > before { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl World {
    fn want_for(bytes: &[u8]) -> Want {
        if bytes.len() <= super::net::SMALL_SLOT_BYTES { Want::Some } else { Want::Bulk }
    }

    /// The bytes in a receive slot, or in memory of their own if they are longer than any. None: no slot is free.
    fn slot_for(&mut self, host: usize, bytes: &[u8]) -> Option<Buf> {
        let pool = self.hosts[host].slots(Self::want_for(bytes)).pool.clone();
        if bytes.len() > pool.slot_bytes() {
            return Some(Buf::from_vec(bytes.to_vec()));
        }
        let id = pool.pop_returned()?;
        // SAFETY: the slot came from the pool's free list, so no window on it exists, and the bytes fit.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), pool.slot_ptr(id), bytes.len()) };
        Some(pool.adopt(id, bytes.len()))
    }
}

/// Ends the mark of an outstanding call.
struct Outstanding<'a>(&'a Cell<bool>);

impl Drop for Outstanding<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Datagrams for SimDatagrams {
    async fn recv(&self, into: &mut Vec<Datagram>, until: Time) -> io::Result<()> {
        assert!(!self.receiving.replace(true), "a second recv on a UDP socket");
        let _outstanding = Outstanding(&self.receiving);
        let mut deadline = Sleep::new(self.sim.clone(), until);
        poll_fn(|cx| stream::or_deadline(self.poll_recv(into, cx), &mut deadline, cx)).await
    }

    /// A virtual socket is never full: what is too much is lost at the other end.
    async fn send(&self, batch: &[Outgoing], _until: Time) -> io::Result<usize> {
        let mut world = self.sim.world();
        if let Some(socket) = world.sockets.get_mut(&self.key)
            && !batch.is_empty()
            && std::mem::take(&mut socket.refused)
        {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        for (sent, outgoing) in batch.iter().enumerate() {
            match world.send_datagram(self.key, outgoing) {
                Ok(()) => {}
                Err(_) if sent > 0 => return Ok(sent),
                Err(e) => return Err(e),
            }
        }
        Ok(batch.len())
    }

    fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        if let Some(socket) = self.sim.world().sockets.get_mut(&self.key) {
            socket.peer = Some(peer);
        }
        Ok(())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let world = self.sim.world();
        let socket = world.sockets.get(&self.key).ok_or(io::ErrorKind::NotConnected)?;
        Ok(match (socket.addr.ip(), socket.peer) {
            (ip, Some(_)) if ip.is_unspecified() => {
                let own: IpAddr = world.hosts[socket.host].ip;
                SocketAddr::new(own, socket.addr.port())
            }
            _ => socket.addr,
        })
    }
}

impl Drop for SimDatagrams {
    fn drop(&mut self) {
        self.sim.world().sockets.remove(&self.key);
    }
}
