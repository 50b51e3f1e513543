//! Request to route, connection to TCP route, entry point to UDP route.
//!
//! Rules that demand certain hosts stand in maps by host, the others in a list; where many rules remain, those
//! that demand certain paths stand in maps by path. So a look-up asks few rules however many there are. What
//! remains a list: rules without host and path (headers, regular expressions).

/// Rules by host and path.
mod buckets;
/// Connection to TCP route.
mod connection;
/// Routes of each entry point.
mod index;
/// Hosts that are served over TLS, and how.
mod tls_hosts;

use std::net::IpAddr;
use std::sync::Arc;

use crate::compiled::{Route, Table, UdpRoute};

pub use connection::TcpConnection;
pub(crate) use index::{Index, Ranked, Routed, Routes};
pub use tls_hosts::DEFAULT_TLS_OPTIONS;
pub(crate) use tls_hosts::{TlsHosts, options_of};

/// What rules ask of a request. Implemented by the session over its parsed head, without copying.
pub trait Request {
    /// As sent, case-sensitive.
    fn method(&self) -> &str;
    /// Host without port, lower case, no trailing dot; empty if the request has none.
    fn host(&self) -> &str;
    /// The routing path: percent-decoded except for reserved characters, cleaned; starts with `/`.
    fn path(&self) -> &str;
    /// The raw query, without `?`.
    fn query(&self) -> &str;
    /// Calls `visit` with each value of the header `name` (canonical or not; compare without case) until it returns
    /// true; returns whether one did.
    fn any_header(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool;
    /// The address of the connection's peer.
    fn client_ip(&self) -> IpAddr;
    /// Whether the client offers this protocol by ALPN (RFC 7301). Only rules of TCP routers ask.
    fn offers(&self, _protocol: &[u8]) -> bool {
        false
    }
}

/// A request that owns its parts: for explanations and tests. Sessions have their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRequest {
    /// See [`Request::method`].
    pub method: String,
    /// See [`Request::host`]; what is set here must already be in that form.
    pub host: String,
    /// See [`Request::path`].
    pub path: String,
    /// See [`Request::query`].
    pub query: String,
    /// Names and values in the order of the request.
    pub headers: Vec<(String, Vec<u8>)>,
    /// See [`Request::client_ip`].
    pub client_ip: IpAddr,
}

impl OwnedRequest {
    /// `GET http://host/target` from 127.0.0.1 without headers. `host` loses its case and trailing dot; `target` is a
    /// path in routing form and perhaps a query.
    pub fn get(host: &str, target: &str) -> OwnedRequest {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        OwnedRequest {
            method: "GET".into(),
            host: host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase(),
            path: path.into(),
            query: query.into(),
            headers: Vec::new(),
            client_ip: IpAddr::from([127, 0, 0, 1]),
        }
    }
}

impl Request for OwnedRequest {
    fn method(&self) -> &str {
        &self.method
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> &str {
        &self.query
    }

    fn any_header(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.headers.iter().any(|(known, value)| known.eq_ignore_ascii_case(name) && visit(value))
    }

    fn client_ip(&self) -> IpAddr {
        self.client_ip
    }
}

/// An entry point's number: its place in the list of names that the table was compiled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryPointId(pub u16);

impl Table {
    /// The route with the highest priority whose rule matches, on the entry point with this number. Routes of the
    /// same priority are tried in the order of their names. `secure`: the request came over TLS; routers with `tls`
    /// take such requests only, routers without only the others. Allocates nothing (see [`crate::rule`] for the one
    /// exception).
    #[inline]
    pub fn route(
        &self,
        entry_point: EntryPointId,
        secure: bool,
        request: &impl Request,
    ) -> Option<&Arc<Route>> {
        self.index.http(entry_point, secure)?.route(request)
    }

    /// The UDP route of the entry point with this number.
    pub fn udp_route(&self, entry_point: EntryPointId) -> Option<&Arc<UdpRoute>> {
        self.index.udp(entry_point)
    }

    /// The number of the entry point with this name.
    pub fn entry_point(&self, name: &str) -> Option<EntryPointId> {
        let place = self.index.names().position(|known| known == name)?;
        u16::try_from(place).ok().map(EntryPointId)
    }
}

#[cfg(test)]
mod tests;
