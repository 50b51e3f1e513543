//! The runtime of the service thread: tokio-uring where the kernel allows io_uring, plain tokio elsewhere.

use std::future::Future;
use std::io;

use tokio::task::LocalSet;

/// Which runtime this thread runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// tokio-uring: files are written through io_uring.
    Ring,
    /// tokio: files are written by threads for blocking work.
    Plain,
}

impl Host {
    /// Its name in logs and the API.
    pub fn name(self) -> &'static str {
        match self {
            Host::Ring => "tokio-uring",
            Host::Plain => "tokio",
        }
    }
}

/// Entries of the ring: file writes only, one at a time.
const RING_ENTRIES: u32 = 64;

/// Runs `main` to its end on this thread; tasks that are not `Send` can be spawned with `spawn_local`.
///
/// # Errors
/// If not even tokio starts.
pub fn run<F: Future>(main: impl FnOnce(Host) -> F) -> io::Result<F::Output> {
    let mut builder = tokio_uring::builder();
    match tokio_uring::Runtime::new(builder.entries(RING_ENTRIES)) {
        Ok(runtime) => Ok(runtime.block_on(main(Host::Ring))),
        Err(cause) => {
            tracing::info!(%cause, "io_uring is refused: the service thread writes files by plain system calls");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(LocalSet::new().block_on(&runtime, main(Host::Plain)))
        }
    }
}
