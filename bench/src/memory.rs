//! Resident memory of a proxy: after its start, and per idle keep-alive connection.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::ClientConfig;

use crate::load;
use crate::message;
use crate::peers::Front;
use crate::process;
use crate::run::{Ground, Installed, Settings};
use crate::scenario::Sample;
use crate::tls;

/// Connections before the first look, so that pools and arenas of the proxy exist already.
const WARM_UP: usize = 50;
/// Longest wait for a connection and for each answer.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for memory to settle.
const SETTLE: Duration = Duration::from_secs(3);

/// Resident memory after start and one request, in MB (10^6 bytes).
///
/// # Errors
/// When the peer does not start.
pub fn at_start(settings: &Settings, peer: &Installed, ground: &Ground) -> Result<Sample> {
    let (process, _) = peer.start(settings, Front::Http, ground)?;
    let bytes = settled(|| process.rss_bytes());
    Ok(sample(peer, bytes as f64 / 1e6, String::new()))
}

/// Growth of resident memory per connection that made one request and stays open, in KB (1,000 bytes).
///
/// # Errors
/// When the peer does not start, or when one of the connections is refused, closed or answered with an error.
pub fn per_idle(settings: &Settings, peer: &Installed, front: Front, ground: &Ground) -> Result<Sample> {
    let (process, listen) = peer.start(settings, front, ground)?;
    let (client, count) = match front {
        Front::Https => (Some(ground.certificate.client(false)?), settings.idle_tls),
        Front::Http | Front::Tcp => (None, settings.idle),
    };
    let _warm = open(listen, client.as_ref(), WARM_UP)?;
    let before = settled(|| process.rss_bytes());
    let mut idle = open(listen, client.as_ref(), count)?;
    let after = settled(|| process.rss_bytes());
    // Still alive: a proxy that closed them would look small.
    for connection in idle.iter_mut().step_by(97) {
        connection.ask().context("an idle connection was closed")?;
    }
    let value = after.saturating_sub(before) as f64 / count as f64 / 1e3;
    let note = format!("{count} connections, {:.1} -> {:.1} MB", before as f64 / 1e6, after as f64 / 1e6);
    Ok(sample(peer, value, note))
}

enum Connection {
    Plain(BufReader<TcpStream>),
    Tls(Box<tls::Connection>),
}

impl Connection {
    fn ask(&mut self) -> Result<()> {
        match self {
            Self::Plain(stream) => ask(stream),
            Self::Tls(stream) => ask(stream),
        }
    }
}

fn open(listen: SocketAddr, client: Option<&Arc<ClientConfig>>, count: usize) -> Result<Vec<Connection>> {
    let mut all = Vec::with_capacity(count);
    for i in 0..count {
        let connection = match client {
            None => load::connect(listen, CONNECT).map(Connection::Plain),
            Some(client) => tls::connect(listen, client, CONNECT).map(|c| Connection::Tls(Box::new(c))),
        };
        let mut connection = connection
            .with_context(|| format!("connection {i} of {count}; `ulimit -n` must allow {}", count + 100))?;
        connection.ask().with_context(|| format!("connection {i} of {count}"))?;
        all.push(connection);
    }
    Ok(all)
}

fn ask<S: Read + Write>(connection: &mut BufReader<S>) -> Result<()> {
    let request = format!("GET /128 HTTP/1.1\r\nHost: {}\r\n\r\n", tls::NAME);
    connection.get_mut().write_all(request.as_bytes())?;
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
