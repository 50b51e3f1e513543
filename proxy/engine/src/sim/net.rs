//! The virtual network: hosts with their receive slots, listeners, connects on their way.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use super::clock::{Clock, Event};
use super::conn::Conn;
use super::datagrams::{Packet, Socket};
use super::faults::Faults;
use super::random::Rng;
use crate::buf::Pool;
use crate::seam::Want;
use crate::socket::UNKNOWN;

/// A name that is never used twice in a run.
pub(super) type Key = u64;
/// Which end of a connection: 0 connected, 1 accepted.
pub(super) type Side = usize;

/// The first port given out for port 0.
const FIRST_EPHEMERAL_PORT: u16 = 32768;
/// Bytes of a slot for [`Want::Some`].
pub(super) const SMALL_SLOT_BYTES: usize = 4 * 1024;
/// Bytes of a slot for [`Want::Bulk`].
const LARGE_SLOT_BYTES: usize = 32 * 1024;
/// An unanswered connect is sent again after 1, 2, 4, … seconds, this many times, and then fails, as Linux does.
const CONNECT_TRIES: u32 = 7;

/// Paths are addresses of a network that no host is in: the prefix for discarding (RFC 6666), numbered.
fn path_addr(number: usize) -> SocketAddr {
    let [high, low] = [(number >> 16) as u16, number as u16];
    SocketAddr::from((Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, high, low), 0))
}

pub(super) fn is_path(addr: SocketAddr) -> bool {
    matches!(addr, SocketAddr::V6(v6) if v6.ip().segments()[..4] == [0x100, 0, 0, 0])
}

/// A try of a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Attempt {
    pub(super) connect: Key,
    pub(super) tries: u32,
}

/// Slots of one size, and who waits for one.
pub(super) struct Slots {
    pub(super) pool: Rc<Pool>,
    pub(super) waiting: Vec<Waker>,
}

impl Slots {
    fn new(slots: usize, bytes: usize) -> Slots {
        let pool = Pool::new(slots, bytes);
        (0..slots as u32).rev().for_each(|id| pool.push_returned(id));
        Slots { pool, waiting: Vec::new() }
    }

    fn wake_if_free(&mut self) {
        if self.pool.held() < self.pool.slots() {
            self.waiting.drain(..).for_each(Waker::wake);
        }
    }
}

/// A machine with an address and memory of its own.
pub(super) struct Host {
    pub(super) ip: IpAddr,
    small: Slots,
    large: Slots,
    next_port: u16,
}

impl Host {
    pub(super) fn slots(&mut self, want: Want) -> &mut Slots {
        match want {
            Want::Some => &mut self.small,
            Want::Bulk => &mut self.large,
        }
    }

    pub(super) fn held(&self) -> usize {
        self.small.pool.held() + self.large.pool.held()
    }
}

pub(super) struct Listening {
    pub(super) addr: SocketAddr,
    pub(super) host: usize,
    pub(super) reuse_port: bool,
    pub(super) backlog: usize,
    pub(super) queue: VecDeque<Key>,
    pub(super) accepting: Vec<Waker>,
}

pub(super) struct Connecting {
    pub(super) host: usize,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) lost: bool,
    /// What the answer will say, once it is on its way.
    pub(super) answer: Option<Result<Key, io::ErrorKind>>,
    pub(super) answered: bool,
    pub(super) waker: Option<Waker>,
}

/// Everything outside the tasks.
pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) rng: Rng,
    pub(super) faults: Faults,
    pub(super) hosts: Vec<Host>,
    /// Files that Unix sockets made, by host; they stay.
    paths: BTreeMap<(usize, PathBuf), SocketAddr>,
    pub(super) listeners: BTreeMap<Key, Listening>,
    pub(super) connects: BTreeMap<Key, Connecting>,
    pub(super) sockets: BTreeMap<Key, Socket>,
    /// Datagrams on their way.
    pub(super) packets: BTreeMap<Key, Packet>,
    pub(super) conns: BTreeMap<Key, Conn>,
    /// A digest of all events so far: equal for equal seeds.
    pub(super) fingerprint: u64,
    next_key: Key,
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults) -> World {
        World {
            clock: Clock::default(),
            rng: Rng::new(seed),
            faults,
            hosts: Vec::new(),
            paths: BTreeMap::new(),
            listeners: BTreeMap::new(),
            connects: BTreeMap::new(),
            sockets: BTreeMap::new(),
            packets: BTreeMap::new(),
            conns: BTreeMap::new(),
            fingerprint: 0xcbf2_9ce4_8422_2325,
            next_key: 0,
        }
    }

    pub(super) fn key(&mut self) -> Key {
        self.next_key += 1;
        self.next_key
    }

    /// The host of this address; it is set up when first named.
    pub(super) fn host(&mut self, ip: IpAddr) -> usize {
        if let Some(index) = self.hosts.iter().position(|host| host.ip == ip) {
            return index;
        }
        self.hosts.push(Host {
            ip,
            small: Slots::new(self.faults.slots, SMALL_SLOT_BYTES),
            large: Slots::new(self.faults.slots, LARGE_SLOT_BYTES),
            next_port: FIRST_EPHEMERAL_PORT,
        });
        self.hosts.len() - 1
    }

    pub(super) fn ephemeral_port(&mut self, host: usize) -> u16 {
        let port = &mut self.hosts[host].next_port;
        let taken = *port;
        *port = port.checked_add(1).unwrap_or(FIRST_EPHEMERAL_PORT);
        taken
    }

    /// Makes a file for a Unix socket, unless there is one.
    pub(super) fn make_path(&mut self, host: usize, path: &Path) -> Option<SocketAddr> {
        let addr = path_addr(self.paths.len());
        match self.paths.entry((host, path.to_owned())) {
            Entry::Occupied(_) => None,
            Entry::Vacant(vacant) => Some(*vacant.insert(addr)),
        }
    }

    /// The address behind a path.
    pub(super) fn find_path(&self, host: usize, path: &Path) -> Option<SocketAddr> {
        self.paths.get(&(host, path.to_owned())).copied()
    }

    /// Wakes those that wait for a receive slot, where one came back.
    pub(super) fn wake_slot_waiters(&mut self) {
        for host in &mut self.hosts {
            host.small.wake_if_free();
            host.large.wake_if_free();
        }
    }

    /// The delay of the next delivery.
    pub(super) fn delay(&mut self) -> Duration {
        let (low, high) = self.faults.latency;
        let stalled = self.rng.happens(self.faults.stall);
        let extra =
            if stalled { self.rng.between(Duration::ZERO, self.faults.stall_time) } else { Duration::ZERO };
        self.rng.between(low, high) + extra
    }

    pub(super) fn schedule(&mut self, delay: Duration, event: Event) {
        let tie = self.rng.bits();
        self.clock.schedule(self.clock.now.after(delay), tie, event);
    }

    /// Moves the clock to the next event and lets it happen. False if there is none.
    pub(super) fn step(&mut self) -> bool {
        let (conns, connects, packets) = (&self.conns, &self.connects, &self.packets);
        let Some(event) = self.clock.next(|event| match event {
            Event::Timer(_) => false,
            Event::Deliver(conn, _) | Event::Reset(conn, _) => !conns.contains_key(conn),
            Event::Syn(Attempt { connect, .. }) | Event::Answer(connect) => !connects.contains_key(connect),
            Event::Datagram(packet) => !packets.contains_key(packet),
        }) else {
            return false;
        };
        let (kind, key) = match event {
            Event::Timer(key) => (1, key),
            Event::Deliver(key, side) => (2 + side as u64, key),
            Event::Reset(key, side) => (4 + side as u64, key),
            Event::Syn(attempt) => (6, attempt.connect),
            Event::Answer(key) => (7, key),
            Event::Datagram(key) => (8, key),
        };
        for word in [self.clock.now.0, kind, key] {
            self.fingerprint = (self.fingerprint ^ word).wrapping_mul(0x0100_0000_01b3);
        }
        match event {
            Event::Timer(key) => self.clock.fire(key),
            Event::Deliver(conn, to) => self.deliver(conn, to),
            Event::Reset(conn, to) => self.reset(conn, to),
            Event::Syn(attempt) => self.syn(attempt),
            Event::Datagram(packet) => self.deliver_datagram(packet),
            Event::Answer(connect) => {
                if let Some(connecting) = self.connects.get_mut(&connect) {
                    connecting.answered = true;
                    connecting.waker.take().into_iter().for_each(Waker::wake);
                }
            }
        }
        true
    }

    /// A connect reaches its listener, or nobody.
    fn syn(&mut self, Attempt { connect, tries }: Attempt) {
        let Some(&Connecting { to, lost, .. }) = self.connects.get(&connect) else { return };
        let listener = self.listener_for(to);
        let full = listener
            .and_then(|key| self.listeners.get(&key))
            .is_some_and(|listener| listener.queue.len() > listener.backlog);
        if lost || full {
            let event = if tries + 1 < CONNECT_TRIES {
                Event::Syn(Attempt { connect, tries: tries + 1 })
            } else {
                self.answer(connect, Err(io::ErrorKind::TimedOut));
                Event::Answer(connect)
            };
            return self.schedule(Duration::from_secs(1 << tries), event);
        }
        let refused = self.rng.happens(self.faults.refuse);
        let answer = match listener {
            Some(listener) if !refused => Ok(self.establish(connect, listener)),
            _ => Err(io::ErrorKind::ConnectionRefused),
        };
        self.answer(connect, answer);
        let delay = self.delay();
        self.schedule(delay, Event::Answer(connect));
    }

    fn answer(&mut self, connect: Key, answer: Result<Key, io::ErrorKind>) {
        if let Some(connecting) = self.connects.get_mut(&connect) {
            connecting.answer = Some(answer);
        }
    }

    /// One of those that listen at `to`: at the address itself, or at any address of that host.
    fn listener_for(&mut self, to: SocketAddr) -> Option<Key> {
        let matches: Vec<Key> = self
            .listeners
            .iter()
            .filter(|(_, l)| {
                let any = l.addr.ip().is_unspecified() && self.hosts[l.host].ip == to.ip();
                l.addr.port() == to.port() && (l.addr.ip() == to.ip() || any)
            })
            .map(|(key, _)| *key)
            .collect();
        (!matches.is_empty()).then(|| *self.rng.pick(&matches))
    }

    /// Makes the connection and queues it for accept.
    fn establish(&mut self, connect: Key, listener: Key) -> Key {
        let key = self.key();
        let Connecting { host, from, to, .. } = self.connects[&connect];
        let (low, high) = self.faults.socket_bytes;
        let capacities = std::array::from_fn(|_| self.rng.within(low.max(1)..=high.max(1)));
        let (from, to) = if is_path(to) { (UNKNOWN, UNKNOWN) } else { (from, to) };
        let listening = self.listeners.get_mut(&listener).expect("it was looked up just now");
        self.conns.insert(key, Conn::new([(host, from), (listening.host, to)], capacities));
        listening.queue.push_back(key);
        listening.accepting.drain(..).for_each(Waker::wake);
        key
    }
}
