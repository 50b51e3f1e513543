//! System calls on sockets that both kernel engines make. Nothing here waits.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use crate::buf::{MAX_PARTS, Parts};
use crate::seam::{ListenOptions, UdpOptions};
use crate::steer;

/// A silent peer is asked after this, and again as often. Go's default.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The address that stands for one that the kernel no longer knows, or that is a path.
pub(crate) const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Whether the kernel may let a call on the socket wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// For readiness.
    NonBlocking,
    /// For io_uring, which fails an operation on a non-blocking socket where it would otherwise wait for it. Plain
    /// calls on such a socket say `MSG_DONTWAIT` each.
    Blocking,
}

/// Opens a listening socket. `TCP_NODELAY` is set on it, and so on what it accepts.
pub(crate) fn listen(addr: SocketAddr, options: &ListenOptions, mode: Mode) -> io::Result<OwnedFd> {
    let socket = stream_socket(addr, mode)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(options.reuse_port)?;
    if addr.is_ipv6() {
        // `[::]` serves IPv4 too, whatever the host's default says.
        socket.set_only_v6(false)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(options.backlog)?;
    Ok(socket.into())
}

/// Opens a socket for a connection to `to`.
pub(crate) fn for_connect(to: SocketAddr, mode: Mode) -> io::Result<OwnedFd> {
    Ok(stream_socket(to, mode)?.into())
}

/// Opens a UDP socket.
pub(crate) fn bind_udp(addr: SocketAddr, options: &UdpOptions, mode: Mode) -> io::Result<OwnedFd> {
    let kind = Type::DGRAM.cloexec();
    let kind = if mode == Mode::NonBlocking { kind.nonblocking() } else { kind };
    let socket = Socket::new_raw(Domain::for_address(addr), kind, Some(Protocol::UDP))?;
    // With the option set the kernel may choose a port that another such socket has, unlike for TCP.
    let chooses = addr.port() == 0;
    if !chooses {
        socket.set_reuse_port(options.reuse_port)?;
    }
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    let (level, tells, finds) = match addr {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO, libc::IP_MTU_DISCOVER),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, libc::IPV6_MTU_DISCOVER),
    };
    if options.tell_local {
        set_int(&socket, level, tells, 1)?;
    }
    if options.never_fragment {
        set_int(&socket, level, finds, libc::IP_PMTUDISC_PROBE)?;
        if addr.is_ipv6() {
            // For the IPv4 peers of a dual-stack socket.
            set_int(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
        }
    }
    if let Some(bytes) = options.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(&addr.into())?;
    if chooses {
        socket.set_reuse_port(options.reuse_port)?;
    }
    // The first of a group at a port of the kernel's choice is alone: the next one attaches the program for both.
    if let Some(sockets) = options.steer_by_connection_id.filter(|_| options.reuse_port && !chooses) {
        steer::by_connection_id(&socket, sockets)?;
    }
    Ok(socket.into())
}

fn set_int(socket: &Socket, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the option is an int, which lives until the call returns.
    let done =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn stream_socket(addr: SocketAddr, mode: Mode) -> io::Result<Socket> {
    // `Socket::new_raw` with the flags: one system call instead of three.
    let kind = Type::STREAM.cloexec();
    let kind = if mode == Mode::NonBlocking { kind.nonblocking() } else { kind };
    let socket = Socket::new_raw(Domain::for_address(addr), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    // Like Go, and so Traefik: a peer that vanished is noticed. Accepted sockets inherit all of it.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE))?;
    Ok(socket)
}

/// Starts to connect. `Ok(false)`: under way.
pub(crate) fn connect(fd: BorrowedFd<'_>, to: SocketAddr) -> io::Result<bool> {
    match SockRef::from(&fd).connect(&to.into()) {
        Ok(()) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) || e.kind() == io::ErrorKind::Interrupted => {
            Ok(false)
        }
        Err(e) => Err(e),
    }
}

/// The error that a connection attempt ended with, if it did.
pub(crate) fn take_error(fd: BorrowedFd<'_>) -> io::Result<()> {
    match SockRef::from(&fd).take_error()? {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// Takes one connection from the accept queue.
pub(crate) fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    let mut accepted = -1;
    // SAFETY: `try_init` hands room for any address and its size; the kernel writes both. On success `accepted` is
    // a new descriptor.
    let (_, addr) = unsafe {
        SockAddr::try_init(|storage, len| {
            let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            accepted = libc::accept4(fd.as_raw_fd(), storage.cast(), len, flags);
            if accepted < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
        })?
    };
    // SAFETY: just opened, owned by nobody else.
    let accepted = unsafe { OwnedFd::from_raw_fd(accepted) };
    Ok((accepted, canonical(addr.as_socket())))
}

/// Receives into `slot`.
///
/// # Safety
/// `slot` must be good for writes of `len` bytes.
pub(crate) unsafe fn recv(fd: RawFd, slot: *mut u8, len: usize) -> io::Result<usize> {
    loop {
        // SAFETY: the caller's promise.
        let n = unsafe { libc::recv(fd, slot.cast(), len, libc::MSG_DONTWAIT) };
        match result(n) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Whether an open stream has nothing to read now.
pub(crate) fn is_silent(fd: RawFd) -> bool {
    let mut byte = 0u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the buffer is the one byte.
    let n = unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, flags) };
    matches!(result(n), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
}

/// The pieces of a send as the kernel wants them.
pub(crate) type Iovecs = [libc::iovec; MAX_PARTS];

/// Points at the pieces without their first `skip` bytes. Returns how many entries are used. The entries are good
/// while the parts are neither changed nor dropped; they may be moved.
pub(crate) fn iovecs(parts: &Parts, mut skip: usize, iovecs: &mut Iovecs) -> usize {
    let mut used = 0;
    for piece in parts.iter() {
        if skip >= piece.len() {
            skip -= piece.len();
            continue;
        }
        let rest = &piece[skip..];
        iovecs[used] = libc::iovec { iov_base: rest.as_ptr() as *mut libc::c_void, iov_len: rest.len() };
        used += 1;
        skip = 0;
    }
    used
}

pub(crate) const NO_IOVECS: Iovecs =
    [const { libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 } }; MAX_PARTS];

/// Sends what the socket takes of the parts without their first `skip` bytes.
pub(crate) fn send(fd: RawFd, parts: &Parts, skip: usize) -> io::Result<usize> {
    let mut entries = NO_IOVECS;
    let used = iovecs(parts, skip, &mut entries);
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    loop {
        let n = if used == 1 {
            let piece = entries[0];
            // SAFETY: the entry points at a piece of `parts`, which is borrowed.
            unsafe { libc::send(fd, piece.iov_base, piece.iov_len, flags) }
        } else {
            // SAFETY: all zeroes is a valid msghdr: no address, no pieces, no control data.
            let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
            message.msg_iov = entries.as_mut_ptr();
            message.msg_iovlen = used;
            // SAFETY: the message points at the `used` entries, those at pieces of `parts`, which is borrowed.
            unsafe { libc::sendmsg(fd, &message, flags) }
        };
        match result(n) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Sends what the socket takes of `bytes`.
pub(crate) fn try_send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    loop {
        // SAFETY: the pointer and length are those of `bytes`.
        match result(unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) }) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Sets when a silent peer is asked, and how often; at least a second. Does nothing to what is not a TCP socket.
pub(crate) fn set_keepalive(fd: BorrowedFd<'_>, after: Option<Duration>) -> io::Result<()> {
    let socket = SockRef::from(&fd);
    let Some(after) = after else { return socket.set_keepalive(false) };
    let after = after.max(Duration::from_secs(1));
    match socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(after).with_interval(after)) {
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
        done => done,
    }
}

/// Half-closes.
pub(crate) fn shutdown(fd: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&fd).shutdown(Shutdown::Write)
}

/// Makes the close send a reset.
pub(crate) fn reset_on_close(fd: BorrowedFd<'_>) {
    // Fails only on what is not a socket; the close is then orderly.
    let _ = SockRef::from(&fd).set_linger(Some(Duration::ZERO));
}

/// The local address; all zeroes if the kernel no longer knows it.
pub(crate) fn local_addr(fd: BorrowedFd<'_>) -> SocketAddr {
    bound_addr(fd).unwrap_or(UNKNOWN)
}

/// The local address.
pub(crate) fn bound_addr(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    Ok(canonical(SockRef::from(&fd).local_addr()?.as_socket()))
}

/// The peer's address.
pub(crate) fn peer_addr(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    Ok(canonical(SockRef::from(&fd).peer_addr()?.as_socket()))
}

/// An IPv4 peer of a dual-stack listener is an IPv4 peer.
fn canonical(addr: Option<SocketAddr>) -> SocketAddr {
    match addr {
        Some(SocketAddr::V6(v6)) if v6.ip().to_ipv4_mapped().is_some() => {
            SocketAddr::new(v6.ip().to_canonical(), v6.port())
        }
        Some(addr) => addr,
        None => UNKNOWN,
    }
}

/// The descriptor that a completed accept handed over, if it succeeded.
pub(crate) fn owned(result: i32) -> Option<OwnedFd> {
    // SAFETY: the kernel made the descriptor for the completion, which is looked at once.
    (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) })
}

fn result(n: isize) -> io::Result<usize> {
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn keepalive(fd: BorrowedFd<'_>) -> (bool, Duration, Duration) {
        let socket = SockRef::from(&fd);
        let get =
            || Ok((socket.keepalive()?, socket.tcp_keepalive_time()?, socket.tcp_keepalive_interval()?));
        io::Result::expect(get(), "a TCP socket says what its keepalive is")
    }

    #[test]
    fn keepalive_is_what_was_asked_for() {
        let fd = for_connect(SocketAddr::from(([127, 0, 0, 1], 1)), Mode::Blocking).expect("opens");
        assert_eq!(keepalive(fd.as_fd()), (true, KEEP_ALIVE, KEEP_ALIVE));
        let minute = Duration::from_secs(60);
        set_keepalive(fd.as_fd(), Some(minute)).expect("sets");
        assert_eq!(keepalive(fd.as_fd()), (true, minute, minute));
        set_keepalive(fd.as_fd(), None).expect("sets");
        assert!(!keepalive(fd.as_fd()).0);
        set_keepalive(fd.as_fd(), Some(Duration::ZERO)).expect("sets");
        let second = Duration::from_secs(1);
        assert_eq!(keepalive(fd.as_fd()), (true, second, second), "the shortest that there is");
    }

    #[test]
    fn a_udp_port_of_the_kernels_choice_is_nobody_elses() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let sockets: Vec<OwnedFd> =
            (0..500).map(|_| bind_udp(any, &UdpOptions::default(), Mode::Blocking).expect("binds")).collect();
        let mut ports: Vec<u16> =
            sockets.iter().map(|fd| bound_addr(fd.as_fd()).expect("has an address").port()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), sockets.len());
    }

    #[test]
    fn a_unix_socket_does_without_keepalive() {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("opens");
        for after in [Some(Duration::from_secs(5)), None] {
            set_keepalive(socket.as_fd(), after).expect("is not refused");
        }
    }
}
