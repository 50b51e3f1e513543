//! What proxies share, as it is kept: certificates by resolver, who may order, keys of session tickets.
//!
//! Documents and keys are secrets: they do not show themselves.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a resolver has.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedResolver {
    /// Grows by one with each change; never 0.
    pub version: u64,
    /// Account and certificates with keys, in the JSON form of the proxies. Not read here.
    pub document: String,
    /// For people.
    pub summaries: Vec<CertificateSummary>,
    /// The proxy that stored it, for people.
    pub stored_by: String,
    /// When, for people.
    pub stored_at_unix_ms: u64,
}

impl fmt::Debug for SharedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedResolver").field("version", &self.version).finish_non_exhaustive()
    }
}

/// What people see of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateSummary {
    /// Main name first.
    pub domains: Vec<String>,
    /// Unix seconds; 0: there is none.
    pub not_after: u64,
    /// Empty: nothing is wrong.
    pub last_error: String,
}

/// The last lease of a resolver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Grows with each holder, never goes back.
    pub token: u64,
    /// Who was given it; none: it was given back.
    pub holder: Option<String>,
}

/// Bytes of a ticket key.
pub const TICKET_KEY_BYTES: usize = 48;

/// A key of session tickets. Times are Unix seconds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKey {
    /// [`TICKET_KEY_BYTES`] random bytes.
    pub key: Vec<u8>,
    /// Encrypts from then on; before, it only decrypts.
    pub encrypts_from: u64,
    /// Until then.
    pub encrypts_until: u64,
    /// Decrypts until then.
    pub decrypts_until: u64,
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKey").field("encrypts_from", &self.encrypts_from).finish_non_exhaustive()
    }
}
