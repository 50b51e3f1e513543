//! A load of TLS handshakes: one request per connection, each handshake of the kind that was asked for.
//!
//! wrk resumes where a server lets it and does not tell, and h2load makes no connection per request: so this counts
//! for itself, and a full handshake where a resumed one was asked for (or the other way round) is a failure.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustls::{ClientConfig, HandshakeKind};

use crate::load::{Tally, describe};
use crate::message;
use crate::rate::Outcome;
use crate::tls::{self, Certificate};

/// Connections at a time, each with a thread of its own.
const CLIENTS: usize = 16;
/// Longest wait for the connection and for each read and write.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The clients with what they remember.
#[derive(Debug)]
pub struct Handshakes {
    addr: SocketAddr,
    request: String,
    expected: HandshakeKind,
    clients: Vec<Arc<ClientConfig>>,
}

impl Handshakes {
    /// Clients for the proxy at `addr`; with `resume`, each has made one connection to get its first ticket.
    ///
    /// # Errors
    /// When that connection fails.
    pub fn new(addr: SocketAddr, path: &str, certificate: &Certificate, resume: bool) -> Result<Self> {
        let clients = (0..CLIENTS).map(|_| certificate.client(resume)).collect::<Result<_>>()?;
        let expected = if resume { HandshakeKind::Resumed } else { HandshakeKind::Full };
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", tls::NAME);
        let made = Self { addr, request, expected, clients };
        if resume {
            for client in &made.clients {
                made.one(client)?;
            }
        }
        Ok(made)
    }

    /// One connection after the other on every client, for `time`.
    pub fn run(&self, time: Duration) -> Outcome {
        let start = Instant::now();
        let mut total = Tally::default();
        thread::scope(|scope| {
            let running: Vec<_> = self
                .clients
                .iter()
                .map(|client| scope.spawn(move || self.until(client, start, time)))
                .collect();
            for client in running {
                total.add(client.join().unwrap_or_default());
            }
        });
        total.latencies_us.sort_unstable();
        Outcome {
            requests: total.ok,
            rate: total.ok as f64 / start.elapsed().as_secs_f64(),
            p99_us: Some(f64::from(total.quantile_us(0.99))),
            failed: total.failed(),
            why: total.failures.into_keys().next(),
        }
    }

    fn until(&self, client: &Arc<ClientConfig>, start: Instant, time: Duration) -> Tally {
        let mut tally = Tally::default();
        while start.elapsed() < time {
            let began = Instant::now();
            let failure = match self.one(client) {
                Ok(kind) if kind == self.expected => None,
                Ok(kind) => Some(format!("a handshake was {kind:?}, not {:?}", self.expected)),
                Err(error) => Some(describe(&error)),
            };
            match failure {
                None => {
                    tally.ok += 1;
                    tally.latencies_us.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
                }
                Some(what) => *tally.failures.entry(what).or_default() += 1,
            }
        }
        tally
    }

    /// Connects, asks, reads the answer and waits for the end that it announced.
    fn one(&self, client: &Arc<ClientConfig>) -> io::Result<HandshakeKind> {
        let mut connection = tls::connect(self.addr, client, TIMEOUT)?;
        connection.get_mut().write_all(self.request.as_bytes())?;
        let answer = message::read_answer(&mut connection, "GET")?.ok_or(ErrorKind::UnexpectedEof)?;
        if answer.head.status() != 200 {
            return Err(io::Error::other(format!("status {}", answer.head.status())));
        }
        match connection.read(&mut [0; 1]) {
            Ok(0) => {}
            Ok(_) => return Err(io::Error::other("bytes after the answer")),
            // The end of the stream without `close_notify`: an answer with its length is complete without it.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error),
        }
        let kind = connection.get_ref().conn.handshake_kind();
        kind.ok_or_else(|| io::Error::other("no handshake"))
    }
}
