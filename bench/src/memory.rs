//! Resident memory of a proxy: after its start, and per idle keep-alive connection.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::load;
use crate::message;
use crate::process;
use crate::run::{Installed, Settings};
use crate::scenario::Sample;

/// Connections before the first look, so that pools and arenas of the proxy exist already.
const WARM_UP: usize = 50;
/// Longest wait for memory to settle.
const SETTLE: Duration = Duration::from_secs(3);

/// Resident memory after start and one request, in MB (10^6 bytes).
///
/// # Errors
/// When the peer does not start.
pub fn at_start(settings: &Settings, peer: &Installed, backend: SocketAddr) -> Result<Sample> {
    let (process, _) = peer.start(settings, backend)?;
    let bytes = settled(|| process.rss_bytes());
    Ok(sample(peer, bytes as f64 / 1e6, String::new()))
}

/// Growth of resident memory per connection that made one request and stays open, in KB (1,000 bytes).
///
/// # Errors
/// When the peer does not start, or when one of the connections is refused, closed or answered with an error.
pub fn per_idle(settings: &Settings, peer: &Installed, backend: SocketAddr) -> Result<Sample> {
    let (process, listen) = peer.start(settings, backend)?;
    let _warm = open(listen, WARM_UP)?;
    let before = settled(|| process.rss_bytes());
    let mut idle = open(listen, settings.idle)?;
    let after = settled(|| process.rss_bytes());
    // Still alive: a proxy that closed them would look small.
    for connection in idle.iter_mut().step_by(97) {
        ask(connection).context("an idle connection was closed")?;
    }
    let value = after.saturating_sub(before) as f64 / settings.idle as f64 / 1e3;
    let note =
        format!("{} connections, {:.1} -> {:.1} MB", settings.idle, before as f64 / 1e6, after as f64 / 1e6);
    Ok(sample(peer, value, note))
}

type Connection = std::io::BufReader<std::net::TcpStream>;

fn open(listen: SocketAddr, count: usize) -> Result<Vec<Connection>> {
    let mut all = Vec::with_capacity(count);
    for i in 0..count {
        let mut connection = load::connect(listen, Duration::from_secs(10))
            .with_context(|| format!("connection {i} of {count}; `ulimit -n` must allow {}", count + 100))?;
        ask(&mut connection).with_context(|| format!("connection {i} of {count}"))?;
        all.push(connection);
    }
    Ok(all)
}

fn ask(connection: &mut Connection) -> Result<()> {
    connection.get_mut().write_all(b"GET /128 HTTP/1.1\r\nHost: bench.test\r\n\r\n")?;
    let answer = message::read_answer(connection, "GET")?.context("closed without an answer")?;
    if answer.head.status() != 200 {
        bail!("answered {}", answer.head.status());
    }
    Ok(())
}

/// Looks until two looks 200 ms apart differ by less than 1 %.
fn settled(look: impl Fn() -> u64) -> u64 {
    let mut last = look();
    let mut at = std::time::Instant::now();
    // Not settling is no error: the last figure stands.
    let _ = process::wait_until("memory settles", SETTLE, || {
        if at.elapsed() < Duration::from_millis(200) {
            return false;
        }
        let (now, before) = (look(), last);
        (last, at) = (now, std::time::Instant::now());
        now.abs_diff(before) * 100 < now
    });
    last
}

fn sample(peer: &Installed, value: f64, note: String) -> Sample {
    let peer = peer.peer.name().to_owned();
    Sample { scenario: String::new(), peer, round: 0, value, rate: None, p99_us: None, void: None, note }
}
