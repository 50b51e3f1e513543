//! What the kernel engines share: tasks, timers, clocks, randomness, and the bell other threads ring.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::clock::Clock;
use crate::exec::Executor;
use crate::seam::Time;
use crate::wheel::{Key, Wheel};

/// Rounds of tasks that wake tasks before the event loop gets its turn again.
const ROUNDS_PER_TURN: usize = 4;

/// One thread's share of an engine.
pub struct Worker {
    pub(crate) exec: Rc<Executor>,
    pub(crate) clock: Clock,
    wheel: RefCell<Wheel<Alarm>>,
    random: Cell<u64>,
    bell: Arc<OwnedFd>,
}

/// What a timer does when it fires.
enum Alarm {
    Wake(Option<Waker>),
    /// A stream has a deadline; the engine knows the token.
    Stream(u64),
}

impl Worker {
    /// Makes the worker of this thread.
    pub(crate) fn new() -> io::Result<Worker> {
        // SAFETY: no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and belongs to nobody else.
        let bell = Arc::new(unsafe { OwnedFd::from_raw_fd(fd) });
        let mut seed = [0u8; 8];
        // SAFETY: the pointer and length are those of `seed`.
        if unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), 0) } != seed.len() as isize {
            return Err(io::Error::last_os_error());
        }
        let clock = Clock::new();
        Ok(Worker {
            exec: Executor::new({
                let bell = bell.clone();
                move || ring(&bell)
            }),
            wheel: RefCell::new(Wheel::new(clock.now())),
            clock,
            random: Cell::new(u64::from_ne_bytes(seed)),
            bell,
        })
    }

    /// The descriptor that becomes readable when another thread woke a task.
    pub(crate) fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// The bell became readable: silences it and queues what was woken.
    pub(crate) fn answer_bell(&self) {
        let mut rings = 0u64;
        // SAFETY: the buffer is eight bytes, as an eventfd wants. A failure means that it did not ring: nothing to do.
        unsafe { libc::read(self.bell(), (&raw mut rings).cast(), 8) };
        self.exec.take_inbox();
    }

    /// Polls what is ready, and for a few rounds what that made ready.
    pub(crate) fn run_tasks(&self) {
        for _ in 0..ROUNDS_PER_TURN {
            if self.exec.run_ready() == 0 {
                break;
            }
        }
    }

    /// How long the event loop may wait for the kernel: zero if a task is ready, none if nothing is planned.
    pub(crate) fn patience(&self) -> Option<std::time::Duration> {
        if self.exec.has_ready() {
            return Some(std::time::Duration::ZERO);
        }
        let next = self.wheel.borrow().next()?;
        // The time of the turn is stale by now; waiting from it would wait too long.
        self.clock.tick();
        Some(next.since(self.clock.now()))
    }

    /// Fires the timers whose time has come. Streams are told through `stream`.
    pub(crate) fn fire(&self, mut stream: impl FnMut(u64)) {
        loop {
            let token = {
                let mut wheel = self.wheel.borrow_mut();
                let Some(key) = wheel.pop_expired(self.clock.now()) else { return };
                match wheel.item(key) {
                    Alarm::Stream(token) => *token,
                    Alarm::Wake(waker) => {
                        let waker = waker.take();
                        drop(wheel);
                        if let Some(waker) = waker {
                            waker.wake();
                        }
                        continue;
                    }
                }
            };
            stream(token);
        }
    }

    /// wyrand: one multiplication per number.
    pub(crate) fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0xa076_1d64_78bd_642f);
        self.random.set(state);
        let product = u128::from(state) * u128::from(state ^ 0xe703_7ed1_a0b4_28db);
        (product >> 64) as u64 ^ product as u64
    }
}

/// Adds one to the eventfd, which makes it readable.
fn ring(bell: &OwnedFd) {
    let one = 1u64;
    // SAFETY: the buffer is eight bytes, as an eventfd wants. It can only fail when it is ringing already.
    unsafe { libc::write(bell.as_raw_fd(), (&raw const one).cast(), 8) };
}

/// A direction of a stream that a task may wait for.
#[derive(Default)]
struct Wait {
    waker: Option<Waker>,
    until: Time,
}

impl Wait {
    fn set(&mut self, cx: &Context<'_>, until: Time) {
        self.until = until;
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Wakes if the deadline has passed; otherwise says when it will.
    fn fire(&mut self, now: Time) -> Time {
        if self.waker.is_none() {
            return Time::NEVER;
        }
        if self.until > now {
            return self.until;
        }
        self.wake();
        Time::NEVER
    }
}

/// Who waits for a stream, until when, and the one timer for both directions. The timer is armed lazily: a wait that
/// ends leaves it, and it finds out when it fires.
#[derive(Default)]
pub(crate) struct Waits {
    recv: Wait,
    send: Wait,
    timer: Option<Key>,
}

impl Waits {
    pub(crate) fn wait_recv(&mut self, worker: &Worker, token: u64, cx: &Context<'_>, until: Time) {
        self.recv.set(cx, until);
        self.plan(worker, token, until);
    }

    pub(crate) fn wait_send(&mut self, worker: &Worker, token: u64, cx: &Context<'_>, until: Time) {
        self.send.set(cx, until);
        self.plan(worker, token, until);
    }

    /// Whether a task waits to receive.
    pub(crate) fn waits_to_recv(&self) -> bool {
        self.recv.waker.is_some()
    }

    pub(crate) fn wake_recv(&mut self) {
        self.recv.wake();
    }

    pub(crate) fn wake_send(&mut self) {
        self.send.wake();
    }

    /// The timer fired: wakes whose deadline passed, and plans for the other.
    pub(crate) fn fire(&mut self, worker: &Worker) {
        let now = worker.clock.now();
        let next = self.recv.fire(now).min(self.send.fire(now));
        if let Some(timer) = self.timer {
            worker.wheel.borrow_mut().arm(timer, next);
        }
    }

    /// The stream goes away.
    pub(crate) fn end(&mut self, worker: &Worker) {
        if let Some(timer) = self.timer.take() {
            worker.wheel.borrow_mut().remove(timer);
        }
    }

    fn plan(&mut self, worker: &Worker, token: u64, until: Time) {
        if until != Time::NEVER {
            let mut wheel = worker.wheel.borrow_mut();
            let timer = *self.timer.get_or_insert_with(|| wheel.add(Alarm::Stream(token)));
            wheel.arm_by(timer, until);
        }
    }
}

/// A future that ends at a given time.
pub struct Sleep {
    worker: Rc<Worker>,
    at: Time,
    timer: Option<Key>,
}

impl Sleep {
    pub(crate) fn new(worker: Rc<Worker>, at: Time) -> Sleep {
        Sleep { worker, at, timer: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.worker.clock.now() >= this.at {
            return Poll::Ready(());
        }
        let mut wheel = this.worker.wheel.borrow_mut();
        let timer = *this.timer.get_or_insert_with(|| wheel.add(Alarm::Wake(None)));
        *wheel.item(timer) = Alarm::Wake(Some(cx.waker().clone()));
        wheel.arm_by(timer, this.at);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.worker.wheel.borrow_mut().remove(timer);
        }
    }
}
