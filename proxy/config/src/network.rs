//! IP networks in CIDR notation.
//!
//! A single address is a network of one. An IPv4-mapped IPv6 address counts as the IPv4 address that it carries.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// `10.0.0.0/8`, `::1`, ….
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpNetwork {
    base: IpAddr,
    prefix_len: u8,
}

/// Not an IP address or a network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an IP address or a network in CIDR notation")]
pub struct NotANetwork;

impl IpNetwork {
    /// Its first address.
    pub fn address(&self) -> IpAddr {
        self.base
    }

    /// Bits that its addresses have in common.
    pub fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// Whether `address` is in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let differing = u32::from(base) ^ u32::from(address);
                differing.leading_zeros() >= u32::from(self.prefix_len)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let differing = u128::from(base) ^ u128::from(address);
                differing.leading_zeros() >= u32::from(self.prefix_len)
            }
            _ => false,
        }
    }
}

impl FromStr for IpNetwork {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<IpNetwork, NotANetwork> {
        let (address, prefix_len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len.parse::<u8>().map_err(|_| NotANetwork)?)),
            None => (text, None),
        };
        let written: IpAddr = address.trim().parse().map_err(|_| NotANetwork)?;
        let width = if written.is_ipv4() { 32 } else { 128 };
        let mut prefix_len = prefix_len.unwrap_or(width);
        if prefix_len > width {
            return Err(NotANetwork);
        }
        let base = written.to_canonical();
        if base.is_ipv4() && written.is_ipv6() {
            prefix_len = prefix_len.checked_sub(96).ok_or(NotANetwork)?;
        }
        Ok(IpNetwork { base, prefix_len })
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        network.parse::<IpNetwork>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn knows_what_is_inside() {
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("0.0.0.0/0", "1.2.3.4"));
        assert!(contains("127.0.0.1", "127.0.0.1"));
        assert!(contains("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(contains("2001:db8::/32", "2001:db8:1::1"));
        assert!(!contains("2001:db8::/32", "127.0.0.1"));
        assert!(contains("::ffff:10.0.0.0/104", "10.1.1.1"));
    }

    #[test]
    fn refuses_what_is_no_network() {
        for text in ["", "10.0.0.0/33", "::/129", "localhost", "10.0.0/8", "10.0.0.0/", "::ffff:1.2.3.4/8"] {
            assert_eq!(text.parse::<IpNetwork>(), Err(NotANetwork), "{text}");
        }
    }
}
