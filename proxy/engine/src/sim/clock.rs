//! The virtual clock: what is due when, and who sleeps until then.
//!
//! Time stands still while a task is ready and then jumps to the next event. Events of the same instant come in a
//! seeded order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::Sim;
use super::net::{Attempt, Key, Side};
use crate::seam::{TIMER_GRAIN, Time};

/// What happens at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Event {
    /// A sleeper's time has come.
    Timer(Key),
    /// The next segment reaches this side of a connection.
    Deliver(Key, Side),
    /// A reset reaches this side of a connection.
    Reset(Key, Side),
    /// A connect reaches the listener.
    Syn(Attempt),
    /// The answer reaches the one that connects.
    Answer(Key),
    /// A datagram reaches its socket.
    Datagram(Key),
}

/// An event, when it is due, and its place among those of the same instant.
type Due = Reverse<(Time, u64, Event)>;

/// Events to come, in order.
#[derive(Default)]
pub(super) struct Clock {
    pub(super) now: Time,
    due: BinaryHeap<Due>,
    sleepers: BTreeMap<Key, Option<Waker>>,
    next_sleeper: Key,
}

impl Clock {
    pub(super) fn schedule(&mut self, at: Time, tie: u64, event: Event) {
        self.due.push(Reverse((at.max(self.now), tie, event)));
    }

    /// Advances to the next event. `stale` says which events concern nobody: they pass without moving the clock.
    pub(super) fn next(&mut self, stale: impl Fn(&Event) -> bool) -> Option<Event> {
        while let Some(Reverse((at, _, event))) = self.due.pop() {
            let gone = match event {
                Event::Timer(key) => !self.sleepers.contains_key(&key),
                ref other => stale(other),
            };
            if !gone {
                self.now = at;
                return Some(event);
            }
        }
        None
    }

    /// Ends a sleep.
    pub(super) fn fire(&mut self, key: Key) {
        if let Some(waker) = self.sleepers.remove(&key).flatten() {
            waker.wake();
        }
    }
}

/// A sleep; also the deadline of another call.
#[derive(Debug)]
pub struct Sleep {
    sim: Sim,
    at: Time,
    /// The sleeper's key once it has been polled.
    key: Option<Key>,
    done: bool,
}

impl Sleep {
    pub(super) fn new(sim: Sim, at: Time) -> Sleep {
        Sleep { sim, at, key: None, done: false }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.done {
            return Poll::Ready(());
        }
        if self.at == Time::NEVER {
            return Poll::Pending;
        }
        let sim = self.sim.clone();
        let mut world = sim.world();
        match self.key {
            None => {
                if self.at <= world.clock.now {
                    self.done = true;
                    return Poll::Ready(());
                }
                // Late by a random part of the grain, as the seam allows.
                let late = world.rng.between(std::time::Duration::ZERO, TIMER_GRAIN);
                let tie = world.rng.bits();
                let clock = &mut world.clock;
                let key = clock.next_sleeper;
                clock.next_sleeper += 1;
                clock.sleepers.insert(key, Some(cx.waker().clone()));
                clock.schedule(self.at.after(late), tie, Event::Timer(key));
                self.key = Some(key);
                Poll::Pending
            }
            Some(key) => match world.clock.sleepers.get_mut(&key) {
                Some(waker) => {
                    *waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                None => {
                    self.done = true;
                    self.key = None;
                    Poll::Ready(())
                }
            },
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.sim.world().clock.sleepers.remove(&key);
        }
    }
}
