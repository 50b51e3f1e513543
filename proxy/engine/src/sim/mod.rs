//! The engine `sim`: a virtual network and a virtual clock, both driven by one seed.
//!
//! A run is a pure function of its seed, its [`Faults`] and the program: the same seed gives the same order of
//! events, to the byte. Time stands still while a task is ready and then jumps to the next event, so hours pass in
//! milliseconds. Several hosts live in one run ([`Sim::host`]), each with receive buffers of its own.
//!
//! What it does not do: real sockets, packet loss below TCP, threads (a wake from another thread is
//! served, but it makes the run depend on that thread).

/// The virtual clock: events to come, sleeps.
mod clock;
/// One connection: two ends and what Linux does with them.
mod conn;
/// Listening and connecting.
mod connect;
/// Datagrams.
mod datagrams;
/// What goes wrong, and how scarce things are.
mod faults;
/// Hosts, listeners, connects on their way.
mod net;
/// The seeded stream of random numbers.
mod random;
/// One run from its seed to its outcome.
mod run;
/// A stream on one end of a connection.
mod stream;

use std::cell::{RefCell, RefMut};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

pub use clock::Sleep;
pub use connect::SimListener;
pub use datagrams::SimDatagrams;
pub use faults::Faults;
pub use random::Rng;
pub use run::{Outcome, Stuck, run};
pub use stream::SimStream;

use crate::exec::Executor;
use crate::seam::{Engine, ListenOptions, Time, UdpOptions};
use net::World;

/// The wall clock at virtual time zero, in seconds since the Unix epoch (2025-01-01).
const UNIX_START_SECS: u64 = 1_735_689_600;

struct Inner {
    executor: Rc<Executor>,
    world: RefCell<World>,
}

/// A handle on a run, seen from one of its hosts.
#[derive(Clone)]
pub struct Sim {
    inner: Rc<Inner>,
    host: usize,
}

impl Sim {
    /// The same run seen from the host of this address, which is set up when first named. Connections that it opens
    /// come from that address, and what it receives takes its slots. A run starts at 127.0.0.1.
    pub fn host(&self, ip: IpAddr) -> Sim {
        let host = self.world().host(ip);
        Sim { inner: self.inner.clone(), host }
    }

    /// Receive slots that this host's sessions hold now.
    pub fn held_buffers(&self) -> usize {
        self.world().hosts[self.host].held()
    }

    /// Streams and places in accept queues that are open now, of all hosts.
    pub fn open_streams(&self) -> usize {
        self.world().conns.values().flat_map(|conn| &conn.ends).filter(|end| end.open).count()
    }

    /// Tasks alive now, of all hosts.
    pub fn tasks(&self) -> usize {
        self.inner.executor.tasks()
    }

    /// Changes the weather from now on. The number of slots and the time limit stay.
    pub fn set_faults(&self, faults: Faults) {
        let mut world = self.world();
        let (slots, limit) = (world.faults.slots, world.faults.limit);
        world.faults = Faults { slots, limit, ..faults };
    }

    fn world(&self) -> RefMut<'_, World> {
        self.inner.world.borrow_mut()
    }
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sim(host {})", self.host)
    }
}

impl Engine for Sim {
    type Stream = SimStream;
    type Listener = SimListener;
    type Datagrams = SimDatagrams;
    type Sleep = Sleep;

    const NAME: &'static str = "sim";

    fn now(&self) -> Time {
        self.world().clock.now
    }

    fn unix_time(&self) -> Duration {
        Duration::from_secs(UNIX_START_SECS) + Duration::from_nanos(self.now().0)
    }

    fn random(&self) -> u64 {
        self.world().rng.bits()
    }

    fn sleep_until(&self, at: Time) -> Sleep {
        Sleep::new(self.clone(), at)
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.inner.executor.spawn(task);
    }

    fn wake_all(&self) {
        self.inner.executor.wake_all();
    }

    fn listen(&self, addr: SocketAddr, options: &ListenOptions) -> io::Result<SimListener> {
        connect::listen(self, addr, options)
    }

    fn connect(&self, to: SocketAddr, until: Time) -> impl Future<Output = io::Result<SimStream>> {
        connect::connect(self.clone(), to, until)
    }

    fn bind_udp(&self, addr: SocketAddr, options: &UdpOptions) -> io::Result<SimDatagrams> {
        datagrams::bind(self, addr, options)
    }

    fn listen_unix(&self, path: &Path, options: &ListenOptions) -> io::Result<SimListener> {
        connect::listen_unix(self, path, options)
    }

    fn connect_unix(&self, path: &Path, until: Time) -> impl Future<Output = io::Result<SimStream>> {
        connect::connect_unix(self.clone(), path, until)
    }
}
