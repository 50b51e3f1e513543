//! What several proxies share: one account, its certificates, and the answers to challenges. One orders, all serve, any answers.
//!
//! [`Shared`] is the seam: [`files::Files`] implements it for proxies on one host with one storage file,
//! [`crate::sharing::plane::Plane`] for proxies anywhere, over the control plane.
//!
//! The order of calls is the same in both: lease, load, look again, publish, spread, prove, withdraw, store, release.

/// Proxies on one host with one storage file.
pub mod files;

use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use super::error::StorageError;
use super::storage::{Bytes, Stored};

/// What a call gives later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// The right to order for one resolver. Given back when dropped.
pub struct Lease {
    _guard: Box<dyn std::any::Any>,
    alone: bool,
}

impl Lease {
    /// Held as long as `guard` lives.
    pub fn new(guard: impl std::any::Any) -> Lease {
        Lease { _guard: Box::new(guard), alone: false }
    }

    /// The same, taken without those with whom it is shared.
    pub fn alone(self) -> Lease {
        Lease { alone: true, ..self }
    }

    /// Whether others may order at the same time: then only what cannot wait is ordered.
    pub fn is_alone(&self) -> bool {
        self.alone
    }
}

/// A change of what is stored: made on the newest state, under the store's own lock.
pub type Change<'a> = Box<dyn FnOnce(&mut Stored) + 'a>;

/// What proxies share about one storage.
pub trait Shared {
    /// The right to order; none: another proxy has it. `alone`: what is to be ordered cannot wait for whoever gives the right.
    fn lease<'a>(&'a self, resolver: &'a str, alone: bool) -> Later<'a, Result<Option<Lease>, StorageError>>;
    /// What is stored.
    fn load<'a>(&'a self, resolver: &'a str) -> Later<'a, Result<Stored, StorageError>>;
    /// Changes what is stored. For the holder of the lease.
    fn store<'a>(&'a self, resolver: &'a str, change: Change<'a>) -> Later<'a, Result<(), StorageError>>;
    /// Lets every proxy answer a challenge.
    fn publish<'a>(&'a self, resolver: &'a str, answer: &'a Answer) -> Later<'a, Result<(), StorageError>>;
    /// The challenge is over.
    fn withdraw<'a>(&'a self, resolver: &'a str, answer: &'a Answer) -> Later<'a, Result<(), StorageError>>;
    /// Ends when what was published can be answered by every proxy.
    fn spread(&self) -> Later<'_, ()>;
    /// Every published answer.
    fn answers(&self) -> Later<'_, Result<Vec<Answer>, StorageError>>;
    /// Ends when certificates or answers may have changed since the last call.
    fn changed(&self) -> Later<'_, ()>;
    /// Workers see what there was when [`Shared::changed`] last ended.
    fn shown(&self) {}
}

/// What proves a name, for those challenges that a proxy answers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Answer {
    /// http-01: what stands at the token's URL.
    #[serde(rename = "http-01")]
    Http {
        /// Last part of the path.
        token: String,
        /// The body.
        key_authorization: String,
    },
    /// tls-alpn-01: a certificate for the name.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn {
        /// The name, as in SNI.
        host: String,
        /// DER.
        certificate: Bytes,
        /// PKCS#8 DER.
        key: Bytes,
    },
}

impl Answer {
    /// What it is found by: one answer per key at a time.
    pub fn key(&self) -> (&'static str, &str) {
        match self {
            Answer::Http { token, .. } => ("http-01", token),
            Answer::TlsAlpn { host, .. } => ("tls-alpn-01", host),
        }
    }
}
