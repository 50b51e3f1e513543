//! The engine's time as `quinn-proto` takes it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pancake_engine::Time;
use quinn_proto::TimeSource;

/// Moments of the engine's clock as [`Instant`]s. The system's clock is read once, for an origin; only differences matter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(super) fn new() -> Clock {
        Clock { origin: Instant::now() }
    }

    pub(super) fn instant(self, time: Time) -> Instant {
        self.origin + Duration::from_nanos(time.0)
    }

    pub(super) fn time(self, instant: Instant) -> Time {
        Time(0).after(instant.saturating_duration_since(self.origin))
    }
}

/// The wall clock for the ages of tokens, set at each datagram.
#[derive(Debug, Default)]
pub(super) struct WallClock(AtomicU64);

impl WallClock {
    pub(super) fn set(&self, unix: Duration) {
        self.0.store(u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl TimeSource for WallClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}
