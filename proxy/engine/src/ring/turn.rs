//! The event loop: enters the kernel once, dispatches completions, fires timers, runs tasks.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use io_uring::{cqueue, opcode, squeue, types};

use super::group::Group;
use super::listener::Acceptor;
use super::op::Op;
use super::setup::{Completion, Uring};
use super::stream::Conn;
use crate::buf::Buf;
use crate::options::Options;
use crate::slots::Slots;
use crate::splice::Pipes;
use crate::table::Table;
use crate::worker::Worker;

/// Completions copied out of the ring at a time.
const BATCH: usize = 64;
/// Slots that lie in the buffer ring at first: what is touched, and so resident, in a quiet worker.
const SMALL_LYING: usize = 64;
/// How long the end of an engine waits for the kernel to let go of its memory.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// One wait of it.
const END_STEP: Duration = Duration::from_millis(20);

/// What a completion is about: the upper 8 bits of `user_data`. The lower 56 are a key of a [`Table`].
pub(super) mod kind {
    const SHIFT: u32 = 56;
    /// Nobody waits for it: cancellations and closes, which only complete when they fail.
    pub(in crate::ring) const FORGET: u64 = 0;
    pub(in crate::ring) const BELL: u64 = 1 << SHIFT;
    pub(in crate::ring) const ACCEPT: u64 = 2 << SHIFT;
    /// A multishot receive into small slots.
    pub(in crate::ring) const RECV_SMALL: u64 = 3 << SHIFT;
    /// A wait for bytes that will be received into a bulk slot.
    pub(in crate::ring) const RECV_BULK: u64 = 4 << SHIFT;
    /// A send or a connect.
    pub(in crate::ring) const OP: u64 = 5 << SHIFT;

    pub(in crate::ring) const fn of(user_data: u64) -> u64 {
        user_data >> SHIFT << SHIFT
    }

    pub(in crate::ring) const fn key(user_data: u64) -> u64 {
        user_data & !(0xff << SHIFT)
    }
}

/// One worker's state, shared by its handles, listeners and streams.
pub(super) struct Core {
    // The ring goes first: the kernel must know nothing of the memory below when that is freed.
    uring: RefCell<Uring>,
    pub(super) small: RefCell<Group>,
    pub(super) bulk: Slots,
    pub(super) pipes: Pipes,
    pub(super) worker: Rc<Worker>,
    pub(super) conns: RefCell<Table<Conn>>,
    pub(super) acceptors: RefCell<Table<Acceptor>>,
    pub(super) ops: RefCell<Table<Op>>,
    /// Received buffers that streams have not taken yet; lists through `Queued::next`.
    pub(super) queued: RefCell<slab::Slab<Queued>>,
    /// Operations that will complete.
    in_flight: Cell<usize>,
    stopped: Cell<bool>,
}

/// A received buffer in the queue of a stream.
pub(super) struct Queued {
    pub(super) buf: Buf,
    pub(super) next: u32,
}

/// The group of small receive slots.
pub(super) fn small_group(uring: &Uring, options: &Options) -> io::Result<Group> {
    Group::new(uring, 0, (options.small_slots, options.small_slot_bytes), SMALL_LYING)
}

impl Core {
    pub(super) fn new(options: &Options) -> io::Result<Core> {
        let uring = Uring::new(options)?;
        let small = small_group(&uring, options)?;
        let core = Core {
            uring: RefCell::new(uring),
            small: RefCell::new(small),
            bulk: Slots::new(options.bulk_slots, options.bulk_slot_bytes),
            pipes: Pipes::new(),
            worker: Rc::new(Worker::new()?),
            conns: RefCell::default(),
            acceptors: RefCell::default(),
            ops: RefCell::default(),
            queued: RefCell::default(),
            in_flight: Cell::new(0),
            stopped: Cell::new(false),
        };
        core.watch_bell();
        Ok(core)
    }

    /// Starts an operation that completes under `user_data`.
    ///
    /// # Safety
    /// All that the entry points at must stay valid until the operation's last completion.
    pub(super) unsafe fn start(&self, entry: squeue::Entry, user_data: u64) {
        self.in_flight.set(self.in_flight.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { self.uring.borrow_mut().push(entry.user_data(user_data)) };
    }

    /// Asks the kernel to end an operation. It still completes, one way or the other.
    pub(super) fn cancel(&self, user_data: u64) {
        if !self.stopped.get() {
            self.forget(opcode::AsyncCancel::new(user_data).build());
        }
    }

    /// Closes a descriptor after what was started on it before.
    pub(super) fn close(&self, fd: RawFd) {
        if self.stopped.get() {
            // SAFETY: the caller owns the descriptor and gives it up; nothing is in flight on it any more.
            unsafe { libc::close(fd) };
        } else {
            self.forget(opcode::Close::new(types::Fd(fd)).build());
        }
    }

    fn forget(&self, entry: squeue::Entry) {
        let entry = entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(kind::FORGET);
        // SAFETY: cancellations and closes point at nothing.
        unsafe { self.uring.borrow_mut().push(entry) };
    }

    fn watch_bell(&self) {
        let poll =
            opcode::PollAdd::new(types::Fd(self.worker.bell()), libc::POLLIN as u32).multi(true).build();
        // SAFETY: points at nothing.
        unsafe { self.start(poll, kind::BELL) };
    }

    /// One turn of the event loop.
    pub(super) fn turn(&self) -> io::Result<()> {
        let can_serve = self.refill();
        let patience = if can_serve { Some(Duration::ZERO) } else { self.worker.patience() };
        self.uring.borrow_mut().enter(patience)?;
        self.worker.clock.tick();
        self.dispatch_all();
        self.worker.fire(|user_data| self.fire(user_data));
        if self.refill() {
            self.serve();
        }
        self.worker.run_tasks();
        Ok(())
    }

    /// Gives the kernel the slots that came back. Says whether a starving stream can be served.
    fn refill(&self) -> bool {
        let mut small = self.small.borrow_mut();
        small.refill();
        small.can_serve() || self.bulk.can_serve()
    }

    fn serve(&self) {
        let mut conns = self.conns.borrow_mut();
        let mut feed = |key| conns.get(key).map(|conn| conn.fed()).is_some();
        self.small.borrow_mut().serve().for_each(|key| {
            feed(key);
        });
        self.bulk.serve(feed);
    }

    fn dispatch_all(&self) {
        let mut batch = [Completion::default(); BATCH];
        loop {
            let taken = self.uring.borrow_mut().take(&mut batch).len();
            for completion in &batch[..taken] {
                self.dispatch(*completion);
            }
            if taken < BATCH {
                return;
            }
        }
    }

    fn dispatch(&self, completion: Completion) {
        let Completion { user_data, result, flags } = completion;
        let more = cqueue::more(flags);
        let kind = kind::of(user_data);
        if kind != kind::FORGET && !more {
            self.in_flight.set(self.in_flight.get() - 1);
        }
        match kind {
            kind::RECV_SMALL => self.received(user_data, result, flags),
            kind::RECV_BULK => self.readable(kind::key(user_data)),
            kind::OP => self.op_completed(kind::key(user_data), result),
            kind::ACCEPT => self.accepted(kind::key(user_data), result, more),
            kind::BELL => {
                self.worker.answer_bell();
                if !more && !self.stopped.get() {
                    self.watch_bell();
                }
            }
            _ => {}
        }
    }

    /// A deadline passed.
    fn fire(&self, user_data: u64) {
        let key = kind::key(user_data);
        if kind::of(user_data) == kind::OP {
            if let Some(op) = self.ops.borrow_mut().get(key) {
                op.fire(&self.worker);
            }
        } else if let Some(conn) = self.conns.borrow_mut().get(key) {
            conn.waits.fire(&self.worker);
        }
    }

    /// Ends every operation and waits until the kernel has let go of them. Says whether it did in time.
    pub(super) fn finish(&self) -> bool {
        self.stopped.set(true);
        let all = types::CancelBuilder::any().all();
        self.forget(opcode::AsyncCancel2::new(all).build());
        let end = Instant::now() + END_PATIENCE;
        loop {
            let mut uring = self.uring.borrow_mut();
            if self.in_flight.get() == 0 && uring.all_submitted() {
                return true;
            }
            let entered = uring.enter(Some(END_STEP));
            drop(uring);
            self.dispatch_all();
            if entered.is_err() || Instant::now() > end {
                return false;
            }
        }
    }
}
