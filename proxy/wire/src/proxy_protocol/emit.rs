//! What Pancake writes in front of a connection to a backend (`proxy-protocol.txt` sections 2.1 and 2.2).
//!
//! A header is appended in one piece, to be sent with one call. Addresses are written in their canonical form: two IPv4-mapped
//! ones as IPv4; one IPv4 beside one IPv6 address as IPv4-mapped, so that both have the family of the header. Flow labels and
//! scopes of IPv6 have no place in the protocol.

use std::io::Write;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::crc32c::{CHECKSUM_BYTES, checksum};
use super::tlv::{MAX_UNIQUE_ID_BYTES, SSL_FIXED_BYTES, Ssl, TLV_HEADER_BYTES, kind};
use super::v2::{
    DATAGRAM, FIXED_BYTES, INET, INET6, LOCAL, MAX_V2_BYTES, PROXY, SIGNATURE, STREAM, VERSION_2,
};
use super::{Transport, v1};
use crate::reject::Reject;

/// What goes with the addresses of version 2. The default is nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutgoingTlvs<'a> {
    /// The application protocol, such as `h2`.
    pub alpn: Option<&'a [u8]>,
    /// The host name that the client asked for.
    pub authority: Option<&'a [u8]>,
    /// The identifier of the connection, at most [`MAX_UNIQUE_ID_BYTES`].
    pub unique_id: Option<&'a [u8]>,
    /// The client's TLS; `None` if there was none.
    pub ssl: Option<OutgoingSsl<'a>>,
    /// Whether a checksum is added.
    pub crc32c: bool,
}

/// The client's TLS, without a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutgoingSsl<'a> {
    /// Such as `TLSv1.3`.
    pub version: &'a [u8],
    /// Such as `TLS_AES_128_GCM_SHA256`.
    pub cipher: Option<&'a [u8]>,
}

/// Appends the line of version 1 for a TCP connection; without addresses the UNKNOWN line, which not all receivers take.
pub fn emit_v1(out: &mut Vec<u8>, addresses: Option<(SocketAddr, SocketAddr)>) {
    out.extend_from_slice(v1::SIGNATURE);
    let Some((source, destination)) = addresses else {
        out.extend_from_slice(b" UNKNOWN\r\n");
        return;
    };
    let ports = (source.port(), destination.port());
    // Writing to a vector does not fail.
    let _ = match one_family(source.ip(), destination.ip()) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            out.extend_from_slice(b" TCP6 ");
            ipv6(out, source);
            out.push(b' ');
            ipv6(out, destination);
            write!(out, " {} {}\r\n", ports.0, ports.1)
        }
        (source, destination) => write!(out, " TCP4 {source} {destination} {} {}\r\n", ports.0, ports.1),
    };
}

/// Appends a version 2 header for a connection of the proxy itself, such as a health check.
pub fn emit_v2_local(out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[VERSION_2 | LOCAL, 0, 0, 0]);
}

/// Appends a version 2 header for a connection on behalf of a client.
///
/// # Errors
/// [`Reject::PROXY_HEADER_TOO_LARGE`] over [`MAX_V2_BYTES`], [`Reject::PROXY_BAD_TLV`] for too long a unique identifier. Then
/// `out` is as it was.
pub fn emit_v2_proxy(
    out: &mut Vec<u8>,
    transport: Transport,
    source: SocketAddr,
    destination: SocketAddr,
    tlvs: &OutgoingTlvs<'_>,
) -> Result<(), Reject> {
    if tlvs.unique_id.is_some_and(|id| id.len() > MAX_UNIQUE_ID_BYTES) {
        return Err(Reject::PROXY_BAD_TLV);
    }
    let ips = one_family(source.ip(), destination.ip());
    let addresses_bytes = if ips.0.is_ipv4() { 12 } else { 36 };
    let total = FIXED_BYTES + addresses_bytes + tlvs_len(tlvs);
    // The length is below 2^16 then.
    if total > MAX_V2_BYTES {
        return Err(Reject::PROXY_HEADER_TOO_LARGE);
    }
    let start = out.len();
    out.reserve(total);
    out.extend_from_slice(SIGNATURE);
    let transport = if transport == Transport::Stream { STREAM } else { DATAGRAM };
    out.extend_from_slice(&[VERSION_2 | PROXY, transport | if ips.0.is_ipv4() { INET } else { INET6 }]);
    length(out, total - FIXED_BYTES);
    for ip in [ips.0, ips.1] {
        match ip {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
    write_tlvs(out, tlvs);
    if tlvs.crc32c {
        write_tlv(out, kind::CRC32C, &[0; CHECKSUM_BYTES]);
        let sum = checksum([&out[start..]]).to_be_bytes();
        let at = out.len() - CHECKSUM_BYTES;
        out[at..].copy_from_slice(&sum);
    }
    Ok(())
}

fn write_tlvs(out: &mut Vec<u8>, tlvs: &OutgoingTlvs<'_>) {
    for (kind, value) in plain(tlvs) {
        write_tlv(out, kind, value);
    }
    let Some(ssl) = &tlvs.ssl else { return };
    out.push(kind::SSL);
    length(out, ssl_len(ssl));
    // The field for verification is not zero unless a certificate was verified.
    out.push(Ssl::CLIENT_SSL);
    out.extend_from_slice(&1u32.to_be_bytes());
    for (kind, value) in inner(ssl) {
        write_tlv(out, kind, value);
    }
}

fn plain<'a>(tlvs: &OutgoingTlvs<'a>) -> impl Iterator<Item = (u8, &'a [u8])> {
    [(kind::ALPN, tlvs.alpn), (kind::AUTHORITY, tlvs.authority), (kind::UNIQUE_ID, tlvs.unique_id)]
        .into_iter()
        .filter_map(|(kind, value)| Some((kind, value?)))
}

fn inner<'a>(ssl: &OutgoingSsl<'a>) -> impl Iterator<Item = (u8, &'a [u8])> {
    std::iter::once((kind::SSL_VERSION, ssl.version))
        .chain(ssl.cipher.map(|cipher| (kind::SSL_CIPHER, cipher)))
}

fn tlvs_len(tlvs: &OutgoingTlvs<'_>) -> usize {
    plain(tlvs).map(|(_, value)| TLV_HEADER_BYTES + value.len()).sum::<usize>()
        + tlvs.ssl.as_ref().map_or(0, |ssl| TLV_HEADER_BYTES + ssl_len(ssl))
        + if tlvs.crc32c { TLV_HEADER_BYTES + CHECKSUM_BYTES } else { 0 }
}

fn ssl_len(ssl: &OutgoingSsl<'_>) -> usize {
    SSL_FIXED_BYTES + inner(ssl).map(|(_, value)| TLV_HEADER_BYTES + value.len()).sum::<usize>()
}

fn write_tlv(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    out.push(kind);
    length(out, value.len());
    out.extend_from_slice(value);
}

/// A length in two bytes; the caller has checked the whole header against [`MAX_V2_BYTES`].
fn length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&(length as u16).to_be_bytes());
}

/// Both addresses in one family: IPv4 if both can be.
fn one_family(source: IpAddr, destination: IpAddr) -> (IpAddr, IpAddr) {
    let mapped = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
        ip @ IpAddr::V6(_) => ip,
    };
    match (source.to_canonical(), destination.to_canonical()) {
        both @ (IpAddr::V4(_), IpAddr::V4(_)) => both,
        (source, destination) => (mapped(source), mapped(destination)),
    }
}

/// An IPv6 address in hexadecimal groups only: the protocol has no dotted form for the last 32 bits.
fn ipv6(out: &mut Vec<u8>, address: Ipv6Addr) {
    let _ = match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] => write!(out, "::ffff:{high:x}:{low:x}"),
        _ => write!(out, "{address}"),
    };
}
