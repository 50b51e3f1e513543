//! What workers answer at `/.well-known/acme-challenge/TOKEN` (RFC 8555 section 8.3).
//!
//! In: tokens and their key authorizations, written by the service thread. Out: an allocation-free look-up for workers.
//! It does not parse requests: a session strips [`PATH_PREFIX`] and asks for the rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// What stands before the token in the path of a challenge request.
pub const PATH_PREFIX: &str = "/.well-known/acme-challenge/";

/// Tokens of the http-01 challenges under way. Cheap to read from every worker; written seldom.
///
/// A tree, not a hash map: there are a handful of tokens, and what strangers ask for needs no hash that resists them.
#[derive(Debug, Default)]
pub struct AcmeTokens(ArcSwap<BTreeMap<Box<str>, Arc<str>>>);

impl AcmeTokens {
    /// The key authorization to answer with, as `text/plain` or `application/octet-stream`; none: not ours, route the
    /// request as any other. Takes no lock and allocates nothing.
    pub fn get(&self, token: &str) -> Option<Arc<str>> {
        self.0.load().get(token).cloned()
    }

    /// The key authorization for a request's path, if it is one of a challenge.
    pub fn for_path(&self, path: &str) -> Option<Arc<str>> {
        self.get(path.strip_prefix(PATH_PREFIX)?)
    }

    /// Whether no challenge is under way.
    pub fn is_empty(&self) -> bool {
        self.0.load().is_empty()
    }

    /// These tokens and no others, as `(token, key authorization)`. For the one writer.
    pub fn replace<'a>(&self, tokens: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.0.store(Arc::new(
            tokens.into_iter().map(|(token, answer)| (token.into(), answer.into())).collect(),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_tokens_of_the_last_replace_only() {
        let tokens = AcmeTokens::default();
        assert!(tokens.is_empty());
        tokens.replace([("a", "a.thumb"), ("b", "b.thumb")]);
        assert_eq!(tokens.get("b").as_deref(), Some("b.thumb"));
        tokens.replace([("c", "c.thumb")]);
        assert_eq!(tokens.get("a"), None);
        assert_eq!(tokens.for_path("/.well-known/acme-challenge/c").as_deref(), Some("c.thumb"));
        assert_eq!(tokens.for_path("/.well-known/acme-challenge/c/"), None);
        assert_eq!(tokens.for_path("/c"), None);
    }
}
