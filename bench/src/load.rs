//! A load client that counts every failure and measures every answer: threads and blocking sockets.
//!
//! With a rate it is open-loop: each request has its time on a schedule, and latency counts from that time, so that a
//! stall shows in every request that it delayed. It aims at correctness; for peak rates the scenarios use wrk.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::message::{self, Answer};

/// Samples kept per connection; later ones are counted but not measured.
const MAX_SAMPLES: usize = 2_000_000;
/// Rest after a failure, so that a server that is down is not hammered.
const AFTER_FAILURE: Duration = Duration::from_millis(5);

/// What to ask for, how hard, how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where to connect.
    pub addr: SocketAddr,
    /// Value of `Host`.
    pub host: String,
    /// Request target.
    pub path: String,
    /// Connections, each with a thread of its own.
    pub connections: usize,
    /// Requests per second over all connections; `None`: each connection as fast as it can.
    pub rate: Option<f64>,
    /// One connection per request.
    pub close: bool,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// When to stop, if nothing stops it earlier.
    pub duration: Duration,
}

impl Plan {
    /// A plan with eight keep-alive connections, no rate, answers within 10 s.
    pub fn new(addr: SocketAddr, host: &str, path: &str, duration: Duration) -> Self {
        let (host, path, timeout) = (host.to_owned(), path.to_owned(), Duration::from_secs(10));
        Self { addr, host, path, connections: 8, rate: None, close: false, timeout, duration }
    }
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Tally {
    /// Answers with 2xx.
    pub ok: u64,
    /// Everything else, by what happened: `status 503`, `refused`, `closed early`, …
    pub failures: BTreeMap<String, u64>,
    /// Answers with 2xx by the `X-Backend` field that came with them.
    pub by_backend: BTreeMap<String, u64>,
    /// Microseconds of each answer with 2xx, sorted after [`run`].
    #[serde(skip)]
    pub latencies_us: Vec<u32>,
}

impl Tally {
    /// Number of requests that did not get a 2xx answer.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Latency below which `share` (0 to 1) of the answers stayed, in microseconds; 0 without answers.
    pub fn quantile_us(&self, share: f64) -> u32 {
        let last = self.latencies_us.len().saturating_sub(1);
        self.latencies_us.get((last as f64 * share).round() as usize).copied().unwrap_or(0)
    }

    /// Adds what another saw; latencies are not sorted by it.
    pub fn add(&mut self, other: Self) {
        self.ok += other.ok;
        for (kind, n) in other.failures {
            *self.failures.entry(kind).or_default() += n;
        }
        for (name, n) in other.by_backend {
            *self.by_backend.entry(name).or_default() += n;
        }
        self.latencies_us.extend(other.latencies_us);
    }
}

/// Runs `plan` until its duration is over or `stop` is set; requests in flight are finished and counted.
pub fn run(plan: &Plan, stop: &AtomicBool) -> Tally {
    let start = Instant::now();
    let mut total = Tally::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.connections)
            .map(|i| scope.spawn(move || one_connection(plan, stop, start, i)))
            .collect();
        for worker in workers {
            total.add(worker.join().unwrap_or_default());
        }
    });
    total.latencies_us.sort_unstable();
    total
}

fn one_connection(plan: &Plan, stop: &AtomicBool, start: Instant, index: usize) -> Tally {
    let mut tally = Tally::default();
    let mut connection = None;
    // Connection i has the times (i + k * connections) / rate, so that together they keep an even pace.
    let period = plan.rate.map(|rate| Duration::from_secs_f64(plan.connections as f64 / rate));
    let offset = plan.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(index as f64 / rate));
    for k in 0u32.. {
        let due = match period {
            Some(period) => start + offset + period * k,
            None => Instant::now(),
        };
        if due.duration_since(start) >= plan.duration || stop.load(Ordering::Relaxed) {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        match one_request(plan, &mut connection) {
            Ok(answer) if (200..300).contains(&answer.head.status()) => {
                tally.ok += 1;
                if tally.latencies_us.len() < MAX_SAMPLES {
                    tally.latencies_us.push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
                }
                if let Some(name) = answer.head.get("x-backend") {
                    *tally.by_backend.entry(name.to_owned()).or_default() += 1;
                }
            }
            other => {
                let kind = match &other {
                    Ok(answer) => format!("status {}", answer.head.status()),
                    Err(error) => describe(error),
                };
                *tally.failures.entry(kind).or_default() += 1;
                connection = None;
                thread::sleep(AFTER_FAILURE);
            }
        }
    }
    tally
}

/// What happened, in the words of [`Tally::failures`].
pub fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "reset".to_owned(),
        io::ErrorKind::UnexpectedEof => "closed early".to_owned(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "timed out".to_owned(),
        _ => error.to_string(),
    }
}

type Connection = BufReader<TcpStream>;

/// Connects with `timeout` for the connection itself and for each read and write.
///
/// # Errors
/// Those of the socket.
pub fn connect(addr: SocketAddr, timeout: Duration) -> io::Result<Connection> {
    let stream = TcpStream::connect_timeout(&addr, timeout)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(BufReader::new(stream))
}

fn one_request(plan: &Plan, connection: &mut Option<Connection>) -> io::Result<Answer> {
    let mut live = match connection.take() {
        Some(live) => live,
        None => connect(plan.addr, plan.timeout)?,
    };
    let close = if plan.close { "Connection: close\r\n" } else { "" };
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n{close}\r\n", plan.path, plan.host);
    live.get_mut().write_all(request.as_bytes())?;
    let answer = message::read_answer(&mut live, "GET")?.ok_or(io::ErrorKind::UnexpectedEof)?;
    if answer.head.keep_alive() && !plan.close {
        *connection = Some(live);
    }
    Ok(answer)
}

/// One GET on a connection of its own, with an answer within 10 s.
///
/// # Errors
/// Those of the socket, and `UnexpectedEof` if the peer closes without an answer.
pub fn get(addr: SocketAddr, host: &str, path: &str) -> io::Result<Answer> {
    let mut plan = Plan::new(addr, host, path, Duration::ZERO);
    plan.close = true;
    one_request(&plan, &mut None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;

    #[test]
    fn counts_answers_by_backend_and_keeps_the_rate() {
        let backend = Backend::start("one", "127.0.0.1:0").unwrap();
        let mut plan = Plan::new(backend.addr, "any", "/", Duration::from_millis(500));
        plan.rate = Some(200.0);
        let tally = run(&plan, &AtomicBool::new(false));
        assert_eq!((tally.ok, tally.failed()), (100, 0));
        assert_eq!(tally.by_backend["one"], 100);
        assert!(tally.quantile_us(0.5) <= tally.quantile_us(0.99));
    }

    #[test]
    fn counts_refusals_and_bad_answers_as_failures() {
        let backend = Backend::start("one", "127.0.0.1:0").unwrap();
        let mut plan = Plan::new(backend.addr, "any", "/status/503", Duration::from_millis(50));
        plan.connections = 1;
        let tally = run(&plan, &AtomicBool::new(false));
        assert!(tally.ok == 0 && tally.failures["status 503"] > 0);

        let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        plan.addr = unused;
        assert!(run(&plan, &AtomicBool::new(false)).failures["refused"] > 0);
    }
}
