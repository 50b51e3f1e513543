//! The messages of `pancake.certificates.v1`: what proxies share through a control plane.
//!
//! Messages only, as [`crate::proto`]; what they mean is written in `proto/certificates.proto`. Types that hold a key say
//! nothing about themselves.

use std::fmt;

/// What the build script makes of `proto/certificates.proto`.
#[allow(missing_docs, clippy::doc_markdown)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/pancake.certificates.v1.rs"));
}

pub use generated::*;

/// The encoded `FileDescriptorSet` of `proto/certificates.proto`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/certificates.descriptors"));

/// Bytes of the document of one resolver: some 2,000 certificates.
pub const MAX_DOCUMENT_BYTES: usize = 16 << 20;
/// Bytes of all documents.
pub const MAX_DOCUMENTS_BYTES: usize = 64 << 20;
/// Bytes of one message, either way.
pub const MAX_MESSAGE_BYTES: usize = MAX_DOCUMENTS_BYTES + (16 << 20);
/// Resolvers that are shared.
pub const MAX_RESOLVERS: usize = 64;
/// Bytes of a resolver's name.
pub const MAX_NAME_BYTES: usize = 256;
/// Answers to challenges at a time.
pub const MAX_ANSWERS: usize = 1_000;
/// Bytes of one answer.
pub const MAX_ANSWER_BYTES: usize = 8 << 10;
/// Ticket keys at a time.
pub const MAX_TICKET_KEYS: usize = 8;
/// Bytes of a token that both ends know, at least and at most.
pub const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 32..=1_024;

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("token", &self.token).finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsAlpn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAlpn").field("host", &self.host).finish_non_exhaustive()
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKey").field("encrypts_from", &self.encrypts_from).finish_non_exhaustive()
    }
}

impl Answer {
    /// What it is found by, one answer at a time: kind of challenge, and token or host. None: an answer of a kind that is not
    /// known here.
    pub fn key(&self) -> Option<(&'static str, &str)> {
        match self.kind.as_ref()? {
            answer::Kind::Http(http) => Some(("http-01", &http.token)),
            answer::Kind::TlsAlpn(alpn) => Some(("tls-alpn-01", &alpn.host)),
        }
    }
}
