//! The ring itself: set up with exactly the features that the engine needs, entered once per turn.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::{EnterFlags, IoUring, squeue, types};

use crate::options::Options;

/// `IORING_REGISTER_RING_FDS` and its opposite (linux/io_uring.h).
const REGISTER_RING_FDS: u32 = 20;
const UNREGISTER_RING_FDS: u32 = 21;
/// `IORING_ENTER_REGISTERED_RING`.
const ENTER_REGISTERED: u32 = 1 << 4;
/// `IORING_ENTER_NO_IOWAIT`: a worker that waits for connections is idle, not waiting for a disk.
const ENTER_NO_IOWAIT: u32 = 1 << 7;

/// `struct io_uring_rsrc_update`.
#[repr(C)]
struct RegisterRing {
    offset: u32,
    reserved: u32,
    fd: u64,
}

/// One completion.
#[derive(Clone, Copy, Default)]
pub(super) struct Completion {
    pub(super) user_data: u64,
    pub(super) result: i32,
    pub(super) flags: u32,
}

/// A ring that only this thread submits to.
pub(super) struct Uring {
    ring: IoUring,
    /// What did not fit the submission queue, in order.
    backlog: VecDeque<squeue::Entry>,
    /// The ring's index among the registered ones: saves the kernel a descriptor look-up per entry.
    registered: Option<u32>,
    /// Flags of every entry.
    enter_flags: u32,
}

impl Uring {
    /// Sets up a ring.
    ///
    /// # Errors
    /// What the kernel says: see [`crate::choose`] for what it means.
    pub(super) fn new(options: &Options) -> io::Result<Uring> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(options.ring_entries * Options::CQ_FACTOR)
            .build(options.ring_entries)?;
        let registered = register(ring.as_raw_fd());
        let mut enter_flags = EnterFlags::GETEVENTS.bits();
        if registered.is_some() {
            enter_flags |= ENTER_REGISTERED;
        }
        if ring.params().is_feature_no_iowait() {
            enter_flags |= ENTER_NO_IOWAIT;
        }
        Ok(Uring { ring, backlog: VecDeque::new(), registered, enter_flags })
    }

    pub(super) fn inner(&self) -> &IoUring {
        &self.ring
    }

    /// Queues an operation.
    ///
    /// # Safety
    /// All that the entry points at must stay valid until the operation's last completion.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: the caller's promise.
        if self.backlog.is_empty() && unsafe { self.ring.submission().push(&entry) }.is_ok() {
            return;
        }
        self.backlog.push_back(entry);
        // Makes room. If the kernel refuses now, the next turn tries again.
        let _ = self.submit(None, false);
    }

    /// Submits what is queued, and waits for a completion at most for `patience`; `None` is forever.
    ///
    /// # Errors
    /// Only those after which the ring is of no use.
    pub(super) fn enter(&mut self, patience: Option<Duration>) -> io::Result<()> {
        self.drain_backlog();
        let (_, sq, cq) = self.ring.split();
        let nothing_to_do = sq.is_empty() && !sq.taskrun() && !sq.cq_overflow();
        let wait = patience != Some(Duration::ZERO) && cq.is_empty() && self.backlog.is_empty();
        drop((sq, cq));
        if nothing_to_do && !wait {
            return Ok(());
        }
        self.submit(patience.filter(|_| wait), wait).or_else(|e| match e.raw_os_error() {
            // Time is up; a signal; the completion queue must be emptied first; no memory for a request right now.
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(e),
        })
    }

    /// Takes completions; fewer than fit means that there are no more.
    pub(super) fn take<'a>(&mut self, room: &'a mut [Completion]) -> &'a [Completion] {
        let mut queue = self.ring.completion();
        let mut count = 0;
        for place in &mut *room {
            let Some(entry) = queue.next() else { break };
            let (user_data, result, flags) = (entry.user_data(), entry.result(), entry.flags());
            *place = Completion { user_data, result, flags };
            count += 1;
        }
        &room[..count]
    }

    /// Whether everything queued has been handed to the kernel.
    pub(super) fn all_submitted(&mut self) -> bool {
        self.backlog.is_empty() && self.ring.submission().is_empty()
    }

    fn drain_backlog(&mut self) {
        while let Some(entry) = self.backlog.front() {
            // SAFETY: promised when the entry was pushed.
            if unsafe { self.ring.submission().push(entry) }.is_err() {
                break;
            }
            self.backlog.pop_front();
        }
    }

    /// The system call. It always lets the kernel do the work that it deferred.
    fn submit(&mut self, timeout: Option<Duration>, wait: bool) -> io::Result<()> {
        let queued = self.ring.submission().len();
        let fd = self.registered.map_or(self.ring.as_raw_fd(), |index| index as RawFd);
        let mut flags = self.enter_flags;
        let timespec = timeout.map(types::Timespec::from);
        let mut args = types::SubmitArgs::new();
        if let Some(timespec) = &timespec {
            args = args.timespec(timespec);
            flags |= EnterFlags::EXT_ARG.bits();
        }
        let (args, size) = match timespec {
            Some(_) => ((&raw const args).cast::<libc::c_void>(), size_of_val(&args)),
            None => (std::ptr::null(), 0),
        };
        // SAFETY: the arguments live until the call returns; the queued entries were promised valid by who pushed them.
        let done = unsafe {
            libc::syscall(libc::SYS_io_uring_enter, fd, queued as u32, u32::from(wait), flags, args, size)
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        self.drain_backlog();
        Ok(())
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if let Some(index) = self.registered {
            // A registered ring outlives its descriptor, for as long as its thread.
            let mut update = RegisterRing { offset: index, reserved: 0, fd: 0 };
            register_call(self.ring.as_raw_fd(), UNREGISTER_RING_FDS, &mut update);
        }
    }
}

/// Registers the ring with its thread. Not vital: the plain descriptor works as well.
fn register(fd: RawFd) -> Option<u32> {
    let mut update = RegisterRing { offset: u32::MAX, reserved: 0, fd: fd as u64 };
    register_call(fd, REGISTER_RING_FDS, &mut update).then_some(update.offset)
}

fn register_call(fd: RawFd, operation: u32, update: &mut RegisterRing) -> bool {
    // SAFETY: the kernel reads and writes one `struct io_uring_rsrc_update`, which this is.
    let done = unsafe {
        libc::syscall(libc::SYS_io_uring_register, fd, operation, &raw mut *update, 1 as libc::c_uint)
    };
    done == 1
}
