//! What an entry point is told by the static configuration.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pancake_table::lookup::EntryPointId;

/// An entry point for HTTP. Durations of `None` mean no limit.
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
        }
    }
}

/// `forwardedHeaders`: whose `X-Forwarded-*` headers are believed.
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
    fn a_prefix_of_zero_bits_contains_every_address_of_its_family() {
        assert!(contains("0.0.0.0".parse().unwrap(), 0, "9.9.9.9".parse().unwrap()));
        assert!(!contains("0.0.0.0".parse().unwrap(), 0, "::1".parse().unwrap()));
    }
}
