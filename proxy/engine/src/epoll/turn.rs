//! The event loop: waits, dispatches, fires timers, runs tasks.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use crate::options::Options;
use crate::slots::Slots;
use crate::splice::Pipes;
use crate::table::Table;
use crate::worker::{Waits, Worker};

/// Events taken from the kernel per turn.
const EVENTS_PER_TURN: usize = 512;
/// The token of the bell; no source has it.
const BELL: u64 = u64::MAX;

/// One worker's state, shared by its handles, listeners and streams.
pub(super) struct Core {
    pub(super) pipes: Pipes,
    pub(super) worker: Rc<Worker>,
    epoll: OwnedFd,
    pub(super) sources: RefCell<Table<Source>>,
    pub(super) small: Slots,
    pub(super) bulk: Slots,
}

/// A registered descriptor: what the kernel said of it last, and who waits for it.
pub(super) struct Source {
    pub(super) fd: OwnedFd,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The end or an error is in the queue: a short read does not mean that the queue is empty.
    pub(super) ended: bool,
    /// The stream is noted as one that found no slot.
    pub(super) waits_for_slot: bool,
    /// Receives since the stream last waited.
    pub(super) run: u8,
    pub(super) waits: Waits,
}

impl Core {
    pub(super) fn new(options: &Options) -> io::Result<Core> {
        // SAFETY: no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, owned by nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let core = Core {
            pipes: Pipes::new(),
            worker: Rc::new(Worker::new()?),
            epoll,
            sources: RefCell::default(),
            small: Slots::new(options.small_slots, options.small_slot_bytes),
            bulk: Slots::new(options.bulk_slots, options.bulk_slot_bytes),
        };
        core.watch(core.worker.bell(), BELL, libc::EPOLLIN)?;
        Ok(core)
    }

    /// Registers a descriptor for both directions, edge-triggered.
    pub(super) fn register(&self, fd: OwnedFd) -> io::Result<u64> {
        let raw = fd.as_raw_fd();
        let token = self.sources.borrow_mut().insert(Source {
            fd,
            readable: false,
            writable: false,
            ended: false,
            waits_for_slot: false,
            run: 0,
            waits: Waits::default(),
        });
        let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        if let Err(e) = self.watch(raw, token, events) {
            drop(self.sources.borrow_mut().remove(token));
            return Err(e);
        }
        Ok(token)
    }

    /// Closes a descriptor, which unregisters it.
    pub(super) fn close(&self, token: u64) {
        let mut source = self.sources.borrow_mut().remove(token);
        source.waits.end(&self.worker);
    }

    fn watch(&self, fd: RawFd, token: u64, events: i32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: token };
        // SAFETY: `event` is valid for the call; the kernel copies it.
        let done = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// One turn of the event loop.
    pub(super) fn turn(&self) -> io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_PER_TURN];
        let count = self.wait(&mut events)?;
        self.worker.clock.tick();
        for event in &events[..count] {
            self.dispatch(event.u64, event.events as i32);
        }
        self.worker.fire(|token| {
            if let Some(source) = self.sources.borrow_mut().get(token) {
                source.waits.fire(&self.worker);
            }
        });
        self.serve_waiting();
        self.worker.run_tasks();
        Ok(())
    }

    fn wait(&self, events: &mut [libc::epoll_event]) -> io::Result<usize> {
        let patience = match self.small.can_serve() || self.bulk.can_serve() {
            true => Some(Duration::ZERO),
            false => self.worker.patience(),
        };
        // Rounded up: waking early would be a turn for nothing.
        let millis = patience.map_or(-1, |patience| {
            i32::try_from(patience.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        // SAFETY: the pointer and length are those of `events`.
        let count = unsafe {
            libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, millis)
        };
        match usize::try_from(count) {
            Ok(count) => Ok(count),
            Err(_) => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => Ok(0),
                e => Err(e),
            },
        }
    }

    fn dispatch(&self, token: u64, events: i32) {
        if token == BELL {
            return self.worker.answer_bell();
        }
        let mut sources = self.sources.borrow_mut();
        // A source closed in this turn may still have an event in the batch.
        let Some(source) = sources.get(token) else { return };
        let ended = events & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) != 0;
        source.ended |= ended;
        if ended || events & libc::EPOLLIN != 0 {
            source.readable = true;
            source.waits.wake_recv();
        }
        if events & (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) != 0 {
            source.writable = true;
            source.waits.wake_send();
        }
    }

    /// Lets streams that found no slot try again, as many as there are slots.
    fn serve_waiting(&self) {
        for slots in [&self.small, &self.bulk] {
            slots.serve(|token| {
                let mut sources = self.sources.borrow_mut();
                let Some(source) = sources.get(token) else { return false };
                source.waits_for_slot = false;
                source.waits.wake_recv();
                true
            });
        }
    }
}
