//! Certificates that answer ACME's tls-alpn-01 (RFC 8737). Who orders puts them in; workers read them without a lock.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use rustls::sign::CertifiedKey;

use crate::limits::MAX_CHALLENGES;

/// The protocol name of the challenge (RFC 8737 section 6.2).
pub const ACME_ALPN: &[u8] = b"acme-tls/1";

type ByHost = HashMap<String, Arc<CertifiedKey>, RandomState>;

/// There are already [`MAX_CHALLENGES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_CHALLENGES} challenges are already waiting")]
pub struct TooManyChallenges;

/// Challenge certificates by host, shared by all tables of a process.
#[derive(Debug, Default)]
pub struct Challenges {
    by_host: ArcSwap<ByHost>,
}

impl Challenges {
    /// Answers for `host` from now on, instead of what was there before.
    pub fn insert(&self, host: &str, key: &Arc<CertifiedKey>) -> Result<(), TooManyChallenges> {
        let host = host.to_ascii_lowercase();
        let mut fits = true;
        self.by_host.rcu(|old| {
            fits = old.len() < MAX_CHALLENGES || old.contains_key(&host);
            let mut new = ByHost::clone(old);
            if fits {
                new.insert(host.clone(), Arc::clone(key));
            }
            new
        });
        if fits { Ok(()) } else { Err(TooManyChallenges) }
    }

    /// Answers no more for `host`.
    pub fn remove(&self, host: &str) {
        let host = host.to_ascii_lowercase();
        self.by_host.rcu(|old| {
            let mut new = ByHost::clone(old);
            new.remove(&host);
            new
        });
    }

    /// The certificate for `host`, in lower case.
    pub fn get(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        self.by_host.load().get(host).cloned()
    }
}

/// Whether a client wants to see a challenge: it offers that protocol and no other (RFC 8737 section 3).
pub(crate) fn is_challenge<'a>(mut alpn: impl Iterator<Item = &'a [u8]>) -> bool {
    alpn.next() == Some(ACME_ALPN) && alpn.next().is_none()
}
