//! TCP sessions: a connection and a server, byte by byte, until both directions have ended.
//!
//! In: a connection whose TCP route is found; its TLS is ended already, or none of this session's business. Half-closes
//! are passed on; after the first the other direction has `terminationDelay`. What this module does not do: TLS, rules.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use pancake_balance::pick::WeightedRoundRobin;
use pancake_engine::seam::Idle;
use pancake_engine::{Engine, OutBuf, Stream, Time, Want};
use pancake_table::compiled::{KeepAlive, Slot, TcpRoute, TcpServer, TcpService, TcpServiceKind};
use pancake_wire::proxy_protocol;

use crate::happy;
use crate::http1::Input;
use crate::limits::{MAX_CONNECT_ATTEMPTS, SPLICE_THRESHOLD_BYTES};
use crate::pressure::{Stage, pause};
use crate::stream::Conn;
use crate::tls::handshake;
use crate::worker::{SessionGuard, Worker};

/// Whose turn it is in each TCP service, or in each UDP service: state of one worker, by slot.
#[derive(Default)]
pub(crate) struct Turns(RefCell<Vec<Option<(Slot, WeightedRoundRobin)>>>);

impl Turns {
    /// The next server of `service` that takes connections and is not in `tried`.
    fn pick(&self, service: &TcpService, tried: &[Slot], seed: u64) -> Option<Arc<TcpServer>> {
        match &service.kind {
            TcpServiceKind::LoadBalancer(balancer) => {
                let servers = &balancer.servers;
                let usable = |i: usize| {
                    let server = &servers[i];
                    let known = server.unix.is_some() || server.live.address.load().is_some();
                    server.is_usable() && known && !tried.contains(&server.slot)
                };
                let weights = || servers.iter().map(|server| server.weight).collect();
                Some(servers[self.turn(service.slot, weights, seed, usable)?].clone())
            }
            TcpServiceKind::Weighted(parts) => {
                let weights = || parts.iter().map(|part| part.weight).collect();
                let mut empty = Vec::new();
                // A part without a usable server gives its turn to the next.
                while let Some(i) = self.turn(service.slot, weights, seed, |i| !empty.contains(&i)) {
                    match self.pick(&parts[i].service, tried, seed) {
                        Some(server) => return Some(server),
                        None => empty.push(i),
                    }
                }
                None
            }
        }
    }

    /// The next of the members that have these weights and are usable.
    pub(crate) fn turn(
        &self,
        slot: Slot,
        weights: impl Fn() -> Vec<u32>,
        seed: u64,
        usable: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let mut turns = self.0.borrow_mut();
        let index = slot.index as usize;
        if index >= turns.len() {
            turns.resize_with(index + 1, || None);
        }
        let entry = &mut turns[index];
        if entry.as_ref().is_none_or(|(known, _)| *known != slot) {
            *entry = Some((slot, WeightedRoundRobin::with_start(&weights(), seed)));
        }
        entry.as_mut()?.1.pick(usable)
    }
}

/// Serves one connection, of `peer`, until it ends. `input` is what it has said already.
pub(crate) async fn serve<E: Engine>(
    session: SessionGuard<E>,
    client: Conn<E>,
    peer: SocketAddr,
    mut input: Input,
    route: Arc<TcpRoute>,
) {
    let worker = session.worker.clone();
    let mut tried = Vec::new();
    while tried.len() < MAX_CONNECT_ATTEMPTS {
        let Some(chosen) = worker.tcp_turns.pick(&route.service, &tried, worker.seed) else { break };
        match connect(&worker, &chosen, peer, client.local_addr()).await {
            Ok(server) => {
                relay(&worker, &client, &server, &mut input, chosen.transport.termination_delay).await;
                return;
            }
            Err(_) => {
                worker.meter.tcp_connect_failures.add(1);
                tried.push(chosen.slot);
            }
        }
    }
    // No server: the client learns it by a reset, as from a port where nobody listens.
    worker.meter.tcp_unserved.add(1);
    client.reset_on_drop();
}

/// Connects, says who the client is if the server wants to know, and speaks TLS if it wants that.
async fn connect<E: Engine>(
    worker: &Worker<E>,
    server: &TcpServer,
    from: SocketAddr,
    to: SocketAddr,
) -> io::Result<Conn<E>> {
    let engine = &worker.engine;
    let until = server.transport.dial_timeout.map_or(Time::NEVER, |limit| engine.now().after(limit));
    let stream = match &server.unix {
        Some(path) => engine.connect_unix(Path::new(&**path), until).await?,
        None => {
            let address = server.live.address.load().as_deref().copied();
            let first = address.ok_or(io::ErrorKind::NotFound)?;
            happy::connect(engine, &server.live, first, until).await?
        }
    };
    match server.transport.keep_alive {
        KeepAlive::Off => stream.set_keepalive(None)?,
        KeepAlive::Every(period) => stream.set_keepalive(Some(period))?,
        KeepAlive::System => {}
    }
    if let Some(version) = server.transport.proxy_protocol {
        let mut header = OutBuf::new();
        if version == 1 {
            proxy_protocol::emit_v1(&mut header, Some((from, to)));
        } else {
            let (stream, tlvs) = (proxy_protocol::Transport::Stream, proxy_protocol::OutgoingTlvs::default());
            proxy_protocol::emit_v2_proxy(&mut header, stream, from, to, &tlvs)
                .map_err(|_| io::Error::other("PROXY header cannot be written"))?;
        }
        stream.send(header.into(), until).await?;
    }
    if !server.tls {
        return Ok(Conn::Plain(stream));
    }
    let tls = worker.ground.build(&server.transport.tls).map_err(io::Error::other)?;
    let name = tls.server_name(&server.host).map_err(io::Error::other)?;
    let (stream, _) = handshake::connect(stream, tls.config().clone(), name, until)
        .await
        .map_err(|failed| io::Error::other(failed.reason()))?;
    Ok(Conn::Tls(Box::new(stream)))
}

/// Moves bytes both ways until both directions have ended, one has failed, or the second took longer than `delay`.
async fn relay<E: Engine>(
    worker: &Worker<E>,
    client: &Conn<E>,
    server: &Conn<E>,
    input: &mut Input,
    delay: Option<std::time::Duration>,
) {
    let mut none = Input::default();
    let mut up = pin!(one_way(worker, client, input, server));
    let mut down = pin!(one_way(worker, server, &mut none, client));
    let (mut up_done, mut down_done) = (false, false);
    let mut patience: Option<E::Sleep> = None;
    let ended = poll_fn(|cx| {
        for (way, done) in [
            (up.as_mut() as Pin<&mut dyn Future<Output = io::Result<()>>>, &mut up_done),
            (down.as_mut(), &mut down_done),
        ] {
            if *done {
                continue;
            }
            match way.poll(cx) {
                Poll::Ready(Ok(())) => *done = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        if up_done && down_done {
            return Poll::Ready(Ok(()));
        }
        if (up_done || down_done)
            && patience.is_none()
            && let Some(delay) = delay
        {
            patience = Some(worker.engine.sleep_until(worker.engine.now().after(delay)));
        }
        match &mut patience {
            Some(sleep) => Pin::new(sleep).poll(cx).map(Ok),
            None => Poll::Pending,
        }
    })
    .await;
    if ended.is_err() {
        // Whoever is still there must not take a broken stream for a whole one.
        client.reset_on_drop();
        server.reset_on_drop();
    }
}

/// One direction, and its end.
async fn one_way<E: Engine>(
    worker: &Worker<E>,
    from: &Conn<E>,
    input: &mut Input,
    to: &Conn<E>,
) -> io::Result<()> {
    let mut moved = 0;
    loop {
        if !input.is_empty() {
            let part = input.take(u64::MAX);
            moved += part.len();
            let mut parts = pancake_engine::Parts::new();
            parts.push(part);
            to.send(parts, Time::NEVER).await?;
        }
        if moved >= SPLICE_THRESHOLD_BYTES {
            // A large flow: from here on its bytes need not pass through this process.
            // In a box of its own: few connections come this far, and those that wait stay small.
            Box::pin(from.splice(to, u64::MAX, &Idle::fixed(Time::NEVER), &Cell::new(0))).await?;
            return to.shutdown();
        }
        if worker.pressure.is_at_least(Stage::Pause) {
            Box::pin(pause(worker)).await;
        }
        let more = from.recv(Want::Some, Time::NEVER).await?;
        if more.is_empty() {
            return to.shutdown();
        }
        input.push(more);
    }
}
