//! Name and values to matcher.

use std::net::IpAddr;

use super::RuleError;
use super::pattern::Pattern;
use crate::server_url::is_host_name;

/// One question to a request.
#[derive(Debug)]
pub(crate) enum Matcher {
    /// ``Host(`*`)``.
    AnyHost,
    /// ``Host(`a.example`)``: lower case, no trailing dot.
    Host(Box<str>),
    /// ``Host(`*.example`)``: lower case, no trailing dot. See [`behind_label`].
    HostWildcard(Box<str>),
    HostRegexp(Pattern),
    Path(Box<str>),
    PathPrefix(Box<str>),
    PathRegexp(Pattern),
    Header {
        name: Box<str>,
        value: Box<str>,
    },
    HeaderRegexp {
        name: Box<str>,
        pattern: Pattern,
    },
    Query {
        key: Box<str>,
        value: Box<str>,
    },
    QueryRegexp {
        key: Box<str>,
        pattern: Pattern,
    },
    /// In capitals.
    Method(Box<str>),
    ClientIp(IpRange),
    /// A protocol that the client offers (RFC 7301).
    Alpn(Box<str>),
    /// Allowed, but no request matches it; why.
    Never(&'static str),
}

impl Matcher {
    /// Bytes that its regular expression takes.
    pub(super) fn regex_bytes(&self) -> usize {
        match self {
            Matcher::HostRegexp(p) | Matcher::PathRegexp(p) => p.bytes(),
            Matcher::HeaderRegexp { pattern, .. } | Matcher::QueryRegexp { pattern, .. } => pattern.bytes(),
            _ => 0,
        }
    }
}

/// What stands behind `*.` of a wildcard.
pub(crate) fn behind_label(wildcard: &str) -> &str {
    wildcard.strip_prefix("*.").unwrap_or(wildcard)
}

/// An address or a CIDR block; IPv4 addresses in IPv6 form count as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IpRange {
    first: IpAddr,
    prefix: u32,
}

impl IpRange {
    fn parse(text: &str) -> Option<IpRange> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().ok()?;
        let width = if written.is_ipv4() { 32 } else { 128 };
        let mut prefix: u32 = match prefix {
            None => width,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
        };
        if prefix > width {
            return None;
        }
        let first = written.to_canonical();
        if first.is_ipv4() && written.is_ipv6() {
            prefix = prefix.saturating_sub(96);
        }
        Some(IpRange { first, prefix })
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                (first.to_bits() ^ address.to_bits()).checked_shr(32 - self.prefix).unwrap_or(0) == 0
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                (first.to_bits() ^ address.to_bits()).checked_shr(128 - self.prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// The matchers that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Host,
    HostRegexp,
    Path,
    PathPrefix,
    PathRegexp,
    Header,
    HeaderRegexp,
    Query,
    QueryRegexp,
    Method,
    ClientIp,
    HostSni,
    HostSniRegexp,
    Alpn,
}

/// Whom a rule is for: each has matchers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Http,
    Tcp,
}

impl Language {
    fn kinds(self) -> &'static [(&'static str, Kind)] {
        match self {
            Language::Http => &HTTP_KINDS,
            Language::Tcp => &TCP_KINDS,
        }
    }

    /// Names that are known elsewhere, and what to write instead.
    fn foreign(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Language::Http => &NOT_HTTP,
            Language::Tcp => &NOT_TCP,
        }
    }
}

const TCP_KINDS: [(&str, Kind); 4] = [
    ("HostSNI", Kind::HostSni),
    ("HostSNIRegexp", Kind::HostSniRegexp),
    ("ClientIP", Kind::ClientIp),
    ("ALPN", Kind::Alpn),
];

const HTTP_KINDS: [(&str, Kind); 11] = [
    ("Host", Kind::Host),
    ("HostRegexp", Kind::HostRegexp),
    ("Path", Kind::Path),
    ("PathPrefix", Kind::PathPrefix),
    ("PathRegexp", Kind::PathRegexp),
    ("Header", Kind::Header),
    ("HeaderRegexp", Kind::HeaderRegexp),
    ("Query", Kind::Query),
    ("QueryRegexp", Kind::QueryRegexp),
    ("Method", Kind::Method),
    ("ClientIP", Kind::ClientIp),
];

/// Names of HTTP rules.
const NOT_TCP: [(&str, &str); 10] = [
    ("Host", "it is for HTTP routers, here it is `HostSNI`"),
    ("HostRegexp", "it is for HTTP routers, here it is `HostSNIRegexp`"),
    ("Path", "it is for HTTP routers"),
    ("PathPrefix", "it is for HTTP routers"),
    ("PathRegexp", "it is for HTTP routers"),
    ("Header", "it is for HTTP routers"),
    ("HeaderRegexp", "it is for HTTP routers"),
    ("Query", "it is for HTTP routers"),
    ("QueryRegexp", "it is for HTTP routers"),
    ("Method", "it is for HTTP routers"),
];

/// Names of version 2 and of TCP rules.
const NOT_HTTP: [(&str, &str); 6] = [
    ("HostHeader", "it is `Host` in version 3 syntax"),
    ("Headers", "it is `Header` in version 3 syntax"),
    ("HeadersRegexp", "it is `HeaderRegexp` in version 3 syntax"),
    ("HostSNI", "it is for TCP routers, here it is `Host`"),
    ("HostSNIRegexp", "it is for TCP routers, here it is `HostRegexp`"),
    ("ALPN", "it is for TCP routers"),
];

/// A name differs by at most this many letters from the one that is suggested for it.
const MAX_SUGGESTED_DISTANCE: usize = 3;

pub(super) fn kind(language: Language, name: &str) -> Option<Kind> {
    language.kinds().iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind)
}

/// What to say about a name that is no matcher.
pub(super) fn unknown(language: Language, name: &str) -> String {
    let kinds = language.kinds();
    let mut foreign = language.foreign().iter();
    if let Some((_, why)) = foreign.find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return format!("there is no matcher `{name}`: {why}");
    }
    let lower = name.to_ascii_lowercase();
    let nearest = kinds.iter().map(|(known, _)| (distance(&lower, &known.to_ascii_lowercase()), known)).min();
    match nearest {
        Some((far, known)) if far <= MAX_SUGGESTED_DISTANCE && far * 2 <= known.len() => {
            format!("there is no matcher `{name}`, did you mean `{known}`?")
        }
        _ => {
            let names: Vec<&str> = kinds.iter().map(|(known, _)| *known).collect();
            format!("there is no matcher `{:.64}`; there are {}", name, names.join(", "))
        }
    }
}

/// Letters to add, drop or replace. Names longer than any matcher by far are not compared.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 32 {
        return usize::MAX;
    }
    let b: Vec<u8> = b.bytes().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// A matcher and what is odd about it.
pub(super) struct Built {
    pub(super) matcher: Matcher,
    pub(super) warning: Option<RuleError>,
}

/// Makes a matcher of `values`, each with its place; the matcher itself stands at `at`.
pub(super) fn build(kind: Kind, at: usize, values: &[(usize, String)]) -> Result<Built, RuleError> {
    let name = HTTP_KINDS.iter().chain(&TCP_KINDS).find(|(_, k)| *k == kind).map_or("", |(name, _)| *name);
    check_count(kind, name, at, values)?;
    if let Some((at, _)) = values.iter().find(|(_, value)| value.is_empty()) {
        return Err(RuleError::new(*at, format!("{name} with an empty value")));
    }
    let (first_at, first) = (values[0].0, values[0].1.as_str());
    let second = values.get(1).map(|(at, value)| (*at, value.as_str()));
    let boxed = |text: &str| -> Box<str> { text.into() };
    let matcher = match (kind, second) {
        (Kind::Host, _) => host(name, first_at, first)?,
        (Kind::HostSni, _) => server_name(name, first_at, first)?,
        (Kind::HostRegexp | Kind::HostSniRegexp, _) if !first.is_ascii() => {
            return Err(not_ascii(name, first_at));
        }
        (Kind::HostRegexp | Kind::HostSniRegexp, _) => Matcher::HostRegexp(Pattern::new(first, first_at)?),
        (Kind::Alpn, _) if first == "acme-tls/1" => {
            let message = "acme-tls/1 is answered by the proxy itself and cannot be routed";
            return Err(RuleError::new(first_at, message));
        }
        (Kind::Alpn, _) => Matcher::Alpn(boxed(first)),
        (Kind::Path | Kind::PathPrefix, _) if !first.starts_with('/') => {
            return Err(RuleError::new(first_at, format!("the value of {name} must start with `/`")));
        }
        (Kind::Path, _) => Matcher::Path(boxed(first)),
        (Kind::PathPrefix, _) => Matcher::PathPrefix(boxed(first)),
        (Kind::PathRegexp, _) => Matcher::PathRegexp(Pattern::new(first, first_at)?),
        (Kind::Header | Kind::HeaderRegexp, _) if first.eq_ignore_ascii_case("host") => {
            Matcher::Never("the Host header is not among the headers that rules see; use Host or HostRegexp")
        }
        (Kind::Header, Some((_, value))) => Matcher::Header { name: boxed(first), value: boxed(value) },
        (Kind::HeaderRegexp, Some((at, value))) => {
            Matcher::HeaderRegexp { name: boxed(first), pattern: Pattern::new(value, at)? }
        }
        (Kind::Query, Some((_, value))) => Matcher::Query { key: boxed(first), value: boxed(value) },
        (Kind::QueryRegexp, Some((at, value))) => {
            Matcher::QueryRegexp { key: boxed(first), pattern: Pattern::new(value, at)? }
        }
        (Kind::Query | Kind::QueryRegexp, None) => Matcher::Query { key: boxed(first), value: boxed("") },
        (Kind::Header | Kind::HeaderRegexp, None) => return Err(RuleError::new(at, "a value is missing")),
        (Kind::Method, _) => Matcher::Method(first.to_uppercase().into()),
        (Kind::ClientIp, _) => match IpRange::parse(first) {
            Some(range) => Matcher::ClientIp(range),
            None => {
                let message =
                    format!("{first:?} is neither an IP address nor a CIDR block such as 10.0.0.0/8");
                return Err(RuleError::new(first_at, message));
            }
        },
    };
    let warning = odd(&matcher).map(|why| RuleError::new(first_at, why));
    Ok(Built { matcher, warning })
}

fn check_count(kind: Kind, name: &str, at: usize, values: &[(usize, String)]) -> Result<(), RuleError> {
    let (allowed, expected) = match kind {
        Kind::Header | Kind::HeaderRegexp => (2..=2, "a name and a value"),
        Kind::Query | Kind::QueryRegexp => (1..=2, "a name and perhaps a value"),
        _ => (1..=1, "one value"),
    };
    if allowed.contains(&values.len()) {
        return Ok(());
    }
    let hint = match values {
        [(_, a), (_, b), ..] if *allowed.end() == 1 => {
            format!("; for alternatives write {name}(`{a}`) || {name}(`{b}`)")
        }
        _ => String::new(),
    };
    Err(RuleError::new(at, format!("{name} takes {expected}, found {}{hint}", values.len())))
}

fn not_ascii(name: &str, at: usize) -> RuleError {
    RuleError::new(
        at,
        format!("the value of {name} has a non-ASCII character; write the name in punycode (xn--…)"),
    )
}

/// As a host, but what no client can ask for is an error.
fn server_name(name: &str, at: usize, value: &str) -> Result<Matcher, RuleError> {
    let matcher = host(name, at, value)?;
    let sound = match &matcher {
        Matcher::Host(host) => is_host_name(host),
        Matcher::HostWildcard(wildcard) => is_host_name(behind_label(wildcard)),
        Matcher::AnyHost => true,
        _ => false,
    };
    if sound {
        return Ok(matcher);
    }
    Err(RuleError::new(at, format!("{value:?} is no host name; expected one such as example.com, or `*`")))
}

fn host(name: &str, at: usize, value: &str) -> Result<Matcher, RuleError> {
    if value == "*" {
        return Ok(Matcher::AnyHost);
    }
    if !value.is_ascii() {
        return Err(not_ascii(name, at));
    }
    let value = value.to_ascii_lowercase();
    let value = value.strip_suffix('.').unwrap_or(&value);
    if value.starts_with("*.") {
        return Ok(Matcher::HostWildcard(value.into()));
    }
    if value.starts_with('*') {
        return Ok(Matcher::Never(
            "a `*` in Host stands alone or for the whole first label, as in *.example.com",
        ));
    }
    if value.contains(':') && value.parse::<std::net::Ipv6Addr>().is_err() {
        return Ok(Matcher::Never("Host is compared without port: leave the port out"));
    }
    Ok(Matcher::Host(value.into()))
}

/// What is hardly meant.
fn odd(matcher: &Matcher) -> Option<String> {
    match matcher {
        Matcher::Never(why) => Some(format!("no request can match this: {why}")),
        Matcher::Host(host) if host.contains(['/', '*', '{', ' ']) => {
            Some("no request can match this: it is no host name; for patterns there is HostRegexp".into())
        }
        Matcher::Path(path) | Matcher::PathPrefix(path) if path.contains('{') => {
            Some("`{` is an ordinary character in version 3 syntax; for patterns there is PathRegexp".into())
        }
        Matcher::Path(path) | Matcher::PathPrefix(path) if path.contains(['?', '#']) => {
            Some("a path has no query; for parameters there is Query".into())
        }
        _ => None,
    }
}
