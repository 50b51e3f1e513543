//! UDP sockets of the kernel engines: readiness, then `recvmmsg` and `sendmmsg` for several datagrams at once.
//!
//! A datagram that fits a small slot is received straight into one. What is longer overflows into memory of the thread and
//! is joined in a bulk slot: a copy for those that are rare, and no 64 KiB for each that is not.
//!
//! What it does not do: sessions, which the callers keep by peer; joined receives (GRO).

/// Addresses and control data.
mod message;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::buf::{Buf, Pool};
use crate::seam::{
    DATAGRAM_BATCH, Datagram, Datagrams, MAX_DATAGRAM_BYTES, Outgoing, RECV_RUN, TIMER_GRAIN, Time,
};
use crate::socket;
use crate::splice::{Ends, Source};
use crate::worker::Sleep;
use message::{NO_CONTROL, Name};

/// Room for the largest datagram there is, over IPv6 too.
const ROOM_BYTES: usize = 64 * 1024;
/// Datagrams that one `UDP_SEGMENT` send covers (the kernel's limit was 64 for long).
const SEGMENTS_MAX: usize = 64;

thread_local! {
    /// Where datagrams that are longer than a small slot overflow to: [`DATAGRAM_BATCH`] times [`ROOM_BYTES`],
    /// resident only as far as used.
    static OVERFLOW: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Where the datagrams of one send lie; empty between sends.
    static PIECES: RefCell<Vec<libc::iovec>> = const { RefCell::new(Vec::new()) };
}

/// A UDP socket over what an engine uses as a stream: it is watched and closed in the same way.
pub struct KernelDatagrams<S>(Udp<S>);

impl<S> KernelDatagrams<S> {
    /// Over a socket that `socket::bind_udp` opened, an IPv6 one or not.
    pub(crate) fn new(socket: S, is_v6: bool) -> KernelDatagrams<S> {
        KernelDatagrams(Udp { socket, is_v6, run: Cell::new(0) })
    }
}

struct Udp<S> {
    socket: S,
    is_v6: bool,
    /// Receives since the socket was last empty.
    run: Cell<u8>,
}

impl<S: Ends> Udp<S> {
    fn poll_recv(&self, into: &mut Vec<Datagram>, cx: &Context<'_>, until: Time) -> Poll<io::Result<()>> {
        // After so many in a row other tasks get their turn first.
        if self.run.get() >= RECV_RUN {
            self.run.set(0);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            match ready!(self.socket.poll_source(u64::MAX, cx, until)) {
                Ok(Source::Socket) => {}
                Ok(_) => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
                Err(e) => return Poll::Ready(Err(e)),
            }
            match self.recv_now(into) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.run.set(0);
                    self.socket.source_was_empty();
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => {
                    self.run.set(self.run.get() + 1);
                    return Poll::Ready(done.map(drop));
                }
            }
        }
    }

    /// Free slots for a batch: small ones, or one bulk slot if all of those are out.
    fn free_slots(&self, slots: &mut [u32; DATAGRAM_BATCH]) -> io::Result<(Rc<Pool>, usize)> {
        let mut count = 0;
        while count < DATAGRAM_BATCH
            && let Some(id) = self.socket.take_small()
        {
            slots[count] = id;
            count += 1;
        }
        if count > 0 {
            return Ok((self.socket.small_pool(), count));
        }
        let bulk = self.socket.bulk();
        slots[0] = bulk.take().ok_or(io::ErrorKind::OutOfMemory)?;
        Ok((bulk.pool.clone(), 1))
    }

    /// Receives what is there, up to a batch and as far as there are slots.
    fn recv_now(&self, into: &mut Vec<Datagram>) -> io::Result<usize> {
        let mut slots = [0; DATAGRAM_BATCH];
        let (pool, count) = self.free_slots(&mut slots)?;
        OVERFLOW.with_borrow_mut(|overflow| {
            if overflow.is_empty() {
                // Zeroed by the kernel when touched, unlike what `resize` adds.
                *overflow = vec![0; DATAGRAM_BATCH * ROOM_BYTES];
            }
            let mut names = [message::no_name(); DATAGRAM_BATCH];
            let mut controls = [NO_CONTROL; DATAGRAM_BATCH];
            let mut messages = [message::no_message(); DATAGRAM_BATCH];
            let mut pieces =
                [[libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; 2]; DATAGRAM_BATCH];
            let rooms = overflow.chunks_exact_mut(ROOM_BYTES);
            for (n, room) in rooms.enumerate().take(count) {
                let slot = pool.slot_ptr(slots[n]).cast();
                pieces[n] = [
                    libc::iovec { iov_base: slot, iov_len: pool.slot_bytes() },
                    libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() },
                ];
                let header = &mut messages[n].msg_hdr;
                header.msg_name = (&raw mut names[n]).cast();
                header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
                header.msg_iov = pieces[n].as_mut_ptr();
                header.msg_iovlen = 2;
                header.msg_control = controls[n].0.as_mut_ptr().cast();
                header.msg_controllen = controls[n].0.len() as _;
            }
            // SAFETY: each message points at an address, two pieces and control data that live until the call returns;
            // the slots are free: nobody reads them.
            let received = unsafe {
                let wait = std::ptr::null_mut();
                libc::recvmmsg(
                    self.socket.fd(),
                    messages.as_mut_ptr(),
                    count as _,
                    libc::MSG_DONTWAIT as _,
                    wait,
                )
            };
            let received = usize::try_from(received).map_err(|_| io::Error::last_os_error());
            let filled = *received.as_ref().unwrap_or(&0);
            for id in &slots[filled..count] {
                pool.push_returned(*id);
            }
            for n in 0..filled {
                let len = messages[n].msg_len as usize;
                let head = pool.adopt(slots[n], len.min(pool.slot_bytes()));
                let room = n * ROOM_BYTES;
                let tail = &overflow[room..room + (len - head.len())];
                // SAFETY: the kernel wrote the control data just now.
                let local = unsafe { message::local(&messages[n].msg_hdr) };
                // Without a slot to join it in it is lost, as datagrams are.
                if let Some(bytes) = self.join(head, tail) {
                    into.push(Datagram { bytes, peer: message::address(&names[n]), local });
                }
            }
            received
        })
    }

    /// One buffer of what lies in a small slot and behind it.
    fn join(&self, head: Buf, tail: &[u8]) -> Option<Buf> {
        if tail.is_empty() {
            return Some(head);
        }
        let bulk = self.socket.bulk();
        if head.len() + tail.len() > bulk.pool.slot_bytes() {
            return Some(Buf::from_vec([&head, tail].concat()));
        }
        let id = bulk.take()?;
        let to = bulk.pool.slot_ptr(id);
        // SAFETY: the slot is free, so no window on it exists, and both pieces fit.
        unsafe {
            std::ptr::copy_nonoverlapping(head.as_ptr(), to, head.len());
            std::ptr::copy_nonoverlapping(tail.as_ptr(), to.add(head.len()), tail.len());
        }
        Some(bulk.pool.adopt(id, head.len() + tail.len()))
    }

    /// Sends what the socket takes at once of `batch`. Says how many datagrams that were: at least one, or an error.
    fn send_now(&self, batch: &[Outgoing], joined: bool) -> io::Result<usize> {
        // What does not fit into the messages is not looked at.
        let batch = &batch[..batch.len().min(DATAGRAM_BATCH * SEGMENTS_MAX)];
        PIECES.with_borrow_mut(|pieces| {
            pieces.clear();
            pieces.extend(batch.iter().map(|datagram| libc::iovec {
                iov_base: datagram.bytes.as_ptr() as *mut libc::c_void,
                iov_len: datagram.bytes.len(),
            }));
            self.send_pieces(batch, joined, pieces)
        })
    }

    fn send_pieces(&self, batch: &[Outgoing], joined: bool, pieces: &[libc::iovec]) -> io::Result<usize> {
        let mut names = [const { None::<Name> }; DATAGRAM_BATCH];
        let mut controls = [NO_CONTROL; DATAGRAM_BATCH];
        let mut messages = [message::no_message(); DATAGRAM_BATCH];
        let mut covers = [0; DATAGRAM_BATCH];
        let (mut count, mut at) = (0, 0);
        while at < batch.len() && count < DATAGRAM_BATCH {
            let first = &batch[at];
            let run = if joined { equals(&batch[at..]) } else { 1 };
            covers[count] = run;
            let header = &mut messages[count].msg_hdr;
            if let Some(to) = first.to {
                let name = names[count].insert(Name::new(to, self.is_v6));
                header.msg_name = (&raw mut name.0).cast();
                header.msg_namelen = name.1;
            }
            header.msg_iov = pieces[at..].as_ptr() as *mut libc::iovec;
            header.msg_iovlen = run as _;
            let segment = (run > 1).then_some(first.bytes.len() as u16);
            let used = controls[count].fill(first.from, segment, self.is_v6);
            if used > 0 {
                header.msg_control = controls[count].0.as_mut_ptr().cast();
                header.msg_controllen = used as _;
            }
            at += run;
            count += 1;
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: each message points at an address, pieces and control data that live until the call returns; the
        // pieces are those of `batch`, which is borrowed and only read.
        let sent = unsafe { libc::sendmmsg(self.socket.fd(), messages.as_mut_ptr(), count as _, flags as _) };
        match usize::try_from(sent) {
            Ok(sent) => Ok(covers[..sent].iter().sum()),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }
}

fn fd<S: Ends>(socket: &S) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is open for as long as what owns it, which is borrowed.
    unsafe { BorrowedFd::borrow_raw(socket.fd()) }
}

/// How many datagrams from the start can go out as one: the same way, of one size but for the last.
fn equals(batch: &[Outgoing]) -> usize {
    let (first, size) = (&batch[0], batch[0].bytes.len());
    let most = SEGMENTS_MAX.min(MAX_DATAGRAM_BYTES.checked_div(size).unwrap_or(0));
    let mut run = 1;
    for next in batch[1..].iter().take(most.saturating_sub(1)) {
        let len = next.bytes.len();
        if (next.to, next.from) != (first.to, first.from) || len > size || len == 0 {
            break;
        }
        run += 1;
        if len < size {
            break;
        }
    }
    run
}

/// Whether an error may be about the cutting, not about the datagrams: a device that cannot, segments larger than a frame.
fn refuses_segments(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EINVAL | libc::EIO | libc::EMSGSIZE | libc::EOPNOTSUPP))
}

impl<S: Ends + 'static> Datagrams for KernelDatagrams<S> {
    async fn recv(&self, into: &mut Vec<Datagram>, until: Time) -> io::Result<()> {
        let before = into.len();
        loop {
            let received = poll_fn(|cx| self.0.poll_recv(into, cx, until)).await;
            match received {
                // No slot is free. Nobody tells when one is: the bytes wait in the kernel meanwhile.
                Err(e) if e.kind() == io::ErrorKind::OutOfMemory && e.raw_os_error().is_none() => {
                    let worker = self.0.socket.worker().clone();
                    let now = worker.clock.now();
                    if now >= until {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    Sleep::new(worker, now.after(TIMER_GRAIN).min(until)).await;
                }
                Ok(()) if into.len() == before => {}
                done => return done,
            }
        }
    }

    fn send(&self, batch: &[Outgoing], until: Time) -> impl Future<Output = io::Result<usize>> {
        let (mut room, mut joined) = (S::Room::default(), true);
        poll_fn(move |cx| {
            if batch.is_empty() {
                return Poll::Ready(Ok(0));
            }
            loop {
                ready!(self.0.socket.poll_sink(&mut room, cx, until))?;
                match self.0.send_now(batch, joined) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.0.socket.sink_was_full(&mut room),
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) if joined && refuses_segments(&e) => joined = false,
                    done => return Poll::Ready(done),
                }
            }
        })
    }

    fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        socket::connect(fd(&self.0.socket), message::for_family(peer, self.0.is_v6)).map(drop)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        socket::bound_addr(fd(&self.0.socket))
    }
}
