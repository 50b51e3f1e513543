//! One run from its seed to its outcome.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::net::World;
use super::{Faults, Inner, Sim};
use crate::exec::Executor;
use crate::seam::Time;

/// Turns of the loop in one instant after which the tasks count as chasing each other.
const MAX_TURNS_AT_ONCE: u32 = 1_000_000;
/// Real time that a run with nothing left to do waits for a wake from another thread.
const OUTSIDE_WAKE_GRACE: Duration = Duration::from_millis(500);

/// Why a run did not end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// No task is ready and nothing will happen: every task waits for another.
    Deadlock,
    /// [`Faults::limit`] passed.
    TimeLimit,
    /// The tasks wake each other for ever without time passing.
    Livelock,
}

/// How a run ended.
#[derive(Debug)]
#[must_use]
pub struct Outcome<T> {
    /// The seed that repeats the run.
    pub seed: u64,
    /// What the main task returned, or why it did not.
    pub result: Result<T, Stuck>,
    /// The virtual time that passed.
    pub elapsed: Duration,
    /// Tasks other than the main one that were alive at the end.
    pub tasks_left: usize,
    /// Receive slots that are still out after every task was dropped, by host; only hosts that have some.
    pub leaked: Vec<(IpAddr, usize)>,
    /// Connections that still exist after every task was dropped.
    pub leaked_streams: usize,
    /// A digest of all events: equal for equal seeds.
    pub fingerprint: u64,
}

impl<T> Outcome<T> {
    /// The result of a run that ended by itself and leaked nothing.
    ///
    /// # Panics
    /// Otherwise, with the seed.
    pub fn unwrap(self) -> T {
        let Outcome { seed, result, elapsed, leaked, leaked_streams, .. } = self;
        assert!(
            leaked.is_empty() && leaked_streams == 0,
            "sim seed {seed}: leaked slots {leaked:?} and {leaked_streams} connections"
        );
        match result {
            Ok(value) => value,
            Err(stuck) => panic!("sim seed {seed}: {stuck:?} after {elapsed:?}"),
        }
    }
}

/// Rung by wakes from other threads.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether it rang since the last call, after waiting up to `grace` for it.
    fn rang(&self, grace: Duration) -> bool {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.changed.wait_timeout_while(rung, grace, |rung| !*rung);
        let (mut rung, _) = wait.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *rung)
    }
}

/// Drops the tasks when the run ends, and names the seed if it ends by a panic.
struct Ending {
    seed: u64,
    executor: Rc<Executor>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("sim seed {}: a task panicked", self.seed);
        }
        self.executor.clear();
    }
}

/// Runs `main` and all that it spawns on a virtual network until `main` ends or nothing can happen any more.
/// The other tasks are dropped then.
///
/// # Panics
/// With what a task panics with; the seed is printed first. Also if this thread runs an engine already.
pub fn run<T, F>(seed: u64, faults: Faults, main: impl FnOnce(Sim) -> F) -> Outcome<T>
where
    T: 'static,
    F: Future<Output = T> + 'static,
{
    let bell = Arc::new(Bell::default());
    let executor = Executor::new({
        let bell = bell.clone();
        move || bell.ring()
    });
    let world = RefCell::new(World::new(seed, faults));
    let inner = Rc::new(Inner { executor: executor.clone(), world });
    let ending = Ending { seed, executor: executor.clone() };

    let host = inner.world.borrow_mut().host(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let value = Rc::new(Cell::new(None));
    let main = main(Sim { inner: inner.clone(), host });
    executor.spawn({
        let value = value.clone();
        async move { value.set(Some(main.await)) }
    });
    let result = drive(&inner, &bell, &value);

    let tasks_left = executor.tasks();
    drop(ending);
    let mut world = inner.world.borrow_mut();
    world.wake_slot_waiters();
    let leaked =
        world.hosts.iter().map(|host| (host.ip, host.held())).filter(|(_, held)| *held > 0).collect();
    Outcome {
        seed,
        result,
        elapsed: world.clock.now.since(Time(0)),
        tasks_left,
        leaked,
        leaked_streams: world.conns.values().filter(|conn| conn.ends.iter().any(|end| end.open)).count(),
        fingerprint: world.fingerprint,
    }
}

fn drive<T>(inner: &Inner, bell: &Bell, value: &Cell<Option<T>>) -> Result<T, Stuck> {
    let executor = &inner.executor;
    let mut turns_at_once = 0;
    loop {
        executor.run_ready();
        if let Some(value) = value.take() {
            return Ok(value);
        }
        inner.world.borrow_mut().wake_slot_waiters();
        if bell.rang(Duration::ZERO) {
            executor.take_inbox();
        }
        if executor.has_ready() {
            turns_at_once += 1;
            if turns_at_once > MAX_TURNS_AT_ONCE {
                return Err(Stuck::Livelock);
            }
            continue;
        }
        turns_at_once = 0;
        let mut world = inner.world.borrow_mut();
        if !world.step() {
            drop(world);
            if !bell.rang(OUTSIDE_WAKE_GRACE) {
                return Err(Stuck::Deadlock);
            }
            executor.take_inbox();
        } else if world.clock.now.since(Time(0)) > world.faults.limit {
            return Err(Stuck::TimeLimit);
        }
    }
}
