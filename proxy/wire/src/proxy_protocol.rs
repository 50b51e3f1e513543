//! The PROXY protocol, versions 1 and 2: who the client in front of a proxy was (HAProxy's `proxy-protocol.txt`; its sections
//! are named here).
//!
//! Whether a peer is trusted to say so, and whether a connection must, may or must not start with a header, is decided by the
//! caller: the protocol itself forbids guessing (section 2).

// The line of version 1.
mod v1;
// The binary header of version 2.
mod v2;
// Type, length, value: what version 2 says besides the addresses.
mod tlv;
// The checksum of version 2.
mod crc32c;
// What Pancake writes.
mod emit;

use std::net::SocketAddr;

pub use crate::reject::Reject;
pub use emit::{OutgoingSsl, OutgoingTlvs, emit_v1, emit_v2_local, emit_v2_proxy};
pub use tlv::{MAX_UNIQUE_ID_BYTES, Ssl, Tlv, Tlvs, kind};
pub use v1::MAX_V1_BYTES;
pub use v2::MAX_V2_BYTES;

/// The most bytes that [`parse`] ever waits for.
pub const MAX_HEADER_BYTES: usize = if MAX_V1_BYTES > MAX_V2_BYTES { MAX_V1_BYTES } else { MAX_V2_BYTES };

/// What a connection starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// Too few bytes to say, up to 11; all of them fit.
    Undecided,
    /// Neither signature: no header, and [`parse`] refuses it with [`Reject::PROXY_NO_HEADER`].
    Absent,
    /// `PROXY`.
    V1,
    /// The 12 bytes of version 2.
    V2,
}

/// The version of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A line of text (section 2.1).
    V1,
    /// Binary (section 2.2).
    V2,
}

/// On whose behalf the connection was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// By the proxy itself, as for a health check: the addresses of the connection itself count.
    Local,
    /// For a client.
    Proxy,
}

/// The transport between client and proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP or a Unix stream.
    Stream,
    /// UDP or Unix datagrams.
    Datagram,
}

/// A whole header.
///
/// IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2) are given as IPv4, each for itself: rules and logs know one form of
/// an address only. Without addresses (LOCAL, UNKNOWN, an unspecified family, Unix sockets) those of the connection itself
/// count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// 1 or 2.
    pub version: Version,
    /// LOCAL or PROXY; always PROXY in version 1.
    pub command: Command,
    /// `None` for LOCAL, UNKNOWN, and an unspecified family or transport.
    pub transport: Option<Transport>,
    /// The client.
    pub source: Option<SocketAddr>,
    /// What the client connected to.
    pub destination: Option<SocketAddr>,
    tlvs: &'a [u8],
}

impl<'a> Header<'a> {
    /// A header that says nothing about the client.
    const fn bare(version: Version, command: Command) -> Self {
        Self { version, command, transport: None, source: None, destination: None, tlvs: &[] }
    }

    /// All TLVs in their order but those of type NOOP. None for LOCAL and for an unspecified family or transport, where
    /// nothing says where they start.
    #[must_use]
    pub fn tlvs(&self) -> Tlvs<'a> {
        Tlvs::new(self.tlvs)
    }

    /// The application protocol (section 2.2.1), such as `h2`.
    #[must_use]
    pub fn alpn(&self) -> Option<&'a [u8]> {
        self.tlvs().first(kind::ALPN)
    }

    /// The host name that the client asked for (section 2.2.2): the server name of TLS. UTF-8 by the protocol, unchecked.
    #[must_use]
    pub fn authority(&self) -> Option<&'a [u8]> {
        self.tlvs().first(kind::AUTHORITY)
    }

    /// The identifier of the connection (section 2.2.5), at most [`MAX_UNIQUE_ID_BYTES`].
    #[must_use]
    pub fn unique_id(&self) -> Option<&'a [u8]> {
        self.tlvs().first(kind::UNIQUE_ID)
    }

    /// The name of the network namespace (section 2.2.7).
    #[must_use]
    pub fn netns(&self) -> Option<&'a [u8]> {
        self.tlvs().first(kind::NETNS)
    }

    /// The client's TLS (section 2.2.6).
    #[must_use]
    pub fn ssl(&self) -> Option<Ssl<'a>> {
        self.tlvs().first(kind::SSL).and_then(Ssl::new)
    }
}

/// Says as early as possible whether there is a header at all.
#[must_use]
pub fn signature(bytes: &[u8]) -> Signature {
    for (whole, found) in [(v1::SIGNATURE, Signature::V1), (v2::SIGNATURE, Signature::V2)] {
        if bytes.starts_with(whole) {
            return found;
        }
        if whole.starts_with(bytes) {
            return Signature::Undecided;
        }
    }
    Signature::Absent
}

/// Parses the header in front of a connection or a datagram and says how many bytes it takes; `None` asks for more bytes,
/// never beyond [`MAX_HEADER_BYTES`]. A verdict stands, whatever follows.
///
/// # Errors
/// [`Reject`]: no header, or one that is not exactly as the protocol has it.
pub fn parse(bytes: &[u8]) -> Result<Option<(Header<'_>, usize)>, Reject> {
    match signature(bytes) {
        Signature::Undecided => Ok(None),
        Signature::Absent => Err(Reject::PROXY_NO_HEADER),
        Signature::V1 => v1::parse(bytes),
        Signature::V2 => v2::parse(bytes),
    }
}
