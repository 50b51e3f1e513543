//! A virtual TCP connection: two ends, bounded buffers, and what Linux does on close and reset.
//!
//! The rules that sessions meet in practice are kept: closing with unread bytes sends a reset instead of an end;
//! bytes for a closed end are answered by a reset; a reset is reported once, after which a receive says "end" and a
//! send says "broken pipe"; bytes that arrived before a reset can still be read, others are lost.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::Waker;
use std::time::Duration;

use super::clock::Event;
use super::net::{Key, Side, World};

/// The largest segment of a delivery in bytes.
const MAX_SEGMENT_BYTES: usize = 64 * 1024;
/// The largest piece of a delivery, read or write that a fault cuts to a few bytes.
const FEW_BYTES: usize = 16;

pub(super) struct End {
    pub(super) host: usize,
    pub(super) addr: SocketAddr,
    /// A stream (or a place in an accept queue) stands for this end.
    pub(super) open: bool,
    /// A reset came.
    pub(super) dead: bool,
    /// The reset, until it is reported.
    pub(super) error: Option<io::ErrorKind>,
    /// What arrived and is not read yet.
    pub(super) inbox: VecDeque<u8>,
    /// The peer's end arrived.
    pub(super) eof: bool,
    /// What was sent and has not arrived yet.
    pub(super) out: VecDeque<u8>,
    /// This end was half-closed.
    pub(super) fin: bool,
    /// A delivery of `out` is under way.
    moving: bool,
    /// Limit of `inbox` and of `out` in bytes.
    capacity: usize,
    pub(super) receiving: Option<Waker>,
    pub(super) sending: Option<Waker>,
}

impl End {
    fn wake(&mut self) {
        self.receiving.take().into_iter().chain(self.sending.take()).for_each(Waker::wake);
    }
}

pub(super) struct Conn {
    pub(super) ends: [End; 2],
}

impl Conn {
    pub(super) fn new(at: [(usize, SocketAddr); 2], capacities: [usize; 2]) -> Conn {
        let mut sides = 0..2;
        let ends = at.map(|(host, addr)| End {
            host,
            addr,
            open: true,
            dead: false,
            error: None,
            inbox: VecDeque::new(),
            eof: false,
            out: VecDeque::new(),
            fin: false,
            moving: false,
            capacity: capacities[sides.next().unwrap_or(0)],
            receiving: None,
            sending: None,
        });
        Conn { ends }
    }
}

impl World {
    /// How many of `most` bytes move at once.
    fn cut(&mut self, most: usize) -> usize {
        if most > 1 && self.rng.happens(self.faults.split) {
            let few = self.rng.happens(5000);
            return self.rng.within(1..=if few { FEW_BYTES.min(most) } else { most });
        }
        most
    }

    fn end(&mut self, conn: Key, side: Side) -> Option<&mut End> {
        self.conns.get_mut(&conn).map(|c| &mut c.ends[side])
    }

    /// Sees to it that a delivery from `from` is under way if there is something to deliver and room for it.
    fn keep_moving(&mut self, conn: Key, from: Side) {
        let Some(c) = self.conns.get_mut(&conn) else { return };
        let room = c.ends[1 - from].inbox.len() < c.ends[1 - from].capacity;
        let end = &mut c.ends[from];
        let something = if end.out.is_empty() { end.fin && !c.ends[1 - from].eof } else { room };
        let end = &mut c.ends[from];
        if something && !end.moving && !end.dead {
            end.moving = true;
            let delay = self.delay();
            self.schedule(delay, Event::Deliver(conn, 1 - from));
        }
    }

    /// The next segment, or the end, reaches side `to`.
    pub(super) fn deliver(&mut self, conn: Key, to: Side) {
        let Some(c) = self.conns.get_mut(&conn) else { return };
        let [a, b] = &mut c.ends;
        let (source, target) = if to == 1 { (a, b) } else { (b, a) };
        source.moving = false;
        if source.dead || target.dead {
            return;
        }
        if !target.open {
            // Nobody reads there any more: bytes are answered by a reset, an end is not.
            if !source.out.is_empty() {
                source.out.clear();
                let delay = self.delay();
                self.schedule(delay, Event::Reset(conn, 1 - to));
            }
            return;
        }
        let movable = source.out.len().min(target.capacity - target.inbox.len()).min(MAX_SEGMENT_BYTES);
        if self.rng.happens(self.faults.reset) {
            self.reset(conn, to);
            let delay = self.delay();
            return self.schedule(delay, Event::Reset(conn, 1 - to));
        }
        let moved = self.cut(movable);
        let fin_along = self.rng.happens(5000);
        let Some(c) = self.conns.get_mut(&conn) else { return };
        let [a, b] = &mut c.ends;
        let (source, target) = if to == 1 { (a, b) } else { (b, a) };
        let (first, second) = source.out.as_slices();
        let head = moved.min(first.len());
        target.inbox.extend(&first[..head]);
        target.inbox.extend(&second[..moved - head]);
        source.out.drain(..moved);
        if source.out.is_empty() && source.fin && (moved == 0 || fin_along) {
            target.eof = true;
        }
        target.receiving.take().into_iter().for_each(Waker::wake);
        source.sending.take().into_iter().for_each(Waker::wake);
        self.keep_moving(conn, 1 - to);
    }

    /// A reset reaches side `to`.
    pub(super) fn reset(&mut self, conn: Key, to: Side) {
        let Some(c) = self.conns.get_mut(&conn) else { return };
        c.ends[1 - to].out.clear();
        let end = &mut c.ends[to];
        if end.dead {
            return;
        }
        end.dead = true;
        // As Linux: after the peer's end, a reset is a broken pipe to the next send and nothing to a receive.
        end.error = Some(if end.eof { io::ErrorKind::BrokenPipe } else { io::ErrorKind::ConnectionReset });
        end.out.clear();
        end.wake();
    }

    /// What arrived: how many bytes of at most `most` the next read takes. `None`: nothing yet.
    pub(super) fn readable(&mut self, conn: Key, side: Side, most: usize) -> Option<io::Result<usize>> {
        let end = self.end(conn, side)?;
        if !end.inbox.is_empty() {
            let most = end.inbox.len().min(most);
            return Some(Ok(self.cut(most)));
        }
        if end.eof {
            return Some(Ok(0));
        }
        if let Some(kind) = end.error.take() {
            return Some(Err(kind.into()));
        }
        end.dead.then_some(Ok(0))
    }

    /// Takes `n` bytes of what arrived.
    pub(super) fn read(&mut self, conn: Key, side: Side, n: usize, mut into: impl FnMut(&[u8])) {
        let Some(end) = self.end(conn, side) else { return };
        let (first, second) = end.inbox.as_slices();
        let head = n.min(first.len());
        into(&first[..head]);
        into(&second[..n - head]);
        end.inbox.drain(..n);
        self.keep_moving(conn, 1 - side);
    }

    /// Accepts some of `bytes` for sending; zero if the buffer is full.
    pub(super) fn write(&mut self, conn: Key, side: Side, bytes: &[u8]) -> io::Result<usize> {
        let Some(end) = self.end(conn, side) else { return Err(io::ErrorKind::NotConnected.into()) };
        if let Some(kind) = end.error.take() {
            return Err(kind.into());
        }
        if end.dead || end.fin {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = bytes.len().min(end.capacity - end.out.len());
        let taken = self.cut(room);
        if let Some(end) = self.end(conn, side) {
            end.out.extend(&bytes[..taken]);
        }
        self.keep_moving(conn, side);
        Ok(taken)
    }

    /// Half-closes.
    pub(super) fn finish(&mut self, conn: Key, side: Side) {
        if let Some(end) = self.end(conn, side) {
            end.fin = true;
            self.keep_moving(conn, side);
        }
    }

    /// Closes an end: orderly, or by a reset if asked for or if bytes were left unread.
    pub(super) fn close(&mut self, conn: Key, side: Side, hard: bool) {
        let Some(c) = self.conns.get_mut(&conn) else { return };
        let end = &mut c.ends[side];
        end.open = false;
        let hard = hard || !end.inbox.is_empty();
        end.inbox.clear();
        let dead = end.dead;
        if c.ends.iter().all(|end| !end.open) {
            self.conns.remove(&conn);
            return;
        }
        if dead {
            return;
        }
        if hard {
            // It overtakes nothing that was delivered, and what was not delivered by then is lost.
            let (low, high) = self.faults.latency;
            let delay = self.rng.between(low.min(Duration::from_micros(1)), high);
            self.schedule(delay, Event::Reset(conn, 1 - side));
        } else {
            self.finish(conn, side);
            // Bytes on their way to this end meet nobody.
            self.keep_moving(conn, 1 - side);
        }
    }
}
