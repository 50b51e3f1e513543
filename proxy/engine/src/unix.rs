//! Unix stream sockets: the addresses that are paths.
//!
//! A connect to one is over at once, one way or the other, except where the listener's queue is full: the kernel has no
//! way to wait for that but to put the thread to sleep, so the connect is tried again until its deadline.
//!
//! What it does not do: abstract names, datagrams, passing descriptors, removing files.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::seam::{ListenOptions, TIMER_GRAIN, Time};
use crate::socket::Mode;
use crate::worker::{Sleep, Worker};

/// Opens a listening socket, which makes the file.
pub(crate) fn listen(path: &Path, options: &ListenOptions, mode: Mode) -> io::Result<OwnedFd> {
    let socket = open(mode)?;
    socket.bind(&address(path)?)?;
    socket.listen(options.backlog)?;
    Ok(socket.into())
}

/// Connects; tries again every [`TIMER_GRAIN`] while the listener's queue is full.
pub(crate) async fn connect(
    worker: &Rc<Worker>,
    path: &Path,
    mode: Mode,
    until: Time,
) -> io::Result<OwnedFd> {
    // Of its own before the first wait: the path need not live as long.
    let to = address(path)?;
    loop {
        // A new socket each time: one that was refused is as good, but this is the rare case.
        let socket = open(Mode::NonBlocking)?;
        match socket.connect(&to) {
            Ok(()) => {
                if mode == Mode::Blocking {
                    socket.set_nonblocking(false)?;
                }
                return Ok(socket.into());
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(e) => return Err(e),
        }
        let now = worker.clock.now();
        if now >= until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Sleep::new(worker.clone(), now.after(TIMER_GRAIN).min(until)).await;
    }
}

/// The address of a file. An empty path and one that starts with a zero would be names without a file.
pub(crate) fn address(path: &Path) -> io::Result<SockAddr> {
    match path.as_os_str().as_bytes().first() {
        None | Some(0) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "the path of a Unix socket is that of a file"))
        }
        Some(_) => SockAddr::unix(path),
    }
}

fn open(mode: Mode) -> io::Result<Socket> {
    let kind = Type::STREAM.cloexec();
    let kind = if mode == Mode::NonBlocking { kind.nonblocking() } else { kind };
    Socket::new_raw(Domain::UNIX, kind, None)
}
