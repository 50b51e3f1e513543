//! Which certificate serves which name (RFC 6125 section 6.4), several per name by what the client can verify.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::certificate::Loaded;
use crate::challenges::{Challenges, is_challenge};

/// Best first.
type Candidates = Vec<Arc<Loaded>>;

/// Certificates by name. Immutable.
#[derive(Debug, Default)]
pub(crate) struct CertMap {
    exact: HashMap<String, Candidates, RandomState>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Candidates, RandomState>,
    /// For names that no certificate has.
    default: Option<Arc<Loaded>>,
}

impl CertMap {
    /// Puts `certificates` by their names, those that are valid `now` (seconds since 1970) first, then elliptic ones
    /// before RSA, then what is valid longest.
    pub(crate) fn new(certificates: &[Arc<Loaded>], now: i64) -> CertMap {
        let mut map = CertMap::default();
        for loaded in certificates {
            for name in &loaded.facts.names {
                let candidates = match name.strip_prefix("*.") {
                    Some(suffix) => map.wildcard.entry(suffix.to_owned()).or_default(),
                    None => map.exact.entry(name.clone()).or_default(),
                };
                if !candidates.iter().any(|other| Arc::ptr_eq(other, loaded)) {
                    candidates.push(Arc::clone(loaded));
                }
            }
        }
        let rank = |loaded: &Arc<Loaded>| {
            let facts = &loaded.facts;
            (!facts.is_valid_at(now), !loaded.is_elliptic(), std::cmp::Reverse(facts.not_after))
        };
        map.exact.values_mut().chain(map.wildcard.values_mut()).for_each(|all| all.sort_by_key(rank));
        map
    }

    pub(crate) fn set_default(&mut self, default: Arc<Loaded>) {
        self.default = Some(default);
    }

    /// The certificates for `host` (lower case), best first; the exact name goes before the wildcard.
    pub(crate) fn candidates(&self, host: &str) -> impl Iterator<Item = &Arc<Loaded>> {
        let exact = self.exact.get(host);
        let suffix = host.split_once('.').map(|(_, suffix)| suffix);
        let wildcard = suffix.and_then(|suffix| self.wildcard.get(suffix));
        exact.into_iter().chain(wildcard).flatten()
    }

    /// The best certificate for a name as certificates hold it, wildcard or not.
    pub(crate) fn first(&self, name: &str) -> Option<&Arc<Loaded>> {
        match name.strip_prefix("*.") {
            Some(suffix) => self.wildcard.get(suffix)?.first(),
            None => self.exact.get(name)?.first(),
        }
    }

    /// Whether some certificate has the name.
    pub(crate) fn has(&self, host: &str) -> bool {
        self.candidates(host).next().is_some()
    }

    /// The best certificate of `host` that a client with `schemes` can verify; if it can verify none, the best, so that the
    /// handshake fails with the alert that says so.
    fn choose(&self, host: &str, schemes: &[SignatureScheme]) -> Option<&Arc<Loaded>> {
        let usable = |loaded: &&Arc<Loaded>| loaded.key.key.choose_scheme(schemes).is_some();
        self.candidates(host).find(usable).or_else(|| self.candidates(host).next())
    }

    /// Whether the same certificates serve the same names in the same order.
    pub(crate) fn serves_as(&self, other: &CertMap) -> bool {
        type ByName = HashMap<String, Candidates, RandomState>;
        let same = |a: &[Arc<Loaded>], b: &[Arc<Loaded>]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        let all_same = |a: &ByName, b: &ByName| {
            a.len() == b.len()
                && a.iter().all(|(name, all)| b.get(name).is_some_and(|other| same(all, other)))
        };
        let default = match (&self.default, &other.default) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        default && all_same(&self.exact, &other.exact) && all_same(&self.wildcard, &other.wildcard)
    }
}

/// Lower case and without the final dot; most names are that already.
pub(crate) fn normal(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    }
}

/// What rustls asks for the certificate.
#[derive(Debug)]
pub(crate) struct Resolver {
    pub(crate) map: Arc<CertMap>,
    pub(crate) challenges: Arc<Challenges>,
    /// No default certificate.
    pub(crate) strict: bool,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name().map(normal);
        if hello.alpn().is_some_and(is_challenge) {
            return host.and_then(|host| self.challenges.get(&host));
        }
        let named = host.and_then(|host| self.map.choose(&host, hello.signature_schemes()));
        let default = self.map.default.as_ref().filter(|_| !self.strict);
        named.or(default).map(|loaded| Arc::clone(&loaded.key))
    }
}
