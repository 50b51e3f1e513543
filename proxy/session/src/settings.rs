//! What an entry point is told by the static configuration.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pancake_table::lookup::EntryPointId;

/// An entry point. Durations of `None` mean no limit.
#[derive(Clone, Debug)]
pub struct EntryPoint {
    /// Its number in the table.
    pub id: EntryPointId,
    /// Its name in the static configuration.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// `respondingTimeouts.readTimeout`: a whole request, body included (default 60 s).
    pub read_timeout: Option<Duration>,
    /// `respondingTimeouts.writeTimeout`: from the request head to the end of the answer (default none).
    pub write_timeout: Option<Duration>,
    /// `respondingTimeouts.idleTimeout`: between requests (default 180 s).
    pub idle_timeout: Option<Duration>,
    /// `http.maxHeaderBytes` (default 1 MiB).
    pub max_head_bytes: usize,
    /// `http.sanitizePath` (default true).
    pub sanitize_path: bool,
    /// `transport.keepAliveMaxRequests`; 0 means no limit.
    pub keep_alive_max_requests: u64,
    /// `transport.keepAliveMaxTime`.
    pub keep_alive_max_time: Option<Duration>,
    /// Whose `X-Forwarded-*` headers are believed.
    pub forwarded: Forwarded,
    /// `http.encodedCharacters`: what a path may have percent-encoded.
    pub encoded: Encoded,
    /// `http.underscoreHeadersStrategy`.
    pub underscores: Underscores,
    /// `proxyProtocol`: whose PROXY headers are believed; none: no header is looked for.
    pub proxy_protocol: Option<Forwarded>,
    /// `pancake.limits.tlsHandshakeTimeout` (default 10 s, as Go's transport).
    pub tls_handshake_timeout: Option<Duration>,
    /// `pancake.limits.writeStallTimeout`: how long a client may take for what is sent to it at a time, 64 KiB or so
    /// (default 60 s, nginx's `send_timeout`). Of answers; tunnels and TCP flows may stand still.
    pub write_stall_timeout: Option<Duration>,
    /// `allowACMEByPass`: routers go before the answers to http-01 challenges.
    pub acme_bypass: bool,
    /// `http2.maxConcurrentStreams` (default 250).
    pub h2_max_streams: u32,
    /// It is for UDP, and a session that is silent for this long is over (`udp.timeout`, default 3 s).
    pub udp: Option<Duration>,
    /// `http3`; none: off.
    pub http3: Option<Http3>,
    /// What answers over TLS say of HTTP/3: a whole line, `Alt-Svc: ...`, with its end.
    pub alt_svc: Option<Arc<str>>,
}

/// `http3` of an entry point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Http3 {
    /// `advertisedPort`: what `Alt-Svc` says; none: the port of the entry point.
    pub advertised_port: Option<u16>,
    /// `pancake.zeroRtt`: whether clients may send requests before the handshake is over (RFC 8470).
    pub zero_rtt: bool,
}

/// `encodedCharacters`: which characters may stand percent-encoded in a path; a request with another one is answered
/// 400. `%00` is refused whatever the configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// `%2F`
    pub slash: bool,
    /// `%5C`
    pub back_slash: bool,
    /// `%3B`
    pub semicolon: bool,
    /// `%25`
    pub percent: bool,
    /// `%3F`
    pub question_mark: bool,
    /// `%23`
    pub hash: bool,
}

impl Default for Encoded {
    fn default() -> Encoded {
        Encoded {
            slash: true,
            back_slash: true,
            semicolon: true,
            percent: true,
            question_mark: true,
            hash: true,
        }
    }
}

impl Encoded {
    /// Whether this path has none but the allowed ones.
    pub fn allows(&self, path: &[u8]) -> bool {
        *self == Encoded::default() || path.windows(3).filter(|w| w[0] == b'%').all(|w| self.allows_one(w))
    }

    fn allows_one(&self, triple: &[u8]) -> bool {
        match [triple[1], triple[2].to_ascii_uppercase()] {
            [b'2', b'F'] => self.slash,
            [b'5', b'C'] => self.back_slash,
            [b'3', b'B'] => self.semicolon,
            [b'2', b'5'] => self.percent,
            [b'3', b'F'] => self.question_mark,
            [b'2', b'3'] => self.hash,
            _ => true,
        }
    }
}

/// What happens to request fields with `_` in their names. A twin of a forwarding or hop-by-hop field
/// (`X_Forwarded_For`) is always taken out: many servers read both as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Underscores {
    /// They are sent on.
    #[default]
    Keep,
    /// They are taken out.
    Delete,
    /// The request is answered 400.
    Reject,
}

impl EntryPoint {
    /// An entry point with Traefik's defaults.
    pub fn new(id: EntryPointId, name: &str, address: SocketAddr) -> EntryPoint {
        EntryPoint {
            id,
            name: name.into(),
            address,
            read_timeout: Some(Duration::from_secs(60)),
            write_timeout: None,
            idle_timeout: Some(Duration::from_secs(180)),
            max_head_bytes: 1024 * 1024,
            sanitize_path: true,
            keep_alive_max_requests: 0,
            keep_alive_max_time: None,
            forwarded: Forwarded::default(),
            encoded: Encoded::default(),
            underscores: Underscores::default(),
            proxy_protocol: None,
            tls_handshake_timeout: Some(Duration::from_secs(10)),
            write_stall_timeout: Some(Duration::from_secs(60)),
            acme_bypass: false,
            h2_max_streams: 250,
            udp: None,
            http3: None,
            alt_svc: None,
        }
    }

    /// Says where HTTP/3 is (RFC 7838), in the words of quic-go and so of Traefik; to be called once the port is known.
    pub fn advertise(&mut self) {
        self.alt_svc = self.http3.map(|http3| {
            let port = http3.advertised_port.unwrap_or(self.address.port());
            format!("Alt-Svc: h3=\":{port}\"; ma=2592000\r\n").into()
        });
    }
}

/// `forwardedHeaders`: whose `X-Forwarded-*` headers are believed; or `proxyProtocol`: whose PROXY headers.
#[derive(Clone, Debug, Default)]
pub struct Forwarded {
    /// Everybody's.
    pub insecure: bool,
    /// Those of these networks (address, prefix length).
    pub trusted: Vec<(IpAddr, u8)>,
    /// `notAppendXForwardedFor`: leave `X-Forwarded-For` as it came.
    pub not_append_for: bool,
}

impl Forwarded {
    /// Whether the headers of this peer are believed.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.insecure || self.trusted.iter().any(|&(network, bits)| contains(network, bits, peer))
    }
}

/// Whether `network/bits` contains `address`; an IPv4-mapped IPv6 address counts as its IPv4 address.
fn contains(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    match (network.to_canonical(), address.to_canonical()) {
        (IpAddr::V4(n), IpAddr::V4(a)) => {
            let shift = 32 - u32::from(bits.min(32));
            u32::from(n).checked_shr(shift) == u32::from(a).checked_shr(shift)
        }
        (IpAddr::V6(n), IpAddr::V6(a)) => {
            let shift = 128 - u32::from(bits.min(128));
            u128::from(n).checked_shr(shift) == u128::from(a).checked_shr(shift)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusts_networks_by_prefix_and_mapped_addresses() {
        let forwarded = Forwarded { trusted: vec![("10.0.0.0".parse().unwrap(), 8)], ..Forwarded::default() };
        assert!(forwarded.trusts("10.9.8.7".parse().unwrap()));
        assert!(forwarded.trusts("::ffff:10.9.8.7".parse().unwrap()));
        assert!(!forwarded.trusts("11.0.0.1".parse().unwrap()));
        assert!(!forwarded.trusts("::1".parse().unwrap()));
        assert!(!Forwarded::default().trusts("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn refuses_encoded_characters_that_are_switched_off() {
        let strict = Encoded { slash: false, ..Encoded::default() };
        assert!(strict.allows(b"/a%20b%3b"));
        assert!(!strict.allows(b"/a%2fb"));
        assert!(Encoded::default().allows(b"/a%2fb"));
    }

    #[test]
    fn a_prefix_of_zero_bits_contains_every_address_of_its_family() {
        assert!(contains("0.0.0.0".parse().unwrap(), 0, "9.9.9.9".parse().unwrap()));
        assert!(!contains("0.0.0.0".parse().unwrap(), 0, "::1".parse().unwrap()));
    }
}
