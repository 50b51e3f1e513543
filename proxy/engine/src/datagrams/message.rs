//! Addresses and control data of datagrams, as the kernel wants them.

use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ptr;

use crate::socket::UNKNOWN;

/// Room for what is received or sent beside a datagram: one packet-information entry, one segment size.
const CONTROL_BYTES: usize = 96;

/// An address.
pub(super) struct Name(pub(super) libc::sockaddr_storage, pub(super) libc::socklen_t);

/// Control data.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(super) struct Control(pub(super) [u8; CONTROL_BYTES]);

pub(super) const NO_CONTROL: Control = Control([0; CONTROL_BYTES]);

const fn space(bytes: usize) -> usize {
    // SAFETY: arithmetic.
    unsafe { libc::CMSG_SPACE(bytes as libc::c_uint) as usize }
}

/// The length of an entry that was not cut off.
const fn whole<T>() -> usize {
    // SAFETY: arithmetic.
    unsafe { libc::CMSG_LEN(size_of::<T>() as libc::c_uint) as usize }
}

/// Both entries that a send may need fit.
const _: () = assert!(space(size_of::<libc::in6_pktinfo>()) + space(size_of::<u16>()) <= CONTROL_BYTES);

pub(super) fn no_name() -> libc::sockaddr_storage {
    // SAFETY: all zeroes is a valid sockaddr_storage.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

pub(super) fn no_message() -> libc::mmsghdr {
    // SAFETY: all zeroes is a valid mmsghdr: no address, no pieces, no control data.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// An IPv4 address as a dual-stack socket takes it.
pub(super) fn for_family(addr: SocketAddr, socket_is_v6: bool) -> SocketAddr {
    match addr {
        SocketAddr::V4(v4) if socket_is_v6 => SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port())),
        other => other,
    }
}

impl Name {
    /// The address as a socket of this family takes it.
    pub(super) fn new(addr: SocketAddr, socket_is_v6: bool) -> Name {
        let addr = socket2::SockAddr::from(for_family(addr, socket_is_v6));
        let mut storage = no_name();
        let len = addr.len() as usize;
        debug_assert!(len <= size_of::<libc::sockaddr_storage>());
        // SAFETY: an address is `len` bytes long, and the storage has room for any.
        unsafe { ptr::copy_nonoverlapping(addr.as_ptr().cast::<u8>(), (&raw mut storage).cast::<u8>(), len) };
        Name(storage, addr.len())
    }
}

/// The address that the kernel wrote. IPv4 is IPv4, on a dual-stack socket too.
pub(super) fn address(name: &libc::sockaddr_storage) -> SocketAddr {
    let start = ptr::from_ref(name);
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says what it is, and the storage is large and aligned enough.
            let v4 = unsafe { &*start.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            SocketAddr::from((ip, u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*start.cast::<libc::sockaddr_in6>() };
            let (ip, port) = (Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port));
            match ip.to_ipv4_mapped() {
                Some(ip) => SocketAddr::from((ip, port)),
                None => SocketAddr::V6(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id)),
            }
        }
        _ => UNKNOWN,
    }
}

/// The local address that a datagram was sent to, if the control data of `message` says it.
///
/// # Safety
/// The control data must be what the kernel wrote, alive and aligned.
pub(super) unsafe fn local(message: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the caller's promise; the macros stay within the length that the kernel set.
    unsafe {
        let mut entry = libc::CMSG_FIRSTHDR(message);
        while !entry.is_null() {
            let len = (*entry).cmsg_len as usize;
            match ((*entry).cmsg_level, (*entry).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) if len >= whole::<libc::in_pktinfo>() => {
                    let info = libc::CMSG_DATA(entry).cast::<libc::in_pktinfo>().read_unaligned();
                    // Of what was sent to all hosts it is the own address, from which an answer can come.
                    return Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if len >= whole::<libc::in6_pktinfo>() => {
                    let info = libc::CMSG_DATA(entry).cast::<libc::in6_pktinfo>().read_unaligned();
                    return Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical());
                }
                _ => {}
            }
            entry = libc::CMSG_NXTHDR(message, entry);
        }
    }
    None
}

impl Control {
    /// Says from which address to send, and into pieces of which size to cut. Returns the bytes used.
    pub(super) fn fill(&mut self, from: Option<IpAddr>, segment: Option<u16>, socket_is_v6: bool) -> usize {
        let mut used = 0;
        match from {
            Some(IpAddr::V4(ip)) if !socket_is_v6 => {
                let source = libc::in_addr { s_addr: u32::from(ip).to_be() };
                let any = libc::in_addr { s_addr: 0 };
                let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: any };
                used += self.put(used, (libc::IPPROTO_IP, libc::IP_PKTINFO), info);
            }
            Some(ip) => {
                let octets = match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                    IpAddr::V6(ip) => ip.octets(),
                };
                let info =
                    libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: octets }, ipi6_ifindex: 0 };
                used += self.put(used, (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO), info);
            }
            None => {}
        }
        if let Some(segment) = segment {
            used += self.put(used, (libc::SOL_UDP, libc::UDP_SEGMENT), segment);
        }
        used
    }

    fn put<T>(&mut self, at: usize, (level, kind): (i32, i32), value: T) -> usize {
        let taken = space(size_of::<T>());
        assert!(at + taken <= CONTROL_BYTES, "no room for control data");
        // SAFETY: an entry starts at a multiple of eight in aligned memory, and entry and value lie in the room that was
        // checked just now.
        unsafe {
            let entry = self.0.as_mut_ptr().add(at).cast::<libc::cmsghdr>();
            (*entry).cmsg_level = level;
            (*entry).cmsg_type = kind;
            (*entry).cmsg_len = whole::<T>() as _;
            libc::CMSG_DATA(entry).cast::<T>().write_unaligned(value);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_went() {
        for (addr, v6) in [("1.2.3.4:5", false), ("1.2.3.4:5", true), ("[2001:db8::1]:65535", true)] {
            let addr: SocketAddr = addr.parse().expect("an address");
            assert_eq!(address(&Name::new(addr, v6).0), addr);
        }
        assert_eq!(address(&no_name()), UNKNOWN);
    }

    #[test]
    fn control_data_comes_back_as_it_went() {
        for (ip, v6) in [("1.2.3.4", true), ("2001:db8::1", true)] {
            let ip: IpAddr = ip.parse().expect("an address");
            let mut control = NO_CONTROL;
            let mut message = no_message().msg_hdr;
            message.msg_controllen = control.fill(Some(ip), Some(1200), v6) as _;
            message.msg_control = control.0.as_mut_ptr().cast();
            // SAFETY: filled just now.
            assert_eq!(unsafe { local(&message) }, Some(ip));
        }
    }
}
