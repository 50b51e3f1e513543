//! Counters that a worker writes and the service thread reads.
//!
//! Each cell has one writer, so adding is a load and a store without a locked instruction. Readers may see the
//! cells of one request apart by an instant; sums are exact once the worker is at rest.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::admission::Refusal;
use crate::limits::{METER_BLOCK_ROWS, METER_BLOCKS};

/// Upper bounds of the duration histogram, in seconds: Traefik's default buckets.
pub const DURATION_BUCKETS: [f64; 4] = [0.1, 0.3, 1.2, 5.0];

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds; to be called by the owning worker only.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Subtracts; to be called by the owning worker only.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    /// Replaces the value; to be called by the owning worker only.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value, from any thread.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Exchanges of one object (entry point, router or service), by status and method.
///
/// Rows come in blocks, made when they are first needed. A client can make up many kinds of exchanges: when all rows
/// are taken, further kinds are counted by status class, so that a failing server always shows.
#[derive(Debug, Default)]
pub struct HttpMeter {
    blocks: [OnceLock<Box<[Row; METER_BLOCK_ROWS]>>; METER_BLOCKS],
    classes: OnceLock<Box<[Row; STATUS_CLASSES]>>,
}

/// First digits of a status, 0 to 9.
const STATUS_CLASSES: usize = 10;

/// Exchanges with one status and one method.
#[derive(Debug, Default)]
pub struct Row {
    key: AtomicU32,
    /// Exchanges.
    pub requests: Cell,
    /// Sum of durations in nanoseconds.
    pub nanoseconds: Cell,
    /// Exchanges within each of [`DURATION_BUCKETS`], not accumulated.
    pub buckets: [Cell; DURATION_BUCKETS.len()],
    /// Request body bytes.
    pub request_bytes: Cell,
    /// Response body bytes.
    pub response_bytes: Cell,
}

/// What one finished exchange adds.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Status that the client got; 499 if it left before.
    pub status: u16,
    /// Method.
    pub method: Method,
    /// Wall time.
    pub duration: Duration,
    /// Request body bytes.
    pub request_bytes: u64,
    /// Response body bytes.
    pub response_bytes: u64,
}

impl HttpMeter {
    /// Counts an exchange; to be called by the owning worker only.
    pub fn add(&self, sample: &Sample) {
        let key = u32::from(sample.status) << 8 | sample.method as u32;
        let row = self.row(key);
        row.requests.add(1);
        let nanoseconds = sample.duration.as_nanos() as u64;
        row.nanoseconds.add(nanoseconds);
        if let Some(bucket) = DURATION_BUCKETS.iter().position(|&b| nanoseconds <= (b * 1e9) as u64) {
            row.buckets[bucket].add(1);
        }
        row.request_bytes.add(sample.request_bytes);
        row.response_bytes.add(sample.response_bytes);
    }

    fn row(&self, key: u32) -> &Row {
        for block in &self.blocks {
            for row in block.get_or_init(Box::default).iter() {
                match row.key.load(Ordering::Relaxed) {
                    k if k == key => return row,
                    0 => {
                        row.key.store(key, Ordering::Release);
                        return row;
                    }
                    _ => {}
                }
            }
        }
        let class = (key >> 8) / 100 % STATUS_CLASSES as u32;
        let row = &self.classes.get_or_init(Box::default)[class as usize];
        row.key.store((class * 100) << 8 | Method::Other as u32, Ordering::Release);
        row
    }

    /// Rows in use: status, method, cells. Kinds that found no room are one row per status class, with the status 100,
    /// 200, … and [`Method::Other`]; such a row can stand beside one with exactly that status and method.
    pub fn rows(&self) -> impl Iterator<Item = (u16, Method, &Row)> {
        let blocks = self.blocks.iter().filter_map(OnceLock::get).flat_map(|block| block.iter());
        let classes = self.classes.get().into_iter().flat_map(|rows| rows.iter());
        blocks.chain(classes).filter_map(|row| {
            let key = row.key.load(Ordering::Acquire);
            (key != 0).then(|| ((key >> 8) as u16, Method::from_code(key as u8), row))
        })
    }
}

/// Methods that metrics tell apart, as Traefik does; others are `EXTENSION_METHOD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Method {
    Get = 1,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Connect,
    Options,
    Trace,
    Other,
}

impl Method {
    const ALL: [(Method, &'static str); 10] = [
        (Method::Get, "GET"),
        (Method::Head, "HEAD"),
        (Method::Post, "POST"),
        (Method::Put, "PUT"),
        (Method::Patch, "PATCH"),
        (Method::Delete, "DELETE"),
        (Method::Connect, "CONNECT"),
        (Method::Options, "OPTIONS"),
        (Method::Trace, "TRACE"),
        (Method::Other, "EXTENSION_METHOD"),
    ];

    /// From its name on the wire.
    pub fn of(name: &[u8]) -> Method {
        Method::ALL.iter().find(|(_, n)| n.as_bytes() == name).map_or(Method::Other, |&(m, _)| m)
    }

    /// Its label in metrics.
    pub fn label(self) -> &'static str {
        Method::ALL[self as usize - 1].1
    }

    /// Whether sending it twice does no harm (RFC 9110 section 9.2.2).
    pub fn is_idempotent(self) -> bool {
        !matches!(self, Method::Post | Method::Patch | Method::Connect | Method::Other)
    }

    fn from_code(code: u8) -> Method {
        Method::ALL.get(usize::from(code).wrapping_sub(1)).map_or(Method::Other, |&(m, _)| m)
    }
}

/// One worker's view of one server.
#[derive(Debug, Default)]
pub struct ServerMeter {
    /// Exchanges that use it now.
    pub in_flight: Cell,
    /// Connections opened.
    pub connects: Cell,
    /// Connections that could not be opened.
    pub connect_failures: Cell,
}

/// One worker's process-wide counters.
#[derive(Debug, Default)]
pub struct WorkerMeter {
    /// Client connections accepted.
    pub accepted: Cell,
    /// Accepts that failed.
    pub accept_failures: Cell,
    /// Exchanges in progress.
    pub in_flight: Cell,
    /// Exchanges sent again on a fresh connection.
    pub retries: Cell,
    /// Connections that were closed because their PROXY header is malformed.
    pub proxy_header_failures: Cell,
    /// Connections to TCP servers that could not be made.
    pub tcp_connect_failures: Cell,
    /// Client connections for which no TCP server was found.
    pub tcp_unserved: Cell,
    /// TLS handshakes with clients that were completed.
    pub tls_handshakes: Cell,
    /// Those of them that resumed a session.
    pub tls_resumed: Cell,
    /// TLS handshakes with clients that failed, or were refused.
    pub tls_failures: Cell,
    /// Connections and UDP sessions that were not let in, by [`Refusal`].
    pub refused: [Cell; Refusal::ALL.len()],
    /// Clients that were too slow, by [`Slow`].
    pub slow: [Cell; Slow::ALL.len()],
    /// Requests that were answered 503 because memory is short.
    pub shed_requests: Cell,
    /// Bodies and tunnels that were made to wait because memory is short.
    pub paused_reads: Cell,
    /// Bytes of the memory budget in use, by the whole process, if there is one.
    pub memory_used: Cell,
    /// The [`Stage`](crate::pressure::Stage) of that, as a number.
    pub memory_stage: Cell,
    /// UDP.
    pub udp: UdpMeter,
    /// QUIC handshakes with clients that were completed.
    pub quic_handshakes: Cell,
    /// QUIC connections that ended before they were made.
    pub quic_failures: Cell,
    /// Clients that were asked to show that their address is their own.
    pub quic_retries: Cell,
    /// QUIC clients refused because there were too many.
    pub quic_refused: Cell,
    /// Changes of a client's address on an open QUIC connection.
    pub quic_migrations: Cell,
    /// Client connections over TCP, and UDP sessions, that are open, by entry point number.
    pub open: Vec<Cell>,
    /// Client connections over QUIC that are open, by entry point number.
    pub open_over_udp: Vec<Cell>,
    /// Exchanges by entry point number.
    pub entry_points: Vec<HttpMeter>,
}

impl WorkerMeter {
    /// Counters for this many entry points.
    pub fn new(entry_points: usize) -> WorkerMeter {
        WorkerMeter {
            open: (0..entry_points).map(|_| Cell::default()).collect(),
            open_over_udp: (0..entry_points).map(|_| Cell::default()).collect(),
            entry_points: (0..entry_points).map(|_| HttpMeter::default()).collect(),
            ..WorkerMeter::default()
        }
    }
}

/// How a client was too slow, so that its connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// The head of a request, or the PROXY header before it, did not come in time (`readTimeout`).
    Head,
    /// The body of a request did not (`readTimeout`).
    Body,
    /// The TLS handshake did not end in time.
    Handshake,
    /// It took none of an answer for too long, or not all of it in time (`writeTimeout`).
    Answer,
}

impl Slow {
    /// All, in the order of their numbers.
    pub const ALL: [Slow; 4] = [Slow::Head, Slow::Body, Slow::Handshake, Slow::Answer];

    /// A stable slug.
    pub fn reason(self) -> &'static str {
        match self {
            Slow::Head => "head",
            Slow::Body => "body",
            Slow::Handshake => "handshake",
            Slow::Answer => "answer",
        }
    }
}

/// One worker's counters of UDP.
#[derive(Debug, Default)]
pub struct UdpMeter {
    /// Sessions opened.
    pub sessions: Cell,
    /// Sessions that a server refused and that were moved to another one.
    pub moved: Cell,
    /// Datagrams from clients to servers, and back.
    pub datagrams: [Cell; 2],
    /// Their bytes.
    pub bytes: [Cell; 2],
    /// Datagrams that were dropped, by [`UdpDrop`].
    pub dropped: [Cell; UdpDrop::ALL.len()],
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpDrop {
    /// Its client has no session and may have none: too many, or no descriptor is free, or the proxy drains.
    Session,
    /// No router, or no server that could be reached.
    Server,
    /// The socket was full, or the kernel would not send it.
    Send,
    /// It came to a server's socket from somebody else.
    Stranger,
}

impl UdpDrop {
    /// All, in the order of their numbers.
    pub const ALL: [UdpDrop; 4] = [UdpDrop::Session, UdpDrop::Server, UdpDrop::Send, UdpDrop::Stranger];

    /// A stable slug.
    pub fn reason(self) -> &'static str {
        match self {
            UdpDrop::Session => "session",
            UdpDrop::Server => "server",
            UdpDrop::Send => "send",
            UdpDrop::Stranger => "stranger",
        }
    }
}

/// Told to the service thread when a worker opens a meter: it keeps the registry, workers only write cells.
#[derive(Clone, Debug)]
pub enum Opened {
    /// A router's exchanges.
    Router(Arc<str>, Arc<HttpMeter>),
    /// A service's exchanges.
    Service(Arc<str>, Arc<HttpMeter>),
    /// A server's use: its identity for drains, its URL, its cells.
    Server {
        /// Identity under which a drain is confirmed.
        id: Arc<str>,
        /// URL as configured.
        url: Arc<str>,
        /// The cells.
        meter: Arc<ServerMeter>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(status: u16, method: Method) -> Sample {
        Sample { status, method, duration: Duration::from_millis(200), request_bytes: 1, response_bytes: 2 }
    }

    #[test]
    fn counts_by_status_and_method() {
        let meter = HttpMeter::default();
        meter.add(&sample(200, Method::Get));
        meter.add(&sample(200, Method::Get));
        meter.add(&sample(404, Method::Post));
        let rows: Vec<_> =
            meter.rows().map(|(s, m, r)| (s, m, r.requests.get(), r.buckets[1].get())).collect();
        assert_eq!(rows, [(200, Method::Get, 2, 2), (404, Method::Post, 1, 1)]);
    }

    #[test]
    fn more_kinds_than_rows_are_counted_by_status_class() {
        let meter = HttpMeter::default();
        for status in 200..300 {
            meter.add(&sample(status, Method::Get));
        }
        meter.add(&sample(503, Method::Get));
        assert_eq!(meter.rows().map(|(.., r)| r.requests.get()).sum::<u64>(), 101);
        assert_eq!(meter.rows().count(), METER_BLOCK_ROWS * METER_BLOCKS + 2);
        let failed = meter.rows().find(|(status, ..)| *status == 500).map(|(.., r)| r.requests.get());
        assert_eq!(failed, Some(1));
    }

    #[test]
    fn methods_round_trip_through_their_labels() {
        for (method, label) in Method::ALL {
            assert_eq!((Method::of(label.as_bytes()), method.label()), (method, label));
            assert_eq!(Method::from_code(method as u8), method);
        }
    }
}
