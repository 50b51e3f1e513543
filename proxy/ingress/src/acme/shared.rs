//! What several proxies share: one account, its certificates, and the answers to challenges. One orders, all serve, any answers.
//!
//! [`Shared`] is the seam; [`files::Files`] implements it for proxies on one host with one storage file. Over the control plane
//! it would be a gRPC service `Certificates`, with the store of the control plane behind it:
//!
//! - `lease(resolver)`: `Lease` makes a key that expires unless its holder renews it (a stream that stays open), with a number
//!   that grows with each holder; `Put` carries the number, and one that is not the newest is refused. So a proxy that was
//!   stopped for longer than its lease cannot overwrite what its successor stored.
//! - `load`, `store`: `Get` and `Put` of a resolver's account and certificates, the keys encrypted for the proxies (the control
//!   plane stores, and need not be able to read).
//! - `publish`, `withdraw`, `answers`: keys that end with the lease; [`Shared::spread`] becomes the wait until every connected
//!   proxy acknowledged the version that contains the answer, as drains are confirmed.
//! - `changed`: `Watch`, a stream of versions.
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
pub struct Lease(#[expect(dead_code, reason = "held for its drop")] Box<dyn std::any::Any>);

impl Lease {
    /// Held as long as `guard` lives.
    pub fn new(guard: impl std::any::Any) -> Lease {
        Lease(Box::new(guard))
    }
}

/// A change of what is stored: made on the newest state, under the store's own lock.
pub type Change<'a> = Box<dyn FnOnce(&mut Stored) + 'a>;

/// What proxies share about one storage.
pub trait Shared {
    /// The right to order; none: another proxy has it.
    fn lease<'a>(&'a self, resolver: &'a str) -> Later<'a, Result<Option<Lease>, StorageError>>;
    /// What is stored.
    fn load<'a>(&'a self, resolver: &'a str) -> Later<'a, Result<Stored, StorageError>>;
    /// Changes what is stored. For the holder of the lease.
    fn store<'a>(&'a self, resolver: &'a str, change: Change<'a>) -> Later<'a, Result<(), StorageError>>;
    /// Lets every proxy answer a challenge.
    fn publish<'a>(&'a self, answer: &'a Answer) -> Later<'a, Result<(), StorageError>>;
    /// The challenge is over.
    fn withdraw<'a>(&'a self, answer: &'a Answer) -> Later<'a, Result<(), StorageError>>;
    /// Ends when what was published can be answered by every proxy.
    fn spread(&self) -> Later<'_, ()>;
    /// Every published answer.
    fn answers(&self) -> Later<'_, Result<Vec<Answer>, StorageError>>;
    /// Ends when certificates or answers may have changed since the last call.
    fn changed(&self) -> Later<'_, ()>;
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
