//! The `ring` engine: io_uring, one ring per worker, entered once per turn of the event loop.
//!
//! Receives are armed once and complete many times, into slots that the kernel takes when there is something to put
//! in; sends are tried at once and go through the ring only when the socket is full. An operation owns what the
//! kernel reads or writes until it has completed, whatever became of the future that started it.

/// Receive slots, and how the kernel gets at them.
mod group;
/// Accepting.
mod listener;
/// Operations that own memory: sends that wait, connects.
mod op;
/// The ring itself.
mod setup;
/// Receiving and sending.
mod stream;
/// The event loop.
mod turn;

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

pub use listener::RingListener;
pub use stream::RingStream;

use crate::datagrams::KernelDatagrams;
use crate::options::Options;
use crate::seam::{Engine, ListenOptions, Time, UdpOptions};
use crate::socket::{self, Mode};
use crate::unix;
use crate::worker::Sleep;
use turn::Core;

/// A handle on this thread's `ring` engine.
#[derive(Clone)]
pub struct Ring(Rc<Core>);

/// Runs `main` and what it spawns on this thread until `main` ends; then drops every other task, and waits until the
/// kernel has let go of every buffer.
///
/// # Errors
/// If the kernel refuses the ring ([`crate::choose::probe`] says why), or entering it fails.
///
/// # Panics
/// If this thread runs an engine already.
pub fn run<F: Future<Output = ()> + 'static>(
    options: &Options,
    main: impl FnOnce(Ring) -> F,
) -> io::Result<()> {
    let running = Running(Ring(Rc::new(Core::new(options)?)));
    let engine = &running.0;
    let done = Rc::new(Cell::new(false));
    let task = main(engine.clone());
    engine.spawn({
        let done = done.clone();
        async move {
            task.await;
            done.set(true);
        }
    });
    while !done.get() {
        engine.0.turn()?;
    }
    Ok(())
}

/// Sets up a ring and its buffer rings as `run` would, and tears them down.
pub(crate) fn try_setup(options: &Options) -> io::Result<()> {
    turn::small_group(&setup::Uring::new(options)?, options).map(drop)
}

/// Ends the engine in order, however `run` ends.
struct Running(Ring);

impl Drop for Running {
    fn drop(&mut self) {
        // Tasks hold handles and the handles the tasks: this breaks the circle.
        self.0.0.worker.exec.clear();
        if !self.0.0.finish() {
            // The kernel may still write to the slots: they must never be freed.
            std::mem::forget(self.0.clone());
        }
    }
}

impl Ring {
    /// Receive slots that sessions hold now, small and bulk.
    pub fn slots_held(&self) -> (usize, usize) {
        (self.0.small.borrow().pool.held(), self.0.bulk.pool.held())
    }

    /// Pipes that splices hold now.
    pub fn pipes_held(&self) -> usize {
        self.0.pipes.held()
    }
}

impl Engine for Ring {
    type Stream = RingStream;
    type Listener = RingListener;
    type Datagrams = KernelDatagrams<RingStream>;
    type Sleep = Sleep;

    const NAME: &'static str = "ring";

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

    fn listen(&self, addr: SocketAddr, options: &ListenOptions) -> io::Result<RingListener> {
        let fd = socket::listen(addr, options, Mode::Blocking)?;
        Ok(RingListener::new(self.0.clone(), fd))
    }

    fn connect(&self, to: SocketAddr, until: Time) -> impl Future<Output = io::Result<RingStream>> {
        op::connect(self.0.clone(), to, until)
    }

    fn bind_udp(&self, addr: SocketAddr, options: &UdpOptions) -> io::Result<Self::Datagrams> {
        let fd = socket::bind_udp(addr, options, Mode::Blocking)?;
        let socket = RingStream::new(self.0.clone(), fd, socket::UNKNOWN);
        Ok(KernelDatagrams::new(socket, addr.is_ipv6()))
    }

    fn listen_unix(&self, path: &Path, options: &ListenOptions) -> io::Result<RingListener> {
        let fd = unix::listen(path, options, Mode::Blocking)?;
        Ok(RingListener::new(self.0.clone(), fd))
    }

    async fn connect_unix(&self, path: &Path, until: Time) -> io::Result<RingStream> {
        let fd = unix::connect(&self.0.worker, path, Mode::Blocking, until).await?;
        Ok(RingStream::new(self.0.clone(), fd, socket::UNKNOWN))
    }
}
