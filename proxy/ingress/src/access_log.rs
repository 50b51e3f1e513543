//! The access log: from the worker that served a request to a file.
//!
//! A worker writes its line into a ring of its own ([`LineSink`]); the service thread ([`Writer`]) takes lines out of
//! all rings and writes them. A full ring drops lines and counts them: a worker never waits. Lines of one worker are
//! in order; lines of different workers may be apart by [`ACCESS_LOG_PERIOD`].
//!
//! [`ACCESS_LOG_PERIOD`]: crate::limits::ACCESS_LOG_PERIOD

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::tz::TimeZone;
use pancake_config::traefik::static_config::{AccessLog, AccessLogFormat};
use pancake_session::record::{Record, Sink};
use rtrb::{Consumer, Producer, RingBuffer};
use tokio::sync::mpsc;

use crate::limits::{ACCESS_LOG_BATCH_BYTES, ACCESS_LOG_RING_BYTES};
use timestamp::Timestamps;

/// One record as one line.
mod line;
/// Wall-clock times as access logs write them.
mod timestamp;
/// Rings to a file.
mod writer;

pub use writer::Writer;

/// A sink for a process without an access log.
pub struct NoLog;

impl Sink for NoLog {
    fn wants_text(&self) -> bool {
        false
    }

    fn record(&self, _: &Record<'_>) {}
}

/// What workers and the writer of one process count.
#[derive(Debug, Default)]
pub struct Counts {
    requests: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    /// Lines dropped because a ring was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Lines lost because they could not be written.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// The access log of `settings` for this many workers: the end that writes, and one sink for each worker.
///
/// # Errors
/// If the file cannot be opened.
pub fn open(settings: &AccessLog, workers: usize) -> std::io::Result<(Writer, Vec<LineSink>)> {
    let counts = Arc::new(Counts::default());
    let (wake, woken) = mpsc::channel(1);
    let mut rings = Vec::new();
    let mut sinks = Vec::new();
    for _ in 0..workers {
        let (lines, ring) = RingBuffer::new(ACCESS_LOG_RING_BYTES);
        rings.push(ring);
        let (counts, wake) = (counts.clone(), wake.clone());
        let state =
            RefCell::new(State { lines, line: Vec::new(), times: Timestamps::new(TimeZone::system()) });
        sinks.push(LineSink { format: settings.format, state, counts, wake });
    }
    let writer = Writer::open(settings.file_path.clone(), rings, woken, counts)?;
    Ok((writer, sinks))
}

/// A worker's end of the access log.
pub struct LineSink {
    format: AccessLogFormat,
    state: RefCell<State>,
    counts: Arc<Counts>,
    wake: mpsc::Sender<()>,
}

struct State {
    lines: Producer<u8>,
    line: Vec<u8>,
    times: Timestamps,
}

impl Sink for LineSink {
    fn wants_text(&self) -> bool {
        true
    }

    fn record(&self, record: &Record<'_>) {
        let State { lines, line, times } = &mut *self.state.borrow_mut();
        line.clear();
        let count = self.counts.requests.fetch_add(1, Ordering::Relaxed) + 1;
        line::write(line, times, self.format, record, count);
        let waiting = ACCESS_LOG_RING_BYTES - lines.slots();
        if lines.push_entire_slice(line).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if waiting < ACCESS_LOG_BATCH_BYTES && waiting + line.len() >= ACCESS_LOG_BATCH_BYTES {
            // Full means that the writer has been woken and has not come yet.
            let _ = self.wake.try_send(());
        }
    }
}

type Ring = Consumer<u8>;
