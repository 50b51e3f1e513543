//! Connection to TCP route, and who goes first where HTTP and TCP share an entry point.
//!
//! The order is Traefik's (`pkg/server/router/tcp/router.go`): [`Table::tcp_needs_no_peek`]: a plain TCP route takes
//! the connection before anything is read. Else, without TLS: a plain TCP route, then HTTP. With TLS: HTTP if a router names the
//! host ([`Table::serves_tls_host`]), a TCP route that is no catch-all, HTTP if a router names no host
//! ([`Table::serves_any_tls_host`]), a TCP catch-all; what is left is answered by HTTP with 404.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::{DEFAULT_TLS_OPTIONS, EntryPointId, Request};
use crate::compiled::{Table, TcpRoute};

/// What rules ask of a connection before a byte of it is forwarded.
#[derive(Clone, Copy, Debug)]
pub struct TcpConnection<'a, A> {
    /// The name in the ClientHello (RFC 6066 section 3), lower case, no trailing dot; none without TLS.
    pub sni: Option<&'a str>,
    /// The protocols in the ClientHello (RFC 7301), best first; none without TLS.
    pub alpn: A,
    /// The address of the client: of the peer, or from a PROXY header.
    pub client_ip: IpAddr,
    /// Whether it starts with a ClientHello.
    pub secure: bool,
}

impl<'a, A: Iterator<Item = &'a [u8]> + Clone> Request for TcpConnection<'a, A> {
    fn method(&self) -> &str {
        ""
    }

    fn host(&self) -> &str {
        self.sni.unwrap_or("")
    }

    fn path(&self) -> &str {
        ""
    }

    fn query(&self) -> &str {
        ""
    }

    fn any_header(&self, _name: &str, _visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }

    fn client_ip(&self) -> IpAddr {
        self.client_ip
    }

    fn offers(&self, protocol: &[u8]) -> bool {
        self.alpn.clone().any(|offered| offered == protocol)
    }
}

impl Table {
    /// The TCP route with the highest priority whose rule matches, among those with `tls` if the connection is
    /// `secure`, else among the others. As [`Table::route`] otherwise.
    #[inline]
    pub fn tcp_route<'a, A: Iterator<Item = &'a [u8]> + Clone>(
        &self,
        entry_point: EntryPointId,
        connection: &TcpConnection<'a, A>,
    ) -> Option<&Arc<TcpRoute>> {
        self.index.tcp(entry_point, connection.secure)?.route(connection)
    }

    /// Whether nothing must be read of a connection to find its TCP route, so that the server may speak first: there is
    /// a TCP route without TLS and no router with TLS at all. If none matches after all, the connection is for HTTP.
    pub fn tcp_needs_no_peek(&self, entry_point: EntryPointId) -> bool {
        let index = &self.index;
        index.tcp(entry_point, false).is_some_and(|routes| routes.len() > 0)
            && index.tcp(entry_point, true).is_none_or(|routes| routes.len() == 0)
            && index.http(entry_point, true).is_none_or(|routes| routes.len() == 0)
    }

    /// Whether the entry point has TCP routes at all; without, every connection is for HTTP.
    pub fn has_tcp_routes(&self, entry_point: EntryPointId) -> bool {
        [false, true].iter().any(|secure| self.index.tcp(entry_point, *secure).is_some_and(|r| r.len() > 0))
    }

    /// Whether an HTTP router with `tls` on this entry point names this host (lower case, no trailing dot) in its
    /// rule, not under a `!`.
    pub fn serves_tls_host(&self, entry_point: EntryPointId, sni: &str) -> bool {
        self.index.http(entry_point, true).is_some_and(|routes| routes.tls_hosts().options(sni).is_some())
    }

    /// Whether an HTTP router with `tls` on this entry point names no host in its rule.
    pub fn serves_any_tls_host(&self, entry_point: EntryPointId) -> bool {
        self.index.http(entry_point, true).is_some_and(|routes| routes.tls_hosts().is_any())
    }

    /// The name of the [`crate::snapshot::tls::TlsOptions`] for a connection whose TLS ends here: of the HTTP routers
    /// that name the host, or else of the TCP routers that do, or else `default`; also where routers that name it
    /// disagree. `sni` is lower case without trailing dot, empty for a client that sends none. Allocates nothing.
    ///
    /// A TCP route that is already found says more exactly which options it wants ([`TcpRoute::tls`]).
    pub fn tls_options(&self, entry_point: EntryPointId, sni: &str) -> &str {
        let http = self.index.http(entry_point, true).and_then(|routes| routes.tls_hosts().options(sni));
        let tcp = || self.index.tcp(entry_point, true).and_then(|routes| routes.tls_hosts().options(sni));
        http.or_else(tcp).unwrap_or(DEFAULT_TLS_OPTIONS)
    }

    /// What [`Table::tls_options`] says, for each host and wildcard (`*.example.com`) that a router of this entry
    /// point names.
    pub fn tls_options_by_host(&self, entry_point: EntryPointId) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let (tcp, http) = (self.index.tcp(entry_point, true), self.index.http(entry_point, true));
        // HTTP comes later and so counts.
        for hosts in tcp.map(|r| r.tls_hosts()).into_iter().chain(http.map(|r| r.tls_hosts())) {
            all.extend(hosts.iter().map(|(host, options)| (host, options.to_owned())));
        }
        all
    }
}

#[cfg(test)]
mod tests;
