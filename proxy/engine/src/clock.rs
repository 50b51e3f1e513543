//! The two clocks of a worker, read once per turn of its event loop.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::seam::Time;

/// The monotonic time that is [`Time`]`(0)` in this process, the same for every worker.
static START: OnceLock<Instant> = OnceLock::new();

pub(crate) struct Clock {
    start: Instant,
    now: Cell<Time>,
    /// Read at the first use in a turn.
    unix: Cell<Option<Duration>>,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        let clock =
            Clock { start: *START.get_or_init(Instant::now), now: Cell::new(Time(0)), unix: Cell::new(None) };
        clock.tick();
        clock
    }

    /// A new turn begins: the time moves on.
    pub(crate) fn tick(&self) {
        self.now.set(Time(0).after(self.start.elapsed()));
        self.unix.set(None);
    }

    pub(crate) fn now(&self) -> Time {
        self.now.get()
    }

    pub(crate) fn unix(&self) -> Duration {
        self.unix.get().unwrap_or_else(|| {
            // A clock set before 1970 reads as 1970.
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.unix.set(Some(unix));
            unix
        })
    }
}
