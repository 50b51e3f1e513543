//! Limits of an edge, which Traefik has not: `pancake.limits` and `entryPoints.NAME.pancake`.

use std::time::Duration;

use super::limit;
use crate::decode::Fields;

/// Smallest budget that can be asked for, in bytes: a worker needs some to answer at all.
const MIN_MEMORY_BUDGET: u64 = 16 * 1024 * 1024;

/// `pancake.limits`: of the whole process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many connections of clients.
    pub connections: ConnectionLimits,
    /// `memoryBudget`: bytes of the heap of the process; near it load is shed. None means no limit.
    pub memory_budget: Option<u64>,
    /// `tlsHandshakeTimeout`: from the accepted connection to the end of the handshake. Default 10 s, none means no
    /// limit.
    pub tls_handshake_timeout: Option<Duration>,
    /// `writeStallTimeout`: how long a client may take for what is sent to it at a time. Default 60 s, none means no limit.
    pub write_stall_timeout: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: ConnectionLimits::default(),
            memory_budget: None,
            tls_handshake_timeout: Some(Duration::from_secs(10)),
            write_stall_timeout: Some(Duration::from_secs(60)),
        }
    }
}

/// How many connections of clients there may be at a time. None means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ConnectionLimits {
    /// `maxConnections`.
    pub max: Option<u64>,
    /// `maxConnectionsPerAddress`: of one client address.
    pub max_per_address: Option<u64>,
}

pub(super) fn limits(section: &Fields<'_, '_>) -> Limits {
    let expected = "a number of bytes from 16MiB, such as 512MiB or 2GiB; 0 means no limit";
    let budget = section.parsed("memoryBudget", expected, |text| {
        bytes(text).filter(|bytes| *bytes == 0 || *bytes >= MIN_MEMORY_BUDGET)
    });
    let default = Limits::default();
    Limits {
        connections: connections(section),
        memory_budget: budget.filter(|bytes| *bytes > 0),
        tls_handshake_timeout: section
            .duration("tlsHandshakeTimeout")
            .map_or(default.tls_handshake_timeout, limit),
        write_stall_timeout: section.duration("writeStallTimeout").map_or(default.write_stall_timeout, limit),
    }
}

/// The keys that the process and each entry point have.
pub(super) fn connections(section: &Fields<'_, '_>) -> ConnectionLimits {
    let number = |key| {
        let number = section.number::<u64>(key, "a number of connections; 0 means no limit", |_| true);
        number.filter(|number| *number > 0)
    };
    ConnectionLimits { max: number("maxConnections"), max_per_address: number("maxConnectionsPerAddress") }
}

/// A whole number of bytes, or of `KiB`, `MiB`, `GiB`.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim_start() {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}
