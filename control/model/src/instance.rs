//! Instances, and records of them.
//!
//! An `Instance` is what was registered; a `Record` is what its node says of it now. What this module does not
//! do: order records of different nodes against each other; each instance has one owner.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::check::{Check, CheckError};
use crate::name::{InstanceId, NodeId, ServiceName};
use crate::stamp::Stamp;
use crate::state::State;

/// Labels on one instance.
pub const MAX_LABELS: usize = 64;
/// Bytes of a label's key.
pub const MAX_LABEL_KEY: usize = 256;
/// Bytes of a label's value.
pub const MAX_LABEL_VALUE: usize = 4096;
/// Bytes of an address (the longest DNS name).
pub const MAX_ADDRESS: usize = 253;
/// Largest share of one instance.
pub const MAX_WEIGHT: u32 = 1000;
/// Shortest heartbeat period.
pub const MIN_TTL: Duration = Duration::from_secs(1);
/// Longest heartbeat period.
pub const MAX_TTL: Duration = Duration::from_secs(24 * 3600);

/// What runs at the address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyMode {
    /// Routed by HTTP rules.
    #[default]
    Http,
    /// Listed; not published while the routing contract has no TCP.
    Tcp,
    /// As HTTP, marked as WebSocket.
    Ws,
}

impl ProxyMode {
    /// Whether HTTP routers can lead to it.
    pub fn is_http(self) -> bool {
        matches!(self, ProxyMode::Http | ProxyMode::Ws)
    }
}

impl fmt::Display for ProxyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ProxyMode::Http => "http",
            ProxyMode::Tcp => "tcp",
            ProxyMode::Ws => "ws",
        })
    }
}

/// Who said that it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The services file.
    File,
    /// A registration over the API.
    Api,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Origin::File => "file",
            Origin::Api => "api",
        })
    }
}

/// One running copy of a service, as registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Unique in the cluster.
    pub id: InstanceId,
    /// What it is a copy of.
    pub service: ServiceName,
    /// The node that owns its record.
    pub node: NodeId,
    /// Address literal without brackets, or host name.
    pub address: String,
    /// Never 0.
    pub port: u16,
    /// What runs there.
    pub mode: ProxyMode,
    /// Share of the requests, 1 to [`MAX_WEIGHT`].
    pub weight: u32,
    /// Free text of its owner.
    pub labels: BTreeMap<String, String>,
    /// None: alive without a check.
    pub check: Option<Check>,
    /// A heartbeat must come within each; none: no heartbeat.
    pub ttl: Option<Duration>,
    /// Who said that it exists.
    pub origin: Origin,
}

/// Why an instance cannot be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstanceError {
    /// Not an address literal nor a host name.
    #[error("address {0:?} is neither an IP address nor a host name")]
    Address(String),
    /// Port 0.
    #[error("port is 0, expected 1 to 65535")]
    Port,
    /// Weight out of range.
    #[error("weight is {0}, expected 1 to {MAX_WEIGHT}")]
    Weight(u32),
    /// Heartbeat period out of range.
    #[error("ttl is {0:?}, expected 1s to 24h")]
    Ttl(Duration),
    /// Too many or too long.
    #[error("labels: {0}")]
    Labels(String),
    /// The check is out of range.
    #[error(transparent)]
    Check(#[from] CheckError),
}

impl Instance {
    /// Whether every field is within its limits.
    pub fn validate(&self) -> Result<(), InstanceError> {
        if !is_address(&self.address) {
            return Err(InstanceError::Address(self.address.chars().take(MAX_ADDRESS).collect()));
        }
        if self.port == 0 {
            return Err(InstanceError::Port);
        }
        if !(1..=MAX_WEIGHT).contains(&self.weight) {
            return Err(InstanceError::Weight(self.weight));
        }
        if let Some(ttl) = self.ttl.filter(|ttl| !(MIN_TTL..=MAX_TTL).contains(ttl)) {
            return Err(InstanceError::Ttl(ttl));
        }
        if self.labels.len() > MAX_LABELS {
            return Err(InstanceError::Labels(format!("{} given, at most {MAX_LABELS}", self.labels.len())));
        }
        for (key, value) in &self.labels {
            if key.is_empty() || key.len() > MAX_LABEL_KEY || value.len() > MAX_LABEL_VALUE {
                let key: String = key.chars().take(40).collect();
                return Err(InstanceError::Labels(format!(
                    "{key:?} is empty or too long; keys have 1 to {MAX_LABEL_KEY} bytes, values at most {MAX_LABEL_VALUE}"
                )));
            }
        }
        if let Some(check) = &self.check {
            check.validate()?;
        }
        Ok(())
    }

    /// `host:port`, with brackets around an IPv6 literal.
    pub fn authority(&self) -> String {
        authority(&self.address, self.port)
    }

    /// Where proxies connect.
    pub fn url(&self) -> String {
        format!("http://{}", self.authority())
    }
}

/// `host:port`, with brackets around an IPv6 literal.
pub fn authority(address: &str, port: u16) -> String {
    match address.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{address}:{port}"),
    }
}

fn is_address(text: &str) -> bool {
    if text.parse::<IpAddr>().is_ok() {
        return true;
    }
    // All digits and dots that is no address (`10.0.0`, `1.2.3.999`) is a typing error, not a host name.
    let numeric = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    !numeric
        && text.len() <= MAX_ADDRESS
        && text.trim_end_matches('.').split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

/// What its node says of an instance now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// As registered.
    pub instance: Instance,
    /// What is known.
    pub state: State,
    /// Orders it against other records of the same instance.
    pub stamp: Stamp,
    /// When this life of the instance began, by its owner's order: a registration after the last one ended begins a
    /// new life, and so does the end of a drain; a drain of the life before does not reach into it.
    pub born: Stamp,
    /// Why the state is what it is, in words; may be empty.
    pub reason: String,
}

/// A control plane node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Unique in the cluster.
    pub id: NodeId,
    /// Where its control plane listens.
    pub address: String,
    /// Grows with each start.
    pub incarnation: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn instance() -> Instance {
        Instance {
            id: InstanceId::new("web-1").unwrap(),
            service: ServiceName::new("web").unwrap(),
            node: NodeId::new("n1").unwrap(),
            address: "127.0.0.1".into(),
            port: 80,
            mode: ProxyMode::Http,
            weight: 1,
            labels: BTreeMap::new(),
            check: None,
            ttl: None,
            origin: Origin::Api,
        }
    }

    #[test]
    fn refuses_addresses_that_cannot_be_connected_to() {
        for bad in ["", "10.0.0", "1.2.3.999", "a b", "http://x", "x:80", "[::1]", "-a", "a..b", "x/y", "é"]
        {
            assert!(
                Instance { address: bad.into(), ..instance() }.validate().is_err(),
                "{bad:?} was accepted"
            );
        }
        for good in ["10.0.0.5", "::1", "localhost", "web.example.com", "web_1"] {
            assert!(
                Instance { address: good.into(), ..instance() }.validate().is_ok(),
                "{good:?} was refused"
            );
        }
    }

    #[test]
    fn refuses_numbers_out_of_range() {
        let bad = [
            Instance { port: 0, ..instance() },
            Instance { weight: 0, ..instance() },
            Instance { weight: MAX_WEIGHT + 1, ..instance() },
            Instance { ttl: Some(Duration::from_millis(1)), ..instance() },
            Instance { labels: (0..65).map(|i| (i.to_string(), String::new())).collect(), ..instance() },
            Instance { labels: [(String::new(), String::new())].into(), ..instance() },
        ];
        for instance in bad {
            assert!(instance.validate().is_err(), "{instance:?} was accepted");
        }
    }

    #[test]
    fn brackets_ipv6_in_urls() {
        assert_eq!(Instance { address: "::1".into(), ..instance() }.url(), "http://[::1]:80");
        assert_eq!(Instance { address: "web.local".into(), ..instance() }.url(), "http://web.local:80");
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let instance = Instance { check: Some(Check::default()), ttl: Some(MIN_TTL), ..instance() };
        let text = serde_json::to_string(&instance).unwrap();
        assert_eq!(serde_json::from_str::<Instance>(&text).unwrap(), instance);
    }
}
