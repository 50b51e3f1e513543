//! A small backend for the demo and the tests: it says its name, and what it received.
//!
//! One thread per connection, no tuning: benchmarks use nginx as their backend, not this.

use std::fmt::Write as _;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::message::{self, Head};

/// Connections served at once; one more is closed unanswered.
pub const MAX_CONNECTIONS: usize = 2_048;
/// Longest answer that `/bytes/N` makes.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// Longest wait that `/slow/MS` grants, in milliseconds.
pub const MAX_SLOW_MS: u64 = 60_000;

/// A running backend; it serves until its process ends.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Where it listens.
    pub addr: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    name: String,
    healthy: AtomicBool,
    open: AtomicUsize,
    received: AtomicUsize,
    served: AtomicUsize,
}

impl Backend {
    /// Listens on `addr` (port 0: one from the kernel) and serves from threads of its own.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start(name: &str, addr: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)?;
        let addr = listener.local_addr()?;
        let state = Arc::new(State {
            name: name.to_owned(),
            healthy: AtomicBool::new(true),
            open: AtomicUsize::new(0),
            received: AtomicUsize::new(0),
            served: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&state);
        thread::spawn(move || accept_loop(&listener, &accepting));
        Ok(Self { addr, state })
    }

    /// What `/health` answers from now on: 200 or 503.
    pub fn set_healthy(&self, healthy: bool) {
        self.state.healthy.store(healthy, Ordering::Relaxed);
    }

    /// Requests received so far, health checks not counted; their answers may be under way still.
    pub fn received(&self) -> usize {
        self.state.received.load(Ordering::Relaxed)
    }

    /// Requests answered so far, health checks not counted.
    pub fn served(&self) -> usize {
        self.state.served.load(Ordering::Relaxed)
    }

    /// `http://address`, as service files want it.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

fn accept_loop(listener: &TcpListener, state: &Arc<State>) {
    for stream in listener.incoming().flatten() {
        if state.open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            state.open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let state = Arc::clone(state);
        thread::spawn(move || {
            // A connection that breaks is the client's affair: nobody here waits for it.
            let _ = serve(&stream, &state);
            state.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn serve(stream: &TcpStream, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut from = BufReader::new(stream);
    let mut to = stream;
    while let Some(head) = message::read_head(&mut from)? {
        if head.get("expect").is_some_and(|v| v.eq_ignore_ascii_case("100-continue")) {
            to.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = message::read_body(&mut from, &head, false)?;
        let answer = answer(state, &head, &body);
        to.write_all(&answer)?;
        if !head.keep_alive() {
            return Ok(());
        }
    }
    Ok(())
}

fn answer(state: &State, head: &Head, body: &[u8]) -> Vec<u8> {
    let mut words = head.first.split(' ');
    let method = words.next().unwrap_or("");
    let target = words.next().unwrap_or("/");
    let path = target.split('?').next().unwrap_or("/");
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (kind, rest) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    if kind != "health" {
        state.received.fetch_add(1, Ordering::Relaxed);
    }
    let (mut status, mut content) = (200, format!("{}\n", state.name).into_bytes());
    match kind {
        "health" if !state.healthy.load(Ordering::Relaxed) => {
            (status, content) = (503, b"unhealthy\n".to_vec())
        }
        "slow" => thread::sleep(Duration::from_millis(rest.parse().unwrap_or(1_000).min(MAX_SLOW_MS))),
        "bytes" => content = vec![b'x'; rest.parse().unwrap_or(0).min(MAX_ANSWER_BYTES)],
        "status" => status = rest.parse().unwrap_or(200),
        "echo" => content = echo(head, body).into_bytes(),
        _ => {}
    }
    if kind != "health" {
        state.served.fetch_add(1, Ordering::Relaxed);
    }
    let bodiless = matches!(status, 204 | 304);
    let mut out = format!("HTTP/1.1 {status} Status\r\nX-Backend: {}\r\n", state.name).into_bytes();
    if !bodiless {
        out.extend_from_slice(
            format!("Content-Type: text/plain\r\nContent-Length: {}\r\n", content.len()).as_bytes(),
        );
    }
    out.extend_from_slice(b"\r\n");
    if method != "HEAD" && !bodiless {
        out.extend_from_slice(&content);
    }
    out
}

/// The request as it arrived: its first line, one line per field in the order received, an empty line, and how long
/// the body was.
fn echo(head: &Head, body: &[u8]) -> String {
    let mut out = format!("{}\n", head.first);
    for (name, value) in &head.fields {
        let _ = writeln!(out, "{name}: {value}");
    }
    let _ = writeln!(out, "\nbody: {} bytes", body.len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::get;

    #[test]
    fn answers_its_name_its_health_and_what_it_received() {
        let backend = Backend::start("one", "127.0.0.1:0").unwrap();
        assert_eq!(get(backend.addr, "any", "/").unwrap().text(), "one\n");
        assert_eq!(get(backend.addr, "any", "/bytes/70000").unwrap().body.len(), 70_000);
        assert!(
            get(backend.addr, "any", "/echo?a=b")
                .unwrap()
                .text()
                .starts_with("GET /echo?a=b HTTP/1.1\nHost: any\n")
        );
        assert_eq!(get(backend.addr, "any", "/health").unwrap().head.status(), 200);
        backend.set_healthy(false);
        assert_eq!(get(backend.addr, "any", "/health").unwrap().head.status(), 503);
        assert_eq!(backend.served(), 3);
    }
}
