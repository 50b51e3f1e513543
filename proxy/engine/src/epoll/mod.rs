//! The `epoll` engine: readiness, then a system call. Runs where io_uring is refused.
//!
//! Every socket is registered once, edge-triggered, for both directions; a stream remembers what the kernel said and
//! only waits after the kernel refused.

/// Accepting.
mod listener;
/// Connecting, receiving, sending.
mod stream;
/// The event loop: waits, dispatches, fires timers, runs tasks.
mod turn;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

pub use listener::EpollListener;
pub use stream::EpollStream;

use crate::datagrams::KernelDatagrams;
use crate::options::Options;
use crate::seam::{Engine, ListenOptions, Time, UdpOptions};
use crate::socket::{self, Mode};
use crate::unix;
use crate::worker::Sleep;
use turn::Core;

/// A handle on this thread's `epoll` engine.
#[derive(Clone)]
pub struct Epoll(Rc<Core>);

/// Runs `main` and what it spawns on this thread until `main` ends; then drops every other task.
///
/// # Errors
/// If the kernel refuses the descriptors of the event loop, or waiting fails.
///
/// # Panics
/// If this thread runs an engine already.
pub fn run<F: Future<Output = ()> + 'static>(
    options: &Options,
    main: impl FnOnce(Epoll) -> F,
) -> io::Result<()> {
    let engine = Epoll(Rc::new(Core::new(options)?));
    let done = Rc::new(std::cell::Cell::new(false));
    let task = main(engine.clone());
    engine.spawn({
        let done = done.clone();
        async move {
            task.await;
            done.set(true);
        }
    });
    let mut result = Ok(());
    while result.is_ok() && !done.get() {
        result = engine.0.turn();
    }
    // Tasks hold handles and the handles the tasks: this breaks the circle.
    engine.0.worker.exec.clear();
    result
}

impl Epoll {
    /// Receive slots that sessions hold now, small and bulk.
    pub fn slots_held(&self) -> (usize, usize) {
        (self.0.small.pool.held(), self.0.bulk.pool.held())
    }

    /// Pipes that splices hold now.
    pub fn pipes_held(&self) -> usize {
        self.0.pipes.held()
    }
}

impl Engine for Epoll {
    type Stream = EpollStream;
    type Listener = EpollListener;
    type Datagrams = KernelDatagrams<EpollStream>;
    type Sleep = Sleep;

    const NAME: &'static str = "epoll";

    fn now(&self) -> Time {
        self.0.worker.clock.now()
    }

    fn unix_time(&self) -> Duration {
        self.0.worker.clock.unix()
    }

    fn random(&self) -> u64 {
        self.0.worker.random()
    }

    fn sleep_until(&self, at: Time) -> Sleep {
        Sleep::new(self.0.worker.clone(), at)
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.worker.exec.spawn(task);
    }

    fn wake_all(&self) {
        self.0.worker.exec.wake_all();
    }

    fn listen(&self, addr: SocketAddr, options: &ListenOptions) -> io::Result<EpollListener> {
        EpollListener::new(self.0.clone(), socket::listen(addr, options, Mode::NonBlocking)?)
    }

    fn connect(&self, to: SocketAddr, until: Time) -> impl Future<Output = io::Result<EpollStream>> {
        EpollStream::connect(self.0.clone(), to, until)
    }

    fn bind_udp(&self, addr: SocketAddr, options: &UdpOptions) -> io::Result<Self::Datagrams> {
        let fd = socket::bind_udp(addr, options, Mode::NonBlocking)?;
        let socket = EpollStream::accepted(self.0.clone(), fd, socket::UNKNOWN)?;
        Ok(KernelDatagrams::new(socket, addr.is_ipv6()))
    }

    fn listen_unix(&self, path: &Path, options: &ListenOptions) -> io::Result<EpollListener> {
        EpollListener::new(self.0.clone(), unix::listen(path, options, Mode::NonBlocking)?)
    }

    fn connect_unix(&self, path: &Path, until: Time) -> impl Future<Output = io::Result<EpollStream>> {
        EpollStream::connect_unix(self.0.clone(), path, until)
    }
}
