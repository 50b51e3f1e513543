//! Which of several UDP sockets at one address gets a datagram of QUIC: a small program for the kernel.
//!
//! The sockets of a `SO_REUSEPORT` group are numbered in the order in which they were bound. Without the program the kernel
//! chooses by the addresses, and a client whose address changes would meet another worker, which does not know it.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;

use socket2::Socket;

/// Header form bit: set in long headers (RFC 9000 section 17.2).
const LONG_HEADER: u32 = 0x80;
/// Where the destination connection id starts: behind the first byte, or behind that, version and length.
const ID_IN_SHORT_HEADER: u32 = 1;
const ID_IN_LONG_HEADER: u32 = 6;

const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const JUMP_IF_SET: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
const MODULO: u32 = libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_A;

fn step(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

/// Attaches the program to the group that `socket` is in. Of a datagram that is too short the kernel takes the result to be
/// 0: the first socket gets it.
pub(crate) fn by_connection_id(socket: &Socket, sockets: NonZeroU32) -> io::Result<()> {
    let filters = [
        step(LOAD_BYTE, 0, 0, 0),
        step(JUMP_IF_SET, 2, 0, LONG_HEADER),
        step(LOAD_BYTE, 0, 0, ID_IN_SHORT_HEADER),
        step(JUMP, 0, 0, 1),
        step(LOAD_BYTE, 0, 0, ID_IN_LONG_HEADER),
        step(MODULO, 0, 0, sockets.get()),
        step(RETURN, 0, 0, 0),
    ];
    let program = libc::sock_fprog { len: filters.len() as u16, filter: filters.as_ptr().cast_mut() };
    let size = size_of_val(&program) as libc::socklen_t;
    // SAFETY: the option is a `sock_fprog`; it and the filters that it points at live until the call returns, and the
    // kernel only reads them.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};
    use std::time::Duration;

    use crate::seam::UdpOptions;
    use crate::socket::{Mode, bind_udp, bound_addr};
    use std::os::fd::AsFd;

    #[test]
    fn the_first_byte_of_the_connection_id_picks_the_socket_whatever_the_peer() {
        let count = 3u32;
        let options = UdpOptions { steer_by_connection_id: count.try_into().ok(), ..UdpOptions::default() };
        let first = bind_udp(SocketAddr::from(([127, 0, 0, 1], 0)), &options, Mode::Blocking).expect("binds");
        let addr = bound_addr(first.as_fd()).expect("has an address");
        let mut sockets = vec![UdpSocket::from(first)];
        for _ in 1..count {
            sockets.push(bind_udp(addr, &options, Mode::Blocking).expect("shares the port").into());
        }
        for socket in &sockets {
            socket.set_read_timeout(Some(Duration::from_secs(5))).expect("sets");
        }
        for byte in [0u8, 1, 2, 77, 254, 255] {
            let worker = usize::from(byte) % sockets.len();
            for _ in 0..3 {
                let client = UdpSocket::bind("127.0.0.1:0").expect("binds");
                let short = [0x40, byte, 9, 9, 9, 9, 9, 9, 9];
                let long = [0xc0, 0, 0, 0, 1, 8, byte, 9, 9, 9, 9, 9, 9, 9];
                for datagram in [&short[..], &long] {
                    client.send_to(datagram, addr).expect("sends");
                    let mut room = [0; 100];
                    let (len, from) = sockets[worker].recv_from(&mut room).expect("it is for this socket");
                    assert_eq!(
                        (&room[..len], from),
                        (datagram, client.local_addr().expect("has an address"))
                    );
                }
            }
        }
    }
}
