//! Listening and connecting on the virtual network.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::task::{Context, Poll};

use super::clock::{Event, Sleep};
use super::net::{Attempt, Connecting, Key, Listening, World, is_path};
use super::stream::SimStream;
use super::{Sim, stream};
use crate::seam::{ListenOptions, Listener, Time};
use crate::socket::UNKNOWN;
use crate::unix;

/// A virtual listening socket.
#[derive(Debug)]
pub struct SimListener {
    sim: Sim,
    key: Key,
    addr: SocketAddr,
}

pub(super) fn listen(sim: &Sim, mut addr: SocketAddr, options: &ListenOptions) -> io::Result<SimListener> {
    let mut world = sim.world();
    if addr.port() == 0 {
        addr.set_port(world.ephemeral_port(sim.host));
    }
    let taken = world.listeners.values().any(|l| l.addr == addr && !(l.reuse_port && options.reuse_port));
    if taken {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let key = insert(sim, &mut world, addr, options);
    Ok(SimListener { sim: sim.clone(), key, addr })
}

/// Listens at a path. There is no file behind it.
pub(super) fn listen_unix(sim: &Sim, path: &Path, options: &ListenOptions) -> io::Result<SimListener> {
    unix::address(path)?;
    let mut world = sim.world();
    let addr = world.make_path(sim.host, path).ok_or(io::ErrorKind::AddrInUse)?;
    let key = insert(sim, &mut world, addr, options);
    Ok(SimListener { sim: sim.clone(), key, addr: UNKNOWN })
}

fn insert(sim: &Sim, world: &mut World, addr: SocketAddr, options: &ListenOptions) -> Key {
    let key = world.key();
    world.listeners.insert(
        key,
        Listening {
            addr,
            host: sim.host,
            reuse_port: options.reuse_port,
            backlog: usize::try_from(options.backlog).unwrap_or(0),
            queue: VecDeque::new(),
            accepting: Vec::new(),
        },
    );
    key
}

impl SimListener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<SimStream>> {
        let mut world = self.sim.world();
        let chance = world.faults.accept_error;
        let fails = world.rng.happens(chance);
        let Some(listening) = world.listeners.get_mut(&self.key) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if listening.queue.is_empty() {
            listening.accepting.push(cx.waker().clone());
            return Poll::Pending;
        }
        if fails {
            return Poll::Ready(Err(io::Error::from_raw_os_error(libc::EMFILE)));
        }
        let Some(conn) = listening.queue.pop_front() else { return Poll::Pending };
        drop(world);
        Poll::Ready(Ok(SimStream::new(self.sim.clone(), conn, 1)))
    }
}

impl Listener for SimListener {
    type Stream = SimStream;

    async fn accept(&self) -> io::Result<SimStream> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let mut world = self.sim.world();
        let listening = world.listeners.remove(&self.key);
        for conn in listening.into_iter().flat_map(|l| l.queue) {
            world.close(conn, 1, true);
        }
    }
}

/// Forgets a connect that was given up; the other side, if it exists, sees the end.
struct Pending {
    sim: Sim,
    key: Key,
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut world = self.sim.world();
        let given_up = world.connects.remove(&self.key).and_then(|connecting| connecting.answer);
        if let Some(Ok(conn)) = given_up {
            world.close(conn, 0, false);
        }
    }
}

pub(super) async fn connect(sim: Sim, to: SocketAddr, until: Time) -> io::Result<SimStream> {
    let pending = start(sim.clone(), to);
    let mut deadline = Sleep::new(sim.clone(), until);
    let conn = poll_fn(|cx| {
        let mut world = sim.world();
        if let Some(connecting) = world.connects.get_mut(&pending.key) {
            if connecting.answered
                && let Some(answer) = connecting.answer.take()
            {
                return Poll::Ready(answer.map_err(io::Error::from));
            }
            connecting.waker = Some(cx.waker().clone());
        }
        drop(world);
        stream::or_deadline(Poll::Pending, &mut deadline, cx)
    })
    .await?;
    Ok(SimStream::new(sim, conn, 0))
}

/// Connects to a path of this host. Nothing gets lost on the way.
pub(super) async fn connect_unix(sim: Sim, path: &Path, until: Time) -> io::Result<SimStream> {
    unix::address(path)?;
    let to = sim.world().find_path(sim.host, path).ok_or(io::ErrorKind::NotFound)?;
    connect(sim, to, until).await
}

fn start(sim: Sim, to: SocketAddr) -> Pending {
    let mut world = sim.world();
    let key = world.key();
    let from = SocketAddr::new(world.hosts[sim.host].ip, world.ephemeral_port(sim.host));
    let chance = world.faults.blackhole;
    let lost = !is_path(to) && world.rng.happens(chance);
    let connecting =
        Connecting { host: sim.host, from, to, lost, answer: None, answered: false, waker: None };
    world.connects.insert(key, connecting);
    let delay = world.delay();
    world.schedule(delay, Event::Syn(Attempt { connect: key, tries: 0 }));
    drop(world);
    Pending { sim, key }
}
