//! Type, length, value: what version 2 says besides the addresses (`proxy-protocol.txt` sections 2.2 to 2.2.8).
//!
//! Values are given as they came. Types that are not known are well-formed TLVs like any other; where a type stands twice
//! the first counts.

use super::crc32c::CHECKSUM_BYTES;
use crate::reject::Reject;

/// The registered types.
#[expect(missing_docs, reason = "the names are those of the protocol")]
pub mod kind {
    pub const ALPN: u8 = 0x01;
    pub const AUTHORITY: u8 = 0x02;
    pub const CRC32C: u8 = 0x03;
    pub const NOOP: u8 = 0x04;
    pub const UNIQUE_ID: u8 = 0x05;
    pub const SSL: u8 = 0x20;
    pub const SSL_VERSION: u8 = 0x21;
    pub const SSL_CN: u8 = 0x22;
    pub const SSL_CIPHER: u8 = 0x23;
    pub const SSL_SIG_ALG: u8 = 0x24;
    pub const SSL_KEY_ALG: u8 = 0x25;
    pub const SSL_GROUP: u8 = 0x26;
    pub const SSL_SIG_SCHEME: u8 = 0x27;
    pub const SSL_CLIENT_CERT: u8 = 0x28;
    pub const NETNS: u8 = 0x30;
}

/// The longest unique identifier (section 2.2.5).
pub const MAX_UNIQUE_ID_BYTES: usize = 128;

/// Type and length.
pub(super) const TLV_HEADER_BYTES: usize = 3;

/// The flags and the result of verification in front of the inner TLVs of [`kind::SSL`].
pub(super) const SSL_FIXED_BYTES: usize = 5;

/// One TLV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Its type, one of [`kind`] or another.
    pub kind: u8,
    /// At most 65535 bytes.
    pub value: &'a [u8],
}

/// TLVs one after the other, without padding ([`kind::NOOP`]).
#[derive(Debug, Clone)]
pub struct Tlvs<'a> {
    rest: &'a [u8],
}

impl<'a> Tlvs<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// The bytes after the last TLV that was given.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The value of the first TLV of a type among those that are left.
    #[must_use]
    pub fn first(mut self, kind: u8) -> Option<&'a [u8]> {
        self.find(|tlv| tlv.kind == kind).map(|tlv| tlv.value)
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Tlv<'a>;

    fn next(&mut self) -> Option<Tlv<'a>> {
        loop {
            let (tlv, rest) = split(self.rest)?;
            self.rest = rest;
            if tlv.kind != kind::NOOP {
                return Some(tlv);
            }
        }
    }
}

/// The client's TLS (section 2.2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ssl<'a> {
    client: u8,
    verify: u32,
    tlvs: &'a [u8],
}

impl<'a> Ssl<'a> {
    /// The flag that says that the client spoke TLS.
    pub(super) const CLIENT_SSL: u8 = 1;
    const CLIENT_CERT_CONNECTION: u8 = 2;
    const CLIENT_CERT_SESSION: u8 = 4;

    pub(super) fn new(value: &'a [u8]) -> Option<Self> {
        let (fixed, tlvs) = value.split_first_chunk::<SSL_FIXED_BYTES>()?;
        let [client, verify @ ..] = *fixed;
        Some(Self { client, verify: u32::from_be_bytes(verify), tlvs })
    }

    /// True if the client connected over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.client & Self::CLIENT_SSL != 0
    }

    /// True if the client gave a certificate on this connection or earlier in its session.
    #[must_use]
    pub fn has_client_certificate(&self) -> bool {
        self.client & (Self::CLIENT_CERT_CONNECTION | Self::CLIENT_CERT_SESSION) != 0
    }

    /// The result of verification of the client's certificate: 0 is success. It says nothing without
    /// [`has_client_certificate`](Self::has_client_certificate).
    #[must_use]
    pub fn verify(&self) -> u32 {
        self.verify
    }

    /// The TLS version, such as `TLSv1.3`.
    #[must_use]
    pub fn version(&self) -> Option<&'a [u8]> {
        self.tlvs().first(kind::SSL_VERSION)
    }

    /// The inner TLVs: version, cipher, names and algorithms of the certificates.
    #[must_use]
    pub fn tlvs(&self) -> Tlvs<'a> {
        Tlvs::new(self.tlvs)
    }
}

/// The first TLV and what follows it.
fn split(bytes: &[u8]) -> Option<(Tlv<'_>, &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<TLV_HEADER_BYTES>()?;
    let [kind, high, low] = *header;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
    Some((Tlv { kind, value }, rest))
}

/// Checks that TLVs fill these bytes, inner ones too, and the lengths that the protocol fixes.
pub(super) fn check(bytes: &[u8]) -> Result<(), Reject> {
    each(bytes, |tlv| match tlv.kind {
        kind::CRC32C => tlv.value.len() == CHECKSUM_BYTES,
        kind::UNIQUE_ID => tlv.value.len() <= MAX_UNIQUE_ID_BYTES,
        kind::SSL => tlv.value.get(SSL_FIXED_BYTES..).is_some_and(|inner| each(inner, |_| true).is_ok()),
        _ => true,
    })
}

fn each(mut bytes: &[u8], is_good: impl Fn(Tlv<'_>) -> bool) -> Result<(), Reject> {
    while !bytes.is_empty() {
        let (tlv, rest) = split(bytes).ok_or(Reject::PROXY_BAD_TLV)?;
        if !is_good(tlv) {
            return Err(Reject::PROXY_BAD_TLV);
        }
        bytes = rest;
    }
    Ok(())
}
