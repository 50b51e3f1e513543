//! Moving bytes from socket to socket through a pipe, without a copy to user space. For the kernel engines.
//!
//! A pipe is taken when the source has bytes and goes back when the sink has taken them all, so that a tunnel that waits
//! for its source holds none. Where no pipe can be had the bytes go through a receive slot as usual.
//!
//! What it does not do: wait. The engines say when a socket is worth another try.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::buf::{Buf, Pool};
use crate::seam::{Idle, Time};
use crate::slots::Slots;
use crate::socket::{self, Mode};
use crate::worker::Worker;

/// What is asked for as the size of a pipe. A kernel that grants less (`fs.pipe-max-size`, `pipe-user-pages-soft`) leaves
/// it at its default, which works as well, in smaller steps.
const PIPE_BYTES: usize = 1024 * 1024;
/// Pipes of one worker that exist at a time. They are held only while bytes are on their way, so that few are needed;
/// who finds none copies.
pub(crate) const PIPES_MAX: usize = 256;
/// Empty pipes that a worker keeps for later.
const PIPES_KEPT: usize = 16;
/// Rounds of one splice that may succeed at once, one after the other, before other tasks get their turn.
const RUN: u8 = 4;

/// A worker's pipes.
pub(crate) struct Pipes {
    free: RefCell<Vec<Pipe>>,
    /// Those that exist, free or not.
    open: Cell<usize>,
}

struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    bytes: usize,
}

impl Pipes {
    pub(crate) fn new() -> Pipes {
        Pipes { free: RefCell::default(), open: Cell::new(0) }
    }

    /// Pipes that splices hold now.
    pub(crate) fn held(&self) -> usize {
        self.open.get() - self.free.borrow().len()
    }

    /// An empty pipe, or none if there are too many or the process may open no more descriptors.
    fn take(&self) -> Option<Pipe> {
        self.free.borrow_mut().pop().or_else(|| {
            let pipe = (self.open.get() < PIPES_MAX).then(Pipe::open)?.ok()?;
            self.open.set(self.open.get() + 1);
            Some(pipe)
        })
    }

    fn put_back(&self, pipe: Pipe) {
        let mut free = self.free.borrow_mut();
        if free.len() < PIPES_KEPT {
            free.push(pipe);
        } else {
            self.open.set(self.open.get() - 1);
        }
    }
}

impl Pipe {
    fn open() -> io::Result<Pipe> {
        let mut fds = [-1; 2];
        // SAFETY: room for two descriptors.
        if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: both were just opened and belong to nobody else.
        let [read, write] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        // SAFETY: no pointers.
        let bytes = unsafe {
            match libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE_BYTES as libc::c_int) {
                granted if granted > 0 => granted,
                _ => libc::fcntl(write.as_raw_fd(), libc::F_GETPIPE_SZ),
            }
        };
        let bytes = usize::try_from(bytes).map_err(|_| io::Error::last_os_error())?;
        Ok(Pipe { read, write, bytes })
    }
}

/// What a splice has taken from its source and its sink has not taken yet. Dropped with bytes in it, they are lost.
struct Carried<'a> {
    pipes: &'a Pipes,
    pipe: Option<(Pipe, usize)>,
    copied: Option<Buf>,
}

impl Carried<'_> {
    fn is_empty(&self) -> bool {
        self.pipe.is_none() && self.copied.is_none()
    }

    /// Takes up to `most` bytes from the source. Zero is its end.
    fn pull(&mut self, from: RawFd, slots: &Slots, most: u64) -> io::Result<usize> {
        let Some(pipe) = self.pipes.take() else { return self.pull_copy(from, slots, most) };
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(pipe.bytes);
        match splice(from, pipe.write.as_raw_fd(), most) {
            Ok(n) if n > 0 => {
                self.pipe = Some((pipe, n));
                Ok(n)
            }
            nothing => {
                self.pipes.put_back(pipe);
                nothing
            }
        }
    }

    /// The same through a slot. Without one it says [`io::ErrorKind::OutOfMemory`].
    fn pull_copy(&mut self, from: RawFd, slots: &Slots, most: u64) -> io::Result<usize> {
        let id = slots.take().ok_or(io::ErrorKind::OutOfMemory)?;
        let room = usize::try_from(most).unwrap_or(usize::MAX).min(slots.pool.slot_bytes());
        // SAFETY: the slot is free: nobody reads it, and it has at least `room` bytes.
        match unsafe { socket::recv(from, slots.pool.slot_ptr(id), room) } {
            Ok(n) if n > 0 => {
                self.copied = Some(slots.pool.adopt(id, n));
                Ok(n)
            }
            nothing => {
                slots.put_back(id);
                nothing
            }
        }
    }

    /// Gives the sink what it takes.
    fn push(&mut self, to: RawFd) -> io::Result<usize> {
        if let Some(bytes) = &mut self.copied {
            let n = socket::try_send(to, bytes)?;
            bytes.advance(n);
            if bytes.is_empty() {
                self.copied = None;
            }
            return Ok(n);
        }
        let Some((pipe, held)) = &mut self.pipe else { return Ok(0) };
        let n = splice(pipe.read.as_raw_fd(), to, *held)?;
        *held -= n;
        if *held == 0
            && let Some((pipe, _)) = self.pipe.take()
        {
            self.pipes.put_back(pipe);
        }
        Ok(n)
    }
}

impl Drop for Carried<'_> {
    fn drop(&mut self) {
        if self.pipe.take().is_some() {
            // It holds bytes that nobody must see again.
            self.pipes.open.set(self.pipes.open.get() - 1);
        }
    }
}

/// Moves bytes between a socket and a pipe. Neither waits: the caller has seen to the socket's mode. To a socket that was
/// shut down it raises `SIGPIPE`, which Rust programs ignore from their start.
fn splice(from: RawFd, to: RawFd, most: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE;
    loop {
        let none = std::ptr::null_mut();
        // SAFETY: no offsets; the descriptors are open.
        let n = unsafe { libc::splice(from, none, to, none, most, flags) };
        match usize::try_from(n) {
            Ok(n) => return Ok(n),
            Err(_) => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => {}
                e => return Err(e),
            },
        }
    }
}

/// `splice(2)` waits on a blocking socket whatever its flags say. Those of the ring are made non-blocking for the
/// length of a run, in which nothing is submitted: what is in flight does not notice.
struct NonBlocking([RawFd; 2], Mode);

impl NonBlocking {
    fn new(sockets: [RawFd; 2], mode: Mode) -> NonBlocking {
        if mode == Mode::Blocking {
            sockets.into_iter().for_each(|fd| set_nonblocking(fd, true));
        }
        NonBlocking(sockets, mode)
    }
}

impl Drop for NonBlocking {
    fn drop(&mut self) {
        if self.1 == Mode::Blocking {
            self.0.into_iter().for_each(|fd| set_nonblocking(fd, false));
        }
    }
}

fn set_nonblocking(fd: RawFd, on: bool) {
    let mut on = libc::c_int::from(on);
    // SAFETY: the argument is an int, as FIONBIO wants. It cannot fail on an open socket.
    unsafe { libc::ioctl(fd, libc::FIONBIO, &raw mut on) };
}

/// What a source has.
pub(crate) enum Source {
    /// Bytes that the engine had received already.
    Received(Buf),
    /// Perhaps something in the socket: to be tried.
    Socket,
    /// Nothing more.
    End,
}

/// How an engine's stream takes part in a splice.
pub(crate) trait Ends {
    /// The mode of its sockets.
    const MODE: Mode;

    fn fd(&self) -> RawFd;
    fn worker(&self) -> &Rc<Worker>;
    fn pipes(&self) -> &Pipes;
    fn bulk(&self) -> &Slots;
    fn small_pool(&self) -> Rc<Pool>;
    /// A free small slot, to be adopted or put back.
    fn take_small(&self) -> Option<u32>;

    /// Ready when the source is worth a try. At most `most` bytes are handed over.
    fn poll_source(&self, most: u64, cx: &Context<'_>, until: Time) -> Poll<io::Result<Source>>;
    /// A try found the source empty.
    fn source_was_empty(&self);
    /// A try found the end, or an error.
    fn source_ended(&self, error: Option<i32>);
    /// No slot was free for a try.
    fn source_found_no_slot(&self);

    /// What the sink keeps while it waits.
    type Room<'a>: Default
    where
        Self: 'a;
    /// Ready when the sink is worth a try.
    fn poll_sink<'a>(
        &'a self,
        room: &mut Self::Room<'a>,
        cx: &Context<'_>,
        until: Time,
    ) -> Poll<io::Result<()>>;
    /// A try found the sink full.
    fn sink_was_full<'a>(&'a self, room: &mut Self::Room<'a>);
}

/// Why a transfer stops.
enum Halt {
    /// It has more to do, in a turn of its own or after a look at the source.
    Turn,
    /// The limit is reached.
    Done,
    /// The source has ended.
    End,
    /// The source has nothing now, or failed, or there is no slot for a copy.
    Source(io::Error),
    SinkFull,
    Sink(io::Error),
}

/// A splice under way.
struct Run<'a, S: Ends + 'a> {
    from: &'a S,
    to: &'a S,
    left: u64,
    idle: &'a Idle,
    moved: &'a Cell<u64>,
    /// What this splice has moved; the caller may count more than one in `moved`.
    took: u64,
    carried: Carried<'a>,
    room: S::Room<'a>,
    /// Rounds since it last waited.
    rounds: u8,
}

/// Moves bytes until the end of the source or `limit`. Returns how many the sink took.
pub(crate) async fn run<S: Ends>(
    from: &S,
    to: &S,
    limit: u64,
    idle: &Idle,
    moved: &Cell<u64>,
) -> io::Result<u64> {
    let carried = Carried { pipes: from.pipes(), pipe: None, copied: None };
    let room = S::Room::default();
    let mut run = Run { from, to, left: limit, idle, moved, took: 0, carried, room, rounds: 0 };
    poll_fn(|cx| run.poll(cx)).await?;
    Ok(run.took)
}

impl<S: Ends> Run<'_, S> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let until = self.idle.until();
            // Only who asked the source just now knows that nothing the engine received comes before what is in the socket.
            let mut may_pull = false;
            if !self.carried.is_empty() {
                ready!(self.to.poll_sink(&mut self.room, cx, until))?;
            } else if self.left == 0 {
                return Poll::Ready(Ok(()));
            } else {
                match ready!(self.from.poll_source(self.left, cx, until))? {
                    Source::End => return Poll::Ready(Ok(())),
                    Source::Socket => may_pull = true,
                    Source::Received(bytes) => {
                        self.left -= bytes.len() as u64;
                        self.carried.copied = Some(bytes);
                    }
                }
            }
            if self.rounds >= RUN {
                self.rounds = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(end) = self.go(may_pull) {
                return Poll::Ready(end);
            }
        }
    }

    /// Moves what can be moved now: what is carried, and what is in the socket if the source said so.
    fn go(&mut self, may_pull: bool) -> Option<io::Result<()>> {
        let mode = NonBlocking::new([self.from.fd(), self.to.fd()], S::MODE);
        let halt = self.transfer(may_pull);
        // The engine may submit what follows at once.
        drop(mode);
        match halt {
            Halt::Turn => None,
            Halt::Done => Some(Ok(())),
            Halt::End => {
                self.from.source_ended(None);
                Some(Ok(()))
            }
            Halt::Source(error) => self.no_bytes(error),
            Halt::SinkFull => {
                self.rounds = 0;
                self.to.sink_was_full(&mut self.room);
                None
            }
            Halt::Sink(error) => Some(Err(error)),
        }
    }

    fn transfer(&mut self, may_pull: bool) -> Halt {
        while self.rounds < RUN {
            if self.carried.is_empty() {
                if !may_pull {
                    return Halt::Turn;
                }
                match self.carried.pull(self.from.fd(), self.from.bulk(), self.left) {
                    Ok(0) => return Halt::End,
                    Ok(n) => self.left -= n as u64,
                    Err(e) => return Halt::Source(e),
                }
            }
            while !self.carried.is_empty() {
                match self.carried.push(self.to.fd()) {
                    Ok(n) => {
                        self.took += n as u64;
                        self.moved.set(self.moved.get() + n as u64);
                        self.idle.moved(self.from.worker().clock.now());
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Halt::SinkFull,
                    Err(e) => return Halt::Sink(e),
                }
            }
            self.rounds += 1;
            if self.left == 0 {
                return Halt::Done;
            }
        }
        Halt::Turn
    }

    fn no_bytes(&mut self, error: io::Error) -> Option<io::Result<()>> {
        match error.kind() {
            io::ErrorKind::WouldBlock => self.from.source_was_empty(),
            io::ErrorKind::OutOfMemory if error.raw_os_error().is_none() => self.from.source_found_no_slot(),
            _ => {
                self.from.source_ended(Some(error.raw_os_error().unwrap_or(libc::EIO)));
                return Some(Err(error));
            }
        }
        self.rounds = 0;
        None
    }
}
