//! Whether a request matches. Allocates nothing, except for `QueryRegexp` over a value with escapes.

use super::Rule;
use super::matcher::{Matcher, behind_label};
use super::syntax::{Expr, Node};
use crate::lookup::Request;

impl Rule {
    /// Whether `request` matches.
    pub fn matches(&self, request: &(impl Request + ?Sized)) -> bool {
        self.root.matches(request)
    }
}

impl Node {
    /// Whether `request` matches this part. Depth is bounded by [`crate::limits::MAX_RULE_DEPTH`].
    pub(crate) fn matches(&self, request: &(impl Request + ?Sized)) -> bool {
        match &self.expr {
            Expr::All(parts) => parts.iter().all(|part| part.matches(request)),
            Expr::Any(parts) => parts.iter().any(|part| part.matches(request)),
            Expr::Not(part) => !part.matches(request),
            Expr::Matcher(matcher) => matcher.matches(request),
        }
    }
}

impl Node {
    pub(super) fn any_matcher(&self, found: &impl Fn(&Matcher) -> bool) -> bool {
        match &self.expr {
            Expr::All(parts) | Expr::Any(parts) => parts.iter().any(|part| part.any_matcher(found)),
            Expr::Not(part) => part.any_matcher(found),
            Expr::Matcher(matcher) => found(matcher),
        }
    }
}

impl Matcher {
    /// Whether `request` matches.
    pub(crate) fn matches(&self, request: &(impl Request + ?Sized)) -> bool {
        match self {
            Matcher::AnyHost => true,
            Matcher::Host(host) => request.host() == &**host,
            Matcher::HostWildcard(wildcard) => {
                request.host().split_once('.').is_some_and(|(_, behind)| behind == behind_label(wildcard))
            }
            Matcher::HostRegexp(pattern) => pattern.is_match(request.host().as_bytes()),
            Matcher::Path(path) => request.path() == &**path,
            Matcher::PathPrefix(prefix) => request.path().starts_with(&**prefix),
            Matcher::PathRegexp(pattern) => pattern.is_match(request.path().as_bytes()),
            Matcher::Header { name, value } => {
                request.any_header(name, &mut |found| found == value.as_bytes())
            }
            Matcher::HeaderRegexp { name, pattern } => {
                request.any_header(name, &mut |found| pattern.is_match(found))
            }
            Matcher::Query { key, value } => {
                parameters(request.query(), key).any(|found| decoded(found).eq(value.bytes().map(Some)))
            }
            Matcher::QueryRegexp { key, pattern } => parameters(request.query(), key).any(|found| {
                if found.bytes().any(|b| b == b'%' || b == b'+') {
                    let value: Vec<u8> = decoded(found).map_while(|b| b).collect();
                    pattern.is_match(&value)
                } else {
                    pattern.is_match(found.as_bytes())
                }
            }),
            Matcher::Method(method) => request.method() == &**method,
            Matcher::ClientIp(range) => range.contains(request.client_ip()),
            Matcher::Alpn(protocol) => request.offers(protocol.as_bytes()),
            Matcher::Never(_) => false,
        }
    }
}

/// Undecoded values of the parameter `key`. As in Traefik's default setting `;` separates like `&`, and a pair
/// with a broken escape does not count.
fn parameters<'q>(query: &'q str, key: &str) -> impl Iterator<Item = &'q str> {
    query
        .split(['&', ';'])
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(move |(name, _)| decoded(name).eq(key.bytes().map(Some)))
        .filter(|(_, value)| decoded(value).all(|b| b.is_some()))
        .map(|(_, value)| value)
}

/// Bytes with `%41` and `+` decoded; none for a broken escape.
fn decoded(text: &str) -> impl Iterator<Item = Option<u8>> {
    let mut bytes = text.bytes();
    std::iter::from_fn(move || {
        let byte = bytes.next()?;
        let mut digit =
            || bytes.next().and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        Some(match byte {
            b'+' => Some(b' '),
            b'%' => match (digit(), digit()) {
                (Some(high), Some(low)) => Some(high << 4 | low),
                _ => None,
            },
            other => Some(other),
        })
    })
}
